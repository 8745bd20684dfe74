"""What two splits share: rows, entities, time, and whether the gap between them is as wide as was promised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import combinations
from typing import Any

from e2i_fs.clock import from_us
from e2i_fs.errors import RequestError
from e2i_fs.quality.leakage.bench import Bench
from e2i_fs.quality.leakage.kinds import LeakKind
from e2i_fs.quality.leakage.parts import HasSplits, Parts
from e2i_fs.quality.leakage.report import AuditReport, Check, Finding
from e2i_fs.quality.outcome import Outcome

__all__ = ["audit_splits", "split_checks"]

_US = timedelta(microseconds=1)


def audit_splits(
    splits: Any,
    *,
    entity_keys: Sequence[str] = (),
    timestamp_column: str = "event_timestamp",
    embargo: timedelta | None = None,
    isolate_entities: bool | None = None,
) -> AuditReport:
    """Find what splits share that they should not: rows, entities or time.

    ``splits`` are `TrainingSplits` (which know their own rule) or a mapping of split name to frame, in the order train
    first, each with ``entity_keys`` and ``timestamp_column``. For each pair it reports the same row in both
    (``ROW_IN_TWO_SPLITS``); times that overlap, or a later split that lies before (``TIME_OVERLAP``); a gap of
    ``embargo`` or less (``EMBARGO_BROKEN``; a gap of exactly ``embargo`` is too small, as in `TemporalSplit`); and the
    same entity in both (``ENTITY_OVERLAP``).

    Splits that are apart in time may share entities unless ``isolate_entities=True``. Splits that share no entity may
    overlap in time with ``isolate_entities=True``; otherwise that is a warning.

    Returns an `AuditReport`. Raises `RequestError` for splits that make no sense.

    >>> from datetime import datetime, timedelta
    >>> from e2i_fs.quality import audit_splits
    >>> days = [datetime(2024, 1, 1) + timedelta(days=d) for d in range(6)]
    >>> splits = {"train": {"hcp": ["a"] * 4, "event_timestamp": days[:4]}, "test": {"hcp": ["a"] * 3, "event_timestamp": days[3:]}}
    >>> sorted(finding.kind.value for finding in audit_splits(splits, entity_keys=["hcp"]).findings)
    ['ENTITY_OVERLAP', 'ROW_IN_TWO_SPLITS', 'TIME_OVERLAP']
    """
    if isinstance(splits, HasSplits):
        parts = Parts.made(splits)
    elif isinstance(splits, Mapping):
        parts = Parts.frames(splits, entity_keys, timestamp_column)
    else:
        raise RequestError(
            f"splits is a {type(splits).__name__}; give TrainingSplits, or a mapping of split name to frame."
        )
    checks = split_checks(parts, embargo=embargo, isolate_entities=isolate_entities)
    asked = {} if embargo or parts.embargo else {"embargo": "give embargo=, the gap that should lie between two splits"}
    return AuditReport(tuple(checks), asked, len(parts.table), 0)


@dataclass(frozen=True, slots=True)
class _Pair:
    """Two splits: their names, how many rows and entities they share, and their first and last times (µs)."""

    one: str
    other: str
    rows: int
    entities: int
    rows_of_entities: int
    ends: tuple[int, int, int, int]

    @property
    def gap(self) -> int:
        """The time from the end of the earlier to the beginning of the later; zero or less when they overlap."""
        first, last, other_first, other_last = self.ends
        return max(other_first - last, first - other_last)

    @property
    def reversed(self) -> bool:
        """Whether the split that should come first lies after the other."""
        return self.ends[0] > self.ends[3]

    @property
    def names(self) -> str:
        return f"{self.one!r} and {self.other!r}"


def split_checks(
    parts: Parts, *, embargo: timedelta | None = None, isolate_entities: bool | None = None
) -> list[Check]:
    """Return the outcome of each check of splits over all pairs."""
    embargo = parts.embargo if embargo is None else embargo
    isolate = parts.isolate_entities if isolate_entities is None else isolate_entities
    names = ["split rows", "split entities", "split times", *(["embargo"] if embargo else [])]
    sizes = dict.fromkeys(parts.names, 0)
    for number in parts.table.column("part").to_pylist():
        sizes[parts.names[number]] += 1
    empty = [name for name, size in sizes.items() if not size]
    if len(parts.names) - len(empty) < 2:
        why = f"there is nothing to compare: {len(parts.names)} splits, without rows {empty}"
        return [Check(name, Outcome.INCONCLUSIVE, why) for name in names]
    pairs = _pairs(parts)
    note = f"{', '.join(empty)} without rows" if empty else ""
    checks = [
        _rows(pairs, note),
        _entities(parts, pairs, isolate, note),
        _times(pairs, isolate, note, keyed=bool(parts.keys)),
    ]
    return [*checks, _embargo(pairs, embargo, note)] if embargo else checks


def _pairs(parts: Parts) -> list[_Pair]:
    keys = [f"k{i}" for i in range(len(parts.keys))]
    listed = ", ".join(keys)
    known = " AND ".join(f"{k} IS NOT NULL" for k in keys) or "false"
    with Bench(parts.table) as bench:
        bench.put("parts", parts.table)
        ends = {
            n: (first, last) for n, first, last in bench.rows_of("SELECT part, min(t), max(t) FROM parts GROUP BY part")
        }
        found = []
        for i, j in combinations(sorted(ends), 2):
            rows = entities = of_entities = 0
            if keys:
                (rows,) = bench.row_of(f"""
                    SELECT count(*) FROM (
                        SELECT {listed}, t FROM parts WHERE part = {i} AND {known}
                        INTERSECT SELECT {listed}, t FROM parts WHERE part = {j} AND {known})""")
                (entities,) = bench.row_of(f"""
                    SELECT count(*) FROM (
                        SELECT {listed} FROM parts WHERE part = {i} AND {known}
                        INTERSECT SELECT {listed} FROM parts WHERE part = {j} AND {known})""")
                (of_entities,) = bench.row_of(f"""
                    SELECT count(*) FROM parts WHERE part = {j} AND ({listed}) IN (
                        SELECT ({listed}) FROM parts WHERE part = {i} AND {known})""")
            found.append(_Pair(parts.names[i], parts.names[j], rows, entities, of_entities, (*ends[i], *ends[j])))
    return found


def _rows(pairs: Sequence[_Pair], note: str) -> Check:
    found = [
        Finding(LeakKind.ROW_IN_TWO_SPLITS, f"{p.rows:,} rows are in {p.names}, by keys and time. Drop them from one.", None, p.rows)
        for p in pairs if p.rows
    ]  # fmt: skip
    return _check("split rows", found, note)


def _entities(parts: Parts, pairs: Sequence[_Pair], isolate: bool | None, note: str) -> Check:
    if not parts.keys:
        return Check("split entities", Outcome.INCONCLUSIVE, "no entity keys are known; name them with entity_keys=")
    found = []
    for p in pairs:
        if p.entities and (isolate or (isolate is None and p.gap <= 0)):
            why = (
                ""
                if isolate
                else " Their times overlap too, so a model can learn the entity by heart and meet it again."
            )
            message = (
                f"{p.entities:,} entities are in {p.names}, {p.rows_of_entities:,} rows of {p.other!r}.{why} Split by time, or "
                "keep each entity in one split."
            )
            found.append(Finding(LeakKind.ENTITY_OVERLAP, message, None, p.rows_of_entities))
    return _check("split entities", found, note)


def _times(pairs: Sequence[_Pair], isolate: bool | None, note: str, *, keyed: bool) -> Check:
    found = []
    for p in pairs:
        first, last, other_first, other_last = (from_us(t).isoformat() for t in p.ends)
        spans = f"{p.one!r} is {first} to {last}, {p.other!r} {other_first} to {other_last}"
        if p.gap <= 0 and not (isolate and not p.entities):
            warns = (
                keyed and not p.entities and isolate is None
            )  # a split by entity: the later rows still tell of their time
            message = (
                f"{p.names} overlap in time: {spans}. Cut them at one moment each, the later split after the earlier."
            )
            found.append(
                Finding(LeakKind.TIME_OVERLAP, message, None, 0, (), Outcome.WARNING if warns else Outcome.FAILED)
            )
        elif p.reversed:
            message = f"{p.one!r} lies after {p.other!r}: {spans}. A model would be fitted on what comes later."
            found.append(Finding(LeakKind.TIME_OVERLAP, message))
    return _check("split times", found, note)


def _embargo(pairs: Sequence[_Pair], embargo: timedelta, note: str) -> Check:
    found = []
    for p in pairs:
        gap = p.gap * _US
        if gap <= embargo:  # what is known exactly at the end of the embargo is known (P-1)
            lie = f"Only {gap} lie" if p.gap > 0 else "No time lies"
            more = ", and a row at exactly its end is still embargoed" if gap == embargo else ""
            message = f"{lie} between {p.names}; the embargo is {embargo}{more}. Drop the rows of the later split that are nearer."
            found.append(Finding(LeakKind.EMBARGO_BROKEN, message))
    return _check("embargo", found, note)


def _check(name: str, found: Sequence[Finding], note: str) -> Check:
    if any(f.outcome is Outcome.FAILED for f in found):
        return Check(name, Outcome.FAILED, note, tuple(found))
    if note:
        return Check(name, Outcome.INCONCLUSIVE, note, tuple(found))
    return Check(name, Outcome.WARNING if found else Outcome.PASSED, "", tuple(found))
