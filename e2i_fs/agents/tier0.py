"""The tier-0 pipeline: prepare, train, predict, in this order, each behind a gate."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Sized
from dataclasses import replace
from datetime import datetime
from typing import Any, ClassVar, Literal

from e2i_fs.agents.bridge import called, check_thread, in_thread, is_async
from e2i_fs.agents.contexts import contexts_of
from e2i_fs.agents.enricher import ContextEnricher
from e2i_fs.agents.flags import Tier0Flags
from e2i_fs.agents.loader import SplitLoader, check_audit, check_classes
from e2i_fs.agents.merging import Prefer
from e2i_fs.agents.node import Node
from e2i_fs.agents.options import one_of
from e2i_fs.agents.outcome import Step, Tier0Outcome
from e2i_fs.agents.registrar import FeatureRegistrar
from e2i_fs.agents.registration import FeatureRegistration
from e2i_fs.agents.spec import FeatureSpec, check_spec
from e2i_fs.clock import Clock, as_clock
from e2i_fs.errors import (
    ConfigError,
    DefinitionError,
    E2IError,
    InvalidBatchError,
    LeakageError,
    QualityGateBlockedError,
    RequestError,
    UnknownFeatureError,
    did_you_mean,
)
from e2i_fs.frames import Frame
from e2i_fs.protocol import AsyncFeatureStore, FeatureStore
from e2i_fs.quality.expectations import Expectation
from e2i_fs.quality.gate import QualityGate
from e2i_fs.quality.leakage.alone import audit_alone
from e2i_fs.quality.leakage.report import AuditReport
from e2i_fs.splits import TemporalSplit, TrainingSplits

__all__ = ["Tier0Pipeline"]

_REFUSALS = (QualityGateBlockedError, LeakageError, RequestError, DefinitionError)


class Tier0Pipeline(Node):
    """Prepares features, trains a model and predicts with it, in this order; a step that is refused stops the run.

    ``train(splits)`` gets the `TrainingSplits` and returns the model. ``predict(model, contexts)`` gets the contexts
    with their features as a list, and returns one prediction for each. Either may be an async function if the run is
    awaited; what they raise is raised. ``target`` is one of the spec's labels, or a column of ``entity_df``. ``flags``
    are `Tier0Flags` or a mapping of them. ``leakage="block"`` stops the run unless the audit of the training set
    passes, with the store or without it. ``allow_breaking`` lets a changed spec replace the view, rows included (R-4).
    ``gate`` and ``expectations`` are those of `FeatureRegistrar`, ``rule`` that of `SplitLoader`, ``prefer`` that of
    `ContextEnricher`, ``keys`` those of `Node`.

    As a node it reads ``frame`` and ``contexts`` (and ``feature_spec`` unless ``spec`` was given; ``entity_df`` if
    present), and returns ``feature_registration``, ``training_splits``, ``model``, ``predictions`` and
    ``tier0_outcome``.

    >>> from datetime import datetime, timedelta
    >>> from e2i_fs.agents import FeatureSpec, Tier0Pipeline
    >>> from e2i_fs.splits import TemporalSplit
    >>> from e2i_fs.testing import memory_store
    >>> hours = [datetime(2024, 3, 2) + timedelta(hours=h) for h in range(200)]
    >>> calls = [h * 7 % 40 for h in range(200)]
    >>> sold = [n + h * 5 % 30 > 35 for h, n in enumerate(calls)]
    >>> frame = {"hcp_id": ["a"] * 200, "event_timestamp": hours, "calls": calls, "sold": sold}
    >>> spec = FeatureSpec("hcp_stats", entities={"hcp": ["hcp_id"]}, labels=["sold"])
    >>> with memory_store() as store:
    ...     pipeline = Tier0Pipeline(
    ...         store, spec, target="sold", rule=TemporalSplit(embargo=timedelta(hours=6)),
    ...         train=lambda splits: max(splits.train.X["calls"].to_pylist()) / 2,
    ...         predict=lambda model, contexts: [context["calls"] > model for context in contexts],
    ...         flags={"feast_freshness_check": False},  # the rows are of 2024
    ...     )
    ...     outcome = pipeline.run(frame, [{"hcp_id": "a"}])
    >>> outcome.status, outcome.model, outcome.predictions
    ('completed', 19.5, [True])
    """

    NEEDS: ClassVar[tuple[str, ...]] = ("frame", "contexts")
    TAKES: ClassVar[tuple[str, ...]] = ("feature_spec", "entity_df")
    GIVES: ClassVar[tuple[str, ...]] = (
        "feature_registration", "training_splits", "model", "predictions", "tier0_outcome",
    )  # fmt: skip

    def __init__(
        self,
        store: FeatureStore | AsyncFeatureStore,
        spec: FeatureSpec | None = None,
        *,
        target: str,
        train: Callable[[TrainingSplits], Any],
        predict: Callable[[Any, list[dict[str, Any]]], Any],
        flags: Tier0Flags | Mapping[str, Any] | None = None,
        gate: QualityGate | None = None,
        expectations: Sequence[Expectation] = (),
        rule: TemporalSplit | None = None,
        leakage: Literal["block", "warn"] = "block",
        prefer: Prefer = "given",
        allow_breaking: bool = False,
        keys: Mapping[str, str] | None = None,
        clock: Clock | Callable[[], datetime] | None = None,
    ) -> None:
        super().__init__(store, keys, needs=self.NEEDS if spec is not None else (*self.NEEDS, "feature_spec"))
        for name, given in (("train", train), ("predict", predict)):
            if not callable(given):
                raise ConfigError(f"{name}={given!r}: give a function.")
        self._spec = None if spec is None else check_spec(spec)
        self._target = target
        self._train, self._predict = train, predict
        self.flags = Tier0Flags.of(flags)
        self._rule = TemporalSplit() if rule is None else rule
        self._leakage = one_of(leakage, ("block", "warn"), "leakage")
        self._prefer: Prefer = one_of(prefer, ("given", "store"), "prefer")
        self._clock = as_clock(clock)
        self._registrar = FeatureRegistrar(
            store,
            spec,
            gate=gate,
            expectations=expectations,
            freshness_check=self.flags.feast_freshness_check,
            max_staleness_hours=self.flags.feast_max_staleness_hours,
            allow_breaking=allow_breaking,
            clock=clock,
        )

    def run(self, frame: Any, contexts: Any, *, spec: FeatureSpec | None = None, entity_df: Any = None) -> Tier0Outcome:
        """Run the three steps on a frame of features and the contexts to predict for; return a `Tier0Outcome`.

        ``entity_df`` has the rows to train on: join keys, time, and the target unless it is a label; by default the
        keys and times of ``frame``. An `E2IError` stops the run and is in the outcome; any other error is raised.
        """
        if is_async(self._train) or is_async(self._predict):
            check_thread()
        named = check_spec(self._spec if spec is None else spec)
        asked = [dict(context) for context in contexts_of(contexts)]
        outcome = Tier0Outcome(steps=(Step("prepare", "not run"), Step("train", "not run"), Step("predict", "not run")))
        steps: tuple[Callable[[Tier0Outcome], Tier0Outcome], ...] = (
            lambda so_far: self._prepared(so_far, frame, named),
            lambda so_far: self._trained(so_far, frame, named, entity_df),
            lambda so_far: self._predicted(so_far, asked),
        )
        for place, work in enumerate(steps):
            try:
                outcome = work(outcome)
            except E2IError as error:
                status: Any = "refused" if isinstance(error, _REFUSALS) else "failed"
                return _ended(outcome, place, status, error)
            outcome = _ended(outcome, place, "done", None)
        return outcome

    async def arun(
        self, frame: Any, contexts: Any, *, spec: FeatureSpec | None = None, entity_df: Any = None
    ) -> Tier0Outcome:
        """Do what `run` does, awaited."""
        return await in_thread(self.run, frame, contexts, spec=spec, entity_df=entity_df)

    def _work(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        asked = inputs["contexts"]
        made = self.run(inputs["frame"], asked, spec=inputs.get("feature_spec"), entity_df=inputs.get("entity_df"))
        return {
            "feature_registration": made.registration,
            "training_splits": made.splits,
            "model": made.model,
            "predictions": made.predictions,
            "tier0_outcome": made,
        }

    def _prepared(self, so_far: Tier0Outcome, frame: Any, spec: FeatureSpec) -> Tier0Outcome:
        if self.flags.enable_feast:
            registration = self._registrar.register(frame, spec)
        else:
            _, registration = self._registrar.examine(frame, spec)
            off = "enable_feast is off: nothing was registered, and the store is not asked for features"
            registration = replace(registration, warnings=(*registration.warnings, off))
        if registration.status == "empty":
            raise InvalidBatchError(
                f"frame has no rows, so nothing was registered for view {spec.view!r}. Find out why none arrived, and run again."
            )
        return replace(so_far, registration=registration, warnings=registration.warnings)

    def _trained(self, so_far: Tier0Outcome, frame: Any, spec: FeatureSpec, entity_df: Any) -> Tier0Outcome:
        assert so_far.registration is not None
        if not self.flags.enable_feast:
            splits, audited = self._split_frame(frame, so_far.registration, spec)
            alone = "enable_feast is off: the training set was audited by its own columns, for want of a store to hold them against"
            warnings = (*so_far.warnings, alone, *check_audit(audited, self._leakage))
            model = called(self._train, splits)
            return replace(so_far, splits=splits, audit=audited, model=model, warnings=warnings)
        table = Frame(frame if entity_df is None else entity_df).table
        keys = [i.column for i in so_far.registration.inferred if i.role == "key"]
        if entity_df is None:
            table = table.select([*keys, spec.timestamp_column])
        labels = self._label_refs(table.column_names, so_far.registration)
        loader = SplitLoader(
            self._store,
            self._refs(so_far.registration),
            target=self._target,
            labels=labels,
            rule=self._rule,
            leakage=self._leakage,
            timestamp_column=spec.timestamp_column,
            strict=not self.flags.feast_fallback_enabled,
            clock=self._clock,
        )
        loaded = loader.load(table)
        return replace(
            so_far,
            loaded=loaded,
            splits=loaded.splits,
            audit=loaded.audit,
            model=called(self._train, loaded.splits),
            warnings=(*so_far.warnings, *loaded.warnings),
        )

    def _predicted(self, so_far: Tier0Outcome, contexts: list[dict[str, Any]]) -> Tier0Outcome:
        assert so_far.registration is not None
        enrichment = None
        if self.flags.enable_feast:
            enricher = ContextEnricher(
                self._store,
                self._refs(so_far.registration),
                prefer=self._prefer,
                stale="block" if self.flags.feast_freshness_check else "ignore",
                max_staleness_hours=self.flags.feast_max_staleness_hours if self.flags.feast_freshness_check else None,
                on_unavailable="given" if self.flags.feast_fallback_enabled else "raise",
                strict=not self.flags.feast_fallback_enabled,
                clock=self._clock,
            )
            enrichment = enricher.enrich(contexts)
            contexts = [dict(context) for context in enrichment.contexts]
        predictions = called(self._predict, so_far.model, contexts)
        if not isinstance(predictions, Sized):
            raise RequestError(
                f"predict gave {predictions!r}; give one prediction for each context, in their order (O-5)."
            )
        if len(predictions) != len(contexts):
            raise RequestError(
                f"predict gave {len(predictions)} predictions for {len(contexts)} contexts; give one for each, in their order (O-5)."
            )
        warnings = () if enrichment is None else enrichment.warnings
        return replace(
            so_far,
            enrichment=enrichment,
            contexts=tuple(contexts),
            predictions=predictions,
            warnings=(*so_far.warnings, *warnings),
        )

    def _refs(self, registration: FeatureRegistration) -> tuple[str, ...]:
        refs = self.flags.feast_feature_refs
        found = registration.registered_features if refs is None else tuple(refs)
        if not found:
            raise RequestError(
                f"No features to train on: all columns of view {registration.view!r} are labels (P-12). Name features of other "
                "views with the flag feast_feature_refs."
            )
        return found

    def _label_refs(self, columns: Sequence[str], registration: FeatureRegistration) -> tuple[str, ...]:
        """Return the reference of the target where it is a label of the store, none where it is a column given."""
        if self._target in columns:
            return ()
        labels = registration.registered_labels
        found = tuple(ref for ref in labels if ref.partition(":")[2] == self._target)
        if not found:
            known = [*columns, *(ref.partition(":")[2] for ref in labels)]
            raise UnknownFeatureError(
                f"The target {self._target!r} is neither a label that was registered nor a column of the entity rows."
                f"{did_you_mean(self._target, known)}"
            )
        return found

    def _split_frame(
        self, frame: Any, registration: FeatureRegistration, spec: FeatureSpec
    ) -> tuple[TrainingSplits, AuditReport]:
        """Split the frame itself, and audit it, where no store is to be used."""
        features = [i.column for i in registration.inferred if i.role == "feature"]
        keys = [i.column for i in registration.inferred if i.role == "key"]
        splits = self._rule.split(
            frame,
            target=self._target,
            features=features,
            timestamp_column=spec.timestamp_column,
            entity_keys=keys,
            clock=self._clock,
        )
        check_classes(splits)
        audited = audit_alone(
            frame,
            splits,
            target=splits.target,
            features=features,
            entity_keys=keys,
            timestamp_column=spec.timestamp_column,
        )
        return splits, audited


def _ended(outcome: Tier0Outcome, place: int, status: Any, error: E2IError | None) -> Tier0Outcome:
    step = outcome.steps[place]
    reason = None if error is None else f"{type(error).__name__}: {error}"
    steps = list(outcome.steps)
    steps[place] = Step(step.name, status, reason, error)
    return replace(outcome, steps=tuple(steps))
