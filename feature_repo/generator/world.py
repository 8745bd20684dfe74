"""Who is in the generated world: HCPs, brands, territories, patients, and what drives them.

The ids hold underscores, and joined naively they collide: HCP ``hcp_1`` with brand ``1_alvexa`` and HCP ``hcp_1_1``
with brand ``alvexa`` are both ``hcp_1_1_alvexa``; ``hcp_1`` with ``11_alvexa`` and ``hcp_11`` with ``1_alvexa`` are both
``hcp_111_alvexa``. These four pairs are in every world, and the territories and patients are named alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .draws import Floats, Ints, draws

__all__ = ["BRANDS", "SPECIALTIES", "World", "world"]

BRANDS = ("alvexa", "1_alvexa", "11_alvexa", "brenzo_xr", "cormida")
SPECIALTIES = ("cardiology", "dermatology", "endocrinology", "oncology", "primary_care", "rheumatology")
_COLLIDING = ((0, 1), (1, 0), (0, 2), (2, 1))  # (HCP, brand) by position: see above


@dataclass(frozen=True, slots=True)
class World:
    """The population. Arrays are by HCP, by pair (an HCP and a brand), by patient; positions stand for ids."""

    hcps: tuple[str, ...]
    territories: tuple[str, ...]
    patients: tuple[str, ...]
    hcp_territory: Ints
    specialty: Ints
    digital: Floats
    """How much an HCP uses digital channels; standard normal."""
    volume: Floats
    """Prescriptions a day in the brand's class."""
    pair_hcp: Ints
    pair_brand: Ints
    affinity: Floats
    """Lasting inclination of an HCP to a brand; standard normal."""
    patient_brand: Ints
    persistence: Floats
    """Lasting inclination of a patient to stay on therapy; standard normal."""

    @property
    def brands(self) -> tuple[str, ...]:
        """The ids of the brands."""
        return BRANDS


def world(seed: int, scale: float) -> World:
    """Return the world of this seed and size: 240 HCPs at ``scale`` 1, two patients each, 20 HCPs a territory."""
    random = draws(seed, "world")
    n_hcp = max(16, round(240 * scale))
    n_territory = max(4, n_hcp // 20)
    n_patient = 2 * n_hcp
    specialty = random.integers(0, len(SPECIALTIES), size=n_hcp)
    pairs = _pairs(random, n_hcp)
    suits = np.sin(1.7 * specialty[pairs[:, 0]] + 2.3 * pairs[:, 1])  # some specialties suit some brands
    return World(
        hcps=_ids("hcp", n_hcp),
        territories=_ids("ter", n_territory),
        patients=_ids("pat", n_patient),
        hcp_territory=random.integers(0, n_territory, size=n_hcp),
        specialty=specialty,
        digital=random.normal(size=n_hcp),
        volume=random.lognormal(np.log(9.0), 0.5, size=n_hcp),
        pair_hcp=pairs[:, 0],
        pair_brand=pairs[:, 1],
        affinity=0.8 * random.normal(size=len(pairs)) + 0.6 * suits,
        patient_brand=random.integers(0, len(BRANDS), size=n_patient),
        persistence=random.normal(size=n_patient),
    )


def _ids(kind: str, count: int) -> tuple[str, ...]:
    """Return ``kind_1, kind_1_1, kind_11, kind_2, ...``; one in twelve is a second site, ``kind_7_1``."""
    ids = [f"{kind}_1", f"{kind}_1_1", f"{kind}_11"]
    number = 2
    while len(ids) < count:
        if number != 11:
            ids.append(f"{kind}_{number}")
            if number % 12 == 7:
                ids.append(f"{kind}_{number}_1")
        number += 1
    return tuple(ids[:count])


def _pairs(random: np.random.Generator, n_hcp: int) -> Ints:
    """Return the (HCP, brand) pairs, int64 of shape ``(pairs, 2)``: two or three brands for each HCP."""
    rank = random.random((n_hcp, len(BRANDS))).argsort(axis=1).argsort(axis=1)
    wanted = 2 + (random.random(n_hcp) < 0.3)
    detailed = rank < wanted[:, None]
    for hcp, brand in _COLLIDING:
        detailed[hcp, brand] = True
    return np.argwhere(detailed).astype(np.int64)
