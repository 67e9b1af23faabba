"""The remedy that an error message names resolves the error."""

import asyncio
import dataclasses
import operator
import sqlite3
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest

from durable_graph import (
    START,
    AmbiguousResumeError,
    AmbiguousUpdateError,
    Checkpointer,
    Command,
    ConcurrentUpdateError,
    CorruptCheckpointError,
    DurableGraphError,
    GraphChangedError,
    GraphDrained,
    GraphRecursionError,
    GraphValidationError,
    InvalidCallError,
    InvalidNodeResultError,
    InvalidOptionError,
    MemorySaver,
    ReducerError,
    RunControl,
    StateGraph,
    StateKeyError,
    StepTimeoutError,
    ThreadBusyError,
    ThreadExistsError,
    UnfinishedThreadError,
    UnknownNameError,
    UnstorableValueError,
    ValueTooLargeError,
    entrypoint,
    interrupt,
    task,
)
from durable_graph_sqlite import SqliteSaver
from tests.errors.kinds import of_kind


class State(TypedDict, total=False):
    value: Any
    text: str
    log: Annotated[list[str], operator.add]


def one_node(node: Any, schema: Any = State) -> StateGraph[Any]:
    return StateGraph(schema).add_node("node", node).add_edge(START, "node")


def two_nodes(first: Any, second: Any, schema: Any = State) -> StateGraph[Any]:
    return one_node(first, schema).add_node("second", second).add_edge("node", "second")


async def error_of(error: type[DurableGraphError], remedy: str, call: Any) -> Any:
    """The error that `call` raises, after a check that its message names the remedy."""
    with pytest.raises(error) as raised:
        await call
    assert remedy in str(raised.value)
    return raised.value


class Text(str):
    """A str that can be called, like LangChain's `message.text`."""

    __slots__ = ()

    def __call__(self) -> str:
        return str(self)


class Noted(str):  # noqa: SLOT000 - it needs a __dict__
    def __init__(self, _: str) -> None:
        self.note = "which a str has not"


@dataclasses.dataclass
class Unlisted:
    x: int = 1


# Values


@pytest.mark.parametrize(
    ("key", "value", "remedy", "followed"),
    [
        ("text", True, "return a value of the declared type", "True"),
        ("text", Noted("x"), "convert it with str(...)", str(Noted("x"))),
        ("value", Text("x"), "convert it with str(...)", str(Text("x"))),
        ("log", ("a",), "convert it with list(...)", ["a"]),
        ("value", [].append, "store what it can be rebuilt from", "append"),
    ],
)
async def test_a_value_is_converted_as_the_error_says(
    saver: Checkpointer, key: str, value: Any, remedy: str, followed: Any
) -> None:
    if isinstance(value, tuple):

        class Names(list[str]):
            pass

        value = Names(value)
    await error_of(
        UnstorableValueError, remedy, one_node(lambda _: {key: value}).compile(saver).ainvoke({}, thread_id="t")
    )

    result = await one_node(lambda _: {key: followed}).compile(saver).ainvoke({}, thread_id="u")

    assert result[key] == followed


async def test_a_class_is_storable_once_it_is_listed_where_the_error_says(saver: Checkpointer) -> None:
    def node(state: State) -> State:
        return {"value": Unlisted()}

    async def flow(given: str) -> Any:
        return {"value": Unlisted()}

    remedy = "list it in compile(types=[Unlisted]), or in @entrypoint(types=[Unlisted])"
    await error_of(UnstorableValueError, remedy, one_node(node).compile(saver).ainvoke({}, thread_id="t"))
    await error_of(UnstorableValueError, remedy, entrypoint(saver)(flow).ainvoke("x", thread_id="f"))

    assert (await one_node(node).compile(saver, types=[Unlisted]).ainvoke({}, thread_id="t"))["value"] == Unlisted()
    listed = entrypoint(saver, types=[Unlisted])(flow)
    assert await listed.ainvoke("x", thread_id="g") == {"value": Unlisted()}


async def test_a_value_is_stored_once_the_limit_is_raised() -> None:
    graph = one_node(lambda _: {"text": "x" * 2_000})

    await error_of(
        ValueTooLargeError,
        "raise the checkpointer's max_value_bytes",
        graph.compile(MemorySaver(max_value_bytes=1_000)).ainvoke({}, thread_id="t"),
    )

    assert await graph.compile(MemorySaver(max_value_bytes=5_000)).ainvoke({}, thread_id="t")


# Threads


