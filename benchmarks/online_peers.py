"""Who reads and writes online rows, each as a class that a process of its own opens: see `benchmarks.child`.

All hold the same rows, ``keys`` of them a view, 10 Float64 features: feature ``f`` of key ``n`` is ``n * 10 + f + 0.5``. Each
question asks ``count`` keys anywhere among them, another question each time.
"""

from __future__ import annotations

import itertools
import os
import sqlite3
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from benchmarks.data import names

FEATURES = names()
QUESTIONS = 16


def rows(first: int, count: int, moment: datetime) -> pa.Table:
    """Return the rows of ``count`` keys from ``first`` on, all of one event time."""
    return pa.table({
        "hcp_id": [f"hcp_{n}" for n in range(first, first + count)],
        "event_timestamp": pa.array([moment] * count, pa.timestamp("us", "UTC")),
        **{name: [n * 10 + f + 0.5 for n in range(first, first + count)] for f, name in enumerate(FEATURES)},
    })  # fmt: skip


def moment() -> datetime:
    """Return an hour ago, in whole seconds."""
    return (datetime.now(UTC) - timedelta(hours=1)).replace(microsecond=0)


def asked(keys: int, count: int) -> list[list[str]]:
    """Return the questions: lists of keys."""
    return [[f"hcp_{(q * 7919 + k * 37) % keys}" for k in range(count)] for q in range(QUESTIONS)]


def answered(made: list[dict[str, list[Any]]]) -> dict[str, Any]:
    """Return the digest of the answers to every question."""
    import hashlib

    told = [sorted((name, list(values)) for name, values in one.items()) for one in made]
    return {"hash": hashlib.sha256(repr(told).encode()).hexdigest(), "rows": len(told), "in_order": True}


def folder() -> Path:
    """Return a new folder below the run's own."""
    return Path(tempfile.mkdtemp(dir=os.environ.get("BENCH_FOLDER")))


class _Asking:
    def __init__(self, keys: int, views: int, count: int) -> None:
        self.questions = asked(keys, count)
        self.turn = itertools.cycle(range(QUESTIONS))
        self.refs = [f"v{v}:{name}" for v in range(views) for name in FEATURES]
        self.open(keys, views)
        for number in range(QUESTIONS):
            self.ask(number)

    def open(self, keys: int, views: int) -> None:
        """Open, and hold the rows."""
        raise NotImplementedError

    def ask(self, number: int) -> Any:
        """Ask question ``number``."""
        raise NotImplementedError

    def once(self) -> Any:
        """Ask the next question."""
        return self.ask(next(self.turn))

    def answer(self, made: Any, folder: str) -> dict[str, Any]:
        """Return the digest of all answers."""
        return answered([self.ask(number) for number in range(QUESTIONS)])


def our_store(config: dict[str, Any], views: int) -> Any:
    """Open a store of ours with ``views`` views of 10 features and a ttl."""
    import e2i_fs as fs

    store = fs.connect(config)
    fields = [fs.Field(name, fs.Float64) for name in FEATURES]
    store.apply([
        fs.FeatureView(f"v{v}", entities=[fs.Entity("hcp_id")], schema=fields, ttl=timedelta(days=30),
                       source=fs.PushSource(f"p{v}"))
        for v in range(views)
    ])  # fmt: skip
    return store


def config_of(backend: str, redis: str | None = None) -> dict[str, Any]:
    """Return the configuration of a store of ours in a new folder."""
    online = {"type": "sqlite"} if redis is None else {"type": "redis", "connection_string": redis}
    return {"backend": backend, "path": str(folder())} | ({"online_store": online} if backend == "feast" else {})


class Ours(_Asking):
    """`get_online_features(...).to_dict()` of a store on a backend."""

    def __init__(self, keys: int, views: int, count: int, *, backend: str = "duckdb", redis: str | None = None) -> None:
        self.config = config_of(backend, redis)
        super().__init__(keys, views, count)

    def open(self, keys: int, views: int) -> None:
        """Write every view."""
        self.store = our_store(self.config, views)
        for v in range(views):
            self.store.write(f"v{v}", rows(0, keys, moment()), to="online")

    def ask(self, number: int) -> Any:
        """Read through the whole store, statuses and ttl too."""
        wanted = [{"hcp_id": key} for key in self.questions[number]]
        return self.store.get_online_features(self.refs, wanted, full_feature_names=True).to_dict()


class Feast(_Asking):
    """Feast's own `get_online_features(...).to_dict()`, in sqlite or in redis."""

    def __init__(self, keys: int, views: int, count: int, *, redis: str | None = None) -> None:
        self.online = None if redis is None else {"type": "redis", "connection_string": redis}
        super().__init__(keys, views, count)

    def open(self, keys: int, views: int) -> None:
        """Apply, and write every view."""
        self.store = feast_store(self.online, views)
        for v in range(views):
            self.store.write_to_online_store(f"v{v}", rows(0, keys, moment()).to_pandas())

    def ask(self, number: int) -> Any:
        """Read."""
        wanted = [{"hcp_id": key} for key in self.questions[number]]
        return self.store.get_online_features(self.refs, wanted, full_feature_names=True).to_dict()


def feast_store(online: dict[str, Any] | None, views: int) -> Any:
    """Open a Feast store; its source is a file of one row, which only `apply` looks at."""
    import pyarrow.parquet as pq

    from benchmarks.feast_repo import repository

    place = folder()
    pq.write_table(rows(0, 1, moment()), place / "one.parquet")
    return repository(place, [str(place / "one.parquet")] * views, online=online)


