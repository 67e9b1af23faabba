"""Past checkpoints list the interrupts that their tasks raised."""

from dataclasses import dataclass
from typing import Any

import pytest

from durable_graph import (
    START,
    Checkpointer,
    Command,
    Durability,
    InterruptAnsweredError,
    RetryPolicy,
    StateGraph,
    StateSnapshot,
    interrupt,
)
from tests.graphs import Nodes, State, chain, fan_out, interrupt_ids, interrupts_of, questions_of


@dataclass
class Form:
    title: str


async def _history(graph: Any, thread_id: str = "t", **more: Any) -> list[StateSnapshot]:
    return [snapshot async for snapshot in graph.aget_state_history(thread_id=thread_id, **more)]


def _interrupt_values(snapshots: list[StateSnapshot]) -> list[list[Any]]:
    return [questions_of(snapshot.interrupts) for snapshot in snapshots]


async def test_a_past_checkpoint_lists_an_answered_interrupt(saver: Checkpointer, durability: Durability) -> None:
    graph = chain(("ask", Nodes().asking("ask", "sure?")), ("b", Nodes().noting("b"))).compile(saver)
    stopped = await graph.ainvoke({"log": []}, thread_id="t", durability=durability)
    await graph.ainvoke(Command(resume="yes"), thread_id="t", durability=durability)

    last, *past = await _history(graph)
    at = past[-1]

    assert last.interrupts == ()
    assert _interrupt_values(past) == [*[[]] * (len(past) - 1), ["sure?"]]
    assert at.interrupts == tuple(interrupts_of(stopped))
    (task,) = at.tasks
    assert task.interrupts == at.interrupts
    assert task.result == (None if durability == "exit" else {"log": ["ask:yes"]})
    assert at.next == ("ask",)


async def test_a_read_by_checkpoint_id_lists_the_same_interrupts(saver: Checkpointer) -> None:
    graph = chain(("ask", Nodes().asking("ask", "sure?"))).compile(saver)
    await graph.ainvoke({}, thread_id="t")
    waiting = await graph.aget_state(thread_id="t")
    assert questions_of((await graph.aget_state(waiting.config)).interrupts) == ["sure?"]
    await graph.ainvoke(Command(resume="yes"), thread_id="t")

    past = await graph.aget_state(waiting.config)

    assert past.interrupts == waiting.interrupts
    assert past.status is None
    assert (await graph.aget_state(thread_id="t")).status == "done"


async def test_a_superseded_interrupt_stays_listed(saver: Checkpointer) -> None:
    graph = chain(("ask", Nodes().asking("ask", "sure?"))).compile(saver)
    await graph.ainvoke({"log": ["one"]}, thread_id="t")
    await graph.ainvoke({"log": ["two"]}, thread_id="t", if_unfinished="supersede")

    newest, first = await _history(graph)

    assert questions_of(newest.interrupts) == questions_of(first.interrupts) == ["sure?"]
    assert newest.interrupts != first.interrupts


async def test_an_interrupt_stays_listed_after_an_update(saver: Checkpointer) -> None:
    graph = chain(("ask", Nodes().asking("ask", "sure?")), ("b", Nodes().noting("b"))).compile(saver)
    await graph.ainvoke({"log": []}, thread_id="t")
    await graph.aupdate_state({"configurable": {"thread_id": "t"}}, {"log": ["by hand"]}, as_node="ask")

    edited, first = await _history(graph)

    assert (edited.next, edited.interrupts) == (("b",), ())
    assert questions_of(first.interrupts) == ["sure?"]
    assert first.tasks[0].result == {"log": ["by hand"]}


async def test_sequential_interrupts_of_a_node_are_listed_in_their_order(
    saver: Checkpointer, durability: Durability
) -> None:
    graph = chain(("ask", Nodes().asking("ask", "one?", "two?", "three?"))).compile(saver)
    await graph.ainvoke({}, thread_id="t", durability=durability)
    for answer in ("a", "b"):
        await graph.ainvoke(Command(resume=answer), thread_id="t", durability=durability)
    (waiting,) = await _history(graph)
    assert questions_of(waiting.interrupts) == ["three?"]
    assert questions_of((await graph.aget_state(waiting.config)).interrupts) == ["three?"]

    await graph.ainvoke(Command(resume="c"), thread_id="t", durability=durability)

    _, past = await _history(graph)
    assert questions_of(past.interrupts) == ["one?", "two?", "three?"]
    assert len({each.id for each in past.interrupts}) == 3


async def test_concurrent_tasks_list_their_own_interrupts(saver: Checkpointer, durability: Durability) -> None:
    nodes = Nodes()
    graph = fan_out(
        ("a", nodes.asking("a", "a1?", "a2?")), ("b", nodes.asking("b", "b?")), ("c", nodes.noting("c"))
    ).compile(saver)
    found = interrupt_ids(await graph.ainvoke({}, thread_id="t", durability=durability))
    await graph.ainvoke(Command(resume={found["b?"]: "B", found["a1?"]: "1"}), thread_id="t", durability=durability)
    await graph.ainvoke(Command(resume="2"), thread_id="t", durability=durability)

    _, past = await _history(graph)

    assert {task.name: questions_of(task.interrupts) for task in past.tasks} == {
        "a": ["a1?", "a2?"],
        "b": ["b?"],
        "c": [],
    }
    assert {task.name: task.result for task in past.tasks} == {
        "a": {"log": ["a:1,2"]},
        "b": {"log": ["b:B"]},
        "c": {"log": ["c"]},
    }


