"""An audit report as one HTML page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from e2i_fs.quality.leakage.report import AuditReport, Example, Finding

__all__ = ["page"]

_STYLE = """
:root{color-scheme:light dark;--bad:#b3261e;--warn:#8a5a00;--good:#1b6e3c;--line:#8884}
body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2rem}
table{border-collapse:collapse;width:100%;font-size:.9rem}td,th{text-align:left;padding:.3rem .6rem;border-bottom:1px solid var(--line);vertical-align:top}
.scroll{overflow-x:auto}code{font-size:.9em}summary{cursor:pointer}
.failed,.error{color:var(--bad);font-weight:600}.warning,.inconclusive{color:var(--warn);font-weight:600}.passed{color:var(--good)}
article{border:1px solid var(--line);border-radius:8px;padding:.6rem 1rem;margin:.8rem 0}
"""


def page(report: AuditReport, title: str) -> str:
    """Return the report as an HTML page."""
    outcome = report.outcome.value
    found = "".join(_finding(f) for f in report.findings) or "<p>Nothing was found.</p>"
    checks = _table(
        ("check", "outcome", "why"), [(c.name, _outcome(c.outcome.value), escape(c.message)) for c in report.checks]
    )
    asked = _table(("check", "to have it judged"), [(escape(n), escape(w)) for n, w in report.not_asked.items()])
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><style>{_STYLE}</style></head><body>'
        f"<h1>{escape(title)}: {_outcome(outcome)}</h1>"
        f"<p>{report.rows:,} rows, {report.cells:,} cells compared with the store, {len(report.findings)} findings.</p>"
        f"<h2>Findings</h2>{found}<h2>Checks</h2>{checks}"
        + (f"<h2>Not asked</h2>{asked}" if report.not_asked else "")
        + "</body></html>\n"
    )


def _finding(finding: Finding) -> str:
    where = f" <code>{escape(finding.feature)}</code>" if finding.feature else ""
    head = f"{_outcome(finding.outcome.value, finding.kind.value)}{where} · {finding.cells:,}"
    shown = _table(
        ("row", "at", "the frame has", "the store says", "from the row of", "known at", "of"),
        [_example(e) for e in finding.examples],
    )
    examples = f"<details><summary>examples</summary>{shown}</details>" if finding.examples else ""
    return f"<article><div>{head}</div><p>{escape(finding.message)}</p>{examples}</article>"


def _example(example: Example) -> Sequence[str]:
    known = example.to_dict()
    names = ("row", "timestamp", "value", "answer", "event_timestamp", "created_timestamp", "key")
    return [_text(known.get(name)) for name in names]


def _text(value: Any) -> str:
    return "—" if value is None else escape(str(value))


def _outcome(outcome: str, text: str | None = None) -> str:
    return f'<span class="{outcome}">{escape(text or outcome)}</span>'


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    top = "".join(f"<th>{escape(h)}</th>" for h in head)
    body = "".join("<tr>" + "".join(f"<td>{c}</td>" for c in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><tr>{top}</tr>{body}</table></div>'
