"""P-1 to P-12: point-in-time retrieval, rule by rule."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from polars.testing import assert_frame_equal as assert_polars_equal

import e2i_fs as fs
from tests.kit import NOW, STAMP, US, ask, at, statuses, table, values, view

REF = "hcp_stats:trx_count"


@pytest.mark.rule("P-1")
def test_a_row_is_visible_from_its_own_microsecond_on(store, tmp_path) -> None:
    store.apply([view(tmp_path, [("a", at(10), 1)])])
    result = ask(store, [("a", at(10) - US), ("a", at(10)), ("a", at(10) + US)])
    assert values(result) == [None, 1, 1]
    assert statuses(result) == ["NOT_FOUND", "PRESENT", "PRESENT"]


@pytest.mark.rule("P-2")
@pytest.mark.parametrize(
    "ttl", [US, timedelta(hours=36), timedelta(days=2, seconds=3, microseconds=1), timedelta(days=40_000)]
)
def test_a_row_answers_to_the_last_microsecond_of_its_ttl(store, tmp_path, ttl) -> None:
    start = at(10) - timedelta(days=25_000)
    store.apply([view(tmp_path, [("a", start, 1)], ttl=ttl)])
    result = ask(store, [("a", start + ttl - US), ("a", start + ttl), ("a", start + ttl + US)])
    assert values(result) == [1, 1, None]
    assert statuses(result) == ["PRESENT", "PRESENT", "OUTSIDE_MAX_AGE"]


@pytest.mark.rule("P-2")
def test_without_a_ttl_a_row_answers_for_ever(store, tmp_path) -> None:
    store.apply([view(tmp_path, [("a", at(10) - timedelta(days=40_000), 1)], ttl=None)])
    assert values(ask(store, [("a", at(10) + timedelta(days=40_000))])) == [1]


@pytest.mark.rule("P-2")
@pytest.mark.parametrize("ttl", [timedelta(0), timedelta(seconds=-1), 7])
def test_a_ttl_that_is_not_a_positive_duration_is_a_definition_error(tmp_path, ttl) -> None:
    with pytest.raises(fs.DefinitionError, match="ttl"):
        view(tmp_path, [("a", at(10), 1)], ttl=ttl)


@pytest.mark.rule("P-2", "P-4")
def test_an_expired_winner_is_not_replaced_by_a_row_that_it_beat(store, tmp_path) -> None:
    """The chosen row answers or nothing does; a row with the same event time and an older created time is beaten for good."""
    rows = [("a", at(10), at(10), 1), ("a", at(10), at(11), 2)]
    store.apply([view(tmp_path, rows, created=True, ttl=timedelta(minutes=5))])
    result = ask(store, [("a", at(15)), ("a", at(15) + US)])
    assert values(result) == [2, None]


@pytest.mark.rule("P-3")
def test_by_default_created_time_only_breaks_ties(store, tmp_path) -> None:
    rows = [("a", at(10), at(500), 1), ("a", at(9), at(9), 2), ("b", at(10), at(500), 1), ("b", at(10), at(400), 2)]
    store.apply([view(tmp_path, rows, created=True)])
    assert values(ask(store, [("a", at(10)), ("b", at(10))])) == [1, 1]


@pytest.mark.rule("P-3")
def test_filter_by_created_timestamp_hides_rows_not_known_yet(store, tmp_path) -> None:
    rows = [("a", at(10), at(20), 1), ("a", at(5), at(5), 2)]
    store.apply([view(tmp_path, rows, created=True)])
    asked = [("a", at(20) - US), ("a", at(20)), ("a", at(10)), ("a", at(5) - US)]
    assert values(ask(store, asked, filter_by_created_timestamp=True)) == [2, 1, 2, None]


@pytest.mark.rule("P-3")
def test_as_of_is_one_moment_of_knowledge_for_every_entity_row(store, tmp_path) -> None:
    rows = [("a", at(10), at(20), 1), ("a", at(5), at(5), 2)]
    store.apply([view(tmp_path, rows, created=True)])
    assert values(ask(store, [("a", at(10)), ("a", at(900))], as_of=at(20) - US)) == [2, 2]
    assert values(ask(store, [("a", at(10)), ("a", at(900))], as_of=at(20))) == [1, 1]
    both = {"as_of": at(20), "filter_by_created_timestamp": True}
    assert values(ask(store, [("a", at(10)), ("a", at(900))], **both)) == [2, 1]


@pytest.mark.rule("P-3")
def test_a_row_of_unknown_created_time_is_invisible_under_either_form(store, tmp_path) -> None:
    store.apply([view(tmp_path, [("a", at(10), None, 1), ("a", at(5), at(5), 2)], created=True)])
    assert values(ask(store, [("a", at(10))])) == [1]
    assert values(ask(store, [("a", at(10))], filter_by_created_timestamp=True)) == [2]
    assert values(ask(store, [("a", at(10))], as_of=NOW + timedelta(days=9_999))) == [2]


@pytest.mark.rule("P-3")
@pytest.mark.parametrize("form", [{"filter_by_created_timestamp": True}, {"as_of": at(10)}])
def test_a_view_without_a_created_column_is_an_error_under_either_form(store, tmp_path, form) -> None:
    store.apply([view(tmp_path, [("a", at(10), 1)])])
    with pytest.raises(fs.RequestError, match=r"hcp_stats.*created"):
        ask(store, [("a", at(10))], **form)


@pytest.mark.rule("P-3", "P-4")
def test_a_correction_wins_only_from_when_it_is_known(store, tmp_path) -> None:
    rows = [("a", at(10), at(10), 1), ("a", at(10), at(30), 2), ("a", at(12), at(40), 3)]
    store.apply([view(tmp_path, rows, created=True)])
    asked = [("a", at(m)) for m in (10, 29, 30, 39, 40)]
    assert values(ask(store, asked, filter_by_created_timestamp=True)) == [1, 1, 2, 2, 3]


@pytest.mark.rule("P-4")
@pytest.mark.parametrize("turned", [False, True])
def test_ties_fall_to_the_later_created_then_to_the_greater_values(store, tmp_path, turned) -> None:
    fields = {"x": fs.Float64, "y": fs.String}
    rows = [
        ("created", at(1), at(2), 1.0, "a"), ("created", at(1), at(1), 9.0, "z"), ("created", at(1), None, 9.0, "z"),
        ("nan", at(1), at(1), math.nan, "a"), ("nan", at(1), at(1), math.inf, "z"),
        ("missing", at(1), at(1), None, "z"), ("missing", at(1), at(1), -math.inf, "a"),
        ("second", at(1), at(1), 1.0, "a"), ("second", at(1), at(1), 1.0, "b"), ("second", at(1), at(1), 1.0, None),
        ("zero", at(1), at(1), -0.0, "z"), ("zero", at(1), at(1), 0.0, "a"),
        ("text", at(1), at(1), 1.0, "Z"), ("text", at(1), at(1), 1.0, "a"), ("text", at(1), at(1), 1.0, ""),
        ("beyond", at(1), at(1), 1.0, "\ufffd"), ("beyond", at(1), at(1), 1.0, "\U0001f600"),
    ]  # fmt: skip
    store.apply([view(tmp_path, rows[::-1] if turned else rows, fields=fields, created=True)])
    keys = ["created", "nan", "missing", "second", "zero", "text", "beyond"]
    result = ask(store, [(key, at(1)) for key in keys], ["hcp_stats:x", "hcp_stats:y"])
    assert values(result, "y") == ["a", "a", "a", "b", "a", "a", "\U0001f600"]
    assert values(result, "x")[0] == 1.0 and math.isnan(values(result, "x")[1]) and values(result, "x")[2] == -math.inf
    assert math.copysign(1, values(result, "x")[4]) == 1


@pytest.mark.rule("P-4")
def test_ties_are_decided_by_the_whole_row_even_when_one_feature_is_asked_for(store, tmp_path) -> None:
    """The winner may not depend on which features the caller names."""
    fields = {"x": fs.Int64, "y": fs.Int64}
    store.apply([view(tmp_path, [("a", at(1), 1, 9), ("a", at(1), 2, 1)], fields=fields)])
    alone = values(ask(store, [("a", at(1))], ["hcp_stats:y"]), "y")
    together = values(ask(store, [("a", at(1))], ["hcp_stats:x", "hcp_stats:y"]), "y")
    assert alone == together == [1]


@pytest.mark.rule("P-4", "T-4")
def test_the_winner_does_not_depend_on_the_file_it_lies_in(store, tmp_path) -> None:
    one = view(tmp_path, [("a", at(1), 1), ("a", at(1), 3)], file="parts/1.parquet")
    view(tmp_path, [("a", at(1), 2)], file="parts/0.parquet")
    view(tmp_path, [], file="parts/2.parquet")
    store.apply([fs.FeatureView("hcp_stats", entities=[fs.Entity("hcp_id")], schema=one.schema,
                                source=fs.ParquetSource(str(tmp_path / "parts")))])  # fmt: skip
    assert values(ask(store, [("a", at(1))])) == [3]


@pytest.mark.rule("P-4")
def test_nested_values_are_ordered_element_by_element_with_missing_lowest(store, tmp_path) -> None:
    fields = {"x": fs.Array(fs.Int64), "s": fs.Struct(b=fs.Int64, a=fs.Int64)}
    rows = [
        ("array", at(1), [1, None], None), ("array", at(1), [1], None), ("array", at(1), [1, 0], None), ("array", at(1), None, None),
        ("struct", at(1), [], {"b": 1, "a": 2}), ("struct", at(1), [], {"b": 1, "a": None}), ("struct", at(1), [], {"b": None, "a": 9}),
    ]  # fmt: skip
    store.apply([view(tmp_path, rows, fields=fields)])
    result = ask(store, [("array", at(1)), ("struct", at(1))], ["hcp_stats:*"])
    assert values(result, "x") == [[1, 0], []]
    assert values(result, "s") == [None, {"b": 1, "a": 2}]


@pytest.mark.rule("P-5")
def test_the_winner_answers_whole_and_is_never_filled_from_an_older_row(store, tmp_path) -> None:
    rows = [("a", at(1), 1, "old"), ("a", at(2), 2, None), ("a", at(3), None, "new")]
    store.apply([view(tmp_path, rows, fields={"trx_count": fs.Int64, "tier": fs.String})])
    result = ask(store, [("a", at(2)), ("a", at(3))], ["hcp_stats:trx_count", "hcp_stats:tier"])
    assert values(result) == [2, None]
    assert values(result, "tier") == [None, "new"]
    assert statuses(result) == ["PRESENT", "NULL_VALUE"]
    assert statuses(result, "hcp_stats:tier") == ["NULL_VALUE", "PRESENT"]


def _odd_frame(kind: str):
    times = [at(3), at(1), at(3), at(2), at(3)]
    data = {"note": [1.5, None, math.nan, 2.0, 0.0], "hcp_id": ["b", "a", "b", "zz", "b"], "event_timestamp": times,
            "trx": [2**53 + 1, 1, 2, 3, 4]}  # fmt: skip
    if kind == "arrow":
        return table(data)
    if kind == "polars":
        return pl.DataFrame(data)
    return pd.DataFrame(
        data, index=pd.MultiIndex.from_tuples([(9, "x"), (1, "y"), (9, "x"), (0, "z"), (5, "w")], names=["p", None])
    )


@pytest.mark.rule("P-6")
@pytest.mark.parametrize("kind", ["arrow", "pandas", "polars"])
def test_every_row_and_column_of_the_input_comes_back_as_it_was(store, tmp_path, kind) -> None:
    store.apply([view(tmp_path, [("a", at(1), 1), ("b", at(2), 2), ("b", at(3), 3)], fields={"n": fs.Int64})])
    frame = _odd_frame(kind)
    result = store.get_historical_features(frame, ["hcp_stats:n"])
    native = result.to_native()
    assert result.to_arrow().column("n").to_pylist() == [3, 1, 3, None, 3]
    assert list(result.to_arrow().column_names) == ["note", "hcp_id", "event_timestamp", "trx", "n"]
    if kind == "pandas":
        pd.testing.assert_frame_equal(native[list(frame.columns)], frame)
    elif kind == "polars":
        assert_polars_equal(native.select(frame.columns), frame)
    else:
        assert repr(native.select(frame.column_names).to_pydict()) == repr(frame.to_pydict())
        assert native.select(frame.column_names).schema == frame.schema


@pytest.mark.rule("P-6")
def test_features_follow_in_the_order_asked_for(store, tmp_path) -> None:
    fields = {"x": fs.Int64, "y": fs.Int64, "z": fs.Int64}
    store.apply([view(tmp_path, [("a", at(1), 1, 2, 3)], fields=fields)])
    result = ask(store, [("a", at(1))], ["hcp_stats:z", "hcp_stats:x", "hcp_stats:y"])
    assert result.to_arrow().column_names[2:] == ["z", "x", "y"]


@pytest.mark.rule("P-6")
def test_an_input_column_named_like_the_sources_own_columns_is_left_alone(store, tmp_path) -> None:
    """An entity column called as the view's time column neither moves the time asked at nor is replaced."""
    store.apply([view(tmp_path, [("a", at(1), at(1), 1), ("a", at(5), at(5), 2)], created=True)])
    frame = table({"hcp_id": ["a"], "event_timestamp": [at(9)], "created_at": [at(8)], "at": [at(1)]})
    result = store.get_historical_features(frame, [REF], timestamp_column="at")
    assert values(result) == [1]
    assert result.to_arrow().select(frame.column_names).equals(frame)


