"""One validated configuration: a YAML file or a mapping. Every key has an effect, unknown keys are errors."""

from __future__ import annotations

import difflib
import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from e2i_fs.config_parts import (
    BreakerConfig,
    CommonConfig,
    EngineConfig,
    FailoverConfig,
    HedgeConfig,
    PrometheusConfig,
    Strict,
    TelemetryConfig,
)
from e2i_fs.errors import ConfigError, did_you_mean, unstopped

if TYPE_CHECKING:
    from e2i_fs.alerts.settings import AlertsConfig
    from e2i_fs.ops.settings import MaterializationConfig

__all__ = [
    "BackendConfig",
    "BreakerConfig",
    "Config",
    "EngineConfig",
    "FailoverConfig",
    "HedgeConfig",
    "PrometheusConfig",
    "Strict",
    "TelemetryConfig",
    "brief_config",
    "checked_model",
    "expand_variables",
    "expanded",
    "load_config",
    "read_yaml",
]  # fmt: skip

M = TypeVar("M", bound=BaseModel)

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


@dataclass(frozen=True, slots=True)
class BackendConfig:
    """One backend: its name among the store's, the plugin's name, and the plugin's own options."""

    name: str
    kind: str
    options: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Config:
    """A whole configuration, checked. ``base`` is the folder from which relative paths are taken (T-4)."""

    base: str
    backends: tuple[BackendConfig, ...]
    failover: FailoverConfig
    project: str
    reject_naive: bool
    max_future_skew: float
    state: str | None
    materialisation: MaterializationConfig | None
    telemetry: TelemetryConfig | None = None
    alerts: AlertsConfig | None = None
    engine: EngineConfig | None = None


def brief_config(config: str | os.PathLike[str] | Mapping[str, Any] | Config) -> Config:
    """Return the checked configuration for one command or task: without the endpoint of ``telemetry: prometheus``.

    Nobody scrapes what ends in a moment, and the port belongs to the server that goes on beside it.
    """
    checked = load_config(config)
    if checked.telemetry is None:
        return checked
    return replace(checked, telemetry=checked.telemetry.model_copy(update={"prometheus": None}))


def load_config(config: str | os.PathLike[str] | Mapping[str, Any] | Config) -> Config:
    """Return the checked configuration of a YAML file or a mapping.

    Raises `ConfigError` naming the key and the nearest known one, or the unset ``${VAR}``.

    >>> load_config({"backend": "duckdb", "path": "features"}).backends[0].kind
    'duckdb'
    """
    if isinstance(config, Config):
        return config
    if isinstance(config, Mapping):
        raw, base, where = dict(config), os.getcwd(), "configuration"
    elif isinstance(config, str | os.PathLike):
        path = Path(config)
        raw, base, where = read_yaml(path), str(path.resolve().parent), str(path)
    else:
        raise ConfigError(f"connect({config!r}): give the path of a YAML file, or a mapping.")
    raw = expanded(raw, where)
    common_keys = set(CommonConfig.model_fields)
    if "backends" in raw and "backend" in raw:
        raise ConfigError(f"{where}: both 'backend' and 'backends'; keep one of them.")
    if "backends" in raw:
        _no_unknown(raw, {*common_keys, "backends", "failover"}, where)
        entries = raw["backends"]
        if not isinstance(entries, list) or not entries:
            raise ConfigError(f"{where}: backends is {entries!r}; give a list with at least one backend.")
    elif "backend" in raw:
        own = {k: v for k, v in raw.items() if k not in common_keys}
        for key in own:  # what is no key of ours is the backend's own, unless it looks like a slip of the pen
            near = difflib.get_close_matches(str(key), common_keys, n=1, cutoff=0.8)
            if near:
                raise ConfigError(f"{where}: unknown key {key!r}. Did you mean {near[0]!r}?")
        if "failover" in own:
            raise ConfigError(f"{where}: failover needs several backends; list them under 'backends'.")
        entries = [{"name": raw["backend"], **own}]
    else:
        for key in raw:  # a slip of the pen first, which may be the very key that is missing
            near = difflib.get_close_matches(str(key), known := {*common_keys, "backends", "backend", "failover"}, n=1)
            if near and key not in known:
                raise ConfigError(f"{where}: unknown key {key!r}. Did you mean {near[0]!r}?")
        raise ConfigError(f"{where}: no backend; give backend: duckdb, or a list under 'backends'.")
    common = checked_model(CommonConfig, {k: v for k, v in raw.items() if k in common_keys}, where)
    backends = tuple(
        _backend(entry, f"{where}, backends[{i}]", base, common.project) for i, entry in enumerate(entries)
    )
    names = [b.name for b in backends]
    twice = next((n for n in names if names.count(n) > 1), None)
    if twice is not None:
        raise ConfigError(f"{where}: two backends are called {twice!r}; give each a name of its own.")
    folders = [b.options.get("path") or b.options.get("repo") for b in backends]
    shared = next((f for f in folders if isinstance(f, str) and folders.count(f) > 1), None)
    if shared is not None:
        raise ConfigError(f"{where}: two backends are in one folder, {shared}; give each a folder of its own.")
    given = raw.get("failover")
    failover = checked_model(FailoverConfig, {} if given is None else given, f"{where}, failover")
    if failover.hedge is not None and failover.hedge.after >= failover.deadline:
        raise ConfigError(
            f"{where}, failover: hedge.after is {failover.hedge.after:g}, and the deadline {failover.deadline:g}: no time would be "
            "left to ask another backend. Give less."
        )
    settings = None
    if common.materialisation is not None:
        from e2i_fs.ops.settings import load_settings

        settings = load_settings(common.materialisation, base)
    alerts = None
    if common.alerts is not None:
        from e2i_fs.alerts.settings import AlertsConfig

        alerts = checked_model(AlertsConfig, common.alerts, f"{where}, alerts")
    return Config(
        base=base,
        backends=backends,
        failover=failover,
        project=common.project,
        reject_naive=common.naive_timestamps == "reject",
        max_future_skew=common.max_future_skew,
        state=_state(common.state, backends, base, where),
        materialisation=settings,
        telemetry=common.telemetry,
        alerts=alerts,
        engine=_engine(common.engine, base),
    )


