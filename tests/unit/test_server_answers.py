"""The feature server's answers equal the store's own: online, at points in time, as JSON and as Arrow; and what it writes is there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import e2i_fs as fs
from e2i_fs.testing.clock import FakeClock
from e2i_fs.wire.retrieving import AskedAtTimes
from tests.breakable import OPENED, BreakablePlugin
from tests.kit import NOW, STAMP, at, batch, online, view
from tests.server_words import call, error, post, service

ARROW = "application/vnd.apache.arrow.stream"
REF = "hcp_stats:trx_count"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[fs.FeatureStore]:
    """A view with a ttl of an hour: one key present, one too old, one NULL; and a push source."""
    rows = [("new", at(700), 2**53 + 1), ("old", at(1), 9), ("null", at(710), None)]
    pushed = fs.FeatureView(
        "pushed",
        entities=[fs.Entity("hcp_stats_entity", join_keys={"hcp_id": fs.String})],
        schema=[fs.Field("seen", fs.Timestamp), fs.Field("score", fs.Float64), fs.Field("tags", fs.Array(fs.String))],
        source=fs.PushSource("seen_push"),
    )
    with fs.connect({"backend": "memory"}, clock=FakeClock(NOW)) as opened:
        opened.apply([view(tmp_path, rows, ttl=timedelta(hours=1)), pushed])
        opened.materialize(None)
        yield opened


@pytest.mark.rule("O-2", "O-3", "O-5", "X-7")
def test_online_answers_have_values_statuses_times_and_provenance(store: fs.FeatureStore) -> None:
    keys = ["old", "new", "null", "nobody", "new", None]
    told = post(service(store), "/v1/online", {"features": [REF], "entity_rows": [{"hcp_id": key} for key in keys]})
    ours = online(store, *keys)
    assert [row["hcp_id"] for row in told["rows"]] == keys
    assert told["statuses"][REF] == [status for _, status in ours]
    assert [row["trx_count"] for row in told["rows"]] == [None if v is None else str(v) for v, _ in ours]
    assert told["event_timestamps"][REF][:2] == [at(1).isoformat(), at(700).isoformat()]
    assert (told["degraded"], told["provenance"]["served_by"]) == (False, "memory")


@pytest.mark.rule("O-2", "O-3", "O-5", "X-7")
def test_feast_s_path_answers_in_feast_s_form_with_provenance_beside_it(store: fs.FeatureStore) -> None:
    asked = {"features": [REF], "entities": {"hcp_id": ["old", "new", "null", "nobody"]}, "full_feature_names": True}
    answer = call(service(store), "POST", "/get-online-features", asked)
    told = answer.json()
    assert told["metadata"] == {"feature_names": ["hcp_id", "hcp_stats__trx_count"]}
    keys, counts = told["results"]
    assert (keys["values"], keys["statuses"]) == (["old", "new", "null", "nobody"], ["PRESENT"] * 4)
    assert counts["values"] == [None, 2**53 + 1, None, None]
    assert counts["statuses"] == ["OUTSIDE_MAX_AGE", "PRESENT", "NULL_VALUE", "NOT_FOUND"]
    assert counts["event_timestamps"][0] == "2024-03-10T00:01:00Z"
    assert counts["event_timestamps"][3] == "1970-01-01T00:00:00Z"
    assert (told["e2i_fs"]["served_by"], told["e2i_fs"]["age"]) == ("memory", 600.0)
    assert (answer.headers["X-E2I-FS-Served-By"], answer.headers["X-E2I-FS-Degraded"]) == ("memory", "false")


@pytest.mark.rule("X-7", "X-9")
def test_a_degraded_answer_is_marked_on_every_path_and_nobody_s_answer_is_503(tmp_path: Path) -> None:
    backends = [{"name": name, "backend": "breakable", "inner": "memory"} for name in ("primary", "standby")]
    failover = {"shadow_rate": 0, "deadline": 30, "background": False}
    config = {"backends": backends, "failover": failover, "state": str(tmp_path / "state")}
    with fs.connect(config, clock=FakeClock(NOW), plugins=[BreakablePlugin()]) as store:
        store.apply([view(tmp_path, [("h", at(1), 1)])])
        store.materialize(None, NOW)
        OPENED["standby"].break_()
        store.write("hcp_stats", batch(("h", at(5), 2)), to="online")
        OPENED["standby"].heal()
        OPENED["primary"].break_()
        at_service, ours = service(store), {"features": [REF], "entity_rows": [{"hcp_id": "h"}]}
        theirs = {"features": [REF], "entities": {"hcp_id": ["h"]}}
        for path, body, key in (("/v1/online", ours, "provenance"), ("/get-online-features", theirs, "e2i_fs")):
            answer = call(at_service, "POST", path, body)
            assert (answer.headers["X-E2I-FS-Degraded"], answer.headers["X-E2I-FS-Served-By"]) == ("true", "standby")
            assert "missed 1 write" in answer.json()[key]["reason"]
        strict = call(at_service, "POST", "/v1/online", {**ours, "strict": True})
        assert (strict.status_code, error(strict)["type"]) == (503, "DegradedAnswerError")
        OPENED["standby"].break_()
        nobody = call(at_service, "POST", "/get-online-features", theirs)
        assert (nobody.status_code, error(nobody)["type"]) == (503, "NoEligibleBackendError")
        assert int(nobody.headers["Retry-After"]) >= 1


def test_feast_s_path_takes_a_column_by_the_name_of_its_entity(store: fs.FeatureStore) -> None:
    told = post(service(store), "/get-online-features", {"features": [REF], "entities": {"hcp_stats_entity": ["new"]}})
    assert (told["metadata"]["feature_names"], told["results"][1]["values"]) == (["hcp_id", "trx_count"], [2**53 + 1])


def test_feast_s_path_answers_about_a_view_without_entities(store: fs.FeatureStore) -> None:
    """Feast's clients send a key of their own for it."""
    store.apply([fs.FeatureView("world", entities=[], schema=[fs.Field("rate", fs.Float64)])])
    store.write("world", [{"event_timestamp": at(700), "rate": 1.5}])
    told = post(
        service(store), "/get-online-features", {"features": ["world:rate"], "entities": {"__dummy_id": ["", ""]}}
    )
    assert (told["metadata"]["feature_names"], told["results"][0]["values"]) == (["rate"], [1.5, 1.5])


