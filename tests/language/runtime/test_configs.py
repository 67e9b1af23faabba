"""The config of a call: the keys that user code reads, wherever it runs, and the keys that checkpoints keep."""

import asyncio
from typing import Annotated, Any, TypedDict
from uuid import UUID

import pytest

from durable_graph import (
    START,
    Checkpointer,
    Command,
    Durability,
    InvalidOptionError,
    NodeError,
    OutsideOfRunError,
    RetryPolicy,
    Runtime,
    StateGraph,
    UnknownOptionError,
    entrypoint,
    get_config,
    interrupt,
    task,
)
from tests.errors.kinds import of_kind
from tests.graphs import Nodes, State, checkpoint_id_of, history

Config = dict[str, Any]
CALL: Config = {
    "configurable": {"thread_id": "t", "user": "ann"},
    "tags": ["mine"],
    "metadata": {"who": "me"},
    "run_id": UUID(int=7),
    "run_name": "nightly",
}


def passed(configurable: Config) -> Config:
    """The keys that the call passed, without the namespace and checkpoint of the code."""
    return {key: value for key, value in configurable.items() if key not in ("checkpoint_ns", "checkpoint_id")}


class Seen:
    """The configs that code saw, by where it ran."""

    def __init__(self) -> None:
        self.configs: dict[str, Any] = {}

    def note(self, where: str) -> None:
        self.configs[where] = get_config()

    def noting(self, where: str) -> Any:
        async def node(state: State) -> State:
            self.note(where)
            return {"log": [where]}

        return node

    def passed(self) -> dict[str, Config]:
        return {where: passed(config["configurable"]) for where, config in self.configs.items()}

    def of(self, key: str) -> dict[str, Any]:
        return {where: config[key] for where, config in self.configs.items()}


async def everywhere(saver: Checkpointer | None, seen: Seen) -> Any:
    """A graph that records its config wherever user code runs."""
    inner = StateGraph(State).add_node("deep", seen.noting("nested")).add_edge(START, "deep").compile()

    @task
    async def called() -> None:
        seen.note("task")

    @entrypoint()
    async def flow(_: object) -> None:
        seen.note("entrypoint")

    async def calls(state: State) -> State:
        seen.note("node")
        await called()
        await inner.ainvoke({"log": []})
        await flow.ainvoke("go")
        await asyncio.create_task(spawned())
        return {}

    async def spawned() -> None:
        seen.note("spawned")

    def plain(state: State) -> State:
        seen.note("thread")
        return {}

    def route(state: State) -> str:
        seen.note("router")
        return "fails"

    async def fails(state: State) -> State:
        message = "no"
        raise ValueError(message)

    async def handles(state: State, error: NodeError) -> State:
        seen.note("handler")
        return {}

    builder = StateGraph(State).add_node("calls", calls).add_node("plain", plain)
    builder.add_node("fails", fails, error_handler=handles)
    builder.add_edge(START, "calls").add_edge("calls", "plain").add_conditional_edges("plain", route, ["fails"])
    return builder.compile(saver)


PLACES = {"node", "task", "nested", "entrypoint", "spawned", "thread", "router", "handler"}


async def test_the_config_is_the_same_wherever_user_code_runs(saver: Checkpointer, durability: Durability) -> None:
    seen = Seen()
    await (await everywhere(saver, seen)).ainvoke({"log": []}, CALL, durability=durability)

    assert seen.passed() == {key: {"thread_id": "t", "user": "ann"} for key in PLACES}
    assert seen.of("tags") == {key: ["mine"] for key in PLACES}
    assert seen.of("run_name") == dict.fromkeys(PLACES, "nightly")
    assert seen.of("run_id") == dict.fromkeys(PLACES, UUID(int=7))
    assert {config["metadata"]["who"] for config in seen.configs.values()} == {"me"}


async def test_the_config_is_the_same_wherever_user_code_runs_without_a_checkpointer() -> None:
    seen = Seen()
    await (await everywhere(None, seen)).ainvoke({"log": []}, {"configurable": {"user": "ann"}, "tags": ["mine"]})

    assert seen.passed() == {key: {"user": "ann"} for key in PLACES}
    assert seen.of("tags") == {key: ["mine"] for key in PLACES}


