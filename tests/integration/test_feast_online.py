"""Online rows in Feast's sqlite and in a real Redis: exact, and by the contract's order."""

from __future__ import annotations

import itertools
import math
import multiprocessing
import threading
import time
from typing import Any

import pyarrow as pa
import pytest

import e2i_fs as fs
from e2i_fs.backend import OnlineRow
from e2i_fs.errors import BackendUnavailableError
from tests.integration.feast_words import NOW, SECOND, apply, read, remove, row, view, write, write_many

EVERY_DTYPE: dict[str, tuple[fs.DType, list[Any]]] = {
    "i32": (fs.Int32, [-(2**31), 2**31 - 1, 0]),
    "i64": (fs.Int64, [2**53 + 1, -(2**63), 2**63 - 1, 0]),
    "f32": (fs.Float32, [0.10000000149011612, -0.0, math.inf, math.nan]),
    "f64": (fs.Float64, [0.1, 5e-324, -math.inf, -0.0, math.nan]),
    "flag": (fs.Bool, [True, False]),
    "text": (fs.String, ["", "é\x00ü", "null", "a" * 5000]),
    "raw": (fs.Bytes, [b"", b"\x00\xff"]),
    "day": (fs.Date, [0, -1, 19_000, -700_000]),
    "time": (fs.Timestamp, [0, 1, -1, 1_700_000_000_123_456, -(2**53) - 1, 1_700_000_000_000_000]),
    "json": (fs.Json, ['{"a": [1, null]}', "null", '""']),
    "money": (fs.Decimal(38, 7), ["1.0000000", "-12345678901234567890123456789.1234567", "0E-7"]),
    "ints": (fs.Array(fs.Int64), [[], [1, None, 2**53 + 1], [None]]),
    "floats": (fs.Array(fs.Float32), [[], [1.5, math.nan], [None, -0.0]]),
    "times": (fs.Array(fs.Timestamp), [[1, 2_000_000], [None]]),
    "texts": (fs.Array(fs.String), [[""], ["a", None]]),
    "nested": (fs.Array(fs.Array(fs.Int64)), [[[1], [], None, [None, 2]], []]),
    "records": (fs.Array(fs.Struct(a=fs.Int64, b=fs.String)), [[{"a": 1, "b": None}, None], []]),
    "record": (
        fs.Struct(a=fs.Timestamp, b=fs.Struct(c=fs.Array(fs.Bool)), d=fs.Decimal(5, 2)),
        [{"a": 1, "b": {"c": [True, None]}, "d": "1.50"}, {"a": None, "b": None, "d": None}],
    ),
    "vector": (fs.Vector(3), [[1.0, -0.0, 0.10000000149011612]]),
}


@pytest.mark.rule("O-1", "P-4")
def test_of_two_zeros_the_greater_answers_whichever_came_first(feast: Any) -> None:
    apply(feast, view("stats", fs.Field("x", fs.Float64), fs.Field("xs", fs.Array(fs.Float64))))
    lesser, greater = (OnlineRow(NOW - 1, None, {"x": zero, "xs": [zero]}) for zero in (-0.0, 0.0))
    for key, writes in (((1,), (lesser, greater)), ((2,), (greater, lesser)), ((3,), (lesser, greater, lesser))):
        for each in writes:
            feast.online_write("stats", [key], [each], at_us=NOW)
        assert repr(feast.online_read("stats", [key], at_us=NOW)) == repr([greater])


@pytest.mark.rule("P-8", "O-3")
def test_a_value_of_every_dtype_comes_back_exactly(feast: Any, open_feast: Any, options: Any) -> None:
    apply(feast, view("stats", *(fs.Field(name, dtype) for name, (dtype, _) in EVERY_DTYPE.items())))
    longest = max(len(values) for _, values in EVERY_DTYPE.values())
    rows = [
        OnlineRow(
            NOW - 1, None, {name: [*values, None][min(i, len(values))] for name, (_, values) in EVERY_DTYPE.items()}
        )
        for i in range(longest + 1)
    ]
    keys = [(i,) for i in range(len(rows))]
    assert feast.online_write("stats", keys, rows, at_us=NOW) == len(rows)
    again = open_feast(options)
    # By text: NaN is not equal to itself, -0.0 is to 0.0, and True to 1.
    assert [repr(r) for r in again.online_read("stats", keys, at_us=NOW)] == [repr(r) for r in rows]


