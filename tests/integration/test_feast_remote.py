"""Feast's remote online store, and its feature server's own answers, against ours: the same, unchanged."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import e2i_fs as fs
from e2i_fs.testing.clock import FakeClock
from tests.kit import NOW, at
from tests.server_words import KEYS, READ, WRITE, call, error, post, service
from tests.serving import served_here

FIELDS = {
    "trips": fs.Int64, "rating": fs.Float64, "share": fs.Float32, "name": fs.String, "active": fs.Bool, "seen": fs.Timestamp,
    "routes": fs.Array(fs.String), "photo": fs.Bytes,
}  # fmt: skip
REFS = [f"stats:{name}" for name in FIELDS]
ROWS = [
    {
        "driver_id": 1, "event_timestamp": at(600), "trips": 2**53 + 1, "rating": float("inf"), "share": 0.1, "name": "a",
        "active": True, "seen": at(590), "routes": ["x", "y"], "photo": b"\x00\xff",
    },
    {
        "driver_id": 2, "event_timestamp": at(610.25), "trips": None, "rating": 0.1, "share": None, "name": "",
        "active": False, "seen": None, "routes": ["z"], "photo": None,
    },
]  # fmt: skip
KEYS_ASKED = [2, 1, 404, 1]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[fs.FeatureStore]:
    driver = fs.Entity("driver", join_keys={"driver_id": fs.Int64})
    fields = [fs.Field(name, dtype) for name, dtype in FIELDS.items()]
    pair = fs.FeatureView(
        "pair", entities=[driver, fs.Entity("day")], schema=[fs.Field("fare", fs.Float64)], ttl=timedelta(hours=1)
    )
    with fs.connect({"backend": "duckdb", "path": str(tmp_path / "store")}, clock=FakeClock(NOW)) as opened:
        opened.apply([
            fs.FeatureView("stats", entities=[driver], schema=fields), pair,
            fs.FeatureService("serving", features=["stats:trips", "pair:fare"]),
        ])  # fmt: skip
        opened.write("stats", ROWS)
        rows = [("1", at(700), 1.5), ("2", at(1), 2.5)]
        opened.write("pair", [{"driver_id": 1, "day": d, "event_timestamp": t, "fare": f} for d, t, f in rows])
        yield opened


@pytest.fixture(autouse=True)
def session(feast_library: Any) -> Iterator[None]:
    """Feast's client has one session for the process; each test has its own."""
    from feast.permissions.client.http_auth_requests_wrapper import HttpSessionManager

    yield
    HttpSessionManager.close_session()


def repository(feast: Any, folder: Path, online: dict[str, Any], **more: Any) -> Any:
    """A Feast repository with the views of the store, on the online store given."""
    from feast import types as ft

    theirs = {
        fs.Int64: ft.Int64, fs.Float64: ft.Float64, fs.Float32: ft.Float32, fs.String: ft.String, fs.Bool: ft.Bool,
        fs.Timestamp: ft.UnixTimestamp, fs.Bytes: ft.Bytes, fs.Array(fs.String): ft.Array(ft.String),
    }  # fmt: skip
    folder.mkdir()
    config = feast.RepoConfig(
        project="remote", provider="local", registry=str(folder / "registry.db"), online_store=online,
        entity_key_serialization_version=3, **more,
    )  # fmt: skip
    repo = feast.FeatureStore(config=config)
    driver = feast.Entity(name="driver", join_keys=["driver_id"], value_type=feast.ValueType.INT64)
    day = feast.Entity(name="day", join_keys=["day"], value_type=feast.ValueType.STRING)
    source = feast.FileSource(path=str(folder / "no.parquet"), timestamp_field="event_timestamp", name="none")
    pushed = feast.PushSource(name="pushed", batch_source=source)
    stats = feast.FeatureView(
        name="stats", entities=[driver], ttl=None, source=pushed,
        schema=[feast.Field(name="driver_id", dtype=ft.Int64)]
        + [feast.Field(name=n, dtype=theirs[t]) for n, t in FIELDS.items()],
    )  # fmt: skip
    pair = feast.FeatureView(
        name="pair", entities=[driver, day], source=source,
        schema=[feast.Field(name="driver_id", dtype=ft.Int64), feast.Field(name="day", dtype=ft.String),
                feast.Field(name="fare", dtype=ft.Float64)],
    )  # fmt: skip
    repo.apply([driver, day, stats, pair, feast.FeatureService(name="serving", features=[stats[["trips"]], pair])])
    return repo


