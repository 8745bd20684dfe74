"""Payments: what is pushed of a user, what is known of a shop, and a rule in plain Python."""

from datetime import timedelta

from feast import Entity, FeatureService, FeatureView, Field, FileSource, PushSource, RequestSource
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Array, Bool, Float32, Float64, Int32, Int64, String

user = Entity(name="user", join_keys=["user_id"])
shop = Entity(name="shop", join_keys=["shop_id"])

payments = FileSource(
    name="payments",
    path="data/payments.parquet",
    timestamp_field="at",
    created_timestamp_column="created",
)
pushed = PushSource(name="payments_push", batch_source=payments)

user_payments = FeatureView(
    name="user_payments",
    entities=[user],
    ttl=timedelta(days=7),
    schema=[
        Field(name="user_id", dtype=String),
        Field(name="payments_7d", dtype=Int64),
        Field(name="mean_amount", dtype=Float32, description="In euros"),
        Field(name="is_new", dtype=Bool),
    ],
    source=pushed,
    tags={"team": "fraud", "pii": "no"},
)

shop_facts = FeatureView(
    name="shop_facts",
    entities=[shop],
    ttl=timedelta(0),
    schema=[
        Field(name="shop_id", dtype=Int64),
        Field(name="risk", dtype=Float64),
        Field(name="countries", dtype=Array(String)),
        Field(name="stars", dtype=Int32),
    ],
    source=FileSource(name="shops", path="data/shops.parquet", timestamp_field="at"),
)

payment = RequestSource(name="payment", schema=[Field(name="amount", dtype=Float64)])


@on_demand_feature_view(
    sources=[user_payments[["mean_amount"]], payment],
    schema=[Field(name="times_mean", dtype=Float64)],
    mode="python",
)
def unusual(inputs):
    return {
        "times_mean": [
            None if mean is None or amount is None else amount / mean
            for mean, amount in zip(inputs["mean_amount"], inputs["amount"])
        ]
    }


fraud_v1 = FeatureService(
    name="fraud_v1", features=[user_payments, shop_facts[["risk", "stars"]], unusual], owner="fraud"
)
fraud_v2 = FeatureService(name="fraud_v2", features=[user_payments.with_name("renamed")])
