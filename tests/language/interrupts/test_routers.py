"""A router may ask: its node has returned, stays returned, and only the routing is done again."""

from typing import Any

import pytest

from durable_graph import END, START, Checkpointer, Command, Durability, Send, StateGraph, interrupt
from tests.graphs import Nodes, State, chain, interrupt_ids, questions_of


def routed(nodes: Nodes, *routers: Any) -> StateGraph[State]:
    """a, whose routers choose among b, c and the end."""
    builder = chain(("a", nodes.noting("a")))
    builder.add_node("b", nodes.noting("b"))
    builder.add_node("c", nodes.noting("c"))
    for router in routers:
        builder.add_conditional_edges("a", router, ["b", "c", END])
    return builder


async def test_a_router_that_interrupts_does_not_make_its_node_run_again(
    saver: Checkpointer, durability: Durability
) -> None:
    """LangGraph: the node's body runs again as well."""
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


async def test_the_result_of_a_node_whose_router_waits_is_seen(saver: Checkpointer) -> None:
    graph = routed(Nodes(), lambda _: interrupt("where to?")).compile(saver)
    await graph.ainvoke({}, thread_id="t")

    snapshot = await graph.aget_state(thread_id="t")

    assert (snapshot.values, snapshot.next) == ({"log": ["a"]}, ("a",))
    (task,) = snapshot.tasks
    assert (task.name, task.result, questions_of(task.interrupts)) == ("a", {"log": ["a"]}, ["where to?"])


async def test_an_async_router_asks_several_questions(saver: Checkpointer) -> None:
    nodes = Nodes()

    async def where(state: State) -> list[str]:
        return [interrupt("first?"), interrupt("second?")]

    graph = routed(nodes, where).compile(saver)

    assert questions_of(await graph.ainvoke({}, thread_id="t")) == ["first?"]
    assert questions_of(await graph.ainvoke(Command(resume="b"), thread_id="t")) == ["second?"]
    assert await graph.ainvoke(Command(resume="c"), thread_id="t") == {"log": ["a", "b", "c"]}
    assert nodes.calls == {"a": 1, "b": 1, "c": 1}


async def test_each_of_two_routers_of_a_node_asks_for_itself(saver: Checkpointer) -> None:
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


async def test_questions_of_a_node_and_of_its_router_are_kept_apart(saver: Checkpointer) -> None:
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


async def test_a_router_out_of_start_may_ask(saver: Checkpointer, durability: Durability) -> None:
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


async def test_a_router_sends_as_it_was_told(saver: Checkpointer) -> None:
    async def work(job: Any) -> State:
        return {"log": [job]}

    builder = chain(("a", Nodes().noting("a")))
    builder.add_node("work", work)
    builder.add_conditional_edges("a", lambda _: [Send("work", job) for job in interrupt("which jobs?")], ["work"])
    graph = builder.compile(saver)
    await graph.ainvoke({}, thread_id="t")

    assert await graph.ainvoke(Command(resume=["x", "y"]), thread_id="t") == {"log": ["a", "x", "y"]}


async def test_a_router_that_fails_after_its_answer_does_not_ask_again(saver: Checkpointer) -> None:
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


async def test_a_sibling_is_not_held_up_by_a_router_that_interrupts(saver: Checkpointer) -> None:
    nodes = Nodes()
    builder = routed(nodes, lambda _: interrupt("where to?"))
    builder.add_node("beside", nodes.noting("beside"))
    builder.add_edge(START, "beside")
    graph = builder.compile(saver)

    result = await graph.ainvoke({}, thread_id="t")
    assert (result["log"], questions_of(result)) == (["a", "beside"], ["where to?"])
    assert await graph.ainvoke(Command(resume="b"), thread_id="t") == {"log": ["a", "beside", "b"]}
    assert nodes.calls == {"a": 1, "beside": 1, "b": 1}
