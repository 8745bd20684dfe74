"""The command itself: its groups and the options that stand before them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from e2i_fs.cli import (
    audit,
    certify,
    dashboard,
    demo_command,
    doctor,
    exchange,
    failover,
    fill,
    jobs,
    looking_back,
    materialize,
    mcp_command,
    migrate,
    new_backend,
    optimize,
    project,
    quality,
    register,
    retrieve,
    schedule_command,
    search,
    serve_command,
    stats,
    ui_command,
    verify,
    watch,
)
from e2i_fs.cli.answer import write_json
from e2i_fs.cli.command import ConfigOption, DefinitionsOption, JsonOption
from e2i_fs.cli.exits import MISTAKE
from e2i_fs.cli.session import Session

__all__ = ["app", "run"]

app = typer.Typer(
    name="e2i-fs",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for module in (
    project, register, search, retrieve, verify, audit, materialize, fill, watch, jobs, schedule_command, looking_back, stats, optimize,
    quality, failover, doctor, certify, demo_command, new_backend, mcp_command, serve_command, ui_command, exchange, migrate,
    dashboard,
):  # fmt: skip
    module.add_to(app)

# typer carries its own copy of click, or not, depending on its version; the base of its errors is in either.
_UsageError: Any = typer.BadParameter.__mro__[2]


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(version("e2i-fs"))
        raise typer.Exit


@app.callback()
def _before(
    ctx: typer.Context,
    config: ConfigOption = None,
    definitions: DefinitionsOption = None,
    json: JsonOption = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True, show_default=False)
    ] = False,
) -> None:
    """One feature store interface to many stores: point-in-time correct, and never silently wrong in failover.

    Exit codes: 0 success, 1 the answer is no, 2 your mistake, 3 a backend is unavailable.
    """
    del version
    ctx.obj = Session(config=config, definitions=definitions, json=json)


def run(arguments: Sequence[str]) -> int:
    """Run the command with ``arguments`` and return its exit code. With ``--json`` even usage errors are JSON."""
    as_json = "--json" in arguments
    try:
        code = app(args=list(arguments), prog_name="e2i-fs", standalone_mode=not as_json)
    except SystemExit as end:
        code = end.code
    except _UsageError as error:
        write_json({"error": {"type": "UsageError", "message": error.format_message()}}, sys.stdout)
        code = MISTAKE
    return code if isinstance(code, int) else 0
