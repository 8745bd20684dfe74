"""Making one backend's rows of a view anew: from all the writes there ever were, or as a copy of a verified backend's."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from e2i_fs.backend import Backend, Copyable
from e2i_fs.catalog import Catalog
from e2i_fs.entries import Entry, Perform, widened
from e2i_fs.errors import E2IError
from e2i_fs.failover.breaker import Liveness
from e2i_fs.failover.facts import Fault
from e2i_fs.failover.journal import Journal
from e2i_fs.failover.member import Member
from e2i_fs.failover.parity import Parity
from e2i_fs.routing import change_catalog

__all__ = ["Rebuilder"]


class Rebuilder:
    """Rebuilds views. ``authority`` gives the catalogue that counts."""

    def __init__(
        self, members: Sequence[Member], journal: Journal, perform: Perform, authority: Callable[[], Catalog | None],
        now_us: Callable[[], int],
    ) -> None:  # fmt: skip
        self._members = members
        self._journal = journal
        self._perform = perform
        self._authority = authority
        self._now_us = now_us

    def rebuild(self, member: Member, view: str, fault: Fault, backend: Backend) -> str | None:
        """Make the rows of ``view`` anew on ``backend`` and end its quarantine; return why not, or None.

        What is written meanwhile is missed, and replayed after. A verified backend that can be copied is the first choice:
        it says how things are. The journal says how they came to be, so what is left of the rows is dropped before it is
        replayed: a run must not find in history what was written after it. Rows that differ are dropped in any case.
        """
        authority = self._authority()
        if authority is None or view not in authority.views:
            return "no backend that is up says how it is defined"
        own = backend.definitions()
        if not own.has(view) or own.fingerprint(view) != authority.fingerprint(view):
            return "its definition is not the expected one; apply it"
        peer = self._peer(member, view)
        gap = self._journal.gap(view)
        if gap is not None and peer is None:
            return (
                f"{gap}, and no other backend is verified and can copy its rows. Materialise the view, write again what was "
                "only pushed, then readmit the backend"
            )
        if fault == "differs" or peer is None:
            change_catalog(backend, lambda kept: kept.dropping("view", view))
            change_catalog(backend, lambda kept: kept.holding(authority))
        upto = self._journal.head(view) if peer is None else self._journal.standing(peer.name, view).position
        if peer is not None:
            self._copy(peer, view, backend)
        else:
            for seq in self._journal.history(view):
                entry = self._journal.entry(seq) if seq <= upto else None
                if entry is not None:
                    self._perform(entry, member.name, backend)
        self._journal.rebuilt(member.name, view, upto, backend.position(view).sequence)
        return None

    def from_sources(self, member: Member, view: str, backend: Backend) -> str | None:
        """Do every kind of run again and every write that is kept: all that can be had when some rows are nowhere."""
        authority = self._authority()
        if authority is None or view not in authority.views:
            return "no backend that is up says how it is defined"
        if not backend.definitions().has(view):
            return "it does not know the view; apply it"
        upto = self._journal.head(view)
        kept = [entry for seq in self._journal.history(view) if (entry := self._journal.entry(seq)) is not None]
        everything = {"mode": "full", "start_us": None, "end_us": self._now_us()}
        if authority.views[view].online and not any(
            entry.is_run and entry.details["start_us"] is None for entry in kept
        ):
            self._perform(Entry(view, "materialize:None", "rebuild", "", everything), member.name, backend)
        for entry in kept:
            self._perform(entry, member.name, backend)
        self._journal.rebuilt(member.name, view, upto, backend.position(view).sequence)
        return None

    def _peer(self, member: Member, view: str) -> Member | None:
        """Return another backend that is up, has every write, and can copy."""
        for other in self._members:
            if other is member or other.breaker.state is not Liveness.CLOSED:
                continue
            if self._journal.standing(other.name, view).parity is not Parity.VERIFIED:
                continue
            try:
                if other.backend.capabilities.copyable and self._has_all(other, view):
                    return other
            except E2IError:
                continue
        return None

    def _has_all(self, other: Member, view: str) -> bool:
        """Look whether it has lost rows too, which nobody may have noticed yet."""
        return self._journal.reached(other.name, view) <= other.backend.position(view).sequence

    def _copy(self, peer: Member, view: str, backend: Backend) -> None:
        source = peer.backend
        assert isinstance(source, Copyable)
        if backend.capabilities.append:
            own = backend.definitions()
            for batch_id, rows in source.batches(view):
                backend.append(view, widened(rows, own.view(view), own.join_keys(view)), batch_id=batch_id)
        for keys, rows_online, at_us in source.online_rows(view):
            backend.online_write(view, keys, rows_online, at_us=at_us)
