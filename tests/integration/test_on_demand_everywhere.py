"""On-demand views through failover, the async store, the server and a service, with request columns of every dtype."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import pyarrow as pa
import pytest

import e2i_fs as fs
from e2i_fs.testing.clock import FakeClock
from e2i_fs.values import arrow_type
from tests.breakable import OPENED, BreakablePlugin
from tests.kit import NOW, STAMP, at

ASKED: dict[str, tuple[fs.DType, list[Any]]] = {
    "i32": (fs.Int32, [1, None]),
    "i64": (fs.Int64, [2**53 + 1, None]),
    "f32": (fs.Float32, [0.5, math.nan]),
    "f64": (fs.Float64, [0.1, -math.inf]),
    "flag": (fs.Bool, [True, None]),
    "text": (fs.String, ["日本", ""]),
    "raw": (fs.Bytes, [b"\x00\xff", None]),
    "day": (fs.Date, [date(2024, 2, 29), None]),
    "time": (fs.Timestamp, [at(1.5), None]),
    "json": (fs.Json, ['{"a": 1}', None]),
    "money": (fs.Decimal(10, 2), [Decimal("1.10"), None]),
    "list": (fs.Array(fs.Int64), [[1, None], []]),
    "vector": (fs.Vector(2), [[0.5, 1.5], None]),
    "record": (fs.Struct(a=fs.Int64), [{"a": 1}, None]),
}
SERVED = ["same:o_" + name for name in ASKED]
CODE = "def same(c):\n    return {'o_' + n: v for n, v in c.items() if n != 'x'}\n"
SUM = "def added(c):\n    return {'sum': [None if None in r else r[0] + r[1] for r in zip(c['x'], c['i32'])]}\n"
ACROSS = "def across(c):\n    return {'part': [v / len(c['x']) if v else v for v in c['x']]}\n"
KEYS = ["a", "absent"]


def definitions() -> list[Any]:
    every = fs.RequestSource("every", schema=[fs.Field(n, t) for n, (t, _) in ASKED.items()])
    one = fs.RequestSource("one", schema=[fs.Field("i32", fs.Int32)])
    hcp = fs.Entity("hcp", join_keys={"hcp_id": fs.String})
    return [
        fs.FeatureView("stats", entities=[hcp], schema=[fs.Field("x", fs.Float64)], source=fs.PushSource("pushed")),
        fs.OnDemandFeatureView(
            "same", inputs=("stats:x",), request=(every,), code=CODE, function="same",
            schema=tuple(fs.Field(f"o_{n}", t) for n, (t, _) in ASKED.items()),
        ),
        fs.OnDemandFeatureView(
            "added", inputs=("stats:x",), request=(one,), code=SUM, function="added", schema=(fs.Field("sum", fs.Float64),)
        ),
        fs.OnDemandFeatureView(
            "across", inputs=("stats:x",), code=ACROSS, function="across", schema=(fs.Field("part", fs.Float64),)
        ),
        fs.FeatureService("serving", features=["stats:x", "added:sum"]),
    ]  # fmt: skip


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Any]:
    backends = [
        {"name": "primary", "backend": "breakable", "inner": "duckdb", "path": str(tmp_path / "primary")},
        {"name": "standby", "backend": "breakable", "inner": "memory"},
    ]
    failover = {"shadow_rate": 0, "deadline": 30, "background": False}
    config = {"backends": backends, "failover": failover, "state": str(tmp_path / "state")}
    with fs.connect(config, clock=FakeClock(NOW), plugins=[BreakablePlugin()]) as store:
        store.apply(definitions())
        store.push("pushed", [{"hcp_id": k, "event_timestamp": at(600), "x": v} for k, v in (("a", 2.5), ("b", 4.0))])
        yield store


def frame(**more: Any) -> pa.Table:
    return pa.table({"hcp_id": KEYS, "event_timestamp": pa.array([NOW] * 2, STAMP), **more})


def test_request_columns_of_every_dtype_reach_the_function_as_they_are(pair: Any) -> None:
    given = {n: pa.array(values, arrow_type(dtype)) for n, (dtype, values) in ASKED.items()}
    history = pair.get_historical_features(frame(**given), SERVED)
    rows = [{"hcp_id": key, **{n: v[i] for n, (_, v) in ASKED.items()}} for i, key in enumerate(KEYS)]
    online = pair.get_online_features(SERVED, rows)
    for name, (dtype, _) in ASKED.items():
        column = history.to_arrow()[f"o_{name}"]
        assert column.type == arrow_type(dtype)
        assert (
            repr(column.to_pylist())
            == repr(given[name].to_pylist())
            == repr(pa.array(online.to_dict()[f"o_{name}"], arrow_type(dtype)).to_pylist())
        ), name


@pytest.mark.parametrize("name", ASKED)
def test_a_request_column_that_is_missing_is_named_before_anyone_is_asked(pair: Any, name: str) -> None:
    given = {n: pa.array(values, arrow_type(dtype)) for n, (dtype, values) in ASKED.items() if n != name}
    for backend in OPENED.values():
        backend.break_("online_read", "scan")
    with pytest.raises(fs.InvalidEntityFrameError, match=f"lacks the request column '{name}'"):
        pair.get_historical_features(frame(**given), SERVED)
    with pytest.raises(fs.InvalidEntityFrameError, match=f"lack the request column '{name}'"):
        pair.get_online_features(SERVED, [{"hcp_id": "a", **{n: v[0] for n, (_, v) in ASKED.items() if n != name}}])


def test_no_rows_are_refused_before_the_function_runs(pair: Any) -> None:
    with pytest.raises(fs.InvalidEntityFrameError, match="P-11"):
        pair.get_historical_features(frame(i32=[1, 2]).slice(0, 0), ["added:sum"])
    with pytest.raises(fs.InvalidEntityFrameError, match="P-11"):
        pair.get_online_features(["added:sum"], [])


@pytest.mark.rule("X-3")
def test_a_standby_computes_the_same_when_the_primary_dies_half_way(pair: Any) -> None:
    rows = [{"hcp_id": key, "i32": 1} for key in KEYS]
    asked = frame(i32=pa.array([1, 1], pa.int32()))

    def both() -> list[Any]:
        online, history = pair.get_online_features("serving", rows), pair.get_historical_features(asked, "serving")
        told = [online.to_dict(), history.to_arrow().to_pydict(), online.statuses, history.statuses]
        return [online.provenance.served_by, history.provenance.served_by, repr(told)]

    *first, before = both()
    OPENED["primary"].break_("online_read", "scan")
    *second, after = both()
    assert (first, second) == (["primary"] * 2, ["standby"] * 2)
    assert after == before
    assert "3.5" in before


@pytest.mark.rule("X-2")
def test_a_function_that_looks_across_rows_is_refused_and_nobody_else_is_asked(pair: Any) -> None:
    OPENED["standby"].break_(error=lambda: AssertionError("the standby was asked"))
    with pytest.raises(fs.DefinitionError, match="P-10"):
        pair.get_online_features(["across:part"], [{"hcp_id": "a"}, {"hcp_id": "b"}])
    both = pa.table({"hcp_id": ["a", "b"], "event_timestamp": pa.array([NOW] * 2, STAMP)})
    with pytest.raises(fs.DefinitionError, match="P-10"):
        pair.get_historical_features(both, ["across:part"])
    assert pair.get_online_features(["across:part"], [{"hcp_id": "a"}]).to_dict()["part"] == [2.5]


def test_the_async_store_computes_what_the_store_does(tmp_path: Path) -> None:
    async def run() -> tuple[Any, Any]:
        async with fs.connect_async({"backend": "duckdb", "path": str(tmp_path)}, clock=FakeClock(NOW)) as store:
            await store.apply(definitions())
            await store.push("pushed", [{"hcp_id": "a", "event_timestamp": at(600), "x": 2.5}])
            online = await store.get_online_features("serving", [{"hcp_id": key, "i32": 1} for key in KEYS])
            history = await store.get_historical_features(frame(i32=[1, 1]), "serving")
            return online.to_dict()["sum"], history.to_arrow()["sum"].to_pylist()

    assert anyio.run(run) == ([3.5, None], [3.5, None])


def test_the_server_computes_it_on_our_paths_and_on_feasts(pair: Any) -> None:
    words = pytest.importorskip("tests.server_words", reason="needs the server: pip install 'e2i-fs[server]'")
    at_service = words.service(pair)
    rows = [{"hcp_id": key, "i32": 1} for key in KEYS]
    told = words.post(at_service, "/v1/online", {"service": "serving", "entity_rows": rows})
    assert "3.5" in str(told)
    body = {"features": ["added:sum"], "entities": {"hcp_id": KEYS, "i32": [1, 1]}}
    feast = words.post(at_service, "/get-online-features", body)
    assert feast["results"][feast["metadata"]["feature_names"].index("sum")]["values"] == [3.5, None]
    for path, bad in (
        ("/v1/online", {"service": "serving", "entity_rows": [{"hcp_id": "a"}]}),
        ("/get-online-features", {"features": ["added:sum"], "entities": {"hcp_id": KEYS}}),
    ):
        answer = words.call(at_service, "POST", path, bad)
        assert 400 <= answer.status_code < 500, answer.text
        assert "i32" in answer.text
    across = {"features": ["across:part"], "entity_rows": [{"hcp_id": "a"}, {"hcp_id": "b"}]}
    answer = words.call(at_service, "POST", "/v1/online", across)  # a definition is whoever runs the server's to mend
    assert (answer.status_code, answer.json()["error"]["type"]) == (500, "DefinitionError")
    assert answer.json()["error"]["rules"] == ["P-10"]
