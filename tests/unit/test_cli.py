"""The e2i-fs command: what it answers, in which form, and with which exit code."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from e2i_fs.cli.app import app, run
from e2i_fs.cli.command import finish
from e2i_fs.cli.session import Session

COMMANDS = {
    "init", "apply", "plan", "list", "describe", "historical", "online", "verify", "materialize", "materialize-incremental",
    "push", "freshness", "events", "job-summary", "health", "journal", "rebuild", "diff", "doctor", "demo", "certify", "new-backend",
    "qc", "baseline", "drift", "audit",
    "search", "serve", "ui", "mcp", "jobs", "schedule", "import-feast", "export-feast", "migrate", "dashboard", "stats", "optimize",
}  # fmt: skip
ONE = "hcp_id=hcp_1,brand_id=alvexa"


@dataclass(frozen=True)
class Ended:
    """How one run of the command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one document on stdout."""
        return json.loads(self.out)


Command = Callable[..., Ended]


@pytest.fixture
def cli(capfd: pytest.CaptureFixture[str]) -> Command:
    def call(*words: str) -> Ended:
        capfd.readouterr()
        code = run(words)
        out, err = capfd.readouterr()
        return Ended(code, out, err)

    return call


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Command) -> Iterator[Path]:
    """A project as `init` writes it, and the working directory in it."""
    folder = tmp_path / "project"
    assert cli("init", str(folder)).code == 0
    monkeypatch.chdir(folder)
    monkeypatch.delenv("E2I_FS_CONFIG", raising=False)
    modules, path = set(sys.modules), list(sys.path)
    yield folder
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name in ("features", "other", "broken"):
            del sys.modules[name]


# ---- the command itself -----------------------------------------------------------------------------------


def test_every_command_is_there_and_its_help_has_an_example_and_json(cli: Command) -> None:
    assert {c.name for c in app.registered_commands} == COMMANDS
    for name in COMMANDS:
        told = cli(name, "--help")
        assert told.code == 0
        assert "Example:" in told.out, name
        assert "--json" in told.out, name
        assert f"e2i-fs {name}" in told.out, name


def test_help_and_version_need_none_of_the_heavy_libraries() -> None:
    code = (
        "import sys; from e2i_fs.cli.app import run; run(['--help']); run(['demo', '--help']);"
        "print(sorted({'pandas', 'pyarrow', 'duckdb', 'feast', 'numpy', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_installed_command_runs() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("e2i-fs"), "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip()


def test_a_usage_error_is_two_and_with_json_it_is_a_document(cli: Command) -> None:
    assert cli("no-such-command").code == 2
    told = cli("historical", "--json", "--no-such-option")
    assert told.code == 2
    assert told.json["error"]["type"] == "UsageError"
    assert "no-such-option" in told.json["error"]["message"]


def test_a_defect_ends_with_seventy_and_shows_its_traceback_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> Any:
        raise RuntimeError("impossible")

    assert finish(Session(None, None, json=True), work) == 70
    out, err = capsys.readouterr()
    assert json.loads(out)["error"] == {"type": "RuntimeError", "message": "impossible"}
    assert "Traceback" in err


def test_interrupting_ends_with_one_hundred_and_thirty(capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> Any:
        raise KeyboardInterrupt

    assert finish(Session(None, None, json=False), work) == 130
    assert "Interrupted" in capsys.readouterr().err


# ---- init -------------------------------------------------------------------------------------------------


def test_the_written_project_works_at_once_as_its_readme_says(project: Path, cli: Command) -> None:
    readme = (project / "README.md").read_text()
    steps = [line.partition("#")[0].split()[1:] for line in readme.splitlines() if line.startswith("e2i-fs ")]
    assert len(steps) == 6
    for words in steps:
        ended = cli(*words)
        assert ended.code == 0, (words, ended)
        assert ended.out, words
    python = readme.partition("```python\n")[2].partition("```")[0]
    done = subprocess.run([sys.executable, "-c", python], cwd=project, capture_output=True, text=True, check=False)
    assert "PRESENT" in done.stdout, done.stderr


def test_init_writes_into_an_empty_folder_and_into_the_present_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Command
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli("init").code == 0
    assert (tmp_path / "e2i_fs.yaml").is_file()


def test_init_refuses_a_folder_that_holds_something_and_leaves_it_as_it_is(tmp_path: Path, cli: Command) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    told = cli("init", str(tmp_path), "--json")
    assert told.code == 2
    assert "mine.txt" in told.json["error"]["message"]
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


# ---- definitions ------------------------------------------------------------------------------------------


def test_plan_does_nothing_and_its_exit_code_can_say_that_there_is_something_to_do(project: Path, cli: Command) -> None:
    before = cli("plan", "--exit-code", "--json")
    assert before.code == 1
    assert before.json["created"] == ["entity hcp", "entity brand", "view hcp_engagement", "service hcp_conversion"]
    assert cli("list", "--json").json["views"] == []
    assert cli("plan").code == 0
    assert cli("apply").code == 0
    assert cli("plan", "--exit-code", "--json").json["changes"] is False


def test_list_and_describe_show_what_is_registered(project: Path, cli: Command) -> None:
    cli("apply")
    assert set(cli("list", "--json").json) == {"entities", "views", "on_demand_views", "services"}
    assert [s["service"] for s in cli("list", "services", "--json").json["services"]] == ["hcp_conversion"]
    view = cli("describe", "hcp_engagement", "--json").json
    assert view["kind"] == "view"
    assert ["converted", "bool", "label"] in view["schema"]
    assert "engagement.parquet" in cli("describe", "hcp_engagement").out
    assert "sorted_copies" not in view
    unknown = cli("describe", "hcp_engagment")
    assert unknown.code == 2
    assert "Did you mean 'hcp_engagement'?" in unknown.err


def test_a_definition_that_is_wrong_is_told_with_its_file_and_line(project: Path, cli: Command) -> None:
    (project / "wrong.py").write_text("import e2i_fs as fs\n\nfield = fs.Field('a', int)\n")
    told = cli("apply", "--definitions", "wrong.py")
    assert told.code == 2
    assert "wrong.py: line 3: Field('a'): <class 'int'> is not a dtype" in " ".join(told.err.split())


def test_describe_tells_whether_a_sorted_copy_is_read(project: Path, cli: Command) -> None:
    cli("apply")
    cli("optimize", "hcp_engagement")
    told = cli("describe", "hcp_engagement")
    assert ["sorted copy on local", "read for 1 of 1 files"] in [
        re.split(r"\s{2,}", s.strip()) for s in told.out.split("\n")
    ]
    found = cli("describe", "hcp_engagement", "--json").json["sorted_copies"]
    assert found == [{"view": "hcp_engagement", "backend": "local", "files": 1, "covered": 1}]
    (source,) = project.glob("**/engagement.parquet")
    source.rename(source.with_suffix(".away"))
    without = cli("describe", "hcp_engagement")
    assert without.code == 0
    assert "not known: View 'hcp_engagement': no .parquet file at" in " ".join(without.out.split())


def test_definitions_that_do_not_run_are_told_with_their_line_and_no_traceback(project: Path, cli: Command) -> None:
    (project / "broken.py").write_text("import e2i_fs as fs\nhcp = fs.Entity('hcp')\nhcp.nonsense()\n")
    told = cli("apply", "--definitions", "broken.py")
    assert told.code == 2
    assert "line 3: AttributeError" in told.err
    assert "Traceback" not in told.err
    (project / "broken.py").write_text("x = (\n")
    assert "SyntaxError" in cli("apply", "--definitions", "broken.py").err


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "does not exist"),
        ("x = 1\n", "defines nothing"),
        ("def definitions(folder):\n    return []\n", "needs folder"),
    ],
)
def test_definitions_that_are_not_there_are_a_mistake(
    project: Path, cli: Command, content: str | None, says: str
) -> None:
    if content is not None:
        (project / "other.py").write_text(content)
    told = cli("plan", "--definitions", "other.py", "--json")
    assert told.code == 2
    assert told.json["error"]["type"] == "DefinitionError"
    assert says in told.json["error"]["message"]


def test_definitions_may_be_a_package_with_lists_and_a_function(project: Path, cli: Command) -> None:
    package = project / "other"
    package.mkdir()
    (package / "__init__.py").write_text("def definitions():\n    from .parts import MADE\n    return MADE\n")
    (package / "parts.py").write_text("import e2i_fs as fs\n\nMADE = [fs.Entity('hcp'), fs.Entity('site')]\n")
    assert cli("apply", "--definitions", "other", "--json").json["created"] == ["entity hcp", "entity site"]
    del sys.modules["other.parts"]


def test_a_breaking_change_needs_its_option(project: Path, cli: Command) -> None:
    cli("apply")
    changed = (
        (project / "features.py")
        .read_text()
        .replace('fs.Field("trx_count", fs.Int64)', 'fs.Field("trx_count", fs.Float64)')
    )
    (project / "features.py").write_text(changed)
    refused = cli("apply", "--json")
    assert refused.code == 2
    assert refused.json["error"]["type"] == "BreakingChangeError"
    assert cli("apply", "--allow-breaking", "--json").json["breaking"]


# ---- configuration ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "no configuration"),
        ("backend: duckdbb\npath: x\n", "Did you mean 'duckdb'?"),
        ("backend: duckdb\npath: ${E2I_NO_SUCH_VARIABLE}\n", "E2I_NO_SUCH_VARIABLE is not set"),
        ("backend: [", "not YAML"),
    ],
)
def test_a_configuration_that_cannot_be_used_is_a_mistake(
    tmp_path: Path, cli: Command, content: str | None, says: str
) -> None:
    path = tmp_path / "e2i_fs.yaml"
    if content is not None:
        path.write_text(content)
    told = cli("--config", str(path), "--json", "list")
    assert told.code == 2
    assert says in told.json["error"]["message"]


def test_the_configuration_may_stand_before_or_after_the_command_or_in_the_environment(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Command
) -> None:
    path = str(project / "e2i_fs.yaml")
    monkeypatch.chdir(tmp_path)
    assert cli("list").code == 2
    assert cli("-c", path, "list").code == 0
    assert cli("list", "-c", path).code == 0
    monkeypatch.setenv("E2I_FS_CONFIG", path)
    assert cli("list").code == 0
    assert cli("apply").code == 0, "features.py lies beside the configuration"


def test_a_backend_that_cannot_be_opened_ends_with_three(project: Path, cli: Command) -> None:
    (project / ".fs").mkdir()
    (project / ".fs" / "local").write_text("a file where the folder should be")
    told = cli("list", "--json")
    assert told.code == 3
    assert told.json["error"]["type"] == "BackendUnavailableError"


# ---- historical -------------------------------------------------------------------------------------------


def test_historical_gives_rows_as_csv_json_or_a_file(project: Path, cli: Command) -> None:
    cli("apply")
    asked = (project / "questions.csv").read_text().splitlines()
    to_stdout = cli("historical", "questions.csv", "--service", "hcp_conversion")
    assert to_stdout.code == 0
    assert len(to_stdout.out.splitlines()) == len(asked)
    assert to_stdout.out.splitlines()[0].replace('"', "").endswith("trx_count,engagement_score,call_frequency")
    as_json = cli("historical", "questions.csv", "-f", "hcp_engagement:trx_count", "--json").json
    assert len(as_json["data"]) == as_json["rows"] == len(asked) - 1
    assert as_json["provenance"]["served_by"] == "local"
    assert cli("historical", "questions.csv", "-f", "hcp_engagement:trx_count", "--out", "-", "--json").json["data"]
    written = cli("historical", "questions.csv", "-s", "hcp_conversion", "--out", "set.parquet", "--json")
    assert written.json["out"] == "set.parquet"
    assert pq.read_table(project / "set.parquet").column_names[-3:] == [
        "trx_count",
        "engagement_score",
        "call_frequency",
    ]


def test_historical_takes_labels_knowledge_time_and_another_time_column(project: Path, cli: Command) -> None:
    cli("apply")
    wildcard = cli("historical", "questions.csv", "-f", "hcp_engagement:*", "--json").json
    assert "converted" not in wildcard["features"]
    labelled = cli(
        "historical", "questions.csv", "-f", "hcp_engagement:*", "-l", "hcp_engagement:converted", "--json"
    ).json
    assert labelled["features"][-1] == "converted"
    refused = cli("historical", "questions.csv", "-f", "hcp_engagement:converted", "--json")
    assert (refused.code, refused.json["error"]["type"]) == (2, "LabelRequestedError")
    long_ago = cli(
        "historical", "questions.csv", "-f", "hcp_engagement:trx_count", "--as-of", "2001-01-01", "--json"
    ).json
    assert set(long_ago["statuses"]["hcp_engagement:trx_count"]) == {"NOT_FOUND"}
    renamed = (project / "questions.csv").read_text().replace("event_timestamp", "asked_at")
    (project / "renamed.csv").write_text(renamed)
    words = ["historical", "renamed.csv", "-f", "hcp_engagement:trx_count", "--json"]
    assert cli(*words).code == 2
    assert cli(*words, "--timestamp-column", "asked_at").code == 0


def test_historical_can_forget_what_was_not_known_at_each_rows_time(project: Path, cli: Command) -> None:
    cli("apply")
    now = datetime.now(UTC).replace(microsecond=0)
    event, asked, known = (now - timedelta(minutes=m) for m in (60, 45, 30))
    (project / "late.csv").write_text(
        "hcp_id,brand_id,event_timestamp,created_at,trx_count,engagement_score,call_frequency,converted\n"
        f"late_hcp,alvexa,{event.isoformat()},{known.isoformat()},77,0.5,1,true\n"
    )
    assert cli("push", "engagement_push", "late.csv").code == 0
    (project / "asked.csv").write_text(f"hcp_id,brand_id,event_timestamp\nlate_hcp,alvexa,{asked.isoformat()}\n")
    words = ["historical", "asked.csv", "-f", "hcp_engagement:trx_count", "--json"]
    assert cli(*words).json["data"][0]["trx_count"] == 77
    assert cli(*words, "--known-at-row-time").json["data"][0]["trx_count"] is None


def test_keys_in_a_csv_file_stay_what_the_definitions_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Command
) -> None:
    """``007`` is a key, not seven (P-7)."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "e2i_fs.yaml").write_text("backend: duckdb\npath: .fs\n")
    (tmp_path / "rows.csv").write_text("site,event_timestamp,beds\n007,2026-01-01T00:00:00Z,3\n")
    (tmp_path / "features.py").write_text(
        "import e2i_fs as fs\n"
        "site = fs.Entity('site')\n"
        "beds = fs.FeatureView('beds', entities=[site], schema=[fs.Field('beds', fs.Int64)], source=fs.PushSource('beds_push'))\n"
    )
    assert cli("apply").code == 0
    assert cli("push", "beds_push", "rows.csv").code == 0
    (tmp_path / "asked.csv").write_text("site,event_timestamp\n007,2026-01-02T00:00:00Z\n7,2026-01-02T00:00:00Z\n")
    told = cli("historical", "asked.csv", "-f", "beds:beds", "--json").json
    assert [row["beds"] for row in told["data"]] == [3, None]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["nowhere.csv", "-s", "hcp_conversion"], "no file nowhere.csv"),
        (["questions.csv"], "--service"),
        (["questions.csv", "-s", "hcp_conversion", "-f", "hcp_engagement:*"], "--service"),
        (["questions.csv", "-f", "hcp_engagement:trx_cnt"], "Did you mean 'hcp_engagement:trx_count'"),
        (["questions.csv", "-s", "hcp_conversion", "--as-of", "yesterday"], "is not a time"),
        (["questions.csv", "-s", "hcp_conversion", "--out", "set.xlsx"], ".parquet or .csv"),
    ],
)
def test_a_mistake_in_historical_ends_with_two_and_says_what_to_do(
    project: Path, cli: Command, words: list[str], says: str
) -> None:
    cli("apply")
    told = cli("historical", *words, "--json")
    assert told.code == 2
    assert says in told.json["error"]["message"]


