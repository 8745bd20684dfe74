"""``stats``: how the values of features are distributed, in history and online."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from e2i_fs.cli.answer import Answer
from e2i_fs.cli.command import command
from e2i_fs.cli.rows import parse_time
from e2i_fs.cli.session import Session
from e2i_fs.cli.tables import cell, key_values, table
from e2i_fs.errors import RequestError

if TYPE_CHECKING:
    from e2i_fs.ops.statistics import FeatureStatistics, Where

__all__ = ["add_to"]

_BLOCKS = "▁▂▃▄▅▆▇█"
_BAR = 30
_LONG = 24


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    command(app, "stats", example="e2i-fs stats hcp_conversion_features --both", panel="Features")(stats)


def stats(
    session: Session,
    what: Annotated[str, typer.Argument(help="A view, or one feature as VIEW:FEATURE.", metavar="VIEW[:FEATURE]")],
    online: Annotated[
        bool, typer.Option("--online", help="Count the rows that answer now, instead of history.")
    ] = False,
    both: Annotated[bool, typer.Option("--both", help="Show history and what answers now, side by side.")] = False,
    start: Annotated[
        str | None, typer.Option("--start", help="Only rows from this event time on.", show_default=False)
    ] = None,
    end: Annotated[
        str | None, typer.Option("--end", help="Only rows up to this event time.", show_default=False)
    ] = None,
    top: Annotated[int, typer.Option("--top", help="How many of the most frequent values to show.")] = 10,
) -> Answer:
    """Show how values are distributed: counts, range, mean, quantiles, a histogram, the most frequent values.

    Exact, over all rows of history or, with --online, over the row of each key that answers now; keys whose row is
    older than the ttl are counted as expired.
    """
    if online and both:
        raise RequestError("Give --online or --both, not both of them.")
    view, colon, feature = what.partition(":")
    names = [feature] if colon and feature != "*" else None
    since, until = parse_time(start, "--start"), parse_time(end, "--end")
    asked: list[Where] = ["offline", "online"] if both else ["online"] if online else ["offline"]
    with session.store() as store:
        told = [
            store.view_statistics(view, features=names, where=where, start=since, end=until, top=top) for where in asked
        ]
    found = [by_name[name] for name in told[0] for by_name in told]
    shown = [part for own in found for part in _one(own)] if names else [_all(view, found, both=both)]
    return Answer({"view": view, "statistics": [own.to_dict() for own in found]}, shown)


def _all(view: str, found: Sequence[FeatureStatistics], *, both: bool) -> Any:
    """Return a line for each feature."""
    odd = [n for n in ("nan", "infinite", "expired") if any(getattr(own, n) for own in found)]
    columns = [
        "feature",
        *(["where"] if both else []),
        "dtype",
        "rows",
        "null",
        *odd,
        "distinct",
        "min",
        "p50",
        "mean",
        "max",
        "std",
    ]
    rows = [
        [
            own.feature.partition(":")[2], *([own.where] if both else []), repr(own.dtype), own.rows, _share(own.null_rate),
            *(getattr(own, n) for n in odd), own.distinct, *(_short(v) for v in (own.min, own.p50, own.mean, own.max, own.std)),
            _spark(own),
        ]
        for own in found
    ]  # fmt: skip
    first = 2 + both
    title = f"{view}, {'in history and online' if both else found[0].where}"
    return table(title, [*columns, "distribution"], rows, right=range(first, len(columns)))


def _one(own: FeatureStatistics) -> Iterator[Any]:
    """Yield all that is told of one feature."""
    yield Text(f"{own.feature}, {own.where}", style="bold")
    odd = {n: getattr(own, n) for n in ("nan", "infinite", "expired") if getattr(own, n)}
    pairs = {"dtype": repr(own.dtype), "rows": own.rows, "null": _share(own.null_rate), **odd, "distinct": own.distinct}
    pairs |= {"newest event": own.newest_event_timestamp, "min": own.min, "max": own.max}
    if own.quantiles:
        pairs |= {"mean": own.mean, "std": own.std}
        pairs |= {f"p{share * 100:g}": quantile for share, quantile in own.quantiles.items()}
    yield key_values(pairs)
    if own.histogram:
        most = max(count for _, _, count in own.histogram)
        rows: list[tuple[Any, ...]] = [(low, high, count, _bar(count, most)) for low, high, count in own.histogram]
        yield table(None, ["from", "to", "rows", ""], rows, right=range(3))
    if own.top_values:
        most = own.most_common_count
        rows = [(_short(v), n, _share(n / own.rows), _bar(n, most)) for v, n in own.top_values]
        yield table(None, ["most frequent", "rows", "share", ""], rows, right=(1, 2))


def _spark(own: FeatureStatistics) -> str:
    """Return a histogram as one line of blocks, without one the most frequent values."""
    if own.histogram:
        most = max(count for _, _, count in own.histogram)
        return "".join(_BLOCKS[-(-count * 8 // most) - 1] if count else " " for _, _, count in own.histogram)
    return ", ".join(f"{_short(value)} {_share(count / own.rows)}" for value, count in own.top_values[:3])


def _bar(count: int, most: int) -> Text:
    return Text("█" * (-(-count * _BAR // most)), style="cyan")


def _share(part: float | None) -> str | None:
    """Return a share in per cent; only none of them is 0%, and only all are 100%."""
    if part is None or part in (0, 1):
        return None if part is None else f"{part:.0%}"
    return f"{min(max(part, 0.001), 0.999):.1%}"


def _short(value: Any) -> Any:
    """Return a value with a long text cut: this is an overview, the document has all of it."""
    if isinstance(value, str | bytes | list | dict):
        text = value if isinstance(value, str) else str(value)
        return text if len(text) <= _LONG else f"{text[: _LONG - 1]}…"
    return cell(value)
