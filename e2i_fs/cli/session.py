"""What all commands share: where the configuration and the definitions are, and how to speak."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

    from e2i_fs.store import Store

__all__ = ["DEFAULT_CONFIG", "DEFAULT_DEFINITIONS", "Session"]

DEFAULT_CONFIG = "e2i_fs.yaml"
DEFAULT_DEFINITIONS = "features.py"


@dataclass(frozen=True, slots=True)
class Session:
    """One run of the command. ``config`` and ``definitions`` are paths as given, None when not given."""

    config: str | None
    definitions: str | None
    json: bool

    @property
    def config_path(self) -> Path:
        """The configuration file: as given, or ``$E2I_FS_CONFIG``, or ``e2i_fs.yaml`` in the working directory."""
        return Path(self.config or os.environ.get("E2I_FS_CONFIG") or DEFAULT_CONFIG)

    @property
    def definitions_path(self) -> Path:
        """The definitions: as given, or ``features.py`` beside the configuration."""
        return Path(self.definitions) if self.definitions else self.config_path.parent / DEFAULT_DEFINITIONS

    @contextmanager
    def store(self, plugins: Sequence[object] = (), *, serves: bool = False) -> Iterator[Store]:
        """Open the store of the configuration, with ``plugins`` beside the installed ones, and close it in the end.

        Only a command that ``serves`` opens the endpoint of the telemetry: its port is one process's.
        """
        import e2i_fs as fs
        from e2i_fs.config import brief_config

        with fs.connect(self.config_path if serves else brief_config(self.config_path), plugins=plugins) as store:
            yield store

    def load_definitions(self) -> list[Any]:
        """Return the definition objects of the definitions file or package."""
        from e2i_fs.cli.loading import load_definitions

        return load_definitions(self.definitions_path)

    @property
    def console(self) -> Console:
        """Where people read answers: stdout."""
        from rich.console import Console

        return Console(soft_wrap=False, highlight=False)

    @property
    def stderr(self) -> Console:
        """Where people read progress and errors."""
        from rich.console import Console

        return Console(stderr=True, soft_wrap=True, highlight=False)

    @contextmanager
    def progress(self) -> Iterator[Progress]:
        """Show progress bars on stderr while the block runs, when stderr is a terminal and no document is asked for."""
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        console = self.stderr
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=console, transient=True, disable=self.json or not console.is_terminal) as bars:
            yield bars
