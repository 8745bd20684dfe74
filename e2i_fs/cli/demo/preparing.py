"""The data preparer's part: a frame that is refused, and nothing of it anywhere; frames that are accepted and read back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

import e2i_fs as fs
from e2i_fs.cli.demo.claims import Claims
from e2i_fs.cli.demo.repository import feature_repo

__all__ = ["GATED", "Gated", "check_refused", "prepare", "refuse"]

GATED = {"hcp_conversion_features": "business_metrics", "hcp_profile_features": "hcp_profiles"}
"""The views of the model, and the files that their frames come from."""


@dataclass(frozen=True, slots=True)
class Gated:
    """One frame before the gate: its rows, what the quality report says, and what became of it."""

    frame: str
    view: str
    status: str
    rows: int
    score: float
    scores: Mapping[str, float | None]
    reasons: Sequence[str]
    read_back: tuple[int, int]


def refuse(store: Any, data: Path, defined: Sequence[Any], clock: Callable[[], datetime]) -> Gated:
    """Bring the newest rows, their market share in percent, before the gate, and return what became of it."""
    view, file = next(iter(GATED.items()))
    frame = pq.read_table(data / f"{file}.parquet")
    frame = frame.slice(max(0, len(frame) - 20_000))
    share = pc.multiply(frame["market_share"], pa.scalar(100, pa.float32()))
    percent = frame.set_column(frame.column_names.index("market_share"), "market_share", share)
    done = feature_repo("agents").data_preparer(store, _view(view, defined), percent, clock=clock)
    return _told(f"{file}, market_share in percent", done)


def check_refused(refused: Gated, store: Any, claims: Claims) -> None:
    """Look into a ``store`` opened anew for anything of the refused frame."""
    views, entities = len(store.list_feature_views()), len(store.list_entities())
    claims.check(
        "A frame that the gate refuses is registered nowhere",
        refused.status == "skipped" and bool(refused.reasons) and views == entities == 0,
        f"{views} views and {entities} entities in a store opened anew; {'; '.join(refused.reasons)}",
    )


def prepare(
    store: Any, data: Path, defined: Sequence[Any], clock: Callable[[], datetime], claims: Claims
) -> list[Gated]:
    """Bring the true frames of the model's views through the gate into the store."""
    told = []
    for view, file in GATED.items():
        frame = pq.read_table(data / f"{file}.parquet")
        done = feature_repo("agents").data_preparer(store, _view(view, defined), frame, clock=clock)
        told.append(_told(file, done))
    claims.check(
        "What the gate accepts is registered, and reads back as it was written, offline and online",
        all(g.status == "completed" and min(g.read_back) > 0 for g in told),
        "; ".join(
            f"{g.view}: score {g.score:.3f}, {g.rows:,} rows, {g.read_back[0]} read back offline, {g.read_back[1]} online"
            for g in told
        ),
    )
    return told


def _view(name: str, defined: Sequence[Any]) -> Any:
    return next(d for d in defined if isinstance(d, fs.FeatureView) and d.name == name)


def _told(frame: str, done: Any) -> Gated:
    back = (done.read_back.offline, done.read_back.online) if done.read_back else (0, 0)
    report = done.report
    return Gated(
        frame, done.view, done.status, report.row_count, report.overall_score, dict(report.scores),
        done.decision.reasons, back,
    )  # fmt: skip