@pytest.mark.rule("P-6")
def test_ten_thousand_rows_keep_their_order(store, tmp_path) -> None:
    store.apply([view(tmp_path, [(f"h{i}", at(i), i) for i in range(50)])])
    asked = [(f"h{(i * 7919) % 60}", at((i * 31) % 70)) for i in range(10_000)]
    expected = [n if (n := int(k[1:])) < 50 and at(n) <= t else None for k, t in asked]
    assert values(ask(store, asked)) == expected


@pytest.mark.rule("P-7")
def test_keys_that_join_to_the_same_text_are_different_keys(store, tmp_path) -> None:
    keys = {"p": fs.String, "q": fs.String}
    pairs = [("1", "23"), ("12", "3"), ("a_b", "c"), ("a", "b_c"), ("", "x"), ("x", "")]
    store.apply([view(tmp_path, [(*pair, at(1), n) for n, pair in enumerate(pairs)], keys=keys)])
    assert values(ask(store, [(*pair, at(1)) for pair in pairs], keys=keys)) == list(range(len(pairs)))
    assert values(ask(store, [("123", "", at(1)), ("23", "1", at(1))], keys=keys)) == [None, None]
    store.materialize(None, NOW)
    answer = store.get_online_features([REF], [{"p": p, "q": q} for p, q in pairs])
    assert answer.to_dict()["trx_count"] == list(range(len(pairs)))


