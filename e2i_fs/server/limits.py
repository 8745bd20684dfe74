"""How much one request may bring, how many there may be at a time, and how long each part may take."""

from __future__ import annotations

from dataclasses import dataclass, fields

from e2i_fs.errors import ConfigError

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What the server takes, beside the `Budget` of a call.

    Bytes: ``max_body_bytes`` of one body, unpacked; of all that are there at a time ``bodies`` times as many;
    ``max_head_bytes`` of a request's head. Seconds: ``max_head_seconds`` from the first byte of a head to its last,
    ``max_idle_seconds`` between requests of a connection, ``max_unread_seconds`` in which a client must take a good part of
    its answer, ``max_job_seconds`` of a job, ``grace`` for requests to end when the server is told to stop.

    ``max_requests`` at a time, those that wait for a thread among them, over ``max_connections``. A job is a
    materialisation; ``jobs`` of them run at a time, in threads of their own, so that they take none from those who read.

    >>> Limits(max_body_bytes=0)
    Traceback (most recent call last):
    e2i_fs.errors.ConfigError: max_body_bytes is 0; give a number greater than 0.
    """

    max_body_bytes: int = 32 * 2**20
    max_requests: int = 2_048
    max_job_seconds: float = 3_600.0
    jobs: int = 2
    grace: float = 30.0
    max_connections: int = 10_000
    bodies: int = 8
    max_head_bytes: int = 64 * 2**10
    max_head_seconds: float = 10.0
    max_idle_seconds: float = 75.0
    max_unread_seconds: float = 30.0

    @property
    def max_values(self) -> int:
        """How many values a body of JSON may have: one for each 16 bytes, for each takes about 100 once it is read."""
        return max(1, self.max_body_bytes // 16)

    def __post_init__(self) -> None:
        for limit in fields(self):
            if not getattr(self, limit.name) > 0:
                raise ConfigError(f"{limit.name} is {getattr(self, limit.name)!r}; give a number greater than 0.")
