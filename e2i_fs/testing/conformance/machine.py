"""Any interleaving of writes, pushes, runs, reads, reopenings and clock steps, against the model (rule-based machine)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, ClassVar

from hypothesis import HealthCheck, Phase, Verbosity, settings
from hypothesis import seed as hypothesis_seed
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from e2i_fs.definitions import Entity, FeatureView, Field
from e2i_fs.dtypes import Float64, Int64, String
from e2i_fs.protocol import FeatureStore
from e2i_fs.sources import PushSource
from e2i_fs.testing.compare import online_difference, same_value
from e2i_fs.testing.conformance.rules import proves
from e2i_fs.testing.conformance.samples import Steps
from e2i_fs.testing.directed import NOW, US, rows_of, view_of, world_of
from e2i_fs.testing.files import rows_table
from e2i_fs.testing.findings import Inapplicable, Mismatch
from e2i_fs.testing.kit import Kit
from e2i_fs.testing.model import Model
from e2i_fs.testing.oracle import Answer, Row
from e2i_fs.testing.worlds import World

__all__ = ["InterleavingTests"]

UNIT = timedelta(seconds=10)
FIELDS = {"x": Int64, "y": Float64}
KEYS = ("a", "b")


class InterleavingTests:
    """Tests of the group *online* that are whole stories."""

    group: ClassVar[str] = "online"

    @proves("O-1", "O-2", "O-6", "W-2", "W-3", "R-5", "P-3", "P-4", "O-7", "R-1")
    def test_o1_any_interleaving_of_writes_runs_and_reads_is_the_models(self, kit: Kit) -> None:
        """Steps of all kinds in any order; after each, online and historical answers are the model's."""
        if not _targets(kit.can.append, kit.can.online):
            raise Inapplicable("the backend declares neither append nor online, so it takes no rows")
        kit.fitted(world_of(view_of([], fields=FIELDS), []), history=False)
        profile = kit.profile
        phases = [Phase.generate, Phase.shrink] if profile.shrink else [Phase.generate]
        machine = hypothesis_seed(kit.seed)(_machine(kit))
        with kit.reporting("O-1"):
            run_state_machine_as_test(
                machine,
                settings=settings(
                    max_examples=profile.runs, stateful_step_count=profile.steps, database=None, deadline=None, phases=phases,
                    suppress_health_check=list(HealthCheck), report_multiple_bugs=False, print_blob=False,
                    verbosity=Verbosity.quiet,
                ),
            )  # fmt: skip


@st.composite
def _rows(draw: st.DrawFn, created: bool) -> list[tuple[str, int, int | None, int | None, float | None]]:
    """Return some rows: key, event time in µs from now, created time in µs from the event, values."""
    unit = UNIT // US
    row = st.tuples(
        st.sampled_from(KEYS),
        st.sampled_from([0, -unit, -2 * unit, -3 * unit, -unit - 1, unit, 60_000_000]),
        st.sampled_from([None, 0, 1, unit, -unit]) if created else st.none(),
        st.sampled_from([None, 0, 2**53 + 1, -1]),
        st.sampled_from([None, -0.0, 0.0, float("nan")]),
    )
    return draw(st.lists(row, min_size=1, max_size=4))


