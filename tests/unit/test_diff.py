"""X-4, X-10: two backends compared key by key; what cannot be compared is counted apart from what is equal."""

from __future__ import annotations

import inspect
import threading
from dataclasses import replace
from datetime import timedelta

import pyarrow as pa
import pytest

import e2i_fs as fs
from e2i_fs.backend import OnlineRow
from e2i_fs.catalog import Catalog
from e2i_fs.clock import to_us
from e2i_fs.errors import BackendDataError
from tests.kit import NOW, STAMP, at, batch, view
from tests.unit.test_rules_failover import connect

VIEW = "hcp_stats"


@pytest.fixture(params=["memory", "duckdb"])
def pair(request, tmp_path, clock):
    found = connect(tmp_path, clock, request.param)
    found.store.apply([view(tmp_path, [("a", at(1), 1), ("b", at(2), 2)])])
    found.store.write(VIEW, batch(("b", at(3), 3), ("c", at(4), 4)))
    found.store.materialize(None, NOW)
    with found.store:
        yield found


def diff(pair, **more):
    return pair.store.diff("primary", "standby", **more)


def slip(breakable, key: str, minutes: float, value: int | None) -> None:
    """Write a row online past the store."""
    row = OnlineRow(to_us(at(minutes)), None, {"trx_count": value})
    breakable.inner.online_write(VIEW, [(key,)], [row], at_us=to_us(NOW))


@pytest.mark.rule("X-10")
def test_backends_with_the_same_rows_are_the_same(pair) -> None:
    found = diff(pair)
    assert (found.ok, found.conclusive, found.same) == (True, True, True)
    # Three keys online; in history now and at one event time each, at two for the key with two rows if both were drawn.
    assert 9 <= found.compared == found.matched <= 10
    assert (found.mismatched, found.missing, found.incomparable) == (0, {"primary": 0, "standby": 0}, 0)
    assert found.example is None
    assert [(v.view, v.keys, v.compared, v.why) for v in found.views] == [(VIEW, 3, found.compared, None)]


@pytest.mark.rule("X-10")
def test_a_row_that_differs_online_is_the_example_with_what_each_has(pair) -> None:
    slip(pair.standby, "b", 5, 9)
    slip(pair.standby, "a", 5, None)
    found = diff(pair)
    assert (found.ok, found.conclusive, found.mismatched) == (False, True, 2)
    example = found.example
    assert (example.view, example.where, example.key, example.at) == (VIEW, "online", {"hcp_id": "b"}, NOW)
    assert example.has == {
        "primary": {"event_timestamp": at(3), "trx_count": 3},
        "standby": {"event_timestamp": at(5), "trx_count": 9},
    }
    assert found.views[0].example == example


@pytest.mark.rule("X-10")
@pytest.mark.parametrize("side", ["primary", "standby"])
def test_a_key_that_only_one_side_has_is_missing_on_the_other(pair, side: str) -> None:
    """Only in the online rows of one, and in no history: found because that one can enumerate its rows."""
    slip(getattr(pair, side), "only here", 5, 5)
    found = diff(pair)
    other = "standby" if side == "primary" else "primary"
    assert not found.ok
    assert found.missing == {side: 0, other: 1}
    assert found.mismatched == 0
    assert found.example.key == {"hcp_id": "only here"}
    assert found.example.has[other] is None


@pytest.mark.rule("X-10")
def test_rows_of_history_that_one_side_lacks_are_found_though_the_newest_are_equal(pair) -> None:
    rows = batch(("a", at(0.5), 7))
    assert pair.standby.inner.append(VIEW, rows.cast(_schema(pair)), batch_id="past the store")
    seeds = [diff(pair, seed=seed) for seed in range(20)]
    caught = [found for found in seeds if not found.ok]
    assert caught, "no seed drew the older event time"
    example = caught[0].example
    assert (example.where, example.key, example.at) == ("history", {"hcp_id": "a"}, at(0.5))
    assert example.has == {"primary": None, "standby": {"event_timestamp": at(0.5), "trx_count": 7}}


def _schema(pair) -> pa.Schema:
    return pa.schema([("hcp_id", pa.string()), ("event_timestamp", STAMP), ("trx_count", pa.int64())])


@pytest.mark.rule("X-10", "P-3")
def test_rows_that_became_known_at_other_times_are_found_though_their_values_are_equal(tmp_path, clock) -> None:
    found = connect(tmp_path, clock, "memory")
    with found.store as store:
        store.apply([view(tmp_path, [], created=True)])
        for breakable, known in ((found.primary, 5), (found.standby, 9)):
            breakable.inner.append(VIEW, batch(("a", at(1), at(known), 1), created=True), batch_id="one")
        differing = store.diff("primary", "standby")
        assert (differing.ok, differing.conclusive, differing.missing) == (False, True, {"primary": 0, "standby": 1})
        assert (differing.example.where, differing.example.at) == ("history", at(5))


