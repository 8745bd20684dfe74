"""Where a wrong cell came from: the rows of its key's history that hold its value, and which of them is the likeliest.

A value may stand in several rows of a history, seen and unseen. For each column the kinds are tried in the order of how
many of its wrong cells each could explain, the more harmless first where two explain as many: one mistake made in every
row is likelier than many, and nobody is accused of looking ahead for a value that also lay behind.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from e2i_fs.backend import Knowledge
from e2i_fs.pit.order import winner_order
from e2i_fs.quality.leakage.answers import Answers
from e2i_fs.quality.leakage.bench import Bench
from e2i_fs.quality.leakage.compare import comparable, prepared
from e2i_fs.quality.leakage.kinds import LeakKind
from e2i_fs.quality.leakage.moments import Moments, looks_ahead
from e2i_fs.quality.leakage.question import Judged, Question
from e2i_fs.results import HistoricalResult

__all__ = ["Suspect", "load_history", "trace"]

_DAY = 86_400_000_000
_FEW_DIFFER = 0.95
"""The share of cells that one value must fill to be called a fill."""


@dataclass(frozen=True, slots=True)
class Suspect:
    """A column with wrong cells: its number, what it should be, its name and type on the bench, how many differ.

    ``recoded`` says that it may be its answers in other words.
    """

    n: int
    judged: Judged
    column: str
    given: pa.DataType
    count: int
    recoded: bool = False


def trace(
    bench: Bench, question: Question, answers: Answers, view: str, suspects: list[Suspect]
) -> tuple[dict[int, pa.Table], str]:
    """Return for each suspect the table of its wrong cells, and what was found of the view as a whole, in words.

    A suspect that is its answers in other words, and not a later moment's, is left out. A table has ``row``, ``kind``, ``e`` and ``c`` (of the source row, µs, or None), ``key`` (text, where the source row
    is another entity's) and ``default_gives``.
    """
    if not view:  # computed on demand: there is no history to look in
        return {s.n: _untraced(bench, s) for s in suspects if not s.recoded}, ""
    knowledge = answers.knowledge[view]
    result = answers.results[suspects[0].judged.ref]
    load_history(
        bench, question, result, view, filter_by_created=knowledge.filter_by_created, as_of_us=knowledge.as_of_us
    )
    suspects = [s for s in suspects if not s.recoded or looks_ahead(bench, s, knowledge)]
    if not suspects:
        return {}, ""
    moments = Moments.found(bench, suspects, knowledge)
    return {s.n: _traced(bench, question, answers, view, s, knowledge, moments) for s in suspects}, moments.hint


def _untraced(bench: Bench, s: Suspect) -> pa.Table:
    kind = f"CASE WHEN f IS NULL THEN '{LeakKind.LOST_VALUE}' ELSE '{LeakKind.UNEXPLAINED}' END"
    return bench.table_of(
        f"SELECT row, {kind} AS kind, NULL::BIGINT AS e, NULL::BIGINT AS c, NULL::VARCHAR AS key, default_gives FROM diff{s.n}"
    )


def load_history(
    bench: Bench,
    question: Question,
    result: HistoricalResult,
    view: str,
    *,
    filter_by_created: bool = False,
    as_of_us: int | None = None,
) -> None:
    """Make ``asked`` (row, t, kid) and ``h`` (the history of the keys asked, with ``rank`` by P-4 and ``a``, when usable)."""
    knowledge = Knowledge(filter_by_created, as_of_us)
    join_keys = question.catalog.join_keys(view)
    definition = question.catalog.view(view)
    keyed = question.entities.keyed(join_keys)
    listed = ", ".join(f"k{i}" for i in range(len(join_keys)))
    known = " AND ".join(f"k{i} IS NOT NULL" for i in range(len(join_keys))) or "true"
    same = " AND ".join(f"a.k{i} = b.k{i}" for i in range(len(join_keys))) or "true"
    bench.put("keyed_rows", _plain(keyed.append_column("row", pa.array(range(len(keyed)), pa.int64()))))
    bench.put("history", _plain(result.history(view)))
    group = (
        f"SELECT {listed}, row_number() OVER () AS kid FROM (SELECT DISTINCT {listed} FROM keyed_rows WHERE {known})"
    )
    bench.run(f"CREATE OR REPLACE TEMP TABLE keyed AS {group if listed else 'SELECT 1 AS kid'}")
    bench.run(
        f"CREATE OR REPLACE TEMP TABLE asked AS SELECT a.row, a.t, b.kid FROM keyed_rows a LEFT JOIN keyed b ON {same}"
    )
    order = ", ".join(winner_order(definition))
    bench.run(f"""
        CREATE OR REPLACE TEMP TABLE h AS
        SELECT *, {_usable_at(knowledge)} AS a, row_number() OVER (PARTITION BY kid ORDER BY {order}) AS rank
        FROM (SELECT b.kid, a.* FROM history a JOIN keyed b ON {same} WHERE a.e IS NOT NULL)""")
    ((lag,),) = bench.rows_of("SELECT coalesce(median(c - e), 0) FROM h WHERE c IS NOT NULL")
    bench.run(f"CREATE OR REPLACE TEMP TABLE usual AS SELECT greatest({_DAY}, 20 * {lag})::BIGINT AS lag")


def _plain(table: pa.Table) -> pa.Table:
    return pa.table({name: prepared(table.column(name)) for name in table.column_names})


def _usable_at(knowledge: Knowledge) -> str:
    """Return SQL for the moment (µs) from which a row may answer, NULL for one that never may (P-3)."""
    at = "greatest(e, c)" if knowledge.filter_by_created else "e"
    if knowledge.as_of_us is not None:
        return f"CASE WHEN c <= {knowledge.as_of_us} THEN {at} END"
    return f"CASE WHEN c IS NOT NULL THEN {at} END" if knowledge.counts else at


def _traced(
    bench: Bench, question: Question, answers: Answers, view: str, s: Suspect, knowledge: Knowledge, moments: Moments
) -> pa.Table:
    """Return the wrong cells of one column, each with its kind and source row."""
    definition = question.catalog.view(view)
    _, value, _ = comparable(s.given, s.judged.dtype, s.column, f"v{s.judged.position}")
    ttl = definition.ttl_us
    expired = "false" if ttl is None else f"(d.t - seen.e > {ttl})"
    moved = moments.matching(s, ttl)
    bench.run(f"CREATE OR REPLACE TEMP TABLE own AS SELECT kid, e, c, a, {value} AS f FROM h")
    # For each wrong cell the newest row of its key that holds its value and was usable, the newest that had happened,
    # and the first that had not; and the event time of the row that answers, for why an answer is missing.
    bench.run(f"""
        CREATE OR REPLACE TEMP TABLE match AS
        WITH d AS (SELECT diff{s.n}.*, asked.kid FROM diff{s.n} JOIN asked USING (row)),
        seen AS (SELECT kid, f, a, max(e) AS e, max_by(c, e) AS c FROM own WHERE f IS NOT NULL AND a IS NOT NULL GROUP BY ALL),
        past AS (SELECT kid, f, e, max(c) AS c FROM own WHERE f IS NOT NULL GROUP BY ALL),
        next AS (SELECT kid, f, e, min(c) AS c FROM own WHERE f IS NOT NULL GROUP BY ALL),
        steps AS (SELECT kid, a, max(e) AS e FROM own WHERE a IS NOT NULL GROUP BY ALL),
        best AS (SELECT kid, a, max(e) OVER (PARTITION BY kid ORDER BY a ROWS UNBOUNDED PRECEDING) AS e FROM steps)
        SELECT d.*, best.e AS winner_e, {moved} AS moved_e,
               seen.e AS seen_e, seen.c AS seen_c, seen.e IS NOT NULL AND {expired} AS expired,
               past.e AS past_e, past.c AS past_c, next.e AS next_e, next.c AS next_c
        FROM d
        ASOF LEFT JOIN seen ON d.kid = seen.kid AND d.f = seen.f AND d.t >= seen.a
        ASOF LEFT JOIN past ON d.kid = past.kid AND d.f = past.f AND d.t >= past.e
        ASOF LEFT JOIN next ON d.kid = next.kid AND d.f = next.f AND d.t < next.e
        ASOF LEFT JOIN best ON d.kid = best.kid AND d.t >= best.a""")
    return _judged(bench, question, answers, view, s, knowledge)


def _judged(
    bench: Bench, question: Question, answers: Answers, view: str, s: Suspect, knowledge: Knowledge
) -> pa.Table:
    late = "(past_e IS NOT NULL AND seen_e IS NULL)" if knowledge.counts else "false"
    if knowledge.filter_by_created:  # a later row of the same value is late although an older one was seen
        late = "(past_e IS NOT NULL AND (seen_e IS NULL OR past_e > seen_e OR default_gives))"
    could = {
        LeakKind.STALE_VALUE: "(seen_e IS NOT NULL AND NOT expired)",
        LeakKind.EXPIRED_VALUE: "(seen_e IS NOT NULL AND expired)",
        LeakKind.LATE_VALUE: late,
        LeakKind.FUTURE_VALUE: "next_e IS NOT NULL",
    }
    counts = bench.row_of("SELECT " + ", ".join(f"count(*) FILTER ({sql})" for sql in could.values()) + " FROM match")
    order = sorted(could, key=lambda kind: -counts[list(could).index(kind)])  # stable: the more harmless first
    cases = ["WHEN moved_e IS NOT NULL THEN 'TIME_SHIFT'"]
    if _filled(bench):
        cases.append("WHEN a IS NULL AND f = (SELECT mode(f) FROM match WHERE a IS NULL) THEN 'FILLED_VALUE'")
    cases += [f"WHEN {could[kind]} THEN '{kind}'" for kind in order]
    bench.run(f"""
        CREATE OR REPLACE TEMP TABLE judged AS
        SELECT *, CASE WHEN unfit THEN 'UNEXPLAINED' WHEN f IS NULL AND default_gives THEN 'LATE_VALUE' WHEN f IS NULL THEN 'LOST_VALUE' {" ".join(cases)} END AS kind FROM match""")
    _of_others(bench, question, answers, view, s)
    at = """CASE kind WHEN 'TIME_SHIFT' THEN moved_e WHEN 'FUTURE_VALUE' THEN next_e WHEN 'LATE_VALUE' THEN past_e
            WHEN 'STALE_VALUE' THEN seen_e WHEN 'EXPIRED_VALUE' THEN seen_e WHEN 'WRONG_ENTITY' THEN other_e END"""
    known = """CASE kind WHEN 'FUTURE_VALUE' THEN next_c WHEN 'LATE_VALUE' THEN past_c WHEN 'STALE_VALUE' THEN seen_c
            WHEN 'EXPIRED_VALUE' THEN seen_c WHEN 'WRONG_ENTITY' THEN other_c END"""
    ttl = question.catalog.view(view).ttl_us
    # The row that answers is there and says NULL: whatever stands there instead was put there (P-5).
    fresh = "winner_e IS NOT NULL" + ("" if ttl is None else f" AND t - winner_e <= {ttl}")
    return bench.table_of(f"""
        SELECT row,
               CASE WHEN kind IN ('STALE_VALUE', 'EXPIRED_VALUE') AND a IS NULL AND {fresh} THEN 'FILLED_VALUE'
                    WHEN kind = 'LATE_VALUE' AND c - e > (SELECT lag FROM usual) THEN 'BACKFILLED_ROW'
                    ELSE kind END AS kind, e, c, key, default_gives
        FROM (SELECT row, t, winner_e, kind, a, {at} AS e, {known} AS c, key, default_gives FROM sourced) ORDER BY row""")


def _filled(bench: Bench) -> bool:
    """Return whether one value stands in nearly all cells that should be missing, more than any history explains."""
    cells, most, ahead = bench.row_of("""
        SELECT count(*), max(n), max(ahead) FROM (
            SELECT f, count(*) OVER (PARTITION BY f) AS n, count(next_e) OVER () + count(past_e) OVER () AS ahead
            FROM match WHERE a IS NULL AND f IS NOT NULL)""")
    return bool(cells and cells >= 3 and most >= _FEW_DIFFER * cells and ahead < _FEW_DIFFER * cells)


def _of_others(bench: Bench, question: Question, answers: Answers, view: str, s: Suspect) -> None:
    """Make ``sourced``: ``judged`` with the rows of other entities for cells that their own key's history does not hold.

    A value that most entities have had says nothing of whose it is.
    """
    left = bench.row_of("SELECT count(*) FROM judged WHERE kind IS NULL")[0]
    if not left:
        bench.run(
            "CREATE OR REPLACE TEMP TABLE sourced AS SELECT *, NULL::BIGINT AS other_e, NULL::BIGINT AS other_c, NULL::VARCHAR AS key FROM judged"
        )
        return
    join_keys = list(question.catalog.join_keys(view))
    _, value, _ = comparable(s.given, s.judged.dtype, s.column, f"v{s.judged.position}")
    bench.put("everyone", _plain(answers.results[s.judged.ref].history(view, everyone=True)))
    key = " || ', ' || ".join(f"'{_name(n)}=' || CAST(k{i} AS VARCHAR)" for i, n in enumerate(join_keys)) or "''"
    bench.run(f"""
        CREATE OR REPLACE TEMP TABLE others AS
        SELECT f, e, any_value(c) AS c, any_value(key) AS key, any_value(rare) AS rare FROM (
            SELECT *, count(DISTINCT key) OVER (PARTITION BY f) <= greatest(2, (SELECT count(DISTINCT {key}) FROM everyone) / 3) AS rare
            FROM (SELECT {value} AS f, e, c, {key} AS key FROM everyone WHERE e IS NOT NULL)
            WHERE f IN (SELECT f FROM judged WHERE kind IS NULL)) GROUP BY f, e""")
    fill = _mostly_one(bench)
    bench.run(f"""
        CREATE OR REPLACE TEMP TABLE sourced AS
        SELECT judged.* REPLACE (CASE WHEN kind IS NOT NULL THEN kind
                   WHEN judged.a IS NULL AND {fill} THEN 'FILLED_VALUE'
                   WHEN coalesce(o.rare, p.rare) THEN 'WRONG_ENTITY'
                   WHEN judged.a IS NULL THEN 'FILLED_VALUE' ELSE 'UNEXPLAINED' END AS kind),
               coalesce(o.e, p.e) AS other_e, coalesce(o.c, p.c) AS other_c,
               CASE WHEN kind IS NULL AND coalesce(o.rare, p.rare) THEN coalesce(o.key, p.key) END AS key
        FROM judged ASOF LEFT JOIN others o ON judged.f = o.f AND judged.t >= o.e
        ASOF LEFT JOIN others p ON judged.f = p.f AND judged.t < p.e""")


def _mostly_one(bench: Bench) -> str:
    cells, most = bench.row_of("""
        SELECT coalesce(sum(n), 0), coalesce(max(n), 0) FROM (
            SELECT count(*) AS n FROM judged WHERE kind IS NULL AND a IS NULL GROUP BY f)""")
    return "true" if cells >= 3 and most >= 0.9 * cells else "false"


def _name(text: str) -> str:
    return text.replace("'", "''")
