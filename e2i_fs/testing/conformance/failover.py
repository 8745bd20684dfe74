"""The group *failover*: an outage is said, not answered, and either place beside another backend gives the contract's answers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from e2i_fs.backend import Backend, Capabilities
from e2i_fs.config import BreakerConfig, FailoverConfig, load_config
from e2i_fs.failover.member import UNAVAILABLE
from e2i_fs.failover.router import Failover
from e2i_fs.ops.ledger import Ledger
from e2i_fs.plugins import Plugins
from e2i_fs.store import Store
from e2i_fs.testing.conformance.errors import every_call, unavailable
from e2i_fs.testing.conformance.rules import proves
from e2i_fs.testing.conformance.samples import ABSENT, Sample
from e2i_fs.testing.faults import Breakable
from e2i_fs.testing.files import batch_table
from e2i_fs.testing.findings import Mismatch
from e2i_fs.testing.kit import Kit
from e2i_fs.testing.memory import MemoryBackend
from e2i_fs.testing.oracle import Row
from e2i_fs.testing.worlds import ViewWorld, World

__all__ = ["FailoverTests"]

_NEVER = 1_000_000
_SECONDS = 30.0
_CONFIG = FailoverConfig(
    deadline=_SECONDS, historical_deadline=_SECONDS, write_deadline=_SECONDS, run_deadline=_SECONDS, shadow_rate=0.0, shadow_per_second=1.0,
    workers=4, background=False, historical_any_level=True,
    breaker=BreakerConfig(failures=_NEVER, rate=1.0, calls=_NEVER, window=1.0, open_for=1.0, longest=1.0, jitter=0.0, successes=1),
)  # fmt: skip
"""Breakers stay closed: the first backend is asked each time, and comes back as soon as it can."""


class FailoverTests:
    """Tests of the group *failover*."""

    group: ClassVar[str] = "failover"

    @proves("X-2", "G-4", "X-9")
    def test_x2_a_broken_store_is_unavailable_and_not_empty(self, kit: Kit) -> None:
        """In an outage every method raises an error that moves requests on, and after it everything is there."""
        kit.need("break_", "heal")
        with kit.check("X-2"):
            sample = Sample(kit)
            sample.apply()
            for number in (1, 3, 4):
                sample.write((number, 0, number))
            before = kit.backend.definitions()
            position = kit.backend.position("sample")
            calls = every_call(kit.backend, sample)
            with kit.outage():
                for method, call in calls.items():
                    unavailable("X-2", f"{method} in an outage (made by break_)", call, *UNAVAILABLE)
                if kit.can.append:
                    unavailable("X-2", "A retrieval in an outage", lambda: sample.history(1), *UNAVAILABLE)
                if kit.can.online:
                    unavailable("X-2", "An online request in an outage", lambda: sample.online(1), *UNAVAILABLE)
            kit.is_("R-5", "The definitions after an outage:", kit.backend.definitions().revision, before.revision)
            there = [sample.answer(number) for number in (1, 3, 4)]
            sample.expect("R-5", "After an outage:", 1, 3, 4, 7, expected=[*there, ABSENT])
            kit.is_("R-5", "The position after an outage:", kit.backend.position("sample"), position)
            sample.write((2, 0, 2))
            sample.expect("R-5", "Written after an outage:", 1, 2, expected=[sample.answer(1), sample.answer(2)])

    @proves("X-3", "X-4", "X-7", "P-10")
    def test_x3_as_the_primary_its_outage_changes_no_answer(self, kit: Kit) -> None:
        """With a memory standby: the same answers before, in and after its outage, and a write that it missed is not forgotten."""
        kit.need("break_", "heal")
        with kit.check("X-3"):
            backend, can = kit.backend_of(kit.handle()), kit.can
            with _beside(kit, can, backend, MemoryBackend("standby", kit.clock)) as pair:
                for seed in (kit.seed, kit.seed + 1):
                    kit.example = world = pair.world(seed)
                    with pair.placed(world) as placed:
                        rows = {view.name: _first_half(pair, placed, view) for view in placed.views}
                        _check(pair, placed, rows, "primary", "before its outage")
                        with kit.outage():
                            _check(pair, placed, rows, "standby", "in its outage")
                            for view in placed.views:
                                rows[view.name] = _rest(pair, placed, view, rows[view.name])
                            _check(pair, placed, rows, "standby", "in its outage, with rows written in it")
                        missed = {v for v in rows if pair.store.health()[0].parity.get(v) != "verified"}
                        _check(pair, placed, rows, None, "after its outage", missed=missed)

    @proves("X-3", "X-2")
    def test_x3_as_the_standby_it_answers_what_the_primary_would(self, kit: Kit) -> None:
        """Beside a memory primary that is taken away, its answers are the oracle's, unmarked, and said to be the standby's."""
        backend, can = kit.backend_of(kit.handle()), kit.can
        primary = Breakable(MemoryBackend("primary", kit.clock))
        with _beside(kit, can, primary, backend) as pair:

            def check(world: World) -> None:
                with pair.placed(world) as placed:
                    rows = {view.name: _first_half(pair, placed, view) for view in placed.views}
                    primary.break_()
                    try:
                        _check(pair, placed, rows, "standby", "the primary is away")
                    finally:
                        primary.heal()

            kit.search("X-3", pair.worlds(), check, share=0.3)


class _Pair(Kit):
    """The kit's words, spoken to a failover store; what is declared is what the one examined declares."""

    def __init__(self, kit: Kit, store: Store, can: Capabilities) -> None:
        super().__init__(kit.harness, profile=kit.profile, seed=kit.seed, test=kit.test, replay=kit.replay)
        self._store = store
        self._open = [store]
        self._can = can

    @property
    def can(self) -> Capabilities:
        """What the backend under examination declares."""
        return self._can


