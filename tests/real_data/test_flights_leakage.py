"""Two training sets of the same flights, by plain pandas: a merge that leaks, and a merge_asof that does not."""

from __future__ import annotations

from datetime import timedelta

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import e2i_fs as fs
from e2i_fs.quality import LeakKind, Outcome, audit
from tests.real_data import real

ROUTE = ["origin", "destination"]
FEATURES = ["arrivals:delay_minutes", "arrivals:distance_miles"]


@pytest.fixture(scope="module")
def flights() -> pd.DataFrame:
    """The flights with when each delay became known: at landing."""
    frame = pq.read_table(real.path("us_flights_2001.parquet")).to_pandas()
    frame["scheduled_at"] = pd.to_datetime(frame["scheduled_at"], utc=True).astype("datetime64[us, UTC]")
    air = pd.to_timedelta(frame["delay_minutes"] + frame["distance_miles"] / 8, unit="min")
    frame["landed_at"] = (frame["scheduled_at"] + air).dt.floor("us").astype("datetime64[us, UTC]")
    frame["row"] = range(len(frame))
    return frame


@pytest.fixture(scope="module")
def store(flights: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("flights")
    pq.write_table(pa.Table.from_pandas(flights, preserve_index=False), folder / "flights.parquet")
    source = fs.ParquetSource(
        str(folder / "flights.parquet"), timestamp_field="scheduled_at", created_timestamp_field="landed_at"
    )
    schema = [fs.Field("delay_minutes", fs.Int64), fs.Field("distance_miles", fs.Int64), fs.Field("row", fs.Int64)]
    route = fs.Entity("route", join_keys={"origin": fs.String, "destination": fs.String})
    landed = fs.ParquetSource(str(folder / "flights.parquet"), timestamp_field="landed_at")
    with fs.connect({"backend": "duckdb", "path": str(folder / "store")}) as opened:
        opened.apply([
            fs.FeatureView("departures", entities=[route], schema=schema, source=source),
            fs.FeatureView("arrivals", entities=[route], schema=schema, source=landed),
        ])  # fmt: skip
        yield opened


def _asked(flights: pd.DataFrame) -> pd.DataFrame:
    """What is to be predicted: whether a flight will be late, an hour before it is to leave; a flight of each route and time."""
    frame = flights[["origin", "destination", "scheduled_at", "delay_minutes"]].drop_duplicates(
        [*ROUTE, "scheduled_at"]
    )
    frame = frame.assign(event_timestamp=frame["scheduled_at"] - timedelta(hours=1), late=frame["delay_minutes"] > 15)
    return frame[[*ROUTE, "event_timestamp", "late"]].sort_values("event_timestamp").head(6_000).reset_index(drop=True)


def _with_features(flights: pd.DataFrame, by: str) -> pd.DataFrame:
    history = flights[[*ROUTE, by, "delay_minutes", "distance_miles", "row"]].rename(columns={by: "event_timestamp"})
    # Of several flights of a route at one moment the greatest answers (P-4).
    return history.sort_values(["event_timestamp", "delay_minutes", "distance_miles", "row"], kind="stable").drop(
        columns="row"
    )


@pytest.mark.rule("P-1", "P-10")
def test_a_plain_merge_of_flights_leaks_and_the_audit_says_where(flights, store) -> None:
    mean = flights.drop_duplicates(ROUTE, keep="last")[[*ROUTE, "delay_minutes", "distance_miles"]]
    report = audit(_asked(flights).merge(mean, on=ROUTE), store, FEATURES, target="late")
    assert report.outcome is Outcome.FAILED
    (delay,) = [f for f in report.findings if f.feature == "arrivals:delay_minutes" and f.kind is LeakKind.FUTURE_VALUE]
    assert delay.cells > 3_000
    assert all(e.event_timestamp > e.timestamp for e in delay.examples)
    cells = report.wrong_cells.to_pandas()
    future = cells[(cells["kind"] == "FUTURE_VALUE") & (cells["feature"] == "arrivals:delay_minutes")]
    # Where each value came from, checked against the flights themselves.
    frame = _asked(flights).merge(mean, on=ROUTE)
    for cell in future.head(200).itertuples():
        asked = frame.iloc[cell.row]
        own = flights[(flights["origin"] == asked["origin"]) & (flights["destination"] == asked["destination"])]
        came = own[own["delay_minutes"] == asked["delay_minutes"]]["landed_at"]
        assert came.gt(asked["event_timestamp"]).any()
        assert pd.Timestamp(cell.event_us, unit="us", tz="UTC") in set(came)


@pytest.mark.rule("P-1", "P-4", "P-10")
def test_a_merge_asof_of_what_had_landed_does_not(flights, store) -> None:
    frame = pd.merge_asof(_asked(flights), _with_features(flights, "landed_at"), on="event_timestamp", by=ROUTE)
    report = audit(frame, store, FEATURES, target="late")
    assert report.findings == (), report
    assert report.clean


@pytest.mark.rule("P-3")
def test_a_merge_asof_of_what_had_left_knows_delays_that_were_not_yet(flights, store) -> None:
    """The trap of this data: a flight has left, and how late it will land is in the table already."""
    frame = pd.merge_asof(_asked(flights), _with_features(flights, "scheduled_at"), on="event_timestamp", by=ROUTE)
    features = ["departures:delay_minutes", "departures:distance_miles"]
    warned = audit(frame, store, features, target="late")
    assert {f.kind for f in warned.findings} == {LeakKind.LATE_VALUE}
    assert warned.outcome is Outcome.WARNING
    assert audit(frame, store, features, filter_by_created_timestamp=True).outcome is Outcome.FAILED
    assert audit(frame, store, features, filter_by_created_timestamp=False).clean
