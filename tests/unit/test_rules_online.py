"""O-1 to O-7: online answers, rule by rule."""

from __future__ import annotations

import itertools
import math
import signal
import subprocess
import sys
from datetime import timedelta

import pytest

import e2i_fs as fs
from e2i_fs.testing import FakeClock
from tests.kit import NOW, US, ask, at, batch, config, online, table, values, view

REF = "hcp_stats:trx_count"


@pytest.mark.rule("O-1")
def test_every_order_repetition_and_split_of_the_same_writes_gives_the_same_state(backend, tmp_path, clock) -> None:
    rows = [
        ("a", at(5), at(5), 1), ("a", at(6), at(1), 2), ("a", at(6), at(2), 1), ("a", at(6), None, 9), ("a", at(6), at(2), None),
    ]  # fmt: skip
    definition = view(tmp_path, [], created=True)
    for number, order in enumerate(itertools.permutations(rows)):
        if number % 7:
            continue
        with fs.connect(config(backend, tmp_path / f"s{number}"), clock=clock) as store:
            store.apply([definition])
            cut = number % 5
            for part in (order[:cut], order[cut:], order[:2]):
                if part:
                    store.write("hcp_stats", batch(*part, created=True), to="online")
            assert online(store, "a") == [(1, "PRESENT")]


@pytest.mark.rule("O-1")
def test_an_older_event_written_later_changes_nothing(store, tmp_path) -> None:
    store.apply([view(tmp_path, [])])
    store.write("hcp_stats", batch(("a", at(10), 2)), to="online")
    store.write("hcp_stats", batch(("a", at(9), 1)), to="online")
    assert online(store, "a") == [(2, "PRESENT")]
    answer = store.get_online_features([REF], [{"hcp_id": "a"}])
    assert answer.event_timestamps[REF] == [at(10)]


@pytest.mark.rule("O-5")
def test_a_list_of_an_answer_that_its_caller_changes_changes_no_other(store, tmp_path) -> None:
    store.apply([view(tmp_path, [], fields={"trx_count": fs.Int64, "nrx_count": fs.Int64})])
    row = table({"hcp_id": ["a"], "event_timestamp": [at(10)], "trx_count": [2], "nrx_count": [1]})
    store.write("hcp_stats", row, to="online")
    both = ["hcp_stats:*"]
    answer = store.get_online_features(both, [{"hcp_id": "a"}])
    first, *others = answer.event_timestamps
    assert others
    answer.event_timestamps[first].clear()
    answer.statuses[first].clear()
    for ref in others:
        assert (answer.event_timestamps[ref], answer.statuses[ref]) == ([at(10)], ["PRESENT"])
    again = store.get_online_features(both, [{"hcp_id": "a"}])
    assert again.event_timestamps[first] == [at(10)]


@pytest.mark.rule("P-9")
def test_a_question_asked_before_is_answered_by_the_definitions_of_now(store, tmp_path) -> None:
    store.apply([view(tmp_path, [])])
    store.write("hcp_stats", batch(("a", at(10), 2)), to="online")
    assert online(store, "a") == [(2, "PRESENT")]
    store.delete("hcp_stats")
    with pytest.raises(fs.UnknownFeatureError):
        online(store, "a")


@pytest.mark.rule("O-1", "P-5")
def test_a_newer_row_with_a_missing_value_wins_whole(store, tmp_path) -> None:
    store.apply([view(tmp_path, [])])
    store.write("hcp_stats", batch(("a", at(10), 2)), to="online")
    store.write("hcp_stats", batch(("a", at(11), None)), to="online")
    assert online(store, "a") == [(None, "NULL_VALUE")]


@pytest.mark.rule("O-2", "P-2")
def test_a_ttl_is_kept_on_reading_to_the_microsecond(store, tmp_path, clock: FakeClock) -> None:
    store.apply([view(tmp_path, [], ttl=timedelta(hours=1))])
    store.write("hcp_stats", batch(("a", NOW, 2)), to="online")
    clock.advance(timedelta(hours=1))
    assert online(store, "a") == [(2, "PRESENT")]
    clock.advance(US)
    assert online(store, "a") == [(None, "OUTSIDE_MAX_AGE")]


