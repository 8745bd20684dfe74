"""Faults that one handle alone does not show: writes lost between two, what a handle remembers, moments and positions."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from e2i_fs.backend import Key, OnlineRow, Position
from e2i_fs.batch import check_form
from e2i_fs.catalog import Catalog
from e2i_fs.clock import to_us
from e2i_fs.definitions import FeatureView
from e2i_fs.online import merge, pick
from e2i_fs.testing.mutants.frame import Kept, Mutants
from e2i_fs.testing.mutants.online import _Changed

__all__ = ["HANDLES"]

HANDLES = Mutants()

_AMID = "test_o1_a_write_amid_another_handles_write_is_not_lost"
_APPENDED = "test_w2_a_batch_appended_by_two_at_once_is_one_batch"
_THERE = "test_r5_what_was_done_is_there_at_once_and_for_everybody"
_CHANGED = "test_r5_a_change_made_by_one_handle_is_the_others_at_once"
_ALIKE = "test_r4_deleting_a_view_leaves_views_of_names_like_it"
_MOMENT = "test_o2_the_moment_is_the_one_given_and_not_the_clocks"
_POSITION = "test_f1_the_position_counts_writes_and_knows_the_newest_event"
_NOTHING = "test_o1_a_call_with_nothing_changes_nothing"


# ---- two handles at once (O-1, W-2, X-4) ---------------------------------------------------------------------


@HANDLES.backend("O-1", "Rows are read, merged and written back without a lock between the three.", killed_by=_AMID)
class LostUpdate(Kept):
    def online_write(self, view: str, keys: Sequence[Key], rows: Sequence[OnlineRow], *, at_us: int) -> int:
        with self._lock:
            self._check_open()
            definition = self._catalog.view(view)
            before = {key: self._views[view].online.get(key, ()) for key in keys}
        after = dict(before)
        for key, row in zip(keys, rows, strict=True):
            after[key] = merge(after[key], [row], definition, at_us=at_us)
        with self._lock:
            self._views[view].online.update(after)
            self._views[view].sequence += 1
        return sum(repr(after[key]) != repr(before[key]) for key in after)


@HANDLES.backend("X-4", "Of two writes at once one is counted.", killed_by=_AMID)
class LostCount(Kept):
    def online_write(self, view: str, keys: Sequence[Key], rows: Sequence[OnlineRow], *, at_us: int) -> int:
        counted = self._views[view].sequence + 1
        changed = super().online_write(view, keys, rows, at_us=at_us)
        self._views[view].sequence = counted
        return changed


@HANDLES.backend("W-2", "Whether a batch is there is looked up before the lock is taken.", killed_by=_APPENDED)
class AppendChecksTooEarly(Kept):
    def append(self, view: str, rows: pa.Table, *, batch_id: str) -> bool:
        self._check_open()
        check_form(rows, self._catalog.view(view), self._catalog.join_keys(view))
        if self._there(view, batch_id):
            return super().append(view, rows, batch_id=batch_id)
        with self._lock:
            batches = self._views[view].batches
            batches[batch_id if batch_id not in batches else f"{batch_id}-{len(batches)}"] = rows
        return True

    def _there(self, view: str, batch_id: str) -> bool:
        with self._lock:
            return batch_id in self._views[view].batches


@HANDLES.backend("W-2", "The list of batches is read, added to and written back without a lock.", killed_by=_APPENDED)
class AppendsRewriteTheList(Kept):
    def append(self, view: str, rows: pa.Table, *, batch_id: str) -> bool:
        self._check_open()
        check_form(rows, self._catalog.view(view), self._catalog.join_keys(view))
        before = self._list(view)
        if batch_id in before:
            return super().append(view, rows, batch_id=batch_id)
        with self._lock:
            self._views[view].batches = {**before, batch_id: rows}
        return True

    def _list(self, view: str) -> dict[str, pa.Table]:
        with self._lock:
            return dict(self._views[view].batches)


# ---- what a handle remembers (R-5, F-3) ----------------------------------------------------------------------


class _Remembers(Kept):
    """A backend whose handles remember things."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.known: dict[Any, Any] = {}
        self.known_lock = threading.Lock()


@HANDLES.backend("R-5", "A handle looks at definitions anew only when there are other views.", killed_by=_CHANGED)
class DefinitionsRemembered(_Remembers):
    def definitions(self) -> Catalog:
        now = super().definitions()
        before: Catalog = self.known.setdefault("definitions", now)
        if set(before.views) != set(now.views):
            self.known["definitions"] = now
        found: Catalog = self.known["definitions"]
        return found

    def apply(self, definitions: Catalog, *, expected: str) -> bool:
        self.known.clear()
        return super().apply(definitions, expected=expected)


