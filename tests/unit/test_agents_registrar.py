"""Registering a frame: everything or nothing, by an explicit gate, and every problem by its name."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import e2i_fs as fs
from e2i_fs.agents import FeatureRegistrar, FeatureSpec
from e2i_fs.errors import (
    BackendDataError,
    BreakingChangeError,
    ConfigError,
    DefinitionError,
    InvalidBatchError,
    LabelRequestedError,
    QualityGateBlockedError,
)
from e2i_fs.quality import QualityGate, in_range
from e2i_fs.testing import memory_store
from e2i_fs.testing.clock import FakeClock
from tests import agents_world as world
from tests import kit

FOUR = {
    "hcp_id": ["a", "b", "c", "d"],
    "event_timestamp": [kit.NOW - timedelta(hours=1)] * 4,
    "trx_count": [3, 5, 8, 13],
}
ONE_KEY = {"hcp": ["hcp_id"]}


def registrar(store: Any, clock: FakeClock, *args: Any, **more: Any) -> FeatureRegistrar:
    return FeatureRegistrar(store, *args, clock=clock, **more)


@pytest.fixture
def memory(clock: FakeClock) -> fs.FeatureStore:
    return memory_store(clock=clock)


@pytest.mark.rule("R-5")
def test_a_frame_is_registered_and_can_at_once_be_read_offline_and_online(store: Any, clock: FakeClock) -> None:
    done = registrar(store, clock, world.spec()).register(world.frame(days=5))
    assert (done.status, done.registered_views, done.rows) == ("completed", (world.VIEW,), 5 * world.HCPS)
    assert done.registered_features == tuple(world.REFS)
    assert done.registered_labels == (f"{world.VIEW}:converted",)
    assert done.plan is not None
    assert set(done.plan.created) == {"entity hcp", "entity brand", f"view {world.VIEW}"}
    assert done.read_back is not None
    assert (done.read_back.problems, done.read_back.offline) == ((), 20)
    assert 1 < done.read_back.online <= world.HCPS
    assert done.freshness[world.VIEW].age == timedelta(hours=1)
    assert done.registered_at == kit.NOW
    counts = world.newest_counts(world.frame(days=5))
    answer = store.get_online_features([f"{world.VIEW}:trx_count"], world.contexts(4)).to_dict()
    assert answer["trx_count"] == [counts[c["hcp_id"]] for c in world.contexts(4)]
    view = store.get_feature_view(world.VIEW)
    assert (view.owner, dict(view.tags)) == ("data_preparer", {"use_case": "hcp_conversion"})


@pytest.mark.rule("P-12")
def test_an_outcome_is_registered_as_a_label_and_is_never_served(memory: Any, clock: FakeClock) -> None:
    registrar(memory, clock, world.spec()).register(world.frame(days=2))
    with pytest.raises(LabelRequestedError):
        memory.get_online_features([f"{world.VIEW}:converted"], world.contexts(1))
    served = memory.get_online_features([f"{world.VIEW}:*"], world.contexts(1)).feature_names
    assert served == ["trx_count", "market_share", "channel"]


# ---- the gate ------------------------------------------------------------------------------------------------


def test_what_the_gate_refuses_is_not_registered_and_the_error_has_the_reasons(memory: Any, clock: FakeClock) -> None:
    strict = registrar(memory, clock, world.spec(), expectations=[in_range("trx_count", 0, 10)])
    with pytest.raises(QualityGateBlockedError, match="trx_count") as refused:
        strict.register(world.frame(days=2))
    assert refused.value.decision is not None
    assert not refused.value.decision.allowed
    assert world.registered(memory) == ([], [])


def test_a_refusal_is_a_status_when_that_was_chosen(memory: Any, clock: FakeClock) -> None:
    strict = registrar(memory, clock, world.spec(), expectations=[in_range("trx_count", 0, 10)], on_blocked="skip")
    made = strict.register(world.frame(days=2))
    assert (made.status, made.registered_views, made.registered_at) == ("skipped", (), None)
    assert made.decision is not None
    assert made.decision.reasons
    assert made.report is not None
    assert made.report.status == "failed"
    assert world.registered(memory) == ([], [])


def test_a_required_column_with_a_gap_blocks(memory: Any, clock: FakeClock) -> None:
    with pytest.raises(QualityGateBlockedError, match="market_share"):
        registrar(memory, clock, world.spec(required=["market_share"])).register(world.frame())
    assert world.registered(memory) == ([], [])


@pytest.mark.rule("F-1", "F-2")
def test_rows_that_are_stale_are_refused_at_the_gate_unless_their_age_is_not_asked(clock: FakeClock) -> None:
    old = world.frame(days=2, newest=kit.NOW - timedelta(hours=30))
    limited = world.spec(max_staleness=timedelta(hours=24))
    for options in ({}, {"max_staleness_hours": 20}):
        store = memory_store(clock=clock)
        with pytest.raises(QualityGateBlockedError, match="STALE"):
            registrar(store, clock, limited, **options).register(old)
        assert world.registered(store) == ([], [])
    for options in (
        {"freshness_check": False},
        {"max_staleness_hours": 72},
        {"gate": QualityGate(policy={"freshness": "warn"})},
    ):
        done = registrar(memory_store(clock=clock), clock, limited, **options).register(old)
        assert done.completed, options
    assert any("STALE" in warning for warning in done.warnings)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: QualityGate(policy={"freshnes": "block"}), "'freshness'"),
        (lambda: QualityGate(policy={"freshness": "blok"}), "'block'"),
        (lambda: FeatureRegistrar(memory_store(), on_blocked="rise"), "'raise'"),  # type: ignore[arg-type]
        (lambda: FeatureRegistrar(memory_store(), on_error="reprt"), "'report'"),  # type: ignore[arg-type]
        (lambda: FeatureRegistrar(memory_store(), keys={"fram": "rows"}), "'frame'"),
        (lambda: FeatureRegistrar(memory_store(), gate="closed"), "QualityGate"),  # type: ignore[arg-type]
        (lambda: FeatureRegistrar(memory_store(), max_staleness_hours=0), "above 0"),
        (lambda: FeatureRegistrar(object()), "connect"),  # type: ignore[arg-type]
    ],
)
def test_a_misspelt_policy_or_option_is_an_error_that_names_the_nearest(make: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        make()


# ---- what is inferred ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        (pa.array([1, 2, 3, 4], pa.int16()), fs.Int32),
        (pa.array([1, 2, 3, 4], pa.uint64()), fs.Int64),
        (pa.array([1.5, None, 2, 3], pa.float32()), fs.Float32),
        (pa.array([True, False, None, True]), fs.Bool),
        (pa.array(["x", "y", "x", "y"]).dictionary_encode(), fs.String),
        (pa.array([datetime(2024, 1, 1)] * 4), fs.Timestamp),
        (pa.array([[1], [2, 3], [], None]), fs.Array(fs.Int64)),
        (pa.array([[1, 2]] * 4, pa.list_(pa.float32(), 2)), fs.Vector(2)),
        (pa.array([{"a": 1}] * 4), fs.Struct(a=fs.Int64)),
        (pa.array([b"x"] * 4), fs.Bytes),
    ],
)
def test_types_are_inferred_from_the_columns_and_it_is_said_why(
    memory: Any, clock: FakeClock, values: pa.Array, dtype: fs.DType
) -> None:
    rows = kit.table(FOUR).append_column("extra", values)
    gate = QualityGate(min_score=0.5, policy={"inconclusive": "warn"})
    done = registrar(memory, clock, FeatureSpec("stats", entities=ONE_KEY), gate=gate).register(rows)
    assert memory.get_feature_view("stats").features["extra"].dtype == dtype
    said = {i.column: i for i in done.inferred}
    assert (said["extra"].role, said["extra"].dtype) == ("feature", dtype)
    assert said["extra"].why
    assert said["hcp_id"].role == "key"
    assert said["event_timestamp"].role == "event time"


def test_whole_numbers_with_gaps_from_pandas_are_pointed_out_and_can_be_said_to_be_counts(clock: FakeClock) -> None:
    rows = pd.DataFrame({**FOUR, "calls": [1, None, 2, 3]})
    done = registrar(memory_store(clock=clock), clock, FeatureSpec("stats", entities=ONE_KEY)).register(rows)
    assert any("'calls'" in w and "Int64" in w for w in done.warnings)
    store = memory_store(clock=clock)
    told = FeatureSpec("stats", entities=ONE_KEY, dtypes={"calls": fs.Int64})
    assert registrar(store, clock, told).register(rows).completed
    assert store.get_online_features(["stats:calls"], [{"hcp_id": "a"}]).to_dict()["calls"] == [1]


@pytest.mark.rule("T-1")
def test_times_of_mixed_zones_are_converted_to_the_same_instants(memory: Any, clock: FakeClock) -> None:
    zones = [UTC, timezone(timedelta(hours=5, minutes=30)), timezone(timedelta(hours=-8)), UTC]
    moment = kit.NOW - timedelta(hours=1)
    rows = {**FOUR, "event_timestamp": [moment.astimezone(zone) for zone in zones]}
    assert registrar(memory, clock, FeatureSpec("stats", entities=ONE_KEY)).register(rows).completed
    answer = memory.get_online_features(["stats:trx_count"], [{"hcp_id": k} for k in "abcd"])
    assert answer.event_timestamps["stats:trx_count"] == [moment] * 4


# ---- what is refused -----------------------------------------------------------------------------------------

NAIVE = [(kit.NOW - timedelta(hours=1)).replace(tzinfo=None)] * 4
REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "a column in which all is missing": ({"share": [None] * 4}, {}, r"'share': every one of its 4 values is missing"),
    "a typed column in which all is missing": ({"share": pa.nulls(4, pa.float64())}, {}, r"'share': every one of its 4"),
    "a column of mixed types": ({"trx_count": [1, "two", 3, 4]}, {}, r"'trx_count' mixes int and str"),
    "times with and without a zone": (
        {"event_timestamp": [FOUR["event_timestamp"][0], *NAIVE[:3]]}, {}, r"'event_timestamp' mixes 3 times without a zone and 1",
    ),
    "one time column with a zone and one without": (
        {"created_at": NAIVE}, {"created_column": "created_at"}, r"'event_timestamp' has a time zone and 'created_at' has none",
    ),
    "one id twice at one time": ({"hcp_id": ["a", "b", "a", "d"]}, {}, r"2 rows have hcp_id='a' at event_timestamp"),
    "a label that equals a feature": (
        {"bought": [3, 5, 8, 13]}, {"labels": ["bought"]}, r"'trx_count' equals the label 'bought' in all 4 rows",
    ),
    "a label of one class only": ({"bought": [True] * 4}, {"labels": ["bought"]}, r"'bought' is True in every row.*one class"),
    "a row of the future": (
        {"event_timestamp": [kit.NOW + timedelta(minutes=2)] * 4}, {}, r"row 0, column 'event_timestamp'.*after",
    ),
    "an entity without features": ({"trx_count": None}, {}, r"no features of 'hcp'"),
    "a key that is missing": ({"hcp_id": ["a", None, "c", "d"]}, {}, r"row 1, column 'hcp_id'.*join key is missing"),
    "a time that is missing": (
        {"event_timestamp": [None, *FOUR["event_timestamp"][1:]]}, {}, r"row 0, column 'event_timestamp'.*missing",
    ),
    "a key column that is not there": ({}, {"entities": {"hcp": ["hcp"]}}, r"'hcp' is missing.*'hcp_id'"),
    "a label that is not there": ({}, {"labels": ["trx_cont"]}, r"'trx_cont' is missing, named in labels.*'trx_count'"),
    "an entity that nobody registered": ({}, {"entities": ["hcp"]}, r"'hcp' is not registered"),
    "a key that cannot be compared exactly": ({"hcp_id": [1.5, 2.5, 3.5, 4.5]}, {}, r"'hcp_id' is Float64.*P-7"),
    "a type that stands for no dtype": ({"took": [timedelta(1)] * 4}, {}, r"'took': its Arrow type duration"),
    "a value that fits no Int64": ({"big": pa.array([2**63] * 4, pa.uint64())}, {}, r"'big': it holds 9223372036854775808"),
    "a feature that is no number of the dtype said": (
        {"trx_count": [1.5, 2, 3, 4]}, {"dtypes": {"trx_count": fs.Int64}}, r"row 0, column 'trx_count': 1.5 does not fit Int64",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused_by_name_and_nothing_is_registered(memory: Any, clock: FakeClock, case: str) -> None:
    columns, options, said = REFUSED[case]
    rows = {n: v for n, v in {**FOUR, **columns}.items() if v is not None}
    named = FeatureSpec("stats", **{"entities": ONE_KEY, **options})
    with pytest.raises(InvalidBatchError, match=said):
        registrar(memory, clock, named).register(rows)
    assert world.registered(memory) == ([], [])
    made = registrar(memory, clock, named, on_error="report").register(rows)
    assert made.status == "error"
    assert made.error is not None
    assert made.error.startswith("InvalidBatchError: ")
    assert world.registered(memory) == ([], [])


@pytest.mark.parametrize("form", ["text", "bool", "number"])
def test_a_label_in_disguise_is_found_whatever_form_it_has(memory: Any, clock: FakeClock, form: str) -> None:
    rows = world.frame(days=3)
    outcome = rows.column("converted").to_pylist()
    copy = {"text": ["yes" if o else "no" for o in outcome], "bool": outcome, "number": [int(o) for o in outcome]}[form]
    with pytest.raises(InvalidBatchError, match=r"'hint' .* the label 'converted'"):
        registrar(memory, clock, world.spec()).register(world.changed(rows, hint=copy))
    assert world.registered(memory) == ([], [])
    assert registrar(memory, clock, world.spec(ignore=["hint"])).register(world.changed(rows, hint=copy)).completed


@pytest.mark.parametrize("rows", [[], kit.table(FOUR).slice(0, 0), pd.DataFrame(FOUR).iloc[:0], {"hcp_id": []}])
def test_an_empty_frame_is_a_status_and_nothing_is_registered(memory: Any, clock: FakeClock, rows: Any) -> None:
    made = registrar(memory, clock, FeatureSpec("stats", entities=ONE_KEY)).register(rows)
    assert (made.status, made.rows) == ("empty", 0)
    assert made.report is not None
    assert made.report.status == "skipped"
    assert made.warnings == ("frame has no rows, so nothing was registered; find out why none arrived",)
    assert world.registered(memory) == ([], [])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"entities": {}}, "what the features are about"),
        ({"entities": {"hcp": []}}, "at least one column"),
        ({"entities": ONE_KEY, "labels": "bought"}, "list of column names"),
        ({"entities": ONE_KEY, "created_column": "event_timestamp"}, "both 'event_timestamp'"),
        ({"entities": ONE_KEY, "dtypes": {"x": "int"}}, "not a dtype"),
    ],
)
def test_metadata_that_cannot_mean_anything_is_a_definition_error(options: dict[str, Any], said: str) -> None:
    with pytest.raises(DefinitionError, match=said):
        FeatureSpec("stats", **options)


# ---- views that are there already ----------------------------------------------------------------------------


def test_registering_again_adds_rows_and_the_same_rows_twice_are_one_batch(memory: Any, clock: FakeClock) -> None:
    every = registrar(memory, clock, world.spec())
    rows = world.frame(days=4)
    first, again = every.register(rows.slice(0, 2 * world.HCPS)), every.register(rows)
    assert first.completed
    assert again.completed
    assert again.plan is not None
    assert not again.plan.changes
    before = memory.statistics(f"{world.VIEW}:trx_count").rows
    assert every.register(rows).completed
    assert memory.statistics(f"{world.VIEW}:trx_count").rows == before


@pytest.mark.rule("O-1")
def test_older_rows_of_a_view_do_not_overwrite_what_is_online_and_that_is_no_fault(
    memory: Any, clock: FakeClock
) -> None:
    every = registrar(memory, clock, world.spec())
    rows = world.frame(days=4)
    every.register(rows)
    older = world.changed(rows.slice(0, world.HCPS), trx_count=list(range(100, 100 + world.HCPS)), event_timestamp=None)
    older = older.append_column("event_timestamp", pa.array([kit.NOW - timedelta(days=30)] * world.HCPS, kit.STAMP))
    done = every.register(older)
    assert done.completed
    assert any("a newer row stands online" in warning for warning in done.warnings)
    answer = memory.get_online_features([f"{world.VIEW}:trx_count"], world.contexts(1)).to_dict()
    assert answer["trx_count"] == [world.newest_counts(rows)["hcp_00"]]


@pytest.mark.rule("F-1")
def test_a_backfill_into_a_view_that_is_fresh_is_fresh(memory: Any, clock: FakeClock) -> None:
    limited = world.spec(max_staleness=timedelta(hours=24))
    registrar(memory, clock, limited).register(world.frame(days=2))
    backfill = world.frame(days=2, newest=kit.NOW - timedelta(days=20))
    assert registrar(memory, clock, limited).register(backfill).completed
    with pytest.raises(QualityGateBlockedError, match="STALE|EXPIRED"):
        registrar(memory_store(clock=clock), clock, limited).register(backfill)


@pytest.mark.rule("R-4")
def test_a_breaking_change_is_refused_and_the_view_stays_as_it_was(memory: Any, clock: FakeClock) -> None:
    registrar(memory, clock, world.spec()).register(world.frame(days=2))
    before = memory.get_feature_view(world.VIEW)
    with pytest.raises(BreakingChangeError, match="channel") as refused:
        registrar(memory, clock, world.spec()).register(world.changed(world.frame(days=3), channel=None))
    assert "what was there before stays as it was" in "".join(refused.value.__notes__)
    assert memory.get_feature_view(world.VIEW) == before


def test_a_label_of_the_view_cannot_come_back_as_a_feature(memory: Any, clock: FakeClock) -> None:
    registrar(memory, clock, world.spec()).register(world.frame(days=2))
    with pytest.raises(InvalidBatchError, match=r"'converted' is registered as a label"):
        registrar(memory, clock, world.spec(labels=[])).register(world.frame(days=3))


# ---- sources -------------------------------------------------------------------------------------------------


@pytest.mark.rule("P-3")
def test_a_created_time_needs_a_push_source_which_is_made_and_said(memory: Any, clock: FakeClock) -> None:
    rows = {**FOUR, "created_at": [kit.NOW] * 4}
    named = FeatureSpec("stats", entities=ONE_KEY, created_column="created_at")
    done = registrar(memory, clock, named).register(rows)
    assert done.completed
    assert any("'stats_push_source'" in warning for warning in done.warnings)
    assert memory.get_feature_view("stats").created_column == "created_at"
    memory.push("stats_push_source", {**rows, "event_timestamp": [kit.NOW] * 4})


def test_corrections_of_one_time_are_told_apart_by_when_they_were_known(memory: Any, clock: FakeClock) -> None:
    twice = {
        "hcp_id": ["a", "a"], "event_timestamp": [kit.NOW - timedelta(hours=2)] * 2,
        "created_at": [kit.NOW - timedelta(hours=1), kit.NOW], "trx_count": [3, 4],
    }  # fmt: skip
    named = FeatureSpec("stats", entities=ONE_KEY, created_column="created_at")
    done = registrar(memory, clock, named).register(twice)
    assert done.completed
    assert memory.get_online_features(["stats:trx_count"], [{"hcp_id": "a"}]).to_dict()["trx_count"] == [4]


def test_rows_of_a_source_are_not_written_twice_and_a_frame_that_it_does_not_hold_is_refused(
    store: Any, clock: FakeClock, tmp_path: Path
) -> None:
    path = tmp_path / "stats.parquet"
    pq.write_table(kit.table(FOUR), path)
    named = FeatureSpec("stats", entities=ONE_KEY, source=fs.ParquetSource(str(path)))
    other = kit.table({**FOUR, "trx_count": [3, 5, 8, 14]})
    with pytest.raises(BackendDataError, match="written 14, read back 13"):
        registrar(store, clock, named).register(other)
    assert world.registered(store) == ([], [])
    assert registrar(store, clock, named).register(kit.table(FOUR)).completed
    assert store.statistics("stats:trx_count").rows == 4
    assert kit.online(store, "d", ref="stats:trx_count") == [(13, "PRESENT")]


@pytest.mark.rule("O-2")
def test_rows_beyond_the_ttl_are_registered_and_said_not_to_be_served(memory: Any, clock: FakeClock) -> None:
    old = {**FOUR, "event_timestamp": [kit.NOW - timedelta(days=2)] * 4}
    done = registrar(memory, clock, FeatureSpec("stats", entities=ONE_KEY, ttl=timedelta(days=1))).register(old)
    assert done.completed
    assert any("older than the ttl" in warning for warning in done.warnings)


@pytest.mark.rule("P-4")
def test_a_correction_that_a_tie_leaves_without_effect_is_counted_and_what_would_help_is_said(
    memory: Any, clock: FakeClock
) -> None:
    every = registrar(memory, clock, world.spec())
    rows = world.frame(days=4)
    every.register(rows)
    lower = world.changed(rows, trx_count=[-1] * len(rows))
    (told,) = [w for w in every.register(lower).warnings if "another row of the same time wins (P-4)" in w]
    assert "a created time on the view would let the later one win" in told
    assert re.search(r"written -1, read back \d+ .* \(and \d+ more\)$", told), told
