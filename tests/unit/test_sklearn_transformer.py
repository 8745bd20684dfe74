"""`FeatureStoreTransformer`: history in fit, history or now in transform, and a citizen of scikit-learn's pipelines."""

from __future__ import annotations

import gc
import pickle
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils import check_array
from sklearn.utils.estimator_checks import parametrize_with_checks

import e2i_fs as fs
from e2i_fs.sklearn import FeatureStoreTransformer, PurgedTimeSeriesSplit
from e2i_fs.testing import memory_store
from e2i_fs.testing.clock import FakeClock
from tests import kit

DAYS = [kit.NOW - timedelta(days=d) for d in range(120, 0, -1)]
FIELDS = {"calls": fs.Int64, "share": fs.Float32, "active": fs.Bool, "tier": fs.String}


def view() -> fs.FeatureView:
    schema = [*(fs.Field(n, t) for n, t in FIELDS.items()), fs.Field("sold", fs.Bool, role="label")]
    return fs.FeatureView("hcp", entities=[fs.Entity("hcp_id")], schema=schema)


def filled(store: Any) -> Any:
    """History of three HCPs, a row every ten days, and the newest online."""
    rows = [
        (f"hcp_{k}", day, 10 * i + k, i / 7, i % 2 == 0, "gold", i % 2 == 0)
        for k in range(3)
        for i, day in enumerate(DAYS[::10])
    ]
    store.write(
        "hcp",
        kit.table(dict(zip(["hcp_id", "event_timestamp", *FIELDS, "sold"], zip(*rows, strict=True), strict=True))),
    )
    return store


def open_store() -> Any:
    """A factory: a function at the top of a module, which can be pickled."""
    return filled(memory_store(view(), clock=FakeClock(kit.NOW)))


@pytest.fixture
def config(tmp_path: Path) -> dict[str, Any]:
    made = {"backend": "duckdb", "path": str(tmp_path / "store")}
    with fs.connect(made, clock=FakeClock(kit.NOW)) as store:
        store.apply([view()])
        filled(store)
    return made


@pytest.fixture
def live() -> Iterator[Any]:
    with open_store() as store:
        yield store


def entities(days: list[Any] = DAYS) -> pd.DataFrame:
    return pd.DataFrame({"hcp_id": [f"hcp_{i % 3}" for i in range(len(days))], "event_timestamp": days})


NUMBERS = ["hcp:calls", "hcp:share", "hcp:active"]


# ---- what it looks up ---------------------------------------------------------------------------------------


@pytest.mark.rule("P-1")
def test_fit_transform_gives_what_was_known_at_each_rows_time_and_not_what_is_known_now(live: Any) -> None:
    got = FeatureStoreTransformer(live, ["hcp:calls"], online=True).fit_transform(entities())
    wanted = live.get_historical_features(entities(), ["hcp:calls"]).to_arrow()["calls"].to_pylist()
    assert got[:, 0].tolist() == wanted
    assert len(set(wanted)) > 30


@pytest.mark.parametrize(("online", "has_times", "now"), [
    (False, True, False), (True, True, True), (True, False, True), ("auto", True, False), ("auto", False, True),
])  # fmt: skip
def test_transform_looks_into_history_or_at_now_as_it_is_told(
    live: Any, online: Any, has_times: bool, now: bool
) -> None:
    transformer = FeatureStoreTransformer(live, ["hcp:calls"], online=online).fit(entities())
    asked = entities() if has_times else entities()[["hcp_id"]]
    got = transformer.transform(asked)[:, 0].tolist()
    newest = [110.0 + i % 3 for i in range(120)]
    assert (got == newest) is now
    if not now:
        assert got == FeatureStoreTransformer(live, ["hcp:calls"]).fit_transform(entities())[:, 0].tolist()


def test_fit_without_times_is_refused_even_when_transform_will_look_at_now(live: Any) -> None:
    with pytest.raises(fs.InvalidTimestampError, match="fit looks into history"):
        FeatureStoreTransformer(live, NUMBERS, online=True).fit(entities()[["hcp_id"]])


