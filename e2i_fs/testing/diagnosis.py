"""Which rule a wrong answer breaks: the value that came is looked for among the rows that must not give it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from e2i_fs.dtypes import DType
from e2i_fs.testing.compare import same_value
from e2i_fs.testing.oracle import Answer, Row, exact_key

__all__ = ["Diagnosis", "diagnose"]


class Diagnosis(NamedTuple):
    """The rule that is most likely broken, and how."""

    rule: str
    says: str


def diagnose(
    rows: Sequence[Row], key: Sequence[Any], t: datetime, key_types: Sequence[DType], place: int, dtype: DType,
    expected: Answer, got: Any, status: str, *, filter_by_created: bool = False, as_of: datetime | None = None,
) -> Diagnosis | None:  # fmt: skip
    """Return what explains that ``key`` at ``t`` got ``got`` with ``status`` for field number ``place``, or None.

    The checks go from the worst, a value of the future, to the mildest, a value in another form.
    """
    right, right_status = expected.values[place], expected.statuses[place]
    if {status, right_status} == {"OUTSIDE_MAX_AGE", "PRESENT"} or {status, right_status} == {
        "OUTSIDE_MAX_AGE",
        "NULL_VALUE",
    }:
        return Diagnosis("P-2", f"The row of {expected.event} is judged by another ttl than the view's.")
    if status == "PRESENT" and got is None:
        return Diagnosis("O-3", "A value that is missing is said to be present.")
    if same_value(got, right, dtype):
        return Diagnosis("O-3", "The value is right and its status is not.")
    found = _same_number(got, right)
    if found:
        return Diagnosis("P-8", found)
    exact = exact_key(key, key_types)
    mine = [row for row in rows if exact is not None and exact_key(row.key, key_types) == exact]
    giving = [row for row in mine if got is not None and same_value(row.values[place], got, dtype)]
    for row in giving:
        if row.event is None:
            return Diagnosis("T-3", "The answer is of a row that has no event time.")
        if row.event > t:
            return Diagnosis("P-1", f"The answer is of a row of the future: its event time {row.event} is after {t}.")
    for row in giving:
        late = as_of is not None and (row.created is None or row.created > as_of)
        if late or (filter_by_created and (row.created is None or row.created > t)):
            return Diagnosis("P-3", f"The answer is of a row that was not known: its created time is {row.created}.")
    if any(row.event == expected.event for row in giving):
        return Diagnosis("P-4", "Another row of the same event time won the tie.")
    if right_status == "NULL_VALUE" and giving:
        return Diagnosis("P-5", "The winner's value is missing, and an older row's was filled in.")
    if giving:
        return Diagnosis("P-4", "An older row won over a newer one that is visible.")
    if got is not None and any(same_value(row.values[place], got, dtype) for row in rows):
        return Diagnosis("P-7", "The answer is of a row of another key.")
    return None


def _same_number(got: Any, right: Any) -> str:
    """Say in what form the right number came, if it came in a wrong one."""
    if isinstance(right, float) and math.isnan(right) and got is None:
        return "A NaN came back as NULL."
    if isinstance(right, (int, float)) and isinstance(got, (int, float)) and not isinstance(right, bool):
        if type(got) is not type(right):
            return f"A {type(right).__name__} came back as a {type(got).__name__}."
        if isinstance(right, int) and got == int(float(right)):
            return "An integer went through a float and lost its last digits."
        if got == right:
            return "The sign of zero was lost."
    return ""
