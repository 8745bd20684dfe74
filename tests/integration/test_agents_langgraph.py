"""The components inside a real LangGraph, as they are: invoked and awaited, over a sync store and an async one."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any, TypedDict

import pytest

import e2i_fs as fs
from e2i_fs.agents import ContextEnricher, FeatureRegistrar, SplitLoader, Tier0Pipeline
from e2i_fs.errors import QualityGateBlockedError, StateKeyError
from e2i_fs.quality import in_range
from e2i_fs.testing import memory_store
from e2i_fs.testing.clock import FakeClock
from e2i_fs.testing.faults import Doing
from tests import agents_world as world

langgraph = pytest.importorskip("langgraph.graph", reason="needs langgraph")
START, END, StateGraph = langgraph.START, langgraph.END, langgraph.StateGraph


class State(TypedDict, total=False):
    frame: Any
    entity_df: Any
    contexts: list[dict[str, Any]]
    qc_report: Any
    feature_registration: Any
    training_splits: Any
    baseline_metrics: Any
    leakage_audit: Any
    loaded_splits: Any
    enriched_contexts: list[dict[str, Any]]
    enrichment: Any
    model: Any
    predictions: list[Any]
    tier0_outcome: Any


def graph_of(schema: Any, checkpointer: Any = None, **nodes: Any) -> Any:
    """Return a compiled graph of nodes in a row."""
    graph = StateGraph(schema)
    for before, (name, node) in zip([START, *nodes], nodes.items(), strict=False):
        graph.add_node(name, node)
        graph.add_edge(before, name)
    graph.add_edge(list(nodes)[-1], END)
    return graph.compile(checkpointer=checkpointer)


def train(state: State) -> dict[str, Any]:
    return {"model": world.train(state["training_splits"])}


def predict(state: State) -> dict[str, Any]:
    return {"predictions": world.predict(state["model"], state["enriched_contexts"])}


def given() -> State:
    return {"frame": world.frame(), "entity_df": world.entity_df(), "contexts": world.contexts(4)}


def expected(model: Any) -> list[bool]:
    middle, counts = (model["True"] + model["False"]) / 2, world.newest_counts()
    return [counts[c["hcp_id"]] > middle for c in world.contexts(4)]


def check(final: Any) -> None:
    assert final["feature_registration"].completed
    assert final["qc_report"].status == "passed"
    assert final["leakage_audit"].clean
    assert final["baseline_metrics"].training_samples == final["training_splits"].train.row_count
    assert final["enrichment"].served_by is not None
    assert final["predictions"] == expected(final["model"])


@pytest.mark.parametrize("how", ["invoke", "ainvoke"])
def test_three_agents_are_nodes_as_they_are(clock: FakeClock, how: str) -> None:
    store = memory_store(clock=clock)
    prepare = FeatureRegistrar(store, world.spec(), clock=clock)
    load = SplitLoader(store, world.REFS, target="converted", rule=world.RULE, clock=clock)
    enrich = ContextEnricher(store, world.REFS, clock=clock)
    for node in (prepare, load, enrich):
        node.check_state(State)
    graph = graph_of(State, prepare=prepare, load=load, train=train, enrich=enrich, predict=predict)
    check(graph.invoke(given()) if how == "invoke" else asyncio.run(graph.ainvoke(given())))


def test_an_async_store_serves_the_same_graph_awaited(tmp_path: Path, clock: FakeClock) -> None:
    async def work() -> Any:
        async with fs.connect_async({"backend": "duckdb", "path": str(tmp_path)}, clock=clock) as store:
            prepare = FeatureRegistrar(store, world.spec(), clock=clock)
            load = SplitLoader(store, world.REFS, target="converted", rule=world.RULE, clock=clock)
            enrich = ContextEnricher(store, world.REFS, clock=clock)
            graph = graph_of(
                State, prepare=prepare.acall, load=load.acall, train=train, enrich=enrich.acall, predict=predict
            )
            return await graph.ainvoke(given())

    check(asyncio.run(work()))


@pytest.mark.parametrize("how", ["invoke", "ainvoke"])
def test_the_whole_pipeline_is_one_node(clock: FakeClock, how: str) -> None:
    pipeline = Tier0Pipeline(
        memory_store(clock=clock), world.spec(), target="converted", train=world.train, predict=world.predict,
        rule=world.RULE, clock=clock,
    )  # fmt: skip
    pipeline.check_state(State)
    graph = graph_of(State, tier0=pipeline)
    final = graph.invoke(given()) if how == "invoke" else asyncio.run(graph.ainvoke(given()))
    assert final["tier0_outcome"].status == "completed", final["tier0_outcome"].reason
    assert final["predictions"] == expected(final["model"])


def test_what_the_nodes_give_comes_back_from_a_checkpoint_as_it_was(clock: FakeClock) -> None:
    memory = pytest.importorskip("langgraph.checkpoint.memory")
    plus = pytest.importorskip("langgraph.checkpoint.serde.jsonplus")
    store = memory_store(clock=clock)
    prepare = FeatureRegistrar(store, world.spec(), clock=clock)
    enrich = ContextEnricher(store, world.REFS, clock=clock)
    saver = memory.InMemorySaver(serde=plus.JsonPlusSerializer(pickle_fallback=True))  # a frame is in the state
    graph = graph_of(State, saver, prepare=prepare, enrich=enrich)
    thread = {"configurable": {"thread_id": "1"}}
    final = graph.invoke({"frame": world.frame(days=2).to_pandas(), "contexts": world.contexts(2)}, thread)
    kept = graph.get_state(thread).values
    for key in ("qc_report", "feature_registration", "enriched_contexts", "enrichment"):
        assert kept[key] == final[key], key
    assert kept["enrichment"].event_timestamps[world.REFS[0]] == [world.NEWEST] * 2


def test_a_refusal_stops_the_graph_and_no_later_node_runs(clock: FakeClock) -> None:
    store, ran = memory_store(clock=clock), []
    prepare = FeatureRegistrar(store, world.spec(), expectations=[in_range("trx_count", 0, 5)], clock=clock)

    def later(state: State) -> dict[str, Any]:
        ran.append("later")
        return {"model": 1}

    with pytest.raises(QualityGateBlockedError):
        graph_of(State, prepare=prepare, later=later).invoke(given())
    assert ran == []
    assert world.registered(store) == ([], [])


def test_an_undeclared_key_is_dropped_by_the_graph_and_that_is_what_check_state_is_for(clock: FakeClock) -> None:
    class Narrow(TypedDict, total=False):
        contexts: list[dict[str, Any]]
        enriched_contexts: list[dict[str, Any]]

    store = memory_store(clock=clock)
    FeatureRegistrar(store, world.spec(), clock=clock).register(world.frame(days=2))
    enrich = ContextEnricher(store, world.REFS, clock=clock)
    final = graph_of(Narrow, enrich=enrich).invoke({"contexts": world.contexts(1)})
    assert "enrichment" not in final  # without a word
    with pytest.raises(StateKeyError, match="'enrichment' is not declared"):
        enrich.check_state(Narrow)


def test_a_graph_without_the_key_names_it(clock: FakeClock) -> None:
    class Other(TypedDict, total=False):
        context: Any
        contexts: Any
        enriched_contexts: Any
        enrichment: Any

    enrich = ContextEnricher(memory_store(clock=clock), world.REFS, clock=clock)
    for run in (lambda g: g.invoke({"context": 1}), lambda g: asyncio.run(g.ainvoke({"context": 1}))):
        with pytest.raises(StateKeyError, match=r"no key 'contexts'.*Did you mean 'context'"):
            run(graph_of(Other, enrich=enrich))


@pytest.mark.parametrize("form", ["object", "acall"])
def test_a_store_that_is_slow_does_not_hold_up_the_event_loop(clock: FakeClock, form: str) -> None:
    """The read waits until the loop itself lets it go on: were the loop held up, it would never."""
    store, faults = world.faulty_store(clock)
    FeatureRegistrar(store, world.spec(), clock=clock).register(world.frame(days=2))
    reading, go_on = threading.Event(), threading.Event()

    def waits(doing: Doing) -> Any:
        reading.set()
        assert go_on.wait(30), "the event loop did not run while the node was reading"
        return doing.go()

    faults.put(waits, "online_read", times=1)
    enrich = ContextEnricher(store, world.REFS, clock=clock)
    graph = graph_of(State, enrich=enrich if form == "object" else enrich.acall)

    async def work() -> Any:
        running = asyncio.create_task(graph.ainvoke({"contexts": world.contexts(1)}))
        assert await asyncio.to_thread(reading.wait, 30)
        go_on.set()
        return await running

    assert asyncio.run(work())["enrichment"].fetched
