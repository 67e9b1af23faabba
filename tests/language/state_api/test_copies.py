"""Copies of a checkpoint as new branches, copies of whole threads, and the deletion of threads."""

import asyncio
from typing import Any

import pytest

from durable_graph import (
    Checkpointer,
    Command,
    InvalidUpdateError,
    MissingCheckpointerError,
    NothingToResumeError,
    Runtime,
    StateUpdate,
    ThreadBusyError,
    ThreadExistsError,
    UnknownNameError,
    UnknownThreadError,
    entrypoint,
    interrupt,
    task,
)
from tests.errors.kinds import of_kind
from tests.graphs import (
    THREAD,
    Nodes,
    State,
    checkpoint_before,
    history,
    nested_state,
    newest_before,
    outline,
    questions_of,
)

COPY = {"configurable": {"thread_id": "copy"}}


def with_memory(calls: Nodes) -> Any:
    """A nested graph with memory per thread, which interrupts."""
    return calls.chain("n", "ask?").compile(checkpointer=True)


async def test_a_copy_of_a_checkpoint_is_a_fork_with_the_same_next_nodes(saver: Checkpointer) -> None:
    calls = Nodes()
    graph = calls.chain("a", "b").compile(saver)
    await graph.ainvoke({"log": []}, THREAD)
    calls.taken()
    before_b = await graph.aget_state(await checkpoint_before(graph, "b"))

    config = await graph.aupdate_state(before_b.config, None, as_node="__copy__")

    copied = await graph.aget_state(config)
    assert (copied.values, copied.next) == (before_b.values, before_b.next)
    assert (copied.metadata or {})["source"] == "fork"
    assert copied.tasks[0].id != before_b.tasks[0].id
    assert await graph.ainvoke(None, config) == {"log": ["a", "b"]}
    assert calls.taken() == ["b"]


async def test_a_copy_may_set_the_results_of_its_tasks(saver: Checkpointer) -> None:
    calls = Nodes()
    graph = calls.chain("a", "b", "c").compile(saver)
    await graph.ainvoke({"log": []}, THREAD)
    calls.taken()

    config = await graph.aupdate_state(
        await checkpoint_before(graph, "b"), [StateUpdate({"log": ["by hand"]}, "b")], as_node="__copy__"
    )

    assert await graph.ainvoke(None, config) == {"log": ["a", "by hand", "c"]}
    assert calls.taken() == ["c"]
    assert outline(await history(graph))[:3] == [
        ("loop", (), ["a", "by hand", "c"]),
        ("update", ("c",), ["a", "by hand"]),
        ("fork", ("b",), ["a"]),
    ]
    rewritten = (await history(graph))[2].tasks[0]
    assert (rewritten.name, rewritten.result) == ("b", {"log": ["by hand"]})


async def test_a_copy_of_the_newest_checkpoint_keeps_the_interrupts_of_the_original(saver: Checkpointer) -> None:
    graph = Nodes().chain("a", "ask?").compile(saver)
    await graph.ainvoke({"log": []}, THREAD)
    asked = await graph.aget_state(THREAD)

    await graph.aupdate_state(asked.config, None, as_node="__copy__")

    copied = await graph.aget_state(THREAD)
    assert (copied.values, copied.next) == (asked.values, asked.next)
    assert (await graph.aget_state(asked.config)).interrupts == asked.interrupts


async def test_a_copy_with_values_that_are_not_updates_of_its_tasks_is_refused(saver: Checkpointer) -> None:
    graph = Nodes().chain("a", "b").compile(saver)
    await graph.ainvoke({"log": []}, THREAD)
    before = await history(graph)

    with pytest.raises(InvalidUpdateError):
        await graph.aupdate_state(newest_before(before, "b").config, {"log": ["x"]}, as_node="__copy__")
    assert await history(graph) == before


async def test_a_thread_is_copied_with_its_history(saver: Checkpointer) -> None:
    graph = Nodes().chain("a", "b").compile(saver)
    await graph.ainvoke({"log": []}, THREAD)

    await graph.acopy_thread("t", "copy")

    assert outline(await history(graph, COPY)) == outline(await history(graph))
    assert {each.config["configurable"]["thread_id"] for each in await history(graph, COPY)} == {"copy"}


async def test_a_copied_thread_and_its_original_are_independent(saver: Checkpointer) -> None:
    graph = Nodes().chain("a").compile(saver)
    await graph.ainvoke({"log": []}, THREAD)
    await graph.acopy_thread("t", "copy")

    await graph.ainvoke({"log": ["mine"]}, THREAD)
    await graph.aupdate_state(COPY, {"log": ["theirs"]})

    assert (await graph.aget_state(THREAD)).values == {"log": ["a", "mine", "a"]}
    assert (await graph.aget_state(COPY)).values == {"log": ["a", "theirs"]}


