"""A router may interrupt: the result of its node is kept, and only the router runs again."""

from typing import Any

import pytest

from durable_graph import END, START, Checkpointer, Command, Durability, Send, StateGraph, interrupt
from tests.graphs import Nodes, State, chain, interrupt_ids, questions_of


def routed(nodes: Nodes, *routers: Any) -> StateGraph[State]:
    """The node a, whose routers choose among b, c and END."""
    builder = chain(("a", nodes.noting("a")))
    builder.add_node("b", nodes.noting("b"))
    builder.add_node("c", nodes.noting("c"))
    for router in routers:
        builder.add_conditional_edges("a", router, ["b", "c", END])
    return builder


async def test_a_router_that_interrupts_does_not_make_its_node_run_again(
    saver: Checkpointer, durability: Durability
) -> None:
    """In LangGraph the body of the node runs again as well."""
    nodes = Nodes()

    def where(state: State) -> str:
        nodes.calls["router"] += 1
        return str(interrupt(f"where to after {state['log'][-1]}?"))

    graph = routed(nodes, where).compile(saver)

    result = await graph.ainvoke({}, thread_id="t", durability=durability)
    assert questions_of(result) == ["where to after a?"]
    assert result["log"] == ["a"]
    result = await graph.ainvoke(Command(resume="c"), thread_id="t", durability=durability)

    assert result == {"log": ["a", "c"]}
    assert nodes.calls == {"a": 1, "router": 2, "c": 1}


async def test_a_snapshot_shows_the_result_of_a_node_whose_router_has_interrupted(saver: Checkpointer) -> None:
    graph = routed(Nodes(), lambda _: interrupt("where to?")).compile(saver)
    await graph.ainvoke({}, thread_id="t")

    snapshot = await graph.aget_state(thread_id="t")

    assert (snapshot.values, snapshot.next) == ({"log": ["a"]}, ("a",))
    (task,) = snapshot.tasks
    assert (task.name, task.result, questions_of(task.interrupts)) == ("a", {"log": ["a"]}, ["where to?"])


async def test_an_async_router_interrupts_several_times(saver: Checkpointer) -> None:
    nodes = Nodes()

    async def where(state: State) -> list[str]:
        return [interrupt("first?"), interrupt("second?")]

    graph = routed(nodes, where).compile(saver)

    assert questions_of(await graph.ainvoke({}, thread_id="t")) == ["first?"]
    assert questions_of(await graph.ainvoke(Command(resume="b"), thread_id="t")) == ["second?"]
    assert await graph.ainvoke(Command(resume="c"), thread_id="t") == {"log": ["a", "b", "c"]}
    assert nodes.calls == {"a": 1, "b": 1, "c": 1}


async def test_each_of_two_routers_of_a_node_has_its_own_interrupt(saver: Checkpointer) -> None:
    nodes = Nodes()

    def one(state: State) -> str:
        return str(interrupt("one?"))

    def two(state: State) -> str:
        return str(interrupt("two?"))

    graph = routed(nodes, one, two).compile(saver)

    result = await graph.ainvoke({}, thread_id="t")
    seen: list[str] = []
    answers = {"one?": "b", "two?": "c"}
    while "__interrupt__" in result:
        found = interrupt_ids(result)
        seen.extend(found.values())
        result = await graph.ainvoke(
            Command(resume={id_: answers[question] for question, id_ in found.items()}), thread_id="t"
        )

    assert result == {"log": ["a", "b", "c"]}
    assert len(set(seen)) == 2
    assert nodes.calls["a"] == 1


async def test_equal_interrupts_of_a_node_and_its_router_have_different_ids(saver: Checkpointer) -> None:
    nodes = Nodes()
    builder = chain(("ask", nodes.asking("ask", "what?")))
    builder.add_node("b", nodes.noting("b"))
    builder.add_conditional_edges("ask", lambda _: interrupt("what?"), ["b", END])
    graph = builder.compile(saver)

    first = interrupt_ids(await graph.ainvoke({}, thread_id="t"))["what?"]
    second = interrupt_ids(await graph.ainvoke(Command(resume={first: "this"}), thread_id="t"))["what?"]
    result = await graph.ainvoke(Command(resume={second: "b"}), thread_id="t")

    assert first != second
    assert result == {"log": ["ask:this", "b"]}
    assert nodes.calls == {"ask": 2, "b": 1}


async def test_a_router_of_start_may_interrupt(saver: Checkpointer, durability: Durability) -> None:
    nodes = Nodes()
    builder = StateGraph(State)
    builder.add_node("b", nodes.noting("b"))
    builder.add_node("c", nodes.noting("c"))
    builder.set_conditional_entry_point(lambda _: interrupt("where to begin?"), ["b", "c"])
    graph = builder.compile(saver)

    assert questions_of(await graph.ainvoke({"log": ["in"]}, thread_id="t", durability=durability)) == [
        "where to begin?"
    ]
    result = await graph.ainvoke(Command(resume="c"), thread_id="t", durability=durability)

    assert result == {"log": ["in", "c"]}


async def test_a_router_may_send_the_jobs_of_its_answer(saver: Checkpointer) -> None:
    async def work(job: Any) -> State:
        return {"log": [job]}

    builder = chain(("a", Nodes().noting("a")))
    builder.add_node("work", work)
    builder.add_conditional_edges("a", lambda _: [Send("work", job) for job in interrupt("which jobs?")], ["work"])
    graph = builder.compile(saver)
    await graph.ainvoke({}, thread_id="t")

    assert await graph.ainvoke(Command(resume=["x", "y"]), thread_id="t") == {"log": ["a", "x", "y"]}


async def test_a_router_that_fails_after_its_answer_does_not_interrupt_again(saver: Checkpointer) -> None:
    nodes = Nodes()
    failing = True

    def where(state: State) -> str:
        answer = str(interrupt("where to?"))
        if failing:
            raise ConnectionError
        return answer

    graph = routed(nodes, where).compile(saver)
    await graph.ainvoke({}, thread_id="t")
    with pytest.raises(ConnectionError):
        await graph.ainvoke(Command(resume="b"), thread_id="t")
    failing = False

    assert await graph.ainvoke(None, thread_id="t") == {"log": ["a", "b"]}
    assert nodes.calls == {"a": 1, "b": 1}


async def test_a_sibling_finishes_although_a_router_interrupts(saver: Checkpointer) -> None:
    nodes = Nodes()
    builder = routed(nodes, lambda _: interrupt("where to?"))
    builder.add_node("beside", nodes.noting("beside"))
    builder.add_edge(START, "beside")
    graph = builder.compile(saver)

    result = await graph.ainvoke({}, thread_id="t")
    assert (result["log"], questions_of(result)) == (["a", "beside"], ["where to?"])
    assert await graph.ainvoke(Command(resume="b"), thread_id="t") == {"log": ["a", "beside", "b"]}
    assert nodes.calls == {"a": 1, "beside": 1, "b": 1}
