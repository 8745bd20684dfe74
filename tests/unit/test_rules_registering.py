"""R-1 to R-5: registering definitions, rule by rule."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import e2i_fs as fs
from tests.kit import NOW, STAMP, ask, at, batch, config, online, values, view


@pytest.mark.rule("R-1")
def test_apply_returns_a_plan_and_a_second_apply_changes_nothing(store, tmp_path) -> None:
    one = view(tmp_path, [("a", at(1), 1)])
    plan = store.apply([one])
    assert set(plan.created) == {"entity hcp_stats_entity", "view hcp_stats"}
    again = store.apply([one])
    assert not again.changes
    assert set(again.unchanged) == set(plan.created)
    longer = replace(one, ttl=timedelta(days=3))
    assert store.apply([longer]).updated == ("view hcp_stats",)
    assert store.delete("hcp_stats").removed == ("view hcp_stats",)


@pytest.mark.rule("R-1")
def test_a_dry_run_only_plans(store, tmp_path) -> None:
    plan = store.apply([view(tmp_path, [("a", at(1), 1)])], dry_run=True)
    assert plan.dry_run and plan.created
    assert list(store.list_feature_views()) == []


@pytest.mark.rule("R-1")
def test_an_apply_with_one_bad_definition_applies_none(store, tmp_path) -> None:
    good = view(tmp_path, [("a", at(1), 1)])
    bad = fs.FeatureView("bad", entities=["no_such_entity"], schema=[fs.Field("x", fs.Int64)])
    with pytest.raises(fs.DefinitionError, match="no_such_entity"):
        store.apply([good, bad])
    assert list(store.list_feature_views()) == []


_APPLIER = """
import sys, e2i_fs as fs
number = sys.argv[2]
with fs.connect({"backend": "duckdb", "path": sys.argv[1]}) as store:
    for n in range(5):
        name = f"v{number}_{n}"
        store.apply([fs.FeatureView(name, entities=[fs.Entity("hcp_id")], schema=[fs.Field("x", fs.Int64)])])
"""


@pytest.mark.rule("R-1", "R-5")
def test_applies_of_several_processes_at_once_lose_nothing(tmp_path, clock) -> None:
    command = [sys.executable, "-c", _APPLIER, str(tmp_path / "store")]
    appliers = [subprocess.Popen([*command, str(n)]) for n in range(4)]
    assert [applier.wait() for applier in appliers] == [0, 0, 0, 0]
    with fs.connect(config("duckdb", tmp_path / "store"), clock=clock) as store:
        assert {v.name for v in store.list_feature_views()} == {f"v{a}_{b}" for a in range(4) for b in range(5)}


@pytest.mark.rule("R-1")
def test_applies_of_several_threads_at_once_lose_nothing(store) -> None:
    def apply(number: int) -> None:
        for n in range(5):
            name = f"v{number}_{n}"
            store.apply([fs.FeatureView(name, entities=[fs.Entity("hcp_id")], schema=[fs.Field("x", fs.Int64)])])

    threads = [threading.Thread(target=apply, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {v.name for v in store.list_feature_views()} == {f"v{a}_{b}" for a in range(4) for b in range(5)}


_FINGERPRINT = """
from datetime import timedelta
import e2i_fs as fs
from e2i_fs.catalog import Catalog
view = fs.FeatureView("v", entities=[fs.Entity("e", join_keys={"a": fs.String, "b": fs.Int64})],
    schema=[fs.Field("x", fs.Struct(p=fs.Decimal(10, 2), q=fs.Array(fs.Float32))), fs.Field("y", fs.Vector(3), role="label")],
    source=fs.ParquetSource("p", created_timestamp_field="c", field_mapping={"z": "y", "w": "x"}), ttl=timedelta(days=1),
    tags={"b": "1", "a": "2"})
