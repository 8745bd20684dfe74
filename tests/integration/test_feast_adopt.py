"""An existing Feast repository, here the template of `feast init`, served through e2i_fs as the contract says."""

from __future__ import annotations

import logging
import shutil
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import e2i_fs as fs
from e2i_fs.backend import OnlineRow
from e2i_fs.clock import to_us
from e2i_fs.errors import ConfigError
from e2i_fs.testing.clock import FakeClock
from e2i_fs.testing.oracle import Row, answer
from tests.integration.feast_words import ZONE, apply, remove, view

FIELDS = ["conv_rate", "acc_rate", "avg_daily_trips", "driver_metadata", "driver_config", "driver_profile"]
DRIVERS = [1001, 1002, 1003, 1004, 1005]


@pytest.fixture
def repo(feast_templates: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(feast_templates / "demo", tmp_path / "demo")) / "feature_repo"


@pytest.fixture
def options(repo: Path) -> dict[str, Any]:
    return {"repo": str(repo), "feast_time_zone": ZONE}


@pytest.fixture
def feast(open_feast: Any, options: Any) -> Any:
    return open_feast(options)


def source_rows(repo: Path) -> dict[int, list[Row]]:
    rows: dict[int, list[Row]] = {}
    for r in pq.read_table(repo / "data" / "driver_stats.parquet").to_pylist():
        event = r["event_timestamp"].to_pydatetime()
        rows.setdefault(r["driver_id"], []).append(
            Row((r["driver_id"],), event, r["created"].replace(tzinfo=UTC), tuple(r[f] for f in FIELDS))
        )
    return rows


def newest(repo: Path) -> datetime:
    return max(r.event for rows in source_rows(repo).values() for r in rows if r.event is not None)


def test_what_has_a_neutral_form_is_there_and_the_rest_is_reported(
    feast: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "e2i_fs.feast"):
        catalog = feast.definitions()
    assert set(catalog.views) == {"driver_hourly_stats", "driver_hourly_stats_fresh"}
    assert catalog.entities["driver"].keys == {"driver_id": fs.Int64}
    stats = catalog.views["driver_hourly_stats"]
    assert stats.ttl == timedelta(days=1)
    assert {f.name: f.dtype for f in stats.schema} == {
        "conv_rate": fs.Float32,
        "acc_rate": fs.Float32,
        "avg_daily_trips": fs.Int64,
        "driver_metadata": fs.Struct(vehicle_type=fs.String, rating=fs.String),
        "driver_config": fs.Json,
        "driver_profile": fs.Struct(name=fs.String, age=fs.String),
    }
    assert dict(catalog.push_sources()) == {"driver_stats_push_source": ("driver_hourly_stats_fresh",)}
    reported = "\n".join(feast.skipped)
    for name in (
        "on-demand feature view 'transformed_conv_rate'", "on-demand feature view 'transformed_conv_rate_fresh'",
        "label view 'driver_quality_labels'", "service 'driver_activity_v1': it needs 'transformed_conv_rate'",
        "service 'driver_activity_v2'", "service 'driver_activity_v3'",
    ):  # fmt: skip
        assert name in reported
        assert name in caplog.text


@pytest.mark.rule("P-1", "P-2", "P-4", "P-6")
@pytest.mark.parametrize("created", [False, True])
def test_history_equals_the_oracle(repo: Path, options: Any, created: bool) -> None:
    rows = source_rows(repo)
    last = newest(repo)
    asked = [(driver, last + timedelta(minutes=37 * i)) for i in range(-60, 60, 7) for driver in [*DRIVERS, 9]]
    asked += [
        (1001, datetime(2021, 4, 12, 7, tzinfo=UTC)),
        (1001, datetime(2021, 4, 13, 7, tzinfo=UTC)),
        (1001, datetime(2021, 4, 13, 7, 0, 0, 1, UTC)),
    ]
    with fs.connect({"backend": "feast", **options}, clock=FakeClock(last)) as store:
        types = [f.dtype for f in store.get_feature_view("driver_hourly_stats").schema]
        frame = [{"driver_id": d, "event_timestamp": t} for d, t in asked]
        import pyarrow as pa

        result = store.get_historical_features(
            pa.Table.from_pylist(frame), ["driver_hourly_stats:*"], filter_by_created_timestamp=created
        )
        found = result.to_arrow().to_pylist()
        for number, (driver, t) in enumerate(asked):
            right = answer(rows.get(driver, []), t, types, ttl=timedelta(days=1), filter_by_created=created)
            assert tuple(found[number][f] for f in FIELDS) == right.values
            assert tuple(result.statuses[f"driver_hourly_stats:{f}"][number].name for f in FIELDS) == right.statuses