def _historical_rows() -> list[dict[str, str]]:
    return [
        {"hcp_id": "new", "event_timestamp": "2024-03-10T11:40:00Z", "note": "at its own time"},
        {"hcp_id": "new", "event_timestamp": "2024-03-10T12:39:59.999999+01:00", "note": "a moment before"},
        {"hcp_id": "nobody", "event_timestamp": "2024-03-10T11:40:00", "note": "never seen"},
    ]


@pytest.mark.rule("P-1", "P-6", "P-8")
def test_points_in_time_are_the_same_as_json_and_as_arrow(store: fs.FeatureStore) -> None:
    at_service, rows = service(store), _historical_rows()
    told = post(at_service, "/v1/historical", {"features": [REF], "entity_rows": rows})
    assert [row["trx_count"] for row in told["rows"]] == [str(2**53 + 1), None, None]
    assert told["statuses"][REF] == ["PRESENT", "NOT_FOUND", "NOT_FOUND"]
    assert told["receipt"]["content_hash"]

    frame = pa.table({
        "hcp_id": ["new", "new", "nobody"],
        "event_timestamp": pa.array([at(700), at(700) - timedelta(microseconds=1), at(700)], STAMP),
    })  # fmt: skip
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, frame.schema) as writer:
        writer.write_table(frame)
    answer = call(
        at_service, "POST", "/v1/historical", sink.getvalue().to_pybytes(), params={"features": REF, "statuses": True},
        headers={"Content-Type": ARROW, "Accept": ARROW},
    )  # fmt: skip
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, ARROW)
    table = pa.ipc.open_stream(answer.content).read_all()
    wanted = store.get_historical_features(frame, [REF]).to_arrow()
    assert table.select(wanted.column_names).replace_schema_metadata(None).equals(wanted)
    assert table.column("trx_count__status").to_pylist() == told["statuses"][REF]
    about = json.loads(table.schema.metadata[b"e2i_fs"])
    assert (about["degraded"], about["features"][0]["ref"]) == (False, REF)


