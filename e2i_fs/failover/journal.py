"""The journal: every write, durable with its rows before any backend is sent it, and who has not taken it yet (X-5).

A write is missed by every backend until it is struck off there, so what remains after a crash is what may have been
missed. Rows are kept, the newest first, up to ``max_bytes``: they serve backends that are behind, and those that must
be made anew. What of them is given up is known for each view, so that nobody takes the rest for the whole.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from e2i_fs.entries import Entry, decode_rows, encode_rows
from e2i_fs.errors import BackendUnavailableError, InvalidBatchError
from e2i_fs.failover.facts import Behind, Facts, Fault, UnderWay
from e2i_fs.failover.parity import Standing
from e2i_fs.forks import RenewedLock
from e2i_fs.ops.records import Records

__all__ = ["Fault", "Journal", "JournalState", "Missed"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, view TEXT NOT NULL, key TEXT NOT NULL, kind TEXT NOT NULL, content TEXT NOT NULL,
    details TEXT NOT NULL, payload BLOB, bytes INTEGER NOT NULL, sent INTEGER NOT NULL,
    claims INTEGER NOT NULL DEFAULT 1, doubtful INTEGER NOT NULL DEFAULT 0, UNIQUE (view, key));
CREATE INDEX IF NOT EXISTS entries_kept ON entries (seq) WHERE payload IS NOT NULL;
CREATE TABLE IF NOT EXISTS members (name TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS heads (view TEXT PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS missed (backend TEXT NOT NULL, view TEXT NOT NULL, seq INTEGER NOT NULL, writer TEXT,
    PRIMARY KEY (backend, view, seq)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS missed_left ON missed (backend, view, seq) WHERE writer IS NULL;
CREATE INDEX IF NOT EXISTS missed_under_way ON missed (seq) WHERE writer IS NOT NULL;
CREATE INDEX IF NOT EXISTS missed_by_whom ON missed (seq);
CREATE TABLE IF NOT EXISTS behind (backend TEXT NOT NULL, view TEXT NOT NULL, count INTEGER NOT NULL,
    PRIMARY KEY (backend, view)) WITHOUT ROWID;
INSERT OR IGNORE INTO behind SELECT backend, view, count(*) FROM missed GROUP BY backend, view;
CREATE TRIGGER IF NOT EXISTS one_more AFTER INSERT ON missed BEGIN
    INSERT INTO behind VALUES (NEW.backend, NEW.view, 1) ON CONFLICT (backend, view) DO UPDATE SET count = count + 1; END;
CREATE TRIGGER IF NOT EXISTS one_less AFTER DELETE ON missed BEGIN
    UPDATE behind SET count = count - 1 WHERE backend = OLD.backend AND view = OLD.view; END;
CREATE TABLE IF NOT EXISTS quarantined (backend TEXT NOT NULL, view TEXT NOT NULL, kind TEXT NOT NULL, reason TEXT NOT NULL,
    PRIMARY KEY (backend, view)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS quarantines (backend TEXT NOT NULL, view TEXT NOT NULL, count INTEGER NOT NULL,
    PRIMARY KEY (backend, view)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS complete (view TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS intended (view TEXT PRIMARY KEY, fingerprint TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS reached (backend TEXT NOT NULL, view TEXT NOT NULL, sequence INTEGER NOT NULL,
    PRIMARY KEY (backend, view)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS given_up (view TEXT PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS size (one INTEGER PRIMARY KEY CHECK (one = 0), bytes INTEGER NOT NULL);
INSERT OR IGNORE INTO size VALUES (0, 0);
"""
_KEPT_KEYS = 10_000  # how far back a retried write is still known by its key


class Missed(NamedTuple):
    """A write that a backend has not taken. ``entry`` is None when its rows were given up; ``busy``: it is under way."""

    seq: int
    view: str
    busy: bool
    entry: Entry | None


