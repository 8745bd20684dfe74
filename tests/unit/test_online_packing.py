"""Online rows as bytes in the DuckDB backend: exact, read across layouts and versions, and merged without being decoded."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

import lmdb
import msgpack
import numpy as np
import pyarrow as pa
import pytest
from e2i_fs_duckdb import environments, online
from e2i_fs_duckdb.online import OnlineRows
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import e2i_fs as fs
from e2i_fs.backend import OnlineRow
from e2i_fs.hashes import quick_hash
from e2i_fs.keys import key_tuples, key_value
from e2i_fs.online import GRACE_US, merge, pick
from e2i_fs.segments import Segments
from e2i_fs.testing.columnar import rows_of_columns

AT = 10 * GRACE_US
NUMBERS = ["n", "x", "b"]


def view(*more: fs.Field, schema: list[fs.Field] | None = None) -> fs.FeatureView:
    fields = schema or [fs.Field("n", fs.Int64), fs.Field("x", fs.Float64), fs.Field("b", fs.Bool)]
    return fs.FeatureView("v", entities=[fs.Entity("k")], schema=[*fields, *more])


@pytest.fixture
def rows(tmp_path: Path) -> Any:
    opened = OnlineRows(tmp_path, 2**26)
    yield opened
    opened.close()


def kept_of(rows: OnlineRows, key: str, storage: int = 1) -> bytes | None:
    with rows._env.transaction() as transaction:
        found: bytes | None = transaction.get(b"r\0\0\0" + bytes([storage]) + msgpack.packb([key]))
        return found


NAN = float("nan")


@pytest.mark.rule("P-8", "O-3")
@pytest.mark.parametrize(
    "values",
    [
        {"n": 2**53 + 1, "x": 1.5, "b": True},
        {"n": -(2**63), "x": NAN, "b": False},
        {"n": 0, "x": -0.0, "b": None},
        {"n": None, "x": None, "b": None},
        {"n": 1, "x": float("inf"), "b": None},
    ],
)
@pytest.mark.parametrize("created", [None, 5, -(2**63)])
def test_a_row_of_numbers_comes_back_to_the_last_bit(rows: OnlineRows, values: dict[str, Any], created: int) -> None:
    rows.write(1, view(), [("a",)], [OnlineRow(3, created, values)], at_us=AT)
    (found,) = rows.read(1, [("a",)], at_us=AT)
    assert repr(found) == repr(OnlineRow(3, created, values))


@pytest.mark.rule("P-8")
def test_values_of_every_other_width_come_back_as_they_were(rows: OnlineRows) -> None:
    schema = [
        fs.Field("s", fs.String), fs.Field("y", fs.Bytes), fs.Field("d", fs.Decimal(38, 2)), fs.Field("l", fs.Array(fs.Int64)),
        fs.Field("t", fs.Struct(a=fs.Float64, b=fs.String)), fs.Field("v", fs.Vector(2)), fs.Field("w", fs.Timestamp),
    ]  # fmt: skip
    values = {
        "s": "\u00e9\U0001f600", "y": b"\xc1\x00", "d": "-0.00", "l": [1, None], "t": {"a": -0.0, "b": None}, "v": [0.5, NAN], "w": -1,
    }  # fmt: skip
    rows.write(1, view(schema=schema), [("a",)], [OnlineRow(3, None, values)], at_us=AT)
    assert repr(rows.read(1, [("a",)], at_us=AT)) == repr([OnlineRow(3, None, values)])


def test_a_view_of_one_field_and_of_long_keys_is_kept(rows: OnlineRows) -> None:
    long = "k" * 600
    rows.write(
        1, view(schema=[fs.Field("n", fs.Int64)]), [("a",), (long,)], [OnlineRow(1, None, {"n": 7})] * 2, at_us=AT
    )
    assert rows.read(1, [(long,), ("b",), ("a",)], at_us=AT) == [
        OnlineRow(1, None, {"n": 7}), None, OnlineRow(1, None, {"n": 7}),
    ]  # fmt: skip
    assert sorted(key for keys, _, _ in rows.copied(1) for key in keys) == [("a",), (long,)]


# What `msgpack.packb([[r.event_us, r.created_us, dict(r.values)] for r in rows])` made of rows before there were layouts.
BEFORE = bytes.fromhex("919303c083a16e07a178cb3ff8000000000000a162c3")
BEFORE_TWO = bytes.fromhex(
    "9293ce01c9c380c083a16e09a178c0a162c0930305 83a16e07a178cb3ff8000000000000a162c3".replace(" ", "")
)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A folder that holds rows of keys ``a`` and ``b`` as they were kept before there were layouts."""
    with lmdb.open(str(tmp_path), map_size=2**26) as env, env.begin(write=True) as transaction:
        transaction.put(bytes.fromhex("720000000191a161"), BEFORE)
        transaction.put(bytes.fromhex("720000000191a162"), BEFORE_TWO)
        transaction.put(bytes.fromhex("6d00000001"), bytes.fromhex("9301ce01c9c38002"))
    return tmp_path


