"""``e2i-fs demo``: the whole road on E2I data, every claim checked."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from e2i_fs.cli.answer import Answer
from e2i_fs.cli.command import command
from e2i_fs.cli.exits import NO, OK
from e2i_fs.cli.session import Session
from e2i_fs.errors import RequestError, UnsupportedError

__all__ = ["add_to"]

_MARK = ".e2i_fs_demo"


class Primary(StrEnum):
    """What may be the primary."""

    REDIS = "redis"
    SQLITE = "sqlite"
    NONE = "none"


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    command(app, "demo", example="e2i-fs demo --scale 0.3", panel="Start")(demo)


def demo(
    session: Session,
    scale: Annotated[float, typer.Option(help="Size of the data; 1 is 240 HCPs.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Another seed makes other data.")] = 7,
    out: Annotated[Path, typer.Option(help="The folder for data, stores and the report.")] = Path("demo-out"),
    primary: Annotated[
        Primary | None,
        typer.Option(
            help="Online store of the Feast primary: redis, sqlite; none for DuckDB alone. By default redis if there is one.",
            show_default=False,
        ),
    ] = None,
    production: Annotated[
        bool,
        typer.Option(
            "--production",
            help="As in production: tables in PostgreSQL, Feast over it and Redis. Servers are started, and killed, "
            "unless the next two name some.",
        ),
    ] = False,
    postgres: Annotated[
        str | None,
        typer.Option(
            help="The same on a running PostgreSQL: postgresql://user@host/db, ${VAR} expanded. The demo makes schemas of its own "
            "there and removes them. The server is not killed: a relay in front of it is cut.",
            show_default=False,
        ),
    ] = None,
    redis: Annotated[
        str | None,
        typer.Option(
            help="The same on a running, empty Redis: host:port,db=1, ${VAR} expanded. It is left empty.",
            show_default=False,
        ),
    ] = None,
) -> Answer:
    """Run everything on generated E2I data: training set, proof, model, online serving through an outage, and a report.

    Feast is the primary and DuckDB the standby; without Feast it runs on DuckDB alone and says so. Exits with 0 only if
    every claim that it prints held when it was checked, otherwise with 1.
    """
    if not scale > 0:
        raise RequestError(f"--scale {scale}: give a positive number; 1 is 240 HCPs, 0.1 a quick look.")
    missing = [package for module, package in _NEEDED.items() if find_spec(module) is None]
    if missing:
        raise UnsupportedError(f'The demo needs {", ".join(missing)}: pip install "e2i-fs[demo]"')
    if production or postgres is not None or redis is not None:
        return _in_production(session, scale, seed, out, primary, postgres, redis)
    from e2i_fs.cli.demo.primary import choose_primary, missing_feast

    why_alone = missing_feast() or ("asked for with --primary none" if primary is Primary.NONE else "")
    if why_alone and primary in (Primary.REDIS, Primary.SQLITE):
        raise UnsupportedError(f"--primary {primary}: {why_alone}.")
    chosen = None if why_alone else choose_primary(None if primary is None else primary.value)
    _prepare(out)  # only now: a demo that is refused removes nothing
    options = "" if primary is None else f" --primary {primary}"
    return _run(session, scale, seed, out, options, primary=chosen, why_alone=why_alone)


def _in_production(
    session: Session,
    scale: float,
    seed: int,
    out: Path,
    primary: Primary | None,
    postgres: str | None,
    redis: str | None,
) -> Answer:
    if primary is not None:
        raise RequestError(
            f"--primary {primary} and --production: in production's shape the primary is Feast over PostgreSQL and Redis. "
            "Leave one of the two out."
        )
    from e2i_fs.cli.demo.production import production

    _check(out)
    with _ended_by_signal(), ExitStack() as stack:
        with session.stderr.status("getting PostgreSQL and Redis ready"):
            servers = stack.enter_context(production(postgres, redis))
        _prepare(out)  # only now: a demo that is refused removes nothing
        return _run(session, scale, seed, out, servers.options, primary=servers, production=servers)


def _run(
    session: Session,
    scale: float,
    seed: int,
    out: Path,
    options: str,
    *,
    primary: Any,
    why_alone: str = "",
    production: Any = None,
) -> Answer:
    from e2i_fs.cli.demo.claims import Claims
    from e2i_fs.cli.demo.report import html_report
    from e2i_fs.cli.demo.run import run_demo
    from e2i_fs.cli.demo.telling import TerminalTeller, summary

    with TerminalTeller(None if session.json else session.console, session.stderr) as teller:
        claims = Claims(teller.claim)
        story = run_demo(
            out, scale=scale, seed=seed, primary=primary, why_alone=why_alone, claims=claims, teller=teller,
            production=production,
        )  # fmt: skip
        teller.step("drawing the report")
        report = out / "report.html"
        report.write_text(html_report(story, f"e2i-fs demo --scale {scale:g} --seed {seed}{options}"), encoding="utf-8")
    document = {
        "all_hold": claims.all_hold,
        "claims": claims.made,
        "backends": story.backends,
        "failover": story.failover,
        "production": None if production is None else production.described,
        "rows": story.rows,
        "gated": story.gated,
        "learned": story.learned,
        "auc": story.judged.auc,
        "proof": story.proof,
        "requests": story.requests,
        "seconds": story.seconds,
        "report": str(report.resolve()),
    }
    return Answer(document, ["", summary(story, str(report))], OK if claims.all_hold else NO)


_NEEDED = {"numpy": "numpy", "sklearn": "scikit-learn", "matplotlib": "matplotlib"}


@contextmanager
def _ended_by_signal() -> Iterator[None]:
    """Let SIGTERM end the demo as Ctrl-C does, so that servers are stopped and what was made on them is removed."""

    def end(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _check(out: Path) -> None:
    """Refuse a folder that holds what is somebody's own."""
    if out.is_dir() and any(out.iterdir()) and not (out / _MARK).is_file():
        raise RequestError(f"--out {out}: the folder holds something that no demo made; name a new or an empty one.")
    if out.exists() and not out.is_dir():
        raise RequestError(f"--out {out} is a file; name a folder.")


def _prepare(out: Path) -> None:
    """Make ``out``, or empty it if an earlier demo made it; anything else in it is somebody's own."""
    from e2i_fs.cli.demo.run import clear

    _check(out)
    out.mkdir(parents=True, exist_ok=True)
    clear(out)
    (out / _MARK).touch()
