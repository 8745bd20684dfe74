"""The tools of the MCP server, by the package's own client: what they answer, and how they refuse."""

from __future__ import annotations

import base64
import json
import math
import os
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import pytest

import e2i_fs as fs
from e2i_fs.agents.mcp.refusals import error_document
from e2i_fs.agents.mcp.server import TOOLS
from e2i_fs.cli.app import run
from e2i_fs.wire.arguments import checked
from tests.breakable import OPENED, BreakablePlugin
from tests.kit import NOW, at, batch, view
from tests.mcp_words import Call, desk, one, talk

pytest.importorskip("mcp")

ROW = {"hcp_id": "h", "event_timestamp": "2024-03-10T01:40:00Z"}  # at(100)


def opened(folder: Path) -> fs.FeatureStore:
    """Two views of one key; what `outcomes` tells became known late."""
    outcomes = fs.FeatureView(
        "outcomes",
        entities=["hcp_stats_entity"],
        schema=[fs.Field("converted", fs.Bool, role="label"), fs.Field("visits", fs.Int64)],
        source=fs.PushSource("outcomes_push", created_timestamp_field="created_at"),
        tags={"use_case": "conversion"},
        max_staleness=timedelta(hours=1),
    )
    store = fs.connect({"backend": "memory"}, clock=lambda: NOW)
    store.apply([view(folder, [("h", at(10), 1), ("h", at(200), 2)], ttl=timedelta(minutes=120)), outcomes])
    times = {"event_timestamp": at(5), "created_at": at(500)}
    store.write("outcomes", [{"hcp_id": "h", **times, "converted": True, "visits": 3}], to="both")
    return store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[fs.FeatureStore]:
    with opened(tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[fs.FeatureStore]:
    """For what changes nothing."""
    with opened(tmp_path_factory.mktemp("shared")) as made:
        yield made


def error(document: dict[str, Any]) -> dict[str, Any]:
    assert set(document) == {"error"}, document
    found: dict[str, Any] = document["error"]
    assert {"type", "message", "rules", "fix", "nearest", "retry_after"} <= set(found) and found["fix"]
    return found


# ---- what is listed ----------------------------------------------------------------------------------------


def test_every_tool_says_what_it_is_for_takes_no_unknown_argument_and_describes_its_answer() -> None:
    assert [t.name for t in TOOLS] == [
        "discover_features", "describe", "plan_registration", "register", "get_training_set", "get_online_features",
        "explain", "freshness", "health",
    ]  # fmt: skip
    for tool in TOOLS:
        assert len(tool.about) > 40
        assert tool.arguments.model_json_schema()["additionalProperties"] is False
        assert tool.answer.model_json_schema()["type"] == "object"
        assert tool.reads_only is (tool.name != "register")


# ---- what is answered ---------------------------------------------------------------------------------------


@pytest.mark.rule("P-1", "P-6")
def test_a_training_set_is_point_in_time_row_for_row_with_statuses_and_a_receipt(shared: fs.FeatureStore) -> None:
    rows = [
        {**ROW, "note": "kept"},
        {**ROW, "event_timestamp": "2024-03-10T05:00:00+02:00", "note": "180"},
        {"hcp_id": "x", "event_timestamp": "2024-03-10", "note": None},
    ]
    got = one(
        desk(shared), "get_training_set", features=["hcp_stats:*"], labels=["outcomes:converted"], entity_rows=rows
    )
    assert [r["trx_count"] for r in got["rows"]] == [1, None, None]
    assert [r["note"] for r in got["rows"]] == ["kept", "180", None]
    assert [r["event_timestamp"] for r in got["rows"]] == [
        f"2024-03-10T0{h}:00+00:00" for h in ("1:40", "3:00", "0:00")
    ]
    assert got["statuses"]["hcp_stats:trx_count"] == ["PRESENT", "OUTSIDE_MAX_AGE", "NOT_FOUND"]
    assert got["event_timestamps"]["hcp_stats:trx_count"][0] == "2024-03-10T00:10:00+00:00"
    assert [(f["name"], f["role"]) for f in got["features"]] == [("trx_count", "feature"), ("converted", "label")]
    assert got["degraded"] is False and got["provenance"]["served_by"] == "memory"
    receipt = got["receipt"]
    assert receipt["features"] == ["hcp_stats:trx_count"] and receipt["labels"] == ["outcomes:converted"]
    assert receipt["row_count"] == 3 and set(receipt["fingerprints"]) == {"hcp_stats", "outcomes"}
    again = one(
        desk(shared), "get_training_set", features=["hcp_stats:*"], labels=["outcomes:converted"], entity_rows=rows
    )
    assert again["receipt"]["content_hash"] == receipt["content_hash"]
    other = one(desk(shared), "get_training_set", features=["hcp_stats:*"], entity_rows=rows[:1])
    assert other["receipt"]["content_hash"] != receipt["content_hash"]


@pytest.mark.rule("P-3")
def test_as_of_and_the_created_filter_forget_what_was_not_known(shared: fs.FeatureStore) -> None:
    def visits(**more: Any) -> Any:
        return one(desk(shared), "get_training_set", features=["outcomes:visits"], entity_rows=[ROW], **more)["rows"][
            0
        ]["visits"]

    assert visits() == 3
    assert visits(as_of="2024-03-10T08:20:00Z") == 3
    assert visits(as_of="2024-03-10T08:19:59.999999Z") is None
    assert visits(filter_by_created_timestamp=True) is None
    failed = error(
        one(desk(shared), "get_training_set", features=["hcp_stats:*"], entity_rows=[ROW], as_of="2024-03-10")
    )
    assert failed["type"] == "RequestError" and "P-3" in failed["rules"]


@pytest.mark.rule("P-12")
def test_a_label_is_no_input_online_or_in_a_training_set_and_explain_does_not_tell_it_either(
    shared: fs.FeatureStore,
) -> None:
    async def script(call: Call) -> None:
        for tool, rows in (("get_training_set", [ROW]), ("get_online_features", [{"hcp_id": "h"}])):
            refused = error(await call(tool, features=["outcomes:converted"], entity_rows=rows))
            assert (
                refused["type"] == "LabelRequestedError" and "P-12" in refused["rules"] and "labels" in refused["fix"]
            )
        assert (
            "labels"
            in error(
                await call("get_online_features", features=["outcomes:*"], labels=[], entity_rows=[{"hcp_id": "h"}])
            )["message"]
        )
        told = await call("explain", features=["outcomes:*"], entity_row=ROW)
        assert "converted" not in json.dumps(told)
        told = await call("explain", features=["outcomes:*"], labels=["outcomes:converted"], entity_row=ROW)
        assert told["views"][0]["candidates"][0]["values"] == {"visits": 3, "converted": True}

    talk(desk(shared), script)


def test_online_features_come_with_status_and_time_and_say_who_answered(shared: fs.FeatureStore) -> None:
    got = one(
        desk(shared),
        "get_online_features",
        features=["outcomes:visits"],
        entity_rows=[{"hcp_id": "h"}, {"hcp_id": None}],
    )
    assert got["rows"] == [{"hcp_id": "h", "visits": 3}, {"hcp_id": None, "visits": None}]
    assert got["statuses"] == {"outcomes:visits": ["PRESENT", "NOT_FOUND"]}
    assert got["event_timestamps"] == {"outcomes:visits": ["2024-03-10T00:05:00+00:00", None]}
    assert (got["degraded"], got["provenance"]["served_by"], got["provenance"]["age"]) == (False, "memory", 715 * 60)


def test_explain_tells_each_candidate_and_the_rule_by_which_it_lost(shared: fs.FeatureStore) -> None:
    told = one(
        desk(shared),
        "explain",
        features=["hcp_stats:trx_count"],
        entity_row={**ROW, "event_timestamp": "2024-03-10T03:30:00Z"},
    )
    assert told["values"] == {"hcp_stats:trx_count": {"value": 2, "status": "PRESENT"}}
    (about,) = told["views"]
    assert [(c["verdict"], c["values"]["trx_count"]) for c in about["candidates"]] == [("chosen", 2), ("beaten", 1)]
    assert "P-4" in about["candidates"][1]["reason"] and told["left_out"] == 0
    few = one(desk(shared, max_rows=1), "explain", features=["hcp_stats:trx_count"], entity_row=ROW)
    assert len(few["views"][0]["candidates"]) == 1 and few["left_out"] == 1


def test_discovery_freshness_and_health_say_what_is_so(shared: fs.FeatureStore) -> None:
    async def script(call: Call) -> None:
        (found,) = (await call("discover_features", text="converted"))["features"]
        assert (found["ref"], found["role"], found["dtype"]) == ("outcomes:converted", "label", "bool")
        assert (found["freshness"], found["join_keys"], found["max_staleness"]) == (
            "EXPIRED",
            {"hcp_id": "string"},
            3600.0,
        )
        nothing = await call("discover_features", text="convrtd", owner="nobody")
        assert nothing["features"] == [] and nothing["nearest"][0] == "converted"
        fresh = await call("freshness", views=["outcomes"])
        assert fresh["all_fresh"] is False
        assert {k: fresh["views"][0][k] for k in ("view", "status", "age", "rows")} == {
            "view": "outcomes",
            "status": "EXPIRED",
            "age": 715 * 60.0,
            "rows": 1,
        }
        health = await call("health")
        assert health["all_up"] is True and health["backends"][0]["name"] == "memory"

    talk(desk(shared), script)


@pytest.mark.rule("X-7", "X-9")
def test_a_degraded_answer_is_marked_and_when_nobody_may_answer_the_error_says_when_to_retry(
    tmp_path: Path, clock: Any
) -> None:
    backends = [{"name": name, "backend": "breakable", "inner": "memory"} for name in ("primary", "standby")]
    failover = {"shadow_rate": 0, "deadline": 30, "background": False}
    config = {"backends": backends, "failover": failover, "state": str(tmp_path / "state")}
    with fs.connect(config, clock=clock, plugins=[BreakablePlugin()]) as store:
        store.apply([view(tmp_path, [("h", at(1), 1)])])
        store.materialize(None, NOW)
        OPENED["standby"].break_()
        store.write("hcp_stats", batch(("h", at(5), 2)), to="online")
        OPENED["standby"].heal()
        OPENED["primary"].break_()
        ask = {"features": ["hcp_stats:trx_count"], "entity_rows": [{"hcp_id": "h"}]}
        got = one(desk(store), "get_online_features", **ask)
        assert (got["degraded"], got["provenance"]["served_by"], got["rows"][0]["trx_count"]) == (True, "standby", 1)
        assert "missed 1 write" in got["provenance"]["reason"]
        assert error(one(desk(store), "get_online_features", strict=True, **ask))["type"] == "DegradedAnswerError"
        (found,) = one(desk(store), "discover_features", text="trx")["features"]
        assert "standby" in found["freshness_note"]
        OPENED["standby"].break_()
        nobody = error(one(desk(store), "get_online_features", **ask))
        assert (
            nobody["type"] == "NoEligibleBackendError"
            and nobody["retry_after"] is not None
            and "health" in nobody["fix"]
        )
        health = one(desk(store), "health")
        assert health["all_up"] is False
        assert error(one(desk(store), "discover_features", text="trx"))["type"] == "NoEligibleBackendError"


@pytest.mark.rule("P-8")
def test_every_dtype_comes_as_json_that_is_exact_and_keys_go_in_as_they_come_out(tmp_path: Path) -> None:
    keys = {"n": fs.Int64, "d": fs.Date, "t": fs.Timestamp, "m": fs.Decimal(6, 2), "b": fs.Bytes, "ok": fs.Bool}
    fields = {"big": fs.Int64, "small": fs.Int64, "nan": fs.Float64, "inf": fs.Float64, "raw": fs.Bytes, "money": fs.Decimal(6, 2),
              "when": fs.Timestamp, "day": fs.Date, "vec": fs.Vector(2), "tags": fs.Array(fs.String), "where": fs.Struct(lat=fs.Float64), "js": fs.Json}  # fmt: skip
    key = (2**53 + 1, date(2024, 1, 2), datetime(2024, 1, 2, 3, 4, 5, 6, UTC), Decimal("1.50"), b"\x00\xff", True)
    row = (
        2**63 - 1,
        2**53 - 1,
        math.nan,
        -math.inf,
        b"\xff",
        Decimal("-0.10"),
        at(1),
        date(1999, 12, 31),
        [0.5, 1.5],
        ["a", None],
        {"lat": None},
        '{"a":1}',
    )
    given = {
        "n": str(key[0]),
        "d": "2024-01-02",
        "t": "2024-01-02T03:04:05.000006Z",
        "m": "1.50",
        "b": base64.b64encode(key[4]).decode(),
        "ok": True,
    }
    with fs.connect({"backend": "duckdb", "path": str(tmp_path / "s")}, clock=lambda: NOW) as store:
        store.apply([view(tmp_path, [(*key, at(1), *row)], keys=keys, fields=fields)])
        store.materialize(None)
        past = one(
            desk(store),
            "get_training_set",
            features=["hcp_stats:*"],
            entity_rows=[{**given, "event_timestamp": "2024-03-10T12:00:00Z"}],
        )
        now = one(desk(store), "get_online_features", features=["hcp_stats:*"], entity_rows=[given])
    wanted = {
        "big": str(2**63 - 1), "small": 2**53 - 1, "nan": "NaN", "inf": "-Infinity", "raw": "/w==", "money": "-0.10",
        "when": "2024-03-10T00:01:00+00:00", "day": "1999-12-31", "vec": [0.5, 1.5], "tags": ["a", None], "where": {"lat": None},
        "js": '{"a":1}',
    }  # fmt: skip
    for got in (past, now):
        assert {name: got["rows"][0][name] for name in wanted} == wanted
        assert got["rows"][0]["n"] == str(2**53 + 1)
        assert got["rows"][0]["t"] == "2024-01-02T03:04:05.000006+00:00"


def test_an_on_demand_feature_takes_its_columns_from_the_rows(store: fs.FeatureStore) -> None:
    def doubled(columns):
        return {"double": [None if v is None else v * f for v, f in zip(columns["visits"], columns["factor"])]}

    request = fs.RequestSource("factor", schema=[fs.Field("factor", fs.Int64)])
    made = fs.on_demand_feature_view(
        "twice", sources=["outcomes:visits", request], schema=[fs.Field("double", fs.Int64)]
    )(doubled)
    store.apply([made])
    got = one(desk(store), "get_online_features", features=["twice:double"], entity_rows=[{"hcp_id": "h", "factor": 2}])
    assert got["rows"][0]["double"] == 6
    lacking = error(
        one(desk(store), "get_online_features", features=["twice:double"], entity_rows=[{"hcp_id": "h", "facto": 2}])
    )
    assert lacking["nearest"] == ["facto"] and "'factor'" in lacking["message"]
    assert one(desk(store), "describe", name="twice")["join_keys"] == {"hcp_id": "string"}


# ---- registering --------------------------------------------------------------------------------------------

FORM = {"views": [{"name": "calls", "entities": ["hcp_stats_entity"], "fields": [{"name": "n", "dtype": "Int64"}]}]}


def test_a_plan_registers_once_and_exactly_what_it_said(store: fs.FeatureStore) -> None:
    async def script(call: Call) -> None:
        plan = await call("plan_registration", definitions=FORM)
        assert (plan["created"], plan["changes"], plan["read_only"]) == (["view calls"], True, False)
        assert "calls" not in [v.name for v in store.list_feature_views()]
        done = await call("register", plan_id=plan["plan_id"])
        assert done["created"] == ["view calls"]
        assert store.get_feature_view("calls").schema == (fs.Field("n", fs.Int64),)
        again = error(await call("register", plan_id=plan["plan_id"]))
        assert again["type"] == "UnknownPlanError" and "already" in again["message"]
        guessed = error(await call("register", plan_id="plan_0123456789abcdef"))
        assert guessed["type"] == "UnknownPlanError" and "plan_registration" in guessed["fix"]

    talk(desk(store), script)


def test_a_plan_is_refused_when_what_is_registered_changed_since(store: fs.FeatureStore) -> None:
    async def script(call: Call) -> None:
        plan = await call("plan_registration", definitions=FORM)
        store.apply([fs.FeatureService("other", features=["outcomes:visits"])])
        stale = error(await call("register", plan_id=plan["plan_id"]))
        assert stale["type"] == "StalePlanError" and "Plan again" in stale["fix"] and stale["rules"] == []
        assert "calls" not in [v.name for v in store.list_feature_views()]

    talk(desk(store), script)


def test_a_read_only_server_plans_and_does_not_register(shared: fs.FeatureStore) -> None:
    async def script(call: Call) -> None:
        plan = await call("plan_registration", definitions=FORM)
        assert plan["read_only"] is True
        refused = error(await call("register", plan_id=plan["plan_id"]))
        assert refused["type"] == "ReadOnlyError" and "--allow-register" in refused["fix"]
        assert len(shared.list_feature_views()) == 2

    talk(desk(shared, allow_register=False), script)


@pytest.mark.rule("R-4")
def test_a_breaking_change_has_to_be_planned_as_one(store: fs.FeatureStore) -> None:
    changed = {
        "views": [
            {
                "name": "outcomes",
                "entities": ["hcp_stats_entity"],
                "source": {"type": "registered", "view": "outcomes"},
                "fields": [{"name": "visits", "dtype": "Int64"}],
            }
        ]
    }

    async def script(call: Call) -> None:
        refused = error(await call("plan_registration", definitions=changed))
        assert (
            refused["type"] == "BreakingChangeError"
            and refused["rules"] == ["R-4"]
            and "allow_breaking" in refused["fix"]
        )
        plan = await call("plan_registration", definitions=changed, allow_breaking=True)
        assert plan["breaking"] == ["view 'outcomes': the feature 'converted' is removed"]
        await call("register", plan_id=plan["plan_id"])
        assert list(store.get_feature_view("outcomes").features) == ["visits"]

    talk(desk(store), script)


def test_what_describe_gives_plan_registration_takes_and_finds_unchanged(
    store: fs.FeatureStore, tmp_path: Path
) -> None:
    store.apply([fs.FeatureService("all", features=["outcomes:*"], owner="us")])

    async def script(call: Call) -> None:
        forms = {
            "entities": [(await call("describe", name="hcp_stats_entity"))["definition"]],
            "views": [(await call("describe", name=n))["definition"] for n in ("hcp_stats", "outcomes")],
            "services": [(await call("describe", name="all"))["definition"]],
        }
        plan = await call("plan_registration", definitions=forms)
        assert plan["changes"] is False and len(plan["unchanged"]) == 4, plan
        about = await call("describe", name="outcomes")
        assert about["kind"] == "view" and about["services"] == ["all"] and about["fingerprint"]

    talk(desk(store), script)


def test_an_agent_names_no_source_that_it_was_not_allowed_to(store: fs.FeatureStore, tmp_path: Path) -> None:
    allowed, secret = tmp_path / "allowed", tmp_path / "secret"
    view(allowed, [("h", at(1), 1)], name="fine")
    view(secret, [("h", at(1), 1)], name="secret")
    (allowed / "link.parquet").symlink_to(secret / "secret.parquet")
    (secret / "sub").mkdir()
    (allowed / "lid").symlink_to(secret / "sub")

    def planned(source: dict[str, Any], **rules: Any) -> dict[str, Any]:
        form = {
            "name": "mine",
            "entities": ["hcp_stats_entity"],
            "fields": [{"name": "trx_count", "dtype": "Int64"}],
            "source": source,
        }
        return one(desk(store, base=tmp_path, **rules), "plan_registration", definitions={"views": [form]})

    fine = {"type": "parquet", "path": str(allowed / "fine.parquet")}
    assert planned(fine, folders=["allowed"])["created"] == ["view mine"]
    for path in (
        "secret/secret.parquet",
        "allowed/../secret/secret.parquet",
        "allowed/li*/../secret.parquet",
        "allowed/link.parquet",
        "/etc/passwd",
        "https://evil/x.parquet",
        "~/x",
        "allowed_not/x",
    ):
        refused = error(planned({**fine, "path": path}, folders=["allowed"]))
        assert refused["type"] == "ForbiddenSourceError" and "--allow-sources" in refused["fix"], path
    assert error(planned(fine))["type"] == "ForbiddenSourceError"
    assert planned({"type": "registered", "view": "hcp_stats"})["created"] == ["view mine"]
    sql = error(planned({"type": "sql", "connection": "postgresql://${SECRET}@evil", "table": "t"}))
    assert sql["type"] == "InvalidArgumentsError" and "'registered'" in sql["message"]


def test_an_on_demand_view_whose_code_would_run_in_the_server_is_not_taken_from_an_agent(
    shared: fs.FeatureStore,
) -> None:
    form = {"on_demand": [{"on_demand_view": "x", "code": "import os", "function": "x"}]}
    assert error(one(desk(shared), "plan_registration", definitions=form))["type"] == "InvalidArgumentsError"


# ---- mistakes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tool", "arguments", "kind", "nearest"),
    [
        ("discover_features", {"txt": "x"}, "InvalidArgumentsError", ["text"]),
        ("discover_features", {"limit": "5"}, "InvalidArgumentsError", []),
        ("discover_features", {"limit": 10**6}, "InvalidArgumentsError", []),
        ("discover_features", {"role": "lable"}, "InvalidArgumentsError", []),
        ("discover_features", {"dtype": "int46"}, "RequestError", ["Int64", "Int32"]),
        ("describe", {"name": "outcome"}, "UnknownFeatureError", ["outcomes"]),
        ("freshness", {"views": "outcomes"}, "InvalidArgumentsError", []),
        ("freshness", {"views": ["outcmes"]}, "UnknownFeatureError", ["outcomes"]),
        ("get_training_set", {"features": ["hcp_stats:trx_cnt"], "entity_rows": [ROW]}, "UnknownFeatureError", ["hcp_stats:trx_count"]),
        ("get_training_set", {"features": [], "entity_rows": [ROW]}, "RequestError", []),
        ("get_training_set", {"entity_rows": [ROW]}, "RequestError", []),
        ("get_training_set", {"features": ["hcp_stats:*"], "service": "x", "entity_rows": [ROW]}, "RequestError", []),
        ("get_training_set", {"features": ["hcp_stats:*"], "entity_rows": []}, "InvalidEntityFrameError", []),
        ("get_training_set", {"features": ["hcp_stats:*"], "entity_rows": ["h"]}, "InvalidArgumentsError", []),
        ("get_training_set", {"features": ["hcp_stats:*"], "entity_rows": [{"hpc_id": "h", "event_timestamp": "2024-01-01"}]}, "InvalidEntityFrameError", ["hpc_id"]),
        ("get_training_set", {"features": ["hcp_stats:*"], "entity_rows": [{**ROW, "hcp_id": 1}]}, "InvalidEntityFrameError", []),
        ("get_training_set", {"features": ["hcp_stats:*"], "entity_rows": [{**ROW, "event_timestamp": 1710000000}]}, "InvalidTimestampError", []),
        ("get_training_set", {"features": ["hcp_stats:*"], "entity_rows": [{**ROW, "event_timestamp": None}]}, "InvalidTimestampError", []),
        ("get_training_set", {"features": ["hcp_stats:*"], "entity_rows": [{**ROW, "event_timestamp": "yesterday"}]}, "InvalidTimestampError", []),
        ("get_training_set", {"features": ["hcp_stats:*"], "entity_rows": [{**ROW, "event_timestamp": "2024-03-10T00:00:00.0000001Z"}]}, "InvalidTimestampError", []),
        ("get_training_set", {"features": ["hcp_stats:*"], "entity_rows": [ROW, {"hcp_id": "h"}]}, "InvalidEntityFrameError", []),
        ("get_training_set", {"features": ["hcp_stats:*"], "entity_rows": [ROW], "as_of": "soon"}, "InvalidTimestampError", []),
        ("get_training_set", {"features": ["hcp_stats:*"], "entity_rows": [{**ROW, "x": 2**70}]}, "InvalidEntityFrameError", []),
        ("get_training_set", {"features": ["hcp_stats:*"], "entity_rows": [{**ROW, "trx_count": 1}]}, "FeatureNameCollisionError", []),
        ("get_online_features", {"features": ["hcp_stats:trx_count"], "entity_rows": [{"hcp_id": ["h"]}]}, "InvalidEntityFrameError", []),
        ("register", {"plan": "x"}, "InvalidArgumentsError", ["plan_id"]),
        ("registr", {}, "UnknownToolError", ["register"]),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_type_what_to_do_and_the_nearest_names(
    shared: fs.FeatureStore, tool: str, arguments: dict[str, Any], kind: str, nearest: list[str]
) -> None:
    told = error(one(desk(shared), tool, **arguments))
    assert (told["type"], told["nearest"][: len(nearest)]) == (kind, nearest), told
    assert "Traceback" not in json.dumps(told)


@pytest.mark.parametrize(
    ("form", "where", "nearest"),
    [
        ({"view": []}, "definitions.view", ["views"]),
        ({"views": [{"name": "v", "entites": [], "entities": ["e"], "fields": [{"name": "x", "dtype": "Int64"}]}]}, "definitions.views.0.entites", ["entities"]),
        ({"views": [{"name": "v", "entities": ["e"], "fields": [{"name": "x", "dtype": "Int64", "roles": "label"}]}]}, "definitions.views.0.fields.0.roles", ["role"]),
        ({"views": [{"name": "v", "entities": ["e"], "fields": [{"name": "x", "dtype": "Int64"}], "source": {"type": "parquet", "path": "x", "timestamp_feild": "t"}}]}, "definitions.views.0.source.parquet.timestamp_feild", ["timestamp_field", "created_timestamp_field"]),
        ({"entities": [{"name": "e", "join_key": {}}]}, "definitions.entities.0.join_key", ["join_keys"]),
    ],
)  # fmt: skip
def test_an_unknown_key_of_a_definition_is_named_with_the_nearest(
    shared: fs.FeatureStore, form: dict[str, Any], where: str, nearest: list[str]
) -> None:
    told = error(one(desk(shared), "plan_registration", definitions=form))
    assert [p["where"] for p in told["problems"]] == [where] and told["nearest"] == nearest


@pytest.mark.parametrize(
    ("form", "says"),
    [
        ({}, "defines nothing"),
        ({"entities": [{"name": "e", "join_keys": {"k": "int46"}}]}, "Did you mean 'Int64'"),
        ({"entities": [{"name": "e", "join_keys": {"k": {"vector": 3}}}]}, "Entity 'e': key 'k'"),
        ({"entities": [{"name": "e", "join_keys": {"k": {"float": []}}}]}, "canonical form"),
        ({"entities": [{"name": "a:b"}]}, "may not stand in a name"),
        ({"entities": [{"name": "x\n'; DROP TABLE e"}]}, "may not stand in a name"),
        ({"views": [{"name": "v", "entities": ["hcp_stats_entty"], "fields": [{"name": "x", "dtype": "Int64"}]}]}, "Did you mean 'hcp_stats_entity'"),
        ({"views": [{"name": "v", "entities": ["e"], "fields": [{"name": "x", "dtype": "Int64"}], "ttl_seconds": 1e300}]}, "longer than can be counted"),
        ({"services": [{"name": "s", "features": ["outcomes:vsits"]}]}, "Did you mean 'outcomes:visits'"),
    ],
)  # fmt: skip
def test_a_definition_that_means_nothing_is_refused_with_its_place(
    shared: fs.FeatureStore, form: dict[str, Any], says: str
) -> None:
    told = error(one(desk(shared), "plan_registration", definitions=form))
    assert told["type"] == "DefinitionError" and says in told["message"], told


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_nan_and_infinity_are_refused_wherever_they_stand(value: float) -> None:
    """The package's client writes null for them; what other clients write is tried on a real server's stdin."""
    (tool,) = [t for t in TOOLS if t.name == "get_training_set"]
    with pytest.raises(fs.RequestError) as caught:
        checked(tool.arguments, {"features": ["a:b"], "entity_rows": [ROW, {**ROW, "x": [{"y": value}]}]})
    told = error(error_document(caught.value))
    assert (told["type"], told["problems"][0]["where"]) == ("InvalidArgumentsError", "entity_rows.1.x.0.y")


@pytest.mark.parametrize(
    "name", ["x'; DROP TABLE y; --", 'a"b', "a\nb", "${HOME}", "../../etc/passwd", "a`b", "💊", "%s{0}", ""]
)
def test_names_that_try_something_are_only_unknown(shared: fs.FeatureStore, name: str) -> None:
    async def script(call: Call) -> None:
        assert error(await call("describe", name=name))["type"] == "UnknownFeatureError"
        assert error(await call("freshness", views=[name]))["type"] == "UnknownFeatureError"
        for ref in (name, f"{name}:x", f"hcp_stats:{name}"):
            assert (
                error(await call("get_online_features", features=[ref], entity_rows=[{"hcp_id": "h"}]))["type"]
                == "UnknownFeatureError"
            )
        got = await call(
            "get_online_features", features=["outcomes:visits"], entity_rows=[{"hcp_id": name, name or "x": name}]
        )
        assert got["statuses"]["outcomes:visits"] == ["NOT_FOUND"]
        assert (
            await call(
                "get_training_set", features=["hcp_stats:*"], entity_rows=[{**ROW, "hcp_id": name, name or "x": name}]
            )
        )["rows"][0]["hcp_id"] == name

    talk(desk(shared), script)


@pytest.mark.rule("T-3")
def test_rows_without_a_time_are_told_of_times_and_not_of_keys(shared: fs.FeatureStore) -> None:
    async def script(call: Call) -> None:
        for row, message, nearest in (
            ({"hcp_id": "h"}, "lack the column 'event_timestamp', the time of each row (T-3)", []),
            ({"hcp_id": "h", "event_tmestamp": "2024-03-10"}, "Did you mean 'event_tmestamp'?", ["event_tmestamp"]),
            ({"hcp_id": "h", "event_timestamp": None}, "entity_rows, row 0, column 'event_timestamp'", []),
        ):
            for tool, rows in (("get_training_set", {"entity_rows": [row]}), ("explain", {"entity_row": row})):
                told = error(await call(tool, features=["hcp_stats:*"], **rows))
                assert (told["type"], told["rules"], told["nearest"]) == ("InvalidTimestampError", ["T-3"], nearest)
                assert message in told["message"] and "timestamp_column" in told["fix"]
        keyless = error(
            await call("get_training_set", features=["hcp_stats:*"], entity_rows=[{"event_timestamp": "2024-03-10"}])
        )
        assert (keyless["type"], keyless["nearest"]) == ("InvalidEntityFrameError", [])
        assert "join keys" in keyless["fix"]

    talk(desk(shared), script)


def test_what_is_described_by_kind_is_sought_among_that_kind(shared: fs.FeatureStore) -> None:
    async def script(call: Call) -> None:
        for kind, nearest in (
            ("view", ["hcp_stats"]),
            ("entity", ["hcp_stats_entity"]),
            (None, ["hcp_stats", "hcp_stats_entity"]),
        ):
            assert error(await call("describe", name="hcp_stat", kind=kind))["nearest"] == nearest
        told = error(await call("describe", name="hcp_stats", kind="entity"))
        assert told["message"] == "No entity is called 'hcp_stats'. It is the name of a view." and told["nearest"] == []

    talk(desk(shared), script)


# ---- time, threads, defects ----------------------------------------------------------------------------------


def waiting(columns):
    """Waits until somebody writes into the pipe that the row names, as a store that hangs waits for its disk."""
    with open(columns["pipe"][0], encoding="utf-8") as pipe:
        pipe.read()
    return {"done": [True]}


@pytest.fixture
def hanging(tmp_path: Path) -> Iterator[tuple[fs.FeatureStore, Path]]:
    request = fs.RequestSource("pipe", schema=[fs.Field("pipe", fs.String)])
    made = fs.on_demand_feature_view("hang", sources=[request], schema=[fs.Field("done", fs.Bool)])(waiting)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with fs.connect({"backend": "memory"}) as store:
        store.apply([made])
        yield store, pipe


def test_a_call_that_runs_over_its_time_ends_for_its_caller_and_its_thread_is_counted_until_it_ends(
    hanging: tuple[fs.FeatureStore, Path],
) -> None:
    store, pipe = hanging
    hang = {"features": ["hang:done"], "entity_rows": [{"pipe": str(pipe)}]}

    before = set(threading.enumerate())

    def threads() -> int:
        return sum(t.name == "e2i-fs worker" for t in threading.enumerate() if t not in before)

    async def script(call: Call) -> None:
        over = error(await call("get_online_features", **hang))
        assert over["type"] == "OutOfTimeError" and "--max-seconds" in over["fix"]
        over = error(await call("get_online_features", **hang))
        assert over["type"] == "OutOfTimeError"
        for _ in range(3):  # both threads are taken, and no other is
            busy = error(await call("health"))
            assert (busy["type"], busy["retry_after"]) == ("BusyError", 0.2)
            assert threads() == 2
        pipe.write_text("go", encoding="utf-8")  # both readers are woken
        while threads():  # ends when the two are done; each turn gives the loop and the threads their time
            await anyio.lowlevel.checkpoint()
        assert (await call("health"))["all_up"] is True

    talk(desk(store, max_seconds=0.2, threads=2), script)


def test_while_one_call_waits_for_the_store_others_are_answered(hanging: tuple[fs.FeatureStore, Path]) -> None:
    store, pipe = hanging
    order: list[str] = []

    async def script(call: Call) -> None:
        async def slow() -> None:
            got = await call("get_online_features", features=["hang:done"], entity_rows=[{"pipe": str(pipe)}])
            order.append(f"slow {got['rows'][0]['done']}")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(slow)
            for _ in range(5):
                assert (await call("health"))["all_up"]
                order.append("quick")
            pipe.write_text("go", encoding="utf-8")

    talk(desk(store), script)
    assert order == ["quick"] * 5 + ["slow True"]


def test_a_defect_is_told_by_a_reference_only_and_logged_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    def clock() -> datetime:
        if wrong:
            raise RuntimeError("secret of the machine")
        return NOW

    wrong: list[bool] = []
    with fs.connect({"backend": "memory"}, clock=clock) as store:
        store.apply([fs.FeatureView("v", entities=[fs.Entity("e")], schema=[fs.Field("x", fs.Int64)])])
        wrong.append(True)
        told = error(one(desk(store), "freshness"))
        wrong.clear()
    assert told["type"] == "InternalError" and "secret" not in json.dumps(told)
    (logged,) = [r for r in caplog.records if r.name == "e2i_fs.mcp"]
    reference = told["fix"].split("reference ")[1].split(".")[0]
    assert reference in logged.getMessage() and "secret of the machine" in caplog.text


def test_every_error_of_the_sdk_has_something_to_do_and_keeps_its_type() -> None:
    from e2i_fs import errors

    for name in errors.__all__:
        kind = getattr(errors, name)
        if isinstance(kind, type) and issubclass(kind, fs.E2IError):
            about = error(error_document(kind("It went wrong (P-9).")))
            assert (about["type"], about["rules"]) == (name, ["P-9"])
    later = error_document(fs.NoEligibleBackendError("Nobody may answer.", retry_after=2.5))["error"]
    assert later["retry_after"] == 2.5


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--config", "missing.yaml"], "missing.yaml"),
        (["--max-rows", "0"], "max_rows is 0"),
        (["--http", "-1"], "--http"),
        (["--json"], "no --json"),
    ],
)
def test_a_server_that_cannot_begin_says_why_and_writes_no_protocol(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], words: list[str], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("e2i_fs.yaml").write_text("backends: [{name: local, backend: duckdb, path: store}]\n", encoding="utf-8")
    assert run(["mcp", *words]) == 2
    out, err = capfd.readouterr()
    assert says in out + err and "Traceback" not in err
    assert "--json" in words or out == ""
