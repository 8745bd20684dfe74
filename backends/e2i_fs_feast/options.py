"""The options of the Feast backend, checked before Feast is imported."""

from __future__ import annotations

import os
import zoneinfo
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from e2i_fs.errors import ConfigError, did_you_mean
from e2i_fs_feast.postgres_address import check_postgres
from e2i_fs_feast.redis_address import check_redis

__all__ = ["Options", "offline_kind", "read_options"]

_KEYS = ("path", "repo", "offline_store", "online_store", "registry", "project", "feast_time_zone")
_OF_PATH = ("offline_store", "online_store", "registry")
OFFLINE = ("dask", "duckdb", "postgres", "spark")
ONLINE = ("sqlite", "redis")
SETTINGS: Mapping[str, tuple[str, ...]] = {
    "dask": ("type",),
    "duckdb": ("type", "staging_location", "staging_location_endpoint_override"),
    "postgres": (
        "type", "host", "port", "database", "db_schema", "user", "password", "sslmode", "sslkey_path", "sslcert_path",
        "sslrootcert_path", "keepalives_idle", "min_conn", "max_conn", "conn_type", "entity_select_mode",
    ),
    "spark": ("type", "spark_conf", "staging_location", "region"),
    "sqlite": ("type", "path", "vector_enabled", "similarity", "text_search_enabled", "enable_openai_compatible_store"),
    "redis": (
        "type", "connection_string", "redis_type", "sentinel_master", "key_ttl_seconds", "full_scan_for_deletion", "skip_dedup",
        "client",
    ),
}  # fmt: skip
"""Feast's own settings of each store, so that a slip is told before Feast is imported, with the nearest one."""


@dataclass(frozen=True, slots=True)
class Options:
    """Checked options.

    ``folder`` is the Feast repository, ``adopted`` says that somebody else made it (``repo:``). ``time_zone`` is the
    zone of the processes in which `feast materialize` fills a sqlite store: Feast shifts event times by it. The project
    of an adopted repository is the one in its feature_store.yaml, whatever ``project`` says.
    """

    folder: Path
    adopted: bool
    project: str = "e2i_fs"
    registry: str = "registry.db"
    offline_store: Mapping[str, Any] = field(default_factory=dict)
    online_store: Mapping[str, Any] = field(default_factory=dict)
    time_zone: zoneinfo.ZoneInfo = field(default_factory=lambda: zoneinfo.ZoneInfo("UTC"))


def read_options(options: Mapping[str, Any], base: str) -> Options:
    """Return ``options`` checked, its folder absolute (relative to ``base``), or raise `ConfigError`.

    >>> read_options({"path": "fs"}, "/data").folder
    PosixPath('/data/fs')
    """
    for key in options:
        if key not in _KEYS:
            raise ConfigError(f"feast backend: unknown option {key!r}.{did_you_mean(str(key), _KEYS)}")
    path, repo = options.get("path"), options.get("repo")
    if (path is None) == (repo is None):
        raise ConfigError(
            "feast backend: give either path= (a folder for a repository of e2i_fs) or repo= (the folder of an "
            "existing Feast repository, where its feature_store.yaml is)."
        )
    given = repo if path is None else path
    if not isinstance(given, str | os.PathLike) or not os.fspath(given):
        raise ConfigError(f"feast backend: {'repo' if path is None else 'path'} is {given!r}; give a folder.")
    folder = Path(base, os.path.expanduser(os.fspath(given))).absolute()
    zone = _zone(options.get("feast_time_zone", "UTC"))
    if path is None:
        extra = next((k for k in _OF_PATH if k in options), None)
        if extra:
            raise ConfigError(
                f"feast backend: {extra} belongs in {folder / 'feature_store.yaml'}, not beside repo=; remove it here."
            )
        return Options(folder, adopted=True, time_zone=zone)
    return Options(
        folder,
        adopted=False,
        project=_project(options.get("project", "e2i_fs")),
        registry=_registry(options.get("registry", "registry.db")),
        offline_store=_store(options.get("offline_store"), "offline_store", "dask", OFFLINE),
        online_store=_store(options.get("online_store"), "online_store", "sqlite", ONLINE),
        time_zone=zone,
    )


