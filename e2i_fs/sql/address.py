"""Where a database is: the address of a `SQLSource`, with its password kept out of sight."""

from __future__ import annotations

import re
import urllib.parse
from dataclasses import dataclass

from e2i_fs.errors import ConfigError, DefinitionError

__all__ = ["Address", "check_connection", "read_address"]

_VARIABLE = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}")
_SECRET = frozenset({"password", "sslpassword", "oauth_client_secret"})
_STANDS_FOR_VARIABLE = "\ue000"
_HIDDEN = "***"
_URI = re.compile(
    r"[A-Za-z][A-Za-z0-9+.-]*://([^\s/?#@\[\]]*@)?([^\s/?#@\[\]]|\[[0-9A-Fa-f:.%]+\])*(/[^\s?#@]*)?(\?[^\s#]*)?"
)
_CONNECT_SECONDS = "10"


@dataclass(frozen=True, slots=True)
class Address:
    """An address as it is used, ``uri``, and as it may be shown.

    >>> Address("postgresql://me:secret@db.example/e2i?password=x", ("secret", "x")).shown
    'db.example/e2i'
    """

    uri: str
    secrets: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Address({self.shown!r})"

    @property
    def scheme(self) -> str:
        """What comes before ``://``."""
        return self.uri.partition(":")[0]

    @property
    def shown(self) -> str:
        """Host, port and database: no user, no password, no parameters."""
        parts = urllib.parse.urlsplit(self.uri)
        return (parts.netloc.rpartition("@")[2] + parts.path) or self.scheme

    def hides(self, text: str) -> bool:
        """Return whether ``text`` says something that must not be said."""
        return self.uri in text or any(secret in text for secret in self.secrets)

    def without_secrets(self, text: str) -> str:
        """Return ``text`` with every secret replaced."""
        for secret in sorted({self.uri, *self.secrets}, key=len, reverse=True):
            text = text.replace(secret, _HIDDEN)
        return text

    def with_patience(self) -> Address:
        """Return the address with a limit on the time for connecting, unless it has one."""
        parts = urllib.parse.urlsplit(self.uri)
        if "connect_timeout=" in parts.query:
            return self
        query = f"{parts.query}&" if parts.query else ""
        made = urllib.parse.urlunsplit(parts._replace(query=f"{query}connect_timeout={_CONNECT_SECONDS}"))
        if not parts.netloc:  # urlunsplit makes postgresql:/db of postgresql:///db
            made = made.replace(":/", ":///", 1) if ":///" not in made else made
        return Address(made, (*self.secrets, self.uri))


def read_address(connection: str) -> Address:
    """Return the address that ``connection`` stands for now, ``${VAR}`` expanded.

    Raises `ConfigError` when a variable is not set, or when what comes of it is no URI: a password's special characters
    must be percent-encoded. The message does not show it.
    """
    from e2i_fs.config import expand_variables

    uri = expand_variables(connection, "SQLSource connection")
    if not _URI.fullmatch(uri):
        raise ConfigError(
            f"The connection {connection!r} of a SQLSource is no URI once its variables are put in. Write "
            "postgresql://user:password@host:port/database, and in user and password %40 for @, %2F for /, and so on."
        )
    parts = urllib.parse.urlsplit(uri)
    passwords = [parts.netloc.rpartition("@")[0].partition(":")[2]]
    passwords += [value for key, _, value in _pairs(parts.query) if key in _SECRET]
    return Address(uri, tuple({word for p in passwords if p for word in (p, urllib.parse.unquote(p))}))


def check_connection(connection: object) -> None:
    """Raise `DefinitionError` unless ``connection`` is text that a definition may hold: one without a password in it.

    >>> check_connection("postgresql://me:${PGPASSWORD}@db.example/e2i")
    """
    if not isinstance(connection, str) or not connection:
        raise DefinitionError(
            f"SQLSource: connection is {connection!r}; give a URI, e.g. 'postgresql://${{PGUSER}}@host/db'."
        )
    defaults = [m.group(1) or "" for m in _VARIABLE.finditer(connection)]
    plain = _VARIABLE.sub(_STANDS_FOR_VARIABLE, connection)
    head, _, rest = plain.partition("://")
    if not rest:
        if head == _STANDS_FOR_VARIABLE and not any("@" in d or "password" in d for d in defaults):
            return
        if _STANDS_FOR_VARIABLE not in head:
            raise DefinitionError(
                "SQLSource: the connection is no URI; write postgresql://user@host/database, with ${VAR} for a password."
            )
    body, _, query = rest.partition("?")
    passwords = [body.rpartition("@")[0].partition(":")[2], *(v for k, _, v in _pairs(query) if k in _SECRET)]
    literal = any(p.replace(_STANDS_FOR_VARIABLE, "") for p in passwords)
    given = any(p for p in passwords) and any(len(d) > len(":-") for d in defaults)
    if literal or given or any("@" in d or "password" in d for d in defaults):
        raise DefinitionError(
            "SQLSource: the connection has a password in it. A definition is kept by every backend and shown to whoever lists "
            "it, so write ${VAR} in its place, without a default, and set the variable where the store is opened."
        )


def _pairs(query: str) -> list[tuple[str, str, str]]:
    return [pair.partition("=") for pair in query.split("&") if pair]