@pytest.mark.rule("O-2")
def test_a_row_a_little_ahead_of_the_clock_hides_nothing_until_its_time(store, tmp_path, clock: FakeClock) -> None:
    store.apply([view(tmp_path, [])])
    store.write(
        "hcp_stats", batch(("a", NOW + timedelta(seconds=30), 2), ("b", NOW + timedelta(seconds=30), 9)), to="online"
    )
    store.write("hcp_stats", batch(("a", NOW, 1)), to="online")
    assert online(store, "a", "b") == [(1, "PRESENT"), (None, "NOT_FOUND")]
    clock.advance(timedelta(seconds=30) - US)
    assert online(store, "a", "b") == [(1, "PRESENT"), (None, "NOT_FOUND")]
    clock.advance(US)
    assert online(store, "a", "b") == [(2, "PRESENT"), (9, "PRESENT")]


@pytest.mark.rule("O-3")
def test_each_value_has_a_status_and_its_event_time(store, tmp_path) -> None:
    store.apply([view(tmp_path, [], ttl=timedelta(hours=1))])
    rows = [("present", NOW, 0), ("null", NOW - US, None), ("old", NOW - timedelta(hours=1) - US, 5)]
    store.write("hcp_stats", batch(*rows), to="online")
    answer = store.get_online_features([REF], [{"hcp_id": k} for k in ("present", "null", "old", "nobody", None)])
    assert answer.to_dict()["trx_count"] == [0, None, None, None, None]
    assert answer.statuses[REF] == [
        fs.FeatureStatus.PRESENT, fs.FeatureStatus.NULL_VALUE, fs.FeatureStatus.OUTSIDE_MAX_AGE,
        fs.FeatureStatus.NOT_FOUND, fs.FeatureStatus.NOT_FOUND,
    ]  # fmt: skip
    assert answer.event_timestamps[REF] == [NOW, NOW - US, NOW - timedelta(hours=1) - US, None, None]


@pytest.mark.rule("O-3", "P-8")
def test_false_zero_empty_and_nan_are_values_online(store, tmp_path) -> None:
    fields = {"i": fs.Int64, "f": fs.Float64, "s": fs.String, "b": fs.Bool, "l": fs.Array(fs.Int64), "y": fs.Bytes}
    store.apply([view(tmp_path, [("a", at(1), 2**53 + 1, math.nan, "", False, [], b"")], fields=fields)])
    store.materialize(None, NOW)
    answer = store.get_online_features(["hcp_stats:*"], [{"hcp_id": "a"}])
    assert {s.name for ref in answer.statuses.values() for s in ref} == {"PRESENT"}
    got = answer.to_dict()
    assert (got["i"], got["s"], got["b"], got["l"], got["y"]) == ([2**53 + 1], [""], [False], [[]], [b""])
    assert math.isnan(got["f"][0])


@pytest.mark.rule("O-4", "W-1")
def test_a_row_further_ahead_than_the_skew_is_refused(store, tmp_path) -> None:
    store.apply([view(tmp_path, [])])
    edge = NOW + timedelta(seconds=60)
    with pytest.raises(fs.InvalidBatchError, match=r"row 1, column 'event_timestamp'.*after.*O-4"):
        store.write("hcp_stats", batch(("b", NOW, 1), ("a", edge + US, 2)))
    assert online(store, "a", "b") == [(None, "NOT_FOUND")] * 2
    store.write("hcp_stats", batch(("a", edge, 2)))


@pytest.mark.rule("O-4")
def test_the_skew_is_configured(tmp_path, backend, clock) -> None:
    with fs.connect({**config(backend, tmp_path / "s"), "max_future_skew": 5}, clock=clock) as store:
        store.apply([view(tmp_path, [])])
        store.write("hcp_stats", batch(("a", NOW + timedelta(seconds=5), 2)))
        with pytest.raises(fs.InvalidBatchError):
            store.write("hcp_stats", batch(("a", NOW + timedelta(seconds=5) + US, 2)))


