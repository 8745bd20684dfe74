"""materialisation.yaml as a checked value: schedule, staleness, retries and windows of the E2I views."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from functools import cache
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, PositiveInt

__all__ = ["Materialisation", "materialisation"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Schedule(_Frozen):
    """How often each job runs."""

    incremental_every_hours: PositiveInt
    freshness_check_every_hours: PositiveInt
    full_every_days: PositiveInt


class ViewFreshness(_Frozen):
    """What differs for one view."""

    max_staleness_hours: PositiveInt
    incremental_every_hours: PositiveInt | None = None


class Freshness(_Frozen):
    """How old the newest row of a view may be."""

    max_staleness_hours: PositiveInt
    views: Mapping[str, ViewFreshness]


class Jobs(_Frozen):
    """How long one job may take and how often it is tried again."""

    timeout_seconds: PositiveInt
    retries: PositiveInt
    retry_delay_seconds: PositiveInt


class Full(_Frozen):
    """The window of a full run and how it is cut into jobs and batches."""

    lookback_days: PositiveInt
    max_days_per_job: PositiveInt
    batch_days: PositiveInt


class Recovery(_Frozen):
    """How often a failed run is taken up again."""

    max_attempts: PositiveInt


class Materialisation(_Frozen):
    """The whole of materialisation.yaml."""

    schedule: Schedule
    freshness: Freshness
    jobs: Jobs
    full: Full
    recovery: Recovery

    def max_staleness(self, view: str) -> timedelta:
        """Return how old the newest row of ``view`` may be (F-2).

        >>> materialisation().max_staleness("hcp_conversion_features")
        datetime.timedelta(seconds=43200)
        """
        own = self.freshness.views.get(view)
        return timedelta(hours=own.max_staleness_hours if own else self.freshness.max_staleness_hours)

    def incremental_every(self, view: str) -> timedelta:
        """Return how often ``view`` is materialised incrementally."""
        own = self.freshness.views.get(view)
        hours = own.incremental_every_hours if own else None
        return timedelta(hours=hours or self.schedule.incremental_every_hours)


@cache
def materialisation() -> Materialisation:
    """Return the numbers of the materialisation.yaml that lies beside this module."""
    text = Path(__file__).with_name("materialisation.yaml").read_text(encoding="utf-8")
    return Materialisation.model_validate(yaml.safe_load(text))
