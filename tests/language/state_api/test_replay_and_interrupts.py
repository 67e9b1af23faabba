"""A replay from before an interrupt interrupts again, with a new id; the old branch keeps the old answer."""

import pytest

from durable_graph import Checkpointer, Command
from tests.graphs import THREAD, Nodes, checkpoint_before, history, interrupts_of, newest_before, questions_of


async def answered(saver: Checkpointer, calls: Nodes) -> object:
    """A graph with a thread whose only interrupt was answered with "old"."""
    graph = calls.chain("a", "ask?", "b").compile(saver)
    await graph.ainvoke({"log": []}, THREAD)
    assert await graph.ainvoke(Command(resume="old"), THREAD) == {"log": ["a", "ask=old", "b"]}
    calls.taken()
    return graph


async def test_an_update_before_an_answered_interrupt_interrupts_again_with_the_update(saver: Checkpointer) -> None:
    graph = Nodes().chain("a", "ask?", "b").compile(saver)
    await graph.ainvoke({"log": []}, THREAD)
    await graph.ainvoke(Command(resume="old"), THREAD)

    fork = await graph.aupdate_state(await checkpoint_before(graph, "ask"), {"log": ["x"]})

    assert questions_of(await graph.ainvoke(None, fork)) == ["ask?"]
    assert await graph.ainvoke(Command(resume="new"), fork) == {"log": ["a", "x", "ask=new", "b"]}


async def test_an_update_at_a_pending_interrupt_interrupts_again_with_a_new_id(saver: Checkpointer) -> None:
    graph = Nodes().chain("a", "ask?", "b").compile(saver)
    first = await graph.ainvoke({"log": []}, THREAD)

    await graph.aupdate_state(THREAD, {"log": ["x"]})
    again = await graph.ainvoke(None, THREAD)

    assert questions_of(again) == ["ask?"]
    assert interrupts_of(again)[0].id != interrupts_of(first)[0].id
    assert await graph.ainvoke(Command(resume="new"), THREAD) == {"log": ["a", "x", "ask=new", "b"]}


async def test_a_checkpoint_shows_the_interrupt_of_its_task(saver: Checkpointer) -> None:
    graph = Nodes().chain("a", "ask?", "b").compile(saver)
    result = await graph.ainvoke({"log": []}, THREAD)

    shown = newest_before(await history(graph), "ask")

    assert shown.tasks[0].interrupts == tuple(interrupts_of(result))
    assert shown.interrupts == tuple(interrupts_of(result))


@pytest.mark.parametrize("as_node", [None, "__copy__"])
async def test_an_update_without_values_interrupts_again(saver: Checkpointer, as_node: str | None) -> None:
    graph = Nodes().chain("a", "ask?", "b").compile(saver)
    await graph.ainvoke({"log": []}, THREAD)
    await graph.ainvoke(Command(resume="old"), THREAD)

    fork = await graph.aupdate_state(await checkpoint_before(graph, "ask"), None, as_node=as_node)

    assert questions_of(await graph.ainvoke(None, fork)) == ["ask?"]
    assert await graph.ainvoke(Command(resume="new"), fork) == {"log": ["a", "ask=new", "b"]}
    assert ((await graph.aget_state(fork)).metadata or {})["source"] == ("update" if as_node is None else "fork")


async def test_the_old_answer_stays_on_the_old_branch(saver: Checkpointer) -> None:
    calls = Nodes()
    graph = await answered(saver, calls)
    finished = (await history(graph))[0]

    await graph.ainvoke(None, await checkpoint_before(graph, "ask"))  # type: ignore[attr-defined]

    assert await graph.aget_state(finished.config) == finished  # type: ignore[attr-defined]
