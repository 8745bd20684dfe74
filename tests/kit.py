"""Small words for tests: times as minutes, a view over a Parquet file in one call, an answer in one call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

import e2i_fs as fs
from e2i_fs.values import arrow_type

NOW = datetime(2024, 3, 10, 12, tzinfo=UTC)
US = timedelta(microseconds=1)
STAMP = pa.timestamp("us", "UTC")


def at(minutes: float) -> datetime:
    """Return the time so many minutes after 2024-03-10 00:00 UTC; `NOW` is ``at(720)``."""
    return datetime(2024, 3, 10, tzinfo=UTC) + timedelta(minutes=minutes)


def config(backend: str, path: Path) -> dict[str, Any]:
    """Return the configuration of one embedded backend."""
    return {"backend": backend} if backend == "memory" else {"backend": backend, "path": str(path)}


def table(columns: Mapping[str, Sequence[Any]], types: Mapping[str, Any] | None = None) -> pa.Table:
    """Return a table; datetimes become UTC microseconds, other columns what Arrow makes of them or ``types`` says."""
    made = {}
    for name, values in columns.items():
        given = (types or {}).get(name)
        if given is None and any(isinstance(v, datetime) for v in values):
            given = STAMP
        made[name] = pa.array(values, given)
    return pa.table(made)


def view(
    folder: Path,
    rows: Sequence[tuple[Any, ...]],
    *,
    name: str = "hcp_stats",
    keys: Mapping[str, fs.DType] | None = None,
    fields: Mapping[str, fs.DType] | None = None,
    created: bool = False,
    file: str = "",
    **more: Any,
) -> fs.FeatureView:
    """Write ``rows`` (keys, event time, [created time,] values) to Parquet and return the view over it."""
    keys = keys or {"hcp_id": fs.String}
    fields = fields or {"trx_count": fs.Int64}
    types = {**{k: arrow_type(t) for k, t in keys.items()}, "event_timestamp": STAMP}
    types |= {"created_at": STAMP} if created else {}
    types |= {k: arrow_type(t) for k, t in fields.items()}
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(types)
    assert len(columns) == len(types), f"rows have {len(columns)} columns, the view has {list(types)}"
    path = folder / (file or f"{name}.parquet")
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({n: pa.array(list(c), t) for (n, t), c in zip(types.items(), columns, strict=True)}), path)
    return fs.FeatureView(
        name,
        entities=[fs.Entity(f"{name}_entity", join_keys=keys)],
        schema=[fs.Field(n, t) for n, t in fields.items()],
        source=fs.ParquetSource(str(path), created_timestamp_field="created_at" if created else None),
        **more,
    )


def ask(
    store: fs.FeatureStore, rows: Sequence[tuple[Any, ...]], features: Any = "hcp_stats:trx_count", **more: Any
) -> Any:
    """Return the historical result for entity rows ``(key, ..., time)``; keys are ``hcp_id`` unless ``keys=`` says."""
    keys = more.pop("keys", {"hcp_id": fs.String})
    columns = list(zip(*rows, strict=True))
    frame = pa.table(
        {
            **{n: pa.array(list(c), arrow_type(t)) for (n, t), c in zip(keys.items(), columns[:-1], strict=True)},
            "event_timestamp": pa.array(list(columns[-1]), STAMP),
        }
    )
    return store.get_historical_features(frame, [features] if isinstance(features, str) else features, **more)


def values(result: Any, name: str = "trx_count") -> list[Any]:
    """Return one column of a historical result."""
    found: list[Any] = result.to_arrow().column(name).to_pylist()
    return found


def statuses(result: Any, ref: str = "hcp_stats:trx_count") -> list[str]:
    """Return the statuses of one feature by name."""
    return [status.name for status in result.statuses[ref]]


def online(store: fs.FeatureStore, *keys: Any, ref: str = "hcp_stats:trx_count") -> list[tuple[Any, str]]:
    """Return ``(value, status)`` online for each ``hcp_id``."""
    answer = store.get_online_features([ref], [{"hcp_id": key} for key in keys])
    return list(zip(answer.to_dict()[ref.split(":")[1]], [s.name for s in answer.statuses[ref]], strict=True))


def batch(*rows: tuple[Any, ...], created: bool = False, fields: Sequence[str] = ("trx_count",)) -> pa.Table:
    """Return a batch for ``store.write``: rows of ``(hcp_id, event time, [created time,] values...)``."""
    names = ["hcp_id", "event_timestamp", *(["created_at"] if created else []), *fields]
    columns = [list(c) for c in zip(*rows, strict=True)]
    types = {"hcp_id": pa.string(), "event_timestamp": STAMP, "created_at": STAMP}
    return pa.table({n: pa.array(c, types.get(n)) for n, c in zip(names, columns, strict=True)})