async def test_the_metadata_of_a_config_names_the_node_that_reads_it(saver: Checkpointer) -> None:
    seen = Seen()
    inner = StateGraph(State).add_node("deep", seen.noting("deep"), metadata={"level": 2}).add_edge(START, "deep")
    builder = StateGraph(State).add_node("a", seen.noting("a"), metadata={"level": 1})
    builder.add_node("b", inner.compile()).add_edge(START, "a").add_edge("a", "b")

    await builder.compile(saver).ainvoke({"log": []}, CALL)

    found_in = {
        name: (meta["who"], meta["level"], meta["langgraph_node"], meta["langgraph_step"])
        for name, meta in seen.of("metadata").items()
    }
    assert found_in == {"a": ("me", 1, "a", 1), "deep": ("me", 2, "deep", 1)}
    assert seen.configs["deep"]["metadata"]["langgraph_checkpoint_ns"].startswith("b:")


async def test_a_config_parameter_equals_the_result_of_get_config(saver: Checkpointer) -> None:
    found: list[bool] = []

    async def by_name(state: State, config: Config) -> State:
        found.append(config == get_config())
        return {}

    def in_thread(state: State, config: Config) -> State:
        found.append(config == get_config())
        return {}

    def route(state: State, config: Config) -> str:
        found.append(config == get_config())
        return "in_thread"

    builder = StateGraph(State).add_node("by_name", by_name).add_node("in_thread", in_thread)
    builder.add_edge(START, "by_name").add_conditional_edges("by_name", route, ["in_thread"])
    await builder.compile(saver).ainvoke({"log": []}, CALL)

    assert found == [True, True, True]


async def test_a_change_of_the_config_in_a_node_is_not_visible_to_other_nodes(saver: Checkpointer) -> None:
    given = {"configurable": {"thread_id": "t", "user": "ann"}, "metadata": {"who": "me"}, "tags": ["mine"]}
    seen = Seen()

    async def meddles(state: State, config: Config) -> State:
        config["configurable"]["user"] = "eve"
        config["metadata"]["who"] = "eve"
        config["tags"].append("eve")
        config["run_name"] = "eve"
        return {}

    builder = StateGraph(State).add_node("meddles", meddles).add_node("a", seen.noting("a"))
    await builder.add_edge(START, "meddles").add_edge("meddles", "a").compile(saver).ainvoke({"log": []}, given)

    assert passed(seen.configs["a"]["configurable"]) == {"thread_id": "t", "user": "ann"}
    assert seen.configs["a"]["metadata"]["who"] == "me"
    assert seen.configs["a"]["tags"] == ["mine"]
    assert "run_name" not in seen.configs["a"]
    assert given == {"configurable": {"thread_id": "t", "user": "ann"}, "metadata": {"who": "me"}, "tags": ["mine"]}


async def test_get_config_outside_of_a_run_is_an_error() -> None:
    with pytest.raises(OutsideOfRunError, match=r"get_config\(\)"):
        get_config()


# Checkpoints


async def test_checkpoints_keep_the_metadata_run_name_and_run_id_of_their_run(
    saver: Checkpointer, durability: Durability
) -> None:
    graph = Nodes().chain("a", "b?").compile(saver)

    await graph.ainvoke({"log": []}, CALL, durability=durability)
    later = {"configurable": {"thread_id": "t"}, "metadata": {"who": "you"}}
    await graph.ainvoke(Command(resume="yes"), later, durability=durability)

    kept = [snapshot.metadata or {} for snapshot in await history(graph)]
    names = [(each.get("who"), each.get("run_name"), each.get("run_id")) for each in kept]
    assert names[0] == ("you", None, None)
    assert set(names[1:]) == {("me", "nightly", str(UUID(int=7)))}
    assert [checkpoint_id_of(each) for each in await history(graph, filter={"who": "me"})] == [
        checkpoint_id_of(each) for each in (await history(graph))[1:]
    ]


