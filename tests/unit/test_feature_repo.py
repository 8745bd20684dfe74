"""The E2I feature repository: its definitions say what the feature set says, and its data holds what it promises."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

import e2i_fs as fs
from e2i_fs.catalog import Catalog
from e2i_fs.values import arrow_type
from feature_repo import definitions
from feature_repo.generate import DEFAULT_UNTIL, OUTCOMES, SOURCES, Generated, generate
from feature_repo.materialisation import materialisation
from feature_repo.sources import sources

ROOT = Path(__file__).parents[2]
LABELS = {
    "patient_journey_features": {"is_churned"},
    "trigger_effectiveness_features": {"is_responded", "conversion_flag", "response_time_hours", "roi_estimate"},
    "trigger_response_features": {"is_responded", "conversion_flag", "response_time_hours"},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Generated:
    return generate(tmp_path_factory.mktemp("e2i"), scale=0.1)


@pytest.fixture(scope="module")
def catalog(data: Generated) -> Catalog:
    after, _ = Catalog().planned(definitions(data.folder), str(data.folder))
    return after


def rows(data: Generated, query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect() as connection:
        connection.execute(f"SET TimeZone='UTC'; SET file_search_path='{data.folder}'")
        return connection.execute(query).fetchall()


# ---- definitions ------------------------------------------------------------------------------------------


def test_there_are_nine_views_five_entities_and_a_service_for_each_use_case(catalog: Catalog) -> None:
    assert len(catalog.views) == 9
    assert set(catalog.entities) == {"hcp", "patient", "territory", "brand", "trigger"}
    assert set(catalog.services) == {"hcp_conversion", "churn_prediction", "trigger_effectiveness", "roi_prediction"}
    assert set(catalog.push_sources()) == {"hcp_engagement_push_source", "trigger_response_push_source"}


def test_a_composite_key_is_several_columns(catalog: Catalog) -> None:
    assert dict(catalog.join_keys("trigger_effectiveness_features")) == {
        "trigger_id": fs.String,
        "hcp_id": fs.String,
        "brand_id": fs.String,
    }


def test_ttl_and_staleness_are_those_of_the_feature_set(catalog: Catalog) -> None:
    told = {name: (view.ttl, view.max_staleness) for name, view in catalog.views.items()}
    day, hour = timedelta(days=1), timedelta(hours=1)
    assert told == {
        "hcp_conversion_features": (7 * day, 12 * hour),
        "hcp_profile_features": (30 * day, 24 * hour),
        "hcp_engagement_features": (1 * day, 24 * hour),
        "patient_journey_features": (7 * day, 24 * hour),
        "patient_adherence_features": (1 * day, 24 * hour),
        "trigger_effectiveness_features": (7 * day, 48 * hour),
        "trigger_response_features": (1 * day, 24 * hour),
        "market_dynamics_features": (7 * day, 168 * hour),
        "territory_performance_features": (1 * day, 24 * hour),
    }


def test_outcomes_are_labels_and_nothing_else_is(catalog: Catalog) -> None:
    labels = {n: {f.name for f in v.schema if f.role == "label"} for n, v in catalog.views.items()}
    assert {name: found for name, found in labels.items() if found} == LABELS


def test_no_service_lists_a_label_or_two_features_of_one_name(catalog: Catalog) -> None:
    """So that each can be a model's input as it stands (P-9, P-12)."""
    for service in catalog.services.values():
        names = []
        for ref in service.features:
            view, feature = ref.split(":")
            assert catalog.view(view).features[feature].role == "feature", ref
            names.append(feature)
        assert len(set(names)) == len(names), service.name


def test_every_view_has_the_five_tags(catalog: Catalog) -> None:
    for view in catalog.views.values():
        assert set(view.tags) == {"use_case", "owner", "criticality", "freshness_requirement", "pii_category"}
        assert view.max_staleness is not None
        assert view.tags["freshness_requirement"] == f"{view.max_staleness // timedelta(hours=1)}h"
        assert view.owner == view.tags["owner"]


def test_materialisation_has_the_numbers_of_the_feature_set() -> None:
    told = materialisation().model_dump(exclude_unset=True)
    assert told["schedule"] == {
        "incremental_every_hours": 6,
        "freshness_check_every_hours": 4,
        "full_cron": "0 2 * * sun",
        "timezone": "UTC",
        "fail_when_stale": True,
    }
    assert told["jobs"] == {"timeout_seconds": 300, "retries": 3, "retry_delay_seconds": 30, "retry_backoff": 1}
    assert told["full"] == {"lookback_days": 7, "max_days_per_job": 30, "batch_days": 1}
    assert told["recovery"] == {"max_attempts": 2}
    assert materialisation().incremental_every("hcp_conversion_features") == timedelta(hours=4)
    assert materialisation().incremental_every("hcp_profile_features") == timedelta(hours=6)


def test_relative_folders_stay_relative_so_that_a_checkout_can_move() -> None:
    assert sources("data").triggers.paths == (os.path.join("data", "triggers.parquet"),)


