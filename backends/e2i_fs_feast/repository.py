"""A Feast repository on disk: its configuration, its registry file, and the locks that serialise changes (R-1).

The registry is replaced, never rewritten: a reader sees the old file or the new one, whole.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from feast.protos.feast.core.Registry_pb2 import Registry as RegistryProto
from feast.repo_config import RepoConfig, load_repo_config
from filelock import FileLock
from google.protobuf.message import DecodeError

from e2i_fs.errors import BackendDataError, BackendUnavailableError, ConfigError, UnsupportedError
from e2i_fs.forks import RenewedLock
from e2i_fs_feast.missing import to_install
from e2i_fs_feast.options import Options
from e2i_fs_feast.postgres_address import without_password
from e2i_fs_feast.redis_address import check_redis
from e2i_fs_feast.timeouts import with_timeouts, without_secrets

__all__ = ["Repository", "Signature", "load_config", "read_registry", "registry_path"]

Signature = tuple[int, int, int]
"""What tells one state of the registry file from another: mtime in ns, size, inode."""

LOCK_SECONDS = 30.0
_GUARD = '''"""`feast apply` deletes every definition that no Python file here makes: it is stopped before it does."""

raise SystemExit(
    "This Feast repository is applied through e2i_fs; `feast apply` would delete its definitions. Use `e2i-fs apply`."
)
'''
_TORN_READS = 200


@dataclass
class Repository:
    """A repository folder with its Feast configuration.

    ``own`` is the sub-folder for what Feast has no place for: history, positions, locks.
    """

    folder: Path
    config: Any  # feast.RepoConfig; Any, for Feast types its members loosely
    registry: Path
    own: Path
    adopted: bool
    _threads: dict[str, RenewedLock] = field(default_factory=dict)

    @classmethod
    def open(cls, options: Options) -> Repository:
        """Open the repository of ``options``; one of ours is made if it is not there."""
        try:
            config = _load(options) if options.adopted else _configure(options)
            registry = registry_path(options.folder, config)
        except OSError as error:
            raise BackendUnavailableError(
                f"The Feast repository {options.folder} cannot be used: {error}. Make the folder exist and writable."
            ) from error
        return cls(options.folder, config, registry, options.folder / ".e2i_fs", options.adopted)

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Hold the lock ``name`` against all threads and processes that share the folder."""
        ours = self._threads.setdefault(name, RenewedLock())
        self.own.mkdir(exist_ok=True)  # not before: reading an adopted repository writes nothing into it
        with ours, FileLock(self.own / f"{name}.lock", timeout=LOCK_SECONDS, poll_interval=0.002, thread_local=False):
            yield

    def signature(self) -> Signature | None:
        """Return what tells the present state of the registry file; None when there is no file."""
        return _signature(self.registry)

    def read(self) -> tuple[Signature | None, Any]:
        """Return the registry as Feast's own message, and the state of the file that it was read from."""
        return read_registry(self.registry)

    def replace(self, registry: Any, stamp: Any) -> None:
        """Put ``registry`` in the place of the registry file, at once and durably. Call it under the lock ``apply``."""
        registry.version_id = str(uuid.uuid4())
        registry.last_updated.FromDatetime(stamp)
        registry.registry_schema_version = registry.registry_schema_version or "1"
        _write(self.registry, registry.SerializeToString())

    def clear_leftovers(self) -> None:
        """Remove what a process that died in the middle of a `replace` left. Call it under the lock ``apply``."""
        for leftover in self.registry.parent.glob(f".{self.registry.name}.*.tmp"):
            leftover.unlink(missing_ok=True)


def _signature(path: Path) -> Signature | None:
    try:
        state = os.stat(path)
    except FileNotFoundError:
        return None
    return (state.st_mtime_ns, state.st_size, state.st_ino)


def read_registry(path: Path) -> tuple[Signature | None, Any]:
    """Return the registry in the file ``path`` as Feast's own message, and the file's state; None when there is no file.

    The `feast` command rewrites the file in place, so a reader may find it empty: it is then read again.
    """
    for _ in range(_TORN_READS):
        before = _signature(path)
        if before is None:
            return None, RegistryProto()
        content = path.read_bytes()
        if content and len(content) == before[1] and _signature(path) == before:
            try:
                return before, RegistryProto.FromString(content)
            except DecodeError as error:
                raise BackendDataError(
                    f"The Feast registry {path} cannot be read ({error}); restore it from a backup."
                ) from error
        time.sleep(0.005)  # another process is in the middle of writing
    raise BackendDataError(f"The Feast registry {path} stays empty; restore it from a backup.")


