"""Redis dead, frozen, full and back again: each costs little and has its own error (X-8, G-4)."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import e2i_fs as fs
from e2i_fs.errors import BackendUnavailableError, DeadlineExceededError, ThrottledError
from e2i_fs.testing.clock import FakeClock
from tests import kit, servers
from tests.integration.feast_words import NOW, SECOND, apply, read, remove, row, view, write


@pytest.fixture
def redis() -> Iterator[servers.RedisServer]:
    with servers.running_redis() as server:
        yield server


@pytest.fixture
def feast(redis: servers.RedisServer, open_feast: Any, tmp_path: Path) -> Any:
    backend = open_feast({"path": str(tmp_path), "online_store": {"type": "redis", "connection_string": redis.address}})
    apply(backend, view())
    write(backend, row(NOW - 10 * SECOND, 1))
    return backend


@pytest.fixture
def other(feast: Any, open_feast: Any, redis: servers.RedisServer, tmp_path: Path) -> Any:
    """The same repository once more, as another process has it."""
    return open_feast({"path": str(tmp_path), "online_store": {"type": "redis", "connection_string": redis.address}})


def seconds(call: Any) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def fails(expected: type[Exception], call: Any) -> float:
    """Return how long ``call`` takes to raise ``expected`` with the driver's error as its cause."""

    def attempt() -> None:
        with pytest.raises(expected) as raised:
            call()
        assert raised.value.__cause__ is not None

    return seconds(attempt)


@pytest.mark.rule("G-4", "X-2", "X-8")
def test_a_dead_redis_is_unavailable_at_once_and_served_from_when_it_is_back(
    feast: Any, redis: servers.RedisServer
) -> None:
    redis.kill()
    assert fails(BackendUnavailableError, lambda: read(feast)) < 0.5
    assert fails(BackendUnavailableError, lambda: write(feast, row(NOW, 2))) < 0.5
    assert fails(BackendUnavailableError, lambda: feast.ping(0.2)) < 0.5
    redis.start()
    assert read(feast) == row(NOW - 10 * SECOND, 1)
    assert write(feast, row(NOW, 2)) == 1
    feast.ping(1.0)


@pytest.mark.rule("G-4", "X-2", "X-8")
def test_a_frozen_redis_costs_its_timeout_and_no_more(feast: Any, redis: servers.RedisServer) -> None:
    redis.freeze()
    try:
        assert fails(DeadlineExceededError, lambda: feast.ping(0.2)) < 0.7
        assert fails(DeadlineExceededError, lambda: read(feast)) < 1.2
        assert fails(DeadlineExceededError, lambda: write(feast, row(NOW, 2))) < 1.7
    finally:
        redis.thaw()
    assert read(feast).values["trips"] in (1, 2)


@pytest.mark.rule("G-4", "X-2")
def test_a_full_redis_throttles_and_keeps_what_it_has(feast: Any, redis: servers.RedisServer) -> None:
    feast.store._client.config_set("maxmemory", "1")
    assert fails(ThrottledError, lambda: write(feast, row(NOW, 2))) < 1
    assert read(feast) == row(NOW - 10 * SECOND, 1)
    feast.store._client.config_set("maxmemory", "0")
    assert write(feast, row(NOW, 2)) == 1