def offline_kind(options: Options) -> str:
    """Return the type of the offline store, which an adopted repository says in its feature_store.yaml."""
    if not options.adopted:
        return str(options.offline_store.get("type"))
    path = options.folder / "feature_store.yaml"
    try:
        said = yaml.safe_load(path.read_text()) if path.is_file() else None
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return ""  # opening the repository says what is wrong with it
    store = said.get("offline_store") if isinstance(said, Mapping) else None
    return str(store.get("type") if isinstance(store, Mapping) else store)


def _store(given: object, key: str, default: str, known: tuple[str, ...]) -> Mapping[str, Any]:
    if given is None:
        return {"type": default}
    if isinstance(given, str):
        given = {"type": given}
    if not isinstance(given, Mapping) or not isinstance(given.get("type"), str):
        raise ConfigError(f"feast backend: {key} is {given!r}; give a mapping with a type, e.g. {{type: {default}}}.")
    if given["type"] not in known:
        hint = did_you_mean(given["type"], known)
        raise ConfigError(
            f"feast backend: {key} of type {given['type']!r}; in a repository of its own e2i_fs takes "
            f"{', '.join(known[:-1])} and {known[-1]} only.{hint} To read from another store, give repo: and not path:, the folder of "
            "a Feast repository whose feature_store.yaml names it."
        )
    for setting in given:
        if setting not in SETTINGS[given["type"]]:
            hint = did_you_mean(str(setting), SETTINGS[given["type"]])
            raise ConfigError(f"feast backend: unknown setting {setting!r} of {key} {given['type']}.{hint}")
    check_redis(given)
    check_postgres(given)
    _check_spark_conf(given)
    return dict(given)


def _check_spark_conf(given: Mapping[str, Any]) -> None:
    conf = given.get("spark_conf")
    if conf is None:
        return
    if not isinstance(conf, Mapping):
        raise ConfigError(
            f"feast backend: spark_conf is {conf!r}; give a mapping, such as {{spark.master: 'spark://host:7077'}}."
        )
    for key, value in conf.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise ConfigError(
                f"feast backend: spark_conf has {key!r}: {value!r}; Spark takes text only. Put it in quotes: '{str(value).lower()}'."
            )


def _project(given: object) -> str:
    plain = isinstance(given, str) and given.replace("_", "").replace("-", "").isalnum() and given.isascii()
    if not plain or str(given)[0] in "_-":
        raise ConfigError(
            f"feast backend: project is {given!r}; use letters, digits, _ and -, beginning with one of the first two."
        )
    return str(given)


def _registry(given: object) -> str:
    kind = given.get("registry_type", "file") if isinstance(given, Mapping) else "file"
    if kind != "file":
        raise ConfigError(
            f"feast backend: registry is of type {kind!r}, which Feast writes object by object, so that others see half of what "
            "is applied, and a killed process leaves it (R-1). Give the path of a file; it is replaced as one."
        )
    path = given.get("path") if isinstance(given, Mapping) else given
    if not isinstance(path, str) or not path or "://" in path:
        shown = f"of type {type(path).__name__}" if not isinstance(path, str) else "empty" if not path else "a URL"
        raise ConfigError(
            f"feast backend: registry is {shown}; give the path of a file, for only a file can be replaced as one (R-1)."
        )
    return path


def _zone(given: object) -> zoneinfo.ZoneInfo:
    try:
        return zoneinfo.ZoneInfo(given if isinstance(given, str) else "")
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigError(
            f"feast backend: feast_time_zone is {given!r}; give a name such as 'Europe/Berlin' or 'UTC'."
        ) from None
