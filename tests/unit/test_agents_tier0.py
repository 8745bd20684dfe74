"""The tier-0 pipeline: steps in order, each behind a gate; every flag does something that can be seen."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

import e2i_fs as fs
from e2i_fs.agents import Tier0Flags, Tier0Pipeline
from e2i_fs.errors import ConfigError, InvalidEntityFrameError, UnsupportedError
from e2i_fs.quality import in_range
from e2i_fs.testing import memory_store
from e2i_fs.testing.clock import FakeClock
from e2i_fs.testing.faults import fails
from tests import agents_world as world
from tests import kit

ROWS = world.frame(days=30, hcps=6)
ASKED = world.entity_df(ROWS)
COUNTS = world.newest_counts(ROWS)


class Calls:
    """A train and a predict that note what they were given."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.contexts: list[dict[str, Any]] = []
        self.features: tuple[str, ...] = ()

    def train(self, splits: Any) -> Any:
        self.made.append("train")
        self.features = tuple(splits.train.feature_names)
        return "model"

    def predict(self, model: Any, contexts: list[dict[str, Any]]) -> list[Any]:
        self.made.append("predict")
        assert model == "model"
        self.contexts = contexts
        return [c.get("trx_count") for c in contexts]


@pytest.fixture
def calls() -> Calls:
    return Calls()


def pipeline(store: Any, calls: Any, clock: FakeClock, **more: Any) -> Tier0Pipeline:
    given = {"target": "converted", "train": calls.train, "predict": calls.predict, "rule": world.RULE, "clock": clock}
    return Tier0Pipeline(store, world.spec(), **{**given, **more})


def statuses(outcome: Any) -> list[str]:
    return [step.status for step in outcome.steps]


def test_it_prepares_trains_and_predicts_in_this_order(calls: Calls, clock: FakeClock) -> None:
    store = memory_store(clock=clock)
    outcome = pipeline(store, calls, clock).run(ROWS, world.contexts(3), entity_df=ASKED)
    assert (outcome.status, outcome.stopped, outcome.reason) == ("completed", None, None)
    assert statuses(outcome) == ["done"] * 3
    assert calls.made == ["train", "predict"]
    assert outcome.predictions == [COUNTS["hcp_00"], COUNTS["hcp_01"], COUNTS["hcp_02"]]
    assert [c["query"] for c in outcome.contexts or ()] == ["q0", "q1", "q2"]
    assert outcome.registration is not None
    assert outcome.registration.completed
    assert outcome.loaded is not None
    assert outcome.loaded.audit.clean
    assert outcome.audit is outcome.loaded.audit
    assert outcome.enrichment is not None
    assert not outcome.enrichment.degraded


def test_a_label_of_the_frame_is_the_target_where_no_entity_rows_are_given(calls: Calls, clock: FakeClock) -> None:
    outcome = pipeline(memory_store(clock=clock), calls, clock).run(ROWS, world.contexts(1))
    assert outcome.status == "completed", outcome.reason
    assert calls.features == ("trx_count", "market_share", "channel")
    assert outcome.splits is not None
    assert outcome.splits.target == "converted"


def test_async_functions_are_awaited_and_refused_where_they_cannot_be(calls: Calls, clock: FakeClock) -> None:
    async def train(splits: Any) -> Any:
        await asyncio.sleep(0)
        return calls.train(splits)

    async def predict(model: Any, contexts: Any) -> Any:
        return calls.predict(model, contexts)

    one = pipeline(memory_store(clock=clock), calls, clock, train=train, predict=predict)
    with pytest.raises(UnsupportedError, match="awaited"):
        one.run(ROWS, world.contexts(1))
    outcome = asyncio.run(one.arun(ROWS, world.contexts(1), entity_df=ASKED))
    assert (outcome.status, outcome.predictions) == ("completed", [COUNTS["hcp_00"]])


# ---- refused -------------------------------------------------------------------------------------------------


