"""The schedule: one list from the settings, and the same times whoever derives from it."""

from __future__ import annotations

import pickle
import re
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import e2i_fs as fs
from e2i_fs.ops.cron import parse_cron
from e2i_fs.ops.crontab import crontab, weekly
from e2i_fs.ops.schedule import Entry, entries, entry_named
from e2i_fs.ops.settings import load_settings
from e2i_fs.ops.systemd import Place, service, timers
from e2i_fs.ops.triggers import At, Every, counted_from, longest_gap

HOUR, MINUTE, DAY = timedelta(hours=1), timedelta(minutes=1), timedelta(days=1)
SUNDAY = datetime(2024, 3, 10, tzinfo=UTC)
E2I = {"schedule": {}, "freshness": {"views": {"conversion": {"incremental_every_hours": 4}}}}


def of(**schedule: object) -> dict[str, Entry]:
    return {entry.name: entry for entry in entries(load_settings({"schedule": schedule}))}


def next_times(trigger, count: int, after: datetime = SUNDAY - MINUTE) -> list[datetime]:
    found = []
    for _ in range(count):
        found.append(after := trigger.next_after(after))
    return found


# ---- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"schedule": {"full_cron": "0 0 * *"}}, "materialisation, schedule, full_cron: '0 0 . .' has 4 fields.*such as '30 2"),
        ({"schedule": {"full_crn": "0 0 * * 0"}}, "schedule: unknown key 'full_crn'. Did you mean 'full_cron'"),
        ({"schedule": {"full_cron": "0 0 * * 0", "full_every_days": 7}}, "full_every_days and full_cron are both given; keep one"),
        ({"freshness": {"views": {"v": {"incremental_cron": "x"}}}}, "freshness, views, v, incremental_cron: 'x' has 1 field"),
        (
            {"freshness": {"views": {"v": {"incremental_cron": "0 0 * * 0", "incremental_every_hours": 7}}}},
            "freshness, views, v: incremental_every_hours and incremental_cron are both given",
        ),
        ({"schedule": {"timezone": "Europe/Zurick"}}, "no time zone is called 'Europe/Zurick' .Did you mean 'Europe/Zurich'"),
        ({"schedule": {"timezone": "../../etc/passwd"}}, "no time zone is called"),
        ({"schedule": {"incremental_every_hours": 1e-9}}, "incremental_every_hours: 1e-09 is less than a second"),
        ({"schedule": {"full_every_days": 1e20}}, "full_every_days is 1e.20; give at most 3660"),
        ({"schedule": {"full_every_days": 0}}, "full_every_days is 0; give more than 0"),
    ],
)  # fmt: skip
def test_a_schedule_that_cannot_be_meant_is_refused_when_it_is_read(given, said) -> None:
    with pytest.raises(fs.ConfigError, match=said):
        load_settings(given)


def test_a_view_with_its_own_schedule_is_an_entry_and_the_others_are_one() -> None:
    found = entries(load_settings(E2I))
    assert [(e.name, e.task, e.views, e.without) for e in found] == [
        ("incremental", "incremental", (), ("conversion",)),
        ("incremental:conversion", "incremental", ("conversion",), ()),
        ("full", "full", (), ()),
        ("freshness_check", "freshness_check", (), ()),
    ]
    assert [e.trigger for e in found] == [
        Every(6 * HOUR), Every(4 * HOUR, 15 * MINUTE), Every(7 * DAY, 30 * MINUTE), Every(4 * HOUR, 45 * MINUTE),
    ]  # fmt: skip
    with pytest.raises(fs.RequestError, match="'ful'. Did you mean 'full'"):
        entry_named(found, "ful")


def test_a_cron_line_is_taken_as_it_is_on_the_clocks_of_its_zone() -> None:
    settings = load_settings({
        "schedule": {"incremental_cron": " 0  6 * * mon-fri", "timezone": "Europe/Zurich"},
        "freshness": {"views": {"v": {"incremental_cron": "0 5 * * *"}}},
    })  # fmt: skip
    found = {e.name: e.trigger for e in entries(settings)}
    assert found["incremental"] == At(parse_cron("0 6 * * mon-fri"), "Europe/Zurich")
    assert next_times(found["incremental:v"], 1) == [SUNDAY + 4 * HOUR]  # five in Zurich
    assert settings.incremental_every("v") == DAY and settings.incremental_every("w") == 3 * DAY  # over a weekend


def test_no_two_of_many_entries_begin_together_and_each_keeps_its_period() -> None:
    views = {f"v{n}": {"incremental_every_hours": 2} for n in range(9)}
    found = entries(load_settings({"freshness": {"views": views}}))
    times = [time for entry in found for time in next_times(entry.trigger, 12)]
    assert len(set(times)) == len(times)
    for entry in found:
        first, second = next_times(entry.trigger, 2)
        assert second - first == entry.trigger.period


