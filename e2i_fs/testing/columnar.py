"""Columns beside rows: what a `e2i_fs.backend.Columnar` backend gives at once is what it gives one by one."""

from __future__ import annotations

from typing import Any

from e2i_fs.backend import Backend, Columnar, Key, OnlineColumns, OnlineRow
from e2i_fs.keys import key_tuples
from e2i_fs.lookup import EntityRows
from e2i_fs.testing.findings import Mismatch

__all__ = ["compare_columns", "rows_of_columns"]


def rows_of_columns(columns: OnlineColumns) -> list[OnlineRow | None]:
    """Return columns as rows, each with the values that are there."""
    every = list(range(len(columns.event_us)))
    return [
        None
        if (event := columns.event_us[i]) is None
        else OnlineRow(
            event, columns.created_us[i], {n: v for n, c in columns.values.items() if (v := c[i]) is not None}
        )
        for i in every
    ]


def compare_columns(backend: Backend, view: str, entity_rows: Any, at_us: int) -> None:
    """Raise `Mismatch` unless a columnar backend gives at once, for the keys of ``entity_rows``, what it gives one by one.

    NaN is itself, and 0.0 is not -0.0. A value that is missing may be None or left out.
    """
    catalog, asked = backend.definitions(), EntityRows.checked(entity_rows)
    keys: list[Key] = [
        key for key in key_tuples(asked.columns, catalog.join_keys(view), asked.number) if key is not None
    ]
    columnar: Columnar = backend  # type: ignore[assignment]  # for a backend that declares it
    found = columnar.online_columns(catalog, {view: keys}, at_us=at_us)[view]
    one = [_said(row) for row in backend.online_read(view, keys, at_us=at_us)] if keys else []
    other = [_said(row) for row in rows_of_columns(found)]
    expected, got = (one, backend.position(view).sequence), (other, found.sequence)
    if repr(expected) != repr(got):
        says = f"online_columns of {view!r} is not what online_read and position say."
        raise Mismatch("G-3", says, expected=expected, got=got)


def _said(row: OnlineRow | None) -> Any:
    if row is None:
        return None
    return (row.event_us, row.created_us, sorted((n, v) for n, v in row.values.items() if v is not None))
