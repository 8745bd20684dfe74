"""The address that a `SQLSource` stands for where it is opened: the environment is read here, and nowhere else."""

from __future__ import annotations

import re
import urllib.parse

from e2i_fs.config import expand_variables
from e2i_fs.errors import ConfigError
from e2i_fs.sql.address import SECRET, Address, pairs

__all__ = ["read_address"]

_URI = re.compile(
    r"[A-Za-z][A-Za-z0-9+.-]*://([^\s/?#@\[\]]*@)?([^\s/?#@\[\]]|\[[0-9A-Fa-f:.%]+\])*(/[^\s?#@]*)?(\?[^\s#]*)?"
)


def read_address(connection: str) -> Address:
    """Return the address that ``connection`` stands for now, ``${VAR}`` expanded.

    Raises `ConfigError` when a variable is not set, or when what comes of it is no URI: a password's special characters
    must be percent-encoded. The message does not show it.
    """
    uri = expand_variables(connection, "SQLSource connection")
    if not _URI.fullmatch(uri):
        raise ConfigError(
            f"The connection {connection!r} of a SQLSource is no URI once its variables are put in. Write "
            "postgresql://user:password@host:port/database, and in user and password %40 for @, %2F for /, and so on."
        )
    parts = urllib.parse.urlsplit(uri)
    passwords = [parts.netloc.rpartition("@")[0].partition(":")[2]]
    passwords += [value for key, _, value in pairs(parts.query) if key in SECRET]
    return Address(uri, tuple({word for p in passwords if p for word in (p, urllib.parse.unquote(p))}))
