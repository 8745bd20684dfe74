"""Which row goes into which split: instants, cuts, then entities, then what is left over and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from e2i_fs.errors import InvalidEntityFrameError, RequestError, SplitError
from e2i_fs.receipts.hashing import cell_hashes, row_names
from e2i_fs.splits.cuts import Instants, deviation, find_cuts
from e2i_fs.splits.isolation import homes
from e2i_fs.splits.notes import notes
from e2i_fs.splits.refusal import refusal
from e2i_fs.splits.roles import TrainingFrame
from e2i_fs.splits.training import NAMES

if TYPE_CHECKING:
    from e2i_fs.splits.rule import TemporalSplit

__all__ = ["Assigned", "assign"]

_GAP, _ELSEWHERE = -1, -2
_ROUNDS = 8
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Assigned:
    """The positions of each split's rows, ascending; of the dropped ones by reason; and what is to be noted."""

    rows: list[list[int]]
    dropped: dict[str, list[int]]
    notes: tuple[str, ...]


def assign(rule: TemporalSplit, frame: TrainingFrame, *, drop_missing: bool) -> Assigned:
    """Return which rows each split has, or raise `SplitError` that says what can be had."""
    missing = pc.indices_nonzero(frame.missing_target).to_pylist()
    total = len(frame.table)
    if len(missing) == total:
        raise SplitError(f"The target {frame.target!r} is missing in all {total} rows; there is nothing to learn.")
    if missing and not drop_missing:
        raise SplitError(
            f"The target {frame.target!r} is missing in {len(missing)} of {total} rows, first in row {missing[0]}. Fill it, "
            'or pass missing_target="drop" to leave these rows out, counted.'
        )
    usable = pc.invert(frame.missing_target)
    positions = pc.indices_nonzero(usable).to_pylist()
    times = frame.times.filter(usable).to_pylist()
    entities = _entities(frame, usable) if rule.isolate_entities else None
    rows: list[list[int]] = [[] for _ in NAMES]
    dropped: dict[str, list[int]] = {"embargo": [], "isolation": [], "missing_target": missing}
    for position, place in zip(positions, _places(rule, times, entities), strict=True):
        if place >= 0:
            rows[place].append(position)
        else:
            dropped["embargo" if place == _GAP else "isolation"].append(position)
    return Assigned(rows, dropped, notes(frame, rows))


def _entities(frame: TrainingFrame, usable: pa.ChunkedArray) -> list[str]:
    """Return the name of each row's entity: the hashes of its keys, the same in every kind of frame."""
    if not frame.keys:
        raise RequestError("isolate_entities needs to know the entities: name their columns with entity_keys=[...].")
    keys = {key: frame.table.column(key) for key in frame.keys}
    for key, column in keys.items():
        if column.null_count:
            row = pc.index(pc.is_null(column), pa.scalar(True)).as_py()
            raise InvalidEntityFrameError(
                f"Column {key!r}, row {row}: the key is missing, so its entity cannot be told and not be kept in one split."
            )
    cells = cell_hashes({key: column.filter(usable) for key, column in keys.items()})
    return row_names(list(cells.values()), len(usable) if not cells else len(next(iter(cells.values()))))


def _places(rule: TemporalSplit, times: Sequence[int], entities: Sequence[str] | None) -> list[int]:
    """Return for each row the number of its split, or why it has none."""
    counted = Counter(times)
    moments = sorted(counted)
    instants = Instants(moments, [counted[m] for m in moments], rule.embargo // _MICROSECOND)
    minima = [*[rule.minimum_rows] * (len(NAMES) - 1), 1]
    wanted = list(rule.ratios)
    best: tuple[float, list[int]] | None = None
    nearest: list[int] | None = None
    for _ in range(1 if entities is None else _ROUNDS):
        cuts = find_cuts(instants, wanted, minima, rule.tolerance)
        if cuts is None:
            break
        of_moment = _of_moments(instants, cuts.stops)
        places = [of_moment[time] for time in times]
        if entities is not None:
            _isolate(places, entities, rule.ratios)
        found = Counter(places)
        sizes = [found[k] for k in range(len(NAMES))]
        off = deviation(sizes, rule.ratios)
        if all(n >= least for n, least in zip(sizes, minima, strict=True)) and (best is None or off < best[0]):
            best = (off, places)
        if nearest is None or best is not None:
            nearest = sizes
        if best is not None and best[0] <= rule.tolerance:
            return best[1]
        # Isolation took more from some splits than from others: cut so that these begin with more.
        wanted = [w * r / max(n / sum(sizes), r / 10) for w, r, n in zip(wanted, rule.ratios, sizes, strict=True)]
        wanted = [w / sum(wanted) for w in wanted]
    raise SplitError(refusal(rule, instants, nearest if best is None else _sizes(best[1]), minima))


def _sizes(places: Sequence[int]) -> list[int]:
    found = Counter(places)
    return [found[k] for k in range(len(NAMES))]


def _of_moments(instants: Instants, stops: Sequence[int]) -> dict[int, int]:
    """Return, by time, the number of the split that it falls in, or that it falls in a gap."""
    found = dict.fromkeys(instants.times, _GAP)
    for split, (start, stop) in enumerate(instants.parts(stops)):
        found.update(dict.fromkeys(instants.times[start:stop], split))
    return found


def _isolate(places: list[int], entities: Sequence[str], ratios: Sequence[float]) -> None:
    """Take each entity's rows out of every split but its home."""
    rows_of: dict[str, list[int]] = {}
    for place, entity in zip(places, entities, strict=True):
        if place >= 0:
            rows_of.setdefault(entity, [0] * len(NAMES))[place] += 1
    home = homes(rows_of, ratios)
    for row, (place, entity) in enumerate(zip(places, entities, strict=True)):
        if place >= 0 and home[entity] != place:
            places[row] = _ELSEWHERE
