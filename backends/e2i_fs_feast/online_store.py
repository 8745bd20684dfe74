"""What this backend asks of a Feast online store: read keys as stored, and change keys as one step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, Protocol

from e2i_fs.clock import from_us
from e2i_fs_feast.rows import Stored

__all__ = ["Decide", "Found", "OnlineStore", "Write", "feast_time"]

_FIRST, _LAST = datetime(1970, 1, 2, tzinfo=UTC), datetime(9998, 1, 1, tzinfo=UTC)


class Found(NamedTuple):
    """What is stored of each key, None where nothing is; and how many steps the store itself says it was changed in.

    ``steps`` was read after the rows, from the same store as they; it is None in a store that cannot lose some rows and keep others.
    """

    rows: list[Stored | None]
    steps: int | None = None


class Write(NamedTuple):
    """One key to write: its place among the keys asked, its serialised messages by feature name, and Feast's event time.

    ``stamp`` is that time as the store gives it back.
    """

    place: int
    contents: Mapping[str, bytes]
    event_time: datetime
    stamp: int


Decide = Callable[[Sequence[Stored | None]], Sequence[Write]]
"""Given what is stored of each key, say what to write. May be called again when another writer came between."""


class OnRecord(NamedTuple):
    """What the writer of a view knows of it, to be asked while it writes.

    ``steps`` gives how many steps are on record; a store that has counted less has lost rows. ``lost`` records that of so many steps,
    before the store counts beyond those that are on record then, and returns False if other steps are on record by now; a store that counts none
    calls it when it has no place for the view's rows. ``still`` raises when the view is no more what the writer takes it for.
    """

    steps: Callable[[], int]
    lost: Callable[[int], bool]
    still: Callable[[], None]


class OnlineStore(Protocol):
    """A Feast online store in which a row is compared before it is written, against all writers (O-1).

    ``table`` is a Feast feature view, ``keys`` are Feast entity keys, ``names`` the features to read. ``counter`` names the count
    of a view's steps: it is kept in the store beside the rows and changed with them, so that a store that comes back with older
    rows, or none, tells so by itself.
    """

    local: bool
    chunk: int
    """How many keys one step may have."""
    connections: int
    """Grows with every connection made anew: behind it the store may be another, or empty."""

    def read(self, table: Any, keys: Sequence[Any], names: Sequence[str], counter: str) -> Found | None:
        """Return what is stored; None when there is no such table."""
        ...

    def change(
        self,
        table: Any,
        keys: Sequence[Any],
        names: Sequence[str],
        decide: Decide | None,
        counter: str,
        known: OnRecord,
    ) -> int | None:
        """Read the keys, ask ``decide``, and write what it says, with no other write of these keys in between.

        Returns the count of the view's steps afterwards; None where nothing is counted, or no step is new. A store that has
        lost rows counts on from what is on record: whatever older state it comes back with later has less. Without ``decide`` (and
        keys) it does that alone.
        """
        ...

    def count(self, counter: str) -> int | None:
        """Return the count alone."""
        ...

    def has_place(self, table: Any) -> bool:
        """Return whether there is a place for the view's rows, which is made for them before they come."""
        ...

    def stamp(self, when: datetime) -> int:
        """Return Feast's event time ``when`` as `read` will give it back."""
        ...

    def create(self, tables: Sequence[Any]) -> None:
        """Make room for these feature views."""
        ...

    def remove(self, table: Any, keep: int | None) -> None:
        """Remove the rows of a feature view, those of the generation ``keep`` excepted."""
        ...

    def extent(self, table: Any) -> tuple[int, int | None]:
        """Return how many keys the view has online and Feast's newest event time (µs); (0, None) if that is dear."""
        ...

    def set_timeout(self, seconds: float) -> None:
        """Let no call wait longer on a network; nothing where there is none."""
        ...

    def ping(self, deadline: float) -> None:
        """Return when the store has answered; raise what its driver raises when ``deadline`` seconds have passed."""
        ...

    def close(self) -> None:
        """Let go of all connections."""
        ...


def feast_time(event_us: int) -> datetime:
    """Return the event time that Feast's own readers see; the exact one is in the hidden value.

    Times that Feast's arithmetic cannot hold are brought into its range.
    """
    return min(max(from_us(event_us), _FIRST), _LAST)
