"""The database's part in production: its tables answer as the files do, a push is kept in it, and what holds while it is away."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

import e2i_fs as fs
from e2i_fs.cli.demo.claims import Claims
from e2i_fs.cli.demo.production import Production
from e2i_fs.cli.demo.serving import Service, counted
from e2i_fs.cli.demo.tables import Files
from e2i_fs.cli.demo.training import FEATURES, cells_apart, needed
from e2i_fs.errors import E2IError

__all__ = ["check_left", "check_tables", "database_away", "push"]

PUSHED = "hcp_engagement_features"
SOURCE = "hcp_engagement_push_source"
PHASE = "PostgreSQL away"


def check_tables(
    result: Any,
    asked: pa.Table,
    *,
    data: Path,
    work: Path,
    as_of: datetime,
    clock: Callable[[], datetime],
    claims: Claims,
) -> None:
    """Ask DuckDB over the files that the tables were filled from, and compare its answer with ``result``, cell by cell."""
    with fs.connect({"backend": "duckdb", "path": str(work / "over_files")}, clock=clock) as store:
        store.apply([d for d in Files().definitions(data) if needed(d)])
        answer = store.get_historical_features(asked, FEATURES, filter_by_created_timestamp=True, as_of=as_of)
        apart = cells_apart(result, answer)
    claims.check(
        "The tables in PostgreSQL answer as the files that they were filled from",
        apart == 0 and result.provenance.served_by == "primary",
        f"{len(asked) * len(result.feature_names):,} cells, values, statuses and event times: {apart} differ",
    )


def push(service: Service, production: Production, store: Any, clock: Callable[[], datetime], claims: Claims) -> None:
    """Push a row, and look for it online, in history, in the database itself and in the freshness of the view."""
    before = production.history_rows()
    row = _row(service, store, clock(), 0)
    receipt = store.push(SOURCE, [row], to="both", idempotency_key="demo-push-0")[PUSHED]
    kept = production.history_rows() - before
    online, history = _online(store, row), _history(store, row, clock())
    claims.check(
        "A push is at once online in Redis and history in PostgreSQL, and the standby has it too",
        set(receipt.applied) == {"primary", "standby"}
        and kept == 1
        and online == history == (_values(row, online[0]), "primary"),
        f"taken by {', '.join(receipt.applied)}; {kept} batch more in the table e2i_fs_history; online by {online[1]}, "
        f"historically by {history[1]}: {', '.join(f'{k} {v}' for k, v in online[0].items())}",
    )
    fresh = store.freshness([PUSHED])[PUSHED]
    claims.check(
        "The age of a view is that of its newest row, here of the pushed one",
        fresh.age is not None and timedelta(0) <= fresh.age < timedelta(minutes=1),
        f"{PUSHED}: {fresh.status.value}, newest row {'—' if fresh.age is None else f'{fresh.age.total_seconds():.1f} s'} old",
    )


def database_away(
    service: Service,
    production: Production,
    result: Any,
    asked: pa.Table,
    *,
    store: Any,
    as_of: datetime,
    clock: Callable[[], datetime],
    claims: Claims,
    progress: Callable[[str], None],
) -> None:
    """Take PostgreSQL away and bring it back. ``result`` is the training set as it was answered before."""
    database = production.database
    known: dict[str, Any] = {"filter_by_created_timestamp": True, "as_of": as_of}
    progress(f"PostgreSQL away: {database.fault}")
    database.take_away()
    try:
        away = service.ask(store, PHASE, 10)
        claims.check(
            f"When {database.fault}, predictions go on: the primary serves them from Redis, right and unmarked",
            all(r.served_by == "primary" and r.right and not r.degraded for r in away),
            counted(away),
        )
        try:
            store.get_historical_features(asked, FEATURES, **known)
            refused: E2IError | None = None
        except E2IError as error:
            refused = error
        claims.check(
            "A training set over tables that are away is refused, and no backend makes one up",
            isinstance(refused, fs.BackendDataError | fs.FailoverError),
            "it was answered" if refused is None else f"{type(refused).__name__}: {refused}",
        )
        row = _row(service, store, clock(), 1)
        receipt = store.push(SOURCE, [row], to="both", idempotency_key="demo-push-1")[PUSHED]
        told = _online(store, row)
        claims.check(
            "What is pushed meanwhile is taken by the standby, known to be missed by the primary, and answered at once",
            receipt.applied == ("standby",)
            and set(receipt.missed) == {"primary"}
            and told == (_values(row, told[0]), "standby"),
            f"taken by {', '.join(receipt.applied)}; missed by {', '.join(receipt.missed)}; online by {told[1]}",
        )
    finally:
        progress(f"PostgreSQL back: {database.cure}")
        database.bring_back()
    before = production.history_rows()
    done = store.catch_up("primary")["primary"]
    kept = production.history_rows() - before
    told = _online(store, row)
    claims.check(
        "PostgreSQL is back: the missed push is replayed into it, and the primary answers with it",
        done.done and done.replayed == kept == 1 and told == (_values(row, told[0]), "primary"),
        f"{done.replayed} replayed, {kept} batch more in the table e2i_fs_history; online by {told[1]}",
    )
    again = store.get_historical_features(asked, FEATURES, **known)
    apart = cells_apart(result, again)
    claims.check(
        "The same questions get the same training set as before PostgreSQL went away",
        apart == 0 and again.provenance.served_by == "primary",
        f"{len(asked) * len(again.feature_names):,} cells by {again.provenance.served_by}: {apart} differ",
    )


def check_left(production: Production, claims: Claims) -> None:
    """Remove what the demo made on the servers, and count what of it is there before and after."""
    schemas, keys = production.left()
    production.clear()
    left = production.left()
    claims.check(
        "Of the demo nothing is left on the two servers",
        schemas > 0 and keys > 0 and left == (0, 0),
        f"removed {schemas} schemas and {keys:,} keys; {left[0]} schemas and {left[1]} keys are left",
    )


def _row(service: Service, store: Any, now: datetime, n: int) -> dict[str, Any]:
    """Return the ``n``-th row to push: the first pair's, of now, with values that no other row has."""
    view = store.get_feature_view(PUSHED)
    values = {field.name: 0.25 + (i + 3 * n) / 64 for i, field in enumerate(view.schema)}
    return {**service.rows[0], **values, view.event_column: now, view.created_column: now}


def _values(row: Mapping[str, Any], names: Sequence[str] | Mapping[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in names}


def _online(store: Any, row: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """Return what is answered online about the key of ``row``, and by whom."""
    names = [field.name for field in store.get_feature_view(PUSHED).schema]
    keys = {key: row[key] for key in ("hcp_id", "brand_id")}
    answer = store.get_online_features([f"{PUSHED}:{name}" for name in names], [keys])
    return {name: answer.to_dict()[name][0] for name in names}, answer.provenance.served_by


def _history(store: Any, row: Mapping[str, Any], now: datetime) -> tuple[dict[str, Any], str]:
    """Return what history says of the key of ``row`` at ``now``, and who answered."""
    names = [field.name for field in store.get_feature_view(PUSHED).schema]
    asked = [{"hcp_id": row["hcp_id"], "brand_id": row["brand_id"], "event_timestamp": now}]
    result = store.get_historical_features(asked, [f"{PUSHED}:{name}" for name in names])
    table = result.to_arrow()
    return {name: table[name][0].as_py() for name in names}, result.provenance.served_by
