"""The audit: one straight line from a frame and a store to a report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from e2i_fs.errors import BackendError, FailoverError
from e2i_fs.quality.leakage.answers import ask
from e2i_fs.quality.leakage.bench import Bench
from e2i_fs.quality.leakage.cells import CELLS, Compared, compare_cells
from e2i_fs.quality.leakage.events import announce
from e2i_fs.quality.leakage.fitted import fitted_on_test
from e2i_fs.quality.leakage.labels import after_label, labels_among_features
from e2i_fs.quality.leakage.outcomes import label_values
from e2i_fs.quality.leakage.parts import Parts
from e2i_fs.quality.leakage.question import Question
from e2i_fs.quality.leakage.report import AuditReport, Check
from e2i_fs.quality.leakage.rows import duplicate_rows
from e2i_fs.quality.leakage.splits import split_checks
from e2i_fs.quality.leakage.target import target_checks
from e2i_fs.quality.leakage.windows import encodings, windows
from e2i_fs.quality.outcome import Outcome

if TYPE_CHECKING:
    from e2i_fs.definitions import FeatureService
    from e2i_fs.protocol import FeatureStore

__all__ = ["audit"]


def audit(
    training_frame: Any,
    store: FeatureStore,
    features: Sequence[str] | FeatureService | str,
    *,
    labels: Sequence[str] = (),
    target: str | None = None,
    timestamp_column: str = "event_timestamp",
    label_timestamp_column: str | None = None,
    full_feature_names: bool = False,
    columns: Mapping[str, str] | None = None,
    splits: Any = None,
    embargo: timedelta | None = None,
    isolate_entities: bool | None = None,
    filter_by_created_timestamp: Literal["auto"] | bool = "auto",
    as_of: datetime | None = None,
) -> AuditReport:
    """Find the values in a training frame that could not have been known at their time, whatever tool made the frame.

    ``training_frame`` is any frame: one row for each entity row, with the join keys, ``timestamp_column`` (naive times
    are UTC), and a column for each of ``features`` and ``labels``. These are named like the feature, or
    ``view__feature`` with ``full_feature_names``, or as ``columns={"view:feature": "column"}`` says. Other columns are
    checked for what they reveal about the target. ``features`` and ``labels`` are as in
    `Store.get_historical_features`.

    ``target`` names the column to predict (by default the label's, if there is one label), ``label_timestamp_column``
    the column with the time when it became known. ``splits`` is a column of the frame, a mapping of split name to row
    numbers in the order train first, or `TrainingSplits`; ``embargo`` and ``isolate_entities`` are as in
    `audit_splits`.

    ``filter_by_created_timestamp="auto"`` takes created times into account for each view that has them (P-3), and a
    value that was merely late warns; with True it fails; with False created times only break ties. ``as_of`` ignores
    whatever became known later.

    Returns an `AuditReport`. A check that cannot be judged is INCONCLUSIVE; a check that raised is ERROR, and counts as
    failed. Raises `RequestError` for a question that makes no sense (an empty frame, a missing column or key, an
    unknown reference), and `BackendError` or `FailoverError` when the store cannot answer.

    >>> from datetime import UTC, datetime
    >>> import e2i_fs as fs
    >>> from e2i_fs.quality import audit
    >>> store = fs.connect({"backend": "memory"}, clock=lambda: datetime(2024, 3, 9, tzinfo=UTC))
    >>> visits = fs.FeatureView("visits", entities=[fs.Entity("hcp")], schema=[fs.Field("trx", fs.Int64)])
    >>> _ = store.apply([visits])
    >>> day = [datetime(2024, 3, d, tzinfo=UTC) for d in (1, 5)]
    >>> _ = store.write("visits", [{"hcp": "a", "event_timestamp": t, "trx": n} for t, n in zip(day, (3, 8))])
    >>> frame = [{"hcp": "a", "event_timestamp": datetime(2024, 3, 2, tzinfo=UTC), "trx": 8}]
    >>> [finding.kind.value for finding in audit(frame, store, ["visits:trx"]).findings]
    ['FUTURE_VALUE']
    """
    question = Question.of(
        training_frame, store, features, labels=labels, target=target, timestamp_column=timestamp_column,
        label_timestamp_column=label_timestamp_column, full_feature_names=full_feature_names, columns=columns or {},
    )  # fmt: skip
    parts = Parts.of(splits, question)
    answers = ask(store, question, filter_by_created_timestamp, as_of)
    not_asked: dict[str, str] = {}
    checks: list[Check] = []
    with Bench(question.frame.table, question.entities.times) as bench:
        beside = {f"a{n}": answers.known[j.ref] for n, j in enumerate(question.judged)}
        beside |= {f"b{n}": answers.lenient[j.ref] for n, j in enumerate(question.judged) if j.ref in answers.lenient}
        bench.load(beside)
        compared = _compared(bench, question, answers)
        checks += [
            compared.check,
            run("duplicate rows", lambda: duplicate_rows(bench, question)),
            run("labels among features", lambda: labels_among_features(bench, question, store)),
        ]
        if question.target is None:
            not_asked["target"] = "give target=, the column to predict, to have each column held against it"
        else:
            checks += target_checks(bench, question, compared.honest)
            checks += [
                run("target in windows", lambda: windows(bench, question)),
                run("target in encodings", lambda: encodings(bench, question)),
            ]
        if any(j.label for j in question.judged):
            checks.append(run("label values", lambda: label_values(bench, question, answers)))
        else:
            not_asked["label values"] = "give labels=, the label's reference, to have the target held against the store"
        if label_timestamp_column is None:
            not_asked["computed after the label"] = "give label_timestamp_column=, when the label became known"
        else:
            checks.append(run("computed after the label", lambda: after_label(bench, question, answers)))
        if parts is None:
            not_asked["splits"] = "give splits=, a column or the rows of each split"
        else:
            checks += split_checks(parts, embargo=embargo, isolate_entities=isolate_entities)
            checks.append(run("fitted on test", lambda: fitted_on_test(bench, question, parts)))
    report = AuditReport(
        tuple(checks),
        not_asked,
        question.rows,
        question.rows * sum(not j.label for j in question.judged),
        compared.cells,
    )
    announce(store, compared.by_view)
    return report


def _compared(bench: Bench, question: Question, answers: Any) -> Compared:
    compared: list[Compared] = []

    def work() -> Check:
        compared.append(compare_cells(bench, question, answers))
        return compared[0].check

    check = run(CELLS, work)
    return compared[0] if compared else Compared(check, None, {}, frozenset())


def run(name: str, work: Callable[[], Check]) -> Check:
    """Return what a check says, or that it raised: a defect in one check hides neither itself nor the others.

    A store that is away is no outcome of a check: the audit as a whole could not be done.
    """
    try:
        return work()
    except (BackendError, FailoverError):
        raise
    except Exception as error:  # recorded as ERROR, which counts as failed
        return Check(name, Outcome.ERROR, f"the check itself raised {type(error).__name__}: {error}. Please report it.")
