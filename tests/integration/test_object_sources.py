"""Parquet in an object store: a real HTTP server that speaks S3, found by the environment alone."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import e2i_fs as fs
from tests.kit import table

T0 = datetime(2024, 3, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    for package in ("s3fs", "moto.server"):
        pytest.importorskip(package, reason='needs s3fs and moto: pip install "e2i-fs[objects]" "moto[s3,server]"')
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "somebody")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        client = boto3.client("s3")
        client.create_bucket(Bucket="e2i")
        yield client
    server.stop()


def put(client: Any, key: str, *rows: tuple[str, float, int | None]) -> None:
    sink = io.BytesIO()
    columns = {"hcp_id": [r[0] for r in rows], "event_timestamp": [T0 + timedelta(days=r[1]) for r in rows]}
    content = table(columns).append_column("trx", pa.array([r[2] for r in rows], pa.int64()))
    pq.write_table(content.append_column("unused", pa.array(["u" * 50] * len(rows))), sink)
    client.put_object(Bucket="e2i", Key=key, Body=sink.getvalue())


def view(path: Any) -> fs.FeatureView:
    source = fs.ParquetSource(path)
    return fs.FeatureView("v", entities=[fs.Entity("hcp_id")], schema=[fs.Field("trx", fs.Int64)], source=source)


def ask(store: fs.FeatureStore, *keys: str, day: float = 5) -> list[Any]:
    frame = table({"hcp_id": list(keys), "event_timestamp": [T0 + timedelta(days=day)] * len(keys)})
    return store.get_historical_features(frame, ["v:trx"]).to_arrow()["trx"].to_pylist()


@pytest.mark.rule("R-3", "P-1", "W-3")
def test_objects_answer_as_files_do_and_new_and_rewritten_ones_are_found(s3: Any, tmp_path: Path) -> None:
    put(s3, "visits/one.parquet", ("a", 0, 1), ("a", 2, 2**53 + 1), ("b", 1, None))
    put(s3, "visits/_temporary/half.parquet", ("a", 3, -1))
    with fs.connect({"backend": "duckdb", "path": str(tmp_path)}) as store:
        store.apply([view("s3://e2i/visits")])
        assert ask(store, "a", "b", "c") == [2**53 + 1, None, None]
        assert ask(store, "a", day=2 - 1e-9) == [1]
        store.materialize_incremental()
        put(s3, "visits/two.parquet", ("c", 0.5, 7))  # late, and in a new object
        put(s3, "visits/one.parquet", ("a", 0, 1), ("a", 3, 9), ("b", 1, None))
        assert ask(store, "a", "c") == [9, 7]
        store.materialize_incremental()
        assert store.get_online_features(["v:trx"], [{"hcp_id": k} for k in "abc"]).to_dict()["trx"] == [9, None, 7]
        store.apply([view(["s3://e2i/visits/t*.parquet"])])
        assert ask(store, "a", "c") == [None, 7]


@pytest.mark.rule("T-4", "P-1")
@pytest.mark.parametrize("path", ["", "/one.parquet", "/*.parquet"])
def test_files_named_by_an_address_are_those_wherever_the_process_stands(
    tmp_path: Path, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("fsspec", reason='needs fsspec: pip install "e2i-fs[objects]"')
    named = tmp_path / "visits"
    for folder, value in (
        (named, 1),
        (tmp_path / "here" / str(named)[1:], -1),
    ):  # the last is another folder's namesake
        folder.mkdir(parents=True)
        rows = table({"hcp_id": ["a"], "event_timestamp": [T0]}).append_column("trx", pa.array([value]))
        pq.write_table(rows, folder / "one.parquet")
    monkeypatch.chdir(tmp_path / "here")
    with fs.connect({"backend": "memory"}) as store:
        store.apply([view(named.as_uri() + path)])
        assert ask(store, "a") == [1]


@pytest.mark.rule("R-3")
def test_what_is_not_there_or_does_not_fit_is_said_with_its_address(s3: Any, tmp_path: Path) -> None:
    put(s3, "w/one.parquet", ("a", 0, 1))
    s3.put_object(Bucket="e2i", Key="broken/x.parquet", Body=b"no parquet")
    with fs.connect({"backend": "duckdb", "path": str(tmp_path)}) as store:
        with pytest.raises(fs.DefinitionError, match="s3://e2i/none"):
            store.apply([view("s3://e2i/none")])
        with pytest.raises(fs.BackendDataError, match=r"s3://e2i/broken/x\.parquet"):
            store.apply([view("s3://e2i/broken")])
        wrong = fs.FeatureView(
            "v", entities=[fs.Entity("hcp_id")], schema=[fs.Field("trc", fs.Int64)], source=view("s3://e2i/w").source
        )
        with pytest.raises(fs.SchemaMismatchError, match=r"s3://e2i/w/one\.parquet: no column 'trc'"):
            store.apply([wrong])
        store.apply([view("s3://e2i/w")])
        s3.delete_object(Bucket="e2i", Key="w/one.parquet")
        with pytest.raises(fs.BackendDataError, match="s3://e2i/w"):
            ask(store, "a")


def test_without_the_packages_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with (
        fs.connect({"backend": "duckdb", "path": str(tmp_path)}) as store,
        pytest.raises(fs.UnsupportedError, match=r"pip install 'e2i-fs\[objects\]'"),
    ):
        store.apply([view("s3://e2i/w")])


def test_of_object_stores_only_parquet_is_read() -> None:
    with pytest.raises(fs.DefinitionError, match="only Parquet"):
        fs.CSVSource("s3://e2i/visits.csv")


@pytest.mark.parametrize("kind", [fs.ParquetSource, fs.CSVSource])
@pytest.mark.parametrize(
    "address",
    [
        "https://store.example/visits?X-Amz-Signature=hunter2",
        "https://me:hunter2@store.example/visits",
        "https://hunter2@store.example/visits",
        "s3://key:hunter2@e2i/visits",
        "s3://key:other@e2i/visits?X-Amz-Signature=hunter2",
    ],
)
def test_an_address_with_a_secret_in_it_is_refused_and_not_repeated(kind: type[fs.Source], address: str) -> None:
    with pytest.raises(fs.DefinitionError, match="password or a query string") as told:
        kind(address)  # type: ignore[call-arg]
    assert "hunter2" not in str(told.value) and "/visits" in str(told.value)


def test_the_refusal_of_a_csv_object_repeats_no_query() -> None:
    with pytest.raises(fs.DefinitionError, match="only Parquet") as told:
        fs.CSVSource("s3://e2i/visits.csv?token=hunter2")
    assert "hunter2" not in str(told.value)


def test_a_question_mark_in_an_object_store_is_still_a_glob() -> None:
    assert fs.ParquetSource("s3://e2i/visits-202?.parquet").paths == ("s3://e2i/visits-202?.parquet",)
