"""Answers to some of the open interrupts: tasks that can continue do so, and no other task runs."""

import asyncio
from typing import Any

import pytest

from durable_graph import START, Checkpointer, Command, Durability, Send, StateGraph, interrupt
from tests.graphs import Nodes, State, chain, fan_out, interrupt_ids, questions_of


async def test_only_the_answered_node_continues(saver: Checkpointer, durability: Durability) -> None:
    """In LangGraph the other nodes ran again as well and raised the same interrupts (its issue 6208)."""
    nodes = Nodes()
    graph = fan_out(*((name, nodes.asking(name, f"{name}?")) for name in "abc")).compile(saver)
    found = interrupt_ids(await graph.ainvoke({}, thread_id="t", durability=durability))

    result = await graph.ainvoke(Command(resume={found["b?"]: "yes"}), thread_id="t", durability=durability)

    assert nodes.calls == {"a": 1, "b": 2, "c": 1}
    assert questions_of(result) == ["a?", "c?"]
    assert interrupt_ids(result) == {"a?": found["a?"], "c?": found["c?"]}
    assert result["log"] == ["b:yes"]


async def test_any_order_of_answers_leads_to_the_same_state(saver: Checkpointer, durability: Durability) -> None:
    nodes = Nodes()
    graph = fan_out(*((name, nodes.asking(name, f"{name}?")) for name in "abc")).compile(saver)
    found = interrupt_ids(await graph.ainvoke({"log": ["in"]}, thread_id="t", durability=durability))

    result: Any = {}
    for question in ("c?", "a?", "b?"):
        answer = Command(resume={found[question]: "yes"})
        result = await graph.ainvoke(answer, thread_id="t", durability=durability)

    assert result == {"log": ["in", "a:yes", "b:yes", "c:yes"]}
    assert nodes.calls == {"a": 2, "b": 2, "c": 2}


async def test_a_join_waits_for_the_answers_of_all_its_sources(saver: Checkpointer) -> None:
    nodes = Nodes()
    builder = fan_out(("a", nodes.asking("a", "a?")), ("b", nodes.asking("b", "b?")))
    builder.add_node("after", nodes.noting("after"))
    builder.add_edge(["a", "b"], "after")
    graph = builder.compile(saver)
    found = interrupt_ids(await graph.ainvoke({}, thread_id="t"))

    await graph.ainvoke(Command(resume={found["a?"]: 1}), thread_id="t")
    assert nodes.calls["after"] == 0
    result = await graph.ainvoke(Command(resume={found["b?"]: 2}), thread_id="t")

    assert result["log"] == ["a:1", "b:2", "after"]


async def test_a_sibling_without_interrupts_finishes_and_never_runs_again(
    saver: Checkpointer, durability: Durability
) -> None:
    cancelled = False
    calls = 0
    has_asked = asyncio.Event()

    async def slow(state: State) -> State:
        nonlocal cancelled, calls
        calls += 1
        try:
            await has_asked.wait()
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            cancelled = True
            raise
        return {"log": ["slow"]}

    async def ask(state: State) -> State:
        has_asked.set()
        return {"log": [interrupt("sure?")]}

    graph = fan_out(("slow", slow), ("ask", ask)).compile(saver)

    first = await graph.ainvoke({"log": ["in"]}, thread_id="t", durability=durability)
    again = await graph.ainvoke(None, thread_id="t", durability=durability)
    done = await graph.ainvoke(Command(resume="yes"), thread_id="t", durability=durability)

    assert first["log"] == again["log"] == ["in", "slow"]
    assert questions_of(first) == questions_of(again) == ["sure?"]
    assert done == {"log": ["in", "yes", "slow"]}
    assert (cancelled, calls) == (False, 1)


async def test_resuming_without_an_answer_runs_nothing_and_returns_the_same_interrupts(
    saver: Checkpointer, durability: Durability
) -> None:
    nodes = Nodes()
    graph = fan_out(("a", nodes.asking("a", "a?")), ("b", nodes.asking("b", "b?"))).compile(saver)
    first = await graph.ainvoke({"log": ["in"]}, thread_id="t", durability=durability)

    again = await graph.ainvoke(None, thread_id="t", durability=durability)

    assert again == first
    assert nodes.calls == {"a": 1, "b": 1}


async def test_resuming_without_an_answer_commits_nothing(saver: Checkpointer) -> None:
    graph = chain(("ask", Nodes().asking("ask", "sure?"))).compile(saver)
    await graph.ainvoke({}, thread_id="t")
    before = [thread async for thread in graph.aget_state_history(thread_id="t")]

    await graph.ainvoke(None, thread_id="t")

    assert [thread async for thread in graph.aget_state_history(thread_id="t")] == before


