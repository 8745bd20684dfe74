"""The Redis connection string, checked when the store is opened: Feast's own form, which is no URL.

Feast takes it apart without a word and hands the parts to redis-py, so a slip would show at the first call, as the error
of a number that is none. No message shows the whole string: a password may be in it.
"""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Mapping
from typing import Any

from e2i_fs.errors import ConfigError, did_you_mean

__all__ = ["check_redis"]

_FORM = "Write host:port,key=value, e.g. localhost:6379,db=0,socket_timeout=0.5; user and password are keys as well."
_SECONDS = ("socket_timeout", "socket_connect_timeout", "health_check_interval")
_COUNTS = ("db", "max_connections", "socket_read_size", "protocol")
_SENTINEL = ("min_other_sentinels", "force_master_ip")
_OURS = ("self", "host", "port", "unix_socket_path", "connection_pool", "decode_responses", "encoding")
"""What the addresses say, or what would give text where bytes are read."""


def check_redis(online_store: Mapping[str, Any]) -> None:
    """Raise `ConfigError` for a connection string that is not one, naming its form.

    >>> check_redis({"type": "redis", "connection_string": "localhost:6379,db=1,socket_timeout=2"})
    """
    if online_store.get("type") != "redis":
        return
    given = online_store.get("connection_string", "localhost:6379")
    if not isinstance(given, str) or not given:
        raise _wrong(f"is {given!r}" if not given else f"is of type {type(given).__name__}, not text")
    if "://" in given:
        raise _wrong(f"is a URL ({given.partition('://')[0]}://...)")
    parts = [part.strip() for part in given.split(",")]
    nodes = [part for part in parts if "=" not in part]
    if not nodes or nodes[0] != parts[0]:
        raise _wrong("does not begin with an address")
    sentinel = "sentinel" in str(getattr(online_store.get("redis_type"), "value", online_store.get("redis_type", "")))
    if len(nodes) > 1 and not sentinel:
        raise _wrong("has a part without '=' after its address (a comma in a password? Several are for redis_sentinel)")
    for node in nodes:
        host, _, port = node.partition(":")
        if not host or not port:
            raise _wrong(f"has the address {node!r} without a {'port' if host else 'host'}")
        if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
            raise _wrong(f"has the port {port!r}, which is no number from 1 to 65535")
    known = _known_keys(sentinel=sentinel)
    for key, value in (part.split("=", 1) for part in parts if "=" in part):
        _check_pair(key, value, known)


def _check_pair(key: str, value: str, known: Mapping[str, Any]) -> None:
    if known and key not in known:
        raise _wrong(f"has the unknown key {key!r}", did_you_mean(key, known))
    read = _read(value)
    if key in _COUNTS and not (type(read) is int and read >= 0) and read is not None:
        raise _wrong(f"has {key}={value}, which is no whole number")
    if key in _SECONDS and not (type(read) in (int, float) and 0 < read < math.inf) and read is not None:
        raise _wrong(f"has {key}={value}, which is no number of seconds")
    if known.get(key) is bool and type(read) is not bool:
        raise _wrong(f"has {key}={value}, which is neither true nor false")


def _read(value: str) -> Any:
    """Return the value as Feast reads it: JSON, or else text."""
    try:
        return json.loads(value)
    except json.JSONDecodeError:
        return value


def _known_keys(*, sentinel: bool) -> dict[str, Any]:
    """Return what redis-py takes, with `bool` for what is true or false; nothing where it is not installed."""
    try:
        from redis import Redis
    except ImportError:
        return {}  # opening Feast's store will say how to install it
    found = inspect.signature(Redis.__init__).parameters
    known = {name: bool if isinstance(p.default, bool) else None for name, p in found.items() if name not in _OURS}
    return known | dict.fromkeys(_SENTINEL if sentinel else ())


def _wrong(what: str, hint: str = "") -> ConfigError:
    return ConfigError(f"feast backend: connection_string {what}.{hint} {_FORM}")
