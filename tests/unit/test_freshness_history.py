"""Freshness that is recorded, can fail, and warns when it is told to (F-1 to F-3)."""

from __future__ import annotations

import asyncio
import math
from datetime import timedelta
from pathlib import Path

import pytest

import e2i_fs as fs
from e2i_fs.testing.clock import FakeClock
from tests.breakable import OPENED, BreakablePlugin
from tests.kit import NOW, US, at, batch, config, view

HOUR = timedelta(hours=1)
DAY = 24 * HOUR
LIMIT = {"freshness": {"max_staleness_hours": 12}}


def filled(store: fs.FeatureStore, folder: Path, newest=NOW - HOUR, **more) -> None:
    """Have one view whose newest row is of ``newest`` online."""
    store.apply([view(folder, [("a", newest, 1)], **more)])
    store.materialize(None, NOW)


@pytest.fixture
def breakable(tmp_path, clock):
    """A store of two views over a backend that breaks when told."""
    settings = {"backend": "breakable", "inner": "duckdb", "path": str(tmp_path / "store")}
    with fs.connect(settings, clock=clock, plugins=[BreakablePlugin()]) as store:
        store.apply([view(tmp_path, [("a", NOW - HOUR, 1)], name=name) for name in ("one", "two")])
        store.materialize(None, NOW)
        yield store, OPENED["breakable"]


@pytest.mark.rule("F-3")
def test_a_check_is_recorded_and_known_to_another_process(tmp_path, clock: FakeClock) -> None:
    with fs.connect(config("duckdb", tmp_path / "s"), clock=clock) as store:
        filled(store, tmp_path)
        first = store.jobs(LIMIT).check_freshness()["hcp_stats"]
        clock.advance(8 * HOUR)
        second = store.jobs(LIMIT).check_freshness(["hcp_stats"])["hcp_stats"]
        store.freshness()  # leaves no record
    with fs.connect(config("duckdb", tmp_path / "s"), clock=clock) as other:
        assert other.freshness_history() == [first, second]
        assert other.freshness_history("hcp_stats") == [first, second]
        assert other.freshness_history("other") == []
        assert other.freshness_history(days=0.1) == [second]
    assert [(r.status.name, r.age, r.max_staleness, r.warning_after) for r in (first, second)] == [
        ("FRESH", HOUR, 12 * HOUR, 6 * HOUR),
        ("WARNING", 9 * HOUR, 12 * HOUR, 6 * HOUR),
    ]


@pytest.mark.rule("F-2", "F-3")
def test_a_check_that_errors_is_recorded_as_failed_and_keeps_no_other_view_from_being_checked(breakable) -> None:
    store, backend = breakable
    seen = []
    real = backend.inner.position

    def position(name):
        seen.append(name)
        if name == "one":
            raise fs.BackendUnavailableError("Taken away by the test.")
        return real(name)

    backend.inner.position = position
    with pytest.raises(fs.BackendUnavailableError, match="Taken away"):
        store.jobs(LIMIT).check_freshness()
    assert set(seen) == {"one", "two"}
    one, two = store.freshness_history()
    assert (one.view, one.status.name, one.age, one.newest_event_timestamp) == ("one", "UNKNOWN", None, None)
    assert "BackendUnavailableError: Taken away" in one.error
    assert (two.view, two.status.name, two.error) == ("two", "FRESH", None)


def test_every_view_that_could_not_be_checked_is_in_the_error(breakable) -> None:
    store, backend = breakable
    backend.break_("position")
    with pytest.raises(fs.BackendUnavailableError) as raised:
        store.jobs().check_freshness()
    assert len(raised.value.__notes__) == 1 and len(store.freshness_history()) == 2


def test_a_view_that_does_not_exist_is_a_mistake_and_leaves_no_record(breakable) -> None:
    store, _ = breakable
    with pytest.raises(fs.UnknownFeatureError, match="Did you mean 'one'"):
        store.jobs().check_freshness(["onee"])
    assert store.freshness_history() == []


def test_a_job_that_succeeded_leaves_a_record_of_how_fresh_its_view_is(breakable) -> None:
    store, backend = breakable
    store.jobs(LIMIT).incremental(["one"])
    (after,) = store.freshness_history()
    assert (after.view, after.age, after.max_staleness) == ("one", HOUR, 12 * HOUR)
    real, calls = backend.inner.position, []
    backend.inner.position = lambda name: calls.append(name) or real(name)
    jobs = store.jobs({"jobs": {"retries": 0}})
    jobs.full(["one"], days_back=1)
    left = iter(range(len(calls) - 1))

    def position(name):
        if next(left, None) is None:  # the last look of the same job, which is the one for the record
            raise fs.BackendUnavailableError("Taken away by the test.")
        return real(name)

    backend.inner.position = position
    assert not jobs.full(["one"], days_back=1).failed  # the rows are online, whoever could not look
    assert "BackendUnavailableError" in store.freshness_history()[-1].error


@pytest.mark.rule("F-1", "F-2")
def test_a_view_is_expired_just_after_rows_of_2020_were_materialised(store, tmp_path) -> None:
    store.apply([view(tmp_path, [("a", NOW.replace(year=2020), 1)], max_staleness=DAY)])
    store.jobs().incremental()
    assert [r.status.name for r in store.freshness_history()] == ["EXPIRED"]
    assert store.freshness()["hcp_stats"].status.name == "EXPIRED"


