"""``e2i-fs new-backend``: a whole plugin distribution that works as it stands, to be changed method by method."""

from __future__ import annotations

import re
import tempfile
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated

import typer
from rich.panel import Panel

from e2i_fs.cli.answer import Answer
from e2i_fs.cli.command import command
from e2i_fs.cli.session import Session
from e2i_fs.errors import RequestError

__all__ = ["add_to"]

# What is a name of a distribution (PEP 508) once "e2i-fs-" stands before it, and of a package once "-" is "_".
_NAME = re.compile(r"[a-z][a-z0-9]*(?:[-_][a-z0-9]+)*")
_LONGEST = 40


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    command(app, "new-backend", example="e2i-fs new-backend acme", panel="Start")(new_backend)


def new_backend(
    session: Session,
    name: Annotated[str, typer.Argument(help="What the backend is called in a configuration, e.g. acme.")],
    into: Annotated[Path, typer.Option(help="The folder to write it into.", show_default="here")] = Path(),
) -> Answer:
    """Write a plugin with a working backend, and the tests that it passes, into the folder e2i-fs-NAME.

    It keeps its rows in memory. Replace one method at a time, and run its tests after each.
    """
    del session
    _check_name(name)
    folder = into / f"e2i-fs-{name}"
    if folder.exists() or folder.is_symlink():
        raise RequestError(
            f"new-backend: {folder} is there already, and nothing in it was touched. "
            "Choose another name, or another place with --into."
        )
    into.mkdir(parents=True, exist_ok=True)
    # Written beside its place and moved there whole: a full disk or a Ctrl-C leaves no half of a project.
    with tempfile.TemporaryDirectory(prefix=".e2i-fs-new-", dir=into) as beside:
        made = Path(beside) / folder.name
        written = sorted(_copy(files("e2i_fs.cli.templates") / "new-backend", made, made, name))
        made.rename(folder)
    where = str(folder) if folder.is_absolute() else f"./{folder}"
    steps = [f"pip install -e {where}", f"pytest {folder}", f"e2i-fs certify {name}"]
    told = f"{len(written)} files. Begin in {_package(name)}/backend.py.\n\n[bold]Next:[/]\n" + "\n".join(
        f"  {s}" for s in steps
    )
    return Answer(
        {"folder": str(folder.resolve()), "written": written, "next": steps},
        [Panel(told, title=f"A backend in {folder.name}/", title_align="left", border_style="green")],
    )


def _check_name(name: str) -> None:
    """Raise `RequestError` unless ``name`` can be a backend's, a distribution's and a package's, and is free."""
    from e2i_fs.plugins import Plugins

    if not _NAME.fullmatch(name) or len(name) > _LONGEST:
        raise RequestError(
            f"new-backend: {name!r} cannot be a backend's name. Use up to {_LONGEST} small letters and digits, parted by "
            "'-' or '_', with a letter first, e.g. acme or acme-cloud."
        )
    for found in Plugins().found:
        if found.name.replace("-", "_") == name.replace("-", "_"):
            raise RequestError(
                f"new-backend: {found.distribution} {found.version} has the backend {found.name!r} already, and two of one "
                "name are an error (G-2). Choose another name."
            )


def _package(name: str) -> str:
    return f"e2i_fs_{name.replace('-', '_')}"


def _filled(text: str, name: str) -> str:
    """Return a template's text, which speaks of ``acme``, for ``name``."""
    title = "".join(part.capitalize() for part in re.split("[-_]", name))
    marks = {"e2i_fs_acme": _package(name), "e2i-fs-acme": f"e2i-fs-{name}", "Acme": title, "acme": name}
    return re.sub("|".join(marks), lambda m: marks[m.group()], text)


def _copy(source: Traversable, target: Path, top: Path, name: str) -> list[str]:
    """Copy a tree of templates, and return what was written, relative to ``top``."""
    target.mkdir()
    written = []
    for entry in source.iterdir():
        if entry.name == "__pycache__":
            continue
        place = target / _filled(entry.name, name)
        if entry.is_dir():
            written += _copy(entry, place, top, name)
        else:
            place.write_text(_filled(entry.read_text(encoding="utf-8"), name), encoding="utf-8")
            written.append(place.relative_to(top).as_posix())
    return written