@pytest.mark.rule("X-10")
def test_rows_online_that_a_backend_has_more_of_and_cannot_list_leave_it_inconclusive(pair, monkeypatch) -> None:
    slip(pair.primary, "only here", 5, 9)
    assert (diff(pair).conclusive, diff(pair).missing) == (True, {"primary": 0, "standby": 1})
    for breakable in (pair.primary, pair.standby):
        can = replace(breakable.inner.capabilities, copyable=False)
        monkeypatch.setattr(type(breakable), "capabilities", property(lambda self, can=can: can))
    found = diff(pair)
    assert (found.same, found.conclusive, found.ok, found.incomparable) == (True, False, False, 1)
    assert found.views[0].why == "primary has 4 rows online, which it cannot list, and standby 3"


@pytest.mark.rule("X-10")
def test_a_row_ahead_of_the_clock_is_compared_at_its_own_time(pair) -> None:
    later = NOW + timedelta(seconds=30)
    rows = batch(("a", later, 8)).cast(_schema(pair))
    pair.primary.inner.append(VIEW, rows, batch_id="past the store")
    found = diff(pair)
    assert found.mismatched == 1
    assert (found.example.where, found.example.at) == ("history", later)


@pytest.mark.rule("X-10")
def test_a_created_time_that_one_of_them_does_not_know_is_no_difference(tmp_path, clock) -> None:
    """Rows that Feast itself has put online have none; the answer is the same."""
    pair = connect(tmp_path, clock)
    with pair.store:
        pair.store.apply([view(tmp_path, [("a", at(1), at(2), 1)], created=True)])
        for backend, created in ((pair.primary, None), (pair.standby, to_us(at(2)))):
            row = OnlineRow(to_us(at(1)), created, {"trx_count": 1})
            backend.inner.online_write(VIEW, [("a",)], [row], at_us=to_us(NOW))
        assert diff(pair).ok
        slip(pair.standby, "a", 5, 2)
        assert diff(pair).mismatched == 1


@pytest.mark.rule("X-10")
def test_the_created_time_of_a_row_online_counts_too(tmp_path, clock) -> None:
    pair = connect(tmp_path, clock)
    with pair.store:
        pair.store.apply([view(tmp_path, [("a", at(1), at(2), 1)], created=True)])
        pair.store.materialize(None, NOW)
        row = OnlineRow(to_us(at(1)), to_us(at(3)), {"trx_count": 1})
        pair.standby.inner.online_write(VIEW, [("a",)], [row], at_us=to_us(NOW))
        found = diff(pair)
    assert found.mismatched == 1
    assert [row["created"] for row in found.example.has.values()] == [at(2), at(3)]


@pytest.mark.rule("X-10")
def test_nan_is_the_same_as_nan_and_minus_zero_is_not_zero(tmp_path, clock) -> None:
    pair = connect(tmp_path, clock, "duckdb")
    with pair.store:
        rows = [("a", at(1), float("nan")), ("b", at(1), 0.0)]
        pair.store.apply([view(tmp_path, rows, fields={"share": fs.Float64})])
        pair.store.materialize(None, NOW)
        assert diff(pair).ok
        row = OnlineRow(to_us(at(2)), None, {"share": -0.0})
        pair.standby.inner.online_write(VIEW, [("b",)], [row], at_us=to_us(NOW))
        pair.primary.inner.online_write(VIEW, [("b",)], [row._replace(values={"share": 0.0})], at_us=to_us(NOW))
        assert diff(pair).mismatched == 1


@pytest.mark.rule("X-4", "X-10")
def test_a_backend_that_missed_a_write_cannot_be_compared_until_it_caught_up(pair) -> None:
    pair.standby.break_()
    pair.store.write(VIEW, batch(("a", at(6), 6)))
    pair.standby.heal()
    found = diff(pair)
    assert (found.compared, found.conclusive, found.ok, found.incomparable) == (0, False, False, 1)
    assert "standby: it may have missed 1 write" in found.views[0].why
    pair.store.catch_up()
    assert diff(pair).ok


