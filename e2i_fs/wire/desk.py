"""What every call over a wire works with: the store, and how much one call may ask for."""

from __future__ import annotations

from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict

from e2i_fs.store import Store
from e2i_fs.wire.budget import Budget

__all__ = ["Answer", "Desk"]


@dataclass(frozen=True)
class Desk:
    """One server's store and its budget."""

    store: Store
    budget: Budget = field(default_factory=Budget)


class Answer(BaseModel):
    """What a call answers; its JSON schema is part of what the server says of itself."""

    model_config = ConfigDict(extra="forbid")
