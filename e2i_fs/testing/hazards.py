"""Which of the contract's hard cases a world holds: the generator's teeth, counted."""

from __future__ import annotations

import math
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

from e2i_fs.testing.compare import same_value
from e2i_fs.testing.oracle import Row, by_key, exact_key
from e2i_fs.testing.worlds import ViewWorld, World

__all__ = ["HAZARDS", "hazards"]

US = timedelta(microseconds=1)
HAZARDS = (
    "event equal to t", "event 1 µs before t", "event 1 µs after t", "future row present",
    "ttl edge exact", "ttl edge 1 µs inside", "ttl edge 1 µs outside",
    "tie decided by created", "tie decided by a missing created", "tie decided by values", "exact duplicate on top",
    "known late", "created equal to t", "created 1 µs after t", "created unknown",
    "created equal to as_of", "created 1 µs after as_of", "filter changes the answer", "as_of changes the answer",
    "winner has a missing value", "older row has the missing value", "nothing found", "outside max age",
    "missing key", "another key joins to the same text", "answer beyond 2**53", "answer is NaN", "answer is -0.0",
    "duplicate entity row", "several parts", "an empty part", "rows in batches", "row without event time",
)  # fmt: skip


def hazards(world: World) -> Counter[str]:
    """Return how many entity rows (or, for the layout, views) of ``world`` meet each of `HAZARDS`."""
    found: Counter[str] = Counter()
    asked = [(tuple(keys.items()), t) for keys, t in zip(world.entity_keys, world.times, strict=True)]
    found["duplicate entity row"] = len(asked) - len(set(asked))
    requests = list(world.requests())
    for number, view in enumerate(world.views):
        found["several parts"] += len(view.parts) > 1
        found["an empty part"] += any(not part for part in view.parts)
        found["rows in batches"] += bool(view.batches)
        rows = by_key(view.rows, view.key_types)
        texts = Counter("".join(map(str, row_key)) for row_key in rows)  # type: ignore[call-overload]
        forms = [world.expected(view, r) for r in requests if any(n == number for n, _ in r.asked)]
        for row_number, (keys, t) in enumerate(zip(world.entity_keys, world.times, strict=True)):
            key = tuple(keys[name] for name, _ in view.keys)
            exact = exact_key(key, view.key_types)
            if exact is None:
                found["missing key"] += 1
                continue
            found["another key joins to the same text"] += texts["".join(map(str, key))] > 1 and len(key) > 1
            for case in _cases(view, list(rows.get(exact, ())), t, world.as_of):
                found[case] += 1
            answers = [form[row_number] for form in forms]
            plain = answers[0]
            found["nothing found"] += plain.statuses[0] == "NOT_FOUND"
            found["outside max age"] += plain.statuses[0] == "OUTSIDE_MAX_AGE"
            found["winner has a missing value"] += "NULL_VALUE" in plain.statuses
            found["answer beyond 2**53"] += any(isinstance(v, int) and abs(v) > 2**53 for v in plain.values)
            found["answer is NaN"] += any(isinstance(v, float) and math.isnan(v) for v in plain.values)
            found["answer is -0.0"] += any(isinstance(v, float) and str(v) == "-0.0" for v in plain.values)
            if len(answers) == 4:
                found["filter changes the answer"] += not _same(view, answers[1], plain)
                found["as_of changes the answer"] += not _same(view, answers[2], plain)
    return found


def _same(view: ViewWorld, a: Any, b: Any) -> bool:
    return a.statuses == b.statuses and all(
        same_value(x, y, t) for x, y, t in zip(a.values, b.values, view.types, strict=True)
    )


def _cases(view: ViewWorld, rows: list[Row], t: datetime, as_of: datetime) -> set[str]:
    found: set[str] = set()
    events = [(row, row.event) for row in rows if row.event is not None]
    found |= {"row without event time"} if len(events) < len(rows) else set()
    found |= {"future row present"} if any(event > t for _, event in events) else set()
    found |= {"event 1 µs after t"} if any(event == t + US for _, event in events) else set()
    visible = [(row, event) for row, event in events if event <= t]
    if not visible:
        return found
    top_event = max(event for _, event in visible)
    found |= {"event equal to t"} if top_event == t else set()
    found |= {"event 1 µs before t"} if top_event == t - US else set()
    if view.ttl is not None:
        edges = {timedelta(0): "ttl edge exact", -US: "ttl edge 1 µs inside", US: "ttl edge 1 µs outside"}
        found |= {edges[t - top_event - view.ttl]} if t - top_event - view.ttl in edges else set()
    top = [row for row, event in visible if event == top_event]
    found |= _ties(view, top)
    if any(None in row.values for row, event in visible if event < top_event) and all(
        None not in row.values for row in top
    ):
        found.add("older row has the missing value")
    if view.created_column:
        created = [row.created for row, _ in visible]
        known = [c for c in created if c is not None]
        found |= {"created unknown"} if len(known) < len(created) else set()
        found |= {"known late"} if any(c > t for c in known) else set()
        found |= {"created equal to t"} if t in known else set()
        found |= {"created 1 µs after t"} if t + US in known else set()
        found |= {"created equal to as_of"} if as_of in known else set()
        found |= {"created 1 µs after as_of"} if as_of + US in known else set()
    return found


def _ties(view: ViewWorld, top: list[Row]) -> set[str]:
    """Say what decides between rows of one key and one event time."""
    if len(top) < 2:
        return set()
    known = [row.created for row in top if row.created is not None]
    if known and len(known) < len(top) and len(known) == 1:
        return {"tie decided by a missing created"}
    if known and known.count(max(known)) == 1:
        return {"tie decided by created"}
    best = [row for row in top if not known or row.created == max(known)]
    first = best[0]
    if all(
        all(same_value(x, y, t) for x, y, t in zip(row.values, first.values, view.types, strict=True)) for row in best
    ):
        return {"exact duplicate on top"}
    return {"tie decided by values"}
