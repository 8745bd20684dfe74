"""Components for agents over a `FeatureStore`: each an object with sync and awaited methods, and a graph's node as it is.

Nothing here imports an agents' framework. Names are imported when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from e2i_fs.agents.enricher import ContextEnricher, Enrichment
    from e2i_fs.agents.inference import Inferred
    from e2i_fs.agents.merging import Conflict
    from e2i_fs.agents.node import Node
    from e2i_fs.agents.registrar import FeatureRegistrar
    from e2i_fs.agents.registration import FeatureRegistration, ReadBack
    from e2i_fs.agents.spec import FeatureSpec

_HOME = {
    "Conflict": "merging",
    "ContextEnricher": "enricher",
    "Enrichment": "enricher",
    "FeatureRegistrar": "registrar",
    "FeatureRegistration": "registration",
    "FeatureSpec": "spec",
    "Inferred": "inference",
    "Node": "node",
    "ReadBack": "registration",
}

__all__ = [
    "Conflict",
    "ContextEnricher",
    "Enrichment",
    "FeatureRegistrar",
    "FeatureRegistration",
    "FeatureSpec",
    "Inferred",
    "Node",
    "ReadBack",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'e2i_fs.agents' has no attribute {name!r}", name=name)
    value = getattr(import_module(f"e2i_fs.agents.{_HOME[name]}"), name)
    globals()[name] = value
    return value
