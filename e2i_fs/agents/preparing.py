"""A frame and its metadata → the view it makes and the batch to write, every problem listed before anything is done."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from e2i_fs.agents.copies import label_copies
from e2i_fs.agents.inference import AmbiguousError, Inferred, infer, whole_floats
from e2i_fs.agents.spec import FeatureSpec
from e2i_fs.batch import checked_batch
from e2i_fs.definitions import Entity, FeatureView, Field
from e2i_fs.dtypes import KEY_KINDS, DType, Timestamp
from e2i_fs.errors import DefinitionError, InvalidBatchError, InvalidEntityFrameError, did_you_mean
from e2i_fs.frames import Frame

__all__ = ["Prepared", "prepare", "read_table"]

_REFUSED = "was refused, nothing was registered and nothing written"


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a frame comes to: its view with entities as objects, the batch in the view's dtypes, and what was inferred."""

    view: FeatureView
    join_keys: Mapping[str, DType]
    batch: pa.Table
    inferred: tuple[Inferred, ...]
    warnings: tuple[str, ...]


def read_table(frame: Any, what: str) -> pa.Table:
    """Return a frame as an Arrow table. Raises `InvalidBatchError` naming each column of mixed types, or mixed zones."""
    if isinstance(frame, list | tuple) and not frame:
        return pa.table({})
    problems = list(_mixed_zones(frame))
    try:
        table = Frame(frame, what).table
    except InvalidEntityFrameError as error:
        found = list(_mixed_types(frame)) or [str(error)]
        raise InvalidBatchError(f"{_upper(what)} {_REFUSED}:", [*found, *problems]) from error
    if problems:
        raise InvalidBatchError(f"{_upper(what)} {_REFUSED}:", problems)
    return table


def prepare(
    table: pa.Table,
    spec: FeatureSpec,
    *,
    registered: Mapping[str, Entity],
    existing: FeatureView | None,
    now_us: int,
    skew_us: int,
) -> Prepared:
    """Return what ``table`` comes to, or raise `InvalidBatchError` with every problem of it.

    ``registered`` are the store's entities and ``existing`` its view of this name, whose dtypes stand. Times later than
    ``now_us`` and ``skew_us`` (microseconds) are refused.
    """
    reading = _Reading(table, spec, existing, [], [], [])
    entities = reading.entities(registered)
    join_keys = {key: dtype for entity in entities for key, dtype in entity.keys.items()}
    source, note = spec.view_source()
    warnings = [note] if note else []
    reading.times()
    fields = reading.fields(join_keys)
    if not any(f.role == "feature" for f in fields):
        about = " and ".join(repr(entity.name) for entity in entities) or "nothing"
        if not fields:
            reading.problems.append(
                f"there are no features of {about}: every column is a key, a time, or left out. Add feature columns."
            )
        else:
            warnings.append(f"all columns of view {spec.view!r} are labels; none is ever given as a model input (P-12)")
    if reading.problems:
        raise InvalidBatchError(f"The frame for view {spec.view!r} {_REFUSED}:", reading.problems)
    view = FeatureView(
        spec.view,
        entities=entities,
        schema=fields,
        source=source,
        ttl=spec.ttl,
        online=spec.online,
        max_staleness=spec.max_staleness,
        tags=spec.tags,
        owner=spec.owner,
        description=spec.description,
    )
    left_out = [i.column for i in reading.inferred if i.role == "left out"]
    batch = checked_batch(
        table.drop_columns(left_out), view, join_keys, now_us=now_us, skew_us=skew_us, reject_naive=False
    )
    problems = [*_twice(batch, view, join_keys), *_one_class(batch, view), *label_copies(batch, view)]
    if problems:
        raise InvalidBatchError(f"The frame for view {spec.view!r} {_REFUSED}:", problems)
    return Prepared(view, join_keys, batch, tuple(reading.inferred), (*warnings, *reading.warnings))


