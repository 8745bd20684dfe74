"""Features computed from the request itself, by one function, the same offline and online."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import e2i_fs as fs

from .sources import hcp_request_source

__all__ = ["hcp_request_features"]


@fs.on_demand_feature_view(
    sources=[hcp_request_source],
    schema=[fs.Field("request_hour", fs.Int64), fs.Field("request_on_weekend", fs.Bool)],
    tags={"use_case": "hcp_conversion", "owner": "commercial-analytics", "criticality": "low", "pii_category": "none"},
    owner="commercial-analytics",
)
def hcp_request_features(columns: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    """When an HCP is asked about: the hour of day (UTC, 0 to 23), and whether it is Saturday or Sunday."""
    times = columns["request_timestamp"]
    return {
        "request_hour": [None if t is None else t.hour for t in times],
        "request_on_weekend": [None if t is None else t.weekday() >= 5 for t in times],
    }
