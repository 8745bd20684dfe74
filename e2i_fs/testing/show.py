"""Examples as a reader wants them: views, rows and questions in columns, instead of nested reprs."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from e2i_fs.testing.oracle import Row
from e2i_fs.testing.worlds import ViewWorld, World

__all__ = ["shown"]

_MOST_ROWS = 20


def shown(example: Any) -> str:
    """Return ``example`` as lines of text: a `World` as its views, rows and questions, a tuple part by part."""
    if isinstance(example, World):
        return _world(example)
    if isinstance(example, tuple) and not hasattr(example, "_fields"):
        return "\n".join(shown(part) for part in example)
    return repr(example)


def _world(world: World) -> str:
    lines = [line for view in world.views for line in _view(view)]
    for number, (keys, t) in enumerate(zip(world.entity_keys, world.times, strict=True)):
        named = "  ".join(f"{name}={value!r}" for name, value in keys.items())
        lines.append(f"asked, row {number}:  {named}  at {_time(t)}")
    lines.append(f"now {_time(world.now)}  as_of (where asked with) {_time(world.as_of)}")
    return "\n".join(lines)


def _view(view: ViewWorld) -> list[str]:
    keys = ", ".join(f"{name} {dtype!r}" for name, dtype in view.keys)
    fields = ", ".join(f"{name} {dtype!r}" for name, dtype in view.fields)
    ttl = "none" if view.ttl is None else f"{view.ttl / _SECOND:g} s"
    lines = [f"view {view.name}: keys {keys}; fields {fields}; ttl {ttl}"]
    place = {n: f"file {i}" for i, part in enumerate(view.parts) for n in part}
    place |= {n: f"batch {i}" for i, part in enumerate(view.batches) for n in part}
    lines += [_row(view, row, place.get(n, "")) for n, row in enumerate(view.rows[:_MOST_ROWS])]
    if len(view.rows) > _MOST_ROWS:
        lines.append(f"  ... and {len(view.rows) - _MOST_ROWS} more rows")
    return lines


def _row(view: ViewWorld, row: Row, place: str) -> str:
    keys = "  ".join(f"{name}={value!r}" for (name, _), value in zip(view.keys, row.key, strict=True))
    values = "  ".join(f"{name}={value!r}" for (name, _), value in zip(view.fields, row.values, strict=True))
    created = f"  created {_time(row.created)}" if view.created_column else ""
    return f"  {keys}  event {_time(row.event)}{created}  {values}  [{place}]"


def _time(t: datetime | None) -> str:
    return "missing" if t is None else t.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


_SECOND = datetime(1970, 1, 2) - datetime(1970, 1, 1)  # noqa: DTZ001 - a difference
_SECOND /= 86_400