def _engine(given: EngineConfig | None, base: str) -> EngineConfig | None:
    """Return the engine's settings with its folder in full."""
    if given is None or given.temp_directory is None:
        return given
    folder = os.path.abspath(os.path.join(base, os.path.expanduser(given.temp_directory)))
    return given.model_copy(update={"temp_directory": folder})


def expand_variables(text: str, where: str) -> str:
    """Return ``text`` with each ``${VAR}`` and ``${VAR:-default}`` replaced from the environment.

    >>> expand_variables("${E2I_NO_SUCH:-localhost}:6379", "example")
    'localhost:6379'
    """

    def replace(match: re.Match[str]) -> str:
        name, default = match.groups()
        value = os.environ.get(name, default)
        if value is None:
            raise ConfigError(
                f"{where}: the environment variable {name} is not set. Set it, or write ${{{name}:-default}}."
            )
        return value

    return _VARIABLE.sub(replace, text)


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice, of which YAML would silently keep the last, and takes a key such as ``on`` for text."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:bool":
                key.tag = "tag:yaml.org,2002:str"
        keys = [(k.tag, k.value) for k, _ in node.value if isinstance(k, yaml.ScalarNode)]
        twice = next((key for key in keys if keys.count(key) > 1), None)
        if twice is not None:
            raise yaml.MarkedYAMLError(problem=f"the key {twice[1]!r} stands there twice", problem_mark=node.start_mark)
        return node


def read_yaml(path: Path, what: str = "configuration") -> dict[str, Any]:
    """Return the mapping that a YAML file holds. Raises `ConfigError` naming the file."""
    try:
        raw = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 - it is a SafeLoader
    except FileNotFoundError as error:
        fix = "`e2i-fs init` writes one." if what == "configuration" else "Mend the path, or write the file."
        raise ConfigError(f"There is no {what} at {path}. {fix}") from error
    except IsADirectoryError as error:
        raise ConfigError(
            f"The {what} {path} is a folder; name the file in it, such as {path / 'e2i_fs.yaml'}."
        ) from error
    except OSError as error:
        raise ConfigError(f"The {what} {path} cannot be read: {unstopped(error)}.") from error
    except (
        yaml.YAMLError,
        UnicodeDecodeError,
        ValueError,
        RecursionError,
    ) as error:  # no such day, or no end of brackets
        raise ConfigError(f"The {what} {path} is not YAML: {error}") from error
    if not isinstance(raw, dict):
        raise ConfigError(f"The {what} {path} is not a mapping of keys to values.")
    return raw


def expanded(value: Any, where: str, *, within: frozenset[int] = frozenset()) -> Any:
    """Return ``value`` with `expand_variables` done in every text of it.

    Raises `ConfigError` for a key that is no text, and for what refers to itself: ``within`` are the ids of all that ``value``
    is in.
    """
    if isinstance(value, str):
        return expand_variables(value, where)
    if not isinstance(value, Mapping | list):
        return value
    if id(value) in within:
        raise ConfigError(f"{where} refers to itself, so it has no end; write out what is meant.")
    within |= {id(value)}
    if isinstance(value, list):
        return [expanded(v, where, within=within) for v in value]
    made = {}
    for key, own in value.items():
        # A bare `on` in YAML that somebody else has read.
        name = "on" if key is True and "on" not in value else key
        if not isinstance(name, str):
            raise ConfigError(f"{where}: the key {name!r} is no text; put it in quotes if it is meant, or mend it.")
        made[name] = expanded(own, f"{where}, {name}", within=within)
    return made


def _no_unknown(raw: Mapping[str, Any], known: set[str], where: str) -> None:
    for key in raw:
        if key not in known:
            raise ConfigError(f"{where}: unknown key {key!r}.{did_you_mean(str(key), known)}")


