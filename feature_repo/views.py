"""The nine E2I feature views: fields, ttl, freshness and tags. Outcomes are labels, never features (P-12)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import e2i_fs as fs
from e2i_fs.dtypes import DType

from .entities import brand, hcp, patient, territory, trigger
from .materialisation import materialisation
from .sources import Sources

__all__ = ["views"]


def views(sources: Sources) -> list[fs.FeatureView]:
    """Return the nine views over ``sources``."""
    return [
        _view(
            "hcp_conversion_features",
            [hcp, brand],
            [*_counts(), *_float32("market_share", "conversion_rate", "engagement_score", "call_frequency")],
            sources.business_metrics,
            ttl_days=7,
            use_case="hcp_conversion",
            owner="commercial-analytics",
            criticality="high",
            about="What an HCP prescribes of a brand, and how the HCP is engaged",
        ),
        _view(
            "hcp_profile_features",
            [hcp],
            [
                *_strings("specialty", "practice_type"),
                fs.Field("years_of_practice", fs.Int64),
                *_strings("patient_volume_tier", "digital_engagement_tier", "prescribing_tier"),
            ],
            sources.hcp_profiles,
            ttl_days=30,
            use_case="hcp_conversion",
            owner="commercial-analytics",
            criticality="medium",
            pii="professional",
            about="Who an HCP is",
        ),
        _view(
            "hcp_engagement_features",
            [hcp, brand],
            _float32("engagement_score", "call_frequency", "conversion_rate"),
            sources.hcp_engagement_push_source,
            ttl_days=1,
            use_case="trigger_effectiveness",
            owner="field-operations",
            criticality="high",
            about="How an HCP is engaged with a brand today",
        ),
        _view(
            "patient_journey_features",
            [patient, brand],
            [
                fs.Field("days_on_therapy", fs.Int64),
                fs.Field("therapy_start_date", fs.Timestamp),
                *_float32("adherence_rate"),
                *_int64("refill_count", "gap_days"),
                fs.Field("is_churned", fs.Bool, role="label"),
                *_float32("churn_risk_score"),
            ],
            sources.patient_journeys,
            ttl_days=7,
            use_case="churn_prediction",
            owner="patient-services",
            criticality="high",
            pii="health",
            about="Where a patient is on a therapy; is_churned is the outcome",
        ),
        _view(
            "patient_adherence_features",
            [patient, brand],
            [
                *_float32("adherence_rate"),
                *_int64("refill_count", "gap_days"),
                *_float32("churn_risk_score"),
            ],
            sources.patient_journeys,
            ttl_days=1,
            use_case="churn_prediction",
            owner="patient-services",
            criticality="high",
            pii="health",
            about="How a patient keeps to a therapy today",
        ),
        _view(
            "trigger_effectiveness_features",
            [trigger, hcp, brand],
            [
                *_strings("trigger_type", "channel"),
                *_labels(fs.Bool, "is_responded", "conversion_flag"),
                *_labels(fs.Float32, "response_time_hours", "roi_estimate"),
            ],
            sources.triggers,
            ttl_days=7,
            use_case="trigger_effectiveness",
            owner="field-operations",
            criticality="medium",
            about="What was sent to an HCP, and (labels) what came of it",
        ),
        _view(
            "trigger_response_features",
            [trigger],
            [*_labels(fs.Bool, "is_responded", "conversion_flag"), *_labels(fs.Float32, "response_time_hours")],
            sources.trigger_response_push_source,
            ttl_days=1,
            use_case="trigger_effectiveness",
            owner="field-operations",
            criticality="medium",
            about="What came of a trigger: labels only",
        ),
        _view(
            "market_dynamics_features",
            [territory, brand],
            [*_counts(), *_float32("market_share", "conversion_rate", "engagement_score")],
            sources.business_metrics_by_territory,
            ttl_days=7,
            use_case="roi_prediction",
            owner="market-access",
            criticality="medium",
            about="What a territory prescribes of a brand in a week",
        ),
        _view(
            "territory_performance_features",
            [territory],
            [
                *_int64("total_trx", "total_nrx", "active_hcp_count", "covered_lives"),
                *_float32("market_potential", "resource_allocation_score"),
            ],
            sources.territory_metrics,
            ttl_days=1,
            use_case="roi_prediction",
            owner="market-access",
            criticality="medium",
            about="What a territory prescribes in a day, and what it could",
        ),
    ]


def _view(
    name: str,
    entities: Sequence[fs.Entity],
    schema: Sequence[fs.Field],
    source: fs.ParquetSource | fs.SQLSource | fs.PushSource,
    *,
    ttl_days: int,
    use_case: str,
    owner: str,
    criticality: str,
    about: str,
    pii: str = "none",
) -> fs.FeatureView:
    max_staleness = materialisation().max_staleness(name)
    assert max_staleness is not None, "materialisation.yaml says it for every view"
    return fs.FeatureView(
        name,
        entities=entities,
        schema=schema,
        source=source,
        ttl=timedelta(days=ttl_days),
        max_staleness=max_staleness,
        tags={
            "use_case": use_case,
            "owner": owner,
            "criticality": criticality,
            "freshness_requirement": f"{max_staleness // timedelta(hours=1)}h",
            "pii_category": pii,
        },
        owner=owner,
        description=about,
    )


def _counts() -> list[fs.Field]:
    return _int64("trx_count", "nrx_count", "total_rx_count")


def _int64(*names: str) -> list[fs.Field]:
    return [fs.Field(name, fs.Int64) for name in names]


def _float32(*names: str) -> list[fs.Field]:
    return [fs.Field(name, fs.Float32) for name in names]


def _strings(*names: str) -> list[fs.Field]:
    return [fs.Field(name, fs.String) for name in names]


def _labels(dtype: DType, *names: str) -> list[fs.Field]:
    return [fs.Field(name, dtype, role="label") for name in names]
