"""What a report is asked to judge: what the caller says, and what follows from a feature view."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from e2i_fs.definitions import FeatureView
from e2i_fs.dtypes import DType
from e2i_fs.errors import RequestError, did_you_mean
from e2i_fs.frozen import FrozenMap
from e2i_fs.quality.expectations import Expectation, has_dtype, not_null, unique
from e2i_fs.sources import DEFAULT_TIMESTAMP

__all__ = ["Asked", "asked_of"]


@dataclass(frozen=True, slots=True)
class Asked:
    """``there`` are the columns that must be there, ``required`` those in which nothing may be missing.

    ``keys`` identify a row (none: the whole row does), ``texts`` are the columns that are text on purpose, ``labels`` the
    view's outcomes and ``unwanted`` sentences about columns that the view does not take. ``expectations`` is all that is
    expected, what follows from the others included.
    """

    there: tuple[str, ...]
    required: tuple[str, ...]
    keys: tuple[str, ...]
    timestamp_column: str | None
    expectations: tuple[Expectation, ...]
    texts: frozenset[str] = frozenset()
    labels: tuple[str, ...] = ()
    unwanted: tuple[str, ...] = ()


def asked_of(
    columns: Iterable[str],
    view: FeatureView | None,
    required: Sequence[str],
    keys: Sequence[str],
    expectations: Sequence[Expectation],
    timestamp_column: str | None,
    latest: datetime,
    oldest: datetime | None,
) -> Asked:
    """Return what is to be judged of a frame with ``columns``, where no time may be after ``latest`` or before ``oldest``.

    Raises `RequestError` for what is no list of names, no view or no expectation.
    """
    columns = list(columns)
    required, own_keys = _names(required, "required"), _names(keys, "keys")
    for given in expectations:
        if not isinstance(given, Expectation):
            raise RequestError(
                f"expectations: {given!r} is not one; make it with not_null, in_range, in_set and the like."
            )
    if timestamp_column is not None and not isinstance(timestamp_column, str):
        raise RequestError(f"timestamp_column is {timestamp_column!r}; give the name of a column.")
    if view is not None and not isinstance(view, FeatureView):
        raise RequestError(f"view is {view!r}; give a FeatureView, such as store.get_feature_view(name).")
    dtypes = {} if view is None else _dtypes(view)
    if timestamp_column is None:
        timestamp_column = view.event_column if view else DEFAULT_TIMESTAMP if DEFAULT_TIMESTAMP in columns else None
    join_keys = [] if view is None else [key for entity in view.entity_objects for key in entity.keys]
    time = [] if view is None else [view.event_column]
    if timestamp_column is not None:  # a row without its time is never visible (T-3)
        time = [*time, timestamp_column]
    every = tuple(dict.fromkeys([*required, *own_keys, *join_keys, *time]))
    identity = own_keys
    if view is not None and not own_keys and join_keys:
        identity = (*join_keys, view.event_column, *([view.created_column] if view.created_column in columns else []))
    made = [not_null(name) for name in every]
    if identity:  # two rows of one key and time are legal in a view's history: one of them wins (P-4)
        made.append(unique(*identity, severity="block" if own_keys else "warn"))
    made += [has_dtype(name, dtype) for name, dtype in dtypes.items() if name in columns]
    if timestamp_column is not None:
        limits = FrozenMap({"latest": latest, "oldest": oldest})
        made.append(Expectation("in_time", (timestamp_column,), limits))
    there = dict.fromkeys([*every, *dtypes])
    return Asked(
        there=tuple(there),
        required=every,
        keys=identity,
        timestamp_column=timestamp_column,
        expectations=tuple(dict.fromkeys([*made, *expectations])),
        texts=frozenset([*own_keys, *(name for name, dtype in dtypes.items() if dtype.kind in ("string", "json"))]),
        labels=() if view is None else tuple(f.name for f in view.schema if f.role == "label"),
        unwanted=() if view is None else tuple(_unwanted(columns, view, dtypes)),
    )


def _dtypes(view: FeatureView) -> dict[str, DType]:
    times = [view.event_column, *([view.created_column] if view.created_column else [])]
    return {
        **{key: dtype for entity in view.entity_objects for key, dtype in entity.keys.items()},
        **dict.fromkeys(times, DType("timestamp")),
        **{f.name: f.dtype for f in view.schema},
    }


def _unwanted(columns: Iterable[str], view: FeatureView, dtypes: dict[str, DType]) -> Iterable[str]:
    if not view.entity_objects:  # named only: their keys are not known here
        yield (
            f"view {view.name!r} names its entities without their join keys, so keys were not judged; "
            "give keys=, or take the view from where its entities are objects"
        )
        return
    for name in columns:
        if name not in dtypes:
            yield f"view {view.name!r} has no column {name!r}, and a write of it would be refused.{did_you_mean(name, dtypes)}"


def _names(given: Sequence[str], what: str) -> tuple[str, ...]:
    if isinstance(given, str) or not all(isinstance(name, str) for name in given):
        raise RequestError(f"{what} is {given!r}; give a list of column names.")
    return tuple(dict.fromkeys(given))


def ages(now: datetime, max_age: timedelta | None, skew: timedelta) -> tuple[datetime, datetime | None]:
    """Return the latest and the oldest time that a row may have."""
    if max_age is not None and (not isinstance(max_age, timedelta) or max_age <= timedelta(0)):
        raise RequestError(f"max_age is {max_age!r}; give a positive datetime.timedelta, or None for no limit.")
    if not isinstance(skew, timedelta) or skew < timedelta(0):
        raise RequestError(f"max_future_skew is {skew!r}; give a datetime.timedelta that is not negative.")
    return now + skew, None if max_age is None else now - max_age
