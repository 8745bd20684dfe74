"""What the store says of every entity row of the frame: what could be known, and what its default would give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

import pyarrow as pa

from e2i_fs.backend import Knowledge
from e2i_fs.pit.times import moment_to_us
from e2i_fs.quality.leakage.question import Judged, Question
from e2i_fs.results import HistoricalResult

if TYPE_CHECKING:
    from e2i_fs.protocol import FeatureStore

__all__ = ["Answers", "ask"]


@dataclass(frozen=True)
class Answers:
    """The store's answers by reference.

    ``known`` is what the cells are held against. ``lenient`` has, where knowledge time counts, what the contract's default
    gives (P-3): a cell that equals only that is late; ``warns`` says that nobody asked for knowledge time, so that it only
    warns. ``results`` has the answer that
    each reference came with, ``knowledge`` how it was asked, by view.
    """

    known: Mapping[str, pa.ChunkedArray]
    lenient: Mapping[str, pa.ChunkedArray]
    results: Mapping[str, HistoricalResult]
    knowledge: Mapping[str, Knowledge]
    warns: bool


def ask(
    store: FeatureStore,
    question: Question,
    filter_by_created_timestamp: Literal["auto"] | bool,
    as_of: datetime | None,
) -> Answers:
    """Return the point-in-time answer to every row of the frame; with ``"auto"`` knowledge time counts where a view has it."""
    auto = filter_by_created_timestamp == "auto"
    features = [j for j in question.judged if j.ref not in question.labelled]  # an outcome is known later by its nature
    dated = [j for j in features if j.view is not None and j.view.created_column is not None]
    strict = dated if auto else features if filter_by_created_timestamp else []
    plain = [j for j in question.judged if j not in strict]
    known: dict[str, pa.ChunkedArray] = {}
    lenient: dict[str, pa.ChunkedArray] = {}
    results: dict[str, HistoricalResult] = {}
    for columns, counts in ((strict, True), (plain, False)):
        if columns:
            _asked(store, question, columns, counts, as_of, known, results)
    if strict:
        _asked(store, question, strict, False, as_of, lenient, {})
    as_of_us = None if as_of is None else moment_to_us(as_of, "as_of", reject_naive=False)
    views = {j.view.name: Knowledge(j in strict, as_of_us) for j in question.judged if j.view is not None}
    return Answers(known, lenient, results, views, auto)


def _asked(
    store: FeatureStore,
    question: Question,
    columns: list[Judged],
    counts: bool,
    as_of: datetime | None,
    into: dict[str, pa.ChunkedArray],
    results: dict[str, HistoricalResult],
) -> None:
    refs = [j.ref for j in columns]
    labels = [ref for ref in refs if ref in question.labelled]
    result = store.get_historical_features(
        question.asked, refs, full_feature_names=True, labels=labels, filter_by_created_timestamp=counts, as_of=as_of,
        timestamp_column=question.timestamp_column,
    )  # fmt: skip
    answer = result.to_arrow()
    for ref, name in zip(refs, result.feature_names, strict=True):
        into[ref] = answer.column(name)
        results[ref] = result
