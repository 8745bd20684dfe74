"""The routing table: what a backend may do, by its liveness and its parity (X-1). Docs and tests read it here."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType

from e2i_fs.failover.breaker import Liveness
from e2i_fs.failover.parity import Parity

__all__ = ["ROUTING", "Verdict"]


class Verdict(enum.StrEnum):
    """``answers`` unmarked; ``degraded``: marked, and only when nobody answers unmarked; ``never``."""

    ANSWERS = "answers"
    DEGRADED = "degraded"
    NEVER = "never"


def _verdict(liveness: Liveness, parity: Parity) -> Verdict:
    if liveness in (Liveness.OPEN, Liveness.ISOLATED) or parity is Parity.UNVERIFIED:
        return Verdict.NEVER
    return Verdict.ANSWERS if parity is Parity.VERIFIED else Verdict.DEGRADED


ROUTING: Mapping[tuple[Liveness, Parity], Verdict] = MappingProxyType(
    {(liveness, parity): _verdict(liveness, parity) for liveness in Liveness for parity in Parity}
)
"""Every cell. Half-open lets one call through at a time, which answers like any other."""