@pytest.mark.rule("O-5")
def test_answers_line_up_with_the_rows_asked(store, tmp_path) -> None:
    store.apply([view(tmp_path, [])])
    store.write("hcp_stats", batch(("a", at(1), 1), ("b", at(1), 2)), to="online")
    keys = ["b", "a", "nobody", "b", None, "a", "b"]
    assert [v for v, _ in online(store, *keys)] == [2, 1, None, 2, None, 1, 2]
    frame = table({"hcp_id": ["b", "zz", "b", "a"]})
    answer = store.get_online_features([REF], frame)
    assert answer.to_dict()["trx_count"] == [2, None, 2, 1]
    assert answer.to_dict()["hcp_id"] == ["b", "zz", "b", "a"]


@pytest.mark.rule("O-5", "P-7")
@pytest.mark.filterwarnings("ignore::e2i_fs.KeyTypeWarning")
def test_a_dict_of_lists_asks_what_a_list_of_dicts_does_whatever_is_missing_in_it(store, tmp_path) -> None:
    import numpy as np
    import pandas as pd

    store.apply([view(tmp_path, [])])
    store.write("hcp_stats", batch(("a", at(1), 1), ("b", at(1), 2)), to="online")
    keys = ["b", float("nan"), pd.NA, None, "a", "b"]
    columns = {"hcp_id": keys, "n": [1, 2, 3, 4, 5, 6]}
    of_lists = store.get_online_features([REF], columns)
    of_rows = store.get_online_features([REF], [{"hcp_id": k, "n": n + 1} for n, k in enumerate(keys)])
    columns["hcp_id"][0] = "changed by the caller"
    for answer in (of_lists, of_rows):
        assert answer.to_dict()["trx_count"] == [2, None, None, None, 1, 2]
        assert [s.name for s in answer.statuses[REF]] == ["PRESENT", *["NOT_FOUND"] * 3, "PRESENT", "PRESENT"]
        assert answer.to_arrow().to_pydict() == {
            "hcp_id": ["b", None, None, None, "a", "b"],
            "n": [1, 2, 3, 4, 5, 6],
            "trx_count": [2, None, None, None, 1, 2],
        }
    spans = store.get_online_features([REF], {"hcp_id": [np.timedelta64(5, "D"), np.datetime64("2024-03-10"), "b"]})
    assert spans.to_dict()["trx_count"] == [None, None, 2]
    with pytest.raises(fs.InvalidEntityFrameError, match="column 'hcp_id' of the entity rows"):
        spans.to_arrow()
    mixed = store.get_online_features([REF], {"hcp_id": ["a", 3, "\ud800"]})
    assert mixed.to_dict()["trx_count"] == [1, None, None]
    with pytest.raises(fs.InvalidEntityFrameError, match="column 'hcp_id' of the entity rows"):
        mixed.to_pandas()


@pytest.mark.rule("O-6")
def test_after_materialising_to_now_online_is_historical_at_now(store, tmp_path) -> None:
    rows = [
        ("a", at(1), at(9), 1),
        ("a", at(1), at(10), 2),
        ("b", NOW, NOW, None),
        ("c", NOW + US, at(1), 3),
        ("d", at(2), None, 4),
    ]
    rows.append(("old", NOW - timedelta(days=1) - US, at(0), 5))
    store.apply([view(tmp_path, rows, created=True, ttl=timedelta(days=1))])
    store.materialize(None, NOW)
    keys = ["a", "b", "c", "d", "old", "nobody"]
    historical = ask(store, [(key, NOW) for key in keys])
    assert [v for v, _ in online(store, *keys)] == values(historical)
    assert [s for _, s in online(store, *keys)] == [s.name for s in historical.statuses[REF]]


