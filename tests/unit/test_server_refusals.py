"""What the feature server refuses, each with a status, a document, and nothing done: bodies, keys, limits, time."""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import anyio
import httpx
import pyarrow as pa
import pytest

import e2i_fs as fs
from e2i_fs.errors import E2IError
from e2i_fs.server import keys as server_keys
from e2i_fs.server.body import json_of
from e2i_fs.server.counts import Uncounted
from e2i_fs.server.refusals import ErrorDocument, InvalidBodyError, document, retry_after, status_of
from e2i_fs.server.service import Service
from e2i_fs.testing.clock import FakeClock
from tests.breakable import OPENED, BreakablePlugin
from tests.kit import NOW, STAMP, at, online, view
from tests.server_words import KEYS, READ, WRITE, application, call, error, post, service

REF = "hcp_stats:trx_count"
ROW = {"hcp_id": "h", "event_timestamp": "2024-03-10T11:00:00Z", "trx_count": 3}
ONLINE = {"features": [REF], "entity_rows": [{"hcp_id": "h"}]}
FEAST = {"features": [REF], "entities": {"hcp_id": ["h"]}}
WRITES = {
    "/push": {"push_source_name": "p", "df": {}},
    "/write-to-online-store": {"feature_view_name": "hcp_stats", "df": {}},
    "/materialize": {"disable_event_timestamp": True},
    "/materialize-incremental": {"end_ts": "2024-03-10T12:00:00"},
    "/v1/views/hcp_stats/rows": {"rows": [ROW]},
    "/v1/push-sources/p/rows": {"rows": [ROW]},
}
READS = {
    "/get-online-features": FEAST, "/v1/online": ONLINE, "/v1/search": {},
    "/v1/historical": {"features": [REF], "entity_rows": [{"hcp_id": "h", "event_timestamp": "2024-03-10T11:00:00Z"}]},
}  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Iterator[fs.FeatureStore]:
    with fs.connect({"backend": "memory"}, clock=FakeClock(NOW)) as opened:
        opened.apply([view(tmp_path, [("h", at(700), 7)])])
        opened.materialize(None)
        yield opened


@pytest.fixture(scope="module")
def steady(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Service]]:
    """Services that refuse, without keys and with: nothing that they are sent changes anything."""
    with fs.connect({"backend": "memory"}, clock=FakeClock(NOW)) as opened:
        opened.apply([view(tmp_path_factory.mktemp("steady"), [("h", at(700), 7)])])
        yield {"open": service(opened), "keyed": service(opened, access=KEYS)}


DEEP = b"[" * 100_000 + b"]" * 100_000
NOT_JSON = {
    "nothing": b"",
    "half": b'{"features": [',
    "not UTF-8": b'{"features": ["\xff"]}',
    "NaN": b'{"features": ["a:b"], "entity_rows": [{"hcp_id": NaN}]}',
    "-Infinity": b'{"a": -Infinity}',
    "greater than a float": b'{"a": 1e999}',
    "an int of 10,000 digits": b'{"a": ' + b"9" * 10_000 + b"}",
    "a key twice": b'{"features": ["a:b"], "features": ["a:c"]}',
    "deep": b'{"entity_rows": ' + DEEP + b"}",
    "just too deep": b'{"a": ' + b"[" * 64 + b"]" * 64 + b"}",
    "half a surrogate pair": b'{"features": ["\\ud800"]}',
    "half a surrogate pair as a key": b'{"\\uDC00": 1}',
    "two documents": b"{} {}",
}


@pytest.mark.parametrize("what", NOT_JSON)
@pytest.mark.parametrize("path", ["/get-online-features", "/v1/online", "/push"])
def test_what_is_no_json_is_refused_with_400(steady: dict[str, Service], what: str, path: str) -> None:
    answer = call(steady["open"], "POST", path, NOT_JSON[what])
    assert (answer.status_code, error(answer)["type"]) == (400, "InvalidBodyError")


