"""Failover that opens a span around each backend that it asks: who was asked, how that ended, and what the driver did meanwhile."""

from __future__ import annotations

from typing import Any

from e2i_fs.entries import Entry
from e2i_fs.failover.facts import Facts
from e2i_fs.failover.member import UNAVAILABLE, Member
from e2i_fs.failover.reading import Reader, _Asked
from e2i_fs.failover.writing import Writer
from e2i_fs.question import Answered
from e2i_fs.telemetry import names
from e2i_fs.telemetry.spans import Span, Spans

__all__ = ["TracedReader", "TracedWriter"]


class TracedReader(Reader):
    """A `Reader` with a span around each attempt."""

    def __init__(self, spans: Spans, *args: Any) -> None:
        super().__init__(*args)
        self._spans = spans

    def _try(self, member: Member, asked: _Asked, facts: Facts, *, degraded_because: str | None) -> Answered[Any, Any]:
        with self._spans.span(names.SPAN_ATTEMPT) as span:
            _about(span, member)
            try:
                return super()._try(member, asked, facts, degraded_because=degraded_because)
            except UNAVAILABLE as error:
                span.failed(error)
                raise
            finally:
                if span.recording:
                    own = [attempt for attempt in asked.attempts if attempt.backend == member.name]
                    span.add({names.AT_OUTCOME: own[-1].outcome} if own else {})


class TracedWriter(Writer):
    """A `Writer` with a span around what each backend is asked to take."""

    def __init__(self, spans: Spans, *args: Any) -> None:
        super().__init__(*args)
        self._spans = spans

    def _write_one(self, member: Member, entry: Entry, seq: int, *, taken: bool, wait: bool) -> object:
        with self._spans.span(names.SPAN_BACKEND_WRITE) as span:
            _about(span, member)
            if span.recording:
                span.add({names.AT_VIEWS: (entry.view,)})
            try:
                value = super()._write_one(member, entry, seq, taken=taken, wait=wait)
            except BaseException as error:
                span.failed(error)
                raise
            span.add({names.AT_OUTCOME: "ok"})
            return value


def _about(span: Span, member: Member) -> None:
    if span.recording:
        span.add({names.AT_BACKEND: member.name, names.AT_ROLE: member.role})
