"""How many files the process may have open: each connection is one, and the store needs some of its own."""

from __future__ import annotations

import logging
import resource

from e2i_fs.errors import ConfigError

__all__ = ["connections_that_fit"]

_LOG = logging.getLogger("e2i_fs.server")
_STORE = 256  # files that are kept for the store, so that no number of connections takes them from it
_MANY = 65_536
_FEWEST = 64


def connections_that_fit(wanted: int) -> int:
    """Return how many connections the process can hold, at most ``wanted``, after raising its limit as far as it may.

    Fewer than wanted is told to the log. Raises `ConfigError` when it is hardly any.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + _STORE
    asked = max(needed, _MANY)
    if soft != resource.RLIM_INFINITY and soft < asked:
        soft = max(soft, asked if hard == resource.RLIM_INFINITY else min(hard, asked))
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    fit = wanted if soft == resource.RLIM_INFINITY else min(wanted, soft - _STORE)
    if fit < min(wanted, _FEWEST):
        raise ConfigError(
            f"This process may have {soft} files open, and the server needs {_STORE} for the store and one for each connection. "
            f"Raise the limit (ulimit -n {needed}; LimitNOFILE= of systemd)."
        )
    if fit < wanted:
        _LOG.warning(
            "This process may have %d files open, so the server takes %d connections at a time and not %d. "
            "Raise the limit (ulimit -n %d; LimitNOFILE= of systemd).", soft, fit, wanted, needed,
        )  # fmt: skip
    return fit