@pytest.mark.rule("P-7")
@pytest.mark.filterwarnings("ignore::e2i_fs.KeyTypeWarning")
def test_keys_compare_by_type_exactly(store, tmp_path) -> None:
    store.apply([view(tmp_path, [(2**53 + 1, at(1), 1), (1, at(1), 2)], keys={"hcp_id": fs.Int64})])
    text = store.get_historical_features(table({"hcp_id": ["1"], "event_timestamp": [at(1)]}), [REF])
    assert statuses(text) == ["NOT_FOUND"]
    near = store.get_historical_features(table({"hcp_id": [2**53, 2**53 + 1], "event_timestamp": [at(1)] * 2}), [REF])
    assert values(near) == [None, 1]
    half = store.get_historical_features(table({"hcp_id": [1.5, 1.0], "event_timestamp": [at(1)] * 2}), [REF])
    assert values(half) == [None, 2]
    truth = store.get_historical_features(table({"hcp_id": [True], "event_timestamp": [at(1)]}), [REF])
    assert statuses(truth) == ["NOT_FOUND"]


@pytest.mark.rule("P-7")
def test_a_key_that_lost_digits_as_a_float_is_nobody_and_warned_of(store, tmp_path) -> None:
    """Pandas makes floats of whole numbers beside a gap; from 2**53 on another number may have become the same float."""
    store.apply([view(tmp_path, [(2**53, at(1), 1), (2**53 - 1, at(1), 2)], keys={"hcp_id": fs.Int64})])
    store.materialize(None, NOW)
    frame = pd.DataFrame({"hcp_id": [2**53 + 1, None, 2**53 - 1]}).assign(event_timestamp=at(1))
    with pytest.warns(fs.KeyTypeWarning, match="hcp_id"):
        assert values(store.get_historical_features(frame, [REF])) == [None, None, 2]
    rows = [{"hcp_id": key} for key in frame["hcp_id"]]
    with pytest.warns(fs.KeyTypeWarning, match="hcp_id"):
        assert store.get_online_features([REF], rows).to_dict()["trx_count"] == [None, None, 2]


