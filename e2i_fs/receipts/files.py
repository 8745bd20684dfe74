"""A receipt as two files: JSON that says what it is, and Parquet with its rows, the second named by its hash."""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from e2i_fs.definitions import fingerprint
from e2i_fs.errors import ReceiptError
from e2i_fs.receipts.receipt import TrainingReceipt

__all__ = ["load", "save"]


def save(receipt: TrainingReceipt, path: str | os.PathLike[str]) -> str:
    """Write both files, the rows first: whatever is interrupted, ``path`` is the old receipt or the new one."""
    path = os.fspath(path)
    sink = pa.BufferOutputStream()
    pq.write_table(receipt.rows, sink, compression="zstd")
    rows = sink.getvalue().to_pybytes()
    mark = hashlib.sha256(rows).hexdigest()
    folder, name = os.path.split(path)
    beside = f"{os.path.splitext(name)[0]}.{mark[:12]}.rows.parquet"
    about = {**receipt.to_dict(), "rows": {"file": beside, "sha256": mark}}
    text = json.dumps({**about, "seal": fingerprint(about)}, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    before = _rows_named_by(path)
    try:
        if folder:
            os.makedirs(folder, exist_ok=True)
        _put(os.path.join(folder, beside), rows)
        _put(path, text.encode())
        if before is not None and before != beside:
            _remove(os.path.join(folder, before))
    except OSError as error:
        raise ReceiptError(
            f"The receipt cannot be written to {path}: {error}. Make the folder writable, or free space."
        ) from error
    return path


def load(path: str | os.PathLike[str]) -> TrainingReceipt:
    """Read both files, and raise `ReceiptError` unless they are what `save` wrote."""
    path = os.fspath(path)
    form = _read_json(path)
    seal = form.pop("seal")
    if fingerprint(form) != seal:
        raise ReceiptError(
            f"{path} is not what was written: it was changed since. Take the receipt from where it was saved first."
        )
    named = form.pop("rows")
    beside = os.path.join(os.path.dirname(path), named["file"])
    try:
        with open(beside, "rb") as file:
            rows = file.read()
    except FileNotFoundError as error:
        raise ReceiptError(
            f"The rows of the receipt {path} are missing: there is no {beside}. A receipt is two files; move them together."
        ) from error
    except OSError as error:
        raise ReceiptError(f"The rows of the receipt {path} cannot be read: {error}.") from error
    if hashlib.sha256(rows).hexdigest() != named["sha256"]:
        raise ReceiptError(
            f"{beside} is not what was written with {path}: it was changed since, or is of another receipt."
        )
    return TrainingReceipt.from_dict(form, pq.read_table(pa.BufferReader(rows)))


def _read_json(path: str) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as file:
            form = json.load(file)
    except OSError as error:
        raise ReceiptError(f"The receipt {path} cannot be read: {error.strerror or error}.") from error
    except ValueError as error:
        raise ReceiptError(f"{path} is no training receipt: it is not JSON ({error}).") from error
    rows = form.get("rows") if isinstance(form, dict) else None
    if not isinstance(rows, Mapping) or not {"file", "sha256"} <= set(rows) or "seal" not in form:
        raise ReceiptError(f"{path} is JSON, and no training receipt: it names no rows, or has no seal.")
    return dict(form)


def _rows_named_by(path: str) -> str | None:
    """Return the rows' file of the receipt that is at ``path`` now, None when nothing is or it is no receipt."""
    if not os.path.exists(path):
        return None
    try:
        return str(_read_json(path)["rows"]["file"])
    except ReceiptError:
        return None


def _remove(path: str) -> None:
    if os.path.exists(path):
        os.unlink(path)


def _put(path: str, content: bytes) -> None:
    """Write a file aside and move it into place, so that it is there whole or not at all."""
    part = os.path.join(os.path.dirname(path), f".{uuid.uuid4().hex}.tmp")
    try:
        with open(part, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        _remove(part)