def test_the_package_works_under_any_name(tmp_path: Path) -> None:
    """In the wheel it lies inside the SDK; so nothing in it may name itself."""
    (tmp_path / "renamed").symlink_to(ROOT / "feature_repo")
    code = (
        "import sys; sys.path.insert(0, ''); from renamed import definitions; from renamed.generate import generate;"
        "generate('out', scale=0.05); print(len(definitions('out')), 'feature_repo' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["19", "False"], done.stderr


# ---- data -------------------------------------------------------------------------------------------------


def test_the_files_have_the_columns_and_types_of_the_views(data: Generated, catalog: Catalog) -> None:
    for name, view in catalog.views.items():
        source = view.source.batch_source if isinstance(view.source, fs.PushSource) else view.source
        assert isinstance(source, fs.ParquetSource)
        schema = pq.read_schema(source.paths[0])
        for field in view.schema:
            assert schema.field(field.name).type == arrow_type(field.dtype), (name, field.name)
        for key, dtype in catalog.join_keys(name).items():
            assert schema.field(key).type == arrow_type(dtype), (name, key)
        for column in ("event_timestamp", "created_at"):
            assert schema.field(column).type == arrow_type(fs.Timestamp)


def test_nothing_is_known_before_it_happens_or_after_the_end(data: Generated) -> None:
    for name in SOURCES:
        found = rows(
            data,
            f"""SELECT count_if(created_at <= event_timestamp), count_if(created_at > '{DEFAULT_UNTIL}'),
                       count_if(created_at IS NULL OR event_timestamp IS NULL) FROM '{name}.parquet'""",
        )
        assert found == [(0, 0, 0)], name


def test_it_spans_eighteen_months_up_to_the_end(data: Generated) -> None:
    first, last = rows(data, "SELECT min(event_timestamp), max(event_timestamp) FROM 'business_metrics.parquet'")[0]
    assert timedelta(days=540) < last - first <= timedelta(days=548)
    assert DEFAULT_UNTIL - last <= timedelta(days=1)


@pytest.mark.parametrize(
    ("name", "keys", "feature"),
    [
        ("business_metrics", "hcp_id, brand_id", "call_frequency"),
        ("hcp_profiles", "hcp_id", "digital_engagement_tier"),
        ("patient_journeys", "patient_id, brand_id", "adherence_rate"),
        ("territory_metrics", "territory_id", "resource_allocation_score"),
    ],
)
def test_there_are_late_rows_corrections_and_missing_values(
    data: Generated, name: str, keys: str, feature: str
) -> None:
    late, missing = rows(
        data,
        f"SELECT count_if(created_at - event_timestamp > INTERVAL 3 DAY), count_if({feature} IS NULL) FROM '{name}.parquet'",
    )[0]
    corrected = rows(
        data,
        f"""SELECT count(*) FROM (SELECT 1 FROM '{name}.parquet' GROUP BY {keys}, event_timestamp
            HAVING count(DISTINCT created_at) > 1 AND count(DISTINCT {feature}) > 1)""",
    )[0][0]
    assert late > 0
    assert missing > 0
    assert corrected > 0


def test_some_rows_tie_to_the_microsecond_and_some_are_repeated(data: Generated) -> None:
    ties, repeats = rows(
        data,
        """SELECT count_if(different > 1), count_if(different = 1) FROM (
             SELECT count(DISTINCT trx_count) AS different FROM 'business_metrics.parquet' WHERE trx_count IS NOT NULL
             GROUP BY hcp_id, brand_id, event_timestamp, created_at HAVING count(*) > 1)""",
    )[0]
    assert ties > 0
    assert repeats > 0


@pytest.mark.parametrize("separator", ["", "_"])
def test_ids_collide_when_joined_naively_and_mean_different_things(data: Generated, separator: str) -> None:
    collisions = rows(
        data,
        f"""SELECT count(*) FROM (SELECT hcp_id || '{separator}' || brand_id AS joined, event_timestamp
            FROM 'business_metrics.parquet' GROUP BY ALL
            HAVING count(DISTINCT (hcp_id, brand_id)) > 1 AND count(DISTINCT market_share) > 1)""",
    )[0][0]
    assert collisions > 50


def test_the_weekly_aggregate_is_published_and_restated_for_the_same_mondays(data: Generated) -> None:
    published, restated, weekdays = rows(
        data,
        """SELECT count_if(created_at - event_timestamp = INTERVAL 6 HOUR),
                  count_if(created_at - event_timestamp = INTERVAL 28 DAY),
                  list(DISTINCT dayofweek(event_timestamp)) FROM 'business_metrics_by_territory.parquet'""",
    )[0]
    assert published > restated > 0
    assert published + restated == data.rows["business_metrics_by_territory"]
    assert weekdays == [1]


def test_the_weekly_aggregate_is_the_sum_of_what_had_arrived_by_then(data: Generated) -> None:
    """Checked against the rows themselves, in weeks where no count is missing and no row ties or came again twice."""
    wrong, checked = rows(
        data,
        """WITH known AS (
             SELECT w.territory_id, w.brand_id, w.event_timestamp, w.created_at, w.trx_count, m.hcp_id,
                    m.event_timestamp AS day, arg_max(m.trx_count, m.created_at) AS trx,
                    bool_or(m.trx_count IS NULL) OR count(*) > count(DISTINCT m.created_at) AS unclear
             FROM 'business_metrics_by_territory.parquet' w JOIN 'business_metrics.parquet' m
               ON m.territory_id = w.territory_id AND m.brand_id = w.brand_id
              AND m.event_timestamp <= w.event_timestamp AND m.event_timestamp > w.event_timestamp - INTERVAL 7 DAY
              AND m.created_at <= w.created_at
             GROUP BY ALL),
           weeks AS (SELECT trx_count, sum(trx) AS trx, bool_or(unclear) AS unclear FROM known
                     GROUP BY territory_id, brand_id, event_timestamp, created_at, trx_count)
           SELECT count_if(trx <> trx_count), count(*) FROM weeks WHERE NOT unclear""",
    )[0]
    assert checked > 100
    assert wrong == 0


def test_outcomes_of_a_trigger_are_missing_until_they_are_known(data: Generated) -> None:
    sent, answered, concluded, impossible = rows(
        data,
        """SELECT count_if(is_responded IS NULL AND conversion_flag IS NULL),
                  count_if(is_responded IS NOT NULL AND conversion_flag IS NULL),
                  count_if(conversion_flag IS NOT NULL AND is_responded IS NOT NULL),
                  count_if(conversion_flag IS NOT NULL AND is_responded IS NULL) FROM 'triggers.parquet'""",
    )[0]
    assert sent > 0
    assert answered > 0
    assert concluded > 0
    assert impossible == 0


def test_conversion_can_be_learned_from_the_past_alone(data: Generated) -> None:
    """HCPs who converted had been more engaged before: that difference is what a model finds."""
    apart, share = rows(
        data,
        f"""SELECT avg(m.engagement_score) FILTER (converted) - avg(m.engagement_score) FILTER (NOT converted),
                   avg(converted::INT)
            FROM '{OUTCOMES}.parquet' o ASOF JOIN 'business_metrics.parquet' m
              ON o.hcp_id = m.hcp_id AND o.brand_id = m.brand_id AND o.event_timestamp >= m.event_timestamp""",
    )[0]
    assert apart > 0.1
    assert 0.15 < share < 0.45


def test_outcomes_are_asked_for_only_when_the_answer_is_known_by_the_end(data: Generated) -> None:
    assert pq.read_schema(data.outcomes).names == ["hcp_id", "brand_id", "event_timestamp", "converted"]
    last = rows(data, f"SELECT max(event_timestamp) FROM '{OUTCOMES}.parquet'")[0][0]
    assert last <= DEFAULT_UNTIL - timedelta(days=28)


# ---- determinism ------------------------------------------------------------------------------------------


def digest(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.glob("*.parquet"))}