# ---- triggers ---------------------------------------------------------------------------------------------------------


def test_hours_are_counted_from_sunday_midnight_in_utc_whenever_a_process_began() -> None:
    assert next_times(Every(6 * HOUR), 3) == [SUNDAY, SUNDAY + 6 * HOUR, SUNDAY + 12 * HOUR]
    assert next_times(Every(7 * DAY), 2) == [SUNDAY, SUNDAY + 7 * DAY]
    assert Every(5 * HOUR).next_after(SUNDAY) - Every(5 * HOUR).next_after(SUNDAY - 5 * HOUR) == 5 * HOUR
    before_1970 = datetime(1969, 7, 20, 20, 17, tzinfo=UTC)
    assert Every(6 * HOUR).next_after(before_1970) == datetime(1969, 7, 21, tzinfo=UTC)


def test_a_clock_that_is_set_back_counts_from_where_it_is_then_and_one_set_right_does_not() -> None:
    assert counted_from(SUNDAY + 300 * DAY, SUNDAY + HOUR) == SUNDAY + HOUR
    assert counted_from(SUNDAY, SUNDAY - timedelta(seconds=2)) == SUNDAY  # what ran at 0:00 does not run again
    assert counted_from(SUNDAY, SUNDAY + 300 * DAY) == SUNDAY  # what was missed is due


def test_the_longest_gap_of_a_line_is_told() -> None:
    assert longest_gap(Every(5 * HOUR)) == 5 * HOUR
    assert longest_gap(At(parse_cron("0 8,9 * * *"))) == 23 * HOUR


def test_beat_is_told_the_same_times() -> None:
    celery = pytest.importorskip("e2i_fs.ops.celery_schedule", reason='needs Celery: pip install "e2i-fs[celery]"')
    now = [SUNDAY + HOUR]
    schedule = celery.TriggerSchedule(Every(6 * HOUR), nowfun=lambda: now[0])
    assert schedule.is_due(SUNDAY) == (False, 5 * 3600)
    now[0] = SUNDAY + 20 * HOUR
    assert schedule.is_due(SUNDAY) == (True, 4 * 3600)  # three times were missed, it is sent once
    assert schedule.is_due(SUNDAY.replace(tzinfo=None) + 18 * HOUR) == (False, 4 * 3600)
    assert schedule.is_due(SUNDAY + 100 * DAY) == (False, 4 * 3600)  # the clock was set back
    now[0] += 4 * HOUR
    assert schedule.is_due(SUNDAY + 100 * DAY) == (True, 6 * 3600)
    kept = pickle.loads(pickle.dumps(celery.TriggerSchedule(Every(6 * HOUR))))
    assert kept == celery.TriggerSchedule(Every(6 * HOUR)) != celery.TriggerSchedule(Every(5 * HOUR))


# ---- cron lines -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("period", "lines"),
    [
        (6 * HOUR, ["0 */6 * * *"]),
        (DAY, ["0 0 * * *"]),
        (7 * DAY, ["0 0 * * 0"]),
        (HOUR, ["0 * * * *"]),
        (15 * MINUTE, ["*/15 * * * *"]),
        (90 * MINUTE, ["0 */3 * * *", "30 1-22/3 * * *"]),
        (3.5 * DAY, ["0 0 * * 0", "0 12 * * 3"]),
        (5 * HOUR, []),
        (2 * DAY, []),
        (30 * DAY, []),
        (timedelta(seconds=90), []),
        (11 * HOUR, []),
    ],
)
def test_cron_lines_say_exactly_the_period_or_nothing(period, lines) -> None:
    assert [cron.text for cron in weekly(Every(period))] == lines


