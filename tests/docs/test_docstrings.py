"""Every example in a docstring is run."""

from __future__ import annotations

import doctest
import importlib
import importlib.util
import pkgutil
import warnings
from collections.abc import Iterator
from pathlib import Path

import e2i_fs_duckdb
import e2i_fs_feast
import pytest

import e2i_fs

# What a module cannot be imported without, beside the base install.
NEEDS = {
    "e2i_fs_feast": "feast", "e2i_fs.cli.demo": "sklearn", "e2i_fs.agents.mcp": "mcp", "e2i_fs.sklearn": "sklearn",
    "e2i_fs.server": "fastapi", "e2i_fs.wire.listening": "uvicorn", "e2i_fs.page.app": "fastapi",
    "e2i_fs.page.serve": "uvicorn", "e2i_fs.ops.celery_schedule": "celery",
}  # fmt: skip


def _modules() -> Iterator[str]:
    for package in (e2i_fs, e2i_fs_duckdb, e2i_fs_feast):
        yield package.__name__
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.startswith("e2i_fs._feature_repo"):
                yield module.name


@pytest.mark.parametrize("name", sorted(_modules()))
def test_the_examples_of_a_module_run(name: str, tmp_path, monkeypatch) -> None:
    for prefix, needed in NEEDS.items():
        if name.startswith(prefix) and importlib.util.find_spec(needed) is None:
            pytest.skip(f"{name} needs {needed}")
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        if name.startswith("e2i_fs_feast"):
            warnings.simplefilter("ignore")  # Feast's own, on import
        module = importlib.import_module(name)
    found = doctest.DocTestFinder(exclude_empty=True).find(module, name)
    runner = doctest.DocTestRunner(verbose=False)
    said: list[str] = []
    for example in found:
        runner.run(example, out=said.append)
    assert runner.failures == 0, "".join(said)


def test_the_public_names_that_promise_an_example_have_one() -> None:
    values = [
        getattr(e2i_fs, name)
        for name in ("Entity", "FeatureView", "FeatureService", "Field", "connect", "connect_async")
    ]
    assert [v.__name__ for v in values if ">>>" not in (v.__doc__ or "")] == []


def test_few_examples_are_shown_without_being_run() -> None:
    skipped = []
    for name in sorted(_modules()):
        spec = importlib.util.find_spec(name)
        text = Path(spec.origin).read_text(encoding="utf-8") if spec and spec.origin else ""
        skipped += [f"{name}: {line.strip()}" for line in text.splitlines() if "# doctest: +SKIP" in line]
    # A result has no example of its own without a store around it; a decorator's needs a file. The pages run both.
    assert len(skipped) <= 2, skipped
