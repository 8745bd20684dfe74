"""Faults of the core itself, over a right backend: the kit examines the whole store, not the backend alone."""

from __future__ import annotations

from collections.abc import Iterator

from e2i_fs import batch, historical, keys, lookup, request, store
from e2i_fs.ops import materialize
from e2i_fs.pit import engine, latest, times
from e2i_fs.testing.mutants.frame import Mutants
from e2i_fs.testing.mutants.rewriting import rewritten

__all__ = ["CORE"]

CORE = Mutants()

_ORACLE = "test_p1_the_answer_is_the_greatest_row_up_to_its_time"
_KNOWN = "test_p3_what_was_not_known_is_not_there"
_TTL = "test_p2_a_row_answers_to_the_last_microsecond_of_its_ttl"
_ORDER = "test_o1_any_order_split_and_repetition_of_writes_is_one_state"
_AGREE = "test_o6_after_materialising_online_is_historical_at_now"
_LATE = "test_w3_a_row_that_lands_late_is_online_after_the_next_run"
_LABEL = "test_p9_a_wildcard_is_the_schema_in_order_without_labels"
_MISTAKES = "test_p11_a_callers_mistake_does_not_reach_the_rows"
_BATCHES = "test_w1_every_problem_is_listed_and_nothing_written"
_FUTURE_WRITES = "test_o4_a_row_of_the_future_is_not_accepted"


# ---- ttl and statuses (P-2, O-2, O-3) ------------------------------------------------------------------------


@CORE.core("P-2", "The ttl is one microsecond too short: `>=` for `>`.", killed_by=_TTL)
def ttl_one_microsecond_too_short() -> Iterator[None]:
    """See its decorator, as of all mutants."""
    with rewritten(historical.retrieve, ("pc.greater(age, view.ttl_us)", "pc.greater_equal(age, view.ttl_us)")):
        yield


@CORE.core("P-2", "The ttl is one microsecond too long.", killed_by=_TTL)
def ttl_one_microsecond_too_long() -> Iterator[None]:
    with rewritten(historical.retrieve, ("pc.greater(age, view.ttl_us)", "pc.greater(age, view.ttl_us + 1)")):
        yield


@CORE.core("P-2", "The ttl is counted in whole days.", killed_by=_TTL)
def ttl_in_days() -> Iterator[None]:
    day = "86_400_000_000"
    change = f"pc.greater(pc.divide(age, {day}), view.ttl_us // {day})"
    with rewritten(historical.retrieve, ("pc.greater(age, view.ttl_us)", change)):
        yield


@CORE.core("P-2", "There is no ttl in history.", killed_by=_TTL)
def ttl_not_read_in_history() -> Iterator[None]:
    with rewritten(historical.retrieve, ("if view.ttl_us is None else", "if True else")):
        yield


@CORE.core("O-2", "There is no ttl online.", killed_by=_ORDER)
def ttl_not_read_online() -> Iterator[None]:
    with rewritten(lookup.assemble, ("if ttl is None else", "if True else")):
        yield


@CORE.core("O-2", "Online, the ttl is one microsecond too short.", killed_by=_ORDER)
def online_ttl_too_short() -> Iterator[None]:
    with rewritten(
        lookup.assemble, ("event >= oldest", "event > oldest"), ("min(times) >= oldest", "min(times) > oldest")
    ):
        yield


@CORE.core("O-3", "In history, what was not found is said to be a missing value.", killed_by=_ORACLE)
def not_found_said_to_be_null() -> Iterator[None]:
    change = ("_CODE[FeatureStatus.NOT_FOUND], lacking", "_CODE[FeatureStatus.NULL_VALUE], lacking")
    with rewritten(historical.retrieve, change):
        yield


@CORE.core("O-3", "In history, a value that is too old is said not to be found.", killed_by=_TTL)
def too_old_said_to_be_not_found() -> Iterator[None]:
    with rewritten(historical.retrieve, ("FeatureStatus.OUTSIDE_MAX_AGE", "FeatureStatus.NOT_FOUND")):
        yield


@CORE.core("O-3", "In history, a value that is too old is given beside its status.", killed_by=_TTL)
def too_old_value_given() -> Iterator[None]:
    change = ("events[ref] = event", "events[ref], values[ref] = event, found.column(1 + i)")
    with rewritten(historical.retrieve, change):
        yield


@CORE.core("O-3", "Online, what was not found is said to be a missing value.", killed_by=_ORDER)
def online_not_found_said_to_be_null() -> Iterator[None]:
    with rewritten(lookup.assemble, ("_MISSING if event is None", "_NULL if event is None")):
        yield


@CORE.core("O-3", "Online, a missing value is said to be present.", killed_by=_ORDER)
def online_null_said_to_be_present() -> Iterator[None]:
    with rewritten(
        lookup.assemble,
        ("_NULL if event >= oldest", "_PRESENT if event >= oldest"),
        ("codes = (_NULL,)", "codes = (_PRESENT,)"),
    ):
        yield


@CORE.core("O-5", "Online, a row asked twice is answered once, and the rest moves up.", killed_by=_ORDER)
def online_duplicates_collapsed() -> Iterator[None]:
    change = "list(map([*column, None].__getitem__, at))"
    other = "[*column, *([None] * (len(at) - len(column)))][: len(at)]"
    with rewritten(lookup.aligned, (change, other)):
        yield


# ---- retrieval (P-3, P-6, P-8, P-9, P-11, P-12) --------------------------------------------------------------


