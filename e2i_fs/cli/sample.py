"""The small data that `e2i-fs init` writes: it ends now, so that the new project serves at once."""

from __future__ import annotations

import math
import random
from datetime import datetime, timedelta
from pathlib import Path

__all__ = ["write_questions", "write_rows"]

_HCPS = [f"hcp_{i}" for i in range(1, 13)]
_BRANDS = ["alvexa", "1_alvexa"]
_DAYS = 60


def write_rows(path: Path, now: datetime) -> int:
    """Write 60 days of rows that end at ``now`` as Parquet; return how many. Some are late, corrected or missing."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    draw = random.Random(7)  # noqa: S311 - sample data
    rows = []
    for hcp in _HCPS:
        for brand in _BRANDS:
            lean = draw.gauss(0, 1)
            for back in range(_DAYS - 1, -1, -1):
                lean = 0.95 * lean + draw.gauss(0, 0.3)
                if back and draw.random() < 0.1:
                    continue
                event = now - timedelta(days=back, hours=2)
                late = timedelta(days=draw.randint(1, 9)) if back > 9 and draw.random() < 0.05 else timedelta(hours=1)
                trx = max(0, round(6 + 3 * lean + draw.gauss(0, 1)))
                row = {
                    "hcp_id": hcp,
                    "brand_id": brand,
                    "event_timestamp": event,
                    "created_at": event + late,
                    "trx_count": trx,
                    "engagement_score": 1 / (1 + math.exp(-lean)),
                    "call_frequency": None if draw.random() < 0.05 else max(0.0, 3 + lean + draw.gauss(0, 1)),
                    "converted": draw.random() < 1 / (1 + math.exp(1 - 1.5 * lean)),
                }
                rows.append(row)
                if back > 9 and draw.random() < 0.03:
                    rows.append({**row, "created_at": event + late + timedelta(days=3), "trx_count": trx + 1})
    time = pa.timestamp("us", "UTC")
    schema = pa.schema(
        [
            ("hcp_id", pa.string()),
            ("brand_id", pa.string()),
            ("event_timestamp", time),
            ("created_at", time),
            ("trx_count", pa.int64()),
            ("engagement_score", pa.float32()),
            ("call_frequency", pa.float32()),
            ("converted", pa.bool_()),
        ]
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)
    return len(rows)


def write_questions(path: Path, now: datetime) -> int:
    """Write entity rows, one for each HCP and brand at some time in the last 50 days, as CSV; return how many."""
    draw = random.Random(8)  # noqa: S311 - sample data
    lines = ["hcp_id,brand_id,event_timestamp"]
    for hcp in _HCPS:
        for brand in _BRANDS:
            at = now - timedelta(minutes=draw.randint(0, 50 * 24 * 60))
            lines.append(f"{hcp},{brand},{at.isoformat(timespec='seconds')}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return len(lines) - 1