async def test_a_call_waits_for_a_busy_thread_with_if_busy_wait(saver: Checkpointer) -> None:
    begun, going = asyncio.Event(), asyncio.Event()

    async def node(state: State) -> State:
        begun.set()
        await going.wait()
        return {"log": ["node"]}

    graph = one_node(node).compile(saver)
    first = asyncio.create_task(graph.ainvoke({}, thread_id="t"))
    await begun.wait()

    await error_of(ThreadBusyError, "pass if_busy='wait'", graph.ainvoke({}, thread_id="t"))
    update = "await that call, then repeat this one"
    await error_of(ThreadBusyError, update, graph.aupdate_state(None, {"log": ["edit"]}, "node", thread_id="t"))
    await error_of(ThreadBusyError, update, graph.adelete_thread("t"))
    second = asyncio.create_task(graph.ainvoke({}, thread_id="t", if_busy="wait"))
    going.set()

    await first
    assert (await second)["log"] == ["node", "node"]
    await graph.aupdate_state(None, {"log": ["edit"]}, "node", thread_id="t")
    await graph.adelete_thread("t")


async def test_an_unfinished_thread_is_resumed_or_superseded(saver: Checkpointer) -> None:
    graph = two_nodes(lambda _: {"log": ["a"]}, lambda _: {"log": ["b"]}).compile(saver, interrupt_before=["second"])
    for thread in ("t", "u", "v"):
        await graph.ainvoke({}, thread_id=thread)
        again = graph.ainvoke({"log": ["new"]}, thread_id=thread, if_unfinished="reject")
        await error_of(UnfinishedThreadError, "resume it with ainvoke(None)", again)

    assert (await graph.ainvoke(None, thread_id="t"))["log"] == ["a", "b"]
    ways: list[tuple[str, Any]] = [("u", "resume"), ("v", "supersede")]
    for thread, how in ways:
        again = graph.ainvoke({"log": ["new"]}, thread_id=thread, if_unfinished=how)
        assert "new" in (await again)["log"]


async def test_the_history_lists_the_existing_checkpoint_ids(saver: Checkpointer) -> None:
    graph = one_node(lambda _: {"text": "a"}).compile(saver)
    await graph.ainvoke({}, thread_id="t")

    read = graph.aget_state(thread_id="t", checkpoint_id="no such id")
    await error_of(UnknownNameError, "aget_state_history lists the ones", read)

    async for snapshot in graph.aget_state_history(thread_id="t"):
        id_ = snapshot.config["configurable"]["checkpoint_id"]
        assert (await graph.aget_state(thread_id="t", checkpoint_id=id_)).values == snapshot.values


async def test_a_call_may_name_its_thread_by_keyword_or_config(saver: Checkpointer) -> None:
    graph = one_node(lambda _: {"text": "a"}).compile(saver)

    await error_of(InvalidOptionError, "config={'configurable': {'thread_id': '...'}}", graph.ainvoke({}))

    await graph.ainvoke({}, thread_id="t")
    await graph.ainvoke({}, {"configurable": {"thread_id": "t"}})


async def test_a_copy_to_an_existing_thread_needs_a_deletion_or_another_id(saver: Checkpointer) -> None:
    graph = one_node(lambda _: {"text": "a"}).compile(saver)
    for thread in ("t", "u"):
        await graph.ainvoke({}, thread_id=thread)

    await error_of(ThreadExistsError, "delete it first or choose another id", graph.acopy_thread("t", "u"))

    await graph.acopy_thread("t", "another")
    await graph.adelete_thread("u")
    await graph.acopy_thread("t", "u")


async def test_an_ambiguous_update_succeeds_with_as_node(saver: Checkpointer) -> None:
    builder = one_node(lambda _: {"log": ["a"]}).add_node("other", lambda _: {"log": ["b"]}).add_edge(START, "other")
    graph = builder.compile(saver)
    await graph.ainvoke({}, thread_id="t")

    error = await error_of(
        AmbiguousUpdateError, "pass as_node", graph.aupdate_state(None, {"log": ["c"]}, thread_id="t")
    )

    await graph.aupdate_state(None, {"log": ["c"]}, error.candidates[0], thread_id="t")


