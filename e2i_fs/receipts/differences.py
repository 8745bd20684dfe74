"""What differs between a training set and its receipt, in words and as values."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from e2i_fs.frozen import FrozenMap

__all__ = ["Difference", "DifferenceKind", "Verification"]


class DifferenceKind(enum.StrEnum):
    """What kind of thing differs.

    >>> from datetime import datetime
    >>> import pyarrow as pa
    >>> from e2i_fs.receipts import DifferenceKind
    >>> from e2i_fs.testing import example_store
    >>> asked = pa.table({"hcp_id": ["hcp_1"], "event_timestamp": [datetime(2024, 3, 6)]})
    >>> with example_store() as store:
    ...     receipt = store.get_historical_features(asked, ["hcp_stats:trx_count"]).receipt
    ...     _ = store.delete("hcp_model"), store.delete("hcp_stats")
    ...     first, *others = store.verify(receipt).differences
    >>> first.kind is DifferenceKind.VIEW_MISSING, [str(other.kind) for other in others]
    (True, ['FEATURE_MISSING'])
    """

    DEFINITION = "DEFINITION"
    VIEW_MISSING = "VIEW_MISSING"
    FEATURE_MISSING = "FEATURE_MISSING"
    DTYPE = "DTYPE"
    VALUES = "VALUES"
    NOT_REBUILT = "NOT_REBUILT"


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference between a training set and its receipt.

    ``view`` or ``feature`` says where; ``before`` and ``now`` are fingerprints or dtypes. For values, ``rows`` counts
    the rows that changed, ``positions`` lists the first of them (at most 100, from 0), and ``example`` describes the
    very first: its position, keys, time, present value, and the event time of the source row that this value comes
    from.

    >>> from datetime import datetime
    >>> import pyarrow as pa
    >>> from e2i_fs.testing import example_store
    >>> asked = pa.table({"hcp_id": ["hcp_1"], "event_timestamp": [datetime(2024, 3, 6)]})
    >>> late = {"hcp_id": "hcp_1", "event_timestamp": datetime(2024, 3, 5, 12), "created_at": datetime(2024, 3, 10),
    ...         "trx_count": 99, "engagement": 0.5, "converted": None}
    >>> with example_store() as store:
    ...     receipt = store.get_historical_features(asked, ["hcp_stats:trx_count"]).receipt
    ...     _ = store.write("hcp_stats", [late], to="offline")
    ...     (found,) = store.verify(receipt).differences
    >>> str(found.kind), found.feature, found.positions, found.example["now"]
    ('VALUES', 'hcp_stats:trx_count', (0,), 99)
    """

    kind: DifferenceKind
    message: str
    view: str = ""
    feature: str = ""
    before: str | None = None
    now: str | None = None
    rows: int = 0
    positions: tuple[int, ...] = ()
    example: Mapping[str, Any] = field(default_factory=FrozenMap)

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True, slots=True)
class Verification:
    """The result of `Store.verify`: whether a recreated training set is identical to that of the receipt.

    ``differences`` lists what is not. ``notes`` lists what also changed but is no difference: the backend that
    answered, a degraded answer, versions. ``rows`` were compared, and ``rows_changed`` of them have another value in
    some feature. ``served_by`` and ``degraded`` are those of the new answer, ``verified_at`` is in UTC.

    >>> from datetime import datetime
    >>> import pyarrow as pa
    >>> from e2i_fs.testing import example_store
    >>> asked = pa.table({"hcp_id": ["hcp_1"], "event_timestamp": [datetime(2024, 3, 6)]})
    >>> with example_store() as store:
    ...     told = store.verify(store.get_historical_features(asked, "hcp_model").receipt)
    >>> told.identical, told.differences
    (True, ())
    """

    identical: bool
    differences: tuple[Difference, ...]
    notes: tuple[str, ...]
    rows: int
    rows_changed: int
    served_by: str | None
    degraded: bool
    verified_at: datetime

    def __str__(self) -> str:
        head = (
            f"identical: {self.rows} rows"
            if self.identical
            else f"{len(self.differences)} differences in {self.rows} rows"
        )
        if len(self.differences) == 1:
            head = f"1 difference in {self.rows} rows"
        return "\n".join([head, *(f"  - {d}" for d in self.differences), *(f"  ({note})" for note in self.notes)])

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values, for JSON."""
        return {**asdict(self), "differences": [{**asdict(d), "example": dict(d.example)} for d in self.differences]}
