"""The first hour of somebody new: what is easy to get wrong is refused, or said in words of what to do."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import e2i_fs as fs
from e2i_fs.cli import schedule_command
from e2i_fs.cli.app import run
from e2i_fs.ops import tasks
from tests.kit import at, view

Say = Callable[..., tuple[int, str]]


@pytest.fixture
def say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Say:
    """Run the command in a folder with a configuration and nothing registered."""
    (tmp_path / "e2i_fs.yaml").write_text("{backend: duckdb, path: store}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("E2I_FS_CONFIG", raising=False)
    monkeypatch.setenv("COLUMNS", "200")

    def call(*words: str) -> tuple[int, str]:
        capfd.readouterr()
        code = run(words)
        told = capfd.readouterr()
        return code, told.out + told.err

    return call


@pytest.fixture
def taken(tmp_path: Path) -> Iterator[int]:
    """Return the port of the configuration's Prometheus endpoint, on which another process listens, as a server would."""
    pytest.importorskip("prometheus_client", reason="pip install 'e2i-fs[prometheus]'")
    listener = socket.create_server(("127.0.0.1", 0))
    port: int = listener.getsockname()[1]
    (tmp_path / "e2i_fs.yaml").write_text(
        f"{{backend: duckdb, path: store, telemetry: {{prometheus: {{port: {port}}}}}}}"
    )
    with listener:
        yield port


def test_a_command_works_beside_a_server_that_has_the_port_of_the_metrics(say, taken) -> None:
    assert say("freshness")[0] == 0
    assert say("materialize-incremental")[0] == 0
    assert say("schedule", "--run", "freshness_check")[0] == 0


def test_a_task_works_beside_a_server_that_has_the_port_of_the_metrics(tmp_path, taken) -> None:
    assert tasks.incremental(tmp_path / "e2i_fs.yaml")["views"] == []
    with pytest.raises(fs.ConfigError, match="cannot be listened on"):  # who opens it to stay still needs the port
        fs.connect(tmp_path / "e2i_fs.yaml")


def test_a_store_without_views_says_so_and_what_to_do(say) -> None:
    code, told = say("freshness")
    assert code == 0 and "e2i-fs apply" in told


def test_a_key_given_twice_in_one_row_is_refused_not_overwritten(say) -> None:
    code, told = say("online", "--feature", "v:x", "-e", "k=1,k=2")
    assert code == 2 and "'k' is given twice" in told and "repeat the option" in told


def test_a_whole_number_that_is_a_key_is_shown_as_it_is(say, tmp_path) -> None:
    drivers = fs.FeatureView(
        "drivers",
        entities=[fs.Entity("driver", join_keys={"driver_id": fs.Int64})],
        schema=[fs.Field("trips", fs.Int64)],
    )
    with fs.connect(tmp_path / "e2i_fs.yaml") as store:
        store.apply([drivers])
        store.write("drivers", {"driver_id": [1001], "event_timestamp": [at(1)], "trips": [2000]})
    code, told = say("online", "--feature", "drivers:trips", "-e", "driver_id=1001")
    assert code == 0 and "1001" in told and "1,001" not in told


def test_times_spelled_in_two_ways_are_refused_with_one_of_them_and_how_to_write_them(say, tmp_path) -> None:
    with fs.connect(tmp_path / "e2i_fs.yaml") as store:
        store.apply([view(tmp_path, [("a", at(1), 1)], name="v")])
    rows = "hcp_id,event_timestamp\na,2024-03-01T00:00:00Z\nb,2024-03-02 00:00:00\n"
    (tmp_path / "asked.csv").write_text(rows)
    code, told = say("historical", "asked.csv", "--feature", "v:*")
    assert code == 2 and "'2024-03-01T00:00:00Z'" in told and "all of them with a zone or all without" in told


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ("{backend: duckdb, path: store, materialisation: none.yaml}", "Mend the path, or write the file"),
        ("{backend: duckdb, path: store, materialisation: folder}", "is a folder"),
    ],
)
def test_settings_that_are_not_there_are_not_said_to_be_written_by_init(say, tmp_path, config, says) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "e2i_fs.yaml").write_text(config)
    code, told = say("freshness", "--record")
    assert code == 2 and says in told and "init" not in told


def test_a_breaking_change_names_the_option_of_the_command(say, tmp_path) -> None:
    text = (
        "import e2i_fs as fs\nv = fs.FeatureView('v', entities=[fs.Entity('k')], schema=[fs.Field('x', fs.{kind})])\n"
    )
    (tmp_path / "features.py").write_text(text.replace("{kind}", "Int64"))
    assert say("apply")[0] == 0
    (tmp_path / "features.py").write_text(text.replace("{kind}", "String"))
    code, told = say("apply")
    assert code == 2 and "--allow-breaking" in told


def test_a_standby_that_is_added_later_is_told_of_with_the_command_that_fills_it(say, tmp_path, caplog) -> None:
    with fs.connect(tmp_path / "e2i_fs.yaml") as store:
        store.apply([fs.FeatureView("v", entities=[fs.Entity("k")], schema=[fs.Field("x", fs.Int64)])])
        store.write("v", {"k": ["a"], "event_timestamp": [at(1)], "x": [1]})
    (tmp_path / "features.py").write_text(
        "import e2i_fs as fs\nv = fs.FeatureView('v', entities=[fs.Entity('k')], schema=[fs.Field('x', fs.Int64)])\n"
    )
    (tmp_path / "e2i_fs.yaml").write_text(
        "backends: [{name: one, backend: duckdb, path: store}, {name: two, backend: duckdb, path: other}]\n"
        "failover: {background: false}\n"
    )
    assert say("apply")[0] == 0 and "e2i-fs rebuild two" in caplog.text
    assert say("rebuild", "two")[0] == 0 and say("health")[0] == 0


def test_a_misspelt_name_of_the_package_is_told_with_the_nearest(say, tmp_path) -> None:
    (tmp_path / "features.py").write_text("import e2i_fs as fs\nv = fs.FeatureVew('v')\n")
    code, told = say("plan")
    assert code == 2 and "Did you mean 'FeatureView'" in told


def test_a_schedule_that_never_ran_says_now_and_no_year_of_long_ago(say, monkeypatch, caplog) -> None:
    monkeypatch.setattr("e2i_fs.ops.scheduling.Scheduler.serve", lambda self: None)  # it would wait for hours
    monkeypatch.setattr(schedule_command._log, "level", logging.INFO)
    with caplog.at_level(logging.INFO, "e2i_fs.schedule"):
        assert say("schedule")[0] == 0
    assert "due now" in caplog.text and "1970" not in caplog.text
