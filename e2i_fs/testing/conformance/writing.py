"""The part of the group *core* that is about rows: W-1, P-7, P-8 in history, and F-1."""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar

import pyarrow as pa

from e2i_fs.backend import OnlineRow
from e2i_fs.definitions import Entity, FeatureView, Field
from e2i_fs.dtypes import KEY_KINDS, Decimal, DType
from e2i_fs.errors import InvalidBatchError, RequestError
from e2i_fs.testing.compare import same_value
from e2i_fs.testing.conformance.historical import EXACT, exact_kinds
from e2i_fs.testing.conformance.rules import proves
from e2i_fs.testing.conformance.samples import ABSENT, Sample, kept_kinds
from e2i_fs.testing.draw import Seeded
from e2i_fs.testing.faults import Breakable
from e2i_fs.testing.findings import Mismatch
from e2i_fs.testing.kit import Kit
from e2i_fs.testing.values import ALL_KINDS, draw_dtype, draw_keys, draw_value
from e2i_fs.values import arrow_type

__all__ = ["WritingTests"]

_UTC_US = pa.timestamp("us", "UTC")


class WritingTests:
    """Tests of adding rows, and of what is then there."""

    group: ClassVar[str] = "core"

    @proves("W-1", "O-7")
    def test_w1_a_batch_of_another_form_leaves_nothing(self, kit: Kit) -> None:
        """A table that does not fit the view (it changed meanwhile) is refused by `append` itself, and its id stays free."""
        kit.need_can("append")
        with kit.check("W-1"):
            sample = Sample(kit)
            sample.apply()
            good = sample.table((1, 0, 1), (2, 0, 2))
            is_text = pa.types.is_string(arrow_type(sample.value_type))
            other = pa.array([1, 2]) if is_text else pa.array(["a", "b"])
            tables = {
                "without a feature": good.drop_columns(["x"]),
                "without a join key": good.drop_columns(["k"]),
                "without the event time": good.drop_columns(["event_timestamp"]),
                "with a feature of another dtype": good.set_column(2, "x", other),
                "with a column too many": good.append_column("z", pa.array([1, 2])),
            }
            for what, table in tables.items():
                try:
                    done = kit.backend.append("sample", table, batch_id="a")
                except RequestError:
                    continue
                raise Mismatch("W-1", f"A batch {what} was taken.", expected="InvalidBatchError", got=done)
            kit.is_("W-1", "History after refusals:", sample.rows(), 0)
            kit.is_("W-1", "The id of refused batches:", kit.backend.append("sample", good, batch_id="a"), True)
            kit.is_("W-1", "The good batch:", sample.history(1, 2), [sample.answer(1), sample.answer(2)])

    @proves("W-1", "O-4")
    def test_w1_every_problem_is_listed_and_nothing_written(self, kit: Kit) -> None:
        """A batch with bad rows among good ones is refused whole, with each problem, before the backend is asked."""
        with kit.check("W-1"):
            sample = Sample(kit)
            sample.apply()
            table = sample.table((1, 0, 1), (2, 60, 2), (3, 120, 3), (4, 43_261, 4))
            holes = {"k": 1, "event_timestamp": 2}
            for number, (name, row) in enumerate(holes.items()):
                values = table.column(name).to_pylist()
                values[row] = None
                table = table.set_column(number, name, pa.array(values, table.schema.field(name).type))
            table = table.append_column("odd", pa.array([1, 2, 3, 4]))
            counted = kit.backend.inner = Breakable(kit.backend.inner)
            error = kit.raises(
                "W-1",
                InvalidBatchError,
                lambda: kit.store.write("sample", table),
                "a batch with holes in it is written",
            )
            asked = sorted({"append", "online_write"} & set(counted.calls))
            kit.backend.inner = counted.inner
            for wanted in (
                "'odd'",
                "row 1, column 'k'",
                "row 2, column 'event_timestamp'",
                "row 3, column 'event_timestamp'",
            ):
                if not any(wanted in problem for problem in error.problems):
                    raise Mismatch("W-1", "A problem is not listed.", expected=wanted, got=error.problems)
            kit.is_("W-1", "What the backend was asked for a refused batch:", asked, [])
            sample.expect("W-1", "A row of a refused batch is there.", 1, 2, 3, 4, expected=[ABSENT] * 4)

    @proves("P-8", "P-5", "G-3")
    def test_p8_every_value_survives_history_to_the_last_bit(self, kit: Kit) -> None:
        """Awkward values of every declared dtype, nested ones too, come back from `append` and `scan` as they were."""
        kit.need_can("append")
        draw = Seeded(kit.seed)
        kinds = kept_kinds(kit.can.feature_kinds, ALL_KINDS)
        fields = {f"f{n}": draw_dtype(draw, (kind,)) for n, kind in enumerate([*kinds, *kinds])}
        exact = {f"exact_{name}": EXACT[name] for name in exact_kinds(kit)}
        fields |= {name: dtype for name, (dtype, _) in exact.items()}
        count = 100
        with kit.check("P-8"):
            sample = Sample(kit)
            view = FeatureView(
                "values", entities=[Entity("e", join_keys={"k": sample.key_type})], online=False,
                schema=[Field(name, dtype) for name, dtype in fields.items()],
            )  # fmt: skip
            kit.store.apply([view])
            written = {name: [draw_value(draw, dtype) for _ in range(count)] for name, dtype in fields.items()}
            for name, (_, values) in exact.items():  # each once, the rest missing
                written[name] = [*values, *(None for _ in range(count - len(values)))]
            table = sample.table(*((n, 0, None) for n in range(count))).drop_columns(["x"])
            for name, dtype in fields.items():
                table = table.append_column(name, pa.array(written[name], arrow_type(dtype)))
            half = count // 2
            kit.backend.append("values", table.slice(0, half), batch_id="a")
            kit.backend.append("values", table.slice(half), batch_id="b")
            frame = table.select(["k", "event_timestamp"])
            result = kit.store.get_historical_features(frame, [f"values:{name}" for name in fields]).to_arrow()
            for name, dtype in fields.items():
                kit.is_("P-8", f"The type of a {dtype!r} column:", result.schema.field(name).type, arrow_type(dtype))
                for wrote, read in zip(written[name], result.column(name).to_pylist(), strict=True):
                    if not same_value(read, wrote, dtype):
                        raise Mismatch("P-8", f"A value of {dtype!r} came back as another.", expected=wrote, got=read)

    @proves("P-7", "G-3")
    def test_p7_every_kind_of_key_finds_its_own_row(self, kit: Kit) -> None:
        """Awkward join keys of every declared dtype, alone and in pairs, each find the row that was written under them."""
        can = kit.can
        key_types = [
            Decimal(10, 2) if k == "decimal" else DType(k) for k in kept_kinds(can.key_kinds, sorted(KEY_KINDS))
        ]
        with kit.check("P-7"):
            sample = Sample(kit)
            for number, types in enumerate([*([t] for t in key_types), *([t, t] for t in key_types)]):
                draw = Seeded(kit.seed + number)
                keys = list(dict.fromkeys(key for _ in range(4) for key in draw_keys(draw, list(types))))
                names = [f"k{n}" for n in range(len(types))]
                view = FeatureView(
                    f"keys{number}", entities=[Entity(f"e{number}", join_keys=dict(zip(names, types, strict=True)))],
                    schema=[Field("x", sample.value_type)], online=can.online,
                )  # fmt: skip
                kit.store.apply([view])
                values = sample.table(*((0, 0, n) for n in range(len(keys))))
                columns = {
                    name: pa.array([key[n] for key in keys], arrow_type(t))
                    for n, (name, t) in enumerate(zip(names, types, strict=True))
                }
                table = pa.table({**columns, **{n: values.column(n) for n in ("event_timestamp", "x")}})
                kit.store.write(view, table, to=sample.target)
                expected = list(zip(keys, values.column("x").to_pylist(), strict=True))
                if can.append:
                    found = kit.store.get_historical_features(table.drop_columns(["x"]), [f"{view.name}:x"]).to_arrow()
                    got = list(zip(keys, found.column("x").to_pylist(), strict=True))
                    kit.is_("P-7", f"History by keys of {types}:", got, expected)
                if can.online:
                    answer = kit.store.get_online_features([f"{view.name}:x"], pa.table(columns)).to_dict()["x"]
                    kit.is_("P-7", f"Online by keys of {types}:", list(zip(keys, answer, strict=True)), expected)

    @proves("P-10", "R-5")
    def test_p1_rows_of_another_program_are_found(self, kit: Kit) -> None:
        """Rows added past the API answer like appended ones, with rows appended before and after them."""
        kit.need("raw_write")
        with kit.check("P-1"):
            sample = Sample(kit)
            sample.apply()
            if kit.can.append:
                sample.append((1, 0, 1), (2, 0, 2), batch_id="before")
                sample.history(1)  # whatever it remembers of its history, it remembers the old one
            kit.raw_write("sample", sample.table((1, 60, 3), (3, 60, 4)))
            kit.is_(
                "P-1",
                "Rows added by another program (raw_write):",
                sample.history(1, 3),
                [sample.answer(3), sample.answer(4)],
            )
            if kit.can.append:
                sample.append((1, 120, 5), batch_id="after")
                expected = [sample.answer(n) for n in (5, 2, 4)]
                kit.is_("P-1", "Rows of all three:", sample.history(1, 2, 3), expected)
                kit.is_("P-1", "Rows of all three, at 00:01:", sample.history(1, at=119), [sample.answer(3)])

    @proves("F-1", "X-4")
    def test_f1_the_position_counts_writes_and_knows_the_newest_event(self, kit: Kit) -> None:
        """The newest event time is the rows', in whatever order they come; each write raises the sequence."""
        kit.need_can("online")
        with kit.check("F-1"):
            sample = Sample(kit)
            sample.apply()
            backend, sequence = kit.backend, kit.backend.position("sample").sequence
            kit.is_("F-1", "A view without rows:", tuple(backend.position("sample"))[1:], (None, 0))
            midnight = sample.online_batch((1, 0, 1))[1][0].event_us
            steps = [((1, 60, 1), 60, 1), ((2, 30, 2), 60, 2), ((1, 10, 3), 60, 2), ((2, 90, 4), 90, 2)]
            for row, newest, count in steps:
                sample.write(row, to="online")
                now = backend.position("sample")
                says = f"After writing a row of second {row[1]}:"
                kit.is_("F-1", says, (now.newest_event_us, now.rows), (midnight + newest * 1_000_000, count))
                if now.sequence <= sequence:
                    raise Mismatch(
                        "X-4", "A write did not raise the sequence.", expected=f"> {sequence}", got=now.sequence
                    )
                sequence = now.sequence
            age = kit.store.freshness(["sample"])["sample"].age
            kit.is_("F-1", "The age of the view at midday:", age, timedelta(hours=12, seconds=-90))
            keys, rows = sample.online_batch((3, 0, 1))
            later = [OnlineRow(rows[0].event_us + 43_201_000_000, None, rows[0].values)]
            backend.online_write("sample", keys, later, at_us=rows[0].event_us)
            now = backend.position("sample")
            kit.is_("F-1", "With a row one second ahead:", (now.newest_event_us, now.rows), (later[0].event_us, 3))
            both = [rows[0], OnlineRow(rows[0].event_us + 43_201_000_001, None, rows[0].values)]
            backend.online_write("sample", [*keys, *keys], both, at_us=rows[0].event_us)
            now = backend.position("sample")
            says = "A key with a row that answers and two that wait is one key; the newest time is exact:"
            kit.is_("F-1", says, (now.newest_event_us, now.rows), (both[1].event_us, 3))
            old = Sample(kit, "old")
            old.apply()
            keys, rows = old.online_batch((1, -2_000_000_000, 1))
            backend.online_write("old", keys, rows, at_us=midnight)
            stands = backend.position("old")
            kit.is_("F-1", "A row from before 1970:", (stands.newest_event_us, stands.rows), (rows[0].event_us, 1))
            backend.online_write("old", keys, rows, at_us=midnight)
            kit.is_("X-4", "A write to one view moved the position of another.", backend.position("sample"), now)
