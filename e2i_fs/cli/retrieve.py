"""``historical`` and ``online``: features of entity rows, as of their times and now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from e2i_fs.cli.answer import Answer
from e2i_fs.cli.command import command
from e2i_fs.cli.rows import check_out, column_dtypes, parse_entity, parse_time, read_rows, write_rows
from e2i_fs.cli.session import Session
from e2i_fs.cli.tables import STATUS_STYLE, cell, provenance_line, table
from e2i_fs.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from e2i_fs.dtypes import DType
    from e2i_fs.store import Store

__all__ = ["add_to"]

_PANEL = "Features"
_FEW_COLUMNS = 6

Features = Annotated[
    list[str] | None,
    typer.Option("--feature", "-f", help="view:feature or view:*; repeat for more.", show_default=False),
]
Service = Annotated[str | None, typer.Option("--service", "-s", help="A feature service.", show_default=False)]
FullNames = Annotated[bool, typer.Option("--full-feature-names", help="Name the columns view__feature.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    command(
        app,
        "historical",
        example="e2i-fs historical questions.csv --service hcp_conversion --out training.parquet",
        panel=_PANEL,
    )(historical)
    command(
        app, "online", example="e2i-fs online --service hcp_conversion -e hcp_id=hcp_1,brand_id=alvexa", panel=_PANEL
    )(online)


def historical(
    session: Session,
    entities: Annotated[str, typer.Argument(help="Entity rows with times: .csv or .parquet, - for CSV on stdin.")],
    feature: Features = None,
    service: Service = None,
    label: Annotated[
        list[str] | None,
        typer.Option("--label", "-l", help="A label to add as a target; repeat for more.", show_default=False),
    ] = None,
    as_of: Annotated[
        str | None, typer.Option("--as-of", help="Ignore whatever became known after this time.", show_default=False)
    ] = None,
    known_at_row_time: Annotated[
        bool, typer.Option("--known-at-row-time", help="For each row, ignore what became known after its time.")
    ] = False,
    timestamp_column: Annotated[str, typer.Option(help="The column of times.")] = "event_timestamp",
    full_feature_names: FullNames = False,
    out: Annotated[
        str | None,
        typer.Option("--out", "-o", help="Write .parquet or .csv; without it CSV goes to stdout.", show_default=False),
    ] = None,
    receipt: Annotated[
        str | None,
        typer.Option("--receipt", help="Write the receipt here, for `e2i-fs verify`.", show_default=False),
    ] = None,
) -> Answer:
    """Get the features of entity rows, each as of its own time: a training set that never looks into the future."""
    wanted = _wanted(feature, service)
    check_out(out)
    with session.store() as store, session.progress() as bars:
        task = bars.add_task("Reading entity rows", total=2)
        rows = read_rows(entities, column_dtypes(store))
        bars.update(task, advance=1, description=f"Joining {rows.num_rows:,} rows")
        result = store.get_historical_features(
            rows,
            wanted,
            full_feature_names=full_feature_names,
            labels=tuple(label or ()),
            filter_by_created_timestamp=known_at_row_time,
            as_of=parse_time(as_of, "--as-of"),
            timestamp_column=timestamp_column,
        )
        table_out = result.to_arrow()
        counts = _status_counts(result.statuses)
        if receipt is not None:
            result.receipt.save(receipt)
        bars.update(task, advance=1)
    to_stdout = out is None or out == "-"
    if not (to_stdout and session.json):
        write_rows(table_out, out)
    document = {
        "rows": table_out.num_rows,
        "features": result.feature_names,
        "statuses": counts,
        "provenance": result.provenance,
        "out": out,
        "receipt": receipt,
    }
    if to_stdout:
        document["data"] = table_out.to_pylist() if session.json else None
        return Answer(document)  # without --json the rows are on stdout already
    names = sorted({status for by in counts.values() for status in by}, key=list(STATUS_STYLE).index)
    shown = table(
        f"{table_out.num_rows:,} rows in {out}",
        ["feature", *names],
        [(ref, *(by.get(n, 0) for n in names)) for ref, by in counts.items()],
        right=range(1, 5),
    )
    return Answer(document, [shown, provenance_line(result.provenance)])


def online(
    session: Session,
    entity: Annotated[
        list[str] | None,
        typer.Option("--entity", "-e", help="key=value,key=value; repeat for more rows.", show_default=False),
    ] = None,
    entities: Annotated[
        str | None,
        typer.Option("--entities", help="Entity rows: .csv or .parquet, - for CSV on stdin.", show_default=False),
    ] = None,
    feature: Features = None,
    service: Service = None,
    full_feature_names: FullNames = False,
    strict: Annotated[bool, typer.Option("--strict", help="Fail (exit code 3) rather than answer degraded.")] = False,
) -> Answer:
    """Get features as they are now, a status for each missing value, and who answered; --json adds event times."""
    wanted = _wanted(feature, service)
    if bool(entity) == bool(entities):
        raise RequestError("Give the entities either with --entity key=value,... or with --entities FILE.")
    with session.store() as store:
        dtypes = _online_dtypes(store)
        rows: Any = read_rows(entities, dtypes) if entities else [parse_entity(text, dtypes) for text in entity or ()]
        answer = store.get_online_features(wanted, rows, full_feature_names=full_feature_names, strict=strict)
        values = answer.to_dict()
        statuses, events = dict(answer.statuses), dict(answer.event_timestamps)
    document = {"values": values, "statuses": statuses, "event_timestamps": events, "provenance": answer.provenance}
    names = answer.feature_names
    inputs = [name for name in values if name not in names]
    by_name = dict(zip(names, statuses, strict=True))
    count = len(values[names[0]])
    upright = len(inputs) + len(names) <= _FEW_COLUMNS
    limit = 20 if upright else 3
    body = [
        [*(_key(values[i][row]) for i in inputs), *(_value(values[n][row], statuses[by_name[n]][row]) for n in names)]
        for row in range(min(limit, count))
    ]
    shown: list[Any] = [table(None, [*inputs, *names], body) if upright else _sideways([*inputs, *names], body)]
    if count > limit:
        shown.append(f"and {count - limit:,} more rows; --json prints all")
    return Answer(document, [*shown, provenance_line(answer.provenance)])


def _wanted(features: list[str] | None, service: str | None) -> list[str] | str:
    if bool(features) == bool(service):
        raise RequestError(
            "Say what to retrieve: either --service NAME, or --feature view:feature (repeat it for more)."
        )
    return service or list(features or ())


def _online_dtypes(store: Store) -> dict[str, DType]:
    """Join keys, and what on-demand views take from the request."""
    dtypes: dict[str, DType] = {}
    for view in store.list_on_demand_feature_views():
        dtypes |= {name: field.dtype for name, field in view.request_columns.items()}
    return dtypes | column_dtypes(store)


def _status_counts(statuses: Mapping[str, list[Any]]) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {}
    for ref, each in statuses.items():
        counts[ref] = {}
        for status in each:
            counts[ref][status.value] = counts[ref].get(status.value, 0) + 1
    return counts


def _key(value: Any) -> Any:
    """A whole number that names something is read, and copied, as it is: 1001, not 1,001."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _value(value: Any, status: Any) -> Text:
    return cell(value) if status.value == "PRESENT" else Text(status.value, style=STATUS_STYLE[status.value])


def _sideways(names: list[str], rows: list[list[Any]]) -> Any:
    """A few rows of many columns read better turned on their side."""
    columns = ["", *(f"row {i}" for i in range(len(rows)))]
    return table(None, columns, [[name, *(row[i] for row in rows)] for i, name in enumerate(names)])
