"""One examination: a harness opened and watched, and searches for the smallest example that breaks a rule."""

from __future__ import annotations

import itertools
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import pyarrow as pa
from hypothesis import HealthCheck, Phase, Verbosity, given, settings
from hypothesis import seed as hypothesis_seed
from hypothesis.errors import Flaky
from hypothesis.strategies import SearchStrategy

from e2i_fs.backend import Backend, Capabilities
from e2i_fs.clock import to_us
from e2i_fs.config import load_config
from e2i_fs.definitions import FeatureView
from e2i_fs.errors import E2IError
from e2i_fs.ops.ledger import Ledger
from e2i_fs.plugins import Plugins
from e2i_fs.protocol import FeatureStore
from e2i_fs.routing import Single
from e2i_fs.store import Store
from e2i_fs.testing import strategies
from e2i_fs.testing.clock import FakeClock
from e2i_fs.testing.columnar import compare_columns
from e2i_fs.testing.compare import Difference, historical_difference, online_difference
from e2i_fs.testing.diagnosis import diagnose
from e2i_fs.testing.files import batch_table, definitions, entity_frame, entity_rows
from e2i_fs.testing.findings import Finding, HarnessError, Inapplicable, Mismatch, Stuck
from e2i_fs.testing.fitting import push_source, written_only
from e2i_fs.testing.harness import Harness
from e2i_fs.testing.inspector import Inspected, inspected
from e2i_fs.testing.metamorphic import in_files
from e2i_fs.testing.oracle import Row
from e2i_fs.testing.reach import Reach, looked_over
from e2i_fs.testing.show import shown
from e2i_fs.testing.values import ALL_KINDS
from e2i_fs.testing.worlds import Request, ViewWorld, World, make_world, renamed

