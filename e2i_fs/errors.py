"""Every error that e2i_fs raises, in one tree.

::

    E2IError
    ├ DefinitionError ── SchemaMismatchError, BreakingChangeError, StalePlanError
    ├ RequestError    ── UnknownFeatureError, InvalidEntityFrameError, InvalidTimestampError,
    │                    FeatureNameCollisionError, LabelRequestedError, InvalidBatchError,
    │                    SplitError, HoldoutLockedError, ReceiptError, StateKeyError
    ├ ConfigError     ── UnknownBackendError, PluginLoadError, DuplicateBackendError
    ├ UnsupportedError
    ├ RunOverlapError, RunTimeoutError
    ├ JobsFailedError, StaleViewsError
    ├ LeakageError
    ├ QualityGateBlockedError
    ├ BackendError    ── BackendUnavailableError, DeadlineExceededError, ThrottledError, BackendDataError
    └ FailoverError   ── NoEligibleBackendError, DegradedAnswerError

A caller's mistake is also a ``ValueError`` or a ``LookupError``, so code that knows nothing of this
package can catch it. The first three backend errors, and no others, move a request to the next
backend (X-2). A driver's own error is always the ``__cause__`` (G-4).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from e2i_fs.quality.gate import GateDecision
    from e2i_fs.results import Attempt

__all__ = [
    "BackendDataError",
    "BackendError",
    "BackendUnavailableError",
    "BreakingChangeError",
    "ConfigError",
    "DeadlineExceededError",
    "DefinitionError",
    "DegradedAnswerError",
    "DuplicateBackendError",
    "E2IError",
    "FailoverError",
    "FeatureNameCollisionError",
    "HoldoutLockedError",
    "InvalidBatchError",
    "InvalidEntityFrameError",
    "InvalidTimestampError",
    "JobsFailedError",
    "KeyTypeWarning",
    "LabelRequestedError",
    "LeakageError",
    "NoEligibleBackendError",
    "PluginLoadError",
    "QualityGateBlockedError",
    "ReceiptError",
    "RequestError",
    "RunOverlapError",
    "RunTimeoutError",
    "SchemaMismatchError",
    "SplitError",
    "StalePlanError",
    "StaleViewsError",
    "StateKeyError",
    "ThrottledError",
    "UnknownBackendError",
    "UnknownFeatureError",
    "UnsupportedError",
    "did_you_mean",
    "suggested",
    "unstopped",
]


class E2IError(Exception):
    """The root: catch this to catch everything that e2i_fs raises on purpose."""


class DefinitionError(E2IError, ValueError):
    """An entity, view, service or source that cannot mean anything."""


class SchemaMismatchError(DefinitionError):
    """A source does not hold what the definition says of it (R-3)."""


class BreakingChangeError(DefinitionError):
    """A change that would break readers, applied without ``allow_breaking=True`` (R-4)."""


class StalePlanError(DefinitionError):
    """What is registered is no longer what the plan was made against; nothing was applied (R-1)."""


class RequestError(E2IError, ValueError):
    """The caller's request cannot be answered as it stands. It never fails over (X-2)."""


class UnknownFeatureError(RequestError, LookupError):
    """A view, feature, service or push source that is not registered (P-9)."""


class InvalidEntityFrameError(RequestError):
    """The entity rows lack something that the request needs (P-11)."""


class InvalidTimestampError(RequestError):
    """A time that is missing, not a time, naive when refused, or finer than a microsecond (T-1 to T-3)."""


class FeatureNameCollisionError(RequestError):
    """Two outputs, or an output and an input column, would have one name (P-9)."""


class LabelRequestedError(RequestError):
    """A label was asked for as a model input (P-12)."""


class InvalidBatchError(RequestError):
    """A batch that does not fit its view. Nothing of it was written (W-1).

    ``problems`` lists every problem found, one string each; the message shows the first 20.
    """

    def __init__(self, message: str, problems: Sequence[str] = ()) -> None:
        self.problems: tuple[str, ...] = tuple(problems)
        more = [f"and {len(self.problems) - 20} more, all in .problems"] if len(self.problems) > 20 else []
        super().__init__("\n  - ".join([message, *self.problems[:20], *more]))


class SplitError(RequestError):
    """Rows that cannot be split as asked; the message says what can be had."""


class HoldoutLockedError(RequestError):
    """The holdout was touched before it was asked for by name."""


class ReceiptError(RequestError):
    """A training receipt that is not whole: its rows are missing, or it is not what was written."""


class StateKeyError(RequestError, LookupError):
    """A graph's state lacks a key that a node of `e2i_fs.agents` reads or writes."""


class ConfigError(E2IError, ValueError):
    """A configuration that cannot be used as it stands."""


class UnknownBackendError(ConfigError, LookupError):
    """No installed plugin has this backend name."""


class PluginLoadError(ConfigError):
    """A backend plugin is installed and cannot be loaded; the cause says why (G-2)."""


