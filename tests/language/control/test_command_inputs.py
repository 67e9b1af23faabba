"""A Command as the input of a run: it answers interrupts, writes updates and starts nodes on an existing thread."""

from typing import Any

import pytest

from durable_graph import (
    END,
    START,
    Checkpointer,
    Command,
    Durability,
    InvalidUpdateError,
    Send,
    StateGraph,
    StateKeyError,
    UnknownNameError,
)
from tests.errors.kinds import of_kind
from tests.graphs import Nodes, State, chain, fan_out, interrupt_ids, questions_of


async def test_an_answer_may_come_with_an_update(saver: Checkpointer, durability: Durability) -> None:
    graph = chain(("ask", Nodes().asking("ask", "sure?"))).compile(saver)
    await graph.ainvoke({"log": ["in"]}, thread_id="t", durability=durability)

    result = await graph.ainvoke(
        Command(resume="yes", update={"log": ["beside"]}), thread_id="t", durability=durability
    )

    assert result == {"log": ["in", "beside", "ask:yes"]}


async def test_each_of_several_answers_may_come_with_an_update(saver: Checkpointer, durability: Durability) -> None:
    nodes = Nodes()
    graph = chain(("ask", nodes.asking("ask", "1?", "2?", "3?"))).compile(saver)

    result = await graph.ainvoke({}, thread_id="t", durability=durability)
    for number in "123":
        result = await graph.ainvoke(
            Command(resume=number, update={"log": [f"u{number}"]}), thread_id="t", durability=durability
        )

    assert result == {"log": ["u1", "u2", "u3", "ask:1,2,3"]}
    assert (await graph.aget_state(thread_id="t")).values == result
    assert nodes.calls == {"ask": 4}


async def test_an_update_together_with_an_answer_keeps_the_results_of_siblings(saver: Checkpointer) -> None:
    nodes = Nodes()
    graph = fan_out(("a", nodes.noting("a")), ("ask", nodes.asking("ask", "sure?"))).compile(saver)
    await graph.ainvoke({}, thread_id="t")

    result = await graph.ainvoke(Command(resume="yes", update={"log": ["beside"]}), thread_id="t")

    assert sorted(result["log"]) == ["a", "ask:yes", "beside"]
    assert nodes.calls == {"a": 1, "ask": 2}


async def test_an_update_alone_continues_with_the_pending_nodes(saver: Checkpointer, durability: Durability) -> None:
    nodes = Nodes()
    graph = chain(("a", nodes.noting("a")), ("b", nodes.noting("b"))).compile(saver, interrupt_before=["b"])
    await graph.ainvoke({}, thread_id="t", durability=durability)

    result = await graph.ainvoke(Command(update={"log": ["edited"]}), thread_id="t", durability=durability)

    assert result == {"log": ["a", "edited", "b"]}
    assert nodes.calls == {"a": 1, "b": 1}


async def test_an_update_alone_leaves_an_interrupt_pending(saver: Checkpointer) -> None:
    nodes = Nodes()
    graph = chain(("ask", nodes.asking("ask", "sure?"))).compile(saver)
    found = interrupt_ids(await graph.ainvoke({"log": []}, thread_id="t"))

    result = await graph.ainvoke(Command(update={"log": ["edited"]}), thread_id="t")

    assert (questions_of(result), result["log"]) == (["sure?"], ["edited"])
    assert interrupt_ids(result) == found
    assert await graph.ainvoke(Command(resume="yes"), thread_id="t") == {"log": ["edited", "ask:yes"]}


async def test_an_update_may_be_a_list_of_pairs(saver: Checkpointer) -> None:
    graph = chain(("a", Nodes().noting("a"))).compile(saver, interrupt_before=["a"])
    await graph.ainvoke({"log": []}, thread_id="t")

    result = await graph.ainvoke(Command(update=[("log", ["x"]), ("log", ["y"])]), thread_id="t")

    assert result == {"log": ["x", "y", "a"]}


