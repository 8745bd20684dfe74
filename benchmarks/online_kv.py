"""Which embedded store for online rows: one writer's batch and 100 lookups in LMDB, SQLite (WAL) and DuckDB."""

from __future__ import annotations

import random
import sqlite3
import tempfile
from pathlib import Path

import duckdb
import lmdb
import msgpack

from benchmarks.harness import Row, interleaved


def run(*, quick: bool) -> tuple[str, list[Row]]:
    size = 20_000 if quick else 200_000
    folder = Path(tempfile.mkdtemp())
    rows = {
        f"hcp_{i}".encode(): msgpack.packb([[i, i, {f"f{j}": float(i * j) for j in range(10)}]]) for i in range(size)
    }
    env = lmdb.open(str(folder / "lmdb"), map_size=1 << 34)
    with env.begin(write=True) as transaction:
        transaction.cursor().putmulti(sorted(rows.items()))
    lite = sqlite3.connect(folder / "kv.sqlite", isolation_level=None)
    lite.execute("PRAGMA journal_mode=WAL")
    lite.execute("CREATE TABLE kv (k BLOB PRIMARY KEY, v BLOB) WITHOUT ROWID")
    lite.execute("BEGIN")
    lite.executemany("INSERT INTO kv VALUES (?, ?)", rows.items())
    lite.execute("COMMIT")
    duck = duckdb.connect(str(folder / "kv.duckdb"))
    duck.execute("CREATE TABLE kv (k VARCHAR PRIMARY KEY, v BLOB)")
    import pyarrow as pa

    held = pa.table({"k": [k.decode() for k in rows], "v": list(rows.values())})
    duck.register("held", held)
    duck.execute("INSERT INTO kv SELECT * FROM held")
    asked = random.Random(7).sample(sorted(rows), 100)

    def from_lmdb() -> list[bytes]:
        with env.begin(buffers=True) as transaction:
            return [bytes(transaction.get(k)) for k in asked]

    def from_sqlite() -> list[bytes]:
        return [lite.execute("SELECT v FROM kv WHERE k = ?", (k,)).fetchone()[0] for k in asked]

    def from_duckdb() -> list[bytes]:
        return [duck.execute("SELECT v FROM kv WHERE k = ?", (k.decode(),)).fetchall()[0][0] for k in asked]

    assert from_lmdb() == from_sqlite() == from_duckdb()
    contenders = {
        "LMDB, 100 lookups": from_lmdb,
        "SQLite, 100 lookups": from_sqlite,
        "DuckDB, 100 lookups": from_duckdb,
    }
    return f"Online rows: {size:,} rows of 10 features, 100 lookups", interleaved(contenders, 10 if quick else 50)
