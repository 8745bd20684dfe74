"""Finding features by words: what is found, in which order, what it says of itself, and what freshness it may claim."""

from __future__ import annotations

import json
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import e2i_fs as fs
from e2i_fs.catalog import Catalog
from e2i_fs.discovery import nearest_words, search
from e2i_fs.errors import BackendUnavailableError
from e2i_fs.matching import words
from e2i_fs.ops.freshness import FreshnessReport, FreshnessStatus
from feature_repo import definitions
from tests.kit import NOW, at


def discount(columns: Any) -> Any:
    return {"discounted": [None if p is None else p / 2 for p in columns["price"]]}


def catalog() -> Catalog:
    patient, hcp = fs.Entity("patient", join_keys=["patient_id"]), fs.Entity("hcp", join_keys=["hcp_id"])
    journey = fs.FeatureView(
        "patient_journey",
        entities=[patient],
        schema=[
            fs.Field("days_on_therapy", fs.Int64),
            fs.Field("is_churned", fs.Bool, role="label"),
            fs.Field("churn_risk_score", fs.Float32, description="How likely the patient leaves"),
        ],
        ttl=timedelta(days=7),
        max_staleness=timedelta(hours=24),
        tags={"use_case": "churn_prediction", "criticality": "high"},
        owner="patient-services",
        description="Where a patient is on a therapy",
    )
    visits = fs.FeatureView(
        "visits",
        entities=[hcp],
        schema=[fs.Field("trx_count", fs.Int64), fs.Field("price", fs.Float64)],
        source=fs.PushSource("visits_push"),
        owner="field",
    )
    archive = fs.FeatureView("archive", entities=[hcp], schema=[fs.Field("old_score", fs.Float32)], online=False)
    half = fs.on_demand_feature_view(
        "half_price", sources=["visits:price"], schema=[fs.Field("discounted", fs.Float64)], description="Half of it"
    )(discount)
    service = fs.FeatureService("churn", features=["patient_journey:*"], tags={"use_case": "retention"})
    return Catalog().planned([journey, visits, archive, half, service], "")[0]


def fresh(view: str) -> FreshnessReport:
    return FreshnessReport(view, FreshnessStatus.FRESH, timedelta(0), NOW, None, 1, NOW, "memory")


def refs(text: str = "", **more: Any) -> list[str]:
    return [f.ref for f in search(catalog(), text, freshness=fresh, **more)]


def test_names_count_for_more_than_descriptions_and_these_for_more_than_tags() -> None:
    assert refs("churn") == [
        "patient_journey:churn_risk_score",
        "patient_journey:is_churned",
        "patient_journey:days_on_therapy",
    ]
    assert refs("likely") == ["patient_journey:churn_risk_score"]
    assert (
        refs("patient_journey:days_on_therapy")[0] == "patient_journey:days_on_therapy"
    )  # a name asked for whole is first


@pytest.mark.parametrize(
    "text", ["TRX_COUNT", "trx count", "trxcount", "trx_cnt", "trxcnt", "Trx-Count", "coun trx", "tr_count"]
)
def test_case_underscores_beginnings_and_near_misses_find_the_feature_first(text: str) -> None:
    assert refs(text)[0] == "visits:trx_count"


def test_two_words_find_first_what_has_both() -> None:
    assert refs("risk patient")[0] == "patient_journey:churn_risk_score"
    assert refs("old zzzz") == ["archive:old_score"]  # a word that nothing has hides nothing


def test_a_word_that_is_known_is_not_taken_for_another() -> None:
    """`score` is in two names; nothing that is merely like it is found beside them."""
    assert refs("score") == ["archive:old_score", "patient_journey:churn_risk_score"]


def test_filters_are_equality_in_any_case_and_hold_together() -> None:
    assert set(refs(use_case="Churn_Prediction")) == {
        f"patient_journey:{f}" for f in ("days_on_therapy", "is_churned", "churn_risk_score")
    }
    assert set(refs(use_case="retention")) == set(refs(use_case="churn_prediction", role="feature"))  # of the service
    assert refs(entity="hcp", dtype="int64") == ["visits:trx_count"]
    assert refs(entity="hcp", dtype=fs.Int64, owner="FIELD") == ["visits:trx_count"]
    assert refs(tags={"criticality": "high"}, role="label") == ["patient_journey:is_churned"]
    assert refs(tags={"criticality": "high", "missing": "x"}) == []
    assert refs("churn", entity="hcp") == []


