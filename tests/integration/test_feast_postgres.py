"""E2I as it is in production: tables in PostgreSQL, Feast with its postgres offline store and Redis, DuckDB beside it."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import e2i_fs as fs
from e2i_fs.errors import ConfigError
from e2i_fs.testing.clock import FakeClock
from feature_repo import definitions
from feature_repo.generate import DEFAULT_UNTIL, Generated, generate
from feature_repo.postgres import load
from tests.kit import table
from tests.servers import PostgresServer, RedisServer, running_postgres, running_redis

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("feast") is None or importlib.util.find_spec("psycopg") is None,
    reason='needs Feast and the drivers of PostgreSQL: pip install "e2i-fs[feast,redis,postgres]"',
)
ENGAGEMENT = ["engagement_score", "call_frequency", "conversion_rate"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Generated:
    return generate(tmp_path_factory.mktemp("e2i"), scale=0.05)


@pytest.fixture(scope="module")
def production(data: Generated) -> Iterator[PostgresServer]:
    with running_postgres(timezone="America/New_York") as server:
        counted = load(data.folder, server.address)
        assert counted == {name: count for name, count in data.rows.items() if name in counted}
        yield server


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with running_redis() as server:
        yield server


def configuration(folder: Path, postgres: PostgresServer, redis: RedisServer, project: str) -> dict[str, Any]:
    feast = {
        "name": "feast", "backend": "feast", "path": str(folder / "feast"), "project": project,
        "offline_store": postgres.settings, "online_store": {"type": "redis", "connection_string": redis.address},
    }  # fmt: skip
    standby = {"name": "duckdb", "backend": "duckdb", "path": str(folder / "duckdb")}
    return {
        "backends": [feast, standby],
        "state": str(folder / "state"),
        "failover": {"shadow_rate": 0, "background": False},
    }


def asked(data: Generated, rows: int = 40) -> pa.Table:
    return pq.read_table(data.outcomes).drop_columns(["converted"]).slice(0, rows)


def rows_of(result: Any) -> list[dict[str, Any]]:
    return [{k: repr(v) for k, v in row.items()} for row in result.to_arrow().to_pylist()]


def test_tables_in_postgresql_answer_as_the_files_they_were_filled_from(
    data: Generated, production: PostgresServer, redis: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("E2I_POSTGRES", production.address)
    clock = FakeClock(DEFAULT_UNTIL)
    with (
        fs.connect(configuration(tmp_path, production, redis, "equal"), clock=clock) as store,
        fs.connect({"backend": "duckdb", "path": str(tmp_path / "files")}, clock=clock) as files,
    ):
        store.apply(definitions(postgres="${E2I_POSTGRES}"))
        files.apply(definitions(data.folder))
        more = {"filter_by_created_timestamp": True, "as_of": DEFAULT_UNTIL - timedelta(days=30)}
        for service in ("hcp_conversion",):
            ours = store.get_historical_features(asked(data), service, **more)
            assert ours.provenance.served_by == "feast"
            assert rows_of(ours) == rows_of(files.get_historical_features(asked(data), service, **more))
        report = store.materialize(None)
        assert not report.failed
        files.materialize(None)
        pairs = asked(data).select(["hcp_id", "brand_id"]).to_pylist()[:10]
        mine, theirs = (s.get_online_features("hcp_conversion", pairs) for s in (store, files))
        assert mine.provenance.served_by == "feast"
        assert repr(mine.to_dict()) == repr(theirs.to_dict())
        assert mine.statuses == theirs.statuses

        # A push lands in Redis and, as history, in PostgreSQL.
        now = clock.now()
        row = {**pairs[0], "event_timestamp": now, "created_at": now, **dict.fromkeys(ENGAGEMENT, 0.5)}
        pushed = pa.Table.from_pylist([row]).cast(
            pa.schema([("hcp_id", "string"), ("brand_id", "string"), ("event_timestamp", pa.timestamp("us", "UTC")),
                       ("created_at", pa.timestamp("us", "UTC")), *((n, pa.float32()) for n in ENGAGEMENT)])
        )  # fmt: skip
        store.push("hcp_engagement_push_source", pushed, to="both")
        refs = [f"hcp_engagement_features:{n}" for n in ENGAGEMENT]
        assert store.get_online_features(refs, pairs[:1]).to_dict()["engagement_score"] == [0.5]
        frame = table({"hcp_id": [row["hcp_id"]], "brand_id": [row["brand_id"]], "event_timestamp": [now]})
        told = store.get_historical_features(frame, refs)
        assert (told.to_arrow()["call_frequency"].to_pylist(), told.provenance.served_by) == ([0.5], "feast")

    # Another machine has nothing but the configuration: the registry's folder is shared, the written history is not on it.
    for copy in (tmp_path / "feast" / ".e2i_fs" / "history").rglob("*.parquet"):
        copy.unlink()
    with fs.connect(configuration(tmp_path, production, redis, "equal"), clock=clock) as again:
        assert again.get_historical_features(frame, refs).to_arrow()["call_frequency"].to_pylist() == [0.5]


def test_feasts_own_command_reads_what_was_applied(
    data: Generated, production: PostgresServer, redis: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Feast's historical retrieval, from its own PostgreSQL store, over our registry."""
    monkeypatch.setenv("E2I_POSTGRES", production.address)
    settings = configuration(tmp_path, production, redis, "theirs")["backends"][0]
    with fs.connect({k: v for k, v in settings.items() if k != "name"}, clock=FakeClock(DEFAULT_UNTIL)) as store:
        store.apply(definitions(postgres="${E2I_POSTGRES}"))
        frame = asked(data, 5)
        ours = store.get_historical_features(frame, ["hcp_conversion_features:trx_count"]).to_arrow()
    from feast import FeatureStore

    theirs = FeatureStore(repo_path=str(tmp_path / "feast"))
    found = theirs.get_historical_features(frame.to_pandas(), ["hcp_conversion_features:trx_count"]).to_df()
    keys = ["hcp_id", "brand_id", "event_timestamp"]
    found["event_timestamp"] = found["event_timestamp"].dt.tz_localize("UTC")  # Feast gives it back without its zone
    merged = frame.to_pandas().merge(found, on=keys, how="left")
    assert [None if v != v else v for v in merged["trx_count"]] == ours["trx_count"].to_pylist()