@pytest.mark.rule("X-10")
def test_a_backend_that_is_down_or_defined_otherwise_cannot_be_compared(pair) -> None:
    pair.standby.break_()
    found = diff(pair)
    assert not found.conclusive
    assert "standby: BackendUnavailableError" in found.views[0].why
    pair.standby.heal()
    pair.store.isolate("standby")
    assert "breaker is isolated" in diff(pair).views[0].why
    pair.store.release("standby")
    pair.standby.apply(Catalog(), expected=pair.standby.definitions().revision)
    assert "definition is not the expected one" in diff(pair).views[0].why
    other = pair.primary.definitions().view(VIEW)
    changed, _ = pair.primary.definitions().planned(
        [replace(other, ttl=timedelta(days=9))], base="", allow_breaking=True
    )
    pair.standby.apply(changed, expected=pair.standby.definitions().revision)
    assert "definition is not the expected one" in diff(pair).views[0].why


@pytest.mark.rule("X-10")
def test_a_source_that_is_replaced_in_between_is_no_difference(pair, tmp_path, monkeypatch) -> None:
    scan = pair.primary.inner.scan
    scans = []

    def and_then_another_file(*args, **more):
        scans.append(args)
        return scan(*args, **more)

    read = pair.standby.inner.scan

    def after_another_file(*args, **more):
        if len(scans) == 2:  # the first answers from history: the primary has given its own
            view(tmp_path, [("a", at(1), 111), ("b", at(2), 222)])
        return read(*args, **more)

    monkeypatch.setattr(pair.primary.inner, "scan", and_then_another_file)
    monkeypatch.setattr(pair.standby.inner, "scan", after_another_file)
    found = diff(pair)
    assert found.ok and len(scans) == 3


@pytest.mark.rule("X-10")
def test_what_could_not_be_compared_leaves_it_inconclusive_though_the_rest_is_equal(pair) -> None:
    pair.standby.break_("online_read", error=lambda: BackendDataError("Half a row."))
    found = diff(pair)
    assert found.same and not found.conclusive and not found.ok
    assert (found.incomparable, found.matched) == (3, found.compared)
    assert "Half a row." in found.views[0].why
    slip(pair.standby, "a", 5, 5)
    pair.standby.break_("scan", error=lambda: BackendDataError("Half a row."))
    assert not diff(pair).conclusive


@pytest.mark.rule("X-10")
def test_nothing_to_compare_is_inconclusive(tmp_path, clock) -> None:
    pair = connect(tmp_path, clock)
    with pair.store:
        assert not diff(pair).conclusive
        pair.store.apply([view(tmp_path, [])])
        found = diff(pair)
        assert (found.compared, found.incomparable, found.conclusive, found.ok) == (0, 0, False, False)
        assert found.views[0].why == "there are no rows"
        pair.store.apply([view(tmp_path, [("a", at(1), 1)], name="other")])
        pair.store.materialize(None, NOW)
        assert diff(pair).ok, "an empty view takes nothing from the others"


@pytest.mark.rule("X-10")
def test_a_write_in_between_is_no_difference(pair, monkeypatch) -> None:
    """The standby is asked after a write that the primary was asked before: the first answers differ."""
    asked = pair.primary.inner.online_read
    written = []

    def and_then_a_write(name, keys, *, at_us):
        found = asked(name, keys, at_us=at_us)
        if not written:
            written.append(pair.store.write(VIEW, batch(("a", at(7), 7))))
        return found

    monkeypatch.setattr(pair.primary.inner, "online_read", and_then_a_write)
    found = diff(pair)
    assert written and found.ok


@pytest.mark.rule("X-10")
def test_writes_that_never_end_make_it_incomparable_and_nothing_else(pair, monkeypatch) -> None:
    asked = pair.primary.inner.online_read
    minutes = iter(range(10, 100))

    def and_then_a_write(name, keys, *, at_us):
        found = asked(name, keys, at_us=at_us)
        minute = next(minutes)
        pair.store.write(VIEW, batch(("a", at(minute), minute)))
        return found

    monkeypatch.setattr(pair.primary.inner, "online_read", and_then_a_write)
    found = diff(pair)
    assert found.same and not found.conclusive
    assert (found.incomparable, found.views[0].why) == (1, "writes came in between")


@pytest.mark.rule("X-10")
def test_a_write_under_way_does_not_hide_what_is_equal(pair, monkeypatch) -> None:
    """While another thread's write is sent, equal answers are equal, and nothing is judged that is not."""
    inside, go_on = threading.Event(), threading.Event()
    send = pair.standby.inner.online_write

    def held(*args, **more):
        inside.set()
        assert go_on.wait(30)
        return send(*args, **more)

    monkeypatch.setattr(pair.standby.inner, "online_write", held)
    writer = threading.Thread(target=lambda: pair.store.write(VIEW, batch(("a", at(8), 8)), to="online"))
    writer.start()
    try:
        assert inside.wait(30)
        found = diff(pair)
    finally:
        go_on.set()
        writer.join(30)
    assert (found.mismatched, found.incomparable) == (0, 1)
    assert found.matched == found.compared > 0
    assert diff(pair).ok


