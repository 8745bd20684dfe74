"""How attempts are told in errors."""

from __future__ import annotations

from collections.abc import Sequence

from e2i_fs.results import Attempt

__all__ = ["listed", "when"]


def listed(attempts: Sequence[Attempt]) -> str:
    """Return every attempt in a sentence (X-9)."""
    told = "; ".join(f"{a.backend}: {a.outcome}{f' ({a.error})' if a.error else ''}" for a in attempts)
    return f"Tried: {told or 'none'}."


def when(retry: float) -> str:
    """Return when to try again, ``retry`` seconds from now."""
    return f"Try again in {retry:.1f} s." if retry > 0 else "It may be tried again at once."
