"""What the data preparer and the model trainer did, as sections of the report."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from e2i_fs.cli.demo.learning import Learned
from e2i_fs.cli.demo.page import section, table
from e2i_fs.cli.demo.preparing import Gated

__all__ = ["gate_section", "splits_section"]


def gate_section(gated: Sequence[Gated]) -> str:
    """Each frame that the data preparer brought, with its scores, the gate's decision and what was read back."""
    dimensions = list(gated[0].scores)
    rows = []
    for g in gated:
        let = g.status == "completed"
        word = '<span class="yes">registered</span>' if let else '<span class="no">refused</span>'
        back = f"{g.read_back[0]} offline, {g.read_back[1]} online" if let else "registered nowhere"
        why = "".join(f'<div class="more">{escape(reason)}</div>' for reason in g.reasons)
        scores = [_share(g.scores[name]) for name in dimensions]
        frame = f'{escape(g.frame)}<div class="more">{escape(g.view)}</div>'
        rows.append([frame, f"{word}{why}", f"{g.rows:,}", f"{g.score:.3f}", *scores, back])
    columns = ["frame", "the gate", "rows", "score", *dimensions, "read back"]
    about = (
        "The data_preparer brings each frame before a quality gate, and registers only what the gate lets through: the "
        "score at least 0.80, every expectation met, nothing missing that is required. A sample is read back and compared."
    )
    return section("Quality and the gate", about, table(columns, rows, right=range(2, 4 + len(dimensions))))


def splits_section(learned: Learned) -> str:
    """The splits with their times and the model's figures, and the audit, the receipt and the baseline."""
    rows = [
        [
            escape(line.name), f"{line.rows:,}", f"{line.first:%Y-%m-%d}", f"{line.last:%Y-%m-%d}",
            "locked" if line.converted is None else f"{line.converted:.1%}",
            *(f"{line.metrics[m]:.3f}" if m in line.metrics else "—" for m in ("auc", "log_loss", "brier")),
        ]
        for line in learned.splits
    ]  # fmt: skip
    made = table(
        ["split", "rows", "from", "to", "converted", "AUC", "log loss", "Brier"], rows, right=(1, 2, 3, 4, 5, 6, 7)
    )
    found = [
        ["leakage audit", escape(learned.audit)],
        ["the same audit of a leaky frame", escape(learned.leaky)],
        ["receipt", escape(learned.receipt)],
        ["baseline of the train split", escape(learned.baseline)],
    ]
    about = (
        "The model_trainer splits by time, with a gap as long as an outcome takes, and trains only on what its leakage "
        "audit passed: every cell is held against what the store says could be known."
    )
    return section("Splits and their audit", about, made + table(["", "found"], found))


def _share(value: float | None) -> str:
    return "—" if value is None else f"{value:.3f}"