def test_json_is_taken_for_what_it_says() -> None:
    assert json_of(b'{"a": [1.5, 9007199254740993, "\\ud83d\\ude00", null, true]}') == {
        "a": [1.5, 2**53 + 1, "\U0001f600", None, True]
    }
    assert json_of(b"[" * 64 + b"]" * 64)
    with pytest.raises(InvalidBodyError, match="nested deeper than 64"):
        json_of(b"[" * 65 + b"]" * 65)


NAMES = [
    "'; DROP TABLE x; --",
    "../../etc/passwd",
    "a:b:c",
    ":",
    "",
    "\x00",
    "ü" * 10_000,
    "{{7*7}}",
    "%s%n",
]
WRONG: list[Any] = [
    [], "text", 7, None, {}, {"features": "x"}, {"features": [7], "entity_rows": []},
    {"features": [REF], "entity_rows": [[]]}, {"features": [REF], "entity_rows": [{}]},
    {"features": [REF], "entity_rows": [{"hcp_id": {"a": [1]}}]}, {"features": [REF], "entity_rows": [{"hcp_id": 10**40}]},
    {"features": [REF], "entity_rows": [{"hcp_id": "h"}, {"hcp": "h"}]}, {**ONLINE, "full_feature_names": "yes"},
    {**ONLINE, "service": "s"}, {**ONLINE, "no_such_key": 1}, {"service": "'; --", "entity_rows": [{"hcp_id": "h"}]},
    {"features": [REF], "entities": {}}, {"features": [REF], "entities": {"hcp_id": "h"}},
    {"features": [REF], "entities": {"hcp_id": [["h"]]}}, {"features": [REF], "entities": {"hcp_id": ["h"], "x": []}},
    {"features": [REF], "entities": {"hcp_id": []}}, {"features": [REF], "entities": {"hcp_id": [1], "hcp_stats_entity": [1]}},
    {"features": [REF], "feature_service": "s", "entities": {"hcp_id": ["h"]}},
    {"push_source_name": 7, "df": {}}, {"push_source_name": "p", "df": {"a": 1}}, {"push_source_name": "p", "df": {}, "to": "x"},
    {"feature_view_name": "hcp_stats", "df": {"hcp_id": ["a"], "trx_count": []}},
    {"feature_view_name": "hcp_stats", "df": {"event_timestamp": [10**30], "hcp_id": [{}], "trx_count": [[]]}},
    {"start_ts": "x", "end_ts": "y"}, {"start_ts": "2024-03-10"}, {"end_ts": "2024-13-45"}, {"end_ts": ""},
    {"end_ts": "2024-03-10", "version": "v2"}, {"end_ts": "2024-03-10", "feature_views": ["x"]},
    {"rows": []}, {"rows": [{}]}, {"rows": [{"a": 1}, {"b": 2}]}, {"rows": [ROW], "to": "nowhere"},
    {"rows": [ROW], "idempotency_key": "\n"}, {"rows": [{**ROW, "x": 1}]}, {"rows": [{**ROW, "event_timestamp": "9999-12-31"}]},
    {"limit": 10**30}, {"tags": {"a": 1}}, {"text": 7},
    {"features": ["'; DROP TABLE x; --"], "entity_rows": [{"hcp_id": "h"}], "entities": {"hcp_id": ["h"]}},
]  # fmt: skip