@contextmanager
def _beside(kit: Kit, can: Capabilities, primary: Backend, standby: Backend) -> Iterator[_Pair]:
    """Give a kit over a failover store of two open backends."""
    config = load_config({"backend": "memory", "state": str(kit.folder / "failover")})
    ledger = Ledger(config.state)
    openers = {"primary": lambda: primary, "standby": lambda: standby}
    router = Failover(openers, _CONFIG, ledger, kit.clock, lambda event: None)
    with _Pair(kit, Store(router, config, Plugins(), ledger, kit.clock), can) as pair:
        yield pair


def _first_half(kit: Kit, world: World, view: ViewWorld) -> list[Row]:
    """Write every other writable row of ``view`` online; return them."""
    return _put(kit, view, view.writable(world.now)[::2])


def _rest(kit: Kit, world: World, view: ViewWorld, before: list[Row]) -> list[Row]:
    """Write the other half online; return all that is there now."""
    return before + _put(kit, view, view.writable(world.now)[1::2])


def _put(kit: Kit, view: ViewWorld, numbers: list[int]) -> list[Row]:
    if not numbers or not kit.can.online:
        return []
    kit.store.write(view.name, batch_table(view, numbers), to="online")
    return [view.rows[n] for n in numbers]


def _check(
    kit: _Pair,
    world: World,
    rows: dict[str, list[Row]],
    server: str | None,
    when: str,
    *,
    missed: set[str] | None = None,
) -> None:
    """Compare every answer with the oracle, and who gave it with ``server`` (None: anybody who missed nothing)."""
    for request in world.requests():
        kit.check_historical("X-3", world, request)
        asked = {world.views[n].name for n, _ in request.asked}
        _served(kit.ask(world, request).provenance, server, asked & (missed or set()), f"History {when}.")
    if not kit.can.online:
        return
    for view in world.views:
        kit.check_online("X-3", world, view, rows[view.name], when=f"Online, {when}.")
        answer = kit.store.get_online_features(
            [f"{view.name}:*"], [{n: k[n] for n, _ in view.keys} for k in world.entity_keys]
        )
        _served(answer.provenance, server, {view.name} & (missed or set()), f"Online, {when}.")


def _served(provenance: Any, server: str | None, missed: set[str], when: str) -> None:
    if provenance.degraded:
        raise Mismatch(
            "X-7",
            f"{when} A whole backend's answer is marked degraded.",
            expected="not degraded",
            got=provenance.reason,
        )
    if missed and provenance.served_by == "primary":
        raise Mismatch(
            "X-4",
            f"{when} A backend that missed writes to {missed} answers unmarked.",
            expected="standby",
            got="primary",
        )
    if server is not None and provenance.served_by != server:
        raise Mismatch(
            "X-7", f"{when} Served by:", expected=server, got=f"{provenance.served_by}; {provenance.attempts}"
        )
