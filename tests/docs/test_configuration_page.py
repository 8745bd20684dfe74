"""Every key of the configuration is documented with its default, and nothing else is."""

from __future__ import annotations

import re

import pytest
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from e2i_fs.alerts.settings import AlertsConfig, WebhookConfig
from e2i_fs.config_parts import (
    BreakerConfig,
    CommonConfig,
    EngineConfig,
    FailoverConfig,
    HedgeConfig,
    JournalConfig,
    PrometheusConfig,
    RetriesConfig,
    TelemetryConfig,
)
from e2i_fs.ops.settings import (
    CeleryConfig,
    FreshnessConfig,
    FullConfig,
    JobsConfig,
    MaterializationConfig,
    RecoveryConfig,
    ScheduleConfig,
)
from tests.docs.pages import ROOT

PAGE = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `([a-z_]+)` \| ([^|]*) \|", re.MULTILINE)


def _section(title: str) -> dict[str, str]:
    part = PAGE.split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]
    return {key: default.strip().strip("`") for key, default in ROW.findall(part)}


def _told(default: object) -> str:
    if default is None:
        return "none"
    if isinstance(default, float) and default == int(default):
        return str(int(default))
    return str(default)


@pytest.mark.parametrize(
    ("title", "model", "more"),
    [
        ("The whole store", CommonConfig, {"backend", "backends", "failover"}),
        ("engine", EngineConfig, set()),
        ("failover", FailoverConfig, set()),
        ("failover: breaker", BreakerConfig, set()),
        ("failover: journal", JournalConfig, set()),
        ("failover: retries", RetriesConfig, set()),
        ("failover: hedge", HedgeConfig, set()),
        ("telemetry", TelemetryConfig, set()),
        ("telemetry: prometheus", PrometheusConfig, set()),
        ("materialisation", MaterializationConfig, set()),
        ("materialisation: schedule", ScheduleConfig, set()),
        ("materialisation: freshness", FreshnessConfig, set()),
        ("materialisation: jobs", JobsConfig, set()),
        ("materialisation: full", FullConfig, set()),
        ("materialisation: recovery", RecoveryConfig, set()),
        ("alerts", AlertsConfig, set()),
        ("alerts: webhook", WebhookConfig, set()),
        ("materialisation: celery", CeleryConfig, set()),
    ],
)
def test_every_key_is_documented_with_its_default(title, model, more) -> None:
    documented = _section(title)
    assert set(documented) == set(model.model_fields) | more
    for key, field in model.model_fields.items():
        if (
            isinstance(field.annotation, type)
            and issubclass(field.annotation, BaseModel)
            or isinstance(field.default, tuple)
        ):
            assert documented[key] == "see below", key
        else:
            default = None if field.default is PydanticUndefined else field.default
            assert documented[key] == _told(default), key


def test_every_part_of_the_failover_configuration_has_a_section() -> None:
    for key, field in FailoverConfig.model_fields.items():
        if isinstance(field.default, BaseModel) or "Config" in str(field.annotation):
            assert f"## failover: {key}\n" in PAGE


def test_the_options_of_each_backend_are_documented() -> None:
    from e2i_fs_duckdb import _OPTIONS
    from e2i_fs_feast.options import _KEYS

    assert set(_section("duckdb")) == set(_OPTIONS)
    assert set(_section("feast")) == set(_KEYS)
