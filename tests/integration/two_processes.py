"""One of two processes on one folder: python two_processes.py materialize|read FOLDER UNTIL (seconds since the epoch)."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime, timedelta

import pyarrow as pa

import e2i_fs as fs

T0 = datetime(2024, 1, 1, tzinfo=UTC)
KEYS = [f"hcp_{i}" for i in range(50)]
WIDTH = 20


def view() -> fs.FeatureView:
    schema = [fs.Field(f"f{i}", fs.Int64) for i in range(WIDTH)]
    return fs.FeatureView("v", entities=[fs.Entity("hcp_id")], schema=schema, source=fs.PushSource("p"))


def batch(number: int) -> pa.Table:
    """Every feature of every key holds the batch's number, so a row of two batches shows."""
    at = T0 + timedelta(seconds=number)
    columns = {f"f{i}": [number] * len(KEYS) for i in range(WIDTH)}
    times = pa.array([at] * len(KEYS), pa.timestamp("us", "UTC"))
    return pa.table({"hcp_id": KEYS, "event_timestamp": times, **columns})


def main(role: str, folder: str, until: float) -> None:
    done = torn = 0
    with fs.connect({"backend": "duckdb", "path": folder}) as store:
        newest = -1
        while time.time() < until:
            if role == "materialize":
                # History grows by a batch, then all of it is materialised: the newest must be online.
                store.write("v", batch(done), to="offline")
                store.materialize_incremental()
            else:
                answer = store.get_online_features(["v:*"], [{"hcp_id": k} for k in KEYS]).to_dict()
                rows = list(zip(*(answer[f"f{i}"] for i in range(WIDTH)), strict=True))
                torn += sum(len(set(row)) != 1 for row in rows)
                # One materialisation is one commit, so one read sees one batch, and never an older than before.
                seen = rows[0][0] if rows[0][0] is not None else -1
                torn += len(set(rows)) != 1
                assert seen >= newest, (seen, newest)
                newest = seen
            done += 1
        if role == "read":
            print(done, torn, newest)
        else:
            print(done, torn, done - 1)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]))