def test_an_on_demand_feature_is_found_with_the_keys_of_its_inputs() -> None:
    (found,) = search(catalog(), "discounted", freshness=fresh)
    assert (found.ref, found.source, found.entities) == ("half_price:discounted", "on demand", ("hcp",))
    assert found.join_keys == (("hcp_id", fs.String),)
    assert (found.freshness, found.freshness_note) == (FreshnessStatus.FRESH, "the worst of visits")


def test_what_is_found_says_everything_that_is_registered_of_it() -> None:
    (found,) = search(catalog(), "is_churned", freshness=fresh, limit=1)
    assert (found.role, found.dtype, found.entities, found.owner) == (
        "label",
        fs.Bool,
        ("patient",),
        "patient-services",
    )
    assert (found.ttl, found.max_staleness) == (timedelta(days=7), timedelta(hours=24))
    assert found.description == "Where a patient is on a therapy"  # the view's, where the field has none
    assert found.tags["criticality"] == "high" and found.online and found.source == "written"
    assert found.services == ()  # a wildcard of a service takes no label
    (score,) = search(catalog(), "churn_risk_score", freshness=fresh, limit=1)
    assert score.services == ("churn",)


def test_freshness_is_asked_once_of_each_view_in_the_answer_and_of_no_other() -> None:
    asked: list[str] = []

    def ask(view: str) -> FreshnessReport:
        asked.append(view)
        return fresh(view)

    search(catalog(), "churn", freshness=ask)
    assert asked == ["patient_journey"]


def test_a_view_whose_freshness_cannot_be_had_says_so_and_is_never_fresh() -> None:
    def away(view: str) -> FreshnessReport:
        raise BackendUnavailableError(f"{view}: connection refused")

    found = search(catalog(), "", freshness=away, limit=100)
    assert {f.freshness for f in found} == {FreshnessStatus.UNKNOWN}
    assert all(f.freshness_note for f in found)
    by_ref = {f.ref: f.freshness_note for f in found}
    assert by_ref["visits:price"] == "visits could not be asked: visits: connection refused"
    assert by_ref["archive:old_score"] == "archive is not online"


def test_a_defect_while_asking_for_freshness_is_not_swallowed() -> None:
    def broken(view: str) -> FreshnessReport:
        raise ZeroDivisionError(view)

    with pytest.raises(ZeroDivisionError):
        search(catalog(), "churn", freshness=broken)


def test_the_order_does_not_depend_on_the_order_of_definitions() -> None:
    full = catalog()
    made = [full.view(n) for n in full.views] + list(full.on_demand.values()) + list(full.services.values())
    wanted = [(f.ref, f.score) for f in search(full, "patient score price", freshness=fresh)]
    for seed in range(5):
        random.Random(seed).shuffle(made)
        again = Catalog().planned(made, "")[0]
        assert [(f.ref, f.score) for f in search(again, "patient score price", freshness=fresh)] == wanted