def test_the_same_seed_and_scale_give_the_same_bytes_whatever_the_zone_and_hash_seed(
    data: Generated, tmp_path: Path
) -> None:
    """T-4."""
    env = {**os.environ, "TZ": "Asia/Kathmandu", "PYTHONHASHSEED": "4711"}
    command = [sys.executable, "-m", "feature_repo", str(tmp_path / "again"), "--scale", "0.1"]
    subprocess.run(command, env=env, check=True, cwd=ROOT, capture_output=True)
    assert digest(tmp_path / "again") == digest(data.folder)


def test_another_seed_gives_other_rows(data: Generated, tmp_path: Path) -> None:
    generate(tmp_path, scale=0.1, seed=8)
    assert not set(digest(tmp_path).values()) & set(digest(data.folder).values())


def test_another_end_moves_the_whole_period_and_a_naive_end_is_utc(tmp_path: Path) -> None:
    until = datetime(2020, 2, 3, 15, 30)  # noqa: DTZ001 - naive on purpose
    made = generate(tmp_path, scale=0.05, until=until)
    assert made.until == until.replace(tzinfo=UTC)
    last, known = rows(made, "SELECT max(event_timestamp), max(created_at) FROM 'business_metrics.parquet'")[0]
    assert last == datetime(2020, 2, 3, tzinfo=UTC)
    assert known <= made.until


def test_rows_grow_in_proportion_to_the_scale(data: Generated, tmp_path: Path) -> None:
    larger = generate(tmp_path, scale=0.4)
    assert 3 < larger.rows["business_metrics"] / data.rows["business_metrics"] < 5


@pytest.mark.parametrize("scale", [0, -1.0, float("nan")])
def test_a_scale_that_is_not_positive_is_refused(scale: float, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="positive number"):
        generate(tmp_path, scale=scale)
