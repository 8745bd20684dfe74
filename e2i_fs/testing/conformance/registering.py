"""The part of the group *core* that is about definitions: R-1, R-4 and R-5."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from threading import Barrier
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from e2i_fs.backend import Capabilities
from e2i_fs.catalog import Catalog, Definition
from e2i_fs.definitions import Entity, FeatureService, FeatureView, Field, check_name
from e2i_fs.dtypes import KEY_KINDS, Decimal, DType
from e2i_fs.errors import BreakingChangeError, DefinitionError
from e2i_fs.on_demand import OnDemandFeatureView
from e2i_fs.sources import PushSource, RequestSource
from e2i_fs.testing import strategies
from e2i_fs.testing.conformance.rules import proves
from e2i_fs.testing.conformance.samples import ABSENT, Sample, kept_kinds
from e2i_fs.testing.findings import Mismatch
from e2i_fs.testing.kit import Kit
from e2i_fs.testing.values import ALL_KINDS

__all__ = ["RegisteringTests"]

_CODE = """def f(columns):
    "Text of any script, 'é' and \\\\ and 日本, comes back as it was."
    return {"y": [1 for _ in columns["r"]]}
"""


class RegisteringTests:
    """Tests of applying, changing and deleting definitions."""

    group: ClassVar[str] = "core"

    @proves("R-1", "R-5")
    def test_r1_definitions_come_back_exactly(self, kit: Kit) -> None:
        """Every dtype, microsecond ttls, several entities, push sources, services, on-demand views and names of any script."""
        backend = kit.backend
        other = kit.backend_of(kit.handle()) if kit.can.persistent else backend
        last = backend.definitions()

        def check(definitions: list[Definition]) -> None:
            nonlocal last
            after, _ = Catalog().planned(definitions, "")  # instead of the last example's, which are gone then
            taken = any(backend.apply(after, expected=e) for e in (last.revision, backend.definitions().revision))
            kit.is_("R-1", "apply with the current revision was refused.", taken, True)
            last = after
            for reader, who in ((backend, "The same handle"), (other, "Another handle")):
                _same_catalog(f"{who} gives back other definitions than were applied.", reader.definitions(), after)

        kit.search("R-1", _definitions(kit.can), check, share=0.5)
        with kit.check("R-1"):
            backend.apply(Catalog(), expected=last.revision)
            _same_catalog("What was taken out is still there.", other.definitions(), Catalog())

    @proves("R-1")
    def test_r1_a_stale_revision_changes_nothing(self, kit: Kit) -> None:
        """`apply` with an ``expected`` that is no longer the revision returns False and leaves definitions and rows alone."""
        with kit.check("R-1"):
            backend, sample = kit.backend, Sample(kit)
            empty = backend.definitions()
            sample.apply()
            sample.write((1, 0, 1))
            now = backend.definitions()
            wanted, _ = now.planned([Entity("another")], "")
            for stale, target in ((empty.revision, wanted), (empty.revision, empty), ("no revision", wanted)):
                kit.is_(
                    "R-1",
                    f"apply with expected={stale!r}, which is stale:",
                    backend.apply(target, expected=stale),
                    False,
                )
                _same_catalog("A refused apply changed the definitions.", backend.definitions(), now)
            sample.expect("R-1", "A refused apply dropped rows.", 1, expected=[sample.answer(1)])
            kit.is_("R-1", "apply with the revision of now:", backend.apply(wanted, expected=now.revision), True)

    @proves("R-1")
    def test_r1_apply_tells_its_plan_and_is_idempotent(self, kit: Kit) -> None:
        """A dry run only plans, the plan names what is done, doing it again does nothing, and no harmless change loses a row."""
        with kit.check("R-1"):
            store, sample = kit.store, Sample(kit)
            view, names = sample.view(), ("entity sample_entity", "view sample")
            planned = store.apply([view], dry_run=True)
            kit.is_("R-1", "A dry run registered something.", [v.name for v in store.list_feature_views()], [])
            done = store.apply([view])
            kit.is_(
                "R-1", "Apply and its dry run differ.", (done.created, done.updated), (planned.created, planned.updated)
            )
            kit.is_("R-1", "The plan of a first apply:", tuple(sorted(done.created)), names)
            sample.write((1, 0, 1))
            position = kit.backend.position("sample")
            kit.is_("R-1", "The same apply again changes something.", store.apply([view]).changes, False)
            told = replace(view, ttl=timedelta(days=1, microseconds=1), description="told anew", tags={"a": "b"})
            store.apply([told], dry_run=True)
            kit.is_("R-1", "A dry run changed a view.", store.get_feature_view("sample").ttl, None)
            kit.is_("R-1", "The plan of a change:", store.apply([told]).updated, ("view sample",))
            kit.is_("R-1", "The view after its change:", store.get_feature_view("sample"), told)
            sample.expect("R-1", "Another ttl or description lost rows.", 1, expected=[sample.answer(1)])
            kit.is_("X-4", "The position after another ttl:", kit.backend.position("sample"), position)
            kit.is_("R-1", "The plan of a deletion:", store.delete("sample").removed, ("view sample",))

    @proves("R-1")
    def test_r1_applies_at_once_lose_nothing(self, kit: Kit) -> None:
        """Two threads, on two handles where the backend is persistent, apply at once, and every view is there after."""
        with kit.check("R-1"):
            sample = Sample(kit, "v")
            handles = [kit.store, kit.handle() if kit.can.persistent else kit.store]
            start = Barrier(len(handles))

            def work(number: int) -> None:
                start.wait()
                for n in range(6):
                    handles[number].apply([replace(sample.view(), name=f"v{number}_{n}")])

            with ThreadPoolExecutor(len(handles)) as pool:
                for job in [pool.submit(work, number) for number in range(len(handles))]:
                    job.result()
            for handle in handles:
                found = [view.name for view in handle.list_feature_views()]
                kit.is_(
                    "R-1", "A view is lost that was applied.", found, [f"v{a}_{b}" for a in (0, 1) for b in range(6)]
                )

    @proves("R-4", "R-1")
    def test_r4_a_breaking_change_needs_consent_and_drops_the_rows(self, kit: Kit) -> None:
        """Without allow_breaking nothing changes; with it the rows of the old form go, offline and online, batch ids too."""
        with kit.check("R-4"):
            store, sample = kit.store, Sample(kit)
            more = Field("y", sample.value_type)
            wide, narrow = sample.view(more), sample.view()
            if len(sample.value_types) > 1:
                narrow = replace(narrow, schema=[Field("x", sample.value_types[1])])
            store.apply([wide])
            store.write("sample", sample.table((1, 0, 1), more=[more]), to=sample.target, idempotency_key="batch")
            kit.raises(
                "R-4",
                BreakingChangeError,
                lambda: store.apply([narrow]),
                "a breaking change of the fields is applied without consent",
            )
            kit.is_("R-4", "A refused change was made.", store.get_feature_view("sample"), wide)
            sample.expect("R-4", "A refused change lost rows.", 1, expected=[sample.answer(1)])
            kit.is_("R-4", "The plan:", store.apply([narrow], allow_breaking=True).updated, ("view sample",))
            new = Sample(kit, value_type=narrow.schema[0].dtype)
            new.expect("R-4", "A row of the old form answers.", 1, expected=[ABSENT])
            kit.is_("R-4", "Online rows that count after a breaking change:", kit.backend.position("sample").rows, 0)
            receipt = new.write((1, 0, 2), key="batch")
            kit.is_("R-4", "The batch id of a dropped batch is still taken.", receipt.repeated, False)
            new.expect("R-4", "A row of the new form is not there.", 1, expected=[new.answer(2)])
            if len(sample.key_types) > 1:
                self._another_key(kit)

    def _another_key(self, kit: Kit) -> None:
        """The same fields under a join key of another dtype: that is a breaking change too."""
        sample = Sample(kit, "keyed")
        sample.apply()
        sample.write((1, 0, 1), key="batch")
        sample.key_type = sample.key_types[1]
        kit.raises(
            "R-4",
            BreakingChangeError,
            lambda: kit.store.apply([sample.view()]),
            "a join key of another dtype is applied without consent",
        )
        sample.tell(f"apply keyed again with key k {sample.key_type!r}, allow_breaking=True")
        kit.store.apply([sample.view()], allow_breaking=True)
        says = "The join key has another dtype: online rows that count."
        kit.is_("R-4", says, kit.backend.position("keyed").rows, 0)
        sample.expect("R-4", "A row under a join key of the old dtype answers.", 1, expected=[ABSENT])
        kit.is_("R-4", "The rows of history left under a join key of the old dtype:", sample.rows(), 0)
        sample.write((1, 0, 2), key="batch")
        sample.expect("R-4", "A row under the new key is not there.", 1, expected=[sample.answer(2)])

    @proves("R-4")
    def test_r4_a_view_made_anew_has_no_ghosts(self, kit: Kit) -> None:
        """Deleting a view takes its batches and online rows with it, so a view made anew under its name is empty."""
        with kit.check("R-4"):
            sample, other = Sample(kit), Sample(kit, "other")
            sample.apply()
            other.apply()
            for view in (sample, other):
                view.write((1, 0, 1), (2, 0, 2), key="batch")
            kit.store.delete("sample")
            sample.apply()
            sample.expect("R-4", "A row of the deleted view answers.", 1, 2, expected=[ABSENT, ABSENT])
            if kit.can.online:
                position = kit.backend.position("sample")
                kit.is_("R-4", "The position of an empty view:", (position.rows, position.newest_event_us), (0, None))
            receipt = sample.write((1, 0, 1), (2, 0, 2), key="batch")
            kit.is_("R-4", "A batch of the deleted view counts as one of the new view.", receipt.repeated, False)
            other.expect("R-4", "Another view lost rows.", 1, 2, expected=[other.answer(1), other.answer(2)])
            if kit.can.persistent:
                kit.store.delete("sample")
                kit.reopen()
                sample.apply()
                sample.expect("R-4", "A row of the deleted view answers after reopening.", 1, expected=[ABSENT])

    @proves("R-4", "O-3")
    def test_r4_a_field_added_later_is_missing_in_older_rows(self, kit: Kit) -> None:
        """Adding a field is no breaking change: older rows stay and have NULL there, newer ones have their values."""
        with kit.check("R-4"):
            sample = Sample(kit)
            added = Field("y", sample.value_types[-1])
            new = Sample(kit, value_type=added.dtype)  # speaks of y's values
            sample.apply()
            sample.write((1, 0, 1), (2, 0, 2))
            kit.store.apply([sample.view(added)])
            table = sample.table((2, 60, 3), (3, 60, 4), more=[added])
            kit.store.write("sample", table, to=sample.target)
            sample.expect("R-4", "The old field:", 1, 2, 3, expected=[sample.answer(n) for n in (1, 3, 4)])
            expected = [(None, "NULL_VALUE"), new.answer(3), new.answer(4)]
            if kit.can.append:
                kit.is_("R-4", "The new field in history:", sample.history(1, 2, 3, feature="y"), expected)
                kit.is_("R-4", "The new field before it was:", sample.history(2, at=59, feature="y"), expected[:1])
            if kit.can.online:
                kit.is_("R-4", "The new field online:", sample.online(1, 2, 3, feature="y"), expected)

    @proves("R-5", "R-1")
    def test_r5_what_was_done_is_there_at_once_and_for_everybody(self, kit: Kit) -> None:
        """Definitions and rows of one handle are seen by another at once, and are all there after reopening."""
        kit.need_can("persistent")
        with kit.check("R-5"):
            store, other, sample = kit.store, kit.handle(), Sample(kit)
            other.list_feature_views()  # whatever it remembers, it remembers an empty store
            sample.apply()
            kit.is_("R-5", "Another handle's views:", [v.name for v in other.list_feature_views()], ["sample"])
            sample.write((1, 0, 1))
            sample.expect("R-5", "Another handle does not see a write.", 1, expected=[sample.answer(1)], store=other)
            sample.write((1, 60, 2), (2, 60, 3), store=other)
            both = [sample.answer(2), sample.answer(3)]
            sample.expect("R-5", "The first handle does not see the other's write.", 1, 2, expected=both, store=store)
            one, two = kit.backend, kit.backend_of(other)
            kit.is_("F-3", "The position as the other handle tells it:", two.position("sample"), one.position("sample"))
            sample.expect("R-5", "Another handle reads them.", 1, 2, expected=both, store=other)
            sample.write((1, 120, 4))
            both[0] = sample.answer(4)
            says = "Another handle does not see a newer row of keys that it wrote and read."
            sample.expect("R-5", says, 1, 2, expected=both, store=other)
            kit.is_("F-3", "The position after a write of one handle:", two.position("sample"), one.position("sample"))
            if "parquet" in kit.can.sources:
                kit.place(kit.world(1))
            before, position = kit.backend.definitions(), kit.backend.position("sample")
            kit.reopen()
            _same_catalog("Definitions after reopening are others.", kit.backend.definitions(), before)
            sample.expect("R-5", "Rows are lost by reopening.", 1, 2, expected=both)
            kit.is_("F-3", "The position after reopening:", kit.backend.position("sample"), position)

    @proves("G-3", "R-5")
    def test_g3_what_is_said_not_to_last_does_not(self, kit: Kit) -> None:
        """A backend that declares persistent=False is empty when it is opened again, definitions and rows alike."""
        kit.need_can("persistent", declared=False)
        with kit.check("G-3"):
            sample = Sample(kit)
            sample.apply()
            sample.write((1, 0, 1))
            kit.reopen()
            kept = [view.name for view in kit.store.list_feature_views()]
            kit.is_("G-3", "Views are kept; declare persistent=True.", kept, [])
            sample.apply()
            sample.expect("G-3", "Rows are kept; declare persistent=True.", 1, expected=[ABSENT])


def _same_catalog(says: str, got: Catalog, expected: Catalog) -> None:
    """Raise `Mismatch` with the first definition that differs."""
    one, other = got.to_json(), expected.to_json()
    for kind in ("entities", "views", "services", "on_demand"):
        left, right = ({_name(form): form for form in side[kind]} for side in (one, other))
        for name in sorted({*left, *right}):
            if left.get(name) != right.get(name):
                raise Mismatch("R-1", f"{says} ({kind}, {name!r})", expected=right.get(name), got=left.get(name))
    if got.revision != expected.revision:
        raise Mismatch("R-1", f"{says} (the order of something)", expected=other, got=one)


def _name(form: dict[str, Any]) -> str:
    return str(next(form[kind] for kind in ("entity", "view", "service", "on_demand_view") if kind in form))


# ---- definitions of every kind ------------------------------------------------------------------------------


def _nameable(text: str) -> bool:
    try:
        check_name(f"a{text}", "anything")
    except DefinitionError:
        return False
    return True


_TEXTS = st.text(max_size=12)
_NAMES = st.sampled_from(["", " b", "é", "e\u0301", "日本", "_", "-x", ".", "%20", "ß", "\U0001f600"]) | _TEXTS.filter(
    _nameable
)


@st.composite
def _definitions(draw: DrawFn, can: Capabilities) -> list[Definition]:
    """Return a strategy of definitions that belong together: views with entities, services and an on-demand view."""
    names = iter(f"a{n}{draw(_NAMES)}".strip() for n in range(100))
    about: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
        {"tags": st.dictionaries(_TEXTS, _TEXTS, max_size=2), "owner": _TEXTS, "description": _TEXTS}
    )
    key_types = [
        Decimal(10, 2) if kind == "decimal" else DType(kind) for kind in kept_kinds(can.key_kinds, sorted(KEY_KINDS))
    ]
    entities = [
        Entity(
            next(names),
            join_keys={next(names): draw(st.sampled_from(key_types)) for _ in range(draw(st.integers(1, 2)))},
            **draw(about),
        )
        for _ in range(draw(st.integers(1, 2)))
    ]
    feature_types = strategies.dtypes(kept_kinds(can.feature_kinds, ALL_KINDS))
    views = []
    for _ in range(draw(st.integers(1, 2))):
        fields = [
            Field(next(names), draw(feature_types), "label" if n and draw(st.booleans()) else "feature", draw(_TEXTS))
            for n in range(draw(st.integers(1, 3)))
        ]
        views.append(
            FeatureView(
                next(names),
                entities=draw(st.permutations(entities))[: draw(st.integers(1, len(entities)))],
                schema=fields,
                source=draw(st.none() | st.just(next(names)).map(_push)) if "push" in can.sources else None,
                ttl=draw(st.none() | _durations()),
                online=can.online and draw(st.booleans()),
                max_staleness=draw(st.none() | _durations()),
                **draw(about),
            )
        )
    found: list[Definition] = [*entities, *views]
    if draw(st.booleans()):
        refs = [ref for view in views for ref in _refs(view, draw(st.booleans()))]
        found.append(FeatureService(next(names), features=refs, **draw(about)))
    if draw(st.booleans()):
        request = RequestSource(next(names), schema=[Field("r", draw(feature_types))])
        found.append(
            OnDemandFeatureView(
                next(names),
                inputs=(f"{views[0].name}:{views[0].schema[0].name}",),
                request=(request,),
                schema=(Field("y", DType("int64")),),
                code=_CODE,
                function="f",
                **draw(about),
            )
        )
    return found


def _durations() -> st.SearchStrategy[timedelta]:
    return st.timedeltas(timedelta(microseconds=1), timedelta(days=3_650))


def _push(name: str) -> PushSource:
    return PushSource(name, timestamp_field="at", created_timestamp_field="known", field_mapping={})


def _refs(view: FeatureView, wild: bool) -> Sequence[str]:
    return [f"{view.name}:*"] if wild else [f"{view.name}:{field.name}" for field in view.schema]
