"""Imported repositories answer as Feast itself does on the same rows; where Feast is wrong, the rule that says so."""

from __future__ import annotations

import contextlib
import math
import shutil
import warnings
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

import e2i_fs as fs
from e2i_fs.adoption.ends import ends_of
from e2i_fs.adoption.migrate import migrate
from e2i_fs.cli.app import run
from e2i_fs.cli.loading import load_definitions
from e2i_fs.plugins import Plugins
from e2i_fs.testing.clock import FakeClock
from tests.integration.feast_shapes import NOW, repository
from tests.once import once

CREDIT = [
    "zipcode_features:city", "zipcode_features:population", "zipcode_features:total_wages", "credit_history:credit_card_due",
    "credit_history:missed_payments", "burden:debt_ratio", "burden:high",
]  # fmt: skip
FRAUD = [
    "user_payments:payments_7d", "user_payments:mean_amount", "user_payments:is_new", "shop_facts:risk", "shop_facts:stars",
    "shop_facts:countries", "unusual:times_mean",
]  # fmt: skip
RIDES = ["driver_stats:conv_rate", "driver_stats:trips", "driver_stats:seen", "trip_stats:rides"]
SHAPES: dict[str, tuple[list[str], list[dict[str, Any]]]] = {
    "credit": (CREDIT, [
        {"zipcode": z, "dob_ssn": s, "income": 3000.0 + i, "asked": 100 * i}
        for i, (z, s) in enumerate(zip([94109, 10001, 60601, 94109, 1], ["19630621_4278", "19790429_9552", "19971130_7830", "19790429_9552", "none"], strict=True))
    ]),
    "fraud": (FRAUD, [{"user_id": u, "shop_id": s, "amount": 12.5 * (i + 1)} for i, (u, s) in enumerate([("u1", 1), ("u2", 3), ("u_3", 2), ("u1", 9), ("nobody", 1)])]),
    "rides": (RIDES, [{"driver_id": d, "customer_id": c} for d, c in [(1001, "c1"), (1001, "c2"), (1002, "c1"), (1002, "c2"), (7, "c1"), (1003, "c1")]]),
}  # fmt: skip
AGES = [timedelta(0), timedelta(hours=5), timedelta(hours=31), timedelta(days=3, hours=1), timedelta(days=45)]


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory, feast_library: Any) -> Path:
    """Repositories in the shapes of Feast's examples, applied and materialised by Feast, and their definitions written."""

    def make(folder: Path) -> None:
        for name in SHAPES:
            repository(name, folder / name)

    return once(tmp_path_factory, "feast_shapes", make)


@contextlib.contextmanager
def served(repo: Path, now: datetime = NOW) -> Iterator[fs.FeatureStore]:
    """Import the repository with the command, and serve what was written on the embedded backend."""
    assert run(["import-feast", str(repo), "--force"]) in (0, 1)
    config = {"backend": "duckdb", "path": str(repo / ".fs")}
    with contextlib.chdir(repo), fs.connect(config, clock=FakeClock(now)) as store:
        store.apply(load_definitions(Path("features.py")))
        store.materialize(None)
        yield store


@contextlib.contextmanager
def feast_store(repo: Path) -> Iterator[Any]:
    import feast

    with warnings.catch_warnings(), contextlib.chdir(repo):  # Feast takes relative paths from the working directory
        warnings.simplefilter("ignore")
        yield feast.FeatureStore(str(repo))


def same(ours: Any, theirs: Any) -> bool:
    """Compare a value with Feast's, which has NaN for missing numbers and floats for whole ones beside them (P-8)."""
    if hasattr(theirs, "tolist"):
        theirs = theirs.tolist()
    if ours is None or theirs is None or theirs is pd.NaT:
        return ours is None and (theirs is None or theirs is pd.NaT or theirs != theirs)
    if isinstance(ours, dict | list | str):
        return bool(ours == theirs)
    if isinstance(ours, datetime):
        return bool(pd.Timestamp(ours) == pd.Timestamp(theirs))
    return math.isclose(float(ours), float(theirs), rel_tol=1e-6)


def history(
    repo: Path, store: Any, refs: Sequence[str], rows: pd.DataFrame
) -> tuple[list[dict[str, Any]], dict[int, dict[str, Any]], Any]:
    """Return our rows, Feast's by row number, and our statuses."""
    result = store.get_historical_features(rows, list(refs))
    with feast_store(repo) as theirs:
        found = theirs.get_historical_features(rows, list(refs)).to_df()
    return result.to_arrow().to_pylist(), {row["n"]: row for row in found.to_dict("records")}, result.statuses


