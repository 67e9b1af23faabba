"""A graph changes between two runs of a thread: an incompatible change is an error that names a remedy."""

import operator
from typing import Annotated, Any, TypedDict

import pytest

from durable_graph import (
    START,
    Checkpointer,
    Command,
    Durability,
    DurableGraphError,
    GraphChangedError,
    StateGraph,
    UnfinishedThreadError,
    interrupt,
)
from tests.errors.kinds import of_kind
from tests.graphs import THREAD, Nodes, State, history, interrupts_of


async def in_flight(saver: Checkpointer, calls: Nodes, durability: Durability = "sync") -> None:
    """Store a thread with a pending interrupt of `ask`."""
    graph = calls.chain("a", "ask?", "b").compile(saver)
    await graph.ainvoke({"log": []}, THREAD, durability=durability)
    calls.taken()


@pytest.mark.parametrize("how", [None, Command(resume="yes")])
async def test_a_resume_after_the_pending_node_was_renamed_is_an_error_that_names_the_node(
    saver: Checkpointer, durability: Durability, how: Any
) -> None:
    """Reference P12."""
    calls = Nodes()
    await in_flight(saver, calls, durability)
    renamed = calls.chain("a", ("asks", calls.asking("asks")), "b").compile(saver)

    with pytest.raises(GraphChangedError, check=of_kind("node"), match="'ask'") as raised:
        await renamed.ainvoke(how, THREAD, durability=durability)

    assert raised.value.name == "ask"
    assert raised.value.known == ("a", "asks", "b")
    assert "aupdate_state" in str(raised.value)
    assert calls.taken() == []


async def test_a_snapshot_shows_a_pending_node_that_the_graph_does_not_have_any_more(saver: Checkpointer) -> None:
    """Reference P12."""
    calls = Nodes()
    await in_flight(saver, calls)
    renamed = calls.chain("a", "b").compile(saver)

    state = await renamed.aget_state(THREAD)

    assert (state.values, state.next) == ({"log": ["a"]}, ("ask",))


async def test_an_update_as_another_node_replaces_a_pending_node_that_was_renamed(saver: Checkpointer) -> None:
    """Reference P12."""
    calls = Nodes()
    await in_flight(saver, calls)
    renamed = calls.chain("a", ("asks", calls.asking("asks")), "b").compile(saver)

    await renamed.aupdate_state(THREAD, None, as_node="a")

    state = await renamed.aget_state(THREAD)
    assert (state.next, [each.name for each in state.superseded]) == (("asks",), ["ask"])
    await renamed.ainvoke(None, THREAD)
    assert await renamed.ainvoke(Command(resume="yes"), THREAD) == {"log": ["a", "asks=yes", "b"]}


async def test_a_fork_of_an_older_checkpoint_runs_although_the_pending_node_was_removed(saver: Checkpointer) -> None:
    """Reference P12."""
    calls = Nodes()
    await in_flight(saver, calls)
    renamed = calls.chain("a", "b").compile(saver)

    assert await renamed.ainvoke(None, (await history(renamed))[-1].config) == {"log": ["a", "b"]}


async def test_new_input_supersedes_a_pending_node_that_was_removed(saver: Checkpointer) -> None:
    """Reference P12."""
    calls = Nodes()
    await in_flight(saver, calls)
    renamed = calls.chain("a", "b").compile(saver)

    assert await renamed.ainvoke({"log": ["new"]}, THREAD) == {"log": ["a", "new", "a", "b"]}
    accepted = next(each for each in await history(renamed) if each.superseded)
    assert [each.name for each in accepted.superseded] == ["ask"]


async def test_the_original_graph_can_resume_the_thread(saver: Checkpointer) -> None:
    """Reference P12."""
    calls = Nodes()
    await in_flight(saver, calls)
    with pytest.raises(GraphChangedError, check=of_kind("node")):
        await calls.chain("a", "b").compile(saver).ainvoke(None, THREAD)

    graph = calls.chain("a", "ask?", "b").compile(saver)

    assert await graph.ainvoke(Command(resume="yes"), THREAD) == {"log": ["a", "ask=yes", "b"]}


