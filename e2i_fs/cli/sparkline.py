"""How fresh a view was over time, as one line of text: high is old, the colour is the status."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from rich.text import Text

from e2i_fs.cli.tables import STATUS_STYLE
from e2i_fs.ops.freshness import FreshnessReport, FreshnessStatus, worst

__all__ = ["sparkline"]

_BARS = "▁▂▃▄▅▆▇█"
_NOTHING, _UNKNOWN = "·", "?"


def sparkline(reports: Sequence[FreshnessReport], *, until: datetime, days: float, width: int = 40) -> Text:
    """Return ``width`` characters for the ``days`` before ``until``, each of an equal part of the time, the oldest first.

    A bar is the greatest age of its part against twice the limit, or against the greatest age of all where there is no
    limit; ``?`` is a part where it was not known, ``·`` one without a check.
    """
    parts: list[list[FreshnessReport]] = [[] for _ in range(width)]
    begin, step = until - timedelta(days=days), timedelta(days=days) / width
    for report in reports:
        parts[min(width - 1, max(0, (report.checked_at - begin) // step))].append(report)
    longest = max((r.age for r in reports if r.age is not None), default=timedelta(0))
    line = Text()
    for part in parts:
        status = worst(r.status for r in part)
        if not part:
            line.append(_NOTHING, style="dim")
        elif status is FreshnessStatus.UNKNOWN:
            line.append(_UNKNOWN, style=STATUS_STYLE[status])
        else:
            line.append(_BARS[max(_height(r, longest) for r in part)], style=STATUS_STYLE[status])
    return line


def _height(report: FreshnessReport, longest: timedelta) -> int:
    most = longest if report.max_staleness is None else 2 * report.max_staleness
    if report.age is None or not most:
        return 0
    return min(len(_BARS) - 1, int(len(_BARS) * (report.age / most)))
