"""TLS: the certificate is looked at before anything is opened, and keys do not cross a network in clear."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import NoReturn

from e2i_fs.errors import ConfigError
from e2i_fs.wire.listening import LOOPBACK

__all__ = ["Certificate", "certificate_of", "require_private"]


@dataclass(frozen=True, slots=True)
class Certificate:
    """The files, in PEM, of a certificate (with those that lead to its root) and of its private key."""

    certificate: str
    key: str


def certificate_of(certfile: str | None, keyfile: str | None) -> Certificate | None:
    """Return the certificate to serve with, None without any. Raises `ConfigError` for files that do not make one.

    >>> certificate_of(None, None)
    >>> certificate_of("cert.pem", None)
    Traceback (most recent call last):
    e2i_fs.errors.ConfigError: --certfile and --keyfile go together; give both, or neither.
    """
    if certfile is None and keyfile is None:
        return None
    if certfile is None or keyfile is None:
        raise ConfigError("--certfile and --keyfile go together; give both, or neither.")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certfile, keyfile, _no_password)
    except (OSError, ValueError) as error:  # SSLError is an OSError
        raise ConfigError(
            f"{certfile} and {keyfile} cannot be served with: {error}. Give a certificate in PEM and the private key of the same, "
            "without a password."
        ) from error
    return Certificate(certfile, keyfile)


def require_private(host: str, certificate: Certificate | None, *, behind_proxy: bool) -> None:
    """Raise `ConfigError` when keys and features would cross a network in clear.

    >>> require_private("127.0.0.1", None, behind_proxy=False)
    >>> require_private("0.0.0.0", None, behind_proxy=True)
    """
    if host not in LOOPBACK and certificate is None and not behind_proxy:
        raise ConfigError(
            f"On {host} keys and features would cross the network in clear. Give --certfile and --keyfile, or --behind-proxy "
            "where something in front of the server speaks TLS, or use --host 127.0.0.1."
        )


def _no_password() -> NoReturn:
    # Else OpenSSL asks at the terminal, and a server that nobody watches waits for ever.
    raise ValueError("the key has a password")
