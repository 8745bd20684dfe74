"""A repository's Python files as the registry that `feast apply` would make of them; nothing is applied."""

from __future__ import annotations

import contextlib
import importlib
import linecache
import sys
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from feast.errors import RegistryInferenceFailure
from feast.feature_view import DUMMY_ENTITY_NAME
from feast.inference import (
    update_data_sources_with_inferred_event_timestamp_col,
    update_feature_views_with_inferred_features_and_entities,
)
from feast.infra.passthrough_provider import PassthroughProvider
from feast.protos.feast.core.Registry_pb2 import Registry as RegistryProto
from feast.repo_operations import get_repo_files, parse_repo

from e2i_fs.adoption.foreign import Left
from e2i_fs.errors import DefinitionError
from e2i_fs_feast.adopt import parquet_path

__all__ = ["collected", "contents_of", "registry_of"]


def collected(folder: Path, config: Any) -> tuple[Any, list[Left]]:
    """Return the registry message of what the Python files in ``folder`` define, and what could not be put into it.

    The files are run, as `feast apply` does. Raises `DefinitionError` when one does not run.
    """
    with contents_of(folder) as contents:
        if any(project.name != config.project for project in contents.projects) or len(contents.projects) > 1:
            raise DefinitionError(
                f"{folder}: the Python files define the project {contents.projects[0].name!r}, and feature_store.yaml says "
                f"{config.project!r}; `feast apply` would refuse this too. Make them one."
            )
        return registry_of(contents, config)


def registry_of(contents: Any, config: Any) -> tuple[Any, list[Left]]:
    """Return the registry message of Feast's objects, and what could not be put into it.

    Schemas that Feast infers are inferred from local files only: no warehouse is asked.
    """
    made = _Made(config)
    made.add("data source", contents.data_sources, "data_sources")
    made.add("entity", [e for e in contents.entities if e.name != DUMMY_ENTITY_NAME], "entities")
    for view in contents.feature_views:
        made.infer(view, contents.entities)
    made.add("feature view", contents.feature_views, "feature_views")
    for attribute, kind in (
        ("on_demand_feature_views", "on-demand feature view"),
        ("stream_feature_views", "stream feature view"),
        ("label_views", "label view"),
        ("permissions", "permission"),
    ):
        made.add(kind, getattr(contents, attribute), attribute)
    every = [*contents.feature_views, *contents.stream_feature_views, *contents.label_views]
    made.services(contents.feature_services, every, contents.on_demand_feature_views)
    return made.registry, made.left


class _Made:
    def __init__(self, config: Any) -> None:
        self._config = config
        self.registry = RegistryProto()
        self.left: list[Left] = []

    def add(self, kind: str, objects: Any, attribute: str) -> None:
        for each in objects:
            if any(left.name == each.name and left.kind == kind for left in self.left):
                continue
            with self._written_down(kind, each.name):
                message = each.to_proto()
                getattr(message, "spec", message).project = self._config.project
                getattr(self.registry, attribute).append(message)

    def services(self, services: Any, stored: Any, computed: Any) -> None:
        """Add feature services, the views that they take completed first."""
        known = {view.name: view for view in stored}
        for each in services:
            with self._written_down("feature service", each.name):
                each.resolve_pending_refs(self._config.project, None, {**known, **{v.name: v for v in computed}})
                each.infer_features(known)
                self.add("feature service", [each], "feature_services")

    @contextlib.contextmanager
    def _written_down(self, kind: str, name: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # Feast checks an object only when it writes it down, and has no class for that
            self.left.append(Left(kind, name, f"Feast cannot write it down: {type(error).__name__}: {error}"))

    def infer(self, view: Any, entities: Any) -> None:
        """Complete a view as `feast apply` does: its time column, the dtypes of its keys, its features if it lists none."""
        source = view.batch_source
        if source is not None and parquet_path(source) is None and (not view.features or not source.timestamp_field):
            why = f"its schema is not written down and would have to be asked of its {type(source).__name__}"
            self.left.append(Left("feature view", view.name, why))
            return
        try:
            if source is not None:
                update_data_sources_with_inferred_event_timestamp_col([source], self._config)
            known = [e for e in entities if e.name in view.entities]
            lacking = source is not None and parquet_path(source) is None
            provider = PassthroughProvider(self._config)
            if not lacking:
                update_feature_views_with_inferred_features_and_entities(provider, [view], known, self._config)
        except (OSError, RegistryInferenceFailure, ValueError) as error:
            # A file that is not there: what is written down is taken, and `apply` will say so.
            if not view.features:
                self.left.append(Left("feature view", view.name, f"its schema cannot be read from its file: {error}"))


@contextlib.contextmanager
def contents_of(folder: Path) -> Iterator[Any]:
    """Give Feast's objects of the Python files in ``folder``, which are run in this process with it as working directory.

    Within the block the files' modules are there, for Feast pickles functions by them. Raises `DefinitionError` with the
    place when a file does not run.
    """
    files = get_repo_files(folder)
    names = {file.stem if file.parent == folder else file.relative_to(folder).parts[0] for file in files}
    with _as_if_in(folder, names):
        try:
            contents = parse_repo(folder)
        except (Exception, SystemExit) as error:  # a user's file may raise anything; it is told with its place
            raise DefinitionError(
                f"The Feast repository {folder} does not run: {_where(error, folder)}{type(error).__name__}: {error}"
            ) from error
        yield contents


def _where(error: BaseException, folder: Path) -> str:
    if isinstance(error, SyntaxError):
        return f"{error.filename}, line {error.lineno}: "
    frames = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).is_relative_to(folder)]
    return f"{frames[-1].filename}, line {frames[-1].lineno}: " if frames else ""


@contextlib.contextmanager
def _as_if_in(folder: Path, names: set[str]) -> Iterator[None]:
    """Run the block as a process of its own in ``folder`` would: its modules come from there and are forgotten after."""

    def own(module: str) -> bool:
        return module.partition(".")[0] in names

    before = {name: module for name, module in sys.modules.items() if own(name)}
    path, bytecode = list(sys.path), sys.dont_write_bytecode
    for name in before:
        del sys.modules[name]
    sys.path.insert(0, str(folder))
    sys.dont_write_bytecode = True
    importlib.invalidate_caches()
    _forget_lines(folder)
    try:
        with contextlib.chdir(folder), contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Feast, about what the repository's own users are told by `feast apply`
            yield
    finally:
        for name in [name for name in sys.modules if own(name)]:
            del sys.modules[name]
        sys.modules.update(before)
        sys.path[:], sys.dont_write_bytecode = path, bytecode
        _forget_lines(folder)


def _forget_lines(folder: Path) -> None:
    """Forget the text of files that may have changed since: Feast reads a function's text by way of this."""
    for name in [name for name in linecache.cache if Path(name).is_relative_to(folder)]:
        del linecache.cache[name]
