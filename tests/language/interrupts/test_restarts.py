"""Interrupts and answers outlive the process that ran the graph."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

from durable_graph import (
    Checkpointer,
    Command,
    Durability,
    InterruptAnsweredError,
    StateGraph,
    interrupt,
)
from durable_graph.testing.crash import CrashingSaver
from durable_graph_sqlite import SqliteSaver
from tests.graphs import Nodes, State, chain, fan_out, interrupt_ids, questions_of
from tests.language.interrupts.answering_process import asking

pytestmark = [pytest.mark.every_store, pytest.mark.slow]


async def test_a_reopened_file_still_has_the_interrupt(tmp_path: Path, durability: Durability) -> None:
    async with SqliteSaver(tmp_path / "runs.db") as saver:
        graph = chain(("ask", Nodes().asking("ask", "first?", "second?"))).compile(saver)
        found = interrupt_ids(await graph.ainvoke({}, thread_id="t", durability=durability))

    nodes = Nodes()
    async with SqliteSaver(tmp_path / "runs.db") as saver:
        graph = chain(("ask", nodes.asking("ask", "first?", "second?"))).compile(saver)
        snapshot = await graph.aget_state(thread_id="t")
        assert interrupt_ids(snapshot.interrupts) == found
        result = await graph.ainvoke(Command(resume={found["first?"]: "1"}), thread_id="t", durability=durability)
        assert questions_of(result) == ["second?"]

    async with SqliteSaver(tmp_path / "runs.db") as saver:
        graph = chain(("ask", nodes.asking("ask", "first?", "second?"))).compile(saver)
        result = await graph.ainvoke(Command(resume="2"), thread_id="t", durability=durability)

    assert result == {"log": ["ask:1,2"]}
    assert nodes.calls == {"ask": 2}


async def test_interrupt_ids_are_the_same_after_each_resume(saver: Checkpointer) -> None:
    nodes = Nodes()

    def rebuilt() -> StateGraph[State]:
        return fan_out(("a", nodes.asking("a", "a1?", "a2?")), ("b", nodes.asking("b", "b?")))

    first = interrupt_ids(await rebuilt().compile(saver).ainvoke({}, thread_id="t"))
    second = interrupt_ids(await rebuilt().compile(saver).ainvoke(None, thread_id="t"))
    third = interrupt_ids(await rebuilt().compile(saver).ainvoke(Command(resume={first["a1?"]: 1}), thread_id="t"))
    fourth = interrupt_ids((await rebuilt().compile(saver).aget_state(thread_id="t")).interrupts)

    assert first == second
    assert third["b?"] == first["b?"]
    assert third == fourth


async def test_a_run_that_failed_after_an_answer_does_not_interrupt_again(
    saver: Checkpointer, durability: Durability
) -> None:
    """Reference P20, over a restart."""
    nodes = Nodes()
    failing = True
    ask = nodes.asking("ask", "delete it?")

    async def node(state: State) -> State:
        written = await ask(state)
        if failing:
            raise ConnectionError
        return written

    await chain(("ask", node)).compile(saver).ainvoke({}, thread_id="t", durability=durability)
    with pytest.raises(ConnectionError):
        await chain(("ask", node)).compile(saver).ainvoke(Command(resume="yes"), thread_id="t", durability=durability)
    failing = False

    result = await chain(("ask", node)).compile(saver).ainvoke(None, thread_id="t", durability=durability)

    assert result == {"log": ["ask:yes"]}
    assert nodes.calls == {"ask": 3}


async def test_an_accepted_answer_survives_a_cancellation(saver: Checkpointer, durability: Durability) -> None:
    entered = asyncio.Event()
    gate = asyncio.Event()

    async def node(state: State) -> State:
        answer = interrupt("sure?")
        entered.set()
        await gate.wait()
        return {"log": [answer]}

    graph = chain(("node", node)).compile(saver)
    question = interrupt_ids(await graph.ainvoke({}, thread_id="t", durability=durability))["sure?"]
    running = asyncio.create_task(
        graph.ainvoke(Command(resume={question: "yes"}), thread_id="t", durability=durability)
    )
    await entered.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    gate.set()

    with pytest.raises(InterruptAnsweredError) as refused:
        await graph.ainvoke(Command(resume={question: "no"}), thread_id="t", durability=durability)
    assert refused.value.answer == "yes"
    assert await graph.ainvoke(None, thread_id="t", durability=durability) == {"log": ["yes"]}


async def test_an_answer_is_durable_before_the_interrupted_node_runs_again(
    saver: Checkpointer, durability: Durability
) -> None:
    seen: list[object] = []

    async def node(state: State) -> State:
        answer = interrupt("sure?")
        seen.append((await graph.aget_state(thread_id="t")).interrupts)
        return {"log": [answer]}

    graph = chain(("node", node)).compile(saver)
    await graph.ainvoke({}, thread_id="t", durability=durability)

    await graph.ainvoke(Command(resume="yes"), thread_id="t", durability=durability)

    assert seen == [()]


# Concurrent answers


async def test_a_second_answer_during_the_resumed_run_is_refused_with_the_first_answer(saver: Checkpointer) -> None:
    gate = asyncio.Event()
    entered = asyncio.Event()

    async def node(state: State) -> State:
        answer = interrupt("sure?")
        entered.set()
        await gate.wait()
        return {"log": [answer]}

    graph = chain(("node", node)).compile(saver)
    question = interrupt_ids(await graph.ainvoke({}, thread_id="t"))["sure?"]
    first = asyncio.create_task(graph.ainvoke(Command(resume={question: "first"}), thread_id="t"))
    await entered.wait()

    elsewhere = chain(("node", node)).compile(CrashingSaver(saver))
    with pytest.raises(InterruptAnsweredError) as refused:
        await elsewhere.ainvoke(Command(resume={question: "second"}), thread_id="t")

    assert refused.value.answer == "first"
    gate.set()
    assert await first == {"log": ["first"]}


async def test_concurrent_answers_to_different_interrupts_are_both_accepted(saver: Checkpointer) -> None:
    gate = asyncio.Event()
    entered = asyncio.Event()

    def waiting(name: str) -> Any:
        async def node(state: State) -> State:
            answer = interrupt(f"{name}?")
            entered.set()
            await gate.wait()
            return {"log": [f"{name}:{answer}"]}

        return node

    builder = fan_out(("a", waiting("a")), ("b", waiting("b")))
    graph, elsewhere = builder.compile(saver), builder.compile(CrashingSaver(saver))
    found = interrupt_ids(await graph.ainvoke({}, thread_id="t"))
    first = asyncio.create_task(graph.ainvoke(Command(resume={found["a?"]: 1}), thread_id="t"))
    await entered.wait()
    second = await elsewhere.ainvoke(Command(resume={found["b?"]: 2}), thread_id="t")
    gate.set()

    assert second == {"log": [], "__answered__": [found["b?"]]}
    assert await first == {"log": ["a:1", "b:2"]}
    snapshot = await graph.aget_state(thread_id="t")
    assert (snapshot.values["log"], snapshot.interrupts, snapshot.next) == (["a:1", "b:2"], (), ())


@pytest.mark.parametrize("memory", [None, True, False])
async def test_concurrent_answers_to_different_interrupts_of_one_nested_graph_are_both_accepted(
    saver: Checkpointer, memory: bool | None
) -> None:
    """Both answers are in one record. The current run reads the second answer from it."""
    gate = asyncio.Event()
    entered = asyncio.Event()

    def waiting(name: str) -> Any:
        async def node(state: State) -> State:
            answer = interrupt(f"{name}?")
            entered.set()
            await gate.wait()
            return {"log": [f"{name}:{answer}"]}

        return node

    inner = fan_out(("a", waiting("a")), ("b", waiting("b"))).compile(checkpointer=memory)
    builder = chain(("inner", inner), ("after", Nodes().noting("after")))
    graph, elsewhere = builder.compile(saver), builder.compile(CrashingSaver(saver))
    found = interrupt_ids(await graph.ainvoke({}, thread_id="t"))
    first = asyncio.create_task(graph.ainvoke(Command(resume={found["a?"]: 1}), thread_id="t"))
    await entered.wait()
    second = await elsewhere.ainvoke(Command(resume={found["b?"]: 2}), thread_id="t")
    gate.set()

    assert second == {"log": [], "__answered__": [found["b?"]]}
    assert await first == {"log": ["a:1", "b:2", "after"]}


async def answering(path: Path, interrupt_id: str, answer: str) -> asyncio.subprocess.Process:
    """A separate process that has opened the file and waits for a line on stdin before it answers."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.language.interrupts.answering_process",
        str(path),
        interrupt_id,
        answer,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"ready\n"
    return process


async def outcome_of(process: asyncio.subprocess.Process) -> str:
    """The line that the process prints after its answer."""
    out, _ = await process.communicate(b"go\n")
    assert process.returncode == 0
    return out.decode().strip()


async def test_of_concurrent_answers_of_several_processes_one_is_accepted_and_reported_to_all(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    async with SqliteSaver(path) as saver:
        question = interrupt_ids(await asking().compile(saver).ainvoke({}, thread_id="t"))["which colour?"]
    answers = ["red", "green", "blue"]

    processes = await asyncio.gather(*(answering(path, question, answer) for answer in answers))
    outcomes = await asyncio.gather(*(outcome_of(process) for process in processes))

    (won,) = [answer for answer in answers if f"accepted {answer}" in outcomes]
    assert sorted(outcomes) == [f"accepted {won}", f"answered {won}", f"answered {won}"]
    async with SqliteSaver(path) as saver:
        graph = asking().compile(saver)
        assert questions_of((await graph.aget_state(thread_id="t")).interrupts) == ["are you sure?"]
        assert await graph.ainvoke(Command(resume="yes"), thread_id="t") == {"log": [won, "yes"]}
