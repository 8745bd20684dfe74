"""Parity: would a backend answer the same? One small state machine for each backend and view, made of facts (X-4).

It knows no time and does no work: what happened is told to it, and it says what may be believed.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, replace

__all__ = ["Parity", "Standing"]


class Parity(enum.StrEnum):
    """What is known of one backend's rows of one view."""

    VERIFIED = "verified"
    LAGGING = "lagging"
    DIVERGED = "diverged"
    UNVERIFIED = "unverified"


@dataclass(frozen=True, slots=True)
class Standing:
    """The facts of one backend and view: writes missed, why it is in quarantine, and whether its definition is the expected one.

    ``coming`` is how many writes are on their way to it that another backend has taken already: an answer of that one may have
    told of them, and the next must not go back. ``position`` is the sequence number up to which it has every write, ``quarantines`` how often it was in quarantine.
    """

    missed: int = 0
    diverged: str | None = None
    defined: bool = True
    position: int = 0
    quarantines: int = 0
    coming: int = 0

    @property
    def parity(self) -> Parity:
        """The state: another definition first, for no row of it can be compared; then what was found, then what is missed."""
        if not self.defined:
            return Parity.UNVERIFIED
        if self.diverged is not None:
            return Parity.DIVERGED
        return Parity.LAGGING if self.missed or self.coming else Parity.VERIFIED

    @property
    def reason(self) -> str | None:
        """Why it is not verified, as a caller reads it; None when it is."""
        return {
            Parity.VERIFIED: None,
            Parity.LAGGING: f"it may have missed {_writes(self.missed)}"
            if self.missed
            else f"{_writes(self.coming)} that another backend has {'is' if self.coming == 1 else 'are'} on the way to it",
            Parity.DIVERGED: f"it was found to differ: {self.diverged}",
            Parity.UNVERIFIED: "its definition is not the expected one; apply it",
        }[self.parity]

    # ---- what can happen ----------------------------------------------------------------------------------

    def missing(self) -> Standing:
        """A write was not taken, or not known to be."""
        return replace(self, missed=self.missed + 1)

    def replayed(self) -> Standing:
        """The oldest missed write was taken."""
        return replace(self, missed=max(0, self.missed - 1))

    def differing(self, why: str) -> Standing:
        """Rows were lost, or a comparison found a difference."""
        return replace(self, diverged=self.diverged or why)

    def rebuilt(self) -> Standing:
        """Its rows were made anew; what was missed since is still missed."""
        return replace(self, diverged=None)

    def redefined(self, *, same: bool) -> Standing:
        """Its definition was compared with the expected one."""
        return replace(self, defined=same)


def by_view(standings: Mapping[str, Standing]) -> dict[str, str]:
    """Return the state of each view as text."""
    return {view: str(standing.parity) for view, standing in standings.items()}


def _writes(number: int) -> str:
    return "1 write" if number == 1 else f"{number} writes"
