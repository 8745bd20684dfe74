"""Labels where they should not be, labels that are not the store's, and features that came after them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from e2i_fs.clock import from_us
from e2i_fs.quality.leakage.answers import Answers
from e2i_fs.quality.leakage.bench import Bench
from e2i_fs.quality.leakage.compare import comparable
from e2i_fs.quality.leakage.kinds import LeakKind
from e2i_fs.quality.leakage.origins import load_history
from e2i_fs.quality.leakage.question import Question
from e2i_fs.quality.leakage.report import Check, Example, Finding
from e2i_fs.quality.outcome import Outcome

if TYPE_CHECKING:
    from e2i_fs.definitions import FeatureView, Field
    from e2i_fs.protocol import FeatureStore

__all__ = ["after_label", "labels_among_features"]

_AMONG, _AFTER = "labels among features", "computed after the label"
_LEAST = 20


def labels_among_features(bench: Bench, question: Question, store: FeatureStore) -> Check:
    """Find labels asked for as features, in columns of a label's name, and in columns that are a label's copy (P-12)."""
    found = [
        Finding(
            LeakKind.LABEL_AS_FEATURE,
            f"{ref!r} is a label, and stands among the features. Take it out; if it is the target, name it with labels=[{ref!r}] (P-12).",
            ref, bench.rows,
        )
        for ref in question.misused
    ]  # fmt: skip
    misused = {j.column for j in question.judged if j.ref in question.misused}
    features = {j.column for j in question.judged if not j.label}
    left = [n for n in question.inputs if n not in misused]
    for view, field in _labels(question):
        for name in (field.name, f"{view.name}__{field.name}"):
            if name in left and name not in features:
                found.append(_column(name, view, field, "has the name of", bench.rows))
                left.remove(name)
    for view in {view.name: view for view, _ in _labels(question)}.values():
        fields = [f for v, f in _labels(question) if v.name == view.name]
        for name, field in _copies(bench, question, store, view, fields, left):
            found.append(_column(name, view, field, "is, in every row, a copy of", bench.rows))
            left.remove(name)
    return Check(_AMONG, Outcome.FAILED if found else Outcome.PASSED, "", tuple(found))


def _labels(question: Question) -> list[tuple[FeatureView, Field]]:
    """Return the labels of every view whose keys the frame has."""
    columns = set(question.frame.table.column_names)
    return [
        (view, field)
        for name, view in question.catalog.views.items() if set(question.catalog.join_keys(name)) <= columns
        for field in view.schema if field.role == "label"
    ]  # fmt: skip


def _column(name: str, view: FeatureView, field: Field, how: str, rows: int) -> Finding:
    ref = f"{view.name}:{field.name}"
    message = (
        f"The column {name!r} {how} the label {ref!r}, and is neither the target nor named in labels=. An outcome is no "
        "input: take it out (P-12)."
    )
    return Finding(LeakKind.LABEL_AS_FEATURE, message, name, rows)


def _copies(
    bench: Bench, question: Question, store: FeatureStore, view: FeatureView, fields: list[Field], columns: list[str]
) -> list[tuple[str, Field]]:
    """Return the columns that equal a label as of the row's time, or the last that its key ever got."""
    if not columns:
        return []
    refs = [f"{view.name}:{f.name}" for f in fields]
    wanted = [*question.catalog.join_keys(view.name), question.timestamp_column]
    result = store.get_historical_features(
        question.frame.table.select(wanted), refs, labels=refs, full_feature_names=True, timestamp_column=question.timestamp_column
    )  # fmt: skip
    load_history(bench, question, result, view.name)
    positions = {f.name: i for i, f in enumerate(view.schema)}
    bench.run("""
        CREATE OR REPLACE TEMP TABLE outcome AS
        SELECT asked.row, h.*, false AS final FROM asked ASOF JOIN (
            SELECT kid, e, max(rank) AS top FROM h GROUP BY kid, e) b ON asked.kid = b.kid AND asked.t >= b.e
        JOIN h ON h.kid = b.kid AND h.rank = b.top
        UNION ALL
        SELECT asked.row, h.*, true FROM asked JOIN (SELECT kid, max(rank) AS top FROM h GROUP BY kid) b ON asked.kid = b.kid
        JOIN h ON h.kid = b.kid AND h.rank = b.top""")
    pairs = [(name, field) for name in columns for field in fields]
    told = []
    for name, field in pairs:
        column = bench.names[name]
        cell, value, unfit = comparable(bench.types[column], field.dtype, f"x.{column}", f"o.v{positions[field.name]}")
        there = f"({value}) IS NOT NULL"
        same = f"CAST(({cell}) IS NOT DISTINCT FROM ({value}) AND NOT {unfit} AS INT)"
        told.append(f"count(*) FILTER ({there}), count(DISTINCT {value}), avg({same}) FILTER ({there})")
    copies: dict[str, Field] = {}
    for figures in bench.rows_of(f"SELECT {', '.join(told)} FROM outcome o JOIN x ON x.row = o.row GROUP BY final"):
        for n, (name, field) in enumerate(pairs):
            rows, values, share = figures[3 * n : 3 * n + 3]
            if rows >= _LEAST and values > 1 and share >= 0.999:
                copies.setdefault(name, field)
    return list(copies.items())


