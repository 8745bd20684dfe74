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
    """The base class: catch this to catch everything that e2i_fs raises on purpose."""


class DefinitionError(E2IError, ValueError):
    """An entity, view, service or source makes no sense by itself or with what is registered."""


class SchemaMismatchError(DefinitionError):
    """A source does not match its view: a column is missing, or has a dtype that does not fit (R-3)."""


class BreakingChangeError(DefinitionError):
    """A change would break readers and was applied without ``allow_breaking=True`` (R-4)."""


class StalePlanError(DefinitionError):
    """The catalogue has changed since the plan was made; nothing was applied (R-1)."""


class RequestError(E2IError, ValueError):
    """The request cannot be answered as it was made. Never fails over (X-2)."""


class UnknownFeatureError(RequestError, LookupError):
    """A view, feature, service or push source is not registered (P-9)."""


class InvalidEntityFrameError(RequestError):
    """The entity rows lack something that the request needs, or cannot be read (P-11)."""


class InvalidTimestampError(RequestError):
    """A time is missing, is not a time, is naive where that is refused, or is finer than a microsecond (T-1 to T-3)."""


class FeatureNameCollisionError(RequestError):
    """Two outputs, or an output and an input column, would have the same name (P-9)."""


class LabelRequestedError(RequestError):
    """A label was requested as a model input, or online (P-12)."""


class InvalidBatchError(RequestError):
    """A batch does not fit its view, or its idempotency key was used with other rows; nothing was written (W-1, W-2).

    ``problems`` lists every problem found, one string each; the message shows the first 20.
    """

    def __init__(self, message: str, problems: Sequence[str] = ()) -> None:
        self.problems: tuple[str, ...] = tuple(problems)
        more = [f"and {len(self.problems) - 20} more, all in .problems"] if len(self.problems) > 20 else []
        super().__init__("\n  - ".join([message, *self.problems[:20], *more]))


class SplitError(RequestError):
    """The rows cannot be split as requested; the message says what is possible."""


class HoldoutLockedError(RequestError):
    """The holdout was read before ``unlock("holdout")``."""


class ReceiptError(RequestError):
    """A training receipt cannot be used: its rows are missing, or its files are not as they were written."""


class StateKeyError(RequestError, LookupError):
    """The state of a graph lacks a key that a node of `e2i_fs.agents` reads or writes."""


class ConfigError(E2IError, ValueError):
    """A configuration cannot be used as it is."""


class UnknownBackendError(ConfigError, LookupError):
    """No installed plugin offers a backend of this name."""


class PluginLoadError(ConfigError):
    """A backend plugin is installed but cannot be loaded; the cause says why (G-2)."""


class DuplicateBackendError(ConfigError):
    """Two installed plugins offer a backend of the same name (G-2)."""


class KeyTypeWarning(UserWarning):
    """A key column holds values of another type than the join key, which match nothing (P-7)."""


class UnsupportedError(E2IError, NotImplementedError):
    """The backend does not declare what was asked for (G-3), the view does not allow it, or an extra is missing."""


class RunOverlapError(E2IError):
    """Another materialisation of the same view is running (W-4)."""


class RunTimeoutError(E2IError, TimeoutError):
    """A materialisation exceeded its time limit. Its finished work is kept and not repeated (W-4)."""


class JobsFailedError(E2IError):
    """Jobs of a scheduled task failed (W-4). ``failed`` maps each view to the reason.

    ``result`` is what the task would have returned: all its jobs, including those that succeeded.
    """

    def __init__(
        self, message: str, failed: Mapping[str, str] | None = None, result: Mapping[str, Any] | None = None
    ) -> None:
        self.failed = dict(failed or {})
        self.result = dict(result or {})
        super().__init__(message)


class StaleViewsError(E2IError):
    """A scheduled freshness check found views stale, expired or unknown (F-2). ``stale`` maps each to its status.

    ``result`` is what the task would have returned: the freshness of every view.
    """

    def __init__(
        self, message: str, stale: Mapping[str, str] | None = None, result: Mapping[str, Any] | None = None
    ) -> None:
        self.stale = dict(stale or {})
        self.result = dict(result or {})
        super().__init__(message)


class LeakageError(E2IError):
    """Training data holds something that could not have been known at the time."""


class QualityGateBlockedError(E2IError):
    """A quality gate refused the data. ``decision`` has every reason; the message shows the first 20."""

    def __init__(self, message: str, decision: GateDecision | None = None) -> None:
        self.decision = decision
        reasons = () if decision is None else decision.reasons
        more = [f"and {len(reasons) - 20} more, all in .decision.reasons"] if len(reasons) > 20 else []
        super().__init__("\n  - ".join([f"{message}:" if reasons else message, *reasons[:20], *more]))


class BackendError(E2IError):
    """A backend failed, through no fault of the caller."""


class BackendUnavailableError(BackendError):
    """The backend cannot be reached, or cannot work now. Fails over (X-2)."""


class DeadlineExceededError(BackendError, TimeoutError):
    """The backend did not answer in time. Fails over (X-2)."""


class ThrottledError(BackendError):
    """The backend accepts no more work for now. Fails over (X-2)."""


class BackendDataError(BackendError):
    """Stored data is damaged or not of the expected form. Does not fail over (X-2)."""


class FailoverError(E2IError):
    """The failover store cannot give the answer requested."""


class NoEligibleBackendError(FailoverError):
    """No backend may answer (X-9), or none took a write. ``attempts`` lists what was tried.

    ``retry_after`` is the number of seconds until a backend may be called again, 0 if one may be called now; None when
    waiting does not help, since every backend is isolated.
    """

    def __init__(self, message: str, attempts: Sequence[Attempt] = (), retry_after: float | None = None) -> None:
        self.attempts = tuple(attempts)
        self.retry_after = retry_after
        super().__init__(message)


class DegradedAnswerError(FailoverError):
    """``strict=True`` was given, and only a degraded answer is available (X-7)."""


def unstopped(text: object) -> str:
    """Return ``text``, an error for instance, without its full stop, for use within a sentence.

    >>> unstopped(OSError("It is gone."))
    'It is gone'
    """
    return str(text).rstrip().removesuffix(".")


_READABLE = 200


def did_you_mean(name: str, known: Iterable[str], *, prefix: str = "") -> str:
    """Return a sentence with the known names nearest to ``name``, or a few of those known, or ``""``.

    ``prefix`` is put before each name shown, and not compared. Names of more than 200 characters, and any beyond the
    first thousand, are left out.

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
    """Return the names that `did_you_mean` put into a message, for programs that read errors.

    >>> suggested("Unknown view 'hpc'." + did_you_mean("hpc", ["hcp", "visits"]))
    ['hcp']
    """
    found = _SUGGESTED.findall(message)
    return re.findall(r"'([^']*)'", found[-1]) if found else []
