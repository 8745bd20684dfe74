"""The errors of pyspark, Py4J and the JVM as the SDK's (G-4)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from py4j.protocol import Py4JError, Py4JNetworkError  # type: ignore[import-untyped]
from pyspark.errors import AnalysisException, PySparkException

from e2i_fs.errors import (
    BackendDataError,
    BackendUnavailableError,
    DeadlineExceededError,
    E2IError,
    InvalidTimestampError,
    PluginLoadError,
)
from e2i_fs_feast.spark.session import JAVA
from e2i_fs_feast.spark.types import FINE

__all__ = ["spark_errors"]

_AWAY = re.compile(
    r"ExecutorLostFailure|executor.{0,40}(lost|exited)|Master removed our application|All masters are unresponsive"
    r"|FetchFailed|MetadataFetchFailed|SparkContext (was|has been) shut ?down|stopped SparkContext|Connection refused"
    r"|Could not connect|UnknownHostException|answer from Java side is empty",
    re.IGNORECASE | re.DOTALL,
)


@contextmanager
def spark_errors(what: str) -> Iterator[None]:
    """Let only errors of e2i_fs out of the block for what Spark raises; the rest passes."""
    try:
        yield
    except (PySparkException, Py4JError) as error:
        raise _translated(error, what) from error
    except (ConnectionError, EOFError) as error:  # of the socket to the JVM
        raise BackendUnavailableError(f"{what}: Spark cannot be reached ({error}). Is its driver running?") from error


def _translated(error: Exception, what: str) -> E2IError:
    said = _first_lines(str(error))
    if "JAVA_GATEWAY_EXITED" in said:
        return PluginLoadError(f"{what}: Spark did not start ({said}). {JAVA}")
    if FINE in str(error):
        column = str(error).partition(FINE)[2].strip().partition("\n")[0].split(" SQLSTATE")[0]
        return InvalidTimestampError(
            f"{what}: a time in {column!r} has a part below one microsecond (T-2). Store microseconds."
        )
    if "cancelled" in said or "canceled" in said:
        return DeadlineExceededError(f"{what}: it was given up ({said}).")
    if isinstance(error, Py4JNetworkError) or _AWAY.search(str(error)):
        return BackendUnavailableError(f"{what}: Spark cannot be used ({said}). Are its master and workers running?")
    if isinstance(error, AnalysisException):
        return BackendDataError(
            f"{what}: Spark does not find what the view names ({said}). Mend the source, or the view."
        )
    return BackendDataError(f"{what}: Spark failed with {said}.")


def _first_lines(text: str) -> str:
    kept = [line.strip() for line in text.splitlines() if line.strip() and not line.strip().startswith("at ")]
    return " ".join(kept[:3])[:600]
