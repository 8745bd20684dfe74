"""On-demand views: one function, the same offline and online, which can neither spoil nor see what is not its own."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import e2i_fs as fs
from e2i_fs.testing import FakeClock
from tests import kit

KEYS = ["fresh", "old", "null", "absent", None]
AMOUNT = fs.RequestSource("asked", schema=[fs.Field("amount", fs.Float64)])


def computed(
    body: str, *, name: str = "made", inputs: tuple[str, ...] = ("stats:x",), dtype: fs.DType = fs.Float64, **more: Any
) -> fs.OnDemandFeatureView:
    code = f"def made(c):\n    {body}\n"
    return fs.OnDemandFeatureView(
        name, inputs=inputs, schema=(fs.Field("out", dtype),), code=code, function="made", **more
    )


@pytest.fixture
def filled(store: Any) -> Any:
    view = fs.FeatureView(
        "stats", entities=[fs.Entity("hcp", join_keys={"hcp_id": fs.String})], ttl=timedelta(hours=1),
        schema=[fs.Field("x", fs.Int64), fs.Field("y", fs.Float64)], source=fs.PushSource("pushed"),
    )  # fmt: skip
    store.apply([view])
    times = [kit.NOW - timedelta(minutes=5), kit.NOW - timedelta(hours=2), kit.NOW]
    frame = {"hcp_id": KEYS[:3], "event_timestamp": pa.array(times, kit.STAMP), "x": [5, 6, None], "y": [0.5, 1.5, 2.5]}
    store.write("stats", pa.table(frame), to="both")
    return store


def both(store: Any, refs: list[str], **columns: list[Any]) -> tuple[Any, Any]:
    """Return values and statuses by name, offline at now and online."""
    keys = pa.array(KEYS, pa.string())
    frame = pa.table({"hcp_id": keys, "event_timestamp": pa.array([kit.NOW] * 5, kit.STAMP), **columns})
    history = store.get_historical_features(frame, refs)
    rows = [{"hcp_id": key, **{n: c[i] for n, c in columns.items()}} for i, key in enumerate(KEYS)]
    online = store.get_online_features(refs, rows)
    offline = {n: history.to_arrow()[n].to_pylist() for n in history.feature_names}
    now = {n: online.to_dict()[n] for n in online.feature_names}
    return (offline, dict(history.statuses)), (now, dict(online.statuses))


def test_what_a_function_does_to_its_inputs_reaches_nobody(filled: Any) -> None:
    filled.apply([computed("n = len(c['x']); c['x'][:] = [99] * n; c['x'].append(1); return {'out': [1.0] * n}")])
    for values, _ in both(filled, ["stats:x", "made:out"]):
        assert values == {"x": [5, None, None, None, None], "out": [1.0] * 5}


@pytest.mark.rule("O-3")
def test_a_missing_output_says_why_its_input_is_missing(filled: Any) -> None:
    filled.apply([computed("return {'out': [None if v is None else v / 2 for v in c['x']]}")])
    for values, statuses in both(filled, ["made:out"]):
        assert values["out"] == [2.5, None, None, None, None]
        told = [s.value for s in statuses["made:out"]]
        assert told == ["PRESENT", "OUTSIDE_MAX_AGE", "NULL_VALUE", "NOT_FOUND", "NOT_FOUND"]


@pytest.mark.parametrize(
    ("body", "dtype", "why"),
    [
        ("return {'out': [1.0]}", fs.Float64, "returned 1 values for 'out'; 5 rows"),
        ("return {'out': ['t'] * 5}", fs.Float64, "declared Float64"),
        ("return {'out': [0.5] * 5}", fs.Int64, "row 0 .*declared Int64"),
        ("return {'out': [[1.0]] * 5}", fs.Vector(2), "declared Vector"),
        ("return [1.0] * 5", fs.Float64, "returned list, which has nothing for 'out'"),
        ("return {'out': [v + 1 for v in c['x']]}", fs.Float64, "it must take None"),
        ("return {'out': [v for v in c['y']]}", fs.Float64, "It is given 'x'; what else it needs must be among its sources"),
        ("return {'out': c['hcp_id']}", fs.Float64, "KeyError: 'hcp_id'"),
        ("raise SystemExit(3)", fs.Float64, "its function raised SystemExit: 3"),
    ],
)  # fmt: skip
def test_a_function_that_does_not_keep_its_word_is_told_of(filled: Any, body: str, dtype: fs.DType, why: str) -> None:
    filled.apply([computed(body, dtype=dtype)])
    frame = pa.table({"hcp_id": pa.array(KEYS, pa.string()), "event_timestamp": pa.array([kit.NOW] * 5, kit.STAMP)})
    with pytest.raises(fs.DefinitionError, match=why):
        filled.get_historical_features(frame, ["made:out"])
    with pytest.raises(fs.DefinitionError, match=why):
        filled.get_online_features(["made:out"], [{"hcp_id": key} for key in KEYS])


@pytest.mark.parametrize(
    ("inputs", "why"),
    [
        (("stats:*",), r"takes 'stats:\*': its function gets single features"),
        (("first:out",), r"computed on demand itself.*over stats:x"),
        (("stats:z",), "unknown feature 'stats:z'"),
        (("stat:x",), "unknown view 'stat'.*Did you mean 'stats'"),
    ],
)
def test_inputs_that_cannot_be_taken_are_refused_at_apply(filled: Any, inputs: tuple[str, ...], why: str) -> None:
    filled.apply([computed("return {'out': [1.0] * len(c['x'])}", name="first")])
    with pytest.raises(fs.DefinitionError, match=why):
        filled.apply([computed("return {'out': [1.0]}", inputs=inputs)])
    assert [v.name for v in filled.list_on_demand_feature_views()] == ["first"]


def test_request_columns_are_checked_and_others_are_not_shown(filled: Any) -> None:
    body = "return {'out': [float(len(c)) if a is None else a for a in c['amount']]}"
    filled.apply([computed(body, request=(AMOUNT,)), fs.FeatureService("served", features=["stats:y", "made:out"])])
    amounts, more = [1.0, None, math.nan, 2.0, 3.0], [1] * 5
    for values, _ in both(filled, ["made:out"], amount=amounts, more=more):
        assert repr(values["out"]) == repr([1.0, 2.0, math.nan, 2.0, 3.0])
    with pytest.raises(fs.InvalidEntityFrameError, match="lack the request column 'amount'"):
        filled.get_online_features("served", [{"hcp_id": "fresh"}])
    with pytest.raises(fs.InvalidEntityFrameError, match="Request column 'amount'.*is string"):
        filled.get_online_features("served", [{"hcp_id": "fresh", "amount": "1"}])
    answer = filled.get_online_features("served", [{"hcp_id": "fresh", "amount": 4}])
    assert answer.to_dict() == {"hcp_id": ["fresh"], "amount": [4], "y": [0.5], "out": [4.0]}


FLOATS = st.none() | st.floats(width=64)


@given(st.lists(st.tuples(st.none() | st.integers(-(2**53), 2**53), FLOATS, FLOATS), min_size=1, max_size=12))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_offline_at_now_and_online_compute_the_same(rows: list[tuple[Any, Any, Any]]) -> None:
    view = fs.FeatureView(
        "stats", entities=[fs.Entity("hcp", join_keys={"hcp_id": fs.Int64})],
        schema=[fs.Field("x", fs.Int64), fs.Field("y", fs.Float64)], source=fs.PushSource("pushed"),
    )  # fmt: skip
    body = "return {'out': [None if None in r else r[0] * r[1] - r[2] for r in zip(c['x'], c['y'], c['amount'])]}"
    with fs.connect({"backend": "memory"}, clock=FakeClock(kit.NOW)) as store:
        store.apply([view, computed(body, inputs=("stats:x", "stats:y"), request=(AMOUNT,))])
        x, y, amount = (list(column) for column in zip(*rows, strict=True))
        keys, times = list(range(len(rows))), pa.array([kit.NOW] * len(rows), kit.STAMP)
        frame = pa.table({"hcp_id": keys, "event_timestamp": times})
        values = {"x": pa.array(x, pa.int64()), "y": pa.array(y, pa.float64())}
        store.write("stats", pa.table({**{n: frame[n] for n in frame.column_names}, **values}), to="both")
        asked = frame.append_column("amount", pa.array(amount, pa.float64()))
        history = store.get_historical_features(asked, ["made:out"])
        online = store.get_online_features(
            ["made:out"], [{"hcp_id": k, "amount": a} for k, a in zip(keys, amount, strict=True)]
        )
        assert repr(history.to_arrow()["out"].to_pylist()) == repr(online.to_dict()["out"])
        assert history.statuses["made:out"] == online.statuses["made:out"]
        assert history.event_timestamps["made:out"] == online.event_timestamps["made:out"]
