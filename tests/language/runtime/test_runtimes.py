"""The runtime of a run: user code gets it by an annotated parameter or by a function, wherever it runs."""

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest

from durable_graph import (
    START,
    Checkpointer,
    Command,
    Durability,
    NodeError,
    OutsideOfRunError,
    RetryPolicy,
    RunControl,
    Runtime,
    Send,
    StateGraph,
    StreamWriter,
    entrypoint,
    get_runtime,
    get_stream_writer,
    interrupt,
    task,
)
from tests.graphs import THREAD, Nodes, State, checkpoint_before


@dataclass
class Context:
    user: str


class Seen:
    """The runtimes that user code saw, by where it ran."""

    def __init__(self) -> None:
        self.runtimes: dict[str, Runtime[Any]] = {}

    def note(self, where: str, given: Runtime[Any] | None = None) -> None:
        found = get_runtime()
        assert given is None or (given.execution_info, given.context) == (found.execution_info, found.context)
        self.runtimes[where] = found

    def infos(self, key: str) -> dict[str, Any]:
        return {where: getattr(each.execution_info, key) for where, each in self.runtimes.items()}


def everywhere(saver: Checkpointer | None, seen: Seen) -> Any:
    """A graph that records its runtime wherever user code runs."""

    async def deep(state: State, runtime: Runtime[Context]) -> State:
        seen.note("nested", runtime)
        return {}

    inner = StateGraph(State, context_schema=Context).add_node("deep", deep).add_edge(START, "deep").compile()

    @task
    async def called(given: str) -> None:
        seen.note("task")

    @entrypoint(context_schema=Context)
    async def flow(_: object, runtime: Runtime[Context]) -> None:
        seen.note("entrypoint", runtime)

    async def calls(state: State, *, runtime: Runtime[Context]) -> State:
        seen.note("node", runtime)
        await called("x")
        await inner.ainvoke({"log": []})
        await flow.ainvoke("go")
        return {}

    def plain(state: State, anything: Runtime[Context]) -> State:
        seen.note("thread", anything)
        return {}

    def route(state: State, runtime: Runtime[Context]) -> str:
        seen.note("router", runtime)
        return "fails"

    async def fails(state: State) -> State:
        message = "no"
        raise ValueError(message)

    async def handles(state: State, error: NodeError, runtime: Runtime[Context]) -> State:
        seen.note("handler", runtime)
        return {}

    builder = StateGraph(State, context_schema=Context).add_node("calls", calls).add_node("plain", plain)
    builder.add_node("fails", fails, error_handler=handles)
    builder.add_edge(START, "calls").add_edge("calls", "plain").add_conditional_edges("plain", route, ["fails"])
    return builder.compile(saver)


async def test_a_runtime_is_available_wherever_user_code_runs(saver: Checkpointer, durability: Durability) -> None:
    seen, control = Seen(), RunControl()
    config = {"configurable": {"thread_id": "t"}, "run_id": "r"}
    await everywhere(saver, seen).ainvoke(
        {"log": []}, config, context=Context("ann"), control=control, durability=durability
    )

    places = {"node", "task", "nested", "entrypoint", "thread", "router", "handler"}
    assert {where: each.context for where, each in seen.runtimes.items()} == dict.fromkeys(places, Context("ann"))
    assert {each.control for each in seen.runtimes.values()} == {control}
    assert seen.infos("thread_id") == dict.fromkeys(places, "t")
    assert seen.infos("run_id") == dict.fromkeys(places, "r")
    nodes = seen.infos("node")
    assert nodes == {
        "node": "calls",
        "task": "called",
        "nested": "deep",
        "entrypoint": "flow",
        "thread": "plain",
        "router": "plain",
        "handler": "fails",
    }
    # A node and its router are one task, and so are a node and its handler; all others have ids of their own.
    assert len(set(seen.infos("task_id").values())) == len(places) - 1


async def test_a_runtime_without_a_checkpointer_has_neither_thread_nor_checkpoint() -> None:
    seen = Seen()
    await everywhere(None, seen).ainvoke({"log": []}, context=Context("ann"))

    assert set(seen.infos("thread_id").values()) == {None}
    assert set(seen.infos("checkpoint_id").values()) == {None}
    assert len(set(seen.infos("task_id").values())) == 6


async def test_a_runtime_names_the_checkpoint_from_which_its_node_started(
    saver: Checkpointer, durability: Durability
) -> None:
    ids: list[str | None] = []

    async def node(state: State, runtime: Runtime) -> State:
        ids.append(runtime.execution_info.checkpoint_id)
        return {"log": ["x"]}

    graph = Nodes().chain(("a", node), ("b", node)).compile(saver)
    await graph.ainvoke({"log": []}, THREAD, durability=durability)

    if durability != "exit":
        before = [await checkpoint_before(graph, name) for name in "ab"]
        assert ids == [config["configurable"]["checkpoint_id"] for config in before]
    assert len(set(ids)) == 2


async def test_the_task_id_is_the_same_on_every_attempt_in_every_process(
    saver: Checkpointer, durability: Durability
) -> None:
    seen: list[tuple[str, int]] = []
    is_mended = False

    async def flaky(state: State, runtime: Runtime) -> State:
        info = runtime.execution_info
        seen.append((info.task_id, info.node_attempt))
        if not is_mended:
            message = "no"
            raise ConnectionError(message)
        return {"log": [interrupt("ask?")]}

    def graph() -> Any:
        policy = RetryPolicy(max_attempts=2, initial_interval=0.0, jitter=False)
        return StateGraph(State).add_node("flaky", flaky, retry_policy=policy).add_edge(START, "flaky").compile(saver)

    with pytest.raises(ConnectionError):
        await graph().ainvoke({"log": []}, THREAD, durability=durability)
    is_mended = True
    await graph().ainvoke(None, THREAD, durability=durability)
    await graph().ainvoke(Command(resume="yes"), THREAD, durability=durability)

    assert [attempt for _, attempt in seen] == [1, 2, 3, 3]
    assert len({task_id for task_id, _ in seen}) == 1


