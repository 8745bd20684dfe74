"""Changing the catalogue of several backends: all of them or none, the primary's always the one that counts (R-1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from e2i_fs.catalog import Catalog, breaking_views
from e2i_fs.config import FailoverConfig
from e2i_fs.failover.authority import Authority
from e2i_fs.failover.journal import Journal
from e2i_fs.failover.member import Member
from e2i_fs.failover.replay import Recovery
from e2i_fs.forks import RenewedLock
from e2i_fs.routing import change_catalog, check_capabilities, stored_kind

__all__ = ["Changer"]


class Changer:
    """Applies a change to every member. All must be up and able to keep it, else nothing is changed."""

    def __init__(
        self, members: Sequence[Member], journal: Journal, authority: Authority, recovery: Recovery, config: FailoverConfig
    ) -> None:  # fmt: skip
        self._members = members
        self._journal = journal
        self._authority = authority
        self._recovery = recovery
        self._config = config
        self._lock = RenewedLock()

    def change(self, to: Callable[[Catalog], Catalog], removed: tuple[str, str] | None) -> None:
        """Change every catalogue.

        The standbys are changed first: whatever stops the work half way, the primary's catalogue still counts, and
        a standby whose definitions are ahead of it does not answer. Doing it again completes it.
        """
        with self._lock:
            for member in self._members:
                limit = max(1.0, self._config.deadline)
                member.call(lambda backend, limit=limit: backend.ping(limit), limit)  # type: ignore[misc]
            primary = self._members[0]
            own = primary.backend.definitions()
            known = self._authority.of(primary, own)

            def changed(own: Catalog) -> Catalog:
                lost = self._authority.lacking(own, known)
                return to(own.holding(known) if lost else own)  # a primary that lost views gets them back

            for view in self._authority.lacking(own, known):
                why = "it had lost the view, and its rows have not been rebuilt"
                self._recovery.quarantine(primary, view, "lost", why)
            wanted = changed(primary.backend.definitions())
            for standby in self._members[1:]:
                own = standby.backend.definitions()
                check_capabilities(standby.backend.capabilities, own, own.holding(wanted))
            without_rows = {*breaking_views(known, wanted), *(view for view in wanted.views if view not in known.views)}
            self._journal.intend({view: wanted.fingerprint(view) for view in sorted(without_rows)})
            while True:
                before = primary.backend.definitions()
                for standby in self._members[1:]:
                    self._change_standby(standby, known, before, wanted, removed)
                change_catalog(primary.backend, changed)
                now = primary.backend.definitions()
                if now.revision == wanted.revision:
                    break
                wanted = now  # somebody else applied as well: the standbys take up theirs too
            self._authority.remember(wanted)

    def _change_standby(
        self, standby: Member, known: Catalog, before: Catalog, wanted: Catalog, removed: tuple[str, str] | None
    ) -> None:
        """Give a standby the wanted catalogue. Of a view that it gets late it lacks the rows, and that is noted."""
        own = standby.backend.definitions()
        gone = [("view", view) for view in wanted.views if own.has(view) and not known.has(view)]
        for kind, name in [*gone, *([removed] if removed else [])]:
            # Rows of a view that was deleted must not come back with a view of its name.
            change_catalog(standby.backend, lambda kept, k=kind, n=name: kept.dropping(k, n))  # type: ignore[misc]
        own = standby.backend.definitions()
        fresh = {*breaking_views(before, wanted), *(view for view in wanted.views if view not in before.views)}
        late = {view for view in wanted.views if view not in own.views} | set(breaking_views(own, wanted))
        for view in sorted(late - fresh):
            if self._holds_rows(view):
                self._recovery.quarantine(
                    standby,
                    view,
                    "late",
                    f"it was added later and has not been rebuilt: `e2i-fs rebuild {standby.name}`",
                )
        change_catalog(standby.backend, lambda kept: kept.holding(wanted))

    def _holds_rows(self, view: str) -> bool:
        """Return whether there are rows of a view that do not lie in its own source: the primary's, or written ones."""
        if self._journal.head(view):
            return True
        backend = self._members[0].backend
        definition = backend.definitions().view(view)
        parts = backend.scan(view, [f.name for f in definition.schema])
        own = 0 if stored_kind(definition) is None else 1
        return backend.position(view).sequence > 0 or len(parts) > own