@dataclass(slots=True)
class _Reading:
    """One pass over the columns: what each is, and what is wrong with it."""

    table: pa.Table
    spec: FeatureSpec
    existing: FeatureView | None
    inferred: list[Inferred]
    problems: list[str]
    warnings: list[str]

    def entities(self, registered: Mapping[str, Entity]) -> list[Entity]:
        """Return the entities, the registered ones as they are."""
        given = self.spec.entities
        columns = given if isinstance(given, Mapping) else {}
        named: Sequence[Entity | str] = list(given)
        found = [
            entity if isinstance(entity, Entity) else self._entity(entity, columns.get(entity), registered)
            for entity in named
        ]
        made = [entity for entity in found if entity is not None]
        for entity in made:
            for key, dtype in entity.keys.items():
                if self._there(key, f"the join key of entity {entity.name!r}"):
                    self.inferred.append(Inferred(key, "key", dtype, f"a join key of entity {entity.name!r}"))
        return made

    def _entity(self, name: str, columns: Sequence[str] | None, registered: Mapping[str, Entity]) -> Entity | None:
        known = registered.get(name)
        if known is not None:
            if columns is not None and set(columns) != set(known.keys):
                self.problems.append(
                    f"entity {name!r} is registered with the join keys {list(known.keys)}, not {list(columns)}"
                )
            return known
        if columns is None:
            hint = did_you_mean(name, registered)
            self.problems.append(
                f"entity {name!r} is not registered.{hint} Say what its key columns are: entities={{{name!r}: [...]}}"
            )
            return None
        keys = {}
        for column in columns:
            if self._there(column, f"the join key of entity {name!r}"):
                dtype = self._dtype(column, "key")
                if dtype is not None and dtype.kind not in KEY_KINDS:
                    self.problems.append(
                        f"column {column!r} is {dtype!r}, which cannot be compared exactly (P-7), so it is no join key"
                    )
                elif dtype is not None:
                    keys[column] = dtype
        return Entity(name, join_keys=keys) if len(keys) == len(columns) else None

    def times(self) -> None:
        """Check the time columns: there, times, and in zones of one kind."""
        zones = {}
        for role, name in (("event time", self.spec.timestamp_column), ("created time", self.spec.created_column)):
            if name is None or not self._there(name, f"the {role}"):
                continue
            given = self.table.column(name).type
            if not pa.types.is_timestamp(given):
                self.problems.append(f"column {name!r}, the {role}, is {given}; give times (T-2)")
                continue
            _, why = infer(self.table.column(name).slice(0, 0))
            self.inferred.append(Inferred(name, role, Timestamp, why))  # type: ignore[arg-type]
            zones[name] = given.tz
            if given.tz is None:
                self.warnings.append(f"the times of column {name!r} have no zone and are read as UTC (T-1)")
        if len(zones) == 2 and None in zones.values() and any(zones.values()):
            naive = next(name for name, zone in zones.items() if zone is None)
            aware = next(name for name, zone in zones.items() if zone is not None)
            self.problems.append(
                f"column {aware!r} has a time zone and {naive!r} has none: were they written by one clock? Give both a zone"
            )

    def fields(self, join_keys: Mapping[str, DType]) -> list[Field]:
        """Return the fields, in the order of the columns."""
        taken = {*join_keys, self.spec.timestamp_column, self.spec.created_column}
        for option in ("features", "labels", "ignore", "required"):
            for name in getattr(self.spec, option) or ():
                self._there(name, f"named in {option}")
                if name in taken and option != "required":
                    self.problems.append(f"column {name!r} is a key or a time and cannot be named in {option}")
        unknown = [name for name in self.spec.dtypes if name not in self.table.column_names]
        for name in unknown:
            self._there(name, "named in dtypes")
        labels = set(self.spec.labels)
        chosen = self.table.column_names if self.spec.features is None else {*self.spec.features, *labels}
        made = []
        for name in self.table.column_names:
            if name in taken:
                continue
            if name in self.spec.ignore or name not in chosen:
                why = "named in ignore" if name in self.spec.ignore else "not named in features"
                self.inferred.append(Inferred(name, "left out", None, why))
                continue
            dtype = self._dtype(name, "label" if name in labels else "feature")
            if dtype is not None:
                made.append(self._field(name, dtype, label=name in labels))
        return made

    def _field(self, name: str, dtype: DType, *, label: bool) -> Field:
        known = None if self.existing is None else self.existing.features.get(name)
        if known is not None and known.role == "label" and not label:
            self.problems.append(f"column {name!r} is registered as a label; name it in labels (P-12)")
        return Field(name, dtype, "label" if label else "feature", known.description if known else "")

    def _dtype(self, name: str, role: str) -> DType | None:
        column = self.table.column(name)
        said = self.spec.dtypes.get(name)
        known = None if self.existing is None else self.existing.features.get(name)
        if said is not None:
            dtype, why = said, "said in dtypes"
        elif known is not None:
            dtype, why = known.dtype, f"registered so in view {self.spec.view!r}"
        else:
            try:
                dtype, why = infer(column)
            except AmbiguousError as error:
                self.problems.append(
                    f"column {name!r}: {error}. Say it with dtypes={{{name!r}: ...}}, or ignore the column"
                )
                return None
            if whole_floats(column):
                self.warnings.append(
                    f"column {name!r} holds whole numbers and gaps, as pandas writes Int64 with gaps; it is taken for "
                    f"{dtype!r}. If they are counts, say dtypes={{{name!r}: fs.Int64}}"
                )
        if role != "key":
            self.inferred.append(Inferred(name, role, dtype, why))  # type: ignore[arg-type]
        return dtype

    def _there(self, name: str, what: str) -> bool:
        names = self.table.column_names
        if name in names:
            return True
        problem = f"column {name!r} is missing, {what}.{did_you_mean(name, names)}"
        if problem not in self.problems:
            self.problems.append(problem)
        return False


