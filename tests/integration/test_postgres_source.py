"""A `SQLSource` on a real PostgreSQL: exact types, no secret told, and tables that change or go away."""

from __future__ import annotations

import logging
import pickle
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import e2i_fs as fs
from e2i_fs.errors import ConfigError
from e2i_fs.reading import source_parts
from e2i_fs.testing.clock import FakeClock
from tests.kit import NOW, at, table
from tests.servers import PostgresServer, running_postgres

Run = Callable[..., None]


@pytest.fixture
def run(postgres_server: PostgresServer, postgres: str) -> Run:
    """Run SQL in the test's own database."""
    return lambda *statements: postgres_server.execute(*statements, at=postgres)


@pytest.fixture
def store(tmp_path: Path, clock: FakeClock) -> Iterator[fs.FeatureStore]:
    with fs.connect({"backend": "duckdb", "path": str(tmp_path / "store")}, clock=clock) as opened:
        yield opened


def view(source: fs.SQLSource, key: fs.DType = fs.String, name: str = "v", **fields: fs.DType) -> fs.FeatureView:
    entity = fs.Entity(f"{name}_entity", join_keys={"k": key})
    return fs.FeatureView(name, entities=[entity], schema=[fs.Field(n, t) for n, t in fields.items()], source=source)


def answers(store: fs.FeatureStore, feature: str, *keys: Any, when: datetime = NOW, **more: Any) -> list[Any]:
    frame = table({"k": list(keys), "event_timestamp": [when] * len(keys)})
    return store.get_historical_features(frame, [f"v:{feature}"], **more).to_arrow()[feature].to_pylist()


