"""A world to audit: histories with known times, and the honest training frame of them, made by the oracle in plain Python."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

import e2i_fs as fs
from e2i_fs.testing.oracle import Row, by_key, historical

START = datetime(2024, 1, 1, tzinfo=UTC)
STAMP = pa.timestamp("us", "UTC")
KEYS = {"hcp": fs.String, "brand": fs.String}
FIELDS = {"trx": fs.Int64, "engagement": fs.Float64, "tier": fs.String, "active": fs.Bool}
TYPES = list(FIELDS.values())
ARROW = {"trx": pa.int64(), "engagement": pa.float64(), "tier": pa.string(), "active": pa.bool_()}
FEATURES = ["visits:trx", "visits:engagement", "visits:tier", "visits:active"]
LABEL = "conversions:converted"
TTL = timedelta(days=12)
HORIZON = timedelta(days=7)


@dataclass
class World:
    """Histories and entity rows.

    ``rows`` is the history of ``visits``, ``asked`` the entity rows, ``frame`` the honest training frame as pandas: keys,
    ``event_timestamp``, the features as they could be known, ``converted`` (bool) and ``amount`` (float).
    """

    seed: int = 1
    keys: int = 30
    each: int = 24
    asked_each: int = 14
    days: int = 120
    strength: float = 1.2
    balance: float = 0.0
    missing: float = 0.06
    ttl: timedelta | None = TTL
    late: tuple[float, float] = (1, 10)
    ties: float = 0.0
    at_events: bool = False
    confusable: bool = False
    rows: list[Row] = field(default_factory=list)
    asked: list[tuple[tuple[str, str], datetime]] = field(default_factory=list)

    def __post_init__(self) -> None:
        rng = self.rng = Random(self.seed)
        for n in range(self.keys):
            key = (f"h{rng.randrange(10**6):06d}", f"b{n % 3}")
            if self.confusable:  # two keys that are one when they are written together
                key = (f"h{n // 2}_", f"{n // 2}b") if n % 2 else (f"h{n // 2}_{n // 2}", "b")
            events = sorted(START + timedelta(seconds=rng.randrange(self.days * 86_400)) for _ in range(self.each))
            for event in events:
                if rng.random() < self.ties and self.rows:
                    event = self.rows[-1].event if self.rows[-1].key == key else event
                self.rows.append(Row(key, event, event + timedelta(hours=rng.uniform(*self.late)), self.values()))
            for i in range(self.asked_each):
                t = START + timedelta(seconds=rng.randrange(86_400, self.days * 86_400))
                self.asked.append((key, events[i] if self.at_events and i % 2 else t))
        self.asked = sorted(set(self.asked), key=lambda q: (q[1], q[0]))
        self.answers = self.answered()
        self.converted = [self.outcome(a.values) for a in self.answers]
        self.amount = [round(20 + 6 * (a.values[1] or 0) + rng.gauss(0, 4), 3) for a in self.answers]

    def values(self) -> tuple[Any, ...]:
        rng = self.rng
        made = (rng.randrange(10_000), rng.gauss(0, 1), f"tier_{rng.randrange(5)}", rng.random() < 0.5)
        return tuple(None if rng.random() < self.missing else v for v in made)

    def outcome(self, values: tuple[Any, ...]) -> bool:
        score = self.strength * (values[1] or 0.0) + 0.6 * bool(values[3]) + self.balance
        return self.rng.random() < 1 / (1 + math.exp(-score))

    def answered(self, shift: timedelta = timedelta(0), **how: Any) -> list[Any]:
        """The oracle's answer to every entity row, ``shift`` later than it asks."""
        given = {"ttl": self.ttl, "filter_by_created": True, **how}
        asked = [(key, t + shift) for key, t in self.asked]
        return historical(by_key(self.rows, list(KEYS.values())), asked, list(KEYS.values()), TYPES, **given)

    def arrow(self, answers: list[Any] | None = None) -> pa.Table:
        """The training frame with these answers, the honest ones unless given, in exact types."""
        answers = self.answers if answers is None else answers
        columns: dict[str, Any] = {
            "hcp": [k[0] for k, _ in self.asked],
            "brand": [k[1] for k, _ in self.asked],
            "event_timestamp": pa.array([t for _, t in self.asked], STAMP),
        }
        for i, (name, type_) in enumerate(ARROW.items()):
            columns[name] = pa.array([a.values[i] for a in answers], type_)
        columns["converted"] = pa.array(self.converted)
        columns["amount"] = pa.array(self.amount, pa.float64())
        columns["label_at"] = pa.array([t + HORIZON for _, t in self.asked], STAMP)
        return pa.table(columns)

    def frame(self, answers: list[Any] | None = None) -> pd.DataFrame:
        """The same as plain pandas makes of it: whole numbers with gaps are floats, NULL is NaN or None."""
        return self.arrow(answers).to_pandas()

    def history(self) -> pd.DataFrame:
        """The history as somebody with a notebook has it."""
        table: dict[str, Any] = {"hcp": [r.key[0] for r in self.rows], "brand": [r.key[1] for r in self.rows]}
        for name, times in (("happened", [r.event for r in self.rows]), ("known", [r.created for r in self.rows])):
            table[name] = pa.array(times, STAMP).to_pandas()
        table |= {
            name: pa.array([r.values[i] for r in self.rows], t).to_pandas() for i, (name, t) in enumerate(ARROW.items())
        }
        return pd.DataFrame(table).sort_values("happened", kind="stable").reset_index(drop=True)

    def definitions(self, folder: Path) -> list[Any]:
        """Write the histories, shuffled, and return the views over them."""
        folder.mkdir(parents=True, exist_ok=True)
        rows = self.rng.sample(self.rows, len(self.rows))
        columns: dict[str, Any] = {"hcp": [r.key[0] for r in rows], "brand": [r.key[1] for r in rows]}
        columns |= {
            "event_timestamp": pa.array([r.event for r in rows], STAMP),
            "created_at": pa.array([r.created for r in rows], STAMP),
        }
        columns |= {name: pa.array([r.values[i] for r in rows], t) for i, (name, t) in enumerate(ARROW.items())}
        pq.write_table(pa.table(columns), folder / "visits.parquet")
        known = pa.table({
            "hcp": [k[0] for k, _ in self.asked], "brand": [k[1] for k, _ in self.asked],
            "event_timestamp": pa.array([t + HORIZON for _, t in self.asked], STAMP),
            "converted": pa.array(self.converted), "amount": pa.array(self.amount, pa.float64()),
        })  # fmt: skip
        pq.write_table(known, folder / "conversions.parquet")
        entities = [fs.Entity("hcp", join_keys={"hcp": fs.String}), fs.Entity("brand", join_keys={"brand": fs.String})]
        return [
            fs.FeatureView(
                "visits", entities=entities, schema=[fs.Field(n, t) for n, t in FIELDS.items()], ttl=self.ttl,
                source=fs.ParquetSource(str(folder / "visits.parquet"), created_timestamp_field="created_at"),
            ),
            fs.FeatureView(
                "conversions", entities=entities, source=fs.ParquetSource(str(folder / "conversions.parquet")),
                schema=[fs.Field("converted", fs.Bool, role="label"), fs.Field("amount", fs.Float64, role="label")],
            ),
            fs.FeatureService("careless", features=["visits:trx", "conversions:converted"]),
        ]  # fmt: skip

    def store(self, folder: Path, backend: str = "memory", **plugins: Any) -> Any:
        config = {"backend": backend} if backend == "memory" else {"backend": backend, "path": str(folder / "store")}
        store = fs.connect(config, clock=lambda: START + timedelta(days=400), **plugins)
        store.apply(self.definitions(folder))
        return store
