"""What the demo ends with, on a terminal of the usual width."""

from __future__ import annotations

import io
import re
from datetime import UTC, datetime

import pytest

from e2i_fs.cli.demo.claims import Claims

pytest.importorskip("sklearn", reason="the demo trains a model: pip install e2i-fs[demo]")


def test_no_digit_is_cut_off_at_eighty_columns() -> None:
    from rich.console import Console

    from e2i_fs.cli.demo.run import Story
    from e2i_fs.cli.demo.serving import Request
    from e2i_fs.cli.demo.telling import summary

    now = datetime(2026, 7, 1, tzinfo=UTC)
    story = Story("two", "shown", 1.0, 7, now, now, Claims())
    for who, took in (("primary", 12.3), ("standby", 1234.5)):
        story.requests.append(Request(0.0, "standby away too", who, who == "primary", "", took, 0.5, True))
    told = io.StringIO()
    Console(file=told, width=80, force_terminal=False).print(summary(story, "demo-out/report.html"))
    assert re.search(r"1234\.5 +│", told.getvalue()), told.getvalue()
    assert "slowest" in told.getvalue()