def after_label(bench: Bench, question: Question, answers: Answers) -> Check:
    """Find rows that ask after their label was known, and features whose event came after it."""
    times = question.label_times
    assert times is not None
    if times.null_count == len(times):
        return Check(_AFTER, Outcome.INCONCLUSIVE, "the time of the label is missing in every row")
    bench.put("labelled", pa.table({"row": pa.array(range(len(times)), pa.int64()), "l": times}))
    found = []
    rows = bench.rows_of("SELECT x.row, x.t, l FROM x JOIN labelled USING (row) WHERE l < x.t ORDER BY x.row")
    if rows:
        row, t, known = rows[0]
        message = (
            f"{len(rows):,} of {bench.rows:,} rows ask for features after their label was known: row {row} asks at "
            f"{from_us(t).isoformat()}, its label is of {from_us(known).isoformat()}. Ask at a time before the outcome."
        )
        found.append(_after(None, len(rows), message, [Example(r, timestamp=from_us(at)) for r, at, _ in rows[:5]]))
    for view, columns in question.stored.items():
        refs = [j.ref for j in columns if not j.label]
        if not refs:
            continue
        found += _later_events(bench, answers, view, refs)
    return Check(_AFTER, Outcome.FAILED if found else Outcome.PASSED, "", tuple(found))


def _later_events(bench: Bench, answers: Answers, view: str, refs: list[str]) -> list[Finding]:
    events: list[Any] = list(answers.results[refs[0]].event_timestamps[refs[0]])
    bench.put(
        "events",
        pa.table(
            {"row": pa.array(range(len(events)), pa.int64()), "came": pa.array(events, pa.timestamp("us", "UTC"))}
        ),
    )
    late = bench.rows_of(
        "SELECT row, epoch_us(came), l FROM events JOIN labelled USING (row) WHERE epoch_us(came) > l ORDER BY row"
    )
    if not late:
        return []
    row, at, known = late[0]
    return [
        _after(
            ref, len(late),
            f"{len(late):,} cells of {ref} are of events after the row's label: row {row} has one of {from_us(at).isoformat()}, "
            f"its label is of {from_us(known).isoformat()}. Ask at a time before the outcome.",
            [Example(r, event_timestamp=from_us(e)) for r, e, _ in late[:5]],
        )
        for ref in refs
    ]  # fmt: skip


def _after(feature: str | None, cells: int, message: str, examples: list[Example]) -> Finding:
    return Finding(LeakKind.COMPUTED_AFTER_LABEL, message, feature, cells, tuple(examples))
