"""Finding the winner in a sorted copy: the last row of a key that is not after the entity row's time (P-1)."""

from __future__ import annotations

import bisect

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2i_fs.pit.sorted_rows import _last_before, by_row

_TIMES = st.integers(-(2**61), 2**61) | st.integers(-3, 3)


@st.composite
def _keys_and_questions(draw: st.DrawFn) -> tuple[list[list[int]], list[tuple[int, int]]]:
    """Return the sorted times of some keys, and questions: the number of a key and a time, often one of its own."""
    keys = [sorted(draw(st.lists(_TIMES, min_size=1, max_size=40))) for _ in range(draw(st.integers(1, 5)))]
    asked = []
    for _ in range(draw(st.integers(1, 20))):
        number = draw(st.integers(0, len(keys) - 1))
        asked.append((number, draw(_TIMES | st.sampled_from(keys[number]))))
    return keys, asked


@pytest.mark.rule("P-1")
@given(_keys_and_questions())
def test_the_place_found_is_the_last_that_is_not_after_the_time(given_: tuple[list[list[int]], list[tuple[int, int]]]) -> None:  # fmt: skip
    keys, asked = given_
    begins = np.cumsum([0, *map(len, keys)])
    times = np.array([time for key in keys for time in key], np.int64)
    numbers = [number for number, _ in asked]
    t = np.array([time for _, time in asked], np.int64)
    found = _last_before(times, t, begins[numbers], begins[1:][numbers])
    for (number, time), place in zip(asked, found.tolist(), strict=True):
        before = bisect.bisect_right(keys[number], time)
        assert place == begins[number] + before - 1 if before else place < 0


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7, 8, 9, 1023, 1024, 1025])
def test_every_place_of_a_key_of_any_size_is_found(size: int) -> None:
    times = np.arange(size, dtype=np.int64) * 10
    asked = np.concatenate([times - 1, times, times + 9])
    places = np.arange(size)
    found = _last_before(times, asked, np.zeros(3 * size, np.int64), np.full(3 * size, size))
    assert found[size:].tolist() == [*places, *places]
    assert found[1:size].tolist() == places[:-1].tolist() and found[0] < 0


def test_values_are_spread_over_the_entity_rows_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("e2i_fs.pit.sorted_rows._PIECE", 2)
    values = pa.table({"e": [10, 20, 30], "words": [["a"], None, ["b", "c"]]})
    spread = by_row(values, np.array([4, 0, 2]), 5)
    assert spread.to_pydict() == {"e": [20, None, 30, None, 10], "words": [None, None, ["b", "c"], None, ["a"]]}
    assert by_row(values.slice(0, 0), np.array([], np.int64), 2).to_pydict() == {"e": [None] * 2, "words": [None] * 2}
