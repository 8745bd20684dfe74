"""The part of the group *core* that is about batches: history is append-only, and a batch is there once (W-2)."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any, ClassVar

import pyarrow as pa

from e2i_fs.definitions import Field
from e2i_fs.dtypes import Float64
from e2i_fs.errors import InvalidBatchError
from e2i_fs.testing.conformance.rules import proves
from e2i_fs.testing.conformance.samples import ABSENT, Said, Sample
from e2i_fs.testing.findings import Mismatch
from e2i_fs.testing.kit import Kit

__all__ = ["BatchTests"]

_IDS = (
    "a",
    "A",
    " a",
    "a ",
    "a/b",
    "a_b",
    "a b",
    "a.b",
    "\u00e9",
    "e\u0301",
    "../a",
    "%41",
    "a%2Fb",
    "x" * 64,
    "x" * 64 + "y",
    "x" * 300,
)
"""Ids that a file system, a collation or a column of text takes for one another; all are printable, as the core wants."""


class BatchTests:
    """Tests of `Backend.append`."""

    group: ClassVar[str] = "core"

    @proves("W-2")
    def test_w2_a_batch_written_twice_is_one_batch(self, kit: Kit) -> None:
        """The same batch_id with the same rows is there once and says False, also for another handle and after reopening."""
        kit.need_can("append")
        with kit.check("W-2"):
            sample = Sample(kit)
            sample.apply()
            kit.is_("W-2", "The first append of a batch:", sample.append((1, 0, 1), (1, 0, 1), batch_id="a"), True)
            kit.is_("W-2", "The same batch again:", sample.append((1, 0, 1), (1, 0, 1), batch_id="a"), False)
            kit.is_("W-2", "The same rows under another id:", sample.append((1, 0, 1), (1, 0, 1), batch_id="b"), True)
            kit.is_("W-2", "The rows of two batches of two:", sample.rows(), 4)
            kit.is_("W-2", "A write again says repeated:", sample.write((1, 0, 1), (1, 0, 1), key="a").repeated, True)
            another = Sample(kit, "another")
            another.apply()
            kit.is_("W-2", "The same id in another view:", another.append((1, 0, 1), batch_id="a"), True)
            if kit.can.persistent:
                kit.handle().list_feature_views()
                kit.reopen()
                kit.is_("W-2", "Again after reopening:", sample.append((1, 0, 1), (1, 0, 1), batch_id="a"), False)
            kit.is_("W-2", "The rows of two batches of two:", sample.rows(), 4)
            kinds = kit.can.feature_kinds
            if kinds is None or "float64" in kinds:
                numbers = Sample(kit, "numbers", value_type=Float64)
                numbers.apply()
                table = numbers.table((1, 0, 1), (2, 0, None)).set_column(2, "x", pa.array([math.nan, None]))
                numbers.tell("append a NaN and a NULL to numbers, twice, with batch_id 'a'")
                done = [kit.backend.append("numbers", table, batch_id="a") for _ in range(2)]
                kit.is_(
                    "W-2", "A batch with a NaN, and the same again (NaN is the same value as NaN):", done, [True, False]
                )

    @proves("W-2", "W-1")
    def test_w2_an_id_used_for_other_rows_is_refused(self, kit: Kit) -> None:
        """The same batch_id with other rows raises InvalidBatchError, and neither history nor online rows change."""
        kit.need_can("append")
        with kit.check("W-2"):
            sample = Sample(kit)
            sample.apply()
            sample.write((1, 0, 1), key="a")
            others: dict[str, list[Said]] = {"another value": [(1, 0, 2)], "a missing value": [(1, 0, None)], "another key": [(2, 0, 1)],
                      "another time": [(1, 1e-6, 1)], "one row more": [(1, 0, 1), (1, 0, 1)]}  # fmt: skip
            for what, rows in others.items():
                try:
                    done = sample.append(*rows, batch_id="a")
                except InvalidBatchError:
                    continue
                raise Mismatch("W-2", f"A used batch_id with {what}.", expected="InvalidBatchError", got=done)
            kit.raises(
                "W-2",
                InvalidBatchError,
                lambda: sample.write((2, 60, 2), key="a"),
                "other rows are written with the key of a batch that is there",
            )
            wide, last = Sample(kit, "wide"), Field("y", sample.value_types[-1])
            wide.apply(last)
            table = wide.table((1, 0, 1), more=[last])
            kit.backend.append("wide", table, batch_id="a")
            other = table.set_column(3, "y", pa.nulls(1, table.schema.field("y").type))
            kit.raises(
                "W-2",
                InvalidBatchError,
                lambda: kit.backend.append("wide", other, batch_id="a"),
                "a batch that differs in its last column is appended with the batch_id of another",
            )
            kit.is_("W-2", "History after refusals:", sample.rows(), 1)
            sample.expect("W-2", "A refused batch was written.", 1, 2, expected=[sample.answer(1), ABSENT])

    @proves("W-2")
    def test_w2_ids_of_batches_compare_exactly(self, kit: Kit) -> None:
        """Ids that differ by case, blanks, length, form or a separator are different ids, and each is known again."""
        kit.need_can("append")
        with kit.check("W-2"):
            sample = Sample(kit)
            sample.apply()
            for expected, says in ((True, "is another id"), (False, "was there")):
                for number, name in enumerate(_IDS):
                    try:
                        done = sample.append((number, 0, number), batch_id=name)
                    except InvalidBatchError as error:
                        raise Mismatch("W-2", f"{name!r} {says}.", expected=expected, got=str(error)) from error
                    kit.is_("W-2", f"{name!r} {says}.", done, expected)
            kit.is_("W-2", "The rows of all batches, one in each:", sample.rows(), len(_IDS))

    @proves("W-2", "P-8")
    def test_w2_the_store_holds_exactly_what_was_appended(self, kit: Kit) -> None:
        """Read past the API, the history is the rows of every batch, each once, whatever was repeated or refused."""
        kit.need_can("append")
        kit.need("raw_read")
        with kit.check("W-2"):
            sample = Sample(kit)
            sample.apply()
            batches = [((1, 0, 1), (2, 0, None)), ((1, 60, 2),), ((1, 0, 1), (1, 0, 1))]
            for n, rows in enumerate(batches):
                sample.append(*rows, batch_id=f"b{n}")
                sample.append(*rows, batch_id=f"b{n}")
            kit.raises(
                "W-2",
                InvalidBatchError,
                lambda: sample.append((9, 0, 9), batch_id="b0"),
                "other rows are appended with the batch_id of a batch that is there",
            )
            wanted = sample.table(*(row for rows in batches for row in rows))
            got = kit.raw_read("sample", wanted.schema)
            lacking = [name for name in wanted.column_names if name not in got.column_names]
            kit.is_("W-2", "Columns of the view that the table of the harness's raw_read() lacks:", lacking, [])
            kit.is_("W-2", "The rows that lie in the store, and how often:", _counted(got), _counted(wanted))


def _counted(table: pa.Table) -> dict[str, int]:
    """Return how often each row is there, by its text: NaN is the same as NaN, -0.0 another than 0.0."""
    rows: list[dict[str, Any]] = table.to_pylist()
    return dict(sorted(Counter(repr(row) for row in rows).items()))
