"""What a frame of features is: the metadata that goes with it, as one frozen value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from datetime import timedelta

from e2i_fs.definitions import Entity, check_name
from e2i_fs.dtypes import DType, check_dtype
from e2i_fs.errors import DefinitionError
from e2i_fs.frozen import FrozenMap
from e2i_fs.sources import DEFAULT_TIMESTAMP, PushSource, Source

__all__ = ["FeatureSpec", "check_spec"]


@dataclass(frozen=True, slots=True)
class FeatureSpec:
    """The metadata of a frame of features: everything about its view that the rows themselves do not say.

    ``entities`` is a mapping of entity name to key columns (whose dtypes are inferred unless the entity is registered),
    or a list of `Entity` objects and names of registered ones. Every other column except the times is a feature, unless
    ``features`` chooses; ``labels`` are the outcomes among them (P-12), ``ignore`` is left out. ``dtypes`` gives the
    dtypes that cannot or should not be inferred. ``required`` columns may not have missing values.

    Rows are written through the view. With ``push`` (a name or a `PushSource`) producers can push to it afterwards.
    With ``source`` the history is that source: the rows are not written again, and are what is read back.

    >>> from datetime import timedelta
    >>> from e2i_fs.agents import FeatureSpec
    >>> FeatureSpec("hcp_stats", entities={"hcp": ["hcp_id"]}, labels=["is_churned"], ttl=timedelta(days=7)).entities
    {'hcp': ('hcp_id',)}
    """

    view: str
    _: KW_ONLY
    entities: Mapping[str, Sequence[str]] | Sequence[Entity | str]
    timestamp_column: str = DEFAULT_TIMESTAMP
    created_column: str | None = None
    features: Sequence[str] | None = None
    labels: Sequence[str] = ()
    ignore: Sequence[str] = ()
    required: Sequence[str] = ()
    dtypes: Mapping[str, DType] = field(default_factory=FrozenMap)
    ttl: timedelta | None = None
    max_staleness: timedelta | None = None
    online: bool = True
    owner: str = ""
    tags: Mapping[str, str] = field(default_factory=FrozenMap)
    description: str = ""
    source: Source | None = None
    push: str | PushSource | None = None

    def __post_init__(self) -> None:
        where = f"FeatureSpec({self.view!r})"
        check_name(self.view, "FeatureSpec")
        for option in ("features", "labels", "ignore", "required"):
            given = getattr(self, option)
            if given is None:
                continue
            if isinstance(given, str) or not all(isinstance(name, str) for name in given):
                raise DefinitionError(f"{where}: {option} is {given!r}; give a list of column names.")
            object.__setattr__(self, option, tuple(given))
        if not self.entities or isinstance(self.entities, str | Entity):
            raise DefinitionError(
                f"{where}: entities is {self.entities!r}; say what the features are about, e.g. "
                "entities={'hcp': ['hcp_id']}."
            )
        object.__setattr__(self, "entities", _entities(self.entities, where))
        dtypes = {name: check_dtype(dtype, f"{where}: dtypes[{name!r}]") for name, dtype in self.dtypes.items()}
        object.__setattr__(self, "dtypes", FrozenMap(dtypes))
        if self.source is not None and (isinstance(self.source, PushSource) or not isinstance(self.source, Source)):
            raise DefinitionError(
                f"{where}: source is {self.source!r}; give a stored source. A push source goes to push=."
            )
        if self.push is not None and not isinstance(self.push, str | PushSource):
            raise DefinitionError(f"{where}: push is {self.push!r}; give a name or a PushSource.")
        if self.timestamp_column == self.created_column:
            raise DefinitionError(
                f"{where}: timestamp_column and created_column are both {self.timestamp_column!r}; when a row became "
                "known is another column, or None."
            )

    def view_source(self) -> tuple[Source | None, str | None]:
        """Return the source of the view, and a sentence when it is one that nobody named.

        A view without a source has no created column, and its time column is called ``event_timestamp``. Where the
        frame says otherwise the view gets a push source, which can say so. Raises `DefinitionError` when the frame's
        time columns are not the source's.
        """
        source, note = self.source, None
        if isinstance(self.push, PushSource):
            source = self.push
        elif self.push is not None and self.source is not None:
            source = PushSource(self.push, batch_source=self.source)
        elif self.source is None and (self.push is not None or self.named_times):
            name = self.push or f"{self.view}_push_source"
            source = PushSource(
                name, timestamp_field=self.timestamp_column, created_timestamp_field=self.created_column
            )
            if self.push is None:
                note = f"the view gets the push source {name!r}, by which it can name its time columns"
        times = (self.timestamp_column, self.created_column)
        if source is not None and (source.event_column, source.created_column) != times:
            raise DefinitionError(
                f"FeatureSpec({self.view!r}): the source calls the time columns {source.event_column!r} and "
                f"{source.created_column!r}, the frame {times[0]!r} and {times[1]!r}. Make them the same."
            )
        return source, note

    @property
    def named_times(self) -> bool:
        """Whether the time columns are others than a view without a source has."""
        return self.created_column is not None or self.timestamp_column != DEFAULT_TIMESTAMP


def _entities(
    given: Mapping[str, Sequence[str]] | Sequence[Entity | str], where: str
) -> FrozenMap[tuple[str, ...]] | tuple[Entity | str, ...]:
    if not isinstance(given, Mapping):
        for entity in given:
            if not isinstance(entity, Entity | str):
                raise DefinitionError(f"{where}: {entity!r} is no Entity and no name of one.")
        return tuple(given)
    made: dict[str, tuple[str, ...]] = {}
    for name, columns in given.items():
        columns = [columns] if isinstance(columns, str) else columns
        if not columns or not all(isinstance(c, str) for c in columns):
            raise DefinitionError(
                f"{where}: entity {name!r} has the key columns {columns!r}; name at least one column."
            )
        made[name] = tuple(columns)
    return FrozenMap(made)


def check_spec(spec: object) -> FeatureSpec:
    """Return ``spec`` if it is one, else raise a `DefinitionError`."""
    if isinstance(spec, FeatureSpec):
        return spec
    raise DefinitionError(f"spec is {spec!r}; give a FeatureSpec, which says what the frame's columns are.")
