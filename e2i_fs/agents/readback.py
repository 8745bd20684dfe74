"""What was written is read back, offline and online, and compared value for value (R-5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from e2i_fs.agents.registration import ReadBack
from e2i_fs.clock import from_us
from e2i_fs.definitions import FeatureView
from e2i_fs.protocol import FeatureStore
from e2i_fs.results import FeatureStatus
from e2i_fs.values import arrow_type

__all__ = ["read_back"]


def read_back(
    store: FeatureStore, view: FeatureView, join_keys: Sequence[str], batch: pa.Table, *, sample: int, existed: bool
) -> ReadBack:
    """Ask the store for up to ``sample`` of the rows of ``batch``, and say where it answers otherwise.

    Offline each is asked for at its own event time, where it must win; online for the newest row of its key. In a view
    that ``existed`` before, a row of the same time or a newer one may stand in its place, which is noted.
    """
    reading = _Reading(store, view, tuple(join_keys), batch, existed)
    # Drawn, not every n-th: rows come in rounds of the same keys. With one seed, so that it is the same everywhere (T-4).
    places = sorted(Random(0).sample(range(len(batch)), min(sample, len(batch))))  # noqa: S311
    reading.offline([reading.winner(row, newest=False) for row in places])
    if view.online:
        reading.online(list(dict.fromkeys(reading.winner(row, newest=True) for row in places)))
    return ReadBack(
        reading.counts.get("offline", 0), reading.counts.get("online", 0), tuple(reading.problems), tuple(reading.notes)
    )


@dataclass
class _Reading:
    store: FeatureStore
    view: FeatureView
    keys: tuple[str, ...]
    batch: pa.Table
    existed: bool
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    _told: dict[str, tuple[int, int, str]] = field(default_factory=dict)

    def winner(self, row: int, *, newest: bool) -> int:
        """Return the row of the batch that must answer for ``row``: at its own time, or newest of its key (P-4)."""
        columns = [*self.keys] if newest else [*self.keys, self.view.event_column]
        mask: Any = None
        for name in columns:
            same = pc.equal(self.batch.column(name), self.batch.column(name)[row])
            mask = same if mask is None else pc.and_(mask, same)
        rows = [row] if mask is None else pc.indices_nonzero(mask).to_pylist()
        return max(rows, key=self._order)

    def _order(self, row: int) -> tuple[int, int]:
        created = self.view.created_column
        known = None if created is None else self.batch.column(created).cast(pa.int64())[row].as_py()
        return self._event(row), -(2**63) if known is None else known

    def _event(self, row: int) -> int:
        event: int = self.batch.column(self.view.event_column)[row].value
        return event

    def offline(self, rows: Sequence[int]) -> None:
        """Compare the history: each row at its own event time."""
        fields = self.view.schema
        asked = self.batch.select([*self.keys, self.view.event_column]).take(pa.array(rows))
        result = self.store.get_historical_features(
            asked,
            [f"{self.view.name}:{f.name}" for f in fields],
            labels=[f"{self.view.name}:{f.name}" for f in fields if f.role == "label"],
            full_feature_names=True,
            timestamp_column=self.view.event_column,
        )
        self._degraded("offline", result.provenance)
        table = result.to_arrow()
        for f in fields:
            ref = f"{self.view.name}:{f.name}"
            column = table.column(f"{self.view.name}__{f.name}").cast(arrow_type(f.dtype)).to_pylist()
            self._compare("offline", ref, rows, column, result.statuses[ref], result.event_timestamps[ref])
        self.counts["offline"] = len(rows)

    def online(self, rows: Sequence[int]) -> None:
        """Compare what is online: the newest row of each key. Labels are not served there (P-12)."""
        fields = [f for f in self.view.schema if f.role == "feature"]
        if not fields:
            self.notes.append("online nothing was read back: all columns are labels, which are not served (P-12)")
            return
        asked = self.batch.select(list(self.keys)).take(pa.array(rows)).to_pylist()
        refs = [f"{self.view.name}:{f.name}" for f in fields]
        answer = self.store.get_online_features(refs, asked, full_feature_names=True)
        self._degraded("online", answer.provenance)
        columns: Mapping[str, Any] = answer.to_dict()
        for f, ref in zip(fields, refs, strict=True):
            column = columns[f"{self.view.name}__{f.name}"]
            self._compare("online", ref, rows, column, answer.statuses[ref], answer.event_timestamps[ref])
        self.counts["online"] = len(rows)

    def _compare(
        self,
        where: str,
        ref: str,
        rows: Sequence[int],
        values: Sequence[Any],
        statuses: Sequence[FeatureStatus],
        events: Sequence[Any],
    ) -> None:
        name = ref.partition(":")[2]
        for row, value, status, event in zip(rows, values, statuses, events, strict=True):
            wanted, when = self.batch.column(name)[row].as_py(), from_us(self._event(row))
            place = f"{where}, {ref}, row {row}"
            if event != when:
                newer = self.existed and event is not None and event > when
                told = f"{place}: written for {when.isoformat()}, the store answers from {event and event.isoformat()} ({status})"
                self._note("a newer row stands online", told) if newer else self.problems.append(told)
            elif status is FeatureStatus.OUTSIDE_MAX_AGE:
                self._note(f"rows older than the ttl of {self.view.ttl} are not served online (O-2)", place)
            elif not _same(value, wanted):
                told = f"{place}: written {wanted!r}, read back {value!r} ({status})"
                if not self.existed:
                    self.problems.append(told)
                    continue
                remedy = "" if self.view.created_column else "; a created time on the view would let the later one win"
                self._note(f"another row of the same time wins (P-4){remedy}", told)

    def _degraded(self, where: str, provenance: Any) -> None:
        if provenance.degraded:
            self.notes.append(
                f"{where} was read back from {provenance.served_by!r}, degraded: {provenance.reason} (X-7)"
            )

    def _note(self, what: str, told: str) -> None:
        at, seen, first = self._told.get(what, (len(self.notes), 0, told))
        self._told[what] = (at, seen + 1, first)
        more = f" (and {seen} more)" if seen else ""
        self.notes[at:] = [f"{what}: {first}{more}", *self.notes[at + 1 :]]


def _same(one: Any, other: Any) -> bool:
    """Return whether two values are one, NaN equal to NaN and missing to missing."""
    return repr(one) == repr(other) or bool(one == other)
