"""The embedded default backend. Several processes may read and write one folder at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from e2i_fs.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from e2i_fs.backend import Backend
    from e2i_fs.clock import Clock

__all__ = ["open_backend"]

_OPTIONS = {"path", "project", "online_size"}
_DEFAULT_SIZE = 1 << 36


def open_backend(*, name: str, options: Mapping[str, Any], clock: Clock, base: str) -> Backend:
    """Open the backend in the folder ``options["path"]``, which is made if it is not there.

    ``online_size`` is the most bytes that the online rows may take (address space, not disk; 64 GiB). Raises
    `ConfigError` for an unknown or missing option, `BackendUnavailableError` for a folder that cannot be written.
    """
    from e2i_fs_duckdb.backend import DuckDBBackend

    for key in options:
        if key not in _OPTIONS:
            raise ConfigError(f"Backend {name!r}: unknown option {key!r}.{did_you_mean(key, _OPTIONS)}")
    path = options.get("path")
    if not isinstance(path, str) or not path:
        raise ConfigError(f"Backend {name!r}: path is {path!r}; name the folder to keep the features in.")
    size = options.get("online_size", _DEFAULT_SIZE)
    if not isinstance(size, int) or isinstance(size, bool) or size < 1 << 20:
        raise ConfigError(f"Backend {name!r}: online_size is {size!r}; give bytes, at least 1048576.")
    return DuckDBBackend(path, project=str(options.get("project", "e2i_fs")), online_size=size)
