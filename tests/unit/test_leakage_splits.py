"""What the audit says of splits that are odd: too few, of other keys, too near, of entities that nobody asked about."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import e2i_fs as fs
from e2i_fs.quality import LeakKind, Outcome, audit, audit_splits
from tests.leakage_world import FEATURES, KEYS, World

BY = list(KEYS)
DAY = datetime(2024, 1, 2, tzinfo=UTC)
US = timedelta(microseconds=1)


@pytest.fixture(scope="module")
def world() -> World:
    return World(seed=41, keys=12, asked_each=6)


@pytest.fixture
def frame(world: World) -> pd.DataFrame:
    return world.frame().drop(columns=["amount", "label_at"])


def test_splits_that_cannot_be_compared_are_not_passed(frame) -> None:
    assert audit_splits({"train": frame}, entity_keys=BY).outcome is Outcome.INCONCLUSIVE
    assert audit_splits({"train": frame, "test": frame.head(0)}, entity_keys=BY).outcome is Outcome.INCONCLUSIVE
    half = {"train": frame.iloc[:30], "test": frame.iloc[31:]}
    (check,) = [c for c in audit_splits(half).checks if c.name == "split entities"]
    assert check.outcome is Outcome.INCONCLUSIVE


def test_splits_by_entity_overlap_in_time_with_a_warning_unless_said_to_be_by_entity(frame) -> None:
    chosen = frame["hcp"].isin(sorted(frame["hcp"].unique())[:6])
    parts = {"train": frame[chosen], "test": frame[~chosen]}
    assert audit_splits(parts, entity_keys=BY).outcome is Outcome.WARNING
    assert audit_splits(parts, entity_keys=BY, isolate_entities=True).clean


def test_a_key_of_an_entity_that_is_not_asked_for_hides_no_overlap(world, frame, tmp_path: Path) -> None:
    """A trigger's id is another in every row: counted among the keys, no two splits would ever share an entity."""
    frame = frame.assign(trigger_id=[f"t{n}" for n in np.random.default_rng(1).permutation(len(frame))])
    frame = pd.concat([frame, frame.tail(1).assign(trigger_id="t-again")], ignore_index=True)
    trigger = fs.Entity("trigger", join_keys={"trigger_id": fs.String})
    outcome = fs.FeatureView("sent", entities=[trigger], schema=[fs.Field("opened", fs.Bool, role="label")])
    rows = {"train": range(1, len(frame), 2), "test": range(0, len(frame), 2)}
    with world.store(tmp_path) as opened:
        opened.apply([*world.definitions(tmp_path), outcome])
        report = audit(frame, opened, FEATURES, labels=["sent:opened"], target="converted", splits=rows)
    found = {f.kind for f in report.findings}
    assert {LeakKind.ENTITY_OVERLAP, LeakKind.ROW_IN_TWO_SPLITS} <= found
    assert LeakKind.DUPLICATE_ROWS not in found  # two triggers at one time are two rows


def test_keys_of_two_types_or_without_a_column_are_errors_that_say_which(frame) -> None:
    with pytest.raises(fs.InvalidEntityFrameError, match="types"):
        audit_splits({"train": frame, "test": frame.assign(hcp=1)}, entity_keys=["hcp"])
    with pytest.raises(fs.InvalidEntityFrameError, match="'test' has no key column 'hcp'"):
        audit_splits({"train": frame, "test": frame.drop(columns="hcp")}, entity_keys=["hcp"])
    with pytest.raises(fs.RequestError, match="mapping"):
        audit_splits([frame, frame])


@pytest.mark.parametrize("gap", [timedelta(days=7) - US, timedelta(days=7), timedelta(days=7) + US])
def test_a_gap_of_exactly_the_embargo_breaks_it_as_in_a_temporal_split(gap: timedelta) -> None:
    """A label known seven days on, to the microsecond, is known then (P-1: equal counts)."""
    parts = {name: [{"k": "a", "event_timestamp": t}] for name, t in (("train", DAY), ("test", DAY + gap))}
    report = audit_splits(parts, entity_keys=["k"], embargo=timedelta(days=7))
    assert bool(report.of_kind("EMBARGO_BROKEN")) is (gap <= timedelta(days=7))
    if gap == timedelta(days=7):
        assert "a row at exactly its end is still embargoed" in str(report)


def test_splits_of_other_entities_that_lie_in_one_time_have_no_embargo_between_them() -> None:
    parts = {
        name: [{"k": name, "event_timestamp": DAY + timedelta(days=d)} for d in range(at, 20, 2)]
        for at, name in enumerate(("train", "test"))
    }
    report = audit_splits(parts, entity_keys=["k"], embargo=timedelta(days=7), isolate_entities=True)
    (broken,) = report.of_kind("EMBARGO_BROKEN")
    assert broken.message.startswith("No time lies between 'train' and 'test'; the embargo is 7 days")