def test_the_lines_of_every_period_that_divides_a_week_name_just_its_times() -> None:
    for minutes in (n for n in range(1, 10_081) if 10_080 % n == 0):
        trigger = Every(minutes * MINUTE, min(minutes - 1, 17) * MINUTE)
        lines = weekly(trigger)
        if not lines:  # more of them than a crontab should have
            assert 1_440 % minutes, minutes
            continue
        after = SUNDAY - MINUTE
        for moment in next_times(trigger, min(60, 10_080 // minutes + 1)):
            assert (after := min(cron.next_after(after, UTC) for cron in lines)) == moment, minutes


def test_what_cron_cannot_say_is_refused_and_not_nearly_said() -> None:
    with pytest.raises(
        fs.RequestError, match="incremental runs every 5 h, which cron lines cannot say.*--print timers"
    ):
        crontab(entries(load_settings({"schedule": {"incremental_every_hours": 5}})), ["e2i-fs"])


def test_a_crontab_has_its_zones_and_its_words_are_safe(tmp_path: Path) -> None:
    path = tmp_path / 'it\'s 100% "$HOME".yaml'
    settings = load_settings({"schedule": {"full_cron": "0 3 * * sun", "timezone": "Europe/Zurich"}})
    lines = crontab(entries(settings), ["e2i-fs", "--config", str(path), "schedule"]).splitlines()
    assert [line for line in lines if line.startswith("CRON_TZ")] == ["CRON_TZ=Europe/Zurich", "CRON_TZ=UTC"]
    full = lines[lines.index("CRON_TZ=Europe/Zurich") + 1]
    assert full.startswith("0 3 * * sun ")
    words = full.removeprefix("0 3 * * sun ")
    assert not re.search(r"(?<!\\)%", words)  # cron takes a bare one for the end of the line
    shown = subprocess.run(
        ["sh", "-c", "printf '%s\\n' " + words.replace(r"\%", "%")], capture_output=True, text=True, check=True
    )
    assert shown.stdout.splitlines() == ["e2i-fs", "--config", str(path), "schedule", "--run", "full"]
    with pytest.raises(fs.RequestError, match="line break"):
        crontab(entries(settings), ["e2i-fs", "--config", "a\n* * * * * rm -rf ~"])


# ---- systemd ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def analyze() -> str:
    found = shutil.which("systemd-analyze")
    if found is None:
        pytest.skip("needs systemd-analyze: apt-get install systemd")
    return found


def elapses(analyze: str, calendar: str, after: datetime, count: int) -> list[datetime]:
    """Return when systemd itself says that a calendar line elapses."""
    base = after.strftime("%Y-%m-%d %H:%M:%S UTC")
    command = [analyze, "calendar", f"--base-time={base}", f"--iterations={count}", calendar]
    said = subprocess.run(command, capture_output=True, text=True, check=True, env={"TZ": "UTC", "LC_ALL": "C"}).stdout
    found = re.findall(r"(?:Next elapse|\(in UTC\)|Iter\. #\d+): \w+ (\S+ \S+) UTC", said)
    return [datetime.fromisoformat(time).replace(tzinfo=UTC) for time in dict.fromkeys(found)]


@pytest.mark.parametrize(
    "trigger",
    [
        Every(6 * HOUR), Every(90 * MINUTE, 7 * MINUTE), Every(7 * DAY, 30 * MINUTE), Every(3.5 * DAY),
        At(parse_cron("30 2 * * mon-fri")), At(parse_cron("*/7 3,5 1-7 */2 *")), At(parse_cron("0 0 13 * fri")),
        At(parse_cron("0 0 */2 * mon")), At(parse_cron("15 4 * * 7"), "America/New_York"),
    ],
    ids=str,
)  # fmt: skip
def test_systemd_reads_a_timer_as_it_is_meant(analyze: str, trigger) -> None:
    (unit,) = [t for n, t in timers(Place(["/bin/true"], "nobody", "/", 60), [Entry("e", "full", trigger)]).items() if n.endswith(".timer")]  # fmt: skip
    lines = re.findall(r"^OnCalendar=(.*)$", unit, re.MULTILINE)
    found = sorted({moment for line in lines for moment in elapses(analyze, line, SUNDAY, 12)})
    assert "Persistent=true" in unit  # what was missed is made up for
    assert found[:12] == next_times(trigger, 12, SUNDAY)


def test_a_timer_that_no_calendar_can_say_counts_from_the_run_before() -> None:
    units = timers(Place(["/bin/true"], "nobody", "/", 60), [Entry("incremental", "incremental", Every(5 * HOUR))])
    assert "OnUnitActiveSec=18000s" in units["e2i-fs-incremental.timer"]
    assert "OnCalendar" not in units["e2i-fs-incremental.timer"]


def test_systemd_finds_no_fault_with_the_units_whatever_the_names_are(analyze: str, tmp_path: Path) -> None:
    folder = tmp_path / "a b"
    folder.mkdir()
    program = folder / "e2i %n"
    program.write_text("#!/bin/sh\n", encoding="utf-8")
    program.chmod(0o755)
    place = Place([str(program), "--config", "/srv/100% $HOME/'ä'.yaml", 'a "b" \\ c'], "root", str(folder), 60)
    views = {name: {"incremental_every_hours": 5} for name in ("plain", "two words", "ü/%i")}
    units = service(place) | timers(place, entries(load_settings({"freshness": {"views": views}})))
    for name, text in units.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    checked = subprocess.run(
        [analyze, "verify", *(str(tmp_path / name) for name in units)], capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stderr) == (0, "")
    assert r'''"/srv/100%% $$HOME/'ä'.yaml" "a \"b\" \\ c"''' in units["e2i-fs-schedule.service"]
    with pytest.raises(fs.RequestError, match="line break"):
        service(Place(["/bin/true", "a\nExecStartPre=/bin/evil"], "root", "/", 60))
    with pytest.raises(fs.RequestError, match="quotes or backslashes"):
        service(Place(["/opt/it's/e2i-fs"], "root", "/", 60))
