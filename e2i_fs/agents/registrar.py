"""From a validated frame to features that can be read: gate first, then register, write and read back, or nothing at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, ClassVar, Literal

import pyarrow as pa
import pyarrow.compute as pc

from e2i_fs.agents.bridge import in_thread
from e2i_fs.agents.node import Node
from e2i_fs.agents.options import hours, one_of
from e2i_fs.agents.preparing import Prepared, prepare
from e2i_fs.agents.readback import read_back
from e2i_fs.agents.reading import read_table
from e2i_fs.agents.registered import catalog_of
from e2i_fs.agents.registration import FeatureRegistration, ReadBack
from e2i_fs.agents.rehearsing import needs_rehearsal, rehearsal_of
from e2i_fs.agents.spec import FeatureSpec, check_spec
from e2i_fs.agents.undoing import Attempt, undo, undo_words
from e2i_fs.catalog import Catalog
from e2i_fs.clock import Clock, as_clock, from_us, to_us
from e2i_fs.errors import BackendDataError, ConfigError, E2IError, QualityGateBlockedError
from e2i_fs.frozen import FrozenMap
from e2i_fs.ops.freshness import FreshnessReport, judge
from e2i_fs.protocol import AsyncFeatureStore, FeatureStore
from e2i_fs.quality.expectations import Expectation
from e2i_fs.quality.gate import GateDecision, QualityGate
from e2i_fs.quality.report import QCReport

__all__ = ["FeatureRegistrar"]


class FeatureRegistrar(Node):
    """Registers a prepared frame as features, if the quality gate allows it, and undoes everything when a step fails.

    `register` reads the frame, infers the dtypes, judges quality and freshness, and asks the gate (a `QualityGate`,
    which blocks by default). Only then does it apply the view, write the rows, and read a ``sample`` of them back,
    offline and online. If anything fails after the apply, what this run created is deleted again, and an existing view
    gets its former definition back.

    A change that could not be undone without losing the view's rows (an added feature, a breaking change, R-4) is
    rehearsed first: the new definition and ``sample`` rows under the name ``<view>__rehearsal``, which is then deleted.
    Only if that succeeds is the view itself changed. If the store fails at that very moment, ``left_behind`` says what
    remains and what is gone.

    ``on_blocked`` says what happens when the gate refuses: ``"raise"`` raises `QualityGateBlockedError`, ``"skip"``
    returns a registration of status ``skipped``. ``on_error`` does the same for every other `E2IError`: ``"raise"``
    raises it, with a note of what was undone; ``"report"`` returns a registration of status ``error``. Errors of other
    kinds are always raised.

    The freshness judged is the one that the *view* would have with these rows: the newest event time among them and
    those already online (F-1). So a batch of old rows (a backfill, a late delivery) passes if the view is fresh without
    it; the age of the batch itself is not judged. ``freshness_check=False`` skips this; ``max_staleness_hours``
    replaces the spec's own ``max_staleness``. ``max_future_skew`` (seconds) must be the store's, so that a future row
    is refused before anything is done. ``allow_breaking`` permits breaking changes (R-4), ``keys`` renames the state
    keys (see `Node`).

    As a node it reads ``frame`` (and ``feature_spec`` unless ``spec`` was given) and returns ``qc_report`` and
    ``feature_registration``.

    >>> from datetime import UTC, datetime
    >>> from e2i_fs.agents import FeatureRegistrar, FeatureSpec
    >>> from e2i_fs.testing import memory_store
    >>> rows = {"hcp_id": ["a", "b"], "event_timestamp": [datetime(2024, 3, 9, tzinfo=UTC)] * 2, "trx_count": [3, 5]}
    >>> registrar = FeatureRegistrar(memory_store(), spec=FeatureSpec("hcp_stats", entities={"hcp": ["hcp_id"]}))
    >>> done = registrar.register(rows)
    >>> done.status, done.registered_features, done.read_back.online
    ('completed', ('hcp_stats:trx_count',), 2)
    """

    NEEDS: ClassVar[tuple[str, ...]] = ("frame",)
    TAKES: ClassVar[tuple[str, ...]] = ("feature_spec",)
    GIVES: ClassVar[tuple[str, ...]] = ("qc_report", "feature_registration")

    def __init__(
        self,
        store: FeatureStore | AsyncFeatureStore,
        spec: FeatureSpec | None = None,
        *,
        gate: QualityGate | None = None,
        expectations: Sequence[Expectation] = (),
        on_blocked: Literal["raise", "skip"] = "raise",
        on_error: Literal["raise", "report"] = "raise",
        freshness_check: bool = True,
        max_staleness_hours: float | None = None,
        allow_breaking: bool = False,
        sample: int = 20,
        max_future_skew: float = 60.0,
        keys: Mapping[str, str] | None = None,
        clock: Clock | Callable[[], datetime] | None = None,
    ) -> None:
        super().__init__(store, keys, needs=self.NEEDS if spec is not None else (*self.NEEDS, *self.TAKES))
        if gate is not None and not isinstance(gate, QualityGate):
            raise ConfigError(f"gate={gate!r}: give a QualityGate, or None for the default one, which blocks.")
        if isinstance(sample, bool) or not isinstance(sample, int) or sample < 1:
            raise ConfigError(f"sample={sample!r}: give the number of rows to read back, at least 1.")
        self._spec = None if spec is None else check_spec(spec)
        self._gate = QualityGate() if gate is None else gate
        self._expectations = tuple(expectations)
        self._on_blocked = one_of(on_blocked, ("raise", "skip"), "on_blocked")
        self._on_error = one_of(on_error, ("raise", "report"), "on_error")
        self._freshness_check = freshness_check
        self._limit = hours(max_staleness_hours, "max_staleness_hours")
        self._allow_breaking = allow_breaking
        self._sample = sample
        self._skew = timedelta(seconds=max_future_skew)
        self._clock = as_clock(clock)

    def register(self, frame: Any, spec: FeatureSpec | None = None) -> FeatureRegistration:
        """Register, write and read back a frame of any kind, and return a `FeatureRegistration`.

        ``spec`` describes the frame, unless it was given to the constructor. Unless ``on_error="report"``, raises
        `InvalidBatchError` with every problem of the frame, `DefinitionError` for a spec that makes no sense, and the
        store's errors; unless ``on_blocked="skip"``, `QualityGateBlockedError`.
        """
        named = check_spec(self._spec if spec is None else spec)
        try:
            before = catalog_of(self._store)
            prepared, made = self.examine(frame, named, before)
        except QualityGateBlockedError:
            raise
        except E2IError as error:
            return self._failed(error, FeatureRegistration(status="error", view=named.view))
        return made if prepared is None else self._carried_out(prepared, named, before, made)

    def examine(
        self, frame: Any, spec: FeatureSpec | None = None, registered: Catalog | None = None
    ) -> tuple[Prepared | None, FeatureRegistration]:
        """Do everything in `register` that changes nothing: read, infer, judge, and ask the gate.

        Returns what would be registered (None when the frame is empty or refused) and the registration so far.
        ``registered`` is the store's catalogue; without it the store is not asked, and every entity counts as new.
        """
        named = check_spec(self._spec if spec is None else spec)
        before = Catalog() if registered is None else registered
        table = read_table(frame, f"the frame for view {named.view!r}")
        if not len(table):
            seen = table if table.num_columns else pa.table({named.timestamp_column: pa.nulls(0)})
            report = QCReport.of(seen, clock=self._clock)
            none = ("frame has no rows, so nothing was registered; find out why none arrived",)
            return None, FeatureRegistration(status="empty", view=named.view, report=report, warnings=none)
        prepared = self._prepared(table, named, before)
        decision = self._judged(prepared, named, before)
        if not decision.allowed and self._on_blocked == "raise":
            raise QualityGateBlockedError(f"View {named.view!r} was not registered: the gate refused it", decision)
        made = FeatureRegistration(
            status="skipped",
            view=named.view,
            report=decision.report,
            decision=decision,
            inferred=prepared.inferred,
            warnings=(*prepared.warnings, *decision.warnings),
        )
        return (prepared if decision.allowed else None), made

    async def aregister(self, frame: Any, spec: FeatureSpec | None = None) -> FeatureRegistration:
        """Do what `register` does, awaited."""
        return await in_thread(self.register, frame, spec)

    def _work(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        made = self.register(inputs["frame"], inputs.get("feature_spec"))
        return {"qc_report": made.report, "feature_registration": made}

    def _prepared(self, table: pa.Table, spec: FeatureSpec, before: Catalog) -> Prepared:
        existing = before.view(spec.view) if spec.view in before.views else None
        now_us, skew_us = to_us(self._clock.now()), self._skew // timedelta(microseconds=1)
        return prepare(table, spec, registered=before.entities, existing=existing, now_us=now_us, skew_us=skew_us)

    def _judged(self, prepared: Prepared, spec: FeatureSpec, before: Catalog) -> GateDecision:
        report = QCReport.of(
            prepared.batch,
            view=prepared.view,
            required=spec.required,
            expectations=self._expectations,
            max_future_skew=self._skew,
            clock=self._clock,
        )
        if not self._freshness_check:
            return self._gate.judge(report)
        return self._gate.judge(report, freshness={spec.view: self._freshness(prepared, spec.view in before.views)})

    def _freshness(self, prepared: Prepared, existed: bool) -> FreshnessReport:
        """Return how fresh the view will be with these rows: the newest event among them and those online (F-1)."""
        view, now = prepared.view, self._clock.now()
        newest = from_us(pc.max(prepared.batch.column(view.event_column)).value)
        if existed and view.online:
            online = self._store.freshness([view.name])[view.name].newest_event_timestamp
            newest = newest if online is None else max(newest, online)
        age, limit = max(now - newest, timedelta(0)), self._limit or view.max_staleness
        return FreshnessReport(view.name, judge(age, limit), age, newest, limit, len(prepared.batch), now, "the frame")

    def _carried_out(
        self, prepared: Prepared, spec: FeatureSpec, before: Catalog, made: FeatureRegistration
    ) -> FeatureRegistration:
        view = prepared.view
        attempts: list[Attempt] = []
        undone: list[str] = []
        left: list[str] = []
        try:
            if needs_rehearsal(before, view, allow_breaking=self._allow_breaking):
                self._attempted(rehearsal_of(prepared, self._sample), spec, before, attempts)
                undo(self._store, before, attempts.pop(), undone, left)
                if left:
                    raise BackendDataError(f"The rehearsal for view {view.name!r} could not be cleared away again.")
                undone.clear()
            missed, back = self._attempted(prepared, spec, before, attempts)
            freshness = self._store.freshness([view.name]) if view.online else FrozenMap()
        except (Exception, KeyboardInterrupt) as error:  # raised again, or told, once nothing is left half-registered
            for attempt in attempts:
                undo(self._store, before, attempt, undone, left)
            error.add_note(undo_words(undone, left))
            if not isinstance(error, E2IError):
                raise
            plan = attempts[0].plan if attempts and attempts[0].view is view else None
            return self._failed(error, replace(made, plan=plan, undone=tuple(undone), left_behind=tuple(left)))
        return replace(
            made,
            status="completed",
            registered_views=(view.name,),
            registered_features=tuple(f"{view.name}:{f.name}" for f in view.schema if f.role == "feature"),
            registered_labels=tuple(f"{view.name}:{f.name}" for f in view.schema if f.role == "label"),
            rows=len(prepared.batch),
            plan=attempts[0].plan,
            read_back=back,
            freshness=freshness,
            warnings=(*made.warnings, *missed, *back.notes),
            registered_at=self._clock.now(),
        )

    def _attempted(
        self, prepared: Prepared, spec: FeatureSpec, before: Catalog, attempts: list[Attempt]
    ) -> tuple[list[str], ReadBack]:
        """Apply, write and read back, all of it in ``attempts`` from the moment that something may have been done."""
        view = prepared.view
        attempts.append(Attempt(view))
        attempts[-1] = Attempt(view, self._store.apply([view], allow_breaking=self._allow_breaking))
        missed = self._written(prepared, spec)
        back = read_back(
            self._store,
            view,
            list(prepared.join_keys),
            prepared.batch,
            sample=self._sample,
            existed=view.name in before.views,
        )
        if back.problems:
            raise BackendDataError(
                f"View {view.name!r} does not read back as it was written: {'; '.join(back.problems[:5])}"
            )
        return missed, back

    def _written(self, prepared: Prepared, spec: FeatureSpec) -> list[str]:
        """Write the rows, or bring them online from the source that has them; return what some backend missed."""
        view = prepared.view
        if spec.source is None:
            receipt = self._store.write(view.name, prepared.batch)
            return [f"backend {name!r} has not taken the rows yet: {why} (X-4)" for name, why in receipt.missed.items()]
        if view.online:
            report = self._store.materialize(None, None, [view.name])
            failed = [run for run in report.runs if run.error is not None]
            if len(failed) == len(report.runs):
                raise BackendDataError(
                    f"View {view.name!r} could not be brought online: {[run.error for run in failed]}"
                )
            return [f"backend {run.backend!r} was not brought up to date: {run.error} (X-4)" for run in failed]
        return []

    def _failed(self, error: E2IError, made: FeatureRegistration) -> FeatureRegistration:
        if self._on_error == "raise":
            raise error
        return replace(made, status="error", error=f"{type(error).__name__}: {error}")
