"""Bodies that are small and mean much, against `e2i-fs serve` as a real process: refused at once, in bounded memory."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pytest

pytest.importorskip("uvicorn")

import requests

import e2i_fs as fs
from tests.serving import peak, served

ARROW = "application/vnd.apache.arrow.stream"
MB = 2**20
ROOM = 200 * MB  # what all of the attacks together may cost


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    folder = tmp_path_factory.mktemp("attacked")
    (folder / "e2i_fs.yaml").write_text("backends: [{name: local, backend: duckdb, path: store}]\n", encoding="utf-8")
    driver = fs.Entity("driver", join_keys={"driver_id": fs.Int64})
    with fs.connect(folder / "e2i_fs.yaml") as store:
        store.apply([fs.FeatureView("stats", entities=[driver], schema=[fs.Field("name", fs.String)])])
    with served(folder, "--max-body", str(8 * MB)) as (address, process):
        columns = {"driver_id": [1], "event_timestamp": ["2026-03-01T00:00:00Z"], "name": ["a"]}
        requests.post(
            f"{address}/write-to-online-store", json={"feature_view_name": "stats", "df": columns}, timeout=30
        )
        for warm in (stream(pa.table({"x": ["a"]})), stream(pa.table({"x": ["a"]}), compression="zstd")):
            requests.post(f"{address}/v1/views/stats/rows", data=warm, headers={"Content-Type": ARROW}, timeout=30)
        yield address, process.pid


def stream(table: pa.Table, **options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def zeros(count: int, kind: pa.DataType) -> pa.Array:
    return pa.Array.from_buffers(kind, count, [None, pa.py_buffer(bytes(count * kind.bit_width // 8))])


def packed(codec: str) -> bytes:
    return stream(pa.table({"x": zeros(20 * MB, pa.int64())}), compression=codec)


def lying() -> bytes:
    """Compressed, and the one buffer says that it has 2**62 bytes."""
    honest = stream(pa.table({"x": zeros(1000, pa.int64())}), compression="zstd")
    told = (8000).to_bytes(8, "little")
    assert honest.count(told) == 1
    return honest.replace(told, (2**62).to_bytes(8, "little"))


def one_text_named_by_each_row() -> bytes:
    names = pa.DictionaryArray.from_arrays(zeros(2 * MB, pa.int8()), pa.array(["x" * MB]))
    return stream(pa.table({"x": names}))


def views_of_one_text() -> bytes:
    text = b"y" * MB
    view = len(text).to_bytes(4, "little") + text[:4] + bytes(8)
    buffers = [None, pa.py_buffer(view * 100_000), pa.py_buffer(text)]
    return stream(pa.table({"x": pa.Array.from_buffers(pa.string_view(), 100_000, buffers)}))


def one_run() -> bytes:
    return stream(pa.table({"x": pa.RunEndEncodedArray.from_arrays(pa.array([2**31 - 1], pa.int32()), ["abc"])}))


BOMBS: dict[str, Callable[[], bytes]] = {
    "zstd": lambda: packed("zstd"),
    "lz4": lambda: packed("lz4"),
    "a length that is a lie": lying,
    "a dictionary": one_text_named_by_each_row,
    "views": views_of_one_text,
    "a run": one_run,
    "rows without bytes": lambda: stream(pa.table({"x": pa.nulls(10**9)})),
}


@pytest.mark.parametrize("what", BOMBS)
def test_an_arrow_stream_that_unpacks_to_more_than_a_body_may_is_refused_before_it_does(
    server: tuple[str, int], what: str
) -> None:
    address, pid = server
    body, before, begun = BOMBS[what](), peak(pid), time.monotonic()
    assert len(body) < 8 * MB
    for path in ("v1/views/stats/rows", "v1/historical?features=stats:name"):
        told = requests.post(f"{address}/{path}", data=body, headers={"Content-Type": ARROW}, timeout=30)
        assert (told.status_code, told.json()["error"]["type"]) == (413, "BodyTooLargeError"), told.text
    assert peak(pid) - before < 64 * MB
    assert time.monotonic() - begun < 10


def test_what_compresses_well_and_is_small_is_taken(server: tuple[str, int]) -> None:
    now = pa.array([1772323200_000_000] * 50_000, pa.timestamp("us", "UTC"))
    names = pa.array(["a name"] * 50_000).dictionary_encode()
    rows = pa.table({"driver_id": pa.array(range(50_000), pa.int64()), "event_timestamp": now, "name": names})
    for codec in ("zstd", "lz4", None):
        told = requests.post(
            f"{server[0]}/v1/views/stats/rows?to=offline", data=stream(rows, compression=codec),
            headers={"Content-Type": ARROW}, timeout=30,
        )  # fmt: skip
        assert (told.status_code, told.json().get("rows")) == (200, 50_000), told.text


def entities(names: int) -> bytes:
    return json.dumps({"features": ["stats:name"], "entities": {f"driver_id{i}": [1] for i in range(names)}}).encode()


JSON: dict[str, tuple[str, bytes, int]] = {
    "values that are 3 bytes here and 70 there": ("push", b"[" + b"{}," * (2 * MB) + b"{}]", 413),
    "very many keys": ("get-online-features", entities(100_000), 400),
    "many keys": ("get-online-features", entities(9_000), 422),
    "many columns": (
        "write-to-online-store",
        json.dumps({"feature_view_name": "stats", "df": {f"driver_id{i}": [1] for i in range(9_000)}}).encode(), 422,
    ),
    "rows with no column in common": (
        "v1/views/stats/rows", json.dumps({"rows": [{f"a{i}": 1} for i in range(50_000)]}).encode(), 422,
    ),
    "a long name": (
        "get-online-features", json.dumps({"features": ["stats:" + "n" * 4 * MB], "entities": {"driver_id": [1]}}).encode(), 404,
    ),
    "a long key": ("get-online-features", json.dumps({"features": ["stats:name"], "entities": {"n" * MB: [1]}}).encode(), 422),
    "a whole number of a million digits": ("push", b'{"df": {"x": [' + b"9" * MB + b"]}}", 400),
    "a long search": ("v1/search", json.dumps({"text": "a " * MB}).encode(), 422),
    "deep": ("push", b"[" * MB + b"]" * MB, 413),
    "deep objects": ("push", b'{"a":' * 100_000 + b"1" + b"}" * 100_000, 400),
    "a text of commas": ("push", json.dumps({"push_source_name": "," * 3 * MB, "df": {}}).encode(), 404),
}  # fmt: skip


@pytest.mark.parametrize("what", JSON)
def test_a_document_of_json_that_costs_more_than_it_says_is_refused_soon(server: tuple[str, int], what: str) -> None:
    (address, pid), (path, body, status) = server, JSON[what]
    before, begun = peak(pid), time.monotonic()
    told = requests.post(f"{address}/{path}", data=body, headers={"Content-Type": "application/json"}, timeout=30)
    assert told.status_code == status, told.text[:500]
    assert len(told.content) < MB
    assert peak(pid) - before < 128 * MB
    assert time.monotonic() - begun < 10


def test_a_packed_body_is_not_unpacked(server: tuple[str, int]) -> None:
    address, pid = server
    body, before = gzip.compress(bytes(500 * MB), 1), peak(pid)
    for kind in ("application/json", ARROW):
        headers = {"Content-Type": kind, "Content-Encoding": "gzip"}
        told = requests.post(f"{address}/v1/views/stats/rows", data=body, headers=headers, timeout=30)
        assert (told.status_code, "Content-Encoding 'gzip'" in told.json()["error"]["message"]) == (415, True)
    assert peak(pid) - before < 32 * MB


def test_after_all_of_it_the_server_answers_as_before(server: tuple[str, int]) -> None:
    asked = {"features": ["stats:name"], "entities": {"driver_id": [1]}}
    told = requests.post(f"{server[0]}/get-online-features", json=asked, timeout=30).json()
    assert [result["values"] for result in told["results"]] == [[1], ["a"]]