TYPES: dict[str, tuple[str, str, fs.DType, Any]] = {
    "moment": ("timestamptz", "'2024-01-01 09:00:00.123456+09'", fs.Timestamp, datetime(2024, 1, 1, 0, 0, 0, 123456, UTC)),
    "naive": ("timestamp", "'2024-01-01 09:00:00.000001'", fs.Timestamp, datetime(2024, 1, 1, 9, 0, 0, 1, UTC)),
    "ancient": ("timestamptz", "'4713-01-01 00:00+00 BC'", fs.Timestamp, None),
    "money": ("numeric(10,2)", "12345678.91", fs.Decimal(10, 2), Decimal("12345678.91")),
    "wide": ("numeric(38,10)", "-1234567890123456789012345678.0123456789", fs.Decimal(38, 10),
             Decimal("-1234567890123456789012345678.0123456789")),
    "free": ("numeric", "0.5", fs.Decimal(9, 3), Decimal("0.500")),
    "whole": ("int8", "9007199254740993", fs.Int64, 2**53 + 1),
    "small": ("int2", "-7", fs.Int64, -7),
    "single": ("float4", "'NaN'", fs.Float32, "nan"),
    "double": ("float8", "'-Infinity'", fs.Float64, float("-inf")),
    "flag": ("bool", "false", fs.Bool, False),
    "day": ("date", "'2024-02-29'", fs.Date, date(2024, 2, 29)),
    "doc": ("jsonb", """'{"b": [1, null], "a": 1.50}'""", fs.Json, {"a": 1.5, "b": [1, None]}),
    "raw": ("json", """'{"b":1}'""", fs.Json, {"b": 1}),
    "words": ("text[]", "ARRAY['x', NULL, '']", fs.Array(fs.String), ["x", None, ""]),
    "vector": ("float8[]", "ARRAY[1.5, -2]", fs.Array(fs.Float64), [1.5, -2.0]),
    "embedding": ("float4[]", "ARRAY[1.5, -2]", fs.Vector(2), [1.5, -2.0]),
    "blob": ("bytea", r"'\x00ff'", fs.Bytes, b"\x00\xff"),
    "id": ("uuid", "'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'", fs.String, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    "mood": ("mood", "'glad'", fs.String, "glad"),
    "tricky": ("varchar(20)", "E'a\\'b\"c\\n\u20ac'", fs.String, "a'b\"c\n\u20ac"),
}  # fmt: skip


@pytest.mark.rule("P-8", "T-1", "T-4")
def test_every_type_comes_exactly_and_missing_is_missing(store: fs.FeatureStore, postgres: str, run: Run) -> None:
    columns = ", ".join(f'"{n}" {t}' for n, (t, *_) in TYPES.items())
    run(
        "CREATE TYPE mood AS ENUM ('glad', 'sad')",
        f"CREATE TABLE every (k text, event_timestamp timestamptz, {columns})",
        f"INSERT INTO every VALUES ('a', '2024-01-02', {', '.join(v for _, v, *_ in TYPES.values())})",
        "INSERT INTO every (k, event_timestamp) VALUES ('none', '2024-01-02')",
    )
    store.apply([view(fs.SQLSource(postgres, table="every"), **{n: t for n, (_, _, t, _) in TYPES.items()})])
    frame = table({"k": ["a", "none"], "event_timestamp": [NOW, NOW]})
    got = store.get_historical_features(frame, ["v:*"])
    for name, (_, _, dtype, expected) in TYPES.items():
        column = got.to_arrow()[name]
        assert [str(s) for s in got.statuses[f"v:{name}"]] == ["PRESENT", "NULL_VALUE"], name
        if name == "ancient":
            assert column.cast(pa.int64())[0].as_py() < -(2**57)
            continue
        value = column.to_pylist()[0]
        value = fs_json(value) if dtype.kind == "json" else value
        assert (str(value) if expected == "nan" else value) == expected, name


def fs_json(text: Any) -> Any:
    import json

    return json.loads(text) if isinstance(text, str) else text


@pytest.mark.rule("T-1", "T-4")
def test_neither_the_servers_time_zone_nor_its_clock_settings_move_a_naive_time(store, postgres: str, run: Run) -> None:
    """The server stands in Tokyo. The query makes a naive time of an instant, by the zone of its session."""
    run(
        "CREATE TABLE t (k text, event_timestamp timestamptz, x int8)",
        "INSERT INTO t VALUES ('a', '2024-03-10 00:00+00', 1)",
    )
    query = "SELECT k, event_timestamp::timestamp AS event_timestamp, x FROM t -- a comment at the end"
    store.apply([view(fs.SQLSource(postgres, query=query), x=fs.Int64)])
    assert answers(store, "x", "a", when=at(0)) == [1]
    assert answers(store, "x", "a", when=at(0) - timedelta(microseconds=1)) == [None]


@pytest.mark.rule("T-3", "P-1")
def test_a_row_without_a_time_or_that_never_comes_is_never_visible(
    store: fs.FeatureStore, postgres: str, run: Run
) -> None:
    """ADBC turns infinity into a time long ago; such a row would answer everywhere."""
    run(
        "CREATE TABLE t (k text, event_timestamp timestamptz, x int8)",
        "INSERT INTO t VALUES ('a', NULL, 1), ('a', 'infinity', 2), ('b', '2024-03-01', 3)",
    )
    store.apply([view(fs.SQLSource(postgres, table="t"), x=fs.Int64)])
    assert answers(store, "x", "a", "b") == [None, 3]
    store.materialize(None)
    assert store.get_online_features(["v:x"], [{"k": "a"}, {"k": "b"}]).to_dict()["x"] == [None, 3]


@pytest.mark.rule("T-1")
@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("event_timestamp", "-infinity"),
        ("created_at", "infinity"),
        ("seen", "infinity"),
        ("seen", "294270-01-01"),
        ("day", "-infinity"),
    ],
)
def test_an_infinite_time_is_an_error_that_names_its_column(
    store, postgres: str, run: Run, column: str, value: str
) -> None:
    values = {
        "k": "a",
        "event_timestamp": "2024-01-01",
        "created_at": "2024-01-01",
        "seen": None,
        "day": None,
        column: value,
    }
    run(
        "CREATE TABLE t (k text, event_timestamp timestamptz, created_at timestamptz, seen timestamp, day date)",
        f"INSERT INTO t VALUES ({', '.join('NULL' if v is None else repr(v) for v in values.values())})",
    )
    source = fs.SQLSource(postgres, table="t", created_timestamp_field="created_at")
    store.apply([view(source, seen=fs.Timestamp, day=fs.Date)])
    with pytest.raises(fs.BackendDataError, match=rf"{column}.*T-1"):
        answers(store, "seen", "a")


