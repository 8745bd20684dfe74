"""Feast on Spark: the same definitions as on DuckDB, Feast's own sources, errors, and a cluster that loses a worker."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import e2i_fs as fs
from e2i_fs.errors import BackendDataError, ConfigError, DeadlineExceededError, PluginLoadError

SPARK = {
    "spark.master": "local[2]",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.shuffle.partitions": "2",
    "spark.sql.catalogImplementation": "in-memory",
}

installed = pytest.mark.skipif(
    any(importlib.util.find_spec(package) is None for package in ("feast", "pyspark")) or shutil.which("java") is None,
    reason='needs Spark: pip install "e2i-fs[feast,spark]", and a Java 17 runtime (apt-get install openjdk-17-jre-headless)',
)


pytestmark = pytest.mark.filterwarnings("ignore:The spark .* experimental feature:RuntimeWarning")  # Feast's own words


def day(number: int, hour: int = 0) -> datetime:
    return datetime(2024, 3, number, hour, tzinfo=UTC)


def history() -> pa.Table:
    """Rows with all that goes wrong elsewhere: ties, late knowledge, gaps, large integers, both zeros, NaN, two-column keys."""
    rows = [
        ("1", "23", day(1), day(1), 2**53 + 1, 0.5, ["a"]),
        ("12", "3", day(1), day(1), 7, None, None),
        ("1", "23", day(2), day(5), 8, 0.0, ["b", None]),
        ("1", "23", day(2), day(5), 8, -0.0, ["c"]),
        ("1", "23", day(3), None, 9, float("nan"), []),
        ("1", "23", day(4), day(4), None, 1.5, None),
        (None, "3", day(1), day(1), 10, 1.0, None),
        ("9", "9", None, day(1), 11, 1.0, None),
    ]
    names = ("a", "b", "event_timestamp", "created_at", "whole", "real", "words")
    stamp = pa.timestamp("us", "UTC")
    types = (pa.string(), pa.string(), stamp, stamp, pa.int64(), pa.float64(), pa.list_(pa.string()))
    return pa.table({n: pa.array(c, t) for n, c, t in zip(names, zip(*rows, strict=True), types, strict=True)})


def definitions(path: Path) -> list[Any]:
    pair = fs.Entity("pair", join_keys={"a": fs.String, "b": fs.String})
    source = fs.ParquetSource(str(path), created_timestamp_field="created_at")
    schema = [fs.Field("whole", fs.Int64), fs.Field("real", fs.Float64), fs.Field("words", fs.Array(fs.String))]
    return [pair, fs.FeatureView("pairs", entities=[pair], schema=schema, source=source, ttl=timedelta(days=2))]


def entities() -> pa.Table:
    asked = [("1", "23", day(n, h)) for n in range(1, 8) for h in (0, 12)]
    asked += [("12", "3", day(3)), ("1", "23", day(2)), (None, "3", day(4)), ("9", "9", day(9)), ("zz", "", day(4))]
    a, b, at = zip(*asked, strict=True)
    return pa.table({"event_timestamp": pa.array(at, pa.timestamp("us", "UTC")), "b": b, "a": a, "n": range(len(a))})


MODES: tuple[dict[str, Any], ...] = (
    {},
    {"filter_by_created_timestamp": True},
    {"as_of": day(4, 12)},
    {"filter_by_created_timestamp": True, "as_of": day(5)},
)


def answers(store: Any) -> list[tuple[str, Any]]:
    """Return every mode's answer: rows, as text (NaN and -0.0 too), and statuses."""
    found = []
    for mode in MODES:
        result = store.get_historical_features(entities(), ["pairs:*"], **mode)
        found.append((repr(result.to_arrow().to_pylist()), dict(result.statuses)))
    return found


def on_spark(folder: Path, **more: Any) -> dict[str, Any]:
    return {"backend": "feast", "path": str(folder), "offline_store": {"type": "spark", "spark_conf": SPARK}, **more}


@installed
@pytest.mark.rule("P-1", "P-3", "P-4", "P-6", "P-7", "P-8")
def test_one_definitions_file_answers_the_same_on_duckdb_and_on_spark(tmp_path: Path) -> None:
    pq.write_table(history(), tmp_path / "pairs.parquet")
    late = history().slice(5, 1).set_column(4, "whole", pa.array([2**62], pa.int64()))
    got = []
    for config in ({"backend": "duckdb", "path": str(tmp_path / "duckdb")}, on_spark(tmp_path / "spark")):
        with fs.connect(config) as store:
            store.apply(definitions(tmp_path / "pairs.parquet"))
            store.write("pairs", late, to="offline")  # history has a source and a segment
            store.write("pairs", late, to="offline", idempotency_key="again")
            got.append(answers(store))
    assert got[0] == got[1]
    assert str(2**53 + 1) in got[0][0][0] and str(2**62) in got[0][0][0]


