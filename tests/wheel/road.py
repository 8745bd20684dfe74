"""The whole road on an installed wheel: python road.py BACKEND. Prints the view's fingerprint.

Run outside the checkout, so that only what the wheel carries can be imported.
"""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

import e2i_fs as fs

T0 = datetime(2024, 1, 1, tzinfo=UTC)
BIG = 2**53 + 1


def day(n: float) -> datetime:
    return T0 + timedelta(days=n)


def main(backend: str) -> None:
    assert "site-packages" in (fs.__file__ or ""), f"imported from {fs.__file__}, not from the wheel"
    folder = Path(tempfile.mkdtemp())
    history = pa.table(
        {
            "hcp_id": ["1", "12", "1", "1"],
            "brand_id": ["23", "3", "23", "23"],
            "event_timestamp": pa.array([day(0), day(0), day(2), day(9)], pa.timestamp("us", "UTC")),
            "created_at": pa.array([day(0), day(1), day(5), day(9)], pa.timestamp("us", "UTC")),
            "trx": pa.array([1, 2, BIG, 99], pa.int64()),
            "share": pa.array([0.5, None, 0.25, 0.75], pa.float32()),
        }
    )
    pq.write_table(history, folder / "history.parquet")
    view = fs.FeatureView(
        "stats",
        entities=[fs.Entity("hcp", join_keys=["hcp_id"]), fs.Entity("brand", join_keys=["brand_id"])],
        schema=[fs.Field("trx", fs.Int64), fs.Field("share", fs.Float32)],
        source=fs.ParquetSource(folder / "history.parquet", created_timestamp_field="created_at"),
        ttl=timedelta(days=30),
    )
    asked = pa.table(
        {
            "hcp_id": ["1", "12", "1", "2"],
            "brand_id": ["23", "3", "23", "23"],
            "event_timestamp": pa.array([day(2), day(40), day(3), day(3)], pa.timestamp("us", "UTC")),
        }
    )
    with fs.connect({"backend": backend, "path": str(folder / "store")}, clock=lambda: day(10)) as store:
        store.apply([view])
        result = store.get_historical_features(asked, ["stats:trx", "stats:share"])
        got = result.to_arrow().to_pydict()
        assert got["trx"] == [BIG, None, BIG, None], got
        assert [str(s) for s in result.statuses["stats:trx"]] == ["PRESENT", "OUTSIDE_MAX_AGE", "PRESENT", "NOT_FOUND"]
        known = store.get_historical_features(asked, ["stats:trx"], filter_by_created_timestamp=True)
        assert known.to_arrow().to_pydict()["trx"] == [1, None, 1, None]
        store.materialize(None, day(10))
        rows = [{"hcp_id": "1", "brand_id": "23"}, {"hcp_id": "2", "brand_id": "3"}, {"hcp_id": "1", "brand_id": "23"}]
        answer = store.get_online_features(["stats:trx", "stats:share"], rows)
        assert answer.to_dict()["trx"] == [99, None, 99], answer.to_dict()
        assert answer.event_timestamps["stats:trx"] == [day(9), None, day(9)]
        if importlib.util.find_spec("pandas"):
            frame = store.get_historical_features(asked.to_pandas(), ["stats:trx"]).to_native()
            assert str(frame["trx"].dtype) == "Int64" and int(frame["trx"][0]) == BIG, frame
        print("road", backend, "ok")
    same = fs.FeatureView(
        "v", entities=["e"], schema=[fs.Field("x", fs.Array(fs.Decimal(9, 2)))], ttl=timedelta(hours=36)
    )
    from e2i_fs.definitions import fingerprint

    print("fingerprint", fingerprint(same.canonical()))


if __name__ == "__main__":
    main(sys.argv[1])