KEYS: dict[str, tuple[fs.DType, list[Any]]] = {
    "i32": (fs.Int32, [1, -1]),
    "i64": (fs.Int64, [1, 2**63 - 1, 1_700_000_000]),
    "text": (fs.String, ["1", "", "é", "a\x00"]),
    "raw": (fs.Bytes, [b"1", b""]),
    "flag": (fs.Bool, [True, False]),
    "day": (fs.Date, [0, 1, -1]),
    "time": (fs.Timestamp, [0, 1, -1, 1_000_000, 1_700_000_000_000_000]),
    "money": (fs.Decimal(20, 3), ["1.000", "-0.001", "1000.000"]),
}


@pytest.mark.rule("P-7")
@pytest.mark.parametrize("kind", KEYS)
def test_keys_of_every_dtype_are_told_apart(feast: Any, kind: str) -> None:
    dtype, values = KEYS[kind]
    apply(feast, view(entities=[fs.Entity("thing", join_keys={"thing_id": dtype})]))
    for number, value in enumerate(values):
        write(feast, row(NOW, number), key=(value,))
    assert [read(feast, key=(value,)).values["trips"] for value in values] == list(range(len(values)))


@pytest.mark.rule("P-7")
def test_columns_of_a_composite_key_never_run_together(feast: Any) -> None:
    apply(feast, view(entities=[fs.Entity("pair", join_keys=["b", "a"]), fs.Entity("third", join_keys=["c"])]))
    keys = [("1", "23", ""), ("12", "3", ""), ("", "123", ""), ("", "12", "3"), ("23", "1", "")]
    for number, key in enumerate(keys):
        write(feast, row(NOW, number), key=key)
    found = feast.online_read("stats", [*keys, ("1", "2", "3"), keys[0]], at_us=NOW)
    assert [None if r is None else r.values["trips"] for r in found] == [0, 1, 2, 3, 4, None, 0]


def test_a_view_without_entities_has_one_row(feast: Any) -> None:
    apply(feast, view(entities=[]))
    write(feast, row(NOW, 5), key=())
    assert read(feast, key=()).values["trips"] == 5


@pytest.mark.rule("O-1")
def test_any_order_of_the_same_writes_leaves_the_same_row(feast: Any) -> None:
    apply(feast, view())
    rows = [row(NOW - 2, 1), row(NOW - 1, 3, 11), row(NOW - 1, None, 11), row(NOW - 1, 9)]
    for number, order in enumerate(itertools.permutations(rows)):
        for one in order:
            write(feast, one, key=(number,))
        assert read(feast, key=(number,)) == row(NOW - 1, 3, 11), order


@pytest.mark.rule("O-1")
def test_an_older_row_changes_nothing_and_says_so(feast: Any) -> None:
    apply(feast, view())
    assert write(feast, row(NOW - 5 * SECOND, 2)) == 1
    assert write(feast, row(NOW - 6 * SECOND, 1)) == 0
    assert write(feast, row(NOW - 5 * SECOND, 2)) == 0
    assert read(feast) == row(NOW - 5 * SECOND, 2)


@pytest.mark.rule("O-1", "T-1")
def test_rows_one_microsecond_apart_are_told_apart(feast: Any) -> None:
    apply(feast, view())
    write(feast, row(NOW - SECOND + 1, 2))
    write(feast, row(NOW - SECOND, 1))
    assert read(feast) == row(NOW - SECOND + 1, 2)


