"""The plots of the report, each as one SVG text that can stand in an HTML page."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from e2i_fs.cli.demo.run import Story

__all__ = ["COLOURS", "model_plot", "proof_plot", "serving_plot", "training_plot"]

COLOURS = {
    "ink": "#1d2733",
    "quiet": "#8a96a3",
    "line": "#dfe5ea",
    "primary": "#2563c9",
    "standby": "#0f9d84",
    "degraded": "#d64545",
    "accent": "#e09f3e",
}
_STATUS = {"PRESENT": "#2563c9", "NULL_VALUE": "#e09f3e", "OUTSIDE_MAX_AGE": "#b26fc4", "NOT_FOUND": "#d64545"}
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "e2i_fs",
    "font.family": "sans-serif",
    "font.sans-serif": ["Inter", "Segoe UI", "Helvetica Neue", "Arial", "DejaVu Sans"],
    "font.size": 10,
    "axes.edgecolor": COLOURS["line"],
    "axes.labelcolor": COLOURS["ink"],
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlecolor": COLOURS["ink"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": COLOURS["quiet"],
    "ytick.color": COLOURS["quiet"],
    "grid.color": COLOURS["line"],
    "legend.frameon": False,
    "legend.fontsize": 9,
}


def _drawn(draw: Callable[[Figure], None], width: float, height: float) -> str:
    """Return what ``draw`` puts on a figure of this size (inches) as SVG."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        draw(figure)
        text = io.StringIO()
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return text.getvalue()[text.getvalue().index("<svg") :]


def training_plot(story: Story) -> str:
    """Questions by month with their outcomes, and how full each feature is."""
    months, statuses = story.training["months"], story.training["statuses"]

    def draw(figure: Figure) -> None:
        left, right = figure.subplots(1, 2, width_ratios=[1.15, 1])
        names = list(months)
        converted = [m["converted"] for m in months.values()]
        left.bar(names, [m["questions"] for m in months.values()], color=COLOURS["line"], label="not converted")
        left.bar(names, converted, color=COLOURS["primary"], label="converted")
        left.set_title("Questions by month")
        left.set_xticks(range(0, len(names), 3), names[::3])
        left.legend(loc="upper left", ncols=2, bbox_to_anchor=(0, 1.02))
        left.set_ylim(0, max(m["questions"] for m in months.values()) * 1.2)
        refs = list(reversed(statuses))
        start = np.zeros(len(refs))
        for status, colour in _STATUS.items():
            share = np.array([statuses[r][status] / max(1, sum(statuses[r].values())) for r in refs])
            if share.any():
                right.barh(
                    [r.partition(":")[2] for r in refs], share, left=start, color=colour, label=status, height=0.7
                )
            start += share
        right.set_title("Status of each feature's cells")
        right.set_xlim(0, 1)
        right.xaxis.set_major_formatter(mpl.ticker.PercentFormatter(1.0))
        right.legend(loc="upper center", ncols=2, bbox_to_anchor=(0.4, -0.09))
        right.tick_params(axis="y", length=0, labelcolor=COLOURS["ink"])

    return _drawn(draw, 10, 3.8)


def proof_plot(story: Story) -> str:
    """How many cells each way of joining changed when rows of later were taken away and added."""
    proof = story.proof
    assert proof is not None
    rows: list[tuple[str, int, str]] = [
        (f"{r.how} ({r.backend})", r.changed, COLOURS["degraded"]) for r in reversed(proof.naive)
    ]
    rows += [(f"e2i_fs on {r.backend}, rows {r.rows}", r.changed, COLOURS["primary"]) for r in reversed(proof.ours)]

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        names = [name for name, _, _ in rows]
        axes.barh(names, [changed for _, changed, _ in rows], color=[c for _, _, c in rows], height=0.62)
        most = max(1, *(changed for _, changed, _ in rows))
        for i, (_, changed, colour) in enumerate(rows):
            axes.text(changed + most * 0.012, i, f"{changed:,}", va="center", color=colour, fontweight="bold")
        axes.set_xlim(0, most * 1.12)
        axes.set_title(f"Cells changed, of {proof.cells:,}")
        axes.tick_params(axis="y", length=0, labelcolor=COLOURS["ink"])
        axes.xaxis.set_visible(False)
        axes.spines["bottom"].set_visible(False)

    return _drawn(draw, 10, 0.5 + 0.36 * len(rows))


