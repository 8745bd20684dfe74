"""An online read from the question to the answer, independent of who keeps the rows. Read `Answering.answer`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from operator import attrgetter
from typing import Any

from e2i_fs.backend import Backend
from e2i_fs.catalog import Catalog
from e2i_fs.clock import Clock, from_us, to_us
from e2i_fs.config import Config
from e2i_fs.definitions import FeatureService
from e2i_fs.lookup import EntityRows, Found, assemble, look_up, newest_event, same_rows
from e2i_fs.prepared import Prepared, prepared
from e2i_fs.question import Answered, Question
from e2i_fs.results import OnlineResult, Provenance
from e2i_fs.routing import Router

__all__ = ["Answering"]

_TOUCHED = attrgetter("touched")


class Answering:
    """Answers online reads through a router. Safe to share between threads: it keeps nothing of a read."""

    def __init__(self, clock: Clock, config: Config) -> None:
        self._clock = clock
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

        def prepare(catalog: Catalog) -> Prepared:
            asked = prepared(catalog, features, full_feature_names=full_feature_names)
            rows.require(asked)
            return asked

        def read(backend: Backend, catalog: Catalog, asked: Prepared) -> Found:
            return look_up(backend, catalog, asked, rows, now_us=to_us(self._clock.now()))

        def again(backend: Backend, catalog: Catalog, asked: Prepared, before: Found) -> Found:
            return look_up(backend, catalog, asked, rows, now_us=before.now_us)

        question = Question("online", prepare, _TOUCHED, read, same_rows, again, strict, True, _sequences)
        answered = router.ask(question)
        found = answered.value
        return answered, assemble(answered.query, rows, found, partial(_dated, answered))


def _sequences(found: Found) -> Callable[[], Mapping[str, int]] | None:
    return found.sequences if found.counted else None


def _dated(answered: Answered[Prepared, Found]) -> Provenance:
    """Return the provenance of an answer with its age: at the moment of the answer, of the newest row found."""
    newest = newest_event(answered.value)
    if newest is None:
        return answered.provenance
    return replace(answered.provenance, age=from_us(answered.value.now_us) - from_us(newest))