async def test_resuming_without_an_answer_runs_a_failed_sibling_of_an_interrupted_node(saver: Checkpointer) -> None:
    nodes = Nodes()
    failing = True

    async def flaky(state: State) -> State:
        nodes.calls["flaky"] += 1
        await asyncio.sleep(0)
        if failing:
            message = "not yet"
            raise ValueError(message)
        return {"log": ["flaky"]}

    graph = fan_out(("ask", nodes.asking("ask", "sure?")), ("flaky", flaky)).compile(saver)
    with pytest.raises(ValueError, match="not yet"):
        await graph.ainvoke({}, thread_id="t")
    failing = False
    assert questions_of((await graph.aget_state(thread_id="t")).interrupts) == ["sure?"]

    result = await graph.ainvoke(None, thread_id="t")

    assert questions_of(result) == ["sure?"]
    assert result["log"] == ["flaky"]
    assert nodes.calls == {"ask": 1, "flaky": 2}
    assert await graph.ainvoke(Command(resume="yes"), thread_id="t") == {"log": ["ask:yes", "flaky"]}


async def test_an_answer_also_runs_a_failed_sibling_again(saver: Checkpointer) -> None:
    nodes = Nodes()
    failing = True

    async def flaky(state: State) -> State:
        nodes.calls["flaky"] += 1
        if failing:
            message = "not yet"
            raise ValueError(message)
        return {"log": ["flaky"]}

    graph = fan_out(("ask", nodes.asking("ask", "sure?")), ("flaky", flaky)).compile(saver)
    with pytest.raises(ValueError, match="not yet"):
        await graph.ainvoke({}, thread_id="t")
    failing = False

    assert await graph.ainvoke(Command(resume="yes"), thread_id="t") == {"log": ["ask:yes", "flaky"]}
    assert nodes.calls == {"ask": 2, "flaky": 2}


async def test_a_second_interrupt_of_a_node_does_not_run_its_sibling(saver: Checkpointer) -> None:
    nodes = Nodes()
    graph = fan_out(("a", nodes.asking("a", "a1?", "a2?")), ("b", nodes.asking("b", "b?"))).compile(saver)
    found = interrupt_ids(await graph.ainvoke({}, thread_id="t"))

    second = await graph.ainvoke(Command(resume={found["a1?"]: "one"}), thread_id="t")
    assert questions_of(second) == ["a2?", "b?"]
    third = await graph.ainvoke(Command(resume={found["b?"]: "ok"}), thread_id="t")
    assert questions_of(third) == ["a2?"]
    done = await graph.ainvoke(Command(resume="two"), thread_id="t")

    assert done == {"log": ["a:one,two", "b:ok"]}
    assert nodes.calls == {"a": 3, "b": 2}


async def test_several_interrupts_are_answered_in_one_call(saver: Checkpointer) -> None:
    nodes = Nodes()
    graph = fan_out(("a", nodes.asking("a", "a1?", "a2?")), ("b", nodes.asking("b", "b?"))).compile(saver)
    found = interrupt_ids(await graph.ainvoke({}, thread_id="t"))
    found |= interrupt_ids(await graph.ainvoke(Command(resume={found["a1?"]: "one"}), thread_id="t"))

    done = await graph.ainvoke(Command(resume={found["a2?"]: "two", found["b?"]: "ok"}), thread_id="t")

    assert done == {"log": ["a:one,two", "b:ok"]}


@pytest.mark.parametrize("written", [None, {}, {"log": []}])
async def test_an_answered_node_that_writes_nothing_has_finished(
    saver: Checkpointer, written: dict[str, Any] | None
) -> None:
    nodes = Nodes()

    async def a(state: State) -> Any:
        nodes.calls["a"] += 1
        interrupt("a?")
        return written

    graph = fan_out(("a", a), ("b", nodes.asking("b", "b?"))).compile(saver)
    found = interrupt_ids(await graph.ainvoke({"log": []}, thread_id="t"))

    await graph.ainvoke(Command(resume={found["a?"]: "yes"}), thread_id="t")
    snapshot = await graph.aget_state(thread_id="t")
    assert (snapshot.next, questions_of(snapshot.interrupts)) == (("b",), ["b?"])
    await graph.ainvoke(Command(resume={found["b?"]: "ok"}), thread_id="t")

    assert nodes.calls == {"a": 2, "b": 2}


async def test_an_answer_to_one_of_a_thousand_sends_runs_only_that_send(saver: Checkpointer) -> None:
    nodes = Nodes()

    async def work(job: Any) -> State:
        nodes.calls[str(job)] += 1
        return {"log": [f"{job}:{interrupt(job)}"]}

    builder = StateGraph(State)
    builder.add_node("work", work)
    builder.add_conditional_edges(START, lambda _: [Send("work", job) for job in range(1000)], ["work"])
    graph = builder.compile(saver)
    found = interrupt_ids(await graph.ainvoke({}, thread_id="t"))

    result = await graph.ainvoke(Command(resume={found[500]: "yes"}), thread_id="t")

    assert len(questions_of(result)) == 999
    assert sum(nodes.calls.values()) == 1001
    assert nodes.calls["500"] == 2
