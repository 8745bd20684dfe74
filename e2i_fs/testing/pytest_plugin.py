"""The pytest plugin: options of the conformance kit, findings as text, and strict deviations.

It is loaded in every pytest session where e2i-fs is installed, so it imports nothing of the kit until one of its tests runs.
Assertions of the kit need no rewriting: they are findings, which say expected and got themselves.
"""

from __future__ import annotations

import sys
import unittest
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from e2i_fs.testing.harness import Harness

__all__ = ["pytest_addoption", "pytest_runtest_call", "pytest_runtest_makereport"]

_PROFILES = ("quick", "ci", "thorough")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--e2i-fs-profile`` and ``--e2i-fs-seed``."""
    group = parser.getgroup("e2i_fs", "conformance of feature store backends")
    group.addoption(
        "--e2i-fs-profile", dest="e2i_fs_profile", default="ci", choices=_PROFILES,
        help="How hard the conformance tests look: quick, ci (default) or thorough (10,000 examples a property).",
    )  # fmt: skip
    group.addoption(
        "--e2i-fs-seed", dest="e2i_fs_seed", type=int, default=0, metavar="N",
        help="Where the conformance tests begin to look; the same seed finds the same.",
    )  # fmt: skip


def _of_the_kit(item: pytest.Item) -> bool:
    base = sys.modules.get("e2i_fs.testing.conformance.base")
    cls = getattr(item, "cls", None)
    if base is None or cls is None or not issubclass(cls, base.BackendConformance):
        return False
    return _test(item) in base.test_names()


def _test(item: pytest.Item) -> str:
    name: str = getattr(item, "originalname", None) or item.name
    return name


def _harness(item: pytest.Item) -> Harness | None:
    found: Harness | None = getattr(item, "funcargs", {}).get("harness")
    return found


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Refuse deviations that may not be, before the test."""
    if _of_the_kit(item):
        from e2i_fs.testing.runner import deviation_of

        harness = _harness(item)
        if harness is not None:
            deviation_of(harness.deviations, _test(item))
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what the kit found as its own text, without a traceback, and apply deviations."""
    report = yield
    error = None if call.excinfo is None else call.excinfo.value
    if isinstance(error, (unittest.SkipTest, pytest.skip.Exception, pytest.xfail.Exception, KeyboardInterrupt)):
        return report
    if _of_the_kit(item):
        _judge(item, call, report, error)
    elif error is not None and _is_ours(error):
        from e2i_fs.testing.findings import Finding

        report.longrepr = error.text() if isinstance(error, Finding) else f"{type(error).__name__}: {error}"
    return report


def _is_ours(error: BaseException) -> bool:
    findings = sys.modules.get("e2i_fs.testing.findings")
    return findings is not None and isinstance(
        error, (findings.Finding, findings.Mismatch, findings.HarnessError, findings.Stuck)
    )


def _judge(
    item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport, error: BaseException | None
) -> None:
    from e2i_fs.testing.findings import HarnessError
    from e2i_fs.testing.runner import as_finding, deviation_of, judged

    test, kit = _test(item), getattr(item, "funcargs", {}).get("kit")
    replay = "" if kit is None else kit.replay
    finding = None if error is None else as_finding(error, test, kit=kit, replay=replay)
    harness = _harness(item)
    if call.when == "call" and harness is not None and not isinstance(error, HarnessError):
        deviation = deviation_of(harness.deviations, test)
        outcome, reason, finding = judged(deviation, test, finding, replay)
        if outcome == "deviates":
            report.outcome = "skipped"
            report.wasxfail = reason
            return
        if outcome == "unexpectedly passed":
            report.outcome = "failed"
    if finding is not None:
        report.longrepr = finding.text()