@pytest.mark.rule("O-2")
def test_a_row_ahead_of_the_clock_waits_beside_the_one_that_answers(feast: Any) -> None:
    apply(feast, view())
    write(feast, row(NOW + 20, 3), row(NOW + 10, 2), row(NOW, 1))
    assert [read(feast, at_us=NOW + t).values["trips"] for t in (0, 9, 10, 19, 20)] == [1, 1, 2, 2, 3]
    write(feast, row(NOW + 5, 7))
    assert [read(feast, at_us=NOW + t).values["trips"] for t in (4, 5, 10, 20)] == [1, 7, 2, 3]
    assert read(feast, at_us=NOW - 1) is None


@pytest.mark.rule("O-3")
def test_a_row_of_missing_values_is_there_and_a_missing_row_is_not(feast: Any) -> None:
    apply(feast, view())
    write(feast, row(NOW, None))
    assert read(feast) == row(NOW, None)
    assert read(feast, key=(2,)) is None


@pytest.mark.rule("T-1")
@pytest.mark.parametrize("event_us", [0, 1, -1, -60_000_000_000_000_000, 250_000_000_000_000_000])
def test_times_far_from_now_are_kept(feast: Any, event_us: int) -> None:
    apply(feast, view())
    write(feast, row(event_us, 1, event_us + 1), at_us=event_us)
    assert read(feast, at_us=event_us) == row(event_us, 1, event_us + 1)


