"""The audit of a frame that no store stands behind: what its own columns and splits give away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from e2i_fs.catalog import Catalog
from e2i_fs.definitions import Entity
from e2i_fs.frames import Frame
from e2i_fs.frozen import FrozenMap
from e2i_fs.historical import EntityFrame
from e2i_fs.quality.leakage.audit import run
from e2i_fs.quality.leakage.bench import Bench
from e2i_fs.quality.leakage.cells import CELLS
from e2i_fs.quality.leakage.fitted import fitted_on_test
from e2i_fs.quality.leakage.parts import HasSplits, Parts
from e2i_fs.quality.leakage.question import Question
from e2i_fs.quality.leakage.report import AuditReport
from e2i_fs.quality.leakage.splits import split_checks
from e2i_fs.quality.leakage.target import target_checks
from e2i_fs.quality.leakage.windows import encodings, windows
from e2i_fs.request import Request

__all__ = ["audit_alone"]


def audit_alone(
    frame: Any,
    splits: HasSplits,
    *,
    target: str,
    features: Sequence[str],
    entity_keys: Sequence[str],
    timestamp_column: str = "event_timestamp",
) -> AuditReport:
    """Find in ``features`` of a frame what tells its ``target``, and what its ``splits`` share, without a store.

    ``splits`` were made of these very rows. No cell can be held against what could be known then, which is in the
    report's ``not_asked``; so no column is given the room that `audit` gives to one whose every cell is proven.

    Returns an `AuditReport`; a check that cannot judge is INCONCLUSIVE. Raises `RequestError` kinds for a frame without
    these columns, or without a time in a row.
    """
    table = Frame(frame, "frame").table.select(list(dict.fromkeys([*entity_keys, timestamp_column, *features, target])))
    question = Question(
        entities=EntityFrame.checked(table, timestamp_column, reject_naive=False, what="frame"),
        catalog=Catalog(entities=FrozenMap({key: Entity(key) for key in entity_keys})),
        request=Request((), {}, (), (), ()),
        judged=(),
        timestamp_column=timestamp_column,
        label_timestamp_column=None,
        label_times=None,
        target=target,
        misused=(),
    )
    parts = Parts.made(splits)
    with Bench(question.frame.table, question.entities.times) as bench:
        bench.load({})
        checks = [
            *target_checks(bench, question, frozenset()),
            run("target in windows", lambda: windows(bench, question)),
            run("target in encodings", lambda: encodings(bench, question)),
            *split_checks(parts),
            run("fitted on test", lambda: fitted_on_test(bench, question, parts)),
        ]
    return AuditReport(tuple(checks), {CELLS: "there is no store to hold each cell against"}, question.rows, 0)
