"""Bad input: each gives the named error with a fix, and changes nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import e2i_fs as fs
from tests.kit import NOW, STAMP, US, ask, at, batch, config, online, table, values, view

REF = "hcp_stats:trx_count"


@pytest.fixture
def filled(store, tmp_path):
    """A store with one view, one row in history and online: what every test checks to be so afterwards."""
    store.apply([view(tmp_path, [("a", at(1), 1)])])
    store.materialize(None, NOW)
    before = _state(store)
    yield store
    assert _state(store) == before


def _state(store):
    return (
        [v.to_json() for v in store.list_feature_views()],
        [e.to_json() for e in store.list_entities()],
        values(ask(store, [("a", NOW), ("b", NOW)])),
        online(store, "a", "b"),
    )


@pytest.mark.parametrize(
    "call", ["historical", "online", "write", "get", "delete", "freshness", "statistics", "materialize"]
)
def test_an_unknown_view_is_named_with_the_nearest(filled, call) -> None:
    calls = {
        "historical": lambda: ask(filled, [("a", at(1))], ["hcp_stat:trx_count"]),
        "online": lambda: filled.get_online_features(["hcp_stat:trx_count"], [{"hcp_id": "a"}]),
        "write": lambda: filled.write("hcp_stat", batch(("b", at(1), 1))),
        "get": lambda: filled.get_feature_view("hcp_stat"),
        "delete": lambda: filled.delete("hcp_stat"),
        "freshness": lambda: filled.freshness(["hcp_stat"]),
        "statistics": lambda: filled.statistics("hcp_stat:trx_count"),
        "materialize": lambda: filled.materialize(None, NOW, views=["hcp_stat"]),
    }
    with pytest.raises(fs.UnknownFeatureError, match="'hcp_stats'"):
        calls[call]()


def test_an_unknown_feature_service_or_push_source_is_named_with_the_nearest(filled) -> None:
    with pytest.raises(fs.UnknownFeatureError, match=r"'hcp_stats:trx_count'"):
        ask(filled, [("a", at(1))], ["hcp_stats:trx_cout"])
    with pytest.raises(fs.UnknownFeatureError, match="hcp_modle"):
        filled.get_historical_features(table({"hcp_id": ["a"], "event_timestamp": [at(1)]}), "hcp_modle")
    with pytest.raises(fs.UnknownFeatureError, match="clicks"):
        filled.push("clicks", batch(("b", at(1), 1)))


@pytest.mark.parametrize("ref", ["trx_count", "hcp_stats:", "hcp_stats:trx_count:x", "", 7, None])
def test_what_is_no_reference_is_told_how_to_write_one(filled, ref) -> None:
    with pytest.raises(fs.RequestError, match="view:feature"):
        ask(filled, [("a", at(1))], [ref])


def test_an_unknown_backend_is_named_with_the_nearest(tmp_path) -> None:
    with pytest.raises(fs.UnknownBackendError, match="'duckdb'"):
        fs.connect({"backend": "dukdb", "path": str(tmp_path / "s")})
    assert not (tmp_path / "s").exists()


def test_a_key_that_stands_twice_in_a_configuration_is_refused(tmp_path) -> None:
    path = tmp_path / "e2i_fs.yaml"
    path.write_text("project: a\nbackend: duckdb\npath: s\nproject: b\n")
    with pytest.raises(fs.ConfigError, match="the key 'project' stands there twice"):
        fs.connect(path)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("backend: duckdb\npath: s\nengine: &a {x: *a}\n", r"e2i_fs\.yaml, engine, x refers to itself"),
        ("backend: duckdb\npath: &a [1, *a]\n", r"e2i_fs\.yaml, path refers to itself"),
        ("backend: duckdb\npath: s\n1: 2\n", r"the key 1 is no text; put it in quotes"),
        ("backend: duckdb\npath: s\nengine: {on: 2}\n", r"engine: unknown key 'on'"),
        ("backend: duckdb\npath: s\nengine: {on: 2, 'on': 3}\n", r"the key 'on' stands there twice"),
        (
            "backend: duckdb\npath: s\nengine: {2024-01-01: 2}\n",
            r"engine: the key datetime.date\(2024, 1, 1\) is no text",
        ),
        ("backends: [{backend: duckdb, path: s, 0x1: 2}]\n", r"the key 1 is no text"),
        ("<<: {backend: duckdb}\npath: s\n<<: {project: q}\n", r"the key '<<' stands there twice"),
        ("backend: duckdb\npath: s\nproject: ''\n", r"project is ''; give text"),
        ("backends: [{backend: duckdb, path: s, project: ''}]\n", r"backends\[0\]: project is empty"),
    ],
)
def test_a_configuration_that_cannot_be_meant_is_refused_with_its_place(tmp_path, text, says) -> None:
    path = tmp_path / "e2i_fs.yaml"
    path.write_text(text)
    with pytest.raises(fs.ConfigError, match=says):
        fs.connect(path)
    assert list(tmp_path.iterdir()) == [path]


def test_a_mapping_that_cannot_be_meant_is_refused_with_its_place(tmp_path) -> None:
    endless: dict[str, object] = {"backend": "duckdb", "path": str(tmp_path / "s")}
    endless["engine"] = {"x": [endless]}
    with pytest.raises(fs.ConfigError, match="configuration, engine, x, engine refers to itself"):
        fs.connect(endless)
    with pytest.raises(fs.ConfigError, match="configuration: the key None is no text"):
        fs.connect({"backend": "duckdb", "path": str(tmp_path / "s"), None: 1})
    with pytest.raises(fs.ConfigError, match="engine: unknown key 'on'"):  # as YAML reads a bare on
        fs.connect({"backend": "duckdb", "path": str(tmp_path / "s"), "engine": {True: 1}})
    part = {"path": str(tmp_path / "s")}  # the same part in two places is no circle
    with pytest.raises(fs.ConfigError, match="one folder"):
        fs.connect({"backends": [{"name": n, "backend": "duckdb", **part, "options": [part, part]} for n in "ab"]})


def test_a_configuration_may_merge_parts_of_itself_and_say_some_of_it_otherwise(tmp_path) -> None:
    from e2i_fs.config import read_yaml

    path = tmp_path / "e2i_fs.yaml"
    path.write_text(
        "x: {deep: {deeper: &own {<<: &base {a: 1, b: 2}, a: 3}}}\ny: {<<: *own, b: 4}\nz: {<<: *base, a: 5}\n"
        "n: {1: of a number, '1': of a text}\n"
    )
    read = read_yaml(path)
    assert (read["x"]["deep"]["deeper"], read["y"], read["z"]) == ({"a": 3, "b": 2}, {"a": 3, "b": 4}, {"a": 5, "b": 2})


def test_a_dtype_in_quotes_is_told_how_to_write_it() -> None:
    with pytest.raises(fs.DefinitionError, match="Write fs.Int64, without quotes"):
        fs.Field("x", "Int64")


def test_a_path_that_is_a_file_is_called_one(tmp_path) -> None:
    (tmp_path / "store").write_text("")
    with pytest.raises(fs.BackendUnavailableError, match="There is a file where a folder is to be"):
        fs.connect({"backend": "duckdb", "path": str(tmp_path / "store")})


@pytest.mark.rule("P-7")
@pytest.mark.parametrize(
    ("dtype", "key", "why"),
    [
        (fs.Int64, 1.5, "a float that is not whole, or from 2[*][*]53 on.*numpy_nullable"),
        (fs.Int64, 2.0**60, "a float that is not whole, or from 2[*][*]53 on"),
        (fs.Int32, 2**40, "a number beyond Int32 matches nothing.*declare the join key Int64"),
        (fs.Int64, "1", "such a value matches nothing.*Convert the column to Int64"),
        (fs.Int64, True, "such a value matches nothing"),
        (fs.Int64, np.timedelta64(5, "s"), "such a value matches nothing|float that is not whole"),
    ],
)
def test_a_key_that_can_match_nothing_is_told_why(tmp_path, dtype, key, why) -> None:
    with fs.connect({"backend": "memory"}) as store:
        entity = fs.Entity("n", join_keys={"n": dtype})
        store.apply([fs.FeatureView("v", entities=[entity], schema=[fs.Field("x", fs.Int64)])])
        with pytest.warns(fs.KeyTypeWarning, match=why):
            store.get_online_features(["v:x"], [{"n": key}])
        with pytest.warns(fs.KeyTypeWarning, match=why):
            store.get_historical_features(pa.table({"n": [key], "event_timestamp": [at(1)]}), ["v:x"])


@pytest.mark.parametrize(
    ("times", "join_keys", "said", "unsaid"),
    [
        ("text", {"n": fs.Int64}, "column 'when' is string, which is to be the event time", "declared Timestamp"),
        (at(1), {"n": fs.Int64}, "column 'n' is string, 'n' is declared Int64", "A join key is String unless said"),
    ],
)
def test_a_source_that_does_not_fit_is_told_in_the_words_of_its_definition(
    tmp_path, times, join_keys, said, unsaid
) -> None:
    pq.write_table(pa.table({"n": ["a"], "when": [times], "x": [1]}), tmp_path / "h.parquet")
    source = fs.ParquetSource(str(tmp_path / "h.parquet"), timestamp_field="when")
    entity = fs.Entity("n", join_keys=join_keys)
    bad = fs.FeatureView("v", entities=[entity], schema=[fs.Field("x", fs.Int64)], source=source)
    with fs.connect({"backend": "memory"}) as store, pytest.raises(fs.SchemaMismatchError, match=said) as caught:
        store.apply([bad])
    assert unsaid not in str(caught.value)


@pytest.mark.parametrize("name", ["and", "a", "online", "repository", "0"])
def test_a_word_that_names_no_store_is_just_unknown(name: str) -> None:
    with pytest.raises(fs.UnknownBackendError, match=f"Unknown backend '{name}'[.] (Known|Did you mean)"):
        fs.connect({"backend": name})


@pytest.mark.parametrize("store", ["redis", "Snowflake", "spark"])
def test_a_store_that_a_backend_keeps_rows_in_is_no_backend_and_is_told_whose_it_is(store: str) -> None:
    with pytest.raises(fs.UnknownBackendError, match="no backend of its own; see backend: feast"):
        fs.connect({"backend": store})


@pytest.mark.parametrize(
    ("source", "name", "wanted"),
    [(fs.ParquetSource, "rows.csv", "CSVSource"), (fs.CSVSource, "rows.parquet", "ParquetSource")],
)
def test_a_file_of_the_other_kind_is_a_mistake_in_the_definition(tmp_path, source, name, wanted) -> None:
    table_ = table({"hcp_id": ["a"], "event_timestamp": [at(1)], "trx_count": [1]})
    if name.endswith(".parquet"):
        pq.write_table(table_, tmp_path / name)
    else:
        (tmp_path / name).write_text("hcp_id,event_timestamp,trx_count\na,2024-01-01T00:00:00Z,1\n")
    of_it = fs.FeatureView(
        "v",
        entities=[fs.Entity("hcp_id")],
        schema=[fs.Field("trx_count", fs.Int64)],
        source=source(str(tmp_path / name)),
    )
    with fs.connect({"backend": "memory"}) as store, pytest.raises(fs.DefinitionError, match=f"Use {wanted} for it"):
        store.apply([of_it])


@pytest.mark.parametrize(
    ("bad", "near"),
    [
        ({"backend": "duckdb", "pth": "x"}, "path"),
        ({"backnd": "duckdb"}, "backend"),
        ({"backend": "duckdb", "path": "x", "naive_timestamp": "utc"}, "naive_timestamps"),
        ({"backend": "memory", "size": 3}, "no options"),
        ({"backends": [{"backend": "memory"}], "failver": {}}, "failover"),
        (
            {"backends": [{"backend": "memory"}, {"backend": "memory", "name": "b"}], "failover": {"dedline": 1}},
            "deadline",
        ),
        (
            {
                "backends": [{"backend": "memory"}, {"backend": "memory", "name": "b"}],
                "failover": {"breaker": {"failurs": 1}},
            },
            "failures",
        ),
        ({"backend": "duckdb", "path": "x", "naive_timestamps": "maybe"}, "utc"),
        ({"backend": "duckdb"}, "path"),
    ],
)
def test_a_configuration_with_a_bad_key_names_the_nearest(tmp_path, monkeypatch, bad, near) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(fs.ConfigError, match=near):
        fs.connect(bad).list_entities()
    assert list(tmp_path.iterdir()) == []


TWO = [{"backend": "duckdb", "name": name, "path": f"stores/{name}"} for name in ("one", "other")]


@pytest.mark.parametrize(
    ("failover", "said"),
    [
        ({"journal": {"maxbytes": 1}}, "failover, journal: unknown key 'maxbytes'. Did you mean 'max_bytes'?"),
        ({"retries": {"bursts": 1}}, "failover, retries: unknown key 'bursts'. Did you mean 'burst'?"),
        ({"hedge": {"aftr": 1}}, "failover, hedge: unknown key 'aftr'. Did you mean 'after'?"),
        ({"hedge": {}}, "failover, hedge: 'after' is missing; give seconds without an answer after which"),
        ({"hedge": {"after": None}}, "failover, hedge: after is None; give a number."),
        ({"hedge": 0.1}, "failover: hedge is 0.1; give a mapping of keys to values."),
        ({"breaker": 3}, "failover: breaker is 3; give a mapping of keys to values."),
        ({"breaker": {"failures": 0}}, "failover, breaker: failures is 0; give at least 1."),
        ({"breaker": {"failures": 1.5}}, "failover, breaker: failures is 1.5; give a whole number."),
        ({"breaker": {"rate": 2}}, "failover, breaker: rate is 2; give at most 1."),
        ({"breaker": {"open_for": 9, "longest": 8}}, "failover, breaker: open_for is 9 and longest is 8, so"),
        ({"deadline": True}, "failover: deadline is True; give a number."),
        ({"historical_deadline": False}, "failover: historical_deadline is False; give a number."),
        ({"workers": True}, "failover: workers is True; give a number."),
        ({"deadline": "soon"}, "failover: deadline is 'soon'; give a number."),
        ({"deadline": float("nan")}, "failover: deadline is nan; give a finite number."),
        ({"deadline": 0}, "failover: deadline is 0; give more than 0."),
        ({"background": "perhaps"}, "failover: background is 'perhaps'; give true or false."),
        ([], r"failover is []; give a mapping of keys to values."),
    ],
)
def test_a_slip_in_the_failover_part_is_told_in_words_of_ours(tmp_path, monkeypatch, failover, said) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(fs.ConfigError) as caught:
        fs.connect({"backends": TWO, "failover": failover})
    told = str(caught.value)
    assert said in told
    assert not any(word in told for word in ("pydantic", "Config", "http", "Input", "..", "Value error"))
    assert list(tmp_path.iterdir()) == []


def test_what_a_variable_gives_may_be_a_number_as_text(monkeypatch) -> None:
    from e2i_fs.config import load_config

    monkeypatch.setenv("E2I_DEADLINE", "0.5")
    assert load_config({"backends": TWO, "failover": {"deadline": "${E2I_DEADLINE}"}}).failover.deadline == 0.5


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"backend": "duckdb", "path": "x", "failover": {}}, "failover needs several backends; list them under"),
        ({"backends": TWO, "state": "stores/one"}, "in the folder of backend 'one', and would be lost with it"),
        ({"backends": TWO, "state": "stores/other/deep/state"}, "in the folder of backend 'other'"),
        ({"backends": TWO, "state": ""}, "configuration: state is empty"),
        ({"backends": TWO, "max_future_skew": True}, "max_future_skew is True; give a number."),
        ({"backends": TWO, "project": 7}, "project is 7; give text."),
        ({"path": "x"}, "configuration: no backend; give backend: duckdb"),
        ({"path": "x", "bakend": "duckdb"}, "unknown key 'bakend'. Did you mean 'backend'"),
    ],
)
def test_what_contradicts_itself_is_refused_with_what_to_do(tmp_path, monkeypatch, bad, said) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(fs.ConfigError, match=said):
        fs.connect(bad)
    assert list(tmp_path.iterdir()) == []


def test_the_records_may_lie_beside_a_folder_and_in_the_one_backend_s_own(tmp_path) -> None:
    from e2i_fs.config import load_config

    assert load_config({"backends": TWO, "state": "stores/one_state", "failover": None}).state
    assert load_config({"backends": TWO[:1], "failover": {"deadline": 1}}).failover.deadline == 1
    assert load_config({"backend": "duckdb", "path": "stores/one", "state": "stores/one/state"}).state


def test_a_configuration_with_an_unset_variable_says_which(tmp_path, monkeypatch) -> None:
    monkeypatch.delenv("E2I_NO_SUCH_VARIABLE", raising=False)
    path = tmp_path / "e2i_fs.yaml"
    path.write_text("backend: duckdb\npath: ${E2I_NO_SUCH_VARIABLE}/store\n")
    with pytest.raises(fs.ConfigError, match=r"E2I_NO_SUCH_VARIABLE.*:-"):
        fs.connect(path)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "text",
    ["backend: [unclosed", "- a\n- list", "", "\x00\x01", "path: 2024-99-99", "path: !!int zz", "path: " + "[" * 3000],
)
def test_a_configuration_that_is_no_mapping_in_yaml_is_refused(tmp_path, text) -> None:
    path = tmp_path / "e2i_fs.yaml"
    path.write_text(text)
    with pytest.raises(fs.ConfigError, match="e2i_fs.yaml"):
        fs.connect(path)


def test_a_configuration_that_is_not_there_is_refused(tmp_path) -> None:
    with pytest.raises(fs.ConfigError, match="nowhere.yaml"):
        fs.connect(tmp_path / "nowhere.yaml")


def test_a_missing_join_key_is_named(filled) -> None:
    with pytest.raises(fs.InvalidEntityFrameError, match="hcp_id"):
        filled.get_historical_features(table({"hcp": ["a"], "event_timestamp": [at(1)]}), [REF])
    with pytest.raises(fs.InvalidEntityFrameError, match="hcp_id"):
        filled.get_online_features([REF], [{"hcp": "a"}])
    with pytest.raises(fs.InvalidEntityFrameError, match=r"row 0 lacks 'hcp'"):
        filled.get_online_features([REF], [{"hcp_id": "a"}, {"hcp": "a"}])


def test_a_time_column_that_is_absent_or_no_time_is_told(filled) -> None:
    with pytest.raises(fs.RequestError, match="event_timestamp"):
        filled.get_historical_features(table({"hcp_id": ["a"], "at": [at(1)]}), [REF])
    with pytest.raises(fs.RequestError, match="timestmp"):
        filled.get_historical_features(table({"hcp_id": ["a"], "at": [at(1)]}), [REF], timestamp_column="timestmp")
    for wrong in (["2024-03-10"], [1_710_000_000]):
        with pytest.raises(fs.InvalidTimestampError, match="event_timestamp"):
            filled.get_historical_features(table({"hcp_id": ["a"], "event_timestamp": wrong}), [REF])


def test_a_missing_time_is_told_with_its_row(filled) -> None:
    with pytest.raises(fs.InvalidTimestampError, match=r"event_timestamp.*\b1\b"):
        ask(filled, [("a", at(1)), ("a", None)])


def test_a_time_below_the_microsecond_is_told_with_its_row(filled) -> None:
    times = pa.array([1_000, 1_001], pa.timestamp("ns", "UTC"))
    with pytest.raises(fs.InvalidTimestampError, match=r"event_timestamp.*\b1\b"):
        filled.get_historical_features(pa.table({"hcp_id": ["a", "a"], "event_timestamp": times}), [REF])
    rows = pa.table({"hcp_id": ["b", "b"], "event_timestamp": times, "trx_count": [1, 2]})
    with pytest.raises(fs.InvalidBatchError, match=r"event_timestamp.*\b1\b"):
        filled.write("hcp_stats", rows)


def test_a_naive_time_is_told_where_it_is_refused(tmp_path, backend, clock) -> None:
    naive = pa.array([at(1).replace(tzinfo=None)], pa.timestamp("us"))
    with fs.connect({**config(backend, tmp_path / "s"), "naive_timestamps": "reject"}, clock=clock) as store:
        store.apply([view(tmp_path, [("a", at(1), 1)])])
        with pytest.raises(fs.InvalidTimestampError, match=r"event_timestamp.*naive|naive.*event_timestamp"):
            store.get_historical_features(pa.table({"hcp_id": ["a"], "event_timestamp": naive}), [REF])
        with pytest.raises(fs.InvalidBatchError, match=r"event_timestamp"):
            store.write("hcp_stats", pa.table({"hcp_id": ["b"], "event_timestamp": naive, "trx_count": [1]}))
        with pytest.raises(fs.InvalidTimestampError, match="naive"):
            store.materialize(at(0).replace(tzinfo=None), NOW)
        assert online(store, "a", "b") == [(None, "NOT_FOUND")] * 2


def test_a_name_collision_says_how_to_prefix(filled) -> None:
    frame = table({"hcp_id": ["a"], "event_timestamp": [at(1)], "trx_count": [1]})
    with pytest.raises(fs.FeatureNameCollisionError, match="full_feature_names=True"):
        filled.get_historical_features(frame, [REF])
    with pytest.raises(fs.FeatureNameCollisionError, match="trx_count"):
        ask(filled, [("a", at(1))], [REF, REF])


def test_an_empty_frame_or_feature_list_is_refused(filled) -> None:
    frame = table({"hcp_id": ["a"], "event_timestamp": [at(1)]})
    for empty in ([], (), None):
        with pytest.raises(fs.RequestError):
            filled.get_historical_features(frame, empty)
        with pytest.raises(fs.RequestError):
            filled.get_online_features(empty, [{"hcp_id": "a"}])
    with pytest.raises(fs.InvalidEntityFrameError):
        filled.get_historical_features(frame.slice(0, 0), [REF])
    with pytest.raises(fs.InvalidEntityFrameError):
        filled.get_online_features([REF], [])


@pytest.mark.parametrize("frame", [None, 7, "text", [1, 2], [{"hcp_id": "a"}, "b"]])
def test_what_is_no_frame_is_refused(filled, frame) -> None:
    with pytest.raises(fs.RequestError, match="entity_df"):
        filled.get_historical_features(frame, [REF])
    with pytest.raises(fs.RequestError, match="entity_rows"):
        filled.get_online_features([REF], frame)
    with pytest.raises(fs.RequestError):
        filled.write("hcp_stats", frame)


def test_two_input_columns_of_one_name_are_refused(filled) -> None:
    import pandas as pd

    frame = pd.DataFrame([["a", "b", at(1)]], columns=["hcp_id", "hcp_id", "event_timestamp"])
    with pytest.raises(fs.InvalidEntityFrameError, match="hcp_id"):
        filled.get_historical_features(frame, [REF])


def test_a_source_file_that_is_missing_is_told(filled, tmp_path) -> None:
    gone = fs.FeatureView("gone", entities=[fs.Entity("hcp_id")], schema=[fs.Field("x", fs.Int64)],
                          source=fs.ParquetSource(str(tmp_path / "no" / "such.parquet")))  # fmt: skip
    with pytest.raises(fs.DefinitionError, match=r"no/such\.parquet.*Write it first"):
        filled.apply([gone])


def test_a_source_file_that_disappears_is_told_when_it_is_read(store, tmp_path) -> None:
    store.apply([view(tmp_path, [("a", at(1), 1)])])
    (tmp_path / "hcp_stats.parquet").unlink()
    with pytest.raises(fs.BackendError, match=r"hcp_stats\.parquet"):
        ask(store, [("a", at(1))])


def test_a_source_column_that_is_missing_or_unfit_is_named(filled, tmp_path) -> None:
    path = tmp_path / "other.parquet"
    pq.write_table(pa.table({"hcp_id": ["a"], "event_timestamp": pa.array([at(1)], STAMP), "x": ["text"]}), path)

    def over(name, dtype):
        return fs.FeatureView("other", entities=[fs.Entity("hcp_id")], schema=[fs.Field(name, dtype)],
                              source=fs.ParquetSource(str(path)))  # fmt: skip

    with pytest.raises(fs.SchemaMismatchError, match=r"'y'"):
        filled.apply([over("y", fs.String)])
    with pytest.raises(fs.SchemaMismatchError, match=r"'x'.*Int64|Int64.*'x'"):
        filled.apply([over("x", fs.Int64)])


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1 junk PAR1", os.urandom(500)])
def test_corrupt_parquet_is_told_at_apply_and_when_read(store, tmp_path, content) -> None:
    good = view(tmp_path, [("a", at(1), 1)])
    path = tmp_path / "hcp_stats.parquet"
    whole = path.read_bytes()
    path.write_bytes(content)
    with pytest.raises(fs.E2IError, match=r"hcp_stats\.parquet"):
        store.apply([good])
    assert list(store.list_feature_views()) == []
    path.write_bytes(whole)
    store.apply([good])
    path.write_bytes(content)
    for call in (lambda: ask(store, [("a", at(1))]), lambda: store.materialize(None, NOW)):
        with pytest.raises(fs.BackendDataError, match=r"hcp_stats\.parquet"):
            call()


def test_parquet_with_a_damaged_page_is_told(store, tmp_path) -> None:
    good = view(tmp_path, [(f"h{i}", at(i), i) for i in range(1000)])
    store.apply([good])
    path = tmp_path / "hcp_stats.parquet"
    content = bytearray(path.read_bytes())
    content[4:400] = b"\xff" * 396
    path.write_bytes(bytes(content))
    with pytest.raises(fs.BackendError):
        ask(store, [("h1", at(1))])


def test_a_bad_batch_lists_every_problem_and_writes_nothing(filled) -> None:
    rows = batch(
        ("b", at(1), 1), (None, at(1), 1), ("b", None, 1), ("b", NOW + timedelta(minutes=1) + US, 1), ("b", at(2), 2)
    )
    with pytest.raises(fs.InvalidBatchError) as caught:
        filled.write("hcp_stats", rows)
    text = "\n".join(caught.value.problems)
    assert len(caught.value.problems) >= 3
    for row, word in ((1, "hcp_id"), (2, "event_timestamp"), (3, "event_timestamp")):
        assert any(word in p and str(row) in p for p in caught.value.problems), (word, text)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda t: t.drop_columns(["trx_count"]), "trx_count"),
        (lambda t: t.drop_columns(["hcp_id"]), "hcp_id"),
        (lambda t: t.drop_columns(["event_timestamp"]), "event_timestamp"),
        (lambda t: t.append_column("trx_cont", t["trx_count"]), "trx_cont"),
        (lambda t: t.set_column(2, "trx_count", pa.array([1.5])), "trx_count"),
        (lambda t: t.set_column(2, "trx_count", pa.array(["1"])), "trx_count"),
        (lambda t: t.set_column(2, "trx_count", pa.array([2**64 - 1], pa.uint64())), "trx_count"),
        (lambda t: t.set_column(0, "hcp_id", pa.array([7])), "hcp_id"),
        (lambda t: t.set_column(1, "event_timestamp", pa.array(["2024-03-10"])), "event_timestamp"),
        (lambda t: t.slice(0, 0), "row"),
    ],
)
def test_a_batch_that_does_not_fit_its_view_is_refused(filled, change, word) -> None:
    with pytest.raises(fs.InvalidBatchError, match=word):
        filled.write("hcp_stats", change(batch(("b", at(1), 1))))


_READ_ONLY = """
import ctypes, os, sys, pyarrow as pa, e2i_fs as fs
if os.geteuid() == 0:  # root may write everywhere, until it lays down the capability to
    header, sets = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    libc = ctypes.CDLL(None)
    assert libc.capget(header, sets) == 0
    for effective_or_permitted in (0, 1):
        sets[effective_or_permitted] &= ~0b110  # DAC_OVERRIDE, DAC_READ_SEARCH
    assert libc.capset(header, sets) == 0