def test_nothing_that_a_caller_sends_is_a_defect_and_every_refusal_says_what_to_do(store: fs.FeatureStore) -> None:
    """Every wrong body to every path: refused with a document, unless that path takes what is wrong elsewhere."""
    at_service, answered = service(store), 0

    async def run() -> None:
        nonlocal answered
        transport = httpx.ASGITransport(application(at_service))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            for path in {**READS, **WRITES}:
                for body in WRONG:
                    answer = await client.post(path, json=body)
                    assert answer.status_code < 500, (path, body, answer.text)
                    if answer.status_code != 200:
                        assert answer.status_code in (400, 404, 415, 422), (path, body, answer.text)
                        ErrorDocument.model_validate({"error": error(answer)})
                        answered += 1
            for name in NAMES:
                for path in ("/v1/catalogue/", "/v1/views/", "/v1/push-sources/"):
                    rows = {"rows": [ROW]} if path != "/v1/catalogue/" else None
                    method, tail = ("POST", "/rows") if rows else ("GET", "")
                    answer = await client.request(method, f"{path}{quote(name, safe='')}{tail}", json=rows)
                    assert answer.status_code == 404, (path, name, answer.text)
                assert (await client.get("/v1/freshness", params={"view": name})).status_code == 404
                for path, body in (
                    ("/push", {"push_source_name": name, "df": {}}),
                    ("/write-to-online-store", {"feature_view_name": name, "df": {}}),
                    ("/get-online-features", {"features": [name], "entities": {"hcp_id": ["h"]}}),
                    ("/get-online-features", {"feature_service": name, "entities": {"hcp_id": ["h"]}}),
                    ("/v1/online", {"features": [name], "entity_rows": [{"hcp_id": "h"}]}),
                ):
                    answer = await client.post(path, json=body)
                    assert answer.status_code == 404, (path, name, answer.text)

    anyio.run(run)
    assert answered > 400
    assert online(store, "h", "a") == [(7, "PRESENT"), (None, "NOT_FOUND")]


ARROW = "application/vnd.apache.arrow.stream"


@pytest.mark.parametrize("body", [b"", b"x" * 100, b"\xff\xff\xff\xff" + b"\x7f" * 64, b"ARROW1\x00\x00"])
@pytest.mark.parametrize("path", ["/v1/historical?features=hcp_stats:trx_count", "/v1/views/hcp_stats/rows"])
def test_what_is_no_arrow_stream_is_refused_with_400(steady: dict[str, Service], body: bytes, path: str) -> None:
    answer = call(steady["open"], "POST", path, body, headers={"Content-Type": ARROW})
    assert (answer.status_code, error(answer)["type"]) == (400, "InvalidBodyError")


@pytest.mark.parametrize("kind", [pa.timestamp("us", "U-C"), pa.list_(pa.timestamp("us", "Nowhere/At_All"))])
def test_an_arrow_stream_with_a_time_zone_that_there_is_not_is_refused(
    steady: dict[str, Service], kind: pa.DataType
) -> None:
    assert error(_asked_in_arrow(steady["open"], pa.array([None], kind), 400))["type"] == "InvalidBodyError"


def test_a_column_of_arrow_that_json_has_no_form_for_is_refused(steady: dict[str, Service]) -> None:
    for column in (
        pa.array([2**62], pa.timestamp("s")),
        pa.array([1], pa.time64("us")),
    ):
        told = error(_asked_in_arrow(steady["open"], column, 422))
        assert (told["type"], "'extra'" in told["message"]) == ("InvalidEntityFrameError", True)


def _asked_in_arrow(at_service: Service, extra: pa.Array, status: int) -> httpx.Response:
    frame = pa.table({"hcp_id": ["h"], "event_timestamp": pa.array([NOW], STAMP), "extra": extra})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, frame.schema) as stream:
        stream.write_table(frame)
    body, path = sink.getvalue().to_pybytes(), f"/v1/historical?features={REF}"
    answer = call(at_service, "POST", path, body, headers={"Content-Type": ARROW})
    assert answer.status_code == status, answer.text
    return answer


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_a_body_that_a_page_in_a_browser_may_send_unasked_is_refused(steady: dict[str, Service], kind: str) -> None:
    for path in ("/push", "/v1/views/hcp_stats/rows", "/v1/historical"):
        answer = call(steady["open"], "POST", path, b"{}", headers={"Content-Type": kind})
        assert (answer.status_code, error(answer)["type"]) == (415, "UnknownMediaError")


