"""Contexts with features before the model is called: nothing given is lost, nothing missing is made up, nothing is silent."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import e2i_fs as fs
from e2i_fs.agents import ContextEnricher
from e2i_fs.errors import (
    BackendDataError,
    BackendUnavailableError,
    ConfigError,
    InvalidEntityFrameError,
    LabelRequestedError,
    QualityGateBlockedError,
    UnknownFeatureError,
)
from e2i_fs.results import FeatureStatus
from e2i_fs.testing.clock import FakeClock
from e2i_fs.testing.faults import Faulty, fails
from tests import agents_world as world
from tests import kit

TRX, SEGMENT = "hcp_stats:trx_count", "hcp_stats:segment"


@pytest.fixture
def behind(clock: FakeClock) -> tuple[fs.FeatureStore, Faulty]:
    """A store with prescribers a (all there), b (a NULL) and c (beyond the ttl); d is unknown."""
    store, faults = world.faulty_store(clock)
    hcp = fs.Entity("hcp", join_keys=["hcp_id"])
    fields = [
        fs.Field("trx_count", fs.Int64),
        fs.Field("segment", fs.String),
        fs.Field("churned", fs.Bool, role="label"),
    ]
    store.apply(
        [
            fs.FeatureView(
                "hcp_stats", entities=[hcp], schema=fields, ttl=timedelta(days=7), max_staleness=timedelta(days=1)
            )
        ]
    )
    hour, month = kit.NOW - timedelta(hours=1), kit.NOW - timedelta(days=30)
    columns = {"hcp_id": ["a", "b", "c"], "event_timestamp": [hour, hour, month], "trx_count": [7, None, 9]}
    store.write("hcp_stats", kit.table({**columns, "segment": ["x", "y", "z"], "churned": [True, False, True]}))
    return store, faults


@pytest.fixture
def store(behind: Any) -> fs.FeatureStore:  # type: ignore[override]
    return behind[0]


@pytest.fixture
def faults(behind: Any) -> Faulty:
    script: Faulty = behind[1]
    return script


def enricher(store: Any, clock: FakeClock, features: Any = (TRX, SEGMENT), **more: Any) -> ContextEnricher:
    return ContextEnricher(store, list(features) if isinstance(features, tuple) else features, clock=clock, **more)


@pytest.mark.rule("O-5")
def test_contexts_come_back_lined_up_unknown_and_repeated_ones_too(store: Any, clock: FakeClock) -> None:
    asked = [{"hcp_id": k, "n": n} for n, k in enumerate(["a", "d", "b", "a"])]
    made = enricher(store, clock).enrich(asked)
    assert [(c["n"], c["trx_count"], c["segment"]) for c in made.contexts] == [
        (0, 7, "x"), (1, None, None), (2, None, "y"), (3, 7, "x"),
    ]  # fmt: skip
    assert made.statuses[TRX] == ["PRESENT", "NOT_FOUND", "NULL_VALUE", "PRESENT"]
    assert made.event_timestamps[TRX] == [kit.NOW - timedelta(hours=1), None, *[kit.NOW - timedelta(hours=1)] * 2]
    assert made.origins["trx_count"] == ["store", "missing", "missing", "store"]
    assert (made.fetched, made.degraded, made.served_by) == (True, False, "faulty")
    assert asked[0] == {"hcp_id": "a", "n": 0}  # what was given is not changed


@pytest.mark.rule("O-3")
@pytest.mark.parametrize("prefer", ["given", "store"])
@pytest.mark.parametrize(
    ("key", "status"),
    [("b", FeatureStatus.NULL_VALUE), ("c", FeatureStatus.OUTSIDE_MAX_AGE), ("d", FeatureStatus.NOT_FOUND)],
)
def test_a_missing_value_never_overwrites_a_given_one(
    store: Any, clock: FakeClock, prefer: Any, key: str, status: FeatureStatus
) -> None:
    made = enricher(store, clock, (TRX,), prefer=prefer).enrich({"hcp_id": key, "trx_count": 99})
    assert made.statuses[TRX] == [status]
    assert (made.context["trx_count"], made.origins["trx_count"], made.conflicts) == (99, ["given"], ())


def test_which_value_stands_is_the_callers_to_say_for_all_and_for_one_feature(store: Any, clock: FakeClock) -> None:
    given = {"hcp_id": "a", "trx_count": 99, "segment": "mine"}

    def merged(**options: Any) -> tuple[Any, Any]:
        context = enricher(store, clock, **options).enrich(given).context
        return context["trx_count"], context["segment"]

    assert merged() == (99, "mine")
    assert merged(prefer="store") == (7, "x")
    assert merged(prefer="store", overrides={"segment": "given"}) == (7, "mine")
    assert merged(overrides={"trx_count": "store"}) == (7, "mine")


def test_two_values_for_one_feature_are_told(store: Any, clock: FakeClock) -> None:
    made = enricher(store, clock).enrich(
        [{"hcp_id": "a", "trx_count": 7, "segment": "x"}, {"hcp_id": "a", "trx_count": 99}]
    )
    (conflict,) = made.conflicts
    assert (conflict.row, conflict.feature, conflict.given, conflict.stored, conflict.used) == (
        1,
        "trx_count",
        99,
        7,
        "given",
    )


def test_a_given_zero_or_false_is_a_value(store: Any, clock: FakeClock) -> None:
    asked = [{"hcp_id": "a", "trx_count": value} for value in (0, False)]
    assert [c["trx_count"] for c in enricher(store, clock, (TRX,)).enrich(asked).contexts] == [0, False]


NAN = float("nan")
MISSING: dict[str, Any] = {
    "None": [None],
    "NaN": [NAN],
    "NaT": [pd.NaT],
    "numpy's NaT": [np.datetime64("NaT")],
    "a decimal NaN": [Decimal("NaN")],
    "pandas' NA": [pd.NA],
    "pandas with a NaN": pd.DataFrame({"trx_count": [NAN]}),
    "pandas with an NA": pd.DataFrame({"trx_count": pd.array([None], "Int64")}),
    "polars with a NaN": pl.DataFrame({"trx_count": [NAN]}),
    "Arrow with a NaN": pa.table({"trx_count": [NAN]}),
}


@pytest.mark.parametrize("form", MISSING)
def test_what_is_given_and_missing_is_one_thing_in_every_form_and_hides_nothing(
    store: Any, clock: FakeClock, form: str
) -> None:
    def asked(key: str) -> Any:
        given = MISSING[form]
        if isinstance(given, list):
            return [{"hcp_id": key, "trx_count": given[0]}]
        if isinstance(given, pa.Table):
            return given.append_column("hcp_id", pa.array([key]))
        return given.assign(hcp_id=key) if isinstance(given, pd.DataFrame) else given.with_columns(hcp_id=pl.lit(key))

    found = [enricher(store, clock, (TRX,)).enrich(asked(key)) for key in ("a", "d")]
    assert [made.context["trx_count"] for made in found] == [7, None]
    assert [made.origins["trx_count"] for made in found] == [["store"], ["missing"]]
    assert [made.conflicts for made in found] == [(), ()]


def test_a_given_array_is_held_against_a_stored_list(store: Any, clock: FakeClock) -> None:
    store.apply([fs.FeatureView("vectors", entities=["hcp"], schema=[fs.Field("v", fs.Vector(2))])])
    store.write("vectors", [{"hcp_id": "a", "event_timestamp": kit.NOW, "v": [1.0, 2.0]}])
    asked = [{"hcp_id": "a", "v": np.array(values)} for values in ([1.0, 2.0], [1.0, 3.0])]
    assert [c.row for c in enricher(store, clock, ["vectors:v"]).enrich(asked).conflicts] == [1]


@pytest.mark.rule("P-7")
def test_a_key_of_another_type_is_in_the_warnings_and_points_at_the_callers_line(store: Any, clock: FakeClock) -> None:
    with pytest.warns(fs.KeyTypeWarning) as told:
        made = enricher(store, clock).enrich([{"hcp_id": "a"}, {"hcp_id": 7}, {"hcp_id": None}])
    assert {Path(warning.filename).name for warning in told} == {Path(__file__).name}
    (said,) = made.warnings
    assert said.startswith("Key column 'hcp_id' holds int, the join key is String: such a value matches nothing (P-7)")
    assert enricher(store, clock).enrich([{"hcp_id": "a"}, {"hcp_id": None}]).warnings == ()


@pytest.mark.rule("P-12")
@pytest.mark.parametrize("features", [["hcp_stats:churned"], ["hcp_stats:trx_count", "hcp_stats:churned"]])
def test_an_outcome_is_never_put_into_a_context(store: Any, clock: FakeClock, features: list[str]) -> None:
    with pytest.raises(LabelRequestedError):
        enricher(store, clock, features, on_unavailable="given").enrich({"hcp_id": "a"})
    assert set(enricher(store, clock, ["hcp_stats:*"]).enrich({"hcp_id": "a"}).context) == {
        "hcp_id",
        "trx_count",
        "segment",
    }


def test_one_context_a_list_and_a_frame_are_enriched_alike(store: Any, clock: FakeClock) -> None:
    one = enricher(store, clock)
    wanted = {"hcp_id": "a", "trx_count": 7, "segment": "x"}
    assert one.enrich({"hcp_id": "a"}).context == wanted
    assert one.enrich([{"hcp_id": "a"}]).contexts == (wanted,)
    assert one.enrich(pd.DataFrame({"hcp_id": ["a", "a"]})).contexts == (wanted, wanted)
    with pytest.raises(InvalidEntityFrameError, match="2 contexts"):
        _ = one.enrich([{"hcp_id": "a"}, {"hcp_id": "b"}]).context


@pytest.mark.rule("P-11")
def test_contexts_that_cannot_be_looked_up_are_named(store: Any, clock: FakeClock) -> None:
    with pytest.raises(InvalidEntityFrameError, match=r"Context 1 lacks 'hcp_id'.*'hcp_idd'"):
        enricher(store, clock, on_unavailable="given").enrich([{"hcp_id": "a"}, {"hcp_idd": "b"}])
    with pytest.raises(InvalidEntityFrameError, match=r"contexts is empty.*at least one context"):
        enricher(store, clock, on_unavailable="given").enrich([])
    for given, said in ((None, "contexts is None; give a mapping"), ([3], "contexts is a list whose item 0 is 3")):
        with pytest.raises(InvalidEntityFrameError, match=said):
            enricher(store, clock).enrich(given)


def test_a_mistake_is_raised_and_is_no_reason_to_go_on_without_features(store: Any, clock: FakeClock) -> None:
    with pytest.raises(UnknownFeatureError, match="'hcp_stats:trx_count'"):
        enricher(store, clock, ["hcp_stats:trx_cont"], on_unavailable="given").enrich({"hcp_id": "a"})
    with pytest.raises(ConfigError, match="'trx_count'"):
        enricher(store, clock, overrides={"trx_cont": "store"}).enrich({"hcp_id": "a"})


def test_features_of_a_service_and_on_demand_features_with_their_request_columns_are_fetched(
    store: Any, clock: FakeClock
) -> None:
    request = fs.RequestSource("visit", schema=[fs.Field("planned", fs.Int64)])

    @fs.on_demand_feature_view(sources=[TRX, request], schema=[fs.Field("load", fs.Int64)])
    def hcp_load(inputs: Any) -> Any:
        pairs = zip(inputs["trx_count"], inputs["planned"])
        return {"load": [None if t is None else t + p for t, p in pairs]}

    store.apply([hcp_load, fs.FeatureService("visits", features=[TRX, "hcp_load:load"])])
    made = enricher(store, clock, "visits").enrich({"hcp_id": "a", "planned": 3})
    assert (made.context["load"], set(made.freshness)) == (10, {"hcp_stats"})
    with pytest.raises(InvalidEntityFrameError, match="'planned'"):
        enricher(store, clock, "visits").enrich({"hcp_id": "a"})
    clock.advance(timedelta(hours=30))
    (old,) = enricher(store, clock, ["hcp_load:load"]).enrich({"hcp_id": "a", "planned": 3}).warnings[1:]
    assert old.startswith("view 'hcp_load' answers 1 of 1 contexts from rows older than 1 day")


# ---- how old -------------------------------------------------------------------------------------------------


@pytest.mark.rule("F-1", "F-2")
def test_stale_views_warn_block_or_are_not_asked_about(store: Any, clock: FakeClock) -> None:
    assert enricher(store, clock).enrich({"hcp_id": "a"}).warnings == ()
    assert enricher(store, clock).enrich({"hcp_id": "a"}).freshness["hcp_stats"].status == "FRESH"
    clock.advance(timedelta(hours=30))  # the view's own limit is a day
    made = enricher(store, clock).enrich({"hcp_id": "a"})
    assert made.context["trx_count"] == 7
    assert any("'hcp_stats' is STALE" in warning for warning in made.warnings)
    with pytest.raises(QualityGateBlockedError, match="'hcp_stats' is STALE"):
        enricher(store, clock, stale="block").enrich({"hcp_id": "a"})
    ignored = enricher(store, clock, stale="ignore").enrich({"hcp_id": "a"})
    assert (ignored.freshness, ignored.warnings) == ({}, ())


def test_the_hours_given_stand_in_for_the_views_own_limit(store: Any, clock: FakeClock) -> None:
    clock.advance(timedelta(hours=30))
    assert enricher(store, clock, stale="block", max_staleness_hours=80).enrich({"hcp_id": "a"}).fetched
    made = enricher(store, clock, max_staleness_hours=24).enrich([{"hcp_id": "a"}, {"hcp_id": "d"}])
    assert any("answers 1 of 2 contexts from rows older than 1 day" in warning for warning in made.warnings)


@pytest.mark.rule("F-2")
@pytest.mark.parametrize("hours", [None, 24])
def test_one_stale_entity_among_fresh_ones_is_named_and_blocked(store: Any, clock: FakeClock, hours: Any) -> None:
    two_days = kit.NOW - timedelta(days=2)
    row = {"hcp_id": "e", "event_timestamp": two_days, "trx_count": 5, "segment": "x", "churned": False}
    store.write("hcp_stats", [row])
    asked = [
        {"hcp_id": key} for key in ("a", "e", "c", "d")
    ]  # c is beyond the ttl, d unknown: nothing is served of them
    made = enricher(store, clock, max_staleness_hours=hours).enrich(asked)
    (said,) = made.warnings
    assert said.startswith("view 'hcp_stats' answers 1 of 4 contexts from rows older than 1 day, 0:00:00: ")
    assert said.endswith(": context 1 (hcp_id='e'), 2 days, 0:00:00 old")
    blocks = enricher(store, clock, stale="block", max_staleness_hours=hours)
    with pytest.raises(QualityGateBlockedError, match=r"context 1 \(hcp_id='e'\), 2 days"):
        blocks.enrich(asked)
    assert blocks.enrich([asked[0], *asked[2:]]).warnings == ()
    assert enricher(store, clock, stale="ignore", max_staleness_hours=hours).enrich(asked).warnings == ()


@pytest.mark.rule("F-2")
def test_a_view_of_which_nothing_is_online_is_not_fresh(store: Any, clock: FakeClock) -> None:
    store.apply([fs.FeatureView("other", entities=["hcp"], schema=[fs.Field("x", fs.Int64)])])
    with pytest.raises(QualityGateBlockedError, match="UNKNOWN"):
        enricher(store, clock, ["other:x"], stale="block").enrich({"hcp_id": "a"})


@pytest.mark.rule("F-2")
def test_a_freshness_that_cannot_be_checked_counts_as_stale(store: Any, faults: Faulty, clock: FakeClock) -> None:
    faults.put(fails(), "position", skip=1, times=1)  # the first is a part of the read
    made = enricher(store, clock).enrich({"hcp_id": "a"})
    assert made.context["trx_count"] == 7
    assert any("could not be checked: BackendUnavailableError" in warning for warning in made.warnings)
    faults.put(fails(), "position", skip=1, times=1)
    with pytest.raises(QualityGateBlockedError, match="could not be checked"):
        enricher(store, clock, stale="block").enrich({"hcp_id": "a"})


# ---- when nobody answers -------------------------------------------------------------------------------------


def test_a_store_that_is_away_is_an_error_unless_chosen_otherwise_and_then_it_is_said(
    store: Any, faults: Faulty, clock: FakeClock
) -> None:
    faults.put(fails())
    with pytest.raises(BackendUnavailableError):
        enricher(store, clock).enrich({"hcp_id": "a"})
    made = enricher(store, clock, on_unavailable="given").enrich({"hcp_id": "a", "trx_count": 99})
    assert (made.fetched, made.degraded, made.served_by, made.provenance) == (False, True, None, None)
    assert made.reason is not None
    assert made.reason.startswith("nothing was fetched, the contexts are as they were given: BackendUnavailableError")
    assert made.warnings == (made.reason,)
    assert made.context == {"hcp_id": "a", "trx_count": 99}  # no empty or zero feature is made up


@pytest.mark.parametrize("error", [lambda: BackendDataError("rotten"), lambda: AttributeError("no such method")])
def test_what_is_no_unavailability_is_raised_whatever_was_chosen(
    store: Any, faults: Faulty, clock: FakeClock, error: Any
) -> None:
    faults.put(fails(error), "online_read")
    with pytest.raises(type(error())):
        enricher(store, clock, on_unavailable="given").enrich({"hcp_id": "a"})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"prefer": "stor"}, "'store'"),
        ({"overrides": {"trx_count": "givn"}}, "'given'"),
        ({"stale": "blok"}, "'block'"),
        ({"on_unavailable": "rais"}, "'raise'"),
        ({"max_staleness_hours": -1}, "above 0"),
        ({"keys": {"context": "x"}}, "'contexts'"),
    ],
)
def test_a_misspelt_option_names_the_nearest(store: Any, clock: FakeClock, options: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        enricher(store, clock, **options)