@pytest.mark.rule("P-1", "P-2", "P-4", "P-6", "P-7")
@pytest.mark.parametrize("name", SHAPES)
def test_history_is_feasts_own(shapes: Path, tmp_path: Path, name: str) -> None:
    repo = Path(shutil.copytree(shapes / name, tmp_path / name))
    refs, keys = SHAPES[name]
    asked = pd.DataFrame([{**key, "event_timestamp": NOW - age} for age in AGES for key in keys])
    asked["n"] = range(len(asked))
    with served(repo) as store:
        ours, theirs, _ = history(repo, store, refs, asked)
    assert len(ours) == len(theirs) == len(asked)
    columns = [ref.partition(":")[2] for ref in refs]
    differing = [
        (n, c, ours[n][c], theirs[n][c]) for n in theirs for c in columns if not same(ours[n][c], theirs[n][c])
    ]
    assert differing == []
    present = sum(ours[n][c] is not None for n in theirs for c in columns)
    assert 0 < present < len(asked) * len(columns)  # some found, some missing or too old: the comparison says something


@pytest.mark.rule("O-2", "O-3", "O-5", "O-6")
@pytest.mark.parametrize("name", SHAPES)
def test_online_is_feasts_own_but_for_rows_that_are_too_old(shapes: Path, tmp_path: Path, name: str) -> None:
    """Feast answers with rows older than their ttl (O-2): there, and only there, it differs."""
    repo = Path(shutil.copytree(shapes / name, tmp_path / name))
    refs, keys = SHAPES[name]
    with feast_store(repo) as store:
        theirs = store.get_online_features(features=list(refs), entity_rows=keys).to_dict()
    for later in (timedelta(0), timedelta(days=6, hours=20)):
        with served(repo, NOW + later) as ours:
            answer = ours.get_online_features(refs, keys)
        found = answer.to_dict()
        for ref in refs:
            column = ref.partition(":")[2]
            for n, status in enumerate(answer.statuses[ref]):
                if status is fs.FeatureStatus.OUTSIDE_MAX_AGE:
                    assert found[column][n] is None
                    assert later
                elif ref.startswith("burden:high") and theirs["debt_ratio"][n] is None:
                    assert found[column][n] == 0.0  # the function's own word, whatever was missing
                else:
                    assert same(found[column][n], theirs[column][n]), (ref, n, found[column][n], theirs[column][n])


def test_what_is_pushed_is_the_answer_of_both(shapes: Path, tmp_path: Path) -> None:
    repo = Path(shutil.copytree(shapes / "fraud", tmp_path / "fraud"))
    row = {"user_id": ["u1"], "payments_7d": [77], "mean_amount": [8.0], "is_new": [True]}
    refs = ["user_payments:payments_7d", "unusual:times_mean"]
    with served(repo) as store:
        pushed = pd.DataFrame({**row, "at": [NOW], "created": [NOW]}).astype({"mean_amount": "float32"})
        store.push("payments_push", pushed, to="online")
        ours = store.get_online_features(refs, [{"user_id": "u1", "amount": 16.0}]).to_dict()
        with feast_store(repo) as theirs:
            theirs.push("payments_push", pushed)
            found = theirs.get_online_features(features=refs, entity_rows=[{"user_id": "u1", "amount": 16.0}]).to_dict()
    assert ours == {"user_id": ["u1"], "amount": [16.0], "payments_7d": [77], "times_mean": [2.0]}
    assert {name: found[name] for name in ("payments_7d", "times_mean")} == {"payments_7d": [77], "times_mean": [2.0]}


@pytest.mark.rule("R-2")
def test_an_import_has_the_fingerprints_of_the_adopted_repository(
    shapes: Path, feast_templates: Path, open_feast: Any
) -> None:
    exchange = Plugins().exchange("feast")
    for repo in (*(shapes / name for name in SHAPES), feast_templates / "demo" / "feature_repo"):
        adopted = open_feast({"repo": str(repo)}).definitions()
        applied, written = (exchange.read(repo, origin=origin).catalog for origin in ("registry", "python"))
        assert set(applied.views) == set(adopted.views)
        assert {n: applied.fingerprint(n) for n in adopted.views} == {n: adopted.fingerprint(n) for n in adopted.views}
        assert set(adopted.services) <= set(applied.services)
        assert applied.to_json() == written.to_json()


