"""Training receipts: what a training set was made of, so that anybody can make it again and say what differs."""

from __future__ import annotations

from e2i_fs.receipts.differences import Difference, DifferenceKind, Verification
from e2i_fs.receipts.receipt import ColumnHash, TrainingReceipt

__all__ = ["ColumnHash", "Difference", "DifferenceKind", "TrainingReceipt", "Verification"]