def test_rows_that_the_version_before_wrote_are_read_and_merged_with_new_ones(old: Path) -> None:
    rows = OnlineRows(old, 2**26)
    was = {"n": 7, "x": 1.5, "b": True}
    assert rows.read(1, [("a",), ("b",)], at_us=4) == [OnlineRow(3, None, was), OnlineRow(3, 5, was)]
    late = 30_000_000
    assert rows.read(1, [("b",)], at_us=late) == [OnlineRow(late, None, {"n": 9, "x": None, "b": None})]
    again = [OnlineRow(3, None, was), OnlineRow(3, 5, was)]
    assert rows.write(1, view(), [("a",), ("b",)], again, at_us=AT) == 0  # they are there already
    assert kept_of(rows, "a") == BEFORE
    assert rows.write(1, view(), [("a",), ("b",), ("c",)], [OnlineRow(4, None, was)] * 3, at_us=AT) == 3
    assert rows.read(1, [("a",), ("b",), ("c",)], at_us=AT) == [OnlineRow(4, None, was)] * 3
    assert rows.position(1) == (3, late, 3)
    rows.close()


@pytest.mark.rule("R-4", "O-1")
def test_rows_of_before_a_field_was_added_are_read_beside_rows_of_after(rows: OnlineRows) -> None:
    first = {"n": 1, "x": 0.5, "b": True}
    rows.write(1, view(), [("a",), ("b",)], [OnlineRow(3, None, first)] * 2, at_us=AT)
    wider = view(fs.Field("more", fs.String))
    rows.write(1, wider, [("b",), ("c",)], [OnlineRow(4, None, {**first, "more": "m"})] * 2, at_us=AT)
    before, after = kept_of(rows, "a"), kept_of(rows, "b")
    assert before is not None and after is not None and before[2:4] != after[2:4]  # of two layouts
    found = rows.columns({"v": 1}, {"v": [("a",), ("b",), ("z",), ("c",)]}, at_us=AT)["v"]
    assert found.values["more"] == [None, "m", None, "m"] and found.values["n"] == [1, 1, None, 1]
    assert rows.write(1, wider, [("a",)], [OnlineRow(3, None, {**first, "more": None})], at_us=AT) == 0
    assert rows.write(1, view(), [("d",)], [OnlineRow(3, None, first)], at_us=AT) == 1  # the layout of before once more
    assert kept_of(rows, "d") == before


def test_dropping_a_view_drops_its_layouts_and_no_other_rows(rows: OnlineRows) -> None:
    row = OnlineRow(3, None, {"n": 1, "x": 0.5, "b": True})
    for storage in (1, 2):
        rows.write(storage, view(), [("a",)], [row], at_us=AT)
    rows.drop(1)
    with rows._env.transaction() as transaction:
        assert [bytes(k)[:1] + bytes(k)[1:5] for k, _ in transaction.cursor()] == [
            b"l\0\0\0\2",
            b"m\0\0\0\2",
            b"r\0\0\0\2",
        ]
    assert rows.read(2, [("a",)], at_us=AT) == [row]