async def test_a_damaged_checkpoint_is_superseded_by_resuming_from_an_older_one(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    async with SqliteSaver(path) as saver:
        graph = one_node(lambda _: {"log": ["a"]}).compile(saver)
        await graph.ainvoke({"log": ["in"]}, thread_id="t")
        older = [snapshot async for snapshot in graph.aget_state_history(thread_id="t")][-1]
        await asyncio.to_thread(_damage_newest_checkpoint, path)

        await error_of(CorruptCheckpointError, "fork from an older checkpoint", graph.aget_state(thread_id="t"))

        assert (await graph.ainvoke(None, older.config))["log"] == ["in", "a"]
        assert (await graph.aget_state(thread_id="t")).values["log"] == ["in", "a"]


async def test_a_damaged_thread_is_deleted(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    async with SqliteSaver(path) as saver:
        graph = one_node(lambda _: {"log": ["a"]}).compile(saver)
        await graph.ainvoke({"log": ["in"]}, thread_id="t")
        await asyncio.to_thread(_damage_thread, path)

        await error_of(CorruptCheckpointError, "delete the thread", graph.aget_state(thread_id="t"))

        await graph.adelete_thread("t")
        assert (await graph.ainvoke({"log": ["new"]}, thread_id="t"))["log"] == ["new", "a"]


def _damage_thread(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("UPDATE threads SET digest = X'00'")
    db.close()


def _damage_newest_checkpoint(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("UPDATE checkpoints SET header = X'00' WHERE number = (SELECT max(number) FROM checkpoints)")
    db.close()


# Runs


async def test_a_key_that_two_parallel_nodes_write_needs_a_reducer(saver: Checkpointer) -> None:
    def in_parallel(schema: Any) -> Any:
        builder = one_node(lambda _: {"key": ["a"]}, schema).add_node("other", lambda _: {"key": ["b"]})
        return builder.add_edge(START, "other").compile(saver)

    class Plain(TypedDict, total=False):
        key: list[str]

    class Reduced(TypedDict, total=False):
        key: Annotated[list[str], operator.add]

    remedy = "declare it as Annotated[<type>, <reducer>]"
    await error_of(ConcurrentUpdateError, remedy, in_parallel(Plain).ainvoke({}, thread_id="t"))

    assert await in_parallel(Reduced).ainvoke({}, thread_id="u") == {"key": ["a", "b"]}


async def test_a_corrected_reducer_is_given_the_recorded_results(saver: Checkpointer) -> None:
    calls = []
    is_broken = True

    def reducer(left: str, right: str) -> str:
        if is_broken and right == "node":
            raise ValueError("no")
        return right

    def node(state: Any) -> Any:
        calls.append("node")
        return {"key": "node"}

    class Reduced(TypedDict, total=False):
        key: Annotated[str, reducer]

    graph = one_node(node, Reduced).compile(saver)
    await error_of(ReducerError, "correct the reducer and resume", graph.ainvoke({"key": "in"}, thread_id="t"))
    with pytest.raises(ValueError, match="the reducer of channel 'key' failed"):
        await graph.ainvoke(None, thread_id="t")
    is_broken = False

    assert await graph.ainvoke(None, thread_id="t") == {"key": "node"}
    assert calls == ["node"]


async def test_a_thread_is_resumed_with_a_higher_recursion_limit(saver: Checkpointer) -> None:
    graph = two_nodes(lambda _: {"log": ["a"]}, lambda _: {"log": ["b"]}).compile(saver)

    run = graph.ainvoke({}, thread_id="t", recursion_limit=1)
    await error_of(GraphRecursionError, "raise the limit and resume", run)

    assert (await graph.ainvoke(None, thread_id="t", recursion_limit=5))["log"] == ["a", "b"]


async def test_a_superstep_that_timed_out_is_resumed_with_a_longer_timeout(saver: Checkpointer) -> None:
    is_slow = True

    async def node(state: State) -> State:
        if is_slow:
            await asyncio.Event().wait()
        return {"log": ["node"]}

    graph = one_node(node).compile(saver)
    graph.step_timeout = 0.05
    await error_of(StepTimeoutError, "raise the graph's step_timeout and resume", graph.ainvoke({}, thread_id="t"))
    graph.step_timeout, is_slow = 30, False

    assert (await graph.ainvoke(None, thread_id="t"))["log"] == ["node"]


async def test_a_drained_run_is_resumed_with_none(saver: Checkpointer) -> None:
    graph = one_node(lambda _: {"log": ["a"]}).compile(saver)
    control = RunControl()
    control.request_drain("deploy")

    await error_of(GraphDrained, "resume its thread with None", graph.ainvoke({}, thread_id="t", control=control))

    assert (await graph.ainvoke(None, thread_id="t"))["log"] == ["a"]


async def test_several_open_interrupts_are_answered_by_their_ids(saver: Checkpointer) -> None:
    def asking(state: State) -> State:
        return {"log": [interrupt("why?")]}

    graph = one_node(asking).add_node("other", asking).add_edge(START, "other").compile(saver)
    await graph.ainvoke({}, thread_id="t")

    answer = graph.ainvoke(Command(resume="so"), thread_id="t")
    error = await error_of(AmbiguousResumeError, "Command(resume={id: answer})", answer)

    result = await graph.ainvoke(Command(resume=dict.fromkeys(error.open_ids, "so")), thread_id="t")
    assert result["log"] == ["so", "so"]


async def test_a_removed_pending_node_is_restored_or_skipped_by_an_update(saver: Checkpointer) -> None:
    whole = two_nodes(lambda _: {"log": ["a"]}, lambda _: {"log": ["b"]})
    for thread in ("t", "u"):
        await whole.compile(saver, interrupt_before=["second"]).ainvoke({}, thread_id=thread)
    without = one_node(lambda _: {"log": ["a"]}).compile(saver)

    await error_of(GraphChangedError, "update the thread with as_node=...", without.ainvoke(None, thread_id="t"))

    assert (await whole.compile(saver).ainvoke(None, thread_id="t"))["log"] == ["a", "b"]
    await without.aupdate_state(None, {"log": ["edit"]}, "node", thread_id="u")
    assert (await without.aget_state(thread_id="u")).values["log"] == ["a", "edit"]


async def test_a_parent_command_succeeds_in_a_nested_graph_and_a_plain_command_without_a_parent(
    saver: Checkpointer,
) -> None:
    def up(state: State) -> Any:
        return Command(graph=Command.PARENT, update={"log": ["up"]})

    inner = one_node(up)
    alone = inner.compile(saver).ainvoke({}, thread_id="t")
    await error_of(
        InvalidNodeResultError, "run this graph as a node of another graph, or leave out graph=Command.PARENT", alone
    )

    assert (await one_node(inner.compile()).compile(saver).ainvoke({}, thread_id="u"))["log"] == ["up"]
    own = one_node(lambda _: Command(update={"log": ["own"]}))
    assert (await own.compile(saver).ainvoke({}, thread_id="v"))["log"] == ["own"]


async def test_a_node_that_calls_a_task_has_to_be_async(saver: Checkpointer) -> None:
    @task
    async def double(n: int) -> int:
        return 2 * n

    def plain(state: State) -> Any:
        return {"value": double(2)}

    async def awaiting(state: State) -> State:
        return {"value": await double(2)}

    await error_of(InvalidCallError, "make 'node' async", one_node(plain).compile(saver).ainvoke({}, thread_id="t"))

    assert (await one_node(awaiting).compile(saver).ainvoke({}, thread_id="u"))["value"] == 4


async def test_a_required_key_is_passed_in_the_input_or_has_a_default(saver: Checkpointer) -> None:
    @dataclasses.dataclass
    class Required:
        name: str

    @dataclasses.dataclass
    class Defaulted:
        name: str = "nobody"

    def greet(state: Any) -> Any:
        return {"name": f"hello {state.name}"}

    remedy = "pass it in the input or give it a default"
    await error_of(StateKeyError, remedy, one_node(greet, Required).compile(saver).ainvoke({}, thread_id="t"))

    required = one_node(greet, Required).compile(saver)
    assert await required.ainvoke({"name": "amy"}, thread_id="u") == {"name": "hello amy"}
    assert await one_node(greet, Defaulted).compile(saver).ainvoke({}, thread_id="v") == {"name": "hello nobody"}


@pytest.mark.parametrize("wrong", [5, b"name"])
def test_names_of_graphs_tasks_and_entrypoints_are_strings(wrong: Any) -> None:
    async def function(given: str) -> str:
        return given

    with pytest.raises(GraphValidationError, check=of_kind("graph"), match="a graph's name is a string"):
        one_node(lambda _: {}).compile(name=wrong)
    with pytest.raises(GraphValidationError, check=of_kind("argument"), match=r"@task\(name='\.\.\.'\)"):
        task(name=wrong)(function)
    with pytest.raises(GraphValidationError, check=of_kind("argument"), match=r"name='\.\.\.'"):
        entrypoint(name=wrong)(function)
    one_node(lambda _: {}).compile(name="name")
    task(name="name")(function)
    entrypoint(name="name")(function)
