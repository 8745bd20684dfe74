"""The group *temporal*: nothing from the future, to the microsecond. No deviation is allowed here."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any, ClassVar

from e2i_fs.dtypes import Float64, String
from e2i_fs.errors import InvalidBatchError
from e2i_fs.testing.conformance.asking import checked
from e2i_fs.testing.conformance.historical import ODD
from e2i_fs.testing.conformance.invariance import InvarianceTests
from e2i_fs.testing.conformance.rules import proves
from e2i_fs.testing.conformance.unseen import UnseenTests
from e2i_fs.testing.directed import NOW, US, at, row, view_of, world_of
from e2i_fs.testing.files import batch_table, rows_table
from e2i_fs.testing.kit import Kit
from e2i_fs.testing.oracle import Row
from e2i_fs.testing.worlds import Request, ViewWorld, World

__all__ = ["TemporalTests"]


class TemporalTests(UnseenTests, InvarianceTests):
    """Tests of the group *temporal*."""

    group: ClassVar[str] = "temporal"

    # ---- against the oracle --------------------------------------------------------------------------------

    @proves("P-1", "P-2", "P-4", "P-5", "P-6", "P-7", "P-8", "T-3")
    def test_p1_the_answer_is_the_greatest_row_up_to_its_time(self, kit: Kit) -> None:
        """Worlds of ties, edges and colliding keys, against the oracle, without knowledge time."""

        def check(world: World) -> None:
            with kit.placed(world) as placed:
                kit.check_historical("P-1", placed, next(placed.requests()))

        kit.search("P-1", kit.worlds(), check)

    @proves("P-3", "P-4")
    def test_p3_what_was_not_known_is_not_there(self, kit: Kit) -> None:
        """The same under filter_by_created_timestamp, under as_of, and under both."""

        def check(world: World) -> None:
            with kit.placed(world) as placed:
                for request in list(placed.requests())[1:]:
                    kit.check_historical("P-3", placed, request)

        kit.search("P-3", kit.worlds(created=True), check)

    # ---- edges, one by one ---------------------------------------------------------------------------------

    @proves("P-1")
    def test_p1_a_row_answers_from_its_own_microsecond_on(self, kit: Kit) -> None:
        """Just before its event time, at it, and just after, each also as the greatest time asked; in files and in batches."""
        rows = [row("a", at(10), 1), row("a", at(10) + US, 2), row("b", at(10) - 2 * US, 3), row("b", at(10) + US, 4)]
        for view in _wherever(kit, rows):
            for last in (-1, 0, 1, 2):
                asked = [(key, at(10) + n * US) for key in "ab" for n in range(-3, last + 1)]
                checked(kit, "P-1", world_of(view, asked))

    @proves("P-2", "P-4")
    def test_p2_a_row_answers_to_the_last_microsecond_of_its_ttl(self, kit: Kit) -> None:
        """At the edge, a microsecond inside and outside it; an old winner is not replaced by a row that it beat."""
        for ttl in (US, timedelta(seconds=1), timedelta(hours=36), timedelta(days=40_000, microseconds=1)):
            start = at(10) - timedelta(days=25_000)
            rows = [
                row("a", start, 1, created=start), row("b", start, 2, created=start + timedelta(days=1)),
                row("b", start, 3, created=start), row("c", start - 2 * US, 4), row("c", start - US, None),
            ]  # fmt: skip
            asked = [(key, start + ttl + n * US) for key in "abc" for n in (-2, -1, 0, 1)]
            for view in _wherever(kit, rows, ttl=ttl, created=True):
                checked(kit, "P-2", world_of(view, asked))

    @proves("P-3")
    def test_p3_a_row_is_known_from_its_created_microsecond_on(self, kit: Kit) -> None:
        """Created at t or at as_of counts, a microsecond later does not, an unknown one never, in all four forms."""
        rows = [row(key, at(1), 1, created=at(1)) for key in "abcde"]
        created = {"a": at(10), "b": at(10) + US, "c": None, "d": at(10) - US, "e": at(10) + timedelta(days=1)}
        rows += [row(key, at(5), 2, created=when) for key, when in created.items()]
        rows += [row("late only", at(5), 3, created=at(10) + US), row("unknown only", at(5), 4)]
        keys = [*created, "late only", "unknown only"]
        asked = [(key, at(10) + n * US) for key in keys for n in (-1, 0, 1)] + [(key, at(700)) for key in keys]
        for view in _wherever(kit, rows, created=True):
            for as_of in (at(10), at(10) - US, at(10) + US):
                checked(kit, "P-3", world_of(view, asked, as_of=as_of), every=True)

    @proves("P-3", "P-4")
    def test_p3_an_older_event_that_becomes_known_later_hides_no_newer_one(self, kit: Kit) -> None:
        """Known last is not newest: a correction of an old event, or a first word of it, leaves a newer event the winner."""
        rows = [
            row("corrected", at(1), 1, created=at(1)), row("corrected", at(5), 2, created=at(6)),
            row("corrected", at(1), 3, created=at(20)), row("late", at(5), 4, created=at(5)),
            row("late", at(3), 5, created=at(20)), row("late", at(4), 6, created=at(20)),
            row("both late", at(5), 7, created=at(30)), row("both late", at(1), 8, created=at(20)),
            row("one event", at(1), 9, created=at(20)), row("one event", at(1), 10, created=at(3)),
        ]  # fmt: skip
        moments = [at(1), at(3), at(5), at(6), at(20) - US, at(20), at(30) - US, at(30), at(40)]
        asked = [(key, t) for key in dict.fromkeys(r.key[0] for r in rows) for t in moments]
        for view in _wherever(kit, rows, created=True):
            for as_of in (at(19), at(25), at(50)):
                checked(kit, "P-3", world_of(view, asked, as_of=as_of), every=True)

    @proves("P-4", "T-4")
    def test_p4_ties_fall_to_the_later_created_then_to_the_greater_values(self, kit: Kit) -> None:
        """Missing is lowest; the whole row counts, also fields not asked for; any order, file and batch of the rows."""
        one, two = at(1), at(2)
        rivals: dict[str, list[tuple[Any, ...]]] = {  # created, x, y; the winner first
            "created": [(two, 1.0, "a"), (one, 9.0, "z"), (None, 9.0, "z")],
            "long ago": [(ODD, 1.0, "a"), (ODD - US, 9.0, "z")],
            "by a microsecond": [(two + 3 * US, 1.0, "a"), (two + 2 * US, 9.0, "z")],
            "unknown": [(one, 0.0, "a"), (None, math.nan, "z")],
            "missing": [(one, -math.inf, "a"), (one, None, "z")],
            "nan": [(one, math.nan, "a"), (one, math.inf, "z")],
            "zero": [(one, 0.0, "a"), (one, -0.0, "z")],
            "second": [(one, 1.0, "b"), (one, 1.0, "a"), (one, 1.0, None)],
            "beyond": [(one, 1.0, "\U0001f600"), (one, 1.0, "\ufffd")],
            "case": [(one, 1.0, "a"), (one, 1.0, "Z")],
        }
        rows = [row(key, one, x, y, created=c) for key, found in rivals.items() for c, x, y in found]
        count, asked = len(rows), [(key, at(5)) for key in rivals]
        for numbers in (range(count), range(count)[::-1]):
            halves = [list(numbers)[0::2], list(numbers)[1::2]]
            for parts, batches in (([list(numbers)], []), (halves, []), ([halves[0]], [halves[1]])):
                if batches and not kit.can.append:
                    continue
                fields = {"x": Float64, "y": String}
                view = view_of(rows, fields=fields, created=True, parts=parts, batches=batches)
                world = kit.fitted(world_of(view, asked))
                with kit.check("P-4", world), kit.placed(world) as placed:
                    kit.check_historical("P-4", placed, next(placed.requests()))
                    kit.check_historical("P-4", placed, Request(((0, "y"),)))

    @proves("T-3")
    def test_t3_a_row_without_event_time_is_never_visible(self, kit: Kit) -> None:
        """Not by its created time, not as the only row, and not online after a run."""
        kit.need_source("parquet")
        rows = [row("a", None, 1, created=at(1)), row("b", at(1), 2, created=at(1)), row("b", None, 3, created=at(2))]
        world = kit.fitted(world_of(view_of(rows, created=True), [("a", at(5)), ("b", at(5))]))
        with kit.check("T-3", world), kit.placed(world) as placed:
            for request in placed.requests():
                kit.check_historical("T-3", placed, request)
            if kit.can.online:
                view = placed.views[0]
                kit.store.materialize(None, NOW, views=[view.name])
                kit.check_online("T-3", placed, view, view.rows)

    # ---- online --------------------------------------------------------------------------------------------

    @proves("O-2", "P-1", "T-5")
    def test_o2_the_future_is_not_served_online(self, kit: Kit) -> None:
        """A row ahead of the clock, written or materialised, answers from its own microsecond and hides nothing."""
        kit.need_can("online")
        soon = NOW + timedelta(seconds=30)
        rows = [row("a", at(1), 1), row("a", soon, 2), row("b", soon, 3), row("c", at(2), 4), row("c", NOW + US, 5)]
        world = kit.fitted(world_of(view_of(rows), [(key, NOW) for key in "abc"]), history=False)
        has_history = any(world.views[0].parts) or any(world.views[0].batches)
        for way in ("write", "materialize") if has_history else ("write",):
            with kit.check("O-2", world), kit.placed(world) as placed:
                view = placed.views[0]
                if way == "write":
                    kit.store.write(view.name, batch_table(view, range(len(view.rows))), to="online")
                for moment in (NOW, soon - US, soon, soon + US):
                    kit.clock.set(moment)
                    if way == "materialize":
                        kit.store.materialize(None, soon + timedelta(days=1), views=[view.name])
                    kit.check_online("O-2", placed, view, view.rows, f"after {way}, at {moment}")

    @proves("O-4", "W-1")
    def test_o4_a_row_of_the_future_is_not_accepted(self, kit: Kit) -> None:
        """Later than now and the allowed skew: the batch is refused whole, and neither history nor online has it."""
        rows = [row("a", at(1), 1), row("a", NOW + timedelta(seconds=60) + US, 2), row("b", at(2), 3)]
        world = kit.fitted(world_of(view_of(rows[:1]), [("a", NOW + timedelta(days=1)), ("b", NOW)]))
        with kit.check("O-4", world), kit.placed(world) as placed:
            view = placed.views[0]
            batch = rows_table(view, [rows[2], rows[1]])
            for to in [*(["offline"] if kit.can.append else []), *(["online"] if kit.can.online else [])]:
                ahead = f"a row a microsecond more than 60 s ahead of the clock is written to={to!r}"
                kit.raises("O-4", InvalidBatchError, lambda to=to: kit.store.write(view.name, batch, to=to), ahead)  # type: ignore[misc]
            kit.clock.advance(timedelta(days=1))
            kit.check_historical("O-4", placed, next(placed.requests()))
            if kit.can.online:
                kit.check_online("O-4", placed, view, [])


def _wherever(kit: Kit, rows: Sequence[Row], **about: Any) -> Iterator[ViewWorld]:
    """Yield the view of these rows in one file and, where rows can be appended, in one batch."""
    yield view_of(rows, **about)
    if kit.can.append:
        yield view_of(rows, batches=[range(len(rows))], **about)
