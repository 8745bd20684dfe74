"""What a Parquet file really holds: read exactly as declared, or refused; never another value (P-8, R-3, T-2)."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import replace
from datetime import UTC, timedelta
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import e2i_fs as fs
from tests.kit import NOW, STAMP, ask, at, batch, online, table, values, view

REFUSED = object()
NESTED = fs.Array(fs.Struct(a=fs.Array(fs.Timestamp), b=fs.Decimal(5, 1), c=fs.Bytes))
NESTED_TYPE = pa.list_(pa.struct([("a", pa.list_(STAMP)), ("b", pa.decimal128(5, 1)), ("c", pa.binary())]))
NESTED_VALUE = [[{"a": [at(1), None], "b": Decimal("1.5"), "c": b"x"}, None], [], None]

CASES = {
    "int32 as Int64": (fs.Int64, pa.array([1, None], pa.int32()), [1, None]),
    "uint64 beyond Int64": (fs.Int64, pa.array([2**63], pa.uint64()), REFUSED),
    "int64 beyond Int32": (fs.Int32, pa.array([2**31]), REFUSED),
    "float as Int64": (fs.Int64, pa.array([1.5]), REFUSED),
    "float that is missing as Int64": (fs.Int64, pa.array([math.nan]), REFUSED),
    "2**53 as Float64": (fs.Float64, pa.array([2**53]), [2.0**53]),
    "2**53+1 as Float64": (fs.Float64, pa.array([2**53 + 1]), REFUSED),
    "double as Float32": (fs.Float32, pa.array([0.1, math.inf]), [pa.scalar(0.1, pa.float32()).as_py(), math.inf]),
    "double beyond Float32": (fs.Float32, pa.array([1e300]), REFUSED),
    "half float as Float32": (fs.Float32, pa.array(np.array([1.5], dtype="float16")), [1.5]),
    "whole number as Bool": (fs.Bool, pa.array([1], pa.int16()), REFUSED),
    "dictionary as String": (fs.String, pa.array(["a", None, "b"]).dictionary_encode(), ["a", None, "b"]),
    "bytes as String": (fs.String, pa.array([b"a"]), REFUSED),
    "string as Bytes": (fs.Bytes, pa.array(["a"]), REFUSED),
    "bytes of fixed size": (fs.Bytes, pa.array([b"ab"], pa.binary(2)), [b"ab"]),
    "date as Timestamp": (fs.Timestamp, pa.array([dt.date(2024, 1, 1)]), REFUSED),
    "time as Date": (fs.Date, pa.array([dt.datetime(2024, 1, 1, 5)]), REFUSED),
    "naive time": (fs.Timestamp, pa.array([dt.datetime(2024, 1, 1)]), [dt.datetime(2024, 1, 1, tzinfo=UTC)]),
    "whole nanoseconds": (fs.Timestamp, pa.array([1000], pa.timestamp("ns")), [dt.datetime(1970, 1, 1, 0, 0, 0, 1, UTC)]),
    "odd nanoseconds": (fs.Timestamp, pa.array([1001], pa.timestamp("ns")), REFUSED),
    "a time that never comes": (fs.Timestamp, pa.array([2**63 - 1], pa.int64()).cast(STAMP), REFUSED),
    "a time before all times": (fs.Timestamp, pa.array([-(2**63) + 1], pa.int64()).cast(pa.timestamp("us")), REFUSED),
    "odd nanoseconds in a struct": (fs.Struct(a=fs.Timestamp), pa.array([{"a": 1}], pa.struct([("a", pa.timestamp("ns"))])), REFUSED),
    "decimal of fewer digits": (fs.Decimal(10, 2), pa.array([Decimal("1.1")], pa.decimal128(3, 1)), [Decimal("1.10")]),
    "decimal of more digits": (fs.Decimal(4, 1), pa.array([Decimal("1.15")], pa.decimal128(10, 2)), REFUSED),
    "decimal of 256 bits": (fs.Decimal(38, 0), pa.array([Decimal(10**37)], pa.decimal256(50, 0)), REFUSED),
    "whole number as Decimal": (fs.Decimal(10, 2), pa.array([3]), [Decimal("3.00")]),
    "double as Decimal": (fs.Decimal(10, 2), pa.array([1.15]), REFUSED),
    "list of int32": (fs.Array(fs.Int64), pa.array([[1, None], None], pa.list_(pa.int32())), [[1, None], None]),
    "list of doubles as Int64": (fs.Array(fs.Int64), pa.array([[1.5]]), REFUSED),
    "list of 2**53+1 as Float64": (fs.Array(fs.Float64), pa.array([[2**53 + 1]]), REFUSED),
    "struct of 2**24+1 as Float32": (fs.Struct(a=fs.Float32), pa.array([{"a": 2**24 + 1}]), REFUSED),
    "struct in another order": (
        fs.Struct(a=fs.Int64, b=fs.Int64), pa.array([{"b": 2, "a": 1}], pa.struct([("b", pa.int64()), ("a", pa.int64())])),
        [{"a": 1, "b": 2}],
    ),
    "map as Struct": (fs.Struct(a=fs.Int64), pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64())), REFUSED),
    "list as Vector": (fs.Vector(2), pa.array([[1.0, 2.0], None]), [[1.0, 2.0], None]),
    "list of another length as Vector": (fs.Vector(2), pa.array([[1.0]]), REFUSED),
    "list with a gap as Vector": (fs.Vector(2), pa.array([[1.0, None]]), REFUSED),
    "nothing but missing": (fs.Int64, pa.nulls(2), [None, None]),
    "lists of structs of lists": (NESTED, pa.array(NESTED_VALUE, NESTED_TYPE), NESTED_VALUE),
}  # fmt: skip


@pytest.mark.rule("P-8", "R-3", "T-2")
@pytest.mark.parametrize("case", CASES)
def test_a_stored_column_is_read_exactly_or_refused(store, tmp_path, case) -> None:
    dtype, stored, expected = CASES[case]
    keys = [str(i) for i in range(len(stored))]
    one = view(tmp_path, [], fields={"x": dtype})
    pq.write_table(
        pa.table({"hcp_id": keys, "event_timestamp": pa.array([at(1)] * len(keys), STAMP), "x": stored}),
        tmp_path / "hcp_stats.parquet",
    )
    asked = [(key, at(1)) for key in keys]
    if expected is REFUSED:
        with pytest.raises((fs.SchemaMismatchError, fs.BackendDataError, fs.InvalidTimestampError), match="x"):
            store.apply([one])
            ask(store, asked, "hcp_stats:x")
        return
    store.apply([one])
    assert values(ask(store, asked, "hcp_stats:x"), "x") == expected
    store.materialize(None, NOW)
    assert [value for value, _ in online(store, *keys, ref="hcp_stats:x")] == expected


@pytest.mark.rule("T-1", "T-2", "P-1")
@pytest.mark.parametrize("column", ["hcp_id", "event_timestamp", "created_at"])
def test_a_key_or_time_that_is_no_instant_is_refused_and_a_row_that_never_comes_is_never_visible(
    store, tmp_path, column
) -> None:
    keys = {"hcp_id": fs.Timestamp}
    one = view(tmp_path, [], keys=keys, created=True)
    rows = {"hcp_id": [0, 10], "event_timestamp": [0, 10], "created_at": [0, 10]}

    def put(us: int, *, finer: bool = False) -> None:
        made = {name: pa.array([*values[:1], us if name == column else 10]) for name, values in rows.items()}
        unit = {name: pa.timestamp("ns" if finer and name == column else "us", "UTC") for name in rows}
        cast = {name: values.cast(unit[name]) for name, values in made.items()}
        pq.write_table(pa.table({**cast, "trx_count": [1, 2]}), tmp_path / "hcp_stats.parquet")

    put(10)
    store.apply([one])
    epoch = dt.datetime(1970, 1, 1, tzinfo=UTC)
    asked = [(epoch, at(1)), (epoch + timedelta(microseconds=10), at(1))]
    assert values(ask(store, asked, keys=keys)) == [1, 2]
    put(10_001, finer=True)
    with pytest.raises(fs.InvalidTimestampError, match=column):
        ask(store, asked, keys=keys)
    put(-(2**63) + 1)
    with pytest.raises(fs.BackendDataError, match=f"a time in {column} is infinite"):
        ask(store, asked, keys=keys)
    put(2**63 - 1)
    if column == "event_timestamp":
        assert values(ask(store, asked, keys=keys)) == [1, None]
    else:
        with pytest.raises(fs.BackendDataError, match=f"a time in {column} is infinite"):
            ask(store, asked, keys=keys)


@pytest.mark.rule("P-8", "P-9")
def test_columns_that_differ_only_by_case_are_different_columns(store, tmp_path) -> None:
    """DuckDB takes names without regard to case, and would give the one for the other."""
    fields = {"x": fs.Int64, "X": fs.Int64}
    store.apply([view(tmp_path, [("k", at(1), 1, 2)], fields=fields)])
    store.write("hcp_stats", batch(("w", at(1), 3, 4), fields=("x", "X")), to="both")
    store.materialize(None, NOW)
    result = ask(store, [("k", at(1)), ("w", at(1))], ["hcp_stats:X", "hcp_stats:x"])
    assert (values(result, "x"), values(result, "X")) == ([1, 3], [2, 4])
    assert [v for v, _ in online(store, "k", "w", ref="hcp_stats:X")] == [2, 4]
    assert (store.statistics("hcp_stats:x").max, store.statistics("hcp_stats:X").max) == (3, 4)


@pytest.mark.rule("P-8")
def test_a_column_that_is_not_asked_for_is_not_taken_for_its_twin_by_case(store, tmp_path) -> None:
    one = view(tmp_path, [], fields={"tier": fs.Int64})
    rows = {
        "Tier": [9],
        "hcp_id": ["k"],
        "event_timestamp": pa.array([at(1)], STAMP),
        "tier": [1],
        "Event_Timestamp": ["x"],
    }
    pq.write_table(pa.table(rows), tmp_path / "hcp_stats.parquet")
    store.apply([one])
    assert values(ask(store, [("k", at(1))], "hcp_stats:tier"), "tier") == [1]


@pytest.mark.rule("P-4", "P-8")
@pytest.mark.parametrize("name", ["file_index", "file_row_number", "FILE_Row_Number", "filename"])
@pytest.mark.parametrize(
    "values_of",
    [lambda n: ["0", "0"], lambda n: [None, None], lambda n: [f"{n}", "q"]],
    ids=["zeros", "nulls", "texts"],
)
def test_a_column_named_as_duckdb_numbers_rows_is_a_column(store, tmp_path, name, values_of) -> None:
    """Whether the view uses it or not: an export of DuckDB has one, and it is not the number of the row."""
    fields = {"trx_count": fs.Int64, name: fs.String}
    keys, folder = ["a", "b"], tmp_path / "history"
    folder.mkdir()
    for day in (1, 2):
        stamps, named = pa.array([at(day)] * 2, STAMP), pa.array(values_of(day), pa.string())
        rows = {"hcp_id": keys, "event_timestamp": stamps, "trx_count": [10 * day, 10 * day + 1], name: named}
        pq.write_table(pa.table(rows), folder / f"{day}.parquet")
    one = replace(view(tmp_path, []), source=fs.ParquetSource(folder))
    store.apply([one])
    asked = [("a", at(9)), ("b", at(9)), ("a", at(1)), ("z", at(9))]
    assert values(ask(store, asked)) == [20, 21, 10, None]
    store.apply([replace(one, schema=[fs.Field(n, t) for n, t in fields.items()])])
    got = ask(store, asked, ["hcp_stats:trx_count", f"hcp_stats:{name}"])
    assert values(got) == [20, 21, 10, None]
    assert values(got, name) == [*values_of(2), values_of(1)[0], None]


@pytest.mark.rule("P-7")
def test_join_keys_that_differ_only_by_case_are_different_keys(store, tmp_path) -> None:
    keys = {"k": fs.String, "K": fs.String}
    store.apply([view(tmp_path, [("a", "b", at(1), 1), ("b", "a", at(1), 2)], keys=keys)])
    store.materialize(None, NOW)
    assert values(ask(store, [("a", "b", at(1)), ("b", "a", at(1))], keys=keys)) == [1, 2]
    answer = store.get_online_features(["hcp_stats:trx_count"], [{"k": "a", "K": "b"}, {"k": "b", "K": "a"}])
    assert answer.to_dict()["trx_count"] == [1, 2]


@pytest.mark.rule("T-4")
@pytest.mark.parametrize(
    "name", ["it's", "a[1]", "a*b", "sp ace", "x=1", "é", "%20", "a{b}", "q?", "hash#1", "trx_count=7"]
)
def test_the_name_of_a_folder_means_nothing(store, tmp_path, name) -> None:
    """No glob, no Hive partition column, no escape is read into a path that is a file."""
    store.apply([view(tmp_path / name, [("k", at(1), 1)])])
    assert values(ask(store, [("k", at(1))])) == [1]


@pytest.mark.rule("T-4", "P-1")
def test_a_folder_has_what_links_lead_to_and_what_lies_in_folders_named_like_files(store, tmp_path) -> None:
    one = view(tmp_path, [])
    rows = pq.read_table(tmp_path / "hcp_stats.parquet").schema
    folder = tmp_path / "history"
    (tmp_path / "elsewhere").mkdir()
    for place in ("a.parquet", "_temporary", ".hidden"):
        (folder / place).mkdir(parents=True)
    for minute, place in enumerate(("history/a.parquet", "elsewhere", "history/_temporary", "history/.hidden"), 1):
        row = {"hcp_id": [place[-9:]], "event_timestamp": [at(minute)], "trx_count": [minute]}
        pq.write_table(pa.table(row, schema=rows), tmp_path / place / "part.parquet")
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "ring").symlink_to(folder)
    store.apply([replace(one, source=fs.ParquetSource(folder))])
    asked = [(place, at(9)) for place in ("a.parquet", "elsewhere", "temporary", "y/.hidden")]
    assert values(ask(store, asked)) == [1, 2, None, None]


@pytest.mark.rule("T-4")
def test_a_relative_path_stays_where_it_was_when_it_was_applied(backend, tmp_path, clock, monkeypatch) -> None:
    from tests.kit import config

    one = view(tmp_path / "r", [("k", at(1), 1)])
    monkeypatch.chdir(tmp_path)
    with fs.connect(config(backend, tmp_path / "store"), clock=clock) as store:
        store.apply([replace(one, source=fs.ParquetSource("r/hcp_stats.parquet"))])
        monkeypatch.chdir("/")
        assert values(ask(store, [("k", at(1))])) == [1]


@pytest.mark.rule("P-2", "T-1")
def test_the_first_and_last_times_there_are_and_the_longest_ttl(store, tmp_path) -> None:
    first, last = dt.datetime.min.replace(tzinfo=UTC), dt.datetime.max.replace(tzinfo=UTC)
    store.apply([view(tmp_path, [("a", first, 1), ("a", last, 2)], ttl=timedelta.max)])
    store.materialize(None, NOW)
    assert values(ask(store, [("a", first), ("a", at(1)), ("a", last)])) == [1, 1, 2]
    assert online(store, "a") == [(1, "PRESENT")]


@pytest.mark.rule("P-1", "P-6")
def test_a_view_about_nobody_in_particular_answers_everybody(store, tmp_path) -> None:
    pq.write_table(table({"event_timestamp": [at(1), at(2)], "x": [1, 2]}), tmp_path / "global.parquet")
    source = fs.ParquetSource(str(tmp_path / "global.parquet"))
    store.apply([fs.FeatureView("world", entities=[], schema=[fs.Field("x", fs.Int64)], source=source)])
    frame = table({"event_timestamp": [at(1), at(0), at(5)]})
    assert values(store.get_historical_features(frame, ["world:x"]), "x") == [1, None, 2]
    store.materialize(None, NOW)
    assert store.get_online_features(["world:x"], [{"any": 1}, {"any": 2}]).to_dict()["x"] == [2, 2]


@pytest.mark.rule("P-7")
def test_keys_of_any_length_are_told_apart_online(store, tmp_path) -> None:
    """An embedded store limits the length of its keys; ours are not cut."""
    keys = ["x" * n for n in (400, 511, 512, 600, 5_000, 100_000)] + ["x" * 600 + "a", "x" * 600 + "b"]
    store.apply([view(tmp_path, [(key, at(1), n) for n, key in enumerate(keys)])])
    store.materialize(None, NOW)
    assert [value for value, _ in online(store, *keys)] == list(range(len(keys)))
