"""What people are told: which events are alerts, how bad each is, and which event says that it is over."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from e2i_fs.frozen import FrozenMap
from e2i_fs.telemetry.events import (
    BreakerMoved,
    Event,
    FailedOver,
    FreshnessChecked,
    JobEnded,
    LeakageFound,
    Materialized,
    ParityMoved,
    Stale,
)
from e2i_fs.telemetry.kept import about, sentence

__all__ = ["KINDS", "RESOLVED", "Alert", "alert_of"]

RESOLVED = "resolved"
KINDS = ("BreakerMoved", "FailedOver", "JobEnded", "LeakageFound", "Materialized", "ParityMoved", "Stale")


@dataclass(frozen=True, slots=True)
class Alert:
    """One thing to tell. Two of the same ``key`` and ``status`` are the same alert again.

    ``kind`` is the event's; ``status`` is what is wrong, or ``"resolved"``; ``severity`` is ``"info"``, ``"warning"``, ``"error"``
    or ``"critical"``. ``repeats`` is how often it happened since it was last told.
    """

    kind: str
    key: str
    status: str
    severity: str
    at: datetime
    about: Mapping[str, Any]
    text: str
    repeats: int = 0

    @property
    def resolved(self) -> bool:
        """Whether it says that something is over."""
        return self.status == RESOLVED


def alert_of(event: Event) -> Alert | None:
    """Return what is to be told of an event; None for one that alerts nobody.

    >>> from datetime import UTC, datetime
    >>> alert = alert_of(Stale(datetime(2024, 3, 10, tzinfo=UTC), "visits", "EXPIRED", 90_000.0))
    >>> alert.severity, alert.text
    ('critical', 'View visits is EXPIRED.')
    """
    judge = _JUDGES.get(type(event))
    return None if judge is None else judge(event)


def _made(event: Event, status: str, severity: str, *key: str) -> Alert:
    kind = type(event).__name__
    what = FrozenMap(dict(about(event) or ()))
    return Alert(kind, " ".join((kind, *key)), status, severity, event.at, what, sentence(kind, what))


def _over(event: Event, kind: str, text: str, what: Mapping[str, Any], *key: str) -> Alert:
    return Alert(kind, " ".join((kind, *key)), RESOLVED, "info", event.at, FrozenMap(what), text)


def _breaker(event: Any) -> Alert | None:
    if event.after == "open":
        return _made(event, "open", "critical", event.backend)
    if event.after == "closed":
        return _over(
            event, "BreakerMoved", f"Backend {event.backend} is up again.", {"backend": event.backend}, event.backend
        )
    return None  # half-open is a question, and what was isolated was so by hand


def _parity(event: Any) -> Alert | None:
    if event.after == "diverged":
        return _made(event, "diverged", "error", event.backend, event.view)
    if event.after == "verified":
        said = f"Backend {event.backend}, view {event.view}: its rows are as they should be again."
        what = {"backend": event.backend, "view": event.view}
        return _over(event, "ParityMoved", said, what, event.backend, event.view)
    return None


def _job(event: Any) -> Alert | None:
    if event.outcome in ("failed", "timed out"):
        return _made(event, event.outcome, "error", event.view, event.mode)
    if event.outcome == "succeeded":
        what = {"view": event.view, "mode": event.mode}
        return _over(
            event, "JobEnded", f"View {event.view}: its {event.mode} job succeeded again.", what, event.view, event.mode
        )
    return None


def _run(event: Any) -> Alert:
    of = (event.view, event.backend)
    if event.outcome == "succeeded":
        said = f"View {event.view}: its materialisation on backend {event.backend} succeeded again."
        return _over(event, "Materialized", said, {"view": event.view, "backend": event.backend}, *of)
    return _made(event, event.outcome, "error", *of)


_AGE = {"WARNING": "warning", "STALE": "error", "EXPIRED": "critical", "UNKNOWN": "critical"}


def _fresh(event: Any) -> Alert | None:
    if event.status != "FRESH":
        return None  # then there is a Stale as well
    return _over(event, "Stale", f"View {event.view} is fresh again.", {"view": event.view}, event.view)


_JUDGES: Mapping[type[Event], Callable[[Any], Alert | None]] = {
    BreakerMoved: _breaker,
    FailedOver: lambda e: _made(e, "failed over", "warning", e.served_by),
    FreshnessChecked: _fresh,
    JobEnded: _job,
    LeakageFound: lambda e: _made(e, "found", "critical", e.view),
    Materialized: _run,
    ParityMoved: _parity,
    Stale: lambda e: _made(e, e.status, _AGE.get(e.status, "error"), e.view),
}
