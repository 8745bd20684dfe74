"""Online rows: read and merged by the contract's order, kept in Feast's online store."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from e2i_fs.backend import Key, OnlineRow, Position
from e2i_fs.cached import cached
from e2i_fs.dtypes import DType
from e2i_fs.errors import BackendUnavailableError, InvalidBatchError, ThrottledError
from e2i_fs.online import pick
from e2i_fs_feast.keys import entity_key
from e2i_fs_feast.merging import by_times, merged
from e2i_fs_feast.online_store import Decide, OnlineStore, OnRecord, Write, feast_time
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


def _are_gone(view: str, how: str) -> BackendUnavailableError:
    return BackendUnavailableError(
        f"View {view!r}: its online store lost rows: {how}. Was it emptied, restored from an older copy, or restarted without its "
        "data, or does another repository write to it under the same project? The view is answered again once it is materialised from "
        f"the beginning: store.materialize(None, views=[{view!r}]). Before that, write again what was only written online. Give each "
        "repository a project of its own."
    )


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

    def __init__(
        self, store: OnlineStore, state: State, snapshot: Callable[[], Snapshot], now_us: Callable[[], int]
    ) -> None:
        self._store = store
        self._now_us = now_us
        self._state = state
        self._snapshot = snapshot
        self._begun: set[tuple[str, int]] = set()
        self._looked: dict[tuple[str, int], int] = {}
        self._losses: dict[tuple[str, int], int] = {}
        """The number of each version's last loss when it was last looked at."""

    def read(self, registered: Registered, keys: Sequence[Key], *, at_us: int) -> list[OnlineRow | None]:
        """Return for each key the row that answers at ``at_us``, or None (O-2, O-5)."""
        distinct = list(dict.fromkeys(keys))
        messages = [entity_key(registered.join_keys, key) for key in distinct]
        found = self._found(registered, messages)
        if found is None:
            return [None] * len(keys)
        clean = _Clean(self._state, registered.view.name)
        picked = [_answer(stored, registered.layout, clean, at_us) for stored in found]
        if len(distinct) == len(keys):
            return picked
        rows = dict(zip(distinct, picked, strict=True))
        return [rows[key] for key in keys]

    def _found(self, registered: Registered, messages: Sequence[Any]) -> list[Stored | None] | None:
        """Return what is stored of each key, None where there are no rows of the view; raise when rows of it are gone."""
        version, names = (registered.view.name, registered.generation), list(registered.view.features)
        loss = self._losses.get(version)
        while True:
            steps = self._steps(registered)  # before the store's own count, which only grows
            found = self._store.read(registered.table, messages, names, _counter(registered))
            missing = found is None or (found.steps is not None and found.steps < steps)
            if missing and not self._is_current(registered):
                return None  # the view was deleted, or made anew, meanwhile
            if found is None:
                self._lost(registered, 0)
            elif missing:
                self._looked.pop(version, None)
                raise _are_gone(version[0], f"it has {found.steps} of the {steps} steps that they were written in")
            # Afterwards, for a writer may have begun to fill what was empty; and as before, for one may have ended a loss.
            now = self._state.loss(*version)
            if now > 0:
                raise _are_gone(version[0], "not all of them have been written again since")
            if now == loss:
                return None if found is None else found.rows
            self._losses[version] = loss = now

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
        self._change(registered, messages, list(view.features), decide)
        if changed:
            newest = max(event for _, event in changed)
            self._state.wrote(
                view.name, generation, newest_us=newest, added=sum(fresh for fresh, _ in changed), writes=0
            )
        return len(changed)

    def _change(
        self, registered: Registered, messages: Sequence[Any], names: Sequence[str], decide: Decide | None
    ) -> None:
        known = OnRecord(
            partial(self._steps, registered), partial(self._lost, registered), partial(self._check_current, registered)
        )
        steps = self._store.change(registered.table, messages, names, decide, _counter(registered), known)
        if steps is not None:
            self._state.stepped(registered.view.name, registered.generation, steps)

    def lost(self, registered: Registered) -> int:
        """Return the number of the loss that is not over, of one that is not on record yet the number that it will have."""
        if not self._store.has_place(registered.table) and self._is_current(registered):
            self._lost(registered, 0)
        loss = self._state.loss(registered.view.name, registered.generation)
        return abs(loss) + 1 if self._has_too_few(registered) else max(loss, 0)

    def recovered(self, registered: Registered, loss: int, *, until_us: int | None) -> bool:
        """End a loss of which all rows up to ``until_us`` are back, whether or not any had to be written."""
        if self._has_too_few(registered):
            self._change(registered, [], [], None)
        ended = self._state.recovered(registered.view.name, registered.generation, loss=loss, until_us=until_us)
        if ended:
            _log.warning(
                "View %r: the rows that its online store lost were written again, and it is answered again.",
                registered.view.name,
            )
        return ended

    def _has_too_few(self, registered: Registered) -> bool:
        """Return whether the store says that it has lost rows: by its count of steps, where it counts them."""
        steps = self._steps(registered)
        count = self._store.count(_counter(registered)) if steps else None
        return count is not None and count < steps

    def position(self, registered: Registered) -> Position:
        """Return what is on record; without a record, what Feast itself has put there, if that is cheap to say."""
        known = self._state.position(registered.view.name, registered.generation)
        if known is not None:
            if self._lost_rows(registered):
                loss = self._state.loss(registered.view.name, registered.generation)
                return Position(gone_back(abs(loss) + 1), None, 0)
            return known
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
        """Record that the store has lost rows, if ``steps`` still are on record, or rows where none are counted; return whether."""
        version = (registered.view.name, registered.generation)
        if not self._state.lost(*version, steps=None if self._store.local else steps, now_us=self._now_us()):
            return False
        _log.warning(
            "View %r: its online store lost rows. It is not answered until it is materialised from the beginning.",
            registered.view.name,
        )
        return True

    def _lost_rows(self, registered: Registered) -> bool:
        """Return whether the store has lost rows on record; looked at once for each new connection, and after a read saw it."""
        version = (registered.view.name, registered.generation)
        if self._looked.get(version) == self._store.connections:
            return False
        if self._has_too_few(registered):
            return True
        self._looked[version] = self._store.connections
        return False

    def _check_current(self, registered: Registered) -> None:
        """Raise when rows of another generation are there because ours is the old one."""
        if not self._is_current(registered):
            raise _AppliedMeanwhileError

    def _is_current(self, registered: Registered) -> bool:
        now = self._snapshot().views.get(registered.view.name)
        return now is not None and now.generation == registered.generation
