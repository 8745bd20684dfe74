"""Every example in a docstring is run."""

from __future__ import annotations

import doctest
import importlib
import importlib.util
import inspect
import pkgutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import e2i_fs_duckdb
import e2i_fs_feast
import pytest

import e2i_fs
from e2i_fs.store import Store

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


# Markers of pluggy; and what a decorator makes, which has an example itself.
NO_EXAMPLE = {"hookimpl", "hookspec", "OnDemandFeatureView"}
PACKAGES = [
    "e2i_fs",
    "e2i_fs.agents",
    "e2i_fs.quality",
    "e2i_fs.receipts",
    "e2i_fs.sklearn",
    "e2i_fs.splits",
    "e2i_fs.testing",
]


def _public() -> Iterator[Any]:
    """Yield each package with a name of it that is a class or a function, errors left out; then the methods of a store."""
    for package in PACKAGES:
        needed = NEEDS.get(package)
        if needed is None or importlib.util.find_spec(needed) is not None:
            module = importlib.import_module(package)
            for name in module.__all__:
                value = getattr(module, name)
                if callable(value) and not (isinstance(value, type) and issubclass(value, Exception)):
                    yield pytest.param(package, name, id=f"{package}.{name}")
    for name, _ in inspect.getmembers(Store, inspect.isfunction):
        if not name.startswith("_"):
            yield pytest.param("Store", name, id=f"Store.{name}")


@pytest.mark.parametrize(("package", "name"), list(_public()))
def test_every_public_name_has_an_example_that_runs_as_it_is_copied(
    package: str, name: str, tmp_path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    value = getattr(Store if package == "Store" else importlib.import_module(package), name)
    found = doctest.DocTestFinder(recurse=False).find(value, name, globs={})
    if name in NO_EXAMPLE:
        assert [one for one in found if one.examples] == []
        return
    said: list[str] = []
    tried = [doctest.DocTestRunner(verbose=False).run(one, out=said.append) for one in found]
    assert not sum(one.failed for one in tried), "".join(said)
    assert sum(one.attempted for one in tried), f"{name} has no example"
    assert list(tmp_path.iterdir()) == []


def test_few_examples_are_shown_without_being_run() -> None:
    skipped = []
    for name in sorted(_modules()):
        spec = importlib.util.find_spec(name)
        text = Path(spec.origin).read_text(encoding="utf-8") if spec and spec.origin else ""
        skipped += [f"{name}: {line.strip()}" for line in text.splitlines() if "# doctest: +SKIP" in line]
    # A result has no example of its own without a store around it; a decorator's needs a file. The pages run both.
    assert len(skipped) <= 2, skipped
