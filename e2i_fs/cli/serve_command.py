"""``serve``: the store over HTTP, on Feast's own paths and on ours."""

from __future__ import annotations

from typing import Annotated

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
    command(app, "serve", example="e2i-fs serve --config e2i_fs.yaml", panel="Operations")(serve)


def serve(
    session: Session,
    host: Host = "127.0.0.1",
    port: Port = 6566,
    read_keys: ReadKeys = None,
    write_keys: Annotated[
        str | None,
        typer.Option(
            "--write-keys",
            help="A file of keys that allow reading, writing and materialising; $E2I_FS_WRITE_KEYS unless given.",
            show_default=False,
        ),
    ] = None,
    certfile: CertFile = None,
    keyfile: KeyFile = None,
    behind_proxy: BehindProxy = False,
    max_body: Annotated[int, typer.Option(help="Bytes that a request body may have, also when unpacked.")] = 32 * 2**20,
    max_rows: Annotated[int, typer.Option(help="Entity rows that a request may ask about.")] = 50_000,
    max_cells: Annotated[int, typer.Option(help="Values that an answer may have.")] = 2_000_000,
    max_seconds: Annotated[float, typer.Option(help="Seconds that a request may take.")] = 30.0,
    max_job_seconds: Annotated[float, typer.Option(help="Seconds that a materialisation may take.")] = 3_600.0,
    max_requests: Annotated[int, typer.Option(help="Requests at a time, waiting ones included.")] = 2_048,
    max_connections: Annotated[int, typer.Option(help="Connections at a time, idle ones included.")] = 10_000,
    threads: Annotated[int, typer.Option(help="Requests processed at a time.")] = 8,
    grace: Annotated[float, typer.Option(help="Seconds for requests to end when the server is stopped.")] = 30.0,
) -> Answer:
    """Serve the store over HTTP: on Feast's own paths, so that its clients work unchanged, and on /v1.

    Keys are never given on the command line. Ends on SIGTERM, after finishing open requests and closing the store.
    """
    if session.json:
        raise RequestError("serve has no --json: what it answers, it answers over HTTP.")
    require("serve", "server", ["fastapi", "uvicorn"])
    from e2i_fs.server.keys import READ_KEYS, WRITE_KEYS, Access, keys_in
    from e2i_fs.server.limits import Limits
    from e2i_fs.server.service import Service
    from e2i_fs.server.serving import serve as serving
    from e2i_fs.server.watching import Watching
    from e2i_fs.wire.budget import Budget
    from e2i_fs.wire.desk import Desk

    log_to_stderr()
    access = Access(keys_in(read_keys, READ_KEYS), keys_in(write_keys, WRITE_KEYS))
    certificate = private_way(host, access, certfile, keyfile, behind_proxy=behind_proxy)
    limits = Limits(max_body, max_requests, max_job_seconds, grace=grace, max_connections=max_connections)
    budget = Budget(max_rows, max_cells, max_seconds, threads)
    watching = Watching()  # before a backend is opened, for Feast changes how its library counts
    with session.store(watching.plugins, serves=True) as store:
        service = Service(Desk(store, budget), limits, access, watching.counts, caller=watching.caller(store))
        serving(service, host, port, announcing("Serving at"), certificate)
    return Answer(None)
