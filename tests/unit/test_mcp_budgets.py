"""How much one call of the MCP server may ask for and is given: rows, cells, and what is said of more."""

from __future__ import annotations

import math
from typing import Any

import pytest

import e2i_fs as fs
from tests.kit import NOW, at
from tests.mcp_words import Call, desk, one, talk

pytest.importorskip("mcp")


def error(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document["error"]
    assert found["fix"]
    return found


def test_too_many_rows_or_cells_are_refused_before_the_store_is_asked_with_how_to_ask_for_less() -> None:
    store = fs.connect({"backend": "memory"})
    store.close()  # so that whatever asks it fails in another way
    rows = one(
        desk(store, max_rows=3),
        "get_training_set",
        features=["nowhere:x"],
        entity_rows=[{"hcp_id": "h", "event_timestamp": "2024-03-10T01:40:00Z"}] * 4,
    )
    assert (
        error(rows)["type"] == "OverBudgetError"
        and "3 rows" in rows["error"]["fix"]
        and "--max-rows" in rows["error"]["fix"]
    )


def test_cells_are_rows_times_features_and_the_numbers_of_vectors() -> None:
    wide = fs.FeatureView(
        "wide", entities=[fs.Entity("e")], schema=[fs.Field("v", fs.Vector(10)), fs.Field("x", fs.Int64)]
    )
    with fs.connect({"backend": "memory"}) as store:
        store.apply([wide])
        at = desk(store, max_cells=22)
        rows = [{"e": "a"}] * 2
        assert len(one(at, "get_online_features", features=["wide:*"], entity_rows=rows)["rows"]) == 2
        told = error(one(at, "get_online_features", features=["wide:*"], entity_rows=[{"e": "a"}] * 3))
        assert told["type"] == "OverBudgetError" and "at most 2 rows" in told["fix"]
        told = error(one(desk(store, max_cells=5), "get_online_features", features=["wide:*"], entity_rows=rows))
        assert "fewer features" in told["fix"]


def test_the_values_in_lists_and_structs_are_cells_too_and_an_answer_of_too_many_is_withheld(clock: Any) -> None:
    fields = [fs.Field("many", fs.Array(fs.Int64)), fs.Field("where", fs.Struct(lat=fs.Float64, lon=fs.Float64))]
    long = fs.FeatureView("long", entities=[fs.Entity("e")], schema=fields)
    row = {"e": "a", "event_timestamp": NOW, "many": list(range(20)), "where": {"lat": 1.0, "lon": 2.0}}
    with fs.connect({"backend": "memory"}, clock=clock) as store:
        store.apply([long])
        store.write("long", [row])
        when = {"e": "a", "event_timestamp": NOW.isoformat()}

        async def script(call: Call) -> None:
            for tool, rows in (
                ("get_training_set", {"entity_rows": [when]}),
                ("get_online_features", {"entity_rows": [{"e": "a"}]}),
                ("explain", {"entity_row": when}),
            ):
                assert "error" not in await call(tool, features=["long:where"], **rows)
                told = error(await call(tool, features=["long:*"], **rows))
                assert told["type"] == "OverBudgetError", told
                assert "22 cells, 20 of them in 'long:many'" in told["message"] and "without 'long:many'" in told["fix"]
            ahead = error(await call("get_online_features", features=["long:where"], entity_rows=[{"e": "a"}] * 11))
            assert "11 rows of 2 values are 22 cells" in ahead["message"] and "Nothing was read" in ahead["message"]

        talk(desk(store, max_cells=21), script)


def test_what_explain_shows_keeps_to_the_cells_and_it_says_how_many_it_left_out(clock: Any) -> None:
    long = fs.FeatureView("long", entities=[fs.Entity("e")], schema=[fs.Field("many", fs.Array(fs.Int64))])
    with fs.connect({"backend": "memory"}, clock=clock) as store:
        store.apply([long])
        store.write("long", [{"e": "a", "event_timestamp": at(n), "many": [n] * 10} for n in range(6)])
        asked = {"features": ["long:many"], "entity_row": {"e": "a", "event_timestamp": NOW.isoformat()}}
        told = one(desk(store, max_cells=35), "explain", **asked)  # 10 for the value, 25 for 2 candidates
    assert [c["values"]["many"][0] for c in told["views"][0]["candidates"]] == [5, 4]
    assert told["left_out"] == 4


def test_a_million_rows_are_refused_at_once() -> None:
    with fs.connect({"backend": "memory"}) as store:
        store.apply([fs.FeatureView("outcomes", entities=[fs.Entity("e")], schema=[fs.Field("x", fs.Int64)])])
        told = error(one(desk(store), "get_online_features", features=["outcomes:*"], entity_rows=[{}] * 1_000_000))
    assert told["type"] == "OverBudgetError" and "1,000,000" in told["message"]


@pytest.mark.parametrize(
    "wrong", [{"max_rows": 0}, {"max_cells": -1}, {"max_seconds": 0.0}, {"max_seconds": math.nan}, {"threads": 0}]
)
def test_a_budget_of_nothing_is_a_mistake_of_whoever_runs_the_server(wrong: dict[str, Any]) -> None:
    with pytest.raises(fs.ConfigError, match="greater than 0"):
        desk(None, **wrong)  # type: ignore[arg-type]
