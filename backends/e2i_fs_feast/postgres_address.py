"""The settings of a PostgreSQL offline store: checked before Feast sees them, for its errors would quote the password."""

from __future__ import annotations

import urllib.parse
from collections.abc import Mapping
from typing import Any

from e2i_fs.errors import ConfigError
from e2i_fs.sql.address import Address

__all__ = ["address_of", "check_postgres", "without_password"]

_NEEDED = ("host", "database", "user", "password")
_PASSWORD = "${FEAST_POSTGRES_PASSWORD}"  # noqa: S105 - the name of one


def check_postgres(offline_store: Mapping[str, Any]) -> None:
    """Raise `ConfigError` for settings of a PostgreSQL offline store that Feast could not use, without showing the password.

    >>> check_postgres({"type": "postgres", "host": "db", "database": "e2i", "user": "me", "password": "x"})
    """
    if offline_store.get("type") != "postgres":
        return
    for key in _NEEDED:
        given = offline_store.get(key)
        if not isinstance(given, str) or (not given and key != "password"):
            what = (
                "is not given"
                if given is None
                else "is empty"
                if given == ""
                else f"is of type {type(given).__name__}, not text"
            )
            raise ConfigError(
                f"feast backend: {key} of offline_store postgres {what}. Give host, database, user and password, the last as "
                '"${PGPASSWORD}"; "" where none is asked for.'
            )
    port = offline_store.get("port", 5432)
    if not (str(port).isascii() and str(port).isdigit() and 0 < int(port) < 65536):
        raise ConfigError(f"feast backend: port of offline_store postgres is {port!r}; give a number from 1 to 65535.")


def without_password(offline_store: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings for feature_store.yaml: the password as a variable that Feast expands.

    >>> without_password({"type": "postgres", "password": "x"})
    {'type': 'postgres', 'password': '${FEAST_POSTGRES_PASSWORD}'}
    """
    return {k: _PASSWORD if k == "password" and v else v for k, v in offline_store.items()}


def address_of(store: Any) -> Address:
    """Return the address of Feast's configuration of a PostgreSQL offline store."""
    said = {
        "sslmode": store.sslmode,
        "sslkey": store.sslkey_path,
        "sslcert": store.sslcert_path,
        "sslrootcert": store.sslrootcert_path,
        "keepalives_idle": store.keepalives_idle,
        "options": f"-csearch_path={store.db_schema}" if store.db_schema else None,
    }
    query = urllib.parse.urlencode({k: v for k, v in said.items() if v is not None}, quote_via=urllib.parse.quote)
    user, password = urllib.parse.quote(store.user, safe=""), urllib.parse.quote(store.password or "", safe="")
    host = store.host
    if host.startswith("/"):  # the folder of a unix socket
        query, host = f"{query}&host={urllib.parse.quote(host, safe='')}", ""
    uri = f"postgresql://{user}{f':{password}' if password else ''}@{host}:{store.port}/{urllib.parse.quote(store.database)}"
    return Address(f"{uri}?{query}", tuple({word for word in (password, store.password) if word}))