def test_without_its_database_historical_requests_say_so_and_online_ones_go_on(
    data: Generated, redis: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_postgres() as server:
        monkeypatch.setenv("E2I_POSTGRES", server.address)
        server.execute("CREATE TABLE t AS SELECT 'a' AS k, '2024-01-01'::timestamptz AS event_timestamp, 7::int8 AS x")
        entity, fields = fs.Entity("e", join_keys={"k": fs.String}), [fs.Field("x", fs.Int64)]
        views = [
            fs.FeatureView("v", entities=[entity], schema=fields, source=fs.SQLSource("${E2I_POSTGRES}", table="t")),
            fs.FeatureView("written", entities=[entity], schema=fields),
        ]
        now = datetime(2024, 3, 1, tzinfo=UTC)
        frame = table({"k": ["a"], "event_timestamp": [now]})
        clock = FakeClock(now)
        with fs.connect(configuration(tmp_path, server, redis, "away"), clock=clock) as store:
            store.apply(views)
            store.materialize(None)
            store.write("written", frame.append_column("x", pa.array([8])))
            server.kill()
            assert store.get_online_features(["v:x"], [{"k": "a"}]).to_dict()["x"] == [7]
            with pytest.raises(fs.BackendDataError, match="a view's source, cannot be reached"):
                store.get_historical_features(frame, ["v:x"])
            # What was written through e2i_fs the standby has as well: the PostgreSQL of Feast being away moves the request on.
            moved = store.get_historical_features(frame, ["written:x"])
            assert (moved.to_arrow()["x"].to_pylist(), moved.provenance.served_by) == ([8], "duckdb")
            assert "127.0.0.1" in str(moved.provenance.attempts[0].error)
            store.write("written", table({"k": ["a"], "event_timestamp": [now + timedelta(seconds=1)], "x": [9]}))
            server.start()
            clock.advance(timedelta(minutes=10))
            store.catch_up()
            later = table({"k": ["a"], "event_timestamp": [clock.now()]})
            back = store.get_historical_features(later, ["written:x"])
            assert (back.to_arrow()["x"].to_pylist(), back.provenance.served_by) == ([9], "feast")


def test_no_password_is_on_disk_or_in_an_error(tmp_path: Path, redis: RedisServer, feast_library: Any, caplog) -> None:
    secret = "hunter2/pw"
    settings = {
        "type": "postgres", "host": "127.0.0.1", "port": 1, "database": "e2i", "user": "me", "password": secret, "sslmode": "disable",
    }  # fmt: skip
    config = {
        "backend": "feast",
        "path": str(tmp_path / "feast"),
        "offline_store": settings,
        "online_store": {"type": "sqlite"},
    }
    view = fs.FeatureView("v", entities=[fs.Entity("k")], schema=[fs.Field("x", fs.Int64)])
    with caplog.at_level(logging.DEBUG), fs.connect(config) as store:
        store.apply([view])
        frame = table({"k": ["a"], "event_timestamp": [datetime(2024, 1, 1, tzinfo=UTC)]})
        with pytest.raises(fs.BackendUnavailableError, match="127.0.0.1:1/e2i cannot be used") as told:
            store.get_historical_features(frame, ["v:x"])
    assert secret not in f"{told.value!r} {told.value.__cause__!r} {caplog.text}"
    for file in (tmp_path / "feast").rglob("*"):
        assert not file.is_file() or (
            secret.encode() not in file.read_bytes() and b"hunter2" not in file.read_bytes()
        ), file
    assert "${FEAST_POSTGRES_PASSWORD}" in (tmp_path / "feast" / "feature_store.yaml").read_text()


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"host": "h", "database": "d", "user": "u", "pasword": "hunter2"}, "unknown setting 'pasword'.*password"),
        ({"host": "h", "database": "d", "user": "u"}, "password of offline_store postgres is not given"),
        ({"host": "h", "database": "d", "user": "u", "password": 22222}, "password .* is of type int"),
        ({"host": "", "database": "d", "user": "u", "password": ""}, "host .* is empty"),
        ({"host": "h", "database": "d", "user": "u", "password": "hunter2", "port": "x"}, "port .* 'x'"),
    ],
)
def test_settings_that_feast_could_not_use_are_told_before_it_sees_them(
    tmp_path: Path, settings: Any, says: str
) -> None:
    with pytest.raises(ConfigError, match=says) as told:
        fs.connect({"backend": "feast", "path": str(tmp_path), "offline_store": {"type": "postgres", **settings}})
    assert "hunter2" not in str(told.value)
    assert "22222" not in str(told.value)


