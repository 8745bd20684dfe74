"""Sources other than Parquet, read in place: PostgreSQL (a real server), DuckDB files, CSV."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import e2i_fs as fs

T0 = datetime(2024, 1, 1, tzinfo=UTC)
BIG = 2**53 + 1
ROWS = [
    ("a", T0, T0, 1),
    ("a", T0 + timedelta(days=2), T0 + timedelta(days=4), BIG),
    ("b", T0 + timedelta(days=1), None, None),
]


def expected(store: fs.FeatureStore, source: object) -> None:
    view = fs.FeatureView("v", entities=[fs.Entity("hcp_id")], schema=[fs.Field("trx", fs.Int64)], source=source)
    store.apply([view])
    times = [T0 + timedelta(days=3)] * 3
    asked = pa.table({"hcp_id": ["b", "a", "c"], "event_timestamp": pa.array(times, pa.timestamp("us", "UTC"))})
    result = store.get_historical_features(asked, ["v:trx"])
    assert result.to_arrow()["trx"].to_pylist() == [None, BIG, None]
    assert [str(s) for s in result.statuses["v:trx"]] == ["NULL_VALUE", "PRESENT", "NOT_FOUND"]
    known = store.get_historical_features(asked, ["v:trx"], filter_by_created_timestamp=True)
    assert known.to_arrow()["trx"].to_pylist() == [None, 1, None]
    store.materialize(None)
    assert store.get_online_features(["v:trx"], [{"hcp_id": "a"}]).to_dict()["trx"] == [BIG]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[fs.FeatureStore]:
    with fs.connect({"backend": "duckdb", "path": str(tmp_path / "store")}) as opened:
        yield opened


def test_a_postgresql_table_is_read_in_place(store: fs.FeatureStore, postgres: str, monkeypatch) -> None:
    import adbc_driver_postgresql.dbapi as dbapi

    with dbapi.connect(postgres) as session, session.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE metrics (hcp_id text, event_timestamp timestamptz, created_at timestamptz, trx bigint)"
        )
        cursor.executemany("INSERT INTO metrics VALUES ($1, $2, $3, $4)", ROWS)
        session.commit()
    monkeypatch.setenv("E2I_PG", postgres)
    expected(store, fs.SQLSource("${E2I_PG}", table="metrics", created_timestamp_field="created_at"))


def test_a_postgresql_column_that_does_not_fit_is_named_at_apply(store: fs.FeatureStore, postgres: str) -> None:
    source = fs.SQLSource(postgres, query="SELECT 'x' AS hcp_id, now() AS event_timestamp, 1.5::float8 AS trx")
    view = fs.FeatureView("v", entities=[fs.Entity("hcp_id")], schema=[fs.Field("trx", fs.Int64)], source=source)
    with pytest.raises(fs.SchemaMismatchError, match="'trx' is double"):
        store.apply([view])
    assert store.list_feature_views() == []


def test_a_database_that_is_down_moves_no_value_in(store: fs.FeatureStore) -> None:
    source = fs.SQLSource("postgresql://e2i@127.0.0.1:1/none", table="metrics")
    pytest.importorskip("adbc_driver_postgresql", reason='needs the driver: pip install "e2i-fs[postgres]"')
    view = fs.FeatureView("v", entities=[fs.Entity("hcp_id")], schema=[fs.Field("trx", fs.Int64)], source=source)
    store.apply([view])  # R-3 checks the sources that can be reached
    asked = pa.table({"hcp_id": ["a"], "event_timestamp": pa.array([T0], pa.timestamp("us", "UTC"))})
    with pytest.raises(fs.BackendDataError, match="127.0.0.1:1"):
        store.get_historical_features(asked, ["v:trx"])


def test_a_duckdb_table_is_read_in_place(store: fs.FeatureStore, tmp_path: Path) -> None:
    with duckdb.connect(str(tmp_path / "w.duckdb")) as warehouse:
        warehouse.execute(
            "CREATE TABLE m (hcp_id TEXT, event_timestamp TIMESTAMPTZ, created_at TIMESTAMPTZ, trx BIGINT)"
        )
        warehouse.executemany("INSERT INTO m VALUES (?, ?, ?, ?)", ROWS)
    expected(store, fs.DuckDBSource(tmp_path / "w.duckdb", table="m", created_timestamp_field="created_at"))
    # The file is let go of each time: it can be written again, and read again, also as another query's source.
    with duckdb.connect(str(tmp_path / "w.duckdb")) as warehouse:
        warehouse.execute("UPDATE m SET trx = 7 WHERE trx = 1")
    again = fs.DuckDBSource(tmp_path / "w.duckdb", query="SELECT * FROM m;", created_timestamp_field="created_at")
    entity = fs.Entity("hcp_id")
    store.apply([fs.FeatureView("w", entities=[entity], schema=[fs.Field("trx", fs.Int64)], source=again)])
    asked = pa.table({"hcp_id": ["a"], "event_timestamp": pa.array([T0], pa.timestamp("us", "UTC"))})
    assert store.get_historical_features(asked, ["w:trx"]).to_arrow()["trx"].to_pylist() == [7]


def test_csv_files_are_parsed_as_declared(store: fs.FeatureStore, tmp_path: Path) -> None:
    lines = ["hcp_id,event_timestamp,created_at,trx"]
    lines += [f"{k},{e.isoformat()},{c.isoformat() if c else ''},{'' if v is None else v}" for k, e, c, v in ROWS]
    (tmp_path / "m.csv").write_text("\n".join(lines) + "\n")
    expected(store, fs.CSVSource(tmp_path / "m.csv", created_timestamp_field="created_at"))


@pytest.mark.parametrize(
    ("text", "dtype"),
    [
        ("1.5", fs.Int64),
        ("1.555", fs.Decimal(9, 2)),
        ("2024-01-01T00:00:00.1234567Z", fs.Timestamp),
        ("2024-01-01 05:00:00", fs.Date),
        ("one", fs.Float64),
        ("1_000", fs.Float64),
        ("-1e400", fs.Float64),
        ("1e39", fs.Float32),
        ("abc", fs.Bytes),
        ("infinity", fs.Timestamp),
        ("99999999999", fs.Int32),
    ],
)
def test_a_csv_value_that_is_not_what_is_declared_is_an_error(
    store, tmp_path: Path, text: str, dtype: fs.DType
) -> None:
    (tmp_path / "m.csv").write_text(f"hcp_id,event_timestamp,x\na,2024-01-01T00:00:00Z,{text}\n")
    source = fs.CSVSource(tmp_path / "m.csv")
    store.apply([fs.FeatureView("v", entities=[fs.Entity("hcp_id")], schema=[fs.Field("x", dtype)], source=source)])
    asked = pa.table({"hcp_id": ["a"], "event_timestamp": pa.array([T0], pa.timestamp("us", "UTC"))})
    with pytest.raises(fs.BackendDataError, match="infinite" if text == "infinity" else text.split(".")[0]):
        store.get_historical_features(asked, ["v:x"])


@pytest.mark.parametrize(
    ("text", "dtype"),
    [
        ("-7", fs.Int64),
        ("1.50", fs.Decimal(9, 2)),
        ("2024-01-01T00:00:00.123456Z", fs.Timestamp),
        ("2024-01-01", fs.Date),
        ("-1.5", fs.Float64),
        ("-inf", fs.Float64),
        ("nan", fs.Float32),
    ],
)
def test_a_csv_value_that_is_what_is_declared_is_read(store, tmp_path: Path, text: str, dtype: fs.DType) -> None:
    (tmp_path / "m.csv").write_text(f"hcp_id,event_timestamp,x\na,2024-01-01T00:00:00Z,{text}\n")
    source = fs.CSVSource(tmp_path / "m.csv")
    store.apply([fs.FeatureView("v", entities=[fs.Entity("hcp_id")], schema=[fs.Field("x", dtype)], source=source)])
    asked = pa.table({"hcp_id": ["a"], "event_timestamp": pa.array([T0], pa.timestamp("us", "UTC"))})
    (value,) = store.get_historical_features(asked, ["v:x"]).to_arrow()["x"].to_pylist()
    assert str(value).replace(" ", "T").replace("+00:00", "Z") == text


@pytest.mark.rule("X-1", "X-2")
def test_a_source_that_cannot_be_opened_counts_against_no_backend(tmp_path: Path) -> None:
    """Every backend reads the same source: it is no sign of one being down, and other views go on."""
    with duckdb.connect(str(tmp_path / "w.duckdb")) as warehouse:
        warehouse.execute("CREATE TABLE m (hcp_id TEXT, event_timestamp TIMESTAMPTZ, trx BIGINT)")
    hcp = fs.Entity("hcp_id")
    sourced = fs.FeatureView(
        "sourced",
        entities=[hcp],
        schema=[fs.Field("trx", fs.Int64)],
        source=fs.DuckDBSource(tmp_path / "w.duckdb", table="m"),
    )
    pushed = fs.FeatureView("pushed", entities=[hcp], schema=[fs.Field("x", fs.Int64)])
    backends = [{"name": n, "backend": "duckdb", "path": str(tmp_path / n)} for n in ("primary", "standby")]
    with fs.connect({"backends": backends, "failover": {"shadow_rate": 0}}) as store:
        store.apply([sourced, pushed])
        asked = pa.table({"hcp_id": ["a"], "event_timestamp": pa.array([T0], pa.timestamp("us", "UTC"))})
        store.write("pushed", asked.append_column("x", pa.array([1])))
        (tmp_path / "w.duckdb").rename(tmp_path / "away")
        for _ in range(7):
            with pytest.raises(fs.BackendDataError, match=r"w\.duckdb"):
                store.get_historical_features(asked, ["sourced:trx"])
        assert [h.liveness for h in store.health()] == ["closed", "closed"]
        answer = store.get_online_features(["pushed:x"], [{"hcp_id": "a"}])
        assert (answer.to_dict()["x"], answer.provenance.served_by) == ([1], "primary")
        assert store.write("pushed", asked.append_column("x", pa.array([2]))).applied == ("primary", "standby")


@pytest.mark.rule("P-1", "T-1")
@pytest.mark.parametrize("kind", ["file", "object", "duckdb"])
@pytest.mark.parametrize(("asked_us", "expected"), [(2**63 - 1, 1), (253_402_300_800_000_000, 1), (-(2**63) + 1, None)])
def test_an_entity_row_at_any_time_that_microseconds_can_count_is_answered(
    store, tmp_path: Path, kind: str, asked_us: int, expected: int | None
) -> None:
    rows = pa.table({"hcp_id": ["a"], "event_timestamp": pa.array([T0], pa.timestamp("us", "UTC")), "x": [1]})
    pq.write_table(rows, tmp_path / "m.parquet")
    with duckdb.connect(str(tmp_path / "w.duckdb")) as warehouse:
        warehouse.register("rows", rows)
        warehouse.execute("CREATE TABLE m AS SELECT * FROM rows")
    if kind == "object":
        pytest.importorskip("fsspec", reason='needs fsspec: pip install "e2i-fs[objects]"')
    source = {
        "file": fs.ParquetSource(tmp_path / "m.parquet"),
        "object": fs.ParquetSource((tmp_path / "m.parquet").as_uri()),
        "duckdb": fs.DuckDBSource(tmp_path / "w.duckdb", table="m"),
    }[kind]
    store.apply([fs.FeatureView("v", entities=[fs.Entity("hcp_id")], schema=[fs.Field("x", fs.Int64)], source=source)])
    times = pa.array([asked_us], pa.int64()).cast(pa.timestamp("us", "UTC"))
    result = store.get_historical_features(pa.table({"hcp_id": ["a"], "event_timestamp": times}), ["v:x"])
    assert result.to_arrow()["x"].to_pylist() == [expected]
