"""Where a database is: the address of a `SQLSource`, with its password kept out of sight."""

from __future__ import annotations

import re
import urllib.parse
from dataclasses import dataclass

from e2i_fs.errors import DefinitionError

__all__ = ["SECRET", "Address", "check_connection", "pairs"]

_VARIABLE = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}")
SECRET = frozenset({"password", "sslpassword", "oauth_client_secret"})
"""The parameters of a URI that nobody may see."""
_STANDS_FOR_VARIABLE = "\ue000"
_HIDDEN = "***"
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
    passwords = [body.rpartition("@")[0].partition(":")[2], *(v for k, _, v in pairs(query) if k in SECRET)]
    literal = any(p.replace(_STANDS_FOR_VARIABLE, "") for p in passwords)
    given = any(p for p in passwords) and any(len(d) > len(":-") for d in defaults)
    if literal or given or any("@" in d or "password" in d for d in defaults):
        raise DefinitionError(
            "SQLSource: the connection has a password in it. A definition is kept by every backend and shown to whoever lists "
            "it, so write ${VAR} in its place, without a default, and set the variable where the store is opened."
        )


def pairs(query: str) -> list[tuple[str, str, str]]:
    """Return the parameters of a URI: name, ``=`` and value."""
    return [pair.partition("=") for pair in query.split("&") if pair]
