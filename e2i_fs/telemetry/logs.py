"""Events as lines of a log, and log records as JSON: names, numbers and classes of errors; never a key, a value or a message of an event."""

from __future__ import annotations

import importlib.util
import json
import logging
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any, Final

from e2i_fs.forks import RenewedLock
from e2i_fs.json_values import as_json
from e2i_fs.plugins import hookimpl
from e2i_fs.telemetry.events import (
    Applied,
    BreakerMoved,
    Event,
    FailedOver,
    FreshnessChecked,
    JobEnded,
    LeakageFound,
    Materialized,
    OperationEnded,
    ParityMoved,
    Replayed,
    Retrieved,
    Stale,
    Written,
)

__all__ = ["EventLog", "JsonFormatter", "attach", "told"]

LOGGER: Final = "e2i_fs"
_EVENTS = logging.getLogger(f"{LOGGER}.events")

_TOLD: Mapping[type[Event], tuple[str, ...]] = {
    Applied: (),
    BreakerMoved: ("backend", "before", "after"),
    FailedOver: ("served_by", "primary", "cause"),
    FreshnessChecked: ("view", "status", "age", "max_staleness", "served_by", "degraded"),
    JobEnded: ("view", "mode", "outcome", "attempts", "rows_read", "rows_written", "duration", "job_id"),
    LeakageFound: ("view", "cells"),
    Materialized: ("view", "backend", "rows_written", "outcome"),
    OperationEnded: ("operation", "outcome", "duration", "error", "served_by", "rows", "views"),
    ParityMoved: ("backend", "view", "before", "after"),
    Replayed: ("backend", "view", "seq"),
    Retrieved: ("kind", "rows", "served_by", "degraded", "duration", "statuses"),
    Stale: ("view", "status", "age"),
    Written: ("view", "rows", "to"),
}
"""What is told of each event. What is not listed, such as a reason in a driver's words, is not told."""


def told(event: Event) -> dict[str, Any]:
    """Return what is told of an event in a log, as JSON has it. Of an event of another's making it is its numbers.

    >>> told(JobEnded(datetime.now(UTC), "hcp", "full", "failed", 4, 0, 0, 1.5, "BackendDataError: key 'hcp_1' ..."))["error"]
    'BackendDataError'
    """
    names = _TOLD.get(type(event))
    if names is None:
        found = {f.name: getattr(event, f.name) for f in fields(event) if f.name != "at"}
        return {name: value for name, value in found.items() if isinstance(value, bool | int | float)}
    document: dict[str, Any] = {name: as_json(getattr(event, name)) for name in names}
    match event:
        case JobEnded():
            document["error"] = event.error and event.error.partition(":")[0]
        case Applied():
            plan = event.plan
            document |= {"created": len(plan.created), "updated": len(plan.updated), "removed": len(plan.removed)}
    return document


def _level(event: Event) -> int:
    """Return WARNING for what somebody may have to look at, DEBUG for what `OperationEnded` tells too, else INFO."""
    match event:
        case Retrieved():
            return logging.DEBUG
        case FailedOver() | Stale() | LeakageFound():
            bad = True
        case OperationEnded(outcome=outcome):
            bad = outcome in ("failed", "degraded")
        case JobEnded(outcome=outcome) | Materialized(outcome=outcome):
            bad = outcome != "succeeded"
        case BreakerMoved(after=after):
            bad = after != "closed"
        case ParityMoved(after=after):
            bad = after != "verified"
        case _:
            bad = False
    return logging.WARNING if bad else logging.INFO


class EventLog:
    """A plugin that logs every event to the logger ``e2i_fs.events``: its name as the message, the rest in ``record.e2i_fs``.

    It sets up no handler: give it to `connect` where the process logs already, with whatever formatter it has.
    """

    @hookimpl
    def e2i_fs_on_event(self, event: Event) -> None:
        """Log it."""
        level = _level(event)
        if _EVENTS.isEnabledFor(level):
            _EVENTS.log(level, type(event).__name__, extra={"e2i_fs": told(event), "e2i_fs_at": event.at})


class JsonFormatter(logging.Formatter):
    """One line of JSON for each record: ``time``, ``level``, ``logger``, ``event`` or ``message``, its fields, and the trace.

    ``trace_id`` and ``span_id`` are there inside a span of OpenTelemetry's. Of an exception its class and the places in the
    code are told, and of an error among a message's arguments its class: what an error says may hold values.

    >>> record = logging.LogRecord("e2i_fs", logging.WARNING, "", 0, "backend %r is away", ("standby",), None)
    >>> json.loads(JsonFormatter().format(record))["message"]
    "backend 'standby' is away"
    """

    def __init__(self) -> None:
        super().__init__()
        self._trace = _current_trace()

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        at = getattr(record, "e2i_fs_at", None) or datetime.fromtimestamp(record.created, UTC)
        line = {"time": at.isoformat(), "level": record.levelname, "logger": record.name}
        given = getattr(record, "e2i_fs", None)
        line |= {"message": _message(record)} if given is None else {"event": record.msg, **given}
        if record.exc_info and record.exc_info[0] is not None:
            kind, _, where = record.exc_info
            line |= {"exception": kind.__name__, "stack": "".join(traceback.format_tb(where))}
        return json.dumps(line | self._trace(), ensure_ascii=False, default=str)


def _message(record: logging.LogRecord) -> str:
    args = record.args
    if isinstance(args, tuple):
        args = tuple(type(each).__name__ if isinstance(each, BaseException) else each for each in args)
    return str(record.msg) % args if args else str(record.msg)


def _current_trace() -> Callable[[], dict[str, str]]:
    """Return what tells the current span, nothing where OpenTelemetry is not installed."""
    if importlib.util.find_spec("opentelemetry") is None:
        return dict
    from opentelemetry import trace

    def current() -> dict[str, str]:
        context = trace.get_current_span().get_span_context()
        if not context.is_valid:
            return {}
        return {"trace_id": trace.format_trace_id(context.trace_id), "span_id": trace.format_span_id(context.span_id)}

    return current


class _Lines(logging.StreamHandler[Any]):
    """The handler of ours, and how many open stores asked for it."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)
        self.setFormatter(JsonFormatter())
        self.users = 0
        self.before = (logging.NOTSET, True)


_attaching = RenewedLock()


def attach() -> Callable[[], None]:
    """Have the logger ``e2i_fs`` write lines of JSON to stderr, and nowhere else, until what is returned is called.

    However many stores ask, there is one line for each record. No other logger is touched.
    """
    logger = logging.getLogger(LOGGER)
    with _attaching:
        ours = next((handler for handler in logger.handlers if isinstance(handler, _Lines)), None)
        if ours is None:
            ours = _Lines()
            ours.before = logger.level, logger.propagate
            logger.addHandler(ours)
            logger.propagate = False
            if not logger.isEnabledFor(logging.INFO):
                logger.setLevel(logging.INFO)
        ours.users += 1
    handler = ours

    def detach() -> None:
        with _attaching:
            handler.users -= 1
            if not handler.users:
                logger.removeHandler(handler)
                level, logger.propagate = handler.before
                logger.setLevel(level)

    return detach