def test_what_is_refused_at_the_gate_stops_the_run_before_anything_is_registered(
    calls: Calls, clock: FakeClock
) -> None:
    store = memory_store(clock=clock)
    one = pipeline(store, calls, clock, expectations=[in_range("trx_count", 0, 5)])
    outcome = one.run(ROWS, world.contexts(1), entity_df=ASKED)
    assert (outcome.status, outcome.stopped_at, statuses(outcome)) == (
        "refused",
        "prepare",
        ["refused", "not run", "not run"],
    )
    assert outcome.reason is not None
    assert outcome.reason.startswith("QualityGateBlockedError")
    assert "trx_count" in outcome.reason
    assert (calls.made, outcome.model, outcome.predictions) == ([], None, None)
    assert world.registered(store) == ([], [])


@pytest.mark.parametrize(
    ("rows", "asked", "at", "said"),
    [
        (ROWS.slice(0, 0), ASKED, "prepare", "no rows"),
        (world.changed(ROWS, channel=None, market_share=None, trx_count=None), ASKED, "train", "No features"),
        (ROWS, ASKED.slice(0, 12), "train", "too few"),
        (ROWS, world.changed(ASKED, converted=False), "train", "one class"),
        (ROWS, world.changed(ASKED, converted=None).append_column("x", ASKED.column("converted")), "train", "'x'"),
        (ROWS, ASKED.append_column("other_id", ASKED.column("hcp_id")).drop_columns(["hcp_id"]), "train", "'hcp_id'"),
    ],
)
def test_a_step_that_is_refused_says_which_and_why_and_none_runs_after_it(
    calls: Calls, clock: FakeClock, rows: Any, asked: Any, at: str, said: str
) -> None:
    outcome = pipeline(memory_store(clock=clock), calls, clock).run(rows, world.contexts(1), entity_df=asked)
    assert (outcome.status, outcome.stopped_at) == ("refused", at)
    assert outcome.stopped is not None
    assert outcome.stopped.error is not None
    assert said in (outcome.reason or "")
    assert "predict" not in calls.made
    assert statuses(outcome)[-1] == "not run"


def test_a_leak_stops_the_run_before_the_model_is_trained(calls: Calls, clock: FakeClock) -> None:
    hint = [int(v) * 10 + i % 3 for i, v in enumerate(ROWS.column("converted").to_pylist())]
    outcome = pipeline(memory_store(clock=clock), calls, clock).run(
        world.changed(ROWS, hint=hint), world.contexts(1), entity_df=ASKED
    )
    assert (outcome.status, outcome.stopped_at, calls.made) == ("refused", "train", [])
    assert outcome.reason is not None
    assert outcome.reason.startswith("LeakageError")
    assert "'hint'" in outcome.reason


@pytest.mark.parametrize("leakage", ["block", "warn"])
def test_a_leak_is_found_without_the_store_too_and_stops_the_run_unless_it_may_warn(
    calls: Calls, clock: FakeClock, leakage: str
) -> None:
    hint = [int(v) * 10 + i % 3 for i, v in enumerate(ROWS.column("converted").to_pylist())]
    one = pipeline(memory_store(clock=clock), calls, clock, flags={"enable_feast": False}, leakage=leakage)
    outcome = one.run(world.changed(ROWS, hint=hint), world.contexts(1))
    if leakage == "block":
        assert (outcome.status, outcome.stopped_at, calls.made) == ("refused", "train", [])
        assert (outcome.reason or "").startswith("LeakageError: The training set was refused, its audit is failed")
        assert "'hint'" in (outcome.reason or "")
    else:
        assert (outcome.status, calls.made) == ("completed", ["train", "predict"])
        assert any("TARGET_COPY" in warning and "'hint'" in warning for warning in outcome.warnings)


def test_predictions_that_do_not_line_up_are_refused(calls: Calls, clock: FakeClock) -> None:
    one = pipeline(memory_store(clock=clock), calls, clock, predict=lambda model, contexts: [1])
    outcome = one.run(ROWS, world.contexts(3), entity_df=ASKED)
    assert (outcome.status, outcome.stopped_at, outcome.predictions) == ("refused", "predict", None)
    assert "1 predictions for 3 contexts" in (outcome.reason or "")


def test_what_the_callers_functions_raise_is_raised(clock: FakeClock) -> None:
    def broken(splits: Any) -> Any:
        raise AttributeError("a mistake in the model")

    one = pipeline(memory_store(clock=clock), Calls(), clock, train=broken)
    with pytest.raises(AttributeError, match="a mistake in the model"):
        one.run(ROWS, world.contexts(1), entity_df=ASKED)


