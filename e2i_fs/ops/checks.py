"""Freshness checks that leave a record, whether they could be made or not (F-2, F-3)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta

from e2i_fs.clock import Clock
from e2i_fs.errors import E2IError, UnknownFeatureError
from e2i_fs.ops.freshness import FreshnessReport, FreshnessStatus
from e2i_fs.ops.freshness_history import FreshnessHistory

__all__ = ["Checks"]


class Checks:
    """Checks views one by one and keeps what was found for ``keep``.

    ``look`` asks how fresh one view is; ``tell`` tells observers of what a check found.
    """

    def __init__(
        self,
        look: Callable[[str], FreshnessReport],
        tell: Callable[[Iterable[FreshnessReport]], None],
        history: FreshnessHistory,
        keep: timedelta,
        clock: Clock,
    ) -> None:
        self._look = look
        self._tell = tell
        self._history = history
        self._keep = keep
        self._clock = clock

    def check(self, views: Iterable[str], *, named: bool = True) -> dict[str, FreshnessReport]:
        """Check every view, keep a record of each and tell observers, then raise the first error, if there was any.

        A view that cannot be checked is recorded as UNKNOWN with its error, and keeps no other from being checked. One that is
        unknown by now is left out where nobody has ``named`` it.
        """
        reports, errors = {}, []
        for view in views:
            report, error = self._looked(view)
            if isinstance(error, UnknownFeatureError) and not named:
                continue
            reports[view] = report
            if error is not None:
                errors.append(error)
        self._history.add(reports.values(), self._keep)
        self._tell(reports.values())
        if errors:
            first, *others = errors
            for other in others:
                first.add_note(f"And also {type(other).__name__}: {other}")
            raise first
        return reports

    def note(self, view: str) -> None:
        """Keep a record of how fresh a view is just after a job: the low point of its curve. That it fails is in the record."""
        self._history.add([self._looked(view)[0]], self._keep)

    def _looked(self, view: str) -> tuple[FreshnessReport, E2IError | None]:
        try:
            return self._look(view), None
        except E2IError as error:
            said = f"{type(error).__name__}: {error}"
            now = self._clock.now()
            failed = FreshnessReport(view, FreshnessStatus.UNKNOWN, None, None, None, 0, now, "", error=said)
            return failed, error
