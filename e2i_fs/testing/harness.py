"""What an author writes to have a backend examined: how to open it, and how to reach its rows past the API."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from e2i_fs.testing.clock import FakeClock
from e2i_fs.testing.findings import HarnessError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Deviation", "Harness"]


@dataclass(frozen=True, slots=True)
class Deviation:
    """A test that a backend is known to fail, and why. It is strict: if the test passes after all, that is a failure.

    ``kind`` is ``"notimpl"`` (could be built but is not), ``"notyet"`` (will be built) or ``"never"`` (the store cannot
    do it). Tests of the group *temporal* cannot be excused. Raises `HarnessError` for another kind, or for a reason of
    fewer than 10 characters.

    >>> from e2i_fs.testing import Deviation
    >>> Deviation("test_r1_applies_of_several_handles_lose_nothing", "never", "The store is one process's memory.").kind
    'never'
    """

    test: str
    kind: Literal["notimpl", "notyet", "never"]
    reason: str

    def __post_init__(self) -> None:
        if self.kind not in ("notimpl", "notyet", "never"):
            raise HarnessError(f"Deviation of {self.test}: kind {self.kind!r} is none of notimpl, notyet, never.")
        if len(self.reason.strip()) < 10:
            raise HarnessError(f"Deviation of {self.test}: say the reason, so that a reader can judge it.")


class Harness:
    """Opens one backend for the test kit. Implement `open`; if you can, `raw_write`, `raw_read`, `break_`, `heal`.

    ``path`` is an empty folder of its own, and ``clock`` the clock to pass on (T-5). A new harness is made for each
    test. ``deviations`` lists the tests known to fail, ``patience`` is how many seconds any one call may take, and
    ``label`` the name in the certificate, if not the backend's.

    >>> import tempfile
    >>> import e2i_fs as fs
    >>> from e2i_fs.testing import Harness
    >>> class DuckDBHarness(Harness):
    ...     def open(self) -> fs.FeatureStore:
    ...         return fs.connect({"backend": "duckdb", "path": str(self.path / "store")}, clock=self.clock)
    >>> harness = DuckDBHarness(tempfile.mkdtemp())
    >>> with harness.open() as one, harness.open() as other:  # two handles on the same data
    ...     _ = one.apply([fs.Entity("hcp", join_keys=["hcp_id"])])
    ...     [entity.name for entity in other.list_entities()]
    ['hcp']
    """

    deviations: ClassVar[Sequence[Deviation]] = ()
    patience: ClassVar[float] = 30.0
    label: ClassVar[str] = ""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    @cached_property
    def clock(self) -> FakeClock:
        """The clock of the tests, a `FakeClock`."""
        return FakeClock()

    def open(self) -> Any:
        """Return a store on the backend, ``connect({...}, clock=self.clock)``, or the `Backend` itself.

        It is called several times in one test: what was written before must still be there, unless the backend declares
        ``persistent=False``. Two open at the same time are two handles on the same data.
        """
        raise HarnessError(f"{type(self).__name__} has no open(). It returns connect({{...}}, clock=self.clock).")

    def raw_write(self, view: str, rows: pa.Table) -> None:
        """Add rows to the history of ``view`` as another program would, bypassing `Backend.append`.

        ``rows`` has the view's own columns: join keys, time columns, fields. The view has no source of its own.
        """
        raise NotImplementedError

    def raw_read(self, view: str) -> pa.Table:
        """Return the appended history of ``view`` as it is stored, in any order, bypassing `Backend.scan`."""
        raise NotImplementedError

    def break_(self) -> None:
        """Make the store unavailable to every handle, as an outage would: stop its server, or move its folder away."""
        raise NotImplementedError

    def heal(self) -> None:
        """Undo `break_`; what was written before is there again."""
        raise NotImplementedError

    def offers(self, method: str) -> bool:
        """Return whether the author implemented the optional ``method``."""
        return getattr(type(self), method) is not getattr(Harness, method)
