"""The online store of a repository, if it is one in which the contract can be kept."""

from __future__ import annotations

from e2i_fs.errors import PluginLoadError
from e2i_fs_feast.online_store import OnlineStore
from e2i_fs_feast.options import Options
from e2i_fs_feast.repository import Repository
from e2i_fs_feast.sqlite_store import SqliteStore

__all__ = ["open_online_store"]


def open_online_store(repository: Repository, options: Options) -> OnlineStore | None:
    """Return the online store, or None when it is neither sqlite nor redis and cannot compare and write as one."""
    config = repository.config.online_store
    kind = None if config is None else config.type
    if kind == "sqlite":
        return SqliteStore(repository, options.time_zone)
    if kind == "redis":
        try:
            from e2i_fs_feast.redis_store import RedisStore
        except Exception as error:
            raise PluginLoadError(
                f'A redis online store needs redis-py ({error}). Install it: pip install "e2i-fs[redis]"'
            ) from error
        return RedisStore(repository.config)
    return None
