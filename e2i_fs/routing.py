"""How a store reaches its backends: the seam between one backend and several behind failover."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from e2i_fs.backend import Backend, Capabilities, KnowsLosses
from e2i_fs.catalog import Catalog
from e2i_fs.clock import Clock
from e2i_fs.definitions import FeatureView
from e2i_fs.entries import Entry, Perform
from e2i_fs.errors import BackendDataError, BackendError, UnknownFeatureError, UnsupportedError
from e2i_fs.question import Answered, Question
from e2i_fs.results import Attempt, Provenance
from e2i_fs.sources import PushSource

if TYPE_CHECKING:
    from e2i_fs.failover.journal import JournalState
    from e2i_fs.failover.replay import CatchUp

__all__ = ["BackendHealth", "Outcome", "Router", "Single"]

_ROUNDS = 200

Q = TypeVar("Q")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one write on one backend: ``value`` if it was taken, ``error`` if not."""

    backend: str
    value: Any = None
    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class BackendHealth:
    """The health of one backend: up or not, latency in seconds or error, liveness, and parity by view.

    ``liveness`` is the state of its breaker in this process: ``closed``, ``open``, ``half-open``, ``isolated`` or
    ``observe-only``. ``parity`` is ``verified``, ``lagging``, ``diverged`` or ``unverified`` (its definitions are not
    the expected ones, or it is down and nothing else is known against it). ``shadow`` counts the sampled comparisons of
    its answers: ``matched``, ``mismatched`` or ``incomparable`` (X-10). ``missed`` counts, by view, the writes that it
    has yet to take. ``hedged`` is the share, 0 to 1, of the reads that could be hedged for which it was asked because
    another backend was slow.

    >>> from e2i_fs.testing import example_store
    >>> with example_store() as store:
    ...     (told,) = store.health()
    >>> told.name, told.role, told.up, told.liveness
    ('memory', 'primary', True, 'closed')
    """

    name: str
    role: str
    up: bool
    latency: float | None
    error: str | None
    liveness: str
    parity: Mapping[str, str] = field(default_factory=dict)
    shadow: Mapping[str, int] = field(default_factory=dict)
    missed: Mapping[str, int] = field(default_factory=dict)
    hedged: float = 0.0


class Router(Protocol):
    """Reaches the backends of a store."""

    @property
    def names(self) -> tuple[str, ...]:
        """The backends' names, the primary first."""
        ...

    def catalog(self) -> Catalog:
        """Return the catalogue that requests are resolved against."""
        ...

    def ask(self, question: Question[Q, T]) -> Answered[Q, T]:
        """Answer one read."""
        ...

    def write(self, entry: Entry, perform: Perform) -> list[Outcome]:
        """Do one write wherever it can be done; raise if nobody took it."""
        ...

    def change(self, to: Callable[[Catalog], Catalog], *, removed: tuple[str, str] | None = None) -> None:
        """Change the catalogue of every backend, each atomically; ``removed`` is the kind and name of what is deleted."""
        ...

    def backend(self, name: str) -> Backend:
        """Return one backend, opened."""
        ...

    def catch_up(
        self, names: Sequence[str], *, views: Sequence[str] | None, limit: float | None, rebuild: bool
    ) -> Mapping[str, CatchUp]:
        """Bring these backends up to date."""
        ...

    def rebuild(self, name: str, views: Sequence[str], *, from_sources: bool) -> CatchUp:
        """Make a backend's rows of ``views`` anew."""
        ...

    def readmit(self, name: str, views: Iterable[str] | None = None) -> None:
        """Let a backend that was made whole by hand answer unmarked again."""
        ...

    def isolate(self, name: str) -> None:
        """Call this backend no more."""
        ...

    def observe(self, name: str) -> None:
        """Call this backend whatever happens."""
        ...

    def release(self, name: str) -> None:
        """Call this backend again, and judge it."""
        ...

    def journal_state(self) -> JournalState:
        """Return what the journal holds."""
        ...

    def health(self, deadline: float) -> list[BackendHealth]:
        """Ask each backend whether it is up."""
        ...

    def close(self) -> None:
        """Close every backend."""
        ...


def change_catalog(backend: Backend, to: Callable[[Catalog], Catalog]) -> None:
    """Change one backend's catalogue; when somebody else changes it in between, start again from theirs (R-1)."""
    for _ in range(_ROUNDS):
        current = backend.definitions()
        wanted = to(current)
        if wanted.revision == current.revision:
            return
        check_capabilities(backend.capabilities, current, wanted)
        if backend.apply(wanted, expected=current.revision):
            return
    raise BackendDataError(
        f"The definitions were others each of {_ROUNDS} times that they were to be changed. Unless that many processes apply at "
        "once, the backend does not tell the definitions that it keeps."
    )


