"""``mcp``: the store as tools for agents that speak the Model Context Protocol."""

from __future__ import annotations

from typing import Annotated

import typer

from e2i_fs.cli.answer import Answer
from e2i_fs.cli.command import command
from e2i_fs.cli.listening import announcing, log_to_stderr
from e2i_fs.cli.needed import require
from e2i_fs.cli.session import Session
from e2i_fs.errors import RequestError

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the command of this module."""
    command(app, "mcp", example="e2i-fs mcp --config e2i_fs.yaml", panel="Operations")(mcp)


def mcp(
    session: Session,
    http: Annotated[
        int | None,
        typer.Option(
            "--http",
            min=0,
            max=65535,
            help="Serve HTTP on this port (0: a free one) instead of stdio.",
            show_default=False,
        ),
    ] = None,
    host: Annotated[
        str, typer.Option(help="The address to listen on. There is no authentication: keep it to this machine.")
    ] = "127.0.0.1",
    allow_register: Annotated[
        bool, typer.Option("--allow-register", help="Let agents register what they planned.")
    ] = False,
    allow_sources: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-sources",
            help="A folder whose files agents may define views over; repeat for more.",
            show_default=False,
        ),
    ] = None,
    max_rows: Annotated[int, typer.Option(help="Entity rows that a call may ask about.")] = 1_000,
    max_cells: Annotated[int, typer.Option(help="Values that a call may return.")] = 100_000,
    max_seconds: Annotated[float, typer.Option(help="Seconds that a call may take.")] = 30.0,
    threads: Annotated[int, typer.Option(help="Calls processed at a time.")] = 8,
) -> Answer:
    """Serve the store to agents that speak MCP, read-only by default: over stdio for one, over HTTP for several.

    On stdio, stdout belongs to the protocol and `--json` does not apply. Ends when stdin ends, or on SIGTERM.
    """
    if session.json:
        raise RequestError("mcp has no --json: what it says is the protocol's.")
    require("mcp", "mcp", ["mcp"])
    from e2i_fs.agents.mcp import serving
    from e2i_fs.agents.mcp.desk import Desk
    from e2i_fs.agents.mcp.source_rules import SourceRules
    from e2i_fs.opening import connect
    from e2i_fs.wire.budget import Budget

    log_to_stderr()
    budget = Budget(max_rows, max_cells, max_seconds, threads)
    rules = SourceRules(tuple(allow_sources or ()), str(session.config_path.resolve().parent))
    with serving.stdout_for_the_protocol():
        store = connect(session.config_path)
    with store:
        desk = Desk(store, budget, allow_register, rules)
        if http is None:
            serving.serve_stdio(desk)
        else:
            if host not in serving.LOOPBACK:
                session.stderr.print(f"Whoever can reach {host} may ask: there is no authentication.")
            serving.serve_http(desk, host, http, announcing("Serving MCP at"))
    return Answer(None)