@pytest.mark.rule("P-7")
def test_a_key_of_another_type_than_the_entitys_is_warned_of(store, tmp_path) -> None:
    store.apply([view(tmp_path, [("1", at(1), 1)])])
    with pytest.warns(fs.KeyTypeWarning, match="hcp_id"):
        result = store.get_historical_features(table({"hcp_id": [1], "event_timestamp": [at(1)]}), [REF])
    assert statuses(result) == ["NOT_FOUND"]


@pytest.mark.rule("P-7")
def test_text_keys_are_not_trimmed_folded_or_normalised(store, tmp_path) -> None:
    keys = ["a", "A", "a ", " a", "é", "e\u0301", "", "x\x00y", "x\x00", "NULL"]
    store.apply([view(tmp_path, [(key, at(1), n) for n, key in enumerate(keys)])])
    assert values(ask(store, [(key, at(1)) for key in keys])) == list(range(len(keys)))
    store.materialize(None, NOW)
    answer = store.get_online_features([REF], [{"hcp_id": key} for key in keys])
    assert answer.to_dict()["trx_count"] == list(range(len(keys)))


@pytest.mark.rule("P-7")
def test_a_missing_key_matches_nothing_not_even_a_missing_key(store, tmp_path) -> None:
    keys = {"p": fs.String, "q": fs.Int64}
    store.apply([view(tmp_path, [("a", None, at(1), 1), (None, 2, at(1), 2), (None, None, at(1), 3)], keys=keys)])
    result = ask(store, [("a", None, at(1)), (None, 2, at(1)), (None, None, at(1))], keys=keys)
    assert statuses(result) == ["NOT_FOUND"] * 3


