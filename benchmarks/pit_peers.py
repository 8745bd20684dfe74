"""Who retrieves point in time, each as a class that a process of its own opens: see `benchmarks.child`.

Each takes ``histories`` (one Parquet file a view) and ``entities``, and is warm when made: it has answered the first 100 entity rows.
Its columns are ``row``, the key, the time and ``v0__f0`` and so on.
"""

from __future__ import annotations

import os
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.answers import digest
from benchmarks.data import START, YEAR, names

WARM = 100
TTL = timedelta(days=800)  # longer than the data, so that those without a ttl must answer the same


class _Peer:
    """What all have: the entity rows and the names of the answer's columns."""

    def __init__(self, histories: list[str], entities: str, features: int = 10) -> None:
        self.histories = histories
        self.features = features
        self.asked = pq.read_table(entities)
        self.columns = [f"v{v}__{f}" for v in range(len(histories)) for f in names(features)]
        whole, self.asked = self.asked, self.asked.slice(0, WARM)
        self.open()
        self.once()
        self.asked = whole
        self.frames()

    def open(self) -> None:
        """Open what stays open between retrievals."""

    def frames(self) -> None:
        """Make of the entity rows the kind of frame that this one takes."""

    def once(self) -> Any:
        """Retrieve."""
        raise NotImplementedError

    def answer(self, made: Any, folder: str) -> dict[str, Any]:
        """Return the digest of the last answer."""
        return digest(made if isinstance(made, pa.Table) else made.to_arrow(), self.columns, folder)


class Ours(_Peer):
    """`get_historical_features` of a store on the DuckDB backend, views with a ttl over the Parquet files."""

    def __init__(
        self, histories: list[str], entities: str, features: int = 10, *, created: bool = False, known: bool = False,
        optimized: bool = False,
    ) -> None:  # fmt: skip
        self.created, self.known, self.optimized = created, known, optimized
        super().__init__(histories, entities, features)

    def open(self) -> None:
        """Open the store and register the views."""
        import e2i_fs as fs

        self.store = fs.connect({"backend": "duckdb", "path": tempfile.mkdtemp(dir=os.environ.get("BENCH_FOLDER"))})
        fields = [fs.Field(name, fs.Float64) for name in names(self.features)]
        made = "created_at" if self.created else None
        self.store.apply([
            fs.FeatureView(f"v{v}", entities=[fs.Entity("hcp_id")], schema=fields, ttl=TTL,
                           source=fs.ParquetSource(path, created_timestamp_field=made))
            for v, path in enumerate(self.histories)
        ])  # fmt: skip
        if self.optimized:
            self.store.optimize([f"v{v}" for v in range(len(self.histories))])

    def once(self) -> Any:
        """Retrieve, every rule of the contract kept."""
        refs = [f"v{v}:*" for v in range(len(self.histories))]
        asked = self.store.get_historical_features(
            self.asked, refs, full_feature_names=True, filter_by_created_timestamp=self.known
        )
        return asked.to_arrow()


class DuckDB(_Peer):
    """ASOF joins written by hand, over all rows, without order, ties, ttl or statuses, in a connection that stays open."""

    def open(self) -> None:
        """Open a connection."""
        import duckdb

        # From 2.0 the zone is an extension's, which is not loaded unless something needs it; times are UTC either way.
        self.connection = duckdb.connect(config={"TimeZone": "UTC"} if duckdb.__version__ < "2" else {})

    def once(self) -> Any:
        """Join."""
        self.connection.register("asked", self.asked)
        joined, picked = "asked a", []
        for v, path in enumerate(self.histories):
            joined += (
                f" ASOF LEFT JOIN read_parquet('{path}') h{v} "
                f"ON a.hcp_id = h{v}.hcp_id AND a.event_timestamp >= h{v}.event_timestamp"
            )
            picked += [f"h{v}.{f} AS v{v}__{f}" for f in names(self.features)]
        return self.connection.sql(f"SELECT a.*, {', '.join(picked)} FROM {joined}").to_arrow_table()


class DuckDBKnown(DuckDB):
    """Knowledge time written by hand: of the rows that were known, the newest, found by a join on ranges. One view."""

    def once(self) -> Any:
        """Join every entity row with every row that it may see, keep the newest."""
        self.connection.register("asked", self.asked)
        picked = ", ".join(f"h.{f} AS v0__{f}" for f in names(self.features))
        history = f"read_parquet('{self.histories[0]}')"
        return self.connection.sql(
            f"WITH best AS (SELECT a.row, max(h.event_timestamp) AS newest FROM asked a JOIN {history} h ON "
            "a.hcp_id = h.hcp_id AND h.event_timestamp <= a.event_timestamp AND h.created_at <= a.event_timestamp GROUP BY a.row) "
            f"SELECT a.*, {picked} FROM asked a LEFT JOIN best USING (row) "
            f"LEFT JOIN {history} h ON h.hcp_id = a.hcp_id AND h.event_timestamp = best.newest"
        ).to_arrow_table()


