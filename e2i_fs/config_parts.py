"""The parts of a configuration that are e2i_fs's own, as models: each key with its default, its limits, and what it does."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

__all__ = [
    "BreakerConfig",
    "CommonConfig",
    "EngineConfig",
    "FailoverConfig",
    "HedgeConfig",
    "JournalConfig",
    "PrometheusConfig",
    "RetriesConfig",
    "Strict",
    "TelemetryConfig",
]


class Strict(BaseModel):
    """A part of a configuration: frozen, no unknown keys, no NaN, and no truth value for a number."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, defer_build=True)

    @field_validator("*", mode="before")
    @classmethod
    def _true_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        kinds = cls.model_fields[str(info.field_name)].annotation
        if isinstance(value, bool) and {int, float} & {kinds, *get_args(kinds)}:
            raise PydanticCustomError("float_type", "a truth value is no number")
        return value


class BreakerConfig(Strict):
    """When a backend counts as down. Times in seconds."""

    failures: int = Field(5, ge=1, description="consecutive failures that open it")
    rate: float = Field(0.5, gt=0, le=1, description="or this share of failures")
    calls: int = Field(20, ge=1, description="among at least so many calls")
    window: float = Field(10.0, gt=0, description="within so long")
    open_for: float = Field(5.0, gt=0, description="how long it stays open, times the number of openings in a row")
    longest: float = Field(300.0, gt=0, description="and at most so long")
    jitter: float = Field(0.1, ge=0, le=1, description="share of random change of that time")
    successes: int = Field(3, ge=1, description="probes that must succeed to close it")

    @model_validator(mode="after")
    def _opens_no_longer_than_the_longest(self) -> Self:
        if self.open_for > self.longest:
            raise ValueError(
                f"open_for is {self.open_for:g} and longest is {self.longest:g}, so it would never stay open for as long as it "
                "says; raise longest, or lower open_for"
            )
        return self


class JournalConfig(Strict):
    """How much of what was written is kept for backends that are behind."""

    max_bytes: int = Field(
        256 * 2**20, ge=2**16, description="bytes of rows kept, the newest; a backend that needs older ones is rebuilt"
    )


class RetriesConfig(Strict):
    """Reads that nobody answered are tried once more, as long as there is a budget."""

    ratio: float = Field(0.1, ge=0, le=1, description="share of online reads that may be tried again")
    burst: int = Field(10, ge=0, description="and so many at once, when none were for a while")


class HedgeConfig(Strict):
    """A second backend asked while the first is slow, for the faster answer. Off unless configured."""

    after: float = Field(..., gt=0, description="seconds without an answer after which the next backend is asked too")
    ratio: float = Field(0.05, gt=0, le=1, description="share of online reads that may be asked twice")


class FailoverConfig(Strict):
    """How requests move between backends. Times in seconds."""

    deadline: float = Field(0.25, gt=0, description="one deadline over all attempts of an online read")
    historical_deadline: float | None = Field(None, gt=0, description="the same for a historical retrieval")
    write_deadline: float = Field(
        30.0, gt=0, description="how long one backend may take over a write before it counts as having missed it"
    )
    run_deadline: float = Field(
        3600.0,
        gt=0,
        description="the same for a materialisation, and for making rows anew: how long the whole of it may take",
    )
    shadow_rate: float = Field(0.01, ge=0, le=1, description="share of online reads repeated on a standby")
    shadow_per_second: float = Field(5.0, gt=0, description="and at most so many of them a second")
    workers: int = Field(16, ge=1, le=256, description="threads that calls of one backend may occupy")
    background: bool = Field(
        True, description="bring a backend that is behind up to date by itself; false leaves it to `catch_up`"
    )
    historical_any_level: bool = Field(
        False, description="let a backend of another certificate level answer a historical retrieval"
    )
    breaker: BreakerConfig = Field(default_factory=lambda: BreakerConfig())  # type: ignore[call-arg]
    journal: JournalConfig = Field(default_factory=lambda: JournalConfig())  # type: ignore[call-arg]
    retries: RetriesConfig = Field(default_factory=lambda: RetriesConfig())  # type: ignore[call-arg]
    hedge: HedgeConfig | None = None


_LEAST_MEMORY, _MOST_MEMORY = 16e6, 1e15  # below, DuckDB cannot even sort on disk; beyond, it counts no further


class EngineConfig(Strict):
    """What the point-in-time engine may take of the machine. What does not fit into memory goes to disk."""

    memory_limit: str | None = Field(
        None,
        description="memory for rows and joins, such as 4GB; 80 % of the machine's unless given",
    )
    temp_directory: str | None = Field(None, min_length=1, description="the folder for what does not fit into memory")
    threads: int | None = Field(None, ge=1, le=1024, description="threads of one retrieval; one a core unless given")

    @field_validator("memory_limit", mode="before")
    @classmethod
    def _memory_to_work_in(cls, given: Any) -> Any:
        if given is None:
            return None
        told = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?([KMGT])(i?)B", given) if isinstance(given, str) else None
        if told is None:
            raise ValueError(f"{given!r} is no amount of memory; give a number and a unit, such as 4GB or 512MiB")
        size = float(told[1]) * (1024 if told[3] else 1000) ** ("KMGT".index(told[2]) + 1)
        if not _LEAST_MEMORY <= size <= _MOST_MEMORY:
            raise ValueError(f"{given} is no memory to work in; give from 16MB to 1000TB")
        return given


class PrometheusConfig(Strict):
    """An endpoint that Prometheus scrapes. It answers whoever reaches it: unless told otherwise, this machine only."""

    port: int = Field(9464, ge=1, le=65535, description="the port to listen on")
    host: str = Field("127.0.0.1", min_length=1, description="the address to listen on")


class TelemetryConfig(Strict):
    """What the store tells of itself, and to whom."""

    opentelemetry: bool = Field(False, description="spans and metrics through the process's OpenTelemetry SDK")
    prometheus: PrometheusConfig | None = None
    logs: Literal["json"] | None = Field(
        None, description="json: a line on stderr for each event, and for other records"
    )
    deadline: float = Field(
        2.0, gt=0, description="seconds that reading the state of the backends may take when numbers are collected"
    )


class CommonConfig(Strict):
    """What a configuration may say of the store as a whole, whatever its backends."""

    project: str = Field("e2i_fs", min_length=1)
    naive_timestamps: Literal["utc", "reject"] = "utc"
    max_future_skew: float = Field(60.0, ge=0)
    state: str | None = None
    materialisation: str | Mapping[str, Any] | None = None
    telemetry: TelemetryConfig | None = None
    alerts: Mapping[str, Any] | None = None
    engine: EngineConfig | None = None
