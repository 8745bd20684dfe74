"""An online store that lost rows under a store of one backend: no row is said never to have been there (X-3, O-6)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import e2i_fs as fs
from e2i_fs.ops import materialize
from e2i_fs.testing.clock import FakeClock
from tests import kit, servers

HOUR = timedelta(hours=1)
REFUSED = r"store\.materialize\(None, views=\['v'\]\)"


class Repository(NamedTuple):
    """A Feast repository: its configuration, its source's file, and how to take its online rows away."""

    config: dict[str, Any]
    source: Path
    empty: Callable[[], None]


@pytest.fixture(params=["sqlite", "redis"])
def repository(request: pytest.FixtureRequest, tmp_path: Path, feast_library: Any) -> Iterator[Repository]:
    folder, source = tmp_path / "feast", tmp_path / "v.parquet"
    save(source, {"a": 1, "b": 2, "c": 3})
    config = {"backend": "feast", "path": str(folder)}
    if request.param == "sqlite":

        def unlink() -> None:
            for file in folder.glob("online.db*"):
                file.unlink()

        yield Repository(config, source, unlink)
        return
    with servers.running_redis() as server:

        def restart() -> None:
            server.kill()
            server.empty()
            server.start()

        online = {"type": "redis", "connection_string": servers.patient(server.address)}
        yield Repository({**config, "online_store": online}, source, restart)


def save(source: Path, rows: dict[str, int]) -> None:
    """Write the source anew: row number n is of n days ago."""
    times = pa.array([kit.NOW - timedelta(days=x) for x in rows.values()], pa.timestamp("us", "UTC"))
    pq.write_table(pa.table({"k": list(rows), "event_timestamp": times, "x": list(rows.values())}), source)


def opened(repository: Repository, clock: FakeClock) -> fs.FeatureStore:
    """Open the store, with the view defined and online up to now."""
    store = fs.connect(repository.config, clock=clock)
    source = fs.ParquetSource(repository.source)
    entity = fs.Entity("k")
    store.apply(
        [
            fs.FeatureView(
                "v", entities=[entity], schema=[fs.Field("x", fs.Int64)], source=source, max_staleness=9 * HOUR
            )
        ]
    )
    assert {run.rows_written for run in store.materialize_incremental().runs} == {3}
    assert online(store) == [1, 2, 3, None]
    return store


def online(store: fs.FeatureStore) -> list[int | None]:
    answer = store.get_online_features(["v:x"], [{"k": k} for k in "abcd"])
    assert not answer.provenance.degraded
    return answer.to_dict()["x"]


def served(store: fs.FeatureStore) -> tuple[list[int | None], str]:
    return online(store), store.get_online_features(["v:x"], [{"k": "a"}]).provenance.served_by


def refused(store: fs.FeatureStore) -> None:
    with pytest.raises(fs.BackendUnavailableError, match=REFUSED):
        online(store)


def pushed(store: fs.FeatureStore, k: str, x: int, to: Any, at: Any = kit.NOW - HOUR) -> None:
    store.write("v", [{"k": k, "event_timestamp": at, "x": x}], to)


@pytest.mark.rule("X-3", "O-6", "W-3")
def test_a_full_run_brings_every_row_back_and_incremental_ones_go_on_from_there(
    repository: Repository, clock: FakeClock
) -> None:
    with opened(repository, clock) as store:
        repository.empty()
        pushed(store, "d", 4, "both")
        refused(store)
        assert store.materialize(None).rows_written >= 3
        assert online(store) == [1, 2, 3, 4]
        assert store.materialize_incremental().runs[0].rows_read == 0


@pytest.mark.rule("X-3")
def test_the_refusal_outlives_the_process(repository: Repository, clock: FakeClock) -> None:
    with opened(repository, clock) as store:
        repository.empty()
        pushed(store, "a", 4, "both")
    with fs.connect(repository.config, clock=clock) as store:
        refused(store)
        store.materialize(None)
    with fs.connect(repository.config, clock=clock) as store:
        assert online(store) == [4, 2, 3, None]


