"""G-1 to G-5: backends and observers as plugins, rule by rule."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

import e2i_fs as fs
from e2i_fs.backend import Capabilities
from e2i_fs.plugins import BackendSpec, Plugins, hookimpl
from tests.kit import NOW, at, batch, config, view


def _python(code: str, *args: str, **env: str) -> str:
    import os

    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *args],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.rule("G-1")
def test_discovery_imports_neither_feast_nor_duckdb() -> None:
    said = _python("""
        import sys
        from e2i_fs.plugins import Plugins
        print(sorted(f.name for f in Plugins().found))
        print([m for m in ("feast", "duckdb", "pyarrow", "pandas", "lmdb") if m in sys.modules])
    """)
    assert said.splitlines() == ["['duckdb', 'feast', 'memory']", "[]"]


@pytest.mark.rule("G-1")
def test_importing_the_package_imports_nothing_heavy() -> None:
    said = _python("""
        import sys, e2i_fs
        print([m for m in ("feast", "duckdb", "pyarrow", "pandas", "numpy", "lmdb") if m in sys.modules])
    """)
    assert said == "[]"


def _installed(folder, distribution: str, module: str, code: str, entry: str) -> None:
    """Put a plugin distribution into ``folder`` as pip would."""
    (folder / f"{module}.py").write_text(textwrap.dedent(code))
    info = folder / f"{distribution}-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(f"[e2i_fs]\n{entry} = {module}\n")


GOOD = """
from e2i_fs.plugins import BackendSpec, hookimpl
@hookimpl
def e2i_fs_backends():
    return [BackendSpec(name="NAME", api=1, factory="e2i_fs.testing.memory:open_backend")]
