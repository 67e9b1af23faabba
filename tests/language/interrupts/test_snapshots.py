"""Snapshots of a thread that waits for an answer."""

from typing import Any

import pytest

from durable_graph import START, Checkpointer, Command, Durability, Send, StateGraph, interrupt
from tests.graphs import Nodes, State, chain, fan_out, interrupt_ids, interrupts_of, questions_of


async def test_a_snapshot_has_the_open_interrupts_and_their_tasks(saver: Checkpointer, durability: Durability) -> None:
    nodes = Nodes()
    graph = chain(("before", nodes.noting("before")), ("ask", nodes.asking("ask", "sure?"))).compile(saver)
    result = await graph.ainvoke({"log": ["in"]}, thread_id="t", durability=durability)

    snapshot = await graph.aget_state(thread_id="t")

    assert snapshot.values == {"log": ["in", "before"]}
    assert snapshot.next == ("ask",)
    assert snapshot.interrupts == tuple(interrupts_of(result))
    (task,) = snapshot.tasks
    assert (task.name, task.interrupts, task.error, task.result) == ("ask", snapshot.interrupts, None, None)


async def test_a_snapshot_has_the_same_interrupt_ids_as_the_result_of_the_run(
    saver: Checkpointer, durability: Durability
) -> None:
    nodes = Nodes()
    graph = fan_out(("a", nodes.asking("a", "a?")), ("b", nodes.asking("b", "b?"))).compile(saver)
    found = interrupt_ids(await graph.ainvoke({}, thread_id="t", durability=durability))

    rebuilt = fan_out(("a", nodes.asking("a", "a?")), ("b", nodes.asking("b", "b?"))).compile(saver)

    assert interrupt_ids((await rebuilt.aget_state(thread_id="t")).interrupts) == found


async def test_a_finished_sibling_no_longer_interrupts(saver: Checkpointer, durability: Durability) -> None:
    nodes = Nodes()
    graph = fan_out(("a", nodes.asking("a", "a?")), ("b", nodes.asking("b", "b?"))).compile(saver)
    found = interrupt_ids(await graph.ainvoke({"log": []}, thread_id="t", durability=durability))

    await graph.ainvoke(Command(resume={found["a?"]: "yes"}), thread_id="t", durability=durability)

    snapshot = await graph.aget_state(thread_id="t")
    a, b = snapshot.tasks
    assert snapshot.values == {"log": ["a:yes"]}
    assert (snapshot.next, questions_of(snapshot.interrupts)) == (("b",), ["b?"])
    assert (a.interrupts, a.result) == ((), {"log": ["a:yes"]})
    assert (questions_of(b.interrupts), b.result) == (["b?"], None)


async def test_a_node_that_interrupted_again_shows_only_its_second_interrupt(saver: Checkpointer) -> None:
    nodes = Nodes()
    graph = fan_out(("a", nodes.asking("a", "a1?", "a2?")), ("b", nodes.asking("b", "b?"))).compile(saver)
    found = interrupt_ids(await graph.ainvoke({}, thread_id="t"))

    await graph.ainvoke(Command(resume={found["a1?"]: "one"}), thread_id="t")

    snapshot = await graph.aget_state(thread_id="t")
    assert questions_of(snapshot.interrupts) == ["a2?", "b?"]
    assert snapshot.next == ("a", "b")
    assert [questions_of(task.interrupts) for task in snapshot.tasks] == [["a2?"], ["b?"]]


async def test_a_finished_thread_has_no_interrupt(saver: Checkpointer) -> None:
    graph = chain(("ask", Nodes().asking("ask", "sure?"))).compile(saver)
    await graph.ainvoke({}, thread_id="t")
    await graph.ainvoke(Command(resume="yes"), thread_id="t")

    snapshot = await graph.aget_state(thread_id="t")

    assert (snapshot.next, snapshot.interrupts, snapshot.tasks) == ((), (), ())