async def test_different_tasks_have_different_ids(saver: Checkpointer, durability: Durability) -> None:
    ids: list[str] = []

    async def fan(state: State) -> list[Send]:
        return [Send("node", {"log": []}) for _ in range(3)]

    async def node(state: State, runtime: Runtime) -> State:
        ids.append(runtime.execution_info.task_id)
        return {}

    builder = StateGraph(State).add_node("node", node).add_conditional_edges(START, fan, ["node"])
    graph = builder.compile(saver)
    for thread in ("t", "u"):
        for _ in range(2):
            await graph.ainvoke({"log": []}, thread_id=thread, durability=durability)

    assert len(set(ids)) == len(ids) == 12


async def test_functions_that_a_node_calls_get_its_runtime_and_its_stream_writer(saver: Checkpointer) -> None:
    found: list[Any] = []

    async def deep_down() -> None:
        found.append(get_runtime(Context).context.user)
        get_stream_writer()("streamed")

    def in_a_thread() -> None:
        found.append(get_runtime(Context).context.user)
        get_stream_writer()("streamed")

    async def node(state: State) -> State:
        await deep_down()
        await asyncio.gather(deep_down(), asyncio.create_task(deep_down()))
        await asyncio.to_thread(in_a_thread)
        return {}

    builder = StateGraph(State, context_schema=Context).add_node("node", node).add_edge(START, "node")
    stream = builder.compile(saver).astream({"log": []}, THREAD, context=Context("ann"), stream_mode="custom")

    assert [chunk async for chunk in stream] == ["streamed"] * 4
    assert found == ["ann"] * 4


async def test_a_nested_graph_may_be_given_another_context(saver: Checkpointer, durability: Durability) -> None:
    seen: list[Any] = []

    async def node(state: State, runtime: Runtime[Context]) -> State:
        seen.append(runtime.context)
        return {}

    inner = StateGraph(State, context_schema=Context).add_node("node", node).add_edge(START, "node").compile()

    async def call(state: State) -> State:
        await inner.ainvoke({"log": []}, context=Context("bob"))
        await inner.ainvoke({"log": []})
        return {}

    builder = StateGraph(State, context_schema=Context).add_node("call", call).add_edge(START, "call")
    await builder.compile(saver).ainvoke({"log": []}, THREAD, context=Context("ann"), durability=durability)

    assert seen == [Context("bob"), Context("ann")]


async def test_a_context_applies_to_one_call_and_is_passed_again_on_resume(
    saver: Checkpointer, durability: Durability
) -> None:
    seen: list[Any] = []

    async def ask(state: State, runtime: Runtime[Context]) -> State:
        seen.append(runtime.context)
        return {"log": [interrupt("ask?")]}

    graph = StateGraph(State, context_schema=Context).add_node("ask", ask).add_edge(START, "ask").compile(saver)
    await graph.ainvoke({"log": []}, THREAD, context=Context("ann"), durability=durability)
    await graph.ainvoke(Command(resume="yes"), THREAD, context=Context("bob"), durability=durability)

    assert seen == [Context("ann"), Context("bob")]


async def test_only_the_runtime_of_an_entrypoint_has_a_previous_value(
    saver: Checkpointer, durability: Durability
) -> None:
    seen: list[Any] = []

    @entrypoint(checkpointer=saver)
    async def program(given: str, *, previous: Any, runtime: Runtime) -> Any:
        seen.append((previous, runtime.previous))
        return given

    for given in ("a", "b"):
        await program.ainvoke(given, THREAD, durability=durability)
    assert seen == [(None, None), ("a", "a")]

    async def node(state: State, runtime: Runtime) -> State:
        seen.append(runtime.previous)
        return {}

    await (
        StateGraph(State)
        .add_node("node", node)
        .add_edge(START, "node")
        .compile(saver)
        .ainvoke({"log": []}, thread_id="u", durability=durability)
    )
    assert seen[-1] is None


async def test_parameters_of_a_node_are_injected_by_name_or_annotation(saver: Checkpointer) -> None:
    seen: list[Any] = []

    async def node(state: State, writer: StreamWriter, config: dict[str, Any], runtime: Runtime) -> State:
        seen.append((writer is not None, config["configurable"]["thread_id"], runtime.execution_info.node))
        return {}

    await StateGraph(State).add_node("node", node).add_edge(START, "node").compile(saver).ainvoke({"log": []}, THREAD)

    assert seen == [(True, "t", "node")]


@pytest.mark.parametrize("find", [get_runtime, get_stream_writer])
async def test_get_runtime_and_get_stream_writer_outside_of_a_run_are_errors(find: Any) -> None:
    with pytest.raises(OutsideOfRunError, match=find.__name__):
        find()


async def test_code_that_outlives_its_node_has_no_runtime(saver: Checkpointer) -> None:
    is_over, left = asyncio.Event(), []

    async def later() -> str:
        await is_over.wait()
        with pytest.raises(OutsideOfRunError):
            get_runtime()
        return "seen"

    async def node(state: State) -> State:
        left.append(asyncio.create_task(later()))
        return {}

    await StateGraph(State).add_node("node", node).add_edge(START, "node").compile(saver).ainvoke({"log": []}, THREAD)
    is_over.set()

    assert await left[0] == "seen"
