"""The clock as microseconds: what a clock tells, however it is given (T-5)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from e2i_fs.clock import SystemClock, as_clock, tells_us, to_us

_MOMENT = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)


class _Behind(SystemClock):
    """A machine's clock that somebody has set back by a day."""

    def now(self) -> datetime:
        """Return yesterday."""
        return super().now() - timedelta(days=1)


@pytest.mark.rule("T-5")
def test_the_machines_clock_tells_the_same_moment_in_microseconds_as_in_dates() -> None:
    clock = as_clock(None)
    tell = tells_us(clock)
    before, told, after = to_us(clock.now()), tell(), to_us(clock.now())
    assert before <= told <= after
    assert isinstance(told, int)


@pytest.mark.rule("T-5")
def test_a_clock_of_ones_own_is_asked_each_time_even_one_made_of_the_machines() -> None:
    moments = iter([_MOMENT, _MOMENT.replace(tzinfo=None), _MOMENT + timedelta(microseconds=1)])
    tell = tells_us(as_clock(lambda: next(moments)))
    assert [tell() - to_us(_MOMENT) for _ in range(3)] == [0, 0, 1]
    behind = _Behind()
    assert abs(tells_us(behind)() - to_us(behind.now())) < 3_600_000_000