@pytest.mark.filterwarnings("ignore")
@pytest.mark.rule("O-2", "O-3", "O-5")
def test_feast_s_remote_store_reads_and_writes_here_as_the_store_itself(
    store: fs.FeatureStore, feast_library: Any, tmp_path: Path
) -> None:
    pd = pytest.importorskip("pandas")
    online = [{"driver_id": key} for key in KEYS_ASKED]
    with served_here(service(store)) as address:
        repo = repository(feast_library, tmp_path / "repo", {"type": "remote", "path": address})
        answer = repo.get_online_features(features=REFS, entity_rows=online)
        ours, told = store.get_online_features(REFS, online), answer.to_dict()
        numbers = ["trips", "rating", "share", "name", "active"]
        ours_dict = ours.to_dict()
        assert [told[name] for name in ("driver_id", *numbers[:1], *numbers[2:])] == [
            ours_dict[name] for name in ("driver_id", *numbers[:1], *numbers[2:])
        ]
        assert told["rating"] == [0.1, "Infinity", None, "Infinity"]  # as Feast's own server has it
        assert told["seen"] == [None, int(at(590).timestamp()), None, int(at(590).timestamp())]
        assert told["routes"][1] == ["x", "y"]
        names = {0: "INVALID", 1: "PRESENT", 2: "NULL_VALUE", 3: "NOT_FOUND", 4: "OUTSIDE_MAX_AGE"}
        statuses = {
            name: [names[s] for s in result.statuses]
            for name, result in zip(answer.proto.metadata.feature_names.val, answer.proto.results, strict=True)
        }
        assert {name: statuses[name] for name in FIELDS} == {
            ref[6:]: list(map(str, s)) for ref, s in ours.statuses.items()
        }

        two = [{"driver_id": 1, "day": "1"}, {"driver_id": 1, "day": "2"}, {"driver_id": 2, "day": "1"}]
        by_service = repo.get_online_features(features=repo.get_feature_service("serving"), entity_rows=two)
        assert by_service.to_dict() == {
            "driver_id": [1, 1, 2], "day": ["1", "2", "1"], "trips": [2**53 + 1] * 2 + [None], "fare": [1.5, None, None],
        }  # fmt: skip
        assert list(by_service.proto.results[3].statuses) == [1, 4, 3]

        # Its lower way, which reads by the view's own types.
        from feast.protos.feast.types.EntityKey_pb2 import EntityKey
        from feast.protos.feast.types.Value_pb2 import Value

        view, keys = (
            repo.get_feature_view("stats"),
            [EntityKey(join_keys=["driver_id"], entity_values=[Value(int64_val=1)])],
        )
        ((moment, read),) = repo._get_provider().online_read(repo.config, view, keys, ["trips", "seen"])
        assert (read["trips"].int64_val, read["seen"].unix_timestamp_val) == (2**53 + 1, int(at(590).timestamp()))
        assert moment == at(600)

        row = {**ROWS[0], "driver_id": 3, "trips": 5, "rating": 0.25, "event_timestamp": at(650), "photo": None}
        repo.write_to_online_store("stats", pd.DataFrame([row]))
        written = store.get_online_features(REFS, [{"driver_id": 3}])
        assert {name: values[0] for name, values in written.to_dict().items() if name in FIELDS} == {
            **{name: row[name] for name in FIELDS}, "share": pytest.approx(0.1),
        }  # fmt: skip
        assert written.event_timestamps["stats:trips"] == [at(650)]
        repo.push("pushed", pd.DataFrame([{**row, "event_timestamp": at(660), "trips": 6}]))
        assert store.get_online_features(["stats:trips"], [{"driver_id": 3}]).to_dict()["trips"] == [6]

        with pytest.raises(feast_library.errors.FeastError, match="labels|batch|refused"):
            repo.write_to_online_store("stats", pd.DataFrame([{**row, "event_timestamp": NOW + timedelta(days=9)}]))
        with pytest.raises(feast_library.errors.FeastError, match="not done here"):
            repo.retrieve_online_documents_v2(features=["stats:routes"], query=[0.1], top_k=1)


