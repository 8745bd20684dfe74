"""Feast repositories read as neutral definitions, and neutral definitions written as Feast repositories."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from e2i_fs.adoption.foreign import Exported, Imported, Left, Origin
from e2i_fs.catalog import Catalog
from e2i_fs.errors import ConfigError, UnsupportedError
from e2i_fs_feast.importing import import_feast
from e2i_fs_feast.plugin import INSTALL

__all__ = ["FeastExchange"]


class FeastExchange:
    """Reads and writes Feast repositories; see `e2i_fs.adoption.foreign.Exchange`."""

    def __init__(self) -> None:
        import_feast(INSTALL)

    def read(self, folder: Path, *, origin: Origin = "auto") -> Imported:
        """Return the definitions of the Feast repository in ``folder``.

        ``origin`` is ``"registry"`` (what was applied), ``"python"`` (what `feast apply` would apply: the files are run), or
        ``"auto"``, the first where there is one. Raises `ConfigError` without a feature_store.yaml or, when only the
        registry may be read, without one; `DefinitionError` when the Python does not run.
        """
        from e2i_fs_feast.errors import driver_errors
        from e2i_fs_feast.repository import load_config

        folder = folder.resolve()
        with driver_errors(f"reading the Feast repository {folder}"):
            config = load_config(folder)
            registry, left, read = _registry(folder, config, origin)
            return _imported(registry, left, read, config.project, folder)

    def written(self, catalog: Catalog, *, project: str, folder: Path) -> Exported:
        """Return ``catalog`` as the files of a Feast repository that shall lie in ``folder``; see `exported`."""
        from e2i_fs_feast.errors import driver_errors
        from e2i_fs_feast.exporting import exported

        with driver_errors(f"writing a Feast repository for {folder}"):
            return exported(catalog, project=project, folder=folder)


def _registry(folder: Path, config: Any, origin: Origin) -> tuple[Any, list[Left], str]:
    """Return the registry message, what could not be put into it, and the words for where it is from."""
    from e2i_fs_feast.collected import collected
    from e2i_fs_feast.repository import read_registry, registry_path

    path: Path | None = None
    try:
        path = registry_path(folder, config)
    except UnsupportedError:
        if origin != "python":
            import feast

            store = feast.FeatureStore(repo_path=str(folder))
            return store.registry.proto(), [], f"the registry of type {config.registry.registry_type}"
    if origin != "python" and path is not None:
        found, registry = read_registry(path)
        if found is not None:
            return registry, [], f"the registry {path}"
        if origin == "registry":
            raise ConfigError(
                f"The Feast repository {folder} was never applied: there is no {path}. Read its Python files."
            )
    registry, left = collected(folder, config)
    return registry, left, f"the Python files in {folder}"


def _imported(registry: Any, left: list[Left], read: str, project: str, folder: Path) -> Imported:
    from feast.feature_view import FeatureView as FeastFeatureView

    from e2i_fs_feast.adopt import adopt
    from e2i_fs_feast.beyond import beyond, elsewhere
    from e2i_fs_feast.functions import carried
    from e2i_fs_feast.registry import snapshot

    carry = partial(carried, folder=folder)
    seen = snapshot(registry, project, partial(adopt, project=project, folder=folder, carry=carry))
    theirs = [FeastFeatureView.from_proto(view.message) for view in seen.views.values() if not view.ours]
    away = list(elsewhere(theirs))
    every = [*left, *seen.skipped, *away, *beyond(registry, seen.catalog, project)]
    return Imported(seen.catalog, project, read, tuple(dict.fromkeys(every)), tuple(each.name for each in away))
