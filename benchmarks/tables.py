"""A run as Markdown: the goals, each race, the machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.goals import judged

WORDS = {True: "held", False: "**not held**", None: "not measured"}
BIG = "10,000,000 entity rows × 100,000,000 under 8 GB"


def markdown(report: dict[str, Any], plots: Sequence[str] = ()) -> str:
    """Return the whole as Markdown, headings of the third level; ``plots`` are the addresses of pictures to show."""
    pictures = [line for plot in plots for line in ["", f"![{Path(plot).stem.replace('-', ' ')}]({plot})"]]
    races = [line for one in report["measured"] for line in ["", *race(one)]]
    return "\n".join([*machine(report), "", *goals(report), *pictures, *races])


def machine(report: dict[str, Any]) -> list[str]:
    """Return the lines that say what it ran on."""
    m = report["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in m["packages"].items() if version)
    form = "the quick form, whose sizes are too small to judge by" if report["quick"] else "the full form"
    return [
        f"{m['date']}, {form}, seed {report['seed']}, {report['seconds']:,.0f} s. {m['processor']}, {m['cores']} cores, "
        f"{m['memory_gb']} GB; the machine's load before was {m['load_before']}. {m['system']}, Python {m['python']}, {versions}"
        + (f", redis-server {m['redis-server']}." if m["redis-server"] else "; no redis-server."),
    ]


def goals(report: dict[str, Any]) -> list[str]:
    """Return the table of goals."""
    lines = ["### Goals", "", "| work | goal | measured | |", "|---|---|---|---|"]
    lines += [f"| {one.work} | {one.goal} | {one.measured or one.why} | {WORDS[one.held]} |" for one in judged(report)]
    big = report.get("big") or {"work": BIG, "said": "`python -m benchmarks.big` was not run", "held": None}
    lines.append(f"| {big['work']} | finishes, spills, right on a sample | {big['said']} | {WORDS[big['held']]} |")
    return lines


def race(one: dict[str, Any]) -> list[str]:
    """Return the table of one race."""
    first = one["lanes"][0]["name"]
    lines = [f"### {one['title']}", ""]
    if "exponent" in one["sizes"]:
        lines += [
            f"Fitted exponent {one['sizes']['exponent']:.2f}, over the two last points {one['sizes']['last exponent']:.2f}.", "",
        ]  # fmt: skip
    if one["note"]:
        lines += [one["note"], ""]
    lines += [f"| | median | fastest | × {first} | repeats | peak MB | answer |", "|---|---|---|---|---|---|---|"]
    for lane in one["lanes"]:
        if lane["skipped"] or lane["median"] is None:
            lines.append(f"| {lane['name']} | skipped: {lane['skipped'].replace('|', '/')} | | | | | |")
            continue
        ratio = "" if lane["ratio"] is None else f"{lane['ratio']:.2f}"
        if len(lane["ratios"]) > 1 and lane["name"] != first:
            ratio += f" ({min(lane['ratios']):.2f}–{max(lane['ratios']):.2f})"
        memory = "" if lane["peak_mb"] is None else f"{lane['peak_mb']:,.0f}"
        told = "; ".join(filter(None, [lane["answer"], lane["note"]]))
        lines.append(
            f"| {lane['name']} | {time(lane['median'])} | {time(lane['fastest'])} | {ratio} | {len(lane['seconds'])} | "
            f"{memory} | {told} |"
        )
    return lines


def time(seconds: float) -> str:
    """Return a time with its unit, three digits of it.

    >>> time(1.5), time(0.00025), time(0.012)
    ('1.50 s', '250 µs', '12.0 ms')
    """
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("µs", 1e6)):
        if seconds * factor >= 1:
            value = seconds * factor
            return (
                f"{value:.0f} {unit}"
                if value >= 100
                else f"{value:.1f} {unit}"
                if value >= 10
                else f"{value:.2f} {unit}"
            )
    return f"{seconds * 1e6:.2f} µs"
