"""E2I's three agents over these features: prepare, train, predict. Each is a function over a store; copy what you need.

`data_preparer` puts a frame behind the gate and registers it, or registers nothing. `model_trainer` fits a scikit-learn
model on splits by time that passed the audit. `prediction_synthesizer` fetches features before it predicts, and says
who served them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

import e2i_fs as fs
from e2i_fs.agents import (
    ContextEnricher,
    Enrichment,
    FeatureRegistrar,
    FeatureRegistration,
    FeatureSpec,
    LoadedSplits,
    SplitLoader,
)
from e2i_fs.quality import Expectation, QualityGate, in_range
from e2i_fs.splits import Split, TemporalSplit

from .model import Model

__all__ = ["Predicted", "Trained", "data_preparer", "model_trainer", "prediction_synthesizer"]

SERVICE = "hcp_conversion"
OUTCOME_DAYS = 28
"""An outcome is known so many days after its question, so splits lie as far apart."""
EXPECTED: Mapping[str, Sequence[Expectation]] = {
    "hcp_conversion_features": [
        in_range("trx_count", min=0),
        in_range("market_share", 0, 1),
        in_range("conversion_rate", 0, 1),
        in_range("engagement_score", 0, 1),
    ],
    "hcp_profile_features": [in_range("years_of_practice", 0, 80)],
}
"""What must hold of a frame besides its dtypes, by view."""
GATE = QualityGate(policy={"freshness": "warn"})
"""Age only warns: a profile that nobody changed is old and still true. How old it is, the synthesizer says again."""

Clock = Callable[[], datetime]


# ---- data_preparer -------------------------------------------------------------------------------------------


def data_preparer(
    store: fs.FeatureStore, view: fs.FeatureView, frame: pa.Table, *, clock: Clock | None = None
) -> FeatureRegistration:
    """Judge ``frame``, and register ``view`` over its source if the gate lets it; what was refused has status ``skipped``.

    ``frame`` is what the source of the view has, and a sample of it must read back, offline and online.
    """
    registrar = FeatureRegistrar(
        store, spec_of(view), gate=GATE, expectations=EXPECTED.get(view.name, ()), on_blocked="skip", clock=clock
    )
    return registrar.register(one_row_each(view, frame))


def spec_of(view: fs.FeatureView) -> FeatureSpec:
    """Return what a frame's rows do not tell of a view that is defined already."""
    return FeatureSpec(
        view.name,
        entities=view.entity_objects,
        timestamp_column=view.event_column,
        created_column=view.created_column,
        features=[f.name for f in view.schema if f.role == "feature"],
        labels=[f.name for f in view.schema if f.role == "label"],
        dtypes={f.name: f.dtype for f in view.schema},
        ttl=view.ttl,
        max_staleness=view.max_staleness,
        owner=view.owner,
        tags=view.tags,
        description=view.description,
        source=view.source,
    )


def one_row_each(view: fs.FeatureView, frame: pa.Table) -> pa.Table:
    """Return ``frame`` without repeats and ties: of rows with one key and both times the greatest stays (P-4)."""
    keys = [key for entity in view.entity_objects for key in entity.keys]
    same = [*keys, view.event_column, view.created_column]
    by = [(name, "descending") for name in (*same, *(f.name for f in view.schema))]  # what is missing comes last
    rows = frame.take(pc.sort_indices(frame, sort_keys=by))
    rows = rows.append_column("place", pa.array(range(len(rows))))
    greatest = rows.group_by(same, use_threads=False).aggregate([("place", "min")])["place_min"]
    return rows.take(greatest).drop_columns("place")


# ---- model_trainer -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Trained:
    """A model, the splits it was made from, and how it did on the later ones: ``auc``, ``log_loss`` and ``brier`` by split."""

    model: Model
    loaded: LoadedSplits
    metrics: Mapping[str, Mapping[str, float]]


def model_trainer(
    store: fs.FeatureStore,
    questions: Any,
    *,
    as_of: datetime | None = None,
    clock: Clock | None = None,
    seed: int = 7,
) -> Trained:
    """Train on what was known at the time of each question, ``hcp_id, brand_id, event_timestamp, converted``.

    The splits lie as far apart as an outcome takes, so that every outcome that is learned from was known before the
    first question that is judged. A training set that fails its leakage audit is a `LeakageError`.
    """
    loader = SplitLoader(
        store,
        SERVICE,
        target="converted",
        rule=TemporalSplit(embargo=timedelta(days=OUTCOME_DAYS)),
        filter_by_created_timestamp=True,
        as_of=as_of,
        clock=clock,
    )
    loaded = loader.load(questions)
    model = Model.fit(rows_of(loaded.train), loaded.splits.features, "converted", seed)
    return Trained(model, loaded, {split.name: _judged(model, split) for split in (loaded.validation, loaded.test)})


def _judged(model: Model, split: Split) -> dict[str, float]:
    rows = rows_of(split)
    truth, told = [row["converted"] for row in rows], model.predict(rows)
    return {
        "auc": float(roc_auc_score(truth, told)),
        "log_loss": float(log_loss(truth, told)),
        "brier": float(brier_score_loss(truth, told)),
    }


def rows_of(split: Split) -> list[dict[str, Any]]:
    """Return the rows of a split as dicts: keys, time, features and target."""
    return split.to_arrow().to_pylist()


# ---- prediction_synthesizer ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Predicted:
    """A probability for each context, in their order, and what it rests on. Without any feature there is none: None."""

    probabilities: Sequence[float | None]
    enrichment: Enrichment

    @property
    def degraded(self) -> bool:
        """Whether the features may be other than the newest; the reason is in ``enrichment.warnings`` (X-7)."""
        return self.enrichment.degraded

    @property
    def served_by(self) -> str | None:
        """The backend that the features came from."""
        return self.enrichment.served_by


def prediction_synthesizer(
    store: fs.FeatureStore,
    model: Model,
    contexts: Sequence[Mapping[str, Any]],
    *,
    strict: bool = False,
    clock: Clock | None = None,
) -> Predicted:
    """Fetch the features of each context (``hcp_id, brand_id``) as they are now, then predict whether it will convert.

    When the primary is down the standby serves. An answer that may not be the newest is marked, or with ``strict`` refused.
    """
    made = ContextEnricher(store, SERVICE, strict=strict, clock=clock).enrich(contexts)
    told = model.predict(made.contexts)
    known = [any(context[name] is not None for name in model.features) for context in made.contexts]
    return Predicted([p if there else None for p, there in zip(told, known, strict=True)], made)
