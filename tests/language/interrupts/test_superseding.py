"""New input on a thread that waits for an answer: every superseded interrupt is recorded."""

import pytest

from durable_graph import (
    Checkpointer,
    Command,
    Durability,
    NothingToResumeError,
    UnfinishedThreadError,
    UnknownInterruptError,
)
from tests.graphs import Nodes, chain, fan_out, interrupt_ids, questions_of


async def test_new_input_records_the_open_interrupt_as_superseded(saver: Checkpointer, durability: Durability) -> None:
    """Reference P13: the interrupt was lost without a trace."""
    graph = chain(("ask", Nodes().asking("ask", "sure?"))).compile(saver)
    await graph.ainvoke({"log": ["one"]}, thread_id="t", durability=durability)
    (waiting,) = (await graph.aget_state(thread_id="t")).tasks

    result = await graph.ainvoke({"log": ["two"]}, thread_id="t", durability=durability)

    assert questions_of(result) == ["sure?"]
    snapshot = await graph.aget_state(thread_id="t")
    assert snapshot.values == {"log": ["one", "two"]}
    assert [(task.id, task.name, task.outcome, task.error) for task in snapshot.superseded] == [
        (waiting.id, "ask", "interrupted", None)
    ]


async def test_the_interrupt_after_new_input_has_a_new_id(saver: Checkpointer) -> None:
    """Reference P13."""
    graph = chain(("ask", Nodes().asking("ask", "sure?"))).compile(saver)
    first = interrupt_ids(await graph.ainvoke({}, thread_id="t"))["sure?"]
    second = interrupt_ids(await graph.ainvoke({}, thread_id="t"))["sure?"]

    assert first != second
    with pytest.raises(UnknownInterruptError, match=first) as refused:
        await graph.ainvoke(Command(resume={first: "yes"}), thread_id="t")
    assert refused.value.open_ids == (second,)


async def test_the_update_of_an_answered_node_is_kept_at_new_input(saver: Checkpointer) -> None:
    """Reference P13."""
    nodes = Nodes()
    graph = fan_out(("a", nodes.asking("a", "a?")), ("b", nodes.asking("b", "b?"))).compile(saver)
    found = interrupt_ids(await graph.ainvoke({}, thread_id="t"))
    await graph.ainvoke(Command(resume={found["a?"]: "yes"}), thread_id="t")

    await graph.ainvoke({"log": ["new"]}, thread_id="t")

    snapshot = await graph.aget_state(thread_id="t")
    assert snapshot.values == {"log": ["a:yes", "new"]}
    assert [(task.name, task.outcome) for task in snapshot.superseded] == [("b", "interrupted")]


async def test_new_input_at_a_breakpoint_records_the_stopped_node_as_superseded(saver: Checkpointer) -> None:
    graph = chain(("a", Nodes().noting("a"))).compile(saver, interrupt_before=["a"])
    await graph.ainvoke({"log": ["one"]}, thread_id="t")

    await graph.ainvoke({"log": ["two"]}, thread_id="t")

    snapshot = await graph.aget_state(thread_id="t")
    assert [(task.name, task.outcome) for task in snapshot.superseded] == [("a", "interrupted")]


async def test_new_input_with_if_unfinished_reject_is_refused_at_an_open_interrupt(saver: Checkpointer) -> None:
    graph = chain(("ask", Nodes().asking("ask", "sure?"))).compile(saver)
    found = interrupt_ids(await graph.ainvoke({}, thread_id="t"))

    with pytest.raises(UnfinishedThreadError, match="'t' still has to run: ask"):
        await graph.ainvoke({}, thread_id="t", if_unfinished="reject")

    assert interrupt_ids((await graph.aget_state(thread_id="t")).interrupts) == found


async def test_new_input_with_if_unfinished_resume_is_refused_at_an_open_interrupt(saver: Checkpointer) -> None:
    nodes = Nodes()
    graph = chain(("ask", nodes.asking("ask", "sure?"))).compile(saver)
    found = interrupt_ids(await graph.ainvoke({"log": ["one"]}, thread_id="t"))

    with pytest.raises(UnfinishedThreadError, match=r"'t' .*: ask; answer .* or pass if_unfinished='supersede'$"):
        await graph.ainvoke({"log": ["two"]}, thread_id="t", if_unfinished="resume")

    snapshot = await graph.aget_state(thread_id="t")
    assert (interrupt_ids(snapshot.interrupts), snapshot.values) == (found, {"log": ["one"]})
    assert nodes.calls == {"ask": 1}


async def test_new_input_with_the_run_id_of_the_last_run_is_not_ignored(saver: Checkpointer) -> None:
    """Reference P14: new input with the run_id of the last run was ignored."""
    graph = chain(("a", Nodes().noting("a"))).compile(saver)
    config = {"configurable": {"thread_id": "t"}, "run_id": "11111111-2222-3333-4444-555555555555"}

    await graph.ainvoke({"log": ["one"]}, config)
    result = await graph.ainvoke({"log": ["two"]}, config)

    assert result == {"log": ["one", "a", "two", "a"]}


async def test_an_answer_is_refused_after_new_input_has_finished_the_thread(saver: Checkpointer) -> None:
    nodes = Nodes()
    asking = chain(("ask", nodes.asking("ask", "sure?"))).compile(saver)
    found = interrupt_ids(await asking.ainvoke({}, thread_id="t"))
    noting = chain(("ask", nodes.noting("ask"))).compile(saver)
    await noting.ainvoke({}, thread_id="t")

    with pytest.raises((NothingToResumeError, UnknownInterruptError)):
        await asking.ainvoke(Command(resume={found["sure?"]: "yes"}), thread_id="t")


async def test_interrupt_ids_of_a_deleted_thread_are_never_used_again(saver: Checkpointer) -> None:
    graph = chain(("ask", Nodes().asking("ask", "sure?"))).compile(saver)
    first = interrupt_ids(await graph.ainvoke({}, thread_id="t"))
    await saver.delete_thread("t")
    second = interrupt_ids(await graph.ainvoke({}, thread_id="t"))

    assert first != second
    with pytest.raises(UnknownInterruptError):
        await graph.ainvoke(Command(resume={first["sure?"]: "yes"}), thread_id="t")
