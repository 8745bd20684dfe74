"""Awkward values of every dtype, drawn with a seeded ``random.Random``."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime
from decimal import Decimal
from random import Random
from typing import Any

from e2i_fs import dtypes as d
from e2i_fs.dtypes import DType

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


def draw_dtype(rng: Random, kinds: tuple[str, ...], *, depth: int = 1) -> DType:
    """Return a dtype of one of ``kinds``; a nested one has elements of the common kinds, sometimes nested again."""
    kind = rng.choice(kinds)
    inner = (*COMMON_KINDS[:6], "array", "struct") if depth else COMMON_KINDS[:6]
    match kind:
        case "decimal":
            return d.Decimal(*rng.choice([(10, 2), (38, 10), (4, 4)]))
        case "vector":
            return d.Vector(rng.randint(1, 3))
        case "array":
            return d.Array(draw_dtype(rng, inner, depth=0))
        case "struct":
            return d.Struct(
                {name: draw_dtype(rng, inner, depth=0) for name in rng.sample(["b", "a", "c"], rng.randint(1, 2))}
            )
        case _:
            return DType(kind)


def draw_value(rng: Random, dtype: DType, *, missing: float = 0.15) -> Any:
    """Return a plain Python value of ``dtype``, or None with the chance ``missing``."""
    if rng.random() < missing:
        return None
    match dtype.kind:
        case "decimal":
            precision, scale = dtype.numbers
            top = 10**precision - 1
            return (
                Decimal(rng.choice([0, 1, -1, top, -top])).scaleb(-scale)
                if precision < 28
                else Decimal(rng.randint(-9, 9))
            )
        case "vector":
            return [draw_value(rng, d.Float32, missing=0) for _ in range(dtype.numbers[0])]
        case "array":
            assert dtype.element is not None
            return [draw_value(rng, dtype.element) for _ in range(rng.choice([0, 1, 1, 2, 3]))]
        case "struct":
            return {name: draw_value(rng, inner) for name, inner in dtype.fields}
        case _:
            return rng.choice(_POOLS[dtype.kind])


def draw_keys(rng: Random, types: list[DType]) -> list[tuple[Any, ...]]:
    """Return two to four distinct keys; composite ones collide when their parts are joined as text (P-7)."""
    wanted = rng.randint(2, 4)
    pools = [_KEY_POOLS[t.kind] for t in types]
    if len(types) > 1:
        text = rng.choice(["1231", "1112", "a_b_c", "1_2_3", "____", "x\x00y\x00z"])
        pieces = {text[i:j] for i in range(len(text)) for j in range(i, len(text) + 1)}
        digits = [1, 11, 12, 112, 111, 2, 23, 123, 3, 1231]
        by_kind: dict[str, tuple[Any, ...]] = {
            "string": tuple(sorted(pieces)),
            "int64": tuple(digits),
            "int32": tuple(digits),
        }
        pools = [by_kind.get(t.kind, pool) for t, pool in zip(types, pools, strict=True)]
    keys: dict[tuple[Any, ...], None] = {}
    if len(types) > 1 and all(t.kind == "string" for t in types):
        for _ in range(wanted):  # cut one text at different places: the same text when joined again
            cuts = sorted(rng.choices(range(len(text) + 1), k=len(types) - 1))
            keys[tuple(text[i:j] for i, j in zip([0, *cuts], [*cuts, len(text)], strict=True))] = None
    for _ in range(wanted * 3):
        if len(keys) < wanted:
            keys[tuple(rng.choice(pool) for pool in pools)] = None
    return list(keys)
