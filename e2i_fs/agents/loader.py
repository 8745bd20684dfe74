"""From entity rows to training splits: features as they were known, split by time, audited for leakage."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar, Literal

import pyarrow as pa
import pyarrow.compute as pc

from e2i_fs.agents.bridge import in_thread
from e2i_fs.agents.node import Node
from e2i_fs.agents.options import one_of
from e2i_fs.clock import Clock, as_clock, from_us, to_us
from e2i_fs.definitions import FeatureService
from e2i_fs.errors import ConfigError, InvalidTimestampError, LeakageError, SplitError
from e2i_fs.pit.times import column_to_us
from e2i_fs.protocol import AsyncFeatureStore, FeatureStore
from e2i_fs.quality.baseline import BaselineMetrics
from e2i_fs.quality.leakage.audit import audit
from e2i_fs.quality.leakage.report import AuditReport
from e2i_fs.receipts import TrainingReceipt
from e2i_fs.results import HistoricalResult, Provenance
from e2i_fs.splits import Split, TemporalSplit, TrainingSplits

__all__ = ["LoadedSplits", "SplitLoader", "check_audit", "check_classes"]


@dataclass(frozen=True, slots=True)
class LoadedSplits:
    """Training splits, with the audit that they passed, the figures of the train split, and where the data came from.

    >>> from datetime import datetime, timedelta
    >>> from e2i_fs.agents import SplitLoader
    >>> from e2i_fs.splits import TemporalSplit
    >>> from e2i_fs.testing import example_store
    >>> hours = [datetime(2024, 3, 2) + timedelta(hours=h) for h in range(200)]
    >>> asked = {"hcp_id": ["hcp_1"] * 200, "event_timestamp": hours, "sold": [h % 7 < 3 for h in range(200)]}
    >>> rule = TemporalSplit(embargo=timedelta(hours=6))
    >>> with example_store() as store:
    ...     loader = SplitLoader(store, "hcp_model", target="sold", rule=rule, filter_by_created_timestamp=True)
    ...     loaded = loader.load(asked)
    ...     print(store.verify(loaded.receipt))
    identical: 200 rows
    >>> loaded.train.row_count, loaded.baseline.training_samples, loaded.audit.outcome.value, loaded.warnings
    (109, 109, 'passed', ())
    """

    splits: TrainingSplits
    audit: AuditReport
    baseline: BaselineMetrics
    provenance: Provenance
    warnings: tuple[str, ...] = ()

    @property
    def train(self) -> Split:
        """See `TrainingSplits.train`."""
        return self.splits.train

    @property
    def validation(self) -> Split:
        """See `TrainingSplits.validation`."""
        return self.splits.validation

    @property
    def test(self) -> Split:
        """See `TrainingSplits.test`."""
        return self.splits.test

    @property
    def receipt(self) -> TrainingReceipt:
        """The receipt that `FeatureStore.verify` takes to recreate the same splits."""
        return self.splits.receipt


class SplitLoader(Node):
    """Loads training splits by point-in-time retrieval, audited for leakage, each row with its label.

    ``features`` are references or a service. ``target`` is a column of the entity frame, or the name of one of
    ``labels``, which are references of labels in the store (P-12). ``rule`` is how to split, ``missing_target`` what to
    do with rows without a target (``"error"`` or ``"drop"``). ``leakage="block"`` raises `LeakageError` unless the
    audit passes, and a check that could not be judged has not passed; ``"warn"`` only adds warnings.
    ``filter_by_created_timestamp`` and ``as_of`` are those of the retrieval (P-3); without the first, a value that was
    not yet known at its row's time appears in the audit's warnings. ``strict`` refuses a degraded answer (X-7).
    ``keys`` renames the state keys, see `Node`.

    As a node it reads ``entity_df`` and returns ``training_splits``, ``baseline_metrics`` (of the train split alone),
    ``leakage_audit``, and ``loaded_splits``, which has all of them.

    >>> from datetime import datetime, timedelta
    >>> from e2i_fs.agents import SplitLoader
    >>> from e2i_fs.splits import TemporalSplit
    >>> from e2i_fs.testing import example_store
    >>> hours = [datetime(2024, 3, 2) + timedelta(hours=h) for h in range(200)]
    >>> asked = {"hcp_id": ["hcp_1"] * 200, "event_timestamp": hours, "sold": [h % 7 < 3 for h in range(200)]}
    >>> rule = TemporalSplit(embargo=timedelta(hours=6))
    >>> with example_store() as store:
    ...     loader = SplitLoader(store, "hcp_model", target="sold", rule=rule, filter_by_created_timestamp=True)
    ...     loader.load(asked).splits
    <TrainingSplits of 'sold': train 109, validation 37, test 27, holdout 9 (locked); dropped 18 of 200 rows>
    """

    NEEDS: ClassVar[tuple[str, ...]] = ("entity_df",)
    GIVES: ClassVar[tuple[str, ...]] = ("training_splits", "baseline_metrics", "leakage_audit", "loaded_splits")

    def __init__(
        self,
        store: FeatureStore | AsyncFeatureStore,
        features: Sequence[str] | FeatureService | str,
        *,
        target: str,
        labels: Sequence[str] = (),
        rule: TemporalSplit | None = None,
        leakage: Literal["block", "warn"] = "block",
        timestamp_column: str = "event_timestamp",
        label_timestamp_column: str | None = None,
        full_feature_names: bool = False,
        filter_by_created_timestamp: bool = False,
        as_of: datetime | None = None,
        missing_target: Literal["error", "drop"] = "error",
        strict: bool = False,
        keys: Mapping[str, str] | None = None,
        clock: Clock | Callable[[], datetime] | None = None,
    ) -> None:
        super().__init__(store, keys)
        if rule is not None and not isinstance(rule, TemporalSplit):
            raise ConfigError(f"rule={rule!r}: give a TemporalSplit, or None for the default one.")
        self._features = features
        self._target = target
        self._labels = (labels,) if isinstance(labels, str) else tuple(labels)
        self._rule = TemporalSplit() if rule is None else rule
        self._leakage = one_of(leakage, ("block", "warn"), "leakage")
        self._time = timestamp_column
        self._label_time = label_timestamp_column
        self._full_names = full_feature_names
        self._by_created = filter_by_created_timestamp
        self._as_of = as_of
        self._missing_target = one_of(missing_target, ("error", "drop"), "missing_target")
        self._strict = strict
        self._clock = as_clock(clock)

    def load(self, entity_df: Any) -> LoadedSplits:
        """Return the audited splits of a frame with the join keys, the time, and the target unless it is a label.

        Raises `RequestError` for a frame that cannot be used, `SplitError` when the rows cannot be split by the rule or
        the training rows have only one class, `LeakageError` when the audit does not pass, and the store's errors.
        """
        result = self._store.get_historical_features(
            entity_df,
            self._features,
            labels=self._labels,
            full_feature_names=self._full_names,
            filter_by_created_timestamp=self._by_created,
            as_of=self._as_of,
            timestamp_column=self._time,
            strict=self._strict,
        )
        self._check_times(result)
        splits = self._rule.split(
            result,
            target=self._target,
            timestamp_column=self._time,
            missing_target=self._missing_target,
            clock=self._clock,
        )
        check_classes(splits)
        report = audit(
            result.to_arrow(),
            self._store,
            self._features,
            labels=self._labels,
            target=splits.target,
            timestamp_column=self._time,
            label_timestamp_column=self._label_time,
            full_feature_names=self._full_names,
            splits=splits,
            filter_by_created_timestamp=self._by_created or "auto",
            as_of=self._as_of,
        )
        said = check_audit(report, self._leakage)
        degraded = [f"made from {result.provenance.served_by!r}, degraded: {result.provenance.reason} (X-7)"]
        warnings = [*splits.notes, *said, *(degraded if result.provenance.degraded else [])]
        baseline = BaselineMetrics.of(splits, clock=self._clock)
        return LoadedSplits(splits, report, baseline, result.provenance, tuple(warnings))

    async def aload(self, entity_df: Any) -> LoadedSplits:
        """Do what `load` does, awaited."""
        return await in_thread(self.load, entity_df)

    def _work(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        made = self.load(inputs["entity_df"])
        return {
            "training_splits": made.splits,
            "baseline_metrics": made.baseline,
            "leakage_audit": made.audit,
            "loaded_splits": made,
        }

    def _check_times(self, result: HistoricalResult) -> None:
        """Raise `InvalidTimestampError` for a row of the future: its features are not known, let alone its outcome."""
        times = column_to_us(result.to_arrow().column(self._time), self._time, reject_naive=False)
        latest = to_us(self._clock.now() + timedelta(seconds=60))
        future = pc.indices_nonzero(pc.greater(times, latest)).to_pylist()
        if future:
            raise InvalidTimestampError(
                f"Column {self._time!r}, row {future[0]}: {from_us(times[future[0]].as_py()).isoformat()} is in the future "
                f"({len(future)} rows are). A row that has not happened yet teaches nothing; leave it out."
            )


def check_classes(splits: TrainingSplits) -> None:
    """Raise `SplitError` when the training rows have one class only."""
    column = splits.train.to_arrow().column(splits.target)
    if pa.types.is_nested(column.type):
        return
    values = pc.unique(column)
    if len(values) == 1:
        raise SplitError(
            f"The target {splits.target!r} is {values[0].as_py()!r} in all {len(column)} training rows: with one class only "
            "there is nothing to learn. Bring rows of another class, or of a longer time."
        )


def check_audit(report: AuditReport, leakage: Literal["block", "warn"]) -> list[str]:
    """Return a sentence for whatever an audit found; under ``"block"`` raise `LeakageError` unless it passed."""
    said = [f"{finding.kind}: {finding.message}" for finding in report.findings]
    if not said and not report.outcome.fine:
        said = [
            f"{check.name} is {check.outcome.value}: {check.message}"
            for check in report.checks
            if not check.outcome.fine
        ]
    if leakage == "block" and not report.outcome.fine:
        raise LeakageError(f"The training set was refused, its audit is {report.outcome.value}: {'; '.join(said)}")
    return said
