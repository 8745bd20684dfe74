"""W-1 to W-4 and F-1 to F-3: writing, materialising and freshness, rule by rule."""

from __future__ import annotations

import threading
from datetime import timedelta

import pyarrow as pa
import pytest

import e2i_fs as fs
from e2i_fs.testing import FakeClock
from e2i_fs.testing.faults import Breakable
from e2i_fs.values import arrow_type
from tests.breakable import OPENED, BreakablePlugin
from tests.kit import NOW, STAMP, US, ask, at, batch, config, online, values, view

REF = "hcp_stats:trx_count"


@pytest.mark.rule("W-1")
def test_a_batch_with_one_bad_row_is_refused_whole_with_every_problem(store, tmp_path) -> None:
    store.apply([view(tmp_path, [])])
    rows = batch(("a", at(1), 1), (None, at(1), 2), ("b", None, 3), ("c", NOW + timedelta(days=1), 4), (None, None, 5))
    for to in ("online", "offline", "both"):
        with pytest.raises(fs.InvalidBatchError) as caught:
            store.write("hcp_stats", rows, to=to)
        named = [
            (row, word) for row, word in ((1, "hcp_id"), (2, "event_timestamp"), (3, "event_timestamp"), (4, "hcp_id"))
        ]
        for row, word in named:
            assert any(f"row {row}" in p and word in p for p in caught.value.problems)
    assert online(store, "a") == [(None, "NOT_FOUND")]
    assert values(ask(store, [("a", NOW)])) == [None]


@pytest.mark.rule("W-1")
def test_a_push_is_refused_with_the_problems_of_every_view_and_column(store) -> None:
    source = fs.PushSource("crm")
    one, two = (
        fs.FeatureView(name, entities=[fs.Entity("id")], schema=[fs.Field(field, fs.Int64)], source=source)
        for name, field in (("v", "x"), ("w", "y"))
    )
    store.apply([one, two])
    with pytest.raises(fs.InvalidBatchError, match="refused whole") as caught:
        store.push("crm", {"id": ["a"], "ts": [NOW], "x": ["1"]})
    assert [p.partition(".")[0] for p in caught.value.problems] == [
        "column 'ts' is taken by no view",
        "view 'v': column 'event_timestamp' is missing",
        "view 'v': column 'x' is string, which is not Int64",
        "view 'w': column 'event_timestamp' is missing",
        "view 'w': column 'y' is missing",
    ]
    assert store.get_online_features(["v:x"], [{"id": "a"}]).to_dict()["x"] == [None]


@pytest.mark.rule("W-1", "P-8")
@pytest.mark.parametrize(
    ("dtype", "column", "fits"),
    [
        (fs.Int64, pa.array([1], pa.int8()), True),
        (fs.Int64, pa.array([2.0]), True),
        (fs.Int64, pa.array([1.5]), False),
        (fs.Int64, pa.array([2.0**53 - 1]), True),
        (fs.Int64, pa.array([2.0**53]), False),
        (fs.Array(fs.Int64), pa.array([[1.0, -(2.0**53)]]), False),
        (fs.Struct(a=fs.Int64), pa.array([{"a": 2.0**60}]), False),
        (fs.Int64, pa.array([float("nan")]), False),
        (fs.Int64, pa.array([2**63], pa.uint64()), False),
        (fs.Int64, pa.array([True]), False),
        (fs.Int64, pa.array(["1"]), False),
        (fs.Int32, pa.array([2**31]), False),
        (fs.Float64, pa.array([2**53]), True),
        (fs.Float64, pa.array([2**53 + 1]), False),
        (fs.Float32, pa.array([0.1]), True),
        (fs.Float32, pa.array([1e300]), False),
        (fs.Bool, pa.array([1]), False),
        (fs.String, pa.array([1]), False),
        (fs.String, pa.array([b"x"]), False),
        (fs.Bytes, pa.array(["x"]), False),
        (fs.Timestamp, pa.array([1_001], pa.timestamp("ns", "UTC")), False),
        (fs.Decimal(4, 2), pa.array([1], pa.int64()), True),
        (fs.Decimal(4, 2), pa.array([100], pa.int64()), False),
        (fs.Json, pa.array(["{not json"]), False),
        (fs.Vector(2), pa.array([[1.0, 2.0]], pa.list_(pa.float32())), True),
        (fs.Vector(2), pa.array([[1.0]], pa.list_(pa.float32())), False),
        (fs.Vector(2), pa.array([[1.0, None]], pa.list_(pa.float32())), False),
        (fs.Array(fs.Int64), pa.array([[1.5]]), False),
        (fs.Vector(2), pa.array([[1e300, 1.0]], pa.list_(pa.float64())), False),
        (fs.Array(fs.Int64), pa.array([[1, None]]), True),
        (fs.Array(fs.Float32), pa.array([[0.1, float("inf")]]), True),
        (fs.Array(fs.Float32), pa.array([[1.0], [-1e39]]).slice(1), False),
        (fs.Array(fs.Json), pa.array([["{}", "{not json"]]), False),
        (fs.Struct(a=fs.Float32), pa.array([{"a": 1e39}]), False),
        (fs.Struct(a=fs.Json), pa.array([{"a": "{not json"}]), False),
        (
            fs.Struct(a=fs.Vector(2)),
            pa.array([{"a": [1.0, None]}], pa.struct([("a", pa.list_(pa.float32(), 2))])),
            False,
        ),
    ],
)
def test_a_value_is_taken_exactly_or_refused(store, tmp_path, dtype, column, fits) -> None:
    store.apply([view(tmp_path, [], fields={"x": dtype})])
    rows = pa.table({"hcp_id": ["a"], "event_timestamp": pa.array([at(1)], STAMP), "x": column})
    if fits:
        store.write("hcp_stats", rows, to="both")
        stored = ask(store, [("a", at(1))], "hcp_stats:x").to_arrow().column("x")
        assert stored.type == arrow_type(dtype) and stored.null_count == 0
        assert [s for _, s in online(store, "a", ref="hcp_stats:x")] == ["PRESENT"]
    else:
        with pytest.raises(fs.InvalidBatchError, match="'x'"):
            store.write("hcp_stats", rows, to="both")
        assert online(store, "a", ref="hcp_stats:x") == [(None, "NOT_FOUND")]