@pytest.mark.rule("P-8", "W-1")
@pytest.mark.parametrize(
    ("kind", "value", "dtype", "says"),
    [
        ("numeric", "1.555", fs.Decimal(9, 2), r"holds 1\.555, which is no Decimal"),
        ("numeric", "'NaN'", fs.Decimal(9, 2), "holds nan"),
        ("numeric", "1" * 40, fs.Decimal(38, 0), "holds 1{40}"),
        ("int8[]", "ARRAY[[1, 2], [3, 4]]", fs.Array(fs.Int64), "x has an array of more than one dimension"),
    ],
)
def test_a_value_that_would_be_altered_is_an_error(
    store, postgres: str, run: Run, kind, value, dtype, says: str
) -> None:
    run(f"CREATE TABLE t AS SELECT 'a' AS k, now() - interval '9 years' AS event_timestamp, {value}::{kind} AS x")
    store.apply([view(fs.SQLSource(postgres, table="t"), x=dtype)])
    with pytest.raises(fs.BackendDataError, match=says):
        answers(store, "x", "a", when=datetime(2200, 1, 1, tzinfo=UTC))


@pytest.mark.rule("R-3")
def test_apply_names_every_column_that_is_missing_or_does_not_fit(
    store: fs.FeatureStore, postgres: str, run: Run
) -> None:
    run("CREATE TABLE t (k int8, event_time timestamptz, price numeric(12,4), share numeric, cost money, trx int8)")
    source = fs.SQLSource(postgres, table="t")
    wanted = view(source, price=fs.Decimal(12, 2), share=fs.Float32, cost=fs.Int64, trx_count=fs.Int64)
    with pytest.raises(fs.SchemaMismatchError) as told:
        store.apply([wanted])
    said = str(told.value)
    assert "no column 'event_timestamp'. Did you mean 'event_time'" in said
    assert "'k' is int64" in said
    assert "'price' is decimal128(12, 4)" in said
    assert "'share' is decimal" in said
    assert "money" in said
    assert "no column 'trx_count'" in said
    assert store.list_feature_views() == []


@pytest.mark.rule("R-3")
def test_a_table_that_is_not_there_is_refused_at_apply(store: fs.FeatureStore, postgres: str) -> None:
    with pytest.raises(fs.BackendDataError, match='"busines_metrics" does not exist'):
        store.apply([view(fs.SQLSource(postgres, table="busines_metrics"), x=fs.Int64)])


@pytest.mark.rule("R-3")
def test_a_table_changed_since_is_an_error_that_names_what_changed(
    store: fs.FeatureStore, postgres: str, run: Run
) -> None:
    run(
        "CREATE TABLE t (k text, event_timestamp timestamptz, x int8, y int8)",
        "INSERT INTO t VALUES ('a', '2024-01-01', 1, 2)",
    )
    store.apply([view(fs.SQLSource(postgres, table="t"), x=fs.Int64, y=fs.Int64)])
    run("ALTER TABLE t ALTER x TYPE text")
    with pytest.raises(fs.BackendDataError, match=r"table 't' in the database at 127.*column 'x' is string now.*Int64"):
        answers(store, "y", "a")
    run("ALTER TABLE t DROP x")
    with pytest.raises(fs.BackendDataError, match=r"table 't' in the database at 127.*has no column 'x'"):
        answers(store, "y", "a")


