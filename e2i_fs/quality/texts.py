"""Texts of a column: how many are numbers or blank, and which do not agree with the rest of their column."""

from __future__ import annotations

from dataclasses import dataclass

from e2i_fs.quality.rows import Column, Rows

__all__ = ["MOST_VALUES", "Texts", "texts_of"]

MOST_VALUES = 10_000  # a column of about so many different texts or more is one of identifiers: case is left to them
_REPEATED = 5  # texts that are there so often on average are looked at once each, and not row by row


@dataclass(frozen=True, slots=True)
class Texts:
    """What is counted of the texts of a column.

    ``numeric`` are numbers, ``padded`` have white space (of ASCII) at an end, ``blank`` have nothing else, ``otherwise``
    are spelt like a more frequent one but for case, with ``spellings`` an example of that, and ``odd`` are any of padded,
    blank and otherwise; ``odd_words`` is the same with every text that is no number.
    """

    distinct: int = 0
    numeric: int = 0
    padded: int = 0
    blank: int = 0
    otherwise: int = 0
    odd: int = 0
    odd_words: int = 0
    spellings: tuple[str, str] | None = None

    def words(self, present: int, *, is_text: bool) -> int:
        """Return how many texts are words among numbers: at least half are numbers, and the column is no text on purpose."""
        return present - self.numeric if not is_text and present / 2 <= self.numeric < present else 0


def texts_of(rows: Rows, column: Column, present: int, about: int, *, is_key: bool) -> Texts:
    """Return what is counted of ``column``, of whose ``present`` texts ``about`` so many are different.

    Case is looked at in columns of fewer than about 10,000 different texts, and not in one that ``is_key``: keys
    compare exactly (P-7).
    """
    if not present:
        return Texts()
    c = column.sql
    if about * _REPEATED > present and about >= MOST_VALUES:
        flags = f"SELECT {_flags(c)}, 1 AS n, false AS other FROM {rows.relation} WHERE {c} IS NOT NULL"
        ((_, numeric, padded, blank, _, odd, words),) = rows.fetch(_SUMS.format(flags))
        return Texts(about, int(numeric), int(padded), int(blank), 0, int(odd), int(words))
    grouped = f"SELECT {c}, count(*) AS n FROM {rows.relation} WHERE {c} IS NOT NULL GROUP BY {c}"
    if is_key or about >= MOST_VALUES:
        flags, pair = f"SELECT {_flags(c)}, n, false AS other FROM ({grouped})", None
    else:
        ranked = (
            f"SELECT *, row_number() OVER spelt > 1 AS other, first_value({c}) OVER spelt AS usual FROM ({grouped}) "
            f"WINDOW spelt AS (PARTITION BY lower({c}) ORDER BY n DESC, {c})"
        )
        flags = f"SELECT {_flags(c)}, n, other FROM ({ranked})"
        ((pair,),) = rows.fetch(f"SELECT min([usual, {c}]) FROM ({ranked}) WHERE other")
    ((distinct, numeric, padded, blank, otherwise, odd, words),) = rows.fetch(_SUMS.format(flags))
    return Texts(
        int(distinct), int(numeric), int(padded), int(blank), int(otherwise), int(odd), int(words),
        (pair[0], pair[1]) if pair else None,
    )  # fmt: skip


# RE2's \s is the white space of ASCII; a number is written as programs write it.
_NUMBER = r"'\s*[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?\s*'"
_SUMS = (
    "SELECT count(*), sum(n * num::INT), sum(n * (pad AND NOT blank)::INT), sum(n * blank::INT), sum(n * other::INT), "
    "sum(n * (pad OR blank OR other)::INT), sum(n * (pad OR blank OR other OR NOT num)::INT) FROM ({})"
)


def _flags(c: str) -> str:
    return (
        rf"regexp_full_match({c}, {_NUMBER}) AS num, regexp_matches({c}, '^\s|\s$') AS pad, "
        rf"regexp_full_match({c}, '\s*') AS blank"
    )
