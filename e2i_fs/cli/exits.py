"""Exit codes, which a script can rely on, and the words for errors.

==== ==================================================================================================
code meaning
==== ==================================================================================================
0    done, or the answer is yes
1    the answer is no: stale, unhealthy (a backend is down, diverged or unverified), a plan with changes
     (``plan --exit-code``), a failed proof, backends or training sets that differ, definitions of
     which something could not carry over
2    the caller's mistake: usage, configuration, definitions, request
3    a backend is unavailable or cannot answer now, or be compared; the same command may work later
70   a defect in e2i_fs (the traceback is on stderr)
130  interrupted
==== ==================================================================================================
"""

from __future__ import annotations

from typing import Any

from e2i_fs import errors

__all__ = [
    "DEFECT",
    "INTERRUPTED",
    "MISTAKE",
    "NO",
    "OK",
    "UNAVAILABLE",
    "error_document",
    "exit_code",
    "named_exit_code",
]

OK = 0
NO = 1
MISTAKE = 2
UNAVAILABLE = 3
DEFECT = 70
INTERRUPTED = 130

_LATER = (errors.BackendError, errors.FailoverError, errors.RunOverlapError, errors.JobsFailedError)
_REFUSED = (errors.LeakageError, errors.QualityGateBlockedError, errors.StaleViewsError)


def exit_code(error: BaseException) -> int:
    """Return the exit code that ``error`` ends a command with.

    >>> exit_code(errors.ConfigError("no backend"))
    2
    """
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    if isinstance(error, _LATER):
        return UNAVAILABLE
    if isinstance(error, _REFUSED):
        return NO
    return MISTAKE if isinstance(error, errors.E2IError | OSError) else DEFECT


def named_exit_code(error: str) -> int:
    """Return the exit code of the error of ours whose class has this name, as a record tells it; that of a defect for another.

    >>> named_exit_code("UnsupportedError")
    2
    """
    kinds = {kind.__name__: kind for kind in vars(errors).values() if isinstance(kind, type)}
    return exit_code(kinds[error]("")) if error in kinds else DEFECT


def error_document(error: BaseException) -> dict[str, Any]:
    """Return what ``--json`` prints for an error: its class and its message, and the problems of a bad batch."""
    about: dict[str, Any] = {"type": type(error).__name__, "message": str(error)}
    if isinstance(error, errors.InvalidBatchError):
        about["problems"] = list(error.problems)
    if isinstance(error, errors.NoEligibleBackendError):
        about["retry_after"] = error.retry_after
    return {"error": about}
