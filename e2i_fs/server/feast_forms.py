"""Feast's own requests and answers, as its feature server has them, so that its clients work unchanged.

Keys that are not named here are passed over, as Feast does. ``allow_registry_cache`` and ``transform_on_write`` are taken and
change nothing: definitions are always current. They have no versions either, so every view is of version 0, as in Feast.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "GetOnlineFeatures",
    "Materialize",
    "MaterializeIncremental",
    "OnlineFeatures",
    "Push",
    "WriteToOnlineStore",
]


class _Taken(BaseModel):
    model_config = ConfigDict(extra="ignore")


class GetOnlineFeatures(_Taken):
    """What ``/get-online-features`` takes."""

    entities: dict[str, list[Any]] = Field(description="By join key (or entity of one key): a value for each row.")
    feature_service: str | None = None
    features: list[str] = Field(default=[], description='"view:feature", or "view:*" for all but labels.')
    full_feature_names: bool = Field(default=False, description="Name features view__feature.")
    include_feature_view_version_metadata: bool = False


class _Vector(BaseModel):
    values: list[Any] = Field(description="One for each row, null where missing; times are whole seconds since 1970.")
    statuses: list[Literal["PRESENT", "NULL_VALUE", "NOT_FOUND", "OUTSIDE_MAX_AGE"]]
    event_timestamps: list[str] = Field(description="1970-01-01T00:00:00Z where there is none.")


class _Version(BaseModel):
    name: str
    version: Literal[0]


class _Metadata(BaseModel):
    feature_names: list[str] = Field(description="Join keys, then features in the order asked for.")
    feature_view_metadata: list[_Version] = Field(
        default=[], description="With include_feature_view_version_metadata: each view."
    )


class _About(BaseModel):
    served_by: str
    role: str
    degraded: bool = Field(description="True when the answer may have missed a write.")
    reason: str | None
    age: float | None = Field(description="Seconds from the newest event time in the answer until now.")
    position: dict[str, int]
    fingerprints: dict[str, str]


class OnlineFeatures(BaseModel):
    """What ``/get-online-features`` answers: Feast's keys, and ``e2i_fs``, which its clients pass over."""

    metadata: _Metadata
    results: list[_Vector] = Field(description="One for each of metadata.feature_names.")
    e2i_fs: _About


class Push(_Taken):
    """What ``/push`` takes."""

    push_source_name: str
    df: dict[str, list[Any]] = Field(description="By column: a value for each row.")
    to: Literal["online", "offline", "online_and_offline"] = "online"
    allow_registry_cache: bool = True
    transform_on_write: bool = True


class WriteToOnlineStore(_Taken):
    """What ``/write-to-online-store`` takes."""

    feature_view_name: str
    df: dict[str, list[Any]] = Field(
        description="By column: a value for each row; times may be `event_timestamp`, `created`."
    )
    allow_registry_cache: bool = True
    transform_on_write: bool = True


class _Job(_Taken):
    feature_views: list[str] | None = Field(default=None, description="Every online view unless given.")
    full_feature_names: bool = False
    version: str | None = Field(default=None, description="Definitions have no versions here; leave it out.")


class Materialize(_Job):
    """What ``/materialize`` takes."""

    start_ts: str | None = Field(default=None, description="ISO 8601; without an offset it is UTC.")
    end_ts: str | None = Field(default=None, description="ISO 8601; without an offset it is UTC.")
    disable_event_timestamp: bool = Field(
        default=False, description="From the beginning until now; no times are needed."
    )


class MaterializeIncremental(_Job):
    """What ``/materialize-incremental`` takes."""

    end_ts: str = Field(description="ISO 8601; without an offset it is UTC.")
