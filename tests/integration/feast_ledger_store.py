"""A Feast offline store and data source of its own kind, as Feast's users plug them in: rows in an Arrow IPC file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
from feast.data_source import DataSource
from feast.infra.offline_stores.offline_store import OfflineStore, RetrievalJob
from feast.protos.feast.core.DataSource_pb2 import DataSource as DataSourceProto
from feast.repo_config import FeastConfigBaseModel


class LedgerOfflineStoreConfig(FeastConfigBaseModel):
    type: str = "tests.integration.feast_ledger_store.LedgerOfflineStore"


class LedgerSource(DataSource):
    def source_type(self) -> Any:
        return DataSourceProto.CUSTOM_SOURCE

    def _to_proto_impl(self) -> Any:
        return DataSourceProto(
            name=self.name,
            type=DataSourceProto.CUSTOM_SOURCE,
            timestamp_field=self.timestamp_field,
            field_mapping=self.field_mapping,
            custom_options=DataSourceProto.CustomSourceOptions(configuration=self.description.encode()),
        )

    @staticmethod
    def from_proto(data_source: Any) -> Any:
        return LedgerSource(
            name=data_source.name,
            timestamp_field=data_source.timestamp_field,
            field_mapping=dict(data_source.field_mapping),
            description=data_source.custom_options.configuration.decode(),
        )

    def validate(self, config: Any) -> None: ...

    @staticmethod
    def source_datatype_to_feast_value_type() -> Any:
        raise NotImplementedError

    def get_table_column_names_and_types(self, config: Any) -> Any:
        raise NotImplementedError


class LedgerJob(RetrievalJob):
    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:
        return self._table

    def _to_df_internal(self, timeout: int | None = None) -> Any:
        return self._table.to_pandas()

    @property
    def full_feature_names(self) -> bool:
        return False

    @property
    def on_demand_feature_views(self) -> list[Any]:
        return []


class LedgerOfflineStore(OfflineStore):
    @staticmethod
    def pull_all_from_table_or_query(
        config: Any, data_source: Any, join_key_columns: Any, feature_name_columns: Any, timestamp_field: str, **_: Any
    ) -> Any:
        with pa.ipc.open_file(Path(data_source.description)) as file:
            return LedgerJob(file.read_all().select([*join_key_columns, *feature_name_columns, timestamp_field]))

    @staticmethod
    def pull_latest_from_table_or_query(*_: Any, **__: Any) -> Any:
        raise NotImplementedError

    @staticmethod
    def get_historical_features(*_: Any, **__: Any) -> Any:
        raise NotImplementedError