async def test_threads_that_wait_for_an_answer_can_be_listed(saver: Checkpointer, durability: Durability) -> None:
    """LangGraph cannot list them (its issue 6362)."""
    nodes = Nodes()
    asking = chain(("ask", nodes.asking("ask", "sure?"))).compile(saver)
    noting = chain(("a", nodes.noting("a"))).compile(saver)
    await asking.ainvoke({}, thread_id="waits", durability=durability)
    await asking.ainvoke({}, thread_id="answered", durability=durability)
    await noting.ainvoke({}, thread_id="done", durability=durability)
    await asking.ainvoke(Command(resume="yes"), thread_id="answered", durability=durability)

    assert [thread.thread for thread in await saver.list_threads(status="interrupted")] == ["waits"]


async def test_a_thread_stays_interrupted_until_its_last_interrupt_is_answered(saver: Checkpointer) -> None:
    nodes = Nodes()
    graph = fan_out(("a", nodes.asking("a", "a?")), ("b", nodes.asking("b", "b?"))).compile(saver)
    found = interrupt_ids(await graph.ainvoke({}, thread_id="t"))
    await graph.ainvoke(Command(resume={found["a?"]: "yes"}), thread_id="t")

    assert [thread.status for thread in await saver.list_threads()] == ["interrupted"]
    await graph.ainvoke(Command(resume="no"), thread_id="t")
    assert [thread.status for thread in await saver.list_threads()] == ["done"]


async def test_history_shows_each_interrupt_at_the_checkpoint_where_it_was_raised(saver: Checkpointer) -> None:
    nodes = Nodes()
    graph = chain(("a", nodes.asking("a", "a?")), ("b", nodes.asking("b", "b?"))).compile(saver)
    await graph.ainvoke({}, thread_id="t")
    await graph.ainvoke(Command(resume=1), thread_id="t")
    await graph.ainvoke(Command(resume=2), thread_id="t")

    history = [snapshot async for snapshot in graph.aget_state_history(thread_id="t")]

    assert [snapshot.next for snapshot in history] == [(), ("b",), ("a",)]
    assert [questions_of(snapshot.interrupts) for snapshot in history] == [[], ["b?"], ["a?"]]


async def test_answers_make_no_checkpoint_of_their_own(saver: Checkpointer) -> None:
    nodes = Nodes()
    graph = chain(("ask", nodes.asking("ask", "first?", "second?"))).compile(saver)
    await graph.ainvoke({}, thread_id="t")
    before = len([snapshot async for snapshot in graph.aget_state_history(thread_id="t")])

    await graph.ainvoke(Command(resume=1), thread_id="t")

    assert len([snapshot async for snapshot in graph.aget_state_history(thread_id="t")]) == before


async def test_interrupted_sends_are_distinguished_in_a_snapshot(saver: Checkpointer) -> None:
    async def work(job: Any) -> State:
        return {"log": [f"{job}:{interrupt(job)}"]}

    builder = StateGraph(State)
    builder.add_node("work", work)
    builder.add_conditional_edges(START, lambda _: [Send("work", job) for job in "xy"], ["work"])
    graph = builder.compile(saver)
    found = interrupt_ids(await graph.ainvoke({}, thread_id="t"))
    await graph.ainvoke(Command(resume={found["x"]: 1}), thread_id="t")

    snapshot = await graph.aget_state(thread_id="t")

    assert snapshot.next == ("work",)
    assert [(task.name, task.result, questions_of(task.interrupts)) for task in snapshot.tasks] == [
        ("work", {"log": ["x:1"]}, []),
        ("work", None, ["y"]),
    ]


async def test_a_node_that_failed_after_its_answer_shows_the_error_and_no_interrupt(saver: Checkpointer) -> None:
    async def ask(state: State) -> State:
        interrupt("sure?")
        message = "after the answer"
        raise ValueError(message)

    graph = chain(("ask", ask)).compile(saver)
    await graph.ainvoke({}, thread_id="t")
    with pytest.raises(ValueError, match="after the answer"):
        await graph.ainvoke(Command(resume="yes"), thread_id="t")

    snapshot = await graph.aget_state(thread_id="t")

    assert (snapshot.next, snapshot.interrupts) == (("ask",), ())
    assert snapshot.tasks[0].error == "ValueError('after the answer')"
    assert [thread.status for thread in await saver.list_threads()] == ["failed"]