@pytest.mark.rule("X-10", "T-4")
def test_a_sample_is_the_same_keys_each_time_and_on_both_sides(tmp_path, clock) -> None:
    pair = connect(tmp_path, clock, "duckdb")
    with pair.store:
        pair.store.apply([view(tmp_path, [(f"k{n}", at(n % 50), n) for n in range(2000)])])
        pair.store.materialize(None, NOW)
        for n in range(0, 2000, 2):
            slip(pair.standby, f"k{n}", 60, -n)
        found = [diff(pair, sample=40, seed=seed) for seed in (1, 1, 2)]
        assert found[0] == found[1] != found[2]
        assert [one.views[0].keys for one in found] == [40, 40, 40]
        # Half of all keys differ; a sample of 40 that had 5 or 35 of them would be a strange one.
        assert all(5 < one.mismatched < 35 for one in found)
        assert diff(pair, sample=5000).mismatched == 1000


@pytest.mark.rule("X-4", "X-10")
def test_keys_are_drawn_from_all_pieces_that_a_backend_gives_away(tmp_path, clock, monkeypatch) -> None:
    monkeypatch.setattr("e2i_fs_duckdb.online._PIECE", 2)
    pair = connect(tmp_path, clock, "duckdb")
    with pair.store:
        pair.store.apply([view(tmp_path, [])])
        pair.store.write(VIEW, batch(*((f"k{n}", at(n), n) for n in range(7))), to="online")
        pieces = list(pair.primary.online_rows(VIEW))
        assert [len(rows) for _, rows, _ in pieces] == [2, 2, 2, 1]
        assert (diff(pair).views[0].keys, diff(pair).ok) == (7, True)
        assert diff(pair, sample=5).views[0].keys == 5


@pytest.mark.rule("X-10", "P-7")
def test_keys_of_several_columns_and_kinds_are_drawn_by_their_values(tmp_path, clock) -> None:
    keys = {"origin": fs.String, "stop": fs.Int64, "day": fs.Date, "since": fs.Timestamp}
    pair = connect(tmp_path, clock, "duckdb")
    with pair.store:
        rows = [("1", 23, NOW.date(), at(1), at(2), 1), ("12", 3, NOW.date(), at(1), at(2), 2)]
        pair.store.apply([view(tmp_path, rows, keys=keys)])
        pair.store.materialize(None, NOW)
        assert (diff(pair).ok, diff(pair).views[0].keys) == (True, 2)
        key = ("12", 3, (NOW.date() - at(0).date().replace(1970, 1, 1)).days, to_us(at(1)))
        row = OnlineRow(to_us(at(3)), None, {"trx_count": 9})
        pair.standby.inner.online_write(VIEW, [key], [row], at_us=to_us(NOW))
        assert diff(pair).example.key == {"origin": "12", "stop": 3, "day": NOW.date(), "since": at(1)}


@pytest.mark.rule("X-10")
def test_only_the_views_that_are_named_are_compared(pair, tmp_path) -> None:
    pair.store.apply([view(tmp_path, [("a", at(1), 1)], name="other", online=False)])
    slip(pair.standby, "a", 5, 5)
    assert [v.view for v in diff(pair).views] == [VIEW, "other"]
    found = diff(pair, views=["other", "other"])
    assert (found.ok, [v.view for v in found.views]) == (True, ["other"])
    with pytest.raises(fs.UnknownFeatureError, match="hcp_stats"):
        diff(pair, views=["hcp_stat"])


@pytest.mark.rule("X-10")
def test_what_makes_no_sense_is_refused(pair, tmp_path, clock) -> None:
    with pytest.raises(fs.RequestError, match="itself"):
        pair.store.diff("primary", "primary")
    with pytest.raises(fs.RequestError, match="Did you mean 'standby'"):
        pair.store.diff("primary", "stanby")
    with pytest.raises(fs.RequestError, match="at least one key"):
        diff(pair, sample=0)
    with fs.connect({"backend": "memory"}, clock=clock) as single, pytest.raises(fs.RequestError, match="itself"):
        single.diff("memory", "memory")


def test_the_awaited_store_has_every_method_of_the_store() -> None:
    """With the same parameters, so that what is read of one holds of the other."""
    from e2i_fs.aio import AsyncJobs, AsyncStore
    from e2i_fs.ops.jobs import Jobs
    from e2i_fs.store import Store

    for kind, other in ((Store, AsyncStore), (Jobs, AsyncJobs)):
        for name in [n for n in dir(kind) if not n.startswith("_")]:
            own, awaited = (inspect.signature(getattr(k, name)).parameters for k in (kind, other))
            assert [p for p in own if p != "progress"] == list(awaited), name