entity = fs.Entity("hcp_id")
view = fs.FeatureView("hcp_stats", entities=[entity], schema=[fs.Field("trx_count", fs.Int64)])
rows = pa.table({"hcp_id": ["a"], "event_timestamp": pa.array([0], pa.timestamp("us", "UTC")), "trx_count": [1]})
calls = {
    "open": lambda: fs.connect({"backend": "duckdb", "path": sys.argv[1] + "/new"}).apply([view]),
    "apply": lambda: fs.connect({"backend": "duckdb", "path": sys.argv[1]}).apply([fs.FeatureView("other", entities=[entity], schema=view.schema)]),
    "write": lambda: fs.connect({"backend": "duckdb", "path": sys.argv[1]}).write("hcp_stats", rows),
    "materialize": lambda: fs.connect({"backend": "duckdb", "path": sys.argv[1]}).materialize(None),
}
for name, call in calls.items():
    try:
        call()
        print(name, "NO ERROR")
    except fs.E2IError as error:
        print(name, type(error).__name__, error)
"""


def test_a_read_only_folder_is_told(tmp_path, clock) -> None:
    folder = tmp_path / "store"
    with fs.connect(config("duckdb", folder), clock=clock) as store:
        store.apply([view(tmp_path, [("a", at(1), 1)])])
    every = [folder, *folder.rglob("*")]
    for path in every:
        path.chmod(0o555 if path.is_dir() else 0o444)
    done = subprocess.run([sys.executable, "-c", _READ_ONLY, str(folder)], capture_output=True, text=True, check=False)
    for path in every:
        path.chmod(0o755 if path.is_dir() else 0o644)
    said = done.stdout.splitlines()
    assert len(said) >= 4, done.stderr
    for line in (x for x in said if x.split()[0] in ("open", "apply", "write", "materialize")):
        assert "NO ERROR" not in line
        assert str(folder) in line


def test_a_store_folder_that_cannot_be_made_is_told(tmp_path, clock) -> None:
    (tmp_path / "file").write_text("a file")
    with (
        pytest.raises(fs.E2IError, match="file"),
        fs.connect(config("duckdb", tmp_path / "file" / "store"), clock=clock) as store,
    ):
        store.apply([view(tmp_path, [("a", at(1), 1)])])


def test_an_unknown_target_of_a_write_is_told(filled) -> None:
    with pytest.raises((fs.RequestError, ValueError), match="offline"):
        filled.write("hcp_stats", batch(("b", at(1), 1)), to="offlin")


def test_the_same_key_with_other_rows_is_refused(filled) -> None:
    with pytest.raises(fs.InvalidBatchError):
        filled.write("hcp_stats", batch(("b", NOW + timedelta(days=1), 1)), idempotency_key="k")


def test_a_definition_that_means_nothing_is_refused(filled, tmp_path) -> None:
    one = view(tmp_path / "x", [("a", at(1), 1)])
    for bad in ("hcp_stats", 7, None, [one, 7]):
        with pytest.raises(fs.DefinitionError):
            filled.apply(bad)
    with pytest.raises(fs.DefinitionError, match="hcp_id"):
        replace(one, schema=[fs.Field("hcp_id", fs.Int64)])


def test_a_backwards_or_unreadable_window_is_told(filled) -> None:
    with pytest.raises(fs.RequestError):
        filled.materialize(at(10), at(5))
    with pytest.raises(fs.RequestError):
        filled.materialize("yesterday", NOW)
