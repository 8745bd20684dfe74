"""The tools as an MCP server: every call in a thread, within its time, answered by a document or by an error."""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Mapping
from typing import Any

import mcp_types as types
from mcp.server.lowlevel import Server

from e2i_fs import __version__
from e2i_fs.agents.mcp import finding, registering, retrieving
from e2i_fs.agents.mcp.desk import Desk, Tool
from e2i_fs.agents.mcp.refusals import UnknownToolError, error_document
from e2i_fs.errors import E2IError, did_you_mean, suggested
from e2i_fs.wire.arguments import checked
from e2i_fs.wire.refusals import defect_document
from e2i_fs.wire.workers import Workers

__all__ = ["TOOLS", "make_server"]

_LOG = logging.getLogger("e2i_fs.mcp")
# In the order in which an agent needs them.
_BY_NAME = {tool.name: tool for tool in (*finding.TOOLS, *registering.TOOLS, *retrieving.TOOLS)}
TOOLS: tuple[Tool, ...] = tuple(
    _BY_NAME[name]
    for name in (
        "discover_features", "describe", "plan_registration", "register", "get_training_set", "get_online_features",
        "explain", "freshness", "health",
    )
)  # fmt: skip


def make_server(desk: Desk, workers: Workers) -> Server[Any]:
    """Return an MCP server of the desk's store. Its calls run in ``workers``."""

    async def list_tools(_: Any, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[_listed(tool) for tool in TOOLS])

    async def call_tool(_: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        # The one place where every error of a call ends: told to the caller, a defect to the log as well.
        try:
            return _result(
                await workers.run(lambda: _answer(desk, params.name, params.arguments or {}), desk.budget.max_seconds)
            )
        except E2IError as error:
            return _result(error_document(error), is_error=True)
        except Exception:
            reference = uuid.uuid4().hex[:12]
            _LOG.exception("Defect %s in a call of %r", reference, params.name)
            return _result(defect_document(reference), is_error=True)

    return Server(
        "e2i-fs",
        title="e2i_fs feature store",
        version=__version__,
        instructions=_instructions(desk),
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


def _answer(desk: Desk, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    tool = _BY_NAME.get(name)
    if tool is None:
        hint = did_you_mean(name, _BY_NAME)
        raise UnknownToolError(f"There is no tool {name!r}.{hint}", fix="List the tools.", nearest=suggested(hint))
    rows = given.get("entity_rows")
    if isinstance(rows, list):  # counted before anything is made of them
        desk.budget.require_rows(len(rows))
    answer = tool.answer.model_validate(tool.run(desk, checked(tool.arguments, given)))
    return answer.model_dump(mode="json")


def _result(document: dict[str, Any], *, is_error: bool = False) -> types.CallToolResult:
    # The same as text, for clients that know nothing of structured content.
    text = json.dumps(document, ensure_ascii=False, allow_nan=False)
    return types.CallToolResult(
        content=[types.TextContent(type="text", text=text)], structured_content=document, is_error=is_error
    )


def _listed(tool: Tool) -> types.Tool:
    hints = types.ToolAnnotations(
        read_only_hint=tool.reads_only,
        destructive_hint=not tool.reads_only,
        idempotent_hint=tool.reads_only,
        open_world_hint=False,
    )
    return types.Tool(
        name=tool.name,
        title=tool.title,
        description=tool.about,
        input_schema=tool.arguments.model_json_schema(by_alias=True),
        output_schema=tool.answer.model_json_schema(),
        annotations=hints,
    )


def _instructions(desk: Desk) -> str:
    budget = desk.budget
    may = (
        "It registers what was planned." if desk.allow_register else "It is read-only: it plans and registers nothing."
    )
    return (
        "A feature store: find features with discover_features, get training sets that know nothing of the future with "
        "get_training_set, current values with get_online_features, and reasons with explain. "
        f"{may} A call gets at most {budget.max_rows} entity rows, {budget.max_cells} cells and {budget.max_seconds:g} seconds. "
        "An error is a document: type, message, rules of the contract, fix (what to do), nearest names, retry_after in seconds."
    )
