"""Predictions served online while the primary is taken away and brought back; every answer is compared with the truth."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import e2i_fs as fs
from e2i_fs.cli.demo.claims import Claims
from e2i_fs.cli.demo.primary import Primary
from e2i_fs.cli.demo.repository import feature_repo
from e2i_fs.cli.demo.training import FEATURES
from e2i_fs.errors import DegradedAnswerError

__all__ = ["Request", "Service", "counted", "outage"]

PACE = 0.02
"""Seconds between two requests."""
VIEW = "hcp_conversion_features"


@dataclass(frozen=True, slots=True)
class Request:
    """One request: when (seconds since serving began), in which phase, who served it, and whether it was right."""

    at: float
    phase: str
    served_by: str
    degraded: bool
    why: str
    milliseconds: float
    probability: float
    right: bool


class Service:
    """Asks for features, predicts, and keeps account of every request."""

    def __init__(self, rows: Sequence[Mapping[str, str]], model: Any, clock: Callable[[], datetime]) -> None:
        self.rows = list(rows)
        self.requests: list[Request] = []
        self.truth: dict[str, list[Any]] = {}
        self._model = model
        self._clock = clock
        self._predict = feature_repo("agents").prediction_synthesizer
        self._began = time.perf_counter()

    def predict(self, store: Any, *, strict: bool = False) -> Any:
        """Call the prediction synthesizer once, for all pairs."""
        return self._predict(store, self._model, self.rows, strict=strict, clock=self._clock)

    def ask(self, store: Any, phase: str, times: int) -> list[Request]:
        """Serve ``times`` requests, one after the other."""
        for _ in range(times):
            begun = time.perf_counter()
            made = self.predict(store)
            took = time.perf_counter() - begun
            p = made.enrichment.provenance
            passed = (
                f"{a.backend}: {a.error or f'breaker {a.outcome}'}" for a in p.attempts if a.outcome != "answered"
            )
            why = p.reason or "; ".join(passed)
            self.requests.append(
                Request(
                    begun - self._began,
                    phase,
                    made.served_by,
                    made.degraded,
                    why,
                    took * 1000,
                    made.probabilities[0],
                    not self.apart(made),
                )
            )
            time.sleep(PACE)
        return [r for r in self.requests if r.phase == phase]

    def apart(self, made: Any) -> int:
        """Return how many features of the contexts are not the truth, or are not the ones predicted from."""
        contexts = made.enrichment.contexts
        unlike = sum([c[name] for c in contexts] != values for name, values in self.truth.items())
        return unlike + int(made.probabilities != self._model.predict(contexts))

    def learn_truth(self, store: Any, now: datetime, claims: Claims) -> None:
        """Take as the truth what the contract says of now: the historical answer at this moment (O-6)."""
        asked = [{**row, "event_timestamp": now} for row in self.rows]
        told = store.get_historical_features(asked, FEATURES)
        table = told.to_arrow()
        self.truth = {name: table[name].to_pylist() for name in told.feature_names}
        apart = self.apart(self.predict(store))
        claims.check(
            "After materialising, online and historical-at-now agree",
            apart == 0,
            f"{len(self.rows)} HCP-brand pairs, {len(self.truth)} features, {apart} columns differ",
        )


def outage(
    service: Service,
    primary: Primary,
    *,
    config: Mapping[str, Any],
    store: Any,
    clock: Callable[[], datetime],
    claims: Claims,
    progress: Callable[[str], None],
) -> None:
    """Serve through the whole story: both up, primary away, a write, primary back, standby away too, all healed.

    In ``config`` ``failover.background`` is off, so that each step can be seen; at the end the same by itself.
    """
    progress("both up")
    up = service.ask(store, "both up", 12)
    claims.check(
        "With both up the primary serves, unmarked",
        all(r.served_by == "primary" and not r.degraded for r in up),
        counted(up),
    )

    progress(f"primary away: {primary.fault}")
    primary.take_away()
    try:
        away = service.ask(store, "primary away", 15)
        claims.check(
            f"When {primary.fault}, every request is still answered, right and unmarked, by the standby",
            all(r.served_by == "standby" and r.right and not r.degraded for r in away),
            counted(away),
        )
        progress("a write while the primary is away")
        receipt = _write(store, service, clock())
        claims.check(
            "A write while the primary is away is taken by the standby and known to be missed by the primary",
            receipt.applied == ("standby",) and set(receipt.missed) == {"primary"},
            f"taken by {', '.join(receipt.applied)}; missed by {', '.join(receipt.missed)}",
        )
        written = service.ask(store, "after a write", 8)
        claims.check(
            "The next answers have the written values",
            all(r.served_by == "standby" and r.right and not r.degraded for r in written),
            counted(written),
        )
    finally:
        progress(f"primary back: {primary.cure}")
        primary.bring_back()
    _back(service, store, claims, progress)
    _standby_away(service, config, clock, claims, progress)
    _healed(service, store, claims, progress)
    _by_itself(service, primary, config, clock, claims, progress)
    _none_wrong(service, claims)


def _back(service: Service, store: Any, claims: Claims, progress: Callable[[str], None]) -> None:
    """The primary is up again and lacks the write: it must not answer unmarked (X-3)."""
    _until_asked(service, store, "primary back")
    back = [r for r in service.requests if r.phase == "primary back"]
    told = [r for r in back if "missed" in r.why]
    claims.check(
        "The returned primary is asked, found to lack the write, and does not answer",
        bool(told) and all(r.served_by == "standby" and r.right and not r.degraded for r in back),
        f"{counted(back)}; {len(told)} times: {told[0].why}" if told else counted(back),
    )
    progress("primary back, one write behind")


def _until_asked(service: Service, store: Any, phase: str) -> None:
    """Go on serving until the primary's breaker lets a request through, at most ten seconds."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        service.ask(store, phase, 1)
        if "missed" in service.requests[-1].why:
            service.ask(store, phase, 5)
            return


