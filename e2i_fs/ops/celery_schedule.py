"""A trigger as a schedule of Celery's beat, with the meaning that it has everywhere. Needs ``e2i-fs[celery]``."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from celery.schedules import BaseSchedule, schedstate  # type: ignore[import-untyped]

from e2i_fs.ops.triggers import Trigger, counted_from

__all__ = ["TriggerSchedule"]


class TriggerSchedule(BaseSchedule):  # type: ignore[misc]
    """When ``trigger`` says. However many times beat has missed, it sends once.

    Beat keeps it in its file, and compares it by value.
    """

    def __init__(self, trigger: Trigger, nowfun: Any = None, app: Any = None) -> None:
        super().__init__(nowfun=nowfun, app=app)
        self.trigger = trigger
        self._counted: tuple[datetime, datetime] | None = None

    def is_due(self, last_run_at: datetime) -> Any:
        """Return whether it is due, and in how many seconds to look again; Celery's ``schedstate``."""
        now = _aware(self.now())
        last = _aware(last_run_at)
        if self._counted is None or self._counted[0] != last or self._counted[1] > now:
            self._counted = last, counted_from(last, now)
        due = self.trigger.next_after(self._counted[1])
        if due <= now:
            return schedstate(True, (self.trigger.next_after(now) - now).total_seconds())
        return schedstate(False, (due - now).total_seconds())

    def __repr__(self) -> str:
        return f"<{self.trigger}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TriggerSchedule) and self.trigger == other.trigger

    def __hash__(self) -> int:
        return hash(self.trigger)

    def __reduce__(self) -> tuple[Any, ...]:
        return TriggerSchedule, (self.trigger, self.nowfun)


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
