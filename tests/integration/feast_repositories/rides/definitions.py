"""Rides: views about one driver, about driver and customer together, and about nothing in particular."""

from datetime import timedelta

from feast import BigQuerySource, Entity, FeatureService, FeatureView, Field, FileSource, ValueType
from feast.types import Float32, Int64, PdfBytes, UnixTimestamp

driver = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
customer = Entity(name="customer", join_keys=["customer_id"], value_type=ValueType.STRING)

driver_source = FileSource(
    name="drivers", path="data/drivers.parquet", timestamp_field="event_timestamp", created_timestamp_column="created"
)
trip_source = FileSource(
    name="trips", path="data/trips.parquet", timestamp_field="event_timestamp", created_timestamp_column="created"
)

driver_stats = FeatureView(
    name="driver_stats",
    entities=[driver],
    ttl=timedelta(hours=24),
    schema=[
        Field(name="conv_rate", dtype=Float32),
        Field(name="trips", dtype=Int64),
        Field(name="seen", dtype=UnixTimestamp),
    ],
    source=driver_source,
)
trip_stats = FeatureView(
    name="trip_stats",
    entities=[driver, customer],
    ttl=timedelta(days=2),
    schema=[Field(name="rides", dtype=Int64)],
    source=trip_source,
)
weather = FeatureView(
    name="weather",
    entities=[],
    schema=[Field(name="rain", dtype=Float32)],
    source=FileSource(
        name="weather_file",
        path="data/weather.parquet",
        timestamp_field="event_timestamp",
        field_mapping={"rain_mm": "rain"},
    ),
    online=False,
)
licences = FeatureView(
    name="licences",
    entities=[driver],
    schema=[Field(name="scan", dtype=PdfBytes), Field(name="pages", dtype=Int64)],
    source=FileSource(name="licence_file", path="data/licences.parquet", timestamp_field="event_timestamp"),
)
warehouse = FeatureView(
    name="warehouse_stats",
    entities=[driver],
    schema=[Field(name="driver_id", dtype=Int64), Field(name="lifetime", dtype=Int64)],
    source=BigQuerySource(name="lifetime_table", table="project.rides.lifetime", timestamp_field="event_timestamp"),
)

activity = FeatureService(name="activity", features=[driver_stats[["trips"]], trip_stats])
