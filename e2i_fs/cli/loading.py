"""Finding definitions: every definition object that a Python file or package holds at its top level."""

from __future__ import annotations

import importlib.util
import inspect
import sys
import traceback
from pathlib import Path
from typing import Any

from e2i_fs.definitions import Entity, FeatureService, FeatureView
from e2i_fs.errors import DefinitionError, E2IError
from e2i_fs.on_demand import OnDemandFeatureView

__all__ = ["load_definitions"]

_KINDS = (Entity, FeatureView, OnDemandFeatureView, FeatureService)


def load_definitions(path: Path) -> list[Any]:
    """Return the entities, views, on-demand views and services in ``path``, in the order they stand there.

    ``path`` is a ``.py`` file or a package folder. Lists and tuples of definitions count too, and so does what
    a function ``definitions()`` returns. Sources come along with their views. The file may import its
    neighbours. Raises `DefinitionError` when there is nothing, or when it does not run.
    """
    found: list[Any] = []
    for values in _run(path):
        found += [v for v in values if isinstance(v, _KINDS) and not any(v is known for known in found)]
    if not found:
        raise DefinitionError(
            f"{path} defines nothing: no Entity, FeatureView or FeatureService stands at its top level. "
            "Assign them to names there, e.g. hcp = fs.Entity('hcp', join_keys=['hcp_id'])."
        )
    return found


def _run(path: Path) -> list[list[Any]]:
    """Run the file or package and return what stands at its top level, name by name."""
    file = path / "__init__.py" if path.is_dir() else path
    if not file.is_file():
        what = "folder is no package (it has no __init__.py)" if path.is_dir() else "file does not exist"
        raise DefinitionError(
            f"No definitions at {path}: the {what}. Name another with --definitions, or run this in the project's folder (`e2i-fs init` makes one)."
        )
    whole = file.resolve()
    name, home = (whole.parent.name, whole.parent.parent) if path.is_dir() else (whole.stem, whole.parent)
    inside = [str(whole.parent)] if path.is_dir() else None
    spec = importlib.util.spec_from_file_location(name, whole, submodule_search_locations=inside)
    if spec is None or spec.loader is None:
        raise DefinitionError(f"{path} is not a Python file. Name a .py file or a package folder with --definitions.")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(home))
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
        return [_values(name, value) for name, value in list(vars(module).items())]
    except DefinitionError as error:
        if type(error) is not DefinitionError:
            raise
        raise DefinitionError(f"{path}: {_where(error, whole)}{error}") from error
    except E2IError:
        raise
    except Exception as error:  # a user's file may raise anything; it is told as the user's mistake, with the place
        raise DefinitionError(f"{path} does not run: {_where(error, whole)}{type(error).__name__}: {error}") from error


def _values(name: str, value: Any) -> list[Any]:
    if name == "definitions" and inspect.isfunction(value):
        required = [p.name for p in inspect.signature(value).parameters.values() if p.default is p.empty]
        if required:
            raise DefinitionError(f"definitions() needs {', '.join(required)}; give its parameters defaults.")
        return list(value())
    return list(value) if isinstance(value, list | tuple) else [value]


def _where(error: Exception, file: Path) -> str:
    if isinstance(error, SyntaxError):
        return f"line {error.lineno}: "
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if Path(f.filename) == file]
    return f"line {lines[-1]}: " if lines else ""
