"""What a database is asked to leave out changes no answer: pushed and not pushed are compared on real databases."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pytest

import e2i_fs as fs
from e2i_fs.backend import Knowledge
from e2i_fs.clock import to_us
from e2i_fs.pit.engine import point_in_time
from e2i_fs.reading import source_parts
from e2i_fs.sql.hints import MOST_KEYS
from e2i_fs.values import arrow_type
from tests.servers import PostgresServer

WORDS = [
    "ab",
    "AB",
    "ab ",
    "ab   ",
    "Ab",
    "",
    " ",
    "ä",
    "Ä",
    "a\u0308",
    "ß",
    "ss",
    "1",
    "01",
    "1.0",
    "a'b",
    "a\\b",
    "😀",
    "_%",
]
UUIDS = ["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "a0eebc99"]
NUMBERS = [0, 1, -1, 7, 2**15 - 1, -(2**15)]
T0 = datetime(2024, 3, 10, tzinfo=UTC)


def made(
    view: fs.FeatureView, keys: dict[str, fs.DType], asked: list[tuple[Any, ...]], times: list[datetime]
) -> pa.Table:
    columns = {"t": pa.array([to_us(t) for t in times], pa.int64())}
    for i, dtype in enumerate(keys.values()):
        columns[f"k{i}"] = pa.array([row[i] for row in asked], arrow_type(dtype))
    return pa.table(columns)


def both(view: fs.FeatureView, keys: dict[str, fs.DType], keyed: pa.Table) -> tuple[list[Any], list[Any], int, int]:
    """Return the answers with all rows and with the pushed ones, and how many rows came."""
    answers, rows = [], []
    hints = {"keys": keyed.drop_columns(["t"]), "until_us": pc.max(keyed["t"]).as_py()}
    for given in ({}, hints):
        (part,) = source_parts(view, keys, "", **given)
        table = part.reader.read_all()
        rows.append(len(table))
        found = point_in_time(keyed, view, keys, ["x"], [type(part)(table.to_reader())], Knowledge())
        answers.append(found.to_pylist())
    return answers[0], answers[1], rows[0], rows[1]


KEYS = [
    ("text", fs.String, WORDS),
    ("varchar(8)", fs.String, WORDS),
    ("char(5)", fs.String, ["ab   ", "AB   ", "1    "]),  # as the table has them: PostgreSQL would strip both sides
    ("name", fs.String, WORDS),
    ('text COLLATE "loose"', fs.String, WORDS),
    ("mood", fs.String, ["ab", "AB", "1"]),
    ("uuid", fs.String, UUIDS),
    ("int2", fs.Int64, NUMBERS),
    ("int8", fs.Int32, NUMBERS),
    ("timestamptz", fs.Timestamp, [T0, T0 + timedelta(microseconds=1)]),
]


@pytest.mark.rule("P-7", "P-10")
@pytest.mark.parametrize(("kind", "dtype", "pool"), KEYS, ids=[k[0] for k in KEYS])
def test_of_postgresql_a_pushed_filter_changes_no_answer(
    postgres_server: PostgresServer, postgres: str, kind: str, dtype: fs.DType, pool: list[Any]
) -> None:
    draw = random.Random(f"{kind}:1")
    stored = pool[:1] if kind == "uuid" else pool
    rows = []
    for number in range(80):
        key = draw.choice([*stored, None])
        when = draw.choice(
            [None, "infinity", *(T0 + timedelta(microseconds=draw.choice([0, 1, 999_999, 10**9])) for _ in range(6))]
        )
        rows.append(f"({literal(key)}, {literal(draw.choice(['x', 'y', None]))}, {literal(when)}, {number})")
    postgres_server.execute(
        "CREATE TYPE mood AS ENUM ('ab', 'AB', '1')",
        "CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level1', deterministic = false)",
        f"CREATE TABLE t (k {kind}, other text, event_timestamp timestamptz, x int8)",
        f"INSERT INTO t VALUES {', '.join(rows)}",
        at=postgres,
    )
    keys = {"k": dtype, "other": fs.String}
    view = fs.FeatureView(
        "v",
        entities=[fs.Entity("e", join_keys=keys)],
        schema=[fs.Field("x", fs.Int64)],
        source=fs.SQLSource(postgres, table="t"),
    )
    fewer = 0
    for _ in range(5):
        asked = [(draw.choice([*pool, None]), draw.choice(["x", "y", "z", None])) for _ in range(draw.randint(1, 4))]
        times = [T0 + timedelta(microseconds=draw.choice([-1, 0, 1, 10**9])) for _ in asked]
        plain, pushed, every, some = both(view, keys, made(view, keys, asked, times))
        assert pushed == plain, (asked, times)
        fewer += some < every
    assert fewer, "the time alone leaves rows out"


def literal(value: Any) -> str:
    if value is None:
        return "NULL"
    return "'" + str(value).replace("'", "''") + "'"


@pytest.mark.rule("P-7", "P-10")
@pytest.mark.parametrize("kind", ["VARCHAR", "VARCHAR COLLATE NOCASE", "INTEGER", "DOUBLE"])
@pytest.mark.parametrize("time", ["TIMESTAMPTZ", "TIMESTAMP", "DATE", "TIMESTAMP_NS"])
def test_of_a_duckdb_file_a_pushed_filter_changes_no_answer(tmp_path: Path, kind: str, time: str) -> None:
    draw = random.Random(f"{kind}:{time}")
    text = kind.startswith("VARCHAR")
    pool: list[Any] = WORDS if text else [0, 1, 7]
    with duckdb.connect(str(tmp_path / "w.duckdb")) as warehouse:
        warehouse.execute("SET TimeZone = 'Asia/Tokyo'")
        warehouse.execute(f"CREATE TABLE t (k {kind}, event_timestamp {time}, x BIGINT, unused VARCHAR)")
        for number in range(60):
            when = draw.choice([None, *(T0 + timedelta(seconds=s) for s in (0, 60, 90_000))])
            naive = when.replace(tzinfo=None) if when and time != "TIMESTAMPTZ" else when
            warehouse.execute("INSERT INTO t VALUES (?, ?, ?, 'u')", [draw.choice([*pool, None]), naive, number])
    keys = {"k": fs.String if text else fs.Int64}
    if kind == "DOUBLE":
        keys = {"k": fs.String}
    view = fs.FeatureView(
        "v",
        entities=[fs.Entity("e", join_keys=keys)],
        schema=[fs.Field("x", fs.Int64)],
        source=fs.DuckDBSource(
            tmp_path / "w.duckdb", query="SELECT * REPLACE (k::VARCHAR AS k) FROM t" if kind == "DOUBLE" else "FROM t"
        ),
    )
    for _ in range(8):
        asked = [(draw.choice([*map(str, pool)] if kind == "DOUBLE" else [*pool, None]),) for _ in range(3)]
        times = [T0 + timedelta(seconds=draw.choice([-1, 0, 59, 60, 86_399, 90_000])) for _ in asked]
        plain, pushed, every, some = both(view, keys, made(view, keys, asked, times))
        assert pushed == plain, (asked, times)
        assert some <= every


def test_a_question_about_a_few_keys_brings_their_rows_and_no_others(
    postgres_server: PostgresServer, postgres: str
) -> None:
    """Counted: the table has 200,000 rows of 2,000 keys; for 12 keys and the first 30 of 100 hours 360 come."""
    postgres_server.execute(
        "CREATE TABLE t AS SELECT 'k' || i % 2000 AS k, '2024-03-10'::timestamptz + (i / 2000) * interval '1 hour' "
        "AS event_timestamp, i::int8 AS x, repeat('y', 100) AS unused FROM generate_series(0, 199999) i",
        "CREATE INDEX ON t (k, event_timestamp)",
        "ANALYZE t",
        at=postgres,
    )
    keys = {"k": fs.String}
    view = fs.FeatureView(
        "v",
        entities=[fs.Entity("e", join_keys=keys)],
        schema=[fs.Field("x", fs.Int64)],
        source=fs.SQLSource(postgres, table="t"),
    )
    start = datetime(2024, 3, 9, 15, tzinfo=UTC)  # midnight in Tokyo, where the server stands
    keyed = made(view, keys, [(f"k{i}",) for i in range(12)], [start + timedelta(hours=29)] * 12)
    plain, pushed, every, some = both(view, keys, keyed)
    assert (pushed, every, some) == (plain, 200_000, 12 * 30)
    many = made(view, keys, [(f"k{i}",) for i in range(MOST_KEYS + 1)], [start] * (MOST_KEYS + 1))
    (part,) = source_parts(view, keys, "", keys=many.drop_columns(["t"]), until_us=to_us(start))
    assert part.reader.read_all().num_rows == 2_000  # too many to list: by time alone
