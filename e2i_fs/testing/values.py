"""Awkward values of every dtype."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from e2i_fs import dtypes as d
from e2i_fs.dtypes import DType
from e2i_fs.testing.draw import Draw

__all__ = ["ALL_KINDS", "COMMON_KINDS", "KEY_KINDS", "draw_dtype", "draw_keys", "draw_value"]

COMMON_KINDS = (
    "int64",
    "float64",
    "float32",
    "string",
    "bool",
    "timestamp",
    "bytes",
    "int32",
    "date",
    "json",
    "decimal",
)
ALL_KINDS = (*COMMON_KINDS, "array", "vector", "struct")
KEY_KINDS = ("string", "int64")

_POOLS: dict[str, tuple[Any, ...]] = {
    "int64": (0, 1, -1, 7, 2**53, 2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63)),
    "int32": (0, 1, -1, 2**31 - 1, -(2**31)),
    "float64": (0.0, -0.0, 1.5, -1.5, 0.1, 1e-320, 1e308, math.inf, -math.inf, math.nan),
    "float32": (0.0, -0.0, 1.5, -0.25, 16777216.0, math.inf, -math.inf, math.nan),
    "bool": (True, False),
    "string": ("", " ", "a", "A", "a ", "a_b", "é", "e\u0301", "日本", "\ufffd", "\U0001f600", "NULL", "nan", "None", "x\x00y"),
    "bytes": (b"", b"\x00", b"a", b"\xff", b"\x80\x00", b"NULL"),
    "date": (date(1969, 12, 31), date(1970, 1, 1), date(2024, 2, 29), date(2261, 1, 1)),
    "timestamp": (
        datetime(1970, 1, 1, tzinfo=UTC), datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
        datetime(2024, 3, 10, 7, 30, tzinfo=UTC), datetime(2024, 3, 10, 7, 30, 0, 1, tzinfo=UTC),
    ),
    "json": ("null", "{}", "[]", '{"a": 1}', '{"a":1}', '"text"', "[1, null]"),
}  # fmt: skip

_KEY_POOLS: dict[str, tuple[Any, ...]] = {
    "string": ("1", "2", "12", "a", "A", "a_b", "", " ", "é", "e\u0301", "NULL", "x\x00y"),
    "int64": (0, 1, -1, 12, 2**53, 2**53 + 1, 2**63 - 1, -(2**63)),
    "int32": (0, 1, 12, -1, 2**31 - 1),
    "bool": (True, False),
    "bytes": (b"", b"a", b"\x00", b"\xff"),
    "date": (date(1970, 1, 1), date(2024, 2, 29), date(1969, 12, 31)),
    "timestamp": _POOLS["timestamp"],
    "decimal": (Decimal("0.00"), Decimal("1.00"), Decimal("-1.10"), Decimal("99999999.99")),
}


def draw_dtype(draw: Draw, kinds: tuple[str, ...], *, depth: int = 1) -> DType:
    """Return a dtype of one of ``kinds``; a nested one has elements of the common kinds, sometimes nested again."""
    kind = draw.choice(kinds)
    inner = (*COMMON_KINDS[:6], "array", "struct") if depth else COMMON_KINDS[:6]
    match kind:
        case "decimal":
            return d.Decimal(*draw.choice([(10, 2), (38, 10), (4, 4)]))
        case "vector":
            return d.Vector(draw.integer(1, 3))
        case "array":
            return d.Array(draw_dtype(draw, inner, depth=0))
        case "struct":
            names = draw.shuffled(["b", "a", "c"])[: draw.integer(1, 2)]
            return d.Struct({name: draw_dtype(draw, inner, depth=0) for name in names})
        case _:
            return DType(kind)


def draw_value(draw: Draw, dtype: DType, *, missing: float = 0.15) -> Any:
    """Return a plain Python value of ``dtype``, or None with the chance ``missing``."""
    if missing and draw.chance(missing):
        return None
    match dtype.kind:
        case "decimal":
            precision, scale = dtype.numbers
            top = 10**precision - 1
            whole = draw.choice([0, 1, -1, top, -top]) if precision < 28 else draw.integer(-9, 9) * 10**scale
            return Decimal(whole).scaleb(-scale)
        case "vector":
            return [draw_value(draw, d.Float32, missing=0) for _ in range(dtype.numbers[0])]
        case "array":
            element = dtype.element
            assert element is not None
            return draw.listed(lambda inner: draw_value(inner, element), 0, 3)
        case "struct":
            return {name: draw_value(draw, inner) for name, inner in dtype.fields}
        case _:
            return draw.choice(_POOLS[dtype.kind])


def draw_keys(draw: Draw, types: list[DType]) -> list[tuple[Any, ...]]:
    """Return two to four distinct keys; composite ones collide when their parts are joined as text (P-7)."""
    wanted = draw.integer(2, 4)
    pools = [_KEY_POOLS[t.kind] for t in types]
    keys: dict[tuple[Any, ...], None] = {}
    if len(types) > 1:
        text = draw.choice(["1231", "1112", "a_b_c", "1_2_3", "____", "x\x00y\x00z"])
        pieces = {text[i:j] for i in range(len(text)) for j in range(i, len(text) + 1)}
        digits = (1, 11, 12, 112, 111, 2, 23, 123, 3, 1231)
        by_kind: dict[str, tuple[Any, ...]] = {"string": tuple(sorted(pieces)), "int64": digits, "int32": digits}
        pools = [by_kind.get(t.kind, pool) for t, pool in zip(types, pools, strict=True)]
        if all(t.kind == "string" for t in types):  # cut one text at different places: the same text when joined again
            for _ in range(wanted):
                cuts = sorted(draw.integer(0, len(text)) for _ in types[1:])
                keys[tuple(text[i:j] for i, j in zip([0, *cuts], [*cuts, len(text)], strict=True))] = None
    for _ in range(wanted * 3):
        if len(keys) < wanted:
            keys[tuple(draw.choice(pool) for pool in pools)] = None
    return list(keys)
