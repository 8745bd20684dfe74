"""Components for agents over a `FeatureStore`: each an object with sync and awaited methods, and a graph's node as it is.

Beside them stands a server for agents that speak MCP (`e2i_fs.agents.mcp`). Nothing here imports an agents' framework. The names below are the public ones, each imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from e2i_fs.agents.enricher import ContextEnricher, Enrichment
    from e2i_fs.agents.flags import Tier0Flags
    from e2i_fs.agents.inference import Inferred
    from e2i_fs.agents.loader import LoadedSplits, SplitLoader
    from e2i_fs.agents.merging import Conflict
    from e2i_fs.agents.node import Node
    from e2i_fs.agents.outcome import Step, Tier0Outcome
    from e2i_fs.agents.registrar import FeatureRegistrar
    from e2i_fs.agents.registration import FeatureRegistration, ReadBack
    from e2i_fs.agents.spec import FeatureSpec
    from e2i_fs.agents.tier0 import Tier0Pipeline

_HOMES = {
    "enricher": "ContextEnricher Enrichment",
    "flags": "Tier0Flags",
    "inference": "Inferred",
    "loader": "LoadedSplits SplitLoader",
    "merging": "Conflict",
    "node": "Node",
    "outcome": "Step Tier0Outcome",
    "registrar": "FeatureRegistrar",
    "registration": "FeatureRegistration ReadBack",
    "spec": "FeatureSpec",
    "tier0": "Tier0Pipeline",
}
_HOME = {name: module for module, names in _HOMES.items() for name in names.split()}

__all__ = [
    "Conflict",
    "ContextEnricher",
    "Enrichment",
    "FeatureRegistrar",
    "FeatureRegistration",
    "FeatureSpec",
    "Inferred",
    "LoadedSplits",
    "Node",
    "ReadBack",
    "SplitLoader",
    "Step",
    "Tier0Flags",
    "Tier0Outcome",
    "Tier0Pipeline",
]


def __getattr__(name: str) -> Any:
    module = _HOME.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name, obj=import_module(__name__))
    value = getattr(import_module(f"e2i_fs.agents.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
