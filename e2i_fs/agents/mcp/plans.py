"""Plans that were made and not yet carried out: what an agent looks at before anything is registered."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from e2i_fs.agents.mcp.refusals import UnknownPlanError
from e2i_fs.catalog import Definition
from e2i_fs.forks import RenewedLock

__all__ = ["Planned", "Plans"]

_KEPT = 100


@dataclass(frozen=True, slots=True)
class Planned:
    """Definitions, and the revision of what was registered when their plan was made."""

    definitions: Sequence[Definition]
    allow_breaking: bool
    revision: str


class Plans:
    """The newest plans by their ids, each carried out at most once. Kept in the process: a server begun anew has none."""

    def __init__(self) -> None:
        self._waiting: dict[str, Planned] = {}
        self._taken: dict[str, None] = {}
        self._lock = RenewedLock()

    def add(self, plan: Planned) -> str:
        """Keep a plan and return its id, which cannot be guessed."""
        name = f"plan_{secrets.token_hex(8)}"
        with self._lock:
            self._waiting[name] = plan
            while len(self._waiting) > _KEPT:
                del self._waiting[next(iter(self._waiting))]
        return name

    @contextmanager
    def taking(self, name: str) -> Iterator[Planned]:
        """Give the plan to one caller; if the block raises, it waits again as before.

        Raises `UnknownPlanError` for one that is being carried out or was, and for one that is not there.
        """
        with self._lock:
            plan = self._waiting.pop(name, None)
            if plan is None:
                raise UnknownPlanError(
                    self._why(name), fix="Make a new plan with plan_registration, and register by its id."
                )
            self._taken[name] = None
            while len(self._taken) > _KEPT:
                del self._taken[next(iter(self._taken))]
        try:
            yield plan
        except BaseException:
            with self._lock:
                self._waiting[name] = plan
                self._taken.pop(name, None)
            raise

    def _why(self, name: str) -> str:
        if name in self._taken:
            return f"The plan {name!r} was carried out already, or is just now; describe tells what is registered."
        return f"There is no plan {name!r}: this server did not make it, or has forgotten it for {_KEPT} newer ones."
