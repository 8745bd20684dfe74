"""A receipt in an MLflow run: a real tracking store in a folder, and what is said where MLflow is not."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import e2i_fs as fs
from e2i_fs.receipts import TrainingReceipt
from e2i_fs.splits import TemporalSplit
from tests import kit

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow's own, on import and of its file store


@pytest.fixture
def mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    module = pytest.importorskip("mlflow", reason="needs MLflow: pip install mlflow-skinny")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    before = module.get_tracking_uri()
    module.set_tracking_uri((tmp_path / "runs").as_uri())
    yield module
    module.set_tracking_uri(before)


@pytest.fixture
def receipt(tmp_path: Path) -> TrainingReceipt:
    with fs.connect({"backend": "memory"}) as store:
        store.apply([kit.view(tmp_path, [("a", kit.at(0), 1)])])
        frame = pa.table({
            "hcp_id": ["a"] * 200, "event_timestamp": pa.array([kit.at(i) for i in range(200)], kit.STAMP), "sold": [0, 1] * 100,
        })  # fmt: skip
        result = store.get_historical_features(frame, ["hcp_stats:trx_count"])
        made: TrainingReceipt = TemporalSplit(embargo=timedelta(minutes=3)).split(result, target="sold").receipt
        return made


def test_a_run_has_the_receipt_as_files_and_its_hashes_as_tags(mlflow: Any, receipt: TrainingReceipt) -> None:
    with mlflow.start_run() as run:
        receipt.log_to_mlflow()
    logged = mlflow.get_run(run.info.run_id)
    assert logged.data.tags["e2i_fs.content_hash"] == receipt.content_hash
    assert logged.data.tags["e2i_fs.served_by"] == "memory"
    assert logged.data.params["e2i_fs.features"] == "hcp_stats:trx_count"
    assert logged.data.params["e2i_fs.row_count"] == "200"
    assert json.loads(logged.data.params["e2i_fs.split.ratios"]) == [0.6, 0.2, 0.15, 0.05]
    folder = mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path="training_receipt")
    assert TrainingReceipt.load(Path(folder) / "receipt.json") == receipt


def test_it_can_be_found_again_by_its_hash_and_logged_twice(mlflow: Any, receipt: TrainingReceipt) -> None:
    with mlflow.start_run() as run:
        receipt.log_to_mlflow()
        receipt.log_to_mlflow("again")
    found = mlflow.search_runs(
        search_all_experiments=True,
        output_format="list",
        filter_string=f"tags.`e2i_fs.content_hash` = '{receipt.content_hash}'",
    )
    assert [r.info.run_id for r in found] == [run.info.run_id]


def test_without_an_active_run_none_is_started(mlflow: Any, receipt: TrainingReceipt) -> None:
    with pytest.raises(fs.RequestError, match="start_run"):
        receipt.log_to_mlflow()
    assert mlflow.active_run() is None


def test_where_mlflow_is_not_installed_the_error_says_how_to_get_it(
    receipt: TrainingReceipt, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)  # what importing sees of a module that is not there
    with pytest.raises(fs.UnsupportedError, match="pip install mlflow"):
        receipt.log_to_mlflow()
