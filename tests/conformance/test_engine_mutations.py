"""Each predicate and each clause of the real point-in-time engine is needed: without it the kit fails DuckDB."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from e2i_fs_duckdb.conformance import DuckDBHarness

from e2i_fs.pit import engine, latest, order
from e2i_fs.testing.mutants import FAST, examine
from e2i_fs.testing.mutants.rewriting import rewritten
from e2i_fs.testing.runner import examine as examine_all

_EDGE = "test_p1_a_row_answers_from_its_own_microsecond_on"
_ORACLE = "test_p1_the_answer_is_the_greatest_row_up_to_its_time"
_FUTURE = "test_p10_rows_added_that_nobody_may_see_change_nothing"
_KNOWN = "test_p3_what_was_not_known_is_not_there"
_OLDER = "test_p3_an_older_event_that_becomes_known_later_hides_no_newer_one"
_CREATED = "test_p3_a_row_is_known_from_its_created_microsecond_on"
_TIES = "test_p4_ties_fall_to_the_later_created_then_to_the_greater_values"
_NO_KEY = "test_p7_a_missing_key_matches_nothing"
_AGREE = "test_o6_after_materialising_online_is_historical_at_now"

Change = tuple[Any, str, str]

# "event time <= t" stands three times: exactly, for each entity row, and coarsely, so that rows later than every question
# about their key, or row groups of a file later than every question, do not even take part. The first decides; without
# them all the whole future is open.
ASOF = "asked ASOF LEFT JOIN ({best}) best ON asked.kid = best.kid AND asked.t >= best.a"
NEWEST = (
    "asked LEFT JOIN (SELECT * FROM ({best}) QUALIFY row_number() OVER (PARTITION BY kid ORDER BY a DESC) = 1) best "
    "ON asked.kid = best.kid"
)
COARSE = (engine._usable_sql, 'conditions = ["h.e <= keyed.until"]', 'conditions = ["true"]')
EARLY = (engine._Engine.answers, "until_us=self._until_us", "until_us=None")
EXACT = (engine._hits_sql, ASOF, NEWEST)
BY_CREATED = (engine._usable_sql, 'conditions.append("h.c <= keyed.until")', "pass")
FROM_CREATED = (engine._hits_sql, "greatest(e, c) AS a", "e AS a")
LATER_CREATED = "ORDER BY c DESC NULLS LAST"
_WITHOUT_CREATED = (order.winner_order, '["e ASC", "c ASC NULLS FIRST"]', '["e ASC"]')

DELETIONS: dict[str, tuple[list[Change], list[str]]] = {
    "event time <= t, everywhere": ([EXACT, COARSE, EARLY], [_EDGE, _ORACLE, _FUTURE]),
    "event time <= t, for each entity row": ([EXACT], [_EDGE, _ORACLE]),
    "event time <= t, made strict": ([(engine._hits_sql, "asked.t >= best.a", "asked.t > best.a")], [_EDGE]),
    "newest event time first, of what is known": (
        [(engine._hits_sql, "CAST(e AS HUGEINT) * {2**64} + (CAST(c AS HUGEINT) + {2**63})", "c")],
        [_KNOWN],
    ),
    "greater than all that was known before": (
        [(engine._hits_sql, "QUALIFY rank = max(rank) OVER (PARTITION BY kid ORDER BY a)", "")],
        [_OLDER],
    ),
    "then the later created": ([(engine._break_ties, LATER_CREATED, ""), _WITHOUT_CREATED], [_TIES]),
    "a missing created is the least": (
        [(engine._break_ties, LATER_CREATED, "ORDER BY c DESC NULLS FIRST")],
        [_TIES],
    ),
    "then the greater values": ([(order.winner_order, "terms += [term for i", "[] and [term for i")], [_TIES]),
    "all of the values": (
        [(order.winner_order, "enumerate(view.schema) for term", "enumerate(view.schema[:1]) for term")],
        [_TIES],
    ),
    "the values, wherever rows still tie": ([(engine._break_ties, "if left > groups", "if False")], [_TIES]),
    "the order, wherever rows tie": ([(engine._tied, "return bool(found != there)", "return False")], [_TIES]),
    "created <= as_of": ([(engine._usable_sql, 'f"h.c <= {knowledge.as_of_us}"', '"true"')], [_KNOWN]),
    "created <= t, everywhere": ([FROM_CREATED, BY_CREATED], [_KNOWN, _CREATED]),
    "created <= t, for each entity row": ([FROM_CREATED], [_CREATED]),
    "a missing created is not known": (
        [
            (engine._usable_sql, 'conditions.append("h.c IS NOT NULL")', "pass"),
            (engine._usable_sql, 'f"h.c <= {knowledge.as_of_us}"', 'f"coalesce(h.c <= {knowledge.as_of_us}, true)"'),
            (engine._usable_sql, '"h.c <= keyed.until"', '"coalesce(h.c <= keyed.until, true)"'),
        ],
        [_KNOWN],
    ),
    "a missing key is none": (
        [(engine._load, "entities.{c} = keyed.{c}", "entities.{c} IS NOT DISTINCT FROM keyed.{c}"),
         (engine._load, "{c} IS NOT NULL", "true"),
         (engine._usable_sql, "keyed.k{i} = h.k{i}", "keyed.k{i} IS NOT DISTINCT FROM h.k{i}")],
        [_NO_KEY],
    ),
    "materialised up to the end": ([(latest._latest, "e <= {end_us}", "true")], [_AGREE]),
    "the winner is materialised": ([(latest._latest, "ORDER BY {order}) = 1", "ORDER BY e) = 1")], [_AGREE]),
}  # fmt: skip


@contextmanager
def changed(changes: list[Change]) -> Iterator[None]:
    """While the block runs, the engine's functions are their own sources with ``changes`` in force."""
    by_function: dict[Any, list[tuple[str, str]]] = {}
    for function, old, new in changes:
        by_function.setdefault(function, []).append((old, new))
    with ExitStack() as stack:
        for function, texts in by_function.items():
            stack.enter_context(rewritten(function, *texts))
        yield


@pytest.mark.parametrize("clause", DELETIONS)
def test_the_kit_fails_an_engine_without(clause: str) -> None:
    """P-1, P-3, P-4, P-7, P-10, O-6: each named test notices."""
    changes, tests = DELETIONS[clause]
    outcomes = {test: examine(DuckDBHarness, test, patch=lambda: changed(changes)) for test in tests}
    for test, result in outcomes.items():
        assert result.outcome == "failed", f"{test} passes without: {clause}"
        assert "The core could not use" not in result.finding.says, "the change made no SQL, so nothing was shown"
        print(f"{clause}: {result.finding.rule} by {test}")


def test_the_coarse_filters_alone_decide_nothing() -> None:
    """They may go without changing an answer; they are there for speed."""
    with changed([COARSE, EARLY]):
        results = examine_all(DuckDBHarness, profile=FAST, only=[_EDGE, _ORACLE, _FUTURE, _KNOWN, _CREATED, _TIES])
    assert {r.outcome for r in results} == {"passed"}