@installed
@pytest.mark.rule("O-6")
def test_what_spark_searches_is_materialised_and_read_online(tmp_path: Path) -> None:
    pq.write_table(history(), tmp_path / "pairs.parquet")
    with fs.connect(on_spark(tmp_path / "spark")) as store:
        entity, view = definitions(tmp_path / "pairs.parquet")
        store.apply([entity, fs.FeatureView("pairs", entities=[entity], schema=view.schema, source=view.source)])
        store.materialize(None)
        answer = store.get_online_features(
            ["pairs:whole"], [{"a": "1", "b": "23"}, {"a": "12", "b": "3"}, {"a": "x", "b": ""}]
        )
        assert answer.to_dict()["whole"] == [None, 7, None]
        assert [s.name for s in answer.statuses["pairs:whole"]] == ["NULL_VALUE", "PRESENT", "NOT_FOUND"]


def adopted(folder: Path, source: str) -> Path:
    """Make a Feast repository with a SparkSource, applied by Feast itself."""
    folder.mkdir()
    conf = "\n".join(f'    {k}: "{v}"' for k, v in SPARK.items())
    (folder / "feature_store.yaml").write_text(
        "project: theirs\nprovider: local\nregistry: registry.db\noffline_store:\n  type: spark\n  spark_conf:\n"
        f"{conf}\nonline_store:\n  type: sqlite\n  path: online.db\nentity_key_serialization_version: 3\n"
    )
    import feast
    from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource
    from feast.types import Array, Float64, Int64, String
    from feast.value_type import ValueType

    keys = [feast.Entity(name=f"of_{k}", join_keys=[k], value_type=ValueType.STRING) for k in ("a", "b")]
    made = SparkSource(
        name="pairs_source", timestamp_field="at", created_timestamp_column="created_at",
        field_mapping={"at": "event_timestamp"}, **eval(source),
    )  # fmt: skip
    schema = [feast.Field(name=n, dtype=t) for n, t in (("a", String), ("b", String), ("whole", Int64), ("real", Float64), ("words", Array(String)))]  # fmt: skip
    view = feast.FeatureView(name="pairs", entities=keys, schema=schema, source=made, ttl=timedelta(days=2))
    feast.FeatureStore(repo_path=str(folder)).apply([*keys, view])
    return folder


@installed
@pytest.mark.rule("P-1", "P-3", "P-4", "P-6", "P-8")
def test_feasts_own_spark_sources_answer_as_files_do(tmp_path: Path) -> None:
    pq.write_table(history(), tmp_path / "pairs.parquet")
    with fs.connect({"backend": "duckdb", "path": str(tmp_path / "duckdb")}) as store:
        store.apply(definitions(tmp_path / "pairs.parquet"))
        right = answers(store)
    theirs = tmp_path / "theirs.parquet"
    pq.write_table(history().rename_columns(["a", "b", "at", "created_at", "whole", "real", "words"]), theirs)
    a_table = f"pairs_{uuid.uuid4().hex}"
    ways = (
        f"dict(path={str(theirs)!r}, file_format='parquet')",
        f"dict(query='SELECT * FROM parquet.`{theirs}`')",
        f"dict(table='default.{a_table}')",
    )
    for number, way in enumerate(ways):
        if a_table in way:  # by now Feast has begun the session, by the repository's settings
            from pyspark.sql import SparkSession

            SparkSession.builder.getOrCreate().sql(f"CREATE TABLE {a_table} USING parquet LOCATION '{theirs}'")
        with fs.connect({"backend": "feast", "repo": str(adopted(tmp_path / f"repo{number}", way))}) as store:
            assert answers(store) == right
            explained = store.get_historical_features(entities(), ["pairs:whole"]).explain(row=0)
            assert "pairs" in explained  # `scan` of the same source