def test_nothing_found_is_an_empty_list_and_the_nearest_words_find_something() -> None:
    assert refs("zzzz qqqq") == []
    near = nearest_words(catalog(), "therapist", "retentoin")
    assert near and all(refs(word) for word in near)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"limit": 0}, "at least 1"),
        ({"limit": True}, "at least 1"),
        ({"role": "lable"}, "Did you mean 'label'"),
        ({"dtype": "int46"}, "Did you mean 'Int64'"),
        ({"text": 7}, "words as one text"),
    ],
)
def test_a_wrong_argument_says_what_is_taken(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises((fs.RequestError, fs.DefinitionError), match=says):
        search(catalog(), **{"freshness": fresh, **wrong})


@pytest.mark.parametrize("text", ["'; DROP TABLE x; --", "a\nb", "(((", "\\d+", "%", "\x00", "💊", "a" * 100_000])
def test_awkward_words_find_nothing_or_something_and_never_fail(text: str) -> None:
    refs(text)
    nearest_words(catalog(), text)


def test_words_are_split_at_underscores_and_folded() -> None:
    assert words("TRX_Count") == ["trx", "count", "trxcount"]
    assert words("Straße & Ärzte") == ["strasse", "ärzte"]


def test_the_store_and_the_awaited_store_find_the_same_with_the_freshness_of_now(tmp_path: Path) -> None:
    import anyio

    view = fs.FeatureView(
        "visits",
        entities=[fs.Entity("hcp_id")],
        schema=[fs.Field("trx_count", fs.Int64)],
        max_staleness=timedelta(hours=2),
    )
    config = {"backend": "duckdb", "path": str(tmp_path)}
    with fs.connect(config, clock=lambda: NOW) as store:
        store.apply([view])
        assert [f.freshness_note for f in store.search("trx")] == ["nothing of visits is online"]
        store.write("visits", [{"hcp_id": "h", "event_timestamp": at(630), "trx_count": 1}], to="both")
        found = store.search("trx")
        assert [(f.ref, f.freshness, f.freshness_note) for f in found] == [
            ("visits:trx_count", FreshnessStatus.WARNING, "")
        ]
        assert isinstance(store, fs.FeatureStore)

    async def awaited() -> list[Any]:
        async with fs.connect_async(config, clock=lambda: NOW) as other:
            assert (await other.catalog()).revision
            return await other.search("trx")

    assert anyio.run(awaited) == found


def test_the_e2i_features_are_found_by_the_words_of_their_users() -> None:
    catalog = Catalog().planned(definitions("data"), "")[0]
    found = search(catalog, "churn", use_case="churn_prediction", entity="patient", freshness=fresh)
    assert {f.view for f in found} == {"patient_journey_features", "patient_adherence_features"}
    assert found[0].feature == "churn_risk_score"
    assert [f.role for f in found if f.feature == "is_churned"] == ["label"]
    assert {f.ref for f in search(catalog, "roi", role="label", freshness=fresh)} == {
        "trigger_effectiveness_features:roi_estimate"
    }


def test_a_plan_can_be_held_to_what_it_was_made_against(tmp_path: Path) -> None:
    first = fs.FeatureView("one", entities=[fs.Entity("e")], schema=[fs.Field("x", fs.Int64)])
    second = fs.FeatureView("two", entities=["e"], schema=[fs.Field("x", fs.Int64)])
    with (
        fs.connect({"backend": "duckdb", "path": str(tmp_path)}) as store,
        fs.connect({"backend": "duckdb", "path": str(tmp_path)}) as other,
    ):
        planned_against = store.catalog().revision
        other.apply([first])
        for dry_run in (True, False):
            with pytest.raises(fs.StalePlanError, match="Plan again"):
                store.apply([first, second], expected=planned_against, dry_run=dry_run)
        assert [v.name for v in store.list_feature_views()] == ["one"]
        store.apply([second], expected=store.catalog().revision)
        assert [v.name for v in other.list_feature_views()] == ["one", "two"]


@pytest.mark.rule("R-1")
def test_of_plans_made_against_the_same_one_alone_is_carried_out_however_close_they_come(tmp_path: Path) -> None:
    config = {"backend": "duckdb", "path": str(tmp_path)}
    with fs.connect(config) as one, fs.connect(config) as two, ThreadPoolExecutor(2) as pool:
        one.apply([fs.Entity("e")])
        for round_ in range(10):
            expected, together = one.catalog().revision, threading.Barrier(2)

            def apply(store: Any, name: str, expected: str = expected, together: Any = together) -> bool:
                view = fs.FeatureView(name, entities=["e"], schema=[fs.Field("x", fs.Int64)])
                together.wait()
                try:
                    store.apply([view], expected=expected)
                except fs.StalePlanError:
                    return False
                return True

            done = [pool.submit(apply, store, f"v{round_}_{i}") for i, store in enumerate((one, two))]
            assert sorted(d.result() for d in done) == [False, True]
        assert len(one.list_feature_views()) == 10


def test_the_command_shows_what_is_found_and_the_nearest_words_when_nothing_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from e2i_fs.cli.app import run

    assert run(["init", str(tmp_path / "p")]) == 0
    monkeypatch.chdir(tmp_path / "p")
    assert run(["apply"]) == 0
    capsys.readouterr()
    assert run(["search", "converted"]) == 0
    said = capsys.readouterr().out
    assert "hcp_engagement:converted" in said and "label" in said and "UNKNOWN" in said
    assert run(["search", "engagment", "--entity", "hcp", "--json"]) == 0
    (first, *_) = json.loads(capsys.readouterr().out)["features"]
    assert first["ref"] == "hcp_engagement:engagement_score" and first["join_keys"] == {
        "hcp_id": "string",
        "brand_id": "string",
    }
    assert run(["search", "convrtd", "--owner", "nobody"]) == 0
    assert "Did you mean converted" in capsys.readouterr().out
    assert run(["search", "--tag", "criticality"]) == 2
    assert "key=value" in capsys.readouterr().err
