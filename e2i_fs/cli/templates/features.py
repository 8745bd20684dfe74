"""What the features are. `e2i-fs plan` shows what a change would do, `e2i-fs apply` does it."""

from datetime import timedelta

import e2i_fs as fs

hcp = fs.Entity("hcp", join_keys={"hcp_id": fs.String}, description="A health-care professional")
brand = fs.Entity("brand", join_keys={"brand_id": fs.String})

engagement_source = fs.ParquetSource(
    "data/engagement.parquet",
    timestamp_field="event_timestamp",  # when a row became true
    created_timestamp_field="created_at",  # when it became known
)

hcp_engagement = fs.FeatureView(
    "hcp_engagement",
    entities=[hcp, brand],
    schema=[
        fs.Field("trx_count", fs.Int64),
        fs.Field("engagement_score", fs.Float32),
        fs.Field("call_frequency", fs.Float32),
        fs.Field("converted", fs.Bool, role="label"),  # an outcome: never a model input
    ],
    # Rows can be pushed as well: `e2i-fs push engagement_push rows.csv`
    source=fs.PushSource("engagement_push", batch_source=engagement_source),
    ttl=timedelta(days=7),
    max_staleness=timedelta(days=2),
    description="How an HCP is engaged with a brand, a row a day",
)

hcp_conversion = fs.FeatureService(
    "hcp_conversion",
    features=["hcp_engagement:trx_count", "hcp_engagement:engagement_score", "hcp_engagement:call_frequency"],
)
