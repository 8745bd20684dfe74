"""Training sets larger than memory: the entity rows come, and the answers go, a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from e2i_fs.arrow import pa
from e2i_fs.definitions import FeatureService
from e2i_fs.errors import DefinitionError, FailoverError, InvalidEntityFrameError, RequestError
from e2i_fs.frames import arrow_table
from e2i_fs.protocol import FeatureStore
from e2i_fs.results import HistoricalResult, Provenance

__all__ = ["historical_batches"]


def historical_batches(
    store: FeatureStore,
    entity_df: Any,
    features: Sequence[str] | FeatureService | str,
    *,
    rows: int = 1_000_000,
    **options: Any,
) -> Iterator[HistoricalResult]:
    """Yield `HistoricalResult` for ``entity_df`` in batches of at most ``rows`` entity rows, in order.

    Use it for training sets larger than memory. ``entity_df`` is a frame or a ``pyarrow.RecordBatchReader``, of which
    no more than a batch is held in memory; ``features`` and ``options`` are those of
    `FeatureStore.get_historical_features`. Frames of any kind are read as Arrow: `HistoricalResult.to_native` of a
    batch is a ``pyarrow.Table``, a pandas index is not kept, and row numbers in errors count from the first row of the
    batch. Each batch is a retrieval of its own and reads the history again; `Store.optimize` makes that cheap.

    All batches come from one backend and the same definitions (X-6): it raises `FailoverError` when another backend
    answers a later batch, and `DefinitionError` when a definition changed in between. Then start again from the first
    batch. Also raises `InvalidEntityFrameError` for no rows (P-11), `RequestError` for ``rows`` below 1, and the errors
    of the retrieval.

    >>> import tempfile
    >>> import e2i_fs as fs, pyarrow as pa
    >>> from datetime import datetime, timezone
    >>> store = fs.connect({"backend": "duckdb", "path": tempfile.mkdtemp()})
    >>> view = fs.FeatureView("v", entities=[fs.Entity("k")], schema=[fs.Field("x", fs.Int64)], source=fs.PushSource("p"))
    >>> _ = store.apply([view])
    >>> at = datetime(2024, 1, 1, tzinfo=timezone.utc)
    >>> _ = store.write("v", pa.table({"k": ["a"], "event_timestamp": [at], "x": [7]}), to="offline")
    >>> asked = pa.table({"k": ["a", "b", "a"], "event_timestamp": [at] * 3})
    >>> [batch.to_arrow()["x"].to_pylist() for batch in fs.historical_batches(store, asked, ["v:x"], rows=2)]
    [[7, None], [7]]
    >>> store.close()
    """
    if isinstance(rows, bool) or not isinstance(rows, int) or rows < 1:
        raise RequestError(f"rows is {rows!r}; give how many entity rows a batch has at most, at least 1.")
    first: Provenance | None = None
    for table in _tables(entity_df, rows):
        found = store.get_historical_features(table, features, **options)
        first = found.provenance if first is None else first
        _check_same(first, found.provenance)
        yield found
    if first is None:
        raise InvalidEntityFrameError("entity_df has no rows, so nothing can be asked (P-11). Give at least one row.")


def _tables(entity_df: Any, rows: int) -> Iterator[pa.Table]:
    """Yield the entity rows as tables of ``rows``, the last one shorter."""
    reader = (
        entity_df if isinstance(entity_df, pa.RecordBatchReader) else arrow_table(entity_df, "entity_df").to_reader()
    )
    held: list[pa.RecordBatch] = []
    count = 0
    for batch in reader:
        start = 0
        while start < len(batch):
            part = batch.slice(start, min(rows - count, len(batch)))
            held.append(part)
            start, count = start + len(part), count + len(part)
            if count == rows:
                yield pa.Table.from_batches(held)
                held, count = [], 0
    if held:
        yield pa.Table.from_batches(held)


def _check_same(first: Provenance, now: Provenance) -> None:
    if now.served_by != first.served_by:
        raise FailoverError(
            f"The first batches came from {first.served_by!r}, the next would come from {now.served_by!r}: rows of two backends are "
            "not put together (X-6). Begin the stream anew."
        )
    changed = sorted(view for view, mark in now.fingerprints.items() if first.fingerprints.get(view) != mark)
    if changed:
        raise DefinitionError(
            f"The definition of {', '.join(map(repr, changed))} was changed while the stream was read. Begin it anew."
        )