def test_arrow_in_and_json_out_and_the_other_way(store: fs.FeatureStore) -> None:
    at_service, frame = service(store), pa.table({"hcp_id": ["new"], "event_timestamp": pa.array([NOW], STAMP)})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, frame.schema) as writer:
        writer.write_table(frame)
    told = post(
        at_service,
        "/v1/historical",
        sink.getvalue().to_pybytes(),
        params={"features": REF},
        headers={"Content-Type": ARROW},
    )
    assert told["rows"][0]["trx_count"] == str(2**53 + 1)
    answer = call(
        at_service,
        "POST",
        "/v1/historical",
        {"features": [REF], "entity_rows": _historical_rows()},
        headers={"Accept": ARROW},
    )
    assert pa.ipc.open_stream(answer.content).read_all().column("trx_count").to_pylist() == [2**53 + 1, None, None]


@pytest.mark.rule("W-1", "W-2")
def test_rows_that_are_written_are_there_and_written_twice_are_there_once(store: fs.FeatureStore) -> None:
    at_service = service(store)
    body = {
        "rows": [{"hcp_id": "new", "event_timestamp": "2024-03-10T11:59:00Z", "trx_count": str(2**60)}],
        "idempotency_key": "once",
    }
    first, second = (post(at_service, "/v1/views/hcp_stats/rows", body) for _ in range(2))
    assert (first["rows"], first["to"], first["applied"], first["repeated"]) == (1, "both", ["memory"], False)
    assert second["repeated"]
    assert online(store, "new") == [(2**60, "PRESENT")]


@pytest.mark.rule("W-1")
def test_a_batch_is_refused_whole_with_each_problem(store: fs.FeatureStore) -> None:
    rows = [
        {"hcp_id": 7, "event_timestamp": "yesterday", "trx_count": 1.5},
        {"hcp_id": "a", "event_timestamp": "2024-03-10T11:00:00Z", "trx_count": True},
        {"hcp_id": "b", "event_timestamp": "2024-03-10T11:00:00.1234567Z", "trx_count": 10**30},
    ]
    answer = call(service(store), "POST", "/v1/views/hcp_stats/rows", {"rows": rows})
    problems = error(answer)["problems"]
    assert answer.status_code == 422
    where = [
        (0, "hcp_id"), (0, "event_timestamp"), (2, "event_timestamp"),
        (0, "trx_count"), (1, "trx_count"), (2, "trx_count"),
    ]  # fmt: skip
    assert [p.partition(":")[0] for p in problems] == [f"row {row}, column {name!r}" for row, name in where]
    assert online(store, "a", "b") == [(None, "NOT_FOUND")] * 2


@pytest.mark.rule("W-1", "P-8")
@pytest.mark.parametrize(
    ("dtype", "sent", "stored"),
    [
        (fs.Float64, 2**53, 2.0**53),
        (fs.Float64, 2**53 + 1, None),
        (fs.Float64, 12345678901234567000, 1.2345678901234567e19),  # as JavaScript writes that float
        (fs.Float64, "-Infinity", float("-inf")),
        (fs.Float32, 0.1, pa.scalar(0.1, pa.float32()).as_py()),
        (fs.Float32, 1e39, None),
        (fs.Float32, 2**24 + 1, None),
        (fs.Array(fs.Float32), [1.0, -1e39], None),
        (fs.Array(fs.Float64), [2**53 + 1], None),
        (fs.Vector(2), [1.0, 1e300], None),
        (fs.Struct(a=fs.Float32), {"a": 2**24 + 1}, None),
        (fs.Decimal(5, 2), "1e2", Decimal(100)),
        (fs.Decimal(5, 2), "1_0", None),
        (fs.Decimal(5, 2), "\u0661\u0662", None),
    ],
)
def test_a_number_of_json_is_taken_exactly_or_refused(tmp_path: Path, dtype: fs.DType, sent: Any, stored: Any) -> None:
    with fs.connect({"backend": "memory"}, clock=FakeClock(NOW)) as opened:
        opened.apply([view(tmp_path, [], fields={"x": dtype})])
        rows = [{"hcp_id": "a", "event_timestamp": "2024-03-10T11:00:00Z", "x": sent}]
        answer = call(service(opened), "POST", "/v1/views/hcp_stats/rows", {"rows": rows})
        if stored is None:
            (problem,) = error(answer)["problems"]
            assert answer.status_code == 422 and problem.startswith("row 0, column 'x'")
            assert online(opened, "a", ref="hcp_stats:x") == [(None, "NOT_FOUND")]
        else:
            assert online(opened, "a", ref="hcp_stats:x") == [(stored, "PRESENT")]


