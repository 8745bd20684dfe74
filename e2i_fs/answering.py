"""An online read from the question to the answer, independent of who keeps the rows. Read `OnlineQuestion`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from e2i_fs.backend import Backend
from e2i_fs.catalog import Catalog
from e2i_fs.clock import Clock, from_us, tells_us
from e2i_fs.config import Config
from e2i_fs.definitions import FeatureService
from e2i_fs.lookup import EntityRows, Found, assemble, look_up, newest_event, same_rows
from e2i_fs.prepared import Prepared, prepared
from e2i_fs.question import Answered
from e2i_fs.results import OnlineResult, Provenance
from e2i_fs.routing import Router

__all__ = ["Answering"]


class Answering:
    """Answers online reads through a router. Safe to share between threads: it keeps nothing of a read."""

    def __init__(self, clock: Clock, config: Config) -> None:
        self._now_us = tells_us(clock)
        self._reject_naive = config.reject_naive

    def answer(
        self,
        router: Router,
        features: Sequence[str] | FeatureService | str,
        entity_rows: Any,
        full_feature_names: bool,
        *,
        strict: bool,
    ) -> tuple[Answered[Prepared, Found], OnlineResult]:
        """Return the answer to an online request, and what is known of it; see `Store.get_online_features`."""
        rows = EntityRows.checked(entity_rows, reject_naive=self._reject_naive)
        answered = router.ask(OnlineQuestion(features, rows, full_feature_names, strict, self._now_us))
        return answered, assemble(answered.query, rows, answered.value, partial(_dated, answered))


class OnlineQuestion:
    """A `e2i_fs.question.Question` for the newest rows of checked entity rows. One is made for each read."""

    __slots__ = ("_features", "_full_feature_names", "_now_us", "_rows", "strict")

    kind, told = "online", True

    def __init__(
        self,
        features: Sequence[str] | FeatureService | str,
        rows: EntityRows,
        full_feature_names: bool,
        strict: bool,
        now_us: Callable[[], int],
    ) -> None:
        self._features = features
        self._rows = rows
        self._full_feature_names = full_feature_names
        self.strict = strict
        self._now_us = now_us

    def prepare(self, catalog: Catalog) -> Prepared:
        """Return the request, resolved; raise if the entity rows do not have what it needs (P-9, P-11)."""
        asked = prepared(catalog, self._features, full_feature_names=self._full_feature_names)
        self._rows.require(asked)
        return asked

    def views(self, asked: Prepared) -> Sequence[str]:
        """Return the names of all views read or run."""
        return asked.touched

    def answer(self, backend: Backend, catalog: Catalog, asked: Prepared) -> Found:
        """Return what stands online now."""
        return look_up(backend, catalog, asked, self._rows, now_us=self._now_us())

    def same(self, one: Found, other: Found) -> bool:
        """Return whether two lookups found the same rows (X-10)."""
        return same_rows(one, other)

    def again(self, backend: Backend, catalog: Catalog, asked: Prepared, before: Found) -> Found:
        """Return what stands online at the moment of a lookup before."""
        return look_up(backend, catalog, asked, self._rows, now_us=before.now_us)

    def sequences(self, found: Found) -> Callable[[], Mapping[str, int]] | None:
        """Return what tells the sequence of each view's position, None where the backend did not give it along."""
        return found.sequences if found.counted else None


def _dated(answered: Answered[Prepared, Found]) -> Provenance:
    """Return the provenance of an answer with its age: at the moment of the answer, of the newest row found."""
    newest = newest_event(answered.value)
    if newest is None:
        return answered.provenance
    return replace(answered.provenance, age=from_us(answered.value.now_us) - from_us(newest))
