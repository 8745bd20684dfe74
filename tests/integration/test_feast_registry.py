"""Definitions in a real Feast registry: exact, atomic, readable by Feast, and never lost (R-1, R-2, R-5)."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import threading
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import e2i_fs as fs
from e2i_fs.errors import BackendDataError, BackendUnavailableError, ConfigError, PluginLoadError, UnsupportedError
from tests import kit
from tests.integration.feast_words import NOW, apply, apply_many, read, remove, row, view, write


@pytest.fixture
def options(tmp_path: Path) -> dict[str, Any]:
    return {"path": str(tmp_path / "repository")}


def everything(folder: Path) -> list[Any]:
    """Return definitions that use all that a definition can say."""
    pair = fs.Entity(
        "pair", join_keys={"origin": fs.String, "stop": fs.Int64}, tags={"a": "b"}, owner="o", description="d"
    )
    hcp = fs.Entity("hcp", join_keys=["hcp_id"])
    stats = fs.FeatureView(
        "hcp stats",
        entities=[hcp, pair],
        schema=[
            fs.Field("trx", fs.Int64, description="how many"),
            fs.Field("left", fs.Bool, role="label"),
            fs.Field("record", fs.Struct(b=fs.Int64, a=fs.Array(fs.Decimal(5, 2)))),
        ],
        source=fs.ParquetSource(
            str(folder / "a.parquet"), created_timestamp_field="made", field_mapping={"t": "trx"}, name="files"
        ),
        ttl=timedelta(microseconds=3_600_000_001),
        max_staleness=timedelta(hours=3),
        tags={"use_case": "x", "e2i_fs": "mine"},
        owner="me",
        description="about hcps",
    )
    pushed = fs.FeatureView(
        "pushed", entities=["hcp"], schema=[fs.Field("x", fs.Float32)], source=fs.PushSource("clicks"), online=False
    )
    both = fs.PushSource("both", batch_source=fs.ParquetSource([str(folder / "a.parquet"), str(folder / "b.parquet")]))
    written = fs.FeatureView("written", entities=[], schema=[fs.Field("v", fs.Vector(2))])
    batched = fs.FeatureView("batched", entities=["hcp"], schema=[fs.Field("x", fs.Float32)], source=both)
    request = fs.RequestSource("asked", schema=[fs.Field("price", fs.Float64)])

    @fs.on_demand_feature_view(sources=[pushed, request], schema=[fs.Field("double", fs.Float64)])
    def doubled(columns):
        return {"double": [None if p is None else 2 * p for p in columns["price"]]}

    service = fs.FeatureService("svc", features=["hcp stats:*", "pushed:x", "doubled:double"], tags={"k": "v"})
    lonely = fs.FeatureService("lonely", features=["doubled:*"])
    return [hcp, pair, stats, pushed, batched, written, doubled, service, lonely]


def write_sources(folder: Path) -> None:
    for name in ("a.parquet", "b.parquet"):
        pq.write_table(
            pa.table(
                {"hcp_id": ["h"], "event_timestamp": pa.array([kit.NOW], kit.STAMP), "x": pa.array([1.5], pa.float32())}
            ),
            folder / name,
        )


@pytest.mark.rule("R-2", "R-5")
def test_definitions_come_back_exactly_from_the_registry_alone(open_feast: Any, options: Any, tmp_path: Path) -> None:
    write_sources(tmp_path)
    first = open_feast(options)
    apply(first, *everything(tmp_path))
    again = open_feast(options)
    assert again.definitions() == first.definitions()
    assert again.definitions().revision == first.definitions().revision
    assert again.definitions().bases == first.definitions().bases
    assert again.definitions().views["hcp stats"].tags["e2i_fs"] == "mine"
    assert again.skipped == ()


@pytest.mark.rule("R-1")
def test_applying_against_another_revision_changes_nothing(open_feast: Any, options: Any) -> None:
    backend = open_feast(options)
    before = backend.definitions()
    apply(backend, view())
    after, _ = before.planned([view("other")], "/")
    content = (Path(options["path"]) / "registry.db").read_bytes()
    assert backend.apply(after, expected=before.revision) is False
    assert (Path(options["path"]) / "registry.db").read_bytes() == content


@pytest.mark.rule("R-1")
def test_applying_the_same_again_leaves_the_registry_file_alone(
    open_feast: Any, options: Any, tmp_path: Path, clock: Any
) -> None:
    write_sources(tmp_path)
    backend = open_feast(options)
    apply(backend, *everything(tmp_path))
    state = (Path(options["path"]) / "registry.db").stat()
    clock.advance(timedelta(hours=1))
    apply(backend, *everything(tmp_path))
    assert (Path(options["path"]) / "registry.db").stat() == state


@pytest.mark.rule("R-1")
def test_concurrent_applies_of_several_processes_lose_nothing(open_feast: Any, options: Any) -> None:
    backend = open_feast(options)
    forked = multiprocessing.get_context("fork")
    appliers = [forked.Process(target=apply_many, args=(options, n, 6)) for n in range(3)]
    for applier in appliers:
        applier.start()
    seen = [0]
    while any(applier.is_alive() for applier in appliers):
        seen.append(len(backend.definitions().views))
    for applier in appliers:
        applier.join()
    assert [applier.exitcode for applier in appliers] == [0, 0, 0]
    assert seen == sorted(seen)
    assert set(backend.definitions().views) == {f"v{n}_{i}" for n in range(3) for i in range(6)}


@pytest.mark.rule("R-1")
def test_feasts_own_reader_never_finds_the_registry_torn(open_feast: Any, options: Any) -> None:
    from feast.protos.feast.core.Registry_pb2 import Registry

    backend = open_feast(options)
    apply(backend, view("first"))
    done = threading.Event()
    counts: list[int] = []

    def reading() -> None:
        while not done.is_set():
            content = (Path(options["path"]) / "registry.db").read_bytes()
            counts.append(len(Registry.FromString(content).feature_views))

    reader = threading.Thread(target=reading)
    reader.start()
    for i in range(25):
        apply(backend, view(f"v{i}"))
    done.set()
    reader.join()
    assert counts == sorted(counts)
    assert min(counts) == 1


def _die_at(step: str, options: dict[str, Any]) -> None:
    """Remove a view in a process that is gone at ``step``."""
    from e2i_fs_feast import open_backend, repository, state

    backend = open_backend(name="dying", options=options, clock=kit_clock(), base="/")
    if step == "before the registry is replaced":
        repository.os.replace = lambda *_: os._exit(9)  # type: ignore[attr-defined]
    else:
        state.State.removed = lambda *_: os._exit(9)  # type: ignore[method-assign]
        backend.store.remove = lambda *_: os._exit(9)
    remove(backend, "stats")


def kit_clock() -> Any:
    from e2i_fs.testing.clock import FakeClock

    return FakeClock(kit.NOW)


@pytest.mark.rule("R-1", "O-7")
@pytest.mark.parametrize("step", ["before the registry is replaced", "before the rows are removed"])
def test_a_process_that_dies_in_an_apply_leaves_the_old_or_the_new(open_feast: Any, options: Any, step: str) -> None:
    backend = open_feast(options)
    apply(backend, view(), view("other"))
    write(backend, row(NOW, 1))
    dying = multiprocessing.get_context("fork").Process(target=_die_at, args=(step, options))
    dying.start()
    dying.join()
    assert dying.exitcode == 9
    if step == "before the registry is replaced":
        assert set(backend.definitions().views) == {"stats", "other"}
        mended = open_feast(options)
        assert mended.state.leftovers() == []
        assert read(mended) == row(NOW, 1)
    else:
        assert set(backend.definitions().views) == {"other"}
        apply(backend, view())
        assert read(backend) is None
    apply(open_feast(options), view("more"))
    assert [p.name for p in Path(options["path"]).glob(".*.tmp")] == []


@pytest.mark.rule("R-5")
def test_feast_itself_lists_materialises_and_serves_what_was_written_and_cannot_wipe_it(
    open_feast: Any, options: Any, tmp_path: Path
) -> None:
    write_sources(tmp_path)
    backend = open_feast(options, feast_time_zone="Asia/Tokyo")
    one = fs.FeatureView(
        "one",
        entities=[fs.Entity("hcp", join_keys=["hcp_id"])],
        schema=[fs.Field("x", fs.Float32)],
        source=fs.ParquetSource(str(tmp_path / "a.parquet")),
    )
    two = fs.FeatureView(
        "two",
        entities=["hcp"],
        schema=[fs.Field("x", fs.Float32)],
        source=fs.ParquetSource([str(tmp_path / "a.parquet"), str(tmp_path / "b.parquet")]),
    )
    apply(backend, one, two, fs.FeatureService("svc", features=["one:x", "two:*"]))
    script = (
        "import sys, datetime as dt\n"
        "from feast.cli.cli import cli\n"
        "for words in (['feature-views', 'list'], ['feature-services', 'list'], ['entities', 'list']):\n"
        "    cli(['-c', sys.argv[1], *words], standalone_mode=False)\n"
        "try:\n"
        "    cli(['-c', sys.argv[1], 'apply'], standalone_mode=False)\n"
        "except SystemExit as stopped:\n"
        "    print(stopped)\n"
        "from feast import FeatureStore\n"
        "store = FeatureStore(sys.argv[1])\n"
        "store.materialize(dt.datetime(2024, 1, 1), dt.datetime(2024, 12, 1))\n"
        "print(store.get_online_features(store.get_feature_service('svc'), [{'hcp_id': 'h'}], full_feature_names=True).to_dict())\n"
    )
    told = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, options["path"]],
        env={**os.environ, "TZ": "Asia/Tokyo"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    for word in ("one", "two", "svc", "hcp", "'one__x': [1.5]", "'two__x': [1.5]", "Use `e2i-fs apply`"):
        assert word in told.stdout
    for name in ("one", "two"):
        found = read(backend, key=("h",), name=name)
        assert (found.event_us, found.values) == (NOW, {"x": 1.5})
        assert backend.position(name) == (0, NOW, 1)


def test_password_and_user_stay_out_of_the_configuration_file(open_feast: Any, options: Any) -> None:
    online = {"type": "redis", "connection_string": "localhost:1,username=u,password=very_secret"}
    open_feast(options, online_store=online)
    text = (Path(options["path"]) / "feature_store.yaml").read_text()
    assert "very_secret" not in text
    assert "password=${FEAST_REDIS_PASSWORD}" in text


@pytest.mark.rule("G-3")
@pytest.mark.parametrize(
    "source",
    [
        fs.CSVSource("a.csv"),
        fs.DuckDBSource("a.db", table="t"),
        fs.SQLSource("postgresql://h/d", table="t"),
        fs.PushSource("p", batch_source=fs.CSVSource("a.csv")),
    ],
)
def test_a_source_that_feast_has_no_counterpart_of_is_refused_by_name(
    open_feast: Any, options: Any, source: Any
) -> None:
    backend = open_feast(options)
    with pytest.raises(UnsupportedError, match=r"'stats'.*Parquet"):
        apply(backend, view(source=source))
    assert backend.definitions().views == {}


@pytest.mark.parametrize(("first", "second"), [("stats", "STATS"), ("stats", "stats_ek")])
def test_views_that_sqlite_would_take_for_one_are_refused(
    open_feast: Any, options: Any, first: str, second: str
) -> None:
    backend = open_feast(options)
    apply(backend, view(first))
    with pytest.raises(UnsupportedError, match="rename one"):
        apply(backend, view(second))


def test_features_whose_hashes_collide_in_redis_are_refused(open_feast: Any, options: Any) -> None:
    from e2i_fs_feast.redis_store import hash_field

    seen: dict[bytes, str] = {}
    for number in range(1_000_000):
        other = seen.setdefault(hash_field("stats", f"f{number}"), f"f{number}")
        if other != f"f{number}":
            break
    backend = open_feast(options, online_store={"type": "redis", "connection_string": "localhost:1"})
    with pytest.raises(UnsupportedError, match=f"stats:{other}.*stats:f{number}"):
        apply(backend, view("stats", fs.Field(other, fs.Int64), fs.Field(f"f{number}", fs.Int64)))


def test_entities_whose_feast_names_collide_are_refused(open_feast: Any, options: Any) -> None:
    pair = fs.Entity("pair", join_keys=["a", "b"])
    with pytest.raises(fs.DefinitionError, match="pair__a"):
        apply(open_feast(options), pair, fs.Entity("pair__a", join_keys=["x"]))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"ofline_store": {}}, "Did you mean 'offline_store'"),
        ({"repo": "x"}, "either path="),
        ({"offline_store": {"type": "dusk"}}, "Did you mean 'dask'"),
        ({"online_store": {"type": "postgres"}}, "sqlite and redis"),
        ({"online_store": {"type": "sqlite", "nonsense": 1}}, "nonsense"),
        ({"online_store": {"type": "redis", "conection_string": "x:1"}}, "Did you mean 'connection_string'"),
        ({"online_store": {"type": "redis", "key_ttl_seconds": 5}}, "key_ttl_seconds"),
        ({"online_store": {"type": "redis", "redis_type": "redis_cluster"}}, "redis_cluster"),
        ({"registry": "s3://bucket/registry.db"}, "path of a file"),
        (
            {"registry": {"registry_type": "sql", "path": "postgresql://me:hunter2@db/e2i"}},
            "'sql'.*object by object.*path of a file",
        ),
        ({"registry": "postgresql://me:hunter2@db/e2i"}, "registry is a URL"),
        ({"project": "with space"}, "letters"),
        ({"offline_store": {"type": "snowflake.offline"}}, "give repo: and not path:"),
        ({"feast_time_zone": "Mars/Olympus"}, "Europe/Berlin"),
    ],
)
def test_options_that_cannot_be_used_are_refused(open_feast: Any, options: Any, wrong: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as told:
        open_feast({**options, **wrong})
    assert "hunter2" not in str(told.value)


def test_the_settings_of_a_store_are_those_that_feast_has() -> None:
    from e2i_fs_feast.options import SETTINGS
    from feast.infra.offline_stores.contrib.postgres_offline_store.postgres import PostgreSQLOfflineStoreConfig
    from feast.infra.offline_stores.dask import DaskOfflineStoreConfig
    from feast.infra.offline_stores.duckdb import DuckDBOfflineStoreConfig
    from feast.infra.online_stores.redis import RedisOnlineStoreConfig
    from feast.infra.online_stores.sqlite import SqliteOnlineStoreConfig

    configs: list[Any] = [
        DaskOfflineStoreConfig,
        DuckDBOfflineStoreConfig,
        PostgreSQLOfflineStoreConfig,
        RedisOnlineStoreConfig,
        SqliteOnlineStoreConfig,
    ]
    if find_spec("pyspark") is not None:
        from feast.infra.offline_stores.contrib.spark_offline_store.spark import SparkOfflineStoreConfig

        configs.append(SparkOfflineStoreConfig)
    known = {c.model_fields["type"].default for c in configs}
    assert {c.model_fields["type"].default: set(c.model_fields) for c in configs} == {
        k: {*v} for k, v in SETTINGS.items() if k in known
    }
    assert SETTINGS.keys() - known <= {"spark"}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("redis://:hush@localhost:6379/0", "is a URL (redis://...)"),
        ("localhost", "'localhost' without a port"),
        (":6379", "without a host"),
        ("localhost:abc", "the port 'abc', which is no number"),
        ("localhost:70000", "no number from 1 to 65535"),
        ("localhost:1:2", "the port '1:2'"),
        ("db=1", "does not begin with an address"),
        ("", "is ''"),
        (6379, "of type int, not text"),
        ("localhost:6379,other:6379", "Several are for redis_sentinel"),
        ("localhost:6379,password=hush,hush", "a comma in a password?"),
        ("localhost:6379,socket_timeout=abc", "socket_timeout=abc, which is no number of seconds"),
        ("localhost:6379,socket_connect_timeout=0", "no number of seconds"),
        ("localhost:6379,db=one", "db=one, which is no whole number"),
        ("localhost:6379,db=-1", "db=-1, which is no whole number"),
        ("localhost:6379,sokcet_timeout=1", "Did you mean 'socket_timeout'"),
        ("localhost:6379,ssl=True", "ssl=True, which is neither true nor false"),
        ("localhost:6379,decode_responses=true", "unknown key 'decode_responses'"),
    ],
)
@pytest.mark.parametrize("adopted", [False, True])
def test_a_connection_string_that_is_none_is_told_its_form(
    open_feast: Any, options: Any, tmp_path: Path, wrong: Any, said: str, adopted: bool
) -> None:
    """Before anything is called, and without a word of the password."""
    online = {"type": "redis", "connection_string": wrong}
    if adopted:
        repo = tmp_path / "theirs"
        repo.mkdir()
        about = {"project": "p", "provider": "local", "registry": "r.db", "entity_key_serialization_version": 3}
        (repo / "feature_store.yaml").write_text(json.dumps({**about, "online_store": online}))
    if adopted and not isinstance(wrong, str):
        return  # Feast itself refuses it
    with pytest.raises(ConfigError) as caught:
        open_feast({"repo": str(repo)} if adopted else {**options, "online_store": online})
    assert said in str(caught.value)
    assert "host:port,key=value" in str(caught.value) and "hush" not in str(caught.value)


@pytest.mark.parametrize(
    "right",
    [
        "localhost:6379",
        "localhost:1,db=99,ssl=true,username=u,password=12345,socket_timeout=null",
        "10.0.0.1:6379,socket_timeout=2,health_check_interval=30,retry=null,max_connections=5",
    ],
)
def test_a_connection_string_of_the_right_form_is_taken(open_feast: Any, options: Any, right: str) -> None:
    open_feast(options, online_store={"type": "redis", "connection_string": right})


def test_several_sentinels_are_taken(open_feast: Any, options: Any) -> None:
    from e2i_fs_feast.redis_address import check_redis

    online = {
        "type": "redis",
        "redis_type": "redis_sentinel",
        "connection_string": "one:26379,two:26379,min_other_sentinels=1",
    }
    check_redis(online)


@pytest.mark.rule("G-4")
def test_a_folder_that_cannot_be_used_is_named(open_feast: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BackendUnavailableError, match=str(tmp_path / "file")):
        open_feast({"path": str(tmp_path / "file" / "repository")})


@pytest.mark.rule("G-4")
def test_a_registry_that_is_no_registry_is_a_data_error(open_feast: Any, options: Any) -> None:
    backend = open_feast(options)
    (Path(options["path"]) / "registry.db").write_bytes(b"\xff" * 100)
    with pytest.raises(BackendDataError, match="restore it"):
        backend.definitions()


def test_a_closed_backend_says_so_and_closes_twice(open_feast: Any, options: Any) -> None:
    backend = open_feast(options)
    backend.close()
    backend.close()
    with pytest.raises(BackendUnavailableError, match="closed"):
        backend.definitions()


@pytest.mark.rule("G-1")
def test_the_plugin_imports_neither_feast_nor_duckdb_nor_pyarrow() -> None:
    script = "import sys, e2i_fs_feast, e2i_fs_feast.plugin as p; list(p.e2i_fs_backends()); print({'feast', 'duckdb', 'pyarrow'} & set(sys.modules))"
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "set()"


@pytest.mark.rule("G-2")
def test_without_feast_opening_says_how_to_install_it(tmp_path: Path) -> None:
    script = f"import sys; sys.modules['feast'] = None\nimport e2i_fs as fs\nfs.connect({{'backend': 'feast', 'path': {str(tmp_path)!r}}})"
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert "PluginLoadError" in told.stderr
    assert 'pip install "e2i-fs[feast]"' in told.stderr


def test_opening_leaves_the_hosts_prometheus_alone(tmp_path: Path) -> None:
    # In a process of its own: another test may have imported Feast by itself in this one.
    script = (
        "import os, sys, e2i_fs as fs\n"
        "fs.connect({'backend': 'feast', 'path': sys.argv[1]}).close()\n"
        "assert 'feast' in sys.modules\n"
        "print(sorted(name for name in os.environ if name.startswith('PROMETHEUS_')))"
    )
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PROMETHEUS_")}
    command = [sys.executable, "-c", script, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=clean)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


def test_another_version_of_feast_is_refused(monkeypatch: pytest.MonkeyPatch, open_feast: Any, options: Any) -> None:
    import feast

    monkeypatch.setattr(feast, "__version__", "0.68.0")
    with pytest.raises(PluginLoadError, match=r"0\.68\.0"):
        open_feast(options)


def test_a_folder_of_another_project_or_backend_is_refused_and_left_as_it_is(open_feast: Any, tmp_path: Path) -> None:
    ours = {"path": str(tmp_path / "feast"), "project": "one"}
    apply(open_feast(ours), view())
    before = (tmp_path / "feast" / "feature_store.yaml").read_bytes()
    with pytest.raises(ConfigError, match="holds the project 'one', not 'two'"):
        open_feast({**ours, "project": "two"})
    assert (tmp_path / "feast" / "feature_store.yaml").read_bytes() == before
    with pytest.raises(ConfigError, match="is a Feast repository"):
        fs.connect({"backend": "duckdb", "path": ours["path"]})
    fs.connect({"backend": "duckdb", "path": str(tmp_path / "duckdb")}).close()
    with pytest.raises(ConfigError, match="holds a DuckDB store"):
        open_feast({"path": str(tmp_path / "duckdb")})
