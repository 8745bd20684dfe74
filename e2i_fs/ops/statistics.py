"""Statistics of the features of one view: over its history, or over what answers online now."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from functools import partial
from typing import Any, Literal, NamedTuple, get_args

import duckdb

from e2i_fs.backend import Backend
from e2i_fs.catalog import Catalog
from e2i_fs.clock import Clock, from_us, to_us
from e2i_fs.dtypes import DType
from e2i_fs.errors import RequestError, UnknownFeatureError, UnsupportedError, did_you_mean
from e2i_fs.json_values import as_json
from e2i_fs.ops.distribution import figures_of
from e2i_fs.ops.gathering import gather_history, gather_online
from e2i_fs.pit.connection import connect
from e2i_fs.pit.engine import translated
from e2i_fs.pit.times import moment_to_us
from e2i_fs.question import PlainQuestion, Question
from e2i_fs.request import resolve

__all__ = ["FeatureStatistics", "Scope", "Where", "of_feature", "of_view"]

Where = Literal["offline", "online"]


@dataclass(frozen=True, slots=True)
class FeatureStatistics:
    """Exact statistics of one feature: the same for the same rows, in whatever order and files they lie (T-4).

    With ``where="offline"`` the rows are those of history that have their join keys and an event time; a key with
    several rows counts several times. With ``"online"`` there is one row for each key, the one that answers now (O-2);
    keys whose row is older than the view's ``ttl`` have no value and are only counted, in ``expired`` (0 offline).

    ``rows`` is the number of rows, ``missing`` those without a value, ``nan`` and ``infinite`` those with a NaN or an
    infinity (floats only), ``distinct`` the number of different values (NaN counts as one, missing does not). ``min``
    and ``max`` are values of the dtype, NaN left out; None for Json, arrays, vectors and structs. ``mean``, ``std`` (of
    the sample, None below two values), ``quantiles`` (keyed 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99; interpolated) and
    ``histogram`` cover the finite numbers; ``histogram`` covers dates and times too. It has at most 20
    ``(low, high, count)`` in ascending order, each with ``low <= value < high``, the last one including ``high``.
    ``top_values`` has the most frequent ``(value, count)``; ties come in ascending order of value. Whatever does not
    apply is None or empty. ``newest_event_timestamp`` is the newest event time of the rows, in UTC.

    >>> from e2i_fs.testing import example_store
    >>> with example_store() as store:
    ...     told = store.statistics("hcp_stats:trx_count")
    >>> told.rows, told.distinct, told.min, told.max, told.mean
    (3, 3, 3, 14, 9.0)
    """

    feature: str
    dtype: DType
    where: Where
    rows: int
    missing: int
    nan: int
    infinite: int
    distinct: int
    expired: int
    min: Any
    max: Any
    mean: float | None
    std: float | None
    quantiles: Mapping[float, float]
    top_values: tuple[tuple[Any, int], ...]
    histogram: tuple[tuple[Any, Any, int], ...]
    newest_event_timestamp: datetime | None

    @property
    def count(self) -> int:
        """The same as ``rows``."""
        return self.rows

    @property
    def unique(self) -> int:
        """The same as ``distinct``."""
        return self.distinct

    @property
    def null_rate(self) -> float | None:
        """The share of rows without a value, from 0 to 1; None when there are no rows. A NaN is a value (P-8)."""
        return self.missing / self.rows if self.rows else None

    @property
    def p25(self) -> float | None:
        """The first quartile; None when there are no finite numbers."""
        return self.quantiles.get(0.25)

    @property
    def p50(self) -> float | None:
        """The median; None when there are no finite numbers."""
        return self.quantiles.get(0.5)

    @property
    def p75(self) -> float | None:
        """The third quartile; None when there are no finite numbers."""
        return self.quantiles.get(0.75)

    @property
    def most_common(self) -> Any:
        """The most frequent value."""
        return self.top_values[0][0] if self.top_values else None

    @property
    def most_common_count(self) -> int:
        """The number of rows with the most frequent value."""
        return self.top_values[0][1] if self.top_values else 0

    def to_dict(self) -> dict[str, Any]:
        """Return everything as a JSON value: times, decimals, NaN and infinities as text, bytes as base64."""
        own = {f.name: getattr(self, f.name) for f in fields(self)}
        own["dtype"] = repr(self.dtype)
        own["null_rate"] = self.null_rate
        plain: dict[str, Any] = as_json(own)
        return plain


@dataclass(frozen=True, slots=True)
class Scope:
    """What rows statistics are of, and how many of the most frequent values they tell; the times in microseconds."""

    where: Where
    within: tuple[int | None, int | None]
    top: int

    @classmethod
    def checked(
        cls, where: str, start: datetime | None, end: datetime | None, top: int, *, reject_naive: bool
    ) -> Scope:
        """Return the scope of a caller's arguments, or raise `RequestError` or `InvalidTimestampError`."""
        if where not in get_args(Where):
            known = " or ".join(map(repr, get_args(Where)))
            raise RequestError(f"where={where!r}: give {known}.{did_you_mean(str(where), get_args(Where))}")
        if not isinstance(top, int) or isinstance(top, bool) or top < 1:
            raise RequestError(f"top={top!r}: give how many of the most frequent values to tell, at least 1.")
        start_us = None if start is None else moment_to_us(start, "start", reject_naive=reject_naive)
        end_us = None if end is None else moment_to_us(end, "end", reject_naive=reject_naive)
        if start_us is not None and end_us is not None and start_us > end_us:
            raise RequestError(
                f"The window is empty: start {from_us(start_us).isoformat()} is after end {from_us(end_us).isoformat()}."
            )
        return cls(where, (start_us, end_us), top)  # type: ignore[arg-type]


