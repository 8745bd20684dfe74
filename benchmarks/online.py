"""Online reads and writes: through us, through Feast, and bare gets of the same bytes from LMDB, SQLite and Redis."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.data import Kept
from benchmarks.race import Measured, Runner, race
from e2i_fs.testing.servers import RedisServer, find_redis

PEERS = "benchmarks.online_peers:"
OURS, SQLITE, REDIS = "e2i_fs", "Feast, sqlite", "Feast, redis"
OVER_SQLITE, OVER_REDIS = "e2i_fs over Feast, sqlite", "e2i_fs over Feast, redis"
LMDB, BARE_SQLITE, BARE_REDIS = "bare LMDB", "bare SQLite", "bare Redis"


@contextmanager
def redis_server() -> Iterator[str | None]:
    """Give the address of a Redis of our own, that syncs nothing to disk; None where there is no `redis-server`."""
    binary = find_redis()
    if binary is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="redis-") as folder:
        server = RedisServer(binary, folder)
        server.start("--appendonly", "no")
        try:
            yield server.address
        finally:
            server.kill()


def run(kept: Kept, *, quick: bool) -> Iterator[Measured]:
    """Measure all, a race after the other."""
    keys, repeats = (1_000, 4) if quick else (10_000, 15)
    with redis_server() as redis:
        # As many calls a repeat as take tens of milliseconds: the first of them find the processor's caches full of others' work.
        calls = 200 if quick else 2000
        for count in (1, 100, 1000):
            yield read(kept, f"online-{count}", keys, 1, count, redis, repeats=repeats, times=max(1, calls // count))
        yield read(kept, "online-4", keys, 4, 1, redis, repeats=repeats, times=calls // 4)
        yield from writes(kept, quick=quick, redis=redis)


def read(
    kept: Kept, id: str, keys: int, views: int, count: int, redis: str | None, *, repeats: int, times: int
) -> Measured:
    """Measure reads of ``count`` entities, 10 features of each of ``views`` views."""
    given = {"keys": keys, "views": views, "count": count}
    bare: dict[str, Any] = {"compared": "bytes", "needs_gb": 0.3}
    contenders = [
        Runner(OURS, PEERS + "Ours", given, needs_gb=0.3),
        Runner(LMDB, PEERS + "BareLmdb", given, **bare),
        Runner(BARE_SQLITE, PEERS + "BareSqlite", given, **bare),
        Runner(SQLITE, PEERS + "Feast", given, needs_gb=0.5),
    ]
    if views == 1 and count == 100:
        contenders.append(Runner(OVER_SQLITE, PEERS + "Ours", given | {"backend": "feast"}, needs_gb=0.5))
    if redis is not None:
        served = given | {"redis": redis}
        contenders += [
            Runner(BARE_REDIS, PEERS + "BareRedis", served, **bare),
            Runner(REDIS, PEERS + "Feast", served, needs_gb=0.5),
        ]
        if views == 1 and count == 100:
            contenders.append(Runner(OVER_REDIS, PEERS + "Ours", served | {"backend": "feast"}, needs_gb=0.5))
    plural = "entity" if count == 1 else "entities"
    what = "10 features of one view" if views == 1 else f"{views} views × 10 features"
    return race(id, f"Online: {count:,} {plural}, {what}", contenders, repeats=repeats, times=times,
                sizes={"keys": keys, "views": views, "entities": count, "features": 10, "calls a repeat": times},
                note=_without(redis), children=kept.children)  # fmt: skip


def writes(kept: Kept, *, quick: bool, redis: str | None) -> Iterator[Measured]:
    """Measure writes: the DuckDB backend in large batches, and the Feast backend against Feast's own."""
    large, small = (20_000, 500) if quick else (100_000, 2_000)
    yield race("write-duckdb", f"Online writes: batches of {large:,} rows of 10 features, the DuckDB backend",
               [Runner(OURS, PEERS + "OursWriting", {"batch": large})], repeats=3 if quick else 6,
               sizes={"rows": large}, children=kept.children)  # fmt: skip
    for kind, address in (("sqlite", None), ("redis", redis)):
        if kind == "redis" and redis is None:
            continue
        more: dict[str, Any] = {} if address is None else {"redis": address}
        over, own = (OVER_SQLITE, SQLITE) if kind == "sqlite" else (OVER_REDIS, REDIS)
        contenders = [
            Runner(over, PEERS + "OursWriting", {"batch": small, "backend": "feast"} | more),
            Runner(own, PEERS + "FeastWriting", {"batch": small} | more),
        ]
        title = f"Online writes: batches of {small:,} rows of 10 features, Feast on {kind}"
        yield race(
            f"write-{kind}", title, contenders, repeats=3 if quick else 7, sizes={"rows": small}, children=kept.children
        )


def _without(redis: str | None) -> str:
    return (
        ""
        if redis is not None
        else "Redis was not measured: no redis-server is installed (apt-get install redis-server)."
    )
