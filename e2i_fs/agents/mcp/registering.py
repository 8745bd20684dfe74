"""The tools that register: plan_registration, which only plans, and register, which carries out a plan by its id."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from e2i_fs.agents.mcp.definitions import built
from e2i_fs.agents.mcp.desk import Desk, Tool
from e2i_fs.agents.mcp.forms import Definitions
from e2i_fs.agents.mcp.plans import Planned
from e2i_fs.agents.mcp.refusals import ReadOnlyError
from e2i_fs.catalog import Plan
from e2i_fs.wire.arguments import Strict
from e2i_fs.wire.desk import Answer

__all__ = ["TOOLS"]


class _ToPlan(Strict):
    definitions: Definitions
    allow_breaking: bool = Field(
        default=False, description="Plan even what breaks readers (a dtype, a key, a removed feature); see `breaking`."
    )


class _Planned(Answer):
    plan_id: str = Field(description="What register takes, once, as long as nothing else is registered meanwhile.")
    changes: bool
    created: list[str]
    updated: list[str]
    unchanged: list[str]
    breaking: list[str]
    read_only: bool = Field(description="True when this server will not carry the plan out.")


class _PlanId(Strict):
    plan_id: str


class _Registered(Answer):
    changes: bool
    created: list[str]
    updated: list[str]
    unchanged: list[str]
    breaking: list[str]


def _plan(desk: Desk, asked: _ToPlan) -> Mapping[str, Any]:
    catalog = desk.store.catalog()
    definitions = built(asked.definitions, catalog, lambda source: desk.sources.check(catalog, source))
    made = desk.store.apply(definitions, dry_run=True, allow_breaking=asked.allow_breaking, expected=catalog.revision)
    name = desk.plans.add(Planned(definitions, asked.allow_breaking, catalog.revision))
    return {"plan_id": name, **_told(made), "read_only": not desk.allow_register}


def _register(desk: Desk, asked: _PlanId) -> Mapping[str, Any]:
    if not desk.allow_register:
        raise ReadOnlyError(
            "This server is read-only: nothing is registered through it.",
            fix="Give the definitions to whoever runs the server, who can start it with --allow-register.",
        )
    with desk.plans.taking(asked.plan_id) as plan:
        return _told(desk.store.apply(plan.definitions, allow_breaking=plan.allow_breaking, expected=plan.revision))


def _told(plan: Plan) -> dict[str, Any]:
    lists = {name: list(getattr(plan, name)) for name in ("created", "updated", "unchanged", "breaking")}
    return {"changes": plan.changes, **lists}


TOOLS = (
    Tool(
        "plan_registration",
        "Plan a registration",
        "Check definitions of entities, views and services and say what registering them would do. Nothing is registered: "
        "look at the plan, then call register with its plan_id. describe shows the form by example.",
        _ToPlan,
        _Planned,
        _plan,
    ),
    Tool(
        "register",
        "Register by plan id",
        "Carry out a plan of plan_registration, all of it or nothing. Refused if what is registered changed since, and on a "
        "read-only server.",
        _PlanId,
        _Registered,
        _register,
        reads_only=False,
    ),
)