async def test_an_interrupt_of_a_copied_thread_is_answered_independently(saver: Checkpointer) -> None:
    graph = Nodes().chain("a", "ask?").compile(saver)
    await graph.ainvoke({"log": []}, THREAD)
    await graph.acopy_thread("t", "copy")

    assert [each.value for each in (await graph.aget_state(COPY)).interrupts] == ["ask?"]
    assert await graph.ainvoke(Command(resume="theirs"), COPY) == {"log": ["a", "ask=theirs"]}
    assert await graph.ainvoke(Command(resume="mine"), THREAD) == {"log": ["a", "ask=mine"]}


async def test_finished_nodes_of_a_thread_do_not_run_again_in_its_copy(saver: Checkpointer) -> None:
    calls = Nodes()
    is_failing = True

    async def bad(state: State) -> State:
        if is_failing:
            raise ConnectionError
        return {"log": ["bad"]}

    builder = calls.chain("good")
    builder.add_node("bad", bad)
    builder.set_entry_point("bad")
    graph = builder.compile(saver)
    with pytest.raises(ConnectionError):
        await graph.ainvoke({"log": []}, THREAD)
    await graph.acopy_thread("t", "copy")
    is_failing = False
    calls.taken()

    assert sorted((await graph.ainvoke(None, COPY))["log"]) == ["bad", "good"]
    assert calls.taken() == []


async def test_an_existing_thread_can_only_be_copied_to_a_new_thread(saver: Checkpointer) -> None:
    graph = Nodes().chain("a").compile(saver)
    await graph.ainvoke({"log": []}, THREAD)
    await graph.ainvoke({"log": []}, COPY)

    with pytest.raises(ThreadExistsError, match="'copy' already exists"):
        await graph.acopy_thread("t", "copy")
    with pytest.raises(UnknownThreadError, match="'nobody'"):
        await graph.acopy_thread("nobody", "new")


async def test_a_deleted_thread_is_empty_and_its_task_ids_are_not_used_again(saver: Checkpointer) -> None:
    seen: list[str] = []

    async def note(state: State, runtime: Runtime[Any]) -> State:
        seen.append(runtime.execution_info.task_id)
        return {"log": ["n"]}

    graph = Nodes().chain(("note", note)).compile(saver)
    await graph.ainvoke({"log": []}, THREAD)

    await graph.adelete_thread("t")

    assert ((await graph.aget_state(THREAD)).values, await history(graph)) == ({}, [])
    assert await graph.ainvoke({"log": []}, THREAD) == {"log": ["n"]}
    assert len(set(seen)) == 2


async def test_deleting_a_thread_keeps_its_copy(saver: Checkpointer) -> None:
    graph = Nodes().chain("a").compile(saver)
    await graph.ainvoke({"log": []}, THREAD)
    await graph.acopy_thread("t", "copy")

    await graph.adelete_thread("t")
    await graph.adelete_thread("t")

    assert (await graph.aget_state(COPY)).values == {"log": ["a"]}


async def test_deleting_a_thread_deletes_the_memory_of_its_nested_graphs(saver: Checkpointer) -> None:
    calls = Nodes()
    nested = calls.chain("n").compile(checkpointer=True)
    kept: list[Any] = []

    async def call(state: State) -> State:
        kept.append((await nested.ainvoke({"log": []}))["log"])
        return {}

    graph = calls.chain(("call", call)).compile(saver)
    await graph.ainvoke({"log": []}, THREAD)
    await graph.adelete_thread("t")
    await graph.ainvoke({"log": []}, THREAD)

    assert kept == [["n"], ["n"]]


async def test_the_memory_of_nested_graphs_is_copied_with_the_thread(saver: Checkpointer) -> None:
    calls = Nodes()
    nested = calls.chain("n").compile(checkpointer=True)
    kept: list[Any] = []

    async def call(state: State) -> State:
        kept.append((await nested.ainvoke({"log": []}))["log"])
        return {}

    graph = calls.chain(("call", call)).compile(saver)
    await graph.ainvoke({"log": []}, THREAD)
    await graph.acopy_thread("t", "copy")
    await graph.ainvoke({"log": []}, COPY)
    await graph.ainvoke({"log": []}, THREAD)

    assert kept == [["n"], ["n", "n"], ["n", "n"]]


async def test_a_nested_interrupt_is_copied_with_the_thread(saver: Checkpointer) -> None:
    calls = Nodes()
    nested = calls.chain("n", "ask?").compile()
    graph = calls.chain("a", ("nested", nested)).compile(saver)
    await graph.ainvoke({"log": []}, THREAD)
    await graph.acopy_thread("t", "copy")
    calls.taken()

    result = await graph.ainvoke(Command(resume="yes"), COPY)

    assert result["log"][-2:] == ["n", "ask=yes"]
    assert calls.taken() == ["ask"]
    assert questions_of({"__interrupt__": (await graph.aget_state(THREAD)).interrupts}) == ["ask?"]


