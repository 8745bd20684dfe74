"""The tools that find and watch: discover_features, describe, freshness, health."""

from __future__ import annotations

from e2i_fs.agents.mcp.desk import Tool
from e2i_fs.wire import finding

__all__ = ["TOOLS"]

TOOLS = (
    Tool(
        "discover_features",
        "Find features",
        "Find features by words and filters, best first: what they are, how to refer to them (ref), which keys they need, "
        "whether they are labels (outcomes, never model inputs), and how fresh they are. Start here.",
        finding.Search,
        finding.Found,
        finding.discover,
    ),
    Tool(
        "describe",
        "Describe a definition",
        "Everything about one entity, view, on-demand view or service, in the form that plan_registration takes.",
        finding.Name,
        finding.Described,
        finding.describe,
    ),
    Tool(
        "freshness",
        "Freshness of views",
        "How old the newest online row of each view is against its max_staleness. Ask before you trust online features.",
        finding.Views,
        finding.Freshness,
        finding.freshness,
    ),
    Tool(
        "health",
        "Health of backends",
        "Whether each backend is up, and whether it would answer the same as the others.",
        finding.Nothing,
        finding.Health,
        finding.health,
    ),
)
