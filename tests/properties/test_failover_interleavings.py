"""Two stores on the same backends, each with outages of its own: an unmarked answer is right, whoever wrote (X-3 to X-5)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

import e2i_fs as fs
from e2i_fs.testing import FakeClock
from e2i_fs.testing.faults import Breakable
from e2i_fs.testing.oracle import Row, by_key, historical
from e2i_fs.testing.oracle import online as oracle_online
from tests.breakable import OPENED, BreakablePlugin
from tests.kit import NOW, ask, at, batch, values, view

REF, KEYS, NEVER = "hcp_stats:trx_count", [fs.String], 1_000_000
PARTS: tuple[tuple[str, ...], ...] = ((), ("online_write",), ("append",), ("online_read", "scan"), ("definitions",))
ASKED = [(("a",), at(20)), (("b",), at(20)), (("a",), NOW)]


class Side:
    """One process's view: a store, and the switches before its own connections to both backends."""

    def __init__(self, folder: Path, clock: FakeClock) -> None:
        self._folder, self._clock = folder, clock
        self.open()

    def open(self) -> None:
        backends = [
            {"name": name, "backend": "breakable", "inner": "duckdb", "path": str(self._folder / name)}
            for name in ("primary", "standby")
        ]
        failover = {
            "shadow_rate": 0,
            "deadline": 30,
            "background": False,
            "breaker": {"failures": NEVER, "calls": NEVER},
        }
        config = {"backends": backends, "failover": failover, "state": str(self._folder / "state")}
        self.store = fs.connect(config, clock=self._clock, plugins=[BreakablePlugin()])
        self.switches: list[Breakable] = [OPENED["primary"], OPENED["standby"]]

    def heal(self) -> None:
        for switch in self.switches:
            switch.heal()

    def take_one_away(self, rng: Random) -> None:
        """Take away a backend, or a part of it, so that at least the other is whole."""
        one, other = rng.sample(self.switches, 2)
        if other._broken is None:
            one.break_(*rng.choice(PARTS), after=rng.random() < 0.4)

    def surely(self, work: Any) -> Any:
        """Do what was not acknowledged again when all is well, as the error says."""
        try:
            return work()
        except (fs.NoEligibleBackendError, fs.BackendUnavailableError):
            self.heal()
            return work()


@pytest.fixture
def sides(tmp_path: Path) -> Iterator[tuple[FakeClock, list[Side]]]:
    clock = FakeClock(NOW)
    both = [Side(tmp_path, clock), Side(tmp_path, clock)]
    both[0].store.apply([view(tmp_path, [])])
    yield clock, both
    for side in both:
        side.store.close()


@pytest.mark.rule("X-3", "X-4", "X-5")
@pytest.mark.parametrize("seed", range(8))
def test_an_unmarked_answer_is_right_whoever_wrote_and_whoever_was_cut_off(sides, seed: int) -> None:
    clock, both = sides
    rng = Random(seed)
    history: list[Row] = []
    written: list[Row] = []
    unmarked = 0
    for _ in range(40):
        side = rng.choice(both)
        match rng.choice(["break", "break", "heal", "write", "write", "write", "run", "reopen", "tick"]):
            case "break":
                side.take_one_away(rng)
            case "heal":
                side.heal()
            case "reopen":
                side.store.close()
                side.open()
            case "tick":
                clock.advance(timedelta(seconds=1))
            case "write":
                row = Row((rng.choice("ab"),), at(rng.randint(0, 40)), None, (rng.randint(0, 9),))
                to, rows = rng.choice(["both", "online", "offline"]), batch((row.key[0], row.event, row.values[0]))
                side.surely(lambda side=side, rows=rows, to=to: side.store.write("hcp_stats", rows, to=to))
                history += [row] if to != "online" else []
                written += [row] if to != "offline" else []
            case "run":
                end, start = (
                    rng.choice([NOW, at(rng.randint(20, 40))]),
                    rng.choice([None, None, at(rng.randint(0, 20))]),
                )
                side.surely(lambda side=side, start=start, end=end: side.store.materialize(start, end))
                written += [r for r in history if r.event and (start is None or start <= r.event) and r.event <= end]
        for reader in both:
            unmarked += _online_is_right(reader.store, written, clock) + _historical_is_right(reader.store, history)
    assert unmarked > 40


def _online_is_right(store: Any, written: list[Row], clock: FakeClock) -> bool:
    try:
        answer = store.get_online_features([REF], [{"hcp_id": "a"}, {"hcp_id": "b"}])
    except (fs.NoEligibleBackendError, fs.BackendUnavailableError):
        return False
    if not answer.provenance.degraded:
        right = oracle_online(by_key(written, KEYS), [("a",), ("b",)], clock.now(), KEYS, [fs.Int64])
        assert answer.to_dict()["trx_count"] == [a.values[0] for a in right], answer.provenance
    return not answer.provenance.degraded


def _historical_is_right(store: Any, history: list[Row]) -> bool:
    try:
        result = ask(store, [(*key, t) for key, t in ASKED])
    except (fs.NoEligibleBackendError, fs.BackendUnavailableError):
        return False
    if not result.provenance.degraded:
        right = historical(by_key(history, KEYS), ASKED, KEYS, [fs.Int64])
        assert values(result) == [a.values[0] for a in right], result.provenance
    return not result.provenance.degraded
