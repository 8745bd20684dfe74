"""The drivers' errors as the SDK's: Feast has no error class of its own that all its stores use (G-4)."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import filelock
from google.protobuf.message import DecodeError

from e2i_fs.errors import (
    BackendDataError,
    BackendError,
    BackendUnavailableError,
    DeadlineExceededError,
    E2IError,
    ThrottledError,
)

__all__ = ["driver_errors"]

_LOST = frozenset({"OperationalError", "InterfaceError", "ServiceUnavailable"})  # of whatever driver Feast uses

_THROTTLED = (
    "OOM",
    "OutOfMemory",
    "BUSY",
    "LOADING",
    "TRYAGAIN",
    "max number of clients",
    "database is locked",
    "database table is locked",
)
_GONE = (
    "unable to open",
    "readonly",
    "disk I/O",
    "disk is full",
    "READONLY",
    "MASTERDOWN",
    "CLUSTERDOWN",
    "NOREPLICAS",
    "MISCONF",
)


@contextmanager
def driver_errors(what: str) -> Iterator[None]:
    """Let only errors of e2i_fs out of the block; ``what`` says what was being done and where.

    The driver's own error is the cause.
    """
    try:
        yield
    except E2IError:
        raise
    except Exception as error:
        raise _translated(error, what) from error


def _translated(error: Exception, what: str) -> BackendError:
    # redis-py quotes the command, and with it keys and values that belong to no message.
    said = f"{type(error).__name__}: {str(error).rpartition('of pipeline caused error: ')[2]}"
    redis: Any = sys.modules.get("redis")  # an extra: if it was never imported, this is none of its errors
    if isinstance(error, filelock.Timeout):
        return ThrottledError(f"{what}: another writer holds {error.lock_file}; try again.")
    if isinstance(error, TimeoutError) or (redis and isinstance(error, redis.TimeoutError)):
        return DeadlineExceededError(f"{what}: no answer in time ({said}).")
    of_redis = redis is not None and isinstance(error, redis.RedisError)
    if of_redis or isinstance(error, sqlite3.Error):
        if (of_redis and isinstance(error, redis.BusyLoadingError)) or any(word in said for word in _THROTTLED):
            return ThrottledError(f"{what}: the store is busy ({said}); try again later.")
        lost = isinstance(error, redis.ConnectionError) if of_redis else isinstance(error, sqlite3.OperationalError)
        if (lost and "no such" not in said) or any(word in said for word in _GONE):
            return BackendUnavailableError(
                f"{what}: the store cannot be used ({said}). Is it running, and may we write there?"
            )
        return BackendDataError(f"{what}: {said}.")
    if isinstance(error, OSError):
        return BackendUnavailableError(f"{what}: {said}. Make the folder exist and writable, or free space.")
    if type(error).__name__ in _LOST:
        return BackendUnavailableError(f"{what}: a database behind Feast cannot be reached ({said}). Is it running?")
    if isinstance(error, DecodeError):
        return BackendDataError(f"{what}: what is stored cannot be read ({said}); restore it from a backup.")
    return BackendDataError(f"{what}: Feast failed with {said}.")
