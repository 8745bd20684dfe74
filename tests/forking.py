"""What a test does in a forked child."""

from __future__ import annotations

import os
import signal
import warnings
from collections.abc import Callable

__all__ = ["in_a_child"]

_PATIENCE = 20  # seconds, after which a child counts as hanging


def in_a_child(work: Callable[[], bool]) -> bool:
    """Return whether ``work`` comes to an end in a forked child, and is true there."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 on: forks beside threads, which this is about
        child = os.fork()
    if child == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)  # it ends the process, whatever that waits for
        signal.alarm(_PATIENCE)
        code = 1
        try:
            code = 0 if work() else 1
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