# ---- serving ----------------------------------------------------------------------------------------------


def test_materialising_makes_views_fresh_and_online(project: Path, cli: Command) -> None:
    cli("apply")
    assert cli("freshness", "--json").json["views"][0]["status"] == "UNKNOWN"
    assert cli("freshness").code == 1
    missing = cli("online", "-s", "hcp_conversion", "-e", ONE, "--json").json
    assert missing["statuses"]["hcp_engagement:trx_count"] == ["NOT_FOUND"]
    done = cli("materialize-incremental", "--json")
    assert done.code == 0
    assert done.json["runs"][0]["rows_written"] == 24
    assert cli("freshness").code == 0
    found = cli("online", "-s", "hcp_conversion", "-e", ONE, "-e", "hcp_id=nobody,brand_id=alvexa", "--json").json
    assert found["statuses"]["hcp_engagement:engagement_score"] == ["PRESENT", "NOT_FOUND"]
    assert found["values"]["engagement_score"][1] is None
    assert "NOT_FOUND" in cli("online", "-s", "hcp_conversion", "-e", "hcp_id=nobody,brand_id=alvexa").out


def test_materialize_takes_a_window(project: Path, cli: Command) -> None:
    cli("apply")
    runs = cli("materialize", "2001-01-01", "2001-02-01T12:00:00+02:00", "--view", "hcp_engagement", "--json").json[
        "runs"
    ]
    assert runs[-1]["end"] == "2001-02-01T10:00:00+00:00"
    assert runs[0]["rows_written"] == 0
    empty = cli("materialize", "2001-02-01", "2001-01-01", "--json")
    assert (empty.code, empty.json["error"]["type"]) == (2, "RequestError")


