"""A node's config has the namespace of its graph, and the checkpoint from which its superstep started."""

import asyncio
import copy
import pickle
from typing import Any

from durable_graph import START, Checkpointer, Durability, MemorySaver, StateGraph, entrypoint, get_config, task
from tests.graphs import Nodes, State, checkpoint_id_of, history

Config = dict[str, Any]


def place(config: Any) -> tuple[str | None, str | None]:
    """The namespace and the checkpoint of a config."""
    given = config["configurable"]
    return given.get("checkpoint_ns"), given.get("checkpoint_id")


def one(node: Any, name: str = "a") -> StateGraph[State]:
    """A graph of one node."""
    return StateGraph(State).add_node(name, node).add_edge(START, name)


async def test_the_config_of_a_node_identifies_the_state_that_the_node_began_with(saver: Checkpointer) -> None:
    configs: list[Config] = []

    async def node(state: State, config: Config) -> State:
        assert place(get_config()) == place(config)
        configs.append(config)
        return {"log": [str(len(configs))]}

    builder = StateGraph(State).add_node("a", node).add_node("b", node)
    graph = builder.add_edge(START, "a").add_edge("a", "b").compile(saver)
    await graph.ainvoke({"log": ["in"]}, thread_id="t")

    of_a, of_b = [await graph.aget_state(config) for config in configs]

    assert (of_a.values, of_a.next) == ({"log": ["in"]}, ("a",))
    assert (of_b.values, of_b.next) == ({"log": ["in", "1"]}, ("b",))
    _, b, a = await history(graph)
    assert [place(config) for config in configs] == [("", checkpoint_id_of(a)), ("", checkpoint_id_of(b))]


async def test_the_config_of_a_nested_node_identifies_the_nested_graph(saver: Checkpointer) -> None:
    configs: list[Config] = []

    async def deep(state: State, config: Config) -> State:
        configs.append(config)
        return {"log": ["deep"]}

    graph = one(one(deep, "deep").compile(), "inner").compile(saver)
    await graph.ainvoke({"log": ["in"]}, thread_id="t")

    snapshot = await graph.aget_state(configs[0])

    assert (snapshot.values, snapshot.next) == ({"log": ["in"]}, ("deep",))
    assert snapshot.config["configurable"] == configs[0]["configurable"]
    ns, _ = place(configs[0])
    assert ns is not None
    assert ns.startswith("inner:")


async def test_configs_of_nodes_and_tasks_have_namespace_and_checkpoint_in_every_durability_mode(
    saver: Checkpointer, durability: Durability
) -> None:
    places: list[Any] = []

    @task
    async def called() -> None:
        places.append(place(get_config()))

    async def node(state: State) -> State:
        places.append(place(get_config()))
        await called()
        return {}

    await one(node).compile(saver).ainvoke({"log": []}, thread_id="t", durability=durability)

    assert places == [("", places[0][1])] * 2
    assert places[0][1] is not None


async def test_a_config_without_a_checkpointer_has_a_namespace_and_no_checkpoint() -> None:
    seen: list[Config] = []

    async def node(state: State, config: Config) -> State:
        seen.append(config["configurable"])
        return {}

    await one(node).compile().ainvoke({"log": []})
    await one(node).compile().ainvoke({"log": []}, {"configurable": {"thread_id": "t", "user": "ann"}})

    assert seen == [{"checkpoint_ns": ""}, {"thread_id": "t", "user": "ann", "checkpoint_ns": ""}]


async def test_a_node_that_passes_its_config_to_a_graph_runs_a_nested_graph(saver: Checkpointer) -> None:
    seen: list[Config] = []

    async def deep(state: State, config: Config) -> State:
        seen.append(config)
        return {"log": ["deep"]}

    inner = one(deep, "deep").compile()

    async def node(state: State, config: Config) -> State:
        result: State = await inner.ainvoke({"log": []}, config)
        await inner.ainvoke({"log": ["again"]}, copy.deepcopy({**config, "callbacks": None}))
        return result

    graph = one(node).compile(saver)
    assert await graph.ainvoke({"log": ["in"]}, thread_id="t") == {"log": ["in", "deep"]}

    assert all(place(config)[0].startswith("a:") for config in seen)  # type: ignore[union-attr]  # not None here
    assert (await graph.aget_state(seen[0])).next == ("deep",)


