"""Cron lines: read as crontab(5) says, refused with the field that is wrong, and true to clocks that are put forward and back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from e2i_fs.ops.cron import parse_cron

ZURICH = ZoneInfo("Europe/Zurich")
MINUTE = timedelta(minutes=1)


def times(line: str, start: str, count: int, zone=ZURICH) -> list[str]:
    """Return the next times of a line, as the clocks of the zone show them, with their offset."""
    moment, cron, found = datetime.fromisoformat(start).replace(tzinfo=zone), parse_cron(line), []
    for _ in range(count):
        moment = cron.next_after(moment, zone)
        found.append(moment.astimezone(zone).strftime("%d %H:%M%z"))
    return found


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("0 6 * *", "has 4 fields and not five"),
        ("0 0 6 * * *", "has 6 fields and not five"),
        ("@daily", "has 1 field and not five"),
        ("", "has 0 fields and not five"),
        ("60 * * * *", "the minute is '60'; give 0 to 59"),
        ("-1 * * * *", "the minute is '-1'"),
        ("0 25 * * *", "the hour is '25'; give 0 to 23"),
        ("0 0 0 * *", "the day of month is '0'; give 1 to 31"),
        ("0 0 * 13 *", r"the month is '13'; give 1 to 12 \(or jan to dec\)"),
        ("0 0 * * 8", r"the day of week is '8'; give 0 to 7 \(or sun to sat\)"),
        ("0 0 * * fry", "the day of week is 'fry'"),
        ("0 0 * * 5-2", "ends before it begins"),
        ("5/10 * * * *", "has a step without a range; give '5-59/10'"),
        ("*/0 * * * *", "has the step '0'; give a whole number from 1"),
        ("*/x * * * *", "has the step 'x'"),
        ("1,,2 * * * *", "the minute is ''"),
        ("٣ * * * *", "the minute is '٣'"),
        ("0 0 L * *", "the day of month is 'L'"),
        ("0 0 30 2 *", "never comes"),
        ("0 0 31 4,6,9,11 *", "never comes"),
    ],
)
def test_a_misspelt_line_is_refused_with_what_is_wrong(line: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_cron(line)


def test_a_day_of_the_month_or_of_the_week_will_do_when_both_are_given() -> None:
    assert times("0 0 13 * fri", "2024-09-01", 4) == [
        "06 00:00+0200",
        "13 00:00+0200",
        "20 00:00+0200",
        "27 00:00+0200",
    ]
    assert times("0 0 */2 * mon", "2024-09-01T01:00", 3) == [
        "09 00:00+0200",
        "23 00:00+0200",
        "07 00:00+0200",
    ]  # crontab(5): both


def test_sunday_is_0_and_7_and_names_are_read_in_any_case() -> None:
    assert parse_cron("0 0 * * 7").weekdays == parse_cron("0 0 * * 0").weekdays == parse_cron("0 0 * * SUN").weekdays
    assert parse_cron("0 0 * Jan-MAR *").months == {1, 2, 3}
    assert parse_cron("0 0 * * 5-7").weekdays == {5, 6, 0}


def test_29_february_comes_once_in_four_years() -> None:
    assert parse_cron("0 0 29 2 *").next_after(datetime(2096, 3, 1, tzinfo=UTC), UTC) == datetime(
        2104, 2, 29, tzinfo=UTC
    )


def test_a_time_that_is_skipped_comes_when_the_clocks_are_put_forward_and_only_once() -> None:
    assert times("30 2 * * *", "2024-03-30T00:00", 3) == ["30 02:30+0100", "31 03:00+0200", "01 02:30+0200"]
    assert times("*/20 2 * * *", "2024-03-30T03:00", 2) == ["31 03:00+0200", "01 02:00+0200"]
    assert times("0 0 * * *", "2018-11-03T12:00", 2, ZoneInfo("America/Sao_Paulo")) == [
        "04 01:00-0200",
        "05 00:00-0200",
    ]


def test_a_time_that_comes_twice_when_the_clocks_are_put_back_is_taken_once() -> None:
    assert times("30 2 * * *", "2024-10-26T12:00", 2) == ["27 02:30+0200", "28 02:30+0100"]


def test_what_comes_every_hour_comes_every_hour_whatever_the_clocks_do() -> None:
    assert times("0 * * * *", "2024-10-27T00:30", 5) == [
        "27 01:00+0200", "27 02:00+0200", "27 02:00+0100", "27 03:00+0100", "27 04:00+0100",
    ]  # fmt: skip
    assert times("0 * * * *", "2024-03-31T00:30", 3) == ["31 01:00+0100", "31 03:00+0200", "31 04:00+0200"]
    lord_howe = ZoneInfo("Australia/Lord_Howe")  # puts its clocks back by half an hour
    assert times("0,30 * * * *", "2024-04-07T01:00", 4, lord_howe) == [
        "07 01:30+1100", "07 01:30+1030", "07 02:00+1030", "07 02:30+1030",
    ]  # fmt: skip


def _field(low: int, high: int) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    pair = st.tuples(number, number).map(sorted)
    step = st.integers(1, high)
    part = st.one_of(
        number.map(str), pair.map(lambda p: f"{p[0]}-{p[1]}"), step.map(lambda n: f"*/{n}"), st.just("*"),
        st.tuples(pair, step).map(lambda p: f"{p[0][0]}-{p[0][1]}/{p[1]}"),
    )  # fmt: skip
    return st.lists(part, min_size=1, max_size=3).map(",".join)


@given(_field(0, 59), _field(0, 23), _field(1, 31), _field(1, 12), _field(0, 6))
@settings(max_examples=200, deadline=None)
def test_fields_name_what_another_reader_of_cron_lines_says(minute, hour, day, month, weekday) -> None:
    schedules = pytest.importorskip("celery.schedules", reason='needs Celery: pip install "e2i-fs[celery]"')
    try:
        cron = parse_cron(f"{minute} {hour} {day} {month} {weekday}")
    except ValueError as error:
        assert "never comes" in str(error)
        return
    read = schedules.crontab_parser
    assert cron.minutes == set(read(60).parse(minute)) and cron.hours == set(read(24).parse(hour))
    assert cron.days == set(read(31, 1).parse(day)) and cron.months == set(read(12, 1).parse(month))
    assert cron.weekdays == set(read(7).parse(weekday))


@given(_field(0, 59), _field(0, 23), _field(0, 6), st.integers(0, 400_000))
@settings(max_examples=60, deadline=None)
def test_the_next_time_is_the_first_minute_that_every_field_names(minute, hour, weekday, start) -> None:
    cron = parse_cron(f"{minute} {hour} * * {weekday}")
    moment = datetime(2024, 1, 1, 0, 0, 30, tzinfo=UTC) + MINUTE * start
    looked = moment.replace(second=0) + MINUTE
    while not (
        looked.minute in cron.minutes and looked.hour in cron.hours and (looked.weekday() + 1) % 7 in cron.weekdays
    ):
        looked += MINUTE
    assert cron.next_after(moment, UTC) == looked
