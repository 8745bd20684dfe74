"""The words for wrong cells: what, where, what to do."""

from __future__ import annotations

from e2i_fs.quality.leakage.kinds import LeakKind
from e2i_fs.quality.leakage.question import Judged
from e2i_fs.quality.leakage.report import Example

__all__ = ["tell"]

_SAID = {
    LeakKind.FUTURE_VALUE: "are of rows whose event is after the entity row's time (P-1)",
    LeakKind.LATE_VALUE: "are of rows that became known only after the entity row's time (P-3)",
    LeakKind.BACKFILLED_ROW: "are of rows that were filled in long after their event, and after the entity row's time (P-3)",
    LeakKind.EXPIRED_VALUE: "are of rows older than the ttl, which answer no more (P-2)",
    LeakKind.STALE_VALUE: "are of an older row than the one that answers (P-4)",
    LeakKind.FILLED_VALUE: "stand where the store has no value (P-5)",
    LeakKind.LOST_VALUE: "are missing where the store has a value",
    LeakKind.WRONG_ENTITY: "are of another entity's rows (P-7)",
    LeakKind.TIME_SHIFT: "are right at another time, the same distance away in every row",
    LeakKind.UNEXPLAINED: "are in no row of history",
}
_REMEDY = {
    LeakKind.FUTURE_VALUE: "Join by time, backwards, to the row's own moment: store.get_historical_features does.",
    LeakKind.LATE_VALUE: "Join by the time of knowing: filter_by_created_timestamp=True.",
    LeakKind.BACKFILLED_ROW: "Join by the time of knowing, filter_by_created_timestamp=True, or leave the backfilled span out.",
    LeakKind.EXPIRED_VALUE: "Apply the view's ttl, or make it longer in the definition if such values should count.",
    LeakKind.STALE_VALUE: "No leak, but not what a model is served: join to the newest row with event time <= t.",
    LeakKind.FILLED_VALUE: "Leave missing what is missing; fill it in the model's own pipeline, fitted on train.",
    LeakKind.LOST_VALUE: "No leak, but not what a model is served: event times equal to t count.",
    LeakKind.WRONG_ENTITY: "Join on every key column by itself, never on keys written together or on row order.",
    LeakKind.TIME_SHIFT: "Convert both times to UTC before joining.",
    LeakKind.UNEXPLAINED: "Find where they come from, or take the column from the store.",
}
_PLACED = (LeakKind.FUTURE_VALUE, LeakKind.TIME_SHIFT, LeakKind.STALE_VALUE, LeakKind.LATE_VALUE)


def tell(
    kind: LeakKind, judged: Judged, cells: int, rows: int, example: Example, hint: str, *, lenient: bool = False
) -> str:
    """Return the message of one finding."""
    text = f"{cells:,} of {rows:,} cells of {judged.column!r} ({judged.ref}) {_SAID[kind]}"
    if hint and kind in _PLACED:
        text += f", {hint}"
    text += f". Row {example.row} holds {example.value!r}, the store says {example.answer!r}"
    if example.event_timestamp is not None and example.timestamp is not None:
        text += f": {example.event_timestamp.isoformat()} is when that value became true"
        if example.created_timestamp is not None:
            text += f", {example.created_timestamp.isoformat()} when it became known"
        text += f", the row asks at {example.timestamp.isoformat()}"
    if lenient and kind in (LeakKind.LATE_VALUE, LeakKind.BACKFILLED_ROW):
        text += ". The contract's default, where created time only breaks ties, gives these values, so this warns"
    return f"{text}. {_REMEDY[kind]}"