@HANDLES.backend("R-5", "A handle writes the fields that a view had when it saw it first.", killed_by=_CHANGED)
class FieldsRemembered(_Remembers):
    def online_write(self, view: str, keys: Sequence[Key], rows: Sequence[OnlineRow], *, at_us: int) -> int:
        own = self.known.setdefault(view, [field.name for field in self._catalog.view(view).schema])
        rows = [row._replace(values={n: v for n, v in row.values.items() if n in own}) for row in rows]
        return super().online_write(view, keys, rows, at_us=at_us)

    def apply(self, definitions: Catalog, *, expected: str) -> bool:
        self.known.clear()
        return super().apply(definitions, expected=expected)


@HANDLES.backend("F-3", "A handle remembers the position until it writes itself.", killed_by=_THERE)
class PositionRemembered(_Remembers):
    def position(self, view: str) -> Position:
        found: Position = self.known.setdefault(view, super().position(view))
        return found

    def online_write(self, view: str, keys: Sequence[Key], rows: Sequence[OnlineRow], *, at_us: int) -> int:
        self.known.pop(view, None)
        return super().online_write(view, keys, rows, at_us=at_us)

    def apply(self, definitions: Catalog, *, expected: str) -> bool:
        self.known.clear()
        return super().apply(definitions, expected=expected)


@HANDLES.backend("R-5", "A handle remembers online rows until it writes them itself.", killed_by=_THERE)
class OnlineRowsRemembered(_Remembers):
    def online_read(self, view: str, keys: Sequence[Key], *, at_us: int) -> Sequence[OnlineRow | None]:
        self._check_open()
        self._catalog.view(view)
        with self.known_lock:
            for key in keys:
                self.known.setdefault((view, key), self._views[view].online.get(key, ()))
            return [pick(self.known[view, key], at_us=at_us) for key in keys]

    def online_write(self, view: str, keys: Sequence[Key], rows: Sequence[OnlineRow], *, at_us: int) -> int:
        with self.known_lock:
            for key in keys:
                self.known.pop((view, key), None)
        return super().online_write(view, keys, rows, at_us=at_us)


@HANDLES.backend("R-4", "A handle remembers the rows of a view that another handle deleted.", killed_by=_CHANGED)
class GhostsRemembered(_Remembers):
    def online_read(self, view: str, keys: Sequence[Key], *, at_us: int) -> Sequence[OnlineRow | None]:
        found = super().online_read(view, keys, at_us=at_us)
        for key, row in zip(keys, found, strict=True):
            if row is not None:
                self.known[view, key] = row
        return [self.known.get((view, key)) if row is None else row for key, row in zip(keys, found, strict=True)]

    def apply(self, definitions: Catalog, *, expected: str) -> bool:
        self.known.clear()
        return super().apply(definitions, expected=expected)


@HANDLES.backend(
    "R-5",
    "After an outage all batches of a view but the first are gone.",
    killed_by="test_x2_a_broken_store_is_unavailable_and_not_empty",
)
class BatchesLostInAnOutage(Kept):
    def _check_open(self) -> None:
        if self.disk.away:
            self.disk.notes["was away"] = True
        elif self.disk.notes.pop("was away", False):
            for kept in self.disk.views.values():
                kept.batches = dict(list(kept.batches.items())[:1])
        super()._check_open()


# ---- definitions (R-4, X-4) ----------------------------------------------------------------------------------


class _Deletes(Kept):
    """A backend that deletes rows by the name of the view."""

    def goes(self, name: str, deleted: str) -> bool:
        """Return whether the rows of the view ``name`` go with those of ``deleted``."""
        return name == deleted

    def apply(self, definitions: Catalog, *, expected: str) -> bool:
        before = set(self._catalog.views)
        done = super().apply(definitions, expected=expected)
        for deleted in (before - set(definitions.views)) if done else ():
            for name in [name for name in self._views if self.goes(name, deleted)]:
                self._views.pop(name)
        return done


@HANDLES.backend("R-4", "Views whose names begin with that of the deleted one lose their rows too.", killed_by=_ALIKE)
class DeletesByPrefix(_Deletes):
    def goes(self, name: str, deleted: str) -> bool:
        return name.startswith(deleted)


@HANDLES.backend("R-4", "The name of a deleted view is a pattern: `_` is any character.", killed_by=_ALIKE)
class DeletesByPattern(_Deletes):
    def goes(self, name: str, deleted: str) -> bool:
        return re.fullmatch(re.escape(deleted).replace("_", "."), name) is not None


