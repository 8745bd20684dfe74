"""The part of the group *core* that is about capabilities: what is declared works, what is not is refused (G-3)."""

from __future__ import annotations

from typing import ClassVar

from e2i_fs.definitions import Entity, FeatureView, Field
from e2i_fs.dtypes import KEY_KINDS, Array, Decimal, DType, Int64, Struct, Vector
from e2i_fs.errors import UnsupportedError
from e2i_fs.sources import PushSource, SQLSource
from e2i_fs.store import Store
from e2i_fs.testing.conformance.rules import proves
from e2i_fs.testing.conformance.samples import ABSENT, Sample, exactly
from e2i_fs.testing.findings import Inapplicable
from e2i_fs.testing.kit import Kit
from e2i_fs.testing.values import ALL_KINDS

__all__ = ["CapabilityTests"]

_SOURCES = ("parquet", "csv", "duckdb", "sql", "push")
_INNER = {"decimal": Decimal(10, 2), "array": Array(Int64), "struct": Struct(a=Int64), "vector": Vector(2)}


class CapabilityTests:
    """Tests of capabilities, both ways."""

    group: ClassVar[str] = "core"

    @proves("G-3", "R-3")
    def test_g3_each_declared_source_is_read(self, kit: Kit) -> None:
        """A Parquet, CSV or DuckDB file, and pushed rows, answer where declared; `sql` needs a server and is not tried."""
        can = kit.can
        with kit.check("G-3"):
            unknown = sorted(set(can.sources) - set(_SOURCES))
            kit.is_("G-3", f"Kinds in sources that no source has; there are {', '.join(_SOURCES)}.", unknown, [])
            for kind in Sample(kit).files(can.sources):
                sample = Sample(kit, f"of_{kind}")
                source, _ = sample.source(kind, kit.folder / "kinds", (1, 0, 1), (1, 60, 2), (2, 60, None))
                sample.apply(source=source)
                expected = [sample.answer(2), sample.answer(None), ABSENT]
                kit.is_("G-3", f"Rows of a {kind} source:", sample.history(1, 2, 3), expected)
                kit.is_("G-3", f"Rows of a {kind} source, earlier:", sample.history(1, at=59), [sample.answer(1)])
                if can.append:
                    sample.append((3, 0, 3), batch_id="a")
                    kit.is_(
                        "G-3", f"Rows beside a {kind} source:", sample.history(1, 3), [expected[0], sample.answer(3)]
                    )
            if "push" in can.sources and (can.append or can.online):
                sample = Sample(kit, "pushed")
                sample.apply(source=PushSource("clicks"))
                kit.store.push("clicks", sample.table((1, 0, 1)), to=sample.target)
                sample.expect("G-3", "A pushed row is not there.", 1, expected=[sample.answer(1)])

    @proves("G-3")
    def test_g3_each_undeclared_source_is_refused(self, kit: Kit) -> None:
        """A view over a kind of source that is not declared raises exactly UnsupportedError at apply and is not registered."""
        missing = [kind for kind in _SOURCES if kind not in kit.can.sources]
        if not missing:
            raise Inapplicable("the backend declares every kind of source")
        with kit.check("G-3"):
            for kind in [k for k in missing if k in ("push", "sql", *Sample(kit).files(missing))]:
                sample = Sample(kit, f"of_{kind}")
                if kind == "push":
                    view = sample.view(source=PushSource("clicks"))
                elif kind == "sql":
                    view = sample.view(source=SQLSource("postgresql://127.0.0.1:1/none", table="none"))
                else:
                    view = sample.view(source=sample.source(kind, kit.folder / "kinds", (1, 0, 1))[0])
                _refused(kit, view, f"a {kind} source")

    @proves("G-3")
    def test_g3_each_undeclared_dtype_is_refused(self, kit: Kit) -> None:
        """A join key or feature of a kind that is not declared raises exactly UnsupportedError at apply."""
        can, sample = kit.can, Sample(kit)
        keys = [] if can.key_kinds is None else sorted(KEY_KINDS - can.key_kinds)
        features = [] if can.feature_kinds is None else sorted(set(ALL_KINDS) - can.feature_kinds)
        if not keys and not features:
            raise Inapplicable("the backend declares every kind of join key and feature")
        with kit.check("G-3"):
            for kind in keys:
                entity = Entity("refused_entity", join_keys={"k": _INNER.get(kind, DType(kind))})
                schema = [Field("x", sample.value_type)]
                view = FeatureView("refused", entities=[entity], schema=schema, online=can.online)
                _refused(kit, view, f"a join key of {kind}")
            for kind in features:
                _refused(kit, sample.view(Field("y", _INNER.get(kind, DType(kind)))), f"a feature of {kind}")

    @proves("G-3")
    def test_g3_each_undeclared_method_is_refused(self, kit: Kit) -> None:
        """Where append or online is not declared, its methods raise exactly UnsupportedError, and history is still read."""
        can = kit.can
        if can.append and can.online:
            raise Inapplicable("the backend declares append and online")
        with kit.check("G-3"):
            sample = Sample(kit)
            sample.apply()
            backend, (keys, rows) = kit.backend, sample.online_batch((1, 0, 1))
            calls = {
                "append": lambda: backend.append("sample", sample.table((1, 0, 1)), batch_id="a"),
                "online_read": lambda: backend.online_read("sample", keys, at_us=rows[0].event_us),
                "online_write": lambda: backend.online_write("sample", keys, rows, at_us=rows[0].event_us),
            }
            for method in ([] if can.append else ["append"]) + ([] if can.online else ["online_read", "online_write"]):
                error = kit.raises("G-3", UnsupportedError, calls[method], f"{method} is called, which is not declared")
                exactly("G-3", UnsupportedError, error, f"{method} is not declared.")
            if not can.online:
                stands = backend.position("sample")
                says = "The position, which every answer carries (X-7), where no online rows are kept:"
                kit.is_("G-3", says, (stands.newest_event_us, stands.rows), (None, 0))
            kit.is_("G-3", "History is still read:", sample.history(1), [ABSENT])

    @proves("G-3", "G-1")
    def test_g3_what_the_plugin_declares_is_what_the_backend_declares(self, kit: Kit) -> None:
        """The capabilities in the plugin's BackendSpec, where it gives any, are those of the open backend, time after time."""
        with kit.check("G-3"):
            backend, store = kit.backend, kit.store
            first = backend.capabilities
            Sample(kit).apply()
            kit.is_("G-3", "Capabilities after an apply:", backend.capabilities, first)
            assert isinstance(store, Store)
            own = next((b for b in store._config.backends if b.name == store._router.names[0]), None)
            if own is None:
                raise Inapplicable("open() gave a Backend, which was not opened through a plugin")
            declared = store._plugins.spec(own.kind).capabilities
            if declared is not None:
                kit.is_("G-3", "The plugin's BackendSpec and the backend disagree.", first, declared)


def _refused(kit: Kit, view: FeatureView, what: str) -> None:
    """Raise `Mismatch` unless applying ``view`` raises exactly `UnsupportedError` and registers nothing."""
    error = kit.raises(
        "G-3", UnsupportedError, lambda: kit.store.apply([view]), f"a view is applied with {what}, not declared"
    )
    exactly("G-3", UnsupportedError, error, f"{what} is not declared.")
    known = [found.name for found in kit.store.list_feature_views()]
    kit.is_("G-3", f"A view with {what} was registered.", view.name in known, False)
