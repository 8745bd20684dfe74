"""The group *temporal*, second part: rows that may not be seen change nothing (P-10)."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from datetime import timedelta
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from e2i_fs.backend import Knowledge
from e2i_fs.dtypes import DType, Int64
from e2i_fs.historical import EntityFrame
from e2i_fs.pit.engine import point_in_time
from e2i_fs.pit.latest import latest_rows
from e2i_fs.testing.conformance.asking import answer_of, checked
from e2i_fs.testing.conformance.rules import proves
from e2i_fs.testing.directed import US, at, row, view_of, world_of
from e2i_fs.testing.draw import Draw
from e2i_fs.testing.files import definitions, entity_table
from e2i_fs.testing.kit import Kit
from e2i_fs.testing.metamorphic import (
    asked_anew,
    drawn,
    edited,
    hidden_edits,
    in_files,
    same,
)
from e2i_fs.testing.worlds import World

__all__ = ["UnseenTests"]


class UnseenTests:
    """Tests of the group *temporal* about non-interference."""

    group: ClassVar[str] = "temporal"

    @proves("P-10")
    def test_p10_rows_added_that_nobody_may_see_change_nothing(self, kit: Kit) -> None:
        """Rows of the future, of others, or not known in time are written after the first answer."""
        kit.need_can("append")
        self._unseen(kit, "add")

    @proves("P-10")
    def test_p10_rows_changed_that_nobody_may_see_change_nothing(self, kit: Kit) -> None:
        """Rows in the source's files that nobody may see get other times, keys and values that nobody may see."""
        kit.need_source("parquet")
        self._unseen(kit, "change")

    @proves("P-10")
    def test_p10_rows_removed_that_nobody_may_see_change_nothing(self, kit: Kit) -> None:
        """Rows in the source's files that nobody may see are taken away."""
        kit.need_source("parquet")
        self._unseen(kit, "remove")

    def _unseen(self, kit: Kit, how: str) -> None:
        def make(world: World, draw: Draw) -> Any:
            request = draw.choice(list(world.requests()))
            return request, hidden_edits(world, request, draw, how=how)

        def check(example: tuple[World, Any]) -> None:
            world, (request, edits) = example
            with kit.placed(world) as placed:
                before = answer_of(kit, placed, request)
                after = edited(placed, edits)
                if how != "add":  # the same files with other rows
                    definitions(after, kit.folder / "sources")
                for old, new in zip(placed.views, after.views, strict=True):
                    for batch in new.batches[len(old.batches) :]:
                        kit.clock.set(max(r.event for n in batch if (r := new.rows[n]).event is not None))
                        kit.append(new, batch)
                kit.clock.set(placed.now)
                says = f"Rows that nobody may see were to {how}: that must change nothing."
                same("P-10", says, request, before, answer_of(kit, placed, request))

        def noisy(world: World, draw: Draw) -> World:
            return in_files(edited(world, hidden_edits(world, next(world.requests()), draw, how="add")))

        worlds = kit.worlds(max_views=2)
        if how != "add":  # some rows that nobody may see are there from the beginning
            worlds = drawn(worlds, noisy).map(lambda both: both[1])
        kit.search("P-10", drawn(worlds, make), check, share=0.4)

    @proves("P-10", "P-1")
    def test_p10_the_future_is_hidden_in_whichever_file_or_batch_it_lies(self, kit: Kit) -> None:
        """One row of the future at a time: in the first file, in the second, in a batch, in a later batch."""
        rows = [row("a", at(1), 1), row("b", at(2), 2), row("a", at(5) + US, 99), row("b", at(300), 98)]
        layouts: list[tuple[list[list[int]], list[list[int]]]] = [([[0, 1, 2], [3]], []), ([[2], [0, 1], [3]], [])]
        if kit.can.append:
            layouts += [([[0, 1]], [[2, 3]]), ([[0], [1]], [[3], [2]]), ([[2]], [[3], [0, 1]])]
        for parts, batches in layouts:
            checked(kit, "P-10", world_of(view_of(rows, parts=parts, batches=batches), [("a", at(5)), ("b", at(5))]))

    @proves("P-10", "P-1")
    def test_p10_thirty_thousand_rows_in_several_files_leak_nothing(self, kit: Kit) -> None:
        """More rows than any batch, row group or page holds; each key's future lies beside its past."""
        count, keys = 30_000, 100
        rows = [row(n % keys, at(n // keys), n, created=at(n // keys + n % 7)) for n in range(count)]
        parts = [list(range(n, count, 4))[:: -1 if n % 2 else 1] for n in range(4)]
        view = view_of(rows, keys={"hcp_id": Int64}, created=True, ttl=timedelta(minutes=200), parts=parts)
        asked = [(n % (keys + 3), at(n % 301) - (n % 3) * US) for n in range(400)]
        checked(kit, "P-10", world_of(view, asked, as_of=at(150)), every=True)

    @proves("P-6", "P-1")
    def test_p6_five_thousand_entity_rows_are_each_answered_at_their_own_time(self, kit: Kit) -> None:
        """More entity rows than an engine takes at once; nothing shifts, leaks or goes missing at its boundaries."""
        rows = [row(n % 50, at(n), n, created=at(n + n % 11)) for n in range(500)]
        view = view_of(rows, keys={"hcp_id": Int64}, created=True, ttl=timedelta(minutes=120))
        asked = [((n * 7) % 53, at((n * 13) % 601) - (n % 2) * US) for n in range(5_000)]
        checked(kit, "P-6", world_of(view, asked, as_of=at(300)), every=True)

    @proves("P-10")
    def test_p10_a_scan_under_hints_leaves_out_no_row_that_answers(self, kit: Kit) -> None:
        """``keys`` and ``until_us`` may spare rows, never one that is needed (`Backend.scan`)."""

        def some(world: World, draw: Draw) -> list[int]:
            return draw.listed(lambda d: d.integer(0, len(world.times) - 1), 1, 4)

        def check(world: World) -> None:
            with kit.placed(world) as placed:
                catalog = kit.backend.definitions()
                for view in placed.views:
                    definition, keys = catalog.view(view.name), catalog.join_keys(view.name)
                    fields = list(definition.features)
                    keyed = _keyed(placed, keys)
                    until = pc.max(keyed.column("t")).as_py()
                    hints: dict[str, Any] = {"keys": keyed.drop_columns(["t"]), "until_us": until}
                    tables = []
                    for more in ({}, hints, {"until_us": until}):
                        parts = kit.backend.scan(view.name, fields, **more)
                        tables.append(point_in_time(keyed, definition, keys, fields, parts, Knowledge()))
                    for more in ({}, {"until_us": until}):
                        parts = kit.backend.scan(view.name, fields, **more)
                        with closing(latest_rows(definition, keys, parts, start_us=None, end_us=until)) as newest:
                            tables.append(newest.piece(0, newest.rows))
                    told = [repr(t.to_pylist()) for t in tables]
                    for hinted, plain, which in ((1, 0, "keys and until_us"), (2, 0, "until_us"), (4, 3, "until_us")):
                        kit.is_("P-10", f"scan leaves out rows under {which}.", told[hinted], told[plain])

        worlds = drawn(kit.worlds(max_views=2), some).map(lambda both: asked_anew(*both))
        kit.search("P-10", worlds, check, share=0.3)


def _keyed(world: World, join_keys: Mapping[str, DType]) -> pa.Table:
    """Return the entity rows in the engine's form, as the core makes it: ``t`` and ``k0..``."""
    return EntityFrame.checked(entity_table(world), world.timestamp_column, reject_naive=False).keyed(join_keys)
