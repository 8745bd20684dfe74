"""Worlds worked out by hand: one view, some rows, some questions, for tests of one fixed case."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from e2i_fs.dtypes import DType, Int64, String
from e2i_fs.testing.oracle import Row
from e2i_fs.testing.worlds import ViewWorld, World

__all__ = ["NOW", "US", "at", "row", "rows_of", "view_of", "world_of"]

US = timedelta(microseconds=1)
NOW = datetime(2024, 3, 10, 12, tzinfo=UTC)


def at(minutes: float) -> datetime:
    """Return the time so many minutes after 2024-03-10 00:00 UTC; `NOW` is ``at(720)``."""
    return datetime(2024, 3, 10, tzinfo=UTC) + timedelta(minutes=minutes)


def row(key: Any, event: datetime | None, *values: Any, created: datetime | None = None) -> Row:
    """Return a source row; ``key`` is a tuple, or the one key column's value."""
    return Row(key if isinstance(key, tuple) else (key,), event, created, values)


def rows_of(view: ViewWorld, rows: Sequence[Row]) -> list[Row]:
    """Return ``rows`` as ``view`` can hold them: without created times where it has no column for them."""
    return [r if view.created_column else r._replace(created=None) for r in rows]


def view_of(
    rows: Sequence[Row], *, name: str = "v", fields: Mapping[str, DType] | None = None,
    keys: Mapping[str, DType] | None = None, ttl: timedelta | None = None, created: bool = False,
    parts: Sequence[Sequence[int]] | None = None, batches: Sequence[Sequence[int]] = (),
) -> ViewWorld:  # fmt: skip
    """Return a view of these rows, all in one file unless ``parts`` and ``batches`` say by number where they lie."""
    keys = keys or {"hcp_id": String}
    if parts is None:
        written = {number for batch in batches for number in batch}
        parts = [[number for number in range(len(rows)) if number not in written]]
    return ViewWorld(
        name, tuple(keys.items()), (tuple(keys),), tuple((fields or {"x": Int64}).items()), ttl,
        event_column="event_timestamp", created_column="created" if created else None, renamed=False,
        rows=tuple(rows), parts=tuple(map(tuple, parts)), batches=tuple(map(tuple, batches)),
    )  # fmt: skip


def world_of(
    views: ViewWorld | Sequence[ViewWorld], asked: Sequence[tuple[Any, datetime]], *, as_of: datetime = NOW,
    now: datetime = NOW, extra: Sequence[str] = (),
) -> World:  # fmt: skip
    """Return a world of one or more views with the same keys, and entity rows ``(key, t)``."""
    views = (views,) if isinstance(views, ViewWorld) else tuple(views)
    names = [name for name, _ in views[0].keys]
    keys = [dict(zip(names, key if isinstance(key, tuple) else (key,), strict=True)) for key, _ in asked]
    return World(
        0, views, tuple(keys), tuple(t for _, t in asked), timestamp_column="event_timestamp", extra=tuple(extra),
        frame="arrow", full_feature_names=False, as_of=as_of, now=now,
    )  # fmt: skip
