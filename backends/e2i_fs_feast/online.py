"""Online rows: read and merged by the contract's order, kept in Feast's online store."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial

from e2i_fs.backend import Key, OnlineRow, Position
from e2i_fs.cached import cached
from e2i_fs.dtypes import DType
from e2i_fs.errors import BackendDataError, BackendUnavailableError, InvalidBatchError, ThrottledError
from e2i_fs.online import pick
from e2i_fs_feast.keys import entity_key
from e2i_fs_feast.merging import by_times, merged
from e2i_fs_feast.online_store import OnlineStore, OnRecord, Write, feast_time
from e2i_fs_feast.registry import Registered, Snapshot
from e2i_fs_feast.rows import Hidden, Kept, Layout, Stored
from e2i_fs_feast.state import State, gone_back

__all__ = ["Online"]

_log = logging.getLogger("e2i_fs.feast")
_APPLIES = 5


class _AppliedMeanwhileError(Exception):
    """The view was changed or made anew while rows of it were being written."""


def _form(registered: Registered) -> tuple[dict[str, DType], dict[str, DType]]:
    """Return what rows of a view must be made of: those of another form are none of it."""
    return dict(registered.join_keys), {f.name: f.dtype for f in registered.view.schema}


def _counter(registered: Registered) -> str:
    return f"{registered.view.name}:{registered.generation}"


class _Clean:
    """Whether no rows of a former view of this name are still in the store: looked at once, when somebody asks."""

    def __init__(self, state: State, view: str) -> None:
        self._state, self._view = state, view

    @cached
    def is_so(self) -> bool:
        return all(left.view != self._view for left in self._state.leftovers())


def _answer(stored: Stored | None, layout: Layout, clean: _Clean, at_us: int) -> OnlineRow | None:
    """Return the row of one key that answers at ``at_us``."""
    hidden = None if stored is None else layout.hidden(stored)
    if (
        stored is not None
        and hidden is not None
        and hidden.event_us <= at_us
        and hidden.generation == layout.generation
        and layout.untouched(stored, hidden)
    ):
        return layout.first(stored, hidden)
    return pick(_kept(stored, hidden, layout, clean).rows, at_us=at_us)


def _kept(stored: Stored | None, hidden: Hidden | None, layout: Layout, clean: _Clean) -> Kept:
    """Return all rows of one key."""
    if stored is None or (hidden is None and not clean.is_so):
        # Rows that Feast wrote carry no generation: while those of a former view are still there, none counts.
        return Kept(())
    return layout.decode(stored, hidden)


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
                "were written in. Was it restarted empty, or with an older snapshot, or does another repository write to it under the "
                "same project? Materialise the view and write again what was only pushed; where that changes nothing, delete the view and "
                "apply it again first. Give each repository a project of its own."
            )
        clean = _Clean(self._state, registered.view.name)
        picked = [_answer(stored, registered.layout, clean, at_us) for stored in found.rows]
        if len(distinct) == len(keys):
            return picked
        rows = dict(zip(distinct, picked, strict=True))
        return [rows[key] for key in keys]

    def write(self, view: str, keys: Sequence[Key], rows: Sequence[OnlineRow], *, at_us: int) -> int:
        """Merge rows into what is stored (O-1) and return how many keys changed."""
        grouped: dict[Key, list[OnlineRow]] = {}
        for key, row in zip(keys, rows, strict=True):
            grouped.setdefault(key, []).append(row)
        first: Registered | None = None
        for _ in range(_APPLIES):
            registered = self._snapshot().views.get(view)
            if registered is None:
                self._snapshot().catalog.view(view)  # raises with the nearest names
            assert registered is not None
            first = first or registered
            if _form(registered) != _form(first):
                raise InvalidBatchError(
                    f"View {view!r} changed while the batch was on its way. Nothing was written; write the batch again."
                )
            self._begin(registered)
            # Each time from the first key: what was written of a view that was deleted since has gone with it.
            todo, changed = list(grouped), 0
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
        view, generation, layout = registered.view, registered.generation, registered.layout
        changed: list[tuple[bool, int]] = []

        def decide(stored: Sequence[Stored | None]) -> list[Write]:
            changed.clear()
            headers = [None if s is None else layout.hidden(s) for s in stored]
            if any(hidden is not None and hidden.generation != generation for hidden in headers):
                self._check_current(registered)
            clean = _Clean(self._state, view.name)
            writes = []
            for index, (key, found, hidden) in enumerate(zip(keys, stored, headers, strict=True)):
                rows = by_times(found, hidden, layout, new[key], at_us=at_us)
                fresh = found is None or (hidden is not None and hidden.generation != generation)
                if rows is None:
                    kept = _kept(found, hidden, layout, clean)
                    fresh = not kept.rows
                    rows = merged(kept.rows, new[key], view, at_us=at_us)
                if rows:
                    when = feast_time(rows[0].event_us)
                    stamp = self._store.stamp(when)
                    writes.append(Write(index, layout.encode(rows, stamp), when, stamp))
                    changed.append((fresh, rows[0].event_us))
            return writes

        messages = [entity_key(registered.join_keys, key) for key in keys]
        known = OnRecord(
            partial(self._steps, registered), partial(self._lost, registered), partial(self._check_current, registered)
        )
        steps = self._store.change(registered.table, messages, list(view.features), decide, _counter(registered), known)
        if steps is not None:
            self._state.stepped(view.name, generation, steps)
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

    def _lost(self, registered: Registered, steps: int) -> bool:
        """Record that the store has lost rows, if ``steps`` still are on record; return whether they were."""
        if not self._state.lost(registered.view.name, registered.generation, steps=steps):
            return False
        _log.warning(
            "View %r: its online store lost rows, and is written to again. Whatever is not written again is answered as not found: "
            "materialise the view, and write again what was only pushed.",
            registered.view.name,
        )
        return True

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
