"""Where a feature view's history comes from. A source is a value: it names data and never opens it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar

from e2i_fs.errors import DefinitionError, did_you_mean
from e2i_fs.frozen import FrozenMap

if TYPE_CHECKING:
    from e2i_fs.definitions import Field

__all__ = [
    "CSVSource",
    "DuckDBSource",
    "ParquetSource",
    "PushSource",
    "RequestSource",
    "SQLSource",
    "Source",
    "source_from_canonical",
]

DEFAULT_TIMESTAMP = "event_timestamp"
Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


@dataclass(frozen=True, slots=True)
class Source:
    """The base of all sources of history.

    ``timestamp_field`` names the column with the time when a row became true, ``created_timestamp_field`` the column
    with the time when it became known; both as the source spells them. ``field_mapping`` renames columns:
    ``{source column: name in the view}``. ``name`` is for people and not part of the fingerprint.
    """

    kind: ClassVar[str] = ""

    _: KW_ONLY
    timestamp_field: str = DEFAULT_TIMESTAMP
    created_timestamp_field: str | None = None
    field_mapping: Mapping[str, str] = field(default_factory=FrozenMap)
    name: str = ""

    def __post_init__(self) -> None:
        label = f"{type(self).__name__}({self.where()!r})"
        if not isinstance(self.timestamp_field, str) or not self.timestamp_field:
            raise DefinitionError(f"{label}: timestamp_field is {self.timestamp_field!r}; name the event time column.")
        if self.created_timestamp_field == self.timestamp_field:
            raise DefinitionError(
                f"{label}: created_timestamp_field and timestamp_field are both {self.timestamp_field!r}; "
                "when a row became known is another column, or None."
            )
        object.__setattr__(self, "field_mapping", FrozenMap(self.field_mapping))
        targets = list(self.field_mapping.values())
        twice = sorted({t for t in targets if targets.count(t) > 1})
        if twice:
            raise DefinitionError(f"{label}: field_mapping gives the name {twice[0]!r} to two columns.")

    def where(self) -> str:
        """Return how messages refer to this source: its paths, table or query."""
        return self.name

    @property
    def event_column(self) -> str:
        """The name of the event time column in the view's own rows, after ``field_mapping``."""
        return self.field_mapping.get(self.timestamp_field, self.timestamp_field)

    @property
    def created_column(self) -> str | None:
        """The name of the created time column in the view's rows, after ``field_mapping``; None if there is none."""
        created = self.created_timestamp_field
        return None if created is None else self.field_mapping.get(created, created)

    def source_column(self, name: str) -> str:
        """Return the source's own name for the column that the view calls ``name``."""
        return next((column for column, renamed in self.field_mapping.items() if renamed == name), name)

    def canonical(self) -> dict[str, Any]:
        """Return the JSON value of this source from which the view's fingerprint is computed (R-2)."""
        form: dict[str, Any] = {"type": self.kind}
        for f in fields(self):
            value = getattr(self, f.name)
            if f.name == "name":
                continue
            if isinstance(value, Mapping):
                value = dict(sorted(value.items()))
            elif isinstance(value, Source):
                value = value.canonical()
            elif isinstance(value, tuple):
                value = list(value)
            form[f.name] = value
        return form


