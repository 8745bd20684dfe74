"""How a check ended. What cannot be judged has not passed, and a check that errs has failed."""

from __future__ import annotations

import enum
from collections.abc import Iterable

__all__ = ["Outcome", "worst"]


class Outcome(enum.StrEnum):
    """How one check ended. Only `PASSED` and `WARNING` let anything through by themselves.

    ``INCONCLUSIVE``: there was nothing to judge, or too little. ``ERROR``: the check itself raised, which counts as failed.

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
        """Whether the check was made and found nothing that must stop anybody."""
        return self in (Outcome.PASSED, Outcome.WARNING)

    @property
    def failed(self) -> bool:
        """Whether the check found something, or could not be carried out for an error."""
        return self in (Outcome.FAILED, Outcome.ERROR)


_ORDER = list(Outcome)


def worst(outcomes: Iterable[Outcome]) -> Outcome:
    """Return the outcome of several checks together: the worst of them; of none at all, inconclusive.

    >>> worst([Outcome.PASSED, Outcome.INCONCLUSIVE, Outcome.WARNING]), worst([])
    (<Outcome.INCONCLUSIVE: 'inconclusive'>, <Outcome.INCONCLUSIVE: 'inconclusive'>)
    """
    return max(outcomes, key=_ORDER.index, default=Outcome.INCONCLUSIVE)
