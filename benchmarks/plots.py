"""The plots: how cost grows, on two logarithmic axes with the fitted exponent, and how long each contender takes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any


def draw(report: dict[str, Any], folder: Path) -> list[str]:
    """Write the PNG files below ``folder`` and return their names; what was not measured has no plot."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    made = []
    grown = [m for m in report["measured"] if m["id"].startswith("growth-") and "points" in m["sizes"]]
    if grown:
        columns = 3
        figure, places = plt.subplots(
            math.ceil(len(grown) / columns), columns, figsize=(13, 3.4 * math.ceil(len(grown) / columns)), squeeze=False
        )
        for place in places.flat[len(grown) :]:
            place.axis("off")
        for one, place in zip(grown, places.flat, strict=False):
            sizes, costs = zip(*one["sizes"]["points"], strict=True)
            power = one["sizes"]["exponent"]
            middle = math.exp(sum(map(math.log, costs)) / len(costs)), math.exp(sum(map(math.log, sizes)) / len(sizes))
            place.loglog(sizes, [c * 1000 for c in costs], "o", color="#1f5f8b")
            place.loglog(
                sizes, [1000 * middle[0] * (s / middle[1]) ** power for s in sizes], "-", color="#c0392b", lw=1
            )
            place.set_title(f"{one['sizes']['axis']}: exponent {power:.2f}", fontsize=9)
            place.set_ylabel("ms", fontsize=8)
            place.grid(visible=True, which="major", alpha=0.3)
        figure.tight_layout()
        figure.savefig(folder / "growth.png", dpi=80)
        plt.close(figure)
        made.append("growth.png")
    for name, prefix, title in (
        ("point-in-time.png", "pit-", "Point-in-time retrieval, seconds"),
        ("online.png", "online-", "Online reads, milliseconds"),
    ):
        chosen = [m for m in report["measured"] if m["id"].startswith(prefix)]
        if not chosen:
            continue
        scale = 1 if prefix == "pit-" else 1000
        bars = [
            (f"{lane['name']} · {one['id']}", lane["median"] * scale, number)
            for number, one in enumerate(chosen) for lane in one["lanes"] if lane["median"] is not None
        ]  # fmt: skip
        figure, place = plt.subplots(figsize=(10, 0.24 * len(bars) + 1))
        colours = [f"C{number % 10}" for _, _, number in bars]
        place.barh([label for label, _, _ in bars], [value for _, value, _ in bars], color=colours)
        place.set_xscale("log")
        place.invert_yaxis()
        place.set_title(title, fontsize=10)
        place.tick_params(labelsize=7)
        figure.tight_layout()
        figure.savefig(folder / name, dpi=80)
        plt.close(figure)
        made.append(name)
    return made
