"""A training set that Feast made, verified by Feast after a restart and by DuckDB; and what changed is named."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import e2i_fs as fs
from e2i_fs.receipts import TrainingReceipt
from e2i_fs.testing.clock import FakeClock
from tests import kit

FIELDS = {"trx_count": fs.Int64, "share": fs.Float32, "tier": fs.String}
ROWS = [
    ("1", "23", kit.at(0), kit.at(0), 2**53 + 1, 0.1, "gold"),
    ("1", "23", kit.at(10), kit.at(12), 2, float("nan"), None),
    ("12", "3", kit.at(5), kit.at(5), None, None, "ü"),
]
ASKED = [
    ("1", "23", kit.at(20)),
    ("12", "3", kit.at(20)),
    ("12", "3", kit.at(1)),
    ("1", "23", kit.at(3)),
    ("1", "23", kit.at(20)),
]
KEYS = {"hcp_id": fs.String, "brand_id": fs.String}
REFS = [f"hcp_stats:{name}" for name in FIELDS]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, feast_library: Any) -> Path:
    """A folder with the source, the repository of Feast, and the receipt of what it answered."""
    folder = tmp_path_factory.mktemp("receipts")
    with open_store("feast", folder) as store:
        store.apply([feature_view(folder)])
        result = kit.ask(store, ASKED, REFS, keys=KEYS, as_of=kit.at(100))
        result.receipt.save(folder / "training.json")
        kit.ask(store, ASKED, REFS, keys=KEYS).receipt.save(folder / "loose.json")
    return folder


def feature_view(folder: Path) -> fs.FeatureView:
    return kit.view(folder, ROWS, keys=KEYS, fields=FIELDS, created=True)


def open_store(backend: str, folder: Path) -> Any:
    return fs.connect(kit.config(backend, folder / backend), clock=FakeClock(kit.NOW))


def test_the_receipt_names_feast_and_its_version(shared: Path) -> None:
    import feast

    receipt = TrainingReceipt.load(shared / "training.json")
    assert (receipt.served_by, receipt.backend_kind) == ("feast", "feast")
    assert receipt.versions["feast"] == feast.__version__


@pytest.mark.rule("R-2", "P-8")
def test_duckdb_verifies_what_feast_made(shared: Path) -> None:
    receipt = TrainingReceipt.load(shared / "training.json")
    with open_store("duckdb", shared) as store:
        store.apply([feature_view(shared)])
        found = store.verify(receipt)
        assert found.identical, str(found)
        assert found.notes == ("made by 'feast' (feast), verified on 'duckdb' (duckdb)",)
        assert kit.ask(store, ASKED, REFS, keys=KEYS, as_of=kit.at(100)).receipt.content_hash == receipt.content_hash


@pytest.mark.rule("P-3", "P-10")
def test_feast_verifies_it_after_a_restart_and_after_late_rows_and_names_what_changed_without_as_of(
    shared: Path,
) -> None:
    late = pa.table({
        "hcp_id": ["12"], "brand_id": ["3"], "event_timestamp": pa.array([kit.at(6)], kit.STAMP),
        "created_at": pa.array([kit.at(300)], kit.STAMP), "trx_count": [5], "share": pa.array([0.5], pa.float32()), "tier": ["ü"],
    })  # fmt: skip
    with open_store("feast", shared) as store:
        assert store.verify(TrainingReceipt.load(shared / "loose.json")).identical
        store.write("hcp_stats", late, to="offline")
        assert store.verify(TrainingReceipt.load(shared / "training.json")).identical
        found = store.verify(TrainingReceipt.load(shared / "loose.json"))
        assert [(d.feature, d.positions) for d in found.differences] == [
            ("hcp_stats:trx_count", (1,)),
            ("hcp_stats:share", (1,)),
        ]
        assert found.differences[0].example["event_timestamp"] == kit.at(6)


def test_a_definition_that_changed_in_feast_is_named(shared: Path) -> None:
    from dataclasses import replace

    receipt = TrainingReceipt.load(shared / "training.json")
    with open_store("feast", shared) as store:
        store.apply([replace(feature_view(shared), ttl=timedelta(days=5))])
        found = store.verify(receipt)
        store.apply([feature_view(shared)])
    assert [(d.kind.value, d.view) for d in found.differences] == [("DEFINITION", "hcp_stats")]
