"""One feature store protocol in front of many feature stores.

``import e2i_fs as fs`` and then ``fs.connect(...)``. The names below are the public ones; each is imported when it
is first used, so that importing this package imports neither pandas, pyarrow, duckdb nor feast.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from e2i_fs.aio import AsyncJobs, AsyncStore, connect_async
    from e2i_fs.backend import (
        ArrowRows,
        Backend,
        Capabilities,
        Knowledge,
        NativePointInTime,
        OnlineRow,
        ParquetRows,
        Position,
    )
    from e2i_fs.catalog import Catalog, Plan
    from e2i_fs.clock import Clock
    from e2i_fs.definitions import Entity, FeatureService, FeatureView, Field
    from e2i_fs.discovery import FoundFeature
    from e2i_fs.dtypes import (
        Array,
        Bool,
        Bytes,
        Date,
        Decimal,
        DType,
        Float32,
        Float64,
        Int32,
        Int64,
        Json,
        String,
        Struct,
        Timestamp,
        Vector,
    )
    from e2i_fs.errors import (
        BackendDataError,
        BackendError,
        BackendUnavailableError,
        BreakingChangeError,
        ConfigError,
        DeadlineExceededError,
        DefinitionError,
        DegradedAnswerError,
        DuplicateBackendError,
        E2IError,
        FailoverError,
        FeatureNameCollisionError,
        HoldoutLockedError,
        InvalidBatchError,
        InvalidEntityFrameError,
        InvalidTimestampError,
        JobsFailedError,
        KeyTypeWarning,
        LabelRequestedError,
        LeakageError,
        NoEligibleBackendError,
        PluginLoadError,
        QualityGateBlockedError,
        ReceiptError,
        RequestError,
        RunOverlapError,
        RunTimeoutError,
        SchemaMismatchError,
        SplitError,
        StalePlanError,
        StaleViewsError,
        StateKeyError,
        ThrottledError,
        UnknownBackendError,
        UnknownFeatureError,
        UnsupportedError,
    )
    from e2i_fs.failover.differences import Diff
    from e2i_fs.failover.journal import JournalState
    from e2i_fs.failover.replay import CatchUp
    from e2i_fs.on_demand import OnDemandFeatureView, on_demand_feature_view
    from e2i_fs.opening import connect
    from e2i_fs.ops.event_history import EventRecord
    from e2i_fs.ops.freshness import FreshnessReport, FreshnessStatus
    from e2i_fs.ops.job_summary import JobSummary
    from e2i_fs.ops.jobs import Job, JobReport, Jobs
    from e2i_fs.ops.materialize import MaterializationReport, MaterializationRun
    from e2i_fs.ops.settings import MaterializationConfig
    from e2i_fs.ops.statistics import FeatureStatistics
    from e2i_fs.plugins import BackendSpec, hookimpl, hookspec
    from e2i_fs.protocol import AsyncFeatureStore, FeatureStore
    from e2i_fs.receipts import TrainingReceipt, Verification
    from e2i_fs.results import Attempt, FeatureStatus, HistoricalResult, OnlineResult, Provenance
    from e2i_fs.routing import BackendHealth
    from e2i_fs.sorted_copies import Optimized, SortedCopy
    from e2i_fs.sources import CSVSource, DuckDBSource, ParquetSource, PushSource, RequestSource, SQLSource
    from e2i_fs.streaming import historical_batches
    from e2i_fs.telemetry.events import Event
    from e2i_fs.writing import WriteReceipt

_HOMES = {
    "aio": "AsyncJobs AsyncStore connect_async",
    "backend": "ArrowRows Backend Capabilities Knowledge NativePointInTime OnlineRow ParquetRows Position",
    "catalog": "Catalog Plan",
    "clock": "Clock",
    "definitions": "Entity FeatureService FeatureView Field",
    "discovery": "FoundFeature",
    "dtypes": "Array Bool Bytes DType Date Decimal Float32 Float64 Int32 Int64 Json String Struct Timestamp Vector",
    "errors": (
        "BackendDataError BackendError BackendUnavailableError BreakingChangeError ConfigError DeadlineExceededError "
        "DefinitionError DegradedAnswerError DuplicateBackendError E2IError FailoverError FeatureNameCollisionError "
        "HoldoutLockedError InvalidBatchError InvalidEntityFrameError InvalidTimestampError JobsFailedError KeyTypeWarning LabelRequestedError "
        "LeakageError NoEligibleBackendError PluginLoadError QualityGateBlockedError ReceiptError RequestError "
        "RunOverlapError RunTimeoutError SchemaMismatchError SplitError StalePlanError StaleViewsError StateKeyError ThrottledError UnknownBackendError "
        "UnknownFeatureError UnsupportedError"
    ),
    "failover.differences": "Diff",
    "failover.journal": "JournalState",
    "failover.replay": "CatchUp",
    "opening": "connect",
    "on_demand": "OnDemandFeatureView on_demand_feature_view",
    "ops.event_history": "EventRecord",
    "ops.freshness": "FreshnessReport FreshnessStatus",
    "ops.job_summary": "JobSummary",
    "ops.jobs": "Job JobReport Jobs",
    "ops.materialize": "MaterializationReport MaterializationRun",
    "ops.settings": "MaterializationConfig",
    "ops.statistics": "FeatureStatistics",
    "plugins": "BackendSpec hookimpl hookspec",
    "protocol": "AsyncFeatureStore FeatureStore",
    "receipts": "TrainingReceipt Verification",
    "results": "Attempt FeatureStatus HistoricalResult OnlineResult Provenance",
    "routing": "BackendHealth",
    "sorted_copies": "Optimized SortedCopy",
    "streaming": "historical_batches",
    "sources": "CSVSource DuckDBSource ParquetSource PushSource RequestSource SQLSource",
    "telemetry.events": "Event",
    "writing": "WriteReceipt",
}
_HOME = {name: module for module, names in _HOMES.items() for name in names.split()}

__version__ = "0.1.0"
__all__ = [
    "Array",
    "ArrowRows",
    "AsyncFeatureStore",
    "AsyncJobs",
    "AsyncStore",
    "Attempt",
    "Backend",
    "BackendDataError",
    "BackendError",
    "BackendHealth",
    "BackendSpec",
    "BackendUnavailableError",
    "Bool",
    "BreakingChangeError",
    "Bytes",
    "CSVSource",
    "Capabilities",
    "Catalog",
    "CatchUp",
    "Clock",
    "ConfigError",
    "DType",
    "Date",
    "DeadlineExceededError",
    "Decimal",
    "DefinitionError",
    "DegradedAnswerError",
    "Diff",
    "DuckDBSource",
    "DuplicateBackendError",
    "E2IError",
    "Entity",
    "Event",
    "EventRecord",
    "FailoverError",
    "FeatureNameCollisionError",
    "FeatureService",
    "FeatureStatistics",
    "FeatureStatus",
    "FeatureStore",
    "FeatureView",
    "Field",
    "Float32",
    "Float64",
    "FoundFeature",
    "FreshnessReport",
    "FreshnessStatus",
    "HistoricalResult",
    "HoldoutLockedError",
    "Int32",
    "Int64",
    "InvalidBatchError",
    "InvalidEntityFrameError",
    "InvalidTimestampError",
    "Job",
    "JobReport",
    "JobSummary",
    "Jobs",
    "JobsFailedError",
    "JournalState",
    "Json",
    "KeyTypeWarning",
    "Knowledge",
    "LabelRequestedError",
    "LeakageError",
    "MaterializationConfig",
    "MaterializationReport",
    "MaterializationRun",
    "NativePointInTime",
    "NoEligibleBackendError",
    "OnDemandFeatureView",
    "OnlineResult",
    "OnlineRow",
    "Optimized",
    "ParquetRows",
    "ParquetSource",
    "Plan",
    "PluginLoadError",
    "Position",
    "Provenance",
    "PushSource",
    "QualityGateBlockedError",
    "ReceiptError",
    "RequestError",
    "RequestSource",
    "RunOverlapError",
    "RunTimeoutError",
    "SQLSource",
    "SchemaMismatchError",
    "SortedCopy",
    "SplitError",
    "StalePlanError",
    "StaleViewsError",
    "StateKeyError",
    "String",
    "Struct",
    "ThrottledError",
    "Timestamp",
    "TrainingReceipt",
    "UnknownBackendError",
    "UnknownFeatureError",
    "UnsupportedError",
    "Vector",
    "Verification",
    "WriteReceipt",
    "__version__",
    "connect",
    "connect_async",
    "historical_batches",
    "hookimpl",
    "hookspec",
    "on_demand_feature_view",
]


def __getattr__(name: str) -> Any:
    module = _HOME.get(name)
    if module is None:
        said = f"module 'e2i_fs' has no attribute {name!r}"
        if not name.startswith("_"):  # machinery asks for such names, and reads no advice
            said += f".{import_module('e2i_fs.errors').did_you_mean(name, __all__)}"
        raise AttributeError(said, name=name, obj=import_module("e2i_fs"))
    value = getattr(import_module(f"e2i_fs.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
