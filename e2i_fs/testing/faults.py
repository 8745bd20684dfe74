"""A backend that can be taken away and given back: for testing what stands in front of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from e2i_fs.backend import Backend, Capabilities, Key, OnlineRow, Position, ScanPart
from e2i_fs.errors import BackendUnavailableError

if TYPE_CHECKING:
    import pyarrow as pa

    from e2i_fs.catalog import Catalog

__all__ = ["Breakable"]


class Breakable:
    """A real backend behind a switch.

    `break_` makes every call, or the named ones, raise ``error()`` (a `BackendUnavailableError` unless given)
    without reaching the backend; with ``after=True`` the call reaches it first, as when an answer is lost on the
    way back. `heal` ends that. ``calls`` counts what was asked of it by method.
    """

    def __init__(self, inner: Backend) -> None:
        self.inner = inner
        self.calls: dict[str, int] = {}
        self._broken: Mapping[str, Callable[[], Exception]] | None = None
        self._after = False

    def break_(self, *methods: str, error: Callable[[], Exception] | None = None, after: bool = False) -> None:
        """Take ``methods`` away, or all of them."""
        names = methods or ("apply", "definitions", "scan", "append", "online_read", "online_write", "position", "ping")
        self._broken = dict.fromkeys(names, error or (lambda: BackendUnavailableError("Taken away by the test.")))
        self._after = after

    def heal(self) -> None:
        """Give everything back."""
        self._broken = None

    def _call(self, method: str, *args: Any, **more: Any) -> Any:
        self.calls[method] = self.calls.get(method, 0) + 1
        error = (self._broken or {}).get(method)
        if error is not None and not self._after:
            raise error()
        result = getattr(self.inner, method)(*args, **more)
        if error is not None:
            raise error()
        return result

    @property
    def capabilities(self) -> Capabilities:
        """The backend's own."""
        return self.inner.capabilities

    def apply(self, definitions: Catalog, *, expected: str) -> bool:
        """See `Backend`."""
        return bool(self._call("apply", definitions, expected=expected))

    def definitions(self) -> Catalog:
        """See `Backend`."""
        found: Catalog = self._call("definitions")
        return found

    def scan(
        self, view: str, columns: Sequence[str], *, keys: pa.Table | None = None, until_us: int | None = None
    ) -> Sequence[ScanPart]:
        """See `Backend`."""
        found: Sequence[ScanPart] = self._call("scan", view, columns, keys=keys, until_us=until_us)
        return found

    def append(self, view: str, rows: pa.Table, *, batch_id: str) -> bool:
        """See `Backend`."""
        return bool(self._call("append", view, rows, batch_id=batch_id))

    def online_read(self, view: str, keys: Sequence[Key], *, at_us: int) -> Sequence[OnlineRow | None]:
        """See `Backend`."""
        found: Sequence[OnlineRow | None] = self._call("online_read", view, keys, at_us=at_us)
        return found

    def online_write(self, view: str, keys: Sequence[Key], rows: Sequence[OnlineRow], *, at_us: int) -> int:
        """See `Backend`."""
        return int(self._call("online_write", view, keys, rows, at_us=at_us))

    def position(self, view: str) -> Position:
        """See `Backend`."""
        found: Position = self._call("position", view)
        return found

    def ping(self, deadline: float) -> float:
        """See `Backend`."""
        return float(self._call("ping", deadline))

    def close(self) -> None:
        """Close the backend, broken or not."""
        self.inner.close()
