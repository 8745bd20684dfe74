"""The catalogue page without a browser: the document, the file, what is refused, and what a command says."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest

import e2i_fs as fs
from e2i_fs.errors import BackendUnavailableError, ConfigError, RequestError
from e2i_fs.ops.freshness import FreshnessReport, FreshnessStatus
from e2i_fs.page.collect import collect
from e2i_fs.page.export import write_page
from e2i_fs.page.html import MARK, SCRIPTS, page, policy
from e2i_fs.page.watched import freshness_history
from e2i_fs.testing import FakeClock, memory_store
from tests import kit

ASSETS = Path(fs.__file__).parent / "page" / "assets"


@pytest.fixture
def view(tmp_path: Path) -> fs.FeatureView:
    rows = [("a", kit.at(0), 1), ("b", kit.at(60), 2)]
    return kit.view(tmp_path, rows, max_staleness=timedelta(hours=24), owner="field", tags={"use_case": "churn"})


# ---- the document ----------------------------------------------------------------------------------------------


def test_the_document_is_json_with_times_in_utc_and_durations_in_seconds(
    view: fs.FeatureView, clock: FakeClock
) -> None:
    with memory_store(view, clock=clock) as store:
        store.materialize(None)
        made = collect(store, project="p", clock=clock, statistics=True)
    assert json.loads(json.dumps(made, allow_nan=False)) == made
    assert made["made_at"] == kit.NOW.isoformat()
    (shown,) = made["views"]
    fresh = shown["freshness"]
    assert (fresh["status"], fresh["age"], fresh["rows"]) == ("FRESH", timedelta(hours=11).total_seconds(), 2)
    assert shown["statistics"]["offline"]["features"]["trx_count"]["rows"] == 2
    assert shown["fields"][0]["dtype"] == "Int64"


def test_one_section_that_cannot_be_had_says_why_and_keeps_no_other_from_being_there(
    view: fs.FeatureView, clock: FakeClock
) -> None:
    class Broken:
        def __init__(self, inner: Any) -> None:
            self.inner = inner

        def __getattr__(self, name: str) -> Any:
            if name in ("events", "jobs"):
                raise BackendUnavailableError(f"no {name} from postgresql://ann:hunter2@db/e2i")
            return getattr(self.inner, name)

    with memory_store(view, clock=clock) as store:
        made = collect(Broken(store), clock=clock)  # type: ignore[arg-type]
    assert made["events"] == {"problem": "BackendUnavailableError: no events from postgresql://…@db/e2i"}
    assert set(made["jobs"]) == {"problem"}
    assert made["answering"]["backends"][0]["up"]
    assert "hunter2" not in json.dumps(made)


def test_a_source_is_told_without_what_opens_it(tmp_path: Path) -> None:
    sources = [
        fs.SQLSource("postgresql://ann:${PASSWORD}@db/e2i", table="triggers"),
        fs.ParquetSource("s3://key@bucket/a.parquet?X-Amz-Signature=hunter2"),
    ]
    made = [
        fs.FeatureView(
            f"v{n}", entities=[fs.Entity("e")], schema=[fs.Field("x", fs.Int64)], source=source, online=False
        )
        for n, source in enumerate(sources)
    ]
    from e2i_fs.catalog import Catalog
    from e2i_fs.page.defined import catalogue
    from e2i_fs.page.lineage import lineage

    defined = catalogue(Catalog().planned(made, "")[0])
    told = json.dumps([defined, lineage(defined)])
    assert "hunter2" not in told and "ann" not in told
    assert "triggers" in told and "s3://" in told


def test_a_service_with_a_wildcard_lists_features_and_no_labels() -> None:
    view = fs.FeatureView(
        "v", entities=[fs.Entity("e")], schema=[fs.Field("x", fs.Int64), fs.Field("y", fs.Bool, role="label")]
    )
    with memory_store(view, fs.FeatureService("s", features=["v:*"])) as store:
        made = collect(store)
    assert made["services"][0]["features"] == ["v:x"]
    assert [f["services"] for f in made["views"][0]["fields"]] == [["s"], []]


def test_very_many_checks_are_thinned_without_hiding_one_that_was_stale(clock: FakeClock) -> None:
    def report(minutes: int, status: FreshnessStatus, age: timedelta | None) -> FreshnessReport:
        return FreshnessReport("v", status, age, None, None, 1, kit.NOW - timedelta(minutes=minutes), "b")

    every = [report(m, FreshnessStatus.FRESH, timedelta(seconds=m)) for m in range(7 * 24 * 60, 0, -1)]
    every[5_000] = report(7 * 24 * 60 - 5_000, FreshnessStatus.EXPIRED, timedelta(days=9))
    every[7_000] = report(7 * 24 * 60 - 7_000, FreshnessStatus.UNKNOWN, None)

    class Store:
        def freshness_history(self, view: str | None = None, *, days: float = 7.0) -> list[FreshnessReport]:
            return every

    kept = freshness_history(Store(), 7.0, kit.NOW)["views"]["v"]  # type: ignore[arg-type]
    assert len(kept) < 300
    assert {"EXPIRED", "UNKNOWN"} <= {each["status"] for each in kept}
    assert [each["at"] for each in kept] == sorted(each["at"] for each in kept)


@pytest.mark.parametrize("days", [0, -1, 367, float("nan")])
def test_days_that_are_no_time_back_are_refused(days: float) -> None:
    with memory_store() as store, pytest.raises(RequestError, match="days is"):
        collect(store, days=days)


# ---- the page --------------------------------------------------------------------------------------------------


def test_the_policy_of_a_written_page_lets_nothing_be_fetched_and_only_its_own_script_run() -> None:
    made = page({"views": []})
    (told,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', made)
    rules = dict(rule.split(" ", 1) for rule in told.replace("&#x27;", "'").split("; "))
    assert rules["default-src"] == rules["connect-src"] == rules["base-uri"] == "'none'"
    assert "unsafe" not in told
    import hashlib

    (script,) = re.findall(r"<script>(.*)</script>", made, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert rules["script-src"] == f"'sha256-{digest}'"
    assert "frame-ancestors" in policy(served=True, header=True)


def test_the_script_makes_no_markup_of_text_and_runs_no_text() -> None:
    for file in ASSETS.glob("*.js"):
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|Function\(|srcdoc", text), (
            file
        )
    assert {f.stem for f in ASSETS.glob("*.js")} == set(SCRIPTS)
    assert not re.search(r"https?://(?!www\.w3\.org/)", page({}))


def test_each_part_of_the_page_is_small() -> None:
    for file in ASSETS.iterdir():
        assert len(file.read_text(encoding="utf-8").splitlines()) <= 300, file


# ---- the file --------------------------------------------------------------------------------------------------


def test_a_page_is_written_into_a_new_folder_and_over_an_older_page_only(tmp_path: Path) -> None:
    first = write_page(tmp_path / "new" / "deep", page({"n": 1}))
    again = write_page(tmp_path / "new" / "deep", page({"n": 2}))
    assert first == again
    assert '"n":2' in first.read_text(encoding="utf-8")
    assert os.listdir(first.parent) == ["index.html"]


@pytest.mark.parametrize("there", ["other.txt", "index.html", ".git"])
def test_nobodys_files_are_overwritten(tmp_path: Path, there: str) -> None:
    (tmp_path / there).write_text("mine", encoding="utf-8")
    with pytest.raises(RequestError, match=r"nothing was written|left as it is"):
        write_page(tmp_path, page({}))
    assert os.listdir(tmp_path) == [there]
    assert (tmp_path / there).read_text(encoding="utf-8") == "mine"


def test_a_link_in_the_place_of_the_page_is_not_followed(tmp_path: Path) -> None:
    aim = tmp_path / "aim.html"
    aim.write_text(MARK, encoding="utf-8")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "index.html").symlink_to(aim)
    with pytest.raises(RequestError, match="left as it is"):
        write_page(tmp_path / "out", page({}))
    assert aim.read_text(encoding="utf-8") == MARK


def test_a_file_in_the_place_of_the_folder_is_refused_and_what_a_cut_write_left_is_no_hindrance(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(RequestError, match="is a file"):
        write_page(tmp_path / "file", page({}))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".index.html.abc.tmp").write_text("half", encoding="utf-8")
    assert write_page(tmp_path / "out", page({})).is_file()


# ---- served ----------------------------------------------------------------------------------------------------


def get(store: Any, path: str = "/", method: str = "GET", **more: Any) -> Any:
    """Ask an application of the page in this process."""
    pytest.importorskip("fastapi", reason='needs the server: pip install "e2i-fs[server]"')
    httpx = pytest.importorskip("httpx")
    from e2i_fs.page.app import Shop, make_app

    headers = more.pop("headers", {})
    app = make_app(Shop(store, **more))

    async def run() -> Any:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
            return await client.request(method, path, headers=headers)

    return anyio.run(run)


def test_what_is_served_is_the_page_its_document_and_statistics_and_nothing_else(view: fs.FeatureView) -> None:
    with memory_store(view) as store:
        answer = get(store)
        assert answer.status_code == 200
        assert MARK in answer.text
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert get(store, "/document.json").json()["views"][0]["name"] == "hcp_stats"
        assert get(store, "/statistics.json?view=hcp_stats").json()["offline"]["features"]["trx_count"]["rows"] == 2
        assert get(store, "/statistics.json?view=hcp_stat").status_code == 404
        assert "hcp_stats" in get(store, "/statistics.json?view=hcp_stat").text
        assert get(store, "/statistics.json?view=hcp_stats", statistics=False).status_code == 404
        assert get(store, "/../pyproject.toml").status_code == 404
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            assert get(store, "/document.json", method).status_code == 405


@pytest.mark.parametrize("host", ["evil.example", "evil.example:6567", "127.0.0.1.evil.example", ""])
def test_without_keys_a_name_that_is_not_this_machines_own_is_refused(view: fs.FeatureView, host: str) -> None:
    with memory_store(view) as store:
        for path in ("/", "/document.json"):
            assert get(store, path, headers={"Host": host}).status_code == 403
        assert get(store, headers={"Host": "localhost:6567"}).status_code == 200
        assert get(store, headers={"Host": "[::1]:6567"}).status_code == 200


def test_with_keys_a_browser_is_asked_for_one_and_sends_it_as_a_password(view: fs.FeatureView) -> None:
    from e2i_fs.server.keys import Access

    key = "a-key-that-may-look"
    basic = base64.b64encode(f"anybody:{key}".encode()).decode()
    wrong = base64.b64encode(b"anybody:something-else").decode()
    with memory_store(view) as store:
        asked = get(store, access=Access((key,)))
        assert asked.status_code == 401
        assert asked.headers["WWW-Authenticate"].startswith("Basic")
        for sent, status in (
            (f"Basic {basic}", 200),
            (f"Bearer {key}", 200),
            (f"Basic {wrong}", 401),
            ("Basic ###", 401),
        ):
            for path in ("/", "/document.json", "/statistics.json?view=hcp_stats"):
                assert get(store, path, access=Access((key,)), headers={"Authorization": sent}).status_code == status
        named = get(store, access=Access((key,)), headers={"Authorization": f"Basic {basic}", "Host": "catalogue.corp"})
        assert named.status_code == 200


def test_more_than_this_machine_is_refused_without_keys() -> None:
    pytest.importorskip("uvicorn", reason='needs the server: pip install "e2i-fs[server]"')
    from e2i_fs.page.app import Shop
    from e2i_fs.page.serve import serve

    with memory_store() as store, pytest.raises(ConfigError, match="Without keys"):
        serve(Shop(store), "0.0.0.0", 0, lambda address: None)


def test_however_many_look_the_store_is_asked_once_in_a_while(view: fs.FeatureView, clock: FakeClock) -> None:
    from e2i_fs.page.app import Shop

    with memory_store(view, clock=clock) as store:
        shop = Shop(store, clock=clock, keep=5.0)
        first = shop.document()
        store.materialize(None)
        assert shop.document()["views"] == first["views"]
        clock.advance(timedelta(seconds=5))
        assert shop.document()["views"] != first["views"]


# ---- the command -----------------------------------------------------------------------------------------------

Command = Callable[..., Any]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    from e2i_fs.cli.app import run

    assert run(["init", str(tmp_path / "project")]) == 0
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.delenv("E2I_FS_CONFIG", raising=False)
    assert run(["apply"]) == 0
    assert run(["materialize-incremental"]) == 0
    return tmp_path / "project"


def test_ui_export_writes_the_page_and_says_what_is_on_it(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from e2i_fs.cli.app import run

    capsys.readouterr()
    assert run(["ui", "--export", "catalogue", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    text = (project / "catalogue" / "index.html").read_text(encoding="utf-8")
    assert told["views"] == len(json.loads(re.findall(r'id="document">(.*?)</script>', text)[0])["views"]) > 0
    assert told["problems"] == {}
    assert run(["ui", "--export", "catalogue", "--no-statistics"]) == 0
    assert "KiB" in capsys.readouterr().out
    assert len((project / "catalogue" / "index.html").read_text(encoding="utf-8")) < len(text)
    assert run(["ui", "--export", str(project)]) == 2
    assert run(["ui", "--days", "0"]) == 2
    assert run(["ui", "--json"]) == 2
    assert run(["ui", "--host", "0.0.0.0"]) == 2


def test_ui_serves_until_it_is_told_to_stop(project: Path) -> None:
    pytest.importorskip("uvicorn", reason='needs the server: pip install "e2i-fs[server]"')
    requests = pytest.importorskip("requests")
    code = "import sys; from e2i_fs.cli.app import run; sys.exit(run(['ui', '--port', '0']))"
    with subprocess.Popen([sys.executable, "-c", code], cwd=project, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            found = re.fullmatch(r"The catalogue is at (http://127\.0\.0\.1:\d+)\n", process.stderr.readline())
            assert found
            assert requests.get(f"{found[1]}/document.json", timeout=30).json()["views"]
            process.terminate()
            _, said = process.communicate(timeout=60)
            assert (process.returncode, said) == (0, "")
        finally:
            process.kill()


def test_writing_a_page_needs_nothing_of_the_server(project: Path) -> None:
    code = (
        "import sys\nfor name in ('fastapi', 'starlette', 'uvicorn'): sys.modules[name] = None\n"
        "from e2i_fs.cli.app import run\nsys.exit(run(['ui', '--export', 'out']) or 10 + run(['ui']))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 12, done.stderr
    assert 'pip install "e2i-fs[server]"' in done.stderr
    assert (project / "out" / "index.html").is_file()