def check_capabilities(can: Capabilities, current: Catalog, wanted: Catalog) -> None:
    """Raise `UnsupportedError` for a new or changed view that the backend cannot keep, naming what (G-3)."""
    for name, view in wanted.views.items():
        if name in current.views and current.fingerprint(name) == wanted.fingerprint(name):
            continue
        for source in () if view.source is None else (view.source.kind, stored_kind(view)):
            if source is not None and source not in can.sources:
                raise UnsupportedError(
                    f"View {name!r}: this backend does not take {source} sources, only {', '.join(sorted(can.sources))}."
                )
        for key, dtype in wanted.join_keys(name).items():
            if can.key_kinds is not None and dtype.kind not in can.key_kinds:
                raise UnsupportedError(f"View {name!r}: this backend cannot keep the join key {key!r} as {dtype!r}.")
        for f in view.schema:
            if can.feature_kinds is not None and f.dtype.kind not in can.feature_kinds:
                raise UnsupportedError(f"View {name!r}: this backend cannot keep the field {f.name!r} as {f.dtype!r}.")
        if view.online and not can.online:
            raise UnsupportedError(
                f"View {name!r}: this backend keeps nothing online; define the view with online=False."
            )


def loss_of(backend: Backend, view: str) -> int:
    """Return the number of the loss of rows since which a backend refuses to answer for ``view``; 0 if it does not, or has no such view."""
    if not isinstance(backend, KnowsLosses) or not backend.capabilities.online:
        return 0
    try:
        return backend.lost(view)
    except UnknownFeatureError:
        return 0


def end_loss(backend: Backend, view: str, loss: int) -> bool:
    """Let a backend that refuses to answer since ``loss`` answer again, and return whether it does: not if rows were lost since."""
    if loss and isinstance(backend, KnowsLosses):
        backend.recovered(view, loss)
    return not loss_of(backend, view)


def stored_kind(view: FeatureView) -> str | None:
    """Return the kind of source that holds history of its own, None when there is none."""
    source = view.source.batch_source if isinstance(view.source, PushSource) else view.source
    return None if source is None else source.kind


class Single:
    """The router of a store with one backend: straight to it."""

    def __init__(self, name: str, backend: Backend, clock: Clock) -> None:
        self._name = name
        self._backend = backend
        self._clock = clock

    @property
    def names(self) -> tuple[str, ...]:
        """The one name."""
        return (self._name,)

    def catalog(self) -> Catalog:
        """Return the backend's definitions."""
        return self._backend.definitions()

    def ask(self, question: Question[Q, T]) -> Answered[Q, T]:
        """Ask the backend."""
        begun = self._clock.monotonic()
        catalog = self._backend.definitions()
        query = question.prepare(catalog)
        value = question.answer(self._backend, catalog, query)
        took = self._clock.monotonic() - begun
        views = tuple(question.views(query))
        position = None if question.sequences is None else question.sequences(value)
        if position is None:
            position = {view: self._backend.position(view).sequence for view in views if view in catalog.views}.copy
        return Answered(value, query, catalog, self._name, partial(self._provenance, catalog, views, position, took))

    def _provenance(
        self, catalog: Catalog, views: Iterable[str], position: Callable[[], Mapping[str, int]], took: float
    ) -> Provenance:
        return Provenance(
            self._name,
            attempts=(Attempt(self._name, "answered", took),),
            fingerprints={view: catalog.fingerprint(view) for view in views},
            position=position(),
        )

    def write(self, entry: Entry, perform: Perform) -> list[Outcome]:
        """Write to the backend."""
        return [Outcome(self._name, perform(entry, self._name, self._backend))]

    def change(self, to: Callable[[Catalog], Catalog], *, removed: tuple[str, str] | None = None) -> None:
        """Change the backend's catalogue."""
        change_catalog(self._backend, to)

    def backend(self, name: str) -> Backend:
        """Return the backend."""
        return self._backend

    def catch_up(
        self, names: Sequence[str], *, views: Sequence[str] | None, limit: float | None, rebuild: bool
    ) -> Mapping[str, CatchUp]:
        """An only backend misses nothing."""
        from e2i_fs.failover.replay import CatchUp

        return {name: CatchUp(name, 0, (), 0, ()) for name in names}

    def rebuild(self, name: str, views: Sequence[str], *, from_sources: bool) -> CatchUp:
        """There is nothing to rebuild an only backend from but its sources, which `materialize` reads."""
        raise UnsupportedError(
            "This store has one backend and no journal. Materialise its views, and write again what was only pushed."
        )

    def isolate(self, name: str) -> None:
        """An only backend cannot be spared."""
        raise UnsupportedError("This store has one backend; close the store instead.")

    def observe(self, name: str) -> None:
        """An only backend is always called."""

    def release(self, name: str) -> None:
        """Nothing keeps an only backend from being called."""

    def journal_state(self) -> JournalState:
        """There is none: the one backend takes a write or refuses it."""
        from e2i_fs.failover.journal import JournalState

        return JournalState(0, 0, 0, 0, {}, {}, {})

    def readmit(self, name: str, views: Iterable[str] | None = None) -> None:
        """Nothing is held against an only backend but what it says itself."""
        for view in self.catalog().views if views is None else views:
            end_loss(self._backend, view, loss_of(self._backend, view))

    def health(self, deadline: float) -> list[BackendHealth]:
        """Ping the backend."""
        try:
            latency = self._backend.ping(deadline)
            backend, views = self._backend, dict.fromkeys(self._backend.definitions().views, "verified")
            views |= {view: "diverged" for view in views if loss_of(backend, view)}
        except BackendError as error:
            return [BackendHealth(self._name, "primary", False, None, str(error), "closed")]
        return [BackendHealth(self._name, "primary", True, latency, None, "closed", views)]

    def close(self) -> None:
        """Close the backend."""
        self._backend.close()
