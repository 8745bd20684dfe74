"""Vectors, arrays and structs, and pushes to either side, come back the same through every backend."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import e2i_fs as fs
from e2i_fs.testing.clock import FakeClock
from e2i_fs.values import arrow_type
from tests import servers
from tests.breakable import OPENED, BreakablePlugin
from tests.kit import NOW, STAMP, at

KEYS = ["full", "empty", "missing", "odd"]
COLUMNS: dict[str, tuple[fs.DType, list[Any]]] = {
    "vector": (fs.Vector(3), [[0.25, -1.5, 3.0], [0.0, -0.0, 0.0], None, [math.nan, math.inf, -math.inf]]),
    "floats": (fs.Array(fs.Float64), [[0.1, 1e300], [], None, [math.nan, None, -0.0]]),
    "whole": (fs.Array(fs.Int64), [[2**53 + 1, -(2**63)], [], None, [None, 0]]),
    "texts": (fs.Array(fs.String), [["a", "日本"], [], None, ["", None]]),
    "flags": (fs.Array(fs.Bool), [[True, False], [], None, [None]]),
    "times": (fs.Array(fs.Timestamp), [[at(1.25)], [], None, [at(0), None]]),
    "nested": (fs.Array(fs.Array(fs.Int64)), [[[1, 2], [3]], [], None, [[], [None], [7] * 50]]),
    "record": (fs.Struct(a=fs.Int64, b=fs.Array(fs.Float64)), [{"a": 1, "b": [0.5]}, {"a": None, "b": []}, None, {"a": 2, "b": None}]),
}  # fmt: skip
REFS = [f"held:{name}" for name in COLUMNS]


@pytest.fixture(scope="module", params=["memory", "duckdb", "feast-sqlite", "feast-redis", "failover"])
def configuration(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path: Path = tmp_path_factory.mktemp("stores")
    if request.param == "failover":
        return {
            "backends": [
                {"name": "primary", "backend": "breakable", "inner": "duckdb", "path": str(path / "primary")},
                {"name": "standby", "backend": "breakable", "inner": "memory"},
            ],
            "failover": {"shadow_rate": 0, "deadline": 30, "background": False},
            "state": str(path / "state"),
        }
    if not request.param.startswith("feast"):
        return {"backend": request.param} | ({} if request.param == "memory" else {"path": str(path)})
    request.getfixturevalue("feast_library")
    online: dict[str, Any] = {"type": "sqlite"}
    if request.param == "feast-redis":
        online = {"type": "redis", "connection_string": servers.patient(request.getfixturevalue("redis_address"))}
    return {"backend": "feast", "path": str(path), "online_store": online, "project": "nested_and_pushed"}


@pytest.fixture(scope="module")
def store(configuration: dict[str, Any]) -> Iterator[fs.FeatureStore]:
    """One store for all tests of a backend: each has a view of its own."""
    hcp = fs.Entity("hcp", join_keys={"hcp_id": fs.String})
    schema = [fs.Field(name, dtype) for name, (dtype, _) in COLUMNS.items()]
    with fs.connect(configuration, clock=FakeClock(NOW), plugins=[BreakablePlugin()]) as opened:
        opened.apply([
            fs.FeatureView(view, entities=[hcp], schema=schema, source=fs.PushSource(f"{view}_push"))
            for view in ("held", "ran", "online", "offline", "both")
        ])  # fmt: skip
        yield opened


def rows(minute: float = 600) -> pa.Table:
    columns = {name: pa.array(values, arrow_type(dtype)) for name, (dtype, values) in COLUMNS.items()}
    return pa.table({"hcp_id": KEYS, "event_timestamp": pa.array([at(minute)] * 4, STAMP), **columns})


def online(store: fs.FeatureStore, view: str) -> Any:
    return store.get_online_features([f"{view}:{n}" for n in COLUMNS], [{"hcp_id": k} for k in [*KEYS, "absent"]])


def offline(store: fs.FeatureStore, view: str) -> Any:
    frame = pa.table({"hcp_id": [*KEYS, "absent"], "event_timestamp": pa.array([NOW] * 5, STAMP)})
    return store.get_historical_features(frame, [f"{view}:{n}" for n in COLUMNS])


def seen(name: str, values: list[Any]) -> str:
    """Return values in words that tell -0.0, NaN, None and an empty list apart, a vector in its own precision."""
    return repr(pa.array(values, arrow_type(COLUMNS[name][0])).to_pylist())


def expect_all(answer: Any, columns: dict[str, list[Any]], view: str) -> None:
    for name, (_, values) in COLUMNS.items():
        assert seen(name, columns[name]) == seen(name, [*values, None]), name
        told = [status.value for status in answer.statuses[f"{view}:{name}"]]
        assert told == ["PRESENT", "PRESENT", "NULL_VALUE", "PRESENT", "NOT_FOUND"], name


def expect_none(answer: Any, columns: dict[str, list[Any]], view: str) -> None:
    for name in COLUMNS:
        assert columns[name] == [None] * 5
        assert {status.value for status in answer.statuses[f"{view}:{name}"]} == {"NOT_FOUND"}


@pytest.mark.rule("P-8")
@pytest.mark.rule("O-6")
def test_what_was_materialised_is_what_history_holds(store: Any) -> None:
    store.write("ran", rows(), to="offline")
    expect_none(now := online(store, "ran"), now.to_dict(), "ran")
    history = offline(store, "ran")
    expect_all(history, history.to_arrow().to_pydict(), "ran")
    for name, (dtype, _) in COLUMNS.items():
        assert history.to_arrow().schema.field(name).type == arrow_type(dtype)
    assert not store.materialize(None).failed
    expect_all(now := online(store, "ran"), now.to_dict(), "ran")


@pytest.mark.parametrize("to", ["online", "offline", "both"])
def test_a_push_lands_where_it_is_sent_and_nowhere_else(store: Any, to: Any) -> None:
    assert set(store.push(f"{to}_push", rows(), to=to)) == {to}
    now, history = online(store, to), offline(store, to)
    (expect_none if to == "offline" else expect_all)(now, now.to_dict(), to)
    (expect_none if to == "online" else expect_all)(history, history.to_arrow().to_pydict(), to)


def test_a_newer_push_takes_the_place_of_every_nested_value(store: Any) -> None:
    store.push("held_push", rows(600), to="both")
    empty = {name: pa.nulls(4, arrow_type(dtype)) for name, (dtype, _) in COLUMNS.items()}
    store.push("held_push", pa.table({**{n: rows(601)[n] for n in ("hcp_id", "event_timestamp")}, **empty}), to="both")
    assert all(online(store, "held").to_dict()[name] == [None] * 5 for name in COLUMNS)
    store.push("held_push", rows(602), to="both")
    expect_all(now := online(store, "held"), now.to_dict(), "held")
    history = offline(store, "held")
    expect_all(history, history.to_arrow().to_pydict(), "held")


@pytest.mark.rule("W-1")
@pytest.mark.parametrize(
    ("value", "why"), [([1.0, 2.0], "Vector"), ([1.0, None, 2.0], "missing number"), ([1.0] * 4, "Vector")]
)
def test_a_vector_of_another_length_or_with_a_gap_is_refused(store: Any, value: list[Any], why: str) -> None:
    bad = rows().set_column(2, "vector", pa.array([value] * 4, pa.list_(pa.float32())))
    with pytest.raises(fs.InvalidBatchError, match=why):
        store.push("held_push", bad, to="both")


@pytest.mark.rule("X-4")
@pytest.mark.parametrize("to", ["online", "offline", "both"])
def test_a_push_that_one_backend_missed_is_replayed_to_it_before_it_answers(tmp_path: Path, to: Any) -> None:
    backends = [{"name": n, "backend": "breakable", "inner": "memory"} for n in ("primary", "standby")]
    config = {
        "backends": backends, "state": str(tmp_path / "state"),
        "failover": {"shadow_rate": 0, "deadline": 30, "background": False, "breaker": {"failures": 1}},
    }  # fmt: skip
    hcp = fs.Entity("hcp", join_keys={"hcp_id": fs.String})
    schema = [fs.Field(name, dtype) for name, (dtype, _) in COLUMNS.items()]
    with fs.connect(config, clock=(clock := FakeClock(NOW)), plugins=[BreakablePlugin()]) as pair:
        pair.apply([fs.FeatureView("held", entities=[hcp], schema=schema, source=fs.PushSource("held_push"))])
        OPENED["primary"].break_()
        (receipt,) = pair.push("held_push", rows(), to=to).values()
        assert receipt.applied == ("standby",)
        for back in ("standby", "primary"):
            now, history = online(pair, "held"), offline(pair, "held")
            (expect_none if to == "offline" else expect_all)(now, now.to_dict(), "held")
            (expect_none if to == "online" else expect_all)(history, history.to_arrow().to_pydict(), "held")
            assert {now.provenance.served_by, history.provenance.served_by} == {back}
            OPENED["primary"].heal()
            clock.advance(timedelta(minutes=10))
            pair.catch_up()