print(Catalog().planned([view], "/")[0].fingerprint("v"))
"""


@pytest.mark.rule("R-2")
def test_a_fingerprint_is_the_same_in_every_process_and_changes_with_meaning_only() -> None:
    said = set()
    for seed in ("0", "1", "2"):
        env = {**os.environ, "PYTHONHASHSEED": seed, "TZ": "Asia/Kolkata"}
        said.add(
            subprocess.run(
                [sys.executable, "-c", _FINGERPRINT], env=env, check=True, capture_output=True, text=True
            ).stdout
        )
    assert len(said) == 1
    # Written down once: a change of the canonical form is a change of every store's fingerprints.
    assert len(said.pop().strip()) == 32


@pytest.mark.rule("R-2")
def test_every_part_of_a_views_meaning_is_in_its_fingerprint(tmp_path) -> None:
    from e2i_fs.catalog import Catalog

    one = view(tmp_path, [("a", at(1), 1)])
    base = Catalog().planned([one], "/")[0].fingerprint("hcp_stats")
    same = [replace(one, tags={"a": "b"}), replace(one, owner="me"), replace(one, description="text")]
    other_source = fs.ParquetSource(str(tmp_path / "other.parquet"))
    other = [
        replace(one, ttl=timedelta(days=1)),
        replace(one, schema=[fs.Field("trx_count", fs.Int32)]),
        replace(one, schema=[fs.Field("trx_count", fs.Int64, role="label")]),
        replace(one, source=other_source),
        replace(one, entities=[fs.Entity("hcp_stats_entity", join_keys={"hcp_id": fs.Int64})]),
    ]
    assert {Catalog().planned([v], "/")[0].fingerprint("hcp_stats") for v in same} == {base}
    assert len({Catalog().planned([v], "/")[0].fingerprint("hcp_stats") for v in other} | {base}) == 6


@pytest.mark.rule("R-3")
def test_a_source_is_checked_when_it_is_applied(store, tmp_path) -> None:
    path = tmp_path / "s.parquet"
    pq.write_table(
        pa.table({"hcp_id": ["a"], "event_timestamp": pa.array([at(1)], STAMP), "trx_count": ["many"]}), path
    )

    def over(**more):
        schema = more.pop("schema", [fs.Field("trx_count", fs.String)])
        keys = more.pop("keys", {"hcp_id": fs.String})
        return fs.FeatureView("hcp_stats", entities=[fs.Entity("hcp", join_keys=keys)], schema=schema,
                              source=fs.ParquetSource(str(path), **more))  # fmt: skip

    cases = {
        "trx_cnt": over(schema=[fs.Field("trx_cnt", fs.String)]),
        "trx_count": over(schema=[fs.Field("trx_count", fs.Int64)]),
        "hcp": over(keys={"hcp": fs.String}),
        "seen_at": over(timestamp_field="seen_at"),
        "made_at": over(created_timestamp_field="made_at"),
    }
    for word, definition in cases.items():
        with pytest.raises(fs.SchemaMismatchError, match=word):
            store.apply([definition])
    assert list(store.list_feature_views()) == []
    store.apply([over()])


@pytest.mark.rule("R-4")
def test_a_breaking_change_needs_saying_so(store, tmp_path) -> None:
    one = view(tmp_path, [("a", at(1), 1, 2.5)], fields={"trx_count": fs.Int64, "share": fs.Float64})
    store.apply([one])
    store.materialize(None, NOW)
    breaking = [
        replace(one, schema=[fs.Field("trx_count", fs.Int64)]),
        replace(one, schema=[fs.Field("trx_count", fs.Float64), fs.Field("share", fs.Float64)]),
    ]
    for change in breaking:
        with pytest.raises(fs.BreakingChangeError, match="allow_breaking=True"):
            store.apply([change])
    assert values(ask(store, [("a", at(1))], ["hcp_stats:share"]), "share") == [2.5]
    assert online(store, "a") == [(1, "PRESENT")]
    store.apply([breaking[1]], allow_breaking=True)
    assert values(ask(store, [("a", at(1))])) == [1.0]
    assert online(store, "a") == [(None, "NOT_FOUND")]


@pytest.mark.rule("R-4")
def test_a_definition_that_is_not_named_again_stays(store, tmp_path) -> None:
    one, two = view(tmp_path, [("a", at(1), 1)]), view(tmp_path, [("a", at(1), 2)], name="other")
    store.apply([one])
    store.apply([two])
    assert {v.name for v in store.list_feature_views()} == {"hcp_stats", "other"}


@pytest.mark.rule("R-4")
def test_what_is_in_use_cannot_be_deleted_and_what_is_unknown_is_named(store, tmp_path) -> None:
    service = fs.FeatureService("model", features=["hcp_stats:*"])
    store.apply([view(tmp_path, [("a", at(1), 1)]), service])
    with pytest.raises(fs.DefinitionError, match="model"):
        store.delete("hcp_stats")
    with pytest.raises(fs.UnknownFeatureError, match="hcp_stats"):
        store.delete("hcp_stat")
    store.delete("model")
    store.delete("hcp_stats")
    assert list(store.list_feature_views()) == []


@pytest.mark.rule("R-4", "O-3")
def test_a_view_deleted_and_made_again_has_none_of_the_old_rows(store, tmp_path) -> None:
    one = fs.FeatureView("hcp_stats", entities=[fs.Entity("hcp_id")], schema=[fs.Field("trx_count", fs.Int64)])
    store.apply([one])
    store.write("hcp_stats", batch(("a", at(1), 1)), to="both")
    store.delete("hcp_stats")
    store.apply([one])
    assert online(store, "a") == [(None, "NOT_FOUND")]
    assert values(ask(store, [("a", NOW)])) == [None]


@pytest.mark.rule("R-5")
def test_what_was_applied_is_there_at_once_and_in_a_new_process(store, backend, tmp_path, clock) -> None:
    store.apply([view(tmp_path, [("a", at(1), 1)])])
    store.materialize(None, NOW)
    assert values(ask(store, [("a", at(1))])) == [1]
    assert online(store, "a") == [(1, "PRESENT")]
    if backend == "memory":
        return  # declared as not persistent
    with fs.connect(config(backend, tmp_path / "store"), clock=clock) as other:
        assert values(ask(other, [("a", at(1))])) == [1]
        assert online(other, "a") == [(1, "PRESENT")]
        other.apply([view(tmp_path, [("a", at(1), 7)], name="other")])
    assert values(ask(store, [("a", at(1))], ["other:trx_count"])) == [7]


@pytest.mark.rule("R-5", "R-4")
def test_a_feature_added_later_is_missing_in_rows_written_before(store) -> None:
    entity = fs.Entity("hcp_id")
    store.apply([fs.FeatureView("hcp_stats", entities=[entity], schema=[fs.Field("trx_count", fs.Int64)])])
    store.write("hcp_stats", batch(("a", at(1), 1)), to="both")
    both = [fs.Field("trx_count", fs.Int64), fs.Field("tier", fs.String)]
    store.apply([fs.FeatureView("hcp_stats", entities=[entity], schema=both)])
    store.write("hcp_stats", batch(("b", at(1), 2, "x"), fields=("trx_count", "tier")), to="both")
    result = ask(store, [("a", at(2)), ("b", at(2))], ["hcp_stats:*"])
    assert values(result) == [1, 2]
    assert values(result, "tier") == [None, "x"]
    answer = store.get_online_features(["hcp_stats:*"], [{"hcp_id": "a"}, {"hcp_id": "b"}])
    assert answer.to_dict()["tier"] == [None, "x"]
    assert [s.name for s in answer.statuses["hcp_stats:tier"]] == ["NULL_VALUE", "PRESENT"]


@pytest.mark.rule("R-1", "W-1")
def test_a_batch_of_an_older_form_of_its_view_does_not_get_into_the_newer_ones_history(
    store, backend, monkeypatch
) -> None:
    """Somebody applies a breaking change between the check of a batch and its writing."""
    entity = fs.Entity("hcp_id")
    store.apply([fs.FeatureView("hcp_stats", entities=[entity], schema=[fs.Field("trx_count", fs.Int64)])])
    changed = fs.FeatureView("hcp_stats", entities=[entity], schema=[fs.Field("trx_count", fs.String)])
    opened = store._router.backend(backend)
    real = type(opened).append

    def append(self, *args, **more):
        store.apply([changed], allow_breaking=True)
        return real(self, *args, **more)

    monkeypatch.setattr(type(opened), "append", append)
    with pytest.raises(fs.InvalidBatchError, match="changed while"):
        store.write("hcp_stats", batch(("a", at(1), 1)), to="both")
    monkeypatch.undo()
    store.write("hcp_stats", batch(("b", at(1), "x")), to="both")
    assert values(ask(store, [("a", at(2)), ("b", at(2))])) == [None, "x"]
    assert online(store, "a", "b") == [(None, "NOT_FOUND"), ("x", "PRESENT")]
