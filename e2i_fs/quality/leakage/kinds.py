"""What an audit can find, by name."""

from __future__ import annotations

import enum

__all__ = ["WARNINGS", "LeakKind"]


class LeakKind(enum.StrEnum):
    """The kinds of leaks and defects that an audit can find.

    Of single cells, judged by the store: ``FUTURE_VALUE`` comes from a row later than the entity row (P-1),
    ``LATE_VALUE`` from one known only later (P-3), ``BACKFILLED_ROW`` from one known much later than its peers,
    ``EXPIRED_VALUE`` from one older than the ttl (P-2), ``STALE_VALUE`` from an older row than the right one (wrong,
    but no leak). ``FILLED_VALUE`` is a value where the store has none (P-5), ``LOST_VALUE`` is missing where the store
    has one, ``WRONG_ENTITY`` belongs to another entity (P-7), ``TIME_SHIFT`` is right at another time, the same
    distance away in every row, and ``UNEXPLAINED`` is found nowhere in history.

    Of whole rows and columns: duplicate rows; the target in a column as it is, in the pattern of its missing values, in
    a key, in a window that includes the row's own time, or in an average over its group; a label among the features
    (P-12); a feature computed after the label; labels that are not the store's; figures fitted on all splits.

    Of splits: rows, entities or times that two of them share, and a gap that is too small.

    >>> from datetime import datetime
    >>> from e2i_fs.quality import LeakKind, audit_splits
    >>> train = {"hcp_id": ["a"], "event_timestamp": [datetime(2024, 3, 9)]}
    >>> test = {"hcp_id": ["b"], "event_timestamp": [datetime(2024, 3, 2)]}
    >>> report = audit_splits({"train": train, "test": test}, entity_keys=["hcp_id"])
    >>> [finding.outcome.value for finding in report.of_kind(LeakKind.TIME_OVERLAP)]
    ['failed']
    """

    FUTURE_VALUE = "FUTURE_VALUE"
    LATE_VALUE = "LATE_VALUE"
    BACKFILLED_ROW = "BACKFILLED_ROW"
    EXPIRED_VALUE = "EXPIRED_VALUE"
    STALE_VALUE = "STALE_VALUE"
    FILLED_VALUE = "FILLED_VALUE"
    LOST_VALUE = "LOST_VALUE"
    WRONG_ENTITY = "WRONG_ENTITY"
    TIME_SHIFT = "TIME_SHIFT"
    UNEXPLAINED = "UNEXPLAINED"
    DUPLICATE_ROWS = "DUPLICATE_ROWS"
    TARGET_COPY = "TARGET_COPY"
    TARGET_IN_MISSINGNESS = "TARGET_IN_MISSINGNESS"
    TARGET_IN_KEY = "TARGET_IN_KEY"
    TARGET_IN_WINDOW = "TARGET_IN_WINDOW"
    TARGET_IN_ENCODING = "TARGET_IN_ENCODING"
    LABEL_AS_FEATURE = "LABEL_AS_FEATURE"
    COMPUTED_AFTER_LABEL = "COMPUTED_AFTER_LABEL"
    SHUFFLED_LABEL = "SHUFFLED_LABEL"
    FITTED_ON_TEST = "FITTED_ON_TEST"
    ROW_IN_TWO_SPLITS = "ROW_IN_TWO_SPLITS"
    ENTITY_OVERLAP = "ENTITY_OVERLAP"
    TIME_OVERLAP = "TIME_OVERLAP"
    EMBARGO_BROKEN = "EMBARGO_BROKEN"


WARNINGS = frozenset({LeakKind.STALE_VALUE, LeakKind.LOST_VALUE, LeakKind.DUPLICATE_ROWS})
"""What is wrong without telling the model anything that it could not have known."""
