"""Texts that do not agree with the rest of their column: space at an end, another case, words among numbers."""

from __future__ import annotations

from dataclasses import dataclass

from e2i_fs.quality.profile import ColumnProfile, blank, numeric, padded
from e2i_fs.quality.rows import Column, Rows

__all__ = ["MOST_VALUES", "Odd", "odd_texts"]

MOST_VALUES = 10_000  # a column of about so many different texts or more is one of identifiers: case is left to them


@dataclass(frozen=True, slots=True)
class Odd:
    """How many texts of a column are odd in any way, and of these how many are words among numbers or spelt otherwise.

    ``spellings`` has two spellings of one text, if there are such.
    """

    cells: int = 0
    words: int = 0
    otherwise: int = 0
    spellings: tuple[str, str] | None = None


def odd_texts(rows: Rows, column: Column, profile: ColumnProfile, *, is_text: bool, is_key: bool) -> Odd:
    """Return how many texts of ``column`` are odd.

    A text is odd if it is blank or has space at an end; if it is no number while at least half of the column's texts are
    (unless the column ``is_text`` on purpose); or if it differs by case alone from a more frequent text (unless it
    ``is_key``: keys compare exactly, P-7). Case is looked at in columns of fewer than about 10,000 different texts.
    """
    numbers, c = profile.numeric_text or 0, column.sql
    mixed = not is_text and profile.present / 2 <= numbers < profile.present
    simple = f"{padded(c)} OR {blank(c)}" + (f" OR NOT {numeric(c)}" if mixed else "")
    words = profile.present - numbers if mixed else 0
    if is_key or (profile.distinct or 0) >= MOST_VALUES:
        if not mixed:
            return Odd((profile.padded or 0) + (profile.blank or 0))
        ((cells,),) = rows.fetch(f"SELECT count(*) FILTER ({simple}) FROM {rows.relation}")
        return Odd(cells, words)
    texts = f"SELECT {c}, count(*) AS n FROM {rows.relation} WHERE {c} IS NOT NULL GROUP BY {c}"
    ranked = (
        f"SELECT *, row_number() OVER spelt AS nth, first_value({c}) OVER spelt AS usual FROM ({texts}) "
        f"WINDOW spelt AS (PARTITION BY lower({c}) ORDER BY n DESC, {c})"
    )
    ((cells, otherwise, pair),) = rows.fetch(
        f"SELECT coalesce(sum(n) FILTER (nth > 1 OR {simple}), 0), coalesce(sum(n) FILTER (nth > 1), 0), "
        f"min([usual, {c}]) FILTER (nth > 1) FROM ({ranked})"
    )
    return Odd(int(cells), words, int(otherwise), (pair[0], pair[1]) if pair else None)
