"""The group *temporal*, third part: what may not matter does not (T-1, T-2, T-4), and knowledge only grows (P-3)."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.compute as pc
from hypothesis import strategies as st

from e2i_fs.errors import E2IError, InvalidBatchError, InvalidTimestampError
from e2i_fs.testing.conformance.asking import answer_of, some_request
from e2i_fs.testing.conformance.rules import proves
from e2i_fs.testing.directed import US, at, row, view_of, world_of
from e2i_fs.testing.draw import Draw
from e2i_fs.testing.files import definitions, entity_table, rows_table
from e2i_fs.testing.findings import Inapplicable, Mismatch
from e2i_fs.testing.kit import Kit
from e2i_fs.testing.metamorphic import (
    FORMS,
    Said,
    drawn,
    known_by,
    moved,
    ranked,
    retold,
    said,
    same,
)
from e2i_fs.testing.strategies import zones
from e2i_fs.testing.worlds import Request, World, laid_out

__all__ = ["InvarianceTests"]


class InvarianceTests:
    """Tests of the group *temporal* about order, files, zones, processes."""

    group: ClassVar[str] = "temporal"

    @proves("T-4", "P-4", "W-2")
    def test_t4_the_order_files_and_batches_of_the_rows_change_nothing(self, kit: Kit) -> None:
        """The same rows laid out twice: shuffled, split into other files, written in other batches."""

        def again(world: World, draw: Draw) -> World:
            return kit.fitted(laid_out(world, draw, append=kit.can.append))

        def check(example: tuple[World, World]) -> None:
            answers: list[Said] = []
            world, other = example
            for number, one in enumerate((world, other)):
                with kit.placed(one) as placed:
                    request = some_request(placed)
                    answers.append(answer_of(kit, placed, request))
                if number:
                    same("T-4", "The same rows lie in other files and batches.", request, *answers)

        kit.search("T-4", drawn(kit.worlds(max_views=2), again), check, share=0.4)

    @proves("T-4", "P-10")
    def test_t4_answers_are_the_same_after_reopening(self, kit: Kit) -> None:
        """What a new process finds in the store is what the old one left there, in every form of the request."""
        kit.need_can("persistent")

        def check(world: World) -> None:
            with kit.placed(world) as placed:
                requests = list(placed.requests())
                before = [answer_of(kit, placed, request) for request in requests]
                kit.reopen()
                for request, one in zip(requests, before, strict=True):
                    same("T-4", "The store was closed and opened again.", request, one, answer_of(kit, placed, request))

        kit.search("T-4", kit.worlds(max_views=2), check, share=0.15)

    @proves("T-4", "T-1")
    def test_t4_the_time_zone_of_the_process_changes_nothing(self, kit: Kit) -> None:
        """Placed in one zone, asked and brought online in others."""
        if os.name == "nt":
            raise Inapplicable("needs time.tzset, which this platform lacks")

        def check(world: World) -> None:
            with _zone("America/New_York"), kit.placed(world) as placed:
                for zone in ("America/New_York", "Asia/Kolkata"):
                    with _zone(zone):
                        for request in list(placed.requests())[:: 3 if placed.seed % 2 else 1]:
                            kit.check_historical("T-4", placed, request)
                if kit.can.online:
                    view = placed.views[0]
                    kit.store.materialize(None, placed.now, views=[view.name])
                    with _zone("Pacific/Kiritimati"):
                        past = [r for r in view.rows if r.event is not None and r.event <= placed.now]
                        kit.check_online("T-4", placed, view, past)

        kit.search("T-4", kit.worlds(max_views=1), check, share=0.15)

    @proves("T-1")
    def test_t1_the_same_instants_in_other_zones_units_and_frames_answer_the_same(self, kit: Kit) -> None:
        """Entity times, as_of and written rows: of any zone, mixed zones, naive as UTC, in seconds to nanoseconds."""
        every = zones()

        def retelling(world: World, draw: Draw) -> tuple[str, Request]:
            return draw.choice(FORMS), draw.choice(list(world.requests()))

        def check(example: tuple[tuple[World, tuple[str, Request]], list[Any]]) -> None:
            (world, (form, request)), zoned = example
            with kit.placed(world) as placed:
                table = entity_table(placed)
                before = answer_of(kit, placed, request)
                told = retold(table, placed.timestamp_column, form, zoned)
                later = replace(request, as_of=request.as_of and request.as_of.astimezone(zoned[-1]))
                after = said(placed, request, kit.ask(placed, later, told))
                same("T-1", f"The times are the same instants, as {form} in {zoned[0]}.", request, before, after)

        both = st.tuples(drawn(kit.worlds(max_views=1), retelling), st.lists(every, min_size=2, max_size=3))
        kit.search("T-1", both, check, share=0.6)

    @proves("T-2")
    def test_t2_a_time_finer_than_a_microsecond_is_refused(self, kit: Kit) -> None:
        """In an entity frame, in a batch, and in a source's file, where rounding down would let the future in."""
        rows = [row("a", at(1), 1), row("a", at(5) + US, 2)]
        world = kit.fitted(world_of(view_of(rows), [("a", at(5))]))
        fine = pa.scalar(1, pa.duration("ns"))
        with kit.check("T-2", world), kit.placed(world) as placed:
            view, request = placed.views[0], next(placed.requests())
            table = entity_table(placed)
            exact = table.column("event_timestamp").cast(pa.timestamp("ns", "UTC"))
            place = table.column_names.index("event_timestamp")
            frame = table.set_column(place, "event_timestamp", pc.add(exact, fine))
            kit.raises(
                "T-2",
                InvalidTimestampError,
                lambda: kit.ask(placed, request, frame),
                "entity times finer than a microsecond are asked at",
            )
            if kit.can.append:
                batch = rows_table(view, [view.rows[0]], time_type=pa.timestamp("ns", "UTC"))
                place = batch.column_names.index(view.event_column)
                batch = batch.set_column(place, view.event_column, pc.add(batch.column(view.event_column), fine))
                kit.raises(
                    "T-2",
                    InvalidBatchError,
                    lambda: kit.store.write(view.name, batch, to="offline"),
                    "an event time finer than a microsecond is written",
                )
            kit.check_historical("T-2", placed, request)
        if "parquet" in kit.can.sources:
            self._fine_source(kit, world)

    def _fine_source(self, kit: Kit, world: World) -> None:
        """A row a nanosecond after t lies in a file: an error wherever it is noticed, or no answer, never the row."""
        import pyarrow.parquet as pq

        with kit.check("T-2", world):
            definition = definitions(
                replace(world, views=(replace(world.views[0], name="fine"),)), kit.folder / "fine"
            )[0]
            path = definition.source.paths[0]  # type: ignore[union-attr]
            table = rows_table(world.views[0], [row("a", at(5), 2)], time_type=pa.timestamp("ns", "UTC"))
            late = pc.add(table.column("event_timestamp"), pa.scalar(1, pa.duration("ns")))
            pq.write_table(table.set_column(table.column_names.index("event_timestamp"), "event_timestamp", late), path)
            fine = replace(world, views=(replace(world.views[0], name="fine"),))
            try:
                kit.store.apply([definition if kit.can.online else replace(definition, online=False)])
                got = answer_of(kit, fine, Request(((0, "x"),)))
            except E2IError:
                return
            finally:
                if any(view.name == "fine" for view in kit.store.list_feature_views()):
                    kit.store.delete("fine")
            kit.is_("T-2", "A row of a nanosecond after t answers at t.", got[0][0][0], "None")

    @proves("P-1", "P-2", "P-3")
    def test_p1_moving_everything_in_time_moves_nothing_else(self, kit: Kit) -> None:
        """Into 1999, past 2100, or by a microsecond: no answer depends on where in time the world lies."""
        steps = [timedelta(days=-9_000, microseconds=1), timedelta(days=30_000, hours=5), US]

        def check(example: tuple[World, timedelta]) -> None:
            world, by = example
            answers: list[Said] = []
            for one in (world, moved(world, by)):
                with kit.placed(one) as placed:
                    request = some_request(placed)
                    answers.append(said(placed, request, kit.ask(placed, request, entity_table(placed))))
            values = [[[(v, s) for v, s, _ in column] for column in answer] for answer in answers]
            kit.is_("P-1", f"Everything was moved by {by}.", values[1], values[0])

        kit.search("P-1", drawn(kit.worlds(max_views=1), lambda _, draw: draw.choice(steps)), check, share=0.25)

    @proves("P-3")
    def test_p3_as_of_is_history_as_it_was_then_and_knowledge_only_grows(self, kit: Kit) -> None:
        """Asked as of T is asked of the rows known by T; with t fixed, no later T makes a lesser row win."""
        if not {"parquet", "push"} & kit.can.sources:
            raise Inapplicable("the backend keeps no created times")

        def check(world: World) -> None:
            known = sorted({r.created for v in world.views for r in v.rows if r.created is not None})[:4]
            request = next(world.requests())
            best = [-1] * len(world.times)
            with kit.placed(world) as placed:
                answers = [answer_of(kit, placed, replace(request, as_of=moment)) for moment in known]
                for moment, answer in zip(known, answers, strict=True):
                    ranks = [-1 if v == "None" else int(v) for v, _, _ in answer[0]]
                    for number, (lower, higher) in enumerate(zip(best, ranks, strict=True)):
                        if lower > higher:
                            says = f"More is known at as_of {moment}, yet row {number} is answered by a lesser row."
                            raise Mismatch("P-3", says, expected=f"rank {lower} or greater", got=f"rank {higher}")
                    best = ranks
            for moment, answer in list(zip(known, answers, strict=True))[:2]:
                with kit.placed(known_by(world, moment)) as restricted:
                    then = answer_of(kit, restricted, request)
                    same("P-3", f"As of {moment} is not what was known by then.", request, then, answer)

        worlds = kit.worlds(created=True, max_views=1).map(ranked).map(kit.fitted)
        kit.search("P-3", worlds, check, share=0.25)


@contextmanager
def _zone(name: str) -> Iterator[None]:
    """Put the process into another time zone while the block runs."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = name
    time.tzset()
    try:
        yield
    finally:
        if before is None:
            del os.environ["TZ"]
        else:
            os.environ["TZ"] = before
        time.tzset()
