"""How attempts are told in errors, and when to try again (X-9)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from e2i_fs.failover.breaker import Breaker
from e2i_fs.results import Attempt

__all__ = ["listed", "retry_after", "when"]


def listed(attempts: Sequence[Attempt]) -> str:
    """Return every attempt in a sentence (X-9)."""
    told = "; ".join(f"{a.backend}: {a.outcome}{f' ({a.error})' if a.error else ''}" for a in attempts)
    return f"Tried: {told or 'none'}."


def retry_after(breakers: Iterable[Breaker]) -> float | None:
    """Return in how many seconds the first of them lets a call through; None when time alone lets none."""
    return min((left for breaker in breakers if (left := breaker.retry_after()) is not None), default=None)


def when(retry: float | None) -> str:
    """Return when to try again, ``retry`` seconds from now; None is what `retry_after` says when time does not help."""
    if retry is None:
        return "Waiting does not help: every backend is isolated, until `store.release(name)`."
    return f"Try again in {retry:.1f} s." if retry > 0 else "It may be tried again at once."