@pytest.mark.filterwarnings("ignore")
def test_feast_s_client_sends_a_key_and_is_told_what_it_may_not(
    store: fs.FeatureStore, feast_library: Any, tmp_path: Path
) -> None:
    from feast.infra.online_stores.remote import get_remote_online_features, post_remote_online_write
    from feast.permissions.client.http_auth_requests_wrapper import HttpSessionManager

    with served_here(service(store, access=KEYS)) as address:
        for key, may_read in ((READ, True), (WRITE, True), ("no-key-of-this-server", False)):
            auth = {"type": "oidc", "token": key}
            config = feast_library.RepoConfig(
                project="remote", provider="local", registry=str(tmp_path / "r.db"), auth=auth,
                online_store={"type": "remote", "path": address}, entity_key_serialization_version=3,
            )  # fmt: skip
            HttpSessionManager.close_session()
            asked = {"features": ["stats:trips"], "entities": {"driver_id": [1]}}
            batch = {"feature_view_name": "pair", "df": {}}
            if may_read:
                assert get_remote_online_features(config=config, req_body=asked).json()["results"][1]["values"] == [
                    2**53 + 1
                ]
            else:
                with pytest.raises(feast_library.errors.FeastPermissionError, match="not known"):
                    get_remote_online_features(config=config, req_body=asked)
            expected = "refused whole" if key == WRITE else "may read" if may_read else "not known"
            with pytest.raises(feast_library.errors.FeastError, match=expected):
                post_remote_online_write(config=config, req_body=batch)


@pytest.mark.filterwarnings("ignore")
def test_feast_s_own_server_answers_the_same_to_the_same_question(
    store: fs.FeatureStore, feast_library: Any, tmp_path: Path
) -> None:
    """Names, values, statuses and times, where Feast is right: its sqlite store has whole seconds, and no ttl on reading."""
    pd = pytest.importorskip("pandas")
    from fastapi.testclient import TestClient
    from feast.feature_server import get_app

    repo = repository(feast_library, tmp_path / "repo", {"type": "sqlite", "path": str(tmp_path / "online.db")})
    repo.write_to_online_store("stats", pd.DataFrame([ROWS[0]]))
    asked = {"features": REFS, "entities": {"driver_id": [1, 404]}, "full_feature_names": True}
    theirs = TestClient(get_app(repo)).post("/get-online-features", json=asked).json()
    answer = call(service(store), "POST", "/get-online-features", asked)
    ours = answer.json()
    order = {name: i for i, name in enumerate(theirs["metadata"]["feature_names"])}
    assert set(order) == set(ours["metadata"]["feature_names"])
    for name, result in zip(ours["metadata"]["feature_names"], ours["results"], strict=True):
        expected = theirs["results"][order[name]]
        assert result["values"] == expected["values"], name
        assert result["statuses"] == expected["statuses"], name
        assert datetime.fromisoformat(result["event_timestamps"][0]) == datetime.fromisoformat(
            expected["event_timestamps"][0]
        )
    assert set(theirs) <= set(ours) | {"status"}
    versions = {**asked, "include_feature_view_version_metadata": True}
    theirs = TestClient(get_app(repo)).post("/get-online-features", json=versions).json()
    ours = post(service(store), "/get-online-features", versions)
    (told,), (wanted,) = (a["metadata"]["feature_view_metadata"] for a in (ours, theirs))
    assert told == {"name": "stats", "version": 0}
    assert {name: value for name, value in told.items() if value} == {n: v for n, v in wanted.items() if v}
    assert post(service(store), "/get-online-features", {**asked, "features": ["stats:trips"]})["results"][1]["values"][
        0
    ]


@pytest.mark.filterwarnings("ignore")
def test_each_path_that_feast_s_own_server_has_is_served_or_says_what_to_do_instead(
    store: fs.FeatureStore, feast_library: Any, tmp_path: Path
) -> None:
    from feast.feature_server import get_app

    here = service(store)
    config = feast_library.RepoConfig(
        project="paths", provider="local", registry=str(tmp_path / "r.db"), entity_key_serialization_version=3,
        online_store={"type": "sqlite", "path": str(tmp_path / "o.db")},
    )  # fmt: skip
    theirs = get_app(feast_library.FeatureStore(config=config))
    own = ("/openapi.json", "/docs", "/docs/oauth2-redirect", "/redoc")  # of FastAPI
    asked = [(r.path, m) for r in theirs.routes for m in getattr(r, "methods", None) or ["GET"] if r.path not in own]
    assert len(asked) > 12
    served = set()
    for path, method in asked:
        address = path.replace("{vector_store_id}", "stats")
        answer = call(here, method, address, {} if method == "POST" else None)
        if answer.status_code == 404:
            assert not error(answer)["fix"].startswith("GET /openapi"), (method, path)
        elif method != "HEAD":
            assert answer.status_code in (200, 415, 422), (method, path, answer.text)
            served.add(path)
    assert served == {
        "/get-online-features", "/push", "/write-to-online-store", "/materialize", "/materialize-incremental", "/health",
        "/search", "/retrieve-online-documents",
    }  # fmt: skip
