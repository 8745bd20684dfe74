"""What every path works with, and the one way of a request: body, thread, answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, TypeVar

import anyio
from fastapi import Request, Response
from pydantic import BaseModel
from pydantic_core import to_json

from e2i_fs.clock import Clock, SystemClock
from e2i_fs.errors import E2IError
from e2i_fs.server.body import taken
from e2i_fs.server.counts import Counts, counts
from e2i_fs.server.keys import Access
from e2i_fs.server.limits import Limits
from e2i_fs.server.refusals import SlowBodyError, UnknownMediaError
from e2i_fs.wire.desk import Desk
from e2i_fs.wire.workers import Workers

__all__ = ["ARROW", "JSON", "Service", "media_type"]

JSON = "application/json"
ARROW = "application/vnd.apache.arrow.stream"
_LOG = logging.getLogger("e2i_fs.server")
_PROBE = 1.0  # seconds that a backend may take to say that it is up
M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")


@dataclass(eq=False)
class Service:
    """One server: its desk, limits, keys and threads. ``stopping`` turns true when it was told to stop."""

    desk: Desk
    limits: Limits = field(default_factory=Limits)
    access: Access = field(default_factory=Access)
    counts: Counts = field(default_factory=counts)
    clock: Clock = field(default_factory=SystemClock)
    caller: Callable[[Mapping[str, str]], AbstractContextManager[None]] = lambda _: nullcontext()
    """What is open while a request is answered, by its headers: the caller's own trace, where there is tracing."""
    stopping: bool = False

    def __post_init__(self) -> None:
        self._probe: asyncio.Future[bool] | None = None
        self.reads = Workers(self.desk.budget.threads)
        self.jobs = Workers(self.limits.jobs)
        self.watching = Workers(2)

    async def answer(
        self, request: Request, form: type[M], run: Callable[[Desk, M], Mapping[str, Any]], *, job: bool = False
    ) -> Response:
        """Return what ``run`` makes of a JSON body; reading the body apart, all of it is done in a thread."""
        require_media(request, JSON)
        body = await self.body(request)
        return await self.run(lambda: json_response(run(self.desk, taken(form, body, self.limits.max_values))), job=job)

    async def run(self, work: Callable[[], T], *, job: bool = False) -> T:
        """Return what blocking work returns, done in a thread: of the reads, or of the jobs, with its limit of time."""
        if job:
            return await self.jobs.run(work, self.limits.max_job_seconds)
        return await self.reads.run(work, self.desk.budget.max_seconds)

    async def ready(self) -> bool:
        """Return whether a backend is up and the server goes on. However many ask at once, the store is asked once."""
        if self.stopping:
            return False
        if self._probe is None or self._probe.done():
            self._probe = asyncio.ensure_future(self._up())
        return await asyncio.shield(self._probe)

    async def _up(self) -> bool:
        try:
            backends = await self.run(lambda: self.desk.store.health(_PROBE))
        except E2IError as error:
            _LOG.warning("Not ready: %s", error)
            return False
        return any(backend.up for backend in backends)

    async def body(self, request: Request) -> bytes:
        """Return the body, or raise `SlowBodyError` when it takes longer than a call may."""
        seconds = self.desk.budget.max_seconds
        with anyio.move_on_after(seconds):
            return await request.body()
        raise SlowBodyError(
            f"The body did not come within {seconds:g} seconds.", fix="Send less at a time, or over a faster way."
        )

    async def drained(self, seconds: float) -> bool:
        """Wait for all work to end, at most so long, and return whether it did."""
        begun = self.clock.monotonic()
        first = await self.reads.drained(seconds)
        return first and await self.jobs.drained(max(0.0, seconds - (self.clock.monotonic() - begun)))


def media_type(request: Request) -> str:
    """Return the media type of a request's body, without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def require_media(request: Request, *kinds: str) -> str:
    """Return the media type of the body, or raise `UnknownMediaError` unless it is one of ``kinds`` and not packed.

    A body without one is refused too: a page in a browser may send such a body to any address without asking.
    """
    packed = request.headers.get("content-encoding", "identity").strip().lower()
    if packed != "identity":
        raise UnknownMediaError(
            f"A body with Content-Encoding {packed[:40]!r} is not taken.",
            fix="Send the body as it is; one of Arrow may be packed in its own way (zstd or lz4).",
        )
    kind = media_type(request)
    if kind not in kinds:
        raise UnknownMediaError(
            f"A body of {kind or 'no type'!r} is not taken here.", fix=f"Send Content-Type: {' or '.join(kinds)}."
        )
    return kind


def json_response(document: Any) -> Response:
    """Return a document as an answer, with a header when it may have missed a write (X-7)."""
    headers = {}
    if isinstance(document, Mapping):
        about = document.get("e2i_fs") or document.get("provenance")
        if isinstance(about, Mapping):
            headers = told_headers(about)
    return Response(to_json(document), media_type=JSON, headers=headers)


def told_headers(provenance: Mapping[str, Any]) -> dict[str, str]:
    """Return who answered, and whether it may have missed a write, as headers."""
    name = str(provenance["served_by"]).encode("ascii", "replace").decode()
    return {"X-E2I-FS-Served-By": name, "X-E2I-FS-Degraded": "true" if provenance["degraded"] else "false"}
