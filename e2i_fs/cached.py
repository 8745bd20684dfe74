"""A value that an object makes once, when it is first asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Self, TypeVar, overload

__all__ = ["cached"]

T = TypeVar("T")


class cached(Generic[T]):  # noqa: N801 - a decorator, as functools.cached_property is
    """`functools.cached_property` without a lock.

    On Python 3.11 that has one for all objects of a class, which a child that was forked while another thread held it could
    never have. Two threads may both make the value; the first one stays.

    >>> class Store:
    ...     @cached
    ...     def answer(self) -> int:
    ...         print("made")
    ...         return 42
    >>> store = Store()
    >>> store.answer + store.answer
    made
    84
    """

    def __init__(self, make: Callable[[Any], T]) -> None:
        self.func = make
        self.__doc__ = make.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, of: None, owner: type) -> Self: ...
    @overload
    def __get__(self, of: object, owner: type) -> T: ...
    def __get__(self, of: object | None, owner: type) -> Self | T:
        if of is None:
            return self
        made: T = of.__dict__.setdefault(self._name, self.func(of))
        return made