@installed
@pytest.mark.rule("G-4")
def test_a_table_that_is_gone_is_an_error_that_names_it(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs.parquet"
    pq.write_table(history().rename_columns(["a", "b", "at", "created_at", "whole", "real", "words"]), theirs)
    repo = adopted(tmp_path / "repo", f"dict(path={str(theirs)!r}, file_format='parquet')")
    with fs.connect({"backend": "feast", "repo": str(repo)}) as store:
        theirs.unlink()
        with pytest.raises(BackendDataError, match=r"theirs\.parquet"):
            store.get_historical_features(entities(), ["pairs:whole"])


@installed
@pytest.mark.rule("X-8")
def test_a_join_that_is_given_up_ends_in_its_thread(tmp_path: Path) -> None:
    from e2i_fs_feast.spark.errors import spark_errors
    from e2i_fs_feast.spark.session import Spark

    class Config:
        spark_conf = SPARK

    spark, ended = Spark(Config()), []

    def long() -> None:
        with (
            pytest.raises(DeadlineExceededError, match="given up"),
            spark_errors("a long join"),
            spark.job("a long join") as session,
        ):
            session.sql("SELECT sum(hash(a.id * b.id)) FROM range(1000000) a CROSS JOIN range(1000000) b").collect()
        ended.append(True)

    thread = threading.Thread(target=long)
    thread.start()
    deadline = time.monotonic() + 60
    while not (spark.begun and spark.session.sparkContext.statusTracker().getActiveJobsIds()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    spark.give_up()
    thread.join(60)
    assert ended == [True]


def test_without_java_the_store_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("pyspark") is None:
        pytest.skip('needs pyspark: pip install "e2i-fs[spark]"')
    from e2i_fs_feast.spark.session import check_spark

    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(PluginLoadError, match="Java 17 runtime"):
        check_spark()


def test_settings_of_spark_that_are_no_text_are_refused_before_anything_starts(tmp_path: Path) -> None:
    for conf, said in (({"spark.ui.enabled": False}, "'false'"), ("local", "give a mapping")):
        with pytest.raises(ConfigError, match=said):
            fs.connect(
                {"backend": "feast", "path": str(tmp_path), "offline_store": {"type": "spark", "spark_conf": conf}}
            )


# ---- a cluster --------------------------------------------------------------------------------------------


class Cluster:
    """A standalone Spark: a master and two workers, each a process of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.processes: list[subprocess.Popen[bytes]] = []
        self._logs: dict[int, Path] = {}
        master = self._start("Master", "--host", "127.0.0.1", "--port", "0", "--webui-port", "0")
        self.address = self._said(master, "Starting Spark master at ")
        self.workers = []
        for _ in range(2):
            self.workers.append(self._start("Worker", "--host", "127.0.0.1", "--cores", "1", "--memory", "512m", "--webui-port", "0", self.address))  # fmt: skip
        for worker in self.workers:
            self._said(worker, "Successfully registered with master ")

    def _start(self, kind: str, *arguments: str) -> subprocess.Popen[bytes]:
        import pyspark

        home = Path(pyspark.__file__).parent
        number = len(self.processes)
        work = self._folder / f"{kind}{number}"
        work.mkdir(parents=True)
        settings = self._folder / "log4j2.properties"
        settings.write_text(
            "rootLogger.level = info\nrootLogger.appenderRef.out.ref = out\nappender.out.type = Console\n"
            "appender.out.name = out\nappender.out.target = SYSTEM_ERR\nappender.out.layout.type = PatternLayout\n"
            "appender.out.layout.pattern = %m%n\n"
        )
        more = ["--work-dir", str(work)] if kind == "Worker" else []
        environment = {
            **os.environ,
            "SPARK_HOME": str(home),
            "PYSPARK_PYTHON": sys.executable,
            "SPARK_LOCAL_IP": "127.0.0.1",
            "SPARK_DAEMON_JAVA_OPTS": f"-Dlog4j2.configurationFile={settings}",
            "SPARK_DAEMON_MEMORY": "256m",
        }
        command = [
            str(home / "bin" / "spark-class"),
            f"org.apache.spark.deploy.{kind.lower()}.{kind}",
            *more,
            *arguments,
        ]
        with (work / "log").open("wb") as log:
            process = subprocess.Popen(
                command, stdout=subprocess.DEVNULL, stderr=log, cwd=work, start_new_session=True, env=environment
            )
        self._logs[process.pid] = work / "log"
        self.processes.append(process)
        return process

    def _said(self, process: subprocess.Popen[bytes], words: str) -> str:
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            for line in self._logs[process.pid].read_text().splitlines():
                if words in line:
                    return line.partition(words)[2].strip()
            assert process.poll() is None, self._logs[process.pid].read_text()[-2000:]
            time.sleep(0.1)
        raise AssertionError(f"{words!r} was not said: {self._logs[process.pid].read_text()[-2000:]}")

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """Kill a process and what it started: of a worker its executors."""
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def close(self) -> None:
        for process in reversed(self.processes):
            self.kill(process)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path / "cluster")
    try:
        yield made
    finally:
        made.close()


@installed
@pytest.mark.rule("X-3", "G-4", "P-10")
def test_a_cluster_that_loses_a_worker_in_the_middle_answers_right_or_says_so(tmp_path: Path, cluster: Cluster) -> None:
    """In a process of its own: Spark has one context for each, and this one is a cluster's."""
    told = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("spark_cluster.py")), cluster.address, str(tmp_path), str(cluster.workers[0].pid)],
        capture_output=True, text=True, timeout=240, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )  # fmt: skip
    said = told.stdout.splitlines()
    assert "whole: equal" in said, told.stdout + told.stderr[-3000:]
    assert any(line in ("one worker less: equal", "one worker less: an error of ours") for line in said), told.stdout + told.stderr[-3000:]  # fmt: skip
    assert "killed" in said or "one worker less: an error of ours" in said, told.stdout
