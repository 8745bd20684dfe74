"""The group *temporal*: nothing from the future, to the microsecond. No deviation is allowed here."""

from __future__ import annotations

from typing import ClassVar

from e2i_fs.testing.conformance.rules import proves
from e2i_fs.testing.kit import Kit
from e2i_fs.testing.worlds import World

__all__ = ["TemporalTests"]


class TemporalTests:
    """Tests of the group *temporal*."""

    group: ClassVar[str] = "temporal"

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
