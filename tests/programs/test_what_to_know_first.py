"""Each row of "What to know first" in the migration guide is true."""

import asyncio
import itertools
import sqlite3
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.documents import Document
from langchain_core.messages import HumanMessage

from durable_graph import (
    START,
    Command,
    CompiledGraph,
    InMemorySaver,
    InterruptAnsweredError,
    MessagesState,
    NothingToResumeError,
    ReplayMismatchError,
    Send,
    StateGraph,
    StateKeyError,
    StateMutatedError,
    StoreConfigurationError,
    ThreadBusyError,
    UnknownInterruptError,
    UnknownOptionError,
    UnstorableValueError,
    add_messages,
    entrypoint,
    interrupt,
    task,
)
from durable_graph_sqlite import SqliteSaver
from tests.errors.kinds import of_kind


def extended(left: list[Any], right: list[Any]) -> list[Any]:
    return [*left, *right]


class State(TypedDict, total=False):
    notes: Annotated[list[str], extended]
    anything: Any


class Note:
    """A class of a program."""


Graph = CompiledGraph[Any, Any, Any, Any]


def graph_of(node: Any, **options: Any) -> Graph:
    builder = StateGraph(State).add_node("node", node).add_edge(START, "node")
    return builder.compile(checkpointer=InMemorySaver(), **options)


async def nothing(_: Any) -> dict[str, Any]:
    return {}


def test_a_sync_method_names_the_async_one() -> None:
    for name in ("invoke", "get_state", "get_state_history", "update_state"):
        with pytest.raises(AttributeError, match=f"graph.a{name}"):
            getattr(graph_of(nothing), name)


def test_a_stream_of_events_is_not_iterable() -> None:
    events = graph_of(nothing).stream({}, thread_id="t")

    with pytest.raises(TypeError, match="not iterable"):
        iter(events)  # type: ignore[call-overload]  # tested here


async def test_an_interrupt_with_another_value_on_each_attempt_needs_a_key() -> None:
    ids = itertools.count()
    asks = graph_of(lambda _: {"notes": [interrupt(f"delete {next(ids)}?")]})
    await asks.ainvoke({}, thread_id="t")

    asked_again = await asks.ainvoke(Command(resume="yes"), thread_id="t")
    assert asked_again["__interrupt__"][0].value == "delete 1?"
    with pytest.raises(ReplayMismatchError, check=of_kind("question"), match="give it a key"):
        await asks.ainvoke(Command(resume="yes"), thread_id="t")

    keyed = graph_of(lambda _: {"notes": [interrupt(f"delete {next(ids)}?", key="delete")]})
    await keyed.ainvoke({}, thread_id="t")
    assert await keyed.ainvoke(Command(resume="yes"), thread_id="t") == {"notes": ["yes"]}


@pytest.mark.parametrize("called", ["task", "graph"])
async def test_a_call_with_other_arguments_on_each_attempt_is_refused(called: str) -> None:
    ids = itertools.count()
    child = StateGraph(State).add_node("node", nothing).add_edge(START, "node").compile()

    @task
    def draw() -> int:
        return next(ids)

    @task
    def use(drawn: int) -> int:
        return drawn

    async def call(drawn: int) -> None:
        await (use(drawn) if called == "task" else child.ainvoke({"notes": [str(drawn)]}))

    @entrypoint(checkpointer=InMemorySaver())
    async def careless(_: str) -> Any:
        await call(next(ids))
        return interrupt("go on?")

    @entrypoint(checkpointer=InMemorySaver())
    async def careful(_: str) -> Any:
        await call(await draw())
        return interrupt("go on?")

    await careless.ainvoke("", thread_id="t")
    with pytest.raises(ReplayMismatchError):
        await careless.ainvoke(Command(resume="yes"), thread_id="t")
    await careful.ainvoke("", thread_id="t")
    assert await careful.ainvoke(Command(resume="yes"), thread_id="t") == "yes"


async def test_a_node_that_appends_to_its_input_fails() -> None:
    def node(state: State) -> State:
        state["notes"].append("b")
        return {}

    with pytest.raises(StateMutatedError):
        await graph_of(node).ainvoke({"notes": ["a"]}, thread_id="t")


async def test_an_undeclared_key_is_refused() -> None:
    with pytest.raises(StateKeyError, check=of_kind("unknown")):
        await graph_of(nothing).ainvoke({"nots": []}, thread_id="t")
    with pytest.raises(StateKeyError, check=of_kind("unknown")):
        await graph_of(lambda _: {"nots": []}).ainvoke({}, thread_id="t")
    with pytest.raises(UnknownOptionError, check=of_kind("config")):
        await graph_of(nothing).ainvoke({}, {"configurable": {"thread_id": "t"}, "user": "ada"})
    await graph_of(nothing).ainvoke({"notes": []}, {"configurable": {"thread_id": "t", "user": "ada"}})


async def test_an_object_of_an_undeclared_class_is_refused() -> None:
    with pytest.raises(UnstorableValueError, match="Note"):
        await graph_of(lambda _: {"anything": Note()}).ainvoke({}, thread_id="t")


