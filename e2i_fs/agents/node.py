"""What makes a component a node of a graph: it reads a mapping, and gives an update of the keys that it declares.

LangGraph drops an undeclared key without a word, so a node says what it reads and writes, and `check_state` holds a
state's schema against that. Nothing here imports LangGraph: any object that is called with a state will do.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from e2i_fs.agents.bridge import in_thread, sync_face
from e2i_fs.errors import ConfigError, StateKeyError, did_you_mean
from e2i_fs.protocol import AsyncFeatureStore, FeatureStore

__all__ = ["Node"]


class Node(ABC):
    """A component that can be added to a graph as a node: ``graph.add_node("prepare", component)``.

    It is called with the state and returns an update of it. Each role has a state key of the same name unless ``keys``
    gives it another, as in ``keys={"frame": "validated_rows"}``; an unknown role is a `ConfigError` that names the
    nearest. The state must have the keys of the roles in ``NEEDS``, may have those in ``TAKES``, and the update has
    those in ``GIVES``.

    >>> from e2i_fs.agents import ContextEnricher, Node
    >>> from e2i_fs.testing import example_store
    >>> with example_store() as store:
    ...     _ = store.materialize_incremental()
    ...     node = ContextEnricher(store, ["hcp_stats:trx_count"], keys={"enriched_contexts": "contexts"})
    ...     node.check_state(["contexts", "enrichment"])  # nothing lacks
    ...     node({"contexts": {"hcp_id": "hcp_1"}})["contexts"]
    {'hcp_id': 'hcp_1', 'trx_count': 14}
    >>> isinstance(node, Node), node.reads, node.writes
    (True, ('contexts',), ('contexts', 'enrichment'))
    """

    NEEDS: ClassVar[tuple[str, ...]] = ()
    TAKES: ClassVar[tuple[str, ...]] = ()
    GIVES: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        store: FeatureStore | AsyncFeatureStore,
        keys: Mapping[str, str] | None,
        *,
        needs: tuple[str, ...] | None = None,
    ) -> None:
        self._store = sync_face(store)
        self._needs = self.NEEDS if needs is None else needs
        self._keys = self._named({} if keys is None else keys)

    def _named(self, keys: Mapping[str, str]) -> dict[str, str]:
        who = type(self).__name__
        roles = (*self.NEEDS, *self.TAKES, *self.GIVES)
        for role, key in keys.items():
            if role not in roles:
                raise ConfigError(f"{who}: keys names the unknown role {role!r}.{did_you_mean(str(role), roles)}")
            if not isinstance(key, str) or not key:
                raise ConfigError(f"{who}: keys[{role!r}] is {key!r}; give the name of a state key.")
        named = {role: keys.get(role, role) for role in roles}
        for group in ((*self.NEEDS, *self.TAKES), self.GIVES):
            taken: dict[str, str] = {}
            for role in group:
                other = taken.setdefault(named[role], role)
                if other != role:
                    raise ConfigError(f"{who}: the roles {other!r} and {role!r} would share the key {named[role]!r}.")
        return named

    @property
    def reads(self) -> tuple[str, ...]:
        """The state keys that the node needs."""
        return tuple(self._keys[role] for role in self._needs)

    @property
    def writes(self) -> tuple[str, ...]:
        """The state keys of the update, all of them always present."""
        return tuple(self._keys[role] for role in self.GIVES)

    def check_state(self, schema: Any) -> None:
        """Raise `StateKeyError` unless a state's schema declares every key of `reads` and `writes`.

        ``schema`` is a ``TypedDict``, a dataclass, a pydantic model, a mapping or a list of names. Call it when the
        graph is built, since LangGraph silently drops undeclared keys.
        """
        declared = _declared(schema)
        lacking = [key for key in dict.fromkeys((*self.reads, *self.writes)) if key not in declared]
        if lacking:
            said = "; ".join(f"{key!r} is not declared.{did_you_mean(key, declared)}" for key in lacking)
            raise StateKeyError(
                f"{type(self).__name__}: the state lacks what the node reads or writes, and a graph drops undeclared keys "
                f"without a word: {said} Declare it, or rename it with keys=."
            )

    def __call__(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """Return the update of a state. Raises `StateKeyError` naming a key that is not there, and what the work raises."""
        return self._update(self._inputs(state))

    async def acall(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """Do the same as a call of the node, awaited, without blocking the event loop."""
        inputs = self._inputs(state)
        return await in_thread(self._update, inputs)

    @abstractmethod
    def _work(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the roles of `GIVES` become, from the values of `NEEDS` and `TAKES`."""

    def _inputs(self, state: Mapping[str, Any]) -> dict[str, Any]:
        if not isinstance(state, Mapping):
            raise StateKeyError(
                f"{type(self).__name__}: the state is a {type(state).__name__}; give a mapping, as a TypedDict is."
            )
        for role in self._needs:
            key = self._keys[role]
            if key not in state:
                raise StateKeyError(
                    f"{type(self).__name__}: the state has no key {key!r}, which the node reads as its {role}."
                    f"{did_you_mean(key, map(str, state))} Put it there first, or say with keys= where it is."
                )
        roles = [role for role in (*self.NEEDS, *self.TAKES) if self._keys[role] in state]
        return {role: state[self._keys[role]] for role in roles}

    def _update(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        made = self._work(inputs)
        return {self._keys[role]: made[role] for role in self.GIVES}


def _declared(schema: Any) -> frozenset[str]:
    if isinstance(schema, type):
        return frozenset(name for base in schema.__mro__ for name in inspect.get_annotations(base))
    if isinstance(schema, str) or not isinstance(schema, Iterable):
        raise ConfigError(f"check_state({schema!r}): give the class of the state, or the names of its keys.")
    return frozenset(map(str, schema))
