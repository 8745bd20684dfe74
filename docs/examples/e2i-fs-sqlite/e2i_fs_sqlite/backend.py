"""The nine methods, over one SQLite file."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from e2i_fs import (
    ArrowRows,
    BackendDataError,
    Catalog,
    Clock,
    ConfigError,
    InvalidBatchError,
    OnlineRow,
    ParquetRows,
    Position,
)
from e2i_fs.batch import check_form
from e2i_fs.catalog import breaking_views
from e2i_fs.online import merge, pick
from e2i_fs.reading import source_parts
from e2i_fs.values import content_hash

from e2i_fs_sqlite import rows as coding
from e2i_fs_sqlite.database import OF_A_VIEW, Database
from e2i_fs_sqlite.plugin import CAPABILITIES
from e2i_fs_sqlite.rows import Key

OPTIONS = ("path", "project")


def open_backend(*, name: str, options: Mapping[str, Any], clock: Clock, base: str) -> SQLiteBackend:
    """Open the store in the folder ``path``, which is made if it is not there."""
    for option in options:
        if option not in OPTIONS:
            raise ConfigError(f"Backend {name!r}: unknown option {option!r}; it takes {', '.join(OPTIONS)}.")
    path = options.get("path")
    if not isinstance(path, str) or not path:
        raise ConfigError(f"Backend {name!r}: path is {path!r}; name the folder to keep the features in.")
    return SQLiteBackend(Path(base, path))


class SQLiteBackend:
    """Definitions, history and online rows in ``features.sqlite``; every method is one transaction."""

    capabilities = CAPABILITIES

    def __init__(self, folder: Path) -> None:
        self._database = Database(folder)
        self._parsed = Catalog()

    # ---- definitions --------------------------------------------------------------------------------------

    def definitions(self) -> Catalog:
        """Return the catalogue; it is parsed again only when its revision is another."""
        with self._database.reading() as db:
            return self._catalog(db)

    def _catalog(self, db: sqlite3.Connection) -> Catalog:
        """Return the catalogue as this transaction sees it."""
        kept = self._parsed
        found = db.execute("SELECT revision FROM catalog").fetchone()
        if found is None:
            return Catalog()
        if found[0] != kept.revision:
            (body,) = db.execute("SELECT body FROM catalog").fetchone()
            try:
                kept = self._parsed = Catalog.from_json(json.loads(body))
            except (ValueError, KeyError, TypeError) as error:
                raise BackendDataError(f"The definitions in {self._database.file} are damaged ({error}).") from error
        return kept

    def apply(self, definitions: Catalog, *, expected: str) -> bool:
        """Replace the catalogue, and delete what nobody can read any more."""
        with self._database.writing() as db:
            before = self._catalog(db)
            if before.revision != expected:
                return False
            gone = {view for view in before.views if view not in definitions.views}
            for view in gone.union(breaking_views(before, definitions)):
                for table in OF_A_VIEW:
                    db.execute(f"DELETE FROM {table} WHERE view = ?", (view,))
            body = json.dumps(definitions.to_json())
            db.execute("INSERT OR REPLACE INTO catalog VALUES (1, ?, ?)", (definitions.revision, body))
            return True

    # ---- history ------------------------------------------------------------------------------------------

    def append(self, view: str, rows: pa.Table, *, batch_id: str) -> bool:
        """Add a batch, once."""
        digest = content_hash(rows)
        with self._database.writing() as db:
            catalog = self._catalog(db)
            check_form(rows, catalog.view(view), catalog.join_keys(view))
            found = db.execute("SELECT digest FROM batches WHERE view = ? AND batch = ?", (view, batch_id)).fetchone()
            if found is not None and found[0] != digest:
                raise InvalidBatchError(
                    f"The batch {batch_id!r} is in the history of {view!r} with other rows (W-2). Give it another id."
                )
            if found is None:
                types = coding.column_types(catalog, view)
                packed = coding.packed_history(rows, types, catalog.view(view).event_column)
                db.executemany("INSERT INTO history VALUES (?, ?, ?)", ((view, *row) for row in packed))
                db.execute("INSERT INTO batches VALUES (?, ?, ?)", (view, batch_id, digest))
                _advance(db, view)
            return found is None

    def scan(
        self, view: str, columns: Sequence[str], *, keys: pa.Table | None = None, until_us: int | None = None
    ) -> Sequence[ArrowRows | ParquetRows]:
        """Return the user's own source and what was appended up to ``until_us``; ``keys`` is ignored."""
        with self._database.reading() as db:
            catalog = self._catalog(db)
            definition = catalog.view(view)
            wanted = "SELECT body FROM history WHERE view = ? AND (? IS NULL OR event_us <= ?)"
            bodies = [body for (body,) in db.execute(wanted, (view, until_us, until_us))]
        parts = source_parts(definition, catalog.join_keys(view), catalog.bases[view])
        rows = coding.unpacked_history(bodies, coding.column_types(catalog, view))
        return [*parts, ArrowRows(rows.to_reader())]

    # ---- online -------------------------------------------------------------------------------------------

    def online_write(self, view: str, keys: Sequence[Key], rows: Sequence[OnlineRow], *, at_us: int) -> int:
        """Merge rows, all in one transaction."""
        incoming: dict[bytes, list[OnlineRow]] = {}
        for key, row in zip(keys, rows, strict=True):
            incoming.setdefault(coding.packed_key(key), []).append(row)
        changed, new, newest = 0, 0, None
        with self._database.writing() as db:
            definition = self._catalog(db).view(view)
            for name, given in incoming.items():
                body = _kept(db, view, name)
                before = () if body is None else coding.unpacked_online(body)
                after = merge(before, given, definition, at_us=at_us)
                packed = coding.packed_online(after)
                if packed != body:
                    db.execute("INSERT OR REPLACE INTO online VALUES (?, ?, ?)", (view, name, packed))
                    changed += 1
                    new += body is None
                    newest = after[0].event_us if newest is None else max(newest, after[0].event_us)
            _advance(db, view, newest, new)
        return changed

    def online_read(self, view: str, keys: Sequence[Key], *, at_us: int) -> Sequence[OnlineRow | None]:
        """Read every key from one snapshot."""
        with self._database.reading() as db:
            self._catalog(db).view(view)  # raises for a view that is not there
            bodies = [_kept(db, view, coding.packed_key(key)) for key in keys]
        return [None if body is None else pick(coding.unpacked_online(body), at_us=at_us) for body in bodies]

    # ---- the rest -----------------------------------------------------------------------------------------

    def position(self, view: str) -> Position:
        """Return what `_advance` counted."""
        with self._database.reading() as db:
            self._catalog(db).view(view)
            found = db.execute("SELECT writes, newest_us, keys FROM progress WHERE view = ?", (view,)).fetchone()
        return Position(*found) if found else Position(0, None, 0)

    def ping(self, deadline: float) -> float:
        """Read something; in WAL mode that waits for nobody."""
        begun = time.perf_counter()
        with self._database.reading() as db:
            db.execute("SELECT revision FROM catalog").fetchone()
        return time.perf_counter() - begun

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()


def _kept(db: sqlite3.Connection, view: str, key: bytes) -> bytes | None:
    found = db.execute("SELECT body FROM online WHERE view = ? AND key = ?", (view, key)).fetchone()
    return None if found is None else found[0]


def _advance(db: sqlite3.Connection, view: str, newest_us: int | None = None, keys: int = 0) -> None:
    """Count one write of ``view``, in its transaction."""
    db.execute("INSERT OR IGNORE INTO progress VALUES (?, 0, NULL, 0)", (view,))
    db.execute(
        "UPDATE progress SET writes = writes + 1, keys = keys + ?,"
        " newest_us = max(ifnull(newest_us, ?), ifnull(?, newest_us)) WHERE view = ?",
        (keys, newest_us, newest_us, view),
    )
