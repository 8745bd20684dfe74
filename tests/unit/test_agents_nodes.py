"""What makes a component a node: declared keys, renamed at will, checked against the state; no framework is imported."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import anyio
import pydantic
import pytest

import e2i_fs as fs
from e2i_fs.agents import ContextEnricher, FeatureRegistrar, SplitLoader, Tier0Pipeline
from e2i_fs.errors import ConfigError, StateKeyError, UnsupportedError
from e2i_fs.testing import memory_store
from e2i_fs.testing.clock import FakeClock
from tests import agents_world as world

ROOT = Path(__file__).parents[2]


class Whole(TypedDict):
    contexts: list[dict[str, Any]]
    enriched_contexts: list[dict[str, Any]]
    enrichment: Any


class Lacking(TypedDict):
    contexts: list[dict[str, Any]]
    enriched_context: list[dict[str, Any]]


class Based(Lacking):
    enriched_contexts: list[dict[str, Any]]
    enrichment: Any


@dataclass
class AsDataclass:
    contexts: Any
    enriched_contexts: Any
    enrichment: Any


class AsModel(pydantic.BaseModel):
    contexts: Any
    enriched_contexts: Any
    enrichment: Any


@pytest.fixture
def filled(clock: FakeClock) -> fs.FeatureStore:
    store = memory_store(clock=clock)
    FeatureRegistrar(store, world.spec(), clock=clock).register(world.frame(days=2))
    return store


def test_importing_the_components_imports_no_agents_framework() -> None:
    code = (
        "import sys, pkgutil, importlib, e2i_fs.agents as a\n"
        "[importlib.import_module(f'e2i_fs.agents.{m.name}') for m in pkgutil.iter_modules(a.__path__)]\n"
        "assert [getattr(a, n) for n in a.__all__]\n"
        "print([m for m in sys.modules if m.partition('.')[0] in ('langgraph', 'langchain_core', 'feast', 'mcp')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_importing_the_package_of_agents_is_light() -> None:
    code = "import sys, e2i_fs.agents; print([m for m in ('pyarrow', 'duckdb', 'numpy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_every_component_says_what_it_reads_and_writes(clock: FakeClock) -> None:
    store = memory_store(clock=clock)
    registrar = FeatureRegistrar(store, world.spec())
    assert (registrar.reads, registrar.writes) == (("frame",), ("qc_report", "feature_registration"))
    assert FeatureRegistrar(store).reads == ("frame", "feature_spec")
    loader = SplitLoader(store, world.REFS, target="converted")
    assert loader.reads == ("entity_df",)
    assert loader.writes == ("training_splits", "baseline_metrics", "leakage_audit", "loaded_splits")
    enricher = ContextEnricher(store, world.REFS)
    assert (enricher.reads, enricher.writes) == (("contexts",), ("enriched_contexts", "enrichment"))
    pipeline = Tier0Pipeline(store, world.spec(), target="converted", train=world.train, predict=world.predict)
    assert pipeline.reads == ("frame", "contexts")
    assert "tier0_outcome" in pipeline.writes


@pytest.mark.parametrize(
    "schema", [Whole, Based, AsDataclass, AsModel, Whole.__annotations__, list(Whole.__annotations__)]
)
def test_a_state_that_declares_every_key_is_accepted(filled: Any, schema: Any) -> None:
    ContextEnricher(filled, world.REFS).check_state(schema)


def test_a_state_that_does_not_declare_a_key_is_refused_by_name(filled: Any) -> None:
    enricher = ContextEnricher(filled, world.REFS)
    with pytest.raises(
        StateKeyError, match=r"'enriched_contexts' is not declared. Did you mean 'enriched_context'.*'enrichment'"
    ):
        enricher.check_state(Lacking)
    ContextEnricher(
        filled, world.REFS, keys={"enriched_contexts": "enriched_context", "enrichment": "contexts"}
    ).check_state(Lacking)
    with pytest.raises(ConfigError, match="class of the state"):
        enricher.check_state("contexts")


def test_a_state_without_the_key_is_an_error_that_names_it_and_the_nearest(filled: Any) -> None:
    enricher = ContextEnricher(filled, world.REFS)
    with pytest.raises(
        StateKeyError, match=r"ContextEnricher: the state has no key 'contexts'.*Did you mean 'context'"
    ):
        enricher({"context": world.contexts()})
    with pytest.raises(StateKeyError, match="'contexts'"):
        anyio.run(enricher.acall, {})
    with pytest.raises(StateKeyError, match="mapping"):
        enricher([world.contexts()])  # type: ignore[arg-type]
    assert issubclass(StateKeyError, LookupError)


def test_state_keys_are_the_callers_to_name_and_the_update_has_those_and_no_other(
    filled: Any, clock: FakeClock
) -> None:
    keys = {"contexts": "queries", "enriched_contexts": "queries", "enrichment": "how"}
    enricher = ContextEnricher(filled, world.REFS, keys=keys, clock=clock)
    assert (enricher.reads, enricher.writes) == (("queries",), ("queries", "how"))
    update = enricher({"queries": world.contexts(1)[0], "other": 1})
    assert set(update) == {"queries", "how"}
    assert update["queries"]["trx_count"] == world.newest_counts(world.frame(days=2))["hcp_00"]
    with pytest.raises(ConfigError, match="would share the key 'how'"):
        ContextEnricher(filled, world.REFS, keys={"enriched_contexts": "how", "enrichment": "how"})
    with pytest.raises(ConfigError, match="'enrichment'"):
        ContextEnricher(filled, world.REFS, keys={"enrichments": "how"})


def test_metadata_can_come_with_the_state(clock: FakeClock) -> None:
    registrar = FeatureRegistrar(memory_store(clock=clock), clock=clock)
    update = registrar({"frame": world.frame(days=2), "feature_spec": world.spec()})
    assert update["feature_registration"].completed
    assert update["qc_report"].status == "passed"
    with pytest.raises(StateKeyError, match="feature_spec"):
        registrar({"frame": world.frame(days=2)})


def test_an_async_store_has_to_be_awaited_and_then_does_the_same(tmp_path: Path, clock: FakeClock) -> None:
    async def work() -> None:
        async with fs.connect_async({"backend": "duckdb", "path": str(tmp_path)}, clock=clock) as store:
            registrar = FeatureRegistrar(store, world.spec(), clock=clock)
            with pytest.raises(UnsupportedError, match=r"\.acall"):
                registrar({"frame": world.frame(days=2)})
            assert (await registrar.aregister(world.frame(days=2))).completed
            enricher = ContextEnricher(store, world.REFS, clock=clock)
            update = await enricher.acall({"contexts": world.contexts(2)})
            counts = world.newest_counts(world.frame(days=2))
            assert [c["trx_count"] for c in update["enriched_contexts"]] == [counts["hcp_00"], counts["hcp_01"]]

    anyio.run(work)
