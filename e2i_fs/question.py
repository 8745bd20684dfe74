"""One read, independent of who answers it, and its answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Generic, NamedTuple, Protocol, TypeVar

from e2i_fs.backend import Backend
from e2i_fs.catalog import Catalog
from e2i_fs.results import Provenance

__all__ = ["Answered", "PlainQuestion", "Question"]

Q = TypeVar("Q")
T = TypeVar("T")


class Question(Protocol[Q, T]):
    """One read, independent of who answers it.

    ``prepare`` resolves the request against a catalogue (and raises the caller's mistakes), ``views`` names the
    views that it touches, ``answer`` gets the rows from a backend, ``same`` compares two answers (X-10); ``again`` gets them as
    they were at the moment of an answer given: what holds at one moment cannot be compared with what holds at another.
    ``told`` says whether observers are told when another backend than the primary answers. ``sequences`` gives, of an answer, what
    tells the sequence of each view's `Position`, None where the backend did not give it along.
    """

    @property
    def kind(self) -> str: ...  # noqa: D102 - as those below, told above
    @property
    def strict(self) -> bool: ...  # noqa: D102
    @property
    def told(self) -> bool: ...  # noqa: D102
    @property
    def prepare(self) -> Callable[[Catalog], Q]: ...  # noqa: D102
    @property
    def views(self) -> Callable[[Q], Iterable[str]]: ...  # noqa: D102
    @property
    def answer(self) -> Callable[[Backend, Catalog, Q], T]: ...  # noqa: D102
    @property
    def same(self) -> Callable[[T, T], bool] | None: ...  # noqa: D102
    @property
    def again(self) -> Callable[[Backend, Catalog, Q, T], T] | None: ...  # noqa: D102
    @property
    def sequences(self) -> Callable[[T], Callable[[], Mapping[str, int]] | None] | None: ...  # noqa: D102


class PlainQuestion(NamedTuple, Generic[Q, T]):
    """A `Question` of functions."""

    kind: str
    prepare: Callable[[Catalog], Q]
    views: Callable[[Q], Iterable[str]]
    answer: Callable[[Backend, Catalog, Q], T]
    same: Callable[[T, T], bool] | None = None
    again: Callable[[Backend, Catalog, Q, T], T] | None = None
    strict: bool = False
    told: bool = True
    sequences: Callable[[T], Callable[[], Mapping[str, int]] | None] | None = None


class Answered(NamedTuple, Generic[Q, T]):
    """An answer with the resolved request, the catalogue it was resolved against, who gave it and where from.

    ``told`` makes the provenance, of what was so when the answer was given.
    """

    value: T
    query: Q
    catalog: Catalog
    backend: str
    told: Callable[[], Provenance]

    @property
    def provenance(self) -> Provenance:
        """Where the answer comes from (X-7)."""
        return self.told()
