"""What a command has to say: one JSON document, the same for people, and an exit code."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from e2i_fs.cli.exits import OK
from e2i_fs.json_values import as_json

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["Answer", "write_json"]


@dataclass(frozen=True, slots=True)
class Answer:
    """``document`` is printed with ``--json``, ``shown`` (rich renderables) without; ``code`` ends the process."""

    document: Any
    shown: Sequence[RenderableType] = ()
    code: int = OK


def write_json(document: Any, stream: IO[str]) -> None:
    """Write one JSON document and a line end."""
    stream.write(json.dumps(as_json(document), indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    stream.flush()
