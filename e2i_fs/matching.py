"""Words against words: exact, by their beginning, or nearly."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence

__all__ = ["Wanted", "closest", "parts", "words"]

_WORD = re.compile(r"[^\W_]+")
_EXACT, _BEGINNING, _NEAR = 1.0, 0.7, 0.4
_CUTOFF = 0.75
_WHOLE = 10.0


def parts(text: str) -> list[str]:
    """Return the words of a text or a name, in small letters, split at underscores and whatever is no letter or digit.

    >>> parts("Weekly trx_count")
    ['weekly', 'trx', 'count']
    """
    return _WORD.findall(text.casefold())


def words(text: str) -> list[str]:
    """Return the `parts` of a text, and of a name of several parts also the whole, for those who write it as one.

    >>> words("trx_count")
    ['trx', 'count', 'trxcount']
    """
    found = parts(text)
    return [*found, "".join(found)] if len(found) > 1 and not re.search(r"\s", text) else found


def closest(word: str, known: Iterable[str], *, cutoff: float = _CUTOFF) -> list[str]:
    """Return at most three known words that nearly are ``word``, the nearest first."""
    return difflib.get_close_matches(word, sorted(known), n=3, cutoff=cutoff)


class Wanted:
    """The words of a search, each with the known words that it may stand for."""

    def __init__(self, text: str, known: set[str]) -> None:
        self.text = text.strip().casefold()
        self.words = list(dict.fromkeys(parts(self.text)))
        self._stands_for = [_candidates(word, known) for word in self.words]

    def score(self, told: Sequence[tuple[float, frozenset[str]]], names: Sequence[str]) -> float:
        """Return how near something is of which ``told`` speaks, words with their weights, and ``names`` are the names.

        Each word of the search counts once, where it weighs most; a name asked for whole stands above all.
        """
        total = _WHOLE if self.words and self.text in [n.casefold() for n in names] else 0.0
        for stands_for in self._stands_for:
            total += max((weight * q for weight, said in told for w, q in stands_for.items() if w in said), default=0.0)
        return round(total, 6)


def _candidates(word: str, known: set[str]) -> dict[str, float]:
    found = {k: _BEGINNING for k in known if len(word) > 1 and k.startswith(word)}
    if word in known:
        found[word] = _EXACT
    # A word that is known needs no guess at what else was meant.
    return found or dict.fromkeys(closest(word, known), _NEAR)
