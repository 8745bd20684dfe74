"""The store of a transformer: given open, or as what to open, which can be copied and pickled."""

from __future__ import annotations

import os
import weakref
from collections.abc import Mapping
from typing import Any

from e2i_fs.errors import ConfigError
from e2i_fs.protocol import FeatureStore

__all__ = ["Opened", "is_live"]


def is_live(store: Any) -> bool:
    """Return whether ``store`` is an open store, not what to open one by."""
    return isinstance(store, FeatureStore)


class Opened:
    """An open store for one owner. A store that was opened for it is closed with it, one that was given is not."""

    def __init__(self, given: Any, owner: object) -> None:
        if is_live(given):
            self.store, self._close = given, None
            return
        self.store = _open(given)
        self._close = weakref.finalize(owner, self.store.close)

    def close(self) -> None:
        """Close the store if it was opened here. Calling it twice is harmless."""
        if self._close is not None:
            self._close()


def _open(given: Any) -> FeatureStore:
    if isinstance(given, str | os.PathLike | Mapping):
        from e2i_fs.opening import connect

        return connect(given)
    if callable(given):
        made = given()
        if not is_live(made):
            raise ConfigError(f"store={given!r} gave a {type(made).__name__}; a factory returns an open FeatureStore.")
        return made  # type: ignore[no-any-return]
    raise ConfigError(
        f"store={given!r}: give a configuration (a mapping, or the path of a file), a function that returns an open store, or "
        "an open store."
    )