@pytest.mark.rule("P-8")
def test_an_int64_stays_exact_whatever_is_missing(store, tmp_path) -> None:
    big = 2**53 + 1
    store.apply([view(tmp_path, [("a", at(1), big), ("b", at(1), None)])])
    result = ask(store, [("a", at(1)), ("b", at(1)), ("zz", at(1))])
    assert result.to_arrow().column("trx_count").type == pa.int64()
    assert values(result) == [big, None, None]
    assert str(result.to_pandas()["trx_count"].dtype) == "Int64"
    assert result.to_pandas()["trx_count"][0] == big
    all_missed = ask(store, [("zz", at(1))])
    assert all_missed.to_arrow().column("trx_count").type == pa.int64()


@pytest.mark.rule("P-8")
def test_nan_is_a_value_and_null_is_not_nan(store, tmp_path) -> None:
    store.apply([view(tmp_path, [("nan", at(1), math.nan), ("null", at(1), None)], fields={"x": fs.Float64})])
    result = ask(store, [("nan", at(1)), ("null", at(1)), ("none", at(1))], "hcp_stats:x")
    assert statuses(result, "hcp_stats:x") == ["PRESENT", "NULL_VALUE", "NOT_FOUND"]
    column = result.to_arrow().column("x")
    assert column.is_null().to_pylist() == [False, True, True]
    assert math.isnan(column.to_pylist()[0])


@pytest.mark.rule("P-9")
def test_a_reference_is_a_feature_a_star_or_a_service(store, tmp_path) -> None:
    fields = {"x": fs.Int64, "y": fs.Int64}
    service = fs.FeatureService("model", features=["hcp_stats:y", "hcp_stats:x"])
    store.apply([view(tmp_path, [("a", at(1), 1, 2)], fields=fields), service])
    asked = [("a", at(1))]
    assert ask(store, asked, ["hcp_stats:*"]).feature_names == ["x", "y"]
    frame = table({"hcp_id": ["a"], "event_timestamp": [at(1)]})
    assert store.get_historical_features(frame, service).feature_names == ["y", "x"]
    assert store.get_historical_features(frame, "model").feature_names == ["y", "x"]


@pytest.mark.rule("P-9")
@pytest.mark.parametrize(
    ("ref", "near"),
    [("hcp_stats:trx_cnt", "hcp_stats:trx_count"), ("hcp_stat:trx_count", "hcp_stats"), ("hcp_sttas:*", "hcp_stats")],
)
def test_an_unknown_name_is_an_error_with_the_nearest_names(store, tmp_path, ref, near) -> None:
    store.apply([view(tmp_path, [("a", at(1), 1)])])
    with pytest.raises(fs.UnknownFeatureError, match=near):
        ask(store, [("a", at(1))], [REF, ref])
    with pytest.raises(fs.UnknownFeatureError, match=near):
        store.get_online_features([ref], [{"hcp_id": "a"}])