async def test_a_node_reads_the_newest_state_of_its_thread_with_its_config(saver: Checkpointer) -> None:
    statuses: list[Any] = []
    earlier: list[Any] = []

    async def node(state: State, config: Config) -> State:
        snapshot = await graph.aget_state(config)
        statuses.append((snapshot.status, snapshot.values))
        earlier.append([each.next async for each in graph.aget_state_history(config, before=config)])
        return {"log": ["x"]}

    inner = one(node, "deep").compile()
    builder = StateGraph(State).add_node("a", node).add_node("inner", inner).add_edge(START, "a")
    graph = builder.add_edge("a", "inner").compile(saver)
    await graph.ainvoke({"log": ["in"]}, thread_id="t")

    assert statuses[0] == ("running", {"log": ["in"]})
    assert statuses[1][0] == "running"
    assert earlier == [[], [("inner",), ("a",)]]


async def test_a_node_begins_a_run_of_another_thread_with_its_config(
    saver: Checkpointer, durability: Durability
) -> None:
    other = Nodes().chain("x").compile(saver)

    async def node(state: State, config: Config) -> State:
        there = {**config, "configurable": {**config["configurable"], "thread_id": "other"}}
        result: State = await other.ainvoke({"log": ["there"]}, there)
        await other.aupdate_state(there, {"log": ["by hand"]}, as_node="x")
        return result

    graph = one(node).compile(saver)
    for _ in range(2):
        await graph.ainvoke({"log": []}, thread_id="t", durability=durability)

    assert [
        each.metadata["source"]
        for each in await history(other, {"configurable": {"thread_id": "other"}})
        if each.metadata
    ] == [
        *("update", "loop", "input"),
        *("update", "loop", "input"),
    ]


async def test_a_node_runs_a_graph_with_another_checkpointer_with_its_config() -> None:
    elsewhere = Nodes().chain("x").compile(MemorySaver())

    async def node(state: State, config: Config) -> State:
        there = {**config, "configurable": {**config["configurable"], "thread_id": "u"}}
        result: State = await elsewhere.ainvoke({"log": []}, there)
        return result

    assert await one(node).compile().ainvoke({"log": []}) == {"log": ["x"]}


async def test_a_fork_has_the_ids_of_its_own_checkpoints(saver: Checkpointer) -> None:
    places: list[Any] = []

    async def node(state: State, config: Config) -> State:
        places.append(place(config))
        return {"log": ["x"]}

    graph = one(node).compile(saver)
    await graph.ainvoke({"log": []}, thread_id="t")
    *_, first = await history(graph)
    await graph.ainvoke(None, first.config)

    _, forked, *_ = await history(graph)
    assert places == [("", checkpoint_id_of(first)), ("", checkpoint_id_of(forked))]


async def test_a_stored_copy_of_the_config_has_plain_strings(saver: Checkpointer) -> None:
    kept: list[Any] = []

    async def node(state: State, config: Config) -> State:
        kept.append(pickle.dumps(config["configurable"]))
        return {"log": ["x"]}

    graph = one(node).compile(saver)
    await graph.ainvoke({"log": ["in"]}, thread_id="t")

    configurable = pickle.loads(kept[0])  # noqa: S301  # made above
    assert {type(value) for value in configurable.values()} == {str}
    assert (await graph.aget_state({"configurable": configurable})).values == {"log": ["in"]}


async def test_an_entrypoint_has_namespace_and_checkpoint_and_calls_itself_with_its_config(saver: Checkpointer) -> None:
    places: list[Any] = []

    @entrypoint(checkpointer=saver)
    async def flow(n: int, config: Config) -> int:
        places.append(place(config))
        return n if n == 0 else await asyncio.create_task(flow.ainvoke(n - 1, config))

    assert await flow.ainvoke(1, thread_id="t") == 0
    assert places[0] == ("", (await history(flow))[-1].config["configurable"]["checkpoint_id"])
