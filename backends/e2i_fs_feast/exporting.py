"""A Feast repository made of neutral definitions, tried before it is given away: Feast takes it, and it reads back the same."""

from __future__ import annotations

import io
import re
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from e2i_fs.adoption.foreign import Exported, Left
from e2i_fs.catalog import Catalog
from e2i_fs.dtypes import Timestamp
from e2i_fs.errors import BackendDataError, ConfigError, DefinitionError
from e2i_fs.frozen import FrozenMap
from e2i_fs.values import arrow_type
from e2i_fs_feast.adopt import adopt
from e2i_fs_feast.collected import contents_of, registry_of
from e2i_fs_feast.feast_text import FeastText, StandIn, feast_text
from e2i_fs_feast.functions import carried
from e2i_fs_feast.registry import snapshot
from e2i_fs_feast.repository import load_config

__all__ = ["exported"]

_FILE = "definitions.py"
_PROJECT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_]*")


def exported(catalog: Catalog, *, project: str, folder: Path) -> Exported:
    """Return ``catalog`` as the files of a Feast repository for ``folder``, and what Feast cannot hold.

    The Python is run and read back somewhere else first: what is not left out is the same again, but for paths that are
    written relative to another folder. Raises `ConfigError` for a project name that Feast refuses.
    """
    if not _PROJECT.fullmatch(project):
        raise ConfigError(
            f"export-feast: Feast takes no project named {project!r}. Give --project letters, digits and _, the first no _."
        )
    about = f"Feature definitions of the project {project}, written by e2i-fs export-feast."
    refused: list[Left] = []
    while True:
        made = feast_text(catalog, about=about, folder=str(folder), without=refused)
        files = _files(made, catalog, project)
        with tempfile.TemporaryDirectory(prefix="e2i-fs-export-") as temporary:
            problem = _problem(made, files, Path(temporary).resolve())
        if problem is None:
            return Exported(FrozenMap(files), made.left)
        refused.append(problem)


def _files(made: FeastText, catalog: Catalog, project: str) -> dict[str, bytes]:
    form = {
        "project": project,
        "provider": "local",
        "registry": "data/registry.db",
        "offline_store": {"type": "duckdb"},
        "online_store": {"type": "sqlite", "path": "data/online_store.db"},
        "entity_key_serialization_version": 3,
    }
    files = {"feature_store.yaml": yaml.safe_dump(form, sort_keys=False).encode(), _FILE: made.text().encode()}
    return files | {stand_in.path: _empty(stand_in, catalog) for stand_in in made.stand_ins}


def _empty(stand_in: StandIn, catalog: Catalog) -> bytes:
    view = stand_in.view
    columns = dict(catalog.join_keys(view.name)) | {view.event_column: Timestamp}
    columns |= {view.created_column: Timestamp} if view.created_column else {}
    columns |= {f.name: f.dtype for f in view.schema}
    schema = pa.schema([pa.field(name, arrow_type(dtype)) for name, dtype in columns.items()])
    written = io.BytesIO()
    pq.write_table(schema.empty_table(), written)
    return written.getvalue()


def _problem(made: FeastText, files: Mapping[str, bytes], folder: Path) -> Left | None:
    """Return the first definition that Feast refuses, and why; None when it takes all and they read back the same."""
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    config = load_config(folder)
    try:
        with contents_of(folder) as contents:
            for view in contents.on_demand_feature_views:
                try:
                    view.infer_features()
                except Exception as error:  # the user's function may raise anything on the values that Feast makes up
                    why = f"Feast's trial run of its function fails: {type(error).__name__}: {error}"
                    return Left("on-demand feature view", view.name, why)
            registry, left = registry_of(contents, config)
    except DefinitionError as error:
        return _refused(made, error, folder / _FILE)
    if left:
        kind, name = next((s.kind, s.name) for s in made.statements if left[0].name in (s.name, s.feast_name))
        return Left(kind, name, left[0].why)
    carry = partial(carried, folder=folder)
    seen = snapshot(registry, config.project, partial(adopt, project=config.project, folder=folder, carry=carry))
    differing = _differing(made.expected, seen.catalog)
    if differing:
        raise BackendDataError(
            f"export-feast: what was written would not read back as it was ({', '.join(differing)}), so nothing was given away. This "
            "is a defect in e2i_fs; please report it."
        )
    return None


def _refused(made: FeastText, error: DefinitionError, file: Path) -> Left:
    """Return the definition in whose statement Feast raised; raise ``error`` when it is none of them."""
    cause = error.__cause__
    frames: Sequence[Any] = traceback.extract_tb(cause.__traceback__) if cause is not None else ()
    line = next((frame.lineno for frame in reversed(frames) if frame.filename == str(file)), None)
    statement = None if line is None else made.statement_at(line)
    if statement is None:
        raise error
    return Left(statement.kind, statement.name, f"Feast refuses it: {type(cause).__name__}: {cause}")


def _differing(expected: Catalog, found: Catalog) -> list[str]:
    """Return the names of the definitions that are not the same in both."""
    names = []
    for kind in ("entities", "views", "on_demand", "services"):
        want, got = getattr(expected, kind), getattr(found, kind)
        names += [
            n for n in {*want, *got} if n not in want or n not in got or want[n].canonical() != got[n].canonical()
        ]
    return sorted(names)