def test_what_belongs_into_the_body_is_not_taken_from_the_address(steady: dict[str, Service]) -> None:
    answer = call(steady["open"], "POST", "/v1/historical", READS["/v1/historical"], params={"as_of": "2024-01-01"})
    assert (answer.status_code, "as_of" in error(answer)["message"]) == (422, True)


@pytest.mark.rule("P-9", "P-12")
def test_an_unknown_name_is_404_with_the_nearest_and_a_label_is_422(tmp_path: Path) -> None:
    labelled = fs.FeatureView("v", entities=[fs.Entity("e")], schema=[fs.Field("sold", fs.Bool, role="label")])
    with fs.connect({"backend": "memory"}) as store:
        store.apply([labelled])
        at_service = service(store)
        unknown = call(at_service, "POST", "/v1/online", {"features": ["v:sol"], "entity_rows": [{"e": "1"}]})
        assert (unknown.status_code, error(unknown)["nearest"]) == (404, ["v:sold"])
        for path, asked in (
            ("/v1/online", {"entity_rows": [{"e": "1"}]}),
            ("/get-online-features", {"entities": {"e": ["1"]}}),
        ):
            label = call(at_service, "POST", path, {"features": ["v:sold"], **asked})
            assert (label.status_code, error(label)["type"]) == (422, "LabelRequestedError")
            assert error(label)["rules"] == ["P-12"]


# ---- keys -------------------------------------------------------------------------------------------------


def test_every_path_but_health_wants_a_key_and_writing_one_that_may_write(store: fs.FeatureStore) -> None:
    at_service = service(store, access=KEYS)
    for path, operations in application(at_service).openapi()["paths"].items():
        for method in operations:
            address = path.replace("{", "").replace("}", "")
            status = call(at_service, method.upper(), address).status_code
            assert (status == 401) is not path.startswith("/health"), (method, path, status)
    assert call(at_service, "GET", "/openapi.json").status_code == 401
    for path, body in WRITES.items():
        refused = call(at_service, "POST", path, body, key=READ)
        assert (refused.status_code, error(refused)["type"]) == (403, "ForbiddenError"), path
        assert call(at_service, "POST", path, body, key=WRITE).status_code not in (401, 403), path
    for path, body in READS.items():
        for key in (READ, WRITE):
            assert call(at_service, "POST", path, body, key=key).status_code == 200, path


@pytest.mark.parametrize("headers", [
    {"Authorization": f"Bearer {READ}x"}, {"Authorization": READ}, {"Authorization": "Basic " + READ},
    {"Authorization": f"Bearer {READ[:-1]}"}, {"Authorization": "Bearer "}, {"X-API-Key": ""}, {"X-API-Key": "ü"},
])  # fmt: skip
def test_a_wrong_key_is_told_to_be_wrong_and_nothing_else(steady: dict[str, Service], headers: dict[str, str]) -> None:
    sent = {name: value.encode() for name, value in headers.items()}
    answer = call(steady["keyed"], "POST", "/v1/online", ONLINE, headers=sent)
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert READ not in answer.text


def test_a_key_may_come_in_either_header(steady: dict[str, Service]) -> None:
    for headers in ({"X-API-Key": READ}, {"Authorization": f"bearer {READ}"}):
        assert call(steady["keyed"], "POST", "/v1/online", ONLINE, headers=headers).status_code == 200


