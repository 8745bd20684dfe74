"""What happened: moves of breakers and of parity, and answers that came from another backend than the primary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from e2i_fs.page.said import asked, without_secrets
from e2i_fs.page.shown import Shown

__all__ = ["happened"]

_MOST = 2_000


def happened(store: Shown, days: float) -> Mapping[str, Any]:
    """Return the events of the last ``days`` that are about backends, the newest first, as the store has kept them."""
    return asked(lambda: {"items": [_plain(event) for event in store.events(days=days, limit=_MOST)]})


def _plain(event: Any) -> dict[str, Any]:
    told = {f.name: getattr(event, f.name) for f in fields(event)}
    safe = {name: without_secrets(value) if isinstance(value, str) else value for name, value in told.items()}
    return {"kind": type(event).__name__, **safe}
