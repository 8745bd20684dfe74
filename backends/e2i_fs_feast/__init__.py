"""Feast as a backend of e2i_fs: neutral definitions as real Feast objects, rows in Feast's own stores.

Importing this package imports no Feast; `open_backend` does (G-1).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from e2i_fs_feast.options import offline_kind, read_options
from e2i_fs_feast.plugin import INSTALL

if TYPE_CHECKING:
    from e2i_fs.backend import Backend
    from e2i_fs.clock import Clock

__all__ = ["open_backend"]


def open_backend(*, name: str, options: Mapping[str, Any], clock: Clock, base: str) -> Backend:
    """Open a Feast repository as a backend.

    ``options`` has ``path`` (a folder of ours) or ``repo`` (an existing Feast repository), see `read_options`;
    relative paths are taken from ``base``. Raises `ConfigError` for options that cannot be used, `PluginLoadError`
    when Feast is missing or of another version, or pyspark or Java for a spark offline store, `BackendUnavailableError` when the folder cannot be used.
    """
    chosen = read_options(options, base)
    from e2i_fs_feast.importing import import_feast

    import_feast(INSTALL)
    if offline_kind(chosen) == "spark":
        from e2i_fs_feast.spark.session import check_spark

        check_spark()
        from e2i_fs_feast.spark.backend import SparkFeastBackend

        return SparkFeastBackend(name, chosen, clock)
    from e2i_fs_feast.backend import FeastBackend

    return FeastBackend(name, chosen, clock)
