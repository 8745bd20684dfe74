"""Feast's redis online store, with what it lacks: compare-and-write against all writers, on whatever machine.

Feast compares by its own time alone and in two steps. Here the keys are watched, read, decided on and written in one
transaction, which Redis refuses when anybody touched them in between; then it is done again.

A Redis may come back with an older snapshot, or let go of keys to make room. So that this shows, each view's steps are
counted in Redis, in the transaction of the rows, and each read takes the count along; a Redis that evicts is refused.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from feast.infra.key_encoding_utils import deserialize_entity_key, serialize_entity_key_prefix
from feast.infra.online_stores.helpers import _mmh3, compute_versioned_name
from feast.infra.online_stores.redis import RedisOnlineStore
from google.protobuf.timestamp_pb2 import Timestamp
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError, WatchError
from redis.exceptions import TimeoutError as RedisTimeoutError

from e2i_fs.clock import to_us
from e2i_fs.errors import BackendUnavailableError, ThrottledError
from e2i_fs.forks import RenewedLock
from e2i_fs_feast.online_store import Decide, Found, OnRecord
from e2i_fs_feast.rows import HIDDEN, Stored, is_of

__all__ = ["RedisStore", "hash_field"]

_log = logging.getLogger("e2i_fs.feast")
_ATTEMPTS = 300


def hash_field(view: str, feature: str) -> bytes:
    """Return the 4 bytes under which Feast keeps a feature in the hash of its key."""
    field: bytes = _mmh3(f"{view}:{feature}")
    return field


def time_field(view: str) -> bytes:
    """Return the name under which Feast keeps the event time of a view's row in the hash of its key."""
    return f"_ts:{view}".encode()