def test_rows_that_cannot_be_decoded_or_have_lost_their_layout_say_so(rows: OnlineRows) -> None:
    rows.write(1, view(), [("a",)], [OnlineRow(3, None, {"n": 1, "x": 0.5, "b": True})], at_us=AT)
    good = kept_of(rows, "a")
    assert good is not None
    for bad in (
        b"",
        b"\xc1",
        good[:-1],
        good + b"\0",
        good[:1] + b"\x09" + good[2:],
        good[:2] + b"\x07\0" + good[4:],
        b"\x01",
    ):
        with rows._env.transaction(write=True) as transaction:
            transaction.put(b"r\0\0\0\1" + msgpack.packb(["a"]), bad)
        with pytest.raises(fs.BackendDataError, match="materialise the view again"):
            rows.read(1, [("a",)], at_us=AT)


# ---- work skipped is never another meaning ---------------------------------------------------------------------

TIMES = st.sampled_from([0, 1, 2, AT - 2 * GRACE_US, AT - GRACE_US, AT - GRACE_US + 1, AT - 1, AT, AT + 1])
VALUES = st.tuples(
    st.sampled_from([None, 0, 1]), st.sampled_from([None, 0.0, -0.0, NAN, 1.0]), st.sampled_from([None, False, True])
).map(lambda row: dict(zip(NUMBERS, row, strict=True)))
ROW = st.builds(OnlineRow, TIMES, st.sampled_from([None, 0, 1]), VALUES)
WRITES = st.lists(st.lists(st.tuples(st.sampled_from("abc"), ROW), min_size=1, max_size=4), min_size=1, max_size=5)


@pytest.mark.rule("O-1", "O-2", "O-5")
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(WRITES)
def test_what_is_kept_and_read_is_what_merge_and_pick_say_of_every_row(
    tmp_path_factory: pytest.TempPathFactory, writes: list[list[tuple[str, OnlineRow]]]
) -> None:
    rows = OnlineRows(tmp_path_factory.mktemp("merged"), 2**22)
    reference: dict[str, tuple[OnlineRow, ...]] = {}
    asked = [("c",), ("a",), ("nobody",), ("b",)]
    try:
        for batch in writes:
            changed = rows.write(1, view(), [(key,) for key, _ in batch], [row for _, row in batch], at_us=AT)
            before = dict(reference)
            for key in {key for key, _ in batch}:
                new = [row for k, row in batch if k == key]
                reference[key] = merge(before.get(key, ()), new, view(), at_us=AT)
            assert changed == sum(repr(reference[key]) != repr(before.get(key, ())) for key in reference)
            for at in (0, AT - GRACE_US, AT, AT + 1):
                expected = [pick(reference.get(key, ()), at_us=at) for (key,) in asked]
                assert repr(rows.read(1, asked, at_us=at)) == repr(expected)
                columns = rows.columns({"v": 1}, {"v": asked}, at_us=at)["v"]
                there = [
                    None if r is None else r._replace(values={n: v for n, v in r.values.items() if v is not None})
                    for r in expected
                ]
                assert repr(rows_of_columns(columns)) == repr(there)
                assert columns.sequence == rows.position(1).sequence
    finally:
        rows.close()


@pytest.mark.rule("P-7")
@pytest.mark.parametrize("dtype", [fs.String, fs.Int64, fs.Int32, fs.Bytes, fs.Bool, fs.Date], ids=repr)
@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [
                "a",
                "\ud800",
                "\u00e9",
                1,
                2**31,
                2**63,
                -(2**63),
                -(2**63) - 1,
                True,
                1.0,
                1.5,
                NAN,
                None,
                b"a",
                bytearray(b"a"),
            ]
        ),
        min_size=1,
        max_size=3,
    )
)
@pytest.mark.filterwarnings("ignore::e2i_fs.KeyTypeWarning")
def test_a_column_of_keys_taken_at_once_is_its_values_taken_one_by_one(dtype: Any, given: list[Any]) -> None:
    made = key_tuples({"k": given}, {"k": dtype}, len(given))
    one_by_one = [None if value is None else key_value(value, dtype) for value in given]
    assert [None if key is None else repr(key[0]) for key in made] == [
        None if key is None else repr(key) for key in one_by_one
    ]


