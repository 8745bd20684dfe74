"""Statistics of random columns of every dtype are those of plain Python, offline and online, on every backend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import e2i_fs as fs
from e2i_fs.clock import from_us
from e2i_fs.testing import FakeClock
from e2i_fs.testing.strategies import dtypes, values
from e2i_fs.values import arrow_type
from tests import kit
from tests.statistics_oracle import check

Columns = Mapping[str, tuple[fs.DType, Sequence[Any]]]


@st.composite
def columns(draw: st.DrawFn) -> Columns:
    """Return a few columns of one length, of any dtypes; their values repeat."""
    rows = draw(st.integers(1, 30))
    made: dict[str, tuple[fs.DType, Sequence[Any]]] = {}
    for i in range(draw(st.integers(1, 4))):
        dtype = draw(dtypes())
        value = values(dtype) | _smooth(dtype)
        pool = draw(st.lists(value, min_size=1, max_size=8))
        made[f"c{i}"] = (dtype, draw(st.lists(st.sampled_from(pool), min_size=rows, max_size=rows)))
    return made


def _smooth(dtype: fs.DType) -> st.SearchStrategy[Any]:
    """Return a strategy of numbers from everywhere, where the awkward ones are few."""
    match dtype.kind:
        case "float32" | "float64":
            return st.floats(width=int(dtype.kind[-2:]))  # type: ignore[arg-type]
        case "int64":
            return st.integers(-(2**63), 2**63 - 1)
        case "decimal":
            return st.decimals(-1, 1, places=dtype.numbers[1]).filter(lambda d: abs(d) < 1)
        case "timestamp":
            return st.integers(-(10**16), 10**16).map(from_us)
        case _:
            return st.nothing()


def view_of(made: Columns, **more: Any) -> fs.FeatureView:
    schema = [fs.Field(name, dtype) for name, (dtype, _) in made.items()]
    entity = fs.Entity("hcp", join_keys={"hcp_id": fs.Int64})
    return fs.FeatureView("stats", entities=[entity], schema=schema, source=fs.PushSource("pushed"), **more)


def batch_of(made: Columns) -> pa.Table:
    rows = len(next(iter(made.values()))[1])
    frame = {"hcp_id": pa.array(range(rows), pa.int64())}
    frame["event_timestamp"] = pa.array([kit.NOW - timedelta(minutes=i) for i in range(rows)], kit.STAMP)
    return pa.table(frame | {name: pa.array(v, arrow_type(dtype)) for name, (dtype, v) in made.items()})


@given(columns(), st.integers(1, 5))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_statistics_are_those_of_plain_python_offline_and_online(made: Columns, top: int) -> None:
    with fs.connect({"backend": "memory"}, clock=FakeClock(kit.NOW)) as store:
        store.apply([view_of(made)])
        store.write("stats", batch_of(made), to="both")
        for where in ("offline", "online"):
            found = store.view_statistics("stats", where=where, top=top)
            assert list(found) == list(made)
            for name, (_, own) in made.items():
                check(found[name], own, top)
                assert found[name].newest_event_timestamp == kit.NOW