def _twice(batch: pa.Table, view: FeatureView, join_keys: Mapping[str, DType]) -> Iterator[str]:
    columns = [*join_keys, view.event_column, *([view.created_column] if view.created_column else [])]
    counted = batch.select(columns).group_by(columns, use_threads=False).aggregate([([], "count_all")])
    twice = counted.filter(pc.greater(counted.column("count_all"), 1))
    for row in twice.slice(0, 5).to_pylist():
        key = ", ".join(f"{name}={row[name]!r}" for name in join_keys)
        when = " and ".join(
            f"{name} {row[name].isoformat() if row[name] else None}" for name in columns[len(join_keys) :]
        )
        yield f"{row['count_all']} rows have {key} at {when}: which of them is true cannot be told. Keep one of them"
    if len(twice) > 5:
        yield f"and {len(twice) - 5} more keys are there twice at one time"


def _one_class(batch: pa.Table, view: FeatureView) -> Iterator[str]:
    for field in view.schema:
        if field.role == "label" and len(batch) > 1 and not pa.types.is_nested(batch.column(field.name).type):
            values = pc.unique(batch.column(field.name).drop_null())
            if len(values) == 1:
                yield (
                    f"the label {field.name!r} is {values[0].as_py()!r} in every row that has one: with one class only no "
                    "model can learn it"
                )


def _columns(frame: Any) -> Mapping[str, Sequence[Any]]:
    """Return the values of a frame whose columns may hold anything; of other kinds nothing is mixed."""
    if isinstance(frame, Mapping):
        return {str(n): v for n, v in frame.items() if isinstance(v, list | tuple)}
    if isinstance(frame, list | tuple) and frame and all(isinstance(row, Mapping) for row in frame):
        names = dict.fromkeys(name for row in frame for name in row)
        return {str(name): [row.get(name) for row in frame] for name in names}
    if type(frame).__module__.partition(".")[0] == "pandas" and type(frame).__name__ == "DataFrame":
        return {str(n): frame[n].tolist() for n in frame.columns if frame[n].dtype == object}
    return {}


def _mixed_types(frame: Any) -> Iterator[str]:
    for name, values in _columns(frame).items():
        try:
            Frame({name: list(values)})
        except InvalidEntityFrameError:
            kinds = sorted({type(v).__name__ for v in values if v is not None})
            yield f"column {name!r} mixes {' and '.join(kinds)}; give every column one type"


def _mixed_zones(frame: Any) -> Iterator[str]:
    for name, values in _columns(frame).items():
        times = [v for v in values if isinstance(v, dt.datetime) and v == v]
        naive = sum(v.tzinfo is None for v in times)
        if 0 < naive < len(times):
            yield (
                f"column {name!r} mixes {naive} times without a zone and {len(times) - naive} with one: what the first mean "
                "cannot be told. Give every time a zone"
            )


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def check_spec(spec: object) -> FeatureSpec:
    """Return ``spec`` if it is one, else raise a `DefinitionError`."""
    if isinstance(spec, FeatureSpec):
        return spec
    raise DefinitionError(f"spec is {spec!r}; give a FeatureSpec, which says what the frame's columns are.")
