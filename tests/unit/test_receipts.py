"""Receipts of training sets: the same set gives the same hashes, another one is told, and what changed is named."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import e2i_fs as fs
from e2i_fs.receipts import DifferenceKind, TrainingReceipt
from e2i_fs.receipts.hashing import cell_hashes, column_hash, kind_of
from e2i_fs.splits import TemporalSplit
from e2i_fs.testing.clock import FakeClock
from tests import kit

ROWS = [("a", kit.at(0), kit.at(0), 1), ("a", kit.at(10), kit.at(12), 2), ("b", kit.at(5), kit.at(5), None)]
ASKED = [("a", kit.at(20)), ("b", kit.at(1)), ("b", kit.at(6)), ("a", kit.at(5))]


def feature_view(folder: Path, **more: Any) -> fs.FeatureView:
    return kit.view(folder, ROWS, created=True, **more)


@pytest.fixture
def known(store: fs.FeatureStore, tmp_path: Path) -> fs.FeatureStore:
    store.apply([feature_view(tmp_path)])
    return store


def kinds(verification: Any) -> list[str]:
    return [d.kind.value for d in verification.differences]


# ---- hashes -------------------------------------------------------------------------------------------------

COLUMNS: dict[str, list[Any]] = {
    "text": ["a", None, "é\0b", ""],
    "whole": [1, None, 2**53 + 1, -7],
    "float": [1.5, None, -0.0, 1e300],
    "flag": [True, None, False, True],
    "time": [kit.at(0), None, kit.at(1) + kit.US, kit.at(-1e7)],
    "list": [[1.0, None], None, [], [2.5]],
    "struct": [{"x": 1, "y": "z"}, None, {"x": None, "y": "z"}, {"x": 2, "y": None}],
}


def hashes(column: Any) -> list[int]:
    return cell_hashes({"c": column if isinstance(column, pa.ChunkedArray) else pa.chunked_array([column])})[
        "c"
    ].to_pylist()


@pytest.mark.parametrize("name", COLUMNS)
def test_a_value_hashes_alike_in_every_chunking_and_encoding_and_unlike_any_other(name: str) -> None:
    values = COLUMNS[name]
    plain = pa.array(values, kit.STAMP if name == "time" else None)
    expected = hashes(plain)
    assert expected[1] == 0
    assert len(set(expected)) == len({repr(v) for v in values})
    assert hashes(pa.chunked_array([plain[:1], plain[1:1], plain[1:3], plain[3:]])) == expected
    others = {
        "text": [pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())],
        "whole": [pa.int64()],
        "time": [pa.timestamp("ns", "Asia/Tokyo"), pa.timestamp("us")],
        "list": [pa.large_list(pa.float64())],
    }.get(name, [])  # fmt: skip
    for other in [plain.dictionary_encode() if pa.types.is_dictionary(t) else plain.cast(t) for t in others]:
        assert hashes(other) == expected
        assert kind_of(other.type) == kind_of(plain.type)


def test_small_whole_numbers_of_every_width_hash_alike_and_not_like_their_text() -> None:
    widths = [pa.int8(), pa.uint8(), pa.int16(), pa.uint32(), pa.int64(), pa.uint64()]
    assert len({tuple(hashes(pa.array([1, 2], width))) for width in widths}) == 1
    whole, text = pa.chunked_array([pa.array([1])]), pa.chunked_array([pa.array(["1"])])
    assert column_hash(cell_hashes({"c": whole})["c"], kind_of(whole.type)) != column_hash(
        cell_hashes({"c": text})["c"], kind_of(text.type)
    )


def test_a_part_of_a_column_hashes_as_a_column_of_its_own() -> None:
    cells = pa.array([1, 2, 3, 4], pa.uint64())
    own = column_hash(pa.chunked_array([pa.array([2, 3], pa.uint64())]), "whole")
    assert column_hash(pa.chunked_array([cells[1:3]]), "whole") == own
    assert column_hash(pa.chunked_array([cells[1:2], cells[2:3]]), "whole") == own


def test_vectors_hash_by_their_numbers_in_any_chunking() -> None:
    values = [[1.0, 2.0], None, [1.0, 2.5], [float("nan"), 0.0], [1.0, 2.0]]
    column = pa.array(values, pa.list_(pa.float32(), 2))
    found = hashes(column)
    assert found[1] == 0
    assert found[0] == found[4]
    assert len(set(found)) == 4
    assert hashes(pa.chunked_array([column[:2], column[2:]])) == found
    assert hashes(column[1:4]) == found[1:4]
    by_hand = hashlib.md5(struct.pack("<2f", 1.0, 2.5)).hexdigest()
    assert found[2] == int(by_hand[:16], 16)


def test_every_nan_is_one_value_which_is_neither_missing_nor_a_number() -> None:
    nan, other = pa.array([float("nan")]), pa.array([-float("nan")])
    assert hashes(nan) == hashes(other)
    assert hashes(nan) != hashes(pa.array([None], pa.float64()))
    assert len({hashes(nan)[0], hashes(pa.array([0.0]))[0], hashes(pa.array([-0.0]))[0]}) == 3


def test_hashes_are_the_ones_of_every_other_version_and_process() -> None:
    """Pinned: a receipt of last year must be read as it was written. The rule is simple enough to be done by hand."""
    assert hashes(pa.array(["é\0b"])) == [int(hashlib.md5("é\0b".encode()).hexdigest()[:16], 16)]
    assert hashes(pa.array([-7], pa.int8())) == [int(hashlib.md5(b"-7").hexdigest()[:16], 16)]
    (bits,) = struct.unpack("<q", struct.pack("<d", 1.5))
    assert hashes(pa.array([1.5])) == [int(hashlib.md5(str(bits).encode()).hexdigest()[:16], 16)]
    made = cell_hashes(
        {n: pa.chunked_array([pa.array(v, kit.STAMP if n == "time" else None)]) for n, v in COLUMNS.items()}
    )
    told = {name: column_hash(cells, name)[:8] for name, cells in made.items()}
    assert told == PINNED


PINNED = {
    "text": "73c63a90",
    "whole": "bc42f005",
    "float": "442698ed",
    "flag": "280c9d03",
    "time": "2fec37ff",
    "list": "28e5992e",
    "struct": "06826f26",
}


def test_the_hashes_of_a_frame_do_not_depend_on_its_kind(known: fs.FeatureStore) -> None:
    table = pa.table({
        "hcp_id": [k for k, _ in ASKED], "event_timestamp": pa.array([t for _, t in ASKED], kit.STAMP), "score": [1, 2, 3, 4],
    })  # fmt: skip
    frames = [
        table, table.to_pandas(), pl.from_arrow(table), pl.from_arrow(table).lazy(), table.to_pylist(), table.to_reader(),
        pd.DataFrame(table.to_pandas()).astype({"hcp_id": "category", "score": "int8"}),
        pa.Table.from_batches(table.to_batches(max_chunksize=1)),
    ]  # fmt: skip
    found = [known.get_historical_features(f, ["hcp_stats:trx_count"]).receipt for f in frames]
    assert len({r.content_hash for r in found}) == 1
    reordered = known.get_historical_features(table.take([1, 0, 2, 3]), ["hcp_stats:trx_count"]).receipt
    assert reordered.entity_hash != found[0].entity_hash
    assert reordered.result_hash != found[0].result_hash


def test_another_process_with_another_hash_seed_makes_the_same_receipt(tmp_path: Path) -> None:
    with fs.connect(kit.config("duckdb", tmp_path / "store")) as store:
        store.apply([feature_view(tmp_path)])
        here = kit.ask(store, ASKED[:2]).receipt.content_hash
    code = (
        "import sys, e2i_fs as fs\nfrom datetime import datetime\n"
        "with fs.connect({'backend': 'duckdb', 'path': sys.argv[1]}) as store:\n"
        "    rows = [{'hcp_id': k, 'event_timestamp': datetime(2024, 3, 10, 0, m)} for k, m in (('a', 20), ('b', 1))]\n"
        "    print(store.get_historical_features(rows, ['hcp_stats:trx_count']).receipt.content_hash)\n"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo"}
    command = [sys.executable, "-c", code, str(tmp_path / "store")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == here


# ---- what is in a receipt -----------------------------------------------------------------------------------


def test_a_receipt_says_what_was_asked_who_answered_and_with_what(
    known: fs.FeatureStore, backend: str, clock: FakeClock
) -> None:
    receipt = kit.ask(known, ASKED, as_of=kit.at(300), filter_by_created_timestamp=True).receipt
    assert receipt.features == ("hcp_stats:trx_count",)
    assert (receipt.row_count, receipt.min_time, receipt.max_time) == (4, kit.at(1), kit.at(20))
    assert (receipt.as_of, receipt.filter_by_created_timestamp) == (kit.at(300), True)
    assert (receipt.served_by, receipt.backend_kind, receipt.role, receipt.degraded) == (
        backend,
        backend,
        "primary",
        False,
    )
    assert set(receipt.fingerprints) == {"hcp_stats"}
    assert {"e2i_fs", "python", "pyarrow", "duckdb"} == set(receipt.versions)
    assert receipt.made_at == clock.now()
    assert receipt.rows.column("entity:hcp_id").to_pylist() == ["a", "b", "b", "a"]
    assert receipt.rows.column("hash:trx_count").null_count == 0


def test_a_receipt_is_made_once_and_is_of_when_it_was_asked(known: fs.FeatureStore, clock: FakeClock) -> None:
    result = kit.ask(known, ASKED)
    asked = clock.now()
    clock.advance(timedelta(hours=1))
    assert result.receipt.made_at == asked
    assert result.receipt is result.receipt
    with pytest.raises(AttributeError):
        result.receipt.row_count = 5
    assert len({result.receipt, kit.ask(known, ASKED).receipt}) == 2  # made at different times
    assert result.receipt.content_hash == kit.ask(known, ASKED).receipt.content_hash


# ---- keeping ------------------------------------------------------------------------------------------------


def test_a_receipt_that_was_saved_is_the_one_that_is_loaded(known: fs.FeatureStore, tmp_path: Path) -> None:
    receipt = kit.ask(known, ASKED, as_of=kit.at(300)).receipt
    path = receipt.save(tmp_path / "new" / "training.json")
    loaded = TrainingReceipt.load(path)
    assert loaded == receipt
    assert loaded.rows.equals(receipt.rows)
    assert sorted(p.suffixes[-1] for p in (tmp_path / "new").iterdir()) == [".json", ".parquet"]


def test_saving_over_a_receipt_leaves_two_files_and_failing_to_leaves_the_old_one(
    known: fs.FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, path = tmp_path / "kept", tmp_path / "kept" / "training.json"
    old, new = kit.ask(known, ASKED).receipt, kit.ask(known, ASKED[:2]).receipt
    old.save(path)
    replace = os.replace
    for failing in (1, 2):  # while the rows are moved into place, then while the receipt is
        left = [failing]

        def full(source: str, target: str, left: list[int] = left) -> None:
            left[0] -= 1
            if not left[0]:
                raise OSError(28, "No space left on device")
            replace(source, target)

        monkeypatch.setattr(os, "replace", full)
        with pytest.raises(fs.ReceiptError, match="No space left"):
            new.save(path)
        monkeypatch.undo()
        assert TrainingReceipt.load(path) == old
        assert not [p for p in folder.iterdir() if p.suffix == ".tmp"]
    new.save(path)
    assert TrainingReceipt.load(path) == new
    assert len(list(folder.iterdir())) == 2


def damage_json(path: Path, rows: Path) -> None:
    path.write_text(path.read_text().replace('"row_count": 4', '"row_count": 5'))


def damage_rows(path: Path, rows: Path) -> None:
    pq.write_table(pq.read_table(rows).slice(1), rows)


def lose_rows(path: Path, rows: Path) -> None:
    rows.unlink()


def cut_json(path: Path, rows: Path) -> None:
    path.write_text(path.read_text()[:-100])


def other_json(path: Path, rows: Path) -> None:
    path.write_text("[1, 2]")


def other_format(path: Path, rows: Path) -> None:
    from e2i_fs.definitions import fingerprint

    form = {k: v for k, v in json.loads(path.read_text()).items() if k != "seal"} | {"format": 2}
    path.write_text(json.dumps({**form, "seal": fingerprint(form)}))


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (damage_json, "not what was written"),
        (damage_rows, "not what was written"),
        (lose_rows, "rows of the receipt .* are missing"),
        (cut_json, "not JSON"),
        (other_json, "no training receipt"),
        (other_format, "format 2"),
        (lambda path, rows: path.unlink(), "cannot be read"),
    ],
)
def test_a_receipt_that_was_tampered_with_or_is_not_whole_is_refused(
    known: fs.FeatureStore, tmp_path: Path, harm: Any, told: str
) -> None:
    path = tmp_path / "kept" / "training.json"
    kit.ask(known, ASKED).receipt.save(path)
    (rows,) = path.parent.glob("*.parquet")
    harm(path, rows)
    with pytest.raises(fs.ReceiptError, match=told):
        TrainingReceipt.load(path)


# ---- verifying ----------------------------------------------------------------------------------------------


def test_a_training_set_is_identical_after_a_restart(tmp_path: Path, clock: FakeClock) -> None:
    config = kit.config("duckdb", tmp_path / "store")
    with fs.connect(config, clock=clock) as store:
        store.apply([feature_view(tmp_path)])
        store.write("hcp_stats", kit.batch(("a", kit.at(3), kit.at(3), 8), created=True), to="offline")
        kit.ask(store, ASKED).receipt.save(tmp_path / "training.json")
    clock.advance(timedelta(days=30))
    with fs.connect(config, clock=clock) as store:
        found = store.verify(TrainingReceipt.load(tmp_path / "training.json"))
        assert (found.identical, found.differences, found.notes) == (True, (), ())
        assert str(found) == "identical: 4 rows"
        assert found.verified_at == clock.now()


def test_another_backend_verifies_what_one_made_and_that_is_no_difference(tmp_path: Path, clock: FakeClock) -> None:
    with fs.connect(kit.config("duckdb", tmp_path / "store"), clock=clock) as store:
        store.apply([feature_view(tmp_path)])
        made = kit.ask(store, ASKED).receipt
        made.save(tmp_path / "training.json")
    with fs.connect(kit.config("memory", tmp_path), clock=clock) as store:
        store.apply([feature_view(tmp_path)])
        found = store.verify(TrainingReceipt.load(tmp_path / "training.json"))
        assert found.identical, str(found)
        assert found.notes == ("made by 'duckdb' (duckdb), verified on 'memory' (memory)",)
        assert kit.ask(store, ASKED).receipt.content_hash == made.content_hash


@pytest.mark.rule("P-3", "P-10")
def test_late_rows_change_nothing_of_a_set_made_as_of_a_time_and_are_named_in_one_that_was_not(
    known: fs.FeatureStore,
) -> None:
    fixed, loose = kit.ask(known, ASKED, as_of=kit.at(100)).receipt, kit.ask(known, ASKED).receipt
    known.write("hcp_stats", kit.batch(("a", kit.at(15), kit.at(200), 9), created=True), to="offline")
    assert known.verify(fixed).identical
    found = known.verify(loose)
    assert not found.identical
    (difference,) = found.differences
    assert difference.kind is DifferenceKind.VALUES
    assert (difference.feature, difference.rows, difference.positions) == ("hcp_stats:trx_count", 1, (0,))
    assert dict(difference.example) == {
        "position": 0, "keys": {"hcp_id": "a"}, "time": kit.at(20), "now": 9, "event_timestamp": kit.at(15),
    }  # fmt: skip
    assert (found.rows, found.rows_changed) == (4, 1)
    assert "hcp_id='a'" in str(found)


def test_a_value_that_went_missing_is_a_difference_and_so_is_one_that_came(known: fs.FeatureStore) -> None:
    receipt = kit.ask(known, ASKED).receipt
    known.write(
        "hcp_stats",
        kit.batch(("b", kit.at(0.5), kit.at(1), 4), ("a", kit.at(16), kit.at(16), None), created=True),
        to="offline",
    )
    (difference,) = known.verify(receipt).differences
    assert difference.positions == (0, 1)
    assert difference.example["now"] is None


@pytest.mark.rule("R-2")
def test_a_changed_definition_is_named_with_both_fingerprints_even_if_no_value_changed(
    known: fs.FeatureStore, tmp_path: Path
) -> None:
    receipt = kit.ask(known, ASKED).receipt
    known.apply([feature_view(tmp_path, ttl=timedelta(days=9))])
    found = known.verify(receipt)
    assert kinds(found) == ["DEFINITION"]
    assert (found.differences[0].view, found.differences[0].before) == ("hcp_stats", receipt.fingerprints["hcp_stats"])
    assert found.differences[0].now not in (None, receipt.fingerprints["hcp_stats"])
    known.apply([feature_view(tmp_path, ttl=timedelta(minutes=6))])
    found = known.verify(receipt)
    assert kinds(found) == ["DEFINITION", "VALUES"]
    assert found.differences[1].positions == (0,)


def test_a_feature_a_view_and_a_created_time_that_are_gone_are_named(known: fs.FeatureStore, tmp_path: Path) -> None:
    fields = {"trx_count": fs.Int64, "nrx_count": fs.Int64}
    rows = [(*row, 5) for row in ROWS]
    known.apply([kit.view(tmp_path, rows, name="two", fields=fields, created=True)])
    receipt = kit.ask(known, ASKED, ["two:trx_count", "two:nrx_count"], as_of=kit.at(500)).receipt
    known.apply([kit.view(tmp_path, ROWS, name="two", created=True)], allow_breaking=True)
    found = known.verify(receipt)
    assert kinds(found) == ["DEFINITION", "FEATURE_MISSING"]  # what is left has the values it had
    assert found.differences[1].feature == "two:nrx_count"
    known.apply(
        [kit.view(tmp_path, [(k, e, v) for k, e, _, v in ROWS], name="two", file="three.parquet")], allow_breaking=True
    )
    assert kinds(known.verify(receipt)) == ["DEFINITION", "FEATURE_MISSING", "NOT_REBUILT"]
    known.delete("two")
    assert kinds(known.verify(receipt)) == ["VIEW_MISSING", "FEATURE_MISSING", "FEATURE_MISSING"]


def test_a_changed_dtype_is_named(known: fs.FeatureStore, tmp_path: Path) -> None:
    receipt = kit.ask(known, ASKED).receipt
    known.apply([kit.view(tmp_path, ROWS, created=True, fields={"trx_count": fs.Float64})], allow_breaking=True)
    found = known.verify(receipt)
    assert kinds(found)[:2] == ["DEFINITION", "DTYPE"]
    assert (found.differences[1].before, found.differences[1].now) == ('"int64"', '"float64"')


def test_labels_renamed_times_full_names_and_on_demand_features_are_made_again_too(
    store: fs.FeatureStore, tmp_path: Path
) -> None:
    request = fs.RequestSource("offer", schema=[fs.Field("price", fs.Float64)])
    view = fs.FeatureView(
        "hcp",
        entities=[fs.Entity("hcp_id")],
        schema=[fs.Field("calls", fs.Int64), fs.Field("sold", fs.Bool, role="label")],
    )
    store.apply([view, per_call(view, request)])
    store.write("hcp", kit.table({"hcp_id": ["a"], "event_timestamp": [kit.at(0)], "calls": [4], "sold": [True]}))
    frame = pd.DataFrame(
        {"hcp_id": ["a", "z"], "when": [kit.at(1), kit.at(1)], "price": [8.0, 9.0], "unused": ["x", "y"]}
    )
    result = store.get_historical_features(
        frame, ["hcp:*", "per_call:value"], labels=["hcp:sold"], full_feature_names=True, timestamp_column="when"
    )
    result.receipt.save(tmp_path / "training.json")
    receipt = TrainingReceipt.load(tmp_path / "training.json")
    assert (receipt.labels, receipt.request_columns) == (("hcp:sold",), ("price",))
    assert [c.name for c in receipt.columns] == ["hcp__calls", "per_call__value", "hcp__sold"]
    assert set(receipt.fingerprints) == {"hcp", "per_call"}
    assert store.verify(receipt).identical
    store.write("hcp", kit.table({"hcp_id": ["z"], "event_timestamp": [kit.at(0)], "calls": [3], "sold": [False]}))
    found = store.verify(receipt)
    assert sorted(d.feature for d in found.differences) == ["hcp:calls", "hcp:sold", "per_call:value"]
    assert all(d.positions == (1,) for d in found.differences)


def per_call(view: fs.FeatureView, request: fs.RequestSource) -> Any:
    @fs.on_demand_feature_view(sources=[view, request], schema=[fs.Field("value", fs.Float64)])
    def per_call(inputs: dict[str, Any]) -> dict[str, Any]:
        pairs = zip(inputs["price"], inputs["calls"], strict=True)
        return {"value": [None if calls is None else price / calls for price, calls in pairs]}

    return per_call


@pytest.fixture
def pair(tmp_path: Path, clock: FakeClock) -> Iterator[Any]:
    backends = [{"name": n, "backend": "duckdb", "path": str(tmp_path / n)} for n in ("primary", "standby")]
    config = {"backends": backends, "failover": {"background": False}, "state": str(tmp_path / "state")}
    with fs.connect(config, clock=clock) as store:
        store.apply([feature_view(tmp_path)])
        store.catch_up()
        yield store


def test_behind_failover_the_standby_verifies_and_a_degraded_answer_is_said(pair: Any) -> None:
    receipt = kit.ask(pair, ASKED).receipt
    assert receipt.served_by == "primary"
    pair.isolate("primary")
    found = pair.verify(receipt)
    assert found.identical
    assert found.served_by == "standby"
    assert "made by 'primary' (duckdb), verified on 'standby' (duckdb)" in found.notes


def test_the_async_store_verifies_too(tmp_path: Path, clock: FakeClock) -> None:
    async def main() -> None:
        async with fs.connect_async(kit.config("duckdb", tmp_path / "store"), clock=clock) as store:
            await store.apply([feature_view(tmp_path)])
            frame = pa.table({"hcp_id": ["a"], "event_timestamp": pa.array([kit.at(20)], kit.STAMP)})
            result = await store.get_historical_features(frame, ["hcp_stats:trx_count"])
            assert (await store.verify(result.receipt)).identical

    anyio.run(main)


# ---- of splits ----------------------------------------------------------------------------------------------


def test_the_receipt_of_splits_has_the_rule_and_the_positions_of_each_split(
    known: fs.FeatureStore, tmp_path: Path
) -> None:
    asked = [("a", kit.at(i)) for i in range(200)]
    frame = pa.table({
        "hcp_id": ["a"] * 200, "event_timestamp": pa.array([t for _, t in asked], kit.STAMP), "sold": [i % 2 for i in range(200)],
    })  # fmt: skip
    result = known.get_historical_features(frame, ["hcp_stats:trx_count"])
    rule = TemporalSplit(embargo=timedelta(minutes=3))
    splits = rule.split(result, target="sold")
    splits.receipt.save(tmp_path / "training.json")
    receipt = TrainingReceipt.load(tmp_path / "training.json")
    assert receipt == splits.receipt
    about = dict(receipt.split or {})
    assert about["ratios"] == [0.6, 0.2, 0.15, 0.05]
    assert (about["embargo_seconds"], about["target"], about["entity_keys"]) == (180.0, "sold", ["hcp_id"])
    assert about["row_counts"]["train"] == splits.train.row_count
    assert about["dropped"] == {"embargo": 9, "isolation": 0, "missing_target": 0}
    again = rule.split(result, target="sold").receipt
    assert again.split == receipt.split
    other = TemporalSplit(embargo=timedelta(minutes=4)).split(result, target="sold").receipt
    assert other.split is not None
    assert other.split["positions_hash"] != about["positions_hash"]
    assert other.result_hash == receipt.result_hash
    assert other.content_hash != receipt.content_hash
    assert known.verify(receipt).identical


def test_what_is_no_receipt_is_refused_with_how_to_read_one(known: fs.FeatureStore) -> None:
    with pytest.raises(fs.RequestError, match=r"not 'r\.json'; read one from its file with TrainingReceipt\.load"):
        known.verify("r.json")  # type: ignore[arg-type]