def test_keys_come_from_a_file_or_the_environment_and_short_ones_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "keys"
    file.write_text(f"{READ}\n{WRITE}\n", encoding="utf-8")
    monkeypatch.setenv("KEYS", READ)
    assert server_keys.keys_in(str(file), "KEYS") == (READ, WRITE)
    assert server_keys.keys_in(None, "KEYS") == (READ,)
    assert server_keys.keys_in(None, "NO_KEYS") == ()
    monkeypatch.setenv("KEYS", "hunter2")
    for path, told in (
        (None, "16 or more"),
        (str(tmp_path), "cannot be read"),
        (str(tmp_path / "none"), "cannot be read"),
    ):
        with pytest.raises(fs.ConfigError, match=told) as caught:
            server_keys.keys_in(path, "KEYS")
        assert "hunter2" not in str(caught.value)
    assert READ not in repr(KEYS)


def test_without_keys_only_this_machine_s_own_name_is_answered(steady: dict[str, Service]) -> None:
    """So that a page whose name was turned to this machine (DNS rebinding) gets nothing."""
    for host, status in (
        ("127.0.0.1:6566", 200),
        ("localhost", 200),
        ("[::1]:1", 200),
        ("evil.example", 403),
        ("", 403),
    ):
        answer = call(steady["open"], "POST", "/v1/online", ONLINE, headers={"Host": host})
        assert answer.status_code == status, host
    answer = call(steady["keyed"], "POST", "/v1/online", ONLINE, key=READ, headers={"Host": "features.example"})
    assert answer.status_code == 200


# ---- limits -----------------------------------------------------------------------------------------------


def test_a_body_of_100_mb_is_refused_while_it_comes(store: fs.FeatureStore) -> None:
    at_service, sent = service(store, max_body_bytes=1_000_000), 0

    async def much() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(100):
            sent += 1
            yield b"x" * 1_000_000

    for path in ("/push", "/v1/views/hcp_stats/rows", "/get-online-features"):
        sent = 0
        answer = call(at_service, "POST", path, much())
        assert (answer.status_code, error(answer)["type"], sent) == (413, "BodyTooLargeError", 2)
        assert answer.headers["Connection"] == "close"


def test_a_body_that_says_that_it_is_too_large_is_not_read(steady: dict[str, Service]) -> None:
    async def never() -> AsyncIterator[bytes]:
        raise AssertionError("read")
        yield b""

    answer = call(steady["open"], "POST", "/push", never(), headers={"Content-Length": str(10**8)})
    assert (answer.status_code, error(answer)["type"]) == (413, "BodyTooLargeError")


def test_rows_and_cells_are_counted_before_anything_is_read(store: fs.FeatureStore) -> None:
    at_service = service(store, max_rows=2, max_cells=1)
    for count, told in ((3, "3 entity rows"), (2, "2 cells")):
        keys = ["h"] * count
        bodies = {
            "/v1/online": {"features": [REF], "entity_rows": [{"hcp_id": k} for k in keys]},
            "/get-online-features": {"features": [REF], "entities": {"hcp_id": keys}},
        }
        for path, body in bodies.items():
            answer = call(at_service, "POST", path, body)
            assert (answer.status_code, error(answer)["type"]) == (422, "OverBudgetError")
            assert told in error(answer)["message"]


@contextmanager
def stuck(tmp_path: Path) -> Iterator[tuple[fs.FeatureStore, threading.Event, threading.Event]]:
    """A store whose reads wait until they are let go; also what is set when one has begun."""
    begun, leave = threading.Event(), threading.Event()

    def waits() -> Exception:
        begun.set()
        assert leave.wait(20)
        return fs.ThrottledError("It was let go.")

    with fs.connect(
        {"backend": "breakable", "inner": "memory"}, clock=FakeClock(NOW), plugins=[BreakablePlugin()]
    ) as store:
        store.apply([view(tmp_path, [])])
        OPENED["breakable"].break_("online_read", error=waits)
        yield store, begun, leave