async def test_values_in_configurable_are_not_stored(saver: Checkpointer) -> None:
    graph = Nodes().chain("a").compile(saver)
    secret = object()

    await graph.ainvoke({"log": []}, {"configurable": {"thread_id": "t", "client": secret}})

    for snapshot in await history(graph):
        assert set(snapshot.config["configurable"]) <= {"thread_id", "checkpoint_id", "checkpoint_ns"}
        assert "client" not in (snapshot.metadata or {})


async def test_a_resumed_run_has_the_config_of_the_call_that_resumes_it(
    saver: Checkpointer, durability: Durability
) -> None:
    users: list[tuple[Any, Any]] = []

    async def ask(state: State, config: Config, runtime: Runtime) -> State:
        users.append((config["configurable"].get("user"), runtime.execution_info.run_id))
        return {"log": [interrupt("ask?")]}

    graph = StateGraph(State).add_node("ask", ask).add_edge(START, "ask").compile(saver)

    await graph.ainvoke({"log": []}, CALL, durability=durability)
    await graph.ainvoke(
        Command(resume="yes"), {"configurable": {"thread_id": "t", "user": "bob"}}, durability=durability
    )

    assert users == [("ann", str(UUID(int=7))), ("bob", None)]


# Configs that are bound to a graph


async def test_a_config_bound_to_a_graph_applies_to_every_call(saver: Checkpointer) -> None:
    seen = Seen()
    graph = StateGraph(State).add_node("a", seen.noting("a")).add_edge(START, "a").compile(saver)
    bound = graph.with_config({"configurable": {"thread_id": "t", "user": "ann"}, "tags": ["mine"]}, run_name="nightly")

    await bound.ainvoke({"log": []})
    assert (await bound.aget_state()).values == {"log": ["a"]}
    await bound.ainvoke({"log": []}, {"configurable": {"user": "bob"}, "tags": ["yours", "mine"], "run_name": "x"})

    config = seen.configs["a"]
    assert passed(config["configurable"]) == {"thread_id": "t", "user": "bob"}
    assert (config["tags"], config["run_name"]) == (["mine", "yours"], "x")
    # The graph from which `bound` was made has no config.
    await graph.ainvoke({"log": []}, {"configurable": {"thread_id": "other"}})
    assert passed(seen.configs["a"]["configurable"]) == {"thread_id": "other"}


async def test_configs_are_merged(saver: Checkpointer) -> None:
    seen = Seen()
    graph = StateGraph(State).add_node("a", seen.noting("a")).add_edge(START, "a").compile(saver)
    bound = graph.with_config(tags=["a"], metadata={"x": 1, "y": 1}).with_config(tags=["b"], metadata={"y": 2})

    await bound.ainvoke({"log": []}, {"configurable": {"thread_id": "t"}, "metadata": {"z": 3}})

    config = seen.configs["a"]
    assert config["tags"] == ["a", "b"]
    assert {key: config["metadata"][key] for key in "xyz"} == {"x": 1, "y": 2, "z": 3}


async def test_keyword_options_of_a_call_override_the_config_of_the_graph(saver: Checkpointer) -> None:
    graph = Nodes().chain("a", "b", "c").compile(saver)
    bound = graph.with_config({"configurable": {"thread_id": "t"}, "recursion_limit": 1, "max_concurrency": 1})

    result = await bound.ainvoke({"log": []}, thread_id="u", recursion_limit=3, max_concurrency=2)

    assert result == {"log": ["a", "b", "c"]}
    assert (await graph.aget_state(thread_id="u")).values == result
    assert (await bound.aget_state(thread_id="u")).values == result
    assert (await bound.aget_state()).values == {}


async def test_a_nested_graph_merges_its_own_config_with_that_of_the_run(
    saver: Checkpointer, durability: Durability
) -> None:
    seen = Seen()
    inner = StateGraph(State).add_node("deep", seen.noting("deep")).add_edge(START, "deep").compile()
    inner = inner.with_config({"tags": ["inner"], "metadata": {"level": 2}, "configurable": {"model": "small"}})
    graph = StateGraph(State).add_node("inner", inner).add_edge(START, "inner").compile(saver)

    await graph.ainvoke({"log": []}, CALL, durability=durability)

    config = seen.configs["deep"]
    assert passed(config["configurable"]) == {"thread_id": "t", "user": "ann", "model": "small"}
    assert config["tags"] == ["mine", "inner"]
    assert (config["metadata"]["who"], config["metadata"]["level"]) == ("me", 2)


