"""A Feast repository over the benchmarks' files, made with Feast's own classes. Imported only where Feast is measured."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from benchmarks.data import names


def repository(
    folder: Path, histories: list[str], *, features: int = 10, offline: str = "duckdb", online: dict[str, Any] | None = None,
    ttl: timedelta = timedelta(days=0),
) -> Any:  # fmt: skip
    """Apply one view ``v0``, ``v1`` … for each file and return the open `feast.FeatureStore`."""
    from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
    from feast.types import Float64, String

    config = RepoConfig(
        project="bench", provider="local", registry=str(folder / "registry.db"), entity_key_serialization_version=3,
        offline_store={"type": offline},
        online_store={"type": "sqlite", "path": str(folder / "online.db")} if online is None else online,
    )  # fmt: skip
    store = FeatureStore(config=config, repo_path=str(folder))
    hcp = Entity(name="hcp", join_keys=["hcp_id"], value_type=ValueType.STRING)
    schema = [Field(name="hcp_id", dtype=String), *(Field(name=name, dtype=Float64) for name in names(features))]
    views = [
        FeatureView(
            name=f"v{number}", entities=[hcp], schema=schema, ttl=ttl,
            source=FileSource(name=f"s{number}", path=path, timestamp_field="event_timestamp"),
        )
        for number, path in enumerate(histories)
    ]  # fmt: skip
    store.apply([hcp, *views])
    return store
