"""The training set, and the proof that rows from after its time change nothing in it (P-10)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

import e2i_fs as fs
from e2i_fs.cli.demo.claims import Claims
from e2i_fs.cli.demo.tables import Tables

__all__ = ["FEATURES", "Proof", "Retrieval", "cells_apart", "needed", "prove", "questions"]

FEATURES = "hcp_conversion"
_TOLD = ("business_metrics", "hcp_profiles")
"""The sources that the feature service reads."""
_FEATURE_VIEWS = ("hcp_conversion_features", "hcp_profile_features")


@dataclass(frozen=True, slots=True)
class Retrieval:
    """One answer to the same question: ``changed`` cells differ from the training set."""

    how: str
    backend: str
    rows: str
    changed: int


@dataclass(frozen=True, slots=True)
class Proof:
    """What was added and removed, and what it changed in each way of retrieving."""

    cells: int
    present: int
    removed: int
    added: int
    ours: Sequence[Retrieval]
    naive: Sequence[Retrieval]
    example: str


def questions(outcomes: Path, as_of: datetime, outcome_days: int) -> pa.Table:
    """Return the entity rows whose outcome was known at ``as_of``: hcp_id, brand_id, event_timestamp, converted."""
    table = pq.read_table(outcomes)
    known = pa.scalar(as_of - timedelta(days=outcome_days), table.schema.field("event_timestamp").type)
    return table.filter(pc.less_equal(table["event_timestamp"], known))


def cells_apart(one: Any, other: Any) -> int:
    """Return how many cells differ between two results, by value (missing is not zero), status or event time."""
    left, right = one.to_arrow(), other.to_arrow()
    assert left.num_rows == right.num_rows
    assert one.feature_names == other.feature_names
    apart = 0
    for name, ref in zip(one.feature_names, one.statuses, strict=True):
        columns = (left[name].to_pylist(), one.statuses[ref], one.event_timestamps[ref])
        others = (right[name].to_pylist(), other.statuses[ref], other.event_timestamps[ref])
        apart += sum(a != b for a, b in zip(zip(*columns, strict=True), zip(*others, strict=True), strict=True))
    return apart


def prove(
    training: Any,
    entity_rows: pa.Table,
    *,
    as_of: datetime,
    data: Path,
    work: Path,
    stores: Mapping[str, Callable[[Path], Mapping[str, Any]]],
    tables: Tables,
    clock: Callable[[], datetime],
    claims: Claims,
    progress: Callable[[str], None],
) -> Proof:
    """Ask the same question of stores that hold less and more than was known at ``as_of``, and compare every cell.

    ``training`` is the answer to check. *Of then* has only the rows that had arrived by ``as_of``; *tampered*
    has all of today's and, for every key, rows made up to do harm: events of later, events of just before a
    question that arrive afterwards, and corrections that arrive afterwards. ``stores`` are the kinds to ask, each
    with the configuration of one in a folder; the last is the one that joins naively too.
    """
    folders = {"of then": work / "of_then", "today": data, "tampered": work / "tampered"}
    removed = _write_past(data, folders["of then"], as_of)
    added = _write_tampered(data, folders["tampered"], entity_rows, as_of)
    for rows in ("of then", "tampered"):
        tables.bring(folders[rows], progress)
    ours, plain = [], {}
    example = ""
    kinds = list(stores)
    for kind in kinds:
        for rows, folder in folders.items():
            progress(f"{kind}, rows {rows}")
            where = work / f"{kind}_{folder.name}"
            with fs.connect(stores[kind](where), clock=clock) as store:
                store.apply([d for d in tables.definitions(folder) if needed(d)])
                known: dict[str, Any] = {"filter_by_created_timestamp": True, "as_of": as_of}
                answer = store.get_historical_features(entity_rows, FEATURES, **known)
                ours.append(Retrieval("as of then", kind, rows, cells_apart(training, answer)))
                if kind == kinds[-1]:
                    plain[rows] = store.get_historical_features(entity_rows, FEATURES)
                    if rows == "tampered":
                        example = _example(answer)
    changed = cells_apart(plain["of then"], plain["tampered"])
    naive = [Retrieval("event time alone", kinds[-1], "tampered", changed)]
    latest = _latest_apart(folders["of then"], folders["tampered"], entity_rows)
    naive.append(Retrieval("latest value", "SQL", "tampered", latest))
    statuses = [s for each in training.statuses.values() for s in each]
    present = sum(s is fs.FeatureStatus.PRESENT for s in statuses)
    claims.check(
        "The training set is full enough for the proof to mean something",
        present > len(statuses) / 2,
        f"{present:,} of {len(statuses):,} cells are present",
    )
    claims.check(
        "Rows of later change nothing in the training set, cell by cell",
        all(r.changed == 0 for r in ours),
        f"{removed:,} rows taken away, {added:,} harmful rows added, {len(ours)} retrievals over "
        f"{', '.join(kinds)}: {sum(r.changed for r in ours)} of {len(statuses):,} cells changed",
    )
    claims.check(
        "The proof has teeth: the same rows change what naive joins give",
        all(r.changed > 0 for r in naive),
        "; ".join(f"{r.how}: {r.changed:,} cells changed" for r in naive),
    )
    return Proof(len(statuses), present, removed, added, ours, naive, example)


def needed(definition: Any) -> bool:
    """The two views of the service and what belongs to them; the proof needs no others."""
    if isinstance(definition, fs.FeatureView):
        return definition.name in _FEATURE_VIEWS
    return definition.name in ("hcp", "brand", FEATURES)


def _write_past(data: Path, to: Path, as_of: datetime) -> int:
    """Write the sources without what arrived after ``as_of``; return how many rows that takes away."""
    to.mkdir(parents=True, exist_ok=True)
    gone = 0
    for name in _TOLD:
        table = pq.read_table(data / f"{name}.parquet")
        then = table.filter(pc.less_equal(table["created_at"], pa.scalar(as_of, table.schema.field("created_at").type)))
        gone += table.num_rows - then.num_rows
        pq.write_table(then, to / f"{name}.parquet")
    return gone


def _write_tampered(data: Path, to: Path, entity_rows: pa.Table, as_of: datetime) -> int:
    """Write the sources with harmful rows for every key of ``entity_rows``; return how many were added."""
    to.mkdir(parents=True, exist_ok=True)
    added = 0
    for name in _TOLD:
        table = pq.read_table(data / f"{name}.parquet")
        keys = [key for key in ("hcp_id", "brand_id") if key in table.column_names]
        asked: dict[tuple[str, ...], datetime] = {}
        for *named, at in zip(*(entity_rows[k].to_pylist() for k in (*keys, "event_timestamp")), strict=True):
            asked[tuple(named)] = max(at, asked.get(tuple(named), at))
        rows = []
        for i, (key, at) in enumerate(sorted(asked.items())):
            arrived = as_of + timedelta(hours=1, minutes=i)
            for event, created in (
                (as_of + timedelta(days=1 + i % 30), as_of + timedelta(days=31)),  # of later
                (at - timedelta(microseconds=1), arrived),  # just before the question, arrived after as_of
                (at, arrived + timedelta(days=1)),  # at the very moment of the question, arrived after as_of
            ):
                times = {"event_timestamp": event, "created_at": created}
                rows.append({**_harmful(table.schema), **dict(zip(keys, key, strict=True)), **times})
        pq.write_table(
            pa.concat_tables([table, pa.Table.from_pylist(rows, schema=table.schema)]), to / f"{name}.parquet"
        )
        added += len(rows)
    return added


def _harmful(schema: pa.Schema) -> dict[str, Any]:
    """Return values that no true row has."""
    made: dict[str, Any] = {}
    for field in schema:
        if pa.types.is_integer(field.type):
            made[field.name] = 999_999
        elif pa.types.is_floating(field.type):
            made[field.name] = 987.5
        elif pa.types.is_string(field.type):
            made[field.name] = "TAMPERED"
    return made


def _latest_apart(before: Path, after: Path, entity_rows: pa.Table) -> int:
    """Return how many cells differ when each entity row simply gets its key's latest row of business_metrics."""
    features = [
        "trx_count",
        "nrx_count",
        "total_rx_count",
        "market_share",
        "conversion_rate",
        "engagement_score",
        "call_frequency",
    ]
    newest = ", ".join(f"arg_max(COALESCE({f}, -1), (event_timestamp, created_at)) AS {f}" for f in features)
    apart = " + ".join(f"count_if(a.{f} IS DISTINCT FROM b.{f})" for f in features)
    with duckdb.connect() as connection:
        connection.register("asked", entity_rows)
        for name, folder in (("a", before), ("b", after)):
            connection.read_parquet(str(folder / "business_metrics.parquet")).create_view(f"all_{name}")
            connection.execute(f"CREATE TABLE {name} AS SELECT hcp_id, brand_id, {newest} FROM all_{name} GROUP BY ALL")
        found = connection.execute(
            f"SELECT {apart} FROM asked LEFT JOIN a USING (hcp_id, brand_id) LEFT JOIN b USING (hcp_id, brand_id)"
        ).fetchone()
    assert found is not None
    return int(found[0])


def _example(answer: Any) -> str:
    """Return why the last question got its answer: the rows about the winner, harmful ones among them."""
    explanation = answer.explain(row=len(answer) - 1)[_FEATURE_VIEWS[0]]
    chosen = next((i for i, c in enumerate(explanation.candidates) if c.verdict in ("chosen", "expired")), 0)
    key = ", ".join(f"{k}={v}" for k, v in explanation.key.items())
    lines = [
        f"{explanation.view} of {key}, asked as of {explanation.timestamp:%Y-%m-%d %H:%M:%S}",
        "",
        f"{'verdict':>13}  {'event':16}  {'known':16}  {'trx_count':>9}  why",
    ]
    for c in explanation.candidates[max(0, chosen - 3) : chosen + 3]:
        event, created = (f"{t:%Y-%m-%d %H:%M}" if t else "—" for t in (c.event_timestamp, c.created_timestamp))
        lines.append(f"{c.verdict:>13}  {event:16}  {created:16}  {c.values['trx_count']!s:>9}  {c.reason}")
    return "\n".join(lines)