@pytest.mark.rule("O-2", "O-3", "T-4")
@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata", ZONE])
def test_rows_that_feast_materialised_equal_the_oracle_in_any_time_zone(
    repo: Path, options: Any, zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, last = source_rows(repo), newest(repo)
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        for later in (timedelta(0), timedelta(days=1), timedelta(days=1, microseconds=1)):
            with fs.connect({"backend": "feast", **options}, clock=FakeClock(last + later)) as store:
                types = [f.dtype for f in store.get_feature_view("driver_hourly_stats").schema]
                refs = [f"driver_hourly_stats:{f}" for f in FIELDS]
                given = store.get_online_features(refs, [{"driver_id": d} for d in [*DRIVERS, 9]])
                for number, driver in enumerate([*DRIVERS, 9]):
                    right = answer(rows.get(driver, []), last + later, types, ttl=timedelta(days=1))
                    assert tuple(given.statuses[ref][number].name for ref in refs) == right.statuses
                    assert tuple(given.to_dict()[f][number] for f in FIELDS) == right.values
                    assert given.event_timestamps[refs[0]][number] == right.event
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.rule("F-1")
def test_the_position_of_what_feast_materialised_is_its_newest_event_time(feast: Any, repo: Path) -> None:
    assert feast.position("driver_hourly_stats") == (0, to_us(newest(repo)), len(DRIVERS))


def stats(event_us: int, trips: int) -> OnlineRow:
    values = dict.fromkeys(FIELDS) | {"avg_daily_trips": trips, "conv_rate": 0.5}
    return OnlineRow(event_us, None, values)


@pytest.mark.rule("O-1")
def test_rows_of_feast_and_of_e2i_fs_are_one_order(feast: Any, repo: Path) -> None:
    name, key, last = "driver_hourly_stats", (1001,), to_us(newest(repo))
    (theirs,) = feast.online_read(name, [key], at_us=last)
    assert feast.online_write(name, [key], [stats(last - 1, 1)], at_us=last + 3_600_000_000) == 0
    assert feast.online_read(name, [key], at_us=last) == [theirs]
    assert feast.online_write(name, [key], [stats(last + 1, 2)], at_us=last + 1) == 1
    assert feast.online_read(name, [key], at_us=last + 1) == [stats(last + 1, 2)]
    assert feast.online_read(name, [key], at_us=last) == [theirs]  # a read that began a moment ago still finds it
    assert feast.position(name) == (2, last + 1, len(DRIVERS))


@pytest.mark.rule("O-1", "T-4")
@pytest.mark.parametrize(("later", "trips"), [(60_000_000, 2), (-60_000_000, 2), (0, 3)])
def test_what_feast_writes_over_our_row_is_noticed_by_its_time_and_by_its_values(
    open_feast: Any, repo: Path, later: int, trips: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    import feast as real
    from e2i_fs_feast.keys import entity_key
    from e2i_fs_feast.protos import to_message

    from e2i_fs.clock import from_us

    feast = open_feast({"repo": str(repo), "feast_time_zone": "UTC"})
    name, key, now = "driver_hourly_stats", (1001,), to_us(newest(repo)) + 86_400_000_000
    monkeypatch.setenv("TZ", "UTC")  # Feast stores times as local ones
    time.tzset()
    try:
        feast.online_write(name, [key], [stats(now, 2)], at_us=now)
        found = feast.snapshot().views[name]
        values = stats(now, trips).values
        messages = {f.name: to_message(values[f.name], f.dtype) for f in found.view.schema}
        store = real.FeatureStore(str(repo))
        theirs = [(entity_key(found.join_keys, key), messages, from_us(now + later), None)]
        store._get_provider().online_write_batch(store.config, store.get_feature_view(name), theirs, None)
        assert feast.online_read(name, [key], at_us=now + 10**9) == [stats(now + later, trips)]
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.rule("R-1")
def test_applying_keeps_what_was_there_and_feast_reads_both(feast: Any, repo: Path) -> None:
    import feast as real

    before = feast.definitions()
    apply(
        feast,
        view("ours", entities=["driver"]),
        fs.FeatureService("svc", features=["ours:trips", "driver_hourly_stats:conv_rate"]),
    )
    store = real.FeatureStore(str(repo))
    assert {v.name for v in store.list_feature_views()} == {"driver_hourly_stats", "driver_hourly_stats_fresh", "ours"}
    assert {v.name for v in store.list_on_demand_feature_views()} == {
        "transformed_conv_rate",
        "transformed_conv_rate_fresh",
    }
    assert {s.name for s in store.list_feature_services()} == {
        "driver_activity_v1",
        "driver_activity_v2",
        "driver_activity_v3",
        "svc",
    }
    assert [v.name for v in store.registry.list_label_views("demo")] == ["driver_quality_labels"]
    kept = store.get_feature_view("driver_hourly_stats")
    assert "e2i_fs" not in kept.tags
    assert len(kept.materialization_intervals) == 1
    assert store.get_entity("driver").join_key == "driver_id"
    assert feast.definitions().views["driver_hourly_stats"] == before.views["driver_hourly_stats"]
    feast.online_write("ours", [(1,)], [OnlineRow(1, None, {"trips": 3})], at_us=1)
    assert feast.online_read("ours", [(1,)], at_us=1)[0].values == {"trips": 3}
    remove(feast, "svc")
    remove(feast, "ours")
    assert feast.definitions() == before


@pytest.mark.rule("R-1")
@pytest.mark.parametrize(
    "definition",
    [
        view("transformed_conv_rate", entities=["driver"]),
        view("driver_quality_labels", entities=["driver"]),
        fs.FeatureService("driver_activity_v1", features=["driver_hourly_stats:conv_rate"]),
    ],
    ids=lambda d: d.name,
)
def test_what_feast_has_and_we_cannot_serve_is_never_overwritten(feast: Any, repo: Path, definition: Any) -> None:
    content = (repo / "data" / "registry.db").read_bytes()
    with pytest.raises(fs.DefinitionError, match=f"'{definition.name}' of its own"):
        apply(feast, definition)
    assert (repo / "data" / "registry.db").read_bytes() == content


@pytest.mark.rule("R-4")
def test_a_view_that_feasts_own_objects_need_is_not_removed(feast: Any) -> None:
    with pytest.raises(fs.DefinitionError, match="still needs 'driver_hourly_stats'"):
        remove(feast, "driver_hourly_stats")
    assert "driver_hourly_stats" in feast.definitions().views


def test_changing_an_adopted_view_keeps_its_rows(feast: Any, repo: Path) -> None:
    from dataclasses import replace

    last = to_us(newest(repo))
    mine = feast.definitions().view("driver_hourly_stats")
    rows = feast.online_read(mine.name, [(d,) for d in DRIVERS], at_us=last)
    before = feast.definitions()
    after, plan = before.planned([replace(mine, ttl=timedelta(days=3))], before.bases[mine.name])
    assert plan.updated == ("view driver_hourly_stats",)
    assert feast.apply(after, expected=before.revision)
    assert feast.definitions().views[mine.name].ttl == timedelta(days=3)
    assert feast.online_read(mine.name, [(d,) for d in DRIVERS], at_us=last) == rows
    assert list(feast.scan(mine.name, ["conv_rate"]))[0].paths == (str(repo / "data" / "driver_stats.parquet"),)


def test_a_repository_that_was_never_applied_says_what_to_do(
    feast_templates: Path, tmp_path: Path, open_feast: Any
) -> None:
    repo = Path(shutil.copytree(feast_templates / "never_applied", tmp_path / "demo")) / "feature_repo"
    with pytest.raises(ConfigError, match="feast apply"):
        open_feast({"repo": str(repo)})


def test_a_folder_without_a_configuration_says_what_is_missing(tmp_path: Path, open_feast: Any) -> None:
    with pytest.raises(ConfigError, match=r"feature_store\.yaml"):
        open_feast({"repo": str(tmp_path)})


def test_options_that_belong_in_the_repositorys_own_file_are_refused(repo: Path, open_feast: Any) -> None:
    with pytest.raises(ConfigError, match=r"online_store belongs in .*feature_store\.yaml"):
        open_feast({"repo": str(repo), "online_store": {"type": "sqlite"}})
