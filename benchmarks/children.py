"""Where the processes of contenders come from: a new one for each race, or few that become one after the other."""

from __future__ import annotations

from typing import Any

from benchmarks.child import Child

__all__ = ["Children"]


class Children:
    """Gives races their processes, and takes them back.

    ``shared`` spares the imports, which take longer than small races do: who ends a race waits to become a contender of the next, of
    Feast if it was one, else of its own class. The most memory is then counted from what stood before.
    """

    def __init__(self, *, shared: bool = False) -> None:
        self._shared = shared
        self._waiting: dict[str, list[Child]] = {}
        self._kinds: dict[Child, str] = {}

    def child(self, what: str, given: dict[str, Any]) -> Child:
        """Return a process that is about to be the contender ``what``; wait for it with its `ready`."""
        kind = "Feast" if ":Feast" in what or given.get("backend") == "feast" else what
        while waiting := self._waiting.get(kind):
            child = waiting.pop()
            if child.lives:
                child.become(what, given)
                return child
            child.end()
        child = Child(what, given)
        self._kinds[child] = kind
        return child

    def give_back(self, child: Child) -> None:
        """Take the process of a race that is over."""
        if self._shared and child.lives:
            self._waiting.setdefault(self._kinds[child], []).append(child)
        else:
            child.end()

    def close(self) -> None:
        """Let all go that wait."""
        waiting = [child for children in self._waiting.values() for child in children]
        for step in (Child.let_go, Child.end):
            for child in waiting:
                step(child)
        self._waiting.clear()
