"""How a function becomes a command: shared options, one answer out, one message for an error."""

from __future__ import annotations

import inspect
import sys
import traceback
from collections.abc import Callable
from typing import Annotated, Any

import typer
from rich.markup import escape

from e2i_fs.cli.answer import Answer, write_json
from e2i_fs.cli.exits import DEFECT, error_document, exit_code
from e2i_fs.cli.session import Session
from e2i_fs.cli.tables import show

__all__ = ["ConfigOption", "DefinitionsOption", "JsonOption", "command"]

ConfigOption = Annotated[
    str | None,
    typer.Option(
        "--config", "-c", help="The configuration; $E2I_FS_CONFIG or e2i_fs.yaml unless given.", show_default=False
    ),
]
DefinitionsOption = Annotated[
    str | None,
    typer.Option(
        "--definitions", help="A file or package of definitions; features.py unless given.", show_default=False
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document.", show_default=False)]

_SHARED = {"config": ConfigOption, "definitions": DefinitionsOption, "json": JsonOption}


def command(
    app: typer.Typer, name: str, *, example: str, panel: str
) -> Callable[[Callable[..., Answer]], Callable[..., Answer]]:
    """Register a function ``(session, ...) -> Answer`` as the command ``name``.

    Its parameters after ``session`` become the command's own; ``--config``, ``--definitions`` and ``--json``
    are added, and may also stand before the command's name.
    """

    def register(function: Callable[..., Answer]) -> Callable[..., Answer]:
        own = inspect.signature(function, eval_str=True)

        def run(ctx: typer.Context, **given: Any) -> None:
            before: Session = ctx.obj
            session = Session(
                config=given.pop("config") or before.config,
                definitions=given.pop("definitions") or before.definitions,
                json=given.pop("json") or before.json,
            )
            raise typer.Exit(finish(session, lambda: function(session, **given)))

        parameters = [inspect.Parameter("ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)]
        parameters += [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in list(own.parameters.values())[1:]]
        for shared, annotation in _SHARED.items():
            default = False if shared == "json" else None
            parameters.append(
                inspect.Parameter(shared, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)
            )
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in parameters}
        run.__doc__ = function.__doc__
        app.command(name, epilog=f"Example:  {example}", rich_help_panel=panel)(run)
        return function

    return register


def finish(session: Session, work: Callable[[], Answer]) -> int:
    """Do the work of a command, print its answer or its error, and return the exit code."""
    # The one place where every error ends: it is printed, never swallowed, and the exit code says that it happened.
    try:
        answer = work()
    except (Exception, KeyboardInterrupt) as error:
        code = exit_code(error)
        if code == DEFECT:
            traceback.print_exc()
        if session.json:
            write_json(error_document(error), sys.stdout)
        elif isinstance(error, KeyboardInterrupt):
            session.stderr.print("Interrupted.")
        else:
            session.stderr.print(f"[bold red]{type(error).__name__}[/]: {escape(str(error))}")
        return code
    if session.json:
        write_json(answer.document, sys.stdout)
    else:
        console = session.console
        for part in answer.shown:
            show(console, part)
    return answer.code
