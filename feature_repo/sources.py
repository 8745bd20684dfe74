"""Where the rows come from: Parquet files in one folder, two push sources and what comes with a request.

In production these are PostgreSQL tables of the same names and columns, see `feature_repo.postgres`; else they are the
files that `feature_repo.generate` writes. Every source has ``event_timestamp`` and ``created_at``.

``business_metrics`` is about HCP and brand. Market dynamics are about territory and brand, so they need an
aggregate: ``business_metrics_by_territory``, one row for each territory, brand and closed week, whose
``event_timestamp`` is the end of that week. It is published six hours later from the rows that had arrived, and
restated four weeks later (same event time, later ``created_at``) if late rows or corrections changed it. So the
aggregate has knowledge time of its own, and nothing is summed while a question is being answered.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import e2i_fs as fs

__all__ = ["Sources", "hcp_request_source", "sources"]

hcp_request_source = fs.RequestSource(
    "hcp_request_source",
    schema=[
        fs.Field("hcp_id", fs.String),
        fs.Field("brand_id", fs.String),
        fs.Field("request_timestamp", fs.Timestamp),
    ],
)


Stored = fs.ParquetSource | fs.SQLSource


@dataclass(frozen=True, slots=True)
class Sources:
    """The sources of history, and the push sources in front of two of them."""

    business_metrics: Stored
    business_metrics_by_territory: Stored
    hcp_profiles: Stored
    patient_journeys: Stored
    triggers: Stored
    territory_metrics: Stored
    hcp_engagement_push_source: fs.PushSource
    trigger_response_push_source: fs.PushSource


def sources(data_dir: str | os.PathLike[str], *, postgres: str | None = None, schema: str | None = None) -> Sources:
    """Return the sources whose files lie in ``data_dir``; a relative folder stays relative (see `fs.ParquetSource`).

    With ``postgres``, the connection of a database such as ``"${E2I_POSTGRES}"``, they are its tables, in ``schema`` if one is named.
    """

    def stored(name: str) -> Stored:
        if postgres is not None:
            return fs.SQLSource(
                postgres,
                table=f"{schema}.{name}" if schema else name,
                timestamp_field="event_timestamp",
                created_timestamp_field="created_at",
                name=name,
            )
        return fs.ParquetSource(
            Path(data_dir) / f"{name}.parquet",
            timestamp_field="event_timestamp",
            created_timestamp_field="created_at",
            name=name,
        )

    business_metrics, triggers = stored("business_metrics"), stored("triggers")
    return Sources(
        business_metrics=business_metrics,
        business_metrics_by_territory=stored("business_metrics_by_territory"),
        hcp_profiles=stored("hcp_profiles"),
        patient_journeys=stored("patient_journeys"),
        triggers=triggers,
        territory_metrics=stored("territory_metrics"),
        hcp_engagement_push_source=fs.PushSource("hcp_engagement_push_source", batch_source=business_metrics),
        trigger_response_push_source=fs.PushSource("trigger_response_push_source", batch_source=triggers),
    )