_WRITER = """
import sys, pyarrow as pa, e2i_fs as fs
store = fs.connect({"backend": "duckdb", "path": sys.argv[1]})
print("ready", flush=True)
for n in range(100_000):
    time = pa.array([1_600_000_000_000_000 + n] * 20, pa.timestamp("us", "UTC"))
    rows = pa.table({"hcp_id": [f"h{i}" for i in range(20)], "event_timestamp": time, "x": [n] * 20, "y": [-n] * 20})
    store.write("pair", rows, to="online")
    if n == 3: print("writing", flush=True)
"""


@pytest.mark.rule("O-7")
def test_a_killed_writer_leaves_every_row_old_or_new(tmp_path, clock) -> None:
    path = tmp_path / "store"
    definition = view(tmp_path, [], name="pair", fields={"x": fs.Int64, "y": fs.Int64})
    with fs.connect(config("duckdb", path), clock=clock) as store:
        store.apply([definition])
    for _ in range(3):
        writer = subprocess.Popen([sys.executable, "-c", _WRITER, str(path)], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        assert [writer.stdout.readline().strip(), writer.stdout.readline().strip()] == ["ready", "writing"]
        with fs.connect(config("duckdb", path), clock=clock) as store:
            for _ in range(20):
                _no_row_is_torn(store)
            writer.send_signal(signal.SIGKILL)
            writer.wait()
            _no_row_is_torn(store)
        writer.stdout.close()


def _no_row_is_torn(store) -> None:
    got = store.get_online_features(["pair:*"], [{"hcp_id": f"h{i}"} for i in range(20)]).to_dict()
    assert all(x is not None and x == -y for x, y in zip(got["x"], got["y"], strict=True))


@pytest.mark.rule("O-7", "W-1")
def test_a_batch_for_which_there_is_no_room_leaves_every_row_as_it_was(tmp_path, clock) -> None:
    fields = {"x": fs.String, "y": fs.String}
    definition = view(tmp_path, [], name="pair", fields=fields)
    with fs.connect({**config("duckdb", tmp_path / "store"), "online_size": 2**20}, clock=clock) as store:
        store.apply([definition])
        number = -1
        with pytest.raises(fs.BackendUnavailableError, match="online_size"):
            while number < 1_000:
                number += 1
                big = [(f"big{number}_{n}", at(1), "x" * 5_000, "x" * 5_000) for n in range(3)]
                rows = batch(*big, ("a", at(2 + number), str(number), str(-number)), fields=("x", "y"))
                store.write("pair", rows, to="online")
        keys = [{"hcp_id": key} for key in ("a", f"big{number}_0", f"big{number}_1", f"big{number}_2")]
        got = store.get_online_features(["pair:*"], keys).to_dict()
        assert got["x"] == [str(number - 1), None, None, None]
        assert got["y"] == [str(1 - number), None, None, None]


_APPENDER = """
import sys, pyarrow as pa, e2i_fs as fs
store = fs.connect({"backend": "duckdb", "path": sys.argv[1]})
for n in range(100_000):
    time = pa.array([1_600_000_000_000_000 + n] * 50, pa.timestamp("us", "UTC"))
    rows = pa.table({"hcp_id": [f"h{i}" for i in range(50)], "event_timestamp": time, "trx_count": [n] * 50})
    store.write("hcp_stats", rows, to="both", idempotency_key=f"{sys.argv[2]}-{n}")
    if n == 3: print("writing", flush=True)
"""


@pytest.mark.rule("O-7", "W-2")
def test_a_killed_writer_leaves_each_batch_of_history_whole_or_not_there(tmp_path, clock) -> None:
    path = tmp_path / "store"
    with fs.connect(config("duckdb", path), clock=clock) as store:
        store.apply([view(tmp_path, [])])
        for turn in range(3):
            command = [sys.executable, "-c", _APPENDER, str(path), str(turn)]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
                assert writer.stdout is not None
                assert writer.stdout.readline() == "writing\n"
                assert store.statistics(REF).rows % 50 == 0
                writer.kill()
            assert store.statistics(REF).rows % 50 == 0
            assert len(set(values(ask(store, [(f"h{i}", NOW) for i in range(50)])))) == 1
            assert len(set(online(store, *[f"h{i}" for i in range(50)]))) == 1
