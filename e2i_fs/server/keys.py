"""Who may ask: keys that read, keys that write, or nobody but this machine."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from e2i_fs.errors import ConfigError
from e2i_fs.server.refusals import ForbiddenError, UnauthorizedError
from e2i_fs.wire.listening import LOOPBACK

__all__ = ["READ_KEYS", "WRITE_KEYS", "Access", "May", "keys_in"]

May = Literal["read", "write"]
READ_KEYS, WRITE_KEYS = "E2I_FS_READ_KEYS", "E2I_FS_WRITE_KEYS"
_SHORTEST = 16


@dataclass(frozen=True, slots=True, repr=False)
class Access:
    """The keys of a server. Who has a key of ``write`` may read too; who has one of ``read`` may not write.

    Without any key, everybody who reaches the server may do everything: `require_loopback` then keeps it to this machine.
    """

    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()

    @property
    def open(self) -> bool:
        """Whether there is no key."""
        return not (self.read or self.write)

    def require_loopback(self, host: str) -> None:
        """Raise `ConfigError` when there is no key and ``host`` is not an address of this machine alone.

        >>> Access().require_loopback("127.0.0.1")
        >>> Access().require_loopback("0.0.0.0")
        Traceback (most recent call last):
        e2i_fs.errors.ConfigError: Without keys the server listens on this machine only, and '0.0.0.0' is more than that. Put keys into $E2I_FS_READ_KEYS and $E2I_FS_WRITE_KEYS or into files (--read-keys, --write-keys), or use --host 127.0.0.1.
        """
        if self.open and host not in LOOPBACK:
            raise ConfigError(
                f"Without keys the server listens on this machine only, and {host!r} is more than that. Put keys into "
                f"${READ_KEYS} and ${WRITE_KEYS} or into files (--read-keys, --write-keys), or use --host 127.0.0.1."
            )

    def require(self, may: May, headers: Mapping[str, str]) -> None:
        """Raise unless the headers of a request have a key for what is asked.

        The key is in ``Authorization: Bearer KEY`` or in ``X-API-Key: KEY``. Raises `UnauthorizedError` without a known
        key, `ForbiddenError` when a key of reading is used to write.
        """
        if self.open:
            return
        given = _given(headers)
        writes, reads = _known(given, self.write), _known(given, self.read)
        if writes or (reads and may == "read"):
            return
        if reads:
            raise ForbiddenError(
                "This key may read, and not write or materialise. Nothing was done.", fix="Use a key that may write."
            )
        raise UnauthorizedError(
            "The key is not known." if given else "There is no key in the request.",
            fix="Send a key of this server as `Authorization: Bearer KEY` or `X-API-Key: KEY`.",
        )


def keys_in(path: str | None, variable: str) -> tuple[str, ...]:
    """Return the keys of a file, or of an environment variable when no file is named; one or more, between white space.

    Several are for changing them without a gap. Raises `ConfigError` for a file that cannot be read or has no key, and for
    a key that is short (less than 16 characters) or not plain ASCII.
    """
    if path is None:
        text, where = os.environ.get(variable, ""), f"${variable}"
    else:
        where = path
        try:
            with open(path, encoding="utf-8") as file:
                text = file.read()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}, which is to have the keys, cannot be read: {error}.") from error
    keys = tuple(text.split())
    if path is not None and not keys:
        raise ConfigError(f"{path} has no key. Write one into it, or leave the option out.")
    weak = next((n for n, key in enumerate(keys, 1) if len(key) < _SHORTEST or not key.isascii()), None)
    if weak is not None:
        raise ConfigError(
            f"Key {weak} of {where} is not {_SHORTEST} or more characters of plain ASCII. Make one: "
            'python -c "import secrets; print(secrets.token_urlsafe(32))".'
        )
    return keys


def _given(headers: Mapping[str, str]) -> str:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")


def _known(given: str, keys: Iterable[str]) -> bool:
    """Return whether a key is among those known, in a time that says nothing of how near it is, nor of which it is."""
    digest = hashlib.sha256(given.encode("utf-8", "surrogateescape")).digest()
    found = [hmac.compare_digest(digest, hashlib.sha256(key.encode()).digest()) for key in keys]
    return any(found)
