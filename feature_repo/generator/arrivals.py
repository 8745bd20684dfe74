"""From what was true to what arrived: late rows, corrections, repeats, exact ties and missing values.

Each true row arrives once as it was first reported. Some rows arrive again: *corrections* (same key and event
time, later ``created_at``, changed values), *ties* (same key, event time and ``created_at``, changed values) and
*repeats* (the very same row). What would arrive after the end of the period is not there yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .draws import DAY, Floats, Ints

__all__ = ["Arrived", "Column", "Text", "arrive"]

LATE = 0.05
CORRECTED = 0.025
TIED = 0.003
REPEATED = 0.002
FIRST, CORRECTION, TIE, REPEAT = range(4)


@dataclass(frozen=True, slots=True)
class Column:
    """One column of true values (1-d), its Arrow type, how often it is missing and whether a correction changes it.

    ``low`` and ``high`` bound what a correction may make of it.
    """

    values: NDArray[Any]
    type: pa.DataType
    missing: float = 0.0
    changes: bool = True
    known: NDArray[np.bool_] | None = None
    low: float = 0.0
    high: float = np.inf


@dataclass(frozen=True, slots=True)
class Text:
    """One column of text: positions (1-d) in ``words``, how often it is missing and whether corrections change it."""

    codes: Ints
    words: tuple[str, ...]
    missing: float = 0.0
    changes: bool = False


@dataclass(frozen=True, slots=True)
class Arrived:
    """What arrived, in order of arrival.

    ``row`` is the true row each came from, ``created`` when it arrived (seconds), ``kind`` one of FIRST,
    CORRECTION, TIE and REPEAT, ``values`` the number columns after changes, before values went missing.
    """

    table: pa.Table
    row: Ints
    created: Ints
    kind: Ints
    values: Mapping[str, NDArray[Any]]


def arrive(random: np.random.Generator, event: Ints, columns: Mapping[str, Column | Text], until: int) -> Arrived:
    """Return the true rows at the times ``event`` (int64 seconds) as they arrived by ``until``."""
    count = len(event)
    created = event + _lag(random, count)
    row = np.arange(count, dtype=np.int64)
    again = [row[random.random(count) < share] for share in (CORRECTED, TIED, REPEATED)]
    later = created[again[0]] + random.integers(DAY, 21 * DAY, size=len(again[0]))
    row = np.concatenate([row, *again])
    created = np.concatenate([created, later, created[again[1]], created[again[2]]])
    kind = np.repeat(np.arange(4), [count, *map(len, again)])

    there = (created <= until) & (event[row] <= until)
    order = np.lexsort((kind[there], row[there], created[there]))
    row, created, kind = (a[there][order] for a in (row, created, kind))

    changed = (kind == CORRECTION) | (kind == TIE)
    arrays: dict[str, pa.Array] = {}
    values: dict[str, NDArray[Any]] = {}
    for name, column in columns.items():
        # what was missing at first stays so in repeats, and a correction fills it
        lost = (random.random(count) < column.missing)[row] & (kind != CORRECTION)
        if isinstance(column, Text):
            codes = _other_word(random, column, row, changed)
            arrays[name] = _text(codes, column.words, lost)
            continue
        values[name] = _changed(random, column, row, changed)
        if column.known is not None:
            lost |= ~column.known[row]
        arrays[name] = pa.array(values[name], mask=lost, from_pandas=False).cast(column.type, safe=False)
    arrays["event_timestamp"] = _times(event[row])
    arrays["created_at"] = _times(created)
    return Arrived(pa.table(arrays), row, created, kind, values)


def _lag(random: np.random.Generator, count: int) -> Ints:
    """Return how long each row takes to arrive, in seconds: hours mostly, days or weeks for the late ones."""
    hours = random.lognormal(np.log(3.0), 0.7, size=count) * 3600
    weeks = np.minimum(random.lognormal(np.log(4.0), 0.9, size=count), 28.0) * DAY
    return np.where(random.random(count) < LATE, weeks, np.minimum(hours, DAY)).astype(np.int64) + 60


def _changed(random: np.random.Generator, column: Column, row: Ints, changed: NDArray[np.bool_]) -> NDArray[Any]:
    values = column.values[row]
    if not column.changes:
        return values
    if values.dtype == np.bool_:
        return np.where(changed & (random.random(len(row)) < 0.3), ~values, values)
    if np.issubdtype(values.dtype, np.integer):
        return np.where(changed, values + random.integers(1, 4, size=len(row)), values)
    scaled: Floats = np.clip(values * random.uniform(0.75, 1.25, size=len(row)), column.low, column.high)
    return np.where(changed, scaled, values)


def _other_word(random: np.random.Generator, column: Text, row: Ints, changed: NDArray[np.bool_]) -> Ints:
    codes = column.codes[row]
    if not column.changes:
        return codes
    return np.where(changed, (codes + random.integers(1, len(column.words), size=len(row))) % len(column.words), codes)


def _text(codes: Ints, words: tuple[str, ...], lost: NDArray[np.bool_]) -> pa.Array:
    positions = pa.array(codes.astype(np.int32), mask=lost)
    return pa.DictionaryArray.from_arrays(positions, pa.array(words, pa.string())).cast(pa.string())


def _times(seconds: Ints) -> pa.Array:
    return pa.array(seconds * 1_000_000).cast(pa.timestamp("us", "UTC"))