class DuplicateBackendError(ConfigError):
    """Two installed plugins claim one backend name (G-2)."""


class KeyTypeWarning(UserWarning):
    """A key column holds a value of another type than the join key, which can match nothing (P-7)."""


class UnsupportedError(E2IError, NotImplementedError):
    """The backend does not declare this capability (G-3)."""


class RunOverlapError(E2IError):
    """Another materialisation of the same view is running (W-4)."""


class RunTimeoutError(E2IError, TimeoutError):
    """A materialisation took longer than it was given. What it had finished stays, and is not done again (W-4)."""


class JobsFailedError(E2IError):
    """Jobs of a scheduled task did not do their work (W-4). ``failed`` says for which views, and why.

    ``result`` is what the task would have returned: all of its jobs, those that did their work too.
    """

    def __init__(
        self, message: str, failed: Mapping[str, str] | None = None, result: Mapping[str, Any] | None = None
    ) -> None:
        self.failed = dict(failed or {})
        self.result = dict(result or {})
        super().__init__(message)


class StaleViewsError(E2IError):
    """A scheduled freshness check found views stale, expired or unknown (F-2). ``stale`` says which, and how.

    ``result`` is what the task would have returned: the freshness of every view.
    """

    def __init__(
        self, message: str, stale: Mapping[str, str] | None = None, result: Mapping[str, Any] | None = None
    ) -> None:
        self.stale = dict(stale or {})
        self.result = dict(result or {})
        super().__init__(message)


class LeakageError(E2IError):
    """An answer would hold what could not be known at its time."""


class QualityGateBlockedError(E2IError):
    """A quality gate refused the data. ``decision`` has every reason; the message shows the first 20."""

    def __init__(self, message: str, decision: GateDecision | None = None) -> None:
        self.decision = decision
        reasons = () if decision is None else decision.reasons
        more = [f"and {len(reasons) - 20} more, all in .decision.reasons"] if len(reasons) > 20 else []
        super().__init__("\n  - ".join([f"{message}:" if reasons else message, *reasons[:20], *more]))


class BackendError(E2IError):
    """Something went wrong behind the protocol, through no fault of the caller."""


class BackendUnavailableError(BackendError):
    """The backend cannot be reached or cannot work now. Fails over."""


class DeadlineExceededError(BackendError, TimeoutError):
    """The backend did not answer in time. Fails over."""


class ThrottledError(BackendError):
    """The backend refuses more work for now. Fails over."""


class BackendDataError(BackendError):
    """Stored data cannot be read as what it should be. Does not fail over (X-2)."""


class FailoverError(E2IError):
    """The failover store cannot give the answer asked for."""


class NoEligibleBackendError(FailoverError):
    """No backend may answer (X-9), or none took a write. ``attempts`` has what was tried.

    ``retry_after`` is in how many seconds a backend may be called again, 0 when one may at once; None when time does not
    help, since every backend is isolated.
    """

    def __init__(self, message: str, attempts: Sequence[Attempt] = (), retry_after: float | None = None) -> None:
        self.attempts = tuple(attempts)
        self.retry_after = retry_after
        super().__init__(message)


class DegradedAnswerError(FailoverError):
    """``strict=True`` and the only answer to be had is a degraded one (X-7)."""


def unstopped(text: object) -> str:
    """Return the text of an error, or of whatever it is, without its full stop, for a sentence that goes on.

    >>> unstopped(OSError("It is gone."))
    'It is gone'
    """
    return str(text).rstrip().removesuffix(".")


_READABLE = 200


def did_you_mean(name: str, known: Iterable[str], *, prefix: str = "") -> str:
    """Return a sentence naming the known names nearest to ``name``, or listing a few, or ``""``.

    ``prefix`` stands before each name shown and is no part of the likeness. What nobody would read is left out: names of
    more than 200 characters, and any beyond the first thousand.

    >>> did_you_mean("hcp:trx_cnt", ["hcp:trx_count", "visits:week"])
    " Did you mean 'hcp:trx_count'?"
    """
    names = sorted(n for n in set(known) if len(n) <= _READABLE)
    near = difflib.get_close_matches(name, names[:1000], n=3, cutoff=0.6) if len(name) <= _READABLE else []
    if near:
        return f" Did you mean {' or '.join(repr(prefix + n) for n in near)}?"
    if not names:
        return ""
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return f" Known: {', '.join(repr(prefix + n) for n in names[:8])}{more}."


_SUGGESTED = re.compile(r" (?:Did you mean|Known:) ((?:'[^']*'(?: or |, )?)+)")


def suggested(message: str) -> list[str]:
    """Return the names that `did_you_mean` gave to a message, for those who read errors by program.

    >>> suggested("Unknown view 'hpc'." + did_you_mean("hpc", ["hcp", "visits"]))
    ['hcp']
    """
    found = _SUGGESTED.findall(message)
    return re.findall(r"'([^']*)'", found[-1]) if found else []
