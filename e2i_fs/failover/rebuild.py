"""Making one backend's rows of a view anew: from all the writes there ever were, or as a copy of a verified backend's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from e2i_fs.backend import Backend, Copyable
from e2i_fs.catalog import Catalog, breaking_views
from e2i_fs.entries import Entry, Perform, widened
from e2i_fs.errors import BackendDataError, E2IError, UnsupportedError
from e2i_fs.failover.breaker import Liveness
from e2i_fs.failover.facts import Fault
from e2i_fs.failover.journal import Journal
from e2i_fs.failover.member import Member
from e2i_fs.failover.parity import Parity
from e2i_fs.routing import change_catalog, end_loss, loss_of, stored_kind

__all__ = ["Rebuilder", "copy_rows"]

T = TypeVar("T")

_AGAIN = "its rows were lost again while they were made anew"


class _NotGivenError(Exception):
    """The backend that was to be copied did not give its rows away: why."""


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
        if own.has(view) and own.fingerprint(view) != authority.fingerprint(view):
            return "its definition is not the expected one; apply it"
        if not own.has(view):  # an earlier rebuild was cut short after it dropped the view
            self._define(member, backend, authority)
        problem: str | None = None
        peer = self._peer(member, view)
        if peer is not None:
            upto = self._journal.standing(peer.name, view).position
            if fault == "differs":
                self._drop(member, view, backend, authority)
            loss = loss_of(backend, view)
            try:
                self._copy(peer, view, backend)
            except _NotGivenError as error:
                problem = str(error)
            else:
                if not end_loss(backend, view, loss):
                    return _AGAIN
        if peer is None or problem is not None:
            gap = self._journal.gap(view)
            if gap is not None:
                return (
                    f"{gap}, and {problem or 'no other backend is verified and can copy its rows'}. Materialise the view, write "
                    "again what was only pushed, then readmit the backend"
                )
            upto = self._settled(view)
            try:
                problem = self._do_again(member, view, upto, backend, authority)
            except BackendDataError as error:
                problem = str(error)
            if problem is not None:
                return problem
        self._journal.rebuilt(member.name, view, upto, backend.position(view).sequence)
        return None

    def _settled(self, view: str) -> int:
        """Return the number of the last write before the first that is under way: that one may yet be said not to be done."""
        head = self._journal.head(view)  # first: a write that is begun after is not counted as settled
        facts = self._journal.facts()
        busy = [
            each.seq
            for (_, name), rows in facts.behind.items()
            for each in rows.under_way
            if name == view and facts.busy(each.writer)
        ]
        return min([head, *(seq - 1 for seq in busy)])

    def _do_again(self, member: Member, view: str, upto: int, backend: Backend, authority: Catalog) -> str | None:
        """Do every write up to ``upto`` again, on nothing; return why not, or None."""
        if stored_kind(authority.views[view]) is not None:
            backend.scan(view, list(authority.views[view].features))  # what cannot be read again must not be dropped
        self._drop(member, view, backend, authority)
        todo = [seq for seq in self._journal.history(view) if seq <= upto]
        gap = self._journal.gap(view)  # after the list was made, so that it is known to be the whole
        for seq in todo if gap is None else ():
            entry = self._journal.entry(seq)
            if entry is None:
                gap = f"write {seq} went from the journal meanwhile"
                break
            self._perform(entry, member.name, backend)
        return gap if gap is not None or end_loss(backend, view, 0) else _AGAIN

    def _drop(self, member: Member, view: str, backend: Backend, authority: Catalog) -> None:
        change_catalog(backend, lambda kept: kept.dropping("view", view))
        self._define(member, backend, authority)

    def _define(self, member: Member, backend: Backend, authority: Catalog) -> None:
        """Give the backend the definitions that count; it must not answer for a view of which it thereby has no rows."""
        own = backend.definitions()
        for view in {*(view for view in authority.views if not own.has(view)), *breaking_views(own, authority)}:
            self._journal.quarantine(
                member.name, view, "lost", "it had lost the view, and its rows have not been rebuilt"
            )
        change_catalog(backend, lambda kept: kept.holding(authority))

    def check_last_resort(self, name: str, views: Sequence[str]) -> None:
        """Raise `UnsupportedError` for a view that can be made anew without `from_sources`, which may lose rows or find others."""
        member = next(m for m in self._members if m.name == name)
        for view in views:
            peer = self._peer(member, view)
            if peer is not None:
                raise UnsupportedError(
                    f"View {view!r} can be copied from {peer.name!r}, which has every write. Rebuilt from its sources it could get other "
                    "rows, and both would answer. Rebuild it without from_sources (--from-sources). Nothing was done."
                )

    def from_sources(self, member: Member, view: str, backend: Backend) -> str | None:
        """Do every kind of run again and every write that is kept: all that can be had when some rows are nowhere."""
        authority = self._authority()
        if authority is None or view not in authority.views:
            return "no backend that is up says how it is defined"
        if not backend.definitions().has(view):
            return "it does not know the view; apply it"
        upto, loss = self._journal.head(view), loss_of(backend, view)
        kept = [entry for seq in self._journal.history(view) if (entry := self._journal.entry(seq)) is not None]
        everything = {"mode": "full", "start_us": None, "end_us": self._now_us()}
        if authority.views[view].online and not any(
            entry.is_run and entry.details["start_us"] is None for entry in kept
        ):
            self._perform(Entry(view, "materialize:None", "rebuild", "", everything), member.name, backend)
        for entry in kept:
            self._perform(entry, member.name, backend)
        if not end_loss(backend, view, loss):
            return _AGAIN
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
        copy_rows(source, view, backend, lambda pieces: _given(peer, pieces))


def copy_rows(
    source: Copyable, view: str, backend: Backend, given: Callable[[Iterable[Any]], Iterable[Any]] = iter
) -> int:
    """Write all that ``source`` has of ``view`` to ``backend``, and return how many rows it gave; twice is as once.

    Batches of history keep their ids (W-2), and online rows are merged (O-1), so what is there already does no harm.
    ``given`` goes over what the source gives, to tell its errors from those of ``backend``.
    """
    rows_given = 0
    if backend.capabilities.append:
        own = backend.definitions()
        for batch_id, rows in given(source.batches(view)):
            backend.append(view, widened(rows, own.view(view), own.join_keys(view)), batch_id=batch_id)
            rows_given += len(rows)
    for keys, rows_online, at_us in given(source.online_rows(view)):
        backend.online_write(view, keys, rows_online, at_us=at_us)
        rows_given += len(rows_online)
    return rows_given


def _given(peer: Member, pieces: Iterable[T]) -> Iterator[T]:
    """Yield what ``peer`` gives; an error of its own is not one of the backend that takes."""
    try:
        yield from pieces
    except E2IError as error:
        raise _NotGivenError(f"{peer.name!r} did not give its rows away ({error})") from error