def _standby_away(
    service: Service,
    config: Mapping[str, Any],
    clock: Callable[[], datetime],
    claims: Claims,
    progress: Callable[[str], None],
) -> None:
    """An agent starts while the standby's folder is gone: only the primary is left, which lacks the write."""
    progress("standby away too")
    folder = Path(config["backends"][1]["path"])
    away = folder.with_name(folder.name + ".away")
    folder.rename(away)
    folder.write_bytes(b"")  # so that nobody makes an empty one
    try:
        with fs.connect(config, clock=clock) as agent:
            asked = service.ask(agent, "standby away too", 8)
            claims.check(
                "With only the primary left, which lacks the write, answers are marked degraded and say why",
                all(r.served_by == "primary" and r.degraded and "missed" in r.why for r in asked),
                f"{counted(asked)}; {asked[-1].why}",
            )
            try:
                service.predict(agent, strict=True)
                refused = "it answered"
            except DegradedAnswerError as error:
                refused = str(error)
            claims.check("Asked with strict=True it refuses rather than degrade", refused != "it answered", refused)
    finally:
        folder.unlink()
        away.rename(folder)


def _healed(service: Service, store: Any, claims: Claims, progress: Callable[[str], None]) -> None:
    """What the primary missed was kept; replayed in order it is up to date (X-4), and serves again."""
    progress("the missed write is replayed")
    done = store.catch_up("primary")["primary"]
    last = service.ask(store, "healed", 12)
    claims.check(
        "The missed write is replayed from the journal, and the primary serves again, right and unmarked",
        done.done and done.replayed == 1 and all(r.served_by == "primary" and _fine(r) for r in last),
        f"{done.replayed} replayed; {counted(last)}",
    )


def _by_itself(
    service: Service,
    primary: Primary,
    config: Mapping[str, Any],
    clock: Callable[[], datetime],
    claims: Claims,
    progress: Callable[[str], None],
) -> None:
    """The same again with the defaults: nobody asks for the replay, a thread of the store does it."""
    progress("once more, and this time nobody lends a hand")
    failover = {key: value for key, value in config["failover"].items() if key != "background"}
    with fs.connect({**config, "failover": failover}, clock=clock) as agent:
        primary.take_away()
        try:
            service.ask(agent, "away once more", 5)
            receipt = _write(agent, service, clock(), 1)
            service.ask(agent, "away once more", 5)
        finally:
            primary.bring_back()
        until = time.monotonic() + 20
        while time.monotonic() < until:
            if service.ask(agent, "back by itself", 1)[-1].served_by == "primary":
                service.ask(agent, "back by itself", 5)
                break
    asked = [r for r in service.requests if r.phase in ("away once more", "back by itself")]
    claims.check(
        "Left to itself the primary comes back with what it missed: no request fails, is wrong or is marked",
        "primary" in receipt.missed
        and all(_fine(r) for r in asked)
        and all(r.served_by == "standby" for r in asked if r.phase == "away once more")
        and all(r.served_by == "primary" for r in asked[-6:]),
        counted(asked),
    )


def _none_wrong(service: Service, claims: Claims) -> None:
    unmarked = [r for r in service.requests if not r.degraded]
    wrong = [r for r in unmarked if not r.right]
    claims.check(
        "No answer of the whole run was wrong without being marked",
        not wrong and len(unmarked) > 0,
        f"{len(service.requests)} requests, {len(unmarked)} unmarked, {len(wrong)} of these wrong",
    )


def _fine(request: Request) -> bool:
    return request.right and not request.degraded


def _write(store: Any, service: Service, now: datetime, n: int = 0) -> Any:
    """Write the ``n``-th new row for the first pair, and make it the truth."""
    view = store.get_feature_view(VIEW)
    row: dict[str, Any] = dict(service.rows[0])
    for i, field in enumerate(view.schema):
        row[field.name] = 40 + i + n if field.dtype == fs.Int64 else 0.5 + (i + n) / 64
    row |= {view.event_column: now, view.created_column: now}
    for field in view.schema:
        service.truth[field.name][0] = row[field.name]
    return store.write(VIEW, [row], idempotency_key=f"demo-while-the-primary-was-away-{n}")


def counted(requests: Sequence[Request]) -> str:
    """Return in words who served ``requests``, how many were wrong, and the slowest."""
    who: dict[str, int] = {}
    for r in requests:
        name = r.served_by + (" (degraded)" if r.degraded else "")
        who[name] = who.get(name, 0) + 1
    slowest = max((r.milliseconds for r in requests), default=0.0)
    wrong = sum(not r.right for r in requests)
    served = ", ".join(f"{n} by {name}" for name, n in who.items())
    return f"{len(requests)} requests: {served}; {wrong} not as the contract says; slowest {slowest:.1f} ms"