@dataclass(frozen=True, slots=True)
class JournalState:
    """What the journal holds (X-5): writes, how many of them still with rows, and which backends are behind.

    ``entries`` is the number of writes, ``kept`` those whose rows are still there, taking ``bytes`` of at most
    ``max_bytes``. ``missed`` counts, by backend and view, the writes not taken. ``diverged`` says, by backend and view,
    why its rows are in quarantine. ``given_up`` has, by view, the number of the last write whose rows are no longer
    kept.

    >>> from e2i_fs.testing import example_store
    >>> two = {"backends": [{"name": "primary", "backend": "memory"}, {"name": "standby", "backend": "memory"}]}
    >>> with example_store(two) as store:
    ...     told = store.journal()
    >>> told.missed, told.diverged
    ({}, {})
    """

    entries: int
    kept: int
    bytes: int
    max_bytes: int
    missed: dict[str, dict[str, int]]
    diverged: dict[str, dict[str, str]]
    given_up: dict[str, int]


class Journal:
    """The journal of one store, shared by all processes that open it."""

    def __init__(self, records: Records, max_bytes: int) -> None:
        self._records = records
        self._max_bytes = max_bytes
        records.extend(_SCHEMA)
        self._facts = Facts((-1, -1), records.busy)
        self._reading = RenewedLock()

    # ---- who takes part (X-4) -----------------------------------------------------------------------------

    def members(self) -> set[str]:
        """Return the names of all backends that ever took part."""
        return {name for (name,) in self._records.query("SELECT name FROM members")}

    def enlist(self, names: Sequence[str], views: Sequence[str]) -> None:
        """Note who takes part. Who joins a store that has been written to, or has ``views``, has yet to get its rows."""
        if set(names) <= self.members():
            return
        with self._records.transaction() as db:
            known = {name for (name,) in db.execute("SELECT name FROM members")}
            written = {view for (view,) in db.execute("SELECT view FROM heads")}
            for name in names if known else ():
                if name not in known:
                    for view in sorted(written.union(views)):
                        self._quarantine(db, name, view, "late", "it joined the store later, and has not been rebuilt")
            db.executemany("INSERT OR IGNORE INTO members VALUES (?)", [(name,) for name in names])

    # ---- writing (X-5) ------------------------------------------------------------------------------------

    def begin(self, entry: Entry, backends: Sequence[str]) -> tuple[int, bool]:
        """Keep a write to come and return its number, and whether it is new.

        Until `applied` strikes one off, each of ``backends`` has missed a new write. The same key again with the same
        content (a retry) is the same write: who has it already has not missed it. With other content it is an
        `InvalidBatchError` (W-2).
        """
        payload = None if entry.rows is None else encode_rows(entry.rows)
        details = json.dumps(dict(entry.details))
        with self._records.transaction() as db:
            writer = self._records.writer  # not before: a forked child has none until it opens the records
            found = None
            for key in _keys_of_batch(entry):
                before = db.execute(
                    "SELECT seq, content FROM entries WHERE view = ? AND key = ?", (entry.view, key)
                ).fetchone()
                if before is not None and before[1] != entry.content:
                    raise InvalidBatchError(
                        f"View {entry.view!r}: the idempotency key {entry.key.partition(':')[2]!r} was used before with other "
                        "rows (W-2). Nothing was written; give this batch a key of its own."
                    )
                found = before if key == entry.key else found
            if found is not None:
                # Who has missed it still has, whatever becomes of this retry; but nobody else may forget it meanwhile.
                db.execute("UPDATE entries SET claims = claims + 1 WHERE seq = ?", (found[0],))
                return int(found[0]), False
            size = len(payload or b"")
            row = (entry.view, entry.key, entry.kind, entry.content, details, payload, size, len(backends))
            seq = db.execute(
                "INSERT INTO entries (view, key, kind, content, details, payload, bytes, sent) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                row,
            ).lastrowid
            assert seq is not None
            db.execute("INSERT OR REPLACE INTO heads VALUES (?, ?)", (entry.view, seq))
            db.executemany("INSERT INTO missed VALUES (?, ?, ?, ?)", [(b, entry.view, seq, writer) for b in backends])
            for (name,) in db.execute("SELECT name FROM members").fetchall():
                if name not in backends:  # another process may have it, or this one again some day
                    self._quarantine(db, name, entry.view, "late", "a write was made by a store that does not have it")
            (total,) = db.execute("UPDATE size SET bytes = bytes + ? RETURNING bytes", (size,)).fetchone()
            if total > self._max_bytes:
                self._give_up(db, total)
            if seq % 100 == 0:
                self._forget_old(db, seq - _KEPT_KEYS)
        return int(seq), True

    def _forget_old(self, db: Any, upto: int) -> None:
        """Forget the keys of old writes without rows, and old runs; a run that no later one stands for is given up."""
        old = "seq <= ? AND payload IS NULL AND seq NOT IN (SELECT seq FROM missed)"
        db.execute(
            "INSERT OR REPLACE INTO given_up SELECT view, max(seq) FROM entries e WHERE "
            f"{old} AND kind <> 'write' AND NOT EXISTS (SELECT 1 FROM entries l WHERE l.view = e.view AND l.kind = e.kind "
            "AND l.seq > e.seq) GROUP BY view",
            (upto,),
        )
        db.execute(f"DELETE FROM entries WHERE {old}", (upto,))

    def _give_up(self, db: Any, total: int) -> None:
        """Let go of the oldest rows until what is kept fits. Who still needs them has to be rebuilt, and will be."""
        gone = []
        # What every backend of its write still misses may be nowhere else: it is kept whatever its size.
        kept = db.execute(
            "SELECT seq, view, bytes FROM entries e WHERE payload IS NOT NULL "
            "AND (SELECT count(*) FROM missed m WHERE m.seq = e.seq) < sent ORDER BY seq"
        )
        for seq, view, size in kept:
            if total <= self._max_bytes:
                break
            total -= size
            gone.append((seq, view))
        db.executemany("UPDATE entries SET payload = NULL, bytes = 0 WHERE seq = ?", [(seq,) for seq, _ in gone])
        db.executemany("INSERT OR REPLACE INTO given_up VALUES (?, ?)", [(view, seq) for seq, view in gone])
        db.execute("UPDATE size SET bytes = ?", (total,))

    def applied(self, backend: str, view: str, seq: int, reached: int, quarantines: int) -> None:
        """Strike off one write that ``backend`` took, and note how far its own count of writes has come at most.

        ``quarantines`` is how often it had been in quarantine when the write began: if it was again since, its rows may
        have been made anew without this write, so it gets it by replay.
        """
        with self._records.transaction() as db:
            sql = "SELECT count FROM quarantines WHERE backend = ? AND view = ?"
            found = db.execute(sql, (backend, view)).fetchone()
            if (found[0] if found else 0) == quarantines:
                self._note_reached(db, backend, view, reached)
                db.execute("DELETE FROM missed WHERE backend = ? AND view = ? AND seq = ?", (backend, view, seq))

    def end(self, view: str, seq: int) -> None:
        """Say that nobody is busy with the write any more: who has not taken it has missed it."""
        try:
            if self._records.query("SELECT 1 FROM missed WHERE seq = ? AND writer IS NOT NULL", (seq,)):
                with self._records.transaction() as db:
                    db.execute("UPDATE missed SET writer = NULL WHERE view = ? AND seq = ?", (view, seq))
        except BackendUnavailableError:
            self._records.disown()  # it cannot be noted, but whoever looks sees that nobody is at it
            raise

    def doubt(self, seq: int) -> None:
        """Note that a backend failed while it was at a write: it may have taken it, or a part of it."""
        with self._records.transaction() as db:
            db.execute("UPDATE entries SET doubtful = 1 WHERE seq = ?", (seq,))

    def forget(self, view: str, seq: int) -> bool:
        """Strike off a write that nobody took, not even in part, and nobody else is at; return whether that is so."""
        with self._records.transaction() as db:
            untaken = (
                "SELECT 1 FROM entries e WHERE seq = ? AND claims = 1 AND doubtful = 0 "
                "AND (SELECT count(*) FROM missed m WHERE m.seq = e.seq) = sent"
            )
            if db.execute(untaken, (seq,)).fetchone() is None:
                return False
            db.execute("DELETE FROM missed WHERE view = ? AND seq = ?", (view, seq))
            self._remove(db, "seq = ?", (seq,))
        return True

    def is_missed_by_all(self, seq: int) -> bool:
        """Return whether no backend has noted that it took this write whole."""
        sql = "SELECT 1 FROM entries e WHERE seq = ? AND (SELECT count(*) FROM missed m WHERE m.seq = e.seq) = sent"
        return bool(self._records.query(sql, (seq,)))

    def strike_runs(self, backend: str, view: str, kind: str, before: int) -> None:
        """Strike off missed runs of one kind up to ``before``: a later one did all that they would have done."""
        with self._records.transaction() as db:
            db.execute(
                "DELETE FROM missed WHERE backend = ? AND view = ? AND seq <= ? "
                "AND seq IN (SELECT seq FROM entries WHERE view = ? AND kind = ?)",
                (backend, view, before, view, kind),
            )

    # ---- what is behind (X-4) -----------------------------------------------------------------------------

    def facts(self) -> Facts:
        """Return what is known now; the small tables are read again if any process changed them since."""
        version = self._records.version()
        if version != self._facts.version:
            with self._reading, self._records.snapshot() as query:
                self._facts = self._read(version, query)
        return self._facts

    def _read(self, version: tuple[int, int], query: Callable[[str], list[Any]]) -> Facts:
        under_way: dict[tuple[str, str], list[UnderWay]] = {}
        for backend, view, seq, writer, taken in query(
            "SELECT m.backend, m.view, m.seq, m.writer, (SELECT count(*) FROM missed o WHERE o.seq = m.seq) < e.sent "
            "FROM missed m JOIN entries e ON e.seq = m.seq WHERE m.writer IS NOT NULL ORDER BY m.seq"
        ):
            under_way.setdefault((backend, view), []).append(UnderWay(seq, writer, bool(taken)))
        behind = query(
            "SELECT b.backend, b.view, b.count, (SELECT min(seq) FROM missed m WHERE m.backend = b.backend AND m.view = b.view), "
            "(SELECT min(seq) FROM missed m WHERE m.backend = b.backend AND m.view = b.view AND m.writer IS NULL) "
            "FROM behind b WHERE b.count > 0"
        )
        faults = query("SELECT backend, view, kind, reason FROM quarantined")
        return Facts(
            version,
            self._records.busy,
            {(b, v): Behind(n, first, left, tuple(under_way.get((b, v), ()))) for b, v, n, first, left in behind},
            dict(query("SELECT view, seq FROM heads")),
            {(b, v): (kind, reason) for b, v, kind, reason in faults},
            {(b, v): n for b, v, n in query("SELECT * FROM quarantines")},
        )

    def standing(self, backend: str, view: str) -> Standing:
        """Return the facts of one backend and view as they are now."""
        return self.facts().standing(backend, view)

    def quarantined(self, backend: str) -> dict[str, tuple[Fault, str]]:
        """Return what is wrong with the rows of ``backend`` and why that is known, by view."""
        return self.facts().faults(backend)

    def written(self) -> list[str]:
        """Return the views that were ever written to."""
        return sorted(self.facts().heads)

    def head(self, view: str) -> int:
        """Return the number of the last write to ``view``."""
        return self.facts().heads.get(view, 0)

    def missed(self, backend: str, view: str | None = None) -> Iterator[Missed]:
        """Yield what ``backend`` has not taken, in order; the rows of one at a time are in memory."""
        where, values = ("", (backend,)) if view is None else (" AND m.view = ?", (backend, view))
        sql = f"SELECT m.seq, m.view, m.writer FROM missed m WHERE m.backend = ?{where} ORDER BY m.seq"
        for seq, name, writer in self._records.query(sql, values):
            busy = writer is not None and self._records.busy(writer)
            yield Missed(seq, name, busy, None if busy else self.entry(seq))

    def still_missed(self, backend: str, missed: Missed) -> bool:
        """Return whether nobody has struck it off since."""
        where = "backend = ? AND view = ? AND seq = ?"
        return bool(self._records.query(f"SELECT 1 FROM missed WHERE {where}", (backend, missed.view, missed.seq)))

    def entry(self, seq: int) -> Entry | None:
        """Return one write, None when it or its rows were given up."""
        sql = "SELECT view, kind, key, content, details, payload FROM entries WHERE seq = ?"
        found = self._records.query(sql, (seq,))
        if not found:
            return None
        view, kind, key, content, details, payload = found[0]
        made = Entry(view, kind, key, content, json.loads(details))
        if made.is_run:
            return made
        if payload is None:
            return None
        return Entry(view, kind, key, content, {**made.details, "replayed": True}, decode_rows(payload))

    def history(self, view: str) -> list[int]:
        """Return the numbers of all writes to ``view`` that are kept, in order."""
        kept = "SELECT seq FROM entries WHERE view = ? AND (payload IS NOT NULL OR kind <> 'write') ORDER BY seq"
        return [seq for (seq,) in self._records.query(kept, (view,))]

    def gap(self, view: str) -> str | None:
        """Return why the writes that are kept are not all that there ever were; None when they are."""
        gone = self._records.query("SELECT seq FROM given_up WHERE view = ?", (view,))
        if gone:
            return f"the journal was full and keeps the rows of writes up to number {gone[0][0]} no longer"
        known = self._records.query("SELECT 1 FROM complete WHERE view = ?", (view,))
        return None if known else "rows were written to it before it was behind failover"

    def intend(self, fingerprints: Mapping[str, str]) -> None:
        """Note how views are about to be defined that have no rows then, so that the journal will have all of them."""
        with self._records.transaction() as db:
            db.executemany("INSERT OR REPLACE INTO intended VALUES (?, ?)", list(fingerprints.items()))

    def intended(self) -> dict[str, str]:
        """Return the fingerprints of what was to be defined, and is not known to have been."""
        return dict(self._records.query("SELECT view, fingerprint FROM intended"))

    def defined(
        self, notes: Mapping[str, str], anew: Sequence[str], gone: Sequence[str], fingerprints: Mapping[str, str]
    ) -> None:
        """Keep ``notes`` of a catalogue, and in the same step forget what its changes have dropped.

        ``anew`` are views that lost their rows by a breaking change, ``gone`` those that are no longer there. The journal
        has everything of those whose ``fingerprints`` were intended: they were made by this store, without rows.
        """
        with self._records.transaction() as db:
            for view in (*anew, *gone):
                self._forget(db, view)
            for view in gone:
                db.execute("DELETE FROM heads WHERE view = ?", (view,))
            for view, fingerprint in db.execute("SELECT view, fingerprint FROM intended").fetchall():
                if fingerprints.get(view) == fingerprint:
                    db.execute("INSERT OR IGNORE INTO complete VALUES (?)", (view,))
                    db.execute("DELETE FROM intended WHERE view = ?", (view,))
            db.executemany("INSERT OR REPLACE INTO notes VALUES (?, ?)", list(notes.items()))

    def reached(self, backend: str, view: str) -> int:
        """Return how far the backend's own count of writes had come when it last took one."""
        found = self._records.query("SELECT sequence FROM reached WHERE backend = ? AND view = ?", (backend, view))
        return int(found[0][0]) if found else 0

    def quarantine(self, backend: str, view: str, fault: Fault, reason: str) -> bool:
        """Note that the rows of ``backend`` cannot be believed (X-10); return False if that was known."""
        with self._records.transaction() as db:
            return self._quarantine(db, backend, view, fault, reason)

    def _quarantine(self, db: Any, backend: str, view: str, fault: Fault, reason: str) -> bool:
        row = (backend, view, fault, reason)
        new: bool = db.execute("INSERT OR IGNORE INTO quarantined VALUES (?, ?, ?, ?)", row).rowcount > 0
        if new:
            db.execute(
                "INSERT INTO quarantines VALUES (?, ?, 1) ON CONFLICT (backend, view) DO UPDATE SET count = count + 1",
                (backend, view),
            )
        return new

    def rebuilt(self, backend: str, view: str, upto: int, reached: int) -> None:
        """End the quarantine of rows that were made anew and have every write up to ``upto``."""
        with self._records.transaction() as db:
            db.execute("DELETE FROM quarantined WHERE backend = ? AND view = ?", (backend, view))
            db.execute("DELETE FROM missed WHERE backend = ? AND view = ? AND seq <= ?", (backend, view, upto))
            db.execute("INSERT OR REPLACE INTO reached VALUES (?, ?, ?)", (backend, view, reached))

    # ---- forgetting ---------------------------------------------------------------------------------------

    def _forget(self, db: Any, view: str) -> None:
        for table in ("missed", "quarantined", "reached", "given_up", "complete"):
            db.execute(f"DELETE FROM {table} WHERE view = ?", (view,))
        self._remove(db, "view = ?", (view,))

    def readmit(self, backend: str, views: Sequence[str]) -> None:
        """Forget what is held against ``backend`` for these views: somebody has made it whole.

        A write that is under way meanwhile is none of it: whether it was taken is not known yet.
        """
        with self._records.transaction() as db:
            for view in views:
                for table in ("quarantined", "reached"):
                    db.execute(f"DELETE FROM {table} WHERE backend = ? AND view = ?", (backend, view))
                where = "backend = ? AND view = ?"
                rows = db.execute(f"SELECT seq, writer FROM missed WHERE {where}", (backend, view)).fetchall()
                over = [seq for seq, writer in rows if writer is None or not self._records.busy(writer)]
                db.executemany(f"DELETE FROM missed WHERE {where} AND seq = ?", [(backend, view, seq) for seq in over])

    def state(self) -> JournalState:
        """Return what is there, for a person to see."""
        facts = self.facts()
        sql = "SELECT count(*), count(*) FILTER (payload IS NOT NULL), total(bytes) FROM entries"
        entries, kept, size = self._records.query(sql.replace("FILTER (", "FILTER (WHERE "))[0]
        missed: dict[str, dict[str, int]] = {}
        for (name, view), rows in facts.behind.items():
            missed.setdefault(name, {})[view] = rows.number
        diverged: dict[str, dict[str, str]] = {}
        for (name, view), (_, why) in facts.quarantined.items():
            diverged.setdefault(name, {})[view] = why
        given_up = dict(self._records.query("SELECT view, seq FROM given_up"))
        return JournalState(entries, kept, int(size), self._max_bytes, missed, diverged, given_up)

    # ---- inside -------------------------------------------------------------------------------------------

    def _note_reached(self, db: Any, backend: str, view: str, reached: int) -> None:
        db.execute(
            "INSERT INTO reached VALUES (?, ?, ?) "
            "ON CONFLICT (backend, view) DO UPDATE SET sequence = max(sequence, excluded.sequence)",
            (backend, view, reached),
        )

    def _remove(self, db: Any, where: str, values: Sequence[Any]) -> None:
        (size,) = db.execute(f"SELECT total(bytes) FROM entries WHERE {where}", values).fetchone()
        db.execute(f"DELETE FROM entries WHERE {where}", values)
        db.execute("UPDATE size SET bytes = bytes - ?", (int(size),))


def _keys_of_batch(entry: Entry) -> list[str]:
    """Return the keys under which a batch of one idempotency key may be kept: once for each place that it goes to (W-2)."""
    if entry.is_run:
        return [entry.key]
    batch_id = entry.key.partition(":")[2]
    return [f"{to}:{batch_id}" for to in ("online", "offline", "both")]
