"""Definitions as JSON, for those who speak no Python: the forms that `plan_registration` takes and `describe` gives."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from e2i_fs.wire.arguments import Strict

__all__ = ["Definitions", "EntityForm", "FieldForm", "ServiceForm", "SourceForm", "ViewForm"]

DtypeForm = Annotated[
    str | dict[str, Any],
    Field(
        description="Int32, Int64, Float32, Float64, Bool, String, Bytes, Date, Timestamp or Json; or one of "
        '{"array": dtype}, {"vector": [size]}, {"decimal": [precision, scale]}, {"struct": [[name, dtype], ...]}.'
    ),
]
Seconds = Annotated[float, Field(gt=0)]


class _About(Strict):
    tags: dict[str, str] = Field(default={}, description="Text by name; use_case is one to search by.")
    owner: str = ""
    description: str = Field(default="", description="What it is, in words that a search finds.")


class EntityForm(_About):
    """What features are about, and the columns that identify one of it."""

    name: str
    join_keys: dict[str, DtypeForm] | None = Field(
        default=None, description="Key columns with their dtypes; one String column named like the entity unless given."
    )


class FieldForm(Strict):
    """One feature."""

    name: str
    dtype: DtypeForm
    role: Literal["feature", "label"] = Field(
        default="feature", description="label marks an outcome, which is never given as a model input."
    )
    description: str = ""


class _TimesForm(Strict):
    timestamp_field: str = Field(default="event_timestamp", description="The column of when a row became true.")
    created_timestamp_field: str | None = Field(
        default=None, description="The column of when a row became known; needed for as_of."
    )
    field_mapping: dict[str, str] = Field(default={}, description="Source columns with their names in the view.")


class ParquetForm(_TimesForm):
    """Parquet files, where the server may read."""

    type: Literal["parquet"]
    path: str | list[str]


class CsvForm(_TimesForm):
    """CSV files, where the server may read."""

    type: Literal["csv"]
    path: str | list[str]
    delimiter: str = ","


class PushForm(_TimesForm):
    """A name that producers push rows to."""

    type: Literal["push"]
    name: str


class RegisteredForm(Strict):
    """The source of a view that is registered already, whatever and wherever it is."""

    type: Literal["registered"]
    view: str


SourceForm = Annotated[ParquetForm | CsvForm | PushForm | RegisteredForm, Field(discriminator="type")]


class ViewForm(_About):
    """Features that are known together, about the same entities."""

    name: str
    entities: list[str] = Field(description="Names of entities, registered or in this document; their keys together.")
    fields: list[FieldForm] = Field(min_length=1)
    source: SourceForm | None = Field(default=None, description="null: rows are only written, by write or push.")
    ttl_seconds: Seconds | None = Field(default=None, description="How long a row answers; null is no limit.")
    online: bool = True
    max_staleness_seconds: Seconds | None = Field(default=None, description="Older than this the view is stale.")


class ServiceForm(_About):
    """A named list of features: what one model takes."""

    name: str
    features: list[str] = Field(min_length=1, description='References: "view:feature" or "view:*".')


class Definitions(Strict):
    """What to register. What is registered already and not named here stays as it is."""

    entities: list[EntityForm] = Field(default_factory=list)
    views: list[ViewForm] = Field(default_factory=list)
    services: list[ServiceForm] = Field(default_factory=list)