def test_a_store_that_goes_away_is_a_failure_and_no_refusal(calls: Calls, clock: FakeClock) -> None:
    store, faults = world.faulty_store(clock)
    faults.put(fails())
    outcome = pipeline(store, calls, clock).run(ROWS, world.contexts(1), entity_df=ASKED)
    assert (outcome.status, outcome.stopped_at, calls.made) == ("failed", "prepare", [])
    assert "BackendUnavailableError" in (outcome.reason or "")


def test_no_contexts_are_a_mistake_before_anything_is_done(calls: Calls, clock: FakeClock) -> None:
    store = memory_store(clock=clock)
    with pytest.raises(InvalidEntityFrameError, match="empty"):
        pipeline(store, calls, clock).run(ROWS, [])
    assert world.registered(store) == ([], [])


# ---- flags ---------------------------------------------------------------------------------------------------


def test_without_feast_the_store_is_not_touched_and_the_frame_is_trained_on(calls: Calls, clock: FakeClock) -> None:
    store, faults = world.faulty_store(clock)
    faults.put(fails())
    asked_before = len(faults.log)
    one = pipeline(store, calls, clock, flags={"enable_feast": False})
    outcome = one.run(ROWS, [{**world.contexts(1)[0], "trx_count": 99}])
    assert outcome.status == "completed", outcome.reason
    assert len(faults.log) == asked_before
    assert calls.features == ("trx_count", "market_share", "channel")
    assert (outcome.predictions, outcome.enrichment, outcome.loaded) == ([99], None, None)
    assert outcome.registration is not None
    assert (outcome.registration.status, outcome.registration.registered_views) == ("skipped", ())
    assert any("enable_feast" in warning for warning in outcome.warnings)
    assert outcome.audit is not None
    assert (outcome.audit.outcome.value, outcome.audit.cells) == ("passed", 0)
    assert "no store" in outcome.audit.not_asked["point in time"]
    assert any("audited by its own columns" in warning for warning in outcome.warnings)


def test_without_feast_the_gate_stands_all_the_same(calls: Calls, clock: FakeClock) -> None:
    one = pipeline(
        memory_store(clock=clock),
        calls,
        clock,
        flags={"enable_feast": False},
        expectations=[in_range("trx_count", 0, 5)],
    )
    outcome = one.run(ROWS, world.contexts(1))
    assert (outcome.status, outcome.stopped_at, calls.made) == ("refused", "prepare", [])


def test_the_feature_refs_are_what_is_trained_on_and_predicted_with(calls: Calls, clock: FakeClock) -> None:
    one = pipeline(memory_store(clock=clock), calls, clock, flags={"feast_feature_refs": world.REFS[:1]})
    outcome = one.run(ROWS, world.contexts(1), entity_df=ASKED)
    assert outcome.status == "completed", outcome.reason
    assert calls.features == ("trx_count",)
    assert set(calls.contexts[0]) == {"hcp_id", "brand_id", "query", "trx_count"}
    unknown = pipeline(
        memory_store(clock=clock), calls, clock, flags={"feast_feature_refs": [f"{world.VIEW}:trx_cont"]}
    )
    outcome = unknown.run(ROWS, world.contexts(1), entity_df=ASKED)
    assert (outcome.status, outcome.stopped_at) == ("refused", "train")
    assert "trx_count" in (outcome.reason or "")


def test_the_freshness_check_and_its_hours_refuse_what_is_stale_at_the_gate(calls: Calls, clock: FakeClock) -> None:
    old = world.frame(days=30, hcps=6, newest=kit.NOW - timedelta(hours=30))
    asked = world.entity_df(old)

    def run(**flags: Any) -> Any:
        store = memory_store(clock=clock)
        return store, pipeline(store, calls, clock, flags=flags).run(old, world.contexts(1), entity_df=asked)

    store, refused = run()  # 24 hours unless said otherwise
    assert (refused.status, refused.stopped_at) == ("refused", "prepare")
    assert "STALE" in (refused.reason or "")
    assert world.registered(store) == ([], [])
    assert run(feast_max_staleness_hours=72)[1].status == "completed"
    assert run(feast_freshness_check=False)[1].status == "completed"


