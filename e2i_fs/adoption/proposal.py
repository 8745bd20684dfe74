"""What `import-feast` writes: the definitions as Python, and a configuration to serve them with."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import yaml

from e2i_fs.adoption.foreign import Imported
from e2i_fs.adoption.python_text import python_text
from e2i_fs.catalog import Catalog
from e2i_fs.errors import RequestError
from e2i_fs.reading import stored_source

__all__ = ["CONFIG", "check_place", "proposal"]

CONFIG = "e2i_fs.yaml"


def check_place(catalog: Catalog, out: Path, repository: Path) -> None:
    """Raise `RequestError` when relative paths in ``catalog`` would mean other files from where ``out`` lies."""
    if out.resolve().parent == repository.resolve():
        return
    for name, path in _relative_paths(catalog):
        raise RequestError(
            f"import-feast: view {name!r} reads {path!r}, which is relative to {repository}, so the definitions belong in "
            f"that folder; nothing was written. Leave --out away, or name a file in it, e.g. --out {repository / out.name}."
        )


def _relative_paths(catalog: Catalog) -> Iterable[tuple[str, str]]:
    for name, view in catalog.views.items():
        for path in getattr(stored_source(view), "paths", ()):
            if not os.path.isabs(os.path.expanduser(path)):
                yield name, path


def proposal(imported: Imported, out: Path, repository: Path) -> dict[str, bytes]:
    """Return the files to write, by name: the definitions for ``out`` and the configuration beside them."""
    about = f"Feature definitions of the Feast project {imported.project}, written by e2i-fs import-feast."
    notes = [f"Read from {imported.read}.", *(["Not carried over:"] if imported.left else [])]
    notes += [f"- {left}" for left in imported.left]
    text = python_text(imported.catalog, about=about, notes=notes)
    return {out.name: text.encode(), CONFIG: _configuration(imported, out, repository).encode()}


def _configuration(imported: Imported, out: Path, repository: Path) -> str:
    repo = os.path.relpath(repository.resolve(), out.resolve().parent)
    feast = {"name": "feast", "backend": "feast", "repo": repo}
    duckdb = {"name": "primary", "backend": "duckdb", "path": ".fs/duckdb"}
    if imported.only_there:
        why = "Some views have a history that only Feast reads, so its repository serves, as it is: there is nothing to apply."
        chosen, other = feast, duckdb
    else:
        why = "The embedded backend reads the same files as Feast did."
        chosen, other = duckdb, feast
    lines = [
        "# Proposed by e2i-fs import-feast; change it as you like.",
        *yaml.safe_dump({"project": imported.project}, allow_unicode=True).splitlines(),
        f"# {why}",
        "backends:",
        f"  - {_entry(chosen)}",
        f"# Instead, or as the other side of `e2i-fs migrate`: - {_entry(other)}",
    ]
    return "\n".join(lines) + "\n"


def _entry(backend: dict[str, str]) -> str:
    return yaml.safe_dump(backend, default_flow_style=True, sort_keys=False, width=1000, allow_unicode=True).strip()