class Wanted(NamedTuple):
    """A view and those of its features that are asked about."""

    view: str
    features: tuple[str, ...]


def of_feature(ref: str, scope: Scope, clock: Clock) -> Question[Wanted, dict[str, FeatureStatistics]]:
    """Return what is asked of a backend for one ``view:feature``, a label too."""
    view, _, name = ref.partition(":")

    def prepare(catalog: Catalog) -> Wanted:
        if name == "*":
            raise UnknownFeatureError(
                f"{ref!r}: statistics takes one 'view:feature'; view_statistics({view!r}) takes the whole view."
            )
        if view not in catalog.on_demand:
            resolve(catalog, [ref], labels=[ref])
        return _wanted(catalog, view, [name])

    return _question(prepare, scope, clock)


def of_view(
    view: str, features: Sequence[str] | None, scope: Scope, clock: Clock
) -> Question[Wanted, dict[str, FeatureStatistics]]:
    """Return what is asked of a backend for the features of a view, all of them unless named, labels included."""
    return _question(lambda catalog: _wanted(catalog, view, features), scope, clock)


def _wanted(catalog: Catalog, view: str, features: Sequence[str] | None) -> Wanted:
    if view in catalog.on_demand:
        raise UnsupportedError(
            f"{view!r} is computed on demand and has no rows of its own. Ask for the features that it takes: "
            f"{', '.join(catalog.on_demand[view].inputs)}."
        )
    known = catalog.view(view).features
    names = list(known) if features is None else [features] if isinstance(features, str) else list(features)
    if not names:
        raise RequestError(
            "features is an empty list; name at least one, or leave it out for all of the view's (P-11)."
        )
    for name in names:
        if name not in known:
            raise UnknownFeatureError(f"Unknown feature '{view}:{name}'.{did_you_mean(name, known, prefix=f'{view}:')}")
    return Wanted(view, tuple(name for name in known if name in names))


def _question(
    prepare: Callable[[Catalog], Wanted], scope: Scope, clock: Clock
) -> Question[Wanted, dict[str, FeatureStatistics]]:
    # Neither a training set nor a lookup within its deadline: the limit is that of a historical retrieval.
    kind = "historical" if scope.where == "offline" else "statistics"
    return PlainQuestion(kind, prepare, lambda wanted: [wanted.view], partial(_answer, scope, clock))


def _answer(
    scope: Scope, clock: Clock, backend: Backend, catalog: Catalog, wanted: Wanted
) -> dict[str, FeatureStatistics]:
    view, join_keys = catalog.view(wanted.view), catalog.join_keys(wanted.view)
    positions = {f.name: i for i, f in enumerate(view.schema)}
    connection = connect()
    try:
        if scope.where == "offline":
            rows = gather_history(connection, backend, view, join_keys, wanted.features, scope.within)
        else:
            now_us = to_us(clock.now())
            rows = gather_online(connection, backend, view, join_keys, wanted.features, scope.within, now_us=now_us)
        newest = None if rows.newest_us is None else from_us(rows.newest_us)
        found: dict[str, FeatureStatistics] = {}
        for name in wanted.features:
            own = figures_of(connection, "gathered", f"v{positions[name]}", view, name, top=scope.top)
            found[name] = FeatureStatistics(
                feature=f"{view.name}:{name}", dtype=view.features[name].dtype, where=scope.where, rows=rows.rows,
                expired=rows.expired, newest_event_timestamp=newest, **own._asdict(),
            )  # fmt: skip
        return found
    except duckdb.Error as error:
        raise translated(error, view) from error
    finally:
        connection.close()
