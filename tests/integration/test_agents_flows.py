"""The five flows of E2I's agents on real stores: DuckDB, Feast, and Feast with a standby that it loses its place to."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import e2i_fs as fs
from e2i_fs.agents import ContextEnricher, FeatureRegistrar, FeatureRegistration, SplitLoader, Tier0Pipeline
from e2i_fs.errors import LabelRequestedError, QualityGateBlockedError
from e2i_fs.quality import in_range
from e2i_fs.testing.clock import FakeClock
from tests import agents_world as world
from tests import breakable, kit, servers

ROWS = world.frame(days=30, hcps=6)
ASKED = world.entity_df(ROWS)
COUNTS = world.newest_counts(ROWS)


class Flow(NamedTuple):
    """A store that a preparer registered `ROWS` in, and the clock that it goes by."""

    store: fs.Store
    clock: FakeClock
    registration: FeatureRegistration
    reopen: Callable[[], fs.Store]


def need_feast(kind: str) -> None:
    if kind == "feast" and importlib.util.find_spec("feast") is None:
        pytest.skip('needs Feast: pip install "e2i-fs[feast]"')


@pytest.fixture(scope="module", params=["duckdb", "feast"])
def kind(request: pytest.FixtureRequest) -> str:
    need_feast(request.param)
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def flow(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flow]:
    clock, folder = FakeClock(kit.NOW), tmp_path_factory.mktemp(kind)

    def opened() -> fs.Store:
        return fs.connect({"backend": kind, "path": str(folder)}, clock=clock)

    with opened() as store:
        registration = FeatureRegistrar(store, world.spec(ttl=timedelta(days=7)), clock=clock).register(ROWS)
        yield Flow(store, clock, registration, opened)


# ---- preparer → store ----------------------------------------------------------------------------------------


@pytest.mark.rule("R-5")
def test_the_preparer_registers_what_the_gate_accepts_and_a_store_opened_anew_has_it(flow: Flow) -> None:
    done = flow.registration
    assert (done.status, done.rows, done.registered_features) == ("completed", len(ROWS), tuple(world.REFS))
    assert done.read_back is not None
    assert (done.read_back.problems, done.read_back.offline, done.read_back.online) == ((), 20, 6)
    assert done.report is not None
    assert done.report.status == "passed"
    with flow.reopen() as again:
        answer = again.get_online_features(world.REFS[:1], world.contexts(6))
        assert answer.to_dict()["trx_count"] == [COUNTS[c["hcp_id"]] for c in world.contexts(6)]


def test_the_preparer_registers_nothing_of_what_the_gate_refuses(flow: Flow) -> None:
    before = world.registered(flow.store)
    other = fs.agents.FeatureSpec(
        "other", entities={"doctor": ["hcp_id"], "product": ["brand_id"]}, labels=["converted"]
    )
    strict = FeatureRegistrar(flow.store, other, expectations=[in_range("trx_count", 0, 5)], clock=flow.clock)
    with pytest.raises(QualityGateBlockedError):
        strict.register(ROWS)
    assert world.registered(flow.store) == before


def test_a_value_that_does_not_read_back_undoes_the_registration(flow: Flow, tmp_path: Path) -> None:
    """A source that says otherwise than the frame: what was validated is not what would be served."""
    before = world.registered(flow.store)
    one = world.changed(ROWS, market_share=None, channel=None, converted=None)
    pq.write_table(world.changed(one, trx_count=[0] * len(ROWS)), tmp_path / "other.parquet")
    source = fs.ParquetSource(str(tmp_path / "other.parquet"))
    other = fs.agents.FeatureSpec("other", entities={"doctor": ["hcp_id"], "product": ["brand_id"]}, source=source)
    made = FeatureRegistrar(flow.store, other, on_error="report", clock=flow.clock).register(one)
    assert made.status == "error"
    assert "does not read back as it was written" in (made.error or "")
    assert set(made.undone) == {"view other", "entity doctor", "entity product"}
    assert world.registered(flow.store) == before


# ---- store → trainer -----------------------------------------------------------------------------------------


@pytest.mark.rule("P-1", "P-6")
def test_the_trainer_gets_aligned_audited_splits_of_what_was_known(flow: Flow) -> None:
    loaded = SplitLoader(flow.store, world.REFS, target="converted", rule=world.RULE, clock=flow.clock).load(ASKED)
    assert loaded.audit.clean
    assert loaded.provenance.degraded is False
    source = {(r["hcp_id"], r["event_timestamp"] + timedelta(minutes=30)): r for r in ROWS.to_pylist()}
    for split in loaded.splits:
        rows = split.to_arrow().to_pylist()
        for row in rows:
            truth = source[row["hcp_id"], row["event_timestamp"]]
            assert [row[n] for n in ("trx_count", "market_share", "channel", "converted")] == [
                truth[n] for n in ("trx_count", "market_share", "channel", "converted")
            ]
    assert flow.store.verify(loaded.receipt).identical
    model = world.train(loaded.splits)
    rows = loaded.test.to_arrow().to_pylist()
    hits = sum(p == r["converted"] for p, r in zip(world.predict(model, rows), rows, strict=True))
    assert hits > 0.6 * len(rows)


# ---- store → synthesizer -------------------------------------------------------------------------------------


@pytest.mark.rule("O-3", "O-5", "P-12")
def test_the_synthesizer_gets_online_features_before_the_model_and_no_outcome(flow: Flow) -> None:
    enricher = ContextEnricher(flow.store, world.REFS, clock=flow.clock)
    asked = [*world.contexts(3), {"hcp_id": "nobody", "brand_id": "Kisqali", "trx_count": 4}, world.contexts(1)[0]]
    made = enricher.enrich(asked)
    assert [c["trx_count"] for c in made.contexts] == [*(COUNTS[f"hcp_0{n}"] for n in range(3)), 4, COUNTS["hcp_00"]]
    assert made.statuses[world.REFS[0]] == ["PRESENT"] * 3 + ["NOT_FOUND", "PRESENT"]
    assert made.event_timestamps[world.REFS[0]][:3] == [world.NEWEST] * 3
    assert (made.degraded, made.fetched) == (False, True)
    assert all("converted" not in context for context in made.contexts)
    with pytest.raises(LabelRequestedError):
        ContextEnricher(flow.store, [f"{world.VIEW}:converted"]).enrich(asked)
    assert asyncio.run(enricher.aenrich(asked)).contexts == made.contexts


# ---- freshness -----------------------------------------------------------------------------------------------


@pytest.mark.rule("F-1", "F-2")
def test_freshness_is_enforced_at_the_gate_and_before_the_model(flow: Flow) -> None:
    spec = fs.agents.FeatureSpec(
        "daily", entities={"hcp": ["hcp_id"], "brand": ["brand_id"]}, max_staleness=timedelta(hours=24)
    )
    rows = world.changed(ROWS.slice(len(ROWS) - 12), converted=None, market_share=None, channel=None)
    registrar = FeatureRegistrar(flow.store, spec, clock=flow.clock)
    enricher = ContextEnricher(flow.store, ["daily:trx_count"], stale="block", clock=flow.clock)
    begun = flow.clock.now()
    assert registrar.register(rows).completed
    assert enricher.enrich(world.contexts(1)).freshness["daily"].status == "FRESH"
    flow.clock.set(begun + timedelta(hours=30))
    try:
        with pytest.raises(QualityGateBlockedError, match="STALE"):
            enricher.enrich(world.contexts(1))
        with pytest.raises(QualityGateBlockedError, match="STALE"):
            registrar.register(rows)
        newer = world.changed(rows.slice(6), event_timestamp=None)
        times = [flow.clock.now() - timedelta(hours=1)] * 6
        assert registrar.register(newer.append_column("event_timestamp", pa.array(times, kit.STAMP))).completed
        assert enricher.enrich(world.contexts(1)).freshness["daily"].status == "FRESH"
    finally:
        flow.clock.set(begun)


# ---- standby -------------------------------------------------------------------------------------------------


def failing_over(folder: Path, clock: FakeClock, primary: dict[str, Any]) -> fs.Store:
    backends = [
        {"name": "primary", **primary},
        {"name": "standby", "backend": "duckdb", "path": str(folder / "standby")},
    ]
    failover = {"deadline": 30.0, "shadow_rate": 0, "background": False}  # what is tried here is not how long it takes
    return fs.connect({"backends": backends, "failover": failover}, clock=clock, plugins=[breakable.BreakablePlugin()])


def pipeline(store: fs.Store, clock: FakeClock, before_predicting: Callable[[], None], **flags: Any) -> Tier0Pipeline:
    def train(splits: Any) -> Any:
        model = world.train(splits)
        before_predicting()
        return model

    return Tier0Pipeline(
        store, world.spec(), target="converted", train=train, predict=lambda model, c: [x["trx_count"] for x in c],
        flags=flags, rule=world.RULE, clock=clock,
    )  # fmt: skip


def check_served_by_standby(outcome: Any, *, degraded: bool) -> None:
    assert outcome.status == "completed", outcome.reason
    assert outcome.registration.completed
    assert (outcome.enrichment.served_by, outcome.enrichment.degraded) == ("standby", degraded)
    assert [a.backend for a in outcome.enrichment.provenance.attempts][0] == "primary"
    assert any("degraded" in warning for warning in outcome.warnings) is degraded


@pytest.mark.rule("X-3", "X-7")
def test_a_standby_that_has_everything_predicts_unmarked_when_the_primary_dies_mid_run(
    kind: str, tmp_path: Path
) -> None:
    clock = FakeClock(kit.NOW)
    with failing_over(
        tmp_path, clock, {"backend": "breakable", "inner": kind, "path": str(tmp_path / "primary")}
    ) as store:
        outcome = pipeline(store, clock, lambda: breakable.OPENED["primary"].break_()).run(
            ROWS, world.contexts(3), entity_df=ASKED
        )
        check_served_by_standby(outcome, degraded=False)
        assert outcome.predictions == [COUNTS[f"hcp_0{n}"] for n in range(3)]


@pytest.mark.rule("X-4", "X-7")
@pytest.mark.parametrize(("primary", "fallback"), [("duckdb", True), ("duckdb", False), ("feast", True)])
def test_a_standby_that_missed_rows_is_marked_degraded_and_refused_without_the_fallback_flag(
    tmp_path: Path, primary: str, fallback: bool
) -> None:
    need_feast(primary)
    clock = FakeClock(kit.NOW)
    backends = [
        {"name": "primary", "backend": "breakable", "inner": primary, "path": str(tmp_path / "primary")},
        {"name": "standby", "backend": "breakable", "inner": "duckdb", "path": str(tmp_path / "standby")},
    ]
    config = {"backends": backends, "failover": {"deadline": 30.0, "shadow_rate": 0, "background": False}}
    with fs.connect(config, clock=clock, plugins=[breakable.BreakablePlugin()]) as store:
        FeatureRegistrar(store, world.spec(), clock=clock).register(ROWS.slice(0, len(ROWS) - 6))
        breakable.OPENED["standby"].break_("append", "online_write")

        def the_primary_dies() -> None:
            breakable.OPENED["standby"].heal()
            breakable.OPENED["primary"].break_()

        flags = {"feast_fallback_enabled": fallback, "feast_max_staleness_hours": 48}
        outcome = pipeline(store, clock, the_primary_dies, **flags).run(ROWS, world.contexts(3), entity_df=ASKED)
        assert any("'standby' has not taken the rows yet" in warning for warning in outcome.registration.warnings)
        if fallback:
            check_served_by_standby(outcome, degraded=True)
            assert outcome.predictions == [
                world.newest_counts(ROWS.slice(0, len(ROWS) - 6))[f"hcp_0{n}"] for n in range(3)
            ]
        else:
            assert (outcome.status, outcome.stopped_at, outcome.predictions) == ("failed", "predict", None)
            assert "DegradedAnswerError" in (outcome.reason or "")


@pytest.mark.rule("X-3", "X-7")
def test_a_redis_that_is_killed_mid_run_costs_no_prediction(tmp_path: Path) -> None:
    need_feast("feast")
    clock = FakeClock(kit.NOW)
    with servers.running_redis() as redis:
        online = {"type": "redis", "connection_string": redis.address}
        primary = {"backend": "feast", "path": str(tmp_path / "primary"), "online_store": online}
        with failing_over(tmp_path, clock, primary) as store:
            outcome = pipeline(store, clock, redis.kill).run(ROWS, world.contexts(3), entity_df=ASKED)
            check_served_by_standby(outcome, degraded=False)
            assert outcome.predictions == [COUNTS[f"hcp_0{n}"] for n in range(3)]


@pytest.mark.rule("X-9")
def test_when_both_are_away_nothing_is_made_up(kind: str, tmp_path: Path) -> None:
    clock = FakeClock(kit.NOW)
    with fs.connect(
        {"backend": "breakable", "inner": kind, "path": str(tmp_path / "primary")},
        clock=clock,
        plugins=[breakable.BreakablePlugin()],
    ) as store:
        FeatureRegistrar(store, world.spec(), clock=clock).register(ROWS.slice(0, 12))
        breakable.OPENED["breakable"].break_()
        made = ContextEnricher(store, world.REFS, on_unavailable="given", clock=clock).enrich(world.contexts(2))
        assert (made.fetched, made.degraded, made.served_by) == (False, True, None)
        assert [dict(c) for c in made.contexts] == world.contexts(2)
