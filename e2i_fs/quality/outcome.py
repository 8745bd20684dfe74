"""How a check ended. What cannot be judged has not passed, and a check that errs has failed."""

from __future__ import annotations

import enum
from collections.abc import Iterable

__all__ = ["Outcome", "worst"]


class Outcome(enum.StrEnum):
    """The outcome of one check. Only `PASSED` and `WARNING` let data through.

    ``INCONCLUSIVE``: there was nothing, or too little, to judge. ``ERROR``: the check itself raised, which counts as
    failed.

    >>> from e2i_fs.quality import Outcome
    >>> Outcome.ERROR.failed, Outcome.INCONCLUSIVE.failed, Outcome.INCONCLUSIVE.fine
    (True, False, False)
    """

    PASSED = "passed"
    WARNING = "warning"
    INCONCLUSIVE = "inconclusive"
    FAILED = "failed"
    ERROR = "error"

    @property
    def fine(self) -> bool:
        """Whether the check was carried out and found nothing that should stop the data."""
        return self in (Outcome.PASSED, Outcome.WARNING)

    @property
    def failed(self) -> bool:
        """Whether the check failed, or raised."""
        return self in (Outcome.FAILED, Outcome.ERROR)


_ORDER = list(Outcome)


def worst(outcomes: Iterable[Outcome]) -> Outcome:
    """Return the outcome of several checks together: the worst of them; of none at all, inconclusive.

    >>> worst([Outcome.PASSED, Outcome.INCONCLUSIVE, Outcome.WARNING]), worst([])
    (<Outcome.INCONCLUSIVE: 'inconclusive'>, <Outcome.INCONCLUSIVE: 'inconclusive'>)
    """
    return max(outcomes, key=_ORDER.index, default=Outcome.INCONCLUSIVE)
