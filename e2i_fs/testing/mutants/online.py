"""Wrong online rows: each overrides something of `e2i_fs.testing.memory.MemoryBackend`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from e2i_fs.backend import Key, OnlineRow, Position
from e2i_fs.definitions import FeatureView
from e2i_fs.online import merge, pick, row_order
from e2i_fs.testing.mutants.frame import Kept, Mutants

__all__ = ["ONLINE"]

ONLINE = Mutants()

_ORDER = "test_o1_any_order_split_and_repetition_of_writes_is_one_state"
_FUTURE = "test_o2_the_future_is_not_served_online"
_POSITION = "test_f1_the_position_counts_writes_and_knows_the_newest_event"


class _Changed(Kept):
    """A right backend whose rows can be changed on their way in and on their way out."""

    def taken(self, row: OnlineRow, view: FeatureView, at_us: int) -> OnlineRow:
        """Return what is kept of a written row."""
        return row

    def merged(
        self, kept: tuple[OnlineRow, ...], new: OnlineRow, view: FeatureView, at_us: int
    ) -> tuple[OnlineRow, ...]:
        """Return what is kept of one key's rows after a write."""
        return merge(kept, [new], view, at_us=at_us)

    def online_write(self, view: str, keys: Sequence[Key], rows: Sequence[OnlineRow], *, at_us: int) -> int:
        """Merge rows with `taken` and `merged`."""
        with self._lock:
            self._check_open()
            definition = self._catalog.view(view)
            kept = self._views[view]
            changed = set()
            for key, row in zip(keys, rows, strict=True):
                before = kept.online.get(key, ())
                after = self.merged(before, self.taken(row, definition, at_us), definition, at_us)
                if repr(after) != repr(before):
                    kept.online[key] = after
                    changed.add(key)
            kept.sequence += 1
            return len(changed)


# ---- which row is kept (O-1) ---------------------------------------------------------------------------------


@ONLINE.backend("O-1", "The row that arrives last wins.", killed_by=_ORDER)
class LastArrivalWins(_Changed):
    def merged(
        self, kept: tuple[OnlineRow, ...], new: OnlineRow, view: FeatureView, at_us: int
    ) -> tuple[OnlineRow, ...]:
        return (new,)


@ONLINE.backend("O-1", "The row that arrives first wins.", killed_by=_ORDER)
class FirstArrivalWins(_Changed):
    def merged(
        self, kept: tuple[OnlineRow, ...], new: OnlineRow, view: FeatureView, at_us: int
    ) -> tuple[OnlineRow, ...]:
        return kept or (new,)


@ONLINE.backend("O-1", "An older row overwrites a newer one.", killed_by=_ORDER)
class OlderOverwritesNewer(_Changed):
    def merged(
        self, kept: tuple[OnlineRow, ...], new: OnlineRow, view: FeatureView, at_us: int
    ) -> tuple[OnlineRow, ...]:
        if new.event_us > at_us:
            return super().merged(kept, new, view, at_us)
        ahead = tuple(row for row in kept if row.event_us > at_us)
        return (
            *ahead,
            min([*(row for row in kept if row.event_us <= at_us), new], key=lambda row: row_order(row, view)),
        )


@ONLINE.backend("O-1", "Of two rows of one event time the one that arrives last wins.", killed_by=_ORDER)
class OnlineTieByArrival(_Changed):
    def merged(
        self, kept: tuple[OnlineRow, ...], new: OnlineRow, view: FeatureView, at_us: int
    ) -> tuple[OnlineRow, ...]:
        others = tuple(row for row in kept if row.event_us != new.event_us)
        return super().merged(others, new, view, at_us)


@ONLINE.backend("O-1", "Of two rows of one event time the one that came first stays.", killed_by=_ORDER)
class OnlineTieByFirst(_Changed):
    def merged(
        self, kept: tuple[OnlineRow, ...], new: OnlineRow, view: FeatureView, at_us: int
    ) -> tuple[OnlineRow, ...]:
        if any(row.event_us == new.event_us for row in kept):
            return kept
        return super().merged(kept, new, view, at_us)


