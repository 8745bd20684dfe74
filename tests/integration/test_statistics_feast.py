"""Statistics of a store on Feast: of history the same as elsewhere, of what is online a clear no."""

from __future__ import annotations

import math
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import e2i_fs as fs
from e2i_fs.testing import FakeClock
from e2i_fs.values import arrow_type
from tests import kit
from tests.statistics_oracle import check

COLUMNS: dict[str, tuple[fs.DType, list[Any]]] = {
    "i64": (fs.Int64, [2**53 + 1, None, -(2**63), 2**63 - 1, 0, 0]),
    "f64": (fs.Float64, [math.nan, 0.1, -0.0, math.inf, None, 0.0]),
    "f32": (fs.Float32, [0.5, 0.25, 0.25, None, -1.5, math.nan]),
    "text": (fs.String, ["", "a", None, "é", "a", "b"]),
    "flag": (fs.Bool, [True, None, False, True, True, None]),
    "day": (fs.Date, [kit.NOW.date(), None, None, kit.NOW.date(), kit.at(-9999).date(), kit.NOW.date()]),
    "time": (fs.Timestamp, [kit.NOW, kit.NOW + kit.US, None, kit.at(0), kit.at(0), kit.at(1)]),
    "money": (fs.Decimal(38, 2), [Decimal("0.01"), None, Decimal("1" * 36 + ".11"), *[Decimal("0.10")] * 3]),
    "array": (fs.Array(fs.Int64), [[], None, [1, None], [1, None], [None], []]),
    "vector": (fs.Vector(2), [[0.5, 1.0], None, [0.5, 1.0], [math.nan, 0.0], [0.0, 0.0], None]),
    "record": (fs.Struct(a=fs.Int64, b=fs.String), [{"a": 1, "b": None}, None, *[{"a": None, "b": "x"}] * 4]),
    "json": (fs.Json, ["{}", "null", None, "{}", "[1]", "[1]"]),
    "raw": (fs.Bytes, [b"", b"\x00", None, b"\xff", b"\xff", b"a"]),
}


def test_of_history_feast_tells_what_plain_python_does_and_of_online_that_it_cannot(
    tmp_path: Path, clock: FakeClock, feast_library: Any
) -> None:
    del feast_library
    view = fs.FeatureView(
        "stats",
        entities=[fs.Entity("hcp", join_keys={"hcp_id": fs.Int64})],
        schema=[fs.Field(name, dtype) for name, (dtype, _) in COLUMNS.items()],
        source=fs.PushSource("pushed"),
    )
    frame = {"hcp_id": pa.array(range(6), pa.int64()), "event_timestamp": pa.array([kit.at(0)] * 6, kit.STAMP)}
    frame |= {name: pa.array(values, arrow_type(dtype)) for name, (dtype, values) in COLUMNS.items()}
    config = {"backend": "feast", "path": str(tmp_path), "online_store": {"type": "sqlite"}}
    with fs.connect(config, clock=clock) as store:
        store.apply([view])
        store.write("stats", pa.table(frame), to="both")
        found = store.view_statistics("stats", top=3)
        for name, (_, values) in COLUMNS.items():
            check(found[name], values, 3)
        with pytest.raises(fs.UnsupportedError, match=r"cannot list what it has online.*where='offline'"):
            store.statistics("stats:i64", where="online")