@pytest.mark.rule("P-12")
def test_labels_are_not_to_be_had(live: Any) -> None:
    transformer = FeatureStoreTransformer(live, ["hcp:*"]).fit(entities())
    assert transformer.get_feature_names_out().tolist() == list(FIELDS)
    with pytest.raises(fs.LabelRequestedError):
        FeatureStoreTransformer(live, ["hcp:sold"]).fit(entities())


def test_the_parameters_of_retrieval_are_passed_on(live: Any) -> None:
    frame = entities().rename(columns={"event_timestamp": "when"})
    named = FeatureStoreTransformer(
        live, ["hcp:calls"], timestamp_column="when", full_feature_names=True, keep=["hcp_id"]
    )
    assert named.fit(frame).get_feature_names_out().tolist() == ["hcp_id", "hcp__calls"]
    for knowledge in ({"as_of": kit.NOW}, {"filter_by_created_timestamp": True}):
        with pytest.raises(fs.RequestError, match="created time"):
            FeatureStoreTransformer(live, NUMBERS, **knowledge).fit(entities())


def test_mistakes_are_named_when_fitting_as_scikit_learn_wants_it(live: Any) -> None:
    with pytest.raises(fs.RequestError, match="online='sometimes'"):
        FeatureStoreTransformer(live, NUMBERS, online="sometimes").fit(entities())
    with pytest.raises(fs.UnknownFeatureError, match="hcp:calls"):
        FeatureStoreTransformer(live, ["hcp:cals"]).fit(entities())
    with pytest.raises(fs.InvalidEntityFrameError, match="keep names 'brand'"):
        FeatureStoreTransformer(live, NUMBERS, keep=["brand"]).fit(entities())
    with pytest.raises(fs.InvalidEntityFrameError, match="to_frame="):
        FeatureStoreTransformer(live, NUMBERS).fit(entities().to_numpy())
    with pytest.raises(fs.ConfigError, match="store=3"):
        FeatureStoreTransformer(3, NUMBERS).fit(entities())
    with pytest.raises(fs.ConfigError, match="a factory returns"):
        FeatureStoreTransformer(dict, NUMBERS).fit(entities())


# ---- what it gives ------------------------------------------------------------------------------------------


def test_numbers_come_as_floats_missing_as_nan_and_text_or_what_floats_cannot_hold_as_objects(live: Any) -> None:
    asked = pd.concat([entities()[:2], pd.DataFrame({"hcp_id": ["nobody"], "event_timestamp": [kit.NOW]})])
    got = FeatureStoreTransformer(live, NUMBERS).fit_transform(asked)
    assert (got.dtype, got.shape) == (np.float64, (3, 3))
    assert np.isnan(got[2]).all()
    mixed = FeatureStoreTransformer(live, ["hcp:calls", "hcp:tier"]).fit_transform(asked)
    assert mixed.dtype == object
    assert mixed[0].tolist() == [0, "gold"]
    assert mixed[2].tolist() == [None, None]
    live.write("hcp", kit.table({"hcp_id": ["big"], "event_timestamp": [DAYS[0]], "calls": [2**53 + 1], "share": [0.0], "active": [True], "tier": ["x"], "sold": [True]}))  # fmt: skip
    big = FeatureStoreTransformer(live, ["hcp:calls"]).fit_transform(
        pd.DataFrame({"hcp_id": ["big"], "event_timestamp": [kit.NOW]})
    )
    assert big[0, 0] == 2**53 + 1


@pytest.mark.rule("P-8")
def test_set_output_gives_frames_with_the_features_own_dtypes_and_the_callers_index(live: Any) -> None:
    frame = entities().set_index(pd.Index(range(500, 620)))
    transformer = FeatureStoreTransformer(live, ["hcp:calls", "hcp:tier"], keep=["hcp_id"]).set_output(
        transform="pandas"
    )
    got = transformer.fit_transform(frame)
    assert list(got.columns) == ["hcp_id", "calls", "tier"]
    assert [str(t) for t in got.dtypes] == ["string", "Int64", "string"]
    assert list(got.index) == list(frame.index)
    assert list(clone(transformer).fit(frame).transform(frame).index) == list(frame.index)  # what was set is kept
    polars = (
        FeatureStoreTransformer(live, ["hcp:calls"]).set_output(transform="polars").fit_transform(pl.from_pandas(frame))
    )
    assert polars.schema == {"calls": pl.Int64}
    assert isinstance(transformer.set_output(transform="default").transform(frame), np.ndarray)


