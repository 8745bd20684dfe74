"""Faults put into the source text of real functions."""

from __future__ import annotations
import __future__

import inspect
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, FunctionType
from typing import Any

__all__ = ["rewritten"]


@contextmanager
def rewritten(function: Callable[..., Any], *changes: tuple[str, str]) -> Iterator[None]:
    """While the block runs, ``function`` is its own source with each ``(old, new)`` text replaced, wherever it is used.

    The function object stays, and gets another code: whoever imported it calls the changed one. Raises ValueError
    unless each old text occurs exactly once, so that a fault cannot get lost when the source is changed.
    """
    if not isinstance(function, FunctionType):
        raise ValueError(f"{function!r} is no plain function, so its source cannot be changed.")  # noqa: TRY004
    source = textwrap.dedent(inspect.getsource(function))
    for old, new in changes:
        if source.count(old) != 1:
            raise ValueError(
                f"{function.__module__}.{function.__qualname__} has {old!r} {source.count(old)} times, not once. "
                "Its source has changed: change the fault with it."
            )
        source = source.replace(old, new)
    right = function.__code__
    function.__code__ = _code(function, source)
    try:
        yield
    finally:
        function.__code__ = right


def _code(function: FunctionType, source: str) -> CodeType:
    flags = __future__.annotations.compiler_flag
    place = compile(source, f"{inspect.getsourcefile(function)} (changed)", "exec", flags=flags, dont_inherit=True)
    made: dict[str, Any] = {}
    exec(place, dict(function.__globals__), made)  # noqa: S102 - our own source, and the change to it
    changed = made[function.__name__]
    found: CodeType = inspect.unwrap(changed).__code__
    return found
