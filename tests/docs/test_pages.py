"""Every block of every page is run: code, commands and configurations, in order, in a folder of the page's own."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import e2i_fs as fs
from e2i_fs.cli.app import run
from e2i_fs.config import load_config
from tests.docs.pages import ROOT, Block, blocks, markdown_pages, same_text

# What a page may tell its reader to type and no test types: it would change the machine, or take minutes.
NOT_TYPED = ("pip", "make", "git", "source")
# Text is compared with what came before it; the examples of the reference are those of docstrings, run by test_docstrings.
CHECKED_ELSEWHERE = ("python", "text", "pycon", "")


@pytest.mark.parametrize("page", markdown_pages(), ids=lambda p: str(p.relative_to(ROOT)))
def test_every_block_of_a_page_does_what_the_page_says(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)  # as for a file in that folder
    run_page(page, tmp_path)


def test_the_page_that_init_writes_is_true_of_what_it_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert _e2i_fs(["init", "project"], tmp_path)[0] == 0
    monkeypatch.chdir(tmp_path / "project")
    page = ROOT / "e2i_fs" / "cli" / "templates" / "README.md"
    assert Path("README.md").read_text(encoding="utf-8") == page.read_text(encoding="utf-8")
    run_page(page, tmp_path)


def run_page(page: Path, folder: Path) -> None:
    """Run the blocks of a page in order, in the working directory; ``folder`` is for what the runner itself needs."""
    code = folder / ".blocks"
    code.mkdir()
    namespace: dict[str, Any] = {"__name__": f"page_{page.stem.replace('-', '_')}"}
    skipped = []
    for block in blocks(page):
        needs = block.notes.get("needs")
        if needs and importlib.util.find_spec(needs) is None:
            skipped.append(f"{block.where} needs {needs}")
            continue
        if "file" in block.notes:
            Path(block.notes["file"]).parent.mkdir(parents=True, exist_ok=True)
            Path(block.notes["file"]).write_text(block.text, encoding="utf-8")
        if "no-run" in block.notes:
            assert block.notes["no-run"], f"{block.where}: say why it is not run"
        elif block.language == "python" and "file" not in block.notes:
            _run_python(block, namespace, code)
        elif block.language == "yaml":
            _load(block, Path.cwd())
        elif block.language == "console":
            _run_commands(block)
        else:
            assert block.language in CHECKED_ELSEWHERE, f"{block.where}: nothing checks {block.language!r} blocks"
    if skipped:
        pytest.skip("run but for: " + "; ".join(skipped))


def _run_python(block: Block, namespace: dict[str, Any], folder: Path) -> None:
    # A file of its own, each line where the page has it: tracebacks point at the page, and functions have a source.
    file = folder / f"{block.page.stem}_{block.line}.py"
    file.write_text("\n" * (block.line - 1) + block.text, encoding="utf-8")
    compiled = compile(file.read_text(encoding="utf-8"), str(file), "exec", dont_inherit=True)
    printed = io.StringIO()
    wanted = block.notes.get("raises")
    with contextlib.redirect_stdout(printed):
        if wanted:
            with pytest.raises(getattr(fs, wanted)) as caught:
                exec(compiled, namespace)
            print(caught.value)
        else:
            exec(compiled, namespace)
    if block.prints is not None:
        assert same_text(block.prints, printed.getvalue()), f"{block.where} prints\n{printed.getvalue()}"


def _load(block: Block, folder: Path) -> None:
    file = folder / f".{block.page.stem}_{block.line}.yaml"
    file.write_text(block.text, encoding="utf-8")
    assert load_config(file).backends, block.where


def _run_commands(block: Block) -> None:
    folder = Path.cwd()
    printed = ""
    for line in block.text.splitlines():
        words = shlex.split(line, comments=True)
        if not words or words[0] in NOT_TYPED:
            continue
        if words[0] == "cd":
            folder /= words[1]
            continue
        assert words[0] in ("e2i-fs", "feast"), f"{block.where}: nothing runs {line!r}"
        code, said = (_e2i_fs if words[0] == "e2i-fs" else _feast)(words[1:], folder)
        assert code == int(block.notes.get("exit", "0")), f"{block.where}: {line}\n{said}"
        printed += said
    if block.prints is not None:
        assert same_text(block.prints, printed), f"{block.where} prints\n{printed}"


def _e2i_fs(arguments: list[str], folder: Path) -> tuple[int, str]:
    """Run the command in this process, for starting Python anew takes longer than what it does."""
    said = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)  # with a buffer, as a terminal's has
    with contextlib.chdir(folder), contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = run(arguments)
    said.seek(0)
    return code, said.read()


def _feast(arguments: list[str], folder: Path) -> tuple[int, str]:
    command = [str(Path(sys.executable).with_name("feast")), *arguments]
    environment = {**os.environ, "COLUMNS": "120", "NO_COLOR": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


def test_every_page_has_something_to_run_or_says_nothing_that_could_be() -> None:
    with_code = {page.name for page in markdown_pages() if any(b.language == "python" for b in blocks(page))}
    assert {"README.md", "tutorial.md"} <= with_code
