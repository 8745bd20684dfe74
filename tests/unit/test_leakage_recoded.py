"""Columns that are one to one with the right answers: encodings of them, which nobody can judge, and days ahead, which are leaks."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import e2i_fs as fs
from e2i_fs.quality import LeakKind, Outcome, audit

START = datetime(2024, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
DAYS = 40
VALUES: dict[str, Callable[[int], Any]] = {
    "step": lambda day: 100 + day,
    "weekday": lambda day: (START + day * DAY).weekday(),
    "flag": lambda day: day % 2 == 1,
    "code": lambda day: f"{day % 5:03d}",
    "odd": lambda day: day * day % 7 in (1, 2, 5),
}
TYPES = {"step": fs.Int64, "weekday": fs.Int64, "flag": fs.Bool, "code": fs.String, "odd": fs.Bool}


@pytest.fixture(scope="module")
def store():
    with fs.connect({"backend": "memory"}, clock=lambda: START + 90 * DAY) as opened:
        opened.apply([fs.FeatureView("days", entities=[fs.Entity("k")], schema=[fs.Field(*f) for f in TYPES.items()])])
        rows = [
            {"k": k, "event_timestamp": START + day * DAY, **{n: value(day) for n, value in VALUES.items()}}
            for k in "ab" for day in range(DAYS)
        ]  # fmt: skip
        opened.write("days", rows, to="offline")
        yield opened


def _asked(name: str, make: Callable[[int], Any], *, keys: str = "a", hour: int = 5) -> list[dict[str, Any]]:
    return [
        {"k": k, "event_timestamp": START + day * DAY + timedelta(hours=hour), name: make(day)}
        for k in keys for day in range(DAYS - 1)
    ]  # fmt: skip


@pytest.mark.parametrize("hour", [0, 5])
@pytest.mark.parametrize("keys", ["a", "ab"])
@pytest.mark.parametrize("name", ["step", "weekday", "flag"])
@pytest.mark.rule("P-1", "P-10")
def test_what_rises_or_turns_with_the_days_joined_a_day_ahead_looks_ahead(
    store, name: str, keys: str, hour: int
) -> None:
    rows = _asked(name, lambda day: VALUES[name](day + 1), keys=keys, hour=hour)
    report = audit(rows, store, [f"days:{name}"])
    (found,) = report.findings
    assert (found.kind, found.cells, found.outcome) == (LeakKind.FUTURE_VALUE, len(rows), Outcome.FAILED)
    assert found.examples[0].event_timestamp == START + DAY


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("step", lambda day: 2 * (100 + day)),
        ("step", lambda day: 99 + day),  # counted from one less, or of the day before: no look ahead
        ("weekday", lambda day: 10 + (START + day * DAY).weekday()),
        (
            "weekday",
            lambda day: [3, 0, 6, 1, 2, 4, 5][(START + day * DAY).weekday()],
        ),  # other numbers for the same days
        ("odd", lambda day: day * day % 7 not in (1, 2, 5)),  # negated, and not in turn
    ],
)
def test_an_encoding_of_the_right_answers_is_no_look_ahead_and_not_judged(store, name: str, make) -> None:
    report = audit(_asked(name, make), store, [f"days:{name}"])
    (check,) = [c for c in report.checks if c.name == "point in time"]
    assert report.findings == ()
    assert (check.outcome, name in check.message) == (Outcome.INCONCLUSIVE, True)


@pytest.mark.parametrize("read", [int, float])
def test_codes_read_as_numbers_have_lost_their_type_and_are_not_passed(store, read: type) -> None:
    """pandas makes 7.0 of "007" where a column has gaps: no value from nowhere, and not sure to be the right one."""
    report = audit(_asked("code", lambda day: read(VALUES["code"](day))), store, ["days:code"])
    (check,) = [c for c in report.checks if c.name == "point in time"]
    assert report.findings == ()
    assert check.outcome is Outcome.INCONCLUSIVE
    assert "code: its type was lost, '000' of the store is the number 0" in check.message


@pytest.mark.rule("P-1")
def test_codes_read_as_numbers_still_show_a_day_ahead(store) -> None:
    rows = _asked("code", lambda day: float(VALUES["code"](day + (day % 3 == 0))))
    (found,) = audit(rows, store, ["days:code"]).findings
    assert (found.kind, found.cells) == (LeakKind.FUTURE_VALUE, DAYS // 3)
