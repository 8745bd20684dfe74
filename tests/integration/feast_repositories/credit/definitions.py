"""Loans: what is known of a place and of a person, and a ratio computed with what the application says."""

from datetime import timedelta

import numpy as np
import pandas as pd
from feast import Entity, FeatureService, FeatureView, Field, FileSource, RequestSource, ValueType
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float32, Float64, Int64, String

zipcode = Entity(name="zipcode", value_type=ValueType.INT64, description="A place", tags={"owner": "geo"})
dob_ssn = Entity(name="dob_ssn", value_type=ValueType.STRING)

zipcode_source = FileSource(
    name="zipcode_table",
    path="data/zipcode.parquet",
    timestamp_field="event_timestamp",
    created_timestamp_column="created_timestamp",
)
credit_source = FileSource(path="data/credit.parquet")  # its time column is found by Feast

zipcode_features = FeatureView(
    name="zipcode_features",
    entities=[zipcode],
    ttl=timedelta(days=3650),
    schema=[
        Field(name="city", dtype=String),
        Field(name="population", dtype=Int64),
        Field(name="total_wages", dtype=Float64),
    ],
    source=zipcode_source,
)

credit_history = FeatureView(
    name="credit_history",
    entities=[dob_ssn],
    ttl=timedelta(days=90),
    source=credit_source,  # its features are found by Feast
    owner="risk@example.com",
)

application = RequestSource(
    name="application", schema=[Field(name="income", dtype=Float64), Field(name="asked", dtype=Int64)]
)


@on_demand_feature_view(
    sources=[credit_history, application],
    schema=[Field(name="debt_ratio", dtype=Float64), Field(name="high", dtype=Float32)],
    description="What is owed, by income",
)
def burden(inputs: pd.DataFrame) -> pd.DataFrame:
    made = pd.DataFrame()
    made["debt_ratio"] = np.minimum((inputs["credit_card_due"] + inputs["asked"]) / inputs["income"], 1.0)
    made["high"] = (made["debt_ratio"] > 0.4).astype("float32")
    return made


scoring = FeatureService(name="scoring", features=[zipcode_features[["population"]], credit_history, burden])