@ONLINE.backend(
    "P-4",
    "Of two rows that the language calls equal, as it does -0.0 and 0.0, the one that came first stays.",
    killed_by="test_o1_ties_and_older_rows_are_decided_by_the_order_and_not_by_arrival",
)
class SignOfZeroLost(_Changed):
    def merged(
        self, kept: tuple[OnlineRow, ...], new: OnlineRow, view: FeatureView, at_us: int
    ) -> tuple[OnlineRow, ...]:
        return kept if new in kept else super().merged(kept, new, view, at_us)


@ONLINE.backend(
    "P-4",
    "The created time is not kept online, so it breaks no tie.",
    killed_by="test_o1_ties_and_older_rows_are_decided_by_the_order_and_not_by_arrival",
)
class CreatedTimeLost(_Changed):
    def taken(self, row: OnlineRow, view: FeatureView, at_us: int) -> OnlineRow:
        return row._replace(created_us=None)


@ONLINE.backend(
    "P-5",
    "A missing value leaves the one before it in place.",
    killed_by="test_o1_ties_and_older_rows_are_decided_by_the_order_and_not_by_arrival",
)
class MissingValueKeepsTheOld(_Changed):
    def taken(self, row: OnlineRow, view: FeatureView, at_us: int) -> OnlineRow:
        return row._replace(values={n: v for n, v in row.values.items() if v is not None})

    def merged(
        self, kept: tuple[OnlineRow, ...], new: OnlineRow, view: FeatureView, at_us: int
    ) -> tuple[OnlineRow, ...]:
        before: Mapping[str, Any] = kept[0].values if kept else {}
        return super().merged(kept, new._replace(values={**before, **new.values}), view, at_us)


@ONLINE.backend(
    "W-3", "A row older than the newest one of its view is taken for one that was written before.", killed_by=_ORDER
)
class LateRowLost(_Changed):
    def online_write(self, view: str, keys: Sequence[Key], rows: Sequence[OnlineRow], *, at_us: int) -> int:
        newest = self.position(view).newest_event_us
        fresh = [(k, r) for k, r in zip(keys, rows, strict=True) if newest is None or r.event_us >= newest]
        return super().online_write(view, [k for k, _ in fresh], [r for _, r in fresh], at_us=at_us)


@ONLINE.backend(
    "O-1",
    "Of a batch, only the last row of each key is looked at.",
    killed_by="test_o1_ties_and_older_rows_are_decided_by_the_order_and_not_by_arrival",
)
class LastOfTheBatch(Kept):
    def online_write(self, view: str, keys: Sequence[Key], rows: Sequence[OnlineRow], *, at_us: int) -> int:
        last = dict(zip(keys, rows, strict=True))
        return super().online_write(view, list(last), list(last.values()), at_us=at_us)


# ---- the present moment (O-2) --------------------------------------------------------------------------------


@ONLINE.backend("O-2", "A row ahead of the clock is served at once.", killed_by=_FUTURE)
class FutureServedOnline(Kept):
    def online_read(self, view: str, keys: Sequence[Key], *, at_us: int) -> Sequence[OnlineRow | None]:
        return super().online_read(view, keys, at_us=2**63 - 1)


@ONLINE.backend(
    "O-2", "A row ahead of the clock takes the place of the one that answers until then.", killed_by=_FUTURE
)
class RowAheadHidesThePresent(_Changed):
    def merged(
        self, kept: tuple[OnlineRow, ...], new: OnlineRow, view: FeatureView, at_us: int
    ) -> tuple[OnlineRow, ...]:
        return super().merged(kept, new, view, at_us)[:1]


@ONLINE.backend("O-2", "A row ahead of the clock is thrown away, and never answers.", killed_by=_FUTURE)
class RowAheadThrownAway(_Changed):
    def merged(
        self, kept: tuple[OnlineRow, ...], new: OnlineRow, view: FeatureView, at_us: int
    ) -> tuple[OnlineRow, ...]:
        return kept if new.event_us > at_us else super().merged(kept, new, view, at_us)


