"""Any interleaving of outages, writes, recoveries and reads: what a store behind failover must keep to in all of them.

A story (`e2i_fs.testing.failover_story`) is played on backends that fail as it says (`e2i_fs.testing.failover_rig`), beside
a model of all that its writes may have come to (`e2i_fs.testing.failover_model`). A step raises `Mismatch` for

- X-3: an unmarked answer that no history of the writes explains; a key that goes back to an older row; X-9: a made-up value;
- X-4: a backend that is caught up, by the store's own word, and has other rows than it should;
- X-5: after all is healed and caught up, rows that are missing anywhere, or a backend that is not verified;
- X-2: an error that is not one of being unavailable; X-8: a read beyond its deadline, a call in spite of an open breaker.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import pyarrow as pa

from e2i_fs.definitions import Entity, FeatureView, Field
from e2i_fs.dtypes import DType, Int64, String
from e2i_fs.errors import (
    BackendUnavailableError,
    DeadlineExceededError,
    DegradedAnswerError,
    E2IError,
    InvalidBatchError,
    NoEligibleBackendError,
    ThrottledError,
    UnknownFeatureError,
)
from e2i_fs.sources import PushSource
from e2i_fs.testing.failover_model import (
    Change,
    Fields,
    ViewModel,
    World,
    as_stored,
    materialized,
    redefined,
    written,
)
from e2i_fs.testing.failover_outages import Outages
from e2i_fs.testing.failover_rig import DEADLINE, HISTORICAL_DEADLINE, LONGEST, Rig, holds
from e2i_fs.testing.failover_story import KEYS, Step
from e2i_fs.testing.faults import Call, Crash
from e2i_fs.testing.findings import Mismatch
from e2i_fs.testing.oracle import Answer, Row, natural_order
from e2i_fs.values import arrow_type

__all__ = ["Machine"]

_UNAVAILABLE = (BackendUnavailableError, ThrottledError, DeadlineExceededError, NoEligibleBackendError)
_MOST_WORLDS = 64
_ROUNDS = 6


class _Sent(NamedTuple):
    """A write as it was sent, for sending it again."""

    changes: tuple[tuple[str, Change], ...]
    fields: dict[str, Fields]
    send: Callable[[], Any]


class Machine(Outages):
    """One story under way."""

    def __init__(self, rig: Rig, ttl: timedelta | None, counts: Counter[str]) -> None:
        super().__init__(rig)
        self.clock = rig.clock
        self.counts = counts
        self.fields: dict[str, Fields] = {"v": (("x", Int64),), "w": (("u", Int64),)}
        self.models = {"v": ViewModel(self.fields["v"], ttl), "w": ViewModel(self.fields["w"], None)}
        self.unsettled: Fields | None = None
        self.sent: list[_Sent] = []
        self.serial = 0
        self.last: dict[tuple[str, str], tuple[datetime, Any]] = {}
        self.liveness: dict[str, str] = {}
        rig.store.apply(self.definitions())

    # ---- definitions --------------------------------------------------------------------------------------

    def definitions(self) -> list[Any]:
        """Return the views as they should be."""
        entity, source = Entity("e", join_keys={"k": String}), PushSource("p")
        return [
            FeatureView(
                name, entities=[entity], schema=[Field(n, d) for n, d in self.fields[name]], source=source, ttl=model.ttl
            )
            for name, model in self.models.items()
        ]  # fmt: skip

    def redefine(self, how: str) -> None:
        """Add a field to ``v``, or change the dtype of its first one."""
        if self.unsettled is not None or self.settle_worlds():
            return
        before = self.fields["v"]
        if how == "add":
            if len(before) > 2:
                return
            self.fields["v"] = (*before, (f"y{len(before)}", Int64))
        else:
            for number in range(len(self.rig.backends)):
                self.deliver(number)  # a write that arrives later than the change has no fingerprint to be told by
            self.fields["v"] = (("x", String if before[0][1] is Int64 else Int64), *before[1:])
        change = redefined(before, self.fields["v"])
        self.last = {key: one for key, one in self.last.items() if key[0] != "v"}
        if not self.attempt([("v", change)], lambda: self.rig.store.apply(self.definitions(), allow_breaking=True)):
            self.unsettled = before

    def settle(self) -> None:
        """Complete an apply that did not come to its end: it must be possible, as soon as all is well."""
        if self.unsettled is None:
            return
        before, self.unsettled = self.unsettled, None
        self.last = {key: one for key, one in self.last.items() if key[0] != "v"}
        for tries in range(_ROUNDS):
            self.well()
            try:
                self.rig.store.apply(self.definitions(), allow_breaking=True)
                break
            except _UNAVAILABLE as error:  # a connection that broke earlier is noticed once
                if tries == _ROUNDS - 1:
                    says = "With all backends up, an apply that was cut short could not be completed."
                    raise Mismatch("R-1", says, got=error) from error
        self.models["v"].surely(redefined(before, self.fields["v"]))
        self.calls_allowed(checked=False)

    # ---- writing ------------------------------------------------------------------------------------------

    def write(self, view: str, given: Sequence[tuple[int, int, int]], to: str, keyed: bool) -> None:
        """Write a batch to one view."""
        rows = self.rows(view, given)
        frame = pa.table({"k": [r.key[0] for r in rows], **self.columns(view, rows)})
        key = f"key-{self.serial}" if keyed else None
        self.send([(view, rows)], to, lambda: self.rig.store.write(view, frame, to=to, idempotency_key=key))  # type: ignore[arg-type]

    def push(self, given: Sequence[tuple[int, int, int]], to: str, keyed: bool) -> None:
        """Write a batch to both views, through the push source that feeds them."""
        rows = {view: self.rows(view, given) for view in self.models}
        columns = {n: c for view in self.models for n, c in self.columns(view, rows[view]).items()}
        frame = pa.table({"k": [r.key[0] for r in rows["v"]], **columns})
        key = f"key-{self.serial}" if keyed else None
        self.send(list(rows.items()), to, lambda: self.rig.store.push("p", frame, to=to, idempotency_key=key))  # type: ignore[arg-type]

    def rows(self, view: str, given: Sequence[tuple[int, int, int]]) -> list[Row]:
        """Return rows with values that no other row has, greater than those of earlier ones unless the sign says else."""
        self.settle()
        self.serial += 1
        now, fields = self.clock.now(), self.fields[view]
        made = []
        for i, (key, seconds, sign) in enumerate(given):
            number = sign * (100 + 10 * self.serial + i)
            values = tuple(as_stored(number, dtype) for _, dtype in fields)
            made.append(Row((KEYS[key],), now + timedelta(seconds=seconds), None, values))
        return made

    def columns(self, view: str, rows: Sequence[Row]) -> dict[str, Any]:
        """Return the time and the fields of rows as columns."""
        made = {"event_timestamp": pa.array([r.event for r in rows], pa.timestamp("us", "UTC"))}
        for i, (name, dtype) in enumerate(self.fields[view]):
            made[name] = pa.array([r.values[i] for r in rows], arrow_type(dtype))
        return made

    def send(self, batches: Sequence[tuple[str, list[Row]]], to: str, send: Callable[[], Any]) -> None:
        """Send a write for the first time."""
        for view, rows in batches:
            self.models[view].tried |= set(rows)
        changes = tuple((view, written(self.fields[view], rows, to)) for view, rows in batches)
        self.sent.append(_Sent(changes, {view: self.fields[view] for view, _ in batches}, send))
        self.attempt(changes, send)

    def again(self, back: int) -> None:
        """Send an earlier write again, unless its view is another by now."""
        self.settle()
        usable = [s for s in self.sent if all(self.fields[view] == fields for view, fields in s.fields.items())]
        if usable:
            sent = usable[-1 - back % len(usable)]
            self.attempt(sent.changes, sent.send)

    def materialize(self, view: str, start: int | None, end: int | None) -> None:
        """Bring a window of one view online."""
        self.settle()
        now = self.clock.now()
        first = None if start is None else now + timedelta(seconds=start)
        last = None if end is None else now + timedelta(seconds=end)
        change = materialized(first, now if last is None else last)
        self.attempt([(view, change)], lambda: self.rig.store.materialize(first, last, views=[view]))

    def attempt(self, changes: Iterable[tuple[str, Change]], act: Callable[[], Any]) -> bool:
        """Do a write, and note in the models what it certainly or possibly did; return whether it was acknowledged."""
        try:
            act()
        except Crash:
            for view, change in changes:
                self.models[view].maybe(change)
            self.die()
            return False
        except (*_UNAVAILABLE, InvalidBatchError, UnknownFeatureError) as error:
            self.counts[f"write {type(error).__name__}"] += 1
            for view, change in changes:
                self.models[view].maybe(change)
            return False
        except E2IError as error:
            raise Mismatch(
                "X-2", "A write raised what is not a matter of being unavailable.", got=repr(error)
            ) from error
        for view, change in changes:
            self.models[view].surely(change)
        self.counts["write acknowledged"] += 1
        return True

    def settle_worlds(self) -> bool:
        """Once too much is uncertain, have it settled by a recovery; return whether that was needed."""
        if all(len(model.worlds) <= _MOST_WORLDS for model in self.models.values()):
            return False
        self.recover()
        return True

    # ---- reading ------------------------------------------------------------------------------------------

    def read(self, views: Sequence[str], strict: bool) -> None:
        """Ask for both keys online."""
        refs = [f"{view}:*" for view in views]
        rows = [{"k": key} for key in KEYS]
        answer = self.ask(
            lambda: self.rig.store.get_online_features(refs, rows, full_feature_names=True, strict=strict),
            strict,
            DEADLINE,
        )
        if answer is None:
            return
        result, times = answer
        values = result.to_dict()
        for view in views:
            names, got = _answers(result, view, lambda name: values[name], len(KEYS))
            ttl = self.models[view].ttl

            def online(world: World, t: datetime, ttl: timedelta | None = ttl) -> list[Answer]:
                return [world.online((key,), t, ttl) for key in KEYS]

            self.check(view, names, got, result.provenance, times, online, [(key,) for key in KEYS])
            if not result.provenance.degraded:
                self.never_back(view, got)

    def train(self, views: Sequence[str], strict: bool) -> None:
        """Ask for both keys at some times."""
        now = self.clock.now()
        asked = [((key,), now - timedelta(seconds=s)) for key in KEYS for s in (0, 10, 35)]
        frame = pa.table(
            {
                "k": [key[0] for key, _ in asked],
                "event_timestamp": pa.array([t for _, t in asked], pa.timestamp("us", "UTC")),
            }
        )
        refs = [f"{view}:*" for view in views]
        answer = self.ask(
            lambda: self.rig.store.get_historical_features(frame, refs, full_feature_names=True, strict=strict),
            strict, HISTORICAL_DEADLINE,
        )  # fmt: skip
        if answer is None:
            return
        result, _ = answer
        table = result.to_arrow()
        for view in views:
            names, got = _answers(result, view, lambda name: table.column(name).to_pylist(), len(asked))
            ttl = self.models[view].ttl

            def historical(world: World, _: datetime, ttl: timedelta | None = ttl) -> list[Answer]:
                return [world.historical(key, t, ttl) for key, t in asked]

            self.check(view, names, got, result.provenance, [now], historical, [key for key, _ in asked])

    def ask(self, act: Callable[[], Any], strict: bool, deadline: float) -> tuple[Any, list[datetime]] | None:
        """Return an answer and the moments at which it may have been made, None when there was none."""
        begun, began = self.clock.monotonic(), self.clock.now()
        try:
            result = act()
        except Crash:
            self.die()
            return None
        except NoEligibleBackendError as error:
            lacking = [b.name for b in self.rig.backends if b.name not in {a.backend for a in error.attempts}]
            if lacking:
                raise Mismatch(
                    "X-9", f"The error that nobody may answer does not tell of {lacking}.", got=error
                ) from error
            self.counts["read unanswered"] += 1
            return None
        except DegradedAnswerError as error:
            if not strict:
                raise Mismatch("X-7", "A read that was not strict raised instead of degrading.", got=error) from error
            self.counts["read refused"] += 1
            return None
        except E2IError as error:
            raise Mismatch(
                "X-2", "A read raised what is not a matter of being unavailable.", got=repr(error)
            ) from error
        finally:
            took = self.clock.monotonic() - begun
        if took > deadline + 1e-5:  # what the clock cannot tell
            raise Mismatch("X-8", "A read took longer than its deadline.", expected=f"{deadline} s", got=f"{took} s")
        self.counts["read degraded" if result.provenance.degraded else "read unmarked"] += 1
        if strict and result.provenance.degraded:
            raise Mismatch("X-7", "A strict read was answered degraded.", got=result.provenance)
        times = {began, self.clock.now(), *(c.at for c in self.rig.trace if isinstance(c, Call) and c.at >= began)}
        return result, sorted(times)

    def check(
        self, view: str, names: Sequence[str], got: list[Answer], provenance: Any, times: Sequence[datetime],
        ask: Callable[[World, datetime], list[Answer]], keys: Sequence[tuple[str]],
    ) -> None:  # fmt: skip
        """Compare an answer with every world there may be."""
        model = self.models[view]
        if provenance.degraded:
            for key, answer in zip(keys, got, strict=True):
                if not provenance.reason or not model.may_have_come(key, dict(zip(names, answer.values, strict=True))):
                    raise Mismatch(
                        "X-9", f"A degraded answer for key {key[0]!r} of {view} was made up.", got=(answer, provenance)
                    )
            return

        def fits(world: World) -> bool:
            return [name for name, _ in world.fields] == names and any(ask(world, t) == got for t in times)

        if not model.saw(fits):
            expected = "\n       or ".join(map(str, model.expected(lambda world: _plain(ask(world, times[-1])))))
            raise Mismatch(
                "X-3", f"An unmarked answer of {provenance.served_by!r} for {view} is not what was written.",
                expected=expected, got=f"{_plain(got)} {provenance}",
            )  # fmt: skip

    def never_back(self, view: str, got: Sequence[Answer]) -> None:
        """Compare with the last unmarked answer: no key may go back to an older row."""
        dtypes = [dtype for _, dtype in self.fields[view]]
        for key, answer in zip(KEYS, got, strict=True):
            last = self.last.get((view, key))
            now = None if answer.event is None else (answer.event, _order(answer, dtypes))
            if last is not None and (
                now is None
                or now[0] < last[0]
                or (now[0] == last[0] and None not in (now[1], last[1]) and now[1] < last[1])
            ):
                raise Mismatch(
                    "X-3", f"Key {key!r} of {view} went back to an older row.", expected=f"{last} or later", got=now
                )
            if now is not None:
                self.last[view, key] = now

    # ---- processes -----------------------------------------------------------------------------------------

    def restart(self) -> None:
        """Close the store and open it anew."""
        self.rig.close()
        self.reopen(self.rig.open)

    def die(self) -> None:
        """The process ended; another one starts."""
        self.counts["crash"] += 1
        self.reopen(self.rig.die)

    def reopen(self, how: Callable[[], None]) -> None:
        """Open the store anew; a process that crashes while it starts is started again."""
        self.rig.trace.clear()
        self.liveness.clear()
        while True:
            try:
                how()
            except Crash:
                how = self.rig.die
                continue
            return

    # ---- recovering ---------------------------------------------------------------------------------------

    def health(self) -> None:
        """Ask how the backends are."""
        with suppress(*_UNAVAILABLE):
            self.crashing(self.rig.store.health)

    def catch_up(self, number: int | None) -> None:
        """Bring backends up to date, and compare what is then said to be whole with what it should be."""
        names = [b.name for b in self.rig.backends]
        name = None if number is None else names[number % len(names)]
        report = self.crashing(lambda: self.rig.store.catch_up(name))
        for one in (report or {}).values():
            if one.error is None:
                self.whole(names.index(one.backend))

    def crashing(self, act: Callable[[], Any]) -> Any:
        """Return what ``act`` does; None when the process ended in it, or a backend was away."""
        try:
            return act()
        except Crash:
            self.die()
        except _UNAVAILABLE:
            pass
        return None

    def whole(self, number: int) -> None:
        """Check that a backend of which the store says so has all rows of each view, and no others (X-4)."""
        backend, disk = self.rig.backends[number], self.rig.disks[number]
        if number in self.lost or self.unsettled is not None:
            return
        for view, model in self.models.items():
            differs = [holds(disk, view, world, self.clock.now()) for world in model.worlds]
            if None not in differs:
                raise Mismatch("X-4", f"{backend.name!r} counts as caught up, and is not: {view}, {differs[0]}.")

    def well(self) -> None:
        """End every fault, and let so much time go by that breakers let calls through."""
        self.heal_all()
        for backend in self.rig.backends:
            backend.deliver()
        self.advance(LONGEST + 1)

    def recover(self) -> None:
        """End every fault: then everything must become whole by itself, the same everywhere, and be answered unmarked (X-5)."""
        self.settle()
        for _ in range(_ROUNDS):
            self.well()
            with suppress(*_UNAVAILABLE):
                self.rig.store.apply(self.definitions(), allow_breaking=True)
            caught_up = self.rig.store.catch_up()
            health = self.rig.store.health()
            if all(set(one.parity.values()) == {"verified"} for one in health) and not any(
                one.error for one in caught_up.values()
            ):
                break
        else:
            said = [(one.name, one.error, one.liveness, dict(one.parity), dict(one.missed)) for one in health]
            raise Mismatch("X-5", "All is healed, and not every backend became verified.", got=f"{said} {caught_up}")
        self.lost.clear()
        for view, model in self.models.items():
            same = None
            for world in model.worlds:
                differs = [holds(disk, view, world, self.clock.now()) for disk in self.rig.disks]
                if differs == [None] * len(differs):
                    same = world
                    break
            if same is None:
                raise Mismatch("X-5", f"After recovery {view} is not what was written, everywhere.", got=differs)
            model.worlds = {same}
        before = self.counts["read unmarked"]
        self.read(("v", "w"), strict=True)
        self.train(("v", "w"), strict=True)
        if self.counts["read unmarked"] != before + 2:
            raise Mismatch("X-5", "After recovery no unmarked answer is to be had.", got=self.rig.store.health())

    # ---- in every step ------------------------------------------------------------------------------------

    def calls_allowed(self, *, checked: bool) -> None:
        """Check that no backend was called while its breaker was open (X-8)."""
        for one in self.rig.trace:
            if not isinstance(one, Call):
                self.liveness[one.backend] = one.after
            elif checked and self.liveness.get(one.of) in ("open", "isolated"):
                raise Mismatch("X-8", f"{one.of!r} was called while its breaker was {self.liveness[one.of]}.", got=one)
        self.rig.trace.clear()

    def do(self, step: Step) -> None:
        """Do one step of the story."""
        try:
            getattr(self, step.kind)(*step.args)
        except E2IError as error:
            raise Mismatch("X-2", f"{step.kind} raised {type(error).__name__}.", got=error) from error
        self.calls_allowed(checked=step.kind in ("read", "train", "write", "push", "again", "materialize", "catch_up"))


def _answers(result: Any, view: str, column: Callable[[str], list[Any]], count: int) -> tuple[list[str], list[Answer]]:
    """Return the names of the fields of a view in an answer, and the answer of each row."""
    names = [ref.partition(":")[2] for ref in result.statuses if ref.startswith(f"{view}:")]
    values = [column(f"{view}__{name}") for name in names]
    statuses = [result.statuses[f"{view}:{name}"] for name in names]
    events = result.event_timestamps[f"{view}:{names[0]}"]
    return names, [
        Answer(tuple(v[i] for v in values), tuple(str(s[i]) for s in statuses), events[i]) for i in range(count)
    ]


def _order(answer: Answer, dtypes: Sequence[DType]) -> Any:
    """Return by what rows of one time are compared; None when the values are not told, or their dtypes are changing."""
    if "PRESENT" not in answer.statuses or len(dtypes) != len(answer.values):
        return None
    return tuple(natural_order(value, dtype) for value, dtype in zip(answer.values, dtypes, strict=True))


def _plain(answers: Sequence[Answer]) -> list[str]:
    return [f"{a.values} {a.statuses[0]} {a.event and a.event.strftime('%H:%M:%S.%f')}" for a in answers]