@pytest.mark.rule("W-3", "O-6")
def test_rows_that_arrive_late_are_online_after_the_next_incremental_run(store, postgres: str, run: Run) -> None:
    run(
        "CREATE TABLE t (k text, event_timestamp timestamptz, x int8)",
        "INSERT INTO t VALUES ('a', '2024-03-10 06:00+00', 1)",
    )
    store.apply([view(fs.SQLSource(postgres, table="t"), x=fs.Int64)])
    store.materialize_incremental()
    run("INSERT INTO t VALUES ('a', '2024-03-10 07:00+00', 2), ('b', '2024-03-01', 3)")
    store.materialize_incremental()
    assert store.get_online_features(["v:x"], [{"k": "a"}, {"k": "b"}]).to_dict()["x"] == [2, 3]
    assert answers(store, "x", "a", "b") == [2, 3]


# ---- names are names -------------------------------------------------------------------------------------------


def test_no_name_is_taken_for_sql_and_nothing_can_be_written(store: fs.FeatureStore, postgres: str, run: Run) -> None:
    bad = 'x"; DROP TABLE t; --'
    run(
        "CREATE TABLE t (k text, event_timestamp timestamptz, x int8)",
        "INSERT INTO t VALUES ('a', '2024-01-01', 1)",
        f"""CREATE TABLE "Odd.name" (k text, event_timestamp timestamptz, "{bad.replace('"', '""')}" int8)""",
        """INSERT INTO "Odd.name" VALUES ('a'' OR true; --', '2024-01-01', 5)""",
        "CREATE FUNCTION empty_it() RETURNS int8 LANGUAGE plpgsql AS $$ BEGIN DELETE FROM t; RETURN 1; END $$",
    )
    with pytest.raises(fs.BackendDataError, match="does not exist"):
        store.apply([view(fs.SQLSource(postgres, table="t; DROP TABLE t"), x=fs.Int64)])
    with pytest.raises(fs.BackendDataError, match="syntax error|multiple commands"):
        store.apply([view(fs.SQLSource(postgres, query="SELECT * FROM t) AS s; DELETE FROM t; --"), x=fs.Int64)])
    odd = fs.SQLSource(postgres, table='"Odd.name"', field_mapping={bad: "x"})
    store.apply([view(odd, x=fs.Int64)])
    assert answers(store, "x", "a' OR true; --", "b') OR ('1' = '1", "\\' OR 1=1 --", "nul\0") == [5, None, None, None]
    writing = fs.SQLSource(postgres, query="SELECT 'a' AS k, now() AS event_timestamp, empty_it() AS x")
    store.apply([view(writing, x=fs.Int64)])
    with pytest.raises(fs.BackendDataError, match="read-only transaction"):
        answers(store, "x", "a", when=datetime(2200, 1, 1, tzinfo=UTC))
    store.apply([view(fs.SQLSource(postgres, table="T"), x=fs.Int64)])  # as PostgreSQL reads it: t
    assert answers(store, "x", "a") == [1]


# ---- secrets ---------------------------------------------------------------------------------------------------

SECRET = "hunter2%2Fpw"


@pytest.mark.parametrize(
    "connection",
    [
        f"postgresql://me:{SECRET}@h/d",
        f"postgresql://me@h/d?password={SECRET}",
        f"postgresql://me:${{PW:-{SECRET}}}@h/d",
        f"postgresql://me:${{PW}}{SECRET}@h/d",
        f"${{DB:-postgresql://me:{SECRET}@h/d}}",
        f"host=h password={SECRET}",
    ],
)
def test_a_definition_with_a_password_in_it_is_refused_without_showing_it(connection: str) -> None:
    with pytest.raises(fs.DefinitionError, match="connection") as told:
        fs.SQLSource(connection, table="t")
    assert SECRET not in str(told.value)