def test_the_freshness_check_also_guards_the_prediction(calls: Calls, clock: FakeClock) -> None:
    def slow(splits: Any) -> Any:
        clock.advance(timedelta(hours=40))
        return calls.train(splits)

    def run(**flags: Any) -> Any:
        now = FakeClock(kit.NOW)
        nonlocal clock
        clock = now
        return pipeline(memory_store(clock=now), calls, now, train=slow, flags=flags).run(
            ROWS, world.contexts(1), entity_df=ASKED
        )

    refused = run()
    assert (refused.status, refused.stopped_at, refused.model) == ("refused", "predict", "model")
    assert "STALE" in (refused.reason or "")
    assert run(feast_freshness_check=False).status == "completed"


def test_the_fallback_flag_says_whether_to_predict_when_the_store_cannot_answer(calls: Calls, clock: FakeClock) -> None:
    def run(**flags: Any) -> Any:
        store, faults = world.faulty_store(clock)

        def train(splits: Any) -> Any:
            faults.put(fails())
            return calls.train(splits)

        given = [{**world.contexts(1)[0], "trx_count": 99}]
        return pipeline(store, calls, clock, train=train, flags=flags).run(ROWS, given, entity_df=ASKED)

    went_on = run()
    assert (went_on.status, went_on.predictions) == ("completed", [99])
    assert went_on.enrichment.degraded
    assert any("nothing was fetched" in warning for warning in went_on.warnings)
    stopped = run(feast_fallback_enabled=False)
    assert (stopped.status, stopped.stopped_at, stopped.predictions) == ("failed", "predict", None)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"feast_fallback_enable": True}, "'feast_fallback_enabled'"),
        ({"max_staleness_hours": 3}, "'feast_max_staleness_hours'"),
        ({"enable_feast": "yes"}, "True or False"),
        ({"feast_max_staleness_hours": 0}, "above 0"),
        ({"feast_max_staleness_hours": None}, "feast_freshness_check=False"),
        ({"feast_feature_refs": []}, "list of 'view:feature'"),
        ({"feast_feature_refs": "hcp:x"}, "list of 'view:feature'"),
    ],
)
def test_an_unknown_or_senseless_flag_is_an_error_that_names_the_nearest(flags: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Tier0Flags.of(flags)


def test_the_flags_are_those_of_e2i_with_its_defaults() -> None:
    assert Tier0Flags() == Tier0Flags.of({})
    assert (Tier0Flags().feast_max_staleness_hours, Tier0Flags().enable_feast) == (24, True)


def test_what_is_no_function_is_refused_at_once(clock: FakeClock) -> None:
    with pytest.raises(ConfigError, match="predict=3"):
        Tier0Pipeline(fs.connect({"backend": "memory"}), target="y", train=print, predict=3)  # type: ignore[arg-type]


def test_a_predict_that_gives_nothing_is_told_so(calls: Calls, clock: FakeClock) -> None:
    with memory_store(clock=clock) as store:
        outcome = pipeline(store, calls, clock, predict=lambda model, contexts: None).run(
            ROWS, world.contexts(2), entity_df=ASKED
        )
    assert (outcome.status, outcome.stopped_at) == ("refused", "predict")
    assert "predict gave None; give one prediction for each context" in (outcome.reason or "")


@pytest.mark.rule("R-4")
def test_a_change_that_costs_rows_needs_consent_in_the_pipeline_too(calls: Calls, clock: FakeClock) -> None:
    wider = ROWS.append_column("extra", ROWS["trx_count"])
    with memory_store(clock=clock) as store:
        assert pipeline(store, calls, clock).run(wider, world.contexts(2), entity_df=ASKED).status == "completed"
        refused = pipeline(store, calls, clock).run(ROWS, world.contexts(2), entity_df=ASKED)
        assert (refused.status, refused.stopped_at) == ("refused", "prepare")
        assert "BreakingChangeError" in (refused.reason or "")
        agreed = pipeline(store, calls, clock, allow_breaking=True).run(ROWS, world.contexts(2), entity_df=ASKED)
        assert (agreed.status, agreed.reason) == ("completed", None)