@pytest.mark.rule("W-1")
def test_missing_and_unknown_columns_are_all_named(store, tmp_path) -> None:
    store.apply([view(tmp_path, [], fields={"trx_count": fs.Int64, "share": fs.Float64})])
    with pytest.raises(fs.InvalidBatchError) as caught:
        store.write("hcp_stats", batch(("a", at(1), 1), fields=("trx_cnt",)))
    text = " ".join(caught.value.problems)
    assert all(name in text for name in ("'trx_count'", "'share'", "'trx_cnt'"))


@pytest.mark.rule("W-2")
def test_history_is_append_only_and_the_same_batch_is_one(store, tmp_path) -> None:
    store.apply([view(tmp_path, [], created=True)])
    first = batch(("a", at(1), at(1), 1), created=True)
    assert not store.write("hcp_stats", first, to="offline", idempotency_key="k1").repeated
    assert store.write("hcp_stats", first, to="offline", idempotency_key="k1").repeated
    assert store.statistics(REF).rows == 1
    with pytest.raises(fs.InvalidBatchError, match="k1"):
        store.write("hcp_stats", batch(("a", at(1), at(1), 2), created=True), to="offline", idempotency_key="k1")
    assert store.statistics(REF).rows == 1
    # A correction adds a row; what was known before stays as it was.
    store.write("hcp_stats", batch(("a", at(1), at(5), 2), created=True), to="offline", idempotency_key="k2")
    assert values(ask(store, [("a", at(9))], as_of=at(4))) == [1]
    assert values(ask(store, [("a", at(9))], as_of=at(5))) == [2]


@pytest.mark.rule("W-2")
def test_without_a_key_the_rows_themselves_are_the_key(store, tmp_path) -> None:
    store.apply([view(tmp_path, [])])
    for _ in range(3):
        store.write("hcp_stats", batch(("a", at(1), 1)), to="offline")
    store.write("hcp_stats", batch(("a", at(1), 2)), to="offline")
    assert store.statistics(REF).rows == 2


@pytest.mark.rule("W-2")
def test_the_users_own_files_are_never_written(store, tmp_path) -> None:
    store.apply([view(tmp_path / "source", [("a", at(1), 1)])])
    before = {p: p.read_bytes() for p in (tmp_path / "source").rglob("*")}
    store.write("hcp_stats", batch(("a", at(2), 2)), to="both")
    store.materialize(None, NOW)
    assert {p: p.read_bytes() for p in (tmp_path / "source").rglob("*")} == before
    assert values(ask(store, [("a", at(1)), ("a", at(2))])) == [1, 2]


@pytest.mark.rule("W-3")
def test_a_row_that_lands_late_is_online_after_the_next_run(store, tmp_path, clock: FakeClock) -> None:
    rows = [("a", at(10), 1), ("b", at(300), 1)]
    store.apply([view(tmp_path, rows)])
    store.materialize_incremental()
    clock.advance(timedelta(hours=1))
    late = [("a", at(20), 2), ("c", at(5), 3)]  # both before the end, and before the newest row, of the first run
    view(tmp_path, [*rows, *late])
    store.materialize_incremental()
    assert online(store, "a", "b", "c") == [(2, "PRESENT"), (1, "PRESENT"), (3, "PRESENT")]