@dataclass(frozen=True, slots=True)
class _FileSource(Source):
    path: Paths

    def __post_init__(self) -> None:
        given: Sequence[Any] = self.path if isinstance(self.path, list | tuple) else [self.path]
        if not given or not all(isinstance(p, str | os.PathLike) and os.fspath(p) for p in given):
            raise DefinitionError(
                f"{type(self).__name__}({self.path!r}): give a path (a file, a folder or a glob), or a list of paths."
            )
        object.__setattr__(self, "path", tuple(str(os.fspath(p)) for p in given))
        for path in self.paths:
            _check_address(type(self).__name__, self.kind, path)
        Source.__post_init__(self)

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths as given, always a tuple."""
        return self.path  # type: ignore[return-value]

    def where(self) -> str:
        return ", ".join(self.paths)


def _check_address(source: str, kind: str, path: str) -> None:
    """Raise `DefinitionError` for an address that a definition cannot hold; the message shows no user, password or query of it."""
    scheme, sep, rest = path.partition("://")
    if not sep:
        return
    authority, slash, folder = rest.partition("/")
    web = scheme.lower() in ("http", "https")
    shown = f"{scheme}://{authority.rpartition('@')[2]}{slash}{folder}".partition("?")[0]
    if ":" in authority.rpartition("@")[0] or (web and ("@" in authority or "?" in rest)):
        raise DefinitionError(
            f"{source}({shown!r}): the address has a password or a query string in it, and a definition is kept by every backend and "
            "shown to whoever lists it. Give the address alone; who may read it comes from the environment."
        )
    if kind != "parquet":
        raise DefinitionError(f"{source}({shown!r}): of object stores only Parquet is read in place.")


@dataclass(frozen=True, slots=True)
class ParquetSource(_FileSource):
    """Parquet files, read in place: a file, a folder, a glob or a list of these, also in ``s3://…`` stores.

    A relative path starts from the folder of the configuration file, or from the working directory when the store was
    opened with a mapping; it is fixed when the definition is applied (T-4). Raises `DefinitionError` for an empty path,
    and for an address with a password or a query string: definitions are stored and shown.

    >>> from e2i_fs import ParquetSource
    >>> ParquetSource("visits.parquet", created_timestamp_field="loaded_at").timestamp_field
    'event_timestamp'
    """

    kind: ClassVar[str] = "parquet"


@dataclass(frozen=True, slots=True)
class CSVSource(_FileSource):
    """Local CSV files with a header row, read in place; each column is parsed as the dtype that the view declares.

    ``path`` is as in `ParquetSource`, without object stores; ``delimiter`` is one character. Raises `DefinitionError`
    otherwise.

    >>> from e2i_fs import CSVSource
    >>> CSVSource("visits.csv", timestamp_field="at").timestamp_field
    'at'
    """

    kind: ClassVar[str] = "csv"
    delimiter: str = field(default=",", kw_only=True)

    def __post_init__(self) -> None:
        if not isinstance(self.delimiter, str) or len(self.delimiter) != 1:
            raise DefinitionError(f"CSVSource: delimiter is {self.delimiter!r}; give one character.")
        _FileSource.__post_init__(self)


@dataclass(frozen=True, slots=True)
class _TableSource(Source):
    table: str | None = field(default=None, kw_only=True)
    query: str | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if bool(self.table) == bool(self.query):
            raise DefinitionError(f"{type(self).__name__}: give either table= or query=, and not both.")
        if self.table is not None:
            from e2i_fs.sql.names import table_name

            table_name(self.table)
        Source.__post_init__(self)

    def where(self) -> str:
        return self.table or self.query or ""


@dataclass(frozen=True, slots=True)
class DuckDBSource(_TableSource):
    """A table or a query in a DuckDB database file, opened read-only for each retrieval.

    ``path`` is the file; give either ``table`` or ``query``, else it is a `DefinitionError`.

    >>> from e2i_fs import DuckDBSource
    >>> DuckDBSource("warehouse.duckdb", table="visits").table
    'visits'
    """

    kind: ClassVar[str] = "duckdb"
    path: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", str(os.fspath(self.path)))
        _TableSource.__post_init__(self)


@dataclass(frozen=True, slots=True)
class SQLSource(_TableSource):
    """A table or a query in a database reached through ADBC (``pip install "e2i-fs[postgres]"`` for PostgreSQL).

    ``connection`` is a URI such as ``postgresql://user@host/db``; ``${VAR}`` in it is expanded when the connection is
    opened. Give either ``table`` or ``query``. The source is only read, and of a PostgreSQL table only the columns and
    rows that an answer may need. Raises `DefinitionError` for a password written out, since definitions are stored and
    shown.

    >>> from e2i_fs import SQLSource
    >>> SQLSource("postgresql://${PGUSER}@localhost/e2i", table="business_metrics").table
    'business_metrics'
    """

    kind: ClassVar[str] = "sql"
    connection: str

    def __post_init__(self) -> None:
        from e2i_fs.sql.address import check_connection

        check_connection(self.connection)
        _TableSource.__post_init__(self)


@dataclass(frozen=True, slots=True)
class PushSource(Source):
    """A named source for rows that producers push with `Store.push`; each view takes its own columns.

    With a ``batch_source`` the history is that source's rows and the pushed rows together, and the time columns and the
    mapping are the batch source's. Raises `DefinitionError` when they are given here too and differ.

    >>> from e2i_fs import PushSource
    >>> PushSource("clicks", timestamp_field="at").name
    'clicks'
    """

    kind: ClassVar[str] = "push"
    name: str = field(kw_only=False)
    batch_source: Source | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise DefinitionError("PushSource: give a name, e.g. PushSource('hcp_engagement_push_source').")
        batch = self.batch_source
        if batch is not None:
            if not isinstance(batch, Source) or isinstance(batch, PushSource):
                raise DefinitionError(f"PushSource({self.name!r}): batch_source is {batch!r}; give a stored source.")
            own = (self.timestamp_field, self.created_timestamp_field, dict(self.field_mapping))
            theirs: tuple[str, str | None, dict[str, str]] = (batch.event_column, batch.created_column, {})
            if own not in ((DEFAULT_TIMESTAMP, None, {}), theirs):
                raise DefinitionError(
                    f"PushSource({self.name!r}): timestamp_field, created_timestamp_field and field_mapping are those of its "
                    "batch_source; set them there."
                )
            object.__setattr__(self, "timestamp_field", theirs[0])
            object.__setattr__(self, "created_timestamp_field", theirs[1])
        Source.__post_init__(self)

    def canonical(self) -> dict[str, Any]:
        """Return the JSON value of this source, with its name, from which the view's fingerprint is computed (R-2)."""
        return {**Source.canonical(self), "name": self.name}


