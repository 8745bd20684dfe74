"""A receipt beside the model that was trained on its rows: files, params and tags of the active MLflow run."""

from __future__ import annotations

import os
import tempfile

from e2i_fs.errors import RequestError, UnsupportedError
from e2i_fs.receipts.files import save
from e2i_fs.receipts.receipt import TrainingReceipt

__all__ = ["log"]

_LONGEST = 500  # of a param's value, in every version of MLflow


def log(receipt: TrainingReceipt, artifact_path: str) -> None:
    """Write ``receipt`` into the active run. The files go below ``artifact_path`` as ``receipt.json`` and its rows."""
    try:
        import mlflow
    except ImportError as error:
        raise UnsupportedError(
            "MLflow is not installed; pip install mlflow (or mlflow-skinny), or write the receipt with save(path)."
        ) from error
    if mlflow.active_run() is None:
        # Asked for outside a run, MLflow would start one that nobody ends.
        raise RequestError("No MLflow run is active. Call log_to_mlflow() inside `with mlflow.start_run():`.")
    with tempfile.TemporaryDirectory() as folder:
        save(receipt, os.path.join(folder, "receipt.json"))
        mlflow.log_artifacts(folder, artifact_path)
    mlflow.log_params(_params(receipt))
    mlflow.set_tags(
        {
            "e2i_fs.content_hash": receipt.content_hash,
            "e2i_fs.result_hash": receipt.result_hash,
            "e2i_fs.entity_hash": receipt.entity_hash,
            "e2i_fs.served_by": receipt.served_by,
            "e2i_fs.degraded": str(receipt.degraded).lower(),
            "e2i_fs.receipt": f"{artifact_path}/receipt.json",
        }
    )


def _params(receipt: TrainingReceipt) -> dict[str, str]:
    split = receipt.split or {}
    given = {
        "e2i_fs.features": ",".join(receipt.features),
        "e2i_fs.labels": ",".join(receipt.labels),
        "e2i_fs.row_count": str(receipt.row_count),
        "e2i_fs.as_of": "" if receipt.as_of is None else receipt.as_of.isoformat(),
        "e2i_fs.filter_by_created_timestamp": str(receipt.filter_by_created_timestamp).lower(),
        **{f"e2i_fs.split.{name}": str(split[name]) for name in ("ratios", "embargo_seconds", "row_counts") if split},
    }
    return {
        name: value if len(value) <= _LONGEST else f"{value[: _LONGEST - 3]}..."
        for name, value in given.items()
        if value
    }
