"""Failover with one part of it taken out: what the machine must notice, so that its silence on the whole means something.

The first four are what one might build instead: no journal, no gate, a comparison of newest times, a replay in any order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

from e2i_fs.failover.facts import Facts
from e2i_fs.failover.journal import Journal
from e2i_fs.failover.replay import Recovery
from e2i_fs.failover.router import Failover, _refusal
from e2i_fs.failover.writing import Writer
from e2i_fs.testing.failover_story import KINDS
from e2i_fs.testing.faults import Faulty
from e2i_fs.testing.mutants.rewriting import rewritten

__all__ = ["ABLATIONS", "Ablation"]


@dataclass(frozen=True, slots=True)
class Ablation:
    """What is taken out, the rules that it may be seen to break, and the patch, in force for the whole process.

    ``kinds`` are those of the steps that matter to it: a story of these shows it soon.
    """

    name: str
    says: str
    rules: frozenset[str]
    kinds: tuple[str, ...]
    patch: Callable[[], AbstractContextManager[Any]]


def _rewriting(*parts: tuple[Callable[..., Any], str, str]) -> Callable[[], AbstractContextManager[Any]]:
    """Return a patch of the source text of some functions, each ``(function, old, new)``."""

    @contextmanager
    def patched() -> Iterator[None]:
        with ExitStack() as stack:
            for function, old, new in parts:
                stack.enter_context(rewritten(function, (old, new)))
            yield

    return patched


@contextmanager
def _newest_times() -> Iterator[None]:
    """A backend that has missed writes is held to be whole when its newest event time is that of the others."""
    standing, ask = Facts.standing, Failover.ask
    asked: list[Failover] = []

    def answered(self: Failover, question: Any) -> Any:
        asked.append(self)
        try:
            return ask(self, question)
        finally:
            asked.pop()

    def known(self: Facts, backend: str, view: str) -> Any:
        found = standing(self, backend, view)
        if not found.missed or not asked:
            return found
        opened = {m.name: m._backend.inner for m in asked[-1]._members if isinstance(m._backend, Faulty)}
        newest = {
            name: inner.position(view).newest_event_us
            for name, inner in opened.items()
            if view in inner.definitions().views
        }
        return replace(found, missed=0) if set(newest.values()) == {newest.get(backend)} else found

    with mock.patch.object(Facts, "standing", known), mock.patch.object(Failover, "ask", answered):
        yield


def _made(
    name: str, says: str, rules: str, patch: Callable[[], AbstractContextManager[Any]], kinds: Sequence[str] = KINDS
) -> Ablation:
    return Ablation(name, says, frozenset(rules.split()), tuple(kinds), patch)


_WRITES = ("read", "write", "push", "again", "materialize", "kill", "flake", "heal", "heal_all", "advance", "catch_up")
_READS = ("read", "kill", "freeze", "slow", "heal", "heal_all", "advance")


ABLATIONS = (
    _made(
        "no journal", "a write that a backend did not take is forgotten", "X-3 X-4 X-5",
        _rewriting((Journal.begin, "for b in backends]", "for b in backends[:0]]")),
    ),
    _made(
        "no gate", "whoever is up answers unmarked, whatever it has missed", "X-3",
        _rewriting((_refusal, "(verdict is Verdict.DEGRADED and degraded)", "verdict is Verdict.DEGRADED")),
    ),
    _made(
        "newest-timestamp gate", "a backend that missed writes answers unmarked once newest event times are equal", "X-3 X-5", _newest_times
    ),
    _made(
        "replay without order", "the newest missed write is replayed first, and then all count as taken", "X-3 X-4 X-5",
        _rewriting(
            (Journal.missed, "ORDER BY m.seq", "ORDER BY m.seq DESC"),
            (
                Recovery._replay, "journal.applied(name, view, missed.seq, reached, quarantines)",
                "[journal.applied(name, view, one.seq, reached, quarantines) for one in list(journal.missed(name, view))]",
            ),
        ),
    ),
    _made(
        "writes out of turn", "a backend that has missed writes takes later ones at once, and counts as having all", "X-3 X-4 X-5",
        _rewriting((Writer._is_behind, "return facts.standing", "return False\n    return facts.standing")), _WRITES,
    ),
    _made("no replay", "what was missed is never sent again", "X-5", _rewriting((Recovery._replay, "if missed.busy or", "if True or"))),
    _made(
        "an empty replay", "a missed write is struck off without being done", "X-3 X-4 X-5",
        _rewriting((Recovery._replay, "self._perform(entry, name, backend)", "None")),
    ),
    _made("losses not looked for", "a backend that lost its rows answers as before", "X-3 X-4 X-5", _rewriting((Recovery.look, "for view in views:", "for view in ():"))),
    _made(
        "a deadline for each", "each backend may use the whole deadline", "X-8",
        _rewriting((Failover._try, "self._share(member, asked.limit - (begun - asked.started))", "asked.limit")), _READS,
    ),
    _made("breakers ignored", "a backend is called though its breaker is open", "X-8", _rewriting((Failover._try, "if permit is None:", "if False:"))),
    _made(
        "attempts forgotten", "the error that nobody may answer leaves out who was passed over", "X-9",
        _rewriting((Failover._try, "attempts.append(Attempt(member.name, str(member.breaker.state)))", "None")), _READS,
    ),
    _made("strict ignored", "a strict read is answered degraded", "X-7", _rewriting((Failover._ask_all, "if question.strict:", "if False:"))),
)  # fmt: skip