async def test_a_nested_call_may_extend_the_config(saver: Checkpointer) -> None:
    seen = Seen()
    inner = StateGraph(State).add_node("deep", seen.noting("deep")).add_edge(START, "deep").compile()

    async def call(state: State, config: Config) -> State:
        # Code that was written for LangGraph passes its config on.
        await inner.ainvoke({"log": []}, {**config, "tags": [*config["tags"], "inner"], "run_name": "deep"})
        seen.note("after")
        return {}

    graph = StateGraph(State).add_node("call", call).add_edge(START, "call").compile(saver)
    await graph.ainvoke({"log": []}, CALL)

    deep, after = seen.configs["deep"], seen.configs["after"]
    assert (deep["tags"], deep["run_name"]) == (["mine", "inner"], "deep")
    assert deep["metadata"]["langgraph_node"] == "deep"
    assert (after["tags"], after["run_name"]) == (["mine"], "nightly")


async def test_a_streamed_run_has_the_configs_of_its_graph_and_its_call(saver: Checkpointer) -> None:
    seen = Seen()
    graph = StateGraph(State).add_node("a", seen.noting("a")).add_edge(START, "a").compile(saver)

    assert [chunk async for chunk in graph.with_config(tags=["x"]).astream({"log": []}, CALL)]
    assert seen.configs["a"]["tags"] == ["x", "mine"]


async def test_an_entrypoint_may_have_a_bound_config(saver: Checkpointer) -> None:
    @entrypoint(checkpointer=saver)
    async def program(_: object, config: Config) -> Any:
        return config["configurable"]["user"], config["tags"]

    bound = program.with_config({"configurable": {"user": "ann"}, "tags": ["a"]})

    assert await bound.ainvoke("go", {"configurable": {"thread_id": "t"}, "tags": ["b"]}) == ("ann", ["a", "b"])


async def test_a_config_is_checked_when_it_is_bound_to_a_graph(saver: Checkpointer) -> None:
    graph = Nodes().chain("a").compile(saver)

    with pytest.raises(UnknownOptionError, check=of_kind("config"), match=r"graph\.stream"):
        graph.with_config(callbacks=[print])
    with pytest.raises(UnknownOptionError, check=of_kind("config"), match="'recursion_limt'"):
        graph.with_config({"recursion_limt": 3})
    with pytest.raises(InvalidOptionError, match="recursion_limit=0"):
        graph.with_config(recursion_limit=0)
    with pytest.raises(InvalidOptionError, match="tags"):
        graph.with_config(tags="x")


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"tags": "x"}, "tags"),
        ({"tags": [1]}, "tags"),
        ({"run_id": 7}, "run_id"),
        ({"run_name": 7}, "run_name"),
        ({"metadata": []}, "metadata"),
        ({"metadata": {"a": object()}}, "metadata"),
    ],
)
async def test_an_invalid_value_of_a_config_key_is_refused(saver: Checkpointer, config: Config, named: str) -> None:
    with pytest.raises(InvalidOptionError, match=named):
        await Nodes().chain("a").compile(saver).ainvoke({"log": []}, {**config, "configurable": {"thread_id": "t"}})
    assert await saver.load("t") is None


class Sum(TypedDict):
    total: Annotated[int, lambda old, new: old + new]


async def test_a_retried_node_gets_an_unchanged_config(saver: Checkpointer) -> None:
    users: list[Any] = []

    async def flaky(state: Sum, config: Config) -> Sum:
        users.append(config["configurable"].pop("user"))
        if len(users) == 1:
            message = "no"
            raise ConnectionError(message)
        return {"total": 1}

    builder = StateGraph(Sum).add_node("flaky", flaky, retry_policy=RetryPolicy(initial_interval=0.0, jitter=False))
    await builder.add_edge(START, "flaky").compile(saver).ainvoke({"total": 1}, CALL)

    assert users == ["ann", "ann"]
