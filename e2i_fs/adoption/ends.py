"""The two ends of a migration: backends of one configuration, or the one backends of two."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from e2i_fs.clock import Clock
from e2i_fs.config import BackendConfig, Config, load_config
from e2i_fs.errors import ConfigError, did_you_mean
from e2i_fs.opening import connect
from e2i_fs.store import Store

__all__ = ["Ends", "ends_of"]

_DEADLINE = 60.0  # seconds: nobody waits for an answer here, and a slow backend is not to be taken for a dead one


@dataclass(frozen=True, slots=True)
class Ends:
    """A source and a target, each a backend's name; ``together`` when they are of one configuration, behind its failover.

    ``configs`` are the configurations of the two as given, as paths or mappings.
    """

    source: str
    target: str
    together: bool
    configs: tuple[Any, Any]
    backends: tuple[BackendConfig, BackendConfig]
    clock: Clock | Callable[[], datetime] | None = None
    plugins: Sequence[object] = ()

    @contextmanager
    def both(self) -> Iterator[Store]:
        """Open a store that has both backends; of two configurations one for the time being, whose records are thrown away."""
        if self.together:
            with connect(self.configs[0], clock=self.clock, plugins=self.plugins) as store:
                yield store
            return
        entries = [{"name": b.name, "backend": b.kind, **b.options} for b in self.backends]
        failover = {
            "background": False, "shadow_rate": 0, "deadline": _DEADLINE, "write_deadline": _DEADLINE, "historical_any_level": True,
        }  # fmt: skip
        with tempfile.TemporaryDirectory(prefix="e2i-fs-migrate-") as state:
            config = {"backends": entries, "failover": failover, "state": state}
            with connect(config, clock=self.clock, plugins=self.plugins) as store:
                yield store

    @contextmanager
    def of_target(self) -> Iterator[Store]:
        """Open the target's own store."""
        with connect(self.configs[1], clock=self.clock, plugins=self.plugins) as store:
            yield store


def ends_of(
    source: str, target: str, config: Any, *, clock: Any = None, plugins: Sequence[object] = (),
) -> Ends:  # fmt: skip
    """Return the ends that two texts name: backends of ``config`` (a path or a mapping, None for none) or files of their own.

    Raises `ConfigError` for a name that is neither, for one backend twice, and for a target that is one of several backends
    of another configuration: written to past its own failover it would differ from the others unnoticed.
    """
    known = None if config is None else load_config(config)
    one, two = (_end(name, known, config) for name in (source, target))
    if one[1] is two[1]:
        if one[0].name == two[0].name:
            raise ConfigError(f"--from and --to are both {one[0].name!r}; name two backends.")
        return Ends(one[0].name, two[0].name, True, (config, config), (one[0], two[0]), clock, plugins)
    if len(two[1].backends) > 1:
        raise ConfigError(
            f"--to {target}: it is one of {len(two[1].backends)} backends behind failover. Migrate within that configuration, where each "
            "of them is written to, or to a configuration with one backend."
        )
    first, second = one[0], two[0]
    if first.name == second.name:
        first, second = (BackendConfig(name, b.kind, b.options) for name, b in (("from", first), ("to", second)))
    return Ends(first.name, second.name, False, (one[2], two[2]), (first, second), clock, plugins)


def _end(name: str, known: Config | None, config: Any) -> tuple[BackendConfig, Config, Any]:
    """Return the backend that ``name`` names, its whole configuration, and how that is given."""
    names = [] if known is None else [b.name for b in known.backends]
    if name in names:
        assert known is not None
        return next(b for b in known.backends if b.name == name), known, config
    if not os.path.isfile(name):
        hint = did_you_mean(name, names) or (f" The configuration has {', '.join(names)}." if names else "")
        raise ConfigError(f"{name!r} is neither a backend of the configuration nor a configuration file.{hint}")
    whole = load_config(Path(name))
    return whole.backends[0], whole, Path(name)
