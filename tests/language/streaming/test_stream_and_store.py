"""A stream and the store agree about a run."""

import asyncio
import operator
from typing import Annotated, Any, TypedDict

import pytest

from durable_graph import (
    START,
    AnyValue,
    Checkpointer,
    Command,
    Durability,
    MemorySaver,
    NodeCancelledError,
    Overwrite,
    StateGraph,
    interrupt,
)
from durable_graph.records import CommitResult, CommitUnit
from durable_graph.testing.crash import CrashingSaver


def concatenated(left: str, right: str) -> str:
    return left + right


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]
    text: Annotated[str, concatenated]
    last: Annotated[str, AnyValue]


def one_node(action: Any) -> StateGraph[State]:
    return StateGraph(State).add_node("node", action).add_edge(START, "node")


def stopped_graph_with_a_sibling() -> StateGraph[State]:
    inner = StateGraph(State).add_node("i1", lambda s: {"log": ["i1"]}).add_node("i2", lambda s: {"log": ["i2"]})
    inner.add_edge(START, "i1").add_edge("i1", "i2")
    builder = StateGraph(State).add_node("inner", inner.compile(interrupt_before=["i2"]))
    builder.add_node("other", lambda s: {"log": ["other"]})
    return builder.add_edge(START, "inner").add_edge(START, "other")


@pytest.mark.parametrize("version", ["v1", "v2"])
async def test_the_last_values_at_a_breakpoint_include_the_writes_of_a_finished_sibling(
    saver: Checkpointer, durability: Durability, version: Any
) -> None:
    graph = stopped_graph_with_a_sibling().compile(saver)

    streamed: list[Any] = [
        each
        async for each in graph.astream(
            {"log": ["in"]}, thread_id="t", stream_mode="values", durability=durability, version=version
        )
    ]

    values = [each["data"] if version == "v2" else each for each in streamed]
    assert [each["log"] for each in values] == [["in"], ["in", "other"]]
    assert (await graph.aget_state(thread_id="t")).values == values[-1]


async def test_the_last_values_at_a_breakpoint_are_streamed_for_the_output_keys_only(
    saver: Checkpointer,
) -> None:
    graph = stopped_graph_with_a_sibling().compile(saver)

    async def values(keys: list[str]) -> list[Any]:
        stream = graph.astream({"log": ["in"]}, thread_id=str(keys), stream_mode="values", output_keys=keys)
        return [each async for each in stream]

    assert await values(["log"]) == [{"log": ["in"]}, {"log": ["in", "other"]}]
    assert await values(["text"]) == []


@pytest.mark.parametrize(
    ("update", "result"),
    [
        ([("text", "1"), ("text", "2")], {"text": {"$writes": ["1", "2"]}}),
        ([("log", ["1"]), ("log", ["2", "3"])], {"log": {"$writes": [["1"], ["2", "3"]]}}),
        ([("last", "1"), ("last", "2")], {"last": {"$writes": ["1", "2"]}}),
        ([("log", Overwrite(["1"])), ("text", "2")], {"log": ["1"], "text": "2"}),
        ([("log", ["1"]), ("text", "2")], {"log": ["1"], "text": "2"}),
    ],
)
@pytest.mark.parametrize("siblings", [0, 1])
async def test_the_history_and_the_stream_show_the_same_writes_of_a_task(
    saver: Checkpointer, durability: Durability, siblings: int, update: Any, result: Any
) -> None:
    builder = one_node(lambda s: Command(update=update))
    for number in range(siblings):
        builder.add_node(f"sibling-{number}", lambda s: None).add_edge(START, f"sibling-{number}")
    graph = builder.compile(saver)

    stream = graph.astream({"log": ["in"]}, thread_id="t", stream_mode="tasks", durability=durability)
    streamed: dict[str, Any] = {each["id"]: each["result"] async for each in stream if "result" in each}
    history = {task.id: task.result async for each in graph.aget_state_history(thread_id="t") for task in each.tasks}

    assert result in streamed.values()
    if durability == "exit" and siblings:
        # Results that were merged before they were stored have no record.
        history = {id_: streamed[id_] if found is None else found for id_, found in history.items()}
    assert history == streamed


