"""The group *historical*: one whole answer for each entity row, exact in value, dtype and place."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar

from e2i_fs import dtypes as d
from e2i_fs.backend import Knowledge, NativePointInTime
from e2i_fs.clock import from_us, to_us
from e2i_fs.definitions import Field
from e2i_fs.errors import LabelRequestedError
from e2i_fs.historical import EntityFrame
from e2i_fs.pit.engine import point_in_time
from e2i_fs.testing.conformance.asking import answer_of, checked, some_request
from e2i_fs.testing.conformance.rules import proves
from e2i_fs.testing.directed import at, row, view_of, world_of
from e2i_fs.testing.draw import Draw
from e2i_fs.testing.files import entity_table
from e2i_fs.testing.findings import Inapplicable
from e2i_fs.testing.kit import Kit
from e2i_fs.testing.metamorphic import Said, asked_anew, drawn, other_names, same
from e2i_fs.testing.values import COMMON_KINDS
from e2i_fs.testing.worlds import Request, World

__all__ = ["EXACT", "ODD", "PAIRS", "TEXTS", "HistoricalTests", "exact_kinds"]

EXACT: dict[str, tuple[d.DType, tuple[Any, ...]]] = {
    "int64": (d.Int64, (2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63), 0)),
    "int32": (d.Int32, (2**31 - 1, -(2**31), 0)),
    "float64": (d.Float64, (math.nan, -0.0, 0.0, math.inf, -math.inf, 5e-324, 0.1, 0.1 + 0.2, 1 / 3)),
    "float32": (d.Float32, (math.nan, -0.0, 0.0, math.inf, 16777216.0, -0.25)),
    "bool": (d.Bool, (False, True)),
    "string": (d.String, (
        "", " ", "é", "e\u0301", "\U0001f600", "NULL", "nan", "x\x00y", "a\r\nb", "a\n", "a ", "a\\nb\\", "it's", '"a"', "x" * 5_000,
    )),
    "bytes": (d.Bytes, (b"", b"\x00", b"\xff\x80", b"NULL", bytes(range(256)) * 257)),
    "date": (d.Date, (date(1969, 12, 31), date(2024, 2, 29), date(2261, 1, 1), date(2300, 1, 1), date(9999, 12, 31))),
    "timestamp": (d.Timestamp, (
        datetime(1969, 12, 31, 23, 59, 59, 999_999, UTC), datetime(2024, 3, 10, 7, 30, 0, 1, UTC),
        datetime(2300, 1, 1, 0, 0, 0, 1, UTC), datetime(9999, 12, 31, 23, 59, 59, 999_999, UTC),
    )),
    "json": (d.Json, ("null", "{}", '{"a":1}', '{"a": 1}', '{"b":1,"a":1}', '{"n":9007199254740993.0}')),
    "decimal": (d.Decimal(38, 10), (Decimal("0E-10"), Decimal("1234567890123456789012345678.0000000001"), Decimal("-0.0000000001"))),
    "array": (d.Array(d.Int64), ([], [None], [2**53 + 1, None], [-(2**63)])),
    "array_of_float64": (d.Array(d.Float64), ([math.nan, None, -0.0], [math.inf])),
    "array_of_bytes": (d.Array(d.Bytes), ([b"\xff", b""], [None])),
    "vector": (d.Vector(2), ([0.0, -0.0], [math.nan, 1.5])),
    "struct": (d.Struct(b=d.Int64, a=d.String), ({"b": None, "a": None}, {"b": 2**53 + 1, "a": ""})),
    "struct_of_others": (d.Struct(f=d.Float64, b=d.Bytes, l=d.Array(d.Int64)), (
        {"f": math.nan, "b": b"\xff", "l": []}, {"f": -0.0, "b": b"", "l": [None]}, {"f": None, "b": None, "l": None},
    )),
}  # fmt: skip
"""For each kind of dtype, and some nested ones, the values that are easily lost on the way."""


TEXTS = (
    "a", "A", "a ", " a", "é", "e\u0301", "ß", "ss", "K", "\u212a", "\U0001f600", "\U0001f601", "?", "\ufffd", "\ufeffa", "a\u200b",
    "x" * 64, "x" * 65, "x" * 300, "x" * 301,
)  # fmt: skip
"""Keys that a collation, a normal form, a code page or a column of some width takes for one another."""

ODD = from_us(1_100_482_057_483_039)
"""A time in 2004 that loses its last microsecond as a float of seconds."""

_SEPARATORS = "_|:,;/. \x00\x1f\t\\'\"-"
PAIRS = (
    ("1", "23"), ("12", "3"), ("123", ""), ("", "123"),
    *((f"1{c}2", "3") for c in _SEPARATORS), *(("1", f"2{c}3") for c in _SEPARATORS),
)  # fmt: skip
"""Composite keys that are the same text when their parts are joined, by whatever separator."""


def exact_kinds(kit: Kit) -> list[str]:
    """Return the names in `EXACT` of the dtypes that the backend declares, with all that is nested in them."""
    allowed = kit.can.feature_kinds
    found = [name for name, (dtype, _) in EXACT.items() if allowed is None or _kinds(dtype) <= allowed]
    if not found:
        raise Inapplicable("the backend declares no dtype whose values can be tried one by one")
    return found


def _kinds(dtype: d.DType) -> set[str]:
    """Return the kind of a dtype, and those that lie in it but for the commonest, which every array and struct may hold."""
    inner = [dtype.element] if dtype.element is not None else [t for _, t in dtype.fields]
    return {dtype.kind}.union(*(_kinds(t) - set(COMMON_KINDS[:6]) for t in inner))


class HistoricalTests:
    """Tests of the group *historical*."""

    group: ClassVar[str] = "historical"

    @proves("P-5", "P-2", "O-3")
    def test_p5_the_winner_answers_whole_with_the_status_of_each_value(self, kit: Kit) -> None:
        """A missing value of the winner is NULL_VALUE and is never filled from an older row; nothing is a default."""
        rows = [
            row("a", at(1), 1, "old"), row("a", at(2), 2, None), row("a", at(3), None, "new"), row("a", at(4), None, None),
            row("zero", at(1), 0, ""), row("null", at(2), None, None),
        ]  # fmt: skip
        view = view_of(rows, fields={"x": d.Int64, "tier": d.String}, ttl=timedelta(minutes=10))
        asked = [("a", at(n)) for n in (0, 1, 2, 3, 4, 14, 15)] + [("zero", at(5)), ("null", at(5)), ("nobody", at(5))]
        checked(kit, "P-5", world_of(view, asked))

    @proves("P-6")
    def test_p6_every_entity_row_and_column_comes_back_as_it_was(self, kit: Kit) -> None:
        """Order, duplicates, other columns, dtypes and a pandas index too, in each kind of frame there is."""
        rows = [row("a", at(1), 1), row("b", at(2), 2), row("b", at(3), 3)]
        asked = [("b", at(3)), ("a", at(1)), ("b", at(3)), ("nobody", at(2)), ("b", at(2)), (None, at(9)), ("b", at(3))]
        for kind in ("arrow", "pandas", "polars"):
            for seed in range(6 if kind == "pandas" else 2):
                world = world_of(view_of(rows), asked, extra=("value", "created", "__row"))
                checked(kit, "P-6", replace(world, frame=kind, seed=seed))

    @proves("P-6")
    def test_p6_each_entity_row_is_answered_for_itself(self, kit: Kit) -> None:
        """Some rows, in any order and number, get what they get among all: the union of frames is the union of answers."""

        def some(world: World, draw: Draw) -> list[int]:
            return draw.listed(lambda inner: inner.integer(0, len(world.times) - 1), 1, 12)

        def check(example: tuple[World, list[int]]) -> None:
            world, numbers = example
            with kit.placed(world) as placed:
                request = some_request(placed)
                everything = answer_of(kit, placed, request)
                part = answer_of(kit, asked_anew(placed, numbers), request)
                wanted = [[column[n] for n in numbers] for column in everything]
                same("P-6", f"Only the entity rows {numbers} are asked about.", request, wanted, part)

        kit.search("P-6", drawn(kit.worlds(max_views=2), some), check, share=0.4)

    @proves("P-9", "P-4", "X-6")
    def test_p9_each_feature_is_answered_for_itself(self, kit: Kit) -> None:
        """Which other features are asked for, and in what order, changes no value."""

        def check(world: World) -> None:
            with kit.placed(world) as placed:
                request = some_request(placed)
                together = answer_of(kit, placed, request)
                turned = replace(request, asked=request.asked[::-1])
                same("P-9", "The features in another order.", turned, together[::-1], answer_of(kit, placed, turned))
                for place, one in enumerate(request.asked[:2]):
                    alone = replace(request, asked=(one,))
                    same("P-9", "The feature alone.", alone, [together[place]], answer_of(kit, placed, alone))

        kit.search("P-9", kit.worlds(), check, share=0.25)

    @proves("P-7")
    def test_p7_keys_compare_exactly_column_by_column(self, kit: Kit) -> None:
        """Keys that join to the same text, differ by case, space or form, or lack a part, are different keys."""
        texts = [*TEXTS, "1", "01", "1 ", "", "NULL", "None", "nan"]
        rows = [row(text, at(1), n) for n, text in enumerate(texts)]
        checked(kit, "P-7", world_of(view_of(rows), [(text, at(2)) for text in [*texts, None, "b", "1.0"]]))
        pairs = PAIRS
        keys = {"a": d.String, "b": d.String}
        rows = [row(pair, at(1), n) for n, pair in enumerate(pairs)]
        asked = [(pair, at(2)) for pair in [*pairs, ("1", None), (None, "23"), (None, None), ("23", "1")]]
        checked(kit, "P-7", world_of(view_of(rows, keys=keys), asked))
        if kit.can.key_kinds is None or "int64" in kit.can.key_kinds:
            numbers = [2**53, 2**53 + 1, 0, -1, 2**63 - 1, -(2**63), 1, 12]
            rows = [row(number, at(1), n) for n, number in enumerate(numbers)]
            view = view_of(rows, keys={"k": d.Int64})
            checked(kit, "P-7", world_of(view, [(number, at(2)) for number in [*numbers, None, 2]]))
            mixed = view_of([row((1, "1"), at(1), 1), row((11, ""), at(1), 2)], keys={"k": d.Int64, "l": d.String})
            checked(kit, "P-7", world_of(mixed, [((1, "1"), at(2)), ((11, ""), at(2)), ((1, "11"), at(2))]))

    @proves("P-7")
    def test_p7_a_missing_key_matches_nothing(self, kit: Kit) -> None:
        """Not even a row whose key is missing too: such a row in a source belongs to nobody."""
        kit.need_source("parquet")
        keys = {"a": d.String, "b": d.String}
        rows = [
            row((None, "x"), at(1), 1),
            row(("x", None), at(1), 2),
            row((None, None), at(1), 3),
            row(("x", "x"), at(1), 4),
        ]
        asked = [((one, two), at(2)) for one in ("x", "", None) for two in ("x", "", None)]
        checked(kit, "P-7", world_of(view_of(rows, keys=keys), asked))

    @proves("P-8", "P-5")
    def test_p8_values_of_every_declared_dtype_are_exact_whatever_is_missing(self, kit: Kit) -> None:
        """Extremes, 2**53+1, NaN, -0.0, empty and NULL, beside misses; the column keeps its dtype when all are missing."""
        for kind in exact_kinds(kit):
            dtype, values = EXACT[kind]
            rows = [row(f"k{n}", at(1), value) for n, value in enumerate((*values, None))]
            keys = [f"k{n}" for n in range(len(rows))]
            view = view_of(rows, fields={"x": dtype})
            checked(kit, "P-8", world_of(view, [(key, at(2)) for key in [*keys, "nobody", None]]))
            checked(kit, "P-8", world_of(view, [("nobody", at(2)), (keys[-1], at(2))]))

    @proves("P-9", "P-12")
    def test_p9_a_wildcard_is_the_schema_in_order_without_labels(self, kit: Kit) -> None:
        """A label comes only to who names it, after the features; as a feature it is refused."""
        fields = {"zeta": d.Int64, "outcome": d.Int64, "alpha": d.Int64}
        world = kit.fitted(world_of(view_of([row("a", at(1), 1, 2, 3)], fields=fields), [("a", at(2))]))
        with kit.check("P-9", world), kit.placed(world) as placed:
            view = placed.views[0].name
            known = kit.store.get_feature_view(view)
            label = Field("outcome", d.Int64, role="label")
            schema = [label if f.name == "outcome" else f for f in known.schema]
            kit.store.apply([replace(known, schema=schema)], allow_breaking=True)
            if not placed.views[0].parts[0]:  # what was written went with the change
                kit.append(placed.views[0], [0])
            frame = entity_table(placed)

            def ask(features: list[str], labels: list[str]) -> dict[str, Any]:
                result = kit.store.get_historical_features(frame, features, labels=labels)
                row_: dict[str, Any] = result.to_arrow().select(result.feature_names).to_pylist()[0]
                return row_

            says = "view:* is the features in schema order, without labels."
            kit.is_("P-9", says, list(ask([f"{view}:*"], []).items()), [("zeta", 1), ("alpha", 3)])
            got = list(ask([f"{view}:*"], [f"{view}:outcome"]).items())
            kit.is_(
                "P-12", "A label so named comes after the features.", got, [("zeta", 1), ("alpha", 3), ("outcome", 2)]
            )
            kit.raises(
                "P-12", LabelRequestedError, lambda: ask([f"{view}:outcome"], []), "a label is asked for as a feature"
            )

    @proves("P-9", "P-6")
    def test_p9_other_names_give_the_same_answers(self, kit: Kit) -> None:
        """Key columns, time columns, fields and views called something else, in files and frames: no value changes."""

        def check(world: World) -> None:
            one = replace(world, extra=())
            two = kit.fitted(other_names(one))
            asked = next(one.requests()).asked
            places = [(n, [name for name, _ in one.views[n].fields].index(name)) for n, name in asked]
            requests = [Request(asked), Request(tuple((n, two.views[n].fields[place][0]) for n, place in places))]
            answers: list[Said] = []
            for named, request in zip((one, two), requests, strict=True):
                with kit.placed(named) as placed:
                    answers.append(answer_of(kit, placed, request))
            same("P-9", "Everything has another name.", requests[0], *answers)

        kit.search("P-9", kit.worlds(max_views=2), check, share=0.25)

    # ---- native retrieval ---------------------------------------------------------------------------------

    @proves("G-3", "P-10")
    def test_g3_native_retrieval_equals_the_reference(self, kit: Kit) -> None:
        """`NativePointInTime` is the engine over `scan` with work skipped: the same winners for every form of request."""
        kit.need_can("point_in_time")

        def check(world: World) -> None:
            with kit.placed(world) as placed:
                catalog = kit.backend.definitions()
                for request in placed.requests():
                    as_of = None if request.as_of is None else to_us(request.as_of)
                    knowledge = Knowledge(request.filter_by_created, as_of)
                    for number, view in enumerate(placed.views):
                        asked = [name for n, name in request.asked if n == number]
                        if not asked:
                            continue
                        definition, keys = catalog.view(view.name), catalog.join_keys(view.name)
                        entities = EntityFrame.checked(
                            entity_table(placed), placed.timestamp_column, reject_naive=False
                        )
                        keyed = entities.keyed(keys)
                        native = kit.backend.point_in_time(view.name, keyed, asked, knowledge)  # type: ignore[attr-defined]
                        parts = kit.backend.scan(view.name, list(definition.features))
                        reference = point_in_time(keyed, definition, keys, asked, parts, knowledge)
                        one, two = (list(map(repr, table.to_pylist())) for table in (native, reference))
                        kit.is_("G-3", f"point_in_time of {request} is not the engine's answer.", one, two)

        kit.search("G-3", kit.worlds(), check)

    @proves("G-3")
    def test_g3_native_retrieval_is_there_exactly_where_it_is_declared(self, kit: Kit) -> None:
        """A `point_in_time` method that is not declared is never asked, so nothing shows that it is right."""
        has = isinstance(kit.backend.inner, NativePointInTime)
        says = "Declare Capabilities(point_in_time=True) exactly where there is a point_in_time method."
        kit.is_("G-3", says, has, kit.can.point_in_time)
