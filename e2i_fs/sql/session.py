"""One conversation with a database through ADBC, in which nothing can be written."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from e2i_fs.errors import BackendDataError, UnsupportedError
from e2i_fs.sql.address import Address

__all__ = ["Session"]

_DRIVERS = {
    "postgresql": "adbc_driver_postgresql",
    "postgres": "adbc_driver_postgresql",
    "sqlite": "adbc_driver_sqlite",
}
_POSTGRES = (
    "SET TRANSACTION READ ONLY",
    "SET LOCAL TIME ZONE 'UTC'",
    "SET LOCAL extra_float_digits = 3",
    "SET LOCAL standard_conforming_strings = on",
)


class Session:
    """An open connection to the database at an address. ``where`` names it in messages, without user or password.

    Raises `UnsupportedError` for a database without an installed driver, `BackendDataError` when it cannot be reached: it is the
    source of a view and no backend, and every backend asks the same one (X-2).
    """

    def __init__(self, address: Address) -> None:
        self.is_postgres = address.scheme in ("postgresql", "postgres")
        if address.scheme not in _DRIVERS:
            raise UnsupportedError(
                f"No driver for {address.scheme!r} databases; known are {', '.join(sorted(_DRIVERS))}."
            )
        try:
            self._driver = importlib.import_module(f"{_DRIVERS[address.scheme]}.dbapi")
        except ImportError as error:
            raise UnsupportedError(
                f'Reading {address.scheme} needs its driver: pip install "e2i-fs[postgres]" ({error}).'
            ) from error
        self._address = address.with_patience() if self.is_postgres else address
        self.where = f"the database at {address.shown}"
        with self._errors("cannot be reached", "Is it running, and do host, user and password hold?"):
            self._connection: Any = self._driver.connect(self._address.uri)
        self._cursor: Any = None
        try:
            with self._errors("refused to begin"):
                self._cursor = self._connection.cursor()
                for statement in _POSTGRES if self.is_postgres else ():
                    self._cursor.execute(statement)
        except BaseException:
            self.close()
            raise

    def schema(self, query: str) -> pa.Schema:
        """Return the schema of what ``query`` would give, with the driver's own words on each type."""
        with self._errors("refused the question for its columns"):
            found: pa.Schema = self._cursor.adbc_execute_schema(query)
            return found

    def rows(self, query: str) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
        """Return the schema and the rows of ``query``, piece by piece as they arrive."""
        with self._errors("did not answer the query"):
            self._cursor.execute(query)
            reader = self._cursor.fetch_record_batch()
        return reader.schema, self._batches(reader)

    def _batches(self, reader: Any) -> Iterator[pa.RecordBatch]:
        with self._errors("ended in the middle of the answer"):
            yield from reader

    def one(self, query: str) -> Any:
        """Return the one value that ``query`` gives."""
        _, batches = self.rows(query)
        (row,) = pa.Table.from_batches(list(batches)).to_pylist()
        return next(iter(row.values()))

    @contextmanager
    def _errors(self, what: str, hint: str = "Try again when it does.") -> Iterator[None]:
        address: Address = self._address
        try:
            yield
        except (self._driver.Error, pa.ArrowException, OSError) as error:
            said = " ".join(address.without_secrets(str(error)).split())
            told = BackendDataError(f"The database at {address.shown}, a view's source, {what}: {said} {hint}")
            # The driver's own error is the cause, unless it quotes what must not be seen.
            raise told from (None if address.hides(str(error)) else error)

    def close(self) -> None:
        """Let go of it; what goes wrong then, on a connection that is lost, is of no interest."""
        for held in (self._cursor, self._connection):
            if held is not None:
                try:
                    held.close()
                except (self._driver.Error, OSError):
                    continue
