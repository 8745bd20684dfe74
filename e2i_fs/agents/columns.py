"""The columns of a frame, one by one: what each is, and everything that is wrong with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from e2i_fs.agents.inference import AmbiguousError, Inferred, infer, whole_floats
from e2i_fs.agents.spec import FeatureSpec
from e2i_fs.definitions import Entity, FeatureView, Field
from e2i_fs.dtypes import KEY_KINDS, DType, Timestamp
from e2i_fs.errors import did_you_mean

__all__ = ["Columns"]


@dataclass(slots=True)
class Columns:
    """One pass over the columns: what each is, and what is wrong with it."""

    table: pa.Table
    spec: FeatureSpec
    existing: FeatureView | None
    inferred: list[Inferred] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

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