def checked_model(model: type[M], raw: Any, where: str) -> M:
    """Return ``raw`` as a ``model``, or raise `ConfigError` naming the key, what is wrong, and what to give."""
    if not isinstance(raw, Mapping):
        raise ConfigError(f"{where} is {raw!r}; give a mapping of keys to values.")
    _no_unknown(raw, set(model.model_fields), where)
    try:
        return model(**raw)
    except ValidationError as error:
        found = error.errors(include_url=False)
        # A slip of the pen first: what it was meant to be may then be missing as well.
        slips = [one for one in found if one["type"] == "extra_forbidden"]
        raise ConfigError(_problem(model, (slips or found)[0], where)) from None


def _problem(model: type[BaseModel], found: ErrorDetails, where: str) -> str:
    """Return one finding of pydantic's in our own words."""
    if found["type"] == "value_error":  # a check of ours of a whole part
        return f"{', '.join([where, *map(str, found['loc'])])}: {found['msg'].removeprefix('Value error, ')}."
    *parts, last = map(str, found["loc"])
    for part in parts:
        if part not in model.model_fields:  # a name that the user gave, in a mapping by name
            continue
        kinds = model.model_fields[part].annotation
        model = next(
            (kind for kind in (kinds, *get_args(kinds)) if isinstance(kind, type) and issubclass(kind, BaseModel)),
            model,
        )
    where = ", ".join([where, *parts])
    if found["type"] == "extra_forbidden":
        return f"{where}: unknown key {last!r}.{did_you_mean(last, model.model_fields)}"
    if found["type"] == "missing":
        return f"{where}: {last!r} is missing; give {model.model_fields[last].description}."
    return f"{where}: {last} is {found['input']!r}; give {_wanted(found)}."


def _wanted(found: ErrorDetails) -> str:
    limits = found.get("ctx", {})
    match found["type"]:
        case "greater_than":
            return f"more than {limits['gt']:g}"
        case "greater_than_equal":
            return f"at least {limits['ge']:g}"
        case "less_than_equal":
            return f"at most {limits['le']:g}"
        case "literal_error":
            return str(limits["expected"])
        case "model_type":
            return "a mapping of keys to values"
    words = {
        "int": "a whole number",
        "float": "a number",
        "finite": "a finite number",
        "bool": "true or false",
        "dict": "a mapping of keys to values",
    }
    return words.get(found["type"].partition("_")[0], "text")


def _backend(entry: Any, where: str, base: str, project: str) -> BackendConfig:
    if not isinstance(entry, Mapping):
        raise ConfigError(
            f"{where} is {entry!r}; give a mapping such as {{name: primary, backend: duckdb, path: ...}}."
        )
    options = dict(entry)
    kind = options.pop("backend", None)
    if not isinstance(kind, str) or not kind:
        near = did_you_mean("backend", options) if options else ""
        raise ConfigError(f"{where}: 'backend' is {kind!r}; give the name of an installed backend, e.g. duckdb.{near}")
    name = options.pop("name", kind)
    if not isinstance(name, str) or not name:
        raise ConfigError(f"{where}: name is {name!r}; give text.")
    for key in ("path", "repo"):
        if isinstance(options.get(key), str | os.PathLike) and os.fspath(options[key]):
            options[key] = os.path.abspath(os.path.join(base, os.path.expanduser(os.fspath(options[key]))))
    if options.setdefault("project", project) == "":
        raise ConfigError(f"{where}: project is empty; give text, or leave the key out.")
    return BackendConfig(name, kind, options)


def _state(given: str | None, backends: tuple[BackendConfig, ...], base: str, where: str) -> str | None:
    """Return the folder of the store's own records: as given, or in the one backend's folder, or beside several's.

    The records of failover lie outside every backend's folder: a backend that is lost must not take with it what
    is known of the others.
    """
    if given == "":
        raise ConfigError(f"{where}: state is empty; name a folder, or leave the key out.")
    if given is not None:
        folder = os.path.abspath(os.path.join(base, os.path.expanduser(given)))
        for backend in backends if len(backends) > 1 else ():
            own = backend.options.get("path") or backend.options.get("repo")
            if isinstance(own, str) and _inside(folder, own):
                raise ConfigError(
                    f"{where}: state is {folder}, in the folder of backend {backend.name!r}, and would be lost with it. Name a "
                    "folder outside of every backend's, or leave the key out."
                )
        return folder
    found = [backend.options.get("path") or backend.options.get("repo") for backend in backends]
    folders = [folder for folder in found if isinstance(folder, str)]
    if not folders:
        return None
    if len(backends) == 1:
        return os.path.join(folders[0], ".e2i_fs")
    mark = hashlib.sha256(repr(sorted((b.name, f) for b, f in zip(backends, found, strict=True))).encode()).hexdigest()
    return os.path.join(os.path.commonpath([os.path.dirname(f) for f in folders]), f".e2i_fs-{mark[:12]}")


def _inside(folder: str, other: str) -> bool:
    within, outer = os.path.realpath(folder), os.path.realpath(other)
    return os.path.commonpath([within, outer]) == outer
