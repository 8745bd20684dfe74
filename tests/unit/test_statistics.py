"""Statistics of features: which rows they are of, and that they are exact."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import pyarrow as pa
import pytest

import e2i_fs as fs
from e2i_fs.testing import FakeClock
from tests import kit
from tests.breakable import OPENED, BreakablePlugin

REF = "hcp_stats:trx_count"
BIG = 2**53 + 1


def applied(store: Any, folder: Path, rows: Any, **more: Any) -> fs.FeatureView:
    view = kit.view(folder, rows, **more)
    store.apply([view])
    return view


# ---- which rows -------------------------------------------------------------------------------------------


def test_only_rows_that_a_request_may_see_are_counted(store: Any, tmp_path: Path) -> None:
    applied(store, tmp_path, [("a", kit.at(0), 1), ("a", kit.at(1), 2), (None, kit.at(2), 99), ("b", None, 98)])
    found = store.statistics(REF)
    assert (found.rows, found.count, found.max, found.newest_event_timestamp) == (2, 2, 2, kit.at(1))
    assert (found.feature, found.dtype, found.where, found.expired) == (REF, fs.Int64, "offline", 0)


def test_a_window_has_both_its_ends(store: Any, tmp_path: Path) -> None:
    applied(store, tmp_path, [("a", kit.at(i), i) for i in range(10)])

    def values(**window: Any) -> list[int]:
        return [value for value, _ in store.statistics(REF, **window).top_values]

    assert values(start=kit.at(3), end=kit.at(5)) == [3, 4, 5]
    assert values(start=kit.at(3) + kit.US, end=kit.at(5) - kit.US) == [4]
    assert values(start=kit.at(8)) == [8, 9]
    assert values(end=kit.at(1).astimezone(UTC).replace(tzinfo=None)) == [0, 1]
    nothing = store.statistics(REF, start=kit.at(100))
    assert (nothing.rows, nothing.missing, nothing.distinct) == (0, 0, 0)
    assert (nothing.min, nothing.mean, nothing.null_rate, nothing.most_common, nothing.newest_event_timestamp) == (
        None,
    ) * 5
    assert (nothing.quantiles, nothing.top_values, nothing.histogram, nothing.most_common_count) == ({}, (), (), 0)


@pytest.mark.rule("O-2")
def test_online_counts_the_row_of_each_key_that_answers_now(store: Any, tmp_path: Path, clock: FakeClock) -> None:
    applied(store, tmp_path, [], ttl=timedelta(hours=1))
    old = kit.NOW - timedelta(hours=1)
    rows = [
        ("a", kit.NOW - timedelta(minutes=5), 1), ("a", kit.NOW - timedelta(minutes=1), 2),  # the second answers
        ("b", old, 3), ("c", old - kit.US, 4),  # at the edge of the ttl, and beyond it
        ("d", kit.NOW + timedelta(seconds=30), 5),  # not yet
        ("e", kit.NOW, None),
    ]  # fmt: skip
    store.write("hcp_stats", kit.batch(*rows), to="online")
    found = store.statistics(REF, where="online")
    assert (found.rows, found.missing, found.expired) == (3, 1, 1)
    assert found.top_values == ((2, 1), (3, 1))
    assert (found.where, found.newest_event_timestamp) == ("online", kit.NOW)
    assert [s for _, s in kit.online(store, "a", "b", "c", "d", "e")] == [
        "PRESENT", "PRESENT", "OUTSIDE_MAX_AGE", "NOT_FOUND", "NULL_VALUE",
    ]  # fmt: skip
    clock.advance(timedelta(minutes=1))
    assert [value for value, _ in store.statistics(REF, where="online").top_values] == [2, 5]
    assert store.statistics(REF, where="online").expired == 2
    assert store.statistics(REF, where="online", start=kit.NOW).rows == 2


def test_online_after_materialising_is_the_newest_row_of_each_key(store: Any, tmp_path: Path) -> None:
    view = applied(store, tmp_path, [(f"hcp_{i % 7}", kit.at(i), i) for i in range(100)])
    store.materialize(None)
    found = store.view_statistics(view, where="online")
    assert list(found) == ["trx_count"]
    assert (found["trx_count"].rows, found["trx_count"].min, found["trx_count"].max) == (7, 93, 99)


def test_a_whole_view_is_read_once(tmp_path: Path, clock: FakeClock) -> None:
    fields = {"a": fs.Int64, "b": fs.String, "c": fs.Bool}
    with fs.connect({"backend": "breakable", "inner": "memory"}, clock=clock, plugins=[BreakablePlugin()]) as store:
        applied(store, tmp_path, [("h", kit.at(0), 1, "x", True), ("h", kit.at(1), 2, "x", None)], fields=fields)
        before = dict(OPENED["breakable"].calls)
        found = store.view_statistics("hcp_stats")
        assert list(found) == ["a", "b", "c"]
        assert OPENED["breakable"].calls["scan"] == before.get("scan", 0) + 1
        assert {name: own.missing for name, own in found.items()} == {"a": 0, "b": 0, "c": 1}
        assert list(store.view_statistics("hcp_stats", features=["c", "a"])) == ["a", "c"]
        assert found["a"] == store.statistics("hcp_stats:a")


def test_labels_are_told_of_too(store: Any, tmp_path: Path) -> None:
    view = kit.view(tmp_path, [("a", kit.at(0), 1)])
    store.apply([replace(view, schema=(fs.Field("trx_count", fs.Int64, role="label"),))])
    assert store.statistics(REF).rows == 1
    assert list(store.view_statistics("hcp_stats")) == ["trx_count"]


def test_an_awaited_store_and_every_backend_behind_failover_tell_the_same(tmp_path: Path, clock: FakeClock) -> None:
    view = kit.view(tmp_path, [("a", kit.at(0), BIG), ("b", kit.at(1), None)])
    config = {"backends": [{"name": n, "backend": "duckdb", "path": str(tmp_path / n)} for n in ("one", "two")]}

    async def ask() -> list[Any]:
        async with fs.connect_async(config, clock=clock) as store:
            await store.apply([view])
            await store.materialize(None)
            told = [await store.statistics(REF, where=where) for where in ("offline", "online")]
            await store.isolate("one")
            told += [(await store.view_statistics("hcp_stats", where=w))["trx_count"] for w in ("offline", "online")]
            return told

    offline, online, offline_two, online_two = anyio.run(ask)
    assert (offline, online) == (offline_two, online_two)
    assert (offline.max, online.max, online.missing) == (BIG, BIG, 1)


# ---- what is refused --------------------------------------------------------------------------------------


def test_what_cannot_be_counted_is_refused_and_says_what_can(store: Any, tmp_path: Path) -> None:
    applied(store, tmp_path, [("a", kit.at(0), 1)], online=False)
    doubled = fs.OnDemandFeatureView(
        "doubled", inputs=(REF,), schema=(fs.Field("x", fs.Int64),), code="def doubled(c):\n    return {'x': c['trx_count']}\n",
        function="doubled",
    )  # fmt: skip
    store.apply([doubled])
    with pytest.raises(fs.UnsupportedError, match=r"computed on demand.*hcp_stats:trx_count"):
        store.statistics("doubled:x")
    with pytest.raises(fs.UnsupportedError, match="computed on demand"):
        store.view_statistics("doubled")
    with pytest.raises(fs.UnsupportedError, match="not online"):
        store.statistics(REF, where="online")
    with pytest.raises(fs.UnknownFeatureError, match=r"view_statistics\('hcp_stats'\)"):
        store.statistics("hcp_stats:*")
    with pytest.raises(fs.UnknownFeatureError, match="Did you mean 'hcp_stats:trx_count'"):
        store.view_statistics("hcp_stats", features=["trx_cnt"])
    with pytest.raises(fs.RequestError, match="empty list"):
        store.view_statistics("hcp_stats", features=[])
    with pytest.raises(fs.RequestError, match=r"where='offlin'.*'offline'"):
        store.statistics(REF, where="offlin")
    for top in (0, -1, True, 2.5, "3"):
        with pytest.raises(fs.RequestError, match="at least 1"):
            store.statistics(REF, top=top)
    with pytest.raises(fs.RequestError, match="window is empty"):
        store.statistics(REF, start=kit.at(2), end=kit.at(1))
    with pytest.raises(fs.InvalidTimestampError, match="start is '2024'"):
        store.statistics(REF, start="2024")


# ---- how exact --------------------------------------------------------------------------------------------


def told(store: Any, dtype: fs.DType, values: list[Any], **more: Any) -> fs.FeatureStatistics:
    """Return the statistics of rows with these values, written both ways, after a look that both are the same."""
    name = f"told_{len(store.list_feature_views())}"
    view = fs.FeatureView(
        name, entities=[fs.Entity("e", join_keys={"hcp_id": fs.String})], schema=[fs.Field("x", dtype)],
        source=fs.PushSource("pushed"),
    )  # fmt: skip
    store.apply([view])
    from e2i_fs.values import arrow_type

    frame = pa.table({
        "hcp_id": [f"{i}" for i in range(len(values))],
        "event_timestamp": pa.array([kit.at(0)] * len(values), kit.STAMP),
        "x": pa.array(values, arrow_type(dtype)),
    })  # fmt: skip
    store.write(name, frame, to="both")
    offline, online = (store.statistics(f"{name}:x", where=where, **more) for where in ("offline", "online"))
    assert repr(offline).replace("where='offline'", "where='online'") == repr(online)
    found: fs.FeatureStatistics = offline
    return found


@pytest.mark.rule("P-8")
def test_whole_numbers_are_exact_at_the_ends_of_their_range(store: Any) -> None:
    low, high = -(2**63), 2**63 - 1
    found = told(store, fs.Int64, [low, high, high, BIG, None])
    assert (found.min, found.max, found.top_values) == (low, high, ((high, 2), (low, 1), (BIG, 1)))
    assert found.histogram[0][0] == low
    assert found.histogram[-1][1] == high
    assert sum(count for _, _, count in found.histogram) == 4
    assert all(isinstance(edge, int) for edge in found.histogram[3][:2])


def test_a_deviation_keeps_its_digits_far_from_zero(store: Any) -> None:
    assert told(store, fs.Int64, [2**62, 2**62 + 1, 2**62 + 2]).std == 1.0
    assert told(store, fs.Int64, [2**62 + 1] * 3).std == 0.0


def test_a_float_keeps_its_digits_on_any_scale(store: Any) -> None:
    found = told(store, fs.Float64, [1e308, -1e308, 1e308, -1e308])
    assert (found.mean, found.p50) == (0.0, 0.0)
    assert found.std is not None
    assert math.isclose(found.std, 1e308 * math.sqrt(4 / 3), rel_tol=1e-15)


def test_small_floats_and_equal_ones_have_the_deviation_they_have(store: Any) -> None:
    found = told(store, fs.Float64, [1e-300, 3e-300])
    assert found.std is not None
    assert math.isclose(found.std, math.sqrt(2) * 1e-300, rel_tol=1e-12)
    assert found.mean is not None
    assert math.isclose(found.mean, 2e-300, rel_tol=1e-15)


def test_nan_and_infinities_are_counted_and_do_not_spoil_the_rest(store: Any) -> None:
    found = told(store, fs.Float64, [1.0, 2.0, math.inf, -math.inf, math.nan, math.nan, None, -0.0, 0.0])
    assert (found.rows, found.missing, found.nan, found.infinite, found.distinct) == (9, 1, 2, 2, 6)
    assert (found.min, found.max, found.mean, found.p50) == (-math.inf, math.inf, 0.75, 0.5)
    assert found.null_rate == 1 / 9
    assert found.histogram[0][0] == 0.0
    assert found.histogram[-1][1] == 2.0
    assert [(repr(v), n) for v, n in found.top_values[:2]] == [("0.0", 2), ("nan", 2)]


def test_a_float_that_is_nowhere_finite_has_no_figures_but_its_counts(store: Any) -> None:
    found = told(store, fs.Float32, [math.nan, math.inf])
    assert (found.mean, found.std, found.quantiles, found.histogram) == (None, None, {}, ())
    assert (found.min, found.max) == (math.inf, math.inf)


def test_decimals_stay_decimals(store: Any) -> None:
    high = Decimal("99999999999999999999999999999999.999999")
    low = high.copy_negate()  # the sign alone: arithmetic would round to 28 digits
    found = told(store, fs.Decimal(38, 6), [high, low, Decimal("0.000001")])
    assert (found.min, found.max) == (low, high)
    assert found.top_values[0] == (low, 1)
    assert all(isinstance(edge, Decimal) for edge in found.histogram[0][:2])
    assert [count for _, _, count in found.histogram if count] == [1, 1, 1]


def test_dates_and_times_have_ends_and_a_histogram_and_no_mean(store: Any) -> None:
    days = [date(1969, 12, 31), date(2024, 2, 29), date(2024, 2, 29), None]
    found = told(store, fs.Date, days)
    assert (found.min, found.max, found.mean, found.quantiles) == (days[0], days[1], None, {})
    assert (found.histogram[0], found.histogram[-1][1:]) == ((days[0], found.histogram[0][1], 1), (days[1], 2))


def test_times_are_aware_and_exact_to_the_microsecond(store: Any) -> None:
    moments = [datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), datetime(2024, 1, 1, 0, 0, 0, 1, tzinfo=UTC)]
    found = told(store, fs.Timestamp, moments)
    assert (found.min, found.max) == tuple(moments)
    assert (found.histogram[0][0], found.histogram[-1][1]) == tuple(moments)
    assert found.top_values == ((moments[0], 1), (moments[1], 1))


def test_equally_frequent_values_come_in_their_own_order(store: Any) -> None:
    found = told(store, fs.String, ["b", "a", "é", "B", "a", "b", "", None], top=4)
    assert found.top_values == (("a", 2), ("b", 2), ("", 1), ("B", 1))
    assert (found.min, found.max, found.most_common, found.unique) == ("", "é", "a", 5)


def test_lists_and_records_are_counted_whole(store: Any) -> None:
    found = told(store, fs.Array(fs.Int64), [[1, None], [1, None], [], None, [None]])
    assert (found.missing, found.distinct, found.min) == (1, 3, None)
    assert found.top_values == (([1, None], 2), ([], 1), ([None], 1))


def test_which_of_two_equal_zeros_came_first_does_not_show(store: Any) -> None:
    """Grouped, they are one value, and DuckDB shows whichever it met first (T-4)."""
    for values in ([[0.5, -0.0], [0.5, 0.0]], [[0.5, 0.0], [0.5, -0.0]]):
        assert repr(told(store, fs.Vector(2), values).top_values) == "(([0.5, 0.0], 2),)"
    record = fs.Struct(a=fs.Array(fs.Float64), b=fs.Int64)
    rows = [{"a": [-0.0], "b": None}, {"a": [0.0], "b": None}, {"a": None, "b": 1}, None, {"a": None, "b": None}]
    assert repr(told(store, record, rows).top_values) == (
        "(({'a': [0.0], 'b': None}, 2), ({'a': None, 'b': None}, 1), ({'a': None, 'b': 1}, 1))"
    )


def test_what_is_told_can_be_written_as_json(store: Any) -> None:
    import json

    form = told(store, fs.Float64, [1.0, math.inf, None]).to_dict()
    assert json.loads(json.dumps(form, allow_nan=False)) == form
    assert (form["dtype"], form["max"], form["null_rate"]) == ("Float64", "Infinity", 1 / 3)
    assert form["quantiles"]["0.5"] == 1.0
    assert form["newest_event_timestamp"] == kit.at(0).isoformat()
