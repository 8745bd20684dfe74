"""Statistics of one feature over its whole history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Any

import duckdb

from e2i_fs.backend import Backend, ScanPart
from e2i_fs.catalog import Catalog
from e2i_fs.definitions import FeatureView
from e2i_fs.dtypes import DType
from e2i_fs.errors import BackendDataError, UnknownFeatureError, UnsupportedError
from e2i_fs.pit.connection import connect
from e2i_fs.pit.history import history_sql
from e2i_fs.question import Question
from e2i_fs.request import Request, resolve, views_of

__all__ = ["FeatureStatistics", "feature_statistics", "question_of"]

_NUMERIC = ("int32", "int64", "float32", "float64", "decimal")
_ORDERED = (*_NUMERIC, "string", "date", "timestamp", "bool")


@dataclass(frozen=True, slots=True)
class FeatureStatistics:
    """Statistics over all rows of history that have an event time.

    ``mean``, ``std`` (of the sample) and the quartiles are for numbers, and leave NaN out; None where there is nothing
    to say. ``unique`` and ``most_common`` are exact.
    """

    feature: str
    dtype: DType
    rows: int
    missing: int
    nan: int
    unique: int
    mean: float | None
    std: float | None
    min: Any
    p25: float | None
    p50: float | None
    p75: float | None
    max: Any
    most_common: Any
    most_common_count: int


def question_of(feature: str) -> Question[Request, FeatureStatistics]:
    """Return what is asked of a backend for the statistics of ``"view:feature"``, labels included."""
    view, _, name = feature.partition(":")

    def prepare(catalog: Catalog) -> Request:
        if view in catalog.on_demand:
            raise UnsupportedError(f"{view!r} is computed on demand and has no history of its own.")
        if name == "*":
            raise UnknownFeatureError("statistics takes one 'view:feature' at a time, not a wildcard.")
        return resolve(catalog, [feature], labels=[feature])

    def answer(backend: Backend, catalog: Catalog, _: Request) -> FeatureStatistics:
        definition = catalog.view(view)
        parts = backend.scan(view, [f.name for f in definition.schema])
        return feature_statistics(definition, catalog.join_keys(view), name, parts)

    return Question("historical", prepare, views_of, answer)


def feature_statistics(
    view: FeatureView, join_keys: Mapping[str, DType], feature: str, parts: Sequence[ScanPart]
) -> FeatureStatistics:
    """Return the statistics of one feature of ``view``."""
    position = [f.name for f in view.schema].index(feature)
    dtype = view.features[feature].dtype
    connection = connect()
    try:
        history = history_sql(connection, view, join_keys, parts)
        connection.execute(f"CREATE TEMP TABLE x AS SELECT v{position} AS v FROM ({history}) WHERE e IS NOT NULL")
        nan = "count(*) FILTER (isnan(v))" if dtype.kind in ("float32", "float64") else "0"
        whole = "FILTER (NOT isnan(v))" if dtype.kind in ("float32", "float64") else ""
        numbers = ", ".join(
            f"{f} {whole}" if dtype.kind in _NUMERIC else "NULL"
            for f in ("avg(v)", "stddev_samp(v)", "quantile_cont(CAST(v AS DOUBLE), 0.25)",
                      "quantile_cont(CAST(v AS DOUBLE), 0.5)", "quantile_cont(CAST(v AS DOUBLE), 0.75)")
        )  # fmt: skip
        ends = f"min(v) {whole}, max(v) {whole}" if dtype.kind in _ORDERED else "NULL, NULL"
        ((rows, missing, nans, unique, mean, std, p25, p50, p75, low, high),) = connection.execute(
            f"SELECT count(*), count(*) - count(v), {nan}, count(DISTINCT v), {numbers}, {ends} FROM x"
        ).fetchall()
        common = connection.execute(
            "SELECT v, count(*) AS n FROM x WHERE v IS NOT NULL GROUP BY v ORDER BY n DESC, v LIMIT 1"
        ).fetchall()
    except duckdb.Error as error:
        raise BackendDataError(f"The history of view {view.name!r} cannot be read: {error}") from error
    finally:
        connection.close()
    value, count = common[0] if common else (None, 0)

    if dtype.kind == "timestamp":
        low, high, value = (x if x is None else x.replace(tzinfo=UTC) for x in (low, high, value))

    def number(x: Any) -> float | None:
        return None if x is None else float(x)

    return FeatureStatistics(
        f"{view.name}:{feature}", dtype, rows, missing, nans, unique, number(mean), number(std), low, number(p25),
        number(p50), number(p75), high, value, count,
    )  # fmt: skip
