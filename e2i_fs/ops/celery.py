"""Celery for teams that have it: the tasks of `e2i_fs.ops.tasks`, and the schedule for beat. Needs ``e2i-fs[celery]``.

A module of three lines is all that a worker and beat need::

    from e2i_fs.ops.celery import make_app

    app = make_app("/srv/features/e2i_fs.yaml")

Then ``celery -A module:app worker`` and ``celery -A module:app beat``. Messages are JSON and hold names and times, never a configuration.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from e2i_fs.errors import ConfigError, UnsupportedError
from e2i_fs.ops import tasks
from e2i_fs.ops.schedule import FRESHNESS_CHECK, Entry, entries
from e2i_fs.ops.settings import MaterializationConfig
from e2i_fs.ops.tasks import Result, Settings
from e2i_fs.ops.triggers import Trigger, longest_gap, trigger_of

if TYPE_CHECKING:
    from celery import Celery  # type: ignore[import-untyped]

__all__ = ["QUEUE", "make_app"]

QUEUE = "e2i_fs"
_MARGIN = 60.0  # seconds for opening and closing the store
_REDELIVERS_BY_TIME = ("redis", "rediss", "sentinel", "sqs", "valkey", "valkeys")


def make_app(
    config: Settings, *, broker: str | None = None, result_backend: str | None = None, name: str = "e2i_fs"
) -> Celery:
    """Return a Celery application with the tasks and the schedule of a store; nothing is opened or connected to yet.

    ``config`` is what `connect` takes. ``broker`` and ``result_backend`` are Celery's URLs; unless given they are those of the
    configuration (``materialisation``, ``celery``), and ``$CELERY_BROKER_URL`` and ``$CELERY_RESULT_BACKEND`` go before all, as in
    every Celery application. Raises `ConfigError` without a broker, `UnsupportedError` without Celery.

    The tasks are ``e2i_fs.incremental(views=None, without=[])`` and ``e2i_fs.full(views=None, start=None, end=None, days_back=None)``,
    which send one ``e2i_fs.single_view(view, mode="incremental", ...)`` for each view and return their ids, and
    ``e2i_fs.freshness_check(views=None)``. Their queue is ``e2i_fs``.

    A task is acknowledged when it has ended, so the task of a worker that is killed goes to another, and goes on where
    the killed one was (W-4). Tries are the jobs' own: Celery retries nothing.
    """
    try:
        from celery import Celery
    except ImportError as error:
        raise UnsupportedError('Celery is not installed: pip install "e2i-fs[celery]".') from error
    where = config if isinstance(config, Mapping) else os.path.abspath(config)  # a worker may change its folder
    settings = tasks.settings_of(where)
    app = Celery(name, set_as_current=False)
    app.conf.update(_conf(settings, broker, result_backend))
    if not app.conf.broker_url:
        raise ConfigError(
            "No broker for Celery. Give make_app(broker=...), the key `broker` of the configuration's materialisation, celery, or "
            "$CELERY_BROKER_URL, such as redis://localhost:6379/0."
        )
    if str(app.conf.broker_url).partition(":")[0].partition("+")[0] in _REDELIVERS_BY_TIME:
        # Longer than any task, or it would be delivered to a second worker while the first is still at it.
        later = {"visibility_timeout": app.conf.task_time_limit + _MARGIN}
        app.conf.update(broker_transport_options=later, result_backend_transport_options=later)
    app.conf.beat_schedule = {entry.name: _beat(entry) for entry in entries(settings)}
    _add_tasks(app, where, settings)
    return app


def _conf(settings: MaterializationConfig, broker: str | None, result_backend: str | None) -> dict[str, Any]:
    """Return what is set: JSON only, late acknowledgement, limits of time from those of the jobs."""
    chosen = {
        "broker_url": broker or settings.celery.broker,
        "result_backend": result_backend or settings.celery.result_backend,
    }
    return {
        **{key: value for key, value in chosen.items() if value is not None},
        "accept_content": ["json"],
        "task_serializer": "json",
        "result_serializer": "json",
        "enable_utc": True,
        "timezone": "UTC",
        "task_default_queue": QUEUE,
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "task_track_started": True,
        "task_time_limit": _longest(settings),
        "worker_prefetch_multiplier": 1,  # what a busy worker has fetched, no other can do
        "broker_connection_retry_on_startup": True,
        "beat_max_loop_interval": 30,  # after which beat looks at the clock again: it may have been set
    }


def _longest(settings: MaterializationConfig) -> float:
    """Return how many seconds a task may take: the longest that the jobs of one view can, with all their tries.

    These are one incremental job and those of a whole full run, which it may have to take up again first.
    """
    jobs, full = settings.jobs, settings.full
    waits = sum(jobs.retry_delay_seconds * jobs.retry_backoff**number for number in range(jobs.retries))
    one = (jobs.retries + 1) * (jobs.timeout_seconds + _MARGIN) + waits
    windows = int((full.lookback_days + full.batch_days) // full.max_days_per_job) + 1
    return one * (windows + 1) + _MARGIN


def _beat(entry: Entry) -> dict[str, Any]:
    """Return beat's form of an entry. A run that no worker has begun when the next is due is dropped: the next does its work."""
    from e2i_fs.ops.celery_schedule import TriggerSchedule

    views = {"views": list(entry.views) or None}
    return {
        "task": f"e2i_fs.{entry.task}",
        "schedule": TriggerSchedule(entry.trigger),
        "kwargs": {**views, "without": list(entry.without)} if entry.without else views,
        "options": {"expires": _seconds(entry.trigger)},
    }


def _seconds(trigger: Trigger) -> float:
    return longest_gap(trigger).total_seconds()


def _add_tasks(app: Celery, config: Settings, settings: MaterializationConfig) -> None:
    """Add the four tasks. Each opens the store itself, in the process that runs it: a forked one cannot use its parent's."""
    schedule = settings.schedule
    full_every = trigger_of(timedelta(days=schedule.full_every_days), schedule.full_cron, schedule.timezone)

    @app.task(name="e2i_fs.single_view", bind=True)  # type: ignore[untyped-decorator]
    def single_view(self: Any, view: str, mode: str = "incremental", **window: Any) -> Result:
        again = bool((self.request.delivery_info or {}).get("redelivered"))
        return tasks.single_view(config, view, mode=mode, taken_up_again=again, **window)  # type: ignore[arg-type]

    def sent(views: Sequence[str], gap: dict[str, float], **more: Any) -> dict[str, str]:
        return {v: single_view.apply_async(kwargs={"view": v, **more}, expires=gap[v]).id for v in views}

    @app.task(name="e2i_fs.incremental")  # type: ignore[untyped-decorator]
    def incremental(views: Sequence[str] | None = None, without: Sequence[str] = ()) -> Result:
        names = tasks.online_views(config, views, without)
        gaps = {name: _seconds(settings.incremental_trigger(name)) for name in names}
        return {"task": "incremental", "views": names, "sent": sent(names, gaps)}

    @app.task(name="e2i_fs.full")  # type: ignore[untyped-decorator]
    def full(views: Sequence[str] | None = None, **window: Any) -> Result:
        names = tasks.online_views(config, views)
        gaps = dict.fromkeys(names, _seconds(full_every))
        return {"task": "full", "views": names, "sent": sent(names, gaps, mode="full", **window)}

    @app.task(name=f"e2i_fs.{FRESHNESS_CHECK}")  # type: ignore[untyped-decorator]
    def freshness_check(views: Sequence[str] | None = None, fail_when_stale: bool | None = None) -> Result:
        return tasks.freshness_check(config, views, fail_when_stale=fail_when_stale)
