"""What happened to a store: kept off the path of whoever caused it, counted, bounded, by all processes (F-3)."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta

import pytest

import e2i_fs as fs
from e2i_fs.ops import event_history, event_recorder
from e2i_fs.ops.event_history import EventHistory
from e2i_fs.ops.event_recorder import EventRecorder
from e2i_fs.ops.records import Records
from e2i_fs.telemetry.events import Applied, BreakerMoved, FailedOver, JobEnded, LeakageFound, Replayed, Retrieved
from e2i_fs.telemetry.kept import KINDS, about, sentence
from e2i_fs.testing.clock import FakeClock
from tests.breakable import OPENED, BreakablePlugin
from tests.kit import NOW, at, batch, config, view

HOUR = timedelta(hours=1)


@pytest.fixture
def pair(tmp_path, clock):
    """A store of two backends, the primary of which breaks when told."""
    backends = [
        {"name": "primary", "backend": "breakable", "inner": "duckdb", "path": str(tmp_path / "primary")},
        {"name": "standby", "backend": "duckdb", "path": str(tmp_path / "standby")},
    ]
    settings = {"backends": backends, "failover": {"shadow_rate": 0, "background": False, "deadline": 10}}
    with fs.connect(settings, clock=clock, plugins=[BreakablePlugin()]) as store:
        store.apply([view(tmp_path, [("a", NOW - HOUR, 1)], max_staleness=HOUR / 2)])
        store.materialize(None, NOW)
        yield store, settings


def ask(store, times: int) -> None:
    for _ in range(times):
        store.get_online_features(["hcp_stats:trx_count"], [{"hcp_id": "a"}])


def told(store, **how) -> list[tuple[str, int, dict]]:
    return [(r.kind, r.count, dict(r.about)) for r in store.events(**how)]


@pytest.mark.rule("F-3")
def test_failed_over_reads_are_counted_by_the_minute_and_the_reason(pair, clock: FakeClock) -> None:
    store, _ = pair
    OPENED["primary"].break_("online_read")
    ask(store, 3)
    clock.advance(timedelta(minutes=1))
    ask(store, 2)
    clock.advance(timedelta(seconds=1))
    ask(store, 200)
    found = store.events(kinds=["FailedOver"])
    assert sum(r.count for r in found) == 205 and len(found) == 3
    assert [(r.at, r.last_at, r.count) for r in found if r.at == NOW] == [(NOW, NOW, 3)]
    assert {r.about["backend"] for r in found} == {"standby"}
    assert any("Taken away" in r.text for r in found) and all(
        r.text.startswith("Backend standby answered") for r in found
    )
    moved = told(store, kinds="BreakerMoved")
    assert moved == [("BreakerMoved", 1, {"backend": "primary", "before": "closed", "after": "open"})]


@pytest.mark.rule("F-3")
def test_what_happened_is_known_to_the_next_process_the_newest_first(pair, clock: FakeClock, tmp_path) -> None:
    store, settings = pair
    clock.advance(timedelta(minutes=1))
    store.freshness()
    store.freshness()
    clock.advance(HOUR)
    store.jobs().incremental()
    store.close()
    with fs.connect(settings, clock=clock, plugins=[BreakablePlugin()]) as other:
        found = other.events()
        assert [(r.kind, r.count) for r in found] == [("JobEnded", 1), ("Stale", 2), ("Applied", 1)]
        assert [r.text for r in found] == [
            "View hcp_stats: its incremental job succeeded.",
            "View hcp_stats is EXPIRED.",
            "Definitions changed: created entity hcp_stats_entity, view hcp_stats.",
        ]
        assert [r.kind for r in other.events(limit=1)] == ["JobEnded"]
        assert [r.kind for r in other.events(days=1 / 48)] == ["JobEnded"]


@pytest.mark.rule("F-3")
def test_two_processes_count_into_one_record(tmp_path, clock) -> None:
    with (
        fs.connect(config("duckdb", tmp_path), clock=clock) as one,
        fs.connect(config("duckdb", tmp_path), clock=clock) as two,
    ):
        for store in (one, two, two):
            store.emit(lambda at: BreakerMoved(at, "b", "closed", "open"))
        two._plugins.flush()
        assert [r.count for r in one.events()] == [3]


def test_applying_what_is_there_is_no_event_and_neither_are_reads_and_writes(store, tmp_path) -> None:
    made = view(tmp_path, [("a", at(1), 1)])
    store.apply([made])
    store.apply([made])
    store.apply([made], dry_run=True)
    store.write("hcp_stats", batch(("a", at(2), 2)))
    ask(store, 3)
    store.materialize(None, NOW)
    assert [(r.kind, r.count) for r in store.events()] == [("Applied", 1)]


def test_a_read_makes_no_event_when_nobody_observes(store, tmp_path, monkeypatch) -> None:
    store.apply([view(tmp_path, [("a", at(1), 1)])])
    emitted = []
    monkeypatch.setattr(store._plugins, "emit", emitted.append)
    ask(store, 2)
    assert emitted == []
    store.write("hcp_stats", batch(("a", at(2), 2)))
    assert len(emitted) == 1  # so it would have been seen


def test_an_awaited_store_has_its_events(clock) -> None:
    async def awaited() -> list[fs.EventRecord]:
        async with fs.connect_async({"backend": "memory"}, clock=clock) as store:
            await store.apply([fs.Entity("hcp_id")])
            return await store.events()

    assert [r.kind for r in asyncio.run(awaited())] == ["Applied"]


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"kinds": ["FailedOvr"]}, "No kind of event that is kept is called 'FailedOvr'. Did you mean 'FailedOver'"),
        ({"kinds": "Retrieved"}, "called 'Retrieved'"),
        ({"limit": 0}, "limit is 0"),
        ({"limit": True}, "limit is True"),
        ({"days": 0}, "days is 0"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(store, how, says) -> None:
    with pytest.raises(fs.RequestError) as raised:
        store.events(**how)
    assert says in str(raised.value)


# ---- the log ----------------------------------------------------------------------------------------------------


@pytest.fixture
def records(tmp_path):
    opened = Records(str(tmp_path), "")
    yield opened
    opened.close()


def read(records: Records, limit: int = 1000) -> list[fs.EventRecord]:
    return EventHistory(records).since(0, None, limit)


def test_what_happens_is_written_down_by_itself(records, clock) -> None:
    recorder = EventRecorder(records, clock, delay=0.0)
    recorder.notice(Replayed(NOW, "standby", "v", 1))
    while not read(records):
        pass  # another thread is at it; the runner's own limit ends a test that would go on for ever
    recorder.notice(Replayed(NOW, "standby", "v", 2))
    recorder.close()
    assert [(r.count, r.text) for r in read(records)] == [
        (2, "Backend standby, view v: took a write that it had missed.")
    ]


def test_records_that_cannot_be_written_harm_nobody_and_are_told_once(pair, caplog) -> None:
    store, settings = pair
    store._plugins.flush()
    store._ledger.records._db.execute("PRAGMA query_only = ON")
    OPENED["primary"].break_("online_read")
    with caplog.at_level(logging.WARNING, "e2i_fs"):
        ask(store, 3)
        store._plugins.flush()
        ask(store, 3)
        store._plugins.flush()
        (said,) = [r.getMessage() for r in caplog.records if "not kept for now" in r.getMessage()]
        assert "readonly" in said and "reads and writes go on" in said
        store._ledger.records._db.execute("PRAGMA query_only = OFF")
        assert sum(r.count for r in store.events(kinds=["FailedOver"])) == 6
    assert "kept again; 0 events were lost" in caplog.text


def test_what_is_held_in_memory_is_bounded_and_what_was_lost_is_told(records, clock, caplog, monkeypatch) -> None:
    monkeypatch.setattr(event_recorder, "_MOST", 3)
    recorder = EventRecorder(records, clock, delay=60)
    for name in "abcde":
        recorder.notice(BreakerMoved(NOW, name, "closed", "open"))
    recorder.notice(BreakerMoved(NOW, "a", "closed", "open"))
    records._db.execute("PRAGMA query_only = ON")
    assert not recorder.flush()
    records._db.execute("PRAGMA query_only = OFF")
    assert recorder.flush()
    assert {(r.about["backend"], r.count) for r in read(records)} == {("a", 2), ("b", 1), ("c", 1)}
    assert "2 events were lost" in caplog.text
    recorder.close()


def test_a_store_that_closes_while_nothing_can_be_written_says_so(records, clock, caplog) -> None:
    recorder = EventRecorder(records, clock, delay=60)
    recorder.notice(BreakerMoved(NOW, "a", "closed", "open"))
    records._db.execute("PRAGMA query_only = ON")
    recorder.close()
    recorder.close()
    assert "not written down" in caplog.text
    recorder.notice(BreakerMoved(NOW, "b", "closed", "open"))  # after the end: nobody keeps it, and nobody is harmed


def test_a_forked_child_does_not_write_down_what_its_parent_counted(records, clock) -> None:
    recorder = EventRecorder(records, clock, delay=60)
    recorder.notice(BreakerMoved(NOW, "a", "closed", "open"))
    recorder.renew()
    recorder._pool.renew()
    recorder.notice(BreakerMoved(NOW, "b", "closed", "open"))
    recorder.close()
    assert [(r.about["backend"], r.count) for r in read(records)] == [("b", 1)]


def test_reasons_that_differ_by_numbers_only_are_one_and_different_ones_are_bounded(
    records, clock, monkeypatch
) -> None:
    monkeypatch.setattr(event_history, "_APART", 3)
    recorder = EventRecorder(records, clock, delay=60)
    for n in range(40):
        recorder.notice(FailedOver(NOW, "standby", f"primary: no answer after 0.{n} s"))
    for name in "abcdef":
        recorder.notice(FailedOver(NOW, "standby", f"primary: {name}"))
    recorder.close()
    found = read(records)
    assert len(found) == 4 and sum(r.count for r in found) == 46
    assert {r.count for r in found} == {40, 1, 4}
    (rest,) = [r for r in found if not r.about]
    assert rest.count == 4 and "of other kinds" in rest.text


def test_a_text_without_end_is_cut(records, clock) -> None:
    recorder = EventRecorder(records, clock, delay=60)
    recorder.notice(FailedOver(NOW, "standby", "x" * 10_000))
    recorder.close()
    assert len(read(records)[0].about["reason"]) == 500


def test_events_are_forgotten_after_ninety_days_and_beyond_their_number(records, clock, monkeypatch) -> None:
    monkeypatch.setattr(event_history, "_MOST", 5)
    history = EventHistory(records)
    recorder = EventRecorder(records, clock, delay=60)
    for days in (91, *range(8)):
        recorder.notice(LeakageFound(NOW - timedelta(days=days), "v", days))
    recorder.flush()
    assert [r.about["cells"] for r in read(records)] == [0, 1, 2, 3, 4]
    clock.advance(timedelta(days=88))
    history.forget(round(clock.now().timestamp() * 1e6))
    assert [r.about["cells"] for r in read(records)] == [0, 1, 2]
    recorder.close()


def test_every_kind_that_is_kept_has_words_of_its_own() -> None:
    plan = fs.Plan(created=("view v",))
    job = JobEnded(NOW, "v", "full", "failed", 1, 0, 0, 0.0, "BackendUnavailableError: gone.")
    assert sentence("Applied", dict(about(Applied(NOW, plan)))) == "Definitions changed: created view v."
    assert sentence("JobEnded", dict(about(job))) == "View v: its full job failed: BackendUnavailableError: gone."
    assert about(Retrieved(NOW, "online", 1, "b", False, 0.0)) is None
    assert all("of other kinds" in sentence(kind, {}) for kind in KINDS)
