"""The gate: what a report, freshness, an audit and drift must say before data goes on, by an explicit policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from e2i_fs.errors import ConfigError, QualityGateBlockedError, RequestError, did_you_mean
from e2i_fs.frozen import FrozenMap
from e2i_fs.ops.freshness import FreshnessReport, FreshnessStatus
from e2i_fs.quality.outcome import Outcome, worst
from e2i_fs.quality.report import QCReport

__all__ = ["CONCERNS", "GateDecision", "QualityGate"]

CONCERNS = ("score", "expectations", "blocking_issues", "inconclusive", "freshness", "leakage", "drift")
_EVIDENCE = ("freshness", "leakage", "drift")
_POLICIES = ("block", "warn")
_MOST = 20


class Audited(Protocol):
    """What the gate reads of a leakage audit."""

    @property
    def outcome(self) -> Outcome:
        """How the audit ended."""
        ...

    @property
    def findings(self) -> Sequence[Any]:
        """The leaks, each with a ``kind`` and a ``message``."""
        ...


class Drifted(Protocol):
    """What the gate reads of a drift report."""

    @property
    def outcome(self) -> Outcome:
        """How the comparison ended."""
        ...

    @property
    def messages(self) -> Sequence[str]:
        """A sentence for each thing found or not judged."""
        ...


@dataclass(frozen=True, slots=True)
class GateDecision:
    """Whether data may go on: ``reasons`` say why not, ``warnings`` what was found and let through.

    ``concerns`` has the outcome of each concern that was judged, whatever the policy made of it; ``report`` is the
    quality report.

    >>> from e2i_fs.quality import QCReport, QualityGate
    >>> report = QCReport.of({"hcp_id": ["a", None]}, keys=["hcp_id"])
    >>> decision = QualityGate(policy={"inconclusive": "warn"}).judge(report)
    >>> decision.allowed, decision.concerns["blocking_issues"].value
    (False, 'failed')
    >>> print(decision.reasons[0])
    blocking_issues: The required column 'hcp_id' is missing in 1 of 2 rows, first at 1.
    """

    allowed: bool
    reasons: tuple[str, ...]
    warnings: tuple[str, ...]
    report: QCReport
    concerns: Mapping[str, Outcome]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as a JSON value, the report included."""
        return {
            "allowed": self.allowed, "reasons": list(self.reasons), "warnings": list(self.warnings),
            "concerns": {name: outcome.value for name, outcome in self.concerns.items()}, "report": self.report.to_dict(),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class QualityGate:
    """Conditions that data must meet to go on. Every concern blocks unless ``policy`` sets it to ``"warn"``.

    The concerns are ``score`` (below ``min_score``), ``expectations`` (one failed or raised), ``blocking_issues``,
    ``inconclusive`` (a dimension or an expectation could not be judged), ``freshness``, ``leakage`` and ``drift``. The
    last three are judged when they are given; those in ``needs`` must be given, or they block as not judged. Raises
    `ConfigError` for an unknown concern or policy.

    ``freshness`` is that of whole views (F-1): the age of the newest row that a view has, or would have. It does not
    say how old the rows of one batch are.

    >>> from e2i_fs.quality import QCReport, QualityGate
    >>> gate = QualityGate(policy={"inconclusive": "warn"})
    >>> gate.judge(QCReport.of({"hcp_id": ["a", "b"]}, keys=["hcp_id"])).allowed
    True
    """

    min_score: float = 0.80
    policy: Mapping[str, str] = field(default_factory=dict)
    needs: Sequence[str] = ()

    def __post_init__(self) -> None:
        score = self.min_score
        if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1:
            raise ConfigError(f"QualityGate: min_score is {score!r}; give a number from 0 to 1.")
        if not isinstance(self.policy, Mapping):
            raise ConfigError(f"QualityGate: policy is {self.policy!r}; give a mapping, e.g. {{'drift': 'warn'}}.")
        for concern, rule in self.policy.items():
            if concern not in CONCERNS:
                raise ConfigError(
                    f"QualityGate: policy has no concern {concern!r}.{did_you_mean(str(concern), CONCERNS)}"
                )
            if rule not in _POLICIES:
                hint = did_you_mean(str(rule), _POLICIES)
                raise ConfigError(f"QualityGate: policy[{concern!r}] is {rule!r}; use 'block' or 'warn'.{hint}")
        needs = [self.needs] if isinstance(self.needs, str) else list(self.needs)
        for concern in needs:
            if concern not in _EVIDENCE:
                hint = did_you_mean(str(concern), _EVIDENCE)
                raise ConfigError(
                    f"QualityGate: needs names {concern!r}, which is no evidence that the gate takes.{hint}"
                )
        object.__setattr__(self, "policy", FrozenMap({c: self.policy.get(c, "block") for c in CONCERNS}))
        object.__setattr__(self, "needs", tuple(needs))

    @classmethod
    def for_training(cls, min_score: float = 0.80, policy: Mapping[str, str] | None = None) -> QualityGate:
        """Return a gate that blocks until it is also given freshness and a leakage audit.

        >>> QualityGate.for_training().needs
        ('freshness', 'leakage')
        """
        return cls(min_score, policy or {}, ("freshness", "leakage"))

    def judge(
        self,
        report: QCReport,
        *,
        freshness: Mapping[str, FreshnessReport] | None = None,
        audit: Audited | None = None,
        drift: Drifted | None = None,
    ) -> GateDecision:
        """Return a `GateDecision`: whether data with this evidence may go on, with every reason if not.

        ``freshness`` is by view, as `Store.freshness` returns it; ``audit`` is an `AuditReport`, ``drift`` a
        `DriftReport`.
        """
        if not isinstance(report, QCReport):
            raise RequestError(f"judge takes a QCReport, not {report!r}; make one of the frame with QCReport.of.")
        said: dict[str, tuple[Outcome, list[str]]] = {
            "blocking_issues": _told(report.blocking_issues),
            "expectations": _told(
                [r.message or repr(r.expectation) for r in report.failed_expectations if not r.blocking]
            ),
            "score": self._score(report),
            "inconclusive": _unsure(report),
        }
        given: dict[str, Any] = {"freshness": freshness, "leakage": audit, "drift": drift}
        judges: dict[str, Any] = {"freshness": _freshness, "leakage": _leakage, "drift": _drift}
        for concern, evidence in given.items():
            if evidence is not None:
                said[concern] = judges[concern](evidence)
            elif concern in self.needs:
                said[concern] = (Outcome.INCONCLUSIVE, ["not given, and this gate needs it"])
        reasons: list[str] = []
        warnings = list(report.warnings)
        for concern, (outcome, messages) in said.items():
            blocks = not outcome.fine and self.policy[concern] == "block"
            (reasons if blocks else warnings).extend(f"{concern}: {m}" for m in messages)
        concerns = FrozenMap({concern: outcome for concern, (outcome, _) in said.items()})
        return GateDecision(not reasons, tuple(reasons), tuple(warnings), report, concerns)

    def require(
        self,
        report: QCReport,
        *,
        freshness: Mapping[str, FreshnessReport] | None = None,
        audit: Audited | None = None,
        drift: Drifted | None = None,
    ) -> GateDecision:
        """Return the decision if the data may go on; otherwise raise `QualityGateBlockedError` with every reason.

        The arguments are those of `judge`.
        """
        decision = self.judge(report, freshness=freshness, audit=audit, drift=drift)
        if not decision.allowed:
            raise QualityGateBlockedError("The quality gate refused the data", decision)
        return decision

    def _score(self, report: QCReport) -> tuple[Outcome, list[str]]:
        score = report.overall_score
        if score is None:
            return Outcome.INCONCLUSIVE, ["no dimension could be judged, so there is no score"]
        if score >= self.min_score:
            return Outcome.PASSED, []
        low = ", ".join(f"{n} {s:.3f}" for n, s in report.scores.items() if s is not None and s < 1)
        return Outcome.FAILED, [f"{score:.3f} is below {self.min_score} ({low})"]


def _told(messages: Sequence[str]) -> tuple[Outcome, list[str]]:
    return (Outcome.FAILED if messages else Outcome.PASSED), list(messages)


def _unsure(report: QCReport) -> tuple[Outcome, list[str]]:
    messages = [f"{what} could not be judged" for what in report.inconclusive]
    return (Outcome.INCONCLUSIVE if messages else Outcome.PASSED), messages


def _freshness(reports: Mapping[str, FreshnessReport]) -> tuple[Outcome, list[str]]:
    if not reports:
        return Outcome.INCONCLUSIVE, ["no view was looked at"]
    bad = {FreshnessStatus.STALE: Outcome.FAILED, FreshnessStatus.EXPIRED: Outcome.FAILED,
           FreshnessStatus.UNKNOWN: Outcome.INCONCLUSIVE, FreshnessStatus.WARNING: Outcome.WARNING}  # fmt: skip
    found = [(bad[r.status], f"{name!r} is {_aged(r)}") for name, r in reports.items() if r.status in bad]
    return worst([Outcome.PASSED, *(o for o, _ in found)]), [message for _, message in found]


def _aged(report: FreshnessReport) -> str:
    if report.age is None:
        return f"{report.status}: nothing is online"
    return f"{report.status}: its newest row is {report.age} old, the limit is {report.max_staleness}"


def _leakage(audit: Audited) -> tuple[Outcome, list[str]]:
    messages = [f"{finding.kind}: {finding.message}" for finding in audit.findings]
    outcome = audit.outcome
    if messages and outcome is Outcome.PASSED:  # findings are believed before a verdict
        outcome = Outcome.FAILED
    if not messages and not outcome.fine:
        messages = [f"the audit is {outcome.value}"]
    return outcome, messages


def _drift(drift: Drifted) -> tuple[Outcome, list[str]]:
    messages = list(drift.messages)
    if not messages and not drift.outcome.fine:
        messages = [f"the comparison is {drift.outcome.value}"]
    return drift.outcome, messages