class RedisStore:
    """The redis online store of a repository. Its client is shared by all threads."""

    local = False
    chunk = 500

    def __init__(self, config: Any) -> None:
        self._config = config
        self._store: Any = RedisOnlineStore()
        self._client: Any = self._store._get_client(config.online_store)
        self.connections = 0
        self._client.connection_pool.connection_kwargs["redis_connect_func"] = self._connected
        self._counts = f"e2i_fs:{config.project}".encode()
        self._turn = RenewedLock()

    def set_timeout(self, seconds: float) -> None:
        """Let no command wait longer for its answer; for connections made from now on."""
        pool = self._client.connection_pool
        pool.connection_kwargs["socket_timeout"] = seconds
        pool.connection_kwargs["socket_connect_timeout"] = seconds
        pool.disconnect()

    def _connected(self, connection: Any) -> None:
        self.connections += 1
        _connect(connection)

    def count(self, counter: str) -> int:
        """Return how many steps Redis has taken: fewer than once were taken when it came back with older rows, or none."""
        return int(self._client.hget(self._counts, counter) or 0)

    def read(self, table: Any, keys: Sequence[Any], names: Sequence[str], counter: str) -> Found:
        """Return what is stored, and the count, by one pipeline over one connection: as `RedisOnlineStore.online_read` does.

        Feast says the epoch, and no values, of a key that is not there.
        """
        if not keys:
            return Found([], self.count(counter))
        return self._read(table, self._keys(keys), names, counter)

    def _keys(self, keys: Sequence[Any]) -> list[bytes]:
        made: list[bytes] = self._store._generate_redis_keys_for_entities(self._config, list(keys))
        return made

    def _name(self, table: Any) -> str:
        name: str = compute_versioned_name(table, self._config.registry.enable_online_feature_view_versioning)
        return name

    def _read(self, table: Any, keys: Sequence[bytes], names: Sequence[str], counter: str) -> Found:
        view, wanted = self._name(table), [*names, HIDDEN]
        fields = [*(hash_field(view, name) for name in wanted), time_field(view)]
        asked = [(key, fields) for key in keys]
        *found, (count,) = self._store._read_hash_fields(self._config, [*asked, (self._counts, [counter])])
        rows: list[Stored | None] = []
        for row in found:
            if any(row):
                event_us = _event_us(row[-1])
                rows.append(Stored(dict(zip(wanted, row)), event_us, event_us))  # noqa: B905 - the time comes last
            else:
                rows.append(None)
        return Found(rows, int(count or 0))

    def change(
        self,
        table: Any,
        keys: Sequence[Any],
        names: Sequence[str],
        decide: Decide | None,
        counter: str,
        known: OnRecord,
    ) -> int | None:
        """Compare and write in one transaction, again and again until nobody came in between (O-1, O-7)."""
        redis_keys = self._keys(keys)
        with self._turn:  # the threads of this process need not race each other
            for _ in range(_ATTEMPTS):
                try:
                    return self._attempt(table, redis_keys, names, decide, counter, known)
                except WatchError as error:
                    # redis-py says this of a lost connection too.
                    if isinstance(error.__context__, RedisConnectionError | RedisTimeoutError):
                        raise error.__context__ from error
        raise ThrottledError(
            f"View {table.name!r}: other writers changed the same keys {_ATTEMPTS} times over; try again."
        )

    def _attempt(
        self,
        table: Any,
        keys: Sequence[bytes],
        names: Sequence[str],
        decide: Decide | None,
        counter: str,
        known: OnRecord,
    ) -> int | None:
        pipe = self._client.pipeline(transaction=True)
        try:
            pipe.watch(*(keys or [self._counts]))
            recorded = known.steps()  # before the count, which only grows
            found = self._read(table, keys, names, counter)
            writes = [] if decide is None else decide(found.rows)
            if not writes and decide is not None:
                # All is there: written by somebody, perhaps, who did not come to record his step.
                return found.steps if found.steps and found.steps > recorded else None
            assert found.steps is not None
            # At the first write of a view the counts of whoever wrote it before go, in the same transaction: another repository of
            # this project, whose rows ours are written over, then sees that it has lost them.
            others: list[bytes] = []
            if not found.steps:
                pipe.watch(self._counts)  # of two first writers one comes second, and sees the other
                others = self._counters_of(table, counter)
            if others:
                known.still()  # else they may be those of the very definition that has come after ours
            missing = max(0, recorded - found.steps)
            # A loss is on record before the count says no more that there was one, whatever becomes of this writer.
            if missing:
                if not known.lost(recorded):
                    raise WatchError("another writer has seen the loss")
                missing = known.steps() - found.steps
            pipe.multi()
            pipe.hincrby(self._counts, counter, 1 + missing)
            if others:
                pipe.hdel(self._counts, *others)
            view = self._name(table)
            fields = {name: hash_field(view, name) for name in (writes[0].contents if writes else ())}
            for write in writes:
                contents = [piece for name, content in write.contents.items() for piece in (fields[name], content)]
                pipe.execute_command("HSET", keys[write.place], time_field(view), _time(write.event_time), *contents)
            after = int(pipe.execute()[0])
            if others:
                _log.warning(
                    "View %r is now written to this Redis by %s; rows of it that another definition, or another repository of "
                    "the project %r, wrote there are gone for that one too.",
                    table.name, self._config.repo_path, self._config.project,
                )  # fmt: skip
            return after
        except (RedisConnectionError, RedisTimeoutError):
            _give_up(pipe)
            raise
        finally:
            pipe.reset()

    def has_place(self, table: Any) -> bool:
        """Return True: Redis needs no room made."""
        return True

    def stamp(self, when: datetime) -> int:
        """Return ``when`` as Feast reads it back: by way of a float."""
        seconds, us = divmod(to_us(when), 1_000_000)
        return _by_float(seconds, us * 1000)

    def create(self, tables: Sequence[Any]) -> None:
        """Nothing: Redis needs no room made."""

    def remove(self, table: Any, keep: int | None) -> None:
        """Delete the view's fields from every key that is exactly of its join keys and of this project.

        Feast's own delete_table takes the rows of another project too when its name ends in this one's.
        """
        project = self._config.project.encode()
        name = self._name(table)
        hidden = hash_field(name, HIDDEN)
        fields = [*(hash_field(name, f.name) for f in table.features), hidden, time_field(name)]
        prefix = serialize_entity_key_prefix(table.join_keys)
        pattern = b"".join(b"\\" + bytes([c]) if c in b"*?[]\\^-" else bytes([c]) for c in prefix) + b"*"
        batch: list[bytes] = []
        for key in self._client.scan_iter(match=pattern, count=1000):
            if key.endswith(project) and _is_entity_key(key[: -len(project)], sorted(table.join_keys)):
                batch.append(key)
            if len(batch) == self.chunk:
                self._delete(batch, fields, hidden, keep)
                batch = []
        self._delete(batch, fields, hidden, keep)
        old = self._counters_of(table, f"{table.name}:{keep}")
        if old:
            self._client.hdel(self._counts, *old)

    def _counters_of(self, table: Any, own: str) -> list[bytes]:
        """Return the counters of a view that are not ``own``: of its earlier definitions, and of other repositories' views of its name."""
        found = self._client.hkeys(self._counts)
        return [c for c in found if c.rpartition(b":")[0] == table.name.encode() and c != own.encode()]

    def _delete(self, keys: list[bytes], fields: list[bytes], hidden: bytes, keep: int | None) -> None:
        for _ in range(_ATTEMPTS):
            if not keys:
                return
            pipe = self._client.pipeline(transaction=True)
            try:
                pipe.watch(*keys)
                with self._client.pipeline(transaction=False) as reading:
                    for key in keys:
                        reading.hget(key, hidden)
                    contents = reading.execute()
                pipe.multi()
                for key, content in zip(keys, contents, strict=True):
                    if keep is None or not is_of(content, keep):
                        pipe.hdel(key, *fields)
                pipe.execute()
            except WatchError as error:
                if isinstance(error.__context__, RedisConnectionError | RedisTimeoutError):
                    raise error.__context__ from error
            else:
                return
            finally:
                pipe.reset()
        raise ThrottledError(f"Other writers changed the same keys {_ATTEMPTS} times over; try again.")

    def extent(self, table: Any) -> tuple[int, int | None]:
        """Return nothing: it would take a walk through the whole of Redis."""
        return 0, None

    def ping(self, deadline: float) -> None:
        """Ask over a new connection whose timeouts are ``deadline``."""
        given = self._config.online_store
        parts = [
            p
            for p in given.connection_string.split(",")
            if not p.startswith(("socket_timeout=", "socket_connect_timeout="))
        ]
        parts += [f"socket_timeout={deadline}", f"socket_connect_timeout={deadline}"]
        client: Any = RedisOnlineStore()._get_client(given.model_copy(update={"connection_string": ",".join(parts)}))
        client.connection_pool.connection_kwargs["redis_connect_func"] = _connect
        try:
            client.ping()
        finally:
            client.close()

    def close(self) -> None:
        """Disconnect."""
        self._client.close()