class Polars(_Peer):
    """`join_asof` by key, on frames sorted by time as it wants them."""

    def once(self) -> Any:
        """Read, sort, join."""
        import polars as pl

        made = pl.from_arrow(self.asked).sort("event_timestamp")
        for v, path in enumerate(self.histories):
            wanted = ["hcp_id", "event_timestamp", *names(self.features)]
            right = pl.read_parquet(path, columns=wanted).sort("event_timestamp")
            right = right.rename({f: f"v{v}__{f}" for f in names(self.features)})
            made = made.join_asof(right, on="event_timestamp", by="hcp_id", check_sortedness=False)
        return made


class Pandas(_Peer):
    """`merge_asof` by key, on frames sorted by time as it wants them. Its answer is a pandas frame."""

    def frames(self) -> None:
        """Take the entity rows as a pandas frame."""
        self.frame = self.asked.to_pandas()

    def once(self) -> Any:
        """Read, sort, merge."""
        import pandas as pd

        if not hasattr(self, "frame"):
            self.frame = self.asked.to_pandas()
        made = self.frame.sort_values("event_timestamp")
        for v, path in enumerate(self.histories):
            right = pd.read_parquet(path, columns=["hcp_id", "event_timestamp", *names(self.features)])
            right = right.sort_values("event_timestamp").rename(columns={f: f"v{v}__{f}" for f in names(self.features)})
            made = pd.merge_asof(made, right, on="event_timestamp", by="hcp_id")
        return made

    def answer(self, made: Any, folder: str) -> dict[str, Any]:
        """Return the digest of the last answer."""
        return digest(pa.Table.from_pandas(made, preserve_index=False), self.columns, folder)


class Feast(_Peer):
    """Feast's own `get_historical_features(...).to_arrow()`, over the same files; ``kind`` is its offline store."""

    def __init__(self, histories: list[str], entities: str, features: int = 10, *, kind: str) -> None:
        self.kind = kind
        super().__init__(histories, entities, features)

    def open(self) -> None:
        """Make a repository and apply it."""
        from benchmarks.feast_repo import repository

        folder = Path(tempfile.mkdtemp(dir=os.environ.get("BENCH_FOLDER")))
        self.store = repository(folder, self.histories, features=self.features, offline=self.kind, ttl=TTL)
        self.frames()

    def frames(self) -> None:
        """Take the entity rows as a pandas frame: Feast takes nothing else."""
        self.frame = self.asked.to_pandas()

    def once(self) -> Any:
        """Retrieve."""
        refs = [f"v{v}:{f}" for v in range(len(self.histories)) for f in names(self.features)]
        return self.store.get_historical_features(self.frame, refs, full_feature_names=True).to_arrow()


class Written(_Peer):
    """Ours over history that was written through the SDK in many batches; ``optimized`` calls `store.optimize` once."""

    def __init__(self, histories: list[str], entities: str, *, batches: int, optimized: bool) -> None:
        self.batches, self.optimized = batches, optimized
        super().__init__(histories, entities)

    def open(self) -> None:
        """Write the history, a batch after the other."""
        import e2i_fs as fs

        self.store = fs.connect({"backend": "duckdb", "path": tempfile.mkdtemp(dir=os.environ.get("BENCH_FOLDER"))})
        fields = [fs.Field(name, fs.Float64) for name in names()]
        self.store.apply([fs.FeatureView("v0", entities=[fs.Entity("hcp_id")], schema=fields, ttl=TTL)])
        rows = pq.read_table(self.histories[0]).sort_by("event_timestamp")  # as it would have come
        size = -(-len(rows) // self.batches)
        for begin in range(0, len(rows), size):
            self.store.write("v0", rows.slice(begin, size), to="offline")
        if self.optimized:
            self.store.optimize(["v0"])

    def once(self) -> Any:
        """Retrieve."""
        return self.store.get_historical_features(self.asked, ["v0:*"], full_feature_names=True).to_arrow()


assert START + YEAR < 1_767_225_600_000_000, "all data lies before 2026, so that no write is of the future"