def test_a_pushed_row_is_served_and_a_bad_batch_is_refused_whole(project: Path, cli: Command) -> None:
    cli("apply")
    now = datetime.now(UTC) - timedelta(minutes=1)
    head = "hcp_id,brand_id,event_timestamp,created_at,trx_count,engagement_score,call_frequency,converted\n"
    row = f"hcp_1,alvexa,{now.isoformat()},{now.isoformat()},77,0.5,,true\n"
    (project / "bad.csv").write_text(head + row + row.replace("hcp_1,", ","))
    refused = cli("push", "engagement_push", "bad.csv", "--json")
    assert refused.code == 2
    assert refused.json["error"]["problems"] == ["row 1, column 'hcp_id': the join key is missing"]
    online = ("online", "-f", "hcp_engagement:trx_count", "-e", ONE, "--json")
    assert cli(*online).json["values"]["trx_count"] == [None]
    (project / "good.csv").write_text(head + row)
    taken = cli("push", "engagement_push", "good.csv", "--json").json
    assert taken["receipts"]["hcp_engagement"]["applied"] == ["local"]
    assert cli(*online).json["values"]["trx_count"] == [77]
    assert cli("push", "engagement_push", "good.csv", "--json").json["receipts"]["hcp_engagement"]["repeated"] is True
    assert cli("push", "engagement_push", "good.csv", "--to", "nowhere").code == 2
    unknown = cli("push", "engagment_push", "good.csv")
    assert unknown.code == 2
    assert "Did you mean 'engagement_push'?" in unknown.err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["-e", "hcp_1"], "key=value"),
        ([], "--entity"),
        (["-e", ONE, "--entities", "questions.csv"], "--entity"),
        (["-e", "hcp_id=hcp_1"], "brand_id"),
    ],
)
def test_a_mistake_in_online_ends_with_two(project: Path, cli: Command, words: list[str], says: str) -> None:
    cli("apply")
    told = cli("online", "-s", "hcp_conversion", *words, "--json")
    assert told.code == 2
    assert says in told.json["error"]["message"]