async def test_the_branches_of_nested_graphs_are_copied_with_the_thread(saver: Checkpointer) -> None:
    calls = Nodes()
    graph = calls.chain(("nested", calls.chain("n", "ask?", "m").compile()), "z").compile(saver)
    await graph.ainvoke({"log": []}, THREAD)
    asked = (await nested_state(graph)).config
    await graph.ainvoke(Command(resume="first"), THREAD)
    await graph.aupdate_state(asked, {"log": ["edited"]}, as_node="n")
    await graph.acopy_thread("t", "copy")
    calls.taken()

    assert questions_of(await graph.ainvoke(None, COPY)) == ["ask?"]
    assert await graph.ainvoke(Command(resume="second"), COPY) == {"log": ["n", "edited", "ask=second", "m", "z"]}
    assert calls.taken() == ["ask", "ask", "m", "z"]

    # The copy can return to the first branch as well, which does not move the original.
    in_copy = {"configurable": {**asked["configurable"], "thread_id": "copy"}}
    assert questions_of(await graph.ainvoke(None, in_copy)) == ["ask?"]
    assert await graph.ainvoke(Command(resume="third"), COPY) == {"log": ["n", "ask=third", "m", "z"]}
    assert (await nested_state(graph)).values == {"log": ["n", "edited"]}


async def test_an_interrupt_of_a_nested_graph_with_memory_is_copied_with_its_memory(saver: Checkpointer) -> None:
    calls = Nodes()
    graph = calls.chain(("nested", with_memory(calls))).compile(saver)
    await graph.ainvoke({"log": []}, THREAD)
    await graph.ainvoke(Command(resume="1"), THREAD)
    await graph.ainvoke({"log": []}, THREAD)
    await graph.acopy_thread("t", "copy")

    theirs = await graph.ainvoke(Command(resume="theirs"), COPY)
    mine = await graph.ainvoke(Command(resume="mine"), THREAD)

    assert [each["log"][-4:] for each in (theirs, mine)] == [
        ["n", "ask=1", "n", "ask=theirs"],
        ["n", "ask=1", "n", "ask=mine"],
    ]


async def test_a_deleted_thread_has_neither_interrupts_nor_memory(saver: Checkpointer) -> None:
    calls = Nodes()
    graph = calls.chain(("nested", with_memory(calls))).compile(saver)
    await graph.ainvoke({"log": []}, THREAD)
    asked = (await nested_state(graph)).config

    await graph.adelete_thread("t")

    with pytest.raises(NothingToResumeError):
        await graph.ainvoke(Command(resume="yes"), THREAD)
    with pytest.raises(UnknownNameError, check=of_kind("checkpoint")):
        await graph.aget_state(asked)
    await graph.ainvoke({"log": []}, THREAD)
    assert (await nested_state(graph)).values == {"log": ["n"]}


async def test_finished_tasks_of_an_entrypoint_do_not_run_again_in_a_copy(saver: Checkpointer) -> None:
    calls = Nodes()

    @task
    async def pay(amount: int) -> int:
        calls.note(f"pay {amount}")
        return amount

    @entrypoint(checkpointer=saver)
    async def flow(amount: int, *, previous: Any = None) -> list[Any]:
        return [previous, await pay(amount), interrupt("more?"), await pay(amount + 1)]

    await flow.ainvoke(1, THREAD)
    await flow.acopy_thread("t", "copy")
    calls.taken()

    assert await flow.ainvoke(Command(resume="theirs"), COPY) == [None, 1, "theirs", 2]
    assert await flow.ainvoke(Command(resume="mine"), THREAD) == [None, 1, "mine", 2]
    assert calls.taken() == ["pay 2", "pay 2"]
    await flow.ainvoke(5, COPY)
    assert await flow.ainvoke(Command(resume="on"), COPY) == [[None, 1, "theirs", 2], 5, "on", 6]


async def test_a_running_thread_can_be_copied_and_cannot_be_deleted(saver: Checkpointer) -> None:
    has_begun, gate = asyncio.Event(), asyncio.Event()

    async def waits(state: State) -> State:
        has_begun.set()
        await gate.wait()
        return {"log": ["waited"]}

    calls = Nodes()
    graph = calls.chain("a", ("waits", waits)).compile(saver)
    run = asyncio.create_task(graph.ainvoke({"log": []}, THREAD))
    await has_begun.wait()

    with pytest.raises(ThreadBusyError):
        await graph.adelete_thread("t")
    await graph.acopy_thread("t", "copy")
    gate.set()

    assert await run == await graph.ainvoke(None, COPY) == {"log": ["a", "waited"]}
    assert calls.taken() == ["a"]


async def test_deleting_and_copying_need_a_checkpointer() -> None:
    graph = Nodes().chain("a").compile()

    with pytest.raises(MissingCheckpointerError, match="adelete_thread"):
        await graph.adelete_thread("t")
    with pytest.raises(MissingCheckpointerError, match="acopy_thread"):
        await graph.acopy_thread("t", "copy")
