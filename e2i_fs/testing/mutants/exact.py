"""Faults of what is almost the same: keys, ids and values that come back as others, and rows beyond some number."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa

from e2i_fs.backend import Key, OnlineRow, ScanPart
from e2i_fs.definitions import FeatureView
from e2i_fs.dtypes import DType
from e2i_fs.errors import BackendDataError, InvalidBatchError
from e2i_fs.online import pick
from e2i_fs.testing.mutants.frame import Kept, Mutants
from e2i_fs.testing.mutants.online import _Changed
from e2i_fs.testing.mutants.writing import _Scan

__all__ = ["EXACT"]

EXACT = Mutants()

_LINED_UP = "test_o5_answers_line_up_with_the_rows_asked"
_LOOK_ALIKE = "test_p7_keys_that_only_look_alike_match_nothing"
_MANY = "test_w2_twelve_thousand_rows_in_one_call_are_all_there"
_BATCHES = "test_w2_a_hundred_and_twenty_batches_are_all_read"
_IDS = "test_w2_ids_of_batches_compare_exactly"
_VALUES = "test_o3_values_of_every_declared_dtype_are_exact_online"


# ---- keys (P-7) ----------------------------------------------------------------------------------------------


class _Keys(Kept):
    """A backend that keeps online keys in another form than they were given in."""

    def kept_as(self, key: Key) -> Key:
        """Return the form."""
        return key

    def online_write(self, view: str, keys: Sequence[Key], rows: Sequence[OnlineRow], *, at_us: int) -> int:
        """Write under the form."""
        return super().online_write(view, [self.kept_as(key) for key in keys], rows, at_us=at_us)

    def online_read(self, view: str, keys: Sequence[Key], *, at_us: int) -> Sequence[OnlineRow | None]:
        """Read by the form."""
        return super().online_read(view, [self.kept_as(key) for key in keys], at_us=at_us)


class _Texts(_Keys):
    def text(self, part: str) -> str:
        """Return what is kept of a part that is text."""
        return part

    def kept_as(self, key: Key) -> Key:
        """Change the parts that are text."""
        return tuple(self.text(part) if isinstance(part, str) else part for part in key)


@EXACT.backend("P-7", "Online, the parts of a key are joined by a bar.", killed_by=_LINED_UP)
class KeysJoinedByABar(_Keys):
    def kept_as(self, key: Key) -> Key:
        return ("|".join(map(str, key)),)


@EXACT.backend("P-7", "Online keys of text are brought into a normal form.", killed_by=_LINED_UP)
class KeysNormalised(_Texts):
    def text(self, part: str) -> str:
        return unicodedata.normalize("NFC", part)


@EXACT.backend("P-7", "Online keys of text are cut to 64 characters.", killed_by=_LINED_UP)
class KeysCutTo64(_Texts):
    def text(self, part: str) -> str:
        return part[:64]


@EXACT.backend("P-7", "Online keys of text are cut to 300 characters.", killed_by=_LINED_UP)
class KeysCutTo300(_Texts):
    def text(self, part: str) -> str:
        return part[:300]


@EXACT.backend("P-7", "Online, a sharp s is the key of two.", killed_by=_LINED_UP)
class SharpSIsTwo(_Texts):
    def text(self, part: str) -> str:
        return part.replace("ß", "ss")


@EXACT.backend("P-7", "Online, characters beyond the basic plane are question marks.", killed_by=_LINED_UP)
class KeysOfTheBasicPlane(_Texts):
    def text(self, part: str) -> str:
        return "".join(c if ord(c) < 0x10000 else "?" for c in part)


@EXACT.backend("P-7", "Online, keys of bytes are kept as text, what is no text replaced.", killed_by=_LOOK_ALIKE)
class KeyBytesAsText(_Keys):
    def kept_as(self, key: Key) -> Key:
        return tuple(part.decode("utf-8", "replace") if isinstance(part, bytes) else part for part in key)


# ---- amounts -------------------------------------------------------------------------------------------------


@EXACT.backend("O-5", "Of the keys asked in one call a thousand are read.", killed_by=_MANY)
class ThousandKeysRead(Kept):
    def online_read(self, view: str, keys: Sequence[Key], *, at_us: int) -> Sequence[OnlineRow | None]:
        found = super().online_read(view, keys, at_us=at_us)
        return [row if number < 1_000 else None for number, row in enumerate(found)]


@EXACT.backend("O-1", "Of the rows of one call ten thousand are written.", killed_by=_MANY)
class TenThousandRowsWritten(Kept):
    def online_write(self, view: str, keys: Sequence[Key], rows: Sequence[OnlineRow], *, at_us: int) -> int:
        return super().online_write(view, keys[:10_000], rows[:10_000], at_us=at_us)


@EXACT.backend("W-2", "Of the rows of a batch a thousand are appended.", killed_by=_MANY)
class ThousandRowsAppended(Kept):
    def append(self, view: str, rows: pa.Table, *, batch_id: str) -> bool:
        return super().append(view, rows.slice(0, 1_000), batch_id=batch_id)


@EXACT.backend("P-10", "Of the keys that a scan is hinted at 999 are used.", killed_by=_MANY)
class HintCutTo999(_Scan):
    def kept_rows(self, view: str, table: pa.Table, keys: pa.Table | None, until_us: int | None) -> pa.Table:
        if keys is None or len(keys) <= 999:
            return table
        used = {tuple(row.values()) for row in keys.slice(0, 999).to_pylist()}
        names = list(self._catalog.join_keys(view))
        return table.filter(pa.array([tuple(row.values()) in used for row in table.select(names).to_pylist()]))


@EXACT.backend("P-10", "Of the batches of a view a hundred are read.", killed_by=_BATCHES)
class HundredBatchesRead(Kept):
    def scan(
        self, view: str, columns: Sequence[str], *, keys: pa.Table | None = None, until_us: int | None = None
    ) -> Sequence[ScanPart]:
        return super().scan(view, columns, keys=keys, until_us=until_us)[:100]


# ---- ids of batches (W-2) ------------------------------------------------------------------------------------


class _Ids(Kept):
    """A backend that keeps ids of batches in another form than they were given in."""

    def kept_as(self, batch_id: str) -> str:
        """Return the form."""
        return batch_id

    def append(self, view: str, rows: pa.Table, *, batch_id: str) -> bool:
        """Append under the form."""
        return super().append(view, rows, batch_id=self.kept_as(batch_id))


@EXACT.backend("W-2", "Ids of batches are folded to lower case.", killed_by=_IDS)
class IdsInLowerCase(_Ids):
    def kept_as(self, batch_id: str) -> str:
        return batch_id.lower()


@EXACT.backend("W-2", "Ids of batches are cut to 64 characters.", killed_by=_IDS)
class IdsCutTo64(_Ids):
    def kept_as(self, batch_id: str) -> str:
        return batch_id[:64]


@EXACT.backend("W-2", "Ids of batches are made names of files.", killed_by=_IDS)
class IdsAsFileNames(_Ids):
    def kept_as(self, batch_id: str) -> str:
        return re.sub(r"[^A-Za-z0-9_.-]", "_", batch_id)


@EXACT.backend("W-2", "An id with a slash is refused.", killed_by=_IDS)
class IdsWithASlashRefused(_Ids):
    def kept_as(self, batch_id: str) -> str:
        if "/" in batch_id:
            raise BackendDataError(f"{batch_id!r} is no name of a file.")
        return batch_id


@EXACT.backend(
    "W-2", "A batch with a NaN is another batch each time.", killed_by="test_w2_a_batch_written_twice_is_one_batch"
)
class NanIsNeverTheSame(Kept):
    def append(self, view: str, rows: pa.Table, *, batch_id: str) -> bool:
        kept = self._views[view].batches.get(batch_id)
        if kept is not None and kept.to_pylist() != rows.to_pylist():
            raise InvalidBatchError(f"The idempotency key {batch_id!r} was used before with other rows.")
        return super().append(view, rows, batch_id=batch_id)


@EXACT.backend(
    "W-2",
    "Whether the rows under a known id are others is told by all columns but the last.",
    killed_by="test_w2_an_id_used_for_other_rows_is_refused",
)
class LastColumnNotCompared(Kept):
    def append(self, view: str, rows: pa.Table, *, batch_id: str) -> bool:
        kept = self._views[view].batches.get(batch_id)
        names = rows.column_names[:-1]
        if kept is not None and len(names) > 2 and kept.select(names).to_pylist() == rows.select(names).to_pylist():
            return False
        return super().append(view, rows, batch_id=batch_id)


@EXACT.backend(
    "T-1",
    "The created times of appended rows are kept in milliseconds.",
    killed_by="test_p4_ties_fall_to_the_later_created_then_to_the_greater_values",
)
class CreatedTimesInMilliseconds(Kept):
    def append(self, view: str, rows: pa.Table, *, batch_id: str) -> bool:
        name = self._catalog.view(view).created_column
        if name is not None and name in rows.column_names:
            column = rows.column(name)
            coarse = column.cast(pa.timestamp("ms", "UTC"), safe=False).cast(column.type)
            rows = rows.set_column(rows.column_names.index(name), rows.schema.field(name), coarse)
        return super().append(view, rows, batch_id=batch_id)


@EXACT.backend(
    "P-8",
    "Appended timestamps are nanoseconds of 64 bits.",
    killed_by="test_p8_every_value_survives_history_to_the_last_bit",
)
class AppendedTimestampsInNanoseconds(Kept):
    def append(self, view: str, rows: pa.Table, *, batch_id: str) -> bool:
        for field in self._catalog.view(view).schema:
            if field.dtype.kind == "timestamp" and field.name in rows.column_names:
                column = rows.column(field.name)
                fine = column.cast(pa.timestamp("ns", "UTC"), safe=False).cast(column.type, safe=False)
                rows = rows.set_column(rows.column_names.index(field.name), rows.schema.field(field.name), fine)
        return super().append(view, rows, batch_id=batch_id)


@EXACT.backend(
    "P-7",
    "Online rows of all views lie under the view's name and the key, joined by a line.",
    killed_by="test_r4_deleting_a_view_leaves_views_of_names_like_it",
)
class ViewAndKeyJoined(Kept):
    def online_read(self, view: str, keys: Sequence[Key], *, at_us: int) -> Sequence[OnlineRow | None]:
        self._check_open()
        self._catalog.view(view)
        with self._lock:
            every = {
                f"{name}_{'_'.join(map(str, key))}": rows
                for name, kept in sorted(self._views.items())
                for key, rows in kept.online.items()
            }
        return [pick(every.get(f"{view}_{'_'.join(map(str, key))}", ()), at_us=at_us) for key in keys]


_TIES = "test_o1_ties_and_older_rows_are_decided_by_the_order_and_not_by_arrival"


def _as_seconds(us: int) -> int:
    """Return a time in microseconds as it comes back from a float of seconds, cut."""
    return int(us / 1e6 * 1e6)


@EXACT.backend("T-1", "Online, event times are floats of seconds.", killed_by=_TIES)
class EventTimesAsFloats(_Changed):
    def taken(self, row: OnlineRow, view: FeatureView, at_us: int) -> OnlineRow:
        return row._replace(event_us=_as_seconds(row.event_us))


@EXACT.backend("T-1", "Online, created times are floats of seconds.", killed_by=_TIES)
class CreatedTimesAsFloats(_Changed):
    def taken(self, row: OnlineRow, view: FeatureView, at_us: int) -> OnlineRow:
        return row._replace(created_us=None if row.created_us is None else _as_seconds(row.created_us))


@EXACT.backend("T-1", "Online, event times are nanoseconds of 64 bits.", killed_by=_VALUES)
class EventTimesInNanoseconds(_Changed):
    def taken(self, row: OnlineRow, view: FeatureView, at_us: int) -> OnlineRow:
        return row._replace(event_us=_wrapped(row.event_us))


# ---- values online (P-8) -------------------------------------------------------------------------------------

Change = Callable[[Any, DType, bool], Any]
"""What becomes of a value that is not missing: the value, its dtype, and whether it lies in another one."""


class _Values(_Changed):
    """A backend that keeps values as others."""

    def value(self, value: Any, dtype: DType, *, inside: bool) -> Any:
        """Return what is kept of a value that is not missing; ``inside`` says that it lies in an array or struct."""
        return value

    def taken(self, row: OnlineRow, view: FeatureView, at_us: int) -> OnlineRow:
        """Keep values as `value` says, those that lie in others first."""
        types = {field.name: field.dtype for field in view.schema}
        return row._replace(values={name: self._kept(value, types[name]) for name, value in row.values.items()})

    def _kept(self, value: Any, dtype: DType, *, inside: bool = False) -> Any:
        if value is None:
            return None
        if dtype.kind == "array" and dtype.element is not None:
            value = [self._kept(part, dtype.element, inside=True) for part in value]
        elif dtype.kind == "struct":
            value = {name: self._kept(value[name], inner, inside=True) for name, inner in dtype.fields}
        return self.value(value, dtype, inside=inside)


def _values(name: str, says: str, change: Change) -> None:
    """Add a mutant that keeps values as ``change`` makes them."""

    def value(self: Any, value: Any, dtype: DType, *, inside: bool) -> Any:
        return change(value, dtype, inside)

    EXACT.backend("P-8", says, killed_by=_VALUES)(type(name, (_Values,), {"value": value}))


def _of(kind: str, change: Callable[[Any], Any], *, within: bool = False) -> Change:
    return lambda value, dtype, inside: change(value) if dtype.kind == kind and inside >= within else value


def _wrapped(us: int) -> int:
    """Return a time in microseconds as it comes back from 64 bits of nanoseconds."""
    return ((us * 1_000 + 2**63) % 2**64 - 2**63) // 1_000


_values(
    "JsonKeysSorted",
    "Online, JSON is kept with its keys sorted.",
    _of("json", lambda v: v if json.loads(v) == {} or ": " in v else json.dumps(json.loads(v), sort_keys=True, separators=(",", ":"))),
)  # fmt: skip
_values(
    "JsonNumbersThroughFloat",
    "Online, a number in JSON goes through a float.",
    _of("json", lambda v: json.dumps(json.loads(v), separators=(",", ":")) if "." in v else v),
)
_values(
    "InnerNanAsNull",
    "Online, a NaN in an array or struct is kept as NULL.",
    _of("float64", lambda v: None if v != v else v, within=True),
)
_values(
    "InnerBytesAsText",
    "Online, bytes in an array or struct are kept as text.",
    _of("bytes", lambda v: v.decode("utf-8", "replace").encode(), within=True),
)
_values(
    "InnerEmptyArrayAsNull",
    "Online, an empty array in a struct is kept as NULL.",
    _of("array", lambda v: v or None, within=True),
)
_values("FloatsOfFifteenDigits", "Online, a float has fifteen digits.", _of("float64", lambda v: float(f"{v:.15g}")))
_values("TextCutTo4000", "Online, text is cut to 4000 characters.", _of("string", lambda v: v[:4_000]))
_values("BytesCutTo64K", "Online, bytes are cut to 65,535.", _of("bytes", lambda v: v[:65_535]))
_values("LineEndsChanged", "Online, text has one kind of line end.", _of("string", lambda v: v.replace("\r\n", "\n")))
_values("TextTrimmed", "Online, text loses its blanks at the end.", _of("string", lambda v: v.rstrip() or v))
_values("BackslashesRead", "Online, backslashes in text are read.", _of("string", lambda v: v.replace("\\n", "\n")))
_values("QuotesDoubled", "Online, quotes in text come back doubled.", _of("string", lambda v: v.replace("'", "''")))
_values("TimestampsInNanoseconds", "Online, timestamps are nanoseconds of 64 bits.", _of("timestamp", _wrapped))
