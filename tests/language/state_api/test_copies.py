"""Copies of a checkpoint on a line of their own, copies of whole threads, and their deletion."""

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


def remembering(calls: Nodes) -> Any:
    """A graph with memory per thread, which asks."""
    return calls.chain("n", "ask?").compile(checkpointer=True)


async def test_a_copy_of_a_checkpoint_is_a_fork_that_runs_what_it_runs(saver: Checkpointer) -> None:
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


async def test_a_copy_writes_the_results_of_its_tasks_by_hand(saver: Checkpointer) -> None:
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


async def test_a_copy_of_the_head_drops_nothing_unseen(saver: Checkpointer) -> None:
    graph = Nodes().chain("a", "ask?").compile(saver)
    await graph.ainvoke({"log": []}, THREAD)
    asked = await graph.aget_state(THREAD)

    await graph.aupdate_state(asked.config, None, as_node="__copy__")

    copied = await graph.aget_state(THREAD)
    assert (copied.values, copied.next) == (asked.values, asked.next)
    assert (await graph.aget_state(asked.config)).interrupts == asked.interrupts


async def test_values_of_a_copy_are_updates_of_its_tasks(saver: Checkpointer) -> None:
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


async def test_a_copied_thread_and_its_original_go_their_own_ways(saver: Checkpointer) -> None:
    graph = Nodes().chain("a").compile(saver)
    await graph.ainvoke({"log": []}, THREAD)
    await graph.acopy_thread("t", "copy")

    await graph.ainvoke({"log": ["mine"]}, THREAD)
    await graph.aupdate_state(COPY, {"log": ["theirs"]})

    assert (await graph.aget_state(THREAD)).values == {"log": ["a", "mine", "a"]}
    assert (await graph.aget_state(COPY)).values == {"log": ["a", "theirs"]}


async def test_the_question_of_a_copied_thread_is_its_own(saver: Checkpointer) -> None:
    graph = Nodes().chain("a", "ask?").compile(saver)
    await graph.ainvoke({"log": []}, THREAD)
    await graph.acopy_thread("t", "copy")

    assert [each.value for each in (await graph.aget_state(COPY)).interrupts] == ["ask?"]
    assert await graph.ainvoke(Command(resume="theirs"), COPY) == {"log": ["a", "ask=theirs"]}
    assert await graph.ainvoke(Command(resume="mine"), THREAD) == {"log": ["a", "ask=mine"]}


async def test_what_had_finished_in_a_thread_has_finished_in_its_copy(saver: Checkpointer) -> None:
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


async def test_a_thread_is_copied_to_a_new_one_only(saver: Checkpointer) -> None:
    graph = Nodes().chain("a").compile(saver)
    await graph.ainvoke({"log": []}, THREAD)
    await graph.ainvoke({"log": []}, COPY)

    with pytest.raises(ThreadExistsError, match="'copy' already exists"):
        await graph.acopy_thread("t", "copy")
    with pytest.raises(UnknownThreadError, match="'nobody'"):
        await graph.acopy_thread("nobody", "new")


async def test_a_deleted_thread_is_empty_and_its_ids_come_not_back(saver: Checkpointer) -> None:
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


async def test_deleting_a_thread_leaves_the_others(saver: Checkpointer) -> None:
    graph = Nodes().chain("a").compile(saver)
    await graph.ainvoke({"log": []}, THREAD)
    await graph.acopy_thread("t", "copy")

    await graph.adelete_thread("t")
    await graph.adelete_thread("t")

    assert (await graph.aget_state(COPY)).values == {"log": ["a"]}


async def test_deleting_a_thread_deletes_what_nested_graphs_kept_of_it(saver: Checkpointer) -> None:
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


async def test_what_nested_graphs_keep_is_copied_with_the_thread(saver: Checkpointer) -> None:
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


async def test_a_nested_question_survives_the_copy(saver: Checkpointer) -> None:
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


async def test_the_lines_of_nested_graphs_are_copied_with_the_thread(saver: Checkpointer) -> None:
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

    # The first line can be gone back to in the copy as well, where the original has not moved.
    in_copy = {"configurable": {**asked["configurable"], "thread_id": "copy"}}
    assert questions_of(await graph.ainvoke(None, in_copy)) == ["ask?"]
    assert await graph.ainvoke(Command(resume="third"), COPY) == {"log": ["n", "ask=third", "m", "z"]}
    assert (await nested_state(graph)).values == {"log": ["n", "edited"]}


async def test_a_question_of_a_graph_with_memory_is_copied_with_what_it_remembers(saver: Checkpointer) -> None:
    calls = Nodes()
    graph = calls.chain(("nested", remembering(calls))).compile(saver)
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


async def test_a_deleted_thread_neither_asks_nor_remembers(saver: Checkpointer) -> None:
    calls = Nodes()
    graph = calls.chain(("nested", remembering(calls))).compile(saver)
    await graph.ainvoke({"log": []}, THREAD)
    asked = (await nested_state(graph)).config

    await graph.adelete_thread("t")

    with pytest.raises(NothingToResumeError):
        await graph.ainvoke(Command(resume="yes"), THREAD)
    with pytest.raises(UnknownNameError, check=of_kind("checkpoint")):
        await graph.aget_state(asked)
    await graph.ainvoke({"log": []}, THREAD)
    assert (await nested_state(graph)).values == {"log": ["n"]}


async def test_tasks_that_had_ended_in_a_thread_have_ended_in_its_copy(saver: Checkpointer) -> None:
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


async def test_a_thread_that_is_run_is_copied_as_it_stands_and_not_deleted(saver: Checkpointer) -> None:
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
