"""A quality report as one HTML page that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from e2i_fs.quality.outcome import Outcome
from e2i_fs.quality.scores import WEIGHTS

if TYPE_CHECKING:
    from e2i_fs.quality.report import QCReport

__all__ = ["page_of"]

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:70em;margin:2em auto;padding:0 1em;color:#222}
table{border-collapse:collapse;margin:.5em 0 1.5em;width:100%}th,td{text-align:left;padding:.25em .7em;border-bottom:1px solid #ddd}
td.n{text-align:right;font-variant-numeric:tabular-nums}.failed,.error{color:#b00020;font-weight:600}.warning{color:#8a6100}
.passed{color:#1b6e3c}.inconclusive,.skipped{color:#6a1b9a}small{color:#666}
"""


def page_of(report: QCReport) -> str:
    """Return the page of ``report``: verdict, dimensions, what stops it, what to do, expectations, columns."""
    score = "—" if report.overall_score is None else f"{report.overall_score:.3f}"
    of = f" of {escape(report.experiment_id)}" if report.experiment_id else ""
    parts = [
        "<!doctype html><html lang='en'><meta charset='utf-8'><title>Quality report</title>",
        f"<style>{_STYLE}</style><h1>Quality report{of}: <span class='{report.status}'>{report.status}</span></h1>",
        (
            f"<p>Score {score} · {report.row_count:,} rows · {report.column_count} columns · "
            f"{report.validated_at:%Y-%m-%d %H:%M:%S} UTC <small>{report.report_id}</small></p>"
        ),
        _table(
            ["dimension", "score", "weight"],
            [(n, "not judged" if s is None else f"{s:.4f}", f"{WEIGHTS[n]:.2f}") for n, s in report.scores.items()],
        ),
        _list("What stops it", report.blocking_issues),
        _list("Warnings", report.warnings),
        _list("What to do", report.remediation_steps),
        "<h2>Expectations</h2>",
        _table(
            ["expectation", "outcome", "looked at", "offending", "rows", "message"],
            [
                (repr(r.expectation), r.outcome, r.observed, r.offending, ", ".join(map(str, r.examples)), r.message)
                for r in report.expectation_results
            ],
        ),
        "<h2>Columns</h2>",
        _table(
            ["column", "type", "present", "missing", "NaN", "infinite", "min", "max", "mean", "std"],
            [
                (c.name, c.type, c.present, c.missing, c.nan, c.infinite, c.min, c.max, c.mean, c.std)
                for c in report.columns
            ],
        ),
    ]
    return "\n".join(parts) + "</html>\n"


def _list(title: str, sentences: Sequence[str]) -> str:
    items = "".join(f"<li>{escape(s)}</li>" for s in sentences)
    return f"<h2>{title}</h2><ul>{items}</ul>" if sentences else ""


def _table(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    head = "".join(f"<th>{escape(n)}</th>" for n in names)
    body = "".join(f"<tr>{''.join(_cell(v) for v in row)}</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _cell(value: Any) -> str:
    if value is None:
        return "<td>—</td>"
    if isinstance(value, Outcome):
        return f"<td class='{value.value}'>{value.value}</td>"
    if isinstance(value, int | float) and not isinstance(value, bool):
        text = f"{value:,}" if isinstance(value, int) else f"{value:.6g}"
        return f"<td class='n'>{text}</td>"
    return f"<td>{escape(str(value))}</td>"