__all__ = ["PROFILES", "Kit", "Profile"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Profile:
    """How hard to look: ``examples`` for each property, ``runs`` of ``steps`` steps of the state machine.

    ``patience`` is how many seconds to look for a smaller example of a failure; ``shrink=False`` takes the first.
    """

    name: str
    examples: int
    runs: int
    steps: int
    shrink: bool = True
    patience: float = 30.0


PROFILES = {
    p.name: p for p in (Profile("quick", 10, 3, 10), Profile("ci", 40, 12, 20), Profile("thorough", 10_000, 2_000, 50))
}


class Kit:
    """What a test of the kit works with: ``store``, ``backend`` (watched), ``clock``, ``can``, and the searches.

    A context manager. ``example`` is what is being tried, for the report when something goes wrong.
    """

    def __init__(
        self, harness: Harness, *, profile: Profile = PROFILES["ci"], seed: int = 0, test: str = "", replay: str = ""
    ) -> None:
        looked_over(harness)
        self.harness = harness
        self.profile = profile
        self.seed = seed
        self.test = test
        self.replay = replay
        self.example: Any = None
        self.tried = 0
        self._temporary = tempfile.TemporaryDirectory(prefix="e2i_fs_kit_")
        self.folder = Path(self._temporary.name)
        self._open: list[Any] = []
        self._store: Any = None
        self._names = itertools.count()
        self._reach = Reach(harness)
        self._began = False
        self._placed_as: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        finally:
            self._reach.close()
            self._temporary.cleanup()

    # ---- the store under examination ----------------------------------------------------------------------

    @property
    def store(self) -> FeatureStore:
        """The store, opened on first use."""
        if self._store is None:
            self._store = self.handle()
        found: FeatureStore = self._store
        return found

    @property
    def clock(self) -> FakeClock:
        """The clock of store and backend."""
        return self.harness.clock

    @property
    def backend(self) -> Inspected:
        """The one backend of the store, watched; a store that is not over one backend has none."""
        return self.backend_of(self.store)

    def backend_of(self, store: FeatureStore) -> Inspected:
        """Return the one backend of a store that `handle` returned."""
        if isinstance(store, Store) and len(store._router.names) == 1:
            found: Inspected = store._router.backend(store._router.names[0])  # type: ignore[assignment]
            return found
        raise Inapplicable("open() gave a store that is not over one backend, so this test cannot reach it.")

    @property
    def can(self) -> Capabilities:
        """What the backend declares."""
        try:
            return self.backend.capabilities
        except Inapplicable:
            return Capabilities()

    def handle(self) -> FeatureStore:
        """Open another handle on the same data."""
        opened = self._opened()
        self._open.append(opened)
        if not self._began:
            self._began = True
            self._need_empty(opened)
        return opened

    def reopen(self) -> FeatureStore:
        """Close every handle and open one anew, as a new process would."""
        self.close()
        return self.store

    def close(self) -> None:
        """Close every handle; what closing raises is the test's."""
        handles, self._open, self._store = self._open, [], None
        for handle in handles:
            handle.close()

    def _opened(self) -> FeatureStore:
        found = self._reach.open()
        own = self.harness
        if isinstance(found, Store):
            if found._clock is not own.clock and getattr(found._clock, "__self__", None) is not own.clock:
                found.close()
                raise HarnessError(
                    f"{type(own).__name__}.open() made a store that reads another clock. Pass connect(..., clock=self.clock)."
                )
            router = found._router
            if not isinstance(router, Single):
                return found
            (name,) = router.names
            single = Single(name, inspected(router.backend(name), own.patience), own.clock)
            return Store(single, found._config, found._plugins, found._ledger, own.clock)
        if isinstance(found, FeatureStore):
            return found
        config = load_config({"backend": "memory", "state": str(self.folder / "state")})
        watched: Backend = inspected(found, own.patience)
        single = Single(type(found).__name__, watched, own.clock)
        return Store(single, config, Plugins(), Ledger(config.state), own.clock)

    def _need_empty(self, store: FeatureStore) -> None:
        """Raise `HarnessError` when there is something in a store that nothing was done with."""
        there = [view.name for view in store.list_feature_views()]
        if there:
            raise HarnessError(
                f"{type(self.harness).__name__}.open() gave a store that is not empty; it has the views {', '.join(there)}. "
                "Each test has a harness with an empty folder of its own, self.path, and needs an empty store: keep everything in "
                "that folder, or under a name made from it."
            )

    # ---- past the API -------------------------------------------------------------------------------------

    def raw_write(self, view: str, rows: pa.Table) -> None:
        """Add rows to history past the API; see `Harness`."""
        self._reach.raw_write(view, rows)

    def raw_read(self, view: str, wanted: pa.Schema) -> pa.Table:
        """Return the history as it lies in the store: the columns of ``wanted`` that are there, in its dtypes."""
        return self._reach.raw_read(view, wanted)

    @contextmanager
    def outage(self) -> Iterator[None]:
        """Take the store away while the block runs."""
        self._reach.break_()
        try:
            yield
        finally:
            self._reach.heal()

    def need(self, *methods: str) -> None:
        """Leave the test as not applicable unless the harness offers ``methods``."""
        for method in methods:
            if not self.harness.offers(method):
                raise Inapplicable(f"needs {type(self.harness).__name__}.{method}()")

    def need_can(self, what: str, *, declared: bool = True) -> None:
        """Leave the test as not applicable unless the backend declares (or does not declare) a capability."""
        if bool(getattr(self.can, what)) is not declared:
            raise Inapplicable(f"the backend {'does not declare' if declared else 'declares'} {what}")

    # ---- worlds -------------------------------------------------------------------------------------------

    def worlds(self, *, history: bool = True, **more: Any) -> SearchStrategy[World]:
        """Return worlds that this backend can keep, as `fitted`; ``more`` as for `e2i_fs.testing.strategies.worlds`."""
        return strategies.worlds(**self._kept() | more).map(lambda world: self.fitted(world, history=history))

    def world(self, seed: int) -> World:
        """Return the world of ``seed`` as this backend can keep it."""
        return self.fitted(make_world(seed, **self._kept()))

    def _kept(self) -> dict[str, Any]:
        """Return of which dtypes worlds are made: all that are declared, and keys that can be told apart."""
        can = self.can
        kinds = [k for k in ALL_KINDS if can.feature_kinds is None or k in can.feature_kinds]
        usual = ("string", "int64")
        keys = [k for k in usual if can.key_kinds is None or k in can.key_kinds]
        keys = keys or [k for k in ("int32", "bytes", "date", "timestamp") if k in (can.key_kinds or ())]
        if not kinds or not keys:
            raise Inapplicable("the backend declares no kind of feature, or no kind of join key with many values")
        return {"kinds": kinds, "key_kinds": keys, "append": can.append}

    @property
    def files(self) -> str:
        """The kind of file in which history is put, or "" where it is all in batches."""
        can = self.can
        if "parquet" in can.sources:
            return "parquet"
        return "duckdb" if "duckdb" in can.sources and not can.append else ""

    def fitted(self, world: World, *, history: bool = True) -> World:
        """Return ``world`` as this backend can keep it, or leave the test where it cannot keep its dtypes.

        Where no files are read, all rows are in batches, and those that no batch may hold are gone. Where nothing can be
        appended either, there is no way to put history into it: with ``history=False``, for tests of online rows, it has none.
        """
        can = self.can
        for view in world.views:
            for allowed, types in ((can.key_kinds, view.key_types), (can.feature_kinds, view.types)):
                odd = next((t.kind for t in types if allowed is not None and t.kind not in allowed), None)
                if odd is not None:
                    raise Inapplicable(f"the backend does not declare the dtype {odd}")
        if world.frame != "arrow" and find_spec(world.frame) is None:
            world = replace(world, frame="arrow")
        if not can.append:
            world = in_files(world)
        if self.files:
            return world
        world = written_only(world, times="push" in can.sources)
        if can.append:
            return world
        if history:
            raise Inapplicable(
                "there is no way to put history into it: it declares neither append nor Parquet or DuckDB sources"
            )
        return replace(world, views=tuple(replace(view, batches=()) for view in world.views))

    def need_source(self, kind: str) -> None:
        """Leave the test as not applicable unless the backend reads sources of this kind in place."""
        if kind not in self.can.sources:
            raise Inapplicable(f"the backend does not declare sources of the kind {kind}")

    @contextmanager
    def placed(self, world: World) -> Iterator[World]:
        """Put ``world`` into the store under names of its own, and take it out again."""
        named = renamed(world, f"_{next(self._names)}")
        self._placed_as = {after.name: before.name for before, after in zip(world.views, named.views, strict=True)}
        try:
            self.place(named)
            yield named
        except Exception:
            with suppress(Exception):  # what went wrong first is what is told
                self._remove(named)
            raise
        self._remove(named)

    def _remove(self, world: World) -> None:
        known = {view.name for view in self.store.list_feature_views()}
        for view in world.views:
            if view.name in known:
                self.store.delete(view.name)

    def place(self, world: World) -> None:
        """Apply the views of ``world`` and put their history where the backend keeps it: in files and in batches."""
        files = self.files
        views: Sequence[FeatureView] = definitions(world, self.folder / "sources", kind=files or "parquet")
        if not files:
            push = "push" in self.can.sources  # a view that is only written to has its time columns from a push source
            views = [replace(view, source=push_source(view) if push else None) for view in views]
        if not self.can.online:
            views = [replace(view, online=False) for view in views]
        self.clock.set(world.now)
        self.store.apply(list(views))
        for view in world.views:
            for batch in view.batches:
                rows = [view.rows[n] for n in batch]
                self.clock.set(max([world.now, *(r.event for r in rows if r.event)]))
                self.append(view, batch)
        self.clock.set(world.now)

    def append(self, view: ViewWorld, numbers: Sequence[int]) -> None:
        """Add these rows of ``view`` to its history."""
        self.store.write(view.name, batch_table(view, numbers), to="offline")

    def ask(self, world: World, request: Request, frame: Any = None, store: FeatureStore | None = None) -> Any:
        """Return the historical result for ``world``'s entity rows, or for another ``frame`` of such rows."""
        return (store or self.store).get_historical_features(
            entity_frame(world) if frame is None else frame,
            [f"{world.views[n].name}:{name}" for n, name in request.asked],
            full_feature_names=world.full_feature_names,
            timestamp_column=world.timestamp_column,
            filter_by_created_timestamp=request.filter_by_created,
            as_of=request.as_of,
        )

    def check_historical(
        self, rule: str, world: World, request: Request, store: FeatureStore | None = None
    ) -> None:  # fmt: skip
        """Ask ``store``, or the one under examination, and compare with the oracle."""
        frame = entity_frame(world)
        difference = historical_difference(world, request, self.ask(world, request, frame, store), frame)
        if difference is not None:
            raise _mismatch(rule, world, request, difference)

    def check_online(self, rule: str, world: World, view: ViewWorld, rows: Sequence[Row], when: str = "") -> None:
        """Look every entity row of ``world`` up in ``view``, in which ``rows`` were written, and compare with the oracle."""
        answer = self.store.get_online_features([f"{view.name}:*"], entity_rows(world, view))
        expected = world.expected_online(view, rows, self.clock.now())
        difference = online_difference(view, expected, answer)
        if difference is not None:
            raise Mismatch(rule, _said(difference, when), expected=difference.expected, got=difference.got)
        if self.can.columnar and isinstance(self.store, Store) and len(self.store._router.names) == 1:
            compare_columns(self.backend, view.name, entity_rows(world, view), to_us(self.clock.now()))

    # ---- searching ----------------------------------------------------------------------------------------

    def search(self, rule: str, strategy: SearchStrategy[T], check: Callable[[T], None], *, share: float = 1.0) -> None:
        """Try examples of ``strategy`` until ``check`` fails; raise a `Finding` with the smallest that does.

        ``share`` scales the profile's number of examples, for checks that cost more than others.
        """
        failed: set[str] = set()
        began = 0.0
        phases = [Phase.generate, Phase.shrink] if self.profile.shrink else [Phase.generate]

        @settings(
            max_examples=max(1, round(self.profile.examples * share)), database=None, deadline=None, phases=phases,
            suppress_health_check=list(HealthCheck), report_multiple_bugs=False, print_blob=False, verbosity=Verbosity.quiet,
        )  # fmt: skip
        @hypothesis_seed(self.seed)
        @given(strategy)
        def property_(example: T) -> None:
            nonlocal began
            self.example = example
            self.tried += 1
            if failed and time.perf_counter() - began > self.profile.patience and repr(example) not in failed:
                return  # small enough: only the last replay of the smallest is still to come
            try:
                check(example)
            except Exception:
                began = began or time.perf_counter()
                failed.add(repr(example))
                raise

        with self.reporting(rule):
            property_()

    def check(self, rule: str, example: Any = None) -> Any:
        """Return a context in which whatever goes wrong becomes a `Finding`; for checks of one fixed example."""
        self.example = example
        return self.reporting(rule)

    @contextmanager
    def reporting(self, rule: str) -> Iterator[None]:
        """Turn what goes wrong inside into a `Finding` of ``rule``, unless it names its own."""
        try:
            yield
        except (Finding, Inapplicable, HarnessError):
            raise
        except Stuck as error:
            says = f"{error}; a call that hangs hangs its caller."
            expected = f"an answer or an error within {error.seconds:g} s"
            raise self.finding("X-8", says, expected, "neither") from None
        except Mismatch as error:
            raise self.finding(error.rule or rule, error.says, error.expected, error.got) from error
        except Flaky as error:
            says = "One and the same example fails one time and passes another: the answer depends on something hidden (T-4)."
            raise self.finding(rule, says, got=str(error)) from error
        except Exception as error:
            kind = "" if isinstance(error, E2IError) else "The core could not use what the backend gave: "
            raise self.finding(rule, f"{kind}{type(error).__name__}: {error}") from error

    def finding(self, rule: str, says: str, expected: Any = None, got: Any = None) -> Finding:
        """Return the `Finding` of what is being tried, in which views have the names that they have in the example."""
        return Finding(
            rule, self.test, self._as_in_example(says),
            example="" if self.example is None else shown(self.example),
            expected="" if expected is None else self._as_in_example(_text(expected)),
            got="" if got is None and expected is None else self._as_in_example(_text(got)),
            replay=self.replay or f"e2i-fs certify NAME --only {self.test} --seed {self.seed} --profile {self.profile.name}",
        )  # fmt: skip

    def _as_in_example(self, text: str) -> str:
        for placed, own in self._placed_as.items():
            text = re.sub(rf"(?<!\w){re.escape(placed)}(?=__|\W|$)", own.replace("\\", r"\\"), text)
        return text

    # ---- small words for tests of one fixed example -------------------------------------------------------

    def is_(self, rule: str, says: str, got: Any, expected: Any) -> None:
        """Raise `Mismatch` unless two values are equal."""
        if got != expected:
            raise Mismatch(rule, says, expected=expected, got=got)

    def raises(
        self, rule: str, kinds: type[BaseException] | tuple[type[BaseException], ...], job: Callable[[], Any],
        doing: str = "",
    ) -> Any:  # fmt: skip
        """Return the error of ``kinds`` that ``job`` raises; raise `Mismatch` if it raises none or another.

        ``doing`` says in a few words what ``job`` does, for the reader of the finding.
        """
        names = " or ".join(k.__name__ for k in (kinds if isinstance(kinds, tuple) else (kinds,)))
        what = f": {doing}" if doing else ""
        try:
            got = job()
        except kinds as error:
            return error
        except E2IError as error:
            raise Mismatch(
                rule,
                f"Another error than the contract's{what}.",
                expected=names,
                got=f"{type(error).__name__}: {error}",
            ) from error
        raise Mismatch(rule, f"No error where there must be one{what}.", expected=names, got=f"no error, but {got!r}")


def _mismatch(rule: str, world: World, request: Request, difference: Difference) -> Mismatch:
    """Return the mismatch with the rule that most likely was broken."""
    named = re.search(r"\(([A-Z]-\d+)\)", difference.about)
    view = next((v for v in world.views if v.name == difference.view), None)
    found = None
    if view is not None and difference.row is not None:
        row, place = difference.row, [name for name, _ in view.fields].index(difference.feature)
        found = diagnose(
            view.rows, tuple(world.entity_keys[row][name] for name, _ in view.keys), world.times[row], view.key_types, place,
            view.types[place], world.expected(view, request)[row], *difference.got,
            filter_by_created=request.filter_by_created, as_of=request.as_of,
        )  # fmt: skip
    says = _said(difference, found.says if found else "")
    which = found.rule if found else named.group(1) if named else rule
    return Mismatch(which, says, expected=difference.expected, got=difference.got)


def _said(difference: Difference, when: str = "") -> str:
    about = " ".join(_sentence(part) for part in (when, difference.about) if part)
    where = f"{difference.view}:{difference.feature}" if difference.view else "the result"
    row = "" if difference.row is None else f", row {difference.row}"
    return f"{where}{row} is not what the contract says. {about}"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?", ":")) else ".")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else repr(value)