# ---- health and doctor ------------------------------------------------------------------------------------


def test_health_says_that_the_backend_is_up(project: Path, cli: Command) -> None:
    cli("apply")
    told = cli("health", "--json")
    assert told.code == 0
    assert [(b["name"], b["up"]) for b in told.json["backends"]] == [("local", True)]


def test_health_and_doctor_end_with_one_when_a_backend_is_down(project: Path, cli: Command) -> None:
    (project / "e2i_fs.yaml").write_text(
        "backends:\n"
        "  - {name: up, backend: duckdb, path: .fs/up}\n"
        "  - {name: down, backend: duckdb, path: questions.csv}\n"
    )
    told = cli("health", "--json")
    assert told.code == 1
    assert [(b["name"], b["up"]) for b in told.json["backends"]] == [("up", True), ("down", False)]
    examined = cli("doctor", "--json")
    assert examined.code == 1
    down = examined.json["configuration"]["backends"][1]
    assert down["reachable"] is False
    assert "questions.csv" in down["why"]


def test_doctor_finds_every_backend_and_says_whether_it_loads(project: Path, cli: Command) -> None:
    told = cli("doctor", "--json")
    found = {p["name"]: p for p in told.json["plugins"]}
    assert {"duckdb", "feast", "memory"} <= set(found)
    assert found["duckdb"]["state"] == "loads"
    assert found["duckdb"]["distribution"] == "e2i-fs"
    assert found["duckdb"]["version"]
    assert told.json["configuration"]["backends"][0]["reachable"] is True
    assert told.code == 0


