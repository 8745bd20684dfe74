"""What became of a registration, as one frozen value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from e2i_fs.agents.inference import Inferred
from e2i_fs.frozen import FrozenMap

if TYPE_CHECKING:
    from e2i_fs.catalog import Plan
    from e2i_fs.ops.freshness import FreshnessReport
    from e2i_fs.quality.gate import GateDecision
    from e2i_fs.quality.report import QCReport

__all__ = ["FeatureRegistration", "ReadBack"]


@dataclass(frozen=True, slots=True)
class ReadBack:
    """What was read back from the store: how many sampled rows were compared, offline and online.

    ``problems`` lists values that came back different; ``notes`` what could not be compared, and why that is no fault.

    >>> from datetime import datetime
    >>> from e2i_fs.agents import FeatureRegistrar, FeatureSpec
    >>> from e2i_fs.testing import memory_store
    >>> rows = {"hcp_id": ["a", "a"], "event_timestamp": [datetime(2024, 3, d) for d in (8, 9)], "trx_count": [3, 5]}
    >>> with memory_store() as store:
    ...     done = FeatureRegistrar(store, FeatureSpec("hcp_stats", entities={"hcp": ["hcp_id"]})).register(rows)
    >>> done.read_back
    ReadBack(offline=2, online=1, problems=(), notes=())
    """

    offline: int = 0
    online: int = 0
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureRegistration:
    """The outcome of registering one frame.

    ``status`` is ``completed``; ``empty`` for a frame without rows; ``skipped`` when the gate refused it (see
    ``decision``); or ``error`` (see ``error``). Unless completed, nothing is registered except what ``left_behind``
    names: what could not be undone, which rows are gone, and what to do. ``undone`` lists what was undone. ``rows`` is
    the number of rows written. ``freshness`` is the view's, by name, right afterwards.

    >>> from datetime import datetime
    >>> from e2i_fs.agents import FeatureRegistrar, FeatureSpec
    >>> from e2i_fs.testing import memory_store
    >>> rows = {"hcp_id": ["a", "b"], "event_timestamp": [datetime(2024, 3, 9)] * 2, "trx_count": [3, 5]}
    >>> with memory_store() as store:
    ...     done = FeatureRegistrar(store, FeatureSpec("hcp_stats", entities={"hcp": ["hcp_id"]})).register(rows)
    >>> done.status, done.rows, done.registered_features, done.plan.created
    ('completed', 2, ('hcp_stats:trx_count',), ('entity hcp', 'view hcp_stats'))
    """

    status: Literal["completed", "empty", "skipped", "error"]
    view: str
    registered_views: tuple[str, ...] = ()
    registered_features: tuple[str, ...] = ()
    registered_labels: tuple[str, ...] = ()
    rows: int = 0
    plan: Plan | None = None
    report: QCReport | None = None
    decision: GateDecision | None = None
    inferred: tuple[Inferred, ...] = ()
    read_back: ReadBack | None = None
    freshness: Mapping[str, FreshnessReport] = field(default_factory=FrozenMap)
    warnings: tuple[str, ...] = ()
    registered_at: datetime | None = None
    error: str | None = None
    undone: tuple[str, ...] = ()
    left_behind: tuple[str, ...] = ()

    @property
    def completed(self) -> bool:
        """Whether the features can be read from the store."""
        return self.status == "completed"
