"""Feast repositories imported as neutral definitions, and neutral ones exported as Feast repositories."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
import re
import shutil
import sys
import types
import warnings
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings

import e2i_fs as fs
from e2i_fs.catalog import Catalog
from e2i_fs.cli.app import run
from e2i_fs.cli.loading import load_definitions
from e2i_fs.errors import ConfigError, DefinitionError
from e2i_fs.frozen import FrozenMap
from e2i_fs.plugins import Plugins
from e2i_fs.testing.strategies import catalogs
from feature_repo import definitions
from tests.integration.feast_shapes import repository
from tests.once import once

KINDS = {
    "entities": "entity", "views": "feature view", "on_demand": "on-demand feature view", "services": "feature service",
}  # fmt: skip


@pytest.fixture(scope="module")
def exchange(feast_library: Any) -> Any:
    return Plugins().exchange("feast")


def in_folder(folder: Path, *given: Any) -> Catalog:
    """Return a catalogue whose relative paths are taken from ``folder``."""
    return Catalog().planned(given, str(folder))[0]


def put(files: Mapping[str, bytes], folder: Path) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def forms(catalog: Catalog, without: Any = ()) -> dict[str, Any]:
    """Return what makes up the fingerprints, and what is about each definition."""
    gone = {(left.kind, left.name) for left in without}
    return {
        f"{kind} {name}": (each.canonical(), dict(each.tags), each.owner, each.description)
        for attribute, kind in KINDS.items()
        for name, each in getattr(catalog, attribute).items()
        if (kind, name) not in gone
    }


# ---- there and back ---------------------------------------------------------------------------------------


@pytest.mark.rule("R-2")
@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(catalog=catalogs(sources=("parquet", "push", "none")))
def test_what_is_exported_comes_back_the_same(catalog: Catalog, exchange: Any, tmp_path: Path) -> None:
    folder = tmp_path.resolve()
    shutil.rmtree(folder)
    folder.mkdir()
    catalog = replace(catalog, bases=FrozenMap(dict.fromkeys(catalog.views, str(folder))))
    made = exchange.written(catalog, project="p", folder=folder)
    put(made.files, folder)
    back = exchange.read(folder)
    assert back.left == ()
    assert forms(back.catalog) == forms(catalog, made.left)


@pytest.mark.rule("R-2")
def test_the_e2i_repository_is_applied_by_feast_and_comes_back_the_same(exchange: Any, tmp_path: Path) -> None:
    from e2i_fs_feast.repository import load_config
    from feast.repo_operations import apply_total

    folder = tmp_path.resolve()
    catalog = in_folder(folder, *definitions())
    made = exchange.written(catalog, project="e2i", folder=folder)
    assert made.left == ()
    put(made.files, folder)
    with contextlib.chdir(folder), pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.syspath_prepend(str(folder))
        patch.delitem(sys.modules, "definitions", raising=False)
        importlib.invalidate_caches()
        apply_total(load_config(folder), folder, skip_source_validation=False)
        patch.delitem(sys.modules, "definitions", raising=False)
    for origin in ("registry", "python"):
        back = exchange.read(folder, origin=origin)
        assert back.left == ()
        assert forms(back.catalog) == forms(catalog)
    churned = back.catalog.views["patient_journey_features"].features["is_churned"]
    assert churned.role == "label"


def test_what_feast_cannot_hold_is_named_with_what_needs_it(exchange: Any, tmp_path: Path) -> None:
    driver = fs.Entity("driver")
    rows = fs.FeatureView("rows", entities=[driver], schema=[fs.Field("x", fs.Int64)], source=fs.CSVSource("a.csv"))
    two = replace(rows, name="two", source=fs.ParquetSource(["a.parquet", "b.parquet"]))
    odd = replace(rows, name="a b", source=None)
    glob = replace(rows, name="glob", source=fs.ParquetSource("a*.parquet"))
    tagged = replace(rows, name="tagged", source=None, tags={"e2i_fs": "mine"})
    service = fs.FeatureService("svc", features=["rows:x"])
    made = exchange.written(in_folder(tmp_path, rows, two, odd, glob, tagged, service), project="p", folder=tmp_path)
    why = {left.name: left.why for left in made.left}
    assert sorted(why) == ["a b", "glob", "rows", "svc", "tagged", "two"]
    assert "CSVSource" in why["rows"]
    assert "2 paths" in why["two"]
    assert "rename it" in why["a b"]
    assert "pattern" in why["glob"]
    assert "by which e2i_fs knows" in why["tagged"]
    assert "'rows', which is left out" in why["svc"]
    for each in made.left:
        assert f"# Left out: {each}" in made.files["definitions.py"].decode()


def test_a_function_of_single_rows_stays_one_on_the_way_there_and_back(exchange: Any, tmp_path: Path) -> None:
    asked = fs.RequestSource("asked", schema=[fs.Field("x", fs.Int64)])
    code = 'def twice(row):\n    return {"out": (row["x"] or 0) * 2}\n'
    view = fs.OnDemandFeatureView("twice", inputs=(), request=(asked,), schema=(fs.Field("out", fs.Int64),), code=code, function="twice", singleton=True)  # fmt: skip
    catalog = in_folder(tmp_path, view)
    made = exchange.written(catalog, project="p", folder=tmp_path)
    assert made.left == ()
    assert "singleton=True" in made.files["definitions.py"].decode()


def test_a_function_that_feast_cannot_try_is_left_out_and_named(exchange: Any, tmp_path: Path) -> None:
    asked = fs.RequestSource("asked", schema=[fs.Field("x", fs.Int64)])
    code = 'def broken(columns):\n    return {"out": columns["y"]}\n'
    view = fs.OnDemandFeatureView("broken", inputs=(), request=(asked,), schema=(fs.Field("out", fs.Int64),), code=code, function="broken")  # fmt: skip
    made = exchange.written(in_folder(tmp_path, view), project="p", folder=tmp_path)
    assert [(left.name, "KeyError: 'y'" in left.why) for left in made.left] == [("broken", True)]
    assert b"def broken" not in made.files["definitions.py"]


def test_what_is_edited_in_feasts_own_words_counts(exchange: Any, tmp_path: Path) -> None:
    """The tag holds only as long as the object still says what it said when the tag was written."""
    visit = fs.Entity("visit", join_keys={"site": fs.Bool, "day": fs.Date})
    view = fs.FeatureView(
        "stats", entities=[visit], source=fs.ParquetSource("a.parquet"), max_staleness=timedelta(hours=1),
        schema=[fs.Field("amount", fs.Decimal(10, 2)), fs.Field("left", fs.Bool, role="label"), fs.Field("v", fs.Vector(3))],
    )  # fmt: skip
    service = fs.FeatureService("svc", features=["stats:v", "stats:amount", "stats:*"])
    folder = tmp_path.resolve()
    put(exchange.written(in_folder(folder, view, service), project="p", folder=folder).files, folder)
    file = folder / "definitions.py"
    text = file.read_text(encoding="utf-8")
    for was, now in (
        ('Field(name="amount", dtype=Decimal)', 'Field(name="amount", dtype=Float64)'),
        ('Field(name="v", dtype=Array(Float32))', 'Field(name="w", dtype=Array(Float32))'),
        ("import Array, Bool, Decimal,", "import Array, Bool, Float64,"),
        ('features=[stats[["v", "amount", "left"]]]', 'features=[stats[["amount"]]]'),
    ):
        assert was in text, text
        text = text.replace(was, now)
    file.write_text(text, encoding="utf-8")
    back = exchange.read(folder).catalog
    fields = {f.name: (f.dtype, f.role) for f in back.views["stats"].schema}
    assert fields == {
        "amount": (fs.Float64, "feature"), "left": (fs.Bool, "label"), "w": (fs.Array(fs.Float32), "feature"),
    }  # fmt: skip
    assert back.views["stats"].max_staleness == timedelta(hours=1)
    assert back.entities["visit"].keys == {"site": fs.Bool, "day": fs.Date}
    assert back.services["svc"].features == ("stats:amount",)


def test_rows_that_feast_put_where_there_was_no_source_become_the_source(exchange: Any, tmp_path: Path) -> None:
    folder = tmp_path.resolve()
    view = fs.FeatureView("s", entities=[fs.Entity("k")], schema=[fs.Field("x", fs.Int64)], source=fs.PushSource("p"))
    put(exchange.written(in_folder(folder, view), project="p", folder=folder).files, folder)
    assert exchange.read(folder).catalog.views["s"].source == view.source
    (stand_in,) = (folder / "data").glob("*.parquet")
    rows = pa.table({"k": ["a"], "event_timestamp": [timedelta(0)], "x": [1]})
    pq.write_table(rows.set_column(1, "event_timestamp", pa.array([0], pa.timestamp("us", "UTC"))), stand_in)
    source = exchange.read(folder).catalog.views["s"].source
    assert source.batch_source.paths == (f"data/{stand_in.name}",)


# ---- what Feast has and nobody else ------------------------------------------------------------------------

STRANGE = '''
from datetime import timedelta
from helpers import shared
import helpers
from feast import Entity, FeatureService, FeatureView, Field, FileSource, KafkaSource, RequestSource
from feast.data_format import JsonFormat
from feast.on_demand_feature_view import on_demand_feature_view
from feast.permissions.permission import Permission
from feast.permissions.policy import RoleBasedPolicy
from feast.permissions.action import AuthzedAction
from feast.stream_feature_view import StreamFeatureView
from feast.types import Float64, Int64, Map

driver = Entity(name="driver", join_keys=["driver_id"])
file = FileSource(name="file", path="data/a.parquet", timestamp_field="t", description="what nobody else keeps")
idle = FileSource(name="idle", path="data/b.parquet", timestamp_field="t")
key = Field(name="driver_id", dtype=Int64)
stats = FeatureView(
    name="stats", entities=[driver], source=file, version="v1",
    schema=[key, Field(name="x", dtype=Int64, tags={"unit": "km"}), Field(name="bag", dtype=Map)],
)
stream = StreamFeatureView(
    name="stream", entities=[driver], schema=[key, Field(name="x", dtype=Int64)], ttl=timedelta(days=1), timestamp_field="t",
    source=KafkaSource(
        name="kafka", kafka_bootstrap_servers="h:1", topic="t", timestamp_field="t", batch_source=file,
        message_format=JsonFormat(schema_json="x int"),
    ),
)
may = Permission(name="may", types=[FeatureView], policy=RoleBasedPolicy(roles=["r"]), actions=[AuthzedAction.DESCRIBE])
asked = RequestSource(name="asked", schema=[Field(name="y", dtype=Float64)])
COUNT = len([1])

@on_demand_feature_view(sources=[asked], schema=[Field(name="a", dtype=Float64)], mode="python")
def of_a_module(inputs):
    return {"a": shared(inputs["y"])}

@on_demand_feature_view(sources=[asked], schema=[Field(name="b", dtype=Float64)], mode="python")
def of_a_computed_constant(inputs):
    return {"b": [COUNT for _ in inputs["y"]]}

@on_demand_feature_view(sources=[stats, asked], schema=[Field(name="c", dtype=Float64)], mode="python")
def of_a_bag(inputs):
    return {"c": inputs["y"]}

@on_demand_feature_view(sources=[asked], schema=[Field(name="d", dtype=Float64)], mode="python", write_to_online_store=True)
def on_writing(inputs):
    return {"d": inputs["y"]}

@on_demand_feature_view(sources=[asked], schema=[Field(name="e", dtype=Float64)], mode="python", singleton=True)
def one_by_one(inputs):
    text = """two
    lines"""
    return {"e": inputs["y"] + len(text)}

plain = FeatureView(name="plain", entities=[driver], source=file, schema=[key, Field(name="x", dtype=Int64)])
takes = FeatureService(name="takes", features=[plain[["x"]], one_by_one], tags={"k": "v"})
versioned = FeatureService(name="versioned", features=[stats[["x"]]])
renames = FeatureService(name="renames", features=[stats.with_name("other")])
pinned = FeatureService(name="pinned", features=["stats@v2"])
print("a repository may print")
'''
CONFIG = "project: strange\nprovider: local\nregistry: data/registry.db\nonline_store: {type: sqlite, path: o.db}\n"


def strange(folder: Path) -> Path:
    (folder / "feature_store.yaml").write_text(CONFIG + "entity_key_serialization_version: 3\n", encoding="utf-8")
    (folder / "definitions.py").write_text(STRANGE, encoding="utf-8")
    (folder / "helpers.py").write_text("def shared(values):\n    return values\n", encoding="utf-8")
    return folder


def test_each_thing_without_a_like_is_named_with_the_reason(
    exchange: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = strange(tmp_path.resolve())
    before = sorted(p.name for p in folder.rglob("*"))
    found = exchange.read(folder)
    said = {(left.kind, left.name): left.why for left in found.left}
    for kind, name, why in (
        ("stream feature view", "stream", "Feast's own"),
        ("permission", "may", "no neutral like"),
        ("feature", "stats:bag", "Map has no neutral dtype"),
        ("feature", "stats:x", "its tags ({'unit': 'km'})"),
        ("feature view", "stats", "its version (v1)"),
        ("feature service", "pinned", "Feast cannot write it down"),
        ("data source", "file", "its description"),
        ("data source", "idle", "no view uses it"),
        ("on-demand feature view", "of_a_module", "'shared' of the repository's own module 'helpers'"),
        ("on-demand feature view", "of_a_computed_constant", "'COUNT' from outside its body"),
        ("on-demand feature view", "of_a_bag", "it needs stats:bag"),
        ("on-demand feature view", "on_writing", "write_to_online_store"),
        ("feature service", "renames", "under another name"),
        ("feature service", "versioned", "or version"),
    ):  # fmt: skip
        assert why in said.pop((kind, name)), (kind, name)
    assert said == {}
    assert set(found.catalog.on_demand) == {"one_by_one"}
    assert found.catalog.on_demand["one_by_one"].singleton
    made = found.catalog.on_demand["one_by_one"].load()({"y": 1.0})
    assert made == {"e": 1.0 + len("two\n    lines")}
    assert found.catalog.services["takes"].tags == {"k": "v"}
    assert sorted(p.name for p in folder.rglob("*")) == before  # nothing is written into it, no byte code either
    assert "helpers" not in sys.modules
    assert "may print" not in capsys.readouterr().out


HELPED = """
import math
from feast import RequestSource, Field
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float64