@pytest.mark.rule("F-1", "F-2")
def test_when_the_clock_went_back_the_age_is_unknown_and_not_fresh(store, tmp_path, clock: FakeClock) -> None:
    filled(store, tmp_path, newest=NOW, max_staleness=DAY)
    clock.set(NOW - timedelta(minutes=1))
    near = store.freshness()["hcp_stats"]
    assert (near.status.name, near.age, near.error) == ("FRESH", timedelta(0), None)  # clocks differ a little
    clock.set(NOW - timedelta(minutes=1) - US)
    far = store.freshness()["hcp_stats"]
    assert (far.status.name, far.age, far.newest_event_timestamp) == ("UNKNOWN", None, NOW)
    assert "clock" in far.error
    store.jobs().check_freshness()
    assert store.freshness_history() == [far]


@pytest.mark.rule("F-2")
@pytest.mark.parametrize(
    ("age", "status"),
    [(10 * HOUR, "FRESH"), (10 * HOUR + US, "WARNING"), (12 * HOUR, "WARNING"), (12 * HOUR + US, "STALE")],
)
@pytest.mark.parametrize(
    "freshness",
    [
        {"max_staleness_hours": 12, "warning_hours": 10},
        {"views": {"hcp_stats": {"max_staleness_hours": 12, "warning_hours": 10}}},
        {"max_staleness_hours": 12, "warning_hours": 11, "views": {"hcp_stats": {"warning_hours": 10}}},
    ],
)
def test_a_warning_limit_stands_in_for_half_the_limit(clock, tmp_path, freshness, age, status) -> None:
    with fs.connect({"backend": "memory", "materialisation": {"freshness": freshness}}, clock=clock) as store:
        filled(store, tmp_path, newest=NOW - age)
        report = store.freshness()["hcp_stats"]
        assert (report.status.name, report.warning_after) == (status, 10 * HOUR)
        assert store.jobs().check_freshness()["hcp_stats"].status.name == status


def test_the_general_warning_limit_is_for_views_with_the_general_limit(clock, tmp_path) -> None:
    freshness = {"max_staleness_hours": 24, "warning_hours": 20, "views": {"two": {"max_staleness_hours": 8}}}
    with fs.connect({"backend": "memory", "materialisation": {"freshness": freshness}}, clock=clock) as store:
        store.apply([
            view(tmp_path, [("a", NOW, 1)], name="one"),
            view(tmp_path, [("a", NOW, 1)], name="two"),
            view(tmp_path, [("a", NOW, 1)], name="three", max_staleness=4 * HOUR),
        ])  # fmt: skip
        found = {name: report.warning_after for name, report in store.freshness().items()}
    assert found == {"one": 20 * HOUR, "two": 4 * HOUR, "three": 2 * HOUR}


@pytest.mark.parametrize(
    ("freshness", "says"),
    [
        (
            {"max_staleness_hours": 12, "warning_hours": 13},
            "freshness: warning_hours is 13, and max_staleness_hours 12",
        ),
        ({"warning_hours": 13}, "freshness: warning_hours is 13 without max_staleness_hours"),
        ({"views": {"v": {"max_staleness_hours": 1, "warning_hours": 2}}}, "views, v: warning_hours is 2, and max_st"),
        ({"warning_hours": 0}, "warning_hours is 0; give more than 0"),
        ({"history_days": 0}, "history_days is 0; give more than 0"),
        ({"history_day": 5}, "unknown key 'history_day'. Did you mean 'history_days'"),
    ],
)
def test_a_warning_limit_that_makes_no_sense_is_refused_by_its_key(freshness, says) -> None:
    with pytest.raises(fs.ConfigError) as raised:
        fs.connect({"backend": "memory", "materialisation": {"freshness": freshness}})
    assert says in str(raised.value)


def test_a_warning_limit_over_the_view_s_own_limit_or_without_any_is_refused(clock, tmp_path) -> None:
    for own, told in ((4 * HOUR, "its max_staleness is 4:00:00"), (None, "it has no max_staleness to go with")):
        settings = {"freshness": {"views": {"hcp_stats": {"warning_hours": 5}}}}
        with fs.connect({"backend": "memory", "materialisation": settings}, clock=clock) as store:
            filled(store, tmp_path, max_staleness=own)
            for call in (store.freshness, store.jobs):
                with pytest.raises(fs.ConfigError, match=f"hcp_stats: warning_hours is 5, and {told}"):
                    call()


@pytest.mark.rule("F-3")
def test_records_are_forgotten_when_they_are_older_than_the_settings_say(store, tmp_path, clock: FakeClock) -> None:
    filled(store, tmp_path)
    jobs = store.jobs({"freshness": {"history_days": 2}})
    for _ in range(5):
        jobs.check_freshness()
        clock.advance(DAY)
    assert [r.age for r in store.freshness_history(days=30)] == [n * DAY + HOUR for n in (2, 3, 4)]


@pytest.mark.parametrize("days", [0, -1, math.nan, math.inf, True, "7", 10**6])
def test_days_that_are_none_are_refused(store, days) -> None:
    with pytest.raises(fs.RequestError, match="days is"):
        store.freshness_history(days=days)


def test_an_awaited_store_has_the_checks_and_their_history(clock) -> None:
    async def awaited() -> None:
        async with fs.connect_async({"backend": "memory"}, clock=clock) as store:
            key = fs.Entity("hcp_id")
            await store.apply([fs.FeatureView("v", entities=[key], schema=[fs.Field("trx_count", fs.Int64)])])
            await store.write("v", batch(("a", at(1), 1)))
            checked = await (await store.jobs()).check_freshness()
            assert await store.freshness_history("v") == list(checked.values())

    asyncio.run(awaited())
