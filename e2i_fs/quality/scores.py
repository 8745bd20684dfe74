"""The five dimensions of quality as shares from 0 to 1, and the weighted score over those that can be judged."""

from __future__ import annotations

from collections.abc import Mapping

from e2i_fs.quality.asked import Asked
from e2i_fs.quality.examining import Examined

__all__ = ["WEIGHTS", "overall", "scores"]

WEIGHTS: Mapping[str, float] = {
    "completeness": 0.25, "validity": 0.25, "consistency": 0.20, "uniqueness": 0.15, "timeliness": 0.15,
}  # fmt: skip


def scores(asked: Asked, seen: Examined) -> dict[str, float | None]:
    """Return each dimension's score, None where there is nothing to judge.

    - completeness: cells that are not missing, of the cells of all columns; one that must be there and is not counts
      as missing in every row. NaN is missing.
    - validity: present cells that are finite where they are numbers and keep to what is expected of their column
      (`in_range`, `in_set`, `matches`, `has_dtype`), of the present cells.
    - consistency: present cells that are written like the rest of their column, and pairs that keep to `at_most`, of
      the present cells and pairs. A text is not, if it is blank, has space at an end, differs by case alone from a more
      frequent one, or is a word in a column at least half of whose texts are numbers (see `Texts`).
    - uniqueness: different keys, of the rows that have a key; without keys, different rows of all rows.
    - timeliness: rows whose time is there, not in the future and not older than ``max_age``, of all rows.
    """
    names = [p.name for p in seen.profiles]
    absent = sum(name not in names for name in asked.there)
    present = sum(p.present for p in seen.profiles)
    pairs = [r for r in seen.results if r.expectation.kind == "at_most"]
    odd = sum(r.offending for r in pairs)
    for p in seen.profiles:
        texts = seen.texts.get(p.name)
        if texts is not None:
            odd += texts.odd_words if texts.words(p.present, is_text=p.name in asked.texts) else texts.odd
    timely = next((r for r in seen.results if r.expectation.kind == "in_time"), None)
    identity = seen.identity
    return {
        "completeness": _share(present, seen.rows * (len(names) + absent)),
        "validity": _share(present - sum(seen.invalid.values()), present),
        "consistency": _share(present + sum(r.observed for r in pairs) - odd, present + sum(r.observed for r in pairs)),
        "uniqueness": None if identity is None else _share(identity.distinct, identity.rows),
        "timeliness": None if timely is None else _share(timely.observed - timely.offending, timely.observed),
    }


def overall(given: Mapping[str, float | None]) -> float | None:
    """Return the weighted mean of the scores that there are, by their weights among themselves; None of none.

    >>> overall({"completeness": 1.0, "validity": 0.5, "consistency": None})
    0.75
    """
    judged = {name: score for name, score in given.items() if score is not None}
    weight = sum(WEIGHTS[name] for name in judged)
    return sum(WEIGHTS[name] * score for name, score in judged.items()) / weight if judged else None


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
