"""The Redis connection string: timeouts that make a dead or frozen Redis cheap, and no secret on disk."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from e2i_fs.errors import ConfigError

__all__ = ["DEFAULT_TIMEOUT", "has_default_timeout", "with_timeouts", "without_secrets"]

DEFAULT_TIMEOUT = 0.5
_DEFAULTS = {"retry": "null", "socket_timeout": str(DEFAULT_TIMEOUT), "socket_connect_timeout": str(DEFAULT_TIMEOUT)}
_SECRETS = {"password": "${FEAST_REDIS_PASSWORD}", "username": "${FEAST_REDIS_USERNAME}"}


def with_timeouts(online_store: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration with half a second's timeouts and no retries, unless it says otherwise.

    redis-py's own defaults cost 4 to 10 s for each call to a Redis that is down. ``retry`` is None for redis-py.
    Raises `ConfigError` for settings under which rows would vanish or could not be written safely.

    >>> with_timeouts({"type": "redis", "connection_string": "localhost:6379,socket_timeout=2"})["connection_string"]
    'localhost:6379,socket_timeout=2,retry=null,socket_connect_timeout=0.5'
    """
    if online_store.get("type") != "redis":
        return dict(online_store)
    if online_store.get("key_ttl_seconds"):
        raise ConfigError(
            "feast backend: key_ttl_seconds lets rows vanish from Redis while they still answer (O-2). Remove it; "
            "a view's ttl is enforced on reading."
        )
    if (
        str(getattr(online_store.get("redis_type"), "value", online_store.get("redis_type", "redis")))
        == "redis_cluster"
    ):
        raise ConfigError(
            "feast backend: redis_type redis_cluster cannot compare and write several keys as one; "
            "use redis or redis_sentinel."
        )
    parts = str(online_store.get("connection_string", "localhost:6379")).split(",")
    given = {part.split("=", 1)[0] for part in parts if "=" in part}
    parts += [f"{key}={value}" for key, value in _DEFAULTS.items() if key not in given]
    return {**online_store, "connection_string": ",".join(parts)}


def has_default_timeout(online_store: Any) -> bool:
    """Return whether the configuration of a Redis has the timeout that `with_timeouts` gave it."""
    return f"socket_timeout={DEFAULT_TIMEOUT}" in str(getattr(online_store, "connection_string", "")).split(",")


def without_secrets(online_store: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration for feature_store.yaml: user and password as variables that Feast expands.

    >>> without_secrets({"connection_string": "localhost:6379,password=x"})["connection_string"]
    'localhost:6379,password=${FEAST_REDIS_PASSWORD}'
    """
    if "connection_string" not in online_store:
        return dict(online_store)
    parts = [part.split("=", 1) for part in str(online_store["connection_string"]).split(",")]
    kept = ["=".join([part[0], _SECRETS.get(part[0], part[1])]) if len(part) == 2 else part[0] for part in parts]
    return {**online_store, "connection_string": ",".join(kept)}