async def test_the_parent_of_a_streamed_checkpoint_is_the_stored_parent(
    saver: Checkpointer, durability: Durability
) -> None:
    builder = StateGraph(State)
    for name, before in (("a", START), ("b", "a"), ("c", "b")):
        builder.add_node(name, lambda s: {"log": ["x"]}).add_edge(before, name)
    graph = builder.compile(saver)

    stream = graph.astream({"log": []}, thread_id="t", stream_mode="checkpoints", durability=durability)
    streamed: list[Any] = [each async for each in stream]
    stored = {
        each.config["configurable"]["checkpoint_id"]: each.parent_config
        async for each in graph.aget_state_history(thread_id="t")
    }

    assert len(streamed) == 4
    assert len(stored) == (2 if durability == "exit" else 4)
    for each in streamed:
        id_ = each["config"]["configurable"]["checkpoint_id"]
        assert id_ not in stored or stored[id_] == each["parent_config"]
        # Each parent is stored, wherever the run would have ended.
        assert each["parent_config"] is None or await graph.aget_state(each["parent_config"])


class HoldingSaver(CrashingSaver):
    """Holds back the commits of nested graphs until `gate` is set."""

    def __init__(self) -> None:
        super().__init__(MemorySaver())
        self.holds, self.gate = asyncio.Event(), asyncio.Event()

    async def commit(self, unit: CommitUnit) -> CommitResult:
        if any(new.row.ns for new in unit.checkpoints):
            self.holds.set()
            await self.gate.wait()
        return await super().commit(unit)


async def test_a_checkpoint_that_is_committed_while_its_run_is_cancelled_is_streamed() -> None:
    saver = HoldingSaver()

    async def opens() -> None:
        for _ in range(50):
            await asyncio.sleep(0)
        saver.gate.set()

    async def fails(state: State) -> None:
        await saver.holds.wait()
        opening.append(asyncio.create_task(opens()))
        raise ValueError

    opening: list[asyncio.Task[None]] = []
    inner = one_node(lambda s: {"log": ["inside"]}).compile()
    builder = StateGraph(State).add_node("inner", inner).add_node("fails", fails)
    graph = builder.add_edge(START, "inner").add_edge(START, "fails").compile(saver)
    streamed: list[Any] = []

    with pytest.raises(ValueError):  # noqa: PT011, PT012  # the error of the node, after all parts
        async for part in graph.astream({"log": ["in"]}, thread_id="t", stream_mode="checkpoints", subgraphs=True):
            streamed.append(part)

    ns = streamed[-1][0]
    assert len(ns) == 1
    config: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": ns[0]}}
    assert (await graph.aget_state(config)).config == streamed[-1][1]["config"]


async def test_a_node_that_cancels_itself_after_an_answer_has_failed_in_the_stream_and_in_the_store(
    saver: Checkpointer,
) -> None:
    attempts: list[str] = []

    async def asks(state: State) -> State:
        answer = interrupt("asks?")
        attempts.append(answer)
        if len(attempts) == 1:
            own = asyncio.current_task()
            assert own is not None
            own.cancel()
            await asyncio.sleep(0)
        return {"log": [answer]}

    async def other(state: State) -> State:
        return {"log": [interrupt("other?")]}

    builder = StateGraph(State).add_node("asks", asks).add_node("other", other)
    graph = builder.add_edge(START, "asks").add_edge(START, "other").compile(saver)
    asked: Any = await graph.ainvoke({}, thread_id="t")
    answers: Any = Command(resume={each.id: f"answer to {each.value}" for each in asked["__interrupt__"]})
    streamed: dict[str, Any] = {}

    with pytest.raises(NodeCancelledError):  # noqa: PT012  # the error of the node, after all parts
        async for part in graph.astream(answers, thread_id="t", stream_mode="tasks"):
            if "result" in part:
                streamed[part["name"]] = part["error"]

    snapshot = await graph.aget_state(thread_id="t")
    assert streamed["asks"] == {task.name: task.error for task in snapshot.tasks}["asks"]
    assert "CancelledError" in streamed["asks"]
    assert snapshot.interrupts == ()
    assert (await graph.ainvoke(None, thread_id="t"))["log"] == ["answer to asks?", "answer to other?"]
