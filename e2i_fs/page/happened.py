"""What happened to a store: moves of breakers and parity, answers by another backend than the primary, changes, leaks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from e2i_fs.page.said import asked, without_secrets
from e2i_fs.page.shown import Shown

if TYPE_CHECKING:
    from e2i_fs.ops.event_history import EventRecord

__all__ = ["happened"]

# Jobs that ended and views that are stale are told where jobs and views are.
_KINDS = ("Applied", "BreakerMoved", "FailedOver", "LeakageFound", "Materialized", "ParityMoved", "Replayed")
_MOST = 2_000


def happened(store: Shown, days: float) -> Mapping[str, Any]:
    """Return what happened in the last ``days``, the newest first, each thing with how often it did within its minute."""

    def ask() -> Mapping[str, Any]:
        found = store.events(days=days, kinds=_KINDS, limit=_MOST)
        return {"items": [_plain(record) for record in found], "all": len(found) < _MOST}

    return asked(ask)


def _plain(record: EventRecord) -> dict[str, Any]:
    about = {name: without_secrets(value) if isinstance(value, str) else value for name, value in record.about.items()}
    return {
        "kind": record.kind, "at": record.at, "last_at": record.last_at, "count": record.count, "about": about,
        "text": without_secrets(record.text),
    }  # fmt: skip