@pytest.mark.rule("W-1")
def test_a_date_of_feast_s_form_is_a_whole_day_or_refused(tmp_path: Path) -> None:
    with fs.connect({"backend": "memory"}, clock=FakeClock(NOW)) as opened:
        opened.apply([view(tmp_path, [], fields={"day": fs.Date})])

        def write(seconds: int) -> Any:
            df = {"hcp_id": ["a"], "event_timestamp": ["2024-03-10T11:00:00"], "day": [seconds]}
            sent = {"feature_view_name": "hcp_stats", "df": df}
            return call(service(opened), "POST", "/write-to-online-store", sent)

        refused = write(-86_399)  # a second after the day began
        assert refused.status_code == 422 and "'day'" in error(refused)["problems"][0]
        assert write(-86_400).status_code == 200
        assert online(opened, "a", ref="hcp_stats:day") == [(date(1969, 12, 31), "PRESENT")]


def test_pushed_rows_go_where_they_are_said_to_on_both_kinds_of_paths(store: fs.FeatureStore) -> None:
    at_service = service(store)
    row = {
        "hcp_id": "h", "event_timestamp": "2024-03-10T11:00:00Z", "seen": "2024-03-10T10:59:59.999999Z", "score": "NaN",
        "tags": ["a", None],
    }  # fmt: skip
    post(at_service, "/v1/push-sources/seen_push/rows", {"rows": [row], "to": "online"})
    answer = store.get_online_features(["pushed:*"], [{"hcp_id": "h"}]).to_dict()
    assert answer["seen"] == [datetime(2024, 3, 10, 10, 59, 59, 999_999, UTC)]
    assert (answer["tags"], answer["score"][0] != answer["score"][0]) == ([["a", None]], True)

    columns = {name: [value] for name, value in row.items()} | {"hcp_id": ["f"], "seen": [1710068399], "score": [0.5]}
    told = post(at_service, "/push", {"push_source_name": "seen_push", "df": columns, "to": "online_and_offline"})
    assert told["receipts"]["pushed"]["to"] == "both"
    feast = post(at_service, "/get-online-features", {"features": ["pushed:*"], "entities": {"hcp_id": ["f", "h"]}})
    assert [result["values"] for result in feast["results"]] == [
        ["f", "h"], [1710068399, 1710068399], [0.5, "NaN"], [["a", None], ["a", None]],
    ]  # fmt: skip


@pytest.mark.rule("O-6", "W-3")
def test_feast_s_paths_materialise(tmp_path: Path) -> None:
    with fs.connect({"backend": "memory"}, clock=FakeClock(NOW)) as store:
        store.apply([view(tmp_path, [("h", at(700), 1)])])
        at_service = service(store)
        window = {"start_ts": "2024-03-10T00:00:00", "end_ts": "2024-03-10T11:00:00"}
        assert post(at_service, "/materialize", window)["runs"][0]["rows_written"] == 0
        assert online(store, "h") == [(None, "NOT_FOUND")]
        assert post(at_service, "/materialize", {"disable_event_timestamp": True})["runs"][0]["rows_written"] == 1
        store.write("hcp_stats", batch(("h", at(705), 2)), "offline")
        post(at_service, "/materialize-incremental", {"end_ts": "2024-03-10T12:00:00", "feature_views": ["hcp_stats"]})
        assert online(store, "h") == [(2, "PRESENT")]


def test_the_catalogue_is_listed_described_and_searched(store: fs.FeatureStore) -> None:
    at_service = service(store)
    listed = call(at_service, "GET", "/v1/catalogue").json()
    assert [v["name"] for v in listed["views"]] == ["hcp_stats", "pushed"]
    assert listed["push_sources"] == {"seen_push": ["pushed"]}
    described = call(at_service, "GET", "/v1/catalogue/hcp_stats", params={"kind": "view"}).json()
    assert (described["definition"], described["join_keys"]) == (listed["views"][0], {"hcp_id": "string"})
    assert post(at_service, "/v1/search", {"text": "trx count"})["features"][0]["ref"] == REF


