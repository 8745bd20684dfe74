"""The receipt of a training set: one frozen value, and its JSON form."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any

from e2i_fs.definitions import fingerprint
from e2i_fs.errors import ReceiptError
from e2i_fs.frozen import FrozenMap

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["FORMAT", "ColumnHash", "TrainingReceipt"]

FORMAT = 1
_TIMES = ("as_of", "min_time", "max_time", "made_at")
_CIRCUMSTANCES = {"served_by", "backend_kind", "role", "degraded", "reason", "position", "versions", "made_at"}


@dataclass(frozen=True, slots=True)
class ColumnHash:
    """One column of a training set: its name, the kind of its values, and a hash of all of them in order.

    For a feature, ``ref`` is its ``view:feature``, and ``kind`` the canonical form of its dtype as JSON text.

    >>> from datetime import datetime
    >>> import pyarrow as pa
    >>> from e2i_fs.testing import example_store
    >>> asked = pa.table({"hcp_id": ["hcp_1"], "event_timestamp": [datetime(2024, 3, 6)]})
    >>> with example_store() as store:
    ...     (column,) = store.get_historical_features(asked, ["hcp_stats:trx_count"]).receipt.columns
    >>> column.name, column.kind, column.ref, len(column.hash)
    ('trx_count', '"int64"', 'hcp_stats:trx_count', 32)
    """

    name: str
    kind: str
    hash: str
    ref: str = ""


@dataclass(frozen=True, kw_only=True)
class TrainingReceipt:
    """What one training set was made from, and hashes of its content; see `HistoricalResult.receipt`.

    ``features`` and ``labels`` are references in the order of the columns; ``fingerprints`` those of the views used
    (R-2); ``as_of`` and ``filter_by_created_timestamp`` the knowledge limits (P-3). ``min_time`` and ``max_time`` are
    those of the entity rows. ``entity_columns`` has each column of the entity frame and ``columns`` each output, with
    the hash of its values. ``served_by``, ``role``, ``degraded`` and ``position`` are as in `Provenance`; ``versions``
    are those of the packages that made it; ``split`` is what a `TemporalSplit` made of it, or None. ``rows`` has the
    columns needed to ask again and a hash of each value, by which changed rows are found. Hashes do not depend on the
    kind of frame, its chunks or the process.

    The hashes show that something changed; they are no signature that would stop a deliberate forgery.

    >>> from datetime import datetime
    >>> import pyarrow as pa
    >>> from e2i_fs.testing import example_store
    >>> asked = pa.table({"hcp_id": ["hcp_1"], "event_timestamp": [datetime(2024, 3, 6)]})
    >>> with example_store() as store:
    ...     receipt = store.get_historical_features(asked, "hcp_model").receipt
    >>> receipt.features, receipt.row_count
    (('hcp_stats:trx_count', 'hcp_stats:engagement'), 1)
    """

    features: tuple[str, ...]
    labels: tuple[str, ...]
    join_keys: tuple[str, ...]
    request_columns: tuple[str, ...]
    timestamp_column: str
    full_feature_names: bool
    filter_by_created_timestamp: bool
    as_of: datetime | None
    fingerprints: Mapping[str, str]
    row_count: int
    min_time: datetime
    max_time: datetime
    entity_columns: tuple[ColumnHash, ...]
    entity_hash: str
    columns: tuple[ColumnHash, ...]
    result_hash: str
    served_by: str
    backend_kind: str
    role: str
    degraded: bool
    reason: str | None
    position: Mapping[str, int]
    versions: Mapping[str, str]
    made_at: datetime
    split: Mapping[str, Any] | None = None
    rows: pa.Table = field(repr=False, compare=False)

    @property
    def content_hash(self) -> str:
        """One hash of the training set: of everything in this receipt except who made it, with what, and when."""
        return fingerprint({k: v for k, v in self.to_dict().items() if k not in _CIRCUMSTANCES})

    def __hash__(self) -> int:
        return hash((self.content_hash, self.made_at))

    def to_dict(self) -> dict[str, Any]:
        """Return everything except the rows, as JSON values; `save` writes them and `load` reads them."""
        form: dict[str, Any] = {"format": FORMAT}
        for f in fields(self):
            value = getattr(self, f.name)
            if f.name == "rows":
                continue
            if isinstance(value, datetime):
                value = value.isoformat()
            elif f.name in ("columns", "entity_columns"):
                value = [{n: getattr(c, n) for n in ("name", "kind", "hash", "ref")} for c in value]
            elif isinstance(value, tuple):
                value = list(value)
            elif isinstance(value, Mapping):
                value = dict(value)
            form[f.name] = value
        return form

    @classmethod
    def from_dict(cls, form: Mapping[str, Any], rows: pa.Table) -> TrainingReceipt:
        """Return the receipt that `to_dict` wrote, with its rows. Raises `ReceiptError` for anything else."""
        if form.get("format") != FORMAT:
            raise ReceiptError(
                f"A receipt of format {form.get('format')!r}: written by another e2i_fs; use that, or a newer one."
            )
        given = {k: v for k, v in form.items() if k != "format"}
        try:
            for name in _TIMES:
                given[name] = None if given[name] is None else datetime.fromisoformat(given[name])
            for name in ("columns", "entity_columns"):
                given[name] = tuple(ColumnHash(**c) for c in given[name])
            for name in ("features", "labels", "join_keys", "request_columns"):
                given[name] = tuple(given[name])
            for name in ("fingerprints", "position", "versions"):
                given[name] = FrozenMap(given[name])
            return cls(**given, rows=rows)
        except (KeyError, TypeError, ValueError) as error:
            raise ReceiptError(f"This is no training receipt: {type(error).__name__}: {error}.") from error

    def save(self, path: str | os.PathLike[str]) -> str:
        """Write the receipt to ``path`` as JSON and its rows beside it as Parquet; return the path.

        Each file is written under another name and moved into place, the rows first, so that ``path`` is always a
        complete receipt, the old one or the new. The rows' file has their hash in its name; move both files together.
        """
        from e2i_fs.receipts.files import save

        return save(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> TrainingReceipt:
        """Read a receipt that `save` wrote.

        Raises `ReceiptError` when the file is not a receipt, either file was changed, or the rows are missing.
        """
        from e2i_fs.receipts.files import load

        return load(path)

    def log_to_mlflow(self, artifact_path: str = "training_receipt") -> None:
        """Add the receipt to the active MLflow run: both files as artifacts, with params and tags to search by.

        Raises `UnsupportedError` when MLflow is not installed, and `RequestError` when no run is active.
        """
        from e2i_fs.receipts.mlflow_run import log

        log(self, artifact_path)
