"""An answer without a matching open interrupt is refused with an error and changes nothing."""

from typing import Any

import pytest

from durable_graph import (
    AmbiguousResumeError,
    Checkpointer,
    Command,
    CompiledGraph,
    Durability,
    InterruptAnsweredError,
    NothingToResumeError,
    UnknownInterruptError,
)
from tests.graphs import Nodes, State, chain, fan_out, interrupt_ids, questions_of

UNKNOWN = "0" * 32


def two_interrupting(saver: Checkpointer, nodes: Nodes) -> CompiledGraph[State]:
    return fan_out(("a", nodes.asking("a", "a?")), ("b", nodes.asking("b", "b?"))).compile(saver)


async def stored(graph: CompiledGraph[Any]) -> Any:
    """The state and the history of the thread, for comparison."""
    history = [snapshot async for snapshot in graph.aget_state_history(thread_id="t")]
    return await graph.aget_state(thread_id="t"), history


async def test_an_unknown_id_is_refused_before_anything_is_recorded(
    saver: Checkpointer, durability: Durability
) -> None:
    """Reference P16: the interrupt was raised again and the answer was lost."""
    nodes = Nodes()
    graph = two_interrupting(saver, nodes)
    found = interrupt_ids(await graph.ainvoke({}, thread_id="t", durability=durability))
    before = await stored(graph)

    with pytest.raises(UnknownInterruptError, match=UNKNOWN) as refused:
        await graph.ainvoke(Command(resume={UNKNOWN: "x"}), thread_id="t", durability=durability)

    assert (refused.value.thread_id, refused.value.id) == ("t", UNKNOWN)
    assert set(refused.value.open_ids) == set(found.values())
    assert all(id_ in str(refused.value) for id_ in found.values())
    assert await stored(graph) == before
    assert nodes.calls == {"a": 1, "b": 1}


async def test_a_map_with_one_unknown_id_is_refused_as_a_whole(saver: Checkpointer) -> None:
    nodes = Nodes()
    graph = two_interrupting(saver, nodes)
    found = interrupt_ids(await graph.ainvoke({}, thread_id="t"))
    before = await stored(graph)

    with pytest.raises(UnknownInterruptError, match=UNKNOWN):
        await graph.ainvoke(Command(resume={found["a?"]: "yes", UNKNOWN: "x"}), thread_id="t")

    assert await stored(graph) == before
    assert nodes.calls == {"a": 1, "b": 1}


async def test_an_interrupt_id_of_another_thread_is_unknown(saver: Checkpointer) -> None:
    graph = two_interrupting(saver, Nodes())
    other = interrupt_ids(await graph.ainvoke({}, thread_id="other"))
    await graph.ainvoke({}, thread_id="t")

    with pytest.raises(UnknownInterruptError, match=other["a?"]):
        await graph.ainvoke(Command(resume={other["a?"]: "yes"}), thread_id="t")


async def test_an_empty_map_of_answers_to_several_interrupts_is_refused(saver: Checkpointer) -> None:
    """Reference P16."""
    graph = two_interrupting(saver, Nodes())
    found = interrupt_ids(await graph.ainvoke({}, thread_id="t"))
    before = await stored(graph)

    with pytest.raises(AmbiguousResumeError, match=r"resume=\{\} has no answer") as refused:
        await graph.ainvoke(Command(resume={}), thread_id="t")

    assert set(refused.value.open_ids) == set(found.values())
    assert await stored(graph) == before


async def test_an_empty_map_of_answers_to_one_interrupt_is_refused(saver: Checkpointer) -> None:
    graph = chain(("ask", Nodes().asking("ask", "sure?"))).compile(saver)
    await graph.ainvoke({}, thread_id="t")

    with pytest.raises(AmbiguousResumeError, match=r"resume=\{\} has no answer"):
        await graph.ainvoke(Command(resume={}), thread_id="t")