@pytest.mark.rule("F-1", "F-2")
def test_freshness_and_health_are_the_store_s(store: fs.FeatureStore) -> None:
    at_service = service(store)
    told = call(at_service, "GET", "/v1/freshness", params={"view": "hcp_stats"}).json()
    (only,) = told["views"]
    assert (only["view"], only["age"], only["rows"]) == ("hcp_stats", 600.0, 3)
    assert call(at_service, "GET", "/v1/health").json()["all_up"]


def test_health_needs_a_backend_that_is_up_and_metrics_count_by_path(tmp_path: Path) -> None:
    store = fs.connect({"backend": "memory"}, clock=FakeClock(NOW))
    at_service = service(store)
    assert call(at_service, "GET", "/healthz").json() == {"live": True, "ready": True}
    assert call(at_service, "GET", "/health").status_code == 200
    call(at_service, "GET", "/v1/catalogue/none")
    call(at_service, "GET", "/no/such/path")
    text = call(at_service, "GET", "/metrics").text
    assert 'e2i_fs_http_requests_total{method="GET",path="/v1/catalogue/{name}",status="404"} 1.0' in text
    assert 'path="unknown",status="404"} 1.0' in text
    store.close()
    assert call(at_service, "GET", "/healthz/ready").status_code == 503
    assert call(at_service, "GET", "/health").status_code == 503
    assert call(at_service, "GET", "/healthz/live").json()["live"]


def test_what_goes_through_arrow_takes_all_that_json_takes() -> None:
    """The query parameters for a body of Arrow are those of the question in JSON."""
    from e2i_fs.server.app import make_app

    with fs.connect({"backend": "memory"}) as store:
        described = make_app(service(store)).openapi()["paths"]["/v1/historical"]["post"]["parameters"]
    assert {p["name"] for p in described} == {*AskedAtTimes.model_fields, "statuses"}


def test_metrics_of_a_server_tell_its_store_too(tmp_path: Path) -> None:
    """In one text: what the server counted, what its store counted, and the state of the backends now."""
    from e2i_fs.server.watching import Watching
    from e2i_fs.telemetry.names import HTTP, METRICS

    watching = Watching()
    with fs.connect({"backend": "memory"}, clock=FakeClock(NOW), plugins=watching.plugins) as store:
        store.apply([view(tmp_path, [("a", at(710), 1)])])
        store.materialize(None)
        at_service = service(store, counts=watching.counts)
        post(at_service, "/v1/online", {"features": ["hcp_stats:trx_count"], "entity_rows": [{"hcp_id": "a"}]})
        text = call(at_service, "GET", "/metrics").text
    assert 'e2i_fs_http_requests_total{method="POST",path="/v1/online",status="200"} 1.0' in text
    assert 'e2i_fs_values_total{operation="online",status="PRESENT",view="hcp_stats"} 1.0' in text
    assert 'e2i_fs_view_age_seconds{view="hcp_stats"} 600.0' in text
    families = set(re.findall(r"^# TYPE (\w+)", text, re.MULTILINE))
    assert {f for f in families if not f.endswith("_created")} == {m.prometheus for m in (*METRICS, *HTTP)}


def test_a_request_is_answered_under_the_trace_of_who_sent_it(tmp_path: Path) -> None:
    pytest.importorskip("opentelemetry.sdk", reason="not installed: pip install 'e2i-fs[otel]'")
    from e2i_fs.server.watching import Watching
    from tests.otel_words import telemetry

    trace = "0af7651916cd43dd8448eb211c80319c"
    with telemetry() as otel, fs.connect({"backend": "memory", "telemetry": {"opentelemetry": True}}) as store:
        store.apply([view(tmp_path, [("a", at(710), 1)])])
        at_service = service(store, caller=Watching().caller(store))
        headers = {"traceparent": f"00-{trace}-b7ad6b7169203331-01"}
        post(
            at_service,
            "/v1/online",
            {"features": ["hcp_stats:trx_count"], "entity_rows": [{"hcp_id": "a"}]},
            headers=headers,
        )
        (span,) = [s for s in otel.spans() if s.name == "e2i_fs.get_online_features"]
    assert format(span.context.trace_id, "032x") == trace