async def test_a_resume_after_a_pending_nested_node_was_renamed_is_an_error_that_names_the_node(
    saver: Checkpointer,
) -> None:
    """Reference P12."""
    calls = Nodes()
    nested = calls.chain("n", "ask?").compile()
    await calls.chain(("sub", nested)).compile(saver).ainvoke({"log": []}, THREAD)
    renamed = calls.chain(("sub", calls.chain("n", "asks?").compile())).compile(saver)

    with pytest.raises(GraphChangedError, check=of_kind("node"), match="'ask'"):
        await renamed.ainvoke(Command(resume="yes"), THREAD)


async def test_a_finished_nested_node_may_be_renamed_before_a_resume(saver: Checkpointer) -> None:
    """The pending nodes identify the nested graph."""
    calls = Nodes()
    nested = calls.chain("n", "ask?", "b").compile()
    await calls.chain(("sub", nested)).compile(saver).ainvoke({"log": []}, THREAD)
    renamed = calls.chain(("sub", calls.chain("first", "ask?", "b").compile())).compile(saver)
    calls.taken()

    assert await renamed.ainvoke(Command(resume="yes"), THREAD) == {"log": ["n", "ask=yes", "b"]}
    assert calls.taken() == ["ask", "b"]


async def test_a_resume_after_a_pending_error_handler_was_removed_is_an_error_that_names_its_node(
    saver: Checkpointer,
) -> None:
    """Reference P12."""

    async def fails(state: State) -> State:
        raise ValueError("for good")

    async def handler(state: State) -> State:
        return {"log": [interrupt("what now?")]}

    def compiled(**options: Any) -> Any:
        builder = StateGraph(State)
        builder.add_node("fails", fails, **options)
        builder.add_edge(START, "fails")
        return builder.compile(saver)

    await compiled(error_handler=handler).ainvoke({"log": []}, THREAD)

    with pytest.raises(
        GraphChangedError, check=of_kind("handler"), match=r"for node 'fails'.*add the error handler to the graph again"
    ):
        await compiled().ainvoke(Command(resume="go on"), THREAD)

    assert await compiled(error_handler=handler).ainvoke(None, THREAD) == {"log": ["go on"]}


async def test_a_node_that_was_added_before_a_resume_runs_in_its_turn(saver: Checkpointer) -> None:
    calls = Nodes()
    await in_flight(saver, calls)
    longer = calls.chain("a", "ask?", "b", "c").compile(saver)

    assert await longer.ainvoke(Command(resume="yes"), THREAD) == {"log": ["a", "ask=yes", "b", "c"]}


class Narrow(TypedDict, total=False):
    log: Annotated[list[str], operator.add]
    topic: str


class Wide(TypedDict, total=False):
    log: Annotated[list[str], operator.add]
    topic: str
    notes: Annotated[list[str], operator.add]
    total: Annotated[int, operator.add]


def asking(schema: Any, saver: Checkpointer, seen: list[Any]) -> Any:
    async def ask(state: Any) -> dict[str, Any]:
        seen.append(dict(state))
        return {"log": [interrupt("?")]}

    return StateGraph(schema).add_node("ask", ask).add_edge(START, "ask").compile(saver)


async def test_a_channel_that_was_added_before_a_resume_starts_empty(saver: Checkpointer) -> None:
    seen: list[Any] = []
    await asking(Narrow, saver, seen).ainvoke({"topic": "tea"}, THREAD)

    result = await asking(Wide, saver, seen).ainvoke(Command(resume="yes"), THREAD)

    assert result["log"] == ["yes"]
    assert seen[-1] == {"log": [], "topic": "tea", "notes": [], "total": 0}


