"""A small view that any backend can keep, with short words to write rows to it and read them back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal as PyDecimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from e2i_fs import dtypes as d
from e2i_fs.backend import Key, OnlineRow
from e2i_fs.batch import online_rows
from e2i_fs.csv_files import NESTED
from e2i_fs.definitions import Entity, FeatureView, Field
from e2i_fs.dtypes import DType
from e2i_fs.protocol import FeatureStore
from e2i_fs.sources import CSVSource, DuckDBSource, ParquetSource, Source
from e2i_fs.testing.findings import Inapplicable, Mismatch
from e2i_fs.testing.kit import Kit
from e2i_fs.values import arrow_type

__all__ = ["ABSENT", "Said", "Sample", "Steps", "exactly", "kept_kinds", "numbered"]

_DAY = datetime(2024, 3, 10, tzinfo=UTC)
_UTC_US = pa.timestamp("us", "UTC")
_TYPES = (
    d.Int64, d.String, d.Float64, d.Int32, d.Float32, d.Timestamp, d.Date, d.Bytes, d.Json, d.Decimal(10, 2),
    d.Array(d.Int64), d.Struct(n=d.Int64), d.Vector(1), d.Bool,
)  # fmt: skip

ABSENT = (None, "NOT_FOUND")
"""What a key without a row is answered: value and status."""

Said = tuple[int, float, int | None]
"""One row: the number of its key, its event time in seconds after midnight, the number of its value."""


def kept_kinds(declared: frozenset[str] | None, every: Sequence[str]) -> list[str]:
    """Return the kinds of ``every`` that a backend declares; None declares all."""
    return [kind for kind in every if declared is None or kind in declared]


def numbered(dtype: DType, number: int | None) -> Any:
    """Return the value of ``dtype`` with this number: another one for each number, but for Bool. None stays None."""
    if number is None:
        return None
    match dtype.kind:
        case "string":
            return f"n{number}"
        case "bytes":
            return f"n{number}".encode()
        case "json":
            return f'{{"n": {number}}}'
        case "float32" | "float64":
            return float(number)
        case "date":
            return date(2024, 1, 1) + timedelta(days=number)
        case "timestamp":
            return _DAY + timedelta(microseconds=number)
        case "decimal":
            return PyDecimal(number).scaleb(-dtype.numbers[1])
        case "bool":
            return bool(number % 2)
        case "array":
            return [number]
        case "struct":
            return {"n": number}
        case "vector":
            return [float(number)]
        case _:
            return number


class Steps:
    """What a test did, as a reader of a finding sees it: one step a line."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __repr__(self) -> str:
        return "\n".join(f"{n}. {line}" for n, line in enumerate(self.lines, 1))


