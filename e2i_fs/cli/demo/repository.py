"""The E2I feature repository, from the wheel (``e2i_fs/_feature_repo``) or from the checkout (``feature_repo/``)."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

import e2i_fs
from e2i_fs.errors import UnsupportedError

__all__ = ["feature_repo"]

_NAME = "e2i_fs._feature_repo"


def feature_repo(module: str | None = None) -> Any:
    """Return the package, or one module of it.

    >>> feature_repo("generate").SOURCES[0]
    'business_metrics'
    """
    if _NAME not in sys.modules:
        _load()
    try:
        return importlib.import_module(f"{_NAME}.{module}" if module else _NAME)
    except ModuleNotFoundError as error:
        if error.name == "numpy":
            raise UnsupportedError("Making E2I data needs numpy: pip install numpy.") from error
        raise


def _load() -> None:
    """Import the package under the name that it has in the wheel, wherever it lies.

    By its file and not by ``import feature_repo``, which might be a package of the user's.
    """
    home = Path(str(e2i_fs.__file__)).parent
    for folder in (home / "_feature_repo", home.parent / "feature_repo"):
        file = folder / "__init__.py"
        if file.is_file():
            spec = importlib.util.spec_from_file_location(_NAME, file, submodule_search_locations=[str(folder)])
            assert spec is not None
            assert spec.loader is not None
            package = importlib.util.module_from_spec(spec)
            sys.modules[_NAME] = package
            spec.loader.exec_module(package)
            return
    raise UnsupportedError(
        f"The E2I feature repository is neither in {home} nor beside it; reinstall e2i-fs from a wheel or a checkout."
    )
