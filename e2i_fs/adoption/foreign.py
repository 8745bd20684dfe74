"""What another system's definitions come to, and what it takes to write them: the seam between the command and a plugin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

from e2i_fs.catalog import Catalog
from e2i_fs.frozen import FrozenMap

__all__ = ["Exchange", "Exported", "Imported", "Left", "Origin"]

Origin = Literal["auto", "registry", "python"]
"""Where definitions are read from: what was applied, the Python files, or the first if there is one."""


class Left(NamedTuple):
    """Something that could not carry over, and why.

    >>> str(Left("feature view", "clicks", "its source is a table"))
    "feature view 'clicks': its source is a table"
    """

    kind: str
    name: str
    why: str

    def __str__(self) -> str:
        """Return the words for it."""
        return f"{self.kind} {self.name!r}: {self.why}"


@dataclass(frozen=True, slots=True)
class Imported:
    """Another system's definitions as neutral ones.

    ``read`` says in words what they were read from, ``left`` what did not carry over, ``only_there`` which views have a
    history that only that system's own backend can read.
    """

    catalog: Catalog
    project: str
    read: str
    left: Sequence[Left] = ()
    only_there: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Exported:
    """Neutral definitions as another system's files: ``files`` by their path in the folder; ``left`` did not carry over."""

    files: Mapping[str, bytes] = field(default_factory=FrozenMap)
    left: Sequence[Left] = ()


class Exchange(Protocol):
    """Reads and writes definitions in a system's own form. A plugin names it in `BackendSpec.exchange`."""

    def read(self, folder: Path, *, origin: Origin = "auto") -> Imported:
        """Return the definitions of the repository in ``folder``; nothing in it is changed.

        Raises `ConfigError` when it is none, `DefinitionError` when its Python does not run.
        """
        ...

    def written(self, catalog: Catalog, *, project: str, folder: Path) -> Exported:
        """Return ``catalog`` as the files of a repository that shall lie in ``folder``; nothing is written.

        ``catalog.bases`` say where relative paths are taken from; they are made relative to ``folder``.
        """
        ...