def test_the_values_in_lists_are_counted_in_every_answer() -> None:
    lists = fs.FeatureView("lists", entities=[fs.Entity("e")], schema=[fs.Field("x", fs.Array(fs.Int64))])
    with fs.connect({"backend": "memory"}, clock=FakeClock(NOW)) as store:
        store.apply([lists])
        store.write("lists", [{"e": "a", "event_timestamp": at(1), "x": [1, 2, 3]}])
        row = {"e": "a", "event_timestamp": "2024-03-10T11:00:00Z"}
        for cells, status in ((3, 200), (2, 422)):
            at_service = service(store, max_cells=cells)
            for path, body in (
                ("/get-online-features", {"features": ["lists:x"], "entities": {"e": ["a"]}}),
                ("/v1/online", {"features": ["lists:x"], "entity_rows": [{"e": "a"}]}),
                ("/v1/historical", {"features": ["lists:x"], "entity_rows": [row]}),
            ):
                for headers in ({}, {"Accept": ARROW}):
                    assert call(at_service, "POST", path, body, headers=headers).status_code == status, path


def test_more_requests_than_the_server_takes_are_told_to_come_later(tmp_path: Path) -> None:
    with stuck(tmp_path) as (store, begun, leave):
        at_service = service(store, max_requests=1)

        async def run() -> None:
            transport = httpx.ASGITransport(application(at_service))
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
                first: list[httpx.Response] = []

                async def ask() -> None:
                    first.append(await client.post("/v1/online", json=ONLINE))

                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(ask)
                    await anyio.to_thread.run_sync(begun.wait)
                    second = await client.post("/v1/online", json=ONLINE)
                    assert (second.status_code, second.headers["Retry-After"]) == (503, "1")
                    assert (await client.get("/healthz/live")).status_code == 200
                    leave.set()
                assert error(first[0])["type"] == "ThrottledError"

        anyio.run(run)


def test_a_call_over_its_time_is_504_and_one_that_found_no_thread_503(tmp_path: Path) -> None:
    with stuck(tmp_path) as (store, _, leave):
        at_service = service(store, max_seconds=0.05, threads=1)

        async def run() -> list[httpx.Response]:
            transport = httpx.ASGITransport(application(at_service))
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
                got = [await client.post("/v1/online", json=ONLINE) for _ in range(2)]
                leave.set()
                assert await at_service.drained(20)
                return got

        late, busy = anyio.run(run)
        assert (late.status_code, error(late)["type"]) == (504, "OutOfTimeError")
        assert (busy.status_code, error(busy)["type"], busy.headers["Retry-After"]) == (503, "BusyError", "1")


def test_a_body_that_does_not_come_is_not_waited_for(store: fs.FeatureStore) -> None:
    async def stalls() -> AsyncIterator[bytes]:
        yield b"{"
        await anyio.sleep_forever()

    answer = call(service(store, max_seconds=0.05), "POST", "/v1/online", stalls())
    assert (answer.status_code, error(answer)["type"]) == (408, "SlowBodyError")


# ---- errors of the store ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "status"), [
    (fs.ThrottledError, 429), (fs.BackendUnavailableError, 503), (fs.DeadlineExceededError, 504), (fs.BackendDataError, 500),
])  # fmt: skip
@pytest.mark.rule("X-9")
def test_an_outage_has_the_status_that_says_whether_to_try_again(
    tmp_path: Path, kind: type[fs.E2IError], status: int
) -> None:
    with fs.connect(
        {"backend": "breakable", "inner": "memory"}, clock=FakeClock(NOW), plugins=[BreakablePlugin()]
    ) as store:
        store.apply([view(tmp_path, [])])
        OPENED["breakable"].break_(error=lambda: kind("It went wrong."))
        answer = call(service(store), "POST", "/get-online-features", FEAST)
        assert (answer.status_code, error(answer)["type"]) == (status, kind.__name__)
        assert ("Retry-After" in answer.headers) is (status in (429, 503))


