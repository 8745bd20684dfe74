"""Writing a batch: where it goes, what it must hold, and what became of it (W-1, W-2, O-4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from e2i_fs.catalog import Catalog
from e2i_fs.definitions import FeatureView
from e2i_fs.entries import Entry, Perform
from e2i_fs.errors import InvalidBatchError, RequestError, UnknownFeatureError, UnsupportedError, did_you_mean
from e2i_fs.routing import Router

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Limits", "Target", "WriteReceipt", "checked", "pushed", "target_of", "write_table"]

Target = Literal["online", "offline", "both"]


@dataclass(frozen=True, slots=True)
class WriteReceipt:
    """The outcome of writing one batch to one view.

    ``rows`` is how many rows it had, ``to`` where they went, and ``idempotency_key`` the key given or derived (W-2).
    ``applied`` are the backends that took it. ``missed`` maps each of the others to why it did not: their answers are
    degraded until they have it (X-4). ``repeated`` says that history had the batch already.

    >>> from datetime import datetime
    >>> from e2i_fs.testing import example_store
    >>> row = {"hcp_id": "hcp_3", "event_timestamp": datetime(2024, 3, 9), "created_at": datetime(2024, 3, 9),
    ...        "trx_count": 5, "engagement": 0.7, "converted": None}
    >>> with example_store() as store:
    ...     first = store.write("hcp_stats", [row], idempotency_key="crm 2024-03-09")
    ...     again = store.write("hcp_stats", [row], idempotency_key="crm 2024-03-09")
    >>> (first.rows, first.to, first.repeated), again.repeated
    ((1, 'both', False), True)
    """

    view: str
    rows: int
    to: str
    idempotency_key: str
    applied: tuple[str, ...]
    missed: Mapping[str, str]
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class Limits:
    """Against what a batch's times are checked: the present and the skew allowed (µs), and naive times."""

    now_us: int
    skew_us: int
    reject_naive: bool


def target_of(view: FeatureView, to: str | None) -> Target:
    """Return where a batch goes; by default everywhere that the view lives."""
    if to is None:
        return "both" if view.online else "offline"
    if to not in ("online", "offline", "both"):
        hint = did_you_mean(str(to), ["online", "offline", "both"])
        raise RequestError(f"to={to!r}: use 'online', 'offline' or 'both'.{hint}")
    if to != "offline" and not view.online:
        raise UnsupportedError(f"View {view.name!r} is not online (online=False); write it to 'offline'.")
    return to  # type: ignore[return-value]


def checked(catalog: Catalog, view: str, frame: Any, limits: Limits) -> pa.Table:
    """Return a frame as the view's own columns in their dtypes, or raise `InvalidBatchError` with every problem."""
    from e2i_fs.batch import checked_batch

    return checked_batch(
        frame,
        catalog.view(view),
        catalog.join_keys(view),
        now_us=limits.now_us,
        skew_us=limits.skew_us,
        reject_naive=limits.reject_naive,
    )


def pushed(catalog: Catalog, push_source: str, frame: Any, limits: Limits) -> dict[str, pa.Table]:
    """Return, for each view that a push source feeds, its checked columns of the frame; or raise with every view's problems (W-1)."""
    from e2i_fs.batch import select_columns

    feeds = catalog.push_sources()
    if push_source not in feeds:
        raise UnknownFeatureError(f"Unknown push source {push_source!r}.{did_you_mean(str(push_source), feeds)}")
    wanted = {view: _columns_of(catalog, view) for view in feeds[push_source]}
    what = f"The batch for push source {push_source!r}"
    tables, problems = select_columns(frame, wanted, what)
    made: dict[str, pa.Table] = {}
    for view, table in tables.items():
        try:
            made[view] = checked(catalog, view, table, limits)
        except InvalidBatchError as error:
            problems += error.problems if len(tables) == 1 else [f"view {view!r}: {p}" for p in error.problems]
    if problems:
        raise InvalidBatchError(f"{what} was refused whole, nothing was written (W-1):", problems)
    return made


def write_table(
    router: Router, catalog: Catalog, view: FeatureView, table: pa.Table, to: Target, key: str | None, perform: Perform
) -> WriteReceipt:
    """Write a checked batch to every backend: history first, then online, so that nothing online lacks its history."""
    from e2i_fs.batch import content_key

    if key is not None and (not isinstance(key, str) or not key or not key.isprintable()):
        raise RequestError(f"idempotency_key is {key!r}; give printable text, or leave it out.")
    # A key of the caller's may be used for history as well, where it stands for the same rows.
    content = content_key(table, online_only=to == "online" and key is None)
    batch_id = key or content
    details = {"to": to, "batch_id": batch_id, "fingerprint": catalog.fingerprint(view.name)}
    outcomes = router.write(Entry(view.name, "write", f"{to}:{batch_id}", content, details, table), perform)
    taken = [o for o in outcomes if o.error is None]
    return WriteReceipt(
        view.name,
        len(table),
        to,
        batch_id,
        tuple(o.backend for o in taken),
        {o.backend: f"{type(o.error).__name__}: {o.error}" for o in outcomes if o.error is not None},
        repeated=not any(o.value for o in taken),
    )


def _columns_of(catalog: Catalog, name: str) -> set[str]:
    view = catalog.views[name]
    times = {view.event_column} | ({view.created_column} if view.created_column else set())
    return {*catalog.join_keys(name), *times, *view.features}
