"""A view that changes while a batch is on its way takes all of it or nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import e2i_fs as fs
from e2i_fs import segments
from tests import kit


def view(dtype: fs.DType, *more: str) -> fs.FeatureView:
    schema = [fs.Field("x", dtype), *(fs.Field(name, fs.Int64) for name in more)]
    return fs.FeatureView("v", entities=[fs.Entity("k")], schema=schema)


@pytest.mark.rule("W-1", "R-1")
def test_a_breaking_change_between_check_and_write_refuses_the_batch(tmp_path: Path, clock: Any, monkeypatch) -> None:
    import e2i_fs.store

    config = kit.config("duckdb", tmp_path / "store")
    with fs.connect(config, clock=clock) as store, fs.connect(config, clock=clock) as other:
        store.apply([view(fs.Int64)])
        checked = e2i_fs.store.checked

        def checked_then_changed(*given: Any) -> Any:
            table = checked(*given)
            other.apply([view(fs.String)], allow_breaking=True)
            return table

        monkeypatch.setattr(e2i_fs.store, "checked", checked_then_changed)
        at = pa.array([kit.NOW - timedelta(days=1)], pa.timestamp("us", "UTC"))
        with pytest.raises(fs.InvalidBatchError, match="was changed after the batch was checked"):
            store.write("v", pa.table({"k": ["a"], "event_timestamp": at, "x": [1]}))
        asked = pa.table({"k": ["a"], "event_timestamp": pa.array([kit.NOW], pa.timestamp("us", "UTC"))})
        assert other.get_historical_features(asked, ["v:x"]).to_arrow()["x"].to_pylist() == [None]


def rows(value: int) -> pa.Table:
    at = pa.array([kit.NOW - timedelta(days=1)], pa.timestamp("us", "UTC"))
    return pa.table({"k": ["a"], "event_timestamp": at, "x": pa.array([value], pa.int64())})


def historical(store: Any) -> list[Any]:
    asked = pa.table({"k": ["a"], "event_timestamp": pa.array([kit.NOW], pa.timestamp("us", "UTC"))})
    found: list[Any] = store.get_historical_features(asked, ["v:x"]).to_arrow()["x"].to_pylist()
    return found


def online(store: Any) -> list[Any]:
    found: list[Any] = store.get_online_features(["v:x"], [{"k": "a"}]).to_dict()["x"]
    return found


def do_once(monkeypatch: pytest.MonkeyPatch, of: Any, name: str, what: Callable[[], Any], *, before: bool) -> None:
    """Do ``what`` once, before or after a call of a method."""
    real, left = getattr(of, name), [what]

    def called(*given: Any, **named: Any) -> Any:
        if before and left:
            left.pop()()
        found = real(*given, **named)
        if left:
            left.pop()()
        return found

    monkeypatch.setattr(of, name, called)


@pytest.fixture(params=["memory", "duckdb", "feast"])
def stores(request: pytest.FixtureRequest, tmp_path: Path, clock: Any) -> Any:
    """Two handles of one store, which in memory are the same, and the backend of the first."""
    config = kit.config(request.param, tmp_path / "store")
    with fs.connect(config, clock=clock) as store, fs.connect(config, clock=clock) as second:
        other = store if request.param == "memory" else second
        store.apply([view(fs.Int64)])
        yield store, other, store._router.backend(request.param)


@pytest.mark.rule("O-6", "X-5")
@pytest.mark.parametrize(
    ("name", "before"), [("append", False), ("online_write", True)], ids=["before online", "as online begins"]
)
@pytest.mark.parametrize("more", [(), ("y",)], ids=["the same", "with a field more"])
def test_a_view_made_anew_between_history_and_online_has_the_batch_in_both(
    stores: Any, monkeypatch: pytest.MonkeyPatch, name: str, before: bool, more: tuple[str, ...]
) -> None:
    store, other, backend = stores

    def made_anew() -> None:
        other.delete("v")
        other.apply([view(fs.Int64, *more)])

    do_once(monkeypatch, backend, name, made_anew, before=before)
    receipt = store.write("v", rows(1), to="both")
    assert not receipt.repeated
    assert online(other) == historical(other) == [1]
    again = rows(1)
    for field in more:
        again = again.append_column(field, pa.nulls(1, pa.int64()))
    assert store.write("v", again, to="both", idempotency_key=receipt.idempotency_key).repeated


@pytest.mark.rule("O-6", "W-1")
def test_a_breaking_change_between_history_and_online_refuses_the_batch(
    stores: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, other, backend = stores
    do_once(
        monkeypatch,
        backend,
        "append",
        lambda: other.apply([view(fs.String)], allow_breaking=True),
        before=False,
    )
    with pytest.raises(fs.InvalidBatchError, match="changed while the batch was on its way. Nothing of it is kept"):
        store.write("v", rows(1), to="both")
    assert online(other) == historical(other) == [None]


@pytest.mark.rule("R-4", "W-2")
def test_a_change_that_keeps_the_rows_does_not_disturb_a_batch(stores: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another view is applied, then a field is added to this one, each between history and online."""
    store, other, backend = stores
    another = fs.FeatureView("w", entities=[fs.Entity("k")], schema=[fs.Field("x", fs.Int64)])
    for value, applied in ((1, another), (2, view(fs.Int64, "y"))):
        with monkeypatch.context() as patched:
            do_once(patched, backend, "append", lambda applied=applied: other.apply([applied]), before=False)
            assert store.write("v", rows(value), to="both").applied
        assert online(other) == historical(other) == [value]


