"""``schedule``: does what the configuration's schedule says, or tells others how to."""

from __future__ import annotations

import getpass
import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from e2i_fs.cli.answer import Answer
from e2i_fs.cli.command import command
from e2i_fs.cli.listening import log_to_stderr
from e2i_fs.cli.session import Session
from e2i_fs.cli.tables import table
from e2i_fs.clock import SystemClock
from e2i_fs.errors import RequestError, did_you_mean

if TYPE_CHECKING:
    from e2i_fs.ops.schedule import Entry
    from e2i_fs.ops.scheduling import Scheduler

__all__ = ["add_to"]

_KINDS = ("cron", "systemd", "timers", "all")
_log = logging.getLogger("e2i_fs.schedule")


def add_to(app: typer.Typer) -> None:
    """Add the command of this module."""
    command(app, "schedule", example="e2i-fs schedule --list", panel="Operations")(schedule)


def schedule(
    session: Session,
    listed: Annotated[bool, typer.Option("--list", help="Show the schedule and the next runs, and end.")] = False,
    run: Annotated[
        str | None, typer.Option("--run", help="Run this entry of the schedule now, and end.", show_default=False)
    ] = None,
    printed: Annotated[
        str | None,
        typer.Option(
            "--print",
            help="Print the schedule for other schedulers: cron lines, a systemd service, systemd timers, or all.",
            metavar="[cron|systemd|timers|all]",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="With --print: a folder to write the files to.", show_default=False)
    ] = None,
    grace: Annotated[float, typer.Option(min=0, help="Seconds for a run to end when the process is stopped.")] = 60.0,
) -> Answer:
    """Materialise and check freshness by the configuration's schedule, until stopped.

    Runs that were due while it was down are made up for, once. A task that fails is logged, and the others go on. Ends
    on SIGTERM or SIGINT, when the current run has ended; a run that exceeds --grace, or is stopped by a second signal,
    is resumed by the next. With --run, exits with 1 when a view is stale, 3 when a job was given up.
    """
    from e2i_fs.ops.schedule import entries
    from e2i_fs.ops.tasks import settings_of

    if sum([listed, run is not None, printed is not None]) > 1:
        raise RequestError("--list, --run and --print are for one at a time; give one of them.")
    if out is not None and printed is None:
        raise RequestError("--out is for --print; give both, or none.")
    found = entries(settings_of(session.config_path))
    if listed:
        return _listed(found)
    if run is not None:
        return _ran(session, found, run)
    if printed is not None:
        return _printed(session, found, printed, out, grace)
    if session.json:
        raise RequestError("schedule has --json with --list, --run and --print only: what it does, it logs.")
    return _served(session, found, grace)


def _listed(found: list[Entry]) -> Answer:
    now = SystemClock().now()
    lines = [(e, e.trigger.next_after(now).replace(microsecond=0)) for e in found]
    document = [
        {"name": e.name, "task": e.task, "views": e.views, "without": e.without, "when": str(e.trigger), "next": after}
        for e, after in lines
    ]
    rows = [(e.name, _views(e), str(e.trigger), after.isoformat(sep=" ")) for e, after in lines]
    return Answer({"entries": document}, [table(None, ["entry", "views", "when", "next"], rows)])


def _views(entry: Entry) -> str:
    if entry.views:
        return ", ".join(entry.views)
    return f"all but {', '.join(entry.without)}" if entry.without else "all"


def _ran(session: Session, found: list[Entry], name: str) -> Answer:
    from e2i_fs.ops.schedule import entry_named
    from e2i_fs.ops.tasks import run

    result = run(session.config_path, entry_named(found, name))
    if "jobs" not in result:
        rows: list[tuple[Any, ...]] = [(view, told["status"]) for view, told in result["views"].items()]
        return Answer(result, [table(None, ["view", "status"], rows)])
    rows = [(j["view"], j["mode"], j["rows_read"], j["rows_written"], j["outcome"]) for j in result["jobs"]]
    return Answer(result, [table(None, ["view", "mode", "read", "written", "outcome"], rows, right=[2, 3])])


def _printed(session: Session, found: list[Entry], kind: str, out: Path | None, grace: float) -> Answer:
    from e2i_fs.ops.crontab import crontab
    from e2i_fs.ops.systemd import Place, service, timers

    if kind not in _KINDS:
        raise RequestError(f"--print {kind}: use one of {', '.join(_KINDS)}.{did_you_mean(kind, _KINDS)}")
    words = _command(session)
    place = Place([*words], getpass.getuser(), os.path.dirname(os.path.abspath(session.config_path)), grace)
    files: dict[str, str] = {}
    if kind in ("systemd", "all"):
        files |= service(Place([*words, "--grace", f"{grace:g}"], place.user, place.folder, grace))
    if kind in ("timers", "all"):
        files |= timers(place, found)
    if kind == "cron":
        files["crontab"] = crontab(found, words)
    if kind == "all":
        try:
            files["crontab"] = crontab(found, words)
        except RequestError as error:  # the other files can say it
            files["crontab"] = f"# No crontab: {error}\n"
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (out / name).write_text(text, encoding="utf-8")
        return Answer({"written": sorted(files)}, [f"Wrote {', '.join(sorted(files))} to {out}."])
    if session.json:
        return Answer({"files": files})
    text = "\n".join(text if len(files) == 1 else f"# ---- {name}\n{text}" for name, text in files.items())
    typer.echo(text, nl=False)  # as it is: a table's console would wrap and style it
    return Answer({"files": files})


def _command(session: Session) -> list[str]:
    """Return the words that run this command from anywhere: absolute paths of the program and of the configuration."""
    python = os.path.abspath(sys.executable)
    script = os.path.join(os.path.dirname(python), "e2i-fs")
    program = [script] if os.path.exists(script) else [python, "-c", "from e2i_fs.cli import main; main()"]
    return [*program, "--config", os.path.abspath(session.config_path), "schedule"]


def _served(session: Session, found: list[Entry], grace: float) -> Answer:
    from e2i_fs.ops import tasks
    from e2i_fs.ops.scheduling import Scheduler, last_runs

    log_to_stderr()
    _log.setLevel(logging.INFO)
    config = session.config_path.absolute()
    scheduler = Scheduler(found, lambda entry: tasks.run(config, entry), last=last_runs(config))
    now = SystemClock().now()
    for when, entry in scheduler.due():
        told = "now" if when <= now else when.replace(microsecond=0).isoformat()  # what never ran is due since ever
        _log.info("%s: %s, due %s", entry.name, entry.trigger, told)
    with _stopped_by_signals(scheduler, grace):
        try:
            scheduler.serve()
        except KeyboardInterrupt:
            _log.warning("Stopped before the run that was under way had ended: the next one takes it up.")
    _log.info("Stopped.")
    return Answer(None)


@contextmanager
def _stopped_by_signals(scheduler: Scheduler, grace: float) -> Iterator[None]:
    """Let SIGTERM and SIGINT stop the scheduler, and a second one, or ``grace`` seconds, the run that is under way."""
    told: list[int] = []

    def at_once(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    def stop(number: int, frame: object) -> None:
        if told:
            raise KeyboardInterrupt
        told.append(number)
        signal.signal(signal.SIGALRM, at_once)
        signal.setitimer(signal.ITIMER_REAL, max(grace, 0.001))
        scheduler.stop()

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    alarm = signal.getsignal(signal.SIGALRM)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in {**before, signal.SIGALRM: alarm}.items():
            signal.signal(number, handler)
