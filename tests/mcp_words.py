"""Small words for tests of the MCP server: one call in one line, its answer or its error as a document."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
from mcp import Client

import e2i_fs as fs
from e2i_fs.agents.mcp.desk import Desk
from e2i_fs.agents.mcp.server import make_server
from e2i_fs.agents.mcp.source_rules import SourceRules
from e2i_fs.wire.budget import Budget
from e2i_fs.wire.workers import Workers

Call = Callable[..., Awaitable[dict[str, Any]]]


async def answer(client: Client, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return what a tool answers; the text of an answer is the same document."""
    result = await client.call_tool(tool, arguments)
    assert isinstance(result.structured_content, dict), result
    assert json.loads(result.content[0].text) == result.structured_content
    assert result.is_error is ("error" in result.structured_content), result
    return result.structured_content


def desk(store: fs.FeatureStore, **more: Any) -> Desk:
    """Return a desk of the store that may register, unless told otherwise."""
    budget = Budget(**{k: more.pop(k) for k in ("max_rows", "max_cells", "max_seconds", "threads") if k in more})
    rules = SourceRules(tuple(more.pop("folders", ())), str(more.pop("base", "")))
    return Desk(store, budget, more.pop("allow_register", True), rules)


def talk(at: Desk, script: Callable[[Call], Awaitable[Any]]) -> Any:
    """Run a script of calls against a server of its own in this process, and return what it returns."""

    async def run() -> Any:
        server = make_server(at, Workers(at.budget.threads))
        async with Client(server) as client:

            async def call(tool: str, **arguments: Any) -> dict[str, Any]:
                return await answer(client, tool, arguments)

            return await script(call)

    return anyio.run(run)


def one(at: Desk, tool: str, **arguments: Any) -> dict[str, Any]:
    """Make one call, and return its answer."""
    return talk(at, lambda call: call(tool, **arguments))
