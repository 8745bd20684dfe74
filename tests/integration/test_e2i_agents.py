"""E2I's own agents, as `feature_repo.agents` has them, on generated E2I data: prepare, train, predict."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import e2i_fs as fs
from e2i_fs.errors import DegradedAnswerError
from e2i_fs.testing.clock import FakeClock
from tests import breakable

pytest.importorskip("sklearn", reason='the trainer fits a scikit-learn model: pip install "e2i-fs[sklearn]"')

from feature_repo import agents, definitions
from feature_repo.generate import generate

GATED = {"hcp_conversion_features": "business_metrics", "hcp_profile_features": "hcp_profiles"}
DAY = timedelta(days=1)


class E2I(NamedTuple):
    """E2I data, its views by name, the questions whose outcome is known, and the clock at the end of the data."""

    folder: Path
    views: dict[str, fs.FeatureView]
    frames: dict[str, pa.Table]
    asked: pa.Table
    clock: FakeClock

    def prepared(self, store: fs.Store) -> None:
        for view, frame in self.frames.items():
            assert agents.data_preparer(store, self.views[view], frame, clock=self.clock).completed


@pytest.fixture(scope="module")
def e2i(tmp_path_factory: pytest.TempPathFactory) -> E2I:
    data = generate(tmp_path_factory.mktemp("e2i"), scale=0.07)
    views = {d.name: d for d in definitions(data.folder) if isinstance(d, fs.FeatureView)}
    frames = {view: pq.read_table(data.folder / f"{file}.parquet") for view, file in GATED.items()}
    return E2I(data.folder, views, frames, pq.read_table(data.outcomes), FakeClock(data.until))


class Served(NamedTuple):
    store: fs.Store
    plan: Any
    trained: Any


@pytest.fixture(scope="module")
def served(e2i: E2I, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with fs.connect({"backend": "duckdb", "path": str(tmp_path_factory.mktemp("store"))}, clock=e2i.clock) as store:
        e2i.prepared(store)
        plan = store.apply(definitions(e2i.folder))
        yield Served(store, plan, agents.model_trainer(store, e2i.asked, clock=e2i.clock))


# ---- data_preparer -------------------------------------------------------------------------------------------


def test_what_the_gate_refuses_is_registered_nowhere(e2i: E2I, tmp_path: Path) -> None:
    frame = e2i.frames["hcp_conversion_features"]
    share = pc.multiply(frame["market_share"], pa.scalar(100, pa.float32()))
    percent = frame.set_column(frame.column_names.index("market_share"), "market_share", share)
    config = {"backend": "duckdb", "path": str(tmp_path)}
    with fs.connect(config, clock=e2i.clock) as store:
        done = agents.data_preparer(store, e2i.views["hcp_conversion_features"], percent, clock=e2i.clock)
        assert (done.status, done.registered_views, done.plan) == ("skipped", (), None)
        assert any("in_range('market_share'" in reason for reason in done.decision.reasons)
        assert (store.list_feature_views(), store.list_entities()) == ([], [])
    with fs.connect(config, clock=e2i.clock) as again:
        assert (again.list_feature_views(), again.list_entities()) == ([], [])


def test_the_preparer_registers_the_repositorys_own_views(served: Served) -> None:
    assert {f"view {view}" for view in GATED} <= set(served.plan.unchanged)
    assert served.plan.updated == ()


@pytest.mark.rule("P-4")
def test_of_rows_that_tie_the_preparer_keeps_the_one_that_the_store_answers_with(e2i: E2I) -> None:
    view = e2i.views["hcp_conversion_features"]
    frame = e2i.frames[view.name]
    kept = agents.one_row_each(view, frame)
    names = ["hcp_id", "brand_id", "event_timestamp", "created_at"]
    assert 0 < frame.num_rows - kept.num_rows < frame.num_rows / 50
    best: dict[tuple[Any, ...], list[Any]] = {}
    for row in frame.to_pylist():
        key = tuple(row[n] for n in names)
        values = [(row[f.name] is not None, row[f.name] or 0) for f in view.schema]
        best[key] = max(values, best.get(key, values))
    assert {tuple(r[n] for n in names): [(r[f.name] is not None, r[f.name] or 0) for f in view.schema]
            for r in kept.to_pylist()} == best  # fmt: skip


def test_of_an_old_frame_that_is_sound_the_preparer_warns(e2i: E2I, tmp_path: Path) -> None:
    week = FakeClock(e2i.clock.now() + 7 * DAY)
    with fs.connect({"backend": "duckdb", "path": str(tmp_path)}, clock=week) as store:
        view = e2i.views["hcp_profile_features"]
        done = agents.data_preparer(store, view, e2i.frames[view.name], clock=week)
        assert done.completed
        assert any("EXPIRED" in warning for warning in done.warnings)


# ---- model_trainer -------------------------------------------------------------------------------------------


@pytest.mark.rule("P-10")
def test_the_trainer_learns_from_audited_splits_an_outcome_apart(served: Served) -> None:
    loaded = served.trained.loaded
    assert loaded.audit.clean
    assert loaded.warnings == ()
    train, validation, test = (split.times.to_pylist() for split in loaded.splits)
    assert min(validation) - max(train) > agents.OUTCOME_DAYS * DAY
    assert min(test) - max(validation) > agents.OUTCOME_DAYS * DAY
    assert loaded.baseline.training_samples == len(train)
    assert served.store.verify(loaded.receipt).identical


def test_the_trainer_measures_its_model_on_rows_that_it_did_not_learn_from(served: Served) -> None:
    metrics = served.trained.metrics
    assert set(metrics) == {"validation", "test"}
    assert all(0.6 < each["auc"] < 0.95 for each in metrics.values()), metrics
    rows = agents.rows_of(served.trained.loaded.test)
    hits = sum((p > 0.5) == row["converted"] for p, row in zip(served.trained.model.predict(rows), rows, strict=True))
    assert hits > len(rows) / 2


# ---- prediction_synthesizer ----------------------------------------------------------------------------------


def pairs(e2i: E2I, count: int) -> list[dict[str, Any]]:
    return e2i.asked.slice(len(e2i.asked) - count).select(["hcp_id", "brand_id"]).to_pylist()


@pytest.mark.rule("O-5", "O-6")
def test_predictions_rest_on_what_is_known_now_and_nothing_known_is_no_prediction(e2i: E2I, served: Served) -> None:
    contexts = [*pairs(e2i, 3), {"hcp_id": "nobody", "brand_id": "alvexa"}, pairs(e2i, 1)[0]]
    model = served.trained.model
    made = agents.prediction_synthesizer(served.store, model, contexts, clock=e2i.clock)
    now = served.store.get_historical_features(
        [{**context, "event_timestamp": e2i.clock.now()} for context in contexts], agents.SERVICE
    )
    wanted = model.predict(now.to_arrow().to_pylist())
    assert made.probabilities == [*wanted[:3], None, wanted[4]]
    assert (made.degraded, made.served_by) == (False, "duckdb")


@pytest.mark.rule("X-3", "X-7")
def test_the_standby_serves_and_an_answer_that_may_be_old_is_marked_or_refused(
    e2i: E2I, served: Served, tmp_path: Path
) -> None:
    backends = [
        {"name": name, "backend": "breakable", "inner": "duckdb", "path": str(tmp_path / name)}
        for name in ("primary", "standby")
    ]
    failover = {"deadline": 30.0, "shadow_rate": 0, "background": False, "breaker": {"failures": 100}}
    config = {"backends": backends, "failover": failover}
    contexts, model = pairs(e2i, 2), served.trained.model
    with fs.connect(config, clock=e2i.clock, plugins=[breakable.BreakablePlugin()]) as store:
        e2i.prepared(store)
        store.apply(definitions(e2i.folder))
        up = agents.prediction_synthesizer(store, model, contexts, clock=e2i.clock)
        breakable.OPENED["primary"].break_()
        away = agents.prediction_synthesizer(store, model, contexts, clock=e2i.clock)
        assert [(p.served_by, p.degraded) for p in (up, away)] == [("primary", False), ("standby", False)]
        assert away.probabilities == up.probabilities

        row = {**contexts[0], "event_timestamp": e2i.clock.now(), "created_at": e2i.clock.now()}
        row |= {f.name: 1 if f.dtype == fs.Int64 else 0.5 for f in e2i.views["hcp_conversion_features"].schema}
        breakable.OPENED["primary"].heal()
        breakable.OPENED["standby"].break_()
        store.write("hcp_conversion_features", [row])  # the standby misses it
        breakable.OPENED["standby"].heal()
        breakable.OPENED["primary"].break_()
        old = agents.prediction_synthesizer(store, model, contexts, clock=e2i.clock)
        assert (old.served_by, old.degraded, old.probabilities) == ("standby", True, up.probabilities)
        assert any("degraded" in warning for warning in old.enrichment.warnings)
        with pytest.raises(DegradedAnswerError):
            agents.prediction_synthesizer(store, model, contexts, strict=True, clock=e2i.clock)