@pytest.mark.rule("T-4")
def test_a_row_written_in_one_time_zone_is_the_same_in_another(feast: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    apply(feast, view())
    # 2024-03-10 02:30 does not exist in New York, 2024-11-03 01:30 is there twice.
    times = [1_710_037_800_000_001, 1_730_597_400_000_001, 1_730_601_000_000_001]
    try:
        for writing, reading in itertools.permutations(["UTC", "America/New_York", "Asia/Kolkata"], 2):
            for number, event_us in enumerate(times):
                monkeypatch.setenv("TZ", writing)
                time.tzset()
                write(feast, row(event_us, number, event_us), key=(number,), at_us=event_us)
                monkeypatch.setenv("TZ", reading)
                time.tzset()
                assert read(feast, key=(number,), at_us=event_us) == row(event_us, number, event_us)
                assert write(feast, row(event_us, number, event_us), key=(number,), at_us=event_us) == 0
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.rule("F-1", "X-4")
def test_the_position_counts_writes_rows_and_the_newest_time(feast: Any, open_feast: Any, options: Any) -> None:
    apply(feast, view())
    assert feast.position("stats") == (0, None, 0)
    write(feast, row(NOW - 5, 1), key=(1,))
    write(feast, row(NOW - 9, 1), key=(2,))
    write(feast, row(NOW - 7, 1), key=(1,))
    assert open_feast(options).position("stats") == (3, NOW - 5, 2)


@pytest.mark.rule("R-4")
def test_a_view_made_anew_has_none_of_its_old_rows(feast: Any) -> None:
    apply(feast, view())
    write(feast, row(NOW, 1))
    remove(feast, "stats")
    apply(feast, view())
    assert read(feast) is None
    assert feast.position("stats") == (0, None, 0)
    assert write(feast, row(NOW - 1, 2)) == 1
    assert read(feast) == row(NOW - 1, 2)


@pytest.mark.rule("R-4")
def test_a_breaking_change_drops_the_rows_and_a_new_field_does_not(feast: Any) -> None:
    apply(feast, view())
    write(feast, row(NOW, 1))
    apply(feast, view("stats", fs.Field("trips", fs.Int64), fs.Field("more", fs.String)))
    assert read(feast).values == {"trips": 1, "more": None}
    apply(feast, view("stats", fs.Field("trips", fs.String), fs.Field("more", fs.String)), allow_breaking=True)
    assert read(feast) is None


def test_a_writer_that_knew_the_view_before_a_breaking_change_does_not_overwrite_newer_rows(feast: Any) -> None:
    from e2i_fs_feast.online import Online

    apply(feast, view())
    write(feast, row(NOW - 9, 1))
    before = feast.snapshot()
    apply(feast, view("stats", fs.Field("trips", fs.Int64), fs.Field("was", fs.Int64)))
    apply(feast, view("stats", fs.Field("trips", fs.Int64)), allow_breaking=True)
    write(feast, row(NOW - 5 * SECOND, 5))
    told = iter([before])
    late = Online(feast.store, feast.state, lambda: next(told, None) or feast.snapshot(), lambda: NOW)
    older = row(NOW - 6 * SECOND, 4)
    assert late.write("stats", [(1,), (2,)], [older, older], at_us=NOW) == 1
    assert read(feast) == row(NOW - 5 * SECOND, 5)
    assert read(feast, key=(2,)) == older


@pytest.mark.rule("X-5", "W-1")
def test_a_batch_of_several_chunks_is_whole_in_the_view_that_was_made_anew_between_two_of_them(
    feast: Any, open_feast: Any, options: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the first chunks wrote went with the view that was deleted: the batch begins anew."""
    other = open_feast(options)
    apply(feast, view())
    change, calls = feast.store.change, []

    def made_anew_before_the_second(*given: Any) -> Any:
        calls.append(None)
        if len(calls) == 2:
            remove(other, "stats")
            apply(other, view())
            write(other, row(NOW - SECOND, 7), key=(2,))
        return change(*given)

    monkeypatch.setattr(feast.store, "change", made_anew_before_the_second)
    monkeypatch.setattr(type(feast.store), "chunk", 2)
    keys = [(i,) for i in range(4)]
    assert feast.online_write("stats", keys, [row(NOW, i) for i in range(4)], at_us=NOW) == 4
    assert other.online_read("stats", keys, at_us=NOW) == [row(NOW, i) for i in range(4)]


@pytest.mark.rule("O-1", "O-7")
def test_concurrent_writers_leave_the_greatest_row_whole(feast: Any, options: Any) -> None:
    apply(feast, view("stats", fs.Field("trips", fs.Int64), fs.Field("check", fs.Int64)))
    spawned = multiprocessing.get_context("fork")  # Feast is imported already; importing it again takes 5 s
    writers = [spawned.Process(target=write_many, args=(options, seed, 10, 15)) for seed in range(3)]
    for writer in writers:
        writer.start()
    torn: list[Any] = []
    reads = 0
    while any(writer.is_alive() for writer in writers):
        found = [r for r in feast.online_read("stats", [(k,) for k in range(10)], at_us=NOW) if r is not None]
        torn += [r for r in found if not r.event_us == r.values["trips"] == -r.values["check"]]
        reads += 1
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    assert torn == []
    assert reads > 0
    best: dict[int, int] = {}
    for seed in range(3):
        for key, at_us in _written(seed):
            best[key] = max(at_us, best.get(key, at_us))
    found = feast.online_read("stats", [(k,) for k in best], at_us=NOW)
    assert {k: r.values["trips"] for k, r in zip(best, found, strict=True)} == best
    assert feast.position("stats") == (45, max(best.values()), len(best))


def _written(seed: int) -> list[tuple[int, int]]:
    import random

    shuffled = random.Random(seed)
    written = []
    for _ in range(15):
        chosen = [shuffled.randrange(10) for _ in range(20)]
        written += list(zip(chosen, [NOW - shuffled.randrange(1000) for _ in chosen], strict=True))
    return written


@pytest.mark.rule("O-1", "O-7")
def test_threads_share_one_backend(feast: Any) -> None:
    apply(feast, view("stats", fs.Field("trips", fs.Int64), fs.Field("check", fs.Int64)))
    keys = [(k,) for k in range(100)]
    failures: list[BaseException] = []
    done = threading.Event()

    def writing(first: int) -> None:
        try:
            for i in range(29 - first, -1, -3):
                rows = [OnlineRow(NOW - i, None, {"trips": i, "check": -i})] * len(keys)
                feast.online_write("stats", keys, rows, at_us=NOW)
        except BaseException as error:
            failures.append(error)

    def reading() -> None:
        try:
            while not done.is_set():
                for found in feast.online_read("stats", keys, at_us=NOW):
                    assert found is None or found.values["trips"] == -found.values["check"] == NOW - found.event_us
        except BaseException as error:
            failures.append(error)

    readers = [threading.Thread(target=reading) for _ in range(2)]
    writers = [threading.Thread(target=writing, args=(n,)) for n in range(3)]
    for thread in (*readers, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    for thread in readers:
        thread.join()
    assert failures == []
    assert read(feast).values["trips"] == 0


def test_the_longest_names_are_kept(feast: Any) -> None:
    name, field = "ж" * 200, "ü" * 200
    apply(feast, view(name, fs.Field(field, fs.Int64)))
    feast.online_write(name, [(1,)], [OnlineRow(NOW, None, {field: 3})], at_us=NOW)
    assert read(feast, name=name).values == {field: 3}
    rows = pa.table({"driver_id": [1], "event_timestamp": pa.array([NOW], pa.timestamp("us", "UTC")), field: [3]})
    assert feast.append(name, rows, batch_id="b")
    assert not feast.append(name, rows, batch_id="b")
    assert len(feast.scan(name, [field])) == 1


@pytest.mark.rule("O-5")
def test_many_keys_come_back_in_the_order_asked(feast: Any) -> None:
    apply(feast, view())
    keys = [(i,) for i in range(2500)]
    feast.online_write("stats", keys, [row(NOW, i) for i in range(2500)], at_us=NOW)
    asked = [(i % 2600,) for i in range(5200, 0, -1)]
    found = feast.online_read("stats", asked, at_us=NOW)
    assert [None if r is None else r.values["trips"] for r in found] == [k if k < 2500 else None for (k,) in asked]


def test_the_exact_part_of_a_value_goes_when_feast_writes_over_it(
    tmp_path: Any, open_feast: Any, feast_library: Any
) -> None:
    from e2i_fs_feast.keys import entity_key
    from feast.protos.feast.types.Value_pb2 import Value

    from e2i_fs.clock import from_us

    backend = open_feast({"path": str(tmp_path)})
    apply(backend, view("stats", fs.Field("trips", fs.Timestamp)))
    write(backend, row(NOW, 5_000_001, NOW))
    assert read(backend) == row(NOW, 5_000_001, NOW)
    store = feast_library.FeatureStore(str(tmp_path))
    join_keys = backend.snapshot().views["stats"].join_keys
    theirs = [(entity_key(join_keys, (1,)), {"trips": Value(unix_timestamp_val=7)}, from_us(NOW), None)]
    store._get_provider().online_write_batch(store.config, store.get_feature_view("stats"), theirs, None)
    assert read(backend).values == {"trips": 7_000_000}
    assert read(backend).created_us is None


def test_a_lost_online_table_is_an_error_and_not_an_empty_answer(tmp_path: Any, open_feast: Any) -> None:
    backend = open_feast({"path": str(tmp_path / "repository")})
    apply(backend, view())
    assert read(backend) is None
    write(backend, row(NOW, 1))
    backend.close()
    for file in (tmp_path / "repository").glob("online.db*"):
        file.unlink()
    backend = open_feast({"path": str(tmp_path / "repository")})
    for _ in range(2):
        with pytest.raises(BackendUnavailableError, match="lost rows"):
            read(backend)
    assert backend.position("stats").sequence < 0


@pytest.mark.rule("R-4")
def test_rows_that_came_after_a_view_was_made_anew_outlive_the_removal_of_the_older_ones(
    feast: Any, open_feast: Any, options: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = open_feast(options)
    apply(feast, view())
    write(feast, row(NOW - 2, 1))
    write(feast, row(NOW - 2, 1), key=(2,))
    remove(feast, "stats")
    apply(feast, view())
    write(feast, row(NOW - 2, 1))
    write(feast, row(NOW - 2, 1), key=(2,))
    removing = feast.store.remove

    def overtaken(*given: Any) -> None:
        assert write(other, row(NOW - 1, 2.5)) == 1
        removing(*given)

    monkeypatch.setattr(feast.store, "remove", overtaken)
    apply(feast, view("stats", fs.Field("trips", fs.Float64)), allow_breaking=True)
    assert read(feast) == row(NOW - 1, 2.5)
    assert read(feast, key=(2,)) is None