def test_every_error_of_the_store_has_a_status_and_a_document() -> None:
    from e2i_fs import errors

    kinds = [getattr(errors, name) for name in errors.__all__]
    for kind in (k for k in kinds if isinstance(k, type) and issubclass(k, E2IError)):
        status = status_of(kind("It went wrong."))
        assert status in (404, 409, 422, 429, 500, 503, 504)
        assert (status < 500) is issubclass(
            kind, errors.RequestError | errors.UnsupportedError | errors.RunOverlapError | errors.ThrottledError
        ), kind
        ErrorDocument.model_validate(document(kind("It went wrong.")))
    assert retry_after(fs.NoEligibleBackendError("Nobody may answer.", retry_after=2.5)) == 3
    assert retry_after(fs.NoEligibleBackendError("All are isolated.")) is None


@pytest.mark.parametrize("kind", [fs.BackendDataError, fs.ConfigError, fs.DefinitionError])
def test_what_is_wrong_with_the_store_is_for_its_log_and_not_for_callers(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: type[fs.E2IError]
) -> None:
    with fs.connect(
        {"backend": "breakable", "inner": "memory"}, clock=FakeClock(NOW), plugins=[BreakablePlugin()]
    ) as store:
        store.apply([view(tmp_path, [])])
        OPENED["breakable"].break_(error=lambda: kind("/srv/secret/place.parquet cannot be read."))
        for path, body in (("/get-online-features", FEAST), ("/v1/online", ONLINE)):
            answer = call(service(store), "POST", path, body)
            assert (answer.status_code, error(answer)["type"], "secret" in answer.text) == (500, kind.__name__, False)
            assert error(answer)["message"].rpartition(" ")[2].rstrip(".") in caplog.text
    assert "/srv/secret/place.parquet" in caplog.text


def test_a_defect_is_told_by_a_reference_and_logged_whole(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def broken(columns: Any) -> Any:
        raise SystemError("a secret of the machine")

    with fs.connect({"backend": "memory"}, clock=FakeClock(NOW)) as store:
        at_service = service(store)
        at_service.desk.store.catalog = broken  # type: ignore[method-assign,assignment]
        for path in ("/v1/catalogue", "/get-online-features"):
            answer = call(
                at_service, "GET" if path == "/v1/catalogue" else "POST", path, None if "v1" in path else FEAST
            )
            told = error(answer)
            assert (answer.status_code, told["type"], "secret" in answer.text) == (500, "InternalError", False)
            assert told["message"].rpartition(" ")[2].rstrip(".") in caplog.text


def test_without_prometheus_the_metrics_say_what_to_install(store: fs.FeatureStore) -> None:
    answer = call(service(store, counts=Uncounted()), "GET", "/metrics")
    assert (answer.status_code, "pip install" in error(answer)["message"]) == (501, True)


def test_vector_search_and_what_runs_behind_one_s_back_are_refused_clearly(steady: dict[str, Service]) -> None:
    for path in (
        "/search",
        "/retrieve-online-documents",
        "/materialize?async=true",
        "/materialize-incremental?async=true",
    ):
        answer = call(steady["open"], "POST", path, {"end_ts": "2024-03-10T12:00:00"})
        assert (answer.status_code, json.loads(answer.json())["error"]["type"]) == (422, "NotHereError"), path


@pytest.mark.rule("P-3", "W-1")
def test_feast_s_created_time_is_not_lost_without_a_word(store: fs.FeatureStore) -> None:
    at_service = service(store)
    columns = {"hcp_id": ["n"], "event_timestamp": ["2024-03-10T11:00:00"], "trx_count": [4]}
    body = {"feature_view_name": "hcp_stats", "df": {**columns, "created": ["2024-03-10T11:00:00"]}}
    answer = call(at_service, "POST", "/write-to-online-store", body)
    assert (answer.status_code, "no created time" in error(answer)["problems"][0]) == (422, True)
    assert post(at_service, "/write-to-online-store", {**body, "df": {**columns, "created": [None]}})["to"] == "online"
    assert online(store, "n") == [(4, "PRESENT")]
