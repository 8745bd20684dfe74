"""The model trainer's part: splits that were audited and can be made again, and a model judged on the later ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pyarrow as pa
from sklearn.calibration import calibration_curve
from sklearn.metrics import roc_auc_score, roc_curve

from e2i_fs.cli.demo.claims import Claims
from e2i_fs.quality import audit

__all__ = ["Judged", "Learned", "SplitLine", "check_training", "judge"]

_LEAKY = "hcp_conversion_features:trx_count"
"""The feature that leaks in the frame that the audit is tried on."""


@dataclass(frozen=True, slots=True)
class SplitLine:
    """One split: its rows and times, and for those that are open how many converted and how the model did on it."""

    name: str
    rows: int
    first: datetime
    last: datetime
    converted: float | None
    metrics: dict[str, float]


@dataclass(frozen=True, slots=True)
class Learned:
    """What the trainer had: the splits, and in words its audit, receipt and baseline."""

    splits: Sequence[SplitLine]
    audit: str
    leaky: str
    receipt: str
    baseline: str


@dataclass(frozen=True, slots=True)
class Judged:
    """How the model did on the later questions. Curves are pairs of equally long lists."""

    auc: float
    cut: datetime
    trained_on: int
    judged_on: int
    rate: float
    roc: tuple[list[float], list[float]]
    calibration: tuple[list[float], list[float]]


def check_training(trained: Any, result: Any, store: Any, now: datetime, outcome_days: int, claims: Claims) -> Learned:
    """Look again at what the trainer's splits are. ``result`` is the store's answer to all questions."""
    loaded = trained.loaded
    splits, answer = loaded.splits, result.to_arrow()
    lines = [_line(trained, name) for name in splits.names]
    gaps = [later.first - earlier.last for earlier, later in pairwise(lines)]
    strange = sum(not s.to_arrow().equals(answer.take(s.rows).select(s.to_arrow().column_names)) for s in splits)
    claims.check(
        "The splits are the store's own answers, row for row, and lie further apart than an outcome takes",
        strange == 0 and min(gaps) > timedelta(days=outcome_days),
        f"{', '.join(f'{line.name} {line.rows:,}' for line in lines)}, {splits.dropped.total:,} between them; gaps of "
        f"{', '.join(str(gap.days) for gap in gaps)} days; the holdout is locked",
    )
    report = loaded.audit
    claims.check(
        "The leakage audit of the training set passes",
        report.clean and report.cells == answer.num_rows * len(result.feature_names),
        f"{report.cells:,} cells held against the store, {len(report.checks)} checks, {len(report.findings)} findings",
    )
    leaky = _leaky_audit(store, answer.slice(0, 300), now)
    kinds = ", ".join(sorted({str(f.kind.value) for f in leaky.findings}))
    claims.check(
        "The audit has teeth: of questions answered with the values of today it says that they leak",
        bool(leaky.of_kind("FUTURE_VALUE")) and not leaky.outcome.fine,
        f"{leaky.wrong_cells.num_rows:,} of {leaky.cells:,} cells wrong: {kinds}",
    )
    again = store.verify(loaded.receipt)
    claims.check(
        "From its receipt the training set is made again, identical", again.identical, str(again).partition("\n")[0]
    )
    baseline, known = loaded.baseline, loaded.train.to_arrow()[splits.target].to_pylist()
    claims.check(
        "The baseline for drift is of the train split alone",
        baseline.training_samples == len(known) and abs(baseline.target_rate - sum(known) / len(known)) < 1e-9,
        f"{baseline.training_samples:,} rows, {len(baseline.numeric)} numeric and {len(baseline.categorical)} "
        f"categorical features, {baseline.target_rate:.1%} converted",
    )
    made = [claim.evidence for claim in claims.made[-4:]]
    return Learned(lines, made[0], made[1], made[2], made[3])


def judge(trained: Any, claims: Claims) -> Judged:
    """Judge the model on all open questions after those that it learned from."""
    later = [trained.loaded.validation, trained.loaded.test]
    rows = [row for split in later for row in split.to_arrow().to_pylist()]
    truth, told = [row["converted"] for row in rows], trained.model.predict(rows)
    auc = float(roc_auc_score(truth, told))
    fpr, tpr, _ = roc_curve(truth, told)
    happened, foretold = calibration_curve(truth, told, n_bins=6, strategy="quantile")
    cut, learned = trained.loaded.splits.boundaries["validation"].first, trained.loaded.train.row_count
    each = ", ".join(f"{name} {m['auc']:.3f}" for name, m in trained.metrics.items())
    claims.check(
        "The model foretells later conversions better than chance",
        auc > 0.6,
        f"AUC {auc:.3f} ({each}) on {len(rows):,} questions from {cut:%Y-%m-%d} on, trained on {learned:,} before",
    )
    return Judged(
        auc, cut, learned, len(rows), sum(truth) / len(truth),
        (list(map(float, fpr)), list(map(float, tpr))), (list(map(float, foretold)), list(map(float, happened))),
    )  # fmt: skip


def _line(trained: Any, name: str) -> SplitLine:
    bounds = trained.loaded.splits.boundaries[name]
    known = None
    if name != "holdout":  # which stays locked
        truth = getattr(trained.loaded.splits, name).to_arrow()["converted"].to_pylist()
        known = sum(truth) / len(truth)
    return SplitLine(name, bounds.row_count, bounds.first, bounds.last, known, dict(trained.metrics.get(name, {})))


def _leaky_audit(store: Any, training: pa.Table, now: datetime) -> Any:
    """Audit questions as a join without time answers them: each with the prescriptions that its pair has now."""
    columns = training.select(["hcp_id", "brand_id", "event_timestamp", "converted"])
    today = columns.set_column(2, "event_timestamp", pa.array([now] * len(columns), pa.timestamp("us", "UTC")))
    newest = store.get_historical_features(today, [_LEAKY]).to_arrow().column("trx_count")
    return audit(columns.append_column("trx_count", newest), store, [_LEAKY], target="converted")