async def test_an_answer_without_an_id_to_several_interrupts_is_ambiguous(
    saver: Checkpointer, durability: Durability
) -> None:
    graph = two_interrupting(saver, Nodes())
    found = interrupt_ids(await graph.ainvoke({}, thread_id="t", durability=durability))
    before = await stored(graph)

    with pytest.raises(AmbiguousResumeError, match=r"resume=\{id: answer\}") as refused:
        await graph.ainvoke(Command(resume="yes"), thread_id="t", durability=durability)

    assert set(refused.value.open_ids) == set(found.values())
    assert await stored(graph) == before


async def test_none_without_an_id_to_several_interrupts_is_ambiguous(saver: Checkpointer) -> None:
    graph = two_interrupting(saver, Nodes())
    await graph.ainvoke({}, thread_id="t")

    with pytest.raises(AmbiguousResumeError):
        await graph.ainvoke(Command(resume=None), thread_id="t")


async def test_an_answer_needs_no_id_once_a_single_interrupt_is_left(saver: Checkpointer) -> None:
    graph = two_interrupting(saver, Nodes())
    found = interrupt_ids(await graph.ainvoke({}, thread_id="t"))
    await graph.ainvoke(Command(resume={found["a?"]: "yes"}), thread_id="t")

    assert (await graph.ainvoke(Command(resume="no"), thread_id="t"))["log"] == ["a:yes", "b:no"]


async def test_an_answer_without_an_id_is_ambiguous_after_one_of_two_nodes_interrupts_again(
    saver: Checkpointer,
) -> None:
    nodes = Nodes()
    graph = fan_out(("a", nodes.asking("a", "a?", "a, really?")), ("b", nodes.asking("b", "b?"))).compile(saver)
    found = interrupt_ids(await graph.ainvoke({}, thread_id="t"))
    result = await graph.ainvoke(Command(resume={found["a?"]: "one"}), thread_id="t")
    assert questions_of(result) == ["a, really?", "b?"]

    with pytest.raises(AmbiguousResumeError):
        await graph.ainvoke(Command(resume="which?"), thread_id="t")


async def test_a_second_answer_is_refused_with_the_first(saver: Checkpointer, durability: Durability) -> None:
    """Reference P16: the second answer was dropped silently."""
    nodes = Nodes()
    graph = two_interrupting(saver, nodes)
    found = interrupt_ids(await graph.ainvoke({}, thread_id="t", durability=durability))
    await graph.ainvoke(Command(resume={found["a?"]: ("first", 1)}), thread_id="t", durability=durability)
    before = await stored(graph)

    with pytest.raises(InterruptAnsweredError, match="first") as refused:
        await graph.ainvoke(Command(resume={found["a?"]: "second"}), thread_id="t", durability=durability)

    assert (refused.value.thread_id, refused.value.id, refused.value.answer) == ("t", found["a?"], ("first", 1))
    assert await stored(graph) == before
    result = await graph.ainvoke(Command(resume={found["b?"]: "ok"}), thread_id="t", durability=durability)
    assert result["log"] == ["a:('first', 1)", "b:ok"]


async def test_a_second_answer_to_a_node_that_interrupted_again_is_refused_with_the_first(saver: Checkpointer) -> None:
    graph = chain(("ask", Nodes().asking("ask", "first?", "second?"))).compile(saver)
    first = interrupt_ids(await graph.ainvoke({}, thread_id="t"))["first?"]
    second = interrupt_ids(await graph.ainvoke(Command(resume={first: "yes"}), thread_id="t"))["second?"]

    with pytest.raises(InterruptAnsweredError) as refused:
        await graph.ainvoke(Command(resume={first: "yes"}), thread_id="t")

    assert refused.value.answer == "yes"
    assert (await graph.ainvoke(Command(resume={second: "no"}), thread_id="t"))["log"] == ["ask:yes,no"]


