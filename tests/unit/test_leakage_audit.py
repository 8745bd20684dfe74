"""What an audit makes of odd questions, odd frames and its own defects, and how its report reads."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import e2i_fs as fs
from e2i_fs.cli.app import run
from e2i_fs.quality import LeakKind, Outcome, audit
from e2i_fs.quality.leakage import audit as module
from e2i_fs.telemetry.events import LeakageFound
from tests.leakage_world import FEATURES, KEYS, LABEL, World

BY = list(KEYS)


@pytest.fixture(scope="module")
def world() -> World:
    return World(seed=41, keys=12, asked_each=6)


@pytest.fixture(scope="module")
def store(world: World, tmp_path_factory: pytest.TempPathFactory):
    with world.store(tmp_path_factory.mktemp("audit")) as opened:
        yield opened


@pytest.fixture
def frame(world: World) -> pd.DataFrame:
    return world.frame().drop(columns=["amount", "label_at"])


@pytest.fixture
def bare(frame: pd.DataFrame) -> pd.DataFrame:
    """Keys, time and features: nothing to predict."""
    return frame.drop(columns="converted")


# ---- questions that cannot be understood ------------------------------------------------------------------


def test_an_empty_frame_is_an_error_that_says_so(store, frame) -> None:
    for given, said in ((frame.head(0), "training_frame has no rows"), (None, "training_frame is None; give")):
        with pytest.raises(fs.InvalidEntityFrameError, match=said):
            audit(given, store, FEATURES)
    timeless = frame.drop(columns="event_timestamp")
    with pytest.raises(fs.InvalidTimestampError, match="training_frame has no column 'event_timestamp'"):
        audit(timeless, store, FEATURES)


def test_a_misspelt_column_is_named_with_the_nearest(store, frame) -> None:
    with pytest.raises(fs.RequestError, match="no column 'engagement'.*Did you mean 'engagment'"):
        audit(frame.rename(columns={"engagement": "engagment"}), store, FEATURES)


@pytest.mark.parametrize("full", [True, False])
def test_columns_named_with_or_without_their_view_say_what_to_pass(store, frame, full: bool) -> None:
    renamed = frame if full else frame.rename(columns={f.split(":")[1]: f.replace(":", "__") for f in FEATURES})
    with pytest.raises(fs.RequestError, match=f"full_feature_names={not full}"):
        audit(renamed, store, FEATURES, full_feature_names=full)


def test_columns_named_with_their_view_are_audited_when_asked_so(store, bare) -> None:
    renamed = bare.rename(columns={f.split(":")[1]: f.replace(":", "__") for f in FEATURES})
    assert audit(renamed, store, FEATURES, full_feature_names=True).clean


def test_a_column_of_any_name_can_stand_for_a_feature(store, bare) -> None:
    renamed = bare.rename(columns={"trx": "prescriptions"})
    assert audit(renamed, store, FEATURES, columns={"visits:trx": "prescriptions"}).clean
    with pytest.raises(fs.RequestError, match="visits:tx.*Did you mean 'visits:trx'"):
        audit(renamed, store, FEATURES, columns={"visits:tx": "prescriptions"})


@pytest.mark.parametrize(
    ("change", "asked", "error", "says"),
    [
        ({"hcp": "hpc"}, {}, fs.InvalidEntityFrameError, "join key 'hcp'"),
        ({"event_timestamp": "when"}, {}, fs.InvalidTimestampError, "event_timestamp"),
        ({}, {"target": "convertd"}, fs.RequestError, "Did you mean 'converted'"),
        ({}, {"label_timestamp_column": "label_on"}, fs.RequestError, "label_on"),
        ({}, {"splits": "part"}, fs.RequestError, "no column 'part'"),
        ({}, {"splits": {"train": [0, 1], "test": [99_999]}}, fs.RequestError, "row 99999"),
        ({}, {"splits": {"train": ["a"]}}, fs.RequestError, "row numbers"),
        ({}, {"labels": ["conversions:convert"]}, fs.UnknownFeatureError, "conversions:converted"),
    ],
)
def test_a_part_of_the_question_that_is_not_there_is_named(store, frame, change, asked, error, says: str) -> None:
    with pytest.raises(error, match=says):
        audit(frame.rename(columns=change), store, FEATURES, **asked)


@pytest.mark.parametrize("features", [["visits:trxx"], ["visit:trx"], "no_service", ["trx"]])
def test_an_unknown_reference_is_an_error_of_the_store_s_own(store, frame, features) -> None:
    with pytest.raises(fs.UnknownFeatureError):
        audit(frame, store, features)


def test_a_key_column_of_another_type_is_an_error_rather_than_a_thousand_wrong_cells(store, frame) -> None:
    with pytest.raises(fs.InvalidEntityFrameError, match="join key 'hcp' is int64"):
        audit(frame.assign(hcp=1), store, FEATURES)


def test_a_store_that_is_closed_is_no_outcome_of_a_check(world, frame, tmp_path: Path) -> None:
    closed = world.store(tmp_path)
    closed.close()
    with pytest.raises(fs.BackendUnavailableError):
        audit(frame, closed, FEATURES)


# ---- what can be asked and not judged ---------------------------------------------------------------------


@pytest.mark.parametrize("target", [True, None, "each its own"])
def test_a_target_of_one_class_or_none_or_too_many_is_inconclusive(store, frame, target) -> None:
    values = (
        [f"v{i}" for i in range(len(frame))]
        if target == "each its own"
        else pd.Series([target] * len(frame), dtype=object)
    )
    report = audit(frame.assign(converted=values), store, FEATURES, target="converted")
    (check,) = [c for c in report.checks if c.name == "target in columns"]
    assert check.outcome is Outcome.INCONCLUSIVE
    assert "'converted'" in check.message
    assert not report.clean
    assert report.outcome is Outcome.INCONCLUSIVE


def test_a_column_that_is_all_missing_is_said_to_be_not_judged(store, frame) -> None:
    report = audit(frame.assign(blank=np.nan), store, FEATURES, target="converted")
    (check,) = [c for c in report.checks if c.name == "target in columns"]
    assert (check.outcome, "blank" in check.message) == (Outcome.INCONCLUSIVE, True)
    assert report.findings == ()


def test_a_feature_that_is_all_missing_lost_what_the_store_has(store, bare, world) -> None:
    report = audit(bare.assign(engagement=np.nan), store, FEATURES)
    (lost,) = report.findings
    assert (lost.kind, lost.outcome) == (LeakKind.LOST_VALUE, Outcome.WARNING)
    assert lost.cells == sum(a.values[1] is not None for a in world.answers)


@pytest.mark.parametrize("scaled", ["standardised", "logged", "turned"])
def test_a_scaled_feature_cannot_be_held_against_the_store(store, bare, scaled: str) -> None:
    x = bare["engagement"]
    bare["engagement"] = {"standardised": (x - x.mean()) / x.std(), "logged": np.exp(x), "turned": 5 - 2 * x}[scaled]
    report = audit(bare, store, FEATURES)
    (check,) = [c for c in report.checks if c.name == "point in time"]
    assert check.outcome is Outcome.INCONCLUSIVE
    assert "engagement" in check.message
    assert not report.clean


def test_what_was_not_asked_for_is_listed_and_counts_for_nothing(store, bare) -> None:
    report = audit(bare, store, FEATURES)
    assert report.clean
    assert set(report.not_asked) == {"target", "label values", "computed after the label", "splits"}


def test_a_check_that_raises_is_an_error_and_the_others_still_judge(store, bare, monkeypatch) -> None:
    def broken(*_: Any) -> Any:
        raise ZeroDivisionError("impossible")

    monkeypatch.setattr(module, "duplicate_rows", broken)
    report = audit(bare, store, FEATURES)
    (check,) = [c for c in report.checks if c.name == "duplicate rows"]
    assert (check.outcome, "ZeroDivisionError" in check.message) == (Outcome.ERROR, True)
    assert report.outcome.failed
    assert not report.clean
    assert [c.outcome for c in report.checks if c.name == "point in time"] == [Outcome.PASSED]


def test_a_label_equal_to_a_feature_is_a_copy(store, frame, world) -> None:
    frame["active"] = frame["converted"]
    report = audit(frame, store, FEATURES, target="converted")
    assert "active" in {f.feature for f in report.of_kind("TARGET_COPY")}


# ---- when a cell equals an answer ---------------------------------------------------------------------------

DAY = datetime(2024, 1, 2, tzinfo=UTC)
FIELDS = [
    fs.Field("whole", fs.Int64), fs.Field("single", fs.Float32), fs.Field("double", fs.Float64), fs.Field("truth", fs.Bool),
    fs.Field("text", fs.String), fs.Field("at", fs.Timestamp), fs.Field("on", fs.Date), fs.Field("exact", fs.Decimal(12, 2)),
    fs.Field("listed", fs.Array(fs.Int64)), fs.Field("fine", fs.Decimal(20, 12)), fs.Field("huge", fs.Decimal(38, 2)),
]  # fmt: skip
VALUES: dict[str, Any] = {
    "whole": 2**53 + 1, "single": 0.1, "double": 0.1, "truth": True, "text": "007", "at": DAY, "on": DAY.date(),
    "exact": Decimal("12.50"), "listed": [1, 2],
    "fine": Decimal("12.000000000001"), "huge": Decimal("1e31"),
}  # fmt: skip


@pytest.fixture(scope="module")
def typed():
    with fs.connect({"backend": "memory"}, clock=lambda: DAY + timedelta(days=30)) as opened:
        opened.apply([fs.FeatureView("typed", entities=[fs.Entity("k")], schema=FIELDS)])
        nothing = dict.fromkeys(VALUES)
        opened.write(
            "typed",
            [{"k": "a", "event_timestamp": DAY, **VALUES}, {"k": "b", "event_timestamp": DAY, **nothing}],
            to="offline",
        )
        yield opened


@pytest.mark.parametrize(
    ("name", "column", "same"),
    [
        ("whole", pa.array([2**53 + 1, None]), True),
        ("whole", pa.array([2**53, None]), False),
        ("whole", pa.array([float(2**53 + 1), float("nan")]), True),  # as pandas has it: a float, with NaN for a gap
        ("whole", pa.array([2**53 + 1, None], pa.uint64()), True),
        ("single", pa.array([0.1, None], pa.float32()), True),
        ("single", pa.array([float(np.float32(0.1)), None], pa.float64()), True),
        ("double", pa.array([0.1, float("nan")]), True),
        ("double", pa.array([0.1, None], pa.float32()), True),
        ("double", pa.array([0.1 + 1e-15, None]), False),
        ("truth", pa.array([1, None]), True),
        ("truth", pa.array([1.0, float("nan")]), True),
        ("truth", pa.array(["True", None]), True),
        ("truth", pa.array(["maybe", None]), False),
        ("truth", pa.array([False, None]), False),
        ("text", pa.array(["007", None]).dictionary_encode(), True),
        ("text", pa.array(["7", None]), False),
        ("text", pa.array([8, None]), False),
        ("at", pa.array([DAY, None], pa.timestamp("ns", "Asia/Kolkata")), True),
        ("at", pa.array([DAY.replace(tzinfo=None), None], pa.timestamp("ms")), True),
        ("at", pa.array(["2024-01-02T01:00:00+01:00", None]), True),
        ("at", pa.array([DAY + timedelta(hours=1), None], pa.timestamp("us", "UTC")), False),
        ("on", pa.array([DAY.replace(tzinfo=None), None], pa.timestamp("us")), True),
        ("on", pa.array([DAY.replace(hour=1, tzinfo=None), None], pa.timestamp("us")), False),
        ("exact", pa.array([Decimal("12.5"), None]), True),
        ("exact", pa.array([12.5, float("nan")]), True),
        ("exact", pa.array([Decimal("12.51"), None]), False),
        ("exact", pa.array([Decimal("12.501"), None]), False),
        ("exact", pa.array(["12.5", None]), True),
        ("exact", pa.array(["12.501", None]), False),
        ("exact", pa.array([Decimal("12.5"), None], pa.decimal256(50, 9)), True),
        ("fine", pa.array([Decimal("12.000000000001"), None]), True),
        ("fine", pa.array([Decimal("12.000000000002"), None]), False),
        ("fine", pa.array([Decimal("12.0000000000014"), None]), False),
        ("huge", pa.array([Decimal("1e31"), None], pa.decimal128(38, 2)), True),
        ("huge", pa.array([Decimal("1" + "0" * 31 + ".01"), None], pa.decimal128(38, 2)), False),
        ("whole", pa.array([Decimal(2**53 + 1), None]), True),
        ("whole", pa.array([Decimal(2**53 + 1) + Decimal("0.5"), None]), False),
        ("listed", pa.array([[1, 2], None]), True),
        ("listed", pa.array([[2, 1], None]), False),
        ("whole", pa.array([None, None]), False),
        ("whole", pa.array([2**53 + 1, 0]), False),
    ],
)  # fmt: skip
@pytest.mark.rule("P-8", "T-1")
def test_a_cell_equals_the_answer_whatever_a_tool_made_of_it_and_nothing_else_does(
    typed, name, column, same: bool
) -> None:
    frame = pa.table(
        {"k": ["a", "b"], "event_timestamp": pa.array([DAY, DAY], pa.timestamp("us", "UTC")), name: column}
    )
    report = audit(frame, typed, [f"typed:{name}"])
    assert (report.findings == ()) is same, report
    assert not [c for c in report.checks if c.outcome is Outcome.ERROR]


@pytest.mark.rule("T-1")
def test_times_of_mixed_zones_are_the_instants_that_they_are(typed) -> None:
    from datetime import timezone

    far = timezone(timedelta(hours=9))
    rows = [
        {"k": k, "event_timestamp": t, "text": v} for k, t, v in (("a", DAY.astimezone(far), "007"), ("b", DAY, None))
    ]
    assert audit(rows, typed, ["typed:text"]).clean


# ---- honesty where two rows have the value ------------------------------------------------------------------


def test_a_right_value_that_also_stands_in_a_later_row_is_right_and_a_wrong_one_that_lay_behind_too_is_no_look_ahead() -> (
    None
):
    with fs.connect({"backend": "memory"}, clock=lambda: DAY + timedelta(days=30)) as opened:
        opened.apply([fs.FeatureView("v", entities=[fs.Entity("k")], schema=[fs.Field("x", fs.Int64)])])
        days = [{"k": "a", "event_timestamp": DAY + timedelta(days=d), "x": x} for d, x in enumerate((5, 7, 5, 7, 9))]
        opened.write("v", days, to="offline")

        def found(x: int) -> list[tuple[str, Any]]:
            rows = [{"k": "a", "event_timestamp": DAY + timedelta(days=2, hours=1), "x": x}]
            report = audit(rows, opened, ["v:x"])
            return [(f.kind.value, f.examples[0].event_timestamp) for f in report.findings]

        assert found(5) == []
        assert found(7) == [("STALE_VALUE", DAY + timedelta(days=1))]
        assert found(9) == [("FUTURE_VALUE", DAY + timedelta(days=4))]
        assert found(8) == [("UNEXPLAINED", None)]


def test_the_store_is_asked_as_of_the_time_that_is_said(store, world, bare) -> None:
    """What became known after ``as_of`` did not exist: a bare that has it holds late values."""
    as_of = datetime(2024, 3, 1, tzinfo=UTC)
    report = audit(bare, store, FEATURES, as_of=as_of)
    late = world.answered(as_of=as_of)
    differ = sum(a.values[0] != b.values[0] for a, b in zip(late, world.answers))
    cells = report.wrong_cells.to_pandas()
    assert differ == (cells["feature"] == "visits:trx").sum() > 0
    assert "LATE_VALUE" in set(cells["kind"])


# ---- the report ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def leaking(world: World) -> pd.DataFrame:
    frame = world.frame().drop(columns=["amount", "label_at"])
    frame["trx"] = 1_000_000
    frame["<script>"] = ["yes" if y else "no" for y in world.converted]
    return frame


def test_a_report_is_json_and_one_page_without_scripts(store, leaking) -> None:
    report = audit(leaking, store, FEATURES, target="converted")
    document = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert document["outcome"] == "failed"
    assert {f["kind"] for f in document["findings"]} >= {"TARGET_COPY"}
    assert {c["name"] for c in document["checks"]} == {c.name for c in report.checks}
    page = report.to_html()
    assert page.startswith("<!doctype html>")
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "http" not in page
    assert len(page) < 60_000
    assert "visits:trx" in page
    assert "visits:trx" in str(report)


def test_all_wrong_cells_are_in_a_table_and_the_counts_are_theirs(store, leaking) -> None:
    report = audit(leaking, store, FEATURES)
    counted = report.wrong_cells.to_pandas().groupby(["feature", "kind"]).size().to_dict()
    assert counted == {(f.feature, f.kind.value): f.cells for f in report.findings if f.feature == "visits:trx"}
    text, number = pa.string(), pa.int64()
    assert dict(zip(report.wrong_cells.column_names, report.wrong_cells.schema.types, strict=True)) == {
        "row": number, "feature": text, "kind": text, "value": text, "answer": text, "event_us": number, "created_us": number,
    }  # fmt: skip
    assert set(report.wrong_cells.column("value").to_pylist()) == {"1000000"}


def test_observers_hear_of_each_view_with_wrong_cells(world, leaking, tmp_path, monkeypatch) -> None:
    with world.store(tmp_path) as opened:
        heard: list[Any] = []
        monkeypatch.setattr(opened, "emit", lambda make: heard.append(make(DAY)))
        report = audit(leaking, opened, FEATURES)
        audit(world.arrow(), opened, FEATURES)
    found = [e for e in heard if isinstance(e, LeakageFound)]
    assert found == [LeakageFound(DAY, "visits", report.wrong_cells.num_rows)]


def test_the_history_behind_an_answer_has_the_rows_that_may_not_be_seen(world, store) -> None:
    key, _ = world.asked[0]
    asked = pa.table(
        {"hcp": [key[0]], "brand": [key[1]], "event_timestamp": pa.array([DAY], pa.timestamp("us", "UTC"))}
    )
    result = store.get_historical_features(asked, FEATURES)
    own = [r for r in world.rows if r.key == key]
    history = result.history("visits")
    assert history.column_names == ["k0", "k1", "e", "c", "v0", "v1", "v2", "v3"]
    assert sorted(history.column("e").to_pylist()) == sorted(round(r.event.timestamp()) * 1_000_000 for r in own)
    assert len(result.history("visits", everyone=True)) == len(world.rows)


# ---- the command --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def project(world: World, leaking: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("command")
    world.store(folder, "duckdb").close()
    (folder / "e2i_fs.yaml").write_text("backends:\n  - {name: primary, backend: duckdb, path: store}\n")
    pq.write_table(world.arrow().drop_columns(["amount", "label_at"]), folder / "clean.parquet")
    world.frame().drop(columns=["amount", "label_at"]).to_csv(folder / "clean.csv", index=False)
    leaking.to_parquet(folder / "leaking.parquet")
    return folder


def _command(project: Path, capfd, *words: str) -> tuple[int, str, str]:
    capfd.readouterr()
    code = run(["--config", str(project / "e2i_fs.yaml"), "audit", *words])
    return code, *capfd.readouterr()


@pytest.mark.parametrize("file", ["clean.parquet", "clean.csv"])
def test_the_command_ends_with_zero_for_a_clean_frame(project, capfd, file: str) -> None:
    code, out, err = _command(
        project, capfd, str(project / file), "--features", ",".join(FEATURES), "--target", "converted"
    )
    assert code == 0, out + err
    assert "passed" in out


def test_the_command_ends_with_one_for_findings_and_writes_the_page(project, capfd, tmp_path) -> None:
    page = tmp_path / "audit.html"
    words = [
        str(project / "leaking.parquet"),
        *(w for f in FEATURES for w in ("-f", f)),
        "--target",
        "converted",
        "--json",
        "--html",
        str(page),
    ]
    code, out, _ = _command(project, capfd, *words)
    assert code == 1
    assert json.loads(out)["outcome"] == "failed"
    assert "TARGET_COPY" in page.read_text(encoding="utf-8")


def test_the_command_ends_with_one_when_a_check_cannot_judge_unless_allowed(project, capfd, world, tmp_path) -> None:
    one = world.frame().drop(columns=["amount", "label_at"]).assign(converted=True)
    one.to_parquet(tmp_path / "one.parquet")
    words = [str(tmp_path / "one.parquet"), "--features", ",".join(FEATURES), "--target", "converted"]
    assert _command(project, capfd, *words)[0] == 1
    assert _command(project, capfd, *words, "--allow-inconclusive")[0] == 0


@pytest.mark.parametrize(
    "words",
    [["nowhere.parquet", "-f", "visits:trx"], ["clean.parquet"], ["clean.parquet", "-f", "visits:trxx"],
     ["clean.parquet", "-f", "visits:trx", "--html", "no/such/folder/x.html"], ["clean.parquet", "-f", "visits:trx", "--target", "y"]],
)  # fmt: skip
def test_the_command_ends_with_two_for_a_mistake(project, capfd, words) -> None:
    code, _, err = _command(project, capfd, str(project / words[0]), *words[1:])
    assert code == 2
    assert "Error" in err


def test_labels_are_part_of_the_command_s_question(project, capfd) -> None:
    words = [str(project / "clean.parquet"), "--features", ",".join(FEATURES), "--label", LABEL, "--json", "--known"]
    code, out, _ = _command(project, capfd, *words)
    assert code == 0, out
    assert "label values" in {c["name"] for c in json.loads(out)["checks"]}
