"""The tools that retrieve: get_training_set, get_online_features, explain."""

from __future__ import annotations

from e2i_fs.agents.mcp.desk import Tool
from e2i_fs.wire import retrieving

__all__ = ["TOOLS"]

TOOLS = (
    Tool(
        "get_training_set",
        "Get a training set",
        "Features of entity rows, each as of its own time: nothing that was not known then. Labels come only when named in "
        "labels. With as_of the set can be made again later.",
        retrieving.ToTrain,
        retrieving.TrainingSet,
        retrieving.training_set,
    ),
    Tool(
        "get_online_features",
        "Get online features",
        "Features of entities as they are now, each with its status and event time. Look at degraded and at the statuses: "
        "a missing value is null, never a default. Labels are not served.",
        retrieving.ToServe,
        retrieving.Answered,
        retrieving.online,
    ),
    Tool(
        "explain",
        "Explain an answer",
        "Why one entity row gets its answer: every row of history that might have answered, and by which rule it did or did not.",
        retrieving.ToExplain,
        retrieving.Explained,
        retrieving.explained,
    ),
)
