"""The Feast backend on a Spark offline store: history is searched on Spark, and only answers reach this process."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from e2i_fs.backend import ArrowRows, Capabilities, Knowledge, ParquetRows, ScanPart
from e2i_fs.clock import Clock
from e2i_fs.errors import InvalidTimestampError
from e2i_fs.frozen import FrozenMap
from e2i_fs.objects import is_object
from e2i_fs.pit.engine import point_in_time
from e2i_fs.reading import source_parts, stored_source
from e2i_fs.sources import ParquetSource
from e2i_fs_feast.backend import FeastBackend
from e2i_fs_feast.errors import driver_errors
from e2i_fs_feast.options import Options
from e2i_fs_feast.registry import Registered
from e2i_fs_feast.spark.errors import spark_errors
from e2i_fs_feast.spark.history import file_frame, nothing, readable_files, union
from e2i_fs_feast.spark.join import winners
from e2i_fs_feast.spark.session import Spark
from e2i_fs_feast.spark.source import source_frame, source_rows

__all__ = ["SparkFeastBackend"]

SMALL = 8 << 20
"""Bytes of files below which sending the keys to every worker costs more than it saves."""


class SparkFeastBackend(FeastBackend):
    """`FeastBackend` with `e2i_fs.backend.NativePointInTime` on Spark; see `e2i_fs_feast.spark.join`."""

    def __init__(self, name: str, options: Options, clock: Clock) -> None:
        super().__init__(name, options, clock)
        self.spark = Spark(self.repository.config.offline_store)

    @property
    def capabilities(self) -> Capabilities:
        """Those of `FeastBackend`, and point-in-time retrieval; never local, for Spark may be a cluster."""
        return replace(super().capabilities, point_in_time=True, local=False)

    def point_in_time(self, view: str, entities: pa.Table, features: Sequence[str], knowledge: Knowledge) -> pa.Table:
        """Return the winner of each entity row, found on Spark; see `e2i_fs.backend.NativePointInTime`.

        What Spark cannot read exactly (`e2i_fs_feast.spark.history.readable_files`) is searched by the engine, here.
        """
        found = self._registered(view)
        with driver_errors(f"feast backend {self._name!r}: reading the history of {view!r}"):
            parts = self._files(found)
            if parts is None or not all(readable_files(part, found.view, found.join_keys) for part in parts):
                return self._by_engine(found, entities, features, knowledge)
            what = f"the point-in-time join of view {found.view.name!r}"
            try:
                with spark_errors(what), self.spark.job(what) as session:
                    return self._on_spark(session, found, parts, entities, features, knowledge)
            except InvalidTimestampError:
                if stored_source(found.view) is not None:
                    self._by_engine(found, entities, features, knowledge)  # which says in which file and row
                raise

    def _on_spark(
        self, session: Any, found: Registered, parts: Sequence[ParquetRows], entities: pa.Table,
        features: Sequence[str], knowledge: Knowledge,
    ) -> pa.Table:  # fmt: skip
        view, keys = found.view, found.join_keys
        until_us = pc.max(entities.column("t")).as_py()
        frames = [file_frame(session, part, view, keys, until_us) for part in parts]
        small = sum(os.path.getsize(path) for part in parts for path in part.paths) < SMALL
        if _is_theirs(found):
            frames.append(source_frame(session, found))
            small = False
        history = union(frames) if frames else nothing(session, view, keys)
        return winners(session, history, entities, view, keys, features, knowledge, small=small)

    def _by_engine(
        self, found: Registered, entities: pa.Table, features: Sequence[str], knowledge: Knowledge
    ) -> pa.Table:
        keys = entities.drop_columns(["t"])
        until_us = pc.max(entities.column("t")).as_py()
        parts = self.scan(found.view.name, list(found.view.features), keys=keys, until_us=until_us)
        return point_in_time(entities, found.view, found.join_keys, features, parts, knowledge)

    def _files(self, found: Registered) -> list[ParquetRows] | None:
        """Return the files of the view's own source and of what was written through e2i_fs; None if not all are files here."""
        parts: list[ScanPart] = []
        source = stored_source(found.view)
        if isinstance(source, ParquetSource):
            if any(map(is_object, source.paths)):
                return None
            parts += source_parts(found.view, found.join_keys, found.base)
        elif not found.ours and not _is_theirs(found) and found.table.batch_source is not None:
            return None
        paths = self.segments.paths(found.history)
        if paths:
            later = frozenset({*found.view.features, found.view.created_column or ""})
            parts.append(ParquetRows(paths, FrozenMap(), later))
        files = [part for part in parts if isinstance(part, ParquetRows)]
        return files if len(files) == len(parts) else None

    def scan(
        self, view: str, columns: Sequence[str], *, keys: pa.Table | None = None, until_us: int | None = None
    ) -> Sequence[ScanPart]:
        """See `FeastBackend.scan`; the rows of a table, query or path of Spark's come through Spark."""
        found = self._registered(view)
        if not _is_theirs(found):
            return super().scan(view, columns, keys=keys, until_us=until_us)
        with driver_errors(f"feast backend {self._name!r}: reading the history of {view!r}"):
            what = f"the rows of view {found.view.name!r}"
            with spark_errors(what), self.spark.job(what) as session:
                rows = source_rows(session, found, keys=keys, until_us=until_us)
            parts: list[ScanPart] = [ArrowRows(rows)]
            paths = self.segments.paths(found.history)
            if paths:
                later = frozenset({*found.view.features, found.view.created_column or ""})
                parts.append(ParquetRows(paths, FrozenMap(), later))
            return parts

    def close(self) -> None:
        """Let go of connections and cancel what runs; the session stays, for it is the process's."""
        if not self._closed and self.spark.begun:
            with driver_errors(f"feast backend {self._name!r}: closing"), spark_errors("giving up what runs"):
                self.spark.give_up()
        super().close()


def _is_theirs(found: Registered) -> bool:
    """Return whether the history is a table, query or path that the user described to Feast as a SparkSource."""
    return not found.ours and type(found.table.batch_source).__name__ == "SparkSource"