@pytest.mark.rule("W-3", "O-1")
def test_a_correction_that_lands_late_wins_only_if_it_is_the_greater(store, tmp_path) -> None:
    rows = [("a", at(10), at(10), 5)]
    store.apply([view(tmp_path, rows, created=True)])
    store.materialize_incremental()
    view(tmp_path, [*rows, ("a", at(10), at(11), 1), ("a", at(9), at(99), 9)], created=True)
    store.materialize_incremental()
    assert online(store, "a") == [(1, "PRESENT")]


@pytest.mark.rule("W-3", "O-1")
def test_materialising_a_window_never_puts_an_older_row_over_a_newer(store, tmp_path) -> None:
    store.apply([view(tmp_path, [("a", at(10), 1), ("a", at(20), 2), ("a", at(30), 3)])])
    store.materialize(at(15), at(30))
    store.materialize(at(0), at(15))
    assert online(store, "a") == [(3, "PRESENT")]


@pytest.mark.rule("W-4")
def test_a_window_counts_both_its_ends(store, tmp_path) -> None:
    store.apply([view(tmp_path, [("a", at(10) - US, 1), ("b", at(10), 2), ("c", at(20), 3), ("d", at(20) + US, 4)])])
    store.materialize(at(10), at(20))
    assert [v for v, _ in online(store, "a", "b", "c", "d")] == [None, 2, 3, None]


@pytest.mark.rule("W-4")
def test_a_run_is_recorded_with_window_rows_newest_and_outcome(store, backend, tmp_path, clock) -> None:
    store.apply([view(tmp_path, [("a", at(10), 1), ("a", at(11), 2), ("b", at(12), 3)])])
    report = store.materialize(at(5), NOW)
    (run,) = store.materialization_runs("hcp_stats")
    assert report.runs == (run,)
    assert (run.view, run.outcome, run.start, run.end) == ("hcp_stats", "succeeded", at(5), NOW)
    assert (run.rows_read, run.rows_written, run.newest_event_timestamp) == (3, 2, at(12))
    assert run.error is None and run.started_at == NOW
    if backend != "memory":
        with fs.connect(config(backend, tmp_path / "store"), clock=clock) as other:
            assert other.materialization_runs("hcp_stats") == [run]


@pytest.fixture
def switched(clock):
    """A store in memory, and the switch before its backend."""
    with fs.connect({"backend": "breakable", "inner": "memory"}, clock=clock, plugins=[BreakablePlugin()]) as store:
        yield store, OPENED["breakable"]


def _fail_once_on_call(backend: Breakable, number: int) -> None:
    """Make one online write, the one of this number, fail before it is done."""
    real, calls = backend.inner.online_write, []

    def online_write(*args, **more):
        calls.append(1)
        if len(calls) == number:
            raise fs.BackendUnavailableError("Taken away by the test.")
        return real(*args, **more)

    backend.inner.online_write = online_write


@pytest.mark.rule("W-4")
def test_a_failed_run_is_recorded_and_the_next_finishes_the_work(switched, tmp_path) -> None:
    store, backend = switched
    store.apply([view(tmp_path, [(f"h{i}", at(1), i) for i in range(25_000)])])
    _fail_once_on_call(backend, 2)
    with pytest.raises(fs.BackendUnavailableError):
        store.materialize(None, NOW)
    (failed,) = store.materialization_runs("hcp_stats")
    assert failed.outcome == "failed" and "Taken away" in failed.error and failed.rows_written == 10_000
    report = store.materialize(None, NOW)
    assert report.runs[0].outcome == "succeeded"
    assert report.runs[0].rows_written == 15_000  # resumed after the chunk that was finished
    assert [v for v, _ in online(store, "h0", "h9999", "h10000", "h24999")] == [0, 9_999, 10_000, 24_999]


@pytest.mark.rule("W-4", "O-6")
def test_a_run_is_not_resumed_over_rows_that_are_gone(switched, tmp_path) -> None:
    """A view deleted and made again after a failed run has nothing online: the next run starts anew."""
    store, backend = switched
    one = view(tmp_path, [(f"h{i}", at(1), i) for i in range(12_000)])
    store.apply([one])
    _fail_once_on_call(backend, 2)
    with pytest.raises(fs.BackendUnavailableError):
        store.materialize(None, NOW)
    store.delete("hcp_stats")
    store.apply([one])
    store.materialize(None, NOW)
    got = store.get_online_features([REF], [{"hcp_id": f"h{i}"} for i in range(12_000)]).to_dict()["trx_count"]
    assert got == list(range(12_000))


