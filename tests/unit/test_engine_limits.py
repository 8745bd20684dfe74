"""What a retrieval may take of the machine: memory, disk and threads, without another answer."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import e2i_fs as fs
from e2i_fs.config import EngineConfig, load_config
from e2i_fs.pit.connection import connect

T0 = 1_700_000_000_000_000
ROWS, KEYS = 400_000, 1_000


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("history") / "h.parquet"
    numbers = range(ROWS)
    times = pa.array([T0 + n for n in numbers], pa.timestamp("us", "UTC"))
    keys = [f"key {n * 7_919 % KEYS}" for n in numbers]
    pq.write_table(pa.table({"k": keys, "event_timestamp": times, "x": pa.array(numbers, pa.int64())}), path)
    return path


def _answer(history: Path, folder: Path, engine: dict[str, object]) -> list[int]:
    with fs.connect({"backend": "duckdb", "path": str(folder / "store"), "engine": engine}) as store:
        field = fs.Field("x", fs.Int64)
        source = fs.ParquetSource(str(history))
        store.apply([fs.FeatureView("v", entities=[fs.Entity("k")], schema=[field], source=source)])
        asked = pa.table(
            {
                "k": [f"key {n % KEYS}" for n in range(100_000)],
                "event_timestamp": pa.array([T0 + n * 4 for n in range(100_000)], pa.timestamp("us", "UTC")),
            }
        )
        return store.get_historical_features(asked, ["v:x"]).to_arrow()["x"].to_pylist()


def test_a_retrieval_that_does_not_fit_into_memory_goes_to_disk_and_answers_the_same(
    history: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P-6, T-4: the folder that was given is used, and only a part of the work was in memory."""
    spill = tmp_path / "spill"
    spill.mkdir()
    small = {"memory_limit": "40MB", "temp_directory": str(spill), "threads": 1}
    assert _answer(history, tmp_path, small) == _answer(history, tmp_path / "b", {})
    (used,) = spill.iterdir()
    assert used.name.startswith("e2i_fs-spill-")


def test_the_engine_has_the_limits_that_are_configured() -> None:
    """Each in a database of its own, and none where none is given."""
    connection = connect(EngineConfig(memory_limit="300MB", threads=1, temp_directory=None))
    told = connection.execute("SELECT current_setting('memory_limit'), current_setting('threads')").fetchall()
    assert told == [("286.1 MiB", 1)]
    assert connect().execute("SELECT current_setting('memory_limit')").fetchall() != [("286.1 MiB",)]
    half = connect(load_config({"backend": "memory", "engine": {"memory_limit": "0.5 GB"}}).engine)
    assert half.execute("SELECT current_setting('memory_limit')").fetchall() == [("476.8 MiB",)]


@pytest.mark.parametrize(
    ("engine", "message"),
    [
        (
            {"memory_limit": "lots"},
            "memory_limit: 'lots' is no amount of memory; give a number and a unit, such as 4GB",
        ),
        (
            {"memory_limit": 4},
            "memory_limit: 4 is no amount of memory; give a number and a unit, such as 4GB or 512MiB.",
        ),
        ({"memory_limit": True}, "memory_limit: True is no amount of memory;"),
        ({"threads": 0}, "engine: threads is 0; give at least 1."),
        ({"memory": "4GB"}, "engine: unknown key 'memory'. Did you mean 'memory_limit'?"),
    ],
)
def test_limits_that_mean_nothing_are_refused(engine: dict[str, object], message: str) -> None:
    with pytest.raises(fs.ConfigError, match=re.escape(message)):
        fs.connect({"backend": "memory", "engine": engine})


@pytest.mark.rule("G-4")
@pytest.mark.parametrize(
    ("engine", "says"),
    [
        ({"memory_limit": "99999999999TB"}, "no memory to work in; give from 16MB"),
        ({"memory_limit": "1KB"}, "no memory to work in; give from 16MB"),
        ({"threads": 100_000}, "at most 1024"),
        ({"temp_directory": "/etc/passwd/spill"}, "temp_directory .* cannot be written"),
    ],
)
def test_limits_that_the_engine_cannot_live_within_say_so(
    history: Path, tmp_path: Path, engine: dict[str, object], says: str
) -> None:
    with pytest.raises(fs.ConfigError, match=says):
        _answer(history, tmp_path, engine)
