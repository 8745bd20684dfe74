"""One feature service for each use case: what its model takes. No service lists a label (P-12)."""

from __future__ import annotations

import e2i_fs as fs

__all__ = ["SERVICES"]


def _refs(view: str, *features: str) -> list[str]:
    return [f"{view}:{feature}" for feature in features]


_HCP_PROFILE = _refs(
    "hcp_profile_features",
    "specialty",
    "practice_type",
    "years_of_practice",
    "patient_volume_tier",
    "digital_engagement_tier",
    "prescribing_tier",
)

hcp_conversion = fs.FeatureService(
    "hcp_conversion",
    features=[
        *_refs(
            "hcp_conversion_features",
            "trx_count",
            "nrx_count",
            "total_rx_count",
            "market_share",
            "conversion_rate",
            "engagement_score",
            "call_frequency",
        ),
        *_HCP_PROFILE,
    ],
    tags={"use_case": "hcp_conversion"},
    owner="commercial-analytics",
    description="Will this HCP step up prescribing of this brand in the next 28 days? Keys: hcp_id, brand_id",
)

churn_prediction = fs.FeatureService(
    "churn_prediction",
    features=[
        *_refs("patient_journey_features", "days_on_therapy", "therapy_start_date"),
        *_refs("patient_adherence_features", "adherence_rate", "refill_count", "gap_days", "churn_risk_score"),
    ],
    tags={"use_case": "churn_prediction"},
    owner="patient-services",
    description="Will this patient leave the therapy? Keys: patient_id, brand_id",
)

trigger_effectiveness = fs.FeatureService(
    "trigger_effectiveness",
    features=[
        *_refs("trigger_effectiveness_features", "trigger_type", "channel"),
        *_refs("hcp_engagement_features", "engagement_score", "call_frequency", "conversion_rate"),
        *_HCP_PROFILE,
    ],
    tags={"use_case": "trigger_effectiveness"},
    owner="field-operations",
    description="Will the HCP respond to this trigger? Keys: trigger_id, hcp_id, brand_id",
)

roi_prediction = fs.FeatureService(
    "roi_prediction",
    features=[
        *_refs("trigger_effectiveness_features", "trigger_type", "channel"),
        *_refs(
            "market_dynamics_features",
            "trx_count",
            "nrx_count",
            "total_rx_count",
            "market_share",
            "conversion_rate",
            "engagement_score",
        ),
        *_refs(
            "territory_performance_features",
            "total_trx",
            "total_nrx",
            "active_hcp_count",
            "covered_lives",
            "market_potential",
            "resource_allocation_score",
        ),
    ],
    tags={"use_case": "roi_prediction"},
    owner="market-access",
    description="What is this trigger worth? Keys: trigger_id, hcp_id, brand_id, territory_id",
)

SERVICES = (hcp_conversion, churn_prediction, trigger_effectiveness, roi_prediction)