LIMIT = 4.0

def _root(value):
    return math.sqrt(value)

def capped(value):
    return None if value is None else min(_root(value), LIMIT)

asked = RequestSource(name="asked", schema=[Field(name="y", dtype=Float64)])

@on_demand_feature_view(sources=[asked], schema=[Field(name="z", dtype=Float64)], mode="python")
def helped(inputs):
    return {"z": [capped(value) for value in inputs["y"]]}
"""


def test_helpers_and_constants_of_a_functions_file_come_along(
    exchange: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Feast itself runs such a function without them, from its text, and fails."""
    folder = strange(tmp_path.resolve())
    (folder / "definitions.py").write_text(HELPED, encoding="utf-8")
    other = types.ModuleType("definitions")
    monkeypatch.setitem(sys.modules, "definitions", other)  # somebody else's, of the same name
    found = exchange.read(folder)
    assert found.left == ()
    assert found.catalog.on_demand["helped"].load()({"y": [9.0, 25.0, None]}) == {"z": [3.0, 4.0, None]}
    assert sys.modules["definitions"] is other


# ---- the command ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory, feast_library: Any) -> Path:
    """Repositories in the shapes of Feast's examples, applied and materialised by Feast."""

    def make(folder: Path) -> None:
        for name in ("credit", "fraud", "rides"):
            repository(name, folder / name)

    return once(tmp_path_factory, "feast_shapes", make)


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, Any]:
    capsys.readouterr()
    code = run([*arguments, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_the_command_writes_definitions_and_a_configuration_that_work(
    shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    repo = Path(shutil.copytree(shapes / "credit", tmp_path / "credit"))
    code, document = said(capsys, "import-feast", str(repo))
    assert (code, document["left"]) == (0, [])
    assert document["definitions"] == {"entities": 2, "views": 2, "on_demand_views": 1, "services": 1}
    assert sorted(document["written"]) == [str(repo / "e2i_fs.yaml"), str(repo / "features.py")]
    assert '"data/zipcode.parquet"' in (repo / "features.py").read_text(encoding="utf-8")
    code, plan = said(capsys, "--config", str(repo / "e2i_fs.yaml"), "apply")
    assert code == 0
    assert len(plan["created"]) == 6
    mine = (repo / "features.py").read_bytes()
    (repo / "features.py").write_bytes(mine + b"# mine\n")
    code, document = said(capsys, "import-feast", str(repo))
    assert code == 2
    assert "there already" in document["error"]["message"]
    assert (repo / "features.py").read_bytes() == mine + b"# mine\n"
    assert said(capsys, "import-feast", str(repo), "--force")[0] == 0
    assert (repo / "features.py").read_bytes() == mine


def test_relative_paths_keep_the_definitions_in_the_repository(
    shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, document = said(capsys, "import-feast", str(shapes / "rides"), "--out", str(tmp_path / "mine.py"))
    assert code == 2
    assert "relative to" in document["error"]["message"]
    assert list(tmp_path.iterdir()) == []


def test_a_view_whose_history_only_feast_reads_has_feast_serve(
    shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    repo = Path(shutil.copytree(shapes / "rides", tmp_path / "rides"))
    code, document = said(capsys, "import-feast", str(repo), "--out", str(repo / "mine.py"))
    assert code == 1
    assert {left["name"] for left in document["left"]} == {"licences:scan", "warehouse_stats"}
    assert "backend: feast, repo: ." in (repo / "e2i_fs.yaml").read_text(encoding="utf-8")
    assert document["next"][0].endswith("--definitions " + str(repo / "mine.py") + " plan")


@pytest.mark.skipif(importlib.util.find_spec("pymilvus") is not None, reason="needs pymilvus not to be installed")
def test_a_repository_whose_store_is_not_installed_says_what_to_install(
    feast_library: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "feature_store.yaml").write_text(
        "project: p\nregistry: r.db\nprovider: local\nonline_store: {type: milvus, path: m.db}\n"
        "entity_key_serialization_version: 3\n"
    )
    code, told = said(capsys, "import-feast", str(tmp_path))
    assert code == 2 and "feast[milvus]" in told["error"]["message"]


@pytest.mark.parametrize(
    ("module", "install"),
    [
        ("feast.infra.online_stores.redis", 'pip install "e2i-fs[feast,redis]"'),
        ("feast.infra.offline_stores.contrib.postgres_offline_store.postgres", 'pip install "e2i-fs[feast,postgres]"'),
        ("feast.infra.offline_stores.snowflake", 'pip install "feast[snowflake]"'),
        ("feast.infra.offline_stores.bigquery", 'pip install "feast[gcp]"'),
        ("feast.infra.online_stores.milvus_online_store.milvus", 'pip install "feast[milvus]"'),
        ("acme.stores.redis", "Install the package that this store is in."),
    ],
)
def test_what_to_install_is_the_extra_of_the_store(feast_library: Any, module: str, install: str) -> None:
    from e2i_fs_feast.missing import to_install

    said = to_install(f"Could not import module {module!r} while attempting to load class 'Store'")
    assert said.endswith(install)
    assert to_install("no such file") == ""


def test_options_for_a_store_that_is_not_installed_say_what_to_install(
    feast_library: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "feast.infra.online_stores.redis"
    monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "redis", None)  # as where it is not installed
    wanted = {"type": "redis", "connection_string": "localhost:6379"}
    with pytest.raises(fs.ConfigError, match=re.escape('pip install "e2i-fs[feast,redis]"')):
        fs.connect({"backend": "feast", "path": str(tmp_path), "online_store": wanted})


def test_a_folder_that_is_no_repository_says_where_one_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "feature_repo").mkdir()
    (tmp_path / "feature_repo" / "feature_store.yaml").write_text(CONFIG, encoding="utf-8")
    code, document = said(capsys, "import-feast", str(tmp_path))
    assert code == 2
    assert document["error"]["message"].endswith(f"There is one in {tmp_path / 'feature_repo'}; name that folder.")
    assert said(capsys, "import-feast", str(tmp_path / "nowhere"))[0] == 2


@pytest.mark.parametrize(
    ("text", "why"),
    [("x = 1\ny = 1 / 0\n", "line 2: ZeroDivisionError"), ("def :\n", "line 1: SyntaxError"), ("raise SystemExit(3)", "SystemExit: 3")],
    ids=["raises", "syntax", "exits"],
)  # fmt: skip
def test_python_that_does_not_run_is_told_with_its_place(exchange: Any, tmp_path: Path, text: str, why: str) -> None:
    folder = strange(tmp_path.resolve())
    (folder / "definitions.py").write_text(text, encoding="utf-8")
    with pytest.raises(DefinitionError, match=why):
        exchange.read(folder)
    with pytest.raises(ConfigError, match="never applied"):
        exchange.read(folder, origin="registry")


def test_export_refuses_what_is_there_and_a_name_that_is_no_project(
    feast_library: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    features = tmp_path / "features.py"
    features.write_text('import e2i_fs as fs\nhcp = fs.Entity("hcp_id")\n', encoding="utf-8")
    out = tmp_path / "repo"
    command = ("export-feast", str(features), "--out", str(out))
    code, document = said(capsys, *command, "--project", "no good")
    assert code == 2
    assert "no project named 'no good'" in document["error"]["message"]
    code, document = said(capsys, *command)
    assert (code, document["left"]) == (0, [])
    assert said(capsys, *command)[0] == 2
    assert said(capsys, *command, "--force")[0] == 0
    assert [e.name for e in load_definitions(features)] == ["hcp_id"]
