"""The documented table of liveness and parity, cell by cell, against the code (X-1)."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest

import e2i_fs as fs
from e2i_fs.catalog import Catalog
from e2i_fs.failover.breaker import Liveness
from e2i_fs.failover.table import ROUTING
from e2i_fs.testing import FakeClock
from tests.breakable import OPENED, BreakablePlugin
from tests.docs.pages import ROOT
from tests.kit import at, batch, view

VIEW = "hcp_stats"
PARITIES = ("verified", "lagging", "diverged", "unverified")


def _cells() -> dict[tuple[str, str], str]:
    text = (ROOT / "docs" / "how-a-request-flows.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([a-z-]+) \| (.+) \|$", text.split("| liveness |", 1)[1].split("\n\n", 1)[0], re.MULTILINE)
    return {
        (liveness, parity): cell.strip()
        for liveness, cells in rows
        if not set(liveness) <= {"-"}
        for parity, cell in zip(PARITIES, cells.split("|"), strict=True)
    }


@pytest.mark.rule("X-1")
def test_the_table_has_every_cell() -> None:
    assert set(_cells()) == {(str(liveness), parity) for liveness in Liveness for parity in PARITIES}
    assert set(_cells().values()) == {"answers", "degraded", "never"}


@pytest.mark.rule("X-1")
def test_the_table_is_the_one_that_the_code_reads() -> None:
    assert _cells() == {(str(liveness), str(parity)): str(verdict) for (liveness, parity), verdict in ROUTING.items()}


@pytest.mark.rule("X-1", "X-7", "X-9")
@pytest.mark.parametrize(("liveness", "parity"), sorted(_cells()))
def test_a_backend_does_what_its_cell_says(liveness: str, parity: str, tmp_path: Path, clock: FakeClock) -> None:
    backends = [{"name": n, "backend": "breakable", "inner": "memory"} for n in ("primary", "standby")]
    config = {
        "backends": backends,
        "state": str(tmp_path / "state"),
        "failover": {"shadow_rate": 0, "deadline": 60, "background": False},
    }
    with fs.connect(config, clock=clock, plugins=[BreakablePlugin()]) as store:
        store.apply([view(tmp_path, [])])
        store.write(VIEW, batch(("a", at(1), 1)))
        _bring_about(parity, store)
        OPENED["primary"].break_()
        breaker = store._router._members[1].breaker
        if liveness in ("open", "half-open"):
            while breaker.state is not Liveness.OPEN:
                breaker.failure(breaker.allow())
            clock.advance(timedelta(seconds=10 if liveness == "half-open" else 0))
        elif liveness != "closed":
            {"isolated": breaker.isolate, "observe-only": breaker.observe}[liveness]()
        assert str(breaker.state) == liveness
        health = {h.name: h for h in store.health()}["standby"]
        # An isolated backend is not called, so nobody knows that it still is what it was.
        unseen = liveness == "isolated" and parity == "verified"
        assert health.parity[VIEW] == ("unverified" if unseen else parity)
        assert _asked(store) == _cells()[liveness, parity]
        if liveness == "half-open":
            breaker.failure(breaker.allow())  # open again; then half-open once more, with the one probe in flight
            clock.advance(timedelta(seconds=60))
            assert breaker.allow() is not None
            assert _asked(store) == "never"


def _bring_about(parity: str, store) -> None:
    journal, standby = store._router.journal, OPENED["standby"]
    if parity == "lagging":
        standby.break_("online_write")
        store.write(VIEW, batch(("a", at(2), 2)))
        standby.heal()
    elif parity == "diverged":
        journal.quarantine("standby", VIEW, "differs", "a sampled read differed")
    elif parity == "unverified":
        assert standby.apply(Catalog(), expected=standby.definitions().revision)


def _asked(store) -> str:
    try:
        answer = store.get_online_features([f"{VIEW}:trx_count"], [{"hcp_id": "a"}])
    except fs.NoEligibleBackendError as error:
        assert {a.backend for a in error.attempts} == {"primary", "standby"}  # noqa: PT017 - never is one answer of several
        return "never"
    assert answer.to_dict()["trx_count"] == [1]
    assert answer.provenance.served_by == "standby"
    assert answer.provenance.degraded == (answer.provenance.reason is not None)
    return "degraded" if answer.provenance.degraded else "answers"