@ONLINE.backend(
    "O-3", "A row older than its view's ttl is thrown away, and so never known to be too old.", killed_by=_ORDER
)
class ExpiredRowsThrownAway(Kept):
    def online_read(self, view: str, keys: Sequence[Key], *, at_us: int) -> Sequence[OnlineRow | None]:
        ttl = self._catalog.view(view).ttl_us
        found = super().online_read(view, keys, at_us=at_us)
        return [None if row and ttl is not None and at_us - row.event_us > ttl else row for row in found]


@ONLINE.backend("O-3", "The event time kept is that of the write.", killed_by=_ORDER)
class EventTimeOfTheWrite(_Changed):
    def taken(self, row: OnlineRow, view: FeatureView, at_us: int) -> OnlineRow:
        return row._replace(event_us=min(row.event_us, at_us) if row.event_us > at_us else at_us)


@ONLINE.backend("T-1", "Event times are kept in milliseconds.", killed_by=_ORDER)
class EventTimeInMilliseconds(_Changed):
    def taken(self, row: OnlineRow, view: FeatureView, at_us: int) -> OnlineRow:
        return row._replace(event_us=row.event_us // 1000 * 1000)


# ---- answers (O-5, P-7, P-8) ---------------------------------------------------------------------------------


@ONLINE.backend("O-5", "Answers come in the order of the keys, not of the asking.", killed_by=_ORDER)
class AnswersMisaligned(Kept):
    def online_read(self, view: str, keys: Sequence[Key], *, at_us: int) -> Sequence[OnlineRow | None]:
        return super().online_read(view, sorted(keys, key=repr), at_us=at_us)


@ONLINE.backend("O-5", "A key that is not there is left out of the answers.", killed_by=_ORDER)
class MissesLeftOut(Kept):
    def online_read(self, view: str, keys: Sequence[Key], *, at_us: int) -> Sequence[OnlineRow | None]:
        return [row for row in super().online_read(view, keys, at_us=at_us) if row is not None]


@ONLINE.backend("P-7", "Online, a composite key is joined into one text.", killed_by=_ORDER)
class OnlineKeyConcatenation(Kept):
    def online_write(self, view: str, keys: Sequence[Key], rows: Sequence[OnlineRow], *, at_us: int) -> int:
        return super().online_write(view, [_joined(key) for key in keys], rows, at_us=at_us)

    def online_read(self, view: str, keys: Sequence[Key], *, at_us: int) -> Sequence[OnlineRow | None]:
        return super().online_read(view, [_joined(key) for key in keys], at_us=at_us)


@ONLINE.backend(
    "P-7",
    "The rows of all views lie together, by key.",
    killed_by="test_o5_answers_line_up_with_the_rows_asked",
)
class ViewsShareTheirRows(Kept):
    def online_read(self, view: str, keys: Sequence[Key], *, at_us: int) -> Sequence[OnlineRow | None]:
        own = super().online_read(view, keys, at_us=at_us)
        with self._lock:
            every = [kept.online for _, kept in sorted(self._views.items())]
        return [
            row or next((found for online in every if (found := pick(online.get(key, ()), at_us=at_us))), None)
            for key, row in zip(keys, own, strict=True)
        ]


@ONLINE.backend(
    "P-8",
    "Online, a whole number goes through a float.",
    killed_by="test_o3_values_of_every_declared_dtype_are_exact_online",
)
class OnlineIntThroughFloat(_Changed):
    def taken(self, row: OnlineRow, view: FeatureView, at_us: int) -> OnlineRow:
        return row._replace(values={n: int(float(v)) if type(v) is int else v for n, v in row.values.items()})


@ONLINE.backend("P-8", "Online, a NaN is kept as NULL.", killed_by=_ORDER)
class OnlineNanAsNull(_Changed):
    def taken(self, row: OnlineRow, view: FeatureView, at_us: int) -> OnlineRow:
        return row._replace(values={n: None if v != v else v for n, v in row.values.items()})


@ONLINE.backend(
    "O-3",
    "Online, a missing number is kept as zero.",
    killed_by="test_o3_values_of_every_declared_dtype_are_exact_online",
)
class OnlineNullAsZero(_Changed):
    def taken(self, row: OnlineRow, view: FeatureView, at_us: int) -> OnlineRow:
        zero = {f.name: 0 for f in view.schema if f.dtype.kind in ("int64", "int32", "float64", "float32")}
        return row._replace(values={n: zero.get(n) if v is None else v for n, v in row.values.items()})


@ONLINE.backend("O-1", "What was read once is remembered, and not read again after a write.", killed_by=_ORDER)
class AnswersRemembered(Kept):
    def online_read(self, view: str, keys: Sequence[Key], *, at_us: int) -> Sequence[OnlineRow | None]:
        for key, row in zip(keys, super().online_read(view, keys, at_us=at_us), strict=True):
            self.disk.notes.setdefault((view, key), row)
        return [self.disk.notes[view, key] for key in keys]


# ---- whole rows, and the position (O-7, F-1, X-4) ------------------------------------------------------------


@ONLINE.backend(
    "O-7",
    "A row is written value by value, and a reader in between sees a half.",
    killed_by="test_o7_a_concurrent_reader_finds_each_row_old_or_new_and_whole",
)
class HalfARow(_Changed):
    def online_write(self, view: str, keys: Sequence[Key], rows: Sequence[OnlineRow], *, at_us: int) -> int:
        for number, name in enumerate(f.name for f in self._catalog.view(view).schema):
            with self._lock:
                halves = [self._half(view, key, row, name) for key, row in zip(keys, rows, strict=True)]
                if number == 0:
                    changed = super().online_write(view, keys, halves, at_us=at_us)
                else:
                    super().online_write(view, keys, halves, at_us=at_us)
                    self._views[view].sequence -= 1
        return changed

    def _half(self, view: str, key: Key, row: OnlineRow, name: str) -> OnlineRow:
        kept = self._views[view].online.get(key, ())
        values = {**kept[0].values, name: row.values[name]} if kept else {name: row.values[name]}
        return row._replace(values=values)


@ONLINE.backend("F-1", "The position never moves.", killed_by=_POSITION)
class PositionStuck(Kept):
    def position(self, view: str) -> Position:
        self._check_open()
        return Position(0, None, 0)


@ONLINE.backend("X-4", "A write is not counted.", killed_by=_POSITION)
class WritesNotCounted(Kept):
    def position(self, view: str) -> Position:
        return super().position(view)._replace(sequence=1)


@ONLINE.backend("X-4", "A write that changes nothing is not counted.", killed_by=_POSITION)
class EmptyWritesNotCounted(Kept):
    def online_write(self, view: str, keys: Sequence[Key], rows: Sequence[OnlineRow], *, at_us: int) -> int:
        changed = super().online_write(view, keys, rows, at_us=at_us)
        self._views[view].sequence -= not changed
        return changed


@ONLINE.backend("F-1", "The newest event time is that of the row written last.", killed_by=_POSITION)
class NewestIsTheLast(Kept):
    def online_write(self, view: str, keys: Sequence[Key], rows: Sequence[OnlineRow], *, at_us: int) -> int:
        self.disk.notes[view] = rows[-1].event_us
        return super().online_write(view, keys, rows, at_us=at_us)

    def position(self, view: str) -> Position:
        found = super().position(view)
        return found if not found.rows else found._replace(newest_event_us=self.disk.notes[view])


@ONLINE.backend("O-1", "Written rows are counted, not the keys that changed.", killed_by=_ORDER)
class RowsCountedAsKeys(Kept):
    def online_write(self, view: str, keys: Sequence[Key], rows: Sequence[OnlineRow], *, at_us: int) -> int:
        super().online_write(view, keys, rows, at_us=at_us)
        return len(rows)


def _joined(key: Key) -> Key:
    return ("".join(map(str, key)),)
