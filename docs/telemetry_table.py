"""Write the tables of telemetry.md, between its marks, from the one module of names.

python docs/telemetry_table.py             write them into the page
python docs/telemetry_table.py --check     exit with 1 when the page is out of date, 0 when it is not
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from e2i_fs.telemetry import names
from e2i_fs.telemetry.names import Label, Metric

PAGE = Path(__file__).resolve().parent / "telemetry.md"
BEGIN, END = "<!-- names: begin -->\n", "<!-- names: end -->\n"


def tables() -> str:
    """Return what stands between the marks."""
    counted = [m for m in names.METRICS if not m.pulled]
    return "\n".join([
        "### Counted when it happens\n", _metrics(counted),
        "### Read when somebody collects\n", _metrics(names.PULLED),
        "### Of the feature server, for Prometheus only\n", _metrics(names.HTTP),
        "### Labels\n", _labels(),
        "### Operations and spans\n", _operations(),
        "### Attributes of spans\n",
        _table(("attribute", "what it says"), [(f"`{name}`", about) for name, about in names.ATTRIBUTES.items()]),
    ])  # fmt: skip


def _metrics(metrics: Iterable[Metric]) -> str:
    rows = [
        (f"`{m.name}`", f"`{m.prometheus}`", m.kind.value, f"`{m.unit}`" if m.unit else "",
         ", ".join(f"`{label.prometheus}`" for label in m.labels), m.help)
        for m in metrics
    ]  # fmt: skip
    return _table(("OpenTelemetry", "Prometheus", "kind", "unit", "labels", "what it is"), rows)


def _labels() -> str:
    metrics = (*names.METRICS, *names.HTTP)

    def of(label: Label) -> str:
        own = [m for m in metrics if label in m.labels]
        named = [m for m in metrics if any(other.name == label.name for other in m.labels)]
        return "" if own == named else ", ".join(f"`{m.name}`" for m in own)

    found = list(dict.fromkeys(label for m in metrics for label in m.labels))
    rows = [
        (f"`{label.name}`", ", ".join(f"`{value}`" for value in label.values), label.help, of(label)) for label in found
    ]
    return _table(("label", "values", "what it says", "in"), rows)


def _operations() -> str:
    rows = [(f"`{o.span}`", f"`{o.name}`", f"one call of `store.{o.method}`") for o in names.OPERATIONS]
    rows += [
        (f"`{names.SPAN_ATTEMPT}`", "", "one backend that is asked in a read, with failover"),
        (f"`{names.SPAN_BACKEND_WRITE}`", "", "one backend that is asked to take a write or a run, with failover"),
        (f"`{names.SPAN_RUN}`", "", "one run of materialisation, of a job too"),
    ]
    return _table(("span", "operation", "what it is"), rows)


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(head)
    lines = [head, ["---"] * len(head), *map(list, rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def page() -> str:
    """Return the whole page with the tables as they should be."""
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{tables()}\n{END}{after}"


def main(arguments: list[str]) -> int:
    """Write the page, or with ``--check`` only look."""
    wanted = page()
    if arguments == ["--check"]:
        return 0 if PAGE.read_text(encoding="utf-8") == wanted else 1
    PAGE.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
