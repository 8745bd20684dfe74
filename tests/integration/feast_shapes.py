"""Small Feast repositories in the shapes of Feast's own examples, with generated rows; applied and materialised by Feast."""

from __future__ import annotations

import random
import shutil
import warnings
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd

__all__ = ["NOW", "make_rows", "repository"]

HERE = Path(__file__).parent / "feast_repositories"
NOW = datetime(2024, 6, 1, 12, tzinfo=UTC)


def _rows(
    keys: dict[str, list[Any]], values: Callable[[random.Random], dict[str, Any]], time: str, days: int, seed: int
) -> Any:
    """Return rows for each combination of keys: eight times in ``days`` days until `NOW`, two of them corrected later."""
    chance = random.Random(seed)
    rows = []
    combined = [dict(zip(keys, row, strict=True)) for row in zip(*keys.values(), strict=True)]
    for key in combined:
        for step in range(8):
            at = NOW - timedelta(days=days * (step + 1) / 8, minutes=chance.randrange(600))
            rows.append({**key, time: at, "created": at + timedelta(minutes=5), **values(chance)})
            if step in (2, 5):
                rows.append({**key, time: at, "created": at + timedelta(hours=3), **values(chance)})
    return pd.DataFrame(rows)


def make_rows(name: str, folder: Path) -> None:
    """Write the Parquet files of the repository ``name``."""
    data = folder / "data"
    data.mkdir(exist_ok=True)
    made: dict[str, Any] = {}
    if name == "credit":
        made["zipcode"] = _rows(
            {"zipcode": [94109, 10001, 60601]},
            lambda r: {"city": r.choice(["A", "B"]), "population": r.randrange(10**6), "total_wages": r.random() * 1e9},
            "event_timestamp", 400, 1,
        ).rename(columns={"created": "created_timestamp"})  # fmt: skip
        made["credit"] = _rows(
            {"dob_ssn": ["19630621_4278", "19790429_9552", "19971130_7830"]},
            lambda r: {"credit_card_due": r.randrange(9000), "missed_payments": r.randrange(5)},
            "event_timestamp", 60, 2,
        ).drop(columns="created").drop_duplicates(["dob_ssn", "event_timestamp"])  # fmt: skip
    elif name == "fraud":
        made["payments"] = _rows(
            {"user_id": ["u1", "u2", "u_3"]},
            lambda r: {"payments_7d": r.randrange(50), "mean_amount": float(r.randrange(1, 400)) / 4, "is_new": r.random() < 0.5},
            "at", 5, 3,
        )  # fmt: skip
        made["payments"]["mean_amount"] = made["payments"]["mean_amount"].astype("float32")
        shops = _rows(
            {"shop_id": [1, 2, 3]},
            lambda r: {"risk": r.random(), "countries": [r.choice("DF"), "I"], "stars": r.randrange(6)},
            "at", 300, 4,
        )  # fmt: skip
        made["shops"] = shops.astype({"stars": "int32"}).drop_duplicates(["shop_id", "at"]).drop(columns="created")
    else:
        made["drivers"] = _rows(
            {"driver_id": [1001, 1002, 1003]},
            lambda r: {"conv_rate": float(r.randrange(8)) / 8, "trips": r.randrange(100), "seen": NOW - timedelta(days=r.randrange(9))},
            "event_timestamp", 3, 5,
        ).astype({"conv_rate": "float32"})  # fmt: skip
        made["trips"] = _rows(
            {"driver_id": [1001, 1001, 1002], "customer_id": ["c1", "c2", "c1"]},
            lambda r: {"rides": r.randrange(30)}, "event_timestamp", 1, 6,
        )  # fmt: skip
        made["weather"] = pd.DataFrame(
            {"event_timestamp": [NOW - timedelta(days=1)], "rain_mm": pd.Series([0.5], dtype="float32")}
        )
        made["licences"] = pd.DataFrame(
            {"driver_id": [1001], "event_timestamp": [NOW - timedelta(days=1)], "scan": [b"%PDF"], "pages": [2]}
        )
    for file, frame in made.items():
        for column in frame.columns:
            if isinstance(frame[column].dtype, pd.DatetimeTZDtype):
                frame[column] = frame[column].astype("datetime64[us, UTC]")
        frame.to_parquet(data / f"{file}.parquet", index=False)


def repository(name: str, folder: Path, *, apply: bool = True) -> None:
    """Make the repository ``name`` in ``folder``, applied and materialised by Feast up to `NOW` unless told otherwise."""
    shutil.copytree(HERE / name, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    make_rows(name, folder)
    if not apply:
        return
    import feast
    from e2i_fs_feast.collected import contents_of

    with (
        contents_of(folder) as contents,
        warnings.catch_warnings(),
    ):  # in the folder, from which Feast takes relative paths
        warnings.simplefilter("ignore")
        local = [v.name for v in contents.feature_views if v.online and v.name not in ("warehouse_stats", "licences")]
        store = feast.FeatureStore(str(folder))
        store.apply(
            [
                *contents.data_sources, *[e for e in contents.entities if e.name != "__dummy"], *contents.feature_views,
                *contents.on_demand_feature_views, *contents.feature_services,
            ]
        )  # fmt: skip
        store.materialize(NOW - timedelta(days=500), NOW, feature_views=local)