# ---- counting, hashing, closing --------------------------------------------------------------------------------


@pytest.mark.rule("W-2", "X-7")
def test_segments_are_counted_right_whenever_they_are_added_or_taken_away(tmp_path: Path, monkeypatch: Any) -> None:
    moment = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: moment[0])
    one, other = Segments(tmp_path, made=True), Segments(tmp_path, made=True)
    table, count = pa.table({"x": [1]}), 0
    for step in range(12):
        if step % 3:
            other.append("v", table, batch_id=str(step))
            count += 1
        assert one.count("v") == count == len(one.paths("v"))
        moment[0] += (step % 4) * 0.06
        assert one.count("v") == count
    other.drop("v")
    assert [one.count(name) for name in ("v", "never", "v")] == [0, 0, 0]


def test_a_segment_added_in_the_tick_in_which_the_folder_was_listed_is_counted(
    tmp_path: Path, monkeypatch: Any
) -> None:
    moment = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: moment[0])
    segments, table = Segments(tmp_path, made=True), pa.table({"x": [1]})
    segments.append("v", table, batch_id="1")
    tick = os.stat(tmp_path / "v").st_mtime_ns
    assert segments.count("v") == 1
    segments.append("v", table, batch_id="2")
    os.utime(tmp_path / "v", ns=(tick, tick))  # as a file system with a coarse clock would have it
    moment[0] += 0.01
    assert segments.count("v") == 2


@pytest.mark.rule("X-9")
def test_a_history_that_was_taken_away_is_not_counted_as_none(tmp_path: Path) -> None:
    segments = Segments(tmp_path / "history", made=True)
    with pytest.raises(fs.BackendUnavailableError, match="gone"):
        segments.count("v")


@pytest.mark.parametrize(
    "column",
    [
        pa.array([1, 2, None, 4]), pa.array([1.5, -0.0, NAN, 0.0]), pa.array(["a", "", "bc", "d"]), pa.array(["a", None, "b", "c"]),
        pa.array([b"a", b"bc", b"", b"d"]), pa.array([True, False, True, True]), pa.array([[1], [], None, [2, 3]]),
        pa.array([1, 2, 3, 4], pa.timestamp("us", "UTC")), pa.array([1, 2, 3, None], pa.timestamp("us", "UTC")),
        pa.array([1, 2, 3, 4], pa.date32()),
    ],
    ids=lambda column: str(column.type),
)  # fmt: skip
def test_a_quick_hash_is_of_the_values_and_not_of_how_they_lie(column: pa.Array) -> None:
    whole = pa.table({"x": column})
    pieces = pa.table({"x": pa.chunked_array([column.slice(0, 1), column.slice(1, 2), column.slice(3)])})
    shifted = pa.table({"x": pa.concat_arrays([column.slice(2, 1), column]).slice(1)})
    assert quick_hash(whole) == quick_hash(pieces) == quick_hash(shifted)
    others = [
        pa.table({"x": column.slice(0, 3)}),
        pa.table({"x": column.take(pa.array([1, 0, 2, 3]))}),
        pa.table({"y": column}),
    ]
    assert len({quick_hash(table) for table in (whole, *others)}) == 4


def test_texts_are_hashed_with_their_ends(tmp_path: Path) -> None:
    assert quick_hash(pa.table({"x": ["ab", "c"]})) != quick_hash(pa.table({"x": ["a", "bc"]}))


@pytest.mark.rule("O-7")
def test_stores_opened_read_and_closed_by_many_threads_at_once_share_one_environment_and_leave_none(
    tmp_path: Path,
) -> None:
    """LMDB ends the process when its environment is closed under a transaction, or opened twice."""
    OnlineRows(tmp_path, 2**24).close()
    keeper = OnlineRows(tmp_path, 2**24)
    row = OnlineRow(1, None, {"n": 1, "x": 2.0, "b": True})
    keeper.write(1, view(), [("a",)], [row], at_us=AT)
    keeper.close()
    failed: list[BaseException] = []
    shared: list[OnlineRows] = [OnlineRows(tmp_path, 2**24)]

    def read() -> None:
        try:
            for _ in range(200):
                try:
                    assert shared[0].read(1, [("a",)], at_us=AT) == [row]
                except fs.BackendUnavailableError:  # it was closed a moment ago
                    continue
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        shared[0].close()
        shared[0] = OnlineRows(tmp_path, 2**24)
    shared[0].close()
    assert failed == []
    assert not [path for _, path in environments._shared.open if path == str(tmp_path)]