@pytest.mark.rule("P-9")
def test_two_outputs_of_one_name_are_an_error_that_says_how_to_prefix(store, tmp_path) -> None:
    other = view(tmp_path, [("a", at(1), 2)], name="other", keys={"hcp_id": fs.String})
    store.apply([view(tmp_path, [("a", at(1), 1)]), other])
    refs = [REF, "other:trx_count"]
    with pytest.raises(fs.FeatureNameCollisionError, match="full_feature_names=True"):
        ask(store, [("a", at(1))], refs)
    result = ask(store, [("a", at(1))], refs, full_feature_names=True)
    assert result.feature_names == ["hcp_stats__trx_count", "other__trx_count"]
    assert values(result, "other__trx_count") == [2]


@pytest.mark.rule("P-9")
def test_an_output_named_like_an_input_column_is_an_error(store, tmp_path) -> None:
    store.apply([view(tmp_path, [("a", at(1), 1)])])
    frame = table({"hcp_id": ["a"], "event_timestamp": [at(1)], "trx_count": [9]})
    with pytest.raises(fs.FeatureNameCollisionError, match=r"trx_count.*full_feature_names=True"):
        store.get_historical_features(frame, [REF])
    assert store.get_historical_features(frame, [REF], full_feature_names=True).feature_names == [
        "hcp_stats__trx_count"
    ]


@pytest.mark.rule("P-10")
def test_rows_not_visible_at_t_change_nothing(store, tmp_path) -> None:
    rows = [("a", at(10), at(10), 1), ("a", at(9), at(9), 5)]
    asked = [("a", at(10)), ("a", at(15))]
    store.apply([view(tmp_path, rows, created=True)])
    plain, known = ask(store, asked), ask(store, asked, as_of=at(15))
    noise = [
        ("a", at(15) + US, at(1), 99),
        ("b", at(10), at(10), 99),
        ("a", None, at(1), 99),
        (None, at(10), at(10), 99),
    ]
    view(tmp_path, [*noise, *rows], created=True)  # the same file, with rows that nobody may see
    assert values(ask(store, asked)) == values(plain) == [1, 1]
    view(tmp_path, [*noise, ("a", at(12), at(15) + US, 99), *rows], created=True)
    assert values(ask(store, asked, as_of=at(15))) == values(known) == [1, 1]


# A dtype, the Arrow type that is stored, a value that fits it and one that does not.
MISFITS = {
    "a greater whole number": (fs.Int32, pa.int64(), 7, 2**31),
    "a whole number that no float is": (fs.Float64, pa.int64(), 7.0, 2**53 + 1),
    "a decimal of more digits": (fs.Decimal(4, 2), pa.decimal128(12, 2), Decimal("7.25"), Decimal("12345.00")),
    "a vector of another length": (fs.Vector(2), pa.list_(pa.float32()), [7.0, 8.0], [7.0]),
    "a number within a struct": (fs.Struct({"n": fs.Int32}), pa.struct({"n": pa.int64()}), {"n": 7}, {"n": 2**31}),
}


@pytest.mark.rule("P-10")
@pytest.mark.parametrize("unit", ["us", "ns"])
@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("knowledge", [False, True])
@pytest.mark.parametrize("misfit", MISFITS)
def test_a_value_that_does_not_fit_matters_only_to_who_sees_it(
    store, tmp_path, misfit, knowledge, streamed, unit
) -> None:
    dtype, stored, good, bad = MISFITS[misfit]
    times = pa.array([at(10), at(10), at(20), at(9), at(9)], pa.timestamp(unit, "UTC"))
    columns = {
        "hcp_id": ["a", "b", "b", "a", "b"],
        "event_timestamp": times,
        "created_at": times,
        "trx_count": pa.array([good, good, bad, bad, bad], stored),
        "other": [1, 2, 3, 4, 5],
    }
    if streamed:  # a column that hides one of DuckDB's own has the file read piece by piece
        columns["file_row_number"] = [0] * 5
    pq.write_table(pa.table(columns), tmp_path / "hcp.parquet")
    source = fs.ParquetSource(str(tmp_path / "hcp.parquet"), created_timestamp_field="created_at")
    entity = fs.Entity("hcp", join_keys=["hcp_id"])
    schemas = {"hcp_stats": {"trx_count": dtype, "other": fs.Int64}, "beside": {"other": fs.Int64}}
    views = [
        fs.FeatureView(name, entities=[entity], schema=[fs.Field(n, t) for n, t in fields.items()], source=source)
        for name, fields in schemas.items()
    ]
    store.apply([entity, *views])
    refs = ["hcp_stats:trx_count", "beside:other"]
    unseen = ask(store, [("a", at(30)), ("b", at(15))], refs, filter_by_created_timestamp=knowledge)
    assert (values(unseen), values(unseen, "other")) == ([good, good], [1, 2])
    with pytest.raises(fs.BackendDataError, match="hcp_stats"):
        ask(store, [("a", at(30)), ("b", at(30))], refs, filter_by_created_timestamp=knowledge)
    assert values(ask(store, [("b", at(30))], "hcp_stats:other"), "other") == [3]


