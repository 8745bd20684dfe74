"""The feature dtypes, as values that know nothing of any library.

``Int32 Int64 Float32 Float64 Bool String Bytes Date Timestamp Json`` are values; ``Struct``, ``Array``,
``Vector`` and ``Decimal`` make values. A ``Timestamp`` is a UTC instant in microseconds (T-1). ``Json`` is
JSON text. Every dtype has a canonical form (part of the fingerprint, R-2) and a natural order (P-4):
numbers by value with NaN above all, text by code point, bytes by byte, false before true, arrays and structs
element by element with a missing element lowest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from e2i_fs.errors import DefinitionError, did_you_mean

__all__ = [
    "Array", "Bool", "Bytes", "DType", "Date", "Decimal", "Float32", "Float64", "Int32", "Int64", "Json",
    "String", "Struct", "Timestamp", "Vector", "dtype_from_canonical", "dtype_named",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class DType:
    """One dtype: a kind and its parameters. Compare with ``==``.

    ``kind`` is the lower-case name, such as ``"int64"``; ``element`` is the dtype of an array's elements, ``fields``
    are the named dtypes of a struct, and ``numbers`` the size of a vector or the precision and scale of a decimal.

    >>> from e2i_fs.dtypes import Array, Int64
    >>> Array(Int64)
    Array(Int64)
    """

    kind: str
    element: DType | None = None
    fields: tuple[tuple[str, DType], ...] = ()
    numbers: tuple[int, ...] = ()

    def __repr__(self) -> str:
        if self.kind == "struct":
            inside = ", ".join(f"{name}={dtype!r}" for name, dtype in self.fields)
        elif self.element is not None:
            inside = repr(self.element)
        else:
            inside = ", ".join(str(n) for n in self.numbers)
        name = self.kind.capitalize()
        return f"{name}({inside})" if inside else name

    def canonical(self) -> Any:
        """Return the JSON value of this dtype, the same on every machine; part of fingerprints (R-2)."""
        if self.kind == "struct":
            return {"struct": [[name, dtype.canonical()] for name, dtype in self.fields]}
        if self.element is not None:
            return {self.kind: self.element.canonical()}
        if self.numbers:
            return {self.kind: list(self.numbers)}
        return self.kind


Int32 = DType("int32")
Int64 = DType("int64")
Float32 = DType("float32")
Float64 = DType("float64")
Bool = DType("bool")
String = DType("string")
Bytes = DType("bytes")
Date = DType("date")
Timestamp = DType("timestamp")
Json = DType("json")

_SIMPLE = {t.kind: t for t in (Int32, Int64, Float32, Float64, Bool, String, Bytes, Date, Timestamp, Json)}
KEY_KINDS = frozenset({"int32", "int64", "bool", "string", "bytes", "date", "timestamp", "decimal"})


def check_dtype(value: object, where: str) -> DType:
    """Return ``value`` if it is a dtype; otherwise raise a `DefinitionError` that says how to name one."""
    if isinstance(value, DType):
        return value
    names = [repr(t) for t in _SIMPLE.values()] + ["Struct(...)", "Array(t)", "Vector(n)", "Decimal(p, s)"]
    hint = did_you_mean(value.capitalize(), [repr(t) for t in _SIMPLE.values()]) if isinstance(value, str) else ""
    if value in names:
        hint = f" Write fs.{value}, without quotes."
    raise DefinitionError(f"{where}: {value!r} is not a dtype.{hint} Use one of e2i_fs's: {', '.join(names)}.")


def dtype_named(name: str) -> DType:
    """Return the dtype without parameters called ``name`` in any case. Raises `DefinitionError` (nearest names).

    >>> dtype_named("int64")
    Int64
    """
    found = _SIMPLE.get(name.lower())
    if found is None:
        raise DefinitionError(
            f"Unknown dtype {name!r}.{did_you_mean(name.capitalize(), [repr(t) for t in _SIMPLE.values()])}"
        )
    return found


def Struct(fields: Mapping[str, DType] | None = None, /, **more: DType) -> DType:
    """Return the dtype of a record of named fields, in the order given.

    Name them by keyword or in a mapping. Raises `DefinitionError` for no fields, or for two that differ only by case.

    >>> from e2i_fs import Float64, Struct
    >>> Struct(lat=Float64, lon=Float64)
    Struct(lat=Float64, lon=Float64)
    """
    named = {**(fields or {}), **more}
    if not named:
        raise DefinitionError("Struct() has no fields; name at least one, e.g. Struct(lat=fs.Float64).")
    if len({name.lower() for name in named}) < len(named):
        raise DefinitionError(f"Struct({', '.join(named)}): two fields differ only by case; rename one of them.")
    return DType("struct", fields=tuple((n, check_dtype(t, f"Struct field {n!r}")) for n, t in named.items()))


def Array(element: DType) -> DType:
    """Return the dtype of a list of any length whose elements have one dtype.

    >>> from e2i_fs import Array, String
    >>> Array(String)
    Array(String)
    """
    return DType("array", element=check_dtype(element, "Array(...)"))


def Vector(size: int) -> DType:
    """Return the dtype of an embedding: a list of exactly ``size`` Float32 numbers, none missing.

    Raises `DefinitionError` unless ``size`` is a whole number of at least 1.

    >>> from e2i_fs import Vector
    >>> Vector(3)
    Vector(3)
    """
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise DefinitionError(f"Vector({size!r}): the size is a whole number of at least 1.")
    return DType("vector", numbers=(size,))


def Decimal(precision: int, scale: int) -> DType:
    """Return the dtype of an exact decimal of ``precision`` digits, ``scale`` of them after the point.

    Raises `DefinitionError` unless 1 <= ``precision`` <= 38 and 0 <= ``scale`` <= ``precision``.

    >>> from e2i_fs import Decimal
    >>> Decimal(10, 2)
    Decimal(10, 2)
    """
    whole = all(isinstance(n, int) and not isinstance(n, bool) for n in (precision, scale))
    if not whole or not 1 <= precision <= 38 or not 0 <= scale <= precision:
        raise DefinitionError(
            f"Decimal({precision!r}, {scale!r}): need 1 <= precision <= 38 and 0 <= scale <= precision."
        )
    return DType("decimal", numbers=(precision, scale))


def dtype_from_canonical(form: Any) -> DType:
    """Return the dtype of a canonical form; the inverse of `DType.canonical`.

    >>> dtype_from_canonical({"array": "int64"})
    Array(Int64)
    """
    if isinstance(form, str) and form in _SIMPLE:
        return _SIMPLE[form]
    if isinstance(form, dict) and len(form) == 1:
        ((kind, rest),) = form.items()
        if kind == "struct":
            return Struct({name: dtype_from_canonical(inner) for name, inner in rest})
        if kind == "array":
            return Array(dtype_from_canonical(rest))
        if kind == "vector":
            return Vector(*rest)
        if kind == "decimal":
            return Decimal(*rest)
    raise DefinitionError(f"{form!r} is not the canonical form of a dtype; was the store written by a newer e2i_fs?")
