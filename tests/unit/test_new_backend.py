"""``e2i-fs new-backend`` writes a plugin that works as it stands, whole or not at all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from e2i_fs.cli.app import run

ROOT = Path(__file__).parents[2]
WRITTEN = [
    "README.md", "e2i_fs_acme/__init__.py", "e2i_fs_acme/backend.py", "e2i_fs_acme/harness.py", "e2i_fs_acme/plugin.py",
    "e2i_fs_acme/py.typed", "pyproject.toml", "tests/test_conformance.py",
]  # fmt: skip


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def files(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def answer(capsys: Any, *arguments: str) -> tuple[int, dict[str, Any]]:
    code = run(["new-backend", *arguments, "--json"])
    return code, json.loads(capsys.readouterr().out)


def in_folder(folder: Path, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )


def installed(folder: Path, site: Path, package: str, name: str) -> None:
    """Make the plugin known as an editable installation does: its metadata, and a way to its package."""
    info = site / f"{package}-0.1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: e2i-fs-{name}\nVersion: 0.1.0\n")
    (info / "entry_points.txt").write_text(f"[e2i_fs]\n{name} = {package}.plugin\n")
    (site / package).symlink_to(folder / package)


def test_it_writes_a_whole_distribution_and_nothing_beside_it(here: Path, capsys: Any) -> None:
    code, said = answer(capsys, "acme")
    assert (code, said["written"], files(here / "e2i-fs-acme")) == (0, WRITTEN, WRITTEN)
    assert [p.name for p in here.iterdir()] == ["e2i-fs-acme"]
    assert said["next"] == ["pip install -e ./e2i-fs-acme", "pytest e2i-fs-acme", "e2i-fs certify acme"]


def test_a_name_of_several_words_is_spelt_as_each_place_needs_it(here: Path, capsys: Any) -> None:
    assert answer(capsys, "big-cloud2", "--into", "plugins")[0] == 0
    folder = here / "plugins" / "e2i-fs-big-cloud2"
    assert files(folder) == sorted(name.replace("acme", "big_cloud2") for name in WRITTEN)
    text = {name: (folder / name).read_text() for name in files(folder)}
    assert not [name for name, body in text.items() if "acme" in body.lower()]
    assert 'big-cloud2 = "e2i_fs_big_cloud2.plugin"' in text["pyproject.toml"]
    assert "class BigCloud2Backend" in text["e2i_fs_big_cloud2/backend.py"]


@pytest.mark.parametrize("name", ["", "Acme", "9lives", "a.b", "a b", "../a", "a--b", "-", "a-", "ä", "a\n", "a" * 41])
def test_a_name_that_no_distribution_can_have_is_refused(name: str, here: Path, capsys: Any) -> None:
    code = run(["new-backend", "--json", "--", name])
    assert (code, json.loads(capsys.readouterr().out)["error"]["type"]) == (2, "RequestError")
    assert list(here.iterdir()) == []


@pytest.mark.rule("G-2")
@pytest.mark.parametrize("name", ["duckdb", "memory", "feast"])
def test_the_name_of_an_installed_backend_is_refused(name: str, here: Path, capsys: Any) -> None:
    code, said = answer(capsys, name)
    assert code == 2
    assert "e2i-fs 0.1.0 has the backend" in said["error"]["message"]
    assert list(here.iterdir()) == []


@pytest.mark.rule("G-2")
def test_a_name_that_would_take_the_package_of_another_plugin_is_refused(here: Path) -> None:
    run(["new-backend", "big-cloud"])
    installed(here / "e2i-fs-big-cloud", here / "site", "e2i_fs_big_cloud", "big-cloud")
    code = "import sys; from e2i_fs.cli.app import run; sys.exit(run(['new-backend', 'big_cloud']))"
    done = in_folder(here, sys.executable, "-c", code, PYTHONPATH=str(here / "site"))
    assert done.returncode == 2
    assert "e2i-fs-big-cloud 0.1.0 has the backend 'big-cloud' already" in " ".join(done.stderr.split())


def test_what_is_there_already_is_left_as_it_is(here: Path, capsys: Any) -> None:
    (here / "e2i-fs-acme").mkdir()
    (here / "e2i-fs-acme" / "mine.txt").write_text("mine")
    code, said = answer(capsys, "acme")
    assert code == 2
    assert "nothing in it was touched" in said["error"]["message"]
    assert files(here) == ["e2i-fs-acme/mine.txt"]


def test_a_disk_that_fills_up_leaves_nothing_half_written(here: Path) -> None:
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))\n"
        "from e2i_fs.cli.app import run; sys.exit(run(['new-backend', 'acme']))"
    )
    done = in_folder(here, sys.executable, "-B", "-c", code)
    assert (done.returncode, list(here.iterdir())) == (2, [])
    assert "OSError" in done.stderr


def test_what_it_writes_passes_the_linter_and_the_type_checker(here: Path) -> None:
    ruff, mypy = (Path(sys.executable).with_name(name) for name in ("ruff", "mypy"))
    if not ruff.exists() or not mypy.exists():
        pytest.skip("needs ruff and mypy: pip install ruff mypy")
    run(["new-backend", "acme"])
    folder = here / "e2i-fs-acme"
    for command in ([ruff, "check", "."], [ruff, "format", "--check", "."], [mypy, "--strict"]):
        done = in_folder(folder, *map(str, command), MYPY_CACHE_DIR=str(ROOT / ".mypy_cache" / "new_backend"))
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("persistent", [False, True], ids=["as written", "declared persistent"])
def test_it_passes_its_own_tests_from_outside_its_folder(persistent: bool, here: Path) -> None:
    # A few of them: tests/wheel/plugins.sh installs it for good and runs all. An author declares it persistent with the
    # first method that is, while the others still are as written.
    run(["new-backend", "acme"])
    plugin = here / "e2i-fs-acme" / "e2i_fs_acme" / "plugin.py"
    plugin.write_text(plugin.read_text().replace("persistent=False", f"persistent={persistent}"))
    installed(here / "e2i-fs-acme", here / "site", "e2i_fs_acme", "acme")
    done = in_folder(
        here, sys.executable, "-m", "pytest", "-q", "e2i-fs-acme", "--e2i-fs-profile=quick",
        "-k", "r5 or not_to_last or w2 or o1 or x2", PYTHONPATH=str(here / "site"),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
    assert ("does not declare persistent" in done.stdout) is not persistent


@pytest.mark.rule("G-1")
def test_naming_it_imports_nothing_heavy(here: Path) -> None:
    run(["new-backend", "acme"])
    installed(here / "e2i-fs-acme", here / "site", "e2i_fs_acme", "acme")
    code = (
        "import sys; from e2i_fs.plugins import Plugins\n"
        "print(Plugins().spec('acme').factory, [m for m in ('pyarrow', 'duckdb', 'e2i_fs_acme.backend') if m in sys.modules])"
    )
    done = in_folder(here, sys.executable, "-c", code, PYTHONPATH=str(here / "site"))
    assert done.stdout.strip() == "e2i_fs_acme.backend:open_backend []", done.stderr
