"""``e2i-fs init``: a working project in an empty folder."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer
from rich.panel import Panel

from e2i_fs.cli.answer import Answer
from e2i_fs.cli.command import command
from e2i_fs.cli.session import Session
from e2i_fs.clock import SystemClock
from e2i_fs.errors import RequestError

__all__ = ["add_to"]

_WRITTEN = ("e2i_fs.yaml", "features.py", "README.md")


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    command(app, "init", example="e2i-fs init my_features", panel="Start")(init)


def init(
    session: Session,
    folder: Annotated[Path, typer.Argument(help="An empty folder, or one that does not exist yet.")] = Path(),
) -> Answer:
    """Write a working project into an empty folder: configuration, definitions, a little data, next steps."""
    del session
    from e2i_fs.cli.sample import write_questions, write_rows

    if folder.is_file():
        raise RequestError(f"init: {folder} is a file. Name an empty folder, e.g. `e2i-fs init my_features`.")
    if folder.exists() and any(folder.iterdir()):
        first = min(p.name for p in folder.iterdir())
        raise RequestError(
            f"init: {folder.resolve()} is not empty (it holds {first!r}), and nothing in it was touched. "
            "Name an empty or a new folder, e.g. `e2i-fs init my_features`."
        )
    folder.mkdir(parents=True, exist_ok=True)
    now = SystemClock().now().replace(microsecond=0)
    rows = write_rows(folder / "data" / "engagement.parquet", now)
    questions = write_questions(folder / "questions.csv", now)
    templates = files("e2i_fs.cli.templates")
    for name in _WRITTEN:
        (folder / name).write_text((templates / name).read_text(encoding="utf-8"), encoding="utf-8")
    written = [*_WRITTEN, "data/engagement.parquet", "questions.csv"]
    steps = [] if folder.resolve() == Path.cwd() else [f"cd {folder}"]
    steps += [
        "e2i-fs apply",
        "e2i-fs historical questions.csv --service hcp_conversion",
        "e2i-fs materialize-incremental",
        "e2i-fs online --service hcp_conversion -e hcp_id=hcp_1,brand_id=alvexa",
    ]
    told = f"{rows:,} rows of history and {questions} questions.\n\n[bold]Next:[/]\n" + "\n".join(
        f"  {s}" for s in steps
    )
    return Answer(
        {"folder": str(folder.resolve()), "written": written, "rows": rows, "next": steps},
        [Panel(told, title=f"A feature store in {folder.resolve().name}/", title_align="left", border_style="green")],
    )