async def test_a_goto_starts_a_node_on_a_finished_thread(saver: Checkpointer, durability: Durability) -> None:
    nodes = Nodes()
    graph = chain(("a", nodes.noting("a")), ("b", nodes.noting("b"))).compile(saver)
    await graph.ainvoke({}, thread_id="t", durability=durability)

    result = await graph.ainvoke(Command(goto="b"), thread_id="t", durability=durability)

    assert result == {"log": ["a", "b", "b"]}
    assert nodes.calls == {"a": 1, "b": 2}


async def test_a_goto_may_come_with_an_update(saver: Checkpointer) -> None:
    nodes = Nodes()
    graph = chain(("a", nodes.noting("a")), ("b", nodes.noting("b"))).compile(saver)
    await graph.ainvoke({}, thread_id="t")

    result = await graph.ainvoke(Command(goto=["b"], update={"log": ["beside"]}), thread_id="t")

    assert result == {"log": ["a", "b", "beside", "b"]}


async def test_a_goto_may_contain_sends(saver: Checkpointer, durability: Durability) -> None:
    async def work(job: Any) -> State:
        return {"log": [job]}

    builder = chain(("a", Nodes().noting("a")))
    builder.add_node("work", work)
    builder.add_conditional_edges("a", lambda _: END, ["work", END])
    graph = builder.compile(saver)
    await graph.ainvoke({}, thread_id="t", durability=durability)

    result = await graph.ainvoke(
        Command(goto=[Send("work", job) for job in "xy"]), thread_id="t", durability=durability
    )

    assert result == {"log": ["a", "x", "y"]}


async def test_a_goto_starts_a_new_thread_at_its_target(saver: Checkpointer, durability: Durability) -> None:
    nodes = Nodes()
    graph = chain(("a", nodes.noting("a")), ("b", nodes.noting("b"))).compile(saver)

    result = await graph.ainvoke(Command(goto="b", update={"log": ["in"]}), thread_id="t", durability=durability)

    assert result == {"log": ["in", "b"]}
    assert nodes.calls == {"b": 1}


async def test_a_goto_without_a_checkpointer_starts_the_run_at_its_target() -> None:
    nodes = Nodes()
    graph = chain(("a", nodes.noting("a")), ("b", nodes.noting("b"))).compile()

    assert await graph.ainvoke(Command(goto="b", update={"log": ["in"]})) == {"log": ["in", "b"]}


async def test_a_goto_together_with_an_answer_runs_both_nodes(saver: Checkpointer) -> None:
    nodes = Nodes()
    builder = chain(("ask", nodes.asking("ask", "sure?")))
    builder.add_node("b", nodes.noting("b"))
    builder.add_conditional_edges("ask", lambda _: END, ["b", END])
    graph = builder.compile(saver)
    await graph.ainvoke({}, thread_id="t")

    result = await graph.ainvoke(Command(resume="yes", goto="b"), thread_id="t")

    assert sorted(result["log"]) == ["ask:yes", "b"]
    assert nodes.calls == {"ask": 2, "b": 1}


async def test_a_goto_to_a_pending_node_runs_it_once(saver: Checkpointer) -> None:
    nodes = Nodes()
    graph = chain(("a", nodes.noting("a")), ("b", nodes.noting("b"))).compile(saver, interrupt_before=["b"])
    await graph.ainvoke({}, thread_id="t")

    result = await graph.ainvoke(Command(goto="b"), thread_id="t")

    assert result == {"log": ["a", "b"]}
    assert nodes.calls == {"a": 1, "b": 1}


async def test_an_unknown_goto_is_refused_before_anything_is_recorded(saver: Checkpointer) -> None:
    """Reference P21."""
    graph = chain(("ask", Nodes().asking("ask", "sure?"))).compile(saver)
    await graph.ainvoke({}, thread_id="t")
    before = [each async for each in graph.aget_state_history(thread_id="t")]

    with pytest.raises(UnknownNameError, check=of_kind("route"), match=r"'nowhere'.*the graph has: ask"):
        await graph.ainvoke(Command(resume="yes", goto="nowhere"), thread_id="t")

    assert [each async for each in graph.aget_state_history(thread_id="t")] == before
    assert questions_of(await graph.ainvoke(None, thread_id="t")) == ["sure?"]