async def test_a_task_that_failed_after_its_answer_still_lists_its_interrupt(saver: Checkpointer) -> None:
    fails = [True, True]

    async def ask(state: State) -> State:
        answer = interrupt("sure?")
        if fails:
            fails.pop()
            raise ValueError(answer)
        return {"log": [answer]}

    builder = StateGraph(State)
    builder.add_node("ask", ask, retry_policy=RetryPolicy(max_attempts=2, initial_interval=0.001, retry_on=ValueError))
    builder.add_node("beside", Nodes().noting("beside"))
    builder.add_edge(START, "ask")
    builder.add_edge(START, "beside")
    graph = builder.compile(saver)
    await graph.ainvoke({}, thread_id="t")
    with pytest.raises(ValueError, match="yes"):
        await graph.ainvoke(Command(resume="yes"), thread_id="t")
    failed = await graph.aget_state(thread_id="t")
    assert (failed.interrupts, failed.status) == ((), "failed")

    await graph.ainvoke(None, thread_id="t")

    _, past = await _history(graph)
    assert [questions_of(task.interrupts) for task in past.tasks] == [["sure?"], []]


async def test_the_interrupt_of_a_router_is_listed(saver: Checkpointer) -> None:
    async def route(state: State) -> str:
        return str(interrupt("where?"))

    builder = StateGraph(State)
    builder.add_node("a", Nodes().noting("a"))
    builder.add_node("b", Nodes().noting("b"))
    builder.add_edge(START, "a")
    builder.add_conditional_edges("a", route, ["b"])
    graph = builder.compile(saver)
    await graph.ainvoke({}, thread_id="t")
    await graph.ainvoke(Command(resume="b"), thread_id="t")

    history = await _history(graph)

    assert _interrupt_values(history) == [[], [], ["where?"]]


async def test_interrupts_of_a_nested_graph_are_listed_by_both_graphs(
    saver: Checkpointer, durability: Durability
) -> None:
    nodes = Nodes()
    child = fan_out(("x", nodes.asking("x", "x?")), ("y", nodes.asking("y", "y1?", "y2?"))).compile()
    graph = chain(("child", child), ("after", nodes.noting("after"))).compile(saver)
    found = interrupt_ids(await graph.ainvoke({"log": []}, thread_id="t", durability=durability))
    nested = (await graph.aget_state(thread_id="t")).tasks[0].state
    await graph.ainvoke(Command(resume={found["x?"]: "X", found["y1?"]: "1"}), thread_id="t", durability=durability)
    inside = await graph.aget_state(nested)
    assert questions_of(inside.interrupts) == ["y2?"]
    assert questions_of((await graph.aget_state(inside.config)).interrupts) == ["y2?"]
    await graph.ainvoke(Command(resume="2"), thread_id="t", durability=durability)

    outer = (await _history(graph))[-1]
    *_, inner = [each async for each in graph.aget_state_history(nested)]

    assert outer.next == ("child",)
    assert sorted(questions_of(outer.interrupts)) == ["x?", "y1?", "y2?"]
    assert {task.name: questions_of(task.interrupts) for task in inner.tasks} == {"x": ["x?"], "y": ["y1?", "y2?"]}


async def test_a_fork_interrupts_again_and_both_branches_list_their_interrupt(saver: Checkpointer) -> None:
    graph = chain(("ask", Nodes().asking("ask", "sure?")), ("b", Nodes().noting("b"))).compile(saver)
    first = interrupts_of(await graph.ainvoke({"log": []}, thread_id="t"))
    await graph.ainvoke(Command(resume="yes"), thread_id="t")
    *_, past = await _history(graph)
    again = interrupts_of(await graph.ainvoke(None, past.config))
    await graph.ainvoke(Command(resume="no"), thread_id="t")

    asking = [each for each in await _history(graph) if each.interrupts]

    assert [list(each.interrupts) for each in asking] == [again, first]
    assert [each.tasks[0].result for each in asking] == [{"log": ["ask:no"]}, {"log": ["ask:yes"]}]


async def test_a_resume_by_the_id_of_an_answered_interrupt_is_still_refused(saver: Checkpointer) -> None:
    graph = chain(("ask", Nodes().asking("ask", "one?", "two?"))).compile(saver)
    found = interrupt_ids(await graph.ainvoke({}, thread_id="t"))
    await graph.ainvoke(Command(resume="a"), thread_id="t")

    with pytest.raises(InterruptAnsweredError):
        await graph.ainvoke(Command(resume={found["one?"]: "b"}), thread_id="t")


async def test_a_past_checkpoint_is_readable_after_the_class_of_its_interrupt_value_was_removed(
    saver: Checkpointer,
) -> None:
    nodes = Nodes()
    builder = fan_out(("ask", nodes.asking("ask", Form("sure?"))), ("b", nodes.noting("b")))
    graph = builder.compile(saver, types=[Form])
    await graph.ainvoke({"log": []}, thread_id="t")
    await graph.ainvoke(Command(resume="yes"), thread_id="t")
    assert (await _history(graph))[-1].interrupts[0].value == Form("sure?")

    *_, past = await _history(builder.compile(saver))

    assert [task.result for task in past.tasks] == [{"log": ["ask:yes"]}, {"log": ["b"]}]
    (question,) = past.interrupts
    assert "Form" in question.value