@pytest.mark.parametrize("kind", [lambda f: f, pl.from_pandas, pa.Table.from_pandas, lambda f: f.to_dict("records")])
def test_x_may_be_any_frame(live: Any, kind: Any) -> None:
    X = kind(entities())
    got = FeatureStoreTransformer(live, NUMBERS).fit(X).transform(X)
    np.testing.assert_array_equal(got, FeatureStoreTransformer(live, NUMBERS).fit_transform(entities()))


# ---- copies and pickles -------------------------------------------------------------------------------------


def test_a_configuration_or_a_factory_can_be_pickled_fitted_or_not(config: dict[str, Any]) -> None:
    for store in (config, open_store):
        transformer = FeatureStoreTransformer(store, NUMBERS)
        assert pickle.loads(pickle.dumps(transformer)).get_params() == transformer.get_params()
        expected = transformer.fit_transform(entities())
        again = pickle.loads(pickle.dumps(transformer))
        np.testing.assert_array_equal(again.transform(entities()), expected)
        again.close()
        np.testing.assert_array_equal(again.transform(entities()), expected)  # opened again when needed
        again.close()
        transformer.close()


def test_an_open_store_is_shared_by_clones_and_says_that_it_cannot_be_pickled(live: Any) -> None:
    transformer = FeatureStoreTransformer(live, NUMBERS).fit(entities())
    copied = clone(transformer)
    assert copied.store is live
    assert not hasattr(copied, "feature_names_out_")
    with pytest.raises(fs.UnsupportedError, match="holds an open store, which cannot be pickled"):
        pickle.dumps(transformer)
    transformer.close()
    assert live.list_feature_views()  # a store that was given is not closed


def test_a_store_that_was_opened_for_a_transformer_is_closed_with_it(config: dict[str, Any]) -> None:
    opened = []

    def factory() -> Any:
        opened.append(fs.connect(config))
        return opened[-1]

    transformer = FeatureStoreTransformer(factory, NUMBERS).fit(entities())
    transformer.transform(entities())
    assert len(opened) == 1  # once, not for every call
    del transformer
    gc.collect()
    with pytest.raises(fs.BackendUnavailableError, match="closed"):
        opened[0].list_feature_views()


# ---- in a pipeline with a model -----------------------------------------------------------------------------


