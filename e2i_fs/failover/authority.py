"""Whose definitions count: the primary's, or the last that were seen of it while it is away (R-1, X-4)."""

from __future__ import annotations

import json

from e2i_fs.catalog import Catalog, breaking_views
from e2i_fs.failover.journal import Journal
from e2i_fs.failover.member import Member
from e2i_fs.ops.ledger import Ledger

__all__ = ["Authority", "as_it_counts"]


def as_it_counts(authority: Catalog | None, own: Catalog, view: str) -> bool:
    """Return whether a backend with the definitions ``own`` has ``view`` as it counts, where that is known."""
    if authority is None or view not in authority.views:
        return True
    return own.has(view) and own.fingerprint(view) == authority.fingerprint(view)


class Authority:
    """The catalogue that counts, remembered durably for when the primary is away or has lost everything.

    It is the one place that learns of a new catalogue, so what a change has dropped is forgotten with it, whoever made
    the change and wherever that was cut short.
    """

    def __init__(self, ledger: Ledger, journal: Journal) -> None:
        self._ledger = ledger
        self._journal = journal
        self._remembered: Catalog | None = None
        self._version: tuple[int, int] = (-1, -1)

    def of(self, member: Member, own: Catalog, version: tuple[int, int] | None = None) -> Catalog:
        """Return it, when ``member`` says that its own catalogue is ``own``."""
        known = self.last(version)
        if member.role == "primary" and (known is None or not self.lacking(own, known)):
            self.remember(own)
            return own
        # A standby, or a primary that is not what it was: what was last seen of a whole primary counts.
        return known or own

    def lacking(self, own: Catalog, known: Catalog) -> list[str]:
        """Return the views of ``known`` that a primary with the definitions ``own`` has no rows of any more.

        It lacks a view, or has it in a form that cannot hold the rows, and nobody changed it so here: an older copy of the
        primary was put back, say.
        """
        if own.revision == known.revision:
            return []
        changed = breaking_views(known, own)
        intended = self._journal.intended() if changed else {}
        return [
            view
            for view in known.views
            if view not in own.views or (view in changed and intended.get(view) != own.fingerprint(view))
        ]

    def last(self, version: tuple[int, int] | None = None) -> Catalog | None:
        """Return what was last seen of a whole primary, None when there never was one; ``version`` is the records'."""
        version = self._ledger.records.version() if version is None else version
        if version != self._version:
            revision = self._ledger.note("catalog revision")
            if revision is None:
                return None
            if self._remembered is None or self._remembered.revision != revision:
                self._remembered = Catalog.from_json(self._ledger.note("catalog"))
            self._version = version
        return self._remembered

    def remember(self, catalog: Catalog) -> None:
        """Keep what was seen of a whole primary, and forget the writes that its changes have dropped."""
        if self._remembered is not None and self._remembered.revision == catalog.revision:
            return
        before = self.last() or Catalog()
        if before.revision != catalog.revision or self._ledger.note("catalog revision") is None:
            notes = {
                "catalog": catalog.to_json(),
                "catalog revision": catalog.revision,
                "catalog views": len(catalog.views),
            }
            self._journal.defined(
                {name: json.dumps(value) for name, value in notes.items()},
                anew=list(breaking_views(before, catalog)),
                gone=[view for view in before.views if view not in catalog.views],
                fingerprints={view: catalog.fingerprint(view) for view in catalog.views},
            )
        self._remembered = catalog
