"""A quality report against plain Python, and what must not change it: order of rows, layout, number of threads."""

from __future__ import annotations

import math
import re
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from e2i_fs.quality import BaselineMetrics, QCReport, at_most, in_range, in_set, rows
from tests.kit import NOW, STAMP

TEXTS = ["A", "a", "a ", " a", "", "  ", "b", "B", "1", "2.5", "-3e4", "1e", ".", "ä", "Ä", "it's"]
NUMBERS = [0.0, -0.0, 1.0, 2.0, 9.0, math.nan, math.inf, -math.inf]
MAX_AGE = timedelta(days=2)
EXPECTED = [in_range("n", 0, 5), in_set("s", ["A", "a", "1"], mostly=0.1), at_most("m", "n", mostly=0.1)]
TYPES = {"k": pa.string(), "n": pa.float64(), "m": pa.int64(), "s": pa.string(), "event_timestamp": STAMP}

row = st.fixed_dictionaries(
    {
        "k": st.sampled_from(["x", "y", "X", None]),
        "n": st.sampled_from([*NUMBERS, None]),
        "m": st.sampled_from([0, 1, 5, None]),
        "s": st.sampled_from([*TEXTS, None]),
        "event_timestamp": st.sampled_from(
            [NOW, NOW - MAX_AGE, NOW - MAX_AGE - timedelta(microseconds=1), NOW + timedelta(seconds=61), None]
        ),
    }
)


def table(given: list[dict[str, Any]]) -> pa.Table:
    return pa.table({n: pa.array([r[n] for r in given], t) for n, t in TYPES.items()})


def report(frame: Any, **more: Any) -> QCReport:
    return QCReport.of(frame, expectations=EXPECTED, max_age=MAX_AGE, clock=lambda: NOW, **more)


def compared(made: QCReport) -> dict[str, Any]:
    """Everything that is counted; means, which are sums of floats, to twelve digits; no positions of rows."""
    columns = [
        (c.name, c.present, c.missing, c.nan, c.infinite, c.min, c.max, c.distinct, c.numeric_text, c.padded, c.blank)
        for c in made.columns
    ]
    means = [None if c.mean is None else f"{c.mean:.11e} {c.std or 0:.6e}" for c in made.columns]
    results = [(r.expectation, r.outcome, r.observed, r.offending) for r in made.expectation_results]
    counts = [re.sub(r", first at [\d, ]+", "", said) for said in (*made.blocking_issues, *made.warnings)]
    return {"scores": made.scores, "columns": columns, "means": means, "results": results, "said": counts}


# ---- plain Python, written from the definitions on the page -----------------------------------------------


def by_hand(given: list[dict[str, Any]], keys: list[str]) -> dict[str, float | None]:
    given = [{n: None if isinstance(v, float) and math.isnan(v) else v for n, v in r.items()} for r in given]
    cells = [(name, r[name]) for r in given for name in TYPES]
    present = [(name, value) for name, value in cells if value is not None]
    invalid = sum(
        (name == "n" and not (math.isfinite(v) and 0 <= v <= 5)) or (name == "s" and v not in ("A", "a", "1"))
        for name, v in present
    )
    texts = [(name, v) for name, v in present if name in ("k", "s")]
    counts = {name: Counter(v for n, v in texts if n == name) for name in ("k", "s")}
    number = re.compile(r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*", re.ASCII)
    odd = 0
    for name, value in texts:
        numbers = sum(c for v, c in counts[name].items() if number.fullmatch(v))
        total = sum(counts[name].values())
        is_word = name not in keys and total / 2 <= numbers < total and not number.fullmatch(value)
        same = [(-c, v) for v, c in counts[name].items() if v.lower() == value.lower()]
        is_rarer = name not in keys and min(same, key=lambda e: (e[0], e[1].encode()))[1] != value
        odd += is_word or is_rarer or value != value.strip(" ") or not value.strip(" ")
    pairs = [(r["m"], r["n"]) for r in given if r["m"] is not None and r["n"] is not None]
    backwards = sum(not m <= n for m, n in pairs)
    if keys:
        named = [tuple(r[k] for k in keys) for r in given if all(r[k] is not None for k in keys)]
    else:
        named = [tuple(r[name] for name in TYPES) for r in given]
    timely = [
        t is not None and NOW - MAX_AGE <= t <= NOW + timedelta(seconds=60)
        for t in (r["event_timestamp"] for r in given)
    ]

    def share(part: int, whole: int) -> float | None:
        return part / whole if whole else None

    return {
        "completeness": share(len(present), len(cells)),
        "validity": share(len(present) - invalid, len(present)),
        "consistency": share(len(present) + len(pairs) - odd - backwards, len(present) + len(pairs)),
        "uniqueness": share(len(set(named)), len(named)),
        "timeliness": share(sum(timely), len(timely)),
    }


FEW = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@FEW
@given(st.lists(row, max_size=12), st.sampled_from([[], ["k"], ["k", "m"]]))
def test_the_scores_are_those_of_the_definitions_in_plain_python(given: list[dict[str, Any]], keys: list[str]) -> None:
    assert report(table(given), keys=keys).scores == by_hand(given, keys)


@FEW
@given(given=st.lists(row, min_size=1, max_size=12), data=st.data())
def test_neither_order_nor_layout_nor_threads_change_a_report(
    given: list[dict[str, Any]], data: st.DataObject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = compared(report(table(given)))
    shuffled = data.draw(st.permutations(given))
    assert compared(report(table(shuffled))) == first
    cut = data.draw(st.integers(0, len(given)))
    chunked = pa.concat_tables([table(given[:cut]), table(given[cut:])])
    assert compared(report(chunked)) == first
    for i, part in enumerate((chunked.slice(0, cut), chunked.slice(cut))):
        pq.write_table(part, tmp_path / f"{i}.parquet", row_group_size=2)
    original = rows.database

    def single() -> duckdb.DuckDBPyConnection:
        made = original()
        made.execute("SET threads = 1")
        return made

    with monkeypatch.context() as patched:
        patched.setattr(rows, "database", single)
        assert compared(report(tmp_path)) == first


def test_many_rows_in_any_order_and_on_any_number_of_threads_give_one_baseline_and_no_drift() -> None:
    import numpy as np

    rng = np.random.default_rng(1)
    frame = pa.table(
        {"x": rng.normal(size=300_000), "k": rng.integers(0, 50, 300_000), "s": rng.choice(["a", "b"], 300_000)}
    )
    order = rng.permutation(300_000)
    one = BaselineMetrics.of(frame, clock=lambda: NOW)
    other = BaselineMetrics.of(frame.take(order), clock=lambda: NOW)
    for name in ("x", "k"):
        assert one.numeric[name].distribution == other.numeric[name].distribution
        assert one.numeric[name].mean == pytest.approx(other.numeric[name].mean, rel=1e-12)
    assert one.categorical == other.categorical
    drift = one.drift(frame.take(order))
    assert {c.value for f in drift.features.values() for c in f.checks} == {0.0}