@HANDLES.backend(
    "R-4",
    "The rows of a view stay when its join key gets another dtype and its fields do not.",
    killed_by="test_r4_a_breaking_change_needs_consent_and_drops_the_rows",
)
class RowsUnderTheOldKey(Kept):
    def apply(self, definitions: Catalog, *, expected: str) -> bool:
        before = dict(self._catalog.views)
        kept = {name: self._views[name] for name in before}
        done = super().apply(definitions, expected=expected)
        for name in set(before) & set(definitions.views):
            if done and before[name].schema == definitions.views[name].schema:
                self._views[name] = kept[name]
        return done


@HANDLES.backend(
    "X-4", "Any apply sets the counts of writes to zero.", killed_by="test_r1_apply_tells_its_plan_and_is_idempotent"
)
class CountLostByApply(Kept):
    def apply(self, definitions: Catalog, *, expected: str) -> bool:
        done = super().apply(definitions, expected=expected)
        for kept in self._views.values() if done else ():
            kept.sequence = 0
        return done


# ---- positions (F-1, X-4) ------------------------------------------------------------------------------------


class _Position(Kept):
    """A backend whose positions are not what they should be."""

    def told(self, view: str, right: Position) -> Position:
        """Return what is told instead of the right position."""
        return right

    def position(self, view: str) -> Position:
        """Return the one `told`."""
        return self.told(view, super().position(view))


@HANDLES.backend("F-1", "The position counts rows, not keys: one that waits is counted.", killed_by=_POSITION)
class WaitingRowsCounted(_Position):
    def told(self, view: str, right: Position) -> Position:
        return right._replace(rows=sum(map(len, self._views[view].online.values())))


@HANDLES.backend("F-1", "The newest event time of a position is in milliseconds.", killed_by=_POSITION)
class NewestInMilliseconds(_Position):
    def told(self, view: str, right: Position) -> Position:
        return right._replace(newest_event_us=right.newest_event_us and right.newest_event_us // 1000 * 1000)


@HANDLES.backend("F-1", "A newest event time before 1970 is none.", killed_by=_POSITION)
class NothingBefore1970(_Position):
    def told(self, view: str, right: Position) -> Position:
        newest = right.newest_event_us
        return right._replace(newest_event_us=None if newest is not None and newest < 0 else newest)


@HANDLES.backend("X-4", "The writes of all views are counted together.", killed_by=_POSITION)
class OneCountForAllViews(_Position):
    def told(self, view: str, right: Position) -> Position:
        return right._replace(sequence=sum(kept.sequence for kept in self._views.values()))


# ---- moments, and calls with nothing (O-2, T-5) --------------------------------------------------------------


@HANDLES.backend("T-5", "Online rows are merged as of the backend's own clock, not of `at_us`.", killed_by=_MOMENT)
class WritesByItsOwnClock(Kept):
    def online_write(self, view: str, keys: Sequence[Key], rows: Sequence[OnlineRow], *, at_us: int) -> int:
        return super().online_write(view, keys, rows, at_us=to_us(self._clock.now()))


@HANDLES.backend("T-5", "Online rows are read as of the backend's own clock, not of `at_us`.", killed_by=_MOMENT)
class ReadsByItsOwnClock(Kept):
    def online_read(self, view: str, keys: Sequence[Key], *, at_us: int) -> Sequence[OnlineRow | None]:
        return super().online_read(view, keys, at_us=to_us(self._clock.now()))


@HANDLES.backend(
    "O-2",
    "The row that answered a moment ago is not kept beside the newer one.",
    killed_by="test_o2_a_read_that_began_before_a_write_finds_the_row_of_its_moment",
)
class NoRowOfAMomentAgo(_Changed):
    def merged(
        self, kept: tuple[OnlineRow, ...], new: OnlineRow, view: FeatureView, at_us: int
    ) -> tuple[OnlineRow, ...]:
        after = super().merged(kept, new, view, at_us)
        waiting = sum(row.event_us > at_us for row in after)
        return after[: waiting + 1]


@HANDLES.backend("O-1", "A write without rows raises.", killed_by=_NOTHING)
class EmptyWriteRaises(Kept):
    def online_write(self, view: str, keys: Sequence[Key], rows: Sequence[OnlineRow], *, at_us: int) -> int:
        max(row.event_us for row in rows)
        return super().online_write(view, keys, rows, at_us=at_us)


@HANDLES.backend("O-5", "A read of no keys raises.", killed_by=_NOTHING)
class EmptyReadRaises(Kept):
    def online_read(self, view: str, keys: Sequence[Key], *, at_us: int) -> Sequence[OnlineRow | None]:
        max(keys)
        return super().online_read(view, keys, at_us=at_us)


@HANDLES.backend("W-2", "A batch without rows is new each time.", killed_by=_NOTHING)
class EmptyBatchAlwaysNew(Kept):
    def append(self, view: str, rows: pa.Table, *, batch_id: str) -> bool:
        return len(rows) == 0 or super().append(view, rows, batch_id=batch_id)
