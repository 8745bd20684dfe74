"""Features fetched before the model is called, merged into what the caller knows, each value with where it is from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Literal

from e2i_fs.agents.bridge import in_thread
from e2i_fs.agents.contexts import contexts_of, entity_rows
from e2i_fs.agents.merging import Conflict, Origin, Prefer, merge
from e2i_fs.agents.node import Node
from e2i_fs.agents.options import hours, one_of
from e2i_fs.agents.registered import catalog_of
from e2i_fs.agents.staleness import stale_contexts, stale_words, too_old
from e2i_fs.catalog import Catalog
from e2i_fs.clock import Clock, as_clock
from e2i_fs.definitions import FeatureService
from e2i_fs.errors import (
    BackendError,
    BackendUnavailableError,
    ConfigError,
    DeadlineExceededError,
    FailoverError,
    InvalidEntityFrameError,
    QualityGateBlockedError,
    ThrottledError,
    did_you_mean,
)
from e2i_fs.frozen import FrozenMap
from e2i_fs.keys import key_type_words
from e2i_fs.ops.freshness import FreshnessReport
from e2i_fs.protocol import AsyncFeatureStore, FeatureStore
from e2i_fs.request import Request, resolve
from e2i_fs.results import FeatureStatus, OnlineResult, Provenance

__all__ = ["ContextEnricher", "Enrichment"]

_AWAY = (BackendUnavailableError, DeadlineExceededError, ThrottledError, FailoverError)


@dataclass(frozen=True)
class Enrichment:
    """The contexts with their features, in the order given (O-5), and where each value came from.

    ``origins`` says, for each feature name and row, whether the value is ``"given"``, the ``"store"``'s, or
    ``"missing"``. ``statuses`` and ``event_timestamps`` are the store's, by ``view:feature``. ``fetched`` is False when
    the store could not be asked: then ``reason`` says why, and the contexts are as given. ``freshness`` is by view,
    judged by ``max_staleness_hours`` if that was set. ``warnings`` lists a degraded answer, stale features, and keys of
    another type than the join key, which match nothing (P-7).

    >>> from e2i_fs.agents import ContextEnricher
    >>> from e2i_fs.testing import example_store
    >>> with example_store() as store:
    ...     _ = store.materialize_incremental()
    ...     made = ContextEnricher(store, "hcp_model").enrich([{"hcp_id": "hcp_1"}, {"hcp_id": "hcp_2"}])
    >>> made.contexts[1], made.origins["engagement"]
    ({'hcp_id': 'hcp_2', 'trx_count': 3, 'engagement': None}, ['store', 'missing'])
    """

    contexts: tuple[Mapping[str, Any], ...]
    fetched: bool
    reason: str | None = None
    origins: Mapping[str, Sequence[Origin]] = field(default_factory=FrozenMap)
    statuses: Mapping[str, Sequence[FeatureStatus]] = field(default_factory=FrozenMap)
    event_timestamps: Mapping[str, Sequence[datetime | None]] = field(default_factory=FrozenMap)
    conflicts: tuple[Conflict, ...] = ()
    freshness: Mapping[str, FreshnessReport] = field(default_factory=FrozenMap)
    warnings: tuple[str, ...] = ()
    provenance: Provenance | None = None

    @property
    def context(self) -> Mapping[str, Any]:
        """The only context. Raises `InvalidEntityFrameError` when there are several."""
        if len(self.contexts) != 1:
            raise InvalidEntityFrameError(f"There are {len(self.contexts)} contexts; read them from .contexts.")
        return self.contexts[0]

    @property
    def degraded(self) -> bool:
        """Whether the answer may differ from the contract's: it is degraded, or no backend answered (X-7)."""
        return self.provenance is None or self.provenance.degraded

    @property
    def served_by(self) -> str | None:
        """The backend that answered, None when none did."""
        return None if self.provenance is None else self.provenance.served_by


