"""materialisation.yaml as a checked value: how often, how fresh, how long, how often again. Every key has an effect."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from e2i_fs.config import Strict, checked_model, expanded, read_yaml
from e2i_fs.errors import ConfigError, did_you_mean
from e2i_fs.ops.cron import parse_cron
from e2i_fs.ops.triggers import Trigger, longest_gap, trigger_of, zone_named

if TYPE_CHECKING:
    from e2i_fs.definitions import FeatureView

__all__ = ["MaterializationConfig", "load_settings"]


_DECADE = 3_660  # days


def _check_warning(warning: float | None, limit: float | None) -> None:
    """Raise when a view would be stale before it is warned of."""
    if warning is not None and limit is not None and warning > limit:
        raise ValueError(
            f"warning_hours is {warning:g}, and max_staleness_hours {limit:g}: such a view would be STALE before it is WARNING. Give "
            f"at most {limit:g}"
        )


class _Timed(Strict):
    """What holds cron lines and periods: each is checked, and at most one of the two is given for one thing."""

    @field_validator("*")
    @classmethod
    def _is_a_cron_line(cls, value: Any, info: ValidationInfo) -> Any:
        name = str(info.field_name)
        if name.endswith("_cron") and value is not None:
            parse_cron(value)
        if name.endswith(("_every_hours", "_every_days")) and value is not None:
            seconds = value * (3_600 if name.endswith("_hours") else 86_400)
            if seconds < 1:
                raise ValueError(f"{value:g} is less than a second; give more")
        return value

    @model_validator(mode="after")
    def _has_one_schedule_for_each(self) -> Self:
        for cron in sorted(
            key for key in self.model_fields_set if key.endswith("_cron") and getattr(self, key) is not None
        ):
            begins = cron.removesuffix("cron") + "every_"
            for every in self.model_fields_set:
                if every.startswith(begins) and getattr(self, every) is not None:
                    raise ValueError(f"{every} and {cron} are both given; keep one of them")
        return self


class ScheduleConfig(_Timed):
    """When each kind of job runs: so often, counted from Sunday 0:00 UTC, or as a cron line says."""

    incremental_every_hours: float = Field(6, gt=0, le=24 * _DECADE, description="hours between incremental runs")
    incremental_cron: str | None = Field(None, description="a cron line instead")
    freshness_check_every_hours: float = Field(4, gt=0, le=24 * _DECADE, description="hours between freshness checks")
    freshness_check_cron: str | None = Field(None, description="a cron line instead")
    full_every_days: float = Field(7, gt=0, le=_DECADE, description="days between full runs")
    full_cron: str | None = Field(None, description="a cron line instead")
    timezone: str = Field("UTC", description="the time zone of cron lines, by its IANA name")
    fail_when_stale: bool = Field(
        True, description="whether a freshness check that finds a view stale is a failed task"
    )

    @field_validator("timezone")
    @classmethod
    def _is_a_time_zone(cls, value: str) -> str:
        zone_named(value)
        return value


class ViewConfig(_Timed):
    """What differs for one view."""

    max_staleness_hours: float | None = Field(None, gt=0, description="how old its newest row may be, in hours")
    warning_hours: float | None = Field(None, gt=0, description="the age in hours from which it is WARNING")
    incremental_every_hours: float | None = Field(
        None, gt=0, le=24 * _DECADE, description="hours between its incremental runs"
    )
    incremental_cron: str | None = Field(None, description="a cron line instead")

    @property
    def has_own_schedule(self) -> bool:
        """Whether its incremental runs are apart from those of other views."""
        return self.incremental_every_hours is not None or self.incremental_cron is not None

    @model_validator(mode="after")
    def _warns_before_it_is_stale(self) -> Self:
        _check_warning(self.warning_hours, self.max_staleness_hours)
        return self


class FreshnessConfig(Strict):
    """How old the newest row of a view may be (F-2), and how long what checks found is kept."""

    max_staleness_hours: float | None = Field(None, gt=0, description="hours, for a view that says nothing itself")
    warning_hours: float | None = Field(None, gt=0, description="the age in hours from which such a view is WARNING")
    views: Mapping[str, ViewConfig] = Field(default_factory=dict, description="what differs, by view")
    history_days: float = Field(90, gt=0, le=36_500, description="days that what checks found is kept")

    @model_validator(mode="after")
    def _warns_before_it_is_stale(self) -> Self:
        if self.warning_hours is not None and self.max_staleness_hours is None:
            raise ValueError(
                f"warning_hours is {self.warning_hours:g} without max_staleness_hours, which it goes with. Give both, or give the "
                "warning_hours of single views"
            )
        _check_warning(self.warning_hours, self.max_staleness_hours)
        return self


class JobsConfig(Strict):
    """How long one job may take, and how often it is tried again."""

    timeout_seconds: float = Field(300, gt=0, description="seconds that one try may take")
    retries: int = Field(3, ge=0, description="tries after the first")
    retry_delay_seconds: float = Field(30, ge=0, description="seconds before the first of them")
    retry_backoff: float = Field(2, ge=1, description="by what the delay grows each time")


class FullConfig(Strict):
    """The window of a full run, and how it is cut."""

    lookback_days: float = Field(7, gt=0, description="days back from now, unless a start is given")
    max_days_per_job: float = Field(30, gt=0, description="days that one job covers at most")
    batch_days: float = Field(1, gt=0, description="days that are read at a time")

    @model_validator(mode="after")
    def _a_job_has_a_batch(self) -> Self:
        if self.batch_days > self.max_days_per_job:
            raise ValueError(
                f"batch_days is {self.batch_days:g}, and max_days_per_job {self.max_days_per_job:g}: a job could not read a "
                "whole batch. Give smaller batches"
            )
        return self


class RecoveryConfig(Strict):
    """How often a full job that failed for good, or whose process ended, is taken up again by the next jobs."""

    max_attempts: int = Field(2, ge=0, description="times")


class CeleryConfig(Strict):
    """What `e2i_fs.ops.celery.make_app` connects to."""

    broker: str | None = Field(None, min_length=1, description="the URL of the broker")
    result_backend: str | None = Field(None, min_length=1, description="the URL of where results are kept")


class MaterializationConfig(Strict):
    """All settings of materialisation.yaml; what is left out has the default of `MaterializationConfig()`.

    ``schedule`` says when jobs run, ``freshness`` how old views may get, ``jobs`` the time limit and retries, ``full``
    the window of full jobs, ``recovery`` how often a failed job is resumed, and ``celery`` where its tasks connect to.
    An unknown key is an error that names the nearest.

    >>> from e2i_fs import MaterializationConfig
    >>> MaterializationConfig().full.lookback_days
    7
    """

    schedule: ScheduleConfig = Field(default_factory=lambda: ScheduleConfig())  # type: ignore[call-arg]
    freshness: FreshnessConfig = Field(default_factory=lambda: FreshnessConfig())  # type: ignore[call-arg]
    jobs: JobsConfig = Field(default_factory=lambda: JobsConfig())  # type: ignore[call-arg]
    full: FullConfig = Field(default_factory=lambda: FullConfig())  # type: ignore[call-arg]
    recovery: RecoveryConfig = Field(default_factory=lambda: RecoveryConfig())  # type: ignore[call-arg]
    celery: CeleryConfig = Field(default_factory=lambda: CeleryConfig())  # type: ignore[call-arg]

    def max_staleness(self, view: str, own: timedelta | None = None) -> timedelta | None:
        """Return the age limit of ``view`` (F-2): set here for it, else its ``own``, else the general one or None.

        >>> MaterializationConfig(freshness={"max_staleness_hours": 24}).max_staleness("any")
        datetime.timedelta(days=1)
        """
        said = self.freshness.views.get(view, ViewConfig()).max_staleness_hours  # type: ignore[call-arg]
        if said is None and own is not None:
            return own
        hours = said if said is not None else self.freshness.max_staleness_hours
        return None if hours is None else timedelta(hours=hours)

    def warning(self, view: str, own: timedelta | None = None) -> timedelta | None:
        """Return the age from which ``view`` is WARNING: set here for it, or with the general limit (F-2).

        None means half of its `max_staleness`. Raises `ConfigError` when a warning age is set for a view without a
        limit, or exceeds the limit.

        >>> MaterializationConfig(freshness={"max_staleness_hours": 24, "warning_hours": 18}).warning("any")
        datetime.timedelta(seconds=64800)
        """
        said = self.freshness.views.get(view, ViewConfig())  # type: ignore[call-arg]
        limit = self.max_staleness(view, own)
        if said.warning_hours is None:
            general = said.max_staleness_hours is None and own is None
            hours = self.freshness.warning_hours if general else None
            return None if hours is None else timedelta(hours=hours)
        warning = timedelta(hours=said.warning_hours)
        if limit is None or warning > limit:
            told = "it has no max_staleness to go with" if limit is None else f"its max_staleness is {limit}"
            raise ConfigError(
                f"materialisation, freshness, views, {view}: warning_hours is {said.warning_hours:g}, and {told}. Give a "
                "max_staleness_hours that is as much or more."
            )
        return warning

    def incremental_trigger(self, view: str | None = None) -> Trigger:
        """Return when ``view`` is materialised incrementally; None means views without their own schedule."""
        of_all, zone = self.schedule, self.schedule.timezone
        own = None if view is None else self.freshness.views.get(view)
        if own is not None and own.has_own_schedule:
            return trigger_of(timedelta(hours=own.incremental_every_hours or 0), own.incremental_cron, zone)
        return trigger_of(timedelta(hours=of_all.incremental_every_hours), of_all.incremental_cron, zone)

    def incremental_every(self, view: str) -> timedelta:
        """Return how often ``view`` is materialised incrementally; for a cron line, the longest time between two runs.

        >>> MaterializationConfig().incremental_every("any")
        datetime.timedelta(seconds=21600)
        """
        return longest_gap(self.incremental_trigger(view))

    def check_views(self, known: Mapping[str, FeatureView], where: str) -> None:
        """Raise `ConfigError` for a view named here that is unknown (nearest names), or that warns too late."""
        for name in self.freshness.views:
            if name not in known:
                raise ConfigError(
                    f"{where}, freshness, views: no view is called {name!r}.{did_you_mean(name, known)} Apply it, or take it out."
                )
            self.warning(name, known[name].max_staleness)


def load_settings(
    given: MaterializationConfig | str | os.PathLike[str] | Mapping[str, Any] | None, base: str = ""
) -> MaterializationConfig:
    """Return the checked settings of a YAML file (relative to ``base``) or a mapping; of None, the usual ones.

    Raises `ConfigError` naming the key and the nearest known one.
    """
    if given is None:
        return MaterializationConfig()
    if isinstance(given, MaterializationConfig):
        return given
    if isinstance(given, Mapping):
        return checked_model(MaterializationConfig, given, "materialisation")
    if not isinstance(given, str | os.PathLike) or not os.fspath(given):
        raise ConfigError(f"materialisation is {given!r}; give the path of a YAML file, or a mapping.")
    path = Path(os.path.join(base, os.path.expanduser(os.fspath(given))))
    raw = expanded(read_yaml(path, "materialisation settings"), str(path))
    return checked_model(MaterializationConfig, raw, str(path))