def test_doctor_works_where_there_is_no_configuration_and_tells_a_broken_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Command
) -> None:
    monkeypatch.chdir(tmp_path)
    without = cli("doctor", "--json")
    assert (without.code, without.json["configuration"]) == (0, None)
    for wrong in (
        "backend: duckdbb\n",
        "backend: duckdb\npath: ${E2I_NO_SUCH_VARIABLE}\n",
        "backend: duckdb\npth: x\n",
    ):
        (tmp_path / "e2i_fs.yaml").write_text(wrong)
        assert cli("doctor").code == 2, wrong
        assert cli("doctor", "--json").code == 2, wrong
    (tmp_path / "e2i_fs.yaml").write_text("backend: duckdb\npath: ${E2I_NO_SUCH_VARIABLE}\n")
    told = cli("doctor").out
    assert told.count("e2i_fs.yaml") == 1 and "E2I_NO_SUCH_VARIABLE is not set" in told


def test_doctor_says_nothing_of_options_that_nobody_gave(project: Path, cli: Command) -> None:
    """A plugin is opened with a folder to see whether it loads; one that wants none is no worse for that."""
    memory = next(p for p in cli("doctor", "--json").json["plugins"] if p["name"] == "memory")
    assert memory["state"] == "loads" and "path" not in str(memory)


def test_doctor_tells_a_plugin_that_does_not_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Command
) -> None:
    """A real distribution on the path, whose module raises (G-2)."""
    about = tmp_path / "acme_store-1.2.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-store\nVersion: 1.2\n")
    (about / "entry_points.txt").write_text("[e2i_fs]\nacme = acme_store_plugin\n")
    (tmp_path / "acme_store_plugin.py").write_text("raise RuntimeError('no licence')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    told = cli("doctor", "--json")
    assert told.code == 1
    acme = next(p for p in told.json["plugins"] if p["name"] == "acme")
    assert (acme["distribution"], acme["version"], acme["state"]) == ("acme-store", "1.2", "broken")
    assert "no licence" in acme["why"]
