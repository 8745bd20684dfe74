"""From which size on a change counts, and which sizes chance alone brings about."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields

from e2i_fs.errors import ConfigError, did_you_mean
from e2i_fs.quality.outcome import Outcome

__all__ = ["DriftThresholds", "ended", "ks_by_chance", "psi_by_chance", "rate_by_chance", "thresholds_of"]

# What unchanged data exceeds in one comparison of a thousand.
_Z_ONE_SIDED, _Z_TWO_SIDED, _KOLMOGOROV = 3.0902, 3.2905, 1.9495


@dataclass(frozen=True, slots=True)
class DriftThresholds:
    """The sizes from which a change warns, and from which it fails. A change of zero does neither.

    ``psi`` is the population stability index, read as in credit scoring: below 0.1 no change, from 0.25 a large one.
    ``ks`` is the largest difference of two distribution functions, ``missing`` the change in the share of missing
    values (NULL or NaN), ``infinite`` that of infinite ones, and ``new`` the share of values in categories that the
    baseline does not have.

    >>> from e2i_fs.quality import DriftThresholds
    >>> DriftThresholds(psi_fail=0.5).psi_warn
    0.1
    """

    psi_warn: float = 0.1
    psi_fail: float = 0.25
    ks_warn: float = 0.1
    ks_fail: float = 0.2
    missing_warn: float = 0.05
    missing_fail: float = 0.2
    infinite_warn: float = 0.0
    infinite_fail: float = 0.05
    new_warn: float = 0.0
    new_fail: float = 0.05

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
                raise ConfigError(f"DriftThresholds: {f.name} is {value!r}; give a number that is not negative.")
        for what in ("psi", "ks", "missing", "infinite", "new"):
            warn, fail = getattr(self, f"{what}_warn"), getattr(self, f"{what}_fail")
            if warn > fail:
                raise ConfigError(f"DriftThresholds: {what}_warn {warn} is above {what}_fail {fail}.")


def thresholds_of(given: DriftThresholds | Mapping[str, float] | None) -> DriftThresholds:
    """Return thresholds from what a caller gave. Raises `ConfigError` for an unknown one, naming the nearest."""
    if given is None or isinstance(given, DriftThresholds):
        return given or DriftThresholds()
    if not isinstance(given, Mapping):
        raise ConfigError(f"thresholds is {given!r}; give DriftThresholds, or a mapping such as {{'psi_fail': 0.3}}.")
    known = [f.name for f in fields(DriftThresholds)]
    for name in given:
        if name not in known:
            raise ConfigError(f"thresholds: there is no {name!r}.{did_you_mean(str(name), known)}")
    return DriftThresholds(**given)


def ended(value: float, by_chance: float, warn: float, fail: float) -> Outcome:
    """Return how a comparison ends whose change is of size ``value``, where chance alone brings about ``by_chance``.

    A change that chance explains is none. But where chance could hide a change of size ``fail``, nothing was shown.

    >>> ended(0.3, 0.01, 0.1, 0.2), ended(0.15, 0.01, 0.1, 0.2), ended(0.15, 0.3, 0.1, 0.2)
    (<Outcome.FAILED: 'failed'>, <Outcome.WARNING: 'warning'>, <Outcome.INCONCLUSIVE: 'inconclusive'>)
    """
    if value > by_chance and value > 0:
        if value >= fail:
            return Outcome.FAILED
        if value >= warn:
            return Outcome.WARNING
    return Outcome.INCONCLUSIVE if by_chance > 0 and by_chance >= fail else Outcome.PASSED


def ks_by_chance(one: int, other: int) -> float:
    """Return the largest difference of two distribution functions that chance brings about, by Kolmogorov's limit."""
    return _KOLMOGOROV * math.sqrt(1 / one + 1 / other)


def psi_by_chance(bins: int, one: int, other: int) -> float:
    """Return the index that chance brings about: times n·m/(n+m) it is chi-squared of ``bins`` - 1 degrees of freedom."""
    free = max(bins - 1, 1)
    chi_squared = free * (1 - 2 / (9 * free) + _Z_ONE_SIDED * math.sqrt(2 / (9 * free))) ** 3  # Wilson and Hilferty
    return chi_squared * (1 / one + 1 / other)


def rate_by_chance(hits: int, rows: int, other_hits: int, other_rows: int) -> float:
    """Return the difference of two shares that chance brings about."""
    pooled = (hits + other_hits) / (rows + other_rows)
    return _Z_TWO_SIDED * math.sqrt(pooled * (1 - pooled) * (1 / rows + 1 / other_rows))
