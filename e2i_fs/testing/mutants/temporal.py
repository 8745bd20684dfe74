"""Wrong answers at a time: each overrides one rule of `e2i_fs.testing.native.NativeMemoryBackend`."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from e2i_fs.backend import Key, Knowledge
from e2i_fs.definitions import FeatureView
from e2i_fs.dtypes import DType
from e2i_fs.testing.mutants.frame import KeptNative, Mutants
from e2i_fs.testing.native import Asked, SourceRow

__all__ = ["TEMPORAL"]

TEMPORAL = Mutants()

_ORACLE = "test_p1_the_answer_is_the_greatest_row_up_to_its_time"
_KNOWN = "test_p3_what_was_not_known_is_not_there"
_KNOWN_EDGE = "test_p3_a_row_is_known_from_its_created_microsecond_on"
_EDGE = "test_p1_a_row_answers_from_its_own_microsecond_on"
_TIES = "test_p4_ties_fall_to_the_later_created_then_to_the_greater_values"
_LAYOUT = "test_t4_the_order_files_and_batches_of_the_rows_change_nothing"
_KEYS = "test_p7_every_kind_of_key_finds_its_own_row"
_VALUES = "test_p8_every_value_survives_history_to_the_last_bit"
_DAY_US = 86_400_000_000


# ---- what is visible (P-1, T-3) ------------------------------------------------------------------------------


@TEMPORAL.backend("P-1", "A row counts only after its event time: `<` for `<=`.", killed_by=_EDGE)
class StrictlyBefore(KeptNative):
    """See its decorator, as of all mutants."""

    def happened(self, row: SourceRow, t: int) -> bool:
        return row.event_us is not None and row.event_us < t


@TEMPORAL.backend("P-1", "A row answers one microsecond too early.", killed_by=_EDGE)
class OneMicrosecondOfTheFuture(KeptNative):
    def happened(self, row: SourceRow, t: int) -> bool:
        return row.event_us is not None and row.event_us <= t + 1


@TEMPORAL.backend(
    "P-10", "The predicate on event time is gone.", killed_by="test_p10_rows_added_that_nobody_may_see_change_nothing"
)
class TheFutureIsVisible(KeptNative):
    def happened(self, row: SourceRow, t: int) -> bool:
        return row.event_us is not None


@TEMPORAL.backend("P-1", "Times are compared by their UTC day.", killed_by=_ORACLE)
class DayTruncation(KeptNative):
    def happened(self, row: SourceRow, t: int) -> bool:
        return row.event_us is not None and row.event_us // _DAY_US <= t // _DAY_US


@TEMPORAL.backend("P-1", "Times are compared by the millisecond.", killed_by=_EDGE)
class MillisecondTruncation(KeptNative):
    def happened(self, row: SourceRow, t: int) -> bool:
        return row.event_us is not None and row.event_us // 1000 <= t // 1000


@TEMPORAL.backend(
    "T-1",
    "Event times are taken for local time, four hours behind UTC.",
    killed_by="test_p10_rows_added_that_nobody_may_see_change_nothing",
)
class TimeZoneShift(KeptNative):
    def happened(self, row: SourceRow, t: int) -> bool:
        return row.event_us is not None and row.event_us - 4 * 3_600_000_000 <= t


@TEMPORAL.backend(
    "T-3",
    "A row without event time is taken to have always been true.",
    killed_by="test_t3_a_row_without_event_time_is_never_visible",
)
class MissingEventTimeIsTheBeginning(KeptNative):
    def history(self, view: str) -> list[SourceRow]:
        first = -(2**62)
        return [row._replace(event_us=first) if row.event_us is None else row for row in super().history(view)]


@TEMPORAL.backend(
    "P-10",
    "In a history of more than 10,000 rows the future is visible, as where a fast path forgets the predicate.",
    killed_by="test_p10_thirty_thousand_rows_in_several_files_leak_nothing",
)
class LeakBeyondManyRows(KeptNative):
    _many = False

    def history(self, view: str) -> list[SourceRow]:
        rows = super().history(view)
        self._many = len(rows) > 10_000
        return rows

    def happened(self, row: SourceRow, t: int) -> bool:
        return super().happened(row, t) or (self._many and row.event_us is not None)


@TEMPORAL.backend(
    "P-10",
    "The predicate is applied to the first file alone.",
    killed_by="test_p10_the_future_is_hidden_in_whichever_file_or_batch_it_lies",
)
class LeakInTheSecondFile(KeptNative):
    def happened(self, row: SourceRow, t: int) -> bool:
        return super().happened(row, t) or (row.file > 0 and row.event_us is not None)


@TEMPORAL.backend(
    "P-10",
    "In what was there before the store was closed and opened again, the future is visible.",
    killed_by="test_t4_answers_are_the_same_after_reopening",
)
class LeakAfterReopening(KeptNative):
    _leaks = False

    def close(self) -> None:
        self.disk.notes["older"] = set(self._catalog.views)
        super().close()

    def history(self, view: str) -> list[SourceRow]:
        self._leaks = view in self.disk.notes.get("older", ())
        return super().history(view)

    def happened(self, row: SourceRow, t: int) -> bool:
        return super().happened(row, t) or (self._leaks and row.event_us is not None)


@TEMPORAL.backend(
    "P-6",
    "Beyond 1,000 entity rows, all are answered at the latest time of them.",
    killed_by="test_p6_five_thousand_entity_rows_are_each_answered_at_their_own_time",
)
class OneTimeForManyEntityRows(KeptNative):
    def asked(self, view: str, entities: pa.Table) -> list[Asked]:
        asked = super().asked(view, entities)
        if len(asked) <= 1_000:
            return asked
        latest = max(one.t for one in asked)
        return [one._replace(t=latest) for one in asked]


# ---- what was known (P-3) ------------------------------------------------------------------------------------


@TEMPORAL.backend("P-3", "`filter_by_created_timestamp` does nothing.", killed_by=_KNOWN)
class FilterIgnored(KeptNative):
    def known(self, row: SourceRow, t: int, knowledge: Knowledge) -> bool:
        return super().known(row, t, replace(knowledge, filter_by_created=False))


@TEMPORAL.backend("P-3", "`as_of` does nothing.", killed_by=_KNOWN)
class AsOfIgnored(KeptNative):
    def known(self, row: SourceRow, t: int, knowledge: Knowledge) -> bool:
        return super().known(row, t, replace(knowledge, as_of_us=None))


@TEMPORAL.backend("P-3", "`as_of` cuts event times, not created times.", killed_by=_KNOWN)
class AsOfCutsEventTimes(KeptNative):
    def known(self, row: SourceRow, t: int, knowledge: Knowledge) -> bool:
        cut = knowledge.as_of_us is not None and (row.event_us or 0) > knowledge.as_of_us
        return not cut and super().known(row, t, replace(knowledge, as_of_us=None))


@TEMPORAL.backend("P-3", "Given both, `as_of` stands in for the filter.", killed_by=_KNOWN)
class AsOfOrFilter(KeptNative):
    def known(self, row: SourceRow, t: int, knowledge: Knowledge) -> bool:
        alone = replace(knowledge, filter_by_created=knowledge.as_of_us is None and knowledge.filter_by_created)
        return super().known(row, t, alone)


@TEMPORAL.backend("P-3", "A row whose created time is missing counts as known.", killed_by=_KNOWN_EDGE)
class MissingCreatedLetIn(KeptNative):
    def known(self, row: SourceRow, t: int, knowledge: Knowledge) -> bool:
        return row.created_us is None or super().known(row, t, knowledge)


@TEMPORAL.backend("P-3", "A row counts only after its created time: `<` for `<=`.", killed_by=_KNOWN_EDGE)
class CreatedStrictlyBefore(KeptNative):
    def known(self, row: SourceRow, t: int, knowledge: Knowledge) -> bool:
        later = None if row.created_us is None else row.created_us + 1
        return super().known(row._replace(created_us=later), t, knowledge)


@TEMPORAL.backend(
    "P-3", "A row that became known late hides nothing, but is not there even when it is known.", killed_by=_KNOWN
)
class LateRowsNeverKnown(KeptNative):
    def known(self, row: SourceRow, t: int, knowledge: Knowledge) -> bool:
        late = row.created_us is not None and row.event_us is not None and row.created_us > row.event_us
        return super().known(row, t, knowledge) and not (knowledge.counts and late)


@TEMPORAL.backend(
    "P-3",
    "Under the filter, the row that became usable last wins, not the newest event.",
    killed_by="test_p3_an_older_event_that_becomes_known_later_hides_no_newer_one",
)
class LastKnownWins(KeptNative):
    _filtering = False

    def known(self, row: SourceRow, t: int, knowledge: Knowledge) -> bool:
        self._filtering = knowledge.filter_by_created
        return super().known(row, t, knowledge)

    def rank(self, row: SourceRow, view: FeatureView) -> tuple[Any, ...]:
        usable = max(row.event_us or 0, row.created_us or 0) if self._filtering else 0
        return (usable, *super().rank(row, view))


# ---- how old it is (P-2) -------------------------------------------------------------------------------------


@TEMPORAL.backend(
    "P-2",
    "The age of the winner counts from its created time.",
    killed_by="test_p2_a_row_answers_to_the_last_microsecond_of_its_ttl",
)
class TtlFromCreated(KeptNative):
    def answer(self, visible: Sequence[SourceRow], view: FeatureView) -> tuple[int | None, tuple[Any, ...]]:
        event, values = super().answer(visible, view)
        created = [row.created_us for row in visible if row.event_us == event and row.values == values]
        return next((c for c in created if c is not None), event), values


# ---- which row wins (P-4) ------------------------------------------------------------------------------------


@TEMPORAL.backend("P-4", "The created time does not count among rows of one event time.", killed_by=_TIES)
class CreatedIgnored(KeptNative):
    def created_rank(self, row: SourceRow) -> tuple[int, ...]:
        return ()


@TEMPORAL.backend("P-4", "A missing created time counts as the highest.", killed_by=_TIES)
class MissingCreatedIsHighest(KeptNative):
    def created_rank(self, row: SourceRow) -> tuple[int, ...]:
        return (2,) if row.created_us is None else (1, row.created_us)


@TEMPORAL.backend("P-4", "The created time counts before the event time.", killed_by=_ORACLE)
class CreatedBeforeEvent(KeptNative):
    def rank(self, row: SourceRow, view: FeatureView) -> tuple[Any, ...]:
        return (self.created_rank(row), row.event_us, self.values_rank(row, view))


@TEMPORAL.backend("P-4", "The oldest visible row wins, not the newest.", killed_by=_ORACLE)
class OldestWins(KeptNative):
    def rank(self, row: SourceRow, view: FeatureView) -> tuple[Any, ...]:
        return (-(row.event_us or 0), self.created_rank(row), self.values_rank(row, view))


@TEMPORAL.backend("P-4", "Of tied rows the one that was read last wins.", killed_by=_LAYOUT)
class TieByArrival(KeptNative):
    def values_rank(self, row: SourceRow, view: FeatureView) -> tuple[Any, ...]:
        return (row.file, row.place)


@TEMPORAL.backend("P-4", "Of tied rows the one in the last file wins, values count within a file.", killed_by=_TIES)
class TieByFile(KeptNative):
    def values_rank(self, row: SourceRow, view: FeatureView) -> tuple[Any, ...]:
        return (row.file, super().values_rank(row, view))


@TEMPORAL.backend("P-4", "Of tied rows the one with the least values wins.", killed_by=_TIES)
class TieByLeastValues(KeptNative):
    def answer(self, visible: Sequence[SourceRow], view: FeatureView) -> tuple[int | None, tuple[Any, ...]]:
        if not visible:
            return super().answer(visible, view)
        top = max((row.event_us, self.created_rank(row)) for row in visible)
        tied = [row for row in visible if (row.event_us, self.created_rank(row)) == top]
        least = min(tied, key=lambda row: self.values_rank(row, view))
        return least.event_us, least.values


@TEMPORAL.backend("P-4", "Only the first field breaks a tie.", killed_by=_TIES)
class TieByFirstFieldAlone(KeptNative):
    def values_rank(self, row: SourceRow, view: FeatureView) -> tuple[Any, ...]:
        return super().values_rank(row, view)[:1]


@TEMPORAL.backend("P-4", "Values are compared as text.", killed_by=_ORACLE)
class TieByText(KeptNative):
    def values_rank(self, row: SourceRow, view: FeatureView) -> tuple[Any, ...]:
        return tuple(("",) if value is None else (str(value),) for value in row.values)


@TEMPORAL.backend("P-4", "A missing value counts as the highest in a tie.", killed_by=_TIES)
class MissingValueIsHighest(KeptNative):
    def values_rank(self, row: SourceRow, view: FeatureView) -> tuple[Any, ...]:
        return tuple((2,) if rank == (0,) else rank for rank in super().values_rank(row, view))


# ---- what the winner says (P-5) ------------------------------------------------------------------------------


@TEMPORAL.backend("P-5", "A missing value is filled from the newest older row that has one.", killed_by=_ORACLE)
class LastNonNullFill(KeptNative):
    def answer(self, visible: Sequence[SourceRow], view: FeatureView) -> tuple[int | None, tuple[Any, ...]]:
        event, values = super().answer(visible, view)
        older = sorted(visible, key=lambda row: self.rank(row, view), reverse=True)
        filled = [
            next((row.values[n] for row in older if row.values[n] is not None), None) for n, _ in enumerate(values)
        ]
        return event, tuple(filled)


@TEMPORAL.backend(
    "P-5",
    "Each value is the greatest of its own column among the tied rows: one answer of several rows.",
    killed_by=_ORACLE,
)
class StitchedRows(KeptNative):
    def answer(self, visible: Sequence[SourceRow], view: FeatureView) -> tuple[int | None, tuple[Any, ...]]:
        event, values = super().answer(visible, view)
        tied = [(row.values, self.values_rank(row, view)) for row in visible if row.event_us == event]
        if not tied:
            return event, values
        best = [max((rank[n], place) for place, (_, rank) in enumerate(tied))[1] for n, _ in enumerate(values)]
        return event, tuple(tied[place][0][n] for n, place in enumerate(best))


@TEMPORAL.backend("P-5", "A row with a missing value is skipped.", killed_by=_ORACLE)
class RowsWithMissingValuesSkipped(KeptNative):
    def history(self, view: str) -> list[SourceRow]:
        return [row for row in super().history(view) if None not in row.values]


# ---- whose rows they are (P-7) -------------------------------------------------------------------------------


@TEMPORAL.backend(
    "P-7", "A composite key is joined into one text.", killed_by="test_p7_keys_compare_exactly_column_by_column"
)
class KeyConcatenation(KeptNative):
    def exact(self, key: Key) -> Hashable | None:
        return None if None in key else "".join(map(str, key))


@TEMPORAL.backend("P-7", "A key is compared without regard to case and to blanks around it.", killed_by=_KEYS)
class KeyCastToText(KeptNative):
    def exact(self, key: Key) -> Hashable | None:
        return None if None in key else tuple(str(part).strip().lower() for part in key)


@TEMPORAL.backend("P-7", "A missing key matches a missing key.", killed_by="test_p7_a_missing_key_matches_nothing")
class NullKeysMatch(KeptNative):
    def exact(self, key: Key) -> Hashable | None:
        return key


@TEMPORAL.backend("P-7", "A whole number in a key goes through a float.", killed_by=_KEYS)
class KeyThroughFloat(KeptNative):
    def exact(self, key: Key) -> Hashable | None:
        exact = tuple(float(part) if isinstance(part, int) else part for part in key)
        return None if None in key else exact


@TEMPORAL.backend("P-7", "Only the first column of a composite key is compared.", killed_by=_KEYS)
class FirstKeyColumnAlone(KeptNative):
    def exact(self, key: Key) -> Hashable | None:
        return None if None in key else key[:1]


# ---- values and dtypes (P-8) ---------------------------------------------------------------------------------


@TEMPORAL.backend("P-8", "A whole number goes through a float: 2**53 + 1 becomes 2**53.", killed_by=_ORACLE)
class IntThroughFloat(KeptNative):
    def column(self, values: Sequence[Any], dtype: DType) -> pa.Array:
        if dtype.kind == "int64":
            values = [None if v is None else min(int(float(v)), 2**63 - 1) for v in values]
        return super().column(values, dtype)


@TEMPORAL.backend("P-8", "A float NaN comes back as NULL.", killed_by=_ORACLE)
class NanAsNull(KeptNative):
    def column(self, values: Sequence[Any], dtype: DType) -> pa.Array:
        return super().column([None if v != v else v for v in values], dtype)


@TEMPORAL.backend("P-8", "A missing float comes back as NaN.", killed_by=_ORACLE)
class NullAsNan(KeptNative):
    def column(self, values: Sequence[Any], dtype: DType) -> pa.Array:
        if dtype.kind in ("float32", "float64"):
            values = [float("nan") if v is None else v for v in values]
        return super().column(values, dtype)


@TEMPORAL.backend("P-8", "A missing number comes back as zero.", killed_by=_ORACLE)
class NullAsZero(KeptNative):
    def column(self, values: Sequence[Any], dtype: DType) -> pa.Array:
        if dtype.kind in ("int32", "int64"):
            values = [0 if v is None else v for v in values]
        return super().column(values, dtype)


@TEMPORAL.backend("P-8", "An empty text comes back as NULL.", killed_by=_VALUES)
class EmptyTextAsNull(KeptNative):
    def column(self, values: Sequence[Any], dtype: DType) -> pa.Array:
        return super().column([None if v == "" else v for v in values], dtype)


# ---- rows in, rows out (P-6) ---------------------------------------------------------------------------------


@TEMPORAL.backend("P-6", "An entity row that was asked before is left out.", killed_by=_ORACLE)
class DuplicatesCollapsed(KeptNative):
    def asked(self, view: str, entities: pa.Table) -> list[Asked]:
        return list(dict.fromkeys(super().asked(view, entities)))


@TEMPORAL.backend("P-6", "An entity row for which nothing is found is left out.", killed_by=_ORACLE)
class MissesDropped(KeptNative):
    def table(
        self, answers: Sequence[tuple[int | None, tuple[Any, ...]]], view: FeatureView, features: Sequence[str]
    ) -> pa.Table:
        return super().table([one for one in answers if one[0] is not None], view, features)


@TEMPORAL.backend("P-6", "Answers come in the order of time, not of the entity rows.", killed_by=_ORACLE)
class RowsReordered(KeptNative):
    def asked(self, view: str, entities: pa.Table) -> list[Asked]:
        return sorted(super().asked(view, entities), key=lambda one: one.t)
