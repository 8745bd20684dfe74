"""A stream of batches is the whole answer, of one backend and one definition, with little of it in memory."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import e2i_fs as fs

T0 = datetime(2024, 1, 1, tzinfo=UTC)
ASKED = pa.table({"k": list("abcab"), "event_timestamp": pa.array([T0 + timedelta(hours=h) for h in (0, 1, 2, 3, 4)])})


def _view(**more: Any) -> fs.FeatureView:
    fields = [fs.Field("x", fs.Int64)]
    return fs.FeatureView("v", entities=[fs.Entity("k")], schema=fields, source=fs.PushSource("p"), **more)


def _history() -> pa.Table:
    times = [T0 + timedelta(hours=h) for h in (0, 2, 1)]
    return pa.table(
        {"k": ["a", "a", "b"], "event_timestamp": pa.array(times, pa.timestamp("us", "UTC")), "x": [1, 2, 3]}
    )


@pytest.fixture
def store(tmp_path: Path) -> Iterator[fs.store.Store]:
    with fs.connect({"backend": "duckdb", "path": str(tmp_path)}) as opened:
        opened.apply([_view()])
        opened.write("v", _history(), to="offline")
        yield opened


@pytest.mark.parametrize("rows", [1, 2, 3, 5, 99, 2**70])
@pytest.mark.parametrize("chunks", [1, 2, 5])
def test_batches_are_the_whole_answer_in_order(store: fs.store.Store, rows: int, chunks: int) -> None:
    """P-6: however the entity rows come, each batch but the last has as many as were asked for."""
    reader = pa.RecordBatchReader.from_batches(ASKED.schema, ASKED.to_batches(max_chunksize=chunks))
    batches = [batch.to_arrow() for batch in fs.historical_batches(store, reader, ["v:x"], rows=rows)]
    assert [len(batch) for batch in batches[:-1]] == [rows] * (len(batches) - 1)
    assert pa.concat_tables(batches).equals(store.get_historical_features(ASKED, ["v:x"]).to_arrow())


def test_no_more_than_a_batch_is_read_ahead(store: fs.store.Store) -> None:
    drawn = 0

    def endless() -> Iterator[pa.RecordBatch]:
        nonlocal drawn
        while True:
            drawn += 1
            yield ASKED.to_batches()[0]

    reader = pa.RecordBatchReader.from_batches(ASKED.schema, endless())
    stream = fs.historical_batches(store, reader, ["v:x"], rows=10)
    next(stream), next(stream)
    assert drawn <= 5


def test_a_definition_that_changes_in_between_ends_the_stream(store: fs.store.Store) -> None:
    stream = fs.historical_batches(store, ASKED.to_pandas(), ["v:x"], rows=2)
    next(stream)
    store.apply([_view(ttl=timedelta(hours=1))])
    with pytest.raises(fs.DefinitionError, match="'v' was changed while the stream was read"):
        next(stream)


def test_another_backend_in_between_ends_the_stream(tmp_path: Path) -> None:
    """X-6: rows of two backends are never stitched."""
    folders = [{"name": name, "backend": "duckdb", "path": str(tmp_path / name)} for name in ("one", "two")]
    with fs.connect({"backends": folders, "state": str(tmp_path / "state")}) as store:
        store.apply([_view()])
        store.write("v", _history(), to="offline")
        stream = fs.historical_batches(store, ASKED, ["v:x"], rows=2)
        assert next(stream).provenance.served_by == "one"
        store.isolate("one")
        with pytest.raises(fs.FailoverError, match="came from 'one', the next would come from 'two'"):
            next(stream)


@pytest.mark.parametrize("rows", [0, -1, 1.5, True, "2"])
def test_a_batch_of_no_rows_is_refused(store: fs.store.Store, rows: Any) -> None:
    with pytest.raises(fs.RequestError, match="give how many entity rows a batch has"):
        next(fs.historical_batches(store, ASKED, ["v:x"], rows=rows))


def test_no_entity_rows_are_an_error(store: fs.store.Store) -> None:
    """P-11."""
    with pytest.raises(fs.InvalidEntityFrameError):
        list(fs.historical_batches(store, ASKED.slice(0, 0), ["v:x"]))
