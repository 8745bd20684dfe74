"""The conformance tests: subclass `BackendConformance`, give it a harness, and run pytest.

The tests stand in one module for each group. A test is named by the rule that it proves and works with a
`e2i_fs.testing.kit.Kit`; `e2i_fs.testing.runner` runs the same tests without pytest, for certificates.
"""

from __future__ import annotations

from e2i_fs.testing.conformance.base import BackendConformance

__all__ = ["BackendConformance"]