@pytest.mark.rule("P-1", "P-2", "P-6")
def test_the_template_of_feast_init_answers_as_feast_does(feast_templates: Path, tmp_path: Path) -> None:
    """Feast's default offline store drops rows whose matches are all too old (P-6): those, and only those, are not compared."""
    repo = Path(shutil.copytree(feast_templates / "demo", tmp_path / "demo")) / "feature_repo"
    times = pq.read_table(repo / "data" / "driver_stats.parquet").column("event_timestamp").to_pylist()
    last = max(time.to_pydatetime() for time in times)
    refs = [
        "driver_hourly_stats:conv_rate", "driver_hourly_stats:acc_rate", "driver_hourly_stats:avg_daily_trips",
        "transformed_conv_rate:conv_rate_plus_val1", "transformed_conv_rate:conv_rate_plus_val2",
    ]  # fmt: skip
    asked = pd.DataFrame([
        {"driver_id": driver, "event_timestamp": last + timedelta(minutes=37 * step), "val_to_add": step + 100, "val_to_add_2": 7}
        for step in range(-40, 60, 9)
        for driver in (1001, 1003, 1005)
    ])  # fmt: skip
    asked["n"] = range(len(asked))
    columns = [ref.partition(":")[2] for ref in refs]
    with served(repo, last.astimezone(UTC)) as store:
        ours, theirs, statuses = history(repo, store, refs, asked)
        keys = [{"driver_id": driver, "val_to_add": 1000, "val_to_add_2": 2000} for driver in (1001, 1002, 1004)]
        online = store.get_online_features("driver_activity_v1", keys).to_dict()
    dropped = [n for n in range(len(asked)) if n not in theirs]
    assert all(statuses[refs[0]][n] is fs.FeatureStatus.OUTSIDE_MAX_AGE for n in dropped)
    assert [
        (n, c, ours[n][c], theirs[n][c]) for n in theirs for c in columns if not same(ours[n][c], theirs[n][c])
    ] == []
    assert len(theirs) > 20
    with feast_store(repo) as store:
        services = store.get_feature_service("driver_activity_v1")
        found = store.get_online_features(features=services, entity_rows=keys).to_dict()
    for column in ("conv_rate", "conv_rate_plus_val1", "conv_rate_plus_val2"):
        assert all(map(same, online[column], found[column])), (column, online[column], found[column])


def test_the_minimal_template_has_nothing_to_import(feast_library: Any, tmp_path: Path) -> None:
    template = Path(feast_library.__file__).parent / "templates" / "minimal" / "feature_repo"
    repo = Path(shutil.copytree(template, tmp_path / "minimal", ignore=shutil.ignore_patterns("__pycache__")))
    found = Plugins().exchange("feast").read(repo)
    assert (found.left, found.catalog.revision) == ((), fs.Catalog().revision)


@pytest.mark.rule("O-6", "X-10")
def test_a_feast_repository_is_migrated_and_both_answer_the_same(shapes: Path, tmp_path: Path) -> None:
    """Feast gives no rows away, so the target materialises the same files; rows that only Feast was pushed are missed, and told."""
    repo = Path(shutil.copytree(shapes / "fraud", tmp_path / "fraud"))
    feast_config = tmp_path / "feast.yaml"
    feast_config.write_text("backends: [{name: feast, backend: feast, repo: fraud}]\n", encoding="utf-8")
    (tmp_path / "new.yaml").write_text("backends: [{name: new, backend: duckdb, path: new}]\n", encoding="utf-8")
    ends = ends_of(str(feast_config), str(tmp_path / "new.yaml"), None, clock=FakeClock(NOW))
    done = migrate(ends)
    assert {moved.how for moved in done.views} == {"materialised"}
    assert (done.whole, done.diff.ok) == (True, True), done.diff
    with feast_store(repo) as store:
        row = {
            "user_id": ["u9"],
            "payments_7d": [77],
            "mean_amount": [8.0],
            "is_new": [True],
            "at": [NOW],
            "created": [NOW],
        }
        store.push("payments_push", pd.DataFrame(row).astype({"mean_amount": "float32"}))
    with ends.both() as both:
        found = both.get_online_features(["user_payments:payments_7d"], [{"user_id": "u9"}])
        assert found.to_dict()["payments_7d"] == [77]
        answer = both.diff("feast", "new", ["user_payments"])
    # Its keys are drawn from the files, for Feast does not say whom it has online: but how many it has.
    assert (answer.same, answer.conclusive) == (True, False)
    assert answer.views[0].why == "feast has 4 rows online, which it cannot list, and new 3"