def model_plot(story: Story) -> str:
    """The ROC curve and the calibration of the model on the later questions."""
    judged = story.judged

    def draw(figure: Figure) -> None:
        left, right = figure.subplots(1, 2)
        for axes in (left, right):
            axes.plot([0, 1], [0, 1], color=COLOURS["quiet"], linestyle=(0, (3, 3)), linewidth=1)
            axes.set_aspect("equal")
            axes.set_xlim(0, 1)
            axes.set_ylim(0, 1.01)
            axes.grid(visible=True, linewidth=0.6)
        left.plot(*judged.roc, color=COLOURS["primary"], linewidth=2)
        left.fill_between(judged.roc[0], judged.roc[1], color=COLOURS["primary"], alpha=0.08)
        left.set_title(f"ROC on later questions: AUC {judged.auc:.3f}")
        left.set_xlabel("false positive rate")
        left.set_ylabel("true positive rate")
        right.plot(*judged.calibration, color=COLOURS["standby"], linewidth=2, marker="o")
        right.set_title("Calibration, six bins")
        right.set_xlabel("foretold probability")
        right.set_ylabel("share that converted")

    return _drawn(draw, 10, 4.2)


def serving_plot(story: Story) -> str:
    """Each request in time: who served it, degraded or not, and how long it took."""
    requests = story.requests
    names = sorted({r.served_by for r in requests}, key=lambda n: (n != "primary", n), reverse=True)

    def colour(r: Any) -> str:
        return COLOURS["degraded"] if r.degraded else COLOURS.get(r.served_by, COLOURS["primary"])

    def draw(figure: Figure) -> None:
        who, took = figure.subplots(2, 1, sharex=True, height_ratios=[max(1, len(names)), 1.5])
        phases = _phases(requests)
        for i, (phase, begin, end) in enumerate(phases):
            for axes in (who, took):
                if i % 2:
                    axes.axvspan(begin, end, color=COLOURS["line"], alpha=0.45, linewidth=0)
            who.text((begin + end) / 2, len(names) - 0.42, phase.replace(" ", "\n", 1), ha="center", va="bottom",
                     fontsize=9, color=COLOURS["ink"])  # fmt: skip
        order = list(range(len(requests)))
        for i in order:
            r = requests[i]
            level = names.index(r.served_by)
            who.plot(i, level, marker="D" if r.degraded else "o", markersize=6, color=colour(r), linestyle="none",
                     markerfacecolor="white" if r.degraded else colour(r), markeredgewidth=1.6)  # fmt: skip
        who.set_yticks(range(len(names)), names)
        who.set_ylim(-0.5, len(names) - 0.5)
        who.tick_params(axis="y", length=0, labelcolor=COLOURS["ink"], labelsize=11)
        who.spines["bottom"].set_visible(False)
        who.tick_params(axis="x", length=0)
        took.bar(order, [r.milliseconds for r in requests], color=[colour(r) for r in requests], width=0.75)
        took.set_yscale("log")
        took.yaxis.set_major_formatter(mpl.ticker.FuncFormatter(lambda v, _: f"{v:g}"))
        took.set_ylabel("milliseconds")
        took.set_xlabel("request")
        took.set_xlim(-0.8, len(requests) - 0.2)
        known = {
            n: Line2D([], [], marker="o", linestyle="none", color=COLOURS.get(n, COLOURS["primary"]), label=n)
            for n in names
        }
        degraded = Line2D(
            [], [], marker="D", linestyle="none", color=COLOURS["degraded"], markerfacecolor="white", label="degraded"
        )
        marks = [known[n] for n in reversed(names)] + ([degraded] if any(r.degraded for r in requests) else [])
        took.legend(handles=marks, loc="upper center", ncols=3, bbox_to_anchor=(0.5, -0.28))

    return _drawn(draw, 10, 4.2)


def _phases(requests: Sequence[Any]) -> list[tuple[str, float, float]]:
    found: list[tuple[str, float, float]] = []
    for i, r in enumerate(requests):
        if found and found[-1][0] == r.phase:
            found[-1] = (r.phase, found[-1][1], i + 0.5)
        else:
            found.append((r.phase, i - 0.5, i + 0.5))
    return found