async def test_an_object_in_the_argument_of_a_send_is_refused() -> None:
    builder = StateGraph(State).add_node("node", nothing)
    builder.add_conditional_edges(START, lambda _: [Send("node", {"note": Note()})], ["node"])

    with pytest.raises(UnstorableValueError, match="Note"):
        await builder.compile(checkpointer=InMemorySaver()).ainvoke({}, thread_id="t")


async def test_messages_and_documents_of_langchain_need_no_declaration() -> None:
    for value in (HumanMessage("hi"), Document("tea")):
        result = await graph_of(lambda _, value=value: {"anything": value}).ainvoke({}, thread_id=value.type)
        assert result["anything"] == value


class Named(TypedDict, total=False):
    name: str
    title: str | None


@pytest.mark.parametrize("value", [None, 3])
async def test_a_value_of_another_type_than_declared_is_refused(value: Any) -> None:
    def named(key: str) -> Graph:
        builder = StateGraph(Named).add_node("node", lambda _: {key: value}).add_edge(START, "node")
        return builder.compile(checkpointer=InMemorySaver())

    with pytest.raises(UnstorableValueError, match=f"'name' is an? {type(value).__name__} .*str is declared"):
        await named("name").ainvoke({}, thread_id="t")
    if value is None:
        assert await named("title").ainvoke({}, thread_id="t") == {"title": None}


async def test_an_update_supersedes_the_open_interrupt() -> None:
    graph = graph_of(lambda state: {"notes": [*state["notes"], interrupt("?")]})
    for thread in ("apart", "at once", "by id"):
        await graph.ainvoke({"notes": ["a"]}, thread_id=thread)

    await graph.aupdate_state({"configurable": {"thread_id": "apart"}}, {"notes": ["b"]})
    with pytest.raises(NothingToResumeError, match="an update"):
        await graph.ainvoke(Command(resume="yes"), thread_id="apart")
    await graph.ainvoke(None, thread_id="apart")
    apart = await graph.ainvoke(Command(resume="yes"), thread_id="apart")
    at_once = await graph.ainvoke(Command(resume="yes", update={"notes": ["b"]}), thread_id="at once")
    assert apart == at_once == {"notes": ["a", "b", "a", "b", "yes"]}

    id_ = (await graph.aget_state(thread_id="by id")).interrupts[0].id
    await graph.aupdate_state({"configurable": {"thread_id": "by id"}}, {"notes": ["b"]})
    with pytest.raises(UnknownInterruptError):
        await graph.ainvoke(Command(resume={id_: "yes"}), thread_id="by id")


async def test_a_finished_thread_has_nothing_to_resume() -> None:
    graph = graph_of(nothing)
    await graph.ainvoke({"notes": ["a"]}, thread_id="t")

    with pytest.raises(NothingToResumeError):
        await graph.ainvoke(None, thread_id="t")
    assert await graph.ainvoke(None, thread_id="t", if_finished="return") == {"notes": ["a"]}
    assert (await graph.aget_state(thread_id="t")).values == {"notes": ["a"]}


async def test_a_second_answer_is_refused_and_the_error_has_the_first_answer() -> None:
    graph = graph_of(lambda _: {"notes": [interrupt("?")]})
    await graph.ainvoke({}, thread_id="t")
    await graph.ainvoke(Command(resume="yes"), thread_id="t")

    with pytest.raises(InterruptAnsweredError) as raised:
        await graph.ainvoke(Command(resume="no"), thread_id="t")
    assert raised.value.answer == "yes"


async def test_a_second_run_of_a_thread_is_refused_or_waits() -> None:
    has_started, may_end = asyncio.Event(), asyncio.Event()

    async def node(_: State) -> State:
        has_started.set()
        await may_end.wait()
        return {"notes": ["a"]}

    graph = graph_of(node)
    async with asyncio.TaskGroup() as group:
        group.create_task(graph.ainvoke({}, thread_id="t"))
        await has_started.wait()
        with pytest.raises(ThreadBusyError):
            await graph.ainvoke({}, thread_id="t")
        second = group.create_task(graph.ainvoke({}, thread_id="t", if_busy="wait"))
        may_end.set()
    assert second.result() == {"notes": ["a", "a"]}


async def test_messages_are_langchain_messages_with_the_extra_and_dicts_without_it() -> None:
    builder = StateGraph(MessagesState).add_node("node", nothing).add_edge(START, "node")
    said = {"role": "user", "content": "hi", "id": "1"}

    of_langchain = await builder.compile().ainvoke({"messages": [said]})
    # Without the extra, dicts are the default: tests/langchain/test_without_langchain.py.
    dicts = await builder.compile(messages="dict").ainvoke({"messages": [said]})

    assert of_langchain["messages"] == add_messages([], [said])
    assert of_langchain["messages"][0].content == "hi"
    assert dicts["messages"] == [said]


async def test_a_database_of_langgraph_is_refused_and_not_changed(tmp_path: Path) -> None:
    path = tmp_path / "langgraph.db"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE checkpoints (thread_id TEXT, checkpoint_ns TEXT, checkpoint BLOB)")
    database.close()
    before = path.read_bytes()

    with pytest.raises(StoreConfigurationError, check=of_kind("foreign_file"), match="another application"):
        async with SqliteSaver(path):
            pass
    assert path.read_bytes() == before
