"""``qc``, ``baseline`` and ``drift``: is this data fit to go on."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from e2i_fs.cli.answer import Answer
from e2i_fs.cli.command import command
from e2i_fs.cli.exits import NO, OK
from e2i_fs.cli.session import Session
from e2i_fs.cli.tables import table
from e2i_fs.errors import RequestError, UnknownFeatureError, did_you_mean

if TYPE_CHECKING:
    from e2i_fs.definitions import FeatureView
    from e2i_fs.quality import BaselineMetrics

__all__ = ["add_to"]

_PANEL = "Quality"
_STYLES = {"passed": "green", "warning": "yellow", "inconclusive": "magenta", "failed": "red", "error": "bold red"}
Frame = Annotated[str, typer.Argument(help="A .parquet or .csv file, a folder or glob of Parquet files, or - for CSV.")]
Warn = Annotated[
    list[str] | None, typer.Option("--warn", help="A concern that only warns; repeat for more.", show_default=False)
]


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    command(app, "qc", example="e2i-fs qc rows.parquet --view hcp_engagement", panel=_PANEL)(qc)
    command(app, "baseline", example="e2i-fs baseline train.parquet --target converted --out b.json", panel=_PANEL)(
        baseline
    )
    command(app, "drift", example="e2i-fs drift baseline.json new.parquet", panel=_PANEL)(drift)


def qc(
    session: Session,
    frame: Frame,
    view: Annotated[
        str | None,
        typer.Option("--view", "-v", help="A view of the definitions that the frame must fit.", show_default=False),
    ] = None,
    required: Annotated[
        list[str] | None,
        typer.Option(help="A column that must have no missing values; repeat for more.", show_default=False),
    ] = None,
    key: Annotated[list[str] | None, typer.Option(help="A key column; repeat for more.", show_default=False)] = None,
    timestamp_column: Annotated[
        str | None, typer.Option(help="The time column; event_timestamp if there is one.", show_default=False)
    ] = None,
    max_age_hours: Annotated[float | None, typer.Option(help="The greatest age of a row.", show_default=False)] = None,
    min_score: Annotated[float, typer.Option(help="The lowest overall score allowed.")] = 0.80,
    warn: Warn = None,
    html: Annotated[
        Path | None, typer.Option(help="Also write the report as an HTML page.", show_default=False)
    ] = None,
) -> Answer:
    """Judge the quality of a frame in five dimensions, and say whether the gate lets it through.

    Exits with 1 if not: blocking issues, expectations, the score, and whatever could not be judged all block, unless
    --warn.
    """
    from e2i_fs.quality import QCReport, QualityGate

    gate = QualityGate(min_score, dict.fromkeys(warn or [], "warn"))
    of = None if view is None else _view(session, view)
    report = QCReport.of(
        _rows(frame, of), view=of, required=required or (), keys=key or (), timestamp_column=timestamp_column,
        max_age=None if max_age_hours is None else dt.timedelta(hours=max_age_hours),
    )  # fmt: skip
    decision = gate.judge(report)
    if html is not None:
        _write(html, report.to_html())
    dimensions = [(name, "not judged" if score is None else score) for name, score in report.scores.items()]
    broken = [(repr(r.expectation), r.outcome, r.offending) for r in report.failed_expectations]
    parts: list[Any] = [table(None, ["dimension", "score"], dimensions, right=[1])]
    if broken:
        parts.append(table(None, ["expectation", "outcome", "rows"], broken, right=[2]))
    parts.append(_verdict(f"{report.row_count:,} rows, score {_shown(report.overall_score)}", decision.allowed))
    parts += _sentences(decision.reasons, "red") + _sentences(decision.warnings, "yellow")
    return Answer(decision.to_dict(), parts, OK if decision.allowed else NO)


def baseline(
    session: Session,
    frame: Frame,
    out: Annotated[Path, typer.Option(help="The file to write.")] = Path("baseline.json"),
    target: Annotated[str | None, typer.Option(help="The target column.", show_default=False)] = None,
    feature: Annotated[
        list[str] | None,
        typer.Option("--feature", "-f", help="Only this column; repeat for more.", show_default=False),
    ] = None,
) -> Answer:
    """Measure a train split and save its figures, for `drift` to compare new data with."""
    del session
    from e2i_fs.quality import BaselineMetrics

    metrics = BaselineMetrics.of(_rows(frame, None), target=target, features=feature or None)
    _write(out, json.dumps(metrics.to_dict(), indent=1, allow_nan=False) + "\n")
    figures: list[tuple[Any, ...]] = [
        (name, f.missing_rate, f.mean, f.std, f.min, f.p50, f.max) for name, f in metrics.numeric.items()
    ]
    figures += [(n, f.missing_rate, f"{f.unique_count:,} classes", *[None] * 4) for n, f in metrics.categorical.items()]
    columns = ["feature", "missing", "mean", "std", "min", "median", "max"]
    shown = table(f"{metrics.training_samples:,} rows", columns, figures, right=range(1, 7))
    document = {"out": str(out), **metrics.to_dict()}
    return Answer(document, [shown, *_sentences(metrics.warnings, "yellow"), Text(f"Written to {out}.")])


def drift(
    session: Session,
    baseline: Annotated[Path, typer.Argument(help="The file that `baseline` wrote.")],
    frame: Frame,
    threshold: Annotated[
        list[str] | None,
        typer.Option(help="NAME=NUMBER, such as psi_fail=0.3; repeat for more.", show_default=False),
    ] = None,
) -> Answer:
    """Compare new data with the baseline of a train split, feature by feature.

    Exits with 1 when a feature has drifted, or when that could not be judged.
    """
    del session
    report = _baseline(baseline).drift(_rows(frame, None), thresholds=_thresholds(threshold or []))
    rows = [
        (name, c.kind, _outcome(c.outcome.value), c.value, c.by_chance)
        for name, feature in report.features.items()
        for c in feature.checks
    ]
    shown = table(None, ["feature", "check", "outcome", "change", "by chance"], rows, right=[3, 4])
    return Answer(report.to_dict(), [shown, *_sentences(report.messages, "yellow")], OK if report.outcome.fine else NO)


def _view(session: Session, name: str) -> FeatureView:
    """Return a view of the definitions, its entities as objects."""
    from dataclasses import replace

    from e2i_fs.definitions import Entity, FeatureView

    found = session.load_definitions()
    views = {d.name: d for d in found if isinstance(d, FeatureView)}
    if name not in views:
        raise UnknownFeatureError(f"--view {name!r} is not in the definitions.{did_you_mean(name, views)}")
    view = views[name]
    entities = {e.name: e for d in found for e in ([d] if isinstance(d, Entity) else getattr(d, "entity_objects", ()))}
    return replace(view, entities=[entities.get(n, n) for n in view.entity_names])


def _rows(path: str, view: FeatureView | None) -> Any:
    """Return the rows of a file: CSV is read here, Parquet where it is judged."""
    if path != "-" and Path(path).suffix.lower() != ".csv":
        return path
    from e2i_fs.cli.rows import read_rows

    dtypes = {}
    if view is not None:
        dtypes = {key: dtype for entity in view.entity_objects for key, dtype in entity.keys.items()}
        dtypes |= {f.name: f.dtype for f in view.schema}
    return read_rows(path, dtypes)


def _baseline(path: Path) -> BaselineMetrics:
    from e2i_fs.quality import BaselineMetrics

    try:
        form = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RequestError(f"There is no baseline at {path}. `e2i-fs baseline FRAME` writes one.") from error
    except ValueError as error:
        raise RequestError(f"{path} is not JSON: {error}. `e2i-fs baseline FRAME` writes a baseline.") from error
    return BaselineMetrics.from_dict(form)


def _thresholds(given: list[str]) -> dict[str, float]:
    made = {}
    for text in given:
        name, equals, number = text.partition("=")
        try:
            made[name] = float(number)
        except ValueError as error:
            raise RequestError(f"--threshold {text!r}: write NAME=NUMBER, such as psi_fail=0.3.") from error
        if not equals:
            raise RequestError(f"--threshold {text!r}: write NAME=NUMBER, such as psi_fail=0.3.")
    return made


def _write(path: Path, text: str) -> None:
    if not path.absolute().parent.is_dir():
        raise RequestError(f"{path}: there is no folder {path.absolute().parent}; make it first.")
    path.write_text(text, encoding="utf-8")


def _verdict(what: str, allowed: bool) -> Text:
    return Text.assemble(f"{what}: ", ("passed", "bold green") if allowed else ("blocked", "bold red"))


def _sentences(said: Any, style: str) -> list[Any]:
    return [Text(f"- {sentence}", style) for sentence in said]


def _outcome(outcome: str) -> Text:
    return Text(outcome, _STYLES[outcome])


def _shown(score: float | None) -> str:
    return "none" if score is None else f"{score:.3f}"
