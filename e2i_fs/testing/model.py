"""What a store must hold after what was done to it: the W and O rules in plain Python, one view at a time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from e2i_fs.dtypes import DType
from e2i_fs.testing import oracle
from e2i_fs.testing.oracle import Answer, Row

__all__ = ["Model", "Refused"]


class Refused(Exception):
    """The batch must be refused whole (W-1, W-2, O-4)."""


@dataclass
class Model:
    """One view: its key and field dtypes, its ttl, the rows of its source; then whatever is written and run.

    ``history`` is every row that a historical retrieval may see, ``known`` every row that was brought online.
    """

    key_types: Sequence[DType]
    types: Sequence[DType]
    ttl: timedelta | None = None
    history: list[Row] = field(default_factory=list)
    known: list[Row] = field(default_factory=list)
    batches: dict[str, list[Row]] = field(default_factory=dict)

    def write(
        self, rows: Sequence[Row], to: Literal["online", "offline", "both"], now: datetime, *, key: str | None = None
    ) -> None:
        """Take a batch, or raise `Refused` and change nothing."""
        if not rows or oracle.batch_problems(rows, now, self.key_types):  # W-1, O-4
            raise Refused
        name = key or repr(rows)  # W-2: without a key, the rows themselves make one
        if to != "online":
            if self.batches.get(name, rows) != list(rows):  # W-2: one key, one batch
                raise Refused
            if name not in self.batches:
                self.batches[name] = list(rows)
                self.history += rows
        if to != "offline":
            self.known += rows  # O-1: the order of writes is forgotten

    def materialize(self, start: datetime | None, end: datetime, now: datetime) -> None:
        """Bring the window online, both its ends included (O-6, W-4)."""
        until = min(end, now)
        self.known += [
            row for row in self.history
            if row.event is not None and (start is None or start <= row.event) and row.event <= until
        ]  # fmt: skip

    def materialize_incremental(self, now: datetime) -> None:
        """Bring everything online that is in history by now, however late it came (W-3)."""
        self.materialize(None, now, now)

    def historical(self, asked: Iterable[tuple[Sequence[Any], datetime]], **knowledge: Any) -> list[Answer]:
        """Return the answer of each entity row; ``knowledge`` as for `oracle.historical`."""
        rows = oracle.by_key(self.history, self.key_types)
        return oracle.historical(rows, asked, self.key_types, self.types, ttl=self.ttl, **knowledge)

    def online(self, keys: Iterable[Sequence[Any]], now: datetime) -> list[Answer]:
        """Return the answer of each key at ``now``."""
        rows = oracle.by_key(self.known, self.key_types)
        return oracle.online(rows, keys, now, self.key_types, self.types, ttl=self.ttl)