@CORE.core("P-3", "The core forgets `as_of`.", killed_by=_KNOWN)
def as_of_forgotten() -> Iterator[None]:
    change = ("Knowledge(filter_by_created_timestamp, as_of_us)", "Knowledge(filter_by_created_timestamp, None)")
    with rewritten(store.Store.get_historical_features, change):
        yield


@CORE.core("P-3", "A view without created time is let through under `as_of` and the filter.", killed_by=_MISTAKES)
def knowledge_without_created_time() -> Iterator[None]:
    with rewritten(request.Request.check_created, ("created_column is None", "created_column == ''")):
        yield


@CORE.core("P-6", "Historical rows come back in the reverse order.", killed_by=_ORACLE)
def history_reversed() -> Iterator[None]:
    with rewritten(engine._answer_sql, ("ORDER BY hits.row", "ORDER BY hits.row DESC")):
        yield


@CORE.core("P-6", "An entity row for which nothing is found is dropped.", killed_by=_ORACLE)
def history_misses_dropped() -> Iterator[None]:
    with rewritten(engine._answer_sql, ("LEFT JOIN", "JOIN")):
        yield


@CORE.core(
    "P-7",
    "A key that is text is read as a number where it looks like one.",
    killed_by="test_p7_keys_that_only_look_alike_match_nothing",
)
def keys_read_as_numbers() -> Iterator[None]:
    head = 'case "int32" | "int64":\n'
    with rewritten(
        keys.key_value, (head, head + "            value = int(value) if str(value).isdigit() else value\n")
    ):
        yield


@CORE.core("P-9", "Of two outputs of one name the first is given.", killed_by=_MISTAKES)
def twins_passed_over() -> Iterator[None]:
    with rewritten(request._no_twins, ("if output.name in seen:", "if False:")):
        yield


@CORE.core("P-9", "An unknown feature is skipped.", killed_by=_MISTAKES)
def unknown_features_skipped() -> Iterator[None]:
    with rewritten(request._expand, ('raise UnknownFeatureError(f"Unknown feature {ref!r}.{nearest}")', "return []")):
        yield


@CORE.core("P-11", "Entity rows that are none are answered with none.", killed_by=_MISTAKES)
def empty_frames_let_in() -> Iterator[None]:
    with rewritten(historical.EntityFrame.checked.__func__, ("if len(table) == 0:", "if False:")):  # type: ignore[attr-defined]
        yield


@CORE.core("P-12", "A label comes through the wildcard.", killed_by=_LABEL)
def labels_through_the_wildcard() -> Iterator[None]:
    with (
        rewritten(request._expand, ("for f in view.schema if f.role == role]", "for f in view.schema]")),
        rewritten(request._resolved, ('field.role == "label" and ref not in allowed', "given != ref and False")),
    ):
        yield


@CORE.core("P-12", "A label that is asked for is given like a feature.", killed_by=_LABEL)
def labels_given_as_features() -> Iterator[None]:
    with rewritten(request._resolved, ('field.role == "label" and ref not in allowed', "False")):
        yield


@CORE.core(
    "T-2",
    "A time finer than a microsecond is rounded down.",
    killed_by="test_t2_a_time_finer_than_a_microsecond_is_refused",
)
def fine_times_rounded_down() -> Iterator[None]:
    whole = "return column.cast(unit).cast(pa.int64())"
    with (
        rewritten(times._fine_row, ("return int(", "return -1 if len(column) else int(")),
        rewritten(times.column_to_us, (whole, whole.replace("cast(unit)", "cast(unit, safe=False)"))),
    ):
        yield


# ---- writing and materialising (W-1, O-4, O-6, W-3) ----------------------------------------------------------


@CORE.core("O-4", "A row of the future is accepted.", killed_by=_FUTURE_WRITES)
def future_writes_accepted() -> Iterator[None]:
    with rewritten(batch._check_events, ("pc.any(future).as_py()", "False")):
        yield


@CORE.core("O-4", "A row counts as one of the future only from twice the allowed skew.", killed_by=_FUTURE_WRITES)
def skew_counted_twice() -> Iterator[None]:
    with rewritten(batch.checked_batch, ("now_us + skew_us", "now_us + 2 * skew_us")):
        yield


@CORE.core("W-1", "Rows without a key are written.", killed_by=_BATCHES)
def missing_keys_written() -> Iterator[None]:
    with rewritten(batch.checked_batch, ("name in columns and columns[name].null_count", "False")):
        yield


@CORE.core("W-1", "Columns that no view knows are passed over.", killed_by=_BATCHES)
def unknown_columns_passed_over() -> Iterator[None]:
    with rewritten(batch.checked_batch, ("for n in given if n not in wanted)\n    if not", "for n in ())\n    if not")):
        yield


@CORE.core("W-3", "An incremental run begins where the last one ended.", killed_by=_LATE)
def late_rows_passed_over() -> Iterator[None]:
    last = (
        "max((r['end_us'] + 1 for r in self._ledger.runs(self._view.name) if r['outcome'] == 'succeeded'), "
        "default=step.start_us) if self.record['mode'] == 'incremental' else step.start_us"
    )
    with rewritten(materialize._Run.winners, ("start_us=step.start_us", f"start_us={last}")):
        yield


@CORE.core("O-6", "A run leaves out the rows of its very end.", killed_by=_AGREE)
def window_end_excluded() -> Iterator[None]:
    with rewritten(latest._latest, ("e <= {end_us}", "e < {end_us}")):
        yield


@CORE.core("O-6", "A run brings the oldest row of each key online.", killed_by=_AGREE)
def oldest_rows_materialised() -> Iterator[None]:
    with rewritten(latest._latest, ("winner_order(view, descending=True)", "winner_order(view)")):
        yield