@pytest.mark.rule("W-4")
def test_two_runs_on_one_view_do_not_overlap(switched, tmp_path) -> None:
    store, backend = switched
    store.apply([view(tmp_path, [("a", at(1), 1)])])
    inside, most = 0, 0
    lock, real = threading.Lock(), backend.inner.online_write
    both = threading.Barrier(2)

    def online_write(*args, **more):
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        try:
            return real(*args, **more)
        finally:
            with lock:
                inside -= 1

    backend.inner.online_write = online_write

    def run() -> None:
        both.wait()
        for _ in range(20):
            store.materialize(None, NOW)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    assert len(store.materialization_runs("hcp_stats")) == 40


@pytest.mark.rule("F-1")
def test_age_is_told_from_the_data_and_not_from_when_a_command_ran(store, tmp_path, clock: FakeClock) -> None:
    newest = NOW - timedelta(days=3)
    store.apply([view(tmp_path, [("a", newest, 1), ("b", newest - US, 1)], max_staleness=timedelta(days=4))])
    store.materialize(None, NOW)
    report = store.freshness()["hcp_stats"]
    assert (report.age, report.newest_event_timestamp) == (timedelta(days=3), newest)
    clock.advance(timedelta(days=1))
    store.materialize(None, clock.now())
    assert store.freshness(["hcp_stats"])["hcp_stats"].age == timedelta(days=4)


@pytest.mark.rule("F-2")
@pytest.mark.parametrize(
    ("age", "status"),
    [
        (timedelta(hours=6), "FRESH"), (timedelta(hours=6) + US, "WARNING"), (timedelta(hours=12), "WARNING"),
        (timedelta(hours=12) + US, "STALE"), (timedelta(hours=24), "STALE"), (timedelta(hours=24) + US, "EXPIRED"),
    ],
)  # fmt: skip
def test_freshness_turns_at_half_once_and_twice_the_limit(store, tmp_path, age, status) -> None:
    store.apply([view(tmp_path, [("a", NOW - age, 1)], max_staleness=timedelta(hours=12))])
    store.materialize(None, NOW)
    assert store.freshness()["hcp_stats"].status.name == status


@pytest.mark.rule("F-2")
def test_no_record_is_unknown_which_is_not_fresh(store, tmp_path) -> None:
    store.apply([view(tmp_path, [("a", at(1), 1)], max_staleness=timedelta(hours=12))])
    report = store.freshness()["hcp_stats"]
    assert report.status.name == "UNKNOWN" and report.age is None


@pytest.mark.rule("F-2")
def test_a_check_that_errors_has_failed(switched, tmp_path) -> None:
    store, backend = switched
    store.apply([view(tmp_path, [("a", at(1), 1)], max_staleness=timedelta(hours=12))])
    store.materialize(None, NOW)
    backend.break_("position")
    with pytest.raises(fs.BackendUnavailableError):
        store.freshness()


@pytest.mark.rule("F-2", "P-9")
@pytest.mark.parametrize("method", ["definitions", "position"])
def test_a_view_deleted_while_all_are_checked_is_left_out_and_a_named_one_is_unknown(
    switched, tmp_path, monkeypatch, method
) -> None:
    store, backend = switched
    views = [view(tmp_path, [("a", at(1), 1)], name=name) for name in ("a_view", "b_view")]
    real = getattr(backend, method)

    def deleted_first(*given):
        if looked and "b_view" in real_definitions().views:
            monkeypatch.setattr(backend, method, real)
            store.delete("b_view")
        looked.append(given)
        return real(*given)

    real_definitions = backend.definitions
    jobs = store.jobs()
    for check in (store.freshness, jobs.check_freshness):
        store.apply(views)
        looked: list[object] = []
        monkeypatch.setattr(backend, method, deleted_first)
        assert set(check()) == {"a_view"}
        store.apply(views)
        looked = [None]
        monkeypatch.setattr(backend, method, deleted_first)
        with pytest.raises(fs.UnknownFeatureError, match="b_view"):
            check(["b_view"])


@pytest.mark.rule("F-3")
def test_freshness_is_known_to_a_new_process(backend, tmp_path, clock) -> None:
    if backend == "memory":
        pytest.skip("declared as not persistent")
    with fs.connect(config(backend, tmp_path / "s"), clock=clock) as store:
        store.apply([view(tmp_path, [("a", at(1), 1)], max_staleness=timedelta(days=2))])
        store.materialize(None, NOW)
        said = store.freshness()["hcp_stats"]
    with fs.connect(config(backend, tmp_path / "s"), clock=clock) as other:
        assert other.freshness()["hcp_stats"] == said
