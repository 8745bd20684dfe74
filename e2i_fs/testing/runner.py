"""The conformance tests without pytest, and what is made of their outcome, with pytest or without."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from e2i_fs.backend import Capabilities
from e2i_fs.errors import E2IError, UnsupportedError, did_you_mean
from e2i_fs.testing.conformance.base import BackendConformance, group_of, test_names
from e2i_fs.testing.conformance.rules import GROUPS, rules_of
from e2i_fs.testing.findings import Finding, HarnessError, Inapplicable, Mismatch, Stuck
from e2i_fs.testing.harness import Deviation, Harness
from e2i_fs.testing.inspector import _Worker
from e2i_fs.testing.kit import PROFILES, Kit, Profile
from e2i_fs.testing.reach import made, place_of

__all__ = ["Outcome", "Result", "as_finding", "deviation_of", "examine", "judged", "surveyed"]

Outcome = Literal["passed", "failed", "deviates", "unexpectedly passed", "not applicable", "not run"]
_FROZEN_GROUP = "temporal"
_MOST_LOST = 300.0  # seconds in calls that hang, after which the rest is not run


class _Unexamined(Finding):
    """The harness is at fault, so that nothing is shown of the backend."""

    def text(self) -> str:
        """See `Finding`."""
        return super().text().replace(f"{self.rule} is broken", f"{self.rule} could not be examined", 1)


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one test.

    ``reason`` says why a test did not apply or was not run, or the kind and reason of a deviation. ``finding`` is
    there for *failed*, *deviates* and *unexpectedly passed*. ``seconds`` is real time, ``tried`` how many examples.
    """

    test: str
    group: str
    rules: tuple[str, ...]
    outcome: Outcome
    reason: str = ""
    finding: Finding | None = None
    seconds: float = 0.0
    tried: int = 0

    @property
    def good(self) -> bool:
        """False for what keeps a backend from being certified."""
        return self.outcome in ("passed", "deviates", "not applicable")


def deviation_of(deviations: Sequence[Deviation], test: str) -> Deviation | None:
    """Return the deviation of ``test``, if there is one, when all of ``deviations`` may be.

    Raises `HarnessError` for one of a test that there is not or of the group *temporal*, and for two of one test.
    """
    known = test_names()
    for one in deviations:
        if one.test not in known:
            near = did_you_mean(one.test, known)
            raise HarnessError(f"A deviation names the test {one.test!r}, which the kit does not have.{near}")
        if group_of(one.test) == _FROZEN_GROUP:
            raise HarnessError(
                f"A deviation is declared for {one.test}, a test of the group {_FROZEN_GROUP}: rules that keep the future out "
                f"cannot be waived ({', '.join(_rules(one.test))}). Mend the backend."
            )
        if sum(other.test == one.test for other in deviations) > 1:
            raise HarnessError(f"Two deviations name the test {one.test}; keep one.")
    return next((one for one in deviations if one.test == test), None)


def judged(deviation: Deviation | None, test: str, finding: Finding | None, replay: str) -> tuple[Outcome, str, Any]:
    """Return outcome, reason and finding of a test that ran, strictly: a deviation that is none any more fails."""
    if deviation is None:
        return ("passed", "", None) if finding is None else ("failed", "", finding)
    reason = f"{deviation.kind}: {deviation.reason}"
    if finding is not None:
        return "deviates", reason, finding
    rule = (*_rules(test), "G-3")[0]
    says = "The test passes, but a deviation says that it fails. Remove the deviation from the harness."
    stale = _Stale(rule, test, says, expected=f"a failure ({reason})", got="the test passed", replay=replay)
    return "unexpectedly passed", reason, stale


class _Stale(Finding):
    """A deviation of a test that passes."""

    def text(self) -> str:
        """See `Finding`."""
        return super().text().replace(f"{self.rule} is broken", f"{self.rule} is kept after all", 1)


def as_finding(error: BaseException, test: str, *, kit: Kit | None = None, replay: str = "") -> Finding:
    """Return ``error``, whatever it is, as a `Finding` of ``test`` with the last example that ``kit`` tried."""
    if isinstance(error, Finding):
        return error
    rule = (*_rules(test), "G-4")[0]
    kind, expected, got = Finding, "", ""
    match error:
        case Mismatch():
            rule, says, expected, got = error.rule, error.says, _text(error.expected), _text(error.got)
        case Stuck():
            rule, says = "X-8", f"{error}; a call that hangs hangs its caller."
            expected = f"an answer or an error within {error.seconds:g} s"
        case HarnessError():
            kind, says = _Unexamined, str(error)
        case NotImplementedError() if not str(error):
            kind, says = _Unexamined, f"The harness does not have what this test needs{place_of(error)}."
        case _:
            says = f"{type(error).__name__}: {error}{place_of(error)}"
    shown = kit.finding(rule, says) if kit is not None else None
    return kind(
        rule, test, says, example=shown.example if shown else "", expected=expected, got=got,
        replay=replay or (shown.replay if shown else ""),
    )  # fmt: skip


def _text(value: object) -> str:
    return "" if value is None else value if isinstance(value, str) else repr(value)