@dataclass(frozen=True, slots=True)
class RequestSource:
    """Columns that the request itself must bring, as input of on-demand feature views.

    ``schema`` lists the columns as `Field`. Raises `DefinitionError` when the name or the schema is empty.

    >>> from e2i_fs import RequestSource
    >>> from e2i_fs import Field, String
    >>> RequestSource("hcp_request_source", schema=[Field("hcp_id", String)]).name
    'hcp_request_source'
    """

    name: str
    _: KW_ONLY
    schema: Sequence[Field]

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise DefinitionError("RequestSource: give a name.")
        if not self.schema:
            raise DefinitionError(f"RequestSource({self.name!r}): the schema is empty; list the request's columns.")
        object.__setattr__(self, "schema", tuple(self.schema))

    def canonical(self) -> dict[str, Any]:
        """Return the JSON value of this source from which the view's fingerprint is computed (R-2)."""
        return {"type": "request", "name": self.name, "schema": [f.canonical() for f in self.schema]}


_KINDS: dict[str, type[Source]] = {c.kind: c for c in (ParquetSource, CSVSource, DuckDBSource, SQLSource, PushSource)}


def source_from_canonical(form: Mapping[str, Any]) -> Source:
    """Return the source of a canonical form; the inverse of `Source.canonical`.

    >>> source_from_canonical(CSVSource("a.csv").canonical()) == CSVSource("a.csv")
    True
    """
    rest = dict(form)
    kind = rest.pop("type", "")
    if kind not in _KINDS:
        raise DefinitionError(f"Unknown source type {kind!r}.{did_you_mean(str(kind), _KINDS)}")
    if rest.get("batch_source") is not None:
        rest["batch_source"] = source_from_canonical(rest["batch_source"])
    return _KINDS[kind](**rest)
