"""Feast's Spark session, and one of our own beside it: in UTC, strict, exact in names; jobs that can be given up."""

from __future__ import annotations

import os
import shutil
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from e2i_fs.errors import PluginLoadError

__all__ = ["Spark", "check_spark"]

JAVA = "Spark needs a Java 17 runtime: install one (Debian: apt-get install openjdk-17-jre-headless), or set JAVA_HOME to it."
INSTALL = 'pip install "e2i-fs[feast,spark]"'
_SETTINGS: Mapping[str, str] = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "true",
    "spark.sql.caseSensitive": "true",
    "spark.sql.parser.quotedRegexColumnNames": "false",  # which Feast sets, so that `a.b` would be a pattern
    "spark.sql.legacy.parquet.nanosAsLong": "true",
    "spark.sql.parquet.datetimeRebaseModeInRead": "CORRECTED",
    "spark.sql.parquet.int96RebaseModeInRead": "CORRECTED",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    "spark.sql.files.ignoreMissingFiles": "false",
    "spark.sql.files.ignoreCorruptFiles": "false",
}
"""What the contract needs of a session, whatever the user's own says: it is set on ours alone."""


def check_spark() -> None:
    """Raise `PluginLoadError` unless pyspark and a Java runtime are there; neither is started."""
    try:
        import pyspark  # noqa: F401
    except ImportError as error:
        raise PluginLoadError(f"A spark offline store needs pyspark ({error}). Install it: {INSTALL}") from error
    home = os.environ.get("JAVA_HOME")
    if not (home and os.access(os.path.join(home, "bin", "java"), os.X_OK)) and shutil.which("java") is None:
        raise PluginLoadError(f"A spark offline store was given and no Java was found. {JAVA}")


class Spark:
    """The session, begun when it is first needed: Spark has one context for each process, whoever asks first configures it."""

    def __init__(self, config: Any) -> None:
        self._config = config
        self._lock = threading.Lock()
        self._session: Any = None
        self._groups: set[str] = set()

    @property
    def session(self) -> Any:
        """Our session on Feast's context; another one when that was stopped."""
        from feast.infra.offline_stores.contrib.spark_offline_store.spark import (
            get_spark_session_or_start_new_with_repoconfig,
        )

        with self._lock:
            if self._session is None or self._session.sparkContext._jsc is None:
                theirs = get_spark_session_or_start_new_with_repoconfig(self._config)
                ours = theirs.newSession()
                for key, value in _SETTINGS.items():
                    ours.conf.set(key, value)
                self._session = ours
            return self._session

    @property
    def begun(self) -> bool:
        """Whether a session was needed yet."""
        return self._session is not None

    @contextmanager
    def job(self, what: str) -> Iterator[Any]:
        """Give the session; the jobs of the block end in the cluster when `give_up` is called meanwhile (X-8)."""
        session = self.session
        group = f"e2i_fs {uuid.uuid4().hex}"
        context = session.sparkContext
        context.setJobGroup(group, f"e2i_fs: {what}", interruptOnCancel=True)
        with self._lock:
            self._groups.add(group)
        try:
            yield session
        finally:
            with self._lock:
                self._groups.discard(group)
            context.setLocalProperty("spark.jobGroup.id", None)
            context.setLocalProperty("spark.job.description", None)

    def give_up(self) -> None:
        """Cancel what runs for us; the cluster's other jobs, and the session, stay."""
        with self._lock:
            groups, session = set(self._groups), self._session
        for group in groups:
            session.sparkContext.cancelJobGroup(group)