async def test_a_channel_that_was_removed_before_a_resume_is_kept(saver: Checkpointer) -> None:
    seen: list[Any] = []
    await asking(Wide, saver, seen).ainvoke({"topic": "tea", "notes": ["n"]}, THREAD)

    result = await asking(Narrow, saver, seen).ainvoke(Command(resume="yes"), THREAD)

    assert result == {"log": ["yes"], "topic": "tea"}
    assert (await asking(Wide, saver, seen).aget_state(THREAD)).values["notes"] == ["n"]


async def test_a_resume_after_the_type_of_a_channel_changed_is_an_error_that_names_the_channel(
    saver: Checkpointer,
) -> None:
    class Retyped(TypedDict, total=False):
        log: Annotated[list[str], operator.add]
        topic: int

    seen: list[Any] = []
    await asking(Narrow, saver, seen).ainvoke({"topic": "tea"}, THREAD)

    with pytest.raises(GraphChangedError, check=of_kind("channel"), match="'topic'") as raised:
        await asking(Retyped, saver, seen).ainvoke(Command(resume="yes"), THREAD)
    assert raised.value.name == "topic"
    assert (await asking(Narrow, saver, seen).ainvoke(Command(resume="yes"), THREAD))["log"] == ["yes"]


async def test_new_input_during_a_pending_interrupt_records_the_superseded_task(
    saver: Checkpointer, durability: Durability
) -> None:
    """Reference P13."""
    graph = Nodes().chain("a", "ask?").compile(saver)
    await graph.ainvoke({"log": []}, THREAD, durability=durability)
    (asked,) = (await graph.aget_state(THREAD)).tasks

    await graph.ainvoke({"log": ["new"]}, THREAD, durability=durability)

    accepted = next(each for each in await history(graph) if each.superseded)
    assert [(each.id, each.name, each.outcome) for each in accepted.superseded] == [(asked.id, "ask", "interrupted")]
    assert len((await graph.aget_state(THREAD)).interrupts) == 1


async def test_new_input_during_a_pending_interrupt_can_be_refused(saver: Checkpointer) -> None:
    """Reference P13."""
    graph = Nodes().chain("a", "ask?").compile(saver)
    await graph.ainvoke({"log": []}, THREAD)
    head = await graph.aget_state(THREAD)

    with pytest.raises(UnfinishedThreadError, match="ask"):
        await graph.ainvoke({"log": ["new"]}, THREAD, if_unfinished="reject")

    assert await graph.aget_state(THREAD) == head
    assert await graph.ainvoke(Command(resume="yes"), THREAD) == {"log": ["a", "ask=yes"]}


async def test_an_answer_to_an_interrupt_that_new_input_superseded_is_refused(saver: Checkpointer) -> None:
    """Reference P13."""
    graph = Nodes().chain("a", "ask?").compile(saver)
    first = await graph.ainvoke({"log": []}, THREAD)
    await graph.ainvoke({"log": ["new"]}, THREAD)

    with pytest.raises(DurableGraphError, match=interrupts_of(first)[0].id):
        await graph.ainvoke(Command(resume={interrupts_of(first)[0].id: "late"}), THREAD)


async def test_new_input_with_if_unfinished_resume_is_refused_until_the_interrupt_is_answered(
    saver: Checkpointer,
) -> None:
    """Reference P13."""
    calls = Nodes()

    async def quiet(state: State) -> State:
        return {"log": ["quiet"]}

    graph = calls.chain("a", "ask?", ("quiet", quiet)).compile(saver)
    await graph.ainvoke({"log": []}, THREAD)

    with pytest.raises(UnfinishedThreadError):
        await graph.ainvoke({"log": ["new"]}, THREAD, if_unfinished="resume")
    await graph.ainvoke(Command(resume="yes"), THREAD)
    result = await graph.ainvoke({"log": ["new"]}, THREAD, if_unfinished="resume")
    assert result["log"][:4] == ["a", "ask=yes", "quiet", "new"]
