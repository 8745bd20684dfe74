"""``ui``: the catalogue page, served, or written into a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from e2i_fs.cli.answer import Answer
from e2i_fs.cli.command import command
from e2i_fs.cli.listening import (
    BehindProxy,
    CertFile,
    Host,
    KeyFile,
    Port,
    ReadKeys,
    announcing,
    log_to_stderr,
    private_way,
)
from e2i_fs.cli.needed import require
from e2i_fs.cli.session import Session
from e2i_fs.errors import RequestError

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the command of this module."""
    command(app, "ui", example="e2i-fs ui --export catalogue", panel="Operations")(ui)


def ui(
    session: Session,
    export: Annotated[
        str | None,
        typer.Option(
            "--export", help="Write the page into this folder, as one file, instead of serving it.", show_default=False
        ),
    ] = None,
    days: Annotated[float, typer.Option(help="How many days back freshness, jobs and events go.")] = 7.0,
    statistics: Annotated[
        bool, typer.Option("--statistics/--no-statistics", help="Show distributions; this reads history.")
    ] = True,
    host: Host = "127.0.0.1",
    port: Port = 6567,
    read_keys: ReadKeys = None,
    certfile: CertFile = None,
    keyfile: KeyFile = None,
    behind_proxy: BehindProxy = False,
) -> Answer:
    """Show the catalogue as a page: views, lineage, freshness, distributions, backends, events.

    Serves it until SIGTERM (needs the extra `server`), or writes it as one file that works without a network.
    Read-only.
    """
    if not 0 < days <= 366:
        raise RequestError(f"--days is {days:g}; give a number above 0 and at most 366.")
    if export is not None:
        return _exported(session, export, days, statistics=statistics)
    if session.json:
        raise RequestError("ui has no --json unless with --export; the served page has /document.json.")
    require("ui", "server", ["fastapi", "uvicorn"], "`e2i-fs ui --export DIR` does without.")
    from e2i_fs.page.app import Shop
    from e2i_fs.page.serve import serve
    from e2i_fs.server.keys import READ_KEYS, Access, keys_in

    log_to_stderr()
    access = Access(keys_in(read_keys, READ_KEYS))
    certificate = private_way(host, access, certfile, keyfile, behind_proxy=behind_proxy)
    project = _project(session)
    with session.store() as store:
        serve(
            Shop(store, project, days, statistics, access), host, port, announcing("The catalogue is at"), certificate
        )
    return Answer(None)


def _exported(session: Session, folder: str, days: float, *, statistics: bool) -> Answer:
    from rich.markup import escape

    from e2i_fs.page.collect import collect
    from e2i_fs.page.export import check_folder, write_page
    from e2i_fs.page.html import page

    check_folder(folder)  # before anything is asked
    project = _project(session)
    with session.store() as store, session.progress() as bars:
        task = bars.add_task("Looking", total=None)
        made = collect(
            store, project=project, days=days, statistics=statistics,
            progress=lambda view: bars.update(task, description=f"Statistics of {view}"),
        )  # fmt: skip
    place = write_page(folder, page(made))
    missing = list(_problems(made))
    shown = [
        f"Wrote {escape(str(place))}: {len(made['views'])} views, {place.stat().st_size / 1024:,.0f} KiB. Open it in a browser."
    ]
    shown += [f"Not on it: {escape(what)}: {escape(why)}" for what, why in missing]
    told = {"page": str(place), "views": len(made["views"]), "made_at": made["made_at"], "problems": dict(missing)}
    return Answer(told, shown)


def _problems(made: Any, where: str = "") -> Any:
    """Yield what of a document could not be had, and why."""
    if isinstance(made, dict):
        if set(made) == {"problem"}:
            yield where, made["problem"]
        else:
            for name, inner in made.items():
                yield from _problems(inner, f"{where}.{name}" if where else name)
    elif isinstance(made, list):
        for number, inner in enumerate(made):
            name = inner.get("name", number) if isinstance(inner, dict) else number
            yield from _problems(inner, f"{where}.{name}")


def _project(session: Session) -> str:
    from e2i_fs.config import load_config

    return load_config(Path(session.config_path)).project
