"""The addresses of servers that exist, as they were given on the command line: taken apart, and refused where they cannot be used."""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from e2i_fs.config import expand_variables
from e2i_fs.errors import RequestError

__all__ = ["GivenPostgres", "GivenRedis"]

_FORM = (
    "Give --postgres a URI with a user, a host and a database, e.g. 'postgresql://${PGUSER}:${PGPASSWORD}@db:5432/e2i'"
)
_FEAST = {"sslmode": "sslmode", "sslkey": "sslkey_path", "sslcert": "sslcert_path", "sslrootcert": "sslrootcert_path"}
"""The parameters of a URI that Feast's settings know too, and their names there."""


@dataclass(frozen=True, slots=True)
class GivenPostgres:
    """A PostgreSQL, taken apart. ``more`` are parameters of its URI."""

    host: str
    port: int
    database: str
    user: str
    password: str
    more: Mapping[str, str]

    @classmethod
    def read(cls, given: str) -> Self:
        """Return the parts of a URI, its ``${VAR}`` expanded; raise `RequestError`, which shows no password, if it is none."""
        import psycopg
        from psycopg.conninfo import conninfo_to_dict

        uri = expand_variables(given, "--postgres")
        if not uri.startswith(("postgresql://", "postgres://")):
            raise RequestError(f"--postgres is no URI. {_FORM}.")
        try:
            parts = {key: str(value) for key, value in conninfo_to_dict(uri).items()}
        except psycopg.Error as error:  # libpq quotes what it could not read, a password perhaps
            kind = type(error).__name__
            raise RequestError(
                f"--postgres is no URI that libpq can read ({kind}). {_FORM}, and %40 for @ in a password."
            ) from None
        missing = [
            name for name, key in (("user", "user"), ("host", "host"), ("database", "dbname")) if not parts.get(key)
        ]
        if missing:
            raise RequestError(f"--postgres names no {' and no '.join(missing)}. {_FORM}.")
        host, port = parts.pop("host"), parts.pop("port", "") or "5432"
        if "," not in port and not _is_port(port):
            raise RequestError(
                f"--postgres has no number from 1 to 65535 for a port. {_FORM}, and %40, %3A, %2F for @, :, /."
            )
        if "," in host + port:
            raise RequestError(f"--postgres names several hosts; the demo takes one. {_FORM}.")
        database, user, password = parts.pop("dbname"), parts.pop("user"), parts.pop("password", "")
        strange = sorted(set(parts) - set(_FEAST))
        if strange:
            raise RequestError(
                f"--postgres has the parameter {strange[0]!r}, which Feast's settings have no place for; "
                f"leave it out. Known are {', '.join(_FEAST)}."
            )
        if parts.get("sslmode") == "verify-full":
            raise RequestError(
                "--postgres has sslmode=verify-full. The demo cuts a relay on this machine, whose name is not the "
                "certificate's; use verify-ca here, which checks the certificate all the same."
            )
        return cls(host, int(port), database, user, password, parts)

    @property
    def shown(self) -> str:
        """Where it is: no user, no password."""
        return f"{self.host}:{self.port}/{self.database}"

    @property
    def target(self) -> tuple[str, int]:
        """Where a relay must lead: the host and port, or the path of a unix socket."""
        return (f"{self.host}/.s.PGSQL.{self.port}", 0) if self.host.startswith("/") else (self.host, self.port)

    def uri(self, host: str, port: int) -> str:
        """Return the URI of the same database as it is reached by another host and port."""
        who = urllib.parse.quote(self.user, safe="")
        who += f":{urllib.parse.quote(self.password, safe='')}" if self.password else ""
        more = dict(self.more)
        if host.startswith("/"):
            more["host"], host = host, ""
        elif ":" in host:
            host = f"[{host}]"
        query = urllib.parse.urlencode(more, quote_via=urllib.parse.quote)
        database = urllib.parse.quote(self.database, safe="")
        return f"postgresql://{who}@{host}:{port}/{database}{f'?{query}' if query else ''}"

    def settings(self, host: str, port: int) -> dict[str, Any]:
        """Return Feast's settings of an offline store that is this database, reached by another host and port."""
        return {
            "type": "postgres", "host": host, "port": port, "database": self.database, "user": self.user,
            "password": self.password, "sslmode": "prefer", **{_FEAST[key]: value for key, value in self.more.items()},
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class GivenRedis:
    """A Redis, taken apart from Feast's form, ``host:port,key=value``."""

    host: str
    port: int
    more: tuple[str, ...]

    @classmethod
    def read(cls, given: str) -> Self:
        """Return the parts of a connection string, its ``${VAR}`` expanded; raise `RequestError` if it is none."""
        first, *more = (part.strip() for part in expand_variables(given, "--redis").split(","))
        host, _, port = first.rpartition(":")
        if "://" in first or not host or not _is_port(port):
            raise RequestError(
                "--redis is no address. Give host:port,key=value, e.g. 'redis:6379,db=1,password=${REDIS}'."
            )
        if any("=" not in part for part in more):
            raise RequestError(
                "--redis has a part without '=' after its address; the demo takes one Redis, without sentinels."
            )
        return cls(host, int(port), tuple(more))

    @property
    def shown(self) -> str:
        """Where it is, and which of its databases: no password."""
        database = next((part for part in self.more if part.startswith("db=")), "")
        return f"{self.host}:{self.port}{f',{database}' if database else ''}"

    @property
    def target(self) -> tuple[str, int]:
        """Where a relay must lead."""
        return (self.host, self.port)

    def address(self, host: str, port: int) -> str:
        """Return the connection string of the same Redis as it is reached by another host and port."""
        return ",".join((f"{host}:{port}", *self.more))

    def client(self) -> Any:
        """Return a client of it, made as Feast makes one: values that are JSON are read as such."""
        import redis

        return redis.Redis(
            host=self.host, port=self.port, **{k: _read(v) for k, _, v in (m.partition("=") for m in self.more)}
        )


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and 0 < int(text) < 65536


def _read(value: str) -> Any:
    try:
        return json.loads(value)
    except json.JSONDecodeError:
        return value