@pytest.mark.rule("O-7")
def test_the_last_transaction_of_a_closed_store_closes_its_environment(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(online, "_PIECE", 1)
    rows = OnlineRows(tmp_path, 2**24)
    rows.write(1, view(), [("a",), ("b",)], [OnlineRow(1, None, {"n": 1, "x": 2.0, "b": True})] * 2, at_us=AT)
    under_way = rows.copied(1)
    next(under_way)
    rows.close()
    opened = rows._env._opened
    assert not opened.shut
    assert [keys for keys, _, _ in under_way] == [[("b",)]]
    assert opened.shut and not [path for _, path in environments._shared.open if path == str(tmp_path)]


def test_a_store_opened_while_a_read_of_a_closed_one_is_under_way_is_whole(tmp_path: Path, monkeypatch: Any) -> None:
    """LMDB refuses to open in a process what it has open."""
    monkeypatch.setattr(online, "_PIECE", 1)
    row = OnlineRow(1, None, {"n": 1, "x": 2.0, "b": True})
    rows = OnlineRows(tmp_path, 2**24)
    rows.write(1, view(), [("a",), ("b",)], [row] * 2, at_us=AT)
    under_way = rows.copied(1)
    next(under_way)
    rows.close()
    again = OnlineRows(tmp_path, 2**24)
    assert len(list(under_way)) == 1
    assert again.read(1, [("a",)], at_us=AT) == [row]
    with pytest.raises(fs.BackendUnavailableError, match="closed"):
        rows.read(1, [("a",)], at_us=AT)
    again.close()
    assert again._env._opened.shut


def test_rows_of_two_forms_and_one_length_are_told_apart(rows: OnlineRows) -> None:
    """A row with its created time is as long as one of a field more without."""
    one, two = [fs.Field("n", fs.Int64)], [fs.Field("n", fs.Int64), fs.Field("m", fs.Int64)]
    rows.write(1, view(schema=one), [("a",)], [OnlineRow(3, 5, {"n": 7})], at_us=AT)
    rows.write(1, view(schema=two), [("b",)], [OnlineRow(4, None, {"n": 8, "m": 9})], at_us=AT)
    expected = {"a": OnlineRow(3, 5, {"n": 7}), "b": OnlineRow(4, None, {"n": 8, "m": 9})}
    for asked in (["a", "b"], ["b", "a"], ["b"], ["a"]):
        for _ in range(2):  # the second time the forms are known
            columns = rows.columns({"v": 1}, {"v": [(key,) for key in asked]}, at_us=AT)["v"]
            assert rows_of_columns(columns) == [expected[key] for key in asked]


@pytest.mark.rule("P-7")
@pytest.mark.parametrize(
    ("given", "dtype", "is_"),
    [
        (np.datetime64("2024-03-10T00:00:00", "us"), fs.Timestamp, 1_710_028_800_000_000),
        (np.datetime64("2024-03-10T00:00:00", "ns"), fs.Timestamp, 1_710_028_800_000_000),
        (np.datetime64("2024-03-10T00:00:00.000000001", "ns"), fs.Timestamp, None),
        (np.datetime64("2024-03-10", "D"), fs.Timestamp, None),
        (np.datetime64("NaT"), fs.Timestamp, None),
        (np.datetime64("2024-03-10", "D"), fs.Date, 19_792),
        (np.datetime64("2024-03-10T00:00:00", "us"), fs.Date, None),
    ],
)
def test_a_time_of_numpy_in_a_key_is_the_time_it_says_and_no_other(
    given: Any, dtype: fs.DType, is_: int | None
) -> None:
    assert key_value(given, dtype) == is_
