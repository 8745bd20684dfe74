"""``e2i-fs doctor``: what is installed, what loads, and what of the configuration can be reached."""

from __future__ import annotations

import tempfile
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from e2i_fs.cli.answer import Answer
from e2i_fs.cli.command import command
from e2i_fs.cli.exits import MISTAKE, NO, OK
from e2i_fs.cli.session import Session
from e2i_fs.cli.tables import table
from e2i_fs.clock import SystemClock
from e2i_fs.errors import ConfigError, DuplicateBackendError, E2IError, PluginLoadError, unstopped

if TYPE_CHECKING:
    from e2i_fs.plugins import FoundBackend, Plugins

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    command(app, "doctor", example="e2i-fs doctor --json", panel="Operations")(doctor)


def doctor(
    session: Session,
    deadline: Annotated[float, typer.Option(help="Seconds that each backend may take to answer.")] = 5.0,
) -> Answer:
    """Show for each backend whether it is found, its version, whether it loads, and whether it can be reached.

    Exits with 1 when a plugin is broken or a backend of the configuration cannot be reached, with 2 when the
    configuration itself is wrong. A backend whose extra is not installed counts only if the configuration names it.
    """
    from e2i_fs.plugins import Plugins

    plugins = Plugins()
    with session.progress() as bars:
        task = bars.add_task("Loading plugins", total=len(plugins.found))
        loaded = []
        for found in plugins.found:
            bars.update(task, description=f"Loading {found.name}")
            loaded.append(_plugin(plugins, found))
            bars.advance(task)
        configured = _configured(session, plugins, deadline)
    document = {"plugins": loaded, "configuration": configured}
    broken = any(p["state"] == "broken" for p in loaded)
    wrong = configured is not None and ("error" in configured or any(b["wrong"] for b in configured["backends"]))
    down = configured is not None and any(not b["reachable"] for b in configured.get("backends", ()))
    shown: list[Any] = [
        table(
            "Backends installed",
            ["name", "distribution", "version", "state", "why, and what to do"],
            [
                (p["name"], p["distribution"], p["version"], _state(p["state"]), p["why"] or p["summary"])
                for p in loaded
            ],
        )
    ]
    if configured is None:
        shown.append(f"No configuration at {session.config_path}: nothing to reach. `e2i-fs init` writes one.")
    elif "error" in configured:
        shown.append(Text(configured["error"]["message"], style="red"))  # it names the file
    else:
        rows = [
            (
                b["name"],
                b["backend"],
                _state("reachable" if b["reachable"] else "down"),
                _milliseconds(b["seconds"]),
                b["why"],
            )
            for b in configured["backends"]
        ]
        title = f"Backends of {configured['file']}"
        shown.append(table(title, ["name", "backend", "state", "answered in", "why"], rows, right=[3]))
    return Answer(document, shown, MISTAKE if wrong else NO if broken or down else OK)


def _plugin(plugins: Plugins, found: FoundBackend) -> dict[str, Any]:
    about: dict[str, Any] = {
        "name": found.name,
        "distribution": found.distribution,
        "version": found.version,
        "state": "loads",
        "why": None,
        "summary": "",
        "seconds": None,
    }
    if found.spec is None:
        error = found.error
        why = f"{type(error).__name__}: {unstopped(error)}. Reinstall or remove {found.distribution}."
        return about | {"state": "broken", "why": why}
    about["summary"] = found.spec.summary
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="e2i_fs_doctor_") as folder:
        options = {"path": folder, "project": "doctor"}
        try:
            plugins.open(found.name, name=found.name, options=options, clock=SystemClock(), base=folder).close()
        except PluginLoadError as error:
            missing = isinstance(error.__cause__, ImportError)
            return about | {"state": "not installed" if missing else "broken", "why": str(error)}
        except DuplicateBackendError as error:
            return about | {"state": "broken", "why": str(error)}
        except E2IError:
            pass  # it loads, and wants other options than a folder: which, the configuration will tell
    return about | {"seconds": round(time.perf_counter() - begun, 3)}


def _configured(session: Session, plugins: Plugins, deadline: float) -> dict[str, Any] | None:
    path = session.config_path
    if not path.exists() and session.config is None:
        return None
    from e2i_fs.config import load_config

    try:
        config = load_config(path)
    except E2IError as error:
        return {"file": str(path), "error": {"type": type(error).__name__, "message": str(error)}}
    backends = []
    for one in config.backends:
        about: dict[str, Any] = {
            "name": one.name,
            "backend": one.kind,
            "reachable": False,
            "wrong": False,
            "seconds": None,
            "why": None,
        }
        try:
            backend = plugins.open(one.kind, name=one.name, options=one.options, clock=SystemClock(), base=config.base)
            try:
                about |= {"seconds": backend.ping(deadline), "reachable": True}
            finally:
                backend.close()
        except E2IError as error:
            about["wrong"] = isinstance(error, ConfigError) and not isinstance(
                error, PluginLoadError | DuplicateBackendError
            )
            about["why"] = f"{type(error).__name__}: {error}"
        backends.append(about)
    return {"file": str(path), "project": config.project, "backends": backends}


def _state(state: str) -> Text:
    good = {"loads": "green", "reachable": "green", "not installed": "yellow"}
    return Text(state, style=good.get(state, "bold red"))


def _milliseconds(seconds: float | None) -> str | None:
    return None if seconds is None else f"{seconds * 1000:.1f} ms"
