"""The group *core*: definitions, rows and capabilities."""

from __future__ import annotations

from typing import ClassVar

from e2i_fs.testing.conformance.amounts import AmountTests
from e2i_fs.testing.conformance.batches import BatchTests
from e2i_fs.testing.conformance.beside import AppendsBesideTests
from e2i_fs.testing.conformance.capabilities import CapabilityTests
from e2i_fs.testing.conformance.changing import ChangingTests
from e2i_fs.testing.conformance.copying import CopyingTests
from e2i_fs.testing.conformance.registering import RegisteringTests
from e2i_fs.testing.conformance.writing import WritingTests

__all__ = ["CoreTests"]


class CoreTests(
    RegisteringTests,
    ChangingTests,
    WritingTests,
    BatchTests,
    AppendsBesideTests,
    AmountTests,
    CapabilityTests,
    CopyingTests,
):
    """Tests of the group *core*."""

    group: ClassVar[str] = "core"
