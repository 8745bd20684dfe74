"""``audit``: what a training frame knows that it could not have known."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from e2i_fs.cli.answer import Answer
from e2i_fs.cli.command import command
from e2i_fs.cli.exits import NO, OK
from e2i_fs.cli.rows import column_dtypes, parse_time, read_rows
from e2i_fs.cli.session import Session
from e2i_fs.cli.tables import table
from e2i_fs.errors import RequestError

if TYPE_CHECKING:
    from e2i_fs.dtypes import DType
    from e2i_fs.quality import AuditReport
    from e2i_fs.store import Store

__all__ = ["add_to"]

_COLOUR = {"passed": "green", "warning": "yellow", "failed": "bold red", "error": "bold red", "inconclusive": "magenta"}


def add_to(app: typer.Typer) -> None:
    """Add the command of this module."""
    command(
        app, "audit", panel="Features",
        example="e2i-fs audit training.parquet --feature visits:trx_count --target converted --html audit.html",
    )(audit)  # fmt: skip


def audit(
    session: Session,
    frame: Annotated[str, typer.Argument(help="The training frame: .parquet or .csv, - for CSV on stdin.")],
    feature: Annotated[
        list[str] | None,
        typer.Option(
            "--feature", "--features", "-f", help="view:feature or view:*; repeat for more.", show_default=False
        ),
    ] = None,
    service: Annotated[
        str | None, typer.Option("--service", "-s", help="A feature service.", show_default=False)
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option("--label", "-l", help="The label's reference; repeat for more.", show_default=False),
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="The column to predict; the label's, if one is given.", show_default=False)
    ] = None,
    timestamp_column: Annotated[str, typer.Option(help="The column of times.")] = "event_timestamp",
    label_timestamp_column: Annotated[
        str | None, typer.Option(help="The column of the times when the label became known.", show_default=False)
    ] = None,
    splits_column: Annotated[
        str | None, typer.Option(help="The column that says each row's split, train first.", show_default=False)
    ] = None,
    embargo_days: Annotated[
        float | None, typer.Option(help="The gap that there should be between two splits.", show_default=False)
    ] = None,
    as_of: Annotated[
        str | None, typer.Option("--as-of", help="Ignore whatever became known after this time.", show_default=False)
    ] = None,
    known: Annotated[
        bool, typer.Option("--known", help="A value known only after its row's time fails, rather than warns.")
    ] = False,
    full_feature_names: Annotated[
        bool, typer.Option("--full-feature-names", help="The columns are named view__feature.")
    ] = False,
    html: Annotated[
        str | None, typer.Option("--html", help="Write the report as one HTML page.", show_default=False)
    ] = None,
    allow_inconclusive: Annotated[
        bool, typer.Option("--allow-inconclusive", help="Exit with 0 even if a check could not be judged.")
    ] = False,
) -> Answer:
    """Find what a training frame, made by any tool, contains that could not have been known at the time.

    Exits with 1 when anything is found, or when a check could not be judged (unless --allow-inconclusive).
    """
    from e2i_fs.quality import audit as audited

    if bool(feature) == bool(service):
        raise RequestError(
            "Say what the columns are: either --service NAME, or --feature view:feature (repeat it for more)."
        )
    if html is not None and not Path(html).absolute().parent.is_dir():
        raise RequestError(f"--html {html}: there is no folder {Path(html).absolute().parent}; make it first.")
    features: Any = service or [ref.strip() for given in feature or () for ref in given.split(",")]
    with session.store() as store, session.progress() as bars:
        task = bars.add_task("Reading the frame", total=2)
        rows = read_rows(frame, _told(store))
        bars.update(task, advance=1, description=f"Auditing {rows.num_rows:,} rows")
        report = audited(
            rows, store, features, labels=tuple(label or ()), target=target, timestamp_column=timestamp_column,
            label_timestamp_column=label_timestamp_column, full_feature_names=full_feature_names, splits=splits_column,
            embargo=None if embargo_days is None else timedelta(days=embargo_days),
            filter_by_created_timestamp=True if known else "auto", as_of=parse_time(as_of, "--as-of"),
        )  # fmt: skip
        bars.update(task, advance=1)
    if html is not None:
        Path(html).write_text(report.to_html(f"Leakage audit of {Path(frame).name}"), encoding="utf-8")
    return Answer(report.to_dict(), _shown(report, html), _code(report, allow_inconclusive=allow_inconclusive))


def _told(store: Store) -> dict[str, DType]:
    """Return the dtypes that a CSV file cannot be left to say; whole numbers are, for pandas writes 7.0 where there are gaps."""
    values = column_dtypes(store, store.list_feature_views())
    return {n: t for n, t in values.items() if t.kind in ("string", "json")} | column_dtypes(store)


def _code(report: AuditReport, *, allow_inconclusive: bool) -> int:
    if report.findings or report.outcome.failed:
        return NO
    return OK if report.clean or allow_inconclusive else NO


def _shown(report: AuditReport, html: str | None) -> list[Any]:
    colour = _COLOUR[report.outcome.value]
    counted = f"{len(report.findings)} findings in {report.rows:,} rows, {report.cells:,} cells compared with the store"
    parts: list[Any] = [f"[{colour}]{report.outcome.value}[/]: {counted}"]
    parts += [
        f"\n[{_COLOUR[f.outcome.value]}]{f.kind.value}[/] {escape(f.feature or '')}\n{escape(f.message)}"
        for f in report.findings
    ]
    parts.append(
        table(None, ["check", "outcome", "why"], [(c.name, c.outcome.value, c.message) for c in report.checks])
    )
    for name, what in report.not_asked.items():
        parts.append(f"[dim]not asked: {escape(name)}; {escape(what)}[/]")
    return [*parts, f"The report is in {escape(html)}"] if html else parts