def _time(when: datetime) -> bytes:
    """Return Feast's event time as it lies in a hash."""
    time = Timestamp()
    time.FromDatetime(when)
    content: bytes = time.SerializeToString()
    return content


def _event_us(content: bytes | None) -> int:
    """Return Feast's event time (µs); the epoch where none is stored, as Feast does."""
    time = Timestamp.FromString(content or b"")
    return _by_float(time.seconds, time.nanos)


def _by_float(seconds: int, nanos: int) -> int:
    return to_us(datetime.fromtimestamp(seconds + nanos / 1_000_000_000.0, tz=UTC))


def _connect(connection: Any) -> None:
    """Greet Redis over a new connection; refuse one that evicts keys, for then a row may be gone that was never deleted (X-3).

    Rows carry no expiry, so only the policies that take any key (``allkeys-...``) touch them. INFO is asked and not CONFIG, which
    managed Redis forbids.
    """
    connection.on_connect()
    try:
        connection.send_command("INFO", "memory")
        told = dict(line.split(":", 1) for line in connection.read_response().decode().splitlines() if ":" in line)
    except ResponseError as error:
        _log.warning(
            "Redis does not say whether it evicts keys (%s); see to it that its maxmemory-policy is noeviction", error
        )
        return
    policy = told.get("maxmemory_policy", "noeviction")
    if policy.startswith("allkeys-") and told.get("maxmemory", "0") != "0":
        connection.disconnect()
        raise BackendUnavailableError(
            f"Redis evicts keys (maxmemory {told['maxmemory']}, maxmemory-policy {policy}), so rows may be gone from it at any "
            "time. Set maxmemory-policy to noeviction, or use a Redis that is no cache; then rebuild the backend."
        )


def _give_up(pipe: Any) -> None:
    """Drop the connection of ``pipe``, so that its reset does not wait for a frozen server once more."""
    if pipe.connection is not None:
        pipe.connection.disconnect()
    pipe.watching = False


def _is_entity_key(content: bytes, join_keys: list[str]) -> bool:
    try:
        key = deserialize_entity_key(content)
    except (ValueError, UnicodeDecodeError, ArithmeticError):
        return False
    return list(key.join_keys) == join_keys and len(key.entity_values) == len(join_keys)
