"""Online rows: read and merged by the contract's order, kept in Feast's online store."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from e2i_fs.backend import Key, OnlineRow, Position
from e2i_fs.errors import BackendDataError, BackendUnavailableError, ThrottledError
from e2i_fs.online import merge, pick
from e2i_fs_feast.keys import entity_key
from e2i_fs_feast.online_store import OnlineStore, Write, feast_time
from e2i_fs_feast.registry import Registered, Snapshot
from e2i_fs_feast.rows import Kept, Stored, decode, encode, generation_of
from e2i_fs_feast.state import State, gone_back

__all__ = ["Online"]

_APPLIES = 5


class _AppliedMeanwhileError(Exception):
    """The view was changed or made anew while rows of it were being written."""


def _counter(registered: Registered) -> str:
    return f"{registered.view.name}:{registered.generation}"


class Online:
    """The online rows of all views of a repository."""

    def __init__(self, store: OnlineStore, state: State, snapshot: Callable[[], Snapshot]) -> None:
        self._store = store
        self._state = state
        self._snapshot = snapshot
        self._begun: set[tuple[str, int]] = set()
        self._looked: dict[tuple[str, int], int] = {}

    def read(self, registered: Registered, keys: Sequence[Key], *, at_us: int) -> list[OnlineRow | None]:
        """Return for each key the row that answers at ``at_us``, or None (O-2, O-5)."""
        distinct = list(dict.fromkeys(keys))
        messages = [entity_key(registered.join_keys, key) for key in distinct]
        steps = self._steps(registered)  # before the store's own count, which only grows
        found = self._store.read(registered.table, messages, list(registered.view.features), _counter(registered))
        if found is None:
            self._check_not_lost(registered)
            return [None] * len(keys)
        if found.steps is not None and found.steps < steps:
            self._looked.pop((registered.view.name, registered.generation), None)
            raise BackendUnavailableError(
                f"View {registered.view.name!r}: its online store lost rows: it has {found.steps} of the {steps} steps that they "
                "were written in (restarted empty, or with an older snapshot?). Materialise the view and write again what was "
                "only pushed."
            )
        rows = {
            key: pick(self._kept(stored, registered).rows, at_us=at_us)
            for key, stored in zip(distinct, found.rows, strict=True)
        }
        return [rows[key] for key in keys]

    def write(self, view: str, keys: Sequence[Key], rows: Sequence[OnlineRow], *, at_us: int) -> int:
        """Merge rows into what is stored (O-1) and return how many keys changed."""
        grouped: dict[Key, list[OnlineRow]] = {}
        for key, row in zip(keys, rows, strict=True):
            grouped.setdefault(key, []).append(row)
        todo = list(grouped)
        changed = 0
        for _ in range(_APPLIES):
            registered = self._snapshot().views.get(view)
            if registered is None:
                self._snapshot().catalog.view(view)  # raises with the nearest names
            assert registered is not None
            self._begin(registered)
            try:
                while todo:
                    part = todo[: self._store.chunk]
                    changed += self._write_part(registered, part, grouped, at_us)
                    todo = todo[len(part) :]
            except _AppliedMeanwhileError:
                continue
            self._state.wrote(view, registered.generation, newest_us=None, added=0, writes=1)
            return changed
        raise ThrottledError(
            f"View {view!r} was applied again {_APPLIES} times while rows were being written; try again."
        )

    def _write_part(
        self, registered: Registered, keys: Sequence[Key], new: dict[Key, list[OnlineRow]], at_us: int
    ) -> int:
        view, generation = registered.view, registered.generation
        changed: list[tuple[bool, int]] = []

        def decide(stored: Sequence[Stored | None]) -> list[Write]:
            changed.clear()
            if any(s is not None and generation_of(s, view) not in (None, generation) for s in stored):
                self._check_current(registered)
            writes = []
            for index, (key, found) in enumerate(zip(keys, stored, strict=True)):
                kept = self._kept(found, registered)
                merged = merge(kept.rows, new[key], view, at_us=at_us)
                if repr(merged) != repr(kept.rows):  # as text: -0.0 is equal to 0.0, and comes before it (P-4)
                    when = feast_time(merged[0].event_us)
                    writes.append(Write(index, encode(merged, view, generation, self._store.stamp(when)), when))
                    changed.append((not kept.rows, merged[0].event_us))
            return writes

        messages = [entity_key(registered.join_keys, key) for key in keys]
        steps = self._steps(registered)  # before the store's own count, which only grows
        counts = self._store.change(registered.table, messages, list(view.features), decide, _counter(registered))
        if counts is not None:
            before, after = counts
            if before < steps:
                self._state.lost(view.name, generation, steps=after)
            else:
                self._state.stepped(view.name, generation, after)
        if changed:
            newest = max(event for _, event in changed)
            self._state.wrote(
                view.name, generation, newest_us=newest, added=sum(fresh for fresh, _ in changed), writes=0
            )
        return len(changed)

    def position(self, registered: Registered) -> Position:
        """Return what is on record; without a record, what Feast itself has put there, if that is cheap to say."""
        known = self._state.position(registered.view.name, registered.generation)
        if known is not None:
            return Position(gone_back(known.sequence), None, 0) if self._lost_rows(registered) else known
        rows, newest = self._store.extent(registered.table)
        return Position(0, newest, rows)

    def _begin(self, registered: Registered) -> None:
        version = (registered.view.name, registered.generation)
        if version not in self._begun:
            self._state.begin(*version, *self._store.extent(registered.table))
            self._begun.add(version)

    def _steps(self, registered: Registered) -> int:
        """Return in how many steps the rows on record were written, where the store counts them too."""
        return 0 if self._store.local else self._state.steps(registered.view.name, registered.generation)

    def _lost_rows(self, registered: Registered) -> bool:
        """Return whether the store has lost rows on record; looked at once for each new connection, and after a read saw it."""
        version = (registered.view.name, registered.generation)
        if self._looked.get(version) == self._store.connections:
            return False
        steps = self._steps(registered)
        count = self._store.count(_counter(registered)) if steps else None
        if count is not None and count < steps:
            return True
        self._looked[version] = self._store.connections
        return False

    def _kept(self, stored: Stored | None, registered: Registered) -> Kept:
        kept = decode(stored, registered.view, registered.generation)
        if not kept.by_feast or stored is None or generation_of(stored, registered.view) is not None:
            return kept
        # Rows that Feast wrote carry no generation: while those of a former view are still there, none counts.
        unclean = any(left.view == registered.view.name for left in self._state.leftovers())
        return Kept(()) if unclean else kept

    def _check_not_lost(self, registered: Registered) -> None:
        known = self._state.position(registered.view.name, registered.generation)
        if known is not None and known.rows:
            raise BackendDataError(
                f"View {registered.view.name!r}: its online table is gone, with {known.rows} rows on record; "
                "materialise it again."
            )

    def _check_current(self, registered: Registered) -> None:
        """Raise when rows of another generation are there because ours is the old one."""
        now = self._snapshot().views.get(registered.view.name)
        if now is None or now.generation != registered.generation:
            raise _AppliedMeanwhileError
