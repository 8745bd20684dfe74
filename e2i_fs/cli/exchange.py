"""``import-feast`` and ``export-feast``: definitions from and to a Feast repository."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.panel import Panel

from e2i_fs.cli.answer import Answer
from e2i_fs.cli.command import command
from e2i_fs.cli.exits import NO, OK
from e2i_fs.cli.loading import load_definitions
from e2i_fs.cli.session import DEFAULT_DEFINITIONS, Session
from e2i_fs.cli.tables import table
from e2i_fs.errors import BackendDataError, ConfigError

if TYPE_CHECKING:
    from e2i_fs.adoption.foreign import Imported, Left
    from e2i_fs.catalog import Catalog
    from e2i_fs.config import Config

__all__ = ["add_to"]

_PANEL = "Adoption"
Force = Annotated[bool, typer.Option("--force", help="Overwrite existing files.")]


class Read(StrEnum):
    """What `import-feast` reads: what was applied, or the Python files."""

    AUTO = "auto"
    REGISTRY = "registry"
    PYTHON = "python"


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    command(app, "import-feast", example="e2i-fs import-feast feature_repo", panel=_PANEL)(import_feast)
    command(app, "export-feast", example="e2i-fs export-feast features.py --out feast_repo", panel=_PANEL)(export_feast)


def import_feast(
    session: Session,
    repository: Annotated[Path, typer.Argument(metavar="REPO", help="The folder with the feature_store.yaml.")],
    out: Annotated[Path | None, typer.Option(help="The Python file to write.", show_default="REPO/features.py")] = None,
    read: Annotated[
        Read,
        typer.Option(help="What to read; auto is the registry if there is one, else the Python files, which are run."),
    ] = Read.AUTO,
    force: Force = False,
) -> Answer:
    """Write the definitions of a Feast repository as neutral Python, and a configuration to serve them with.

    Everything that cannot be carried over is listed with the reason; the exit code is then 1.
    """
    from e2i_fs.adoption.files import write_files
    from e2i_fs.adoption.proposal import check_place, proposal
    from e2i_fs.plugins import Plugins

    _check_repository(repository)
    with session.progress() as bars:
        bars.add_task("Reading Feast's definitions", total=None)
        imported = Plugins().exchange("feast").read(repository, origin=read.value)
    out = repository / DEFAULT_DEFINITIONS if out is None else out
    check_place(imported.catalog, out, repository)
    files = proposal(imported, out, repository)
    _check_text(files[out.name], imported.catalog)
    written = write_files(out.parent, files, force=force, who="import-feast")
    places = [str(out.parent / name) for name in written]
    return _imported(imported, places, out)


def _check_repository(repository: Path) -> None:
    if (repository / "feature_store.yaml").is_file():
        return
    below = sorted(repository.glob("*/feature_store.yaml")) if repository.is_dir() else []
    hint = f" There is one in {below[0].parent}; name that folder." if below else ""
    raise ConfigError(f"import-feast: there is no {repository / 'feature_store.yaml'}.{hint}")


def _check_text(text: bytes, catalog: Catalog) -> None:
    """Run what is to be written, somewhere else, and raise unless it gives the definitions that were read."""
    from e2i_fs.catalog import Catalog as Empty

    path = list(sys.path)
    with tempfile.TemporaryDirectory(prefix="e2i-fs-import-") as folder:
        file = Path(folder) / "e2i_fs_written_definitions.py"
        file.write_bytes(text)
        try:
            made, _ = Empty().planned(load_definitions(file) if _count(catalog) else [], "/")
        finally:
            sys.path[:] = path
            sys.modules.pop(file.stem, None)
    kinds = ("entities", "views", "on_demand", "services")
    differing = [kind for kind in kinds if _forms(getattr(made, kind)) != _forms(getattr(catalog, kind))]
    if differing:
        raise BackendDataError(
            f"import-feast: the written {' and '.join(differing)} would not be those that were read, so nothing was written. This is "
            "a defect in e2i_fs; please report it."
        )


def _forms(definitions: Any) -> dict[str, Any]:
    return {name: each.canonical() for name, each in definitions.items()}


def _count(catalog: Catalog) -> dict[str, int]:
    counts = {
        "entities": len(catalog.entities), "views": len(catalog.views), "on_demand_views": len(catalog.on_demand),
        "services": len(catalog.services),
    }  # fmt: skip
    return {name: count for name, count in counts.items() if count}


def _imported(imported: Imported, places: Sequence[str], out: Path) -> Answer:
    from e2i_fs.adoption.proposal import CONFIG

    config = out.parent / CONFIG
    definitions = "" if out.name == DEFAULT_DEFINITIONS else f" --definitions {out}"
    steps = [f"e2i-fs --config {config}{definitions} plan", f"e2i-fs --config {config}{definitions} apply"]
    counts = _count(imported.catalog)
    document = {
        "project": imported.project,
        "read": imported.read,
        "definitions": counts,
        "fingerprints": {
            n: imported.catalog.fingerprint(n) for n in [*imported.catalog.views, *imported.catalog.on_demand]
        },
        "left": [left._asdict() for left in imported.left],
        "written": places,
        "next": steps,
    }
    said = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items()) or "nothing"
    told = f"{said}, from {imported.read}.\nWritten: {', '.join(places)}\n\n[bold]Next:[/]\n" + "\n".join(
        f"  {s}" for s in steps
    )
    panel = Panel(told, title=f"Feast project {imported.project}", title_align="left", border_style="green")
    return Answer(document, [panel, *_left(imported.left)], NO if imported.left else OK)


def export_feast(
    session: Session,
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="DEFINITIONS.py", help="A file or package; what is registered unless given.", show_default=False
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="The folder of the Feast repository to write.")] = Path("feast_repo"),
    project: Annotated[
        str | None, typer.Option(help="Feast's project; the configuration's unless given.", show_default=False)
    ] = None,
    force: Force = False,
) -> Answer:
    """Write definitions as a Feast repository, in Feast's own classes, for `feast apply`.

    What Feast has no form for (labels, exact dtypes, several keys of one entity) is kept in a tag. Everything that it
    cannot hold at all is listed with the reason; the exit code is then 1.
    """
    from e2i_fs.adoption.files import write_files
    from e2i_fs.catalog import Catalog
    from e2i_fs.plugins import Plugins

    config = _config(session)
    if file is None:
        file = Path(session.definitions) if session.definitions else None
    if file is None:
        with session.store() as store:
            catalog = store.catalog()
    else:
        base = str(file.resolve().parent) if config is None else config.base
        catalog, _ = Catalog().planned(load_definitions(file), base)
    name = project or (config.project if config is not None else "e2i_fs")
    with session.progress() as bars:
        bars.add_task("Trying what is written on Feast", total=None)
        made = Plugins().exchange("feast").written(catalog, project=name, folder=out.resolve())
    out.mkdir(parents=True, exist_ok=True)
    written = [str(out / each) for each in write_files(out, made.files, force=force, who="export-feast")]
    steps = [f"feast -c {out} apply"]
    document = {
        "project": name, "folder": str(out.resolve()), "written": written, "definitions": _count(catalog),
        "left": [left._asdict() for left in made.left], "next": steps,
    }  # fmt: skip
    told = f"Written: {', '.join(written)}\n\n[bold]Next:[/]\n  {steps[0]}"
    panel = Panel(told, title=f"Feast project {name}", title_align="left", border_style="green")
    return Answer(document, [panel, *_left(made.left)], NO if made.left else OK)


def _config(session: Session) -> Config | None:
    """Return the configuration; None when none is named and there is none."""
    from e2i_fs.config import load_config

    if session.config is None and not session.config_path.exists():
        return None
    return load_config(session.config_path)


def _left(left: Sequence[Left]) -> list[Any]:
    if not left:
        return ["Everything carried over."]
    return [table("Not carried over", ["kind", "name", "why"], [tuple(each) for each in left])]