async def test_an_unknown_key_is_refused_before_anything_is_recorded(saver: Checkpointer) -> None:
    """Reference P21."""
    nodes = Nodes()
    graph = chain(("ask", nodes.asking("ask", "sure?"))).compile(saver)
    await graph.ainvoke({}, thread_id="t")

    with pytest.raises(StateKeyError, check=of_kind("unknown"), match="'lgo'"):
        await graph.ainvoke(Command(resume="yes", update={"lgo": ["x"]}), thread_id="t")

    assert questions_of(await graph.ainvoke(None, thread_id="t")) == ["sure?"]
    assert nodes.calls == {"ask": 1}


async def test_an_empty_command_is_refused_as_input(saver: Checkpointer) -> None:
    nodes = Nodes()
    graph = chain(("a", nodes.noting("a"))).compile(saver)

    with pytest.raises(InvalidUpdateError, match="is empty"):
        await graph.ainvoke(Command(), thread_id="t")

    assert nodes.calls == {}
    assert await saver.list_threads() == []


async def test_an_empty_command_is_refused_without_a_checkpointer() -> None:
    with pytest.raises(InvalidUpdateError, match="is empty"):
        await chain(("a", Nodes().noting("a"))).compile().ainvoke(Command())


async def test_an_update_alone_on_a_finished_thread_is_written_and_runs_no_node(saver: Checkpointer) -> None:
    nodes = Nodes()
    graph = chain(("a", nodes.noting("a"))).compile(saver)
    await graph.ainvoke({}, thread_id="t")

    result = await graph.ainvoke(Command(update={"log": ["x"]}), thread_id="t")

    assert result == (await graph.aget_state(thread_id="t")).values == {"log": ["a", "x"]}
    assert nodes.calls == {"a": 1}


async def test_an_update_starts_a_new_thread_like_any_input(saver: Checkpointer) -> None:
    graph = chain(("a", Nodes().noting("a"))).compile(saver)

    assert await graph.ainvoke(Command(update={"log": ["in"]}), thread_id="t") == {"log": ["in", "a"]}


async def test_a_parent_command_is_refused_as_input(saver: Checkpointer) -> None:
    graph = chain(("a", Nodes().noting("a"))).compile(saver)

    with pytest.raises(InvalidUpdateError, match="parent"):
        await graph.ainvoke(Command(graph=Command.PARENT, goto="a"), thread_id="t")


async def test_a_run_changes_neither_its_command_nor_the_update_of_it(saver: Checkpointer) -> None:
    update: dict[str, Any] = {"log": ["x"]}
    command: Command[Any] = Command(goto="a", update=update)
    graph = chain(("a", Nodes().noting("a"))).compile(saver)

    await graph.ainvoke(command, thread_id="t")

    assert (update, command) == ({"log": ["x"]}, Command(goto="a", update={"log": ["x"]}))


async def test_a_join_counts_a_node_that_a_goto_started(saver: Checkpointer) -> None:
    nodes = Nodes()
    builder = StateGraph(State)
    for name in "abc":
        builder.add_node(name, nodes.noting(name))
    builder.add_edge(START, "a")
    builder.add_conditional_edges("a", lambda _: END, ["b", END])
    builder.add_edge(["a", "b"], "c")
    graph = builder.compile(saver)
    await graph.ainvoke({}, thread_id="t")

    result = await graph.ainvoke(Command(goto="b"), thread_id="t")

    assert result == {"log": ["a", "b", "c"]}


def test_the_repr_of_a_command_shows_only_the_fields_that_are_set() -> None:
    assert repr(Command(resume=None)) == "Command(resume=None)"
    assert repr(Command(update={"log": []}, goto=["a"])) == "Command(update={'log': []}, goto=['a'])"
    assert repr(Command()) == "Command()"
