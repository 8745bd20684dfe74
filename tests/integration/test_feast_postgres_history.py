"""History in the PostgreSQL of Feast's offline store, of which each machine keeps copies."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from e2i_fs.sql.address import Address
from tests.servers import running_postgres

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("feast") is None or importlib.util.find_spec("psycopg") is None,
    reason='needs Feast and the drivers of PostgreSQL: pip install "e2i-fs[feast,postgres]"',
)


@pytest.mark.rule("W-2", "R-5")
def test_a_machine_does_not_read_its_copy_of_a_batch_that_was_dropped_and_written_anew(tmp_path: Path) -> None:
    from e2i_fs_feast.postgres_segments import PostgresSegments

    def numbers(segments: PostgresSegments) -> list[int]:
        return [n for path in segments.paths("visits.1") for n in pq.read_table(path)["n"].to_pylist()]

    with running_postgres() as server:
        here, there = (PostgresSegments(Address(server.address), "e2i", tmp_path / name) for name in ("here", "there"))
        assert here.append("visits.1", pa.table({"n": [1]}), batch_id="monday")
        assert numbers(here) == numbers(there) == [1]
        here.drop("visits.1")
        assert numbers(there) == []
        assert here.append("visits.1", pa.table({"n": [2]}), batch_id="monday")
        assert numbers(here) == numbers(there) == [2]