def _write(path: Path, content: bytes, mode: int = 0o644) -> None:
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    handle = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _configure(options: Options) -> Any:
    """Write feature_store.yaml if it is not there or says something else, and return the configuration in memory."""
    options.folder.mkdir(parents=True, exist_ok=True)
    _check_ours(options)
    online = (
        {"path": "online.db", **options.online_store}
        if options.online_store["type"] == "sqlite"
        else dict(options.online_store)
    )
    form = {
        "project": options.project,
        "provider": "local",
        "registry": options.registry,
        "offline_store": dict(options.offline_store),
        "online_store": online,
        "entity_key_serialization_version": 3,
    }
    text = "# Written by e2i_fs. Definitions are applied through e2i_fs; the feast command reads them.\n"
    shown = {"offline_store": without_password(options.offline_store), "online_store": without_secrets(online)}
    text += yaml.safe_dump({**form, **shown}, sort_keys=False)
    path = options.folder / "feature_store.yaml"
    for file, content in ((path, text), (options.folder / "applied_by_e2i_fs.py", _GUARD)):
        if not file.is_file() or file.read_text() != content:
            _write(file, content.encode())
    return _checked(
        RepoConfig, {**form, "repo_path": options.folder, "online_store": with_timeouts(online)}, options.folder
    )


def _check_ours(options: Options) -> None:
    """Raise `ConfigError` when the folder holds the rows of another project, or of another backend: ours would stand beside them unseen."""
    if (options.folder / "definitions.sqlite").is_file():
        raise ConfigError(f"feast backend: the folder {options.folder} holds a DuckDB store; name another path.")
    path = options.folder / "feature_store.yaml"
    try:
        said = yaml.safe_load(path.read_text()) if path.is_file() else None
    except (ValueError, RecursionError, yaml.YAMLError):
        return  # it is written anew
    project = said.get("project") if isinstance(said, dict) else None
    if project is not None and project != options.project:
        raise ConfigError(
            f"feast backend: the folder {options.folder} holds the project {project!r}, not {options.project!r}. Use another "
            "path, or the project's own name."
        )


def _load(options: Options) -> Any:
    config = load_config(options.folder)
    online = config.online_store.model_dump() if config.online_store is not None else {}
    check_redis(online)
    if online.get("type") == "redis":
        config.online_store.connection_string = with_timeouts(online)["connection_string"]
    return config


def load_config(folder: Path) -> Any:
    """Return the configuration of a Feast repository as Feast reads it; raise `ConfigError` when it has none that Feast can use."""
    path = folder / "feature_store.yaml"
    if not path.is_file():
        raise ConfigError(
            f"feast backend: there is no {path}. Give repo= the folder that holds it, or use path= to make a new one."
        )
    try:
        config: Any = load_repo_config(folder, path)
        _ = config.online_store  # Feast checks this part only when it is asked for
    except OSError:
        raise
    except Exception as error:
        raise ConfigError(f"feast backend: Feast cannot use {path}: {error}.{to_install(str(error))}") from error
    return config


def _checked(make: Any, form: dict[str, Any], folder: Path) -> Any:
    try:
        config = make(**form)
        _ = config.online_store  # Feast checks this part only when it is asked for
    except OSError:
        raise
    except Exception as error:
        said = f"{error}.{to_install(str(error))}"
        raise ConfigError(f"feast backend: Feast cannot use the options for {folder}: {said}") from error
    return config


def registry_path(folder: Path, config: Any) -> Path:
    """Return where the registry file is; raise `UnsupportedError` when the registry is none."""
    kind, path = config.registry.registry_type, config.registry.path
    if kind != "file" or "://" in path or config.registry.registry_store_type:
        raise UnsupportedError(  # without its path: of a SQL registry that is a URL with a password
            f"feast backend: the registry of {folder} is of type {kind!r}{' in an object store' if kind == 'file' else ''}; "
            "e2i_fs can keep changes apart in a registry file only (R-1). Point it at a file."
        )
    return Path(folder, path).absolute()