@pytest.mark.rule("X-3", "O-6")
def test_rows_that_history_never_had_are_for_a_person_to_bring_back(
    repository: Repository, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(repository, clock) as store:
        pushed(store, "d", 7, "online")
        assert online(store) == [1, 2, 3, 7]
        repository.empty()
        assert store.materialize_incremental().rows_written == 3
        assert "write again what was written online only, then call store.materialize(None" in caplog.text
        refused(store)
        assert store.materialize_incremental().runs[0].rows_read == 0  # all of it was read since the loss
        refused(store)
        pushed(store, "d", 7, "online")
        refused(store)
        store.materialize(None)
        assert online(store) == [1, 2, 3, 7]


@pytest.mark.rule("X-3", "O-6")
def test_a_run_that_ends_before_what_was_lost_does_not_end_the_refusal(
    repository: Repository, clock: FakeClock
) -> None:
    with opened(repository, clock) as store:
        repository.empty()
        store.materialize(None, kit.NOW - timedelta(days=2))
        refused(store)
        store.materialize(kit.NOW - timedelta(days=4))  # everything, but nobody says that it is
        refused(store)
        store.materialize(None, kit.NOW - timedelta(days=1))  # up to the newest row that was online
        assert online(store) == [1, 2, 3, None]


@pytest.mark.rule("X-3", "O-6")
def test_rows_that_are_lost_again_during_the_run_are_not_said_to_be_back(
    repository: Repository, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    lost = [False]

    def again(view: str, done: int, total: int) -> None:
        if done == total and not lost[0]:
            lost[0] = True
            repository.empty()
            pushed(store, "d", 4, "both")

    with opened(repository, clock) as store:
        repository.empty()
        pushed(store, "d", 4, "both")
        store.materialize(None, progress=again)
        assert lost == [True]
        assert "rows were lost while it ran" in caplog.text
        refused(store)
        store.materialize(None)
        assert online(store) == [1, 2, 3, 4]


@pytest.mark.rule("F-2", "X-7")
def test_freshness_and_health_say_that_rows_are_gone(repository: Repository, clock: FakeClock) -> None:
    with opened(repository, clock) as store:
        pushed(store, "a", 4, "both")
        assert store.freshness()["v"].status is fs.FreshnessStatus.FRESH
        repository.empty()
        pushed(store, "a", 5, "both", kit.NOW)
        report = store.freshness()["v"]
        assert (report.status, report.age) == (fs.FreshnessStatus.UNKNOWN, None)
        assert report.error is not None
        assert "Rows of the view are gone" in report.error
        assert [dict(b.parity) for b in store.health()] == [{"v": "diverged"}]
        store.materialize(None)
        assert store.freshness()["v"].status is fs.FreshnessStatus.FRESH
        assert [dict(b.parity) for b in store.health()] == [{"v": "verified"}]


@pytest.mark.rule("R-4")
def test_a_view_that_is_made_anew_has_lost_nothing(repository: Repository, clock: FakeClock) -> None:
    with opened(repository, clock) as store:
        view = store.get_feature_view("v")
        repository.empty()
        pushed(store, "d", 4, "both")
        refused(store)
        store.delete("v")
        store.apply([view])
        assert online(store) == [None] * 4


@pytest.mark.rule("X-3", "X-4")
def test_a_backend_that_failover_made_whole_answers_by_itself_too(
    repository: Repository, tmp_path: Path, clock: FakeClock
) -> None:
    primary = {"name": "feast", **repository.config}
    standby = {"name": "standby", "backend": "duckdb", "path": str(tmp_path / "duckdb")}
    config = {"backends": [primary, standby], "failover": {"shadow_rate": 0, "background": False}}
    with opened(repository._replace(config=config), clock) as store:
        pushed(store, "d", 4, "online")
        repository.empty()
        pushed(store, "a", 0, "both", kit.NOW)
        assert online(store) == [0, 2, 3, 4]
        clock.advance(timedelta(minutes=1))
        assert store.catch_up("feast")["feast"].rebuilt == ("v",)
        assert store.get_online_features(["v:x"], [{"k": "d"}]).provenance.served_by == "feast"
    with fs.connect(repository.config, clock=clock) as store:
        assert online(store) == [0, 2, 3, 4]


@pytest.mark.rule("X-3", "W-4")
def test_runs_that_are_cut_short_go_on_where_they_were_since_the_loss(
    repository: Repository, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(materialize, "CHUNK", 1)
    with opened(repository, clock) as store:
        backend = store._router.backend("feast")
        writing = backend.online_write

        def slowly(*given: Any, **more: Any) -> int:
            clock.advance(timedelta(seconds=1))
            written: int = writing(*given, **more)
            return written

        monkeypatch.setattr(backend, "online_write", slowly)
        repository.empty()
        for _ in range(2):
            with pytest.raises(fs.RunTimeoutError):
                store.materialize(None, timeout=0.5)
            refused(store)
        store.materialize(None, timeout=1.5)
        assert online(store) == [1, 2, 3, None]


@pytest.mark.rule("X-3", "W-4")
def test_what_a_run_had_done_before_rows_were_lost_again_is_done_again(
    repository: Repository, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(materialize, "CHUNK", 1)

    def stopped(view: str, done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with opened(repository, clock) as store:
        for _ in range(2):
            repository.empty()
            pushed(store, "d", 4, "both")
            with pytest.raises(KeyboardInterrupt):
                store.materialize(None, progress=stopped)
        repository.empty()
        pushed(store, "d", 4, "both")
        store.materialize(None)
        assert online(store) == [1, 2, 3, 4]


@pytest.mark.rule("X-3", "X-5")
def test_a_write_that_was_not_recorded_and_is_repeated_is_missed_when_it_is_lost(
    repository: Repository, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its writer was cut off when the row was there and not yet on record; that it is acknowledged puts it there."""

    def cut_off(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with fs.connect(repository.config, clock=clock) as store:
        store.apply([fs.FeatureView("v", entities=[fs.Entity("k")], schema=[fs.Field("x", fs.Int64)])])
        state = store._router.backend("feast").state
        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            for method in ("stepped", "wrote"):
                patched.setattr(state, method, cut_off)
            pushed(store, "a", 1, "both")
        assert online(store) == [1, None, None, None]
        pushed(store, "a", 1, "both")
        repository.empty()
        refused(store)


@pytest.mark.rule("X-3")
def test_lost_rows_ahead_of_the_clock_are_not_waited_for(repository: Repository, clock: FakeClock) -> None:
    with opened(repository, clock) as store:
        pushed(store, "d", 4, "both", kit.NOW + timedelta(seconds=50))
        repository.empty()
        refused(store)
        store.materialize(None)
        assert online(store) == [1, 2, 3, None]
        clock.advance(timedelta(seconds=50))
        store.materialize_incremental()
        assert online(store) == [1, 2, 3, 4]


@pytest.mark.rule("X-3")
def test_one_loss_that_two_writers_see_is_one(
    repository: Repository, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(repository, clock) as store, fs.connect(repository.config, clock=clock) as other:
        repository.empty()
        backend = store._router.backend("feast")
        lost = backend.state.lost

        def meanwhile(*given: Any, **more: Any) -> Any:
            found = lost(*given, **more)
            if found:
                monkeypatch.undo()
                if "online_store" in repository.config:  # sqlite's other writers wait for this one
                    pushed(other, "a", 9, "both")
            return found

        monkeypatch.setattr(backend.state, "lost", meanwhile)
        pushed(store, "a", 9, "both")
        assert backend.lost("v") == 1
        store.materialize(None)
        assert online(store) == [9, 2, 3, None]
        repository.empty()
        refused(store)
        assert backend.lost("v") == 2


@pytest.mark.rule("X-4")
@pytest.mark.parametrize("standby", ["duckdb", "feast"], ids=["copied", "from the journal"])
def test_rows_that_are_lost_again_during_a_rebuild_are_not_said_to_be_back(
    repository: Repository, tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, standby: str
) -> None:
    primary = {"name": "feast", **repository.config}
    config = {
        "backends": [primary, {"name": "standby", "backend": standby, "path": str(tmp_path / "standby")}],
        "failover": {"shadow_rate": 0, "background": False},
    }
    with opened(repository._replace(config=config), clock) as store:
        pushed(store, "d", 4, "online")
        repository.empty()
        pushed(store, "a", 0, "both", kit.NOW)
        clock.advance(timedelta(minutes=1))
        backend = store._router.backend("feast")
        writing = backend.online_write

        def lost_again(*given: Any, **more: Any) -> int:
            written: int = writing(*given, **more)
            repository.empty()
            return written

        with monkeypatch.context() as patched:
            patched.setattr(backend, "online_write", lost_again)
            told = store.catch_up("feast")["feast"]
        assert (told.rebuilt, told.diverged) == ((), ("v",))
        assert served(store) == ([0, 2, 3, 4], "standby")
        clock.advance(timedelta(minutes=1))
        assert store.catch_up("feast")["feast"].rebuilt == ("v",)
        assert served(store) == ([0, 2, 3, 4], "feast")


@pytest.mark.rule("X-4")
def test_a_person_may_say_that_a_backend_is_whole(repository: Repository, tmp_path: Path, clock: FakeClock) -> None:
    def written_again(store: fs.FeatureStore) -> None:
        for k, x in {"a": 1, "b": 2, "c": 3}.items():
            pushed(store, k, x, "both", kit.NOW - timedelta(days=x))

    with opened(repository, clock) as store:
        repository.empty()
        written_again(store)
        refused(store)
        store.readmit("feast")
        assert online(store) == [1, 2, 3, None]
    standby = {"name": "standby", "backend": "duckdb", "path": str(tmp_path / "duckdb")}
    config = {"backends": [{"name": "feast", **repository.config}, standby]}
    with fs.connect({**config, "failover": {"shadow_rate": 0, "background": False}}, clock=clock) as store:
        store.delete("v")
        store.apply([fs.FeatureView("v", entities=[fs.Entity("k")], schema=[fs.Field("x", fs.Int64)])])
        written_again(store)
        repository.empty()
        assert served(store) == ([1, 2, 3, None], "standby")
        with fs.connect(repository.config, clock=clock) as alone:
            written_again(alone)
        clock.advance(timedelta(minutes=1))
        store.readmit("feast")
        assert served(store) == ([1, 2, 3, None], "feast")


@pytest.mark.rule("R-4")
def test_a_view_that_is_deleted_meanwhile_is_not_taken_for_one_that_lost_rows(
    repository: Repository, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(repository, clock) as store, fs.connect(repository.config, clock=clock) as other:
        backend = store._router.backend("feast")

        def deleted_before(of: Any, method: str) -> None:
            real = getattr(of, method)

            def deleted(*given: Any, **more: Any) -> Any:
                monkeypatch.undo()
                other.delete("v")
                return real(*given, **more)

            monkeypatch.setattr(of, method, deleted)

        deleted_before(backend.store, "read")
        with pytest.raises(fs.UnknownFeatureError, match="'v'"):
            online(store)
        store.apply([fs.FeatureView("v", entities=[fs.Entity("k")], schema=[fs.Field("x", fs.Int64)])])
        pushed(store, "a", 1, "both")
        deleted_before(backend, "lost")
        assert [b.error for b in store.health()] == [None]
    assert "lost rows" not in caplog.text


@pytest.mark.rule("X-3")
def test_records_that_are_deleted_while_in_use_give_no_answer(repository: Repository, clock: FakeClock) -> None:
    with opened(repository, clock) as store:
        for file in Path(repository.config["path"]).glob(".e2i_fs/feast.db*"):
            file.unlink()
        with pytest.raises(fs.BackendUnavailableError, match=r"feast\.db: it was deleted while in use"):
            online(store)


@pytest.mark.rule("X-3")
def test_rows_that_are_there_while_their_count_is_gone_are_answered_after_a_run_that_writes_nothing(
    tmp_path: Path, clock: FakeClock, feast_library: Any
) -> None:
    import redis

    save(tmp_path / "v.parquet", {"a": 1, "b": 2, "c": 3})
    with servers.running_redis() as server:
        host, port = server.address.split(":")
        online_store = {"type": "redis", "connection_string": servers.patient(server.address)}
        config = {"backend": "feast", "path": str(tmp_path / "feast"), "online_store": online_store}
        with opened(Repository(config, tmp_path / "v.parquet", server.empty), clock) as store:
            with redis.Redis(host, int(port)) as client:
                client.delete(*client.keys("*e2i_fs:*"))
            refused(store)
            store.materialize(None)
            assert online(store) == [1, 2, 3, None]
            with redis.Redis(host, int(port)) as client:
                client.flushall()
            refused(store)
