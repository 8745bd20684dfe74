"""What the demo claims, and whether it held. Nothing is printed as true that is not in here as checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = ["Claim", "Claims"]


@dataclass(frozen=True, slots=True)
class Claim:
    """One sentence, whether it was found to hold, and what was counted to find out."""

    text: str
    holds: bool
    evidence: str


@dataclass(slots=True)
class Claims:
    """All claims so far. ``told`` is called with each as it is made."""

    told: Callable[[Claim], None] = lambda claim: None
    made: list[Claim] = field(default_factory=list)

    def check(self, text: str, holds: bool, evidence: str) -> bool:
        """Add a claim; return whether it holds."""
        claim = Claim(text, bool(holds), evidence)
        self.made.append(claim)
        self.told(claim)
        return claim.holds

    @property
    def all_hold(self) -> bool:
        """True when there are claims and every one holds."""
        return bool(self.made) and all(claim.holds for claim in self.made)
