"""Questions and answers outlive the process that asked them."""

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


async def test_a_file_that_is_opened_again_still_has_the_question(tmp_path: Path, durability: Durability) -> None:
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


async def test_ids_are_the_same_however_often_the_run_is_resumed(saver: Checkpointer) -> None:
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


async def test_a_run_that_failed_after_an_answer_does_not_ask_again(
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


async def test_an_answer_that_was_taken_survives_a_cancellation(saver: Checkpointer, durability: Durability) -> None:
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


async def test_an_answer_is_durable_before_the_node_that_asked_runs(
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


# Two at once


async def test_of_two_that_answer_at_once_one_learns_the_others_answer(saver: Checkpointer) -> None:
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


async def test_two_that_answer_different_questions_at_once_are_both_accepted(saver: Checkpointer) -> None:
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
async def test_two_that_answer_different_questions_of_one_nested_graph_are_both_accepted(
    saver: Checkpointer, memory: bool | None
) -> None:
    """The answers are in one record. The run that is at work asks for the second one, and finds it there."""
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
    """A process of its own that has the file open and waits to be told to answer."""
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


async def told(process: asyncio.subprocess.Process) -> str:
    """What it is told once it has answered."""
    out, _ = await process.communicate(b"go\n")
    assert process.returncode == 0
    return out.decode().strip()


async def test_of_processes_that_answer_one_question_one_wins_and_the_others_learn_its_answer(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    async with SqliteSaver(path) as saver:
        question = interrupt_ids(await asking().compile(saver).ainvoke({}, thread_id="t"))["which colour?"]
    answers = ["red", "green", "blue"]

    processes = await asyncio.gather(*(answering(path, question, answer) for answer in answers))
    outcomes = await asyncio.gather(*(told(process) for process in processes))

    (won,) = [answer for answer in answers if f"accepted {answer}" in outcomes]
    assert sorted(outcomes) == [f"accepted {won}", f"answered {won}", f"answered {won}"]
    async with SqliteSaver(path) as saver:
        graph = asking().compile(saver)
        assert questions_of((await graph.aget_state(thread_id="t")).interrupts) == ["are you sure?"]
        assert await graph.ainvoke(Command(resume="yes"), thread_id="t") == {"log": [won, "yes"]}