class Sample:
    """The view ``name``: one join key ``k`` and one feature ``x``, of kinds that the backend declares.

    It is midday of 2024-03-10. Keys and values are spoken of by number. ``value_type`` may be given.
    """

    def __init__(self, kit: Kit, name: str = "sample", *, value_type: DType | None = None) -> None:
        can = kit.can
        keys = [t for t in dict.fromkeys((d.String, *_TYPES)) if t.kind in d.KEY_KINDS - {"bool"}]
        keys = [t for t in keys if can.key_kinds is None or t.kind in can.key_kinds]
        self.value_types = [t for t in _TYPES if can.feature_kinds is None or t.kind in can.feature_kinds]
        if not keys or not self.value_types:
            raise Inapplicable(
                "the backend declares no kind of join key, or of feature, that can be told apart by number"
            )
        self.kit = kit
        self.name = name
        self.key_types = keys
        self.key_type = keys[0]
        self.value_type = value_type or self.value_types[0]
        self.online_too = can.online
        kit.clock.set(_DAY + timedelta(hours=12))
        if not isinstance(kit.example, Steps):  # what is done to all samples of a test is the example of its finding
            kit.example = Steps()
        self.steps = kit.example

    def view(self, *more: Field, source: Source | None = None, ttl: timedelta | None = None) -> FeatureView:
        """Return the definition, with ``more`` fields after ``x``."""
        entity = Entity(f"{self.name}_entity", join_keys={"k": self.key_type})
        schema = [Field("x", self.value_type), *more]
        return FeatureView(
            self.name, entities=[entity], schema=schema, source=source, ttl=ttl, online=self.online_too
        )  # fmt: skip

    def apply(self, *more: Field, source: Source | None = None) -> None:
        """Apply it through the store."""
        fields = "".join(f", {f.name} {f.dtype!r}" for f in more)
        self.tell(f"apply the view {self.name}: key k {self.key_type!r}, features x {self.value_type!r}{fields}")
        self.kit.store.apply([self.view(*more, source=source)])

    def tell(self, step: str, *rows: Said) -> None:
        """Add a step, and some of its rows, to the example that a finding shows."""
        told = [
            f"k={numbered(self.key_type, k)!r} at {s:g} s x={numbered(self.value_type, x)!r}" for k, s, x in rows[:5]
        ]
        more = [f"and {len(rows) - 5} more"] * (len(rows) > 5)
        self.steps.lines.append(f"{step}{': ' if rows else ''}{'; '.join([*told, *more])}")

    def table(self, *rows: Said, more: Sequence[Field] = ()) -> pa.Table:
        """Return rows as a batch; a field of ``more`` has the number of ``x``."""
        columns = {
            "k": pa.array([numbered(self.key_type, key) for key, _, _ in rows], arrow_type(self.key_type)),
            "event_timestamp": pa.array([_DAY + timedelta(seconds=s) for _, s, _ in rows], _UTC_US),
        }
        for field in (Field("x", self.value_type), *more):
            values = [numbered(field.dtype, value) for _, _, value in rows]
            columns[field.name] = pa.array(values, arrow_type(field.dtype))
        return pa.table(columns)

    @property
    def target(self) -> Any:
        """Where a written row goes: everywhere that the backend keeps rows."""
        if not self.kit.can.append and not self.online_too:
            raise Inapplicable("the backend declares neither append nor online, so it takes no rows")
        if self.kit.can.append:
            return "both" if self.online_too else "offline"
        return "online"

    def append(self, *rows: Said, batch_id: str, more: Sequence[Field] = ()) -> bool:
        """Add rows to history past the store, as the core would."""
        self.tell(f"append to {self.name} with batch_id {batch_id!r}", *rows)
        return self.kit.backend.append(self.name, self.table(*rows, more=more), batch_id=batch_id)

    def online_batch(self, *rows: Said) -> tuple[list[Key], list[OnlineRow]]:
        """Return rows as the backend gets them for its online state."""
        return online_rows(self.table(*rows), self.view(), {"k": self.key_type})

    def write(self, *rows: Said, to: Any = None, store: FeatureStore | None = None, key: str | None = None) -> Any:
        """Write rows through the store, everywhere that the backend keeps rows unless ``to`` says."""
        target = to or self.target
        self.tell(f"write to {self.name}, {target}{', through another handle' if store else ''}", *rows)
        return (store or self.kit.store).write(self.name, self.table(*rows), to=target, idempotency_key=key)

    def answer(self, number: int | None) -> tuple[Any, str]:
        """Return what is answered for a row with the value of this number."""
        return (numbered(self.value_type, number), "NULL_VALUE" if number is None else "PRESENT")

    def history(
        self, *keys: int, at: float = 43_200, store: FeatureStore | None = None, feature: str = "x"
    ) -> list[tuple[Any, str]]:
        """Return (value, status) of each key at ``at`` seconds after midnight, from history."""
        frame = self.table(*((key, at, None) for key in keys)).select(["k", "event_timestamp"])
        ref = f"{self.name}:{feature}"
        result = (store or self.kit.store).get_historical_features(frame, [ref])
        values = result.to_arrow().column(feature).to_pylist()
        return [(value, status.name) for value, status in zip(values, result.statuses[ref], strict=True)]

    def online(self, *keys: int, store: FeatureStore | None = None, feature: str = "x") -> list[tuple[Any, str]]:
        """Return (value, status) of each key online."""
        ref = f"{self.name}:{feature}"
        rows = [{"k": numbered(self.key_type, key)} for key in keys]
        answer = (store or self.kit.store).get_online_features([ref], rows)
        return [(v, s.name) for v, s in zip(answer.to_dict()[feature], answer.statuses[ref], strict=True)]

    def expect(
        self, rule: str, says: str, *keys: int, expected: Sequence[tuple[Any, str]], store: FeatureStore | None = None
    ) -> None:
        """Raise `Mismatch` unless history, and online where the backend keeps it, answer ``expected`` for ``keys``."""
        if self.kit.can.append:
            self.kit.is_(rule, f"{says} History:", self.history(*keys, store=store), list(expected))
        if self.online_too:
            self.kit.is_(rule, f"{says} Online:", self.online(*keys, store=store), list(expected))

    def rows(self) -> int:
        """Return how many rows its history has."""
        found: int = self.kit.store.statistics(f"{self.name}:x").rows
        return found

    def files(self, kinds: Iterable[str]) -> list[str]:
        """Return the kinds of source that are files and can hold this view."""
        nested = {self.key_type.kind, self.value_type.kind} & {*NESTED, "bytes"}
        return sorted({"parquet", "csv", "duckdb"} & set(kinds) - ({"csv"} if nested else set()))

    def source(self, kind: str, folder: Path, *rows: Said) -> tuple[Source, Path]:
        """Write rows as a file of this kind (parquet, csv, duckdb); return the source and the file."""
        folder.mkdir(parents=True, exist_ok=True)
        table = self.table(*rows)
        path = folder / f"{self.name}.{kind}"
        if kind == "parquet":
            pq.write_table(table, path)
            return ParquetSource(str(path)), path
        if kind == "csv":
            pyarrow.csv.write_csv(table, path)
            return CSVSource(str(path)), path
        import duckdb

        pq.write_table(table, path.with_suffix(".tmp"))
        with duckdb.connect(str(path)) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            connection.execute("CREATE TABLE rows AS SELECT * FROM read_parquet($1)", [str(path.with_suffix(".tmp"))])
        return DuckDBSource(str(path), table="rows"), path


def exactly(rule: str, kind: type[Exception], error: Exception, what: str) -> None:
    """Raise `Mismatch` unless ``error`` is of ``kind`` itself, not of a kind of it."""
    if type(error) is not kind:
        raise Mismatch(rule, what, expected=f"exactly {kind.__name__}", got=f"{type(error).__name__}: {error}")