"""


@pytest.mark.rule("G-2")
@pytest.mark.parametrize(
    ("code", "cause"),
    [
        ("import no_such_module", "no_such_module"),
        ("raise SystemError('odd')", "odd"),
        (GOOD.replace("api=1", "apo=1"), "apo"),
    ],
)
def test_a_plugin_that_fails_to_load_harms_no_other_and_says_why(tmp_path, code, cause) -> None:
    _installed(tmp_path, "acme-store", "acme_store", code, "acme")
    said = _python(
        """
        import e2i_fs as fs
        fs.connect({"backend": "memory"}).close()
        from e2i_fs.plugins import Plugins
        failed = [f for f in Plugins().found if f.error]
        print([(f.name, f.distribution, f.version) for f in failed])
        try:
            fs.connect({"backend": "acme"})
        except fs.PluginLoadError as error:
            print(error, "|", repr(error.__cause__))
        """,
        PYTHONPATH=str(tmp_path),
    )
    assert said.splitlines()[0] == "[('acme', 'acme-store', '1.2')]"
    assert "acme-store 1.2" in said and cause in said.split("|")[-1]


@pytest.mark.rule("G-2")
def test_two_plugins_of_one_name_are_an_error_that_names_both(tmp_path) -> None:
    for number in (1, 2):
        _installed(tmp_path, f"acme{number}", f"acme{number}_store", GOOD.replace("NAME", "acme"), f"acme{number}")
    said = _python(
        """
        import e2i_fs as fs
        fs.connect({"backend": "memory"}).close()
        try:
            fs.connect({"backend": "acme"})
        except fs.DuplicateBackendError as error:
            print(error)
        """,
        PYTHONPATH=str(tmp_path),
    )
    assert "acme1 1.2" in said and "acme2 1.2" in said


@pytest.mark.rule("G-2")
def test_an_unknown_backend_is_an_error_with_the_nearest_name() -> None:
    with pytest.raises(fs.UnknownBackendError, match="'duckdb'"):
        fs.connect({"backend": "duckdbb", "path": "x"})


class _Limited:
    """A plugin whose backend is the one in memory, declaring less than it can."""

    capabilities = Capabilities(append=False, online=False, local=True, persistent=False)

    @hookimpl
    def e2i_fs_backends(self):
        return [BackendSpec(name="limited", api=1, factory="tests.unit.test_rules_plugins:open_limited")]


def open_limited(*, name, options, clock, base):
    from e2i_fs.testing.memory import MemoryBackend

    class Limited(MemoryBackend):
        capabilities = _Limited.capabilities

    return Limited(name, clock)


@pytest.mark.rule("G-3")
def test_an_undeclared_capability_raises_exactly_unsupported(tmp_path, clock) -> None:
    with fs.connect({"backend": "limited"}, clock=clock, plugins=[_Limited()]) as store:
        store.apply([view(tmp_path, [("a", at(1), 1)], online=False)])
        for to in ("offline", "online", "both"):
            with pytest.raises(fs.E2IError) as caught:
                store.write("hcp_stats", batch(("a", at(1), 1)), to=to)
            assert to != "offline" or type(caught.value) is fs.UnsupportedError


@pytest.mark.rule("G-3", "R-1")
@pytest.mark.parametrize("dry_run", [True, False])
def test_a_plan_says_what_a_backend_cannot_keep(tmp_path, clock, dry_run) -> None:
    with fs.connect({"backend": "limited"}, clock=clock, plugins=[_Limited()]) as store:
        with pytest.raises(fs.UnsupportedError, match="'hcp_stats': this backend keeps nothing online"):
            store.apply([view(tmp_path, [("a", at(1), 1)])], dry_run=dry_run)
        assert store.list_feature_views() == []


@pytest.mark.rule("G-3")
def test_what_is_declared_works(store, tmp_path) -> None:
    store.apply([view(tmp_path, [("a", at(1), 1)])])
    store.write("hcp_stats", batch(("a", at(2), 2)), to="both")
    store.materialize(None, NOW)
    assert store.get_online_features(["hcp_stats:*"], [{"hcp_id": "a"}]).to_dict()["trx_count"] == [2]


@pytest.mark.rule("G-4")
def test_a_drivers_error_is_only_ever_the_cause(tmp_path, clock) -> None:
    path = tmp_path / "hcp_stats.parquet"
    with fs.connect(config("duckdb", tmp_path / "store"), clock=clock) as store:
        store.apply([view(tmp_path, [("a", at(1), 1)])])
        path.write_bytes(b"PAR1 this is no Parquet PAR1")
        with pytest.raises(fs.BackendDataError) as caught:
            store.materialize(None, NOW)
        assert str(path) in str(caught.value)
        assert caught.value.__cause__ is not None
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(fs.E2IError, match="file"):
        fs.connect(config("duckdb", tmp_path / "file" / "store"), clock=clock).apply(
            [view(tmp_path / "x", [("a", at(1), 1)])]
        )


class _Angry:
    def __init__(self) -> None:
        self.seen: list[str] = []

    @hookimpl
    def e2i_fs_on_event(self, event):
        self.seen.append(type(event).__name__)
        raise RuntimeError("an observer's own trouble")


@pytest.mark.rule("G-5")
def test_an_observer_that_raises_reaches_neither_the_caller_nor_other_observers(
    tmp_path, backend, clock, caplog
) -> None:
    first, second = _Angry(), _Angry()
    with fs.connect(config(backend, tmp_path / "s"), clock=clock, plugins=[first, second]) as store:
        store.apply([view(tmp_path, [("a", at(1), 1)])])
        store.materialize(None, NOW)
        store.get_online_features(["hcp_stats:*"], [{"hcp_id": "a"}])
    assert first.seen == second.seen
    assert {"Applied", "Materialized", "Retrieved"} <= set(first.seen)
    assert "an observer's own trouble" in caplog.text


@pytest.mark.rule("G-2")
def test_an_older_or_newer_plugin_api_is_said() -> None:
    class Newer:
        @hookimpl
        def e2i_fs_backends(self):
            return [BackendSpec(name="newer", api=99, factory="x:y")]

    with pytest.raises(fs.PluginLoadError, match="99"):
        Plugins([Newer()]).spec("newer")


@pytest.mark.rule("G-3")
def test_a_backend_without_definitions_in_a_form_of_its_own_says_so() -> None:
    with pytest.raises(fs.UnsupportedError, match="no definitions in a form of its own"):
        Plugins().exchange("duckdb")


@pytest.mark.rule("G-2")
def test_an_exchange_that_cannot_be_imported_gives_the_install_hint() -> None:
    spec = fs.BackendSpec("acme", 1, "acme:open", install_hint="pip install acme", exchange="acme_missing:Exchange")

    class Plugin:
        @fs.hookimpl
        def e2i_fs_backends(self):
            return [spec]

    with pytest.raises(fs.PluginLoadError, match="Install it: pip install acme"):
        Plugins([Plugin()]).exchange("acme")