@pytest.mark.parametrize("uri", ["postgresql://me:{}@127.0.0.1:1/d", "postgresql://me@127.0.0.1:1/d?password={}"])
def test_a_password_is_in_no_error_log_catalogue_or_fingerprint(store, uri: str, monkeypatch, caplog) -> None:
    monkeypatch.setenv("E2I_SECRET", SECRET)
    source = fs.SQLSource(uri.format("${E2I_SECRET}"), table="t")
    wanted = view(source, x=fs.Int64)
    with caplog.at_level(logging.DEBUG):
        store.apply([wanted])  # it cannot be reached, which the log says
        with pytest.raises(fs.BackendDataError, match="127.0.0.1:1/d") as told:
            answers(store, "x", "a")
    assert "not checked (R-3)" in caplog.text
    kept = store.get_feature_view("v")
    fingerprint = store.catalog().fingerprint("v")
    monkeypatch.setenv("E2I_SECRET", "another")
    assert store.catalog().fingerprint("v") == fingerprint
    chain, error = [], told.value
    while error is not None:
        chain.append(f"{error!r}")
        error = error.__cause__ or error.__context__
    for shown in (repr(kept), str(kept.to_json()), str(pickle.dumps(wanted)), caplog.text, *chain):
        assert SECRET not in shown
        assert "hunter2/pw" not in shown


@pytest.mark.parametrize("password", ["se/cr@et", "se cret", "[::"])
def test_a_password_that_makes_no_uri_is_said_without_showing_it(store, monkeypatch, password: str) -> None:
    monkeypatch.setenv("E2I_SECRET", password)
    with pytest.raises(ConfigError, match="percent|%40|URI") as told:
        store.apply([view(fs.SQLSource("postgresql://me:${E2I_SECRET}@127.0.0.1:1/d", table="t"), x=fs.Int64)])
    assert password not in str(told.value)


# ---- a server that goes away -----------------------------------------------------------------------------------


@pytest.mark.rule("X-1", "X-2")
def test_a_server_killed_in_the_middle_of_an_answer_is_a_source_that_is_away(tmp_path: Path, clock: FakeClock) -> None:
    """Every backend reads the same source: that it is away counts against none of them."""
    pytest.importorskip("adbc_driver_postgresql", reason='needs the driver: pip install "e2i-fs[postgres]"')
    with running_postgres() as server:
        server.execute(
            "CREATE TABLE t AS SELECT 'k' || i AS k, '2024-01-01'::timestamptz AS event_timestamp, i::int8 AS x, "
            "repeat('x', 1000) AS y FROM generate_series(1, 40000) i"
        )
        wanted = view(fs.SQLSource(server.address, table="t"), x=fs.Int64, y=fs.String)
        backends = [{"name": n, "backend": "duckdb", "path": str(tmp_path / n)} for n in ("one", "two")]
        with fs.connect({"backends": backends, "failover": {"shadow_rate": 0}}, clock=clock) as store:
            store.apply([wanted])
            assert answers(store, "x", "k7") == [7]
            catalog = store.catalog()
            (part,) = source_parts(catalog.view("v"), catalog.join_keys("v"), "")
            with closing(part.reader) as reader:
                reader.read_next_batch()  # of about three: what is left is more than is on its way
                server.kill()
                with pytest.raises(fs.BackendDataError, match=r"127\.0\.0\.1.*in the middle of the answer"):
                    for _ in reader:
                        pass
            for _ in range(6):
                with pytest.raises(fs.BackendDataError, match="cannot be reached"):
                    answers(store, "x", "k7")
            assert [h.liveness for h in store.health()] == ["closed", "closed"]
            server.start()
            assert answers(store, "x", "k7", "none") == [7, None]


def test_a_stream_that_nobody_reads_lets_go_of_its_connection(postgres: str, run: Run, store: fs.FeatureStore) -> None:
    run("CREATE TABLE t AS SELECT 'a' AS k, now() AS event_timestamp, 1::int8 AS x")
    store.apply([view(fs.SQLSource(postgres, table="t"), x=fs.Int64)])
    catalog = store.catalog()
    parts = source_parts(catalog.view("v"), catalog.join_keys("v"), "")
    assert re.match("k: string", str(parts[0].reader.schema))
    del parts
    run("ALTER TABLE t ADD y int8")  # would wait for a reader that still had the table