@pytest.mark.rule("O-1")
def test_a_write_that_comes_between_comparing_and_writing_is_seen(
    feast: Any, open_feast: Any, redis: servers.RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    online = {"type": "redis", "connection_string": redis.address}
    other = open_feast({"path": str(tmp_path), "online_store": online})
    compare = feast.store._read
    interruptions = iter([row(NOW - 4 * SECOND, 8), row(NOW - 3 * SECOND, 9)])

    def compare_and_be_interrupted(*asked: Any) -> Any:
        found = compare(*asked)
        between = next(interruptions, None)
        if between is not None:
            assert write(other, between) == 1
        return found

    monkeypatch.setattr(feast.store, "_read", compare_and_be_interrupted)
    assert write(feast, row(NOW - 5 * SECOND, 7)) == 0
    monkeypatch.undo()
    assert read(feast) == row(NOW - 3 * SECOND, 9)


@pytest.mark.rule("R-4")
def test_rows_of_a_view_deleted_while_redis_was_away_never_come_back(feast: Any, redis: servers.RedisServer) -> None:
    redis.kill()
    remove(feast, "stats")
    assert [left.view for left in feast.state.leftovers()] == ["stats"]
    redis.start()
    apply(feast, view())
    assert read(feast) is None
    assert feast.state.leftovers() == []


@pytest.mark.rule("R-4")
def test_rows_that_feast_wrote_for_a_deleted_view_never_come_back(
    feast: Any, redis: servers.RedisServer, feast_library: Any, tmp_path: Path
) -> None:
    from e2i_fs_feast.keys import entity_key
    from feast.protos.feast.types.Value_pb2 import Value

    from e2i_fs.clock import from_us

    table = feast.snapshot().views["stats"]
    store = feast_library.FeatureStore(str(tmp_path))
    theirs = [(entity_key(table.join_keys, (7,)), {"trips": Value(int64_val=70)}, from_us(NOW - 5), None)]
    store._get_provider().online_write_batch(store.config, store.get_feature_view("stats"), theirs, None)
    assert read(feast, key=(7,)) == row(NOW - 5, 70)
    redis.kill()
    remove(feast, "stats")
    apply(feast, view())
    redis.start()
    assert read(feast, key=(1,)) is None
    assert read(feast, key=(7,)) is None
    assert write(feast, row(NOW - 9, 2), key=(7,)) == 1
    apply(feast, view("other", fs.Field("trips", fs.Int64)))
    assert feast.state.leftovers() == []
    assert read(feast, key=(7,)) == row(NOW - 9, 2)


@pytest.mark.rule("R-1")
def test_definitions_are_applied_and_history_is_read_without_redis(feast: Any, redis: servers.RedisServer) -> None:
    redis.kill()
    apply(feast, view("other", fs.Field("trips", fs.Int64)))
    assert set(feast.definitions().views) == {"stats", "other"}
    assert list(feast.scan("other", ["trips"])) == []


def test_only_the_views_own_fields_are_deleted_and_only_in_its_own_project(
    feast: Any, redis: servers.RedisServer, open_feast: Any, tmp_path: Path
) -> None:
    online = {"type": "redis", "connection_string": redis.address}
    neighbour = open_feast({"path": str(tmp_path / "n"), "online_store": online, "project": "my_e2i_fs"})
    for backend in (feast, neighbour):
        apply(backend, view(), view("other", fs.Field("trips", fs.Int64)))
        write(backend, row(NOW, 3))
        write(backend, row(NOW, 4), name="other")
    remove(feast, "stats")
    assert read(feast, name="other") == row(NOW, 4)
    assert read(neighbour) == row(NOW, 3)
    remove(feast, "other")
    left = feast.store._client.keys("*")
    assert len([key for key in left if not key.startswith(b"e2i_fs:")]) == 1  # the neighbour's
    assert [key for key in left if key.startswith(b"e2i_fs:")] == [b"e2i_fs:my_e2i_fs"]


@pytest.mark.rule("X-3", "X-4")
def test_a_redis_restarted_empty_does_not_say_that_nothing_was_there(feast: Any, redis: servers.RedisServer) -> None:
    before = feast.position("stats").sequence
    redis.kill()
    redis.empty()
    redis.start()
    # The driver may connect anew without a word, so the very first read must notice.
    for _ in range(3):
        with pytest.raises(BackendUnavailableError):
            read(feast)
    assert feast.position("stats").sequence < before
    # It takes writes again, and answers when it is told that all is back; its count of writes still tells that something was lost.
    assert write(feast, row(NOW, 2)) == 1
    for key in ((1,), (2,)):
        with pytest.raises(BackendUnavailableError, match="not all of them have been written again"):
            read(feast, key=key)
    assert feast.recovered("stats", feast.lost("stats"))
    assert read(feast) == row(NOW, 2)
    assert feast.position("stats").sequence < before


@pytest.mark.rule("X-3", "X-4")
def test_a_redis_back_with_an_older_snapshot_does_not_answer_from_it(feast: Any, redis: servers.RedisServer) -> None:
    redis.keep()
    assert write(feast, row(NOW - 5 * SECOND, 2)) == 1
    before = feast.position("stats").sequence
    redis.kill()
    redis.go_back()
    redis.start()
    for _ in range(3):
        with pytest.raises(BackendUnavailableError, match="1 of the 2 steps"):
            read(feast)
    assert feast.position("stats").sequence < before
    # Also when a writer comes first, over whatever connection: its count tells, and goes on from there.
    assert write(feast, row(NOW - 9 * SECOND, 7), key=(2,)) == 1
    assert feast.position("stats").sequence < before
    assert write(feast, row(NOW - 4 * SECOND, 3)) == 1
    assert feast.recovered("stats", feast.lost("stats"))
    assert read(feast) == row(NOW - 4 * SECOND, 3)


@pytest.mark.rule("X-3", "X-4")
def test_rows_lost_under_an_open_connection_are_noticed_by_the_next_read_and_the_next_write(feast: Any) -> None:
    before = feast.position("stats").sequence
    feast.store._client.flushall()
    with pytest.raises(BackendUnavailableError, match="0 of the 1 steps"):
        read(feast)
    assert feast.position("stats").sequence < before
    assert write(feast, row(NOW, 2)) == 1
    now = feast.position("stats").sequence
    feast.store._client.flushall()
    assert write(feast, row(NOW, 3)) == 1
    assert feast.position("stats").sequence < now


@pytest.mark.rule("X-3", "O-7")
def test_a_read_during_which_an_emptied_store_is_written_to_says_nothing(
    feast: Any, other: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading = feast.store._read

    def emptied_meanwhile(*given: Any) -> Any:
        monkeypatch.undo()
        feast.store._client.flushall()
        assert write(other, row(NOW, 2), key=(2,)) == 1
        return reading(*given)

    monkeypatch.setattr(feast.store, "_read", emptied_meanwhile)
    with pytest.raises(BackendUnavailableError, match="not all of them"):
        read(feast)


@pytest.mark.rule("X-3", "O-7")
def test_a_read_during_which_a_loss_begins_and_ends_is_of_what_is_there_then(
    feast: Any, other: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert read(feast) is not None
    reading = feast.store.read

    def emptied_and_filled(*given: Any) -> Any:
        monkeypatch.undo()
        feast.store._client.flushall()
        assert write(other, row(NOW, 2), key=(2,)) == 1
        found = reading(*given)
        assert write(other, row(NOW - 10 * SECOND, 1)) == 1
        assert other.recovered("stats", other.lost("stats"))
        return found

    monkeypatch.setattr(feast.store, "read", emptied_and_filled)
    assert read(feast) == row(NOW - 10 * SECOND, 1)


@pytest.mark.rule("X-3", "X-4")
def test_a_loss_is_not_forgotten_by_a_write_that_changes_nothing_nor_by_an_older_copy_that_comes_back(
    feast: Any, redis: servers.RedisServer
) -> None:
    assert write(feast, row(NOW - 9 * SECOND, 2), key=(2,)) == 1
    redis.keep()  # with two steps
    feast.store._client.delete(*feast.store._client.keys("*e2i_fs:*"))  # rows are there, their count is not
    for _ in range(2):
        assert write(feast, row(NOW - 10 * SECOND, 1)) == 0  # as it is there already
        with pytest.raises(BackendUnavailableError, match="0 of the 2 steps"):
            read(feast)
    feast.store._client.flushall()
    assert write(feast, row(NOW, 7)) == 1
    assert feast.recovered("stats", feast.lost("stats"))
    assert read(feast) == row(NOW, 7)
    redis.kill()
    redis.go_back()
    redis.start()
    with pytest.raises(BackendUnavailableError, match="2 of the 4 steps"):
        read(feast)


@pytest.mark.rule("X-4", "X-5")
@pytest.mark.parametrize("died", ["before it wrote", "after it wrote"])
def test_a_loss_stays_known_if_the_writer_who_saw_it_dies(
    feast: Any, monkeypatch: pytest.MonkeyPatch, died: str
) -> None:
    assert write(feast, row(NOW - 9 * SECOND, 2), key=(2,)) == 1
    before = feast.position("stats").sequence
    feast.store._client.flushall()

    def dies(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        if died == "before it wrote":
            lost = feast.state.lost
            patched.setattr(feast.state, "lost", lambda *given, **more: lost(*given, **more) and dies())
        else:
            patched.setattr(feast.state, "stepped", dies)
        write(feast, row(NOW, 7))
    assert feast.position("stats").sequence < before
    if died == "before it wrote":
        with pytest.raises(BackendUnavailableError, match="0 of the 3 steps"):
            read(feast, key=(2,))
    assert write(feast, row(NOW, 8)) == 1
    with pytest.raises(BackendUnavailableError, match="not all of them"):
        read(feast, key=(2,))
    assert feast.position("stats").sequence < before


@pytest.mark.rule("X-4", "X-5")
def test_a_loss_that_cannot_be_recorded_is_not_written_over(feast: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    feast.store._client.flushall()

    def full(*_: Any, **__: Any) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(feast.state, "lost", full)
        with pytest.raises(BackendUnavailableError, match="full"):
            write(feast, row(NOW, 7))
    with pytest.raises(BackendUnavailableError, match="0 of the 1 steps"):
        read(feast)


@pytest.mark.rule("X-4", "X-5")
def test_of_two_writers_who_see_a_loss_neither_forgets_the_other_s_step(
    feast: Any, other: Any, redis: servers.RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    feast.store._client.flushall()
    lost, overtaken = feast.state.lost, [True]

    def meanwhile(*given: Any, **more: Any) -> Any:
        if overtaken.pop() if overtaken else False:
            assert write(other, row(NOW, 3), key=(3,)) == 1
        return lost(*given, **more)

    monkeypatch.setattr(feast.state, "lost", meanwhile)
    assert write(feast, row(NOW, 2), key=(2,)) == 1
    assert overtaken == []
    assert feast.lost("stats") == 1
    assert feast.recovered("stats", 1)
    assert (read(feast, key=(2,)), read(feast, key=(3,))) == (row(NOW, 2), row(NOW, 3))
    redis.keep()
    assert write(other, row(NOW, 4), key=(4,)) == 1
    redis.kill()
    redis.go_back()
    redis.start()
    with pytest.raises(BackendUnavailableError, match="steps"):
        read(feast, key=(4,))


@pytest.mark.rule("X-3", "X-4")
def test_of_two_repositories_that_write_for_the_first_time_at_once_one_is_told(
    open_feast: Any, redis: servers.RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    online = {"type": "redis", "connection_string": redis.address}
    one, two = (open_feast({"path": str(tmp_path / name), "online_store": online}) for name in ("one", "two"))
    for backend in (one, two):
        apply(backend, view())
    looked, held = one.store._counters_of, [True]

    def overtaken(*given: Any) -> Any:
        found = looked(*given)
        if held:
            held.clear()
            assert write(two, row(NOW, 2), key=(2,)) == 1
        return found

    monkeypatch.setattr(one.store, "_counters_of", overtaken)
    assert write(one, row(NOW, 1)) == 1
    assert read(one) == row(NOW, 1)
    with pytest.raises(BackendUnavailableError, match="0 of the 1 steps"):
        read(two)


@pytest.mark.rule("W-1", "R-1")
def test_a_batch_of_what_a_view_was_before_is_refused_by_what_it_is_now(
    feast: Any, open_feast: Any, redis: servers.RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = open_feast({"path": str(tmp_path), "online_store": {"type": "redis", "connection_string": redis.address}})
    reading, held = late.store._read, [True]

    def changed_meanwhile(*given: Any) -> Any:
        if held:
            held.clear()
            apply(feast, view("stats", fs.Field("trips", fs.Float64)), allow_breaking=True)
            assert write(feast, row(NOW - SECOND, 5.5)) == 1
        return reading(*given)

    monkeypatch.setattr(late.store, "_read", changed_meanwhile)
    with pytest.raises(fs.InvalidBatchError, match="changed while the batch was on its way"):
        write(late, row(NOW, 5))
    assert read(feast) == row(NOW - SECOND, 5.5)


@pytest.mark.rule("X-3", "X-4")
def test_another_repository_of_the_same_project_in_one_redis_is_noticed_by_the_one_whose_rows_are_gone(
    feast: Any, open_feast: Any, redis: servers.RedisServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    online = {"type": "redis", "connection_string": redis.address}
    other = open_feast({"path": str(tmp_path / "other"), "online_store": online})
    apply(other, view())
    before = feast.position("stats").sequence
    assert read(other) is None  # and that alone takes nothing from anybody
    assert read(feast) is not None
    assert write(other, row(NOW, 2), key=(2,)) == 1  # another key, and yet
    assert "another repository" in caplog.text
    for _ in range(2):
        with pytest.raises(BackendUnavailableError, match="another repository write to it under the same project"):
            read(feast)
    assert feast.position("stats").sequence < before
    assert read(other, key=(2,)) == row(NOW, 2)
    # Whoever writes then, the other one is told.
    assert write(feast, row(NOW, 3)) == 1
    assert feast.recovered("stats", feast.lost("stats"))
    assert read(feast) == row(NOW, 3)
    with pytest.raises(BackendUnavailableError, match="0 of the 1 steps"):
        read(other, key=(2,))


def test_a_writer_whose_view_was_made_anew_meanwhile_takes_nothing_from_the_new_one(
    feast: Any, open_feast: Any, redis: servers.RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = open_feast({"path": str(tmp_path), "online_store": {"type": "redis", "connection_string": redis.address}})
    reading = late.store._read
    held = [True]

    def made_anew_meanwhile(*given: Any) -> Any:
        if held:
            held.clear()
            remove(feast, "stats")
            apply(feast, view())
            assert write(feast, row(NOW, 8)) == 1
        return reading(*given)

    monkeypatch.setattr(late.store, "_read", made_anew_meanwhile)
    assert write(late, row(NOW, 5), key=(2,)) == 1
    assert read(feast) == row(NOW, 8)
    assert read(feast, key=(2,)) == row(NOW, 5)


@pytest.mark.rule("X-3")
def test_a_redis_that_evicts_any_key_is_refused(feast: Any) -> None:
    client = feast.store._client
    client.config_set("maxmemory", "100mb")
    client.config_set("maxmemory-policy", "volatile-lru")  # takes keys with an expiry only: ours have none
    client.connection_pool.disconnect()
    assert read(feast) is not None
    client.config_set("maxmemory-policy", "allkeys-lru")
    client.connection_pool.disconnect()
    for call in (lambda: read(feast), lambda: write(feast, row(NOW, 2)), lambda: feast.ping(1.0)):
        with pytest.raises(BackendUnavailableError, match="maxmemory-policy allkeys-lru"):
            call()


def test_a_redis_that_does_not_say_whether_it_evicts_is_used_with_a_warning(
    feast: Any, caplog: pytest.LogCaptureFixture
) -> None:
    feast.store._client.execute_command("ACL", "SETUSER", "default", "-info")
    feast.store._client.connection_pool.disconnect()
    assert read(feast) is not None
    assert "maxmemory-policy" in caplog.text


@pytest.mark.rule("X-3", "X-4", "X-5")
def test_failover_makes_a_primary_whole_whose_redis_came_back_with_an_older_snapshot(
    redis: servers.RedisServer, tmp_path: Path
) -> None:
    online = {"type": "redis", "connection_string": redis.address}
    primary = {"name": "primary", "backend": "feast", "path": str(tmp_path / "feast"), "online_store": online}
    standby = {"name": "standby", "backend": "duckdb", "path": str(tmp_path / "duckdb")}
    clock = FakeClock(kit.NOW)
    failover = {"shadow_rate": 0, "background": False}
    with fs.connect({"backends": [primary, standby], "failover": failover}, clock=clock) as store:
        store.apply([fs.FeatureView("v", entities=[fs.Entity("k")], schema=[fs.Field("x", fs.Int64)])])

        def put(x: int) -> None:
            store.write("v", pa.table({"k": ["a"], "event_timestamp": [kit.NOW - timedelta(days=9 - x)], "x": [x]}))

        def served() -> tuple[list[Any], str, bool]:
            answer = store.get_online_features(["v:x"], [{"k": "a"}])
            return answer.to_dict()["x"], answer.provenance.served_by, answer.provenance.degraded

        put(1)
        redis.keep()
        put(2)
        assert served() == ([2], "primary", False)
        redis.kill()
        redis.go_back()
        redis.start()
        for _ in range(4):
            assert served() == ([2], "standby", False)
            clock.advance(timedelta(seconds=20))
        assert store.catch_up("primary")["primary"].rebuilt == ("v",)
        assert served() == ([2], "primary", False)


@pytest.mark.rule("X-3", "X-4")
def test_failover_does_not_trust_a_primary_whose_redis_was_restarted_empty(
    redis: servers.RedisServer, tmp_path: Path
) -> None:
    online = {"type": "redis", "connection_string": redis.address}
    primary = {"name": "primary", "backend": "feast", "path": str(tmp_path / "feast"), "online_store": online}
    standby = {"name": "standby", "backend": "duckdb", "path": str(tmp_path / "duckdb")}
    clock = FakeClock(kit.NOW)
    failover = {"shadow_rate": 0, "background": False}
    with fs.connect({"backends": [primary, standby], "failover": failover}, clock=clock) as store:
        store.apply([fs.FeatureView("v", entities=[fs.Entity("k")], schema=[fs.Field("x", fs.Int64)])])
        rows = pa.table({"k": ["a", "b"], "event_timestamp": [kit.NOW - timedelta(days=1)] * 2, "x": [1, 2]})
        store.write("v", rows)

        def served() -> tuple[list[Any], str, bool]:
            answer = store.get_online_features(["v:x"], [{"k": "a"}, {"k": "b"}])
            return answer.to_dict()["x"], answer.provenance.served_by, answer.provenance.degraded

        assert served() == ([1, 2], "primary", False)
        redis.kill()
        redis.empty()
        redis.start()
        for _ in range(4):
            assert served() == ([1, 2], "standby", False)
            clock.advance(timedelta(seconds=20))
        # A write of one key does not make whole what was lost of the other.
        store.write("v", pa.table({"k": ["a"], "event_timestamp": [kit.NOW], "x": [3]}))
        for _ in range(4):
            assert served() == ([3, 2], "standby", False)
            clock.advance(timedelta(seconds=20))
        assert {h.name: h.parity["v"] for h in store.health()} == {"primary": "diverged", "standby": "verified"}
        assert store.catch_up("primary")["primary"].rebuilt == ("v",)
        assert served() == ([3, 2], "primary", False)