def test_definitions_that_came_back_are_not_the_object_that_they_were(stores: Any) -> None:
    """By that a write knows that nothing was applied meanwhile, whatever the definitions say."""
    store, other, backend = stores
    first = backend.definitions()
    assert backend.definitions() is first
    other.delete("v")
    other.apply([view(fs.Int64)])
    assert backend.definitions() is not first
    assert backend.apply(first, expected=backend.definitions().revision)
    assert backend.definitions() is not first


@pytest.mark.rule("X-2", "W-1")
@pytest.mark.parametrize("backend", ["duckdb", "feast"])
@pytest.mark.parametrize("then", ["gone", "the same", "another"])
def test_a_view_deleted_while_history_is_written_is_told_as_that(
    backend: str, then: str, tmp_path: Path, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder that was taken away is no sign that the backend cannot be written."""
    config = kit.config(backend, tmp_path / "store")
    with fs.connect(config, clock=clock) as store, fs.connect(config, clock=clock) as other:
        store.apply([view(fs.Int64)])
        store.write("v", rows(0), to="offline")  # so that there is a folder to take away

        def deleted() -> None:
            other.delete("v")
            if then != "gone":
                other.apply([view(fs.Int64 if then == "the same" else fs.String)])

        do_once(monkeypatch, segments.os, "link", deleted, before=True)
        if then == "the same":
            assert not store.write("v", rows(1), to="offline").repeated
            assert historical(other) == [1]
            return
        error, match = {
            "gone": (fs.UnknownFeatureError, "Unknown feature view 'v'"),
            "another": (fs.InvalidBatchError, "changed while the batch was on its way"),
        }[then]
        with pytest.raises(error, match=match):
            store.write("v", rows(1), to="offline")


@pytest.mark.parametrize("backend", ["duckdb", "feast"])
def test_history_that_cannot_be_written_while_the_view_stands_is_unavailable(
    backend: str, tmp_path: Path, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with fs.connect(kit.config(backend, tmp_path / "store"), clock=clock) as store:
        store.apply([view(fs.Int64)])
        monkeypatch.setattr(segments.os, "link", full)
        with pytest.raises(fs.BackendUnavailableError, match="No space left"):
            store.write("v", rows(1), to="offline")
