"""No on-demand function answers a row by other rows (P-10): those that would are refused, and no other is."""

from __future__ import annotations

import math
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import e2i_fs as fs
from e2i_fs.on_demand_call import computed
from e2i_fs.row_wise import ALONE_OFFLINE, ALONE_ONLINE, check_row_wise

SCHEMA = [
    fs.Field("x", fs.Float64), fs.Field("n", fs.Int64), fs.Field("s", fs.String), fs.Field("a", fs.Array(fs.Float64)),
]  # fmt: skip
ASKED = fs.RequestSource("asked", schema=SCHEMA)
ACROSS = {
    "mean": "m = sum(x) / len(x); return {'o': [v - m for v in x]}",
    "numpy mean": "import numpy as np; v = np.array(x); return {'o': v - v.mean()}",
    "first": "return {'o': [v - x[0] for v in x]}",
    "last": "return {'o': [v - x[-1] for v in x]}",
    "count": "return {'o': [v / len(x) for v in x]}",
    "cumulative sum": "import pandas as pd; return {'o': (pd.Series(x) + 1000).cumsum()}",
    "row before": "import pandas as pd; return {'o': pd.Series(x).shift(1, fill_value=-1.0)}",
    "rank": "import pandas as pd; return {'o': pd.Series(x).rank()}",
    "sorted": "return {'o': sorted(x)}",
    "reversed": "return {'o': x[::-1] if x != x[::-1] else [v * len(x) for v in x]}",
    "greatest": "return {'o': [max(x)] * len(x)}",
    "scaled": "import numpy as np; v = np.array(x); return {'o': (v - v.min()) / (v.max() - v.min() or 1) + len(v)}",
}
ROW_WISE = {
    "list": ("return {'o': [None if v is None else 2 * v for v in c['x']]}", fs.Float64),
    "numpy": ("import numpy as np; v = np.array(c['x'], float); return {'o': np.exp(np.sin(v)) - np.cos(v)}", fs.Float64),
    "float32": ("import numpy as np; v = np.array(c['x'], 'f4'); return {'o': np.tanh(v) * 3}", fs.Float32),
    "pandas": ("import pandas as pd; return {'o': pd.Series(c['x'], dtype='float64').fillna(0.0).clip(-5, 5)}", fs.Float64),
    "row sum": (("import pandas as pd; d = pd.DataFrame({'x': pd.Series(c['x'], dtype=float), 'n': pd.Series(c['n'], dtype=float)}); "
                "d['y'] = d.x * 0.3; return {'o': d.sum(axis=1)}"), fs.Float64),
    "integers": ("import pandas as pd; v = pd.Series(c['n'], dtype='Int64'); return {'o': [None if w is pd.NA else w for w in v]}", fs.Int64),
    "text": ("return {'o': [None if v is None else v.upper() for v in c['s']]}", fs.String),
    "length": ("return {'o': [len(v or ()) for v in c['a']]}", fs.Int64),
    "array": ("return {'o': [None if v is None else [e if e is None else e / 3 for e in v] for v in c['a']]}", fs.Array(fs.Float64)),
    "vector": (("import numpy as np; v = np.array([(x or 0.0, n or 0, 1.0) for x, n in zip(c['x'], c['n'])]); "
               "return {'o': list(v / np.sqrt((v ** 2).sum(axis=1, keepdims=True)))}"), fs.Vector(3)),
    "struct": ("return {'o': [{'x': v, 'far': v is not None and abs(v) > 1} for v in c['x']]}", fs.Struct(x=fs.Float64, far=fs.Bool)),
    "matrix": (("import numpy as np; v = np.array([[x or 0.0] * 7 + [n or 0] for x, n in zip(c['x'], c['n'])]); "
               "return {'o': v @ np.arange(1.0, 9.0)}"), fs.Float64),
}  # fmt: skip
NUMBERS = st.floats(-1e6, 1e6, allow_nan=False)
ROWS = st.tuples(
    st.none() | NUMBERS | st.just(math.nan), st.none() | st.integers(-(2**40), 2**40), st.none() | st.text(max_size=3),
    st.none() | st.lists(st.none() | NUMBERS, max_size=3),
)  # fmt: skip


def view(body: str, dtype: fs.DType = fs.Float64, *, singleton: bool = False) -> fs.OnDemandFeatureView:
    return fs.OnDemandFeatureView(
        "made", inputs=(), request=(ASKED,), schema=(fs.Field("o", dtype),), singleton=singleton,
        code=f"def made(c):\n    x = c.get('x')\n    {body}\n", function="made",
    )  # fmt: skip


def checked(made: fs.OnDemandFeatureView, columns: dict[str, list[Any]], alone: int) -> dict[str, pa.ChunkedArray]:
    rows = len(columns["x"])
    whole = computed(made, columns, range(rows))
    check_row_wise(made, columns, whole, rows, alone=alone)
    return whole


