"""The online order as laws: whatever the writes' order, repetition or split, one state (O-1, O-2, P-4)."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

import e2i_fs as fs
from e2i_fs.backend import OnlineRow
from e2i_fs.online import merge, pick, row_order
from e2i_fs.values import order_key

VIEW = fs.FeatureView(
    "v", entities=["e"], schema=[fs.Field("x", fs.Float64), fs.Field("y", fs.Array(fs.Int64)), fs.Field("z", fs.String)]
)
ROWS = st.builds(
    OnlineRow,
    event_us=st.integers(0, 6),  # few values, so that times tie
    created_us=st.none() | st.integers(0, 2),
    values=st.fixed_dictionaries(
        {
            "x": st.none() | st.sampled_from([0.0, -0.0, 1.5, math.nan, math.inf]),
            "y": st.none() | st.lists(st.none() | st.integers(0, 1), max_size=2),
            "z": st.none() | st.sampled_from(["", "a", "é"]),
        }
    ),
)


def shown(row: OnlineRow | None) -> object:
    return None if row is None else row_order(row, VIEW)


@pytest.mark.rule("O-1")
@given(rows=st.lists(ROWS, max_size=6), data=st.data(), times=st.lists(st.integers(0, 7), min_size=6, max_size=6))
def test_any_order_split_and_repetition_of_writes_reads_the_same_at_any_later_time(rows, data, times) -> None:
    again = data.draw(st.permutations(rows + rows[:2]))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(again)), max_size=2)))
    clock = sorted(times)
    kept: tuple[OnlineRow, ...] = ()
    for at, (start, stop) in zip(clock, itertools.pairwise([0, *cuts, len(again)]), strict=False):
        kept = merge(kept, again[start:stop], VIEW, at_us=at)
    now = clock[min(len(clock) - 1, len(cuts))]
    for later in range(now, 9):
        visible = [row for row in rows if row.event_us <= later]
        best = max(visible, key=lambda row: row_order(row, VIEW), default=None)
        assert shown(pick(kept, at_us=later)) == shown(best)


@given(value=st.lists(st.none() | st.floats(), max_size=3), other=st.lists(st.none() | st.floats(), max_size=3))
def test_the_natural_order_is_total_and_tells_every_two_values_apart(value, other) -> None:
    dtype = fs.Array(fs.Float64)
    one, two = order_key(value, dtype), order_key(other, dtype)
    assert (one < two) + (one > two) + (one == two) == 1
    same = [str(v) for v in value] == [str(v) for v in other]  # nan is nan, -0.0 is not 0.0
    assert (one == two) == same