def _machine(kit: Kit) -> type[RuleBasedStateMachine]:
    """Return the machine over the store of ``kit``. Each run has a view of its own."""
    failed: set[tuple[str, ...]] = set()
    began: list[float] = []
    can = kit.can
    with_created = "push" in can.sources

    class Interleaving(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.steps = Steps()
            kit.example = self.steps
            kit.tried += 1
            self.others: list[FeatureStore] = []
            self.written: list[tuple[list[Row], str]] = []
            self.asked_last = 0
            self.compared = -1
            self.failed = False
            self.name = ""

        def step(self, text: str, act: Callable[[], Any]) -> None:
            """Do one step and compare; once it has been looked for long enough, only known failures are done again."""
            lines = (*self.steps.lines, text)
            late = bool(began) and time.perf_counter() - began[0] > kit.profile.patience
            if late and not any(lines == one[: len(lines)] for one in failed):
                return
            self.steps.lines.append(text)
            try:
                act()
                self.agree()
            except Exception:
                began.append(time.perf_counter())
                failed.add(lines)
                self.failed = True
                raise

        # ---- steps ------------------------------------------------------------------------------------

        @initialize(ttl=st.sampled_from([None, UNIT, 2 * UNIT + US]))
        def apply(self, ttl: timedelta | None) -> None:
            """A view that nothing was written to."""
            self.name = f"story_{next(kit._names)}"
            self.view = view_of([], name=self.name, fields=FIELDS, created=with_created, ttl=ttl)
            self.model = Model(self.view.key_types, self.view.types, ttl)
            kit.clock.set(NOW)
            source = PushSource(f"{self.name}_push", created_timestamp_field="created") if with_created else None
            fields = [Field(name, dtype) for name, dtype in FIELDS.items()]
            entity = Entity(f"{self.name}_e", join_keys={"hcp_id": String})
            definition = FeatureView(
                self.name, entities=[entity], schema=fields, source=source, ttl=ttl, online=can.online
            )
            self.definition = definition
            self.step(f"apply a view, ttl {ttl}", lambda: kit.store.apply([definition]))

        @rule(given=_rows(with_created), to=st.sampled_from(_targets(can.append, can.online)))
        def write(self, given: Any, to: str) -> None:
            rows = self.rows(given)
            self.written.append((rows, to))
            self.step(f"write to {to}: {self.told(rows)}", lambda: self.send(rows, to))

        @precondition(lambda self: self.written)
        @rule(which=st.integers(0, 5))
        def write_again(self, which: int) -> None:
            rows, to = self.written[which % len(self.written)]
            self.step(f"write again to {to}: {self.told(rows)}", lambda: self.send(rows, to))

        @precondition(lambda self: with_created)
        @rule(given=_rows(with_created), to=st.sampled_from(_targets(can.append, can.online)))
        def push(self, given: Any, to: str) -> None:
            rows = self.rows(given)

            def act() -> None:
                kit.store.push(f"{self.name}_push", rows_table(self.view, rows), to=to)  # type: ignore[arg-type]
                self.model.write(rows, to, kit.clock.now())  # type: ignore[arg-type]

            self.step(f"push to {to}: {self.told(rows)}", act)

        @precondition(lambda self: can.online)
        @rule(start=st.sampled_from([None, -2, -1]), end=st.sampled_from([-1, 0, 3]))
        def materialize(self, start: int | None, end: int) -> None:
            now = kit.clock.now()
            first, last = None if start is None else now + start * UNIT, now + end * UNIT

            def act() -> None:
                kit.store.materialize(first, last, views=[self.name])
                self.model.materialize(first, last, now)

            self.step(f"materialize from {_clock(first)} to {_clock(last)}", act)

        @precondition(lambda self: can.online)
        @rule()
        def materialize_incremental(self) -> None:
            def act() -> None:
                kit.store.materialize_incremental(views=[self.name])
                self.model.materialize_incremental(kit.clock.now())

            self.step("materialize incrementally", act)

        @rule(by=st.sampled_from([US, UNIT, timedelta(seconds=60), 2 * UNIT + US]))
        def advance(self, by: timedelta) -> None:
            self.step(f"the clock moves on by {by}", lambda: kit.clock.advance(by))

        @rule()
        def apply_again(self) -> None:
            self.step("apply the view again, unchanged", lambda: kit.store.apply([self.definition]))

        @precondition(lambda self: can.persistent)
        @rule()
        def reopen(self) -> None:
            self.others.clear()
            self.step("close every handle and open one anew", kit.reopen)

        @precondition(lambda self: can.persistent and len(self.others) < 2)
        @rule()
        def open_another(self) -> None:
            self.step("open another handle, which reads too from now on", lambda: self.others.append(kit.handle()))

        @precondition(lambda self: can.online)
        @rule(given=_rows(with_created))
        def write_while_another_reads(self, given: Any) -> None:
            rows = self.rows(given)

            def act() -> None:
                before = self.online()
                found: list[Any] = []
                stores = [*self.others[-1:], kit.store]

                def read() -> None:
                    try:
                        found.extend(self.read(stores[0]) for _ in range(4))
                    except Exception as error:  # raised below, in the machine's own thread
                        found.append(error)

                reader = threading.Thread(target=read, daemon=True)
                reader.start()
                self.send(rows, "online")
                reader.join(60)
                for answer in found:
                    if isinstance(answer, Exception):
                        raise answer
                    self.old_or_new(before, self.online(), answer)

            self.step(f"write to online while another thread reads: {self.told(rows)}", act)

        # ---- what must hold ---------------------------------------------------------------------------

        def agree(self) -> None:
            """Compare every handle's online answer, and one form of one handle's historical one, with the model's."""
            self.asked_last += 1
            for store in (kit.store, *self.others):
                if can.online:
                    difference = online_difference(self.view, self.online(), self.read(store))
                    if difference is not None:
                        raise Mismatch("O-1", f"Online: {difference.feature}, key {_key(difference.row)}. {difference.about}",
                                       expected=difference.expected, got=difference.got)  # fmt: skip
            if self.asked_last % 4 and len(self.model.history) == self.compared:
                return  # the slower comparison, where history is another; now and then else, for time goes on
            self.compared = len(self.model.history)
            store = (kit.store, *self.others)[self.asked_last % (1 + len(self.others))]
            world = self.world()
            requests = list(world.requests())
            kit.check_historical("P-1", world, requests[self.asked_last % len(requests)], store)

        def world(self) -> World:
            """Return the history so far, asked about around now."""
            view = view_of(self.model.history, name=self.name, fields=FIELDS, created=with_created, ttl=self.model.ttl)
            now = kit.clock.now()
            asked = [(key, now + n * UNIT + step) for key in KEYS for n in (-2, 0, 6) for step in (-US, timedelta(0))]
            return world_of(view, asked, as_of=now - UNIT * (self.asked_last % 2), now=now)

        def online(self) -> list[Answer]:
            return self.model.online([(key,) for key in KEYS], kit.clock.now())

        def read(self, store: FeatureStore) -> Any:
            return store.get_online_features([f"{self.name}:*"], [{"hcp_id": key} for key in KEYS])

        def old_or_new(self, before: list[Answer], after: list[Answer], answer: Any) -> None:
            values = answer.to_dict()
            for n, key in enumerate(KEYS):
                got = [values[name][n] for name in FIELDS]
                event = answer.event_timestamps[f"{self.name}:x"][n]
                fits = [
                    one for one in (before[n], after[n])
                    if one.event == event and all(map(same_value, got, one.values, FIELDS.values()))
                ]  # fmt: skip
                if not fits:
                    raise Mismatch("O-7", f"A reader found key {key!r} neither as before the write nor as after it.",
                                   expected=f"{before[n]}\nor {after[n]}", got=f"{got} of {event}")  # fmt: skip

        # ---- words ------------------------------------------------------------------------------------

        def rows(self, given: Sequence[Any]) -> list[Row]:
            now = kit.clock.now()
            made = []
            for key, event, created, x, y in given:
                at = now + event * US
                made.append(Row((key,), at, None if created is None else at + created * US, (x, y)))
            return rows_of(self.view, made)

        def told(self, rows: Sequence[Row]) -> str:
            return "; ".join(
                f"{r.key[0]} event {_clock(r.event)} created {_clock(r.created)} x={r.values[0]!r} y={r.values[1]!r}"
                for r in rows
            )

        def send(self, rows: list[Row], to: str) -> None:
            kit.store.write(self.name, rows_table(self.view, rows), to=to)  # type: ignore[arg-type]
            self.model.write(rows, to, kit.clock.now())  # type: ignore[arg-type]

        def teardown(self) -> None:
            with suppress(*([Exception] if self.failed else [])):  # what went wrong first is what is told
                for other in self.others:
                    other.close()
                if self.name in {view.name for view in kit.store.list_feature_views()}:
                    kit.store.delete(self.name)

    return Interleaving


def _targets(append: bool, online: bool) -> list[str]:
    return [to for to, may in (("online", online), ("offline", append), ("both", append and online)) if may]


def _clock(moment: datetime | None) -> str:
    return "missing" if moment is None else moment.strftime("%H:%M:%S.%f")


def _key(row: int | None) -> str:
    return "?" if row is None else repr(KEYS[row])
