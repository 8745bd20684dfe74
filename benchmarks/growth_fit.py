"""How cost grows: the exponent of a power law, by least squares on the logarithms."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """Return b of ``cost = a * size ** b``: 1 is linear, 0 does not grow. Needs two sizes; all must be positive.

    >>> round(exponent([1, 10, 100], [3, 30, 300]), 6)
    1.0
    """
    if len(sizes) != len(costs) or len(set(sizes)) < 2:
        raise ValueError(
            f"{len(sizes)} sizes and {len(costs)} costs; a fit needs as many costs as sizes, and two sizes."
        )
    if min(*sizes, *costs) <= 0:
        raise ValueError("A power law is fitted to sizes and costs above zero only.")
    return float(np.polyfit(np.log(np.asarray(sizes, float)), np.log(np.asarray(costs, float)), 1)[0])
