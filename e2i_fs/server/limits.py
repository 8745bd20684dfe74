"""How much one request may bring, how many there may be at a time, and how long a job may take."""

from __future__ import annotations

from dataclasses import dataclass

from e2i_fs.errors import ConfigError

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What the server takes, beside the `Budget` of a call: bytes of a body, requests at a time, seconds of a job.

    ``max_requests`` counts those that wait for a thread too. A job is a materialisation; ``jobs`` of them run at a time,
    in threads of their own, so that they take none from those who read. ``grace`` is how many seconds requests get to
    end when the server is told to stop.

    >>> Limits(max_body_bytes=0)
    Traceback (most recent call last):
    e2i_fs.errors.ConfigError: max_body_bytes is 0; give a number greater than 0.
    """

    max_body_bytes: int = 32 * 2**20
    max_requests: int = 2_048
    max_job_seconds: float = 3_600.0
    jobs: int = 2
    grace: float = 30.0

    def __post_init__(self) -> None:
        for name in ("max_body_bytes", "max_requests", "max_job_seconds", "jobs", "grace"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} is {getattr(self, name)!r}; give a number greater than 0.")
