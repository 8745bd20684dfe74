"""Finding backends and delivering events, with pluggy as the control plane only: no data crosses a hook.

Entry points of the group ``e2i_fs`` are loaded one by one, so that a broken plugin harms no other (G-2).
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, Protocol, cast

import pluggy

from e2i_fs.backend import Backend, Capabilities
from e2i_fs.errors import (
    DuplicateBackendError,
    E2IError,
    PluginLoadError,
    UnknownBackendError,
    UnsupportedError,
    did_you_mean,
)

if TYPE_CHECKING:
    from e2i_fs.adoption.foreign import Exchange
    from e2i_fs.clock import Clock
    from e2i_fs.store import Store
    from e2i_fs.telemetry.events import Event

__all__ = ["API_VERSION", "BackendSpec", "FoundBackend", "Listener", "Plugins", "hookimpl", "hookspec"]

API_VERSION = 1
GROUP = "e2i_fs"

hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)

_log = logging.getLogger("e2i_fs")


@dataclass(frozen=True, slots=True)
class BackendSpec:
    """One backend that a plugin offers; its module is imported only when it is opened (G-1).

    ``name`` is its name in configurations, ``api`` the version of the plugin API (1), ``summary`` a line for people and
    ``install_hint`` how to install what it needs. ``factory`` is ``"module:function"``, called as
    ``function(name=..., options=..., clock=..., base=...)``, and returns a `Backend`. ``capabilities`` are those that
    hold for all options; None when they depend on the options. ``stores`` are names of stores that it keeps rows in:
    whoever asks for one of these as a backend is pointed to this backend.

    ``harness`` is ``"module:Class"`` of the `e2i_fs.testing.harness.Harness` with which `e2i-fs certify` examines the
    backend, made as ``Class(path)``, or ``Class(path, options)`` when the command gets options. ``exchange`` is
    ``"module:Class"`` of the `e2i_fs.adoption.foreign.Exchange` that reads and writes definitions in the backend's own
    form, made as ``Class()``.

    >>> from e2i_fs import BackendSpec
    >>> BackendSpec(name="acme", api=1, factory="acme_store:open_backend").name
    'acme'
    """

    name: str
    api: int
    factory: str
    capabilities: Capabilities | None = None
    install_hint: str = ""
    summary: str = ""
    harness: str = ""
    exchange: str = ""
    stores: tuple[str, ...] = ()


class _Hooks:
    """The hooks. They grow by new arguments only: an implementation may take fewer."""

    @hookspec
    def e2i_fs_backends(self) -> Iterable[BackendSpec]:  # type: ignore[empty-body]
        """Return the backends that this plugin offers."""

    @hookspec
    def e2i_fs_on_event(self, event: Event) -> None:
        """Be told of an event. What this raises is logged and goes no further (G-5)."""

    @hookspec
    def e2i_fs_on_open(self, store: Store) -> None:
        """Be told that a store was opened: to read of it later what no event tells. What this raises is only logged (G-5)."""

    @hookspec
    def e2i_fs_on_close(self, store: Store) -> None:
        """Be told that a store is about to be closed. What this raises is only logged (G-5)."""


class Listener(Protocol):
    """What the store itself listens to events with. Unlike an observer it never raises, and hears of no reads."""

    def notice(self, event: Event) -> None:
        """Take an event, at once: the caller waits."""
        ...

    def flush(self) -> bool:
        """Finish with the events until now; return whether that could be done."""
        ...

    def close(self) -> None:
        """Finish with what is left. Calling it twice is harmless."""
        ...


@dataclass(frozen=True, slots=True)
class FoundBackend:
    """What discovery found of one entry point or one backend: its spec, or the error that kept it out."""

    name: str
    distribution: str
    version: str
    spec: BackendSpec | None = None
    error: Exception | None = None


class Plugins:
    """The plugins of one store: those installed, and those given as objects (modules, usually).

    ``found`` has every backend and every entry point that failed, with its distribution and version (G-2).
    """

    def __init__(self, extra: Sequence[object] = ()) -> None:
        self._manager = pluggy.PluginManager(GROUP)
        self._manager.add_hookspecs(_Hooks)
        self.found: list[FoundBackend] = []
        self._listeners: list[Listener] = []
        for entry in entry_points(group=GROUP):
            self._add(entry.name, _distribution(entry), entry.load)
        for plugin in extra:
            name = getattr(plugin, "__name__", type(plugin).__name__)
            self._add(name, ("(given to connect)", ""), lambda plugin=plugin: plugin)
        hooks = self._manager.hook
        self.has_observers = any(
            hook.get_hookimpls() for hook in (hooks.e2i_fs_on_event, hooks.e2i_fs_on_open, hooks.e2i_fs_on_close)
        )

    def _add(self, name: str, origin: tuple[str, str], load: Any) -> None:
        # A plugin is a stranger's code: whatever it raises while it loads is kept and reported, never hidden.
        try:
            plugin = load()
            self._manager.register(plugin, name=f"{origin[0]}:{name}:{id(plugin)}")
            self._manager.check_pending()
            offered = [i for i in self._manager.hook.e2i_fs_backends.get_hookimpls() if i.plugin is plugin]
            specs: list[Any] = [spec for impl in offered for spec in cast("Iterable[Any]", impl.function())]
            bad = next((s for s in specs if not isinstance(s, BackendSpec)), None)
            if bad is not None:
                raise PluginLoadError(f"e2i_fs_backends() of {origin[0]} gave {bad!r}, which is no BackendSpec.")
        except Exception as error:
            self._forget(name, origin)
            self.found.append(FoundBackend(name, *origin, error=error))
        else:
            self.found.extend(FoundBackend(spec.name, *origin, spec=spec) for spec in specs)

    def _forget(self, name: str, origin: tuple[str, str]) -> None:
        for known, plugin in self._manager.list_name_plugin():
            if plugin is not None and known.startswith(f"{origin[0]}:{name}:"):
                self._manager.unregister(plugin)

    def _instead(self, name: str) -> str:
        """Return a sentence on what to give instead of a name that no backend has: a store that another one keeps rows in, or a near name."""
        for f in self.found:
            if f.spec is not None and name.casefold() in f.spec.stores:
                return f" It is no backend of its own; see backend: {f.name} ({f.spec.summary})."
        return did_you_mean(name, [f.name for f in self.found if f.spec])

    def spec(self, name: str) -> BackendSpec:
        """Return the spec of the backend called ``name``.

        Raises `UnknownBackendError` (nearest names), `DuplicateBackendError` (both distributions) or
        `PluginLoadError` (the cause).
        """
        named = [f for f in self.found if f.name == name]
        good = [f for f in named if f.spec is not None]
        if len(good) > 1:
            who = " and ".join(f"{f.distribution} {f.version}".strip() for f in good)
            raise DuplicateBackendError(f"Two plugins offer the backend {name!r}: {who}. Uninstall one of them (G-2).")
        if not good and named:
            failed = named[0]
            raise PluginLoadError(
                f"The plugin {name!r} of {failed.distribution} {failed.version} cannot be loaded: "
                f"{type(failed.error).__name__}: {failed.error}. Reinstall or remove it; `e2i-fs doctor` shows all plugins."
            ) from failed.error
        if not good:
            raise UnknownBackendError(f"Unknown backend {name!r}.{self._instead(name)}")
        spec = good[0].spec
        assert spec is not None
        if spec.api != API_VERSION:
            raise PluginLoadError(
                f"The backend {name!r} of {good[0].distribution} speaks API {spec.api}, this e2i_fs speaks {API_VERSION}; "
                f"upgrade {'e2i-fs' if spec.api > API_VERSION else good[0].distribution}."
            )
        return spec

    def open(self, kind: str, *, name: str, options: Mapping[str, Any], clock: Clock, base: str) -> Backend:
        """Import the backend ``kind`` and open it (G-1). Only errors of `e2i_fs.errors` come out (G-4)."""
        factory = self._imported(kind, self.spec(kind).factory)
        try:
            backend: Backend = factory(name=name, options=options, clock=clock, base=base)
        except E2IError:
            raise
        except Exception as error:
            raise PluginLoadError(f"The backend {kind!r} failed to open: {type(error).__name__}: {error}") from error
        return backend

    def exchange(self, kind: str) -> Exchange:
        """Return what reads and writes definitions in the own form of the backend ``kind``; `UnsupportedError` if it has none."""
        spec = self.spec(kind)
        if not spec.exchange:
            raise UnsupportedError(f"The backend {kind!r} has no definitions in a form of its own.")
        made: Exchange = self._imported(kind, spec.exchange)()
        return made

    def _imported(self, kind: str, where: str) -> Any:
        """Return what ``"module:name"`` names, or raise `PluginLoadError` with the install hint."""
        module, _, name = where.partition(":")
        try:
            return getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError) as error:
            install = self.spec(kind).install_hint
            hint = f" Install it: {install}" if install else ""
            raise PluginLoadError(f"The backend {kind!r} cannot be imported ({error}).{hint}") from error

    def listen(self, listener: Listener) -> None:
        """Tell ``listener`` of every event but those that are made for observers only (`has_observers`)."""
        self._listeners.append(listener)

    @property
    def is_heard(self) -> bool:
        """Whether anybody at all is told of an event."""
        return self.has_observers or bool(self._listeners)

    def flush(self) -> None:
        """Let listeners finish with the events until now."""
        for listener in self._listeners:
            listener.flush()

    def close(self) -> None:
        """Let listeners finish with what is left."""
        for listener in self._listeners:
            listener.close()

    def emit(self, event: Event) -> None:
        """Tell every observer. One that raises is logged; neither the others nor the caller notice (G-5)."""
        for listener in self._listeners:
            try:
                listener.notice(event)
            except Exception:  # an event that a stranger made, of other values than its class says
                _log.exception("An e2i_fs listener (%s) failed on %s", type(listener).__name__, type(event).__name__)
        self._tell(self._manager.hook.e2i_fs_on_event, event, type(event).__name__)

    def opened(self, store: Store) -> None:
        """Tell whoever wants to know that a store was opened (G-5)."""
        self._tell(self._manager.hook.e2i_fs_on_open, store, "the opening of a store")

    def closing(self, store: Store) -> None:
        """Tell whoever wants to know that a store is about to be closed (G-5)."""
        self._tell(self._manager.hook.e2i_fs_on_close, store, "the closing of a store")

    def _tell(self, hook: pluggy.HookCaller, told: object, what: str) -> None:
        for impl in hook.get_hookimpls():
            try:
                impl.function(*[told for _ in impl.argnames])
            except Exception:
                _log.exception("An e2i_fs observer (%s) failed on %s", impl.plugin_name, what)


def _distribution(entry: EntryPoint) -> tuple[str, str]:
    return (entry.dist.name, entry.dist.version) if entry.dist is not None else ("(unknown)", "")
