"""From source to service: who gets rows from whom, as nodes and edges."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["lineage"]


def lineage(defined: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return the ``nodes`` (``id``, ``kind``, ``name``, ``label``) and ``edges`` (pairs of ids) of what `catalogue` returned.

    Kinds are ``source``, ``view``, ``on-demand`` and ``service``, and edges lead from left to right. What comes with a
    request is a source as well, and so is the stored source behind one that is pushed to.
    """
    nodes: dict[str, dict[str, str]] = {}
    edges: dict[tuple[str, str], None] = {}

    def node(kind: str, name: str, label: str = "", about: str = "") -> str:
        key = f"{kind}/{name}"
        nodes.setdefault(key, {"id": key, "kind": kind, "name": name, "label": label or name, "about": about})
        return key

    for view in defined["views"]:
        of = node("view", view["name"])
        for source in _sources(view["source"]):
            told = f"{source['kind']} {source['where'] or source['name']}".strip()
            edges[node("source", _name(source), source["label"], told), of] = None
    for view in defined["on_demand"]:
        of = node("on-demand", view["name"])
        edges |= dict.fromkeys((node("view", name), of) for name in view["views"])
        for request in view["requests"]:
            asked = node("source", f"request:{request['name']}", request["name"], "comes with the request")
            edges[asked, of] = None
    computed = {view["name"] for view in defined["on_demand"]}
    for service in defined["services"]:
        of = node("service", service["name"])
        for name in service["views"]:
            edges[node("on-demand" if name in computed else "view", name), of] = None
    return {"nodes": list(nodes.values()), "edges": [list(edge) for edge in edges]}


def _sources(source: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield source
    if source["batch"] is not None:
        yield from _sources(source["batch"])


def _name(source: Mapping[str, Any]) -> str:
    """Return a name that two sources share only when they are the same place, or no place: rows that producers write."""
    if source["kind"] == "written":
        return "written"
    place = hashlib.sha256(source["where"].encode()).hexdigest()[:8]
    return f"{source['kind']}:{source['label']}:{place}"