@st.composite
def _differing(draw: st.DrawFn) -> list[float]:
    """Numbers of which at least two differ by more than rounding, in few or in many rows."""
    few = draw(st.lists(st.integers(-1000, 1000), min_size=2, max_size=12).filter(lambda v: len(set(v)) > 1))
    times = draw(st.sampled_from([1, 1, 7, 40]))
    return [float(v) for v in few for _ in range(times)] if draw(st.booleans()) else [float(v) for v in few * times]


@pytest.mark.rule("P-10")
@pytest.mark.parametrize("alone", [ALONE_OFFLINE, ALONE_ONLINE])
@pytest.mark.parametrize("name", ACROSS)
@given(x=_differing())
@example(x=[0.0, 1.0])
@example(x=[1.0] * 100 + [2.0])
@settings(max_examples=15, deadline=None)
def test_a_function_that_looks_across_rows_is_refused_wherever_two_rows_differ(
    name: str, alone: int, x: list[float]
) -> None:
    with pytest.raises(fs.DefinitionError, match=r"computed from that row alone \(P-10\).*It looks across rows"):
        checked(view(ACROSS[name]), {"x": x}, alone)


@pytest.mark.rule("P-10")
@pytest.mark.parametrize("name", ROW_WISE)
@given(rows=st.lists(ROWS, min_size=1, max_size=60))
@settings(max_examples=25, deadline=None)
def test_a_function_of_single_rows_is_never_refused(name: str, rows: list[Any]) -> None:
    body, dtype = ROW_WISE[name]
    columns = dict(zip("xnsa", map(list, zip(*rows, strict=True)), strict=True))
    for alone in (ALONE_OFFLINE, ALONE_ONLINE):
        checked(view(body, dtype), columns, alone)


@pytest.mark.rule("P-10")
@pytest.mark.parametrize("rows", [2, 31, 33, 500])
def test_a_missing_value_filled_from_other_rows_is_refused(rows: int) -> None:
    body = "import pandas as pd; v = pd.Series(x, dtype='float64'); return {'o': v.fillna(v.median())}"
    for gap in {0, rows // 3, rows - 1}:
        with pytest.raises(fs.DefinitionError, match="P-10"):
            checked(view(body), {"x": [None if i == gap else float(i) for i in range(rows)]}, ALONE_ONLINE)


@pytest.mark.parametrize("body", ["import random; return {'o': [random.random() for v in x]}",
                                  "import time; return {'o': [float(time.perf_counter_ns()) * 1e3 for v in x]}"])  # fmt: skip
def test_chance_and_the_clock_are_told_apart_from_other_rows(body: str) -> None:
    with pytest.raises(fs.DefinitionError, match="it uses chance, the clock, or what it kept"):
        checked(view(body), {"x": [1.0, 2.0, 3.0]}, ALONE_OFFLINE)


def test_a_function_that_fails_on_a_row_alone_is_refused_with_what_to_do() -> None:
    body = "known = [v for v in x if v]; return {'o': [sum(known) / len(known) if v is None else v for v in x]}"
    with pytest.raises(
        fs.DefinitionError, match=r"raised ZeroDivisionError.*asked alone \(row 1\).*give columns their dtype"
    ):
        checked(view(body), {"x": [1.0, None]}, ALONE_OFFLINE)


@given(x=_differing())
@settings(max_examples=15, deadline=None)
def test_a_singleton_function_gets_one_row_and_cannot_tell_the_others(x: list[float]) -> None:
    made = view("return {'o': x + 1}", singleton=True)
    assert checked(made, {"x": x}, ALONE_OFFLINE)["o"].to_pylist() == [v + 1 for v in x]


def test_a_singleton_function_keeps_nothing_from_row_to_row_unseen() -> None:
    kept = fs.OnDemandFeatureView(
        "made", inputs=(), request=(ASKED,), schema=(fs.Field("o", fs.Float64),), singleton=True, function="made",
        code="def made(c, seen=[]):\n    seen.append(c['x'])\n    return {'o': sum(seen)}\n",
    )  # fmt: skip
    with pytest.raises(fs.DefinitionError, match="P-10"):
        checked(kept, {"x": [1.0, 2.0]}, ALONE_OFFLINE)
    with pytest.raises(fs.DefinitionError, match="nothing for 'o'; with singleton=True it returns a mapping"):
        checked(view("return {'p': x}", singleton=True), {"x": [1.0]}, ALONE_OFFLINE)


def test_a_fingerprint_says_singleton_only_where_it_is() -> None:
    plain, single = view("return {'o': x}"), view("return {'o': x}", singleton=True)
    assert "singleton" not in plain.canonical()
    assert single.canonical()["singleton"] is True
    assert fs.OnDemandFeatureView.from_json(single.to_json()) == single


def test_a_function_cannot_change_the_lists_that_others_are_given() -> None:
    columns = {"x": [1.0, 2.0], "a": [[1.0], [2.0]]}
    checked(view("[v.append(9.0) for v in c['a']]; return {'o': [sum(v) for v in c['a']]}"), columns, ALONE_OFFLINE)
    assert columns["a"] == [[1.0], [2.0]]
