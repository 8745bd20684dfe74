"""The gate: every concern under every policy, what is not given, and what a misspelt policy says."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest

import e2i_fs as fs
from e2i_fs.ops.freshness import judge
from e2i_fs.quality import BaselineMetrics, Outcome, QCReport, QualityGate, in_range, row_count_between
from e2i_fs.quality.gate import CONCERNS
from tests.kit import NOW, table

HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Found:
    kind: str
    message: str


@dataclass(frozen=True)
class Audit:
    outcome: Outcome
    findings: tuple[Found, ...] = ()


def report(**changes: Any) -> QCReport:
    """A report without a fault, changed."""
    made = QCReport.of(table({"hcp_id": ["a", "b"], "event_timestamp": [NOW, NOW]}), keys=["hcp_id"], clock=lambda: NOW)
    assert made.status == "passed"
    return replace(made, **changes)


def fresh(age: timedelta | None, limit: timedelta | None = 2 * HOUR) -> dict[str, fs.FreshnessReport]:
    status = judge(age, limit)
    return {"visits": fs.FreshnessReport("visits", status, age, None, limit, 0, NOW, "primary")}


def drift(value: float) -> Any:
    baseline = BaselineMetrics.of({"x": [float(i) for i in range(1000)]})
    return baseline.drift({"x": [float(i) + value for i in range(1000)]})


def broken(concern: str) -> tuple[QCReport, dict[str, Any]]:
    """A report and evidence in which one concern, and nothing else, is amiss."""
    bad = QCReport.of({"x": [1, 2]}, expectations=[in_range("x", max=1), in_range("y", max=1)]).expectation_results
    return {
        "score": (report(overall_score=0.79), {}),
        "expectations": (report(expectation_results=bad), {}),
        "blocking_issues": (report(blocking_issues=("a required column is missing",)), {}),
        "inconclusive": (report(consistency_score=None), {}),
        "freshness": (report(), {"freshness": fresh(3 * HOUR)}),
        "leakage": (report(), {"audit": Audit(Outcome.FAILED, (Found("FUTURE_VALUE", "3 cells of x"),))}),
        "drift": (report(), {"drift": drift(500.0)}),
    }[concern]


def test_a_report_without_a_fault_goes_through() -> None:
    decision = QualityGate().judge(report(), freshness=fresh(HOUR / 2), audit=Audit(Outcome.PASSED), drift=drift(0.0))
    assert (decision.allowed, decision.reasons, decision.warnings) == (True, (), ())
    assert set(decision.concerns) == set(CONCERNS)
    assert set(decision.concerns.values()) == {Outcome.PASSED}


@pytest.mark.parametrize("concern", CONCERNS)
def test_every_concern_blocks_unless_the_policy_says_otherwise(concern: str) -> None:
    given, evidence = broken(concern)
    decision = QualityGate().judge(given, **evidence)
    assert not decision.allowed
    assert decision.reasons and all(r.startswith(f"{concern}: ") for r in decision.reasons)
    others_warn = {c: "warn" for c in CONCERNS if c != concern}
    assert not QualityGate(policy=others_warn).judge(given, **evidence).allowed


@pytest.mark.parametrize("concern", CONCERNS)
def test_a_policy_of_warn_lets_its_own_concern_through_and_still_tells_it(concern: str) -> None:
    given, evidence = broken(concern)
    decision = QualityGate(policy={concern: "warn"}).judge(given, **evidence)
    assert (decision.allowed, decision.reasons) == (True, ())
    assert any(w.startswith(f"{concern}: ") for w in decision.warnings)
    assert not decision.concerns[concern].fine


@pytest.mark.parametrize(("score", "allowed"), [(0.8, True), (0.7999999, False), (None, False)])
def test_the_score_must_reach_the_least_and_none_is_not_enough(score: float | None, allowed: bool) -> None:
    assert QualityGate().judge(report(overall_score=score)).allowed is allowed


@pytest.mark.rule("F-2")
@pytest.mark.parametrize(
    ("age", "outcome"),
    [
        (HOUR / 2, Outcome.PASSED),
        (1.5 * HOUR, Outcome.WARNING),
        (3 * HOUR, Outcome.FAILED),
        (5 * HOUR, Outcome.FAILED),
        (None, Outcome.INCONCLUSIVE),
    ],
)
def test_stale_expired_and_unknown_views_block_and_a_warning_warns(age: timedelta | None, outcome: Outcome) -> None:
    decision = QualityGate().judge(report(), freshness=fresh(age))
    assert (decision.concerns["freshness"], decision.allowed) == (outcome, outcome.fine)
    assert bool(decision.warnings) is (outcome is Outcome.WARNING)


def test_no_view_looked_at_is_not_fresh() -> None:
    assert QualityGate().judge(report(), freshness={}).reasons == ("freshness: no view was looked at",)


@pytest.mark.parametrize(
    ("audit", "allowed"),
    [
        (Audit(Outcome.PASSED), True),
        (Audit(Outcome.WARNING, (Found("TIME_SHIFT", "perhaps"),)), True),
        (Audit(Outcome.PASSED, (Found("FUTURE_VALUE", "found nevertheless"),)), False),
        (Audit(Outcome.FAILED), False),
        (Audit(Outcome.INCONCLUSIVE), False),
        (Audit(Outcome.ERROR), False),
    ],
)
def test_an_audit_lets_through_only_what_it_judged_clean(audit: Audit, allowed: bool) -> None:
    decision = QualityGate().judge(report(), audit=audit)
    assert (decision.allowed, bool(decision.reasons)) == (allowed, not allowed)


@pytest.mark.parametrize("concern", ["freshness", "leakage", "drift"])
def test_what_a_gate_needs_and_is_not_given_blocks(concern: str) -> None:
    decision = QualityGate(needs=[concern]).judge(report())
    assert decision.reasons == (f"{concern}: not given, and this gate needs it",)
    assert QualityGate(needs=[concern], policy={concern: "warn"}).judge(report()).allowed
    assert concern not in QualityGate().judge(report()).concerns


def test_a_gate_for_training_is_closed_until_freshness_and_audit_are_given() -> None:
    gate = QualityGate.for_training()
    assert len(gate.judge(report()).reasons) == 2
    assert gate.judge(report(), freshness=fresh(HOUR / 2), audit=Audit(Outcome.PASSED)).allowed


def test_an_empty_frame_does_not_go_through_even_if_what_cannot_be_judged_only_warns() -> None:
    empty = QCReport.of(table({"hcp_id": []}))
    assert (empty.status, empty.overall_score) == ("skipped", None)
    gate = QualityGate(policy={"inconclusive": "warn", "score": "warn"})
    assert gate.judge(empty).reasons == ("blocking_issues: The frame has no rows; nothing was judged.",)


def test_an_expectation_that_could_not_be_judged_blocks_as_inconclusive() -> None:
    frame = table({"id": ["a", "b"], "x": [None, None], "event_timestamp": [NOW, NOW]})
    made = QCReport.of(frame, keys=["id"], expectations=[in_range("x", 0)], clock=lambda: NOW)
    assert QualityGate().judge(made).reasons == ("inconclusive: in_range('x', min=0) could not be judged",)


def test_require_raises_with_every_reason_and_carries_the_decision() -> None:
    bad = QCReport.of({"x": [1]}, expectations=[row_count_between(5)])
    with pytest.raises(fs.QualityGateBlockedError) as caught:
        QualityGate().require(bad, audit=Audit(Outcome.ERROR))
    decision = caught.value.decision
    assert decision is not None and not decision.allowed and len(decision.reasons) == 3
    assert all(reason in str(caught.value) for reason in decision.reasons)
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.decision) == (str(caught.value), decision)
    assert QualityGate().require(report()).allowed


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: QualityGate(policy={"freshnes": "warn"}), "no concern 'freshnes'. Did you mean 'freshness'"),
        (lambda: QualityGate(policy={"drift": "wran"}), r"policy\['drift'\] is 'wran'.*Did you mean 'warn'"),
        (lambda: QualityGate(policy={"drift": None}), "use 'block' or 'warn'"),
        (lambda: QualityGate(policy=["drift"]), "give a mapping"),
        (lambda: QualityGate(needs=["leekage"]), "Did you mean 'leakage'"),
        (lambda: QualityGate(needs=["score"]), "no evidence that the gate takes"),
        (lambda: QualityGate(min_score=80), "from 0 to 1"),
        (lambda: QualityGate(min_score=True), "from 0 to 1"),
    ],
)
def test_a_misspelt_policy_is_an_error_that_names_the_nearest(make: Any, says: str) -> None:
    with pytest.raises(fs.ConfigError, match=says):
        make()


def test_a_policy_given_as_a_mapping_is_copied() -> None:
    policy = {"drift": "warn"}
    gate = QualityGate(policy=policy)
    policy["score"] = "warn"
    assert {c: gate.policy[c] for c in ("drift", "score")} == {"drift": "warn", "score": "block"}
