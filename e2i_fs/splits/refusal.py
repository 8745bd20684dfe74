"""Why rows cannot be split by a rule, and what can be had instead."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from e2i_fs.splits.cuts import Instants, find_cuts
from e2i_fs.splits.training import NAMES

if TYPE_CHECKING:
    from e2i_fs.splits.rule import TemporalSplit

__all__ = ["refusal"]


def refusal(rule: TemporalSplit, instants: Instants, nearest: Sequence[int] | None, minima: Sequence[int]) -> str:
    """Return the message of a `SplitError`: what is in the way, and the nearest that can be had."""
    if len(instants) < len(NAMES):
        return (
            f"{instants.rows} rows have {len(instants)} distinct times, too few for {len(NAMES)} splits: rows of one instant "
            "are never divided. Bring rows of more times."
        )
    if instants.rows < sum(minima):
        return (
            f"{instants.rows} rows are too few: train, validation and test need minimum_rows={rule.minimum_rows} each and "
            f"the holdout 1, {sum(minima)} together. Bring more rows, or lower minimum_rows."
        )
    span = timedelta(microseconds=instants.times[-1] - instants.times[0])
    if nearest is None and rule.embargo:
        open_ended = find_cuts(Instants(instants.times, instants.counts, 0), rule.ratios, minima, rule.tolerance)
        if open_ended is not None:
            return (
                f"The embargo of {_said(rule.embargo)} leaves no room: the times span {_said(span)}, and three gaps take {_said(3 * rule.embargo)} or "
                f"more of it. {_largest(rule, instants, minima)}"
            )
    if nearest is None:
        return (
            f"{instants.rows} rows of {len(instants)} distinct times give no four splits with minimum_rows={rule.minimum_rows} "
            "each (the holdout 1): too many rows share too few times. Lower minimum_rows, or bring rows of more times."
        )
    kept = sum(nearest)
    shares = ", ".join(f"{name} {n} rows ({n / kept:.1%})" for name, n in zip(NAMES, nearest, strict=True))
    why = "rows of one instant are not divided"
    why += f", the embargo of {_said(rule.embargo)} takes rows" if rule.embargo else ""
    why += ", and an entity may stay in one split only" if rule.isolate_entities else ""
    short = [name for name, n, least in zip(NAMES, nearest, minima, strict=True) if n < least]
    if short:
        return (
            f"{' and '.join(short)} would have fewer rows than minimum_rows={rule.minimum_rows} asks (the holdout needs one): "
            f"{shares}; {why}. Bring more rows, lower minimum_rows, or another ratio or embargo."
        )
    off = max(abs(n / kept - r) for n, r in zip(nearest, rule.ratios, strict=True))
    return (
        f"No split keeps the ratios {rule.ratios} within {rule.tolerance:.3g}: {why}. The nearest found is {shares}, off by "
        f"{off:.3g}. Pass tolerance={off + 0.001:.3f}, other ratios, or a shorter embargo."
    )


def _largest(rule: TemporalSplit, instants: Instants, minima: Sequence[int]) -> str:
    """Say the longest embargo, to a sixty-fourth of the one asked for, that leaves room within the tolerance."""
    works, fails = 0, 64
    while fails - works > 1:
        middle = (works + fails) // 2
        shorter = Instants(instants.times, instants.counts, _part(rule, middle) // timedelta(microseconds=1))
        found = find_cuts(shorter, rule.ratios, minima, rule.tolerance)
        works, fails = (middle, fails) if found is not None and found.off <= rule.tolerance else (works, middle)
    longest = f"An embargo of {_said(_part(rule, works))} would do. " if works else ""
    return f"{longest}Shorten it, or bring rows of a longer time."


def _part(rule: TemporalSplit, sixty_fourths: int) -> timedelta:
    return rule.embargo * sixty_fourths // 64


def _said(duration: timedelta) -> str:
    """Return a duration as people say it: without hours and minutes that are none."""
    return str(duration).removesuffix(", 0:00:00")
