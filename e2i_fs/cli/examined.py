"""What ``e2i-fs certify`` is told to examine: options as text or of a file, a harness by its name, the line to replay."""

from __future__ import annotations

import importlib
import inspect
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from e2i_fs.errors import ConfigError, RequestError, did_you_mean

if TYPE_CHECKING:
    from e2i_fs.testing.harness import Harness

__all__ = ["Replay", "harness_maker", "merged", "options_of_file", "parse_options", "told_keys"]

_OWN = ("path", "repo", "project", "state")


def harness_maker(
    name: str, harness: str | None, options: Mapping[str, Any]
) -> tuple[Callable[[Path], Harness], tuple[str, str] | None]:
    """Return what makes the harness, and the distribution of the backend's plugin with its version."""
    from e2i_fs.plugins import Plugins
    from e2i_fs.testing.harnesses import ConfiguredHarness

    plugins = Plugins()
    found = next((f for f in plugins.found if f.name == name and f.spec is not None), None)
    distribution = None if found is None else (found.distribution, found.version)
    if harness is None:
        spec = plugins.spec(name)
        if not spec.harness:
            return lambda path: ConfiguredHarness(path, options, backend=name), distribution
        harness = spec.harness
    cls = _harness_class(harness)
    given = (dict(options),) if options else ()
    try:
        inspect.signature(cls).bind(Path(), *given)
    except TypeError:
        raise RequestError(
            f"{harness} takes no options: it is made as {cls.__name__}(path). Leave --option and --config out, or write "
            f"{cls.__name__}(path, options)."
        ) from None
    return lambda path: cls(path, *given), distribution


def _harness_class(where: str) -> Callable[..., Harness]:
    from e2i_fs.testing.harness import Harness

    module, _, name = where.partition(":")
    if not module or not name:
        raise RequestError(f"--harness {where}: give module:Class, e.g. acme_store.conformance:AcmeHarness.")
    if "" not in sys.path:
        sys.path.insert(0, "")  # as `python -m` does: a harness may lie in the working directory
    try:
        found = getattr(importlib.import_module(module), name, None)
    except ImportError as error:
        raise RequestError(f"--harness {where}: {module} cannot be imported ({error}). Is it installed?") from error
    if not (inspect.isclass(found) and issubclass(found, Harness)):
        raise RequestError(
            f"--harness {where}: {module} has no class {name} that is an e2i_fs.testing.harness.Harness."
        )
    return found


def parse_options(given: Iterable[str]) -> dict[str, Any]:
    """Return ``KEY=VALUE`` pairs as nested options; values are read as YAML.

    >>> parse_options(["online_store.type=redis", "deadline=2"])
    {'online_store': {'type': 'redis'}, 'deadline': 2}
    """
    import yaml

    options: dict[str, Any] = {}
    for one in given:
        key, found, text = one.partition("=")
        parts = key.split(".")
        if not found or not all(part.strip() for part in parts):
            raise RequestError(f"--option {one}: give KEY=VALUE, e.g. path=/data/store or online_store.type=redis.")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            value = text
        inner = options
        for part in parts[:-1]:
            inner = inner.setdefault(part, {})
            if not isinstance(inner, dict):
                raise RequestError(f"--option {one}: another option gives {part} a value of its own; keep one of them.")
        if parts[-1] in inner:
            raise RequestError(f"--option {one}: {key} is given twice; keep one of them.")
        inner[parts[-1]] = value
    return options


def options_of_file(path: str, name: str) -> dict[str, Any]:
    """Return the options of the backend ``name`` (or of that kind) in a configuration, without its folders and project."""
    from e2i_fs.config import load_config

    config = load_config(path)
    named = [b for b in config.backends if name in (b.name, b.kind)]
    if not named:
        near = did_you_mean(name, [b.kind for b in config.backends])
        raise ConfigError(f"{path} configures no backend {name!r}.{near}")
    return {key: value for key, value in named[0].options.items() if key not in _OWN}


def merged(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    """Return both, those of ``high`` where both have one, inside mappings too."""
    found = dict(low)
    for key, value in high.items():
        before = found.get(key)
        both = isinstance(before, Mapping) and isinstance(value, Mapping)
        found[key] = merged(before, value) if both else value  # type: ignore[arg-type]
    return found


def told_keys(options: Mapping[str, Any], before: str = "") -> Iterable[str]:
    """Yield the keys of options, and of types their values: what else is given may be an address or a secret."""
    for key, value in options.items():
        if isinstance(value, Mapping):
            yield from told_keys(value, f"{before}{key}.")
        else:
            yield f"{before}{key}={value}" if key == "type" else f"{before}{key}"


class Replay:
    """Makes the line that shows a finding again, and takes given values out of what is written to files."""

    def __init__(
        self, config: str | None, options: list[str], harness: str | None, name: str, seed: int, profile: str
    ) -> None:
        self._before = f"e2i-fs certify {name}"
        self._before += "".join(f" --option {shlex.quote(one)}" for one in options)
        self._before += f" --config {shlex.quote(config)}" if config else ""
        self._before += f" --harness {shlex.quote(harness)}" if harness else ""
        self._after = f"--seed {seed} --profile {profile}"
        values = [(key, value) for key, _, value in (one.partition("=") for one in options)]
        self._hidden = [value for key, value in values if len(value) > 3 and key.rpartition(".")[2] != "type"]
        self._hidden += [config] if config and Path(config).is_absolute() else []

    def __call__(self, test: str) -> str:
        """Return the line for ``test``."""
        return f"{self._before} --only {test} {self._after}"

    def masked(self, text: str) -> str:
        """Return ``text`` without the values of options: they may be addresses or secrets."""
        for value in self._hidden:
            text = text.replace(value, "...")
        return text
