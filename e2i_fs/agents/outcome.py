"""How a run of the tier-0 pipeline ended, step by step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from e2i_fs.errors import E2IError

if TYPE_CHECKING:
    from e2i_fs.agents.enricher import Enrichment
    from e2i_fs.agents.loader import LoadedSplits
    from e2i_fs.agents.registration import FeatureRegistration
    from e2i_fs.quality.leakage.report import AuditReport
    from e2i_fs.splits import TrainingSplits

__all__ = ["Step", "Tier0Outcome"]


@dataclass(frozen=True, slots=True)
class Step:
    """One step: ``done``, ``refused`` (by gate, audit or input check), ``failed`` (by the store) or ``not run``.

    >>> from datetime import datetime
    >>> from e2i_fs.agents import FeatureSpec, Tier0Pipeline
    >>> from e2i_fs.testing import memory_store
    >>> old = {"hcp_id": ["a", "b"], "event_timestamp": [datetime(2024, 3, 9)] * 2, "calls": [3, 5], "sold": [1, 0]}
    >>> spec = FeatureSpec("hcp_stats", entities={"hcp": ["hcp_id"]}, labels=["sold"])
    >>> with memory_store() as store:
    ...     pipeline = Tier0Pipeline(
    ...         store, spec, target="sold", train=lambda splits: 0, predict=lambda model, contexts: contexts
    ...     )
    ...     step = pipeline.run(old, {"hcp_id": "a"}).steps[0]
    >>> step.name, step.status, type(step.error).__name__
    ('prepare', 'refused', 'QualityGateBlockedError')
    """

    name: Literal["prepare", "train", "predict"]
    status: Literal["done", "refused", "failed", "not run"]
    reason: str | None = None
    error: E2IError | None = None


@dataclass(frozen=True, kw_only=True)
class Tier0Outcome:
    """The result of a run of the pipeline. Fields of steps that were not done are None.

    ``loaded`` is None also when the store was not used. ``audit`` is that of the training set, with the store or
    without. ``predictions`` are in the order of the contexts.

    >>> from datetime import datetime
    >>> from e2i_fs.agents import FeatureSpec, Tier0Pipeline
    >>> from e2i_fs.testing import memory_store
    >>> old = {"hcp_id": ["a", "b"], "event_timestamp": [datetime(2024, 3, 9)] * 2, "calls": [3, 5], "sold": [1, 0]}
    >>> spec = FeatureSpec("hcp_stats", entities={"hcp": ["hcp_id"]}, labels=["sold"])
    >>> with memory_store() as store:
    ...     pipeline = Tier0Pipeline(
    ...         store, spec, target="sold", train=lambda splits: 0, predict=lambda model, contexts: contexts
    ...     )
    ...     outcome = pipeline.run(old, {"hcp_id": "a"})
    >>> outcome.status, outcome.stopped_at, [step.status for step in outcome.steps]
    ('refused', 'prepare', ['refused', 'not run', 'not run'])
    >>> print(outcome.reason.splitlines()[0])
    QualityGateBlockedError: View 'hcp_stats' was not registered: the gate refused it:
    """

    steps: tuple[Step, ...]
    registration: FeatureRegistration | None = None
    loaded: LoadedSplits | None = None
    splits: TrainingSplits | None = None
    audit: AuditReport | None = None
    model: Any = None
    enrichment: Enrichment | None = None
    contexts: tuple[Mapping[str, Any], ...] | None = None
    predictions: Any = None
    warnings: tuple[str, ...] = ()

    @property
    def status(self) -> Literal["completed", "refused", "failed"]:
        """``completed`` when every step was done, else ``refused`` or ``failed``, as the step that stopped it."""
        stopped = self.stopped
        if stopped is None:
            return "completed"
        return "refused" if stopped.status == "refused" else "failed"

    @property
    def stopped(self) -> Step | None:
        """The step that stopped the run, with its reason; None when none did."""
        return next((step for step in self.steps if step.status in ("refused", "failed")), None)

    @property
    def stopped_at(self) -> str | None:
        """The name of the step that stopped the run; None when none did."""
        return None if self.stopped is None else self.stopped.name

    @property
    def reason(self) -> str | None:
        """Why the run stopped; None when it completed."""
        return None if self.stopped is None else self.stopped.reason