async def test_an_answer_stays_recorded_although_the_node_failed_after_it(
    saver: Checkpointer, durability: Durability
) -> None:
    failing = True
    nodes = Nodes()
    ask = nodes.asking("ask", "sure?")

    async def node(state: State) -> State:
        written = await ask(state)
        if failing:
            message = "failed after the answer"
            raise ValueError(message)
        return written

    graph = chain(("ask", node)).compile(saver)
    question = interrupt_ids(await graph.ainvoke({}, thread_id="t", durability=durability))["sure?"]
    with pytest.raises(ValueError, match="failed after the answer"):
        await graph.ainvoke(Command(resume={question: "first"}), thread_id="t", durability=durability)

    with pytest.raises(InterruptAnsweredError) as refused:
        await graph.ainvoke(Command(resume={question: "second"}), thread_id="t", durability=durability)

    assert refused.value.answer == "first"
    failing = False
    assert await graph.ainvoke(None, thread_id="t", durability=durability) == {"log": ["ask:first"]}


async def test_an_answer_to_a_finished_thread_is_refused(saver: Checkpointer, durability: Durability) -> None:
    """Reference P16: the call returned the state as if it had resumed a run."""
    nodes = Nodes()
    graph = chain(("ask", nodes.asking("ask", "sure?"))).compile(saver)
    question = interrupt_ids(await graph.ainvoke({}, thread_id="t", durability=durability))["sure?"]
    await graph.ainvoke(Command(resume="yes"), thread_id="t", durability=durability)
    before = await stored(graph)

    for answer in ("again", {question: "again"}):
        with pytest.raises(InterruptAnsweredError) as refused:
            await graph.ainvoke(Command(resume=answer), thread_id="t", durability=durability)
        assert (refused.value.id, refused.value.answer) == (question, "yes")

    assert await stored(graph) == before
    assert nodes.calls == {"ask": 2}


async def test_an_answer_to_a_thread_that_was_never_used_is_refused(saver: Checkpointer) -> None:
    """Reference P16: the graph started with an empty state."""
    nodes = Nodes()
    graph = chain(("a", nodes.noting("a"))).compile(saver)

    for answer in ("yes", None, {UNKNOWN: "yes"}):
        with pytest.raises((NothingToResumeError, UnknownInterruptError), match="'t'"):
            await graph.ainvoke(Command(resume=answer), thread_id="t")

    assert nodes.calls == {}
    assert await saver.list_threads() == []


async def test_an_answer_to_a_failed_thread_without_interrupts_is_refused(saver: Checkpointer) -> None:
    async def fail(state: State) -> State:
        message = "not yet"
        raise ValueError(message)

    graph = chain(("fail", fail)).compile(saver)
    with pytest.raises(ValueError, match="not yet"):
        await graph.ainvoke({}, thread_id="t")

    with pytest.raises(NothingToResumeError, match="no question is open"):
        await graph.ainvoke(Command(resume="yes"), thread_id="t")


async def test_the_error_of_an_answer_after_an_update_says_how_to_raise_the_interrupt_again(
    saver: Checkpointer,
) -> None:
    graph = chain(("a", Nodes().noting("a")), ("ask", Nodes().asking("ask", "sure?"))).compile(saver)
    await graph.ainvoke({}, thread_id="t")
    await graph.aupdate_state({"configurable": {"thread_id": "t"}}, {"log": ["edited"]})

    with pytest.raises(NothingToResumeError, match=r"an update .* followed the last question; ainvoke\(None\)"):
        await graph.ainvoke(Command(resume="yes"), thread_id="t")
    await graph.ainvoke(None, thread_id="t")
    answered = await graph.ainvoke(Command(resume="yes"), thread_id="t")

    assert "edited" in answered["log"]
    assert "__interrupt__" not in answered


async def test_an_empty_map_of_answers_to_a_finished_thread_is_refused(saver: Checkpointer) -> None:
    graph = chain(("ask", Nodes().asking("ask", "sure?"))).compile(saver)
    await graph.ainvoke({}, thread_id="t")
    await graph.ainvoke(Command(resume="yes"), thread_id="t")

    with pytest.raises(NothingToResumeError):
        await graph.ainvoke(Command(resume={}), thread_id="t")