class _Bare(_Asking):
    """The bytes that our store keeps of the same rows, got without being understood."""

    def open(self, keys: int, views: int) -> None:
        """Take the rows as our DuckDB backend keeps them."""
        import lmdb

        config = config_of("duckdb")
        with our_store(config, views) as store:
            for v in range(views):
                store.write(f"v{v}", rows(0, keys, moment()), to="online")
        env = lmdb.open(str(Path(config["path"]) / "online"), readonly=True, lock=False, map_size=1 << 34)
        with env.begin() as transaction:
            held = [(bytes(k), bytes(v)) for k, v in transaction.cursor() if len(v) >= 80]
        env.close()
        assert len(held) == keys * views, f"{len(held)} rows are kept, not {keys * views}"
        wanted = len(self.questions[0]) * views
        self.names = [[held[(q * 7919 + k * 37) % len(held)][0] for k in range(wanted)] for q in range(QUESTIONS)]
        self.hold(held)

    def hold(self, held: list[tuple[bytes, bytes]]) -> None:
        """Keep them."""
        raise NotImplementedError

    def answer(self, made: Any, folder: str) -> dict[str, Any]:
        """Return the digest of all answers: how many bytes of each, as event times of three runs differ."""
        return answered([{"bytes": [len(v) for v in self.ask(number)]} for number in range(QUESTIONS)])


class BareLmdb(_Bare):
    """One transaction, and a get for each key."""

    def hold(self, held: list[tuple[bytes, bytes]]) -> None:
        """Put."""
        import lmdb

        self.env = lmdb.open(str(folder()), map_size=1 << 32)
        with self.env.begin(write=True) as transaction:
            transaction.cursor().putmulti(sorted(held))

    def ask(self, number: int) -> Any:
        """Get."""
        with self.env.begin(buffers=True) as transaction:
            return [bytes(transaction.get(name)) for name in self.names[number]]


class BareSqlite(_Bare):
    """A prepared statement for each key, in a table without rowid."""

    def hold(self, held: list[tuple[bytes, bytes]]) -> None:
        """Insert."""
        self.lite = sqlite3.connect(folder() / "kv.sqlite", isolation_level=None)
        self.lite.execute("PRAGMA journal_mode=WAL")
        self.lite.execute("CREATE TABLE kv (k BLOB PRIMARY KEY, v BLOB) WITHOUT ROWID")
        self.lite.execute("BEGIN")
        self.lite.executemany("INSERT INTO kv VALUES (?, ?)", held)
        self.lite.execute("COMMIT")

    def ask(self, number: int) -> Any:
        """Select."""
        return [self.lite.execute("SELECT v FROM kv WHERE k = ?", (name,)).fetchone()[0] for name in self.names[number]]


class BareRedis(_Bare):
    """One MGET."""

    def __init__(self, keys: int, views: int, count: int, *, redis: str) -> None:
        self.address = redis
        super().__init__(keys, views, count)

    def hold(self, held: list[tuple[bytes, bytes]]) -> None:
        """Set, under names of their own."""
        import redis

        host, port = self.address.split(",")[0].split(":")
        self.client = redis.Redis(host=host, port=int(port), db=9)
        self.client.flushdb()
        for begin in range(0, len(held), 1000):
            self.client.mset(dict(held[begin : begin + 1000]))

    def ask(self, number: int) -> Any:
        """Get all at once."""
        return self.client.mget(self.names[number])


class _Writing:
    """Writes ``batch`` rows, new keys each time."""

    def __init__(self, batch: int) -> None:
        self.batch = batch
        self.turn = itertools.count()
        self.open()
        self.batches = [rows(n * batch, batch, moment()) for n in range(12)]
        self.once()

    def open(self) -> None:
        """Open the store."""
        raise NotImplementedError

    def once(self) -> Any:
        """Write the next batch: of new keys, as a race has fewer repeats than there are batches."""
        number = next(self.turn)
        self.write(self.batches[number % len(self.batches)])
        return number

    def write(self, table: pa.Table) -> None:
        """Write."""
        raise NotImplementedError

    def answer(self, made: Any, folder: str) -> dict[str, Any]:
        """Return the digest of three rows of the last batch, read back."""
        first = (made % len(self.batches)) * self.batch
        wanted = [{"hcp_id": f"hcp_{n}"} for n in (0, first, first + self.batch - 1)]
        return answered([self.store.get_online_features([f"v0:{f}" for f in FEATURES], wanted).to_dict()])


class OursWriting(_Writing):
    """`write(..., to="online")`: the batch checked, merged by the contract's order, counted."""

    def __init__(self, batch: int, *, backend: str = "duckdb", redis: str | None = None) -> None:
        self.config = config_of(backend, redis)
        super().__init__(batch)

    def open(self) -> None:
        """Open."""
        self.store = our_store(self.config, 1)

    def write(self, table: pa.Table) -> None:
        """Write."""
        self.store.write("v0", table, to="online")


class FeastWriting(_Writing):
    """Feast's own `write_to_online_store` of a pandas frame."""

    def __init__(self, batch: int, *, redis: str | None = None) -> None:
        self.online = None if redis is None else {"type": "redis", "connection_string": redis}
        super().__init__(batch)

    def open(self) -> None:
        """Open."""
        self.store = feast_store(self.online, 1)

    def write(self, table: pa.Table) -> None:
        """Write."""
        self.store.write_to_online_store("v0", table.to_pandas())
