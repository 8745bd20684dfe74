"""The tables of benchmarks.md, from docs/benchmarks/results.json.

    python docs/benchmarks_table.py           write the tables and the plots
    python docs/benchmarks_table.py --check   exit with 1 when the page is not of these results

`python -m benchmarks --out docs/benchmarks` measures anew.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent
PAGE, FOLDER = DOCS / "benchmarks.md", DOCS / "benchmarks"
FIRST, LAST = "<!-- begin: benchmarks -->", "<!-- end: benchmarks -->"

sys.path.insert(0, str(DOCS.parent))  # the benchmarks lie beside the docs, and are not installed


def report() -> dict[str, Any]:
    """Return the committed results."""
    found: dict[str, Any] = json.loads((FOLDER / "results.json").read_text(encoding="utf-8"))
    return found


def plots() -> list[str]:
    """Return the addresses of the committed plots, as seen from the page."""
    return [f"{FOLDER.name}/{file.name}" for file in sorted(FOLDER.glob("*.png"))]


def page() -> str:
    """Return benchmarks.md with the tables anew."""
    from benchmarks.tables import markdown

    before, _, rest = PAGE.read_text(encoding="utf-8").partition(FIRST)
    _, _, after = rest.partition(LAST)
    if not after:
        raise SystemExit(f"{PAGE} has no {FIRST} ... {LAST}")
    return f"{before}{FIRST}\n{markdown(report(), plots())}\n{LAST}{after}"


def main() -> None:
    """Write or check."""
    if "--check" in sys.argv[1:]:
        if page() != PAGE.read_text(encoding="utf-8"):
            raise SystemExit(
                "docs/benchmarks.md is not of docs/benchmarks/results.json: python docs/benchmarks_table.py"
            )
        return
    from benchmarks.plots import draw

    draw(report(), FOLDER)
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
