"""Wrong histories, definitions and manners: each overrides something of `e2i_fs.testing.memory.MemoryBackend`."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pyarrow as pa
import pyarrow.compute as pc

from e2i_fs.backend import ArrowRows, Capabilities, Key, OnlineRow, ParquetRows, ScanPart
from e2i_fs.catalog import Catalog
from e2i_fs.definitions import FeatureView
from e2i_fs.errors import InvalidBatchError, UnsupportedError
from e2i_fs.frozen import FrozenMap
from e2i_fs.testing.mutants.frame import Kept, Mutants

__all__ = ["WRITING"]

WRITING = Mutants()

_TWICE = "test_w2_a_batch_written_twice_is_one_batch"
_OTHER_ROWS = "test_w2_an_id_used_for_other_rows_is_refused"
_EXACTLY = "test_w2_the_store_holds_exactly_what_was_appended"
_ORACLE = "test_p1_the_answer_is_the_greatest_row_up_to_its_time"
_EDGE = "test_p1_a_row_answers_from_its_own_microsecond_on"
_TIES = "test_p4_ties_fall_to_the_later_created_then_to_the_greater_values"
_BACK = "test_r1_definitions_come_back_exactly"
_STALE = "test_r1_a_stale_revision_changes_nothing"
_GHOSTS = "test_r4_a_view_made_anew_has_no_ghosts"
_BREAKING = "test_r4_a_breaking_change_needs_consent_and_drops_the_rows"
_THERE = "test_r5_what_was_done_is_there_at_once_and_for_everybody"
_HINTS = "test_p10_a_scan_under_hints_leaves_out_no_row_that_answers"
_METHODS = "test_g3_each_undeclared_method_is_refused"


# ---- history (W-2) -------------------------------------------------------------------------------------------


@WRITING.backend("W-2", "The same batch twice is in history twice.", killed_by=_TWICE)
class AppendNotIdempotent(Kept):
    def append(self, view: str, rows: pa.Table, *, batch_id: str) -> bool:
        count = len(self._views[view].batches)
        return super().append(view, rows, batch_id=f"{batch_id}-{count}")


@WRITING.backend("W-2", "A batch that was there already is said to be new.", killed_by=_TWICE)
class RepeatedSaidToBeNew(Kept):
    def append(self, view: str, rows: pa.Table, *, batch_id: str) -> bool:
        super().append(view, rows, batch_id=batch_id)
        return True


@WRITING.backend("W-2", "Other rows under a known id are passed over in silence.", killed_by=_OTHER_ROWS)
class OtherRowsPassedOver(Kept):
    def append(self, view: str, rows: pa.Table, *, batch_id: str) -> bool:
        return batch_id not in self._views[view].batches and super().append(view, rows, batch_id=batch_id)


@WRITING.backend("W-2", "Other rows under a known id replace those that were there.", killed_by=_OTHER_ROWS)
class OtherRowsReplace(Kept):
    def append(self, view: str, rows: pa.Table, *, batch_id: str) -> bool:
        try:
            return super().append(view, rows, batch_id=batch_id)
        except InvalidBatchError:
            self._views[view].batches[batch_id] = rows
            return True


@WRITING.backend("W-1", "A batch that is refused is half written.", killed_by=_OTHER_ROWS)
class HalfWrittenBatch(Kept):
    def append(self, view: str, rows: pa.Table, *, batch_id: str) -> bool:
        try:
            return super().append(view, rows, batch_id=batch_id)
        except InvalidBatchError:
            self._views[view].batches[f"{batch_id}-half"] = rows.slice(0, max(1, len(rows) // 2))
            raise


@WRITING.backend("W-2", "An id used in one view counts in all.", killed_by=_TWICE)
class IdsOfAllViews(Kept):
    def append(self, view: str, rows: pa.Table, *, batch_id: str) -> bool:
        there = any(batch_id in kept.batches for name, kept in self._views.items() if name != view)
        return not there and super().append(view, rows, batch_id=batch_id)


@WRITING.backend("W-2", "Of rows that are wholly the same one is kept.", killed_by=_EXACTLY)
class AppendDropsDuplicates(Kept):
    def append(self, view: str, rows: pa.Table, *, batch_id: str) -> bool:
        texts = [repr(row) for row in rows.to_pylist()]
        return super().append(view, rows.take([texts.index(t) for t in dict.fromkeys(texts)]), batch_id=batch_id)


@WRITING.backend("W-2", "Of the rows of a key the last one alone is kept in history.", killed_by=_EXACTLY)
class AppendKeepsTheLastOfAKey(Kept):
    def append(self, view: str, rows: pa.Table, *, batch_id: str) -> bool:
        keys = self._catalog.join_keys(view)
        texts = [repr(row) for row in rows.select(list(keys)).to_pylist()]
        last = {text: number for number, text in enumerate(texts)}
        return super().append(view, rows.take(list(last.values())), batch_id=batch_id)


@WRITING.backend("W-2", "A new batch takes the place of the one before it.", killed_by=_EXACTLY)
class AppendReplaces(Kept):
    def append(self, view: str, rows: pa.Table, *, batch_id: str) -> bool:
        if batch_id not in self._views[view].batches:
            self._views[view].batches.clear()
        return super().append(view, rows, batch_id=batch_id)


@WRITING.backend("W-2", "The created times of appended rows are lost.", killed_by=_TIES)
class AppendedCreatedTimesLost(Kept):
    def append(self, view: str, rows: pa.Table, *, batch_id: str) -> bool:
        name = self._catalog.view(view).created_column
        if name is not None:
            place = rows.column_names.index(name)
            rows = rows.set_column(place, name, pa.nulls(len(rows), rows.schema.field(name).type))
        return super().append(view, rows, batch_id=batch_id)


@WRITING.backend("R-5", "Ids of batches are forgotten when the store is opened again.", killed_by=_TWICE)
class IdsForgottenOnReopening(Kept):
    def close(self) -> None:
        for kept in self._views.values():
            kept.batches = {f"{number}-{name}": rows for number, (name, rows) in enumerate(kept.batches.items())}
        super().close()


# ---- scanning (P-10) -----------------------------------------------------------------------------------------


class _Scan(Kept):
    """A backend that reads its parts into tables, to leave some rows out."""

    def kept_rows(self, view: str, table: pa.Table, keys: pa.Table | None, until_us: int | None) -> pa.Table:
        """Return the rows of ``table`` that a scan gives."""
        return table

    def scan(
        self, view: str, columns: Sequence[str], *, keys: pa.Table | None = None, until_us: int | None = None
    ) -> Sequence[ScanPart]:
        """Return parts without the rows left out."""
        found: list[ScanPart] = []
        for part in super().scan(view, columns, keys=keys, until_us=until_us):
            if isinstance(part, ParquetRows):
                found += [ArrowRows(self.kept_rows(view, t, keys, until_us).to_reader()) for t in _read(part)]
            else:
                found.append(ArrowRows(self.kept_rows(view, part.reader.read_all(), keys, until_us).to_reader()))
        return found


@WRITING.backend("P-1", "The hint `until_us` is taken as `<`: rows of that very moment are not read.", killed_by=_HINTS)
class ScanUntilExclusive(_Scan):
    def kept_rows(self, view: str, table: pa.Table, keys: pa.Table | None, until_us: int | None) -> pa.Table:
        if until_us is None:
            return table
        events = _us(table.column(self._catalog.view(view).event_column))
        return table.filter(pc.fill_null(pc.less(events, until_us), False))


@WRITING.backend("P-1", "The hint `until_us` is taken as `<` for appended rows alone.", killed_by=_EDGE)
class AppendedRowsUntilExclusive(Kept):
    def scan(
        self, view: str, columns: Sequence[str], *, keys: pa.Table | None = None, until_us: int | None = None
    ) -> Sequence[ScanPart]:
        parts = super().scan(view, columns, keys=keys, until_us=until_us)
        if until_us is None:
            return parts
        event = self._catalog.view(view).event_column
        tables = [(part, part.reader.read_all()) if isinstance(part, ArrowRows) else (part, None) for part in parts]
        return [
            part if table is None else ArrowRows(table.filter(pc.less(_us(table.column(event)), until_us)).to_reader())
            for part, table in tables
        ]


@WRITING.backend("P-4", "A scan gives the newest row of each key alone.", killed_by=_ORACLE)
class ScanGivesTheNewest(_Scan):
    def kept_rows(self, view: str, table: pa.Table, keys: pa.Table | None, until_us: int | None) -> pa.Table:
        events = _us(table.column(self._catalog.view(view).event_column)).to_pylist()
        names = list(self._catalog.join_keys(view))
        newest: dict[str, int] = {}
        for number, row in enumerate(table.select(names).to_pylist()):
            best = newest.setdefault(repr(row), number)
            if (events[number] or 0) > (events[best] or 0):
                newest[repr(row)] = number
        return table.take(pa.array(newest.values(), pa.int64()))


@WRITING.backend(
    "P-10",
    "Only the first file of a view is read.",
    killed_by="test_t4_the_order_files_and_batches_of_the_rows_change_nothing",
)
class OneFileOfMany(Kept):
    def scan(
        self, view: str, columns: Sequence[str], *, keys: pa.Table | None = None, until_us: int | None = None
    ) -> Sequence[ScanPart]:
        parts = super().scan(view, columns, keys=keys, until_us=until_us)
        return [replace(p, paths=p.paths[:1]) if isinstance(p, ParquetRows) else p for p in parts]


@WRITING.backend(
    "R-5",
    "Rows appended to a view that has files are not read.",
    killed_by="test_p10_the_future_is_hidden_in_whichever_file_or_batch_it_lies",
)
class BatchesBesideFilesForgotten(Kept):
    def scan(
        self, view: str, columns: Sequence[str], *, keys: pa.Table | None = None, until_us: int | None = None
    ) -> Sequence[ScanPart]:
        parts = super().scan(view, columns, keys=keys, until_us=until_us)
        files = [part for part in parts if isinstance(part, ParquetRows)]
        return files or parts


# ---- definitions (R-1, R-4, R-5) -----------------------------------------------------------------------------


class _Definitions(Kept):
    """A backend that keeps views in another form than they were given in."""

    def written(self, view: FeatureView) -> FeatureView:
        """Return what is kept of a view."""
        return view

    def apply(self, definitions: Catalog, *, expected: str) -> bool:
        """Keep views as `written`."""
        views = {name: self.written(view) for name, view in definitions.views.items()}
        return super().apply(replace(definitions, views=FrozenMap(views)), expected=expected)


@WRITING.backend("R-1", "A ttl is kept in whole seconds.", killed_by=_BACK)
class TtlInSeconds(_Definitions):
    def written(self, view: FeatureView) -> FeatureView:
        whole = None if view.ttl is None else timedelta(seconds=max(1, view.ttl // timedelta(seconds=1)))
        return replace(view, ttl=whole)


@WRITING.backend("R-1", "The tags of a view are lost.", killed_by=_BACK)
class TagsLost(_Definitions):
    def written(self, view: FeatureView) -> FeatureView:
        return replace(view, tags=FrozenMap())


@WRITING.backend("R-1", "The fields of a view are kept in the order of their names.", killed_by=_BACK)
class FieldsSorted(_Definitions):
    def written(self, view: FeatureView) -> FeatureView:
        return replace(view, schema=tuple(sorted(view.schema, key=lambda f: f.name)))


@WRITING.backend("P-12", "The role of a field is lost, so that a label becomes a feature.", killed_by=_BACK)
class RolesLost(_Definitions):
    def written(self, view: FeatureView) -> FeatureView:
        return replace(view, schema=tuple(replace(f, role="feature") for f in view.schema))


@WRITING.backend("R-1", "The services are lost.", killed_by=_BACK)
class ServicesLost(Kept):
    def apply(self, definitions: Catalog, *, expected: str) -> bool:
        return super().apply(replace(definitions, services=FrozenMap()), expected=expected)


@WRITING.backend("R-1", "`apply` does not look at the revision that it expects.", killed_by=_STALE)
class ExpectedIgnored(Kept):
    def apply(self, definitions: Catalog, *, expected: str) -> bool:
        return super().apply(definitions, expected=self._catalog.revision)


@WRITING.backend("R-1", "A refused `apply` keeps the entities all the same.", killed_by=_STALE)
class ApplyNotAtomic(Kept):
    def apply(self, definitions: Catalog, *, expected: str) -> bool:
        done = super().apply(definitions, expected=expected)
        if not done:
            self._catalog = replace(
                self._catalog, entities=FrozenMap({**self._catalog.entities, **definitions.entities})
            )
        return done


@WRITING.backend("R-1", "`apply` answers nothing.", killed_by=_BACK)
class NothingForABool(Kept):
    def apply(self, definitions: Catalog, *, expected: str) -> bool:
        return None if super().apply(definitions, expected=expected) else False  # type: ignore[return-value]


@WRITING.backend("R-4", "The rows of a deleted view are there again when it is made anew.", killed_by=_GHOSTS)
class GhostsAfterDelete(Kept):
    def apply(self, definitions: Catalog, *, expected: str) -> bool:
        before = {name: self._views[name] for name in self._catalog.views}
        done = super().apply(definitions, expected=expected)
        for name in set(before) - set(definitions.views):
            self._views[name] = before[name]
        return done


@WRITING.backend("R-4", "The online rows of a view stay when a breaking change is made to it.", killed_by=_BREAKING)
class OnlineRowsOfTheOldForm(Kept):
    def apply(self, definitions: Catalog, *, expected: str) -> bool:
        before = {name: self._views[name].online for name in self._catalog.views}
        done = super().apply(definitions, expected=expected)
        for name in set(before) & set(definitions.views):
            self._views[name].online = before[name]
        return done


@WRITING.backend(
    "R-4", "Any change of a view drops its rows.", killed_by="test_r1_apply_tells_its_plan_and_is_idempotent"
)
class EveryChangeDropsRows(Kept):
    def apply(self, definitions: Catalog, *, expected: str) -> bool:
        before = self._catalog
        done = super().apply(definitions, expected=expected)
        for name, view in definitions.views.items():
            if done and name in before.views and before.views[name] != view:
                self._views.pop(name, None)
        return done


@WRITING.backend("R-5", "What is declared persistent is lost when the store is opened again.", killed_by=_THERE)
class LostOnReopening(Kept):
    def close(self) -> None:
        self._views.clear()
        self._catalog = Catalog()
        super().close()


@WRITING.backend("R-5", "Online rows are lost when the store is opened again.", killed_by=_THERE)
class OnlineLostOnReopening(Kept):
    def close(self) -> None:
        for kept in self._views.values():
            kept.online.clear()
        super().close()


@WRITING.backend("F-3", "The count of writes begins anew when the store is opened again.", killed_by=_THERE)
class CountLostOnReopening(Kept):
    def close(self) -> None:
        for kept in self._views.values():
            kept.sequence = 0
        super().close()


@WRITING.backend("G-3", "What is declared not to last does.", killed_by="test_g3_what_is_said_not_to_last_does_not")
class LastsUndeclared(Kept):
    @property
    def capabilities(self) -> Capabilities:
        return replace(super().capabilities, persistent=False)


# ---- capabilities and manners (G-3, G-4, X-8) ----------------------------------------------------------------


@WRITING.backend("G-3", "`append` is declared and not there.", killed_by=_TWICE)
class DeclaredAppendMissing(Kept):
    def append(self, view: str, rows: pa.Table, *, batch_id: str) -> bool:
        raise UnsupportedError("This backend does not append.")


@WRITING.backend("G-3", "`append` is not declared and works.", killed_by=_METHODS)
class UndeclaredAppendWorks(Kept):
    @property
    def capabilities(self) -> Capabilities:
        return replace(super().capabilities, append=False)


@WRITING.backend("G-3", "Reading and writing online are not declared and work.", killed_by=_METHODS)
class UndeclaredOnlineWorks(Kept):
    @property
    def capabilities(self) -> Capabilities:
        return replace(super().capabilities, online=False)


@WRITING.backend("G-3", "`point_in_time` is declared and not there.", killed_by=_TWICE)
class DeclaredPointInTimeMissing(Kept):
    @property
    def capabilities(self) -> Capabilities:
        return replace(super().capabilities, point_in_time=True)


@WRITING.backend(
    "G-4",
    "The store's own error leaves the backend while it is away.",
    killed_by="test_x2_a_broken_store_is_unavailable_and_not_empty",
)
class RawDriverError(Kept):
    def _check_open(self) -> None:
        if self.disk.away:
            raise ConnectionResetError("connection reset by peer")
        super()._check_open()


@WRITING.backend(
    "X-9",
    "While the store is away, everything is answered with nothing.",
    killed_by="test_x2_a_broken_store_is_unavailable_and_not_empty",
)
class OutageIsAMiss(Kept):
    def _check_open(self) -> None:
        """Never unavailable."""

    def online_read(self, view: str, keys: Sequence[Key], *, at_us: int) -> Sequence[OnlineRow | None]:
        return [None] * len(keys) if self.disk.away else super().online_read(view, keys, at_us=at_us)


@WRITING.backend("X-8", "A call does not come back.", killed_by=_TWICE, patience=0.2)
class Hangs(Kept):
    def append(self, view: str, rows: pa.Table, *, batch_id: str) -> bool:
        threading.Event().wait()
        return True


@WRITING.backend(
    "X-1", "`ping` says since when it is up, below zero.", killed_by="test_x8_a_ping_answers_within_its_deadline"
)
class PingBelowZero(Kept):
    def ping(self, deadline: float) -> float:
        return -super().ping(deadline) - 1


def _us(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column of times as microseconds."""
    return column.cast(pa.timestamp("us", column.type.tz)).cast(pa.int64())


def _read(part: ParquetRows) -> list[pa.Table]:
    """Return the files of a part as tables with the view's own names."""
    import pyarrow.parquet as pq

    tables = []
    for path in part.paths:
        table = pq.ParquetFile(path).read()
        tables.append(pa.table({name: table.column(own) for name, own in part.columns.items()}))
    return tables
