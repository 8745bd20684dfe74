"""The group *online*: the newest row of each key by the contract's order, as of now, whole."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from e2i_fs import dtypes as d
from e2i_fs.backend import OnlineRow
from e2i_fs.batch import online_rows
from e2i_fs.clock import from_us, to_us
from e2i_fs.testing.compare import same_value
from e2i_fs.testing.conformance.beside import WritesBesideTests
from e2i_fs.testing.conformance.historical import EXACT, ODD, PAIRS, TEXTS, exact_kinds
from e2i_fs.testing.conformance.machine import InterleavingTests
from e2i_fs.testing.conformance.moments import MomentTests
from e2i_fs.testing.conformance.rules import proves
from e2i_fs.testing.directed import NOW, US, at, row, rows_of, view_of, world_of
from e2i_fs.testing.draw import Draw
from e2i_fs.testing.files import batch_table, entity_rows, rows_table
from e2i_fs.testing.findings import Mismatch
from e2i_fs.testing.interruptions import Beside, interrupted
from e2i_fs.testing.kit import Kit
from e2i_fs.testing.metamorphic import drawn
from e2i_fs.testing.oracle import Row
from e2i_fs.testing.strategies import draw_orders
from e2i_fs.testing.worlds import ViewWorld, World

__all__ = ["OnlineTests"]

LATE = datetime(2300, 1, 1, 0, 0, 0, 1, UTC)  # beyond what 64 bits of nanoseconds hold


class OnlineTests(InterleavingTests, WritesBesideTests, MomentTests):
    """Tests of the group *online*."""

    group: ClassVar[str] = "online"

    # ---- writing ------------------------------------------------------------------------------------------

    @proves("O-1", "O-2", "O-3", "P-4")
    def test_o1_any_order_split_and_repetition_of_writes_is_one_state(self, kit: Kit) -> None:
        """Worlds of ties and edges written in any order, some rows twice, in batches of any size, against the oracle."""
        kit.need_can("online")

        def order(world: World, draw: Draw) -> list[list[int]]:
            numbers = world.views[0].writable(world.now)
            return [[numbers[n] for n in batch] for batch in draw_orders(draw, len(numbers))]

        def check(example: tuple[World, list[list[int]]]) -> None:
            world, batches = example
            with kit.placed(world) as placed:
                view = placed.views[0]
                known = [view.rows[n] for n in view.writable(placed.now)]
                for batch in batches:
                    kit.store.write(view.name, batch_table(view, batch), to="online")
                kit.check_online("O-1", placed, view, known, "After all writes.")
                kit.clock.advance(timedelta(seconds=61))  # what was written ahead of the clock answers now
                kit.check_online("O-1", placed, view, known, "A minute later.")

        kit.search("O-1", drawn(kit.worlds(max_views=1, history=False), order), check, share=0.6)

    @proves("O-1", "P-4", "P-5")
    def test_o1_ties_and_older_rows_are_decided_by_the_order_and_not_by_arrival(self, kit: Kit) -> None:
        """Three rows of each kind of rivalry in each of their six orders, one write each and all in one; the winner is whole.

        Of rows that differ by the sign of a zero alone, 0.0 is greater than -0.0, though a language may call them equal.
        """
        kit.need_can("online")
        rivals: dict[str, list[tuple[Any, ...]]] = {  # event, created, x, y, and z for the signs: the winner last
            "event": [(at(1), at(9), 9, "z"), (at(2), at(1), 8, "z"), (at(2) + US, None, None, "a")],
            "created": [(at(1), None, 9, "z"), (at(1), at(1), 8, "z"), (at(1), at(1) + US, 1, None)],
            "long ago": [(ODD, None, 9, "z"), (ODD, ODD - US, 8, "z"), (ODD, ODD, 1, None)],
            "values": [(at(1), at(1), None, "z"), (at(1), at(1), 1, None), (at(1), at(1), 1, "a")],
        }
        fields = {"x": d.Int64, "y": d.String}
        if kit.can.feature_kinds is None or "float64" in kit.can.feature_kinds:
            rivals = {key: [(*told, None) for told in found] for key, found in rivals.items()}
            rivals["signs"] = [(at(1), at(1), 1, "a", z) for z in (-5e-324, -0.0, 0.0)]
            fields["z"] = d.Float64
        rows = [row(key, e, *values, created=c) for key, found in rivals.items() for e, c, *values in found]
        asked = [(key, NOW) for key in rivals]
        for turn, at_once in itertools.product(itertools.permutations(range(3)), (False, True)):
            world = kit.fitted(world_of(view_of([], fields=fields, created=True), asked), history=False)
            with kit.check("O-1", (world, rows)), kit.placed(world) as placed:
                view = placed.views[0]
                kept = rows_of(view, rows)
                batches = [kept[n::3] for n in turn]
                for batch in [[r for one in batches for r in one]] if at_once else batches:
                    kit.store.write(view.name, rows_table(view, batch), to="online")
                how = "in one batch" if at_once else "one by one"
                kit.check_online("O-1", placed, view, kept, f"Written in the order {turn}, {how}.")

    @proves("O-7", "O-1", "X-3")
    def test_o7_a_concurrent_reader_finds_each_row_old_or_new_and_whole(self, kit: Kit) -> None:
        """A write is interrupted at points all over it; readers there, here and on another handle, find whole rows."""
        kit.need_can("online")
        keys = [(f"k{n}",) for n in range(4)]
        fields = dict.fromkeys("abcd", d.Int64) | {"text": d.String}
        world = kit.fitted(world_of(view_of([], fields=fields), [(key, NOW) for key in keys]), history=False)
        with kit.check("O-7", world), kit.placed(world) as placed:
            view, now = placed.views[0], to_us(NOW)
            backends = [kit.backend.inner] + [kit.backend_of(kit.handle()).inner] * kit.can.persistent
            catalog = kit.backend.definitions()
            definition, join_keys = catalog.view(view.name), catalog.join_keys(view.name)
            turn = itertools.cycle(backends)
            reader = Beside(lambda: _whole(next(turn).online_read(view.name, keys, at_us=now)))
            calls = 0
            for n in range(12):  # each write is stopped at other points than the one before
                rows = [row(key, at(n), n, n, n, n, f"{n}" * 200) for key in keys]
                ours = online_rows(rows_table(view, rows), definition, join_keys)
                every = max(1, calls // 40)
                calls = interrupted(
                    lambda ours=ours: backends[0].online_write(view.name, *ours, at_us=now),  # type: ignore[misc]
                    reader.ask if calls else None, every, n * every // 12, kit.harness.patience,
                )  # fmt: skip
            reader.close(kit.harness.patience)
            for trouble in reader.troubles:
                raise trouble
            kit.is_("O-7", "A reader beside the writes never got an answer.", reader.done > 0, True)
            kit.check_online("O-7", placed, view, rows)

    # ---- reading ------------------------------------------------------------------------------------------

    @proves("O-2", "P-2")
    def test_o2_the_ttl_is_kept_on_reading_to_the_microsecond(self, kit: Kit) -> None:
        """The clock moves to the edge, and one microsecond past; an older row does not answer instead."""
        kit.need_can("online")
        ttl = timedelta(minutes=5, microseconds=1)
        rows = [row("a", NOW, 1), row("b", NOW - US, None), row("c", NOW - ttl, 3), row("c", NOW - ttl - US, 4)]
        world = kit.fitted(
            world_of(view_of(rows, ttl=ttl), [(key, NOW) for key in ("a", "b", "c", "nobody")]), history=False
        )
        with kit.check("O-2", world), kit.placed(world) as placed:
            view = placed.views[0]
            kit.store.write(view.name, batch_table(view, range(len(view.rows))), to="online")
            for moment in (NOW, NOW + US, NOW + ttl - US, NOW + ttl, NOW + ttl + US, NOW + timedelta(days=9_999)):
                kit.clock.set(moment)
                kit.check_online("O-2", placed, view, view.rows, f"At {moment}.")

    @proves("O-2", "O-1", "O-4")
    def test_o2_a_row_ahead_of_the_clock_waits_and_hides_nothing(self, kit: Kit) -> None:
        """Several rows ahead of one key, written in any order: each answers from its own time, none before."""
        kit.need_can("online")
        ahead = [NOW + timedelta(seconds=n) for n in (20, 40, 60)]
        rows = [row("a", at(1), 1), *(row("a", t, 2 + n) for n, t in enumerate(ahead)), row("b", ahead[1], 9)]
        for order in ((0, 1, 2, 3, 4), (4, 3, 2, 1, 0), (2, 0, 3, 1, 4)):
            world = kit.fitted(world_of(view_of([]), [("a", NOW), ("b", NOW)]), history=False)
            with kit.check("O-2", (world, rows)), kit.placed(world) as placed:
                view = placed.views[0]
                for n in order:
                    kit.store.write(view.name, rows_table(view, [rows[n]]), to="online")
                for moment in (NOW, *(t + step for t in ahead for step in (-US, timedelta(0), US))):
                    kit.clock.set(moment)
                    kit.check_online("O-2", placed, view, rows, f"Written in the order {order}, at {moment}.")

    @proves("O-3", "P-8")
    def test_o3_values_of_every_declared_dtype_are_exact_online(self, kit: Kit) -> None:
        """Extremes, 2**53+1, NaN, -0.0, empty and NULL, each with its status and event time, never a default."""
        kit.need_can("online")
        kinds = exact_kinds(kit)
        fields = {f"f_{kind}": EXACT[kind][0] for kind in kinds}
        most = max(len(EXACT[kind][1]) for kind in kinds)
        rows = [row(f"k{n}", at(n), *(EXACT[kind][1][n % len(EXACT[kind][1])] for kind in kinds)) for n in range(most)]
        rows += [
            row("null", at(1), *(None for _ in kinds)),
            row("half", at(2), *((None, EXACT[k][1][0])[n % 2] for n, k in enumerate(kinds))),
        ]
        asked = [(r.key[0], NOW) for r in rows] + [("nobody", NOW), (None, NOW)]
        world = kit.fitted(world_of(view_of(rows, fields=fields), asked), history=False)
        with kit.check("O-3", world), kit.placed(world) as placed:
            view = placed.views[0]
            kit.store.write(view.name, batch_table(view, range(len(rows))), to="online")
            kit.check_online("O-3", placed, view, rows)
            kit.clock.set(LATE)
            rows.append(row("k0", LATE, *rows[-1].values))
            kit.store.write(view.name, rows_table(view, rows[-1:]), to="online")
            kit.check_online("O-3", placed, view, rows, "With a row of the year 2300, in that year.")
            if kit.can.persistent:
                kit.reopen()
                kit.check_online("O-3", placed, view, rows, "After the store was opened again.")

    @proves("O-5", "P-7")
    def test_o5_answers_line_up_with_the_rows_asked(self, kit: Kit) -> None:
        """Duplicates, misses, missing keys and keys that look alike in any order, for one row and for many, view by view."""
        kit.need_can("online")
        keys = {"a": d.String, "b": d.String}
        pairs = [*PAIRS, *((f"k{n}", f"{n}") for n in range(300))]
        rows = [row(pair, at(n), n) for n, pair in enumerate(pairs)]
        others = [row(pairs[3], at(9), -3), row(("no", "body"), at(9), -1)]
        base = world_of([view_of(rows, keys=keys), view_of(others, name="w", keys=keys)], [(pairs[0], NOW)])
        order = [(n * 37) % len(pairs) for n in range(700)]
        asks: list[list[Any]] = [
            [pairs[1]], [("1", None)], [("no", "body"), pairs[0], pairs[0], (None, None), pairs[3], pairs[2], pairs[1], pairs[0]],
            list(PAIRS), [pairs[n] if n % 7 else (f"miss{n}", "") for n in order],
        ]  # fmt: skip
        world = kit.fitted(base, history=False)
        with kit.check("O-5", world), kit.placed(world) as placed:
            for view, own in zip(placed.views, (rows, others), strict=True):
                kit.store.write(view.name, rows_table(view, own), to="online")
            for ask in asks:
                asked = world_of(placed.views, [(pair, NOW) for pair in ask])
                for view, own in zip(placed.views, (rows, others), strict=True):
                    kit.check_online("O-5", asked, view, own, f"{len(ask)} rows asked.")
        rows = [row(text, at(1), n) for n, text in enumerate(TEXTS)]
        world = kit.fitted(world_of(view_of(rows), [(text, NOW) for text in [*TEXTS, "b", None]]), history=False)
        with kit.check("P-7", world), kit.placed(world) as placed:
            kit.store.write(placed.views[0].name, rows_table(placed.views[0], rows), to="online")
            kit.check_online("P-7", placed, placed.views[0], rows, "Keys compare exactly.")

    # ---- running ------------------------------------------------------------------------------------------

    @proves("O-6", "O-1", "P-10")
    def test_o6_after_materialising_online_is_historical_at_now(self, kit: Kit) -> None:
        """For every key asked; rows written online before or after the run change nothing that they should not."""
        kit.need_can("online")

        def check(world: World) -> None:
            with kit.placed(world) as placed:
                for view in placed.views:
                    kit.store.materialize(None, placed.now, views=[view.name])
                    past = [r for r in view.rows if r.event is not None and r.event <= placed.now]
                    kit.check_online("O-6", placed, view, past, "After materialize up to now.")
                    self._agree(kit, placed, view)

        kit.search("O-6", kit.worlds(max_views=2), check, share=0.5)

    def _agree(self, kit: Kit, world: World, view: ViewWorld) -> None:
        """Compare the online answer with the historical one at now, without the oracle."""
        now = kit.clock.now()
        asked = replace(world, views=(view,), times=(now,) * len(world.times), full_feature_names=False)
        request = next(asked.requests())
        answer = kit.store.get_online_features([f"{view.name}:*"], entity_rows(world, view))
        result = kit.ask(asked, request)
        values, online = result.to_arrow(), answer.to_dict()
        for name, dtype in view.fields:
            ref = f"{view.name}:{name}"
            says = f"{ref}: online is not historical at now."
            then = values.column(name).to_pylist()
            kit.is_("O-6", says, answer.statuses[ref], result.statuses[ref])
            kit.is_("O-6", says, answer.event_timestamps[ref], result.event_timestamps[ref])
            if not all(same_value(one, other, dtype) for one, other in zip(online[name], then, strict=True)):
                raise Mismatch("O-6", says, expected=then, got=online[name])

    @proves("W-3", "O-1", "O-6")
    def test_w3_a_row_that_lands_late_is_online_after_the_next_run(self, kit: Kit) -> None:
        """Older than the last run's end, and than another key's newest row: the next incremental run takes it up."""
        kit.need_can("online")
        kit.need_can("append")
        rows = [
            row("a", at(100), 1, created=at(100)), row("b", at(10), 2, created=at(10)),
            row("b", at(50), 3, created=at(300)), row("c", at(1), 4, created=at(400)),
            row("a", at(99), 5, created=at(500)), row("b", at(50), 6, created=None), row("a", at(100), 7, created=at(600)),
        ]  # fmt: skip
        world = kit.fitted(world_of(view_of([], created=True), [(key, NOW) for key in "abcd"]))
        with kit.check("W-3", (world, rows)), kit.placed(world) as placed:
            view = placed.views[0]
            kept = rows_of(view, rows)
            landed: list[Row] = []
            for numbers in ([0, 1], [2, 3], [4], [5], [6]):
                kit.store.write(view.name, rows_table(view, [kept[n] for n in numbers]), to="offline")
                landed += [kept[n] for n in numbers]
                kit.clock.advance(timedelta(minutes=5))
                kit.store.materialize_incremental(views=[view.name])
                kit.check_online("W-3", placed, view, landed, f"After the run that follows rows {numbers}.")


# ---- words of these tests ---------------------------------------------------------------------------------


def _whole(rows: Sequence[OnlineRow | None]) -> None:
    """Raise unless each row has the values and the time of one write."""
    for found in rows:
        if found is not None:
            number = found.values["a"]
            wanted = dict.fromkeys("abcd", number) | {"text": f"{number}" * 200}
            if dict(found.values) != wanted or from_us(found.event_us) != at(number):
                says = "A reader found a row half old, half new."
                got = f"{dict(found.values)} of {from_us(found.event_us)}"
                raise Mismatch("O-7", says, expected=f"{wanted} of {at(number)}", got=got)
