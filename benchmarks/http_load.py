"""A raw HTTP client for load: many connections of one process, each a closed loop, nothing between it and the socket."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from urllib.parse import urlsplit

__all__ = ["Load", "ask", "loaded", "plain"]


@dataclass
class Load:
    """What a load saw: seconds of each request, answers by status, those that were wrong, when it began and ended."""

    seconds: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    wrong: int = 0
    begun: float = 0.0
    ended: float = 0.0

    @property
    def rate(self) -> float:
        """Requests a second."""
        return len(self.seconds) / (self.ended - self.begun)

    def quantile(self, share: float) -> float:
        """The time within which a share of the requests was answered, in milliseconds."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000


def request(address: str, body: Any) -> bytes:
    """Return a POST to /get-online-features as bytes."""
    content = json.dumps(body).encode()
    head = (
        f"POST /get-online-features HTTP/1.1\r\nHost: {urlsplit(address).netloc}\r\nContent-Type: application/json\r\n"
    )
    return f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    status = int(head.split(b" ", 2)[1])
    length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
    return status, await reader.readexactly(length)


def ask(address: str, body: Any) -> Any:
    """Return the document of one answer."""

    async def run() -> Any:
        where = urlsplit(address)
        reader, writer = await asyncio.open_connection(where.hostname, where.port)
        writer.write(request(address, body))
        status, content = await _answer(reader)
        writer.close()
        assert status == 200, content
        return json.loads(content)

    return asyncio.run(run())


def loaded(address: str, bodies: Sequence[Any], wanted: Sequence[Any], connections: int, seconds: float) -> Load:
    """Open so many connections, then ask on all of them for so long, each answer compared with the values that are wanted.

    Every connection asks at least once. What is under way when the time is up is waited for, and counts.
    """
    load, sent, number = Load(), [request(address, body) for body in bodies], count()

    async def one(all_there: asyncio.Barrier) -> None:
        where = urlsplit(address)
        reader, writer = await asyncio.open_connection(where.hostname, where.port)
        await all_there.wait()
        load.begun = load.begun or time.perf_counter()
        while True:
            n = next(number) % len(sent)
            begun = time.perf_counter()
            writer.write(sent[n])
            status, content = await _answer(reader)
            load.ended = time.perf_counter()
            load.seconds.append(load.ended - begun)
            load.statuses[status] += 1
            if status == 200 and plain(json.loads(content)) != wanted[n]:
                load.wrong += 1
            if load.ended - load.begun > seconds:
                break
        await all_there.wait()  # none is closed before all are answered
        writer.close()

    async def everybody() -> None:
        all_there = asyncio.Barrier(connections)
        await asyncio.gather(*(one(all_there) for _ in range(connections)))

    asyncio.run(everybody())
    return load


def plain(answer: Any) -> dict[str, Any]:
    """Return the values and statuses of an answer by name, for Feast's columns come in an order of each process's own."""
    names = answer["metadata"]["feature_names"]
    return {n: (r["values"], r["statuses"]) for n, r in zip(names, answer["results"], strict=True)}
