"""Bodies: read up to a limit, and JSON taken for nothing but what it says."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, NoReturn, TypeVar

from pydantic import BaseModel, ValidationError

from e2i_fs.server.refusals import BodyTooLargeError, InvalidBodyError
from e2i_fs.wire.arguments import misfit

__all__ = ["WIDEST", "json_of", "require_few", "taken"]

M = TypeVar("M", bound=BaseModel)
WIDEST = 10_000  # columns of a batch or of entity rows
_DEEPEST = 64
_TEXT = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_FIX = "Send one JSON object in UTF-8, as /openapi.json describes it."


def taken(model: type[M], body: bytes, most: int) -> M:
    """Return a body in its model, when it has at most so many values.

    Raises `BodyTooLargeError` for more, `InvalidBodyError` when it is no JSON, else `InvalidArgumentsError`.
    """
    require_few(body, most)
    given = json_of(body)
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise misfit(model, error, "Correct what is named; /openapi.json says what is taken.") from error


def require_few(body: bytes, most: int) -> None:
    """Raise `BodyTooLargeError` when a document has more than so many values and keys; told before any of them is made.

    >>> require_few(b'{"a": [1, 2, "x,y,z"]}', 5)
    >>> require_few(b"[[],[],[]]", 5)
    Traceback (most recent call last):
    e2i_fs.server.refusals.BodyTooLargeError: The body has more than 5 values, which is as many as the server takes.
    """
    if _marks(body) > most and _marks(_TEXT.sub(b"", body)) > most:
        raise BodyTooLargeError(
            f"The body has more than {most:,} values, which is as many as the server takes.",
            fix="Send less at a time, or as Arrow to a path of /v1; whoever runs the server can raise --max-body.",
        )


def _marks(body: bytes) -> int:
    """Return how often a value follows: at least as often as there are values, outside of texts."""
    return sum(map(body.count, (b",", b"[", b"{", b":")))


def json_of(body: bytes) -> Any:
    """Return a JSON document, or raise `InvalidBodyError`.

    What readers of JSON disagree about is refused: NaN and Infinity, numbers too great for a float, a key twice in one
    object, half of a surrogate pair, and values nested deeper than 64; an object with more than 10,000 keys too.

    >>> json_of(b'{"a": 1}')
    {'a': 1}
    >>> json_of(b'{"a": 1, "a": 2}')
    Traceback (most recent call last):
    e2i_fs.server.refusals.InvalidBodyError: The body is no JSON that can be taken: the key 'a' is there twice.
    """
    try:
        text = body.decode("utf-8")
        value = json.loads(text, object_pairs_hook=_once, parse_constant=_no_number, parse_float=_finite)
    except UnicodeDecodeError as error:
        raise _refused(f"byte {error.start} is not UTF-8") from error
    except RecursionError as error:
        raise _refused(f"values are nested deeper than {_DEEPEST}") from error
    except ValueError as error:  # json's own says where; an int of thousands of digits is one too
        raise _refused(str(error)[:200]) from error
    if "\\ud" in text.lower():  # the only way for half a pair into a text that is UTF-8
        _require_whole(value)
    if text.count("[") + text.count("{") > _DEEPEST and _depth(value) > _DEEPEST:
        raise _refused(f"values are nested deeper than {_DEEPEST}")
    return value


def _refused(why: str) -> InvalidBodyError:
    return InvalidBodyError(f"The body is no JSON that can be taken: {why.rstrip('.')}.", fix=_FIX)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > WIDEST:
        raise ValueError(f"an object has {len(pairs):,} keys; {WIDEST:,} are taken")
    made = dict(pairs)
    if len(made) < len(pairs):
        (twice, _), *_ = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"the key {twice[:100]!r} is there twice")
    return made


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON; write null where a value is missing, or the text {name!r} for a float")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:40]} is greater than any float")
    return number


def _require_whole(value: Any) -> None:
    for text in _texts(value):
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise _refused("a text holds half of a surrogate pair, which is no character") from error


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield name
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


def _depth(value: Any) -> int:
    level, depth = [value], 0
    while level:
        depth += 1
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return depth