@pytest.mark.rule("P-4", "P-10")
def test_a_value_that_does_not_fit_breaks_no_tie_of_others(store, tmp_path) -> None:
    rows = [("a", at(10), 1), ("a", at(10), 2), ("b", at(10), 3), ("b", at(20), 2**40), ("b", at(20), 2**41)]
    given = view(tmp_path, rows)
    store.apply([replace(given, schema=(fs.Field("trx_count", fs.Int32),))])
    assert values(ask(store, [("a", at(30)), ("b", at(15))])) == [2, 3]
    with pytest.raises(fs.BackendDataError, match="hcp_stats"):
        ask(store, [("a", at(30)), ("b", at(20))])


@pytest.mark.rule("P-11")
def test_an_empty_frame_an_empty_list_and_a_missing_key_column_are_errors(store, tmp_path) -> None:
    store.apply([view(tmp_path, [("a", at(1), 1)])])
    frame = table({"hcp_id": ["a"], "event_timestamp": [at(1)]})
    with pytest.raises(fs.InvalidEntityFrameError, match="no rows|empty"):
        store.get_historical_features(frame.slice(0, 0), [REF])
    with pytest.raises(fs.RequestError, match="feature"):
        store.get_historical_features(frame, [])
    with pytest.raises(fs.InvalidEntityFrameError, match="hcp_id"):
        store.get_historical_features(frame.select(["event_timestamp"]), [REF])
    with pytest.raises(fs.RequestError, match="event_timestamp"):
        store.get_historical_features(frame.select(["hcp_id"]), [REF])
    with pytest.raises(fs.InvalidEntityFrameError, match="no rows|empty"):
        store.get_online_features([REF], [])
    with pytest.raises(fs.InvalidEntityFrameError, match="hcp_id"):
        store.get_online_features([REF], [{"hcp": "a"}])


@pytest.mark.rule("P-12")
def test_a_label_is_given_only_to_who_names_it_as_one(store, tmp_path) -> None:
    plain = view(tmp_path, [("a", at(1), 1, True)], fields={"trx_count": fs.Int64, "is_churned": fs.Bool})
    labelled = fs.FeatureView(
        "hcp_stats", entities=[fs.Entity("hcp_id")], source=plain.source,
        schema=[fs.Field("trx_count", fs.Int64), fs.Field("is_churned", fs.Bool, role="label")],
    )  # fmt: skip
    store.apply([labelled, fs.FeatureService("all", features=["hcp_stats:*"])])
    store.materialize(None, NOW)
    asked, keys = [("a", at(1))], [{"hcp_id": "a"}]
    frame = pa.table({"hcp_id": ["a"], "event_timestamp": pa.array([at(1)], STAMP)})
    assert ask(store, asked, ["hcp_stats:*"]).feature_names == ["trx_count"]
    assert store.get_historical_features(frame, "all").feature_names == ["trx_count"]
    assert store.get_online_features(["hcp_stats:*"], keys).feature_names == ["trx_count"]
    with pytest.raises(fs.LabelRequestedError, match=r"labels=\[.hcp_stats:is_churned"):
        ask(store, asked, ["hcp_stats:is_churned"])
    with pytest.raises(fs.LabelRequestedError, match="is_churned"):
        store.get_online_features(["hcp_stats:is_churned"], keys)
    with pytest.raises(fs.RequestError, match="labels holds a list"):
        ask(store, asked, [REF], labels=[["hcp_stats:is_churned"]])
    result = ask(store, asked, [REF], labels=["hcp_stats:is_churned"])
    assert result.feature_names == ["trx_count", "is_churned"]
    assert values(result, "is_churned") == [True]
