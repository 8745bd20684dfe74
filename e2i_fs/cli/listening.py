"""What the commands that listen have in common: their options, who may reach them, their log, and saying where they are."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from e2i_fs.server.keys import Access
    from e2i_fs.server.tls import Certificate

__all__ = [
    "BehindProxy",
    "CertFile",
    "Host",
    "KeyFile",
    "Port",
    "ReadKeys",
    "announcing",
    "log_to_stderr",
    "private_way",
]

Host = Annotated[str, typer.Option(help="The address to listen on. Without keys it must be this machine's own.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="The port to listen on; 0 takes a free one.")]
ReadKeys = Annotated[
    str | None,
    typer.Option(
        "--read-keys", help="A file of keys that allow reading; $E2I_FS_READ_KEYS unless given.", show_default=False
    ),
]
CertFile = Annotated[str | None, typer.Option(help="A PEM certificate, to serve over TLS.", show_default=False)]
KeyFile = Annotated[
    str | None, typer.Option(help="The private key of the certificate, without a password.", show_default=False)
]
BehindProxy = Annotated[
    bool,
    typer.Option("--behind-proxy", help="Serve plain HTTP beyond this machine: a proxy in front adds TLS."),
]


def private_way(
    host: str, access: Access, certfile: str | None, keyfile: str | None, *, behind_proxy: bool
) -> Certificate | None:
    """Return the certificate to serve with, None for plain HTTP.

    Raises `ConfigError` when ``host`` is more than this machine and there is no key, or keys and answers would cross the
    network in clear; so a command asks before it opens anything.
    """
    from e2i_fs.server.tls import certificate_of, require_private

    access.require_loopback(host)
    certificate = certificate_of(certfile, keyfile)
    require_private(host, certificate, behind_proxy=behind_proxy)
    return certificate


def log_to_stderr() -> None:
    """Have warnings written to stderr, unless the process logs already; stdout is the answer's."""
    logging.basicConfig(
        level=logging.WARNING, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )


def announcing(what: str) -> Callable[[str], None]:
    """Return what says on stderr, in a line of its own and at once, that ``what`` is at an address."""

    def announce(address: str) -> None:
        sys.stderr.write(f"{what} {address}\n")
        sys.stderr.flush()

    return announce