class ContextEnricher(Node):
    """Fetches online features for contexts before a model is called, in one read for all of them.

    A context is a mapping with the join keys and anything else that is known, perhaps a feature under its output name.
    If a feature is both given and in the store, ``prefer`` says which value to use, and ``overrides`` says so for
    single features. A missing value, whatever its status, never replaces a given one, and labels are never served
    (P-12). A given None, NaN, NaT or pandas NA counts as missing: the store's value is used, else None.

    ``stale="warn"`` adds a warning for stale features, ``"block"`` raises `QualityGateBlockedError`, ``"ignore"`` does
    not check. A view is stale when its freshness is STALE, EXPIRED or UNKNOWN by ``max_staleness_hours`` (None: each
    view's own ``max_staleness``), or cannot be checked (F-2). One context's values are also stale when the row behind
    them is older than that, however fresh the rest of the view is. When no backend answers, ``on_unavailable="given"``
    returns the contexts as given and says so, ``"raise"`` raises; any other error is always raised. ``strict`` refuses
    a degraded answer (X-7). ``keys`` renames the state keys, see `Node`.

    As a node it reads ``contexts`` (one mapping or a list) and returns ``enriched_contexts`` (in the same form) and
    ``enrichment``.

    >>> from e2i_fs import Entity, FeatureView, Field, Int64
    >>> from e2i_fs.agents import ContextEnricher
    >>> from e2i_fs.testing import memory_store
    >>> view = FeatureView("hcp", entities=[Entity("hcp_id")], schema=[Field("trx_count", Int64)])
    >>> answer = ContextEnricher(memory_store(view), ["hcp:trx_count"]).enrich({"hcp_id": "a", "trx_count": 3})
    >>> answer.context["trx_count"], answer.origins["trx_count"], answer.statuses["hcp:trx_count"][0].name
    (3, ['given'], 'NOT_FOUND')
    """

    NEEDS: ClassVar[tuple[str, ...]] = ("contexts",)
    GIVES: ClassVar[tuple[str, ...]] = ("enriched_contexts", "enrichment")

    def __init__(
        self,
        store: FeatureStore | AsyncFeatureStore,
        features: Sequence[str] | FeatureService | str,
        *,
        prefer: Prefer = "given",
        overrides: Mapping[str, Prefer] | None = None,
        stale: Literal["warn", "block", "ignore"] = "warn",
        max_staleness_hours: float | None = None,
        on_unavailable: Literal["raise", "given"] = "raise",
        strict: bool = False,
        full_feature_names: bool = False,
        keys: Mapping[str, str] | None = None,
        clock: Clock | Callable[[], datetime] | None = None,
    ) -> None:
        super().__init__(store, keys)
        self._features = features
        self._prefer: Prefer = one_of(prefer, ("given", "store"), "prefer")
        self._overrides: dict[str, Prefer] = {
            name: one_of(choice, ("given", "store"), f"overrides[{name!r}]")
            for name, choice in (overrides or {}).items()
        }
        self._stale = one_of(stale, ("warn", "block", "ignore"), "stale")
        self._limit = hours(max_staleness_hours, "max_staleness_hours")
        self._on_unavailable = one_of(on_unavailable, ("raise", "given"), "on_unavailable")
        self._strict = strict
        self._full_names = full_feature_names
        self._clock = as_clock(clock)

    def enrich(self, contexts: Mapping[str, Any] | Sequence[Mapping[str, Any]] | Any) -> Enrichment:
        """Return an `Enrichment` of one context, a list of them, or a frame.

        Raises `InvalidEntityFrameError` for no contexts, or one without a join key; `QualityGateBlockedError` for stale
        features under ``stale="block"``; and the store's error when it cannot answer under ``on_unavailable="raise"``.
        """
        given = contexts_of(contexts)
        try:
            catalog = catalog_of(self._store)
            request = resolve(catalog, self._features, full_feature_names=self._full_names)
            self._check_overrides([output.name for output in request.outputs])
            rows = entity_rows(given, (*request.join_keys, *request.columns))
            answer = self._store.get_online_features(
                self._features, rows, full_feature_names=self._full_names, strict=self._strict
            )
        except _AWAY as error:
            if self._on_unavailable == "raise":
                raise
            reason = f"nothing was fetched, the contexts are as they were given: {type(error).__name__}: {error}"
            return Enrichment(tuple(dict(c) for c in given), fetched=False, reason=reason, warnings=(reason,))
        freshness, stale = self._freshness(request, answer, rows, catalog)
        if stale and self._stale == "block":
            raise QualityGateBlockedError(f"Stale features are refused (stale='block'): {'; '.join(stale)}.")
        warnings = [*_degraded_words(answer.provenance), *_key_words(request, rows, catalog), *stale]
        return self._merged(given, answer, freshness, warnings)

    async def aenrich(self, contexts: Mapping[str, Any] | Sequence[Mapping[str, Any]] | Any) -> Enrichment:
        """Do what `enrich` does, awaited."""
        return await in_thread(self.enrich, contexts)

    def _work(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        asked = inputs["contexts"]
        made = self.enrich(asked)
        contexts = made.context if isinstance(asked, Mapping) else list(made.contexts)
        return {"enriched_contexts": contexts, "enrichment": made}

    def _check_overrides(self, names: Sequence[str]) -> None:
        for name in self._overrides:
            if name not in names:
                raise ConfigError(
                    f"overrides names {name!r}, which is no feature asked for.{did_you_mean(name, names)}"
                )

    def _freshness(
        self, request: Request, answer: OnlineResult, rows: Sequence[Mapping[str, Any]], catalog: Catalog
    ) -> tuple[Mapping[str, FreshnessReport], list[str]]:
        """Return the freshness by view, and a sentence for whatever is stale: a view, or what single contexts get of it."""
        if self._stale == "ignore":
            return FrozenMap(), []
        old = stale_contexts(answer, rows, catalog, self._limit, self._clock.now())
        try:
            found = self._store.freshness(list(request.views))
        except (BackendError, FailoverError) as error:  # a check that errors has failed (F-2): it counts as stale
            return FrozenMap(), [f"the freshness could not be checked: {type(error).__name__}: {error}", *old]
        judged = FrozenMap({view: too_old(report, self._limit) for view, report in found.items()})
        return judged, [*stale_words(judged), *old]

    def _merged(
        self,
        given: Sequence[Mapping[str, Any]],
        answer: OnlineResult,
        freshness: Mapping[str, FreshnessReport],
        warnings: list[str],
    ) -> Enrichment:
        columns = answer.to_dict()
        by_name = dict(zip(answer.feature_names, answer.statuses.values(), strict=True))
        prefer = {name: self._overrides.get(name, self._prefer) for name in by_name}
        merged, origins, conflicts = merge(given, {n: columns[n] for n in by_name}, by_name, prefer)
        return Enrichment(
            contexts=tuple(merged),
            fetched=True,
            origins=origins,
            statuses=answer.statuses,
            event_timestamps=dict(answer.event_timestamps),  # plain, so that a graph's checkpoint can hold it
            conflicts=tuple(conflicts),
            freshness=freshness,
            warnings=tuple(warnings),
            provenance=answer.provenance,
        )


def _degraded_words(provenance: Provenance) -> list[str]:
    if not provenance.degraded:
        return []
    return [f"served by {provenance.served_by!r}, degraded: {provenance.reason} (X-7)"]


def _key_words(request: Request, rows: Sequence[Mapping[str, Any]], catalog: Catalog) -> list[str]:
    keys = {name: dtype for view in request.views for name, dtype in catalog.join_keys(view).items()}
    return key_type_words({name: [row[name] for row in rows] for name in keys}, keys)
