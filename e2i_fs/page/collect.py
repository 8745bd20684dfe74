"""A store as one document of plain values: all that the page shows, and why wherever something cannot be had."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from importlib.metadata import version
from typing import Any

from e2i_fs.clock import Clock, SystemClock
from e2i_fs.errors import RequestError
from e2i_fs.page.defined import catalogue
from e2i_fs.page.figures import figures
from e2i_fs.page.happened import happened
from e2i_fs.page.lineage import lineage
from e2i_fs.page.shown import Shown
from e2i_fs.page.watched import answering, freshness, freshness_history, jobs
from e2i_fs.wire.plain import plain

__all__ = ["collect", "collect_figures"]

_LONGEST = 366.0


def collect(
    store: Shown,
    *,
    project: str = "",
    days: float = 7.0,
    deadline: float = 1.0,
    clock: Clock | None = None,
    statistics: bool = False,
    progress: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Return what a store is and how it does, as JSON: times are ISO text in UTC, durations seconds.

    ``days`` is how far back freshness, jobs and events go, ``deadline`` how many seconds a backend may take to say that it
    is up. With ``statistics`` each view has its ``statistics`` too, for which its history is read; ``progress`` is then
    told each view's name before. What cannot be had is ``{"problem": why}`` in its place. Only without the catalogue there
    is no document: that raises the store's own `BackendError` or `FailoverError`. ``days`` out of 0 to 366 is a
    `RequestError`.

    >>> from e2i_fs import Entity, FeatureView, Field, Int64
    >>> from e2i_fs.testing import memory_store
    >>> visits = FeatureView("visits", entities=[Entity("hcp")], schema=[Field("weekly", Int64)])
    >>> told = collect(memory_store(visits))
    >>> told["views"][0]["name"], told["views"][0]["freshness"]["status"]
    ('visits', 'UNKNOWN')
    """
    if not 0 < days <= _LONGEST:
        raise RequestError(f"days is {days!r}; give a number above 0 and at most {_LONGEST:g}.")
    now = (clock or SystemClock()).now()
    catalog = store.catalog()
    defined = catalogue(catalog)
    for view in defined["views"]:
        name, online = view["name"], view["online"]
        view["freshness"] = freshness(store, name, online=online)
        if statistics:
            if progress is not None:
                progress(name)
            view["statistics"] = figures(store, name, online=online)
    names = [view["name"] for view in defined["views"]]
    document: Mapping[str, Any] = {
        "format": 1,
        "version": version("e2i-fs"),
        "project": project,
        "made_at": now,
        "since": now - timedelta(days=days),
        "revision": catalog.revision,
        **defined,
        "lineage": lineage(defined),
        "freshness_history": freshness_history(store, days, now),
        "answering": answering(store, names, deadline),
        "events": happened(store, days),
        "jobs": jobs(store, days, now),
    }
    told: dict[str, Any] = plain(document)
    return told


def collect_figures(store: Shown, view: str) -> dict[str, Any]:
    """Return the statistics of one view as JSON, ``offline`` and ``online``.

    Raises `UnknownFeatureError` with the nearest names when there is no such view.
    """
    found: dict[str, Any] = plain(figures(store, view, online=store.catalog().view(view).online))
    return found
