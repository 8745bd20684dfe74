"""``dashboard``: the Grafana dashboard that comes with e2i_fs."""

from __future__ import annotations

import json

import typer

from e2i_fs.cli.answer import Answer
from e2i_fs.cli.command import command
from e2i_fs.cli.session import Session

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the command of this module."""
    command(app, "dashboard", example="e2i-fs dashboard > grafana.json", panel="Operations")(dashboard)


def dashboard(session: Session) -> Answer:
    """Print a Grafana dashboard of the Prometheus metrics of e2i_fs, ready to import.

    Needs no configuration. The documentation's page on telemetry says what to scrape.
    """
    del session
    from rich.text import Text

    from e2i_fs.telemetry.dashboard import shipped

    document = shipped()
    return Answer(document, [Text(json.dumps(document, indent=1, ensure_ascii=False))])
