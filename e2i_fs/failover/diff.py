"""Comparing two backends key by key: what each answers online, and from its history (X-4, X-10). It changes nothing.

The same keys are drawn on both, so one that only one of them has is found. An answer that is the same is the same,
whatever is written meanwhile; one that differs counts only when it differed twice and nothing was written in between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import permutations
from typing import Any, NamedTuple, TypeGuard, TypeVar

import pyarrow as pa

from e2i_fs.backend import Backend, Copyable, Key, Knowledge
from e2i_fs.catalog import Catalog
from e2i_fs.clock import Clock, from_us, to_us
from e2i_fs.errors import E2IError, RequestError
from e2i_fs.failover.differences import Diff, Difference, ViewDiff, size
from e2i_fs.failover.member import UNAVAILABLE, Member
from e2i_fs.failover.router import Failover
from e2i_fs.frames import Frame
from e2i_fs.historical import EntityFrame, retrieve
from e2i_fs.lookup import same_row
from e2i_fs.pit.sample import key_columns, sampled_keys
from e2i_fs.request import Output, Request
from e2i_fs.values import python_value

__all__ = ["Asked", "Counts", "IncomparableError", "Pair", "compared", "pair_of"]

T = TypeVar("T")

_ROUNDS = 4
_NO_KNOWLEDGE = Knowledge()
_LIMIT = 30.0  # seconds that one call may take, but for those that read history


def compared(
    router: Any, backend: str, other: str, views: Sequence[str] | None, *, sample: int, seed: int, clock: Clock
) -> Diff:
    """Compare two backends of ``router``; all views when ``views`` is None."""
    pair, catalog = pair_of(router, backend, other, sample=sample, seed=seed, clock=clock)
    chosen = sorted(catalog.views) if views is None else list(dict.fromkeys(views))
    return Diff(backend, other, tuple(pair.compare(view) for view in chosen))


def pair_of(router: Any, backend: str, other: str, *, sample: int, seed: int, clock: Clock) -> tuple[Pair, Catalog]:
    """Return two backends of ``router`` to ask the same, and the catalogue that counts."""
    if backend == other or not isinstance(router, Failover):
        raise RequestError(f"A backend cannot be compared with itself ({backend!r}); name two backends of the store.")
    if sample < 1:
        raise RequestError(f"sample is {sample}; compare at least one key of each view.")
    catalog = router.catalog()
    return Pair(router, (router._member(backend), router._member(other)), catalog, sample, seed, clock), catalog


class Asked(NamedTuple):
    """One key asked for at one moment (µs)."""

    key: Key
    at_us: int


class IncomparableError(Exception):
    """Why nothing can be said."""


class Pair:
    """Two backends, asked the same."""

    def __init__(
        self, router: Failover, members: tuple[Member, Member], catalog: Catalog, sample: int, seed: int, clock: Clock
    ) -> None:
        self._router = router
        self.members = members
        self._catalog = catalog
        self._sample = sample
        self._seed = seed
        self._clock = clock

    def compare(self, view: str) -> ViewDiff:
        """Return what came of one view."""
        counts = Counts(view, tuple(member.name for member in self.members))
        try:
            self.check(view)
            drawn = self.drawn(view)
        except IncomparableError as error:
            counts.give_up(1, str(error))
            return counts.done(0)
        now = to_us(self._clock.now())
        asked = [Asked(key, at) for key, times in drawn.items() for at in sorted({now, *times})]
        self.settle(counts, "history", asked)
        if (
            self._catalog.views[view].created_column is not None
        ):  # what was known when may differ where what is true does not
            self.settle(counts, "history", asked, Knowledge(filter_by_created=True))
        if self._catalog.views[view].online and all(member.backend.capabilities.online for member in self.members):
            self.settle(counts, "online", [Asked(key, now) for key in drawn])
            self._count_unlisted(counts)
        return counts.done(len(drawn))

    def _count_unlisted(self, counts: Counts) -> None:
        """Give up on the rows online that none of the keys drawn can be: those that a backend has more of and cannot list."""
        try:
            rows = [self.called(m, lambda backend: backend.position(counts.view).rows) for m in self.members]
        except IncomparableError as error:
            counts.give_up(1, str(error))
            return
        for (member, own), (other, theirs) in permutations(zip(self.members, rows, strict=True)):
            if own > theirs and not _lists_online(member.backend):
                why = f"{member.name} has {own} rows online, which it cannot list, and {other.name} {theirs}"
                counts.give_up(own - theirs, why)

    def check(self, view: str) -> None:
        """Raise unless both backends know the view as it should be, and have taken every write."""
        for member in self.members:
            own = self.called(member, lambda backend: backend.definitions())
            if not own.has(view) or own.fingerprint(view) != self._catalog.fingerprint(view):
                raise IncomparableError(f"{member.name}: its definition is not the expected one; apply it")
            standing = self._router.journal.standing(member.name, view)
            if standing.missed:
                raise IncomparableError(f"{member.name}: {standing.reason}; let it catch up first")

    def drawn(self, view: str) -> dict[Key, set[int]]:
        """Return the keys drawn from both backends, each with some event times that either has of it."""
        definition, join_keys = self._catalog.view(view), self._catalog.join_keys(view)
        numbers: dict[Key, int] = {}
        times: dict[Key, set[int]] = {}

        def draw(backend: Backend) -> Any:
            parts = backend.scan(view, [f.name for f in definition.schema])
            online = _online_keys(backend, view)
            return sampled_keys(definition, join_keys, parts, online, sample=self._sample, seed=self._seed)

        for member in self.members:
            for key, found in self.called(member, draw, history=True).items():
                numbers[key] = found.number
                times.setdefault(key, set()).update(found.times)
        return {key: times[key] for key in sorted(times, key=lambda key: numbers[key])[: self._sample]}

    def settle(self, counts: Counts, where: str, asked: Sequence[Asked], knowledge: Knowledge = _NO_KNOWLEDGE) -> None:
        """Ask both until every answer is judged, or cannot be; of history by what was known when, if that counts (P-3)."""
        unsettled = list(asked)
        seen: set[Asked] = set()
        for _ in range(_ROUNDS):
            if not unsettled:
                return
            before = self._stand(counts.view)
            at = to_us(self._clock.now())
            work = partial(self._answers, counts.view, where, unsettled, at, knowledge)
            try:
                answers = [self.called(member, work, history=where == "history") for member in self.members]
            except IncomparableError as error:
                counts.give_up(len(unsettled), str(error))
                return
            still = before is not None and before == self._stand(counts.view)
            left = []
            for one, *pair in zip(unsettled, *answers, strict=True):
                if pair[0].same(pair[1]):
                    counts.matched += 1
                elif still and one in seen:
                    counts.differs(
                        self._difference(counts.view, where, one if where == "history" else Asked(one.key, at), pair)
                    )
                else:
                    seen.add(one)
                    left.append(one)
            unsettled = left
        if unsettled:
            counts.give_up(len(unsettled), "writes came in between")

    def _answers(
        self, view: str, where: str, asked: Sequence[Asked], at_us: int, knowledge: Knowledge, backend: Backend
    ) -> list[_Row]:
        if where == "online":
            return self._online(backend, view, asked, at_us)
        return self._history(backend, view, asked, knowledge)

    def _online(self, backend: Backend, view: str, asked: Sequence[Asked], at_us: int) -> list[_Row]:
        return self.rows(view, backend.online_read(view, [one.key for one in asked], at_us=at_us))

    def rows(self, view: str, found: Sequence[Any]) -> list[_Row]:
        """Return online answers of a backend as what can be compared and shown."""
        types = {f.name: f.dtype for f in self._catalog.view(view).schema}

        def shown(row: Any) -> dict[str, Any]:
            created = {} if row.created_us is None else {"created": from_us(row.created_us)}
            kept = {name: python_value(row.values.get(name), dtype) for name, dtype in types.items()}
            return {"event_timestamp": from_us(row.event_us), **created, **kept}

        return [_Row(row, shown, same_row) for row in found]

    def _history(self, backend: Backend, view: str, asked: Sequence[Asked], knowledge: Knowledge) -> list[_Row]:
        definition, join_keys = self._catalog.view(view), self._catalog.join_keys(view)
        times = pa.chunked_array([pa.array([one.at_us for one in asked], pa.int64())])
        keys = dict(zip(join_keys, key_columns([one.key for one in asked], join_keys), strict=True))
        entities = EntityFrame(Frame(pa.table(keys or {"t": times})), times)
        outputs = tuple(Output(f.name, f"{view}:{f.name}", view, f) for f in definition.schema)
        request = Request(outputs, {view: tuple(definition.features)}, (), tuple(join_keys), ())
        found = retrieve(backend, self._catalog, request, entities, knowledge)
        events = found.events[outputs[0].ref].to_pylist()
        columns = [found.columns[o.name].to_pylist() for o in outputs]
        rows = [
            None if event is None else (event, values)
            for event, values in zip(events, zip(*columns, strict=True), strict=True)
        ]

        def shown(row: Any) -> dict[str, Any]:
            return {"event_timestamp": from_us(row[0]), **dict(zip(definition.features, row[1], strict=True))}

        return [_Row(row, shown, lambda a, b: repr(a) == repr(b)) for row in rows]  # by text: NaN is equal to NaN

    def _difference(self, view: str, where: str, one: Asked, pair: Sequence[_Row]) -> Difference:
        join_keys = self._catalog.join_keys(view)
        key = {name: python_value(v, t) for (name, t), v in zip(join_keys.items(), one.key, strict=True)}
        has = {
            m.name: None if row.row is None else row.shown(row.row) for m, row in zip(self.members, pair, strict=True)
        }
        return Difference(view, where, key, from_us(one.at_us), has)

    def _stand(self, view: str) -> tuple[int, ...] | None:
        """Return where both backends stand on the view; None when a write is missed or under way."""
        journal = self._router.journal
        if any(journal.facts().pending(member.name, view) for member in self.members):
            return None
        found = [journal.standing(member.name, view) for member in self.members]
        return tuple(number for standing in found for number in (standing.position, standing.quarantines))

    def called(self, member: Member, work: Callable[[Backend], T], *, history: bool = False) -> T:
        """Call one backend, and tell its breaker how that ended; whatever goes wrong makes it incomparable."""
        permit = member.breaker.allow()
        if permit is None:
            raise IncomparableError(f"{member.name}: it is not called while its breaker is {member.breaker.state}")
        limit = self._router._config.historical_deadline if history else _LIMIT
        try:
            done = member.call(work, limit)
        except UNAVAILABLE as error:
            member.breaker.failure(permit)
            raise IncomparableError(f"{member.name}: {type(error).__name__}: {error}") from error
        except E2IError as error:
            member.breaker.release(permit)
            raise IncomparableError(f"{member.name}: {type(error).__name__}: {error}") from error
        except BaseException:
            member.breaker.release(permit)
            raise
        member.breaker.success(permit)
        return done


class _Row(NamedTuple):
    """An answer, None for no row; how it is shown, and compared."""

    row: Any
    shown: Callable[[Any], dict[str, Any]]
    equal: Callable[[Any, Any], bool]

    def same(self, other: _Row) -> bool:
        return self.equal(self.row, other.row)


class Counts:
    """What was found of one view so far."""

    def __init__(self, view: str, names: Iterable[str]) -> None:
        self.view = view
        self.matched = 0
        self._missing = dict.fromkeys(names, 0)
        self._mismatched = 0
        self._incomparable = 0
        self._reasons: dict[str, None] = {}
        self._differences: list[Difference] = []

    def differs(self, found: Difference) -> None:
        """Count an answer that differs."""
        self._differences.append(found)
        lacking = [name for name, row in found.has.items() if row is None]
        for name in lacking:
            self._missing[name] += 1
        self._mismatched += not lacking

    def give_up(self, answers: int, why: str) -> None:
        """Count answers that cannot be judged, and keep why."""
        self._incomparable += answers
        self._reasons[why] = None

    def done(self, keys: int) -> ViewDiff:
        """Return what was found, of so many keys."""
        example = min(self._differences, key=size, default=None)
        why = "; ".join(self._reasons) or ("there are no rows" if not keys else None)
        return ViewDiff(
            self.view, keys, self.matched, self._mismatched, self._missing, self._incomparable, why, example
        )  # fmt: skip


def _lists_online(backend: Backend) -> TypeGuard[Copyable]:
    return backend.capabilities.copyable and isinstance(backend, Copyable)


def _online_keys(backend: Backend, view: str) -> Iterator[tuple[Sequence[Key], list[int]]]:
    if _lists_online(backend):
        for keys, rows, _ in backend.online_rows(view):
            yield keys, [row.event_us for row in rows]
