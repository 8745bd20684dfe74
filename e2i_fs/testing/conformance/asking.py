"""Words of the tests that ask about whole worlds."""

from __future__ import annotations

from e2i_fs.testing.files import entity_table
from e2i_fs.testing.kit import Kit
from e2i_fs.testing.metamorphic import Said, said
from e2i_fs.testing.worlds import Request, World

__all__ = ["answer_of", "checked", "some_request"]


def checked(kit: Kit, rule: str, world: World, *, every: bool = False) -> None:
    """Compare a world worked out by hand with the oracle: the plain request, or every form of it."""
    world = kit.fitted(world)
    with kit.check(rule, world), kit.placed(world) as placed:
        for request in list(placed.requests())[: None if every else 1]:
            kit.check_historical(rule, placed, request)


def answer_of(kit: Kit, world: World, request: Request) -> Said:
    """Return what the store answers for a placed world, asked with an Arrow table."""
    return said(world, request, kit.ask(world, request, entity_table(world)))


def some_request(world: World) -> Request:
    """Return the plain request, or for half of the worlds the one with the most knowledge time."""
    return list(world.requests())[-1 if world.seed % 2 else 0]