def surveyed(make: Callable[[Path], Harness]) -> tuple[str, Capabilities | None, tuple[str, ...]]:
    """Open a backend once and return its label (may be empty), what it declares, and what its harness offers.

    What it declares is None when it has not the form of a backend, which is for the tests to tell. Raises what opening
    it raises, a `BackendError` when it cannot be reached, and `HarnessError` when opening it raises none of our errors, or
    does not come back in time.
    """
    with tempfile.TemporaryDirectory(prefix="e2i_fs_certify_", ignore_cleanup_errors=True) as folder:
        harness = made(make, Path(folder))
        deviation_of(harness.deviations, "")
        offered = tuple(method for method in ("raw_write", "raw_read", "break_", "heal") if harness.offers(method))
        if ("break_" in offered) != ("heal" in offered):
            raise HarnessError(f"{type(harness).__name__} has one of break_ and heal; write both, or neither.")
        kit = Kit(harness)

        def look() -> Capabilities | None:
            try:
                with suppress(Mismatch, Stuck, UnsupportedError):  # a wrong ping is for the tests to tell
                    kit.backend.ping(5.0)
                return kit.backend.capabilities
            except (Inapplicable, Mismatch):
                return None
            finally:
                _close(kit)

        try:
            declared: Capabilities | None = _Worker().call(look, "open", 2 * harness.patience + 1)
        except HarnessError as error:
            if isinstance(error.__cause__, E2IError):  # it cannot be reached, or its options are wrong
                raise error.__cause__ from None
            raise
        except E2IError:
            raise
        except Stuck as error:
            raise HarnessError(
                f"{type(harness).__name__}: {error}. Raise its `patience` if that is not long enough."
            ) from None
        except Exception as error:
            raise HarnessError(
                f"{type(harness).__name__}.open() raised {type(error).__name__}: {error}{place_of(error)}"
            ) from error
        return str(harness.label), declared, offered


def examine(
    harness: Callable[[Path], Harness], *, profile: Profile = PROFILES["ci"], seed: int = 0,
    only: Sequence[str] | None = None, progress: Callable[[str, Result | None], None] | None = None,
    replay: Callable[[str], str] | None = None,
) -> list[Result]:  # fmt: skip
    """Run the tests, or ``only`` those named, each with a harness of its own in a fresh folder.

    ``progress`` is called with a test's name and None before it, and with its result after it; ``replay`` makes the
    line that shows a test's finding again. Whatever a backend or harness raises becomes a `Finding`. Raises
    `HarnessError` for what no test can mend: an unknown name in ``only``, a deviation that may not be, or a harness
    that gives no store.
    """
    known = sorted(test_names(), key=lambda test: GROUPS.index(group_of(test)))
    for name in only or ():
        if name not in known:
            raise HarnessError(f"The kit has no test {name!r}.{did_you_mean(name, known)}")
    results: list[Result] = []
    lost = 0.0
    with tempfile.TemporaryDirectory(prefix="e2i_fs_certify_", ignore_cleanup_errors=True) as folder:
        for number, test in enumerate(n for n in known if not only or n in only):
            if progress is not None:
                progress(test, None)
            own = Path(folder, f"t{number}")
            own.mkdir()
            if lost < _MOST_LOST:
                result = _examined(harness, own, profile, seed, test, replay(test) if replay else "")
            else:
                reason = f"calls hung for {lost:.0f} s before it"
                result = Result(test, group_of(test), _rules(test), "not run", reason)
            if result.finding is not None and (result.finding.rule == "X-8" or isinstance(result.finding, _Unexamined)):
                lost += result.seconds
            results.append(result)
            if progress is not None:
                progress(test, result)
    return results


def _rules(test: str) -> tuple[str, ...]:
    return rules_of(getattr(BackendConformance, test))


def _examined(
    make: Callable[[Path], Harness], folder: Path, profile: Profile, seed: int, test: str, replay: str
) -> Result:
    began = time.perf_counter()
    harness = made(make, folder)
    deviation = deviation_of(harness.deviations, test)
    kit = Kit(harness, profile=profile, seed=seed, test=test, replay=replay)

    def result(outcome: Outcome, reason: str = "", finding: Finding | None = None) -> Result:
        return Result(
            test, group_of(test), _rules(test), outcome, reason, finding, time.perf_counter() - began, kit.tried
        )

    finding: Finding | None = None
    try:
        getattr(BackendConformance(), test)(kit)
    except KeyboardInterrupt:
        raise
    except Inapplicable as error:
        _close(kit)
        return result("not applicable", str(error))
    except BaseException as error:  # whatever a stranger's code raises is its finding
        finding = as_finding(error, test, kit=kit, replay=replay)
    closing = _close(kit)
    if finding is None and closing is not None:
        kit.example = None
        finding = as_finding(closing, test, kit=kit, replay=replay)
    if finding is not None:
        finding = _without((str(folder), str(kit.folder), os.getcwd()), finding)
    return result(*judged(deviation, test, finding, replay))


def _without(folders: Sequence[str], finding: Finding) -> Finding:
    """Return the finding without the places of folders on this machine, which tell nobody anything."""
    texts = [finding.says, finding.example, finding.expected, finding.got]
    for folder in (f for f in folders if len(f) > 1):
        texts = [text.replace(folder, "FOLDER") for text in texts]
    says, example, expected, got = texts
    return type(finding)(
        finding.rule, finding.test, says, example=example, expected=expected, got=got, replay=finding.replay
    )


def _close(kit: Kit) -> BaseException | None:
    try:
        with kit:
            pass
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return error
    return None
