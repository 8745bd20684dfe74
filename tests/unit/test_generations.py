"""A view that is made anew while its rows are asked for is read, or written, as one view: the old one or the new one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

import e2i_fs as fs
import e2i_fs.backend

AT = datetime(2024, 1, 1, tzinfo=UTC)


def _view(field: str) -> fs.FeatureView:
    return fs.FeatureView("v", entities=[fs.Entity("k")], schema=[fs.Field(field, fs.Int64)], source=fs.PushSource("p"))


def _rows(field: str, value: int) -> pa.Table:
    return pa.table(
        {"k": ["a"], "event_timestamp": pa.array([AT], pa.timestamp("us", "UTC")), field: pa.array([value], pa.int64())}
    )


def _made_anew(store: Any, field: str, value: int) -> None:
    store.delete("v")
    store.apply([_view(field)])
    store.write("v", _rows(field, value), to="both")


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[tuple[Any, Any]]:
    """Two handles of one store."""
    with (
        fs.connect({"backend": "duckdb", "path": str(tmp_path)}) as one,
        fs.connect({"backend": "duckdb", "path": str(tmp_path)}) as two,
    ):
        one.apply([_view("x")])
        one.write("v", _rows("x", 1), to="both")
        yield one, two


def _once_between(monkeypatch: pytest.MonkeyPatch, registry: Any, name: str, what: Callable[[], None]) -> None:
    """Do ``what`` after the first call of a method of the registry."""
    real, left = getattr(registry, name), [what]

    def called(*given: Any) -> Any:
        found = real(*given)
        if left:
            left.pop()()
        return found

    monkeypatch.setattr(registry, name, called)


@pytest.mark.parametrize("between", ["catalog", "storage"])
def test_history_is_of_the_definitions_that_it_is_read_by(
    stores: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch, between: str
) -> None:
    """R-4: else a field that the new view does not have would be missing, instead of gone with the old one."""
    one, two = stores
    backend = one._router.backend("duckdb")
    _once_between(monkeypatch, backend._registry, between, lambda: _made_anew(two, "y", 2))
    (part,) = backend.scan("v", ["x"])
    assert part.missing_ok == {"y", ""}
    assert [pa.parquet.read_schema(path).names[-1] for path in part.paths] == ["y"]


def test_a_dropped_place_is_forgotten_with_its_layouts(stores: tuple[Any, Any]) -> None:
    """Its rows lie by position: under the layout that they were written with, no other."""
    backend = stores[0]._router.backend("duckdb")
    online, at_us = backend._online, 1_800_000_000_000_000
    for fields, values in ((("a", "b"), {"a": 1, "b": 2}), (("b", "a"), {"a": 1, "b": 2})):
        schema = [fs.Field(name, fs.Int64) for name in fields]
        view = fs.FeatureView("w", entities=[fs.Entity("k")], schema=schema, source=fs.PushSource("q"))
        online.write(77, view, [("a",)], [fs.backend.OnlineRow(5, None, values)], at_us=at_us)
        assert online.read(77, [("a",)], at_us=at_us)[0].values == values
        online.drop(77)
