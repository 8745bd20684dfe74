"""The report: one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from e2i_fs.cli.demo.agents_report import gate_section, splits_section
from e2i_fs.cli.demo.page import mark, section, table
from e2i_fs.cli.demo.plots import COLOURS, model_plot, proof_plot, serving_plot, training_plot
from e2i_fs.cli.demo.run import Story

__all__ = ["html_report"]

_CSS = f"""
:root {{ color-scheme: light; --ink: {COLOURS["ink"]}; --quiet: #5d6b79; --line: {COLOURS["line"]}; --blue: {COLOURS["primary"]};
  --green: {COLOURS["standby"]}; --red: {COLOURS["degraded"]}; }}
* {{ box-sizing: border-box; }}
body {{ margin: 0; background: #f6f8fa; color: var(--ink);
  font: 15px/1.55 Inter, "Segoe UI", "Helvetica Neue", Arial, sans-serif; }}
main {{ max-width: 1060px; margin: 0 auto; padding: 40px 24px 64px; }}
header h1 {{ font-size: 30px; letter-spacing: -0.02em; margin: 0 0 6px; }}
header p {{ color: var(--quiet); margin: 0 0 24px; max-width: 760px; }}
.tiles {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(170px, 1fr)); gap: 12px; margin-bottom: 28px; }}
.tile {{ background: #fff; border: 1px solid var(--line); border-radius: 10px; padding: 14px 16px; }}
.tile b {{ display: block; font-size: 24px; letter-spacing: -0.02em; }}
.tile span {{ color: var(--quiet); font-size: 13px; }}
.tile.good b {{ color: var(--green); }} .tile.bad b {{ color: var(--red); }}
section {{ background: #fff; border: 1px solid var(--line); border-radius: 12px; padding: 22px 26px 26px; margin-bottom: 18px; }}
h2 {{ font-size: 19px; letter-spacing: -0.01em; margin: 0 0 4px; }}
section > p {{ color: var(--quiet); margin: 0 0 14px; max-width: 820px; }}
svg {{ width: 100%; height: auto; display: block; }}
table {{ border-collapse: collapse; width: 100%; font-size: 13.5px; }}
th {{ text-align: left; color: var(--quiet); font-weight: 600; border-bottom: 1px solid var(--line); padding: 6px 10px 6px 0; }}
td {{ border-bottom: 1px solid #eef1f4; padding: 7px 10px 7px 0; vertical-align: top; }}
tr:last-child td {{ border-bottom: 0; }}
td.n, th.n {{ text-align: right; font-variant-numeric: tabular-nums; }}
td.more, td .more {{ color: var(--quiet); }}
.yes {{ color: var(--green); font-weight: 700; }} .no {{ color: var(--red); font-weight: 700; }}
pre {{ background: #f6f8fa; border-radius: 8px; padding: 12px 14px; overflow-x: auto; font: 11.5px/1.65 ui-monospace, Menlo, Consolas, monospace; }}
details {{ margin-top: 14px; }} summary {{ cursor: pointer; color: var(--quiet); }}
footer {{ color: var(--quiet); font-size: 13px; }}
"""


def html_report(story: Story, command: str) -> str:
    """Return the page. Whatever it says is in ``story``; it needs no network and no other file."""
    claims = story.claims.made
    held = sum(c.holds for c in claims)
    parts = [
        _header(story, held, len(claims)),
        section(
            "What was checked",
            "Each sentence was checked while the demo ran; the numbers beside it are what was counted.",
            table(
                ["", "claim", "found"],
                [[mark(c.holds), escape(c.text), f'<span class="more">{escape(c.evidence)}</span>'] for c in claims],
            ),
        ),
    ]
    if story.gated:
        parts.append(gate_section(story.gated))
    if story.training:
        parts.append(
            section(
                "Training data",
                f"{story.training['rows']:,} questions about an HCP and a brand, each with its outcome 28 days later. Every "
                "feature is as it was known at the moment of the question, and nothing that became known after "
                f"{story.as_of:%d %B %Y} is in it. What is missing says why.",
                training_plot(story),
            )
        )
    if story.learned is not None:
        parts.append(splits_section(story.learned))
    if story.proof is not None:
        parts.append(_proof(story))
    if story.judged is not None:
        parts.append(
            section(
                "The model",
                f"Trained on {story.judged.trained_on:,} questions, judged on {story.judged.judged_on:,} later ones "
                f"(from {story.judged.cut:%d %B %Y} on, {story.judged.rate:.0%} converted), with an embargo of 28 days between.",
                model_plot(story),
            )
        )
    if story.requests:
        parts.append(_serving(story))
    parts.append(
        f"<footer>Made by <code>{escape(command)}</code>. Data seed {story.seed}, scale {story.scale:g}; the demo's clock "
        f"starts at {story.now:%Y-%m-%d %H:%M} UTC. Seconds: "
        f"{', '.join(f'{name} {took:.1f}' for name, took in story.seconds.items())}.</footer>"
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>e2i_fs demo</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_CSS}</style></head><body><main>{''.join(parts)}</main></body></html>\n"
    )


def _header(story: Story, held: int, made: int) -> str:
    tiles = [(f"{held} of {made}", "claims held", "good" if held == made else "bad")]
    tiles.append((f"{sum(story.rows.values()):,}", "rows of E2I data", ""))
    if story.proof is not None:
        changed = sum(r.changed for r in story.proof.ours)
        tiles.append(
            (
                f"{changed}",
                f"of {story.proof.cells:,} training cells changed by rows of later",
                "" if changed else "good",
            )
        )
    if story.judged is not None:
        tiles.append((f"{story.judged.auc:.3f}", "AUC on later questions", ""))
    if story.requests:
        wrong = sum(not r.right and not r.degraded for r in story.requests)
        tiles.append(
            (f"{wrong}", f"unmarked wrong answers in {len(story.requests)} requests", "bad" if wrong else "good")
        )
    boxes = "".join(
        f'<div class="tile {kind}"><b>{value}</b><span>{escape(what)}</span></div>' for value, what, kind in tiles
    )
    return (
        f"<header><h1>One contract, {'two backends' if ' and ' in story.backends else 'one backend'}, end to end</h1>"
        f"<p>HCP conversion on generated E2I data, with {escape(story.backends)}. Failover is {escape(story.failover)}.</p></header>"
        f'<div class="tiles">{boxes}</div>'
    )


def _proof(story: Story) -> str:
    proof = story.proof
    assert proof is not None
    about = (
        f"The same questions were asked of stores that lack the {proof.removed:,} rows which arrived after "
        f"{story.as_of:%d %B %Y}, and of stores with {proof.added:,} harmful rows more: events of later, events of just before "
        "a question that arrived afterwards, and corrections that arrived afterwards. Values, statuses and event times were "
        "compared cell by cell. Below, in red, what the same rows do to joins that do not keep knowledge time."
    )
    example = f"<h2>Why one answer is what it is</h2><pre>{escape(proof.example)}</pre>" if proof.example else ""
    return section("The proof: rows of later change nothing", about, proof_plot(story) + example)


def _serving(story: Story) -> str:
    rows = []
    for phase, group in _grouped(story.requests):
        who = sorted({r.served_by for r in group})
        why = list(dict.fromkeys(r.why for r in group if r.why))
        times = sorted(r.milliseconds for r in group)
        marked = sum(r.degraded for r in group)
        rows.append(
            [
                escape(phase),
                str(len(group)),
                ", ".join(who),
                f'<span class="no">{marked} marked</span>' if marked else "no",
                "".join(f'<div class="more">{escape(each)}</div>' for each in why[:3]),
                f"{times[len(times) // 2]:.1f}",
                f"{times[-1]:.1f}",
            ]
        )
    phases = table(
        ["phase", "requests", "served by", "degraded", "why", "median ms", "slowest ms"], rows, right=(1, 5, 6)
    )
    about = (
        "Every request is one call of the prediction_synthesizer: the features of six HCP-brand pairs, then their "
        "conversion. The fault is real, and each answer was compared with what the contract says it must be."
        if len({r.phase for r in story.requests}) > 1
        else f"Every request is one call of the prediction_synthesizer for six HCP-brand pairs. Failover is {story.failover}."
    )
    every = table(
        ["#", "seconds", "phase", "served by", "degraded", "as the contract says", "ms", "P(converts), first pair", "why"],
        [
            [
                str(i), f"{r.at:.2f}", escape(r.phase), escape(r.served_by), "marked" if r.degraded else "no",
                "yes" if r.right else "no", f"{r.milliseconds:.1f}", f"{r.probability:.3f}", escape(r.why),
            ]
            for i, r in enumerate(story.requests)
        ],
        right=(0, 1, 6, 7),
    )  # fmt: skip
    each = f"<details><summary>Every request</summary>{every}</details>"
    return section("Who served what", about, serving_plot(story) + phases + each)


def _grouped(requests: Sequence[Any]) -> list[tuple[str, list[Any]]]:
    groups: list[tuple[str, list[Any]]] = []
    for r in requests:
        if not groups or groups[-1][0] != r.phase:
            groups.append((r.phase, []))
        groups[-1][1].append(r)
    return groups