def test_a_pipeline_learns_from_history_and_predicts_from_now(config: dict[str, Any]) -> None:
    y = np.array([i // 10 % 2 for i in range(120)])
    model = Pipeline(
        [
            ("features", FeatureStoreTransformer(config, NUMBERS)),
            ("model", DecisionTreeClassifier(random_state=0)),
        ]
    )
    model.fit(entities(), y)
    assert model.score(entities(), y) > 0.9
    now = model.predict(pd.DataFrame({"hcp_id": ["hcp_0", "hcp_1", "hcp_2"]}))  # no times: as they are now
    assert now.tolist() == model.predict(entities([kit.NOW] * 3)).tolist()
    assert model[:-1].get_feature_names_out().tolist() == ["calls", "share", "active"]
    again = pickle.loads(pickle.dumps(model))
    assert again.predict(entities()).tolist() == model.predict(entities()).tolist()


def test_it_can_be_searched_over_and_stand_in_a_column_transformer(config: dict[str, Any]) -> None:
    y = np.array([i // 10 % 2 for i in range(120)])
    model = make_pipeline(FeatureStoreTransformer(config, ["hcp:calls"]), DecisionTreeClassifier(random_state=0))
    folds = PurgedTimeSeriesSplit(2, times="event_timestamp", horizon=timedelta(days=1))
    grid = {"featurestoretransformer__features": [["hcp:calls"], ["hcp:calls", "hcp:active"]]}
    searched = GridSearchCV(model, grid, cv=folds, error_score="raise").fit(entities(), y)
    assert searched.best_params_["featurestoretransformer__features"] in grid["featurestoretransformer__features"]
    columns = ColumnTransformer([("hcp", FeatureStoreTransformer(config, NUMBERS), ["hcp_id", "event_timestamp"])])
    columns.set_output(transform="pandas")
    assert list(columns.fit_transform(entities()).columns) == ["hcp__calls", "hcp__share", "hcp__active"]


# ---- scikit-learn's own checks ------------------------------------------------------------------------------


class OpenNumbered:
    """A store of what scikit-learn's checks ask about: rows that are known by whole numbers, all at one time."""

    def __repr__(self) -> str:
        return "open_numbered"  # the names of tests are made of it, and must be the same in every process

    def __call__(self) -> Any:
        fields = [fs.Field("x", fs.Float64), fs.Field("n", fs.Int64)]
        view = fs.FeatureView("numbered", entities=[fs.Entity("k", dtype=fs.Int64)], schema=fields)
        store = memory_store(view, clock=FakeClock(kit.NOW))
        keys = list(range(-40, 40))
        columns = {"k": keys, "event_timestamp": [kit.at(0)] * 80, "x": [k / 7 for k in keys], "n": keys}
        store.write("numbered", kit.table(columns))
        return store


class Numbered:
    """The entity rows of an array: each row's key is its first number, rounded down."""

    def __repr__(self) -> str:
        return "numbered"

    def __call__(self, X: Any) -> pa.Table:
        first = check_array(X, dtype="numeric", ensure_all_finite=False)[:, 0].astype(float)
        keys = [None if not np.isfinite(v) or abs(v) > 1e9 else int(np.floor(v)) for v in first]
        return pa.table(
            {"k": pa.array(keys, pa.int64()), "event_timestamp": pa.array([kit.at(60)] * len(keys), kit.STAMP)}
        )


@parametrize_with_checks(
    [
        FeatureStoreTransformer(OpenNumbered(), ["numbered:x", "numbered:n"], to_frame=Numbered()),
        FeatureStoreTransformer(OpenNumbered(), ["numbered:x"], to_frame=Numbered(), online=True),
    ],
    expected_failed_checks=lambda estimator: {},  # none
)
@pytest.mark.filterwarnings("ignore")
def test_scikit_learns_own_checks_of_an_estimator(estimator: Any, check: Any) -> None:
    check(estimator)


def test_where_scikit_learn_is_not_installed_the_error_says_how_to_get_it() -> None:
    code = (
        "import sys; sys.modules['sklearn'] = None\n"
        "import e2i_fs as fs\n"
        "try:\n    import e2i_fs.sklearn\nexcept fs.UnsupportedError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 'pip install "e2i-fs[sklearn]"' in done.stdout


def test_importing_it_needs_no_pandas_and_opens_no_store() -> None:
    code = (
        "import sys; sys.modules['pandas'] = None\n"
        "import e2i_fs.sklearn\nprint([m for m in ('duckdb', 'feast', 'polars') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_columns_stay_as_fitted_whatever_the_service_becomes() -> None:
    store = open_store()
    service = fs.FeatureService("svc", features=["hcp:calls", "hcp:share"])
    store.apply([service])
    frame = pd.DataFrame({"hcp_id": ["hcp_0", "hcp_1"], "event_timestamp": [kit.NOW] * 2})
    lookup = FeatureStoreTransformer(store, "svc").fit(frame)
    before = lookup.transform(frame)
    assert not np.isnan(before).any()
    store.apply([fs.FeatureService("svc", features=["hcp:active", "hcp:share", "hcp:calls"])])
    np.testing.assert_array_equal(lookup.transform(frame), before)
    store.apply([fs.FeatureService("svc", features=["hcp:share"])])
    with pytest.raises(fs.UnknownFeatureError, match="'calls' was there when this FeatureStoreTransformer was fitted"):
        lookup.transform(frame)