def test_a_repository_on_postgresql_is_adopted_and_answers_exactly(
    production: PostgresServer, redis: RedisServer, tmp_path: Path, feast_library: Any
) -> None:
    """Feast's own retrieval would make floats of the integers beside a gap."""
    production.execute(
        "CREATE SCHEMA sales",
        "CREATE TABLE sales.trips (driver int8, at timestamptz, made timestamptz, trips int8, score float4)",
        f"INSERT INTO sales.trips VALUES (1, '2024-01-01+00', '2024-01-01+00', {2**53 + 1}, 0.5), (1, '2024-01-03+00', '2024-01-02+00', NULL, 1)",
    )
    repo = tmp_path / "repo"
    repo.mkdir()
    offline = "\n".join(f"  {k}: {v!r}" for k, v in {**production.settings, "db_schema": "sales"}.items())
    (repo / "feature_store.yaml").write_text(
        f"project: taxi\nprovider: local\nregistry: registry.db\noffline_store:\n{offline}\n"
        f"online_store:\n  type: redis\n  connection_string: {redis.address}\nentity_key_serialization_version: 3\n"
    )
    from feast import Entity, FeatureStore, FeatureView, Field
    from feast.infra.offline_stores.contrib.postgres_offline_store.postgres_source import PostgreSQLSource
    from feast.types import Float32, Int64
    from feast.value_type import ValueType

    driver = Entity(name="driver", join_keys=["driver"], value_type=ValueType.INT64)
    views = [
        FeatureView(
            name=name, entities=[driver], ttl=timedelta(days=9),
            schema=[Field(name="driver", dtype=Int64), Field(name="trips", dtype=Int64), Field(name="score", dtype=Float32)],
            source=PostgreSQLSource(name=f"{name}_source", timestamp_field="at", created_timestamp_column="made", **said),
        )
        for name, said in (("trips", {"table": "trips"}), ("asked", {"query": "SELECT * FROM trips WHERE score < 1"}))
    ]  # fmt: skip
    FeatureStore(repo_path=str(repo)).apply([driver, *views])

    with fs.connect(
        {"backend": "feast", "repo": str(repo)}, clock=FakeClock(datetime(2024, 1, 5, tzinfo=UTC))
    ) as store:
        frame = table({"driver": [1, 1, 2], "event_timestamp": [datetime(2024, 1, d, tzinfo=UTC) for d in (2, 4, 4)]})
        got = store.get_historical_features(frame, ["trips:trips", "asked:score"])
        assert got.to_arrow()["trips"].to_pylist() == [2**53 + 1, None, None]
        assert [str(s) for s in got.statuses["trips:trips"]] == ["PRESENT", "NULL_VALUE", "NOT_FOUND"]
        assert got.to_arrow()["score"].to_pylist() == [0.5, 0.5, None]
        store.materialize(None)
        assert store.get_online_features(["asked:trips"], [{"driver": 1}]).to_dict()["trips"] == [2**53 + 1]
