"""Importing Feast without what its import does to the process: printing, and switching Prometheus to files."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import threading
import warnings

from e2i_fs.errors import PluginLoadError

__all__ = ["import_feast"]

_WANTED = (0, 67)
_PROMETHEUS = ("PROMETHEUS_MULTIPROC_DIR", "PROMETHEUS_MULTIPROCESS_DIR")
_importing = threading.Lock()


def import_feast(install_hint: str) -> None:
    """Import Feast (5 to 10 s the first time), or raise `PluginLoadError` with ``install_hint``.

    Feast sets the variables that switch `prometheus_client` to multi-process files; they are put back, and
    `prometheus_client` is imported first so that the host's own metrics stay as they are.
    """
    with _importing:
        before = {name: os.environ.get(name) for name in _PROMETHEUS}
        try:
            with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                importlib.import_module("prometheus_client")
                feast = importlib.import_module("feast")
                importlib.import_module("feast.infra.online_stores.sqlite")  # so that no later call pays for it
        except ImportError as error:
            raise PluginLoadError(
                f"The feast backend needs Feast 0.67 ({error}). Install it: {install_hint}"
            ) from error
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value
    version = getattr(feast, "__version__", "unknown")
    if tuple(int(part) for part in version.split(".")[:2] if part.isdigit()) != _WANTED:
        raise PluginLoadError(
            f"The feast backend is proven on Feast 0.67, and {version} is installed. Install it: {install_hint}"
        )
