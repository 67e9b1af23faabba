"""Interrupts on other branches of a thread: a fork raises its own interrupts."""

from typing import Any

import pytest

from durable_graph import (
    END,
    Checkpointer,
    Command,
    CompiledGraph,
    Durability,
    InterruptAnsweredError,
    InvalidUpdateError,
    NothingToResumeError,
    StateKeyError,
    StateSnapshot,
    UnknownInterruptError,
    UnknownNameError,
    interrupt,
)
from tests.errors.kinds import of_kind
from tests.graphs import Nodes, State, chain, fan_out, interrupt_ids, questions_of


def talk(saver: Checkpointer, nodes: Nodes) -> CompiledGraph[State]:
    """The nodes a, ask and b, of which `ask` interrupts."""
    return chain(("a", nodes.noting("a")), ("ask", nodes.asking("ask", "what?")), ("b", nodes.noting("b"))).compile(
        saver
    )


async def before(graph: CompiledGraph[Any], node: str) -> StateSnapshot:
    """The oldest checkpoint at which this node runs next."""
    found = [each async for each in graph.aget_state_history(thread_id="t") if each.next == (node,)]
    return found[-1]


async def test_a_replay_interrupts_again_and_does_not_run_earlier_nodes(
    saver: Checkpointer, durability: Durability
) -> None:
    nodes = Nodes()
    graph = talk(saver, nodes)
    await graph.ainvoke({"log": []}, thread_id="t", durability=durability)
    await graph.ainvoke(Command(resume="old"), thread_id="t", durability=durability)
    place = await before(graph, "ask")

    result = await graph.ainvoke(None, place.config, durability=durability)

    assert (result["log"], questions_of(result)) == (["a"], ["what?"])
    assert nodes.calls == {"a": 1, "ask": 3, "b": 1}


async def test_a_replay_is_answered_again_and_the_old_branch_stays(saver: Checkpointer, durability: Durability) -> None:
    nodes = Nodes()
    graph = talk(saver, nodes)
    await graph.ainvoke({"log": []}, thread_id="t", durability=durability)
    await graph.ainvoke(Command(resume="old"), thread_id="t", durability=durability)
    finished = await graph.aget_state(thread_id="t")
    await graph.ainvoke(None, (await before(graph, "ask")).config, durability=durability)

    result = await graph.ainvoke(Command(resume="new"), thread_id="t", durability=durability)

    assert result == {"log": ["a", "ask:new", "b"]}
    assert (await graph.aget_state(finished.config)).values == {"log": ["a", "ask:old", "b"]}


async def test_every_replay_interrupts_with_a_new_id(saver: Checkpointer) -> None:
    graph = talk(saver, Nodes())
    first = interrupt_ids(await graph.ainvoke({}, thread_id="t"))
    await graph.ainvoke(Command(resume="old"), thread_id="t")
    place = await before(graph, "ask")

    results = [await graph.ainvoke(None, place.config) for _ in range(3)]

    seen = [first["what?"], *(interrupt_ids(result)["what?"] for result in results)]
    assert len(set(seen)) == 4
    assert all(result["log"] == ["a"] for result in results)


async def test_an_interrupt_id_of_an_abandoned_branch_is_unknown(saver: Checkpointer) -> None:
    graph = talk(saver, Nodes())
    left = interrupt_ids(await graph.ainvoke({}, thread_id="t"))["what?"]
    await graph.ainvoke(None, (await before(graph, "a")).config)

    with pytest.raises(UnknownInterruptError, match=left):
        await graph.ainvoke(Command(resume={left: "late"}), thread_id="t")


async def test_a_replay_of_a_node_with_two_interrupts_starts_at_the_first(saver: Checkpointer) -> None:
    nodes = Nodes()
    graph = chain(("a", nodes.noting("a")), ("ask", nodes.asking("ask", "first?", "second?"))).compile(saver)
    await graph.ainvoke({}, thread_id="t")
    await graph.ainvoke(Command(resume=1), thread_id="t")
    await graph.ainvoke(Command(resume=2), thread_id="t")

    result = await graph.ainvoke(None, (await before(graph, "ask")).config)

    assert questions_of(result) == ["first?"]


async def test_a_replay_between_two_interrupts_keeps_the_first_answer(saver: Checkpointer) -> None:
    nodes = Nodes()
    graph = chain(("one", nodes.asking("one", "1?")), ("two", nodes.asking("two", "2?"))).compile(saver)
    await graph.ainvoke({}, thread_id="t")
    await graph.ainvoke(Command(resume="a"), thread_id="t")
    await graph.ainvoke(Command(resume="b"), thread_id="t")

    result = await graph.ainvoke(None, (await before(graph, "two")).config)
    assert questions_of(result) == ["2?"]
    result = await graph.ainvoke(Command(resume="c"), thread_id="t")

    assert result == {"log": ["one:a", "two:c"]}
    assert nodes.calls == {"one": 2, "two": 4}


async def test_an_answer_with_the_config_of_the_head_continues_without_a_fork(saver: Checkpointer) -> None:
    nodes = Nodes()
    graph = talk(saver, nodes)
    await graph.ainvoke({}, thread_id="t")
    head = await graph.aget_state(thread_id="t")

    result = await graph.ainvoke(Command(resume={interrupt_ids(head.interrupts)["what?"]: "yes"}), head.config)

    assert result == {"log": ["a", "ask:yes", "b"]}
    assert nodes.calls == {"a": 1, "ask": 2, "b": 1}


async def test_an_unknown_interrupt_id_with_the_config_of_the_head_is_refused(saver: Checkpointer) -> None:
    graph = talk(saver, Nodes())
    await graph.ainvoke({}, thread_id="t")
    head = await graph.aget_state(thread_id="t")

    with pytest.raises(UnknownInterruptError):
        await graph.ainvoke(Command(resume={"0" * 32: "yes"}), head.config)


async def test_a_fork_with_another_state_interrupts_with_that_state(saver: Checkpointer) -> None:
    async def ask(state: State) -> State:
        return {"log": [interrupt(f"after {state['log'][-1]}?")]}

    graph = chain(("a", Nodes().noting("a")), ("ask", ask)).compile(saver)
    await graph.ainvoke({}, thread_id="t")
    await graph.ainvoke(Command(resume="old"), thread_id="t")
    place = await before(graph, "ask")

    forked = await graph.aupdate_state(place.config, {"log": ["forked"]})
    result = await graph.ainvoke(None, forked)
    assert questions_of(result) == ["after forked?"]
    result = await graph.ainvoke(Command(resume="new"), thread_id="t")

    assert result == {"log": ["a", "forked", "new"]}


async def test_an_open_interrupt_is_raised_again_after_an_update(saver: Checkpointer) -> None:
    graph = talk(saver, Nodes())
    await graph.ainvoke({}, thread_id="t")

    await graph.aupdate_state({"configurable": {"thread_id": "t"}}, {"log": ["edited"]})
    result = await graph.ainvoke(None, thread_id="t")

    assert (result["log"], questions_of(result)) == (["a", "edited"], ["what?"])
    assert await graph.ainvoke(Command(resume="yes"), thread_id="t") == {"log": ["a", "edited", "ask:yes", "b"]}


async def test_an_update_as_the_end_clears_the_interrupt(saver: Checkpointer) -> None:
    nodes = Nodes()
    graph = talk(saver, nodes)
    await graph.ainvoke({}, thread_id="t")

    await graph.aupdate_state({"configurable": {"thread_id": "t"}}, None, as_node=END)

    snapshot = await graph.aget_state(thread_id="t")
    assert (snapshot.values, snapshot.next, snapshot.interrupts, snapshot.tasks) == ({"log": ["a"]}, (), (), ())
    assert nodes.calls == {"a": 1, "ask": 1}


async def test_an_update_as_the_end_keeps_the_writes_of_finished_siblings(saver: Checkpointer) -> None:
    nodes = Nodes()
    graph = fan_out(("a", nodes.noting("a")), ("ask", nodes.asking("ask", "sure?"))).compile(saver)
    await graph.ainvoke({}, thread_id="t")

    await graph.aupdate_state({"configurable": {"thread_id": "t"}}, None, as_node=END)

    snapshot = await graph.aget_state(thread_id="t")
    assert (snapshot.values, snapshot.next, snapshot.interrupts) == ({"log": ["a"]}, (), ())


async def test_the_error_of_an_answer_to_a_fork_without_an_interrupt_says_that_the_fork_is_stored(
    saver: Checkpointer,
) -> None:
    config = {"configurable": {"thread_id": "t"}}
    await chain(("ask", Nodes().asking("ask", "sure?"))).compile(saver).ainvoke({}, config)
    before = (await chain(("ask", Nodes().asking("ask", "sure?"))).compile(saver).aget_state(config)).config
    graph = chain(("ask", Nodes().noting("noted"))).compile(saver)
    await graph.aupdate_state(config, {"log": ["edit"]}, as_node="ask")

    with pytest.raises(NothingToResumeError) as refused:
        await graph.ainvoke(Command(resume="yes"), before)

    newest = await graph.aget_state(config)
    assert newest.values == {"log": ["noted"]}
    (note,) = refused.value.__notes__
    assert "the fork is stored, without the answer" in note
    assert newest.config["configurable"]["checkpoint_id"] in note


async def test_an_update_as_the_interrupted_node_replaces_its_result(saver: Checkpointer) -> None:
    nodes = Nodes()
    graph = talk(saver, nodes)
    await graph.ainvoke({}, thread_id="t")

    await graph.aupdate_state({"configurable": {"thread_id": "t"}}, {"log": ["by hand"]}, as_node="ask")

    assert (await graph.aget_state(thread_id="t")).next == ("b",)
    assert await graph.ainvoke(None, thread_id="t") == {"log": ["a", "by hand", "b"]}
    assert nodes.calls == {"a": 1, "ask": 1, "b": 1}


async def test_an_interrupted_thread_can_be_copied_and_answered_in_both_threads(saver: Checkpointer) -> None:
    nodes = Nodes()
    graph = talk(saver, nodes)
    await graph.ainvoke({}, thread_id="t")

    await saver.copy_thread("t", "copy")

    assert questions_of((await graph.aget_state(thread_id="copy")).interrupts) == ["what?"]
    assert await graph.ainvoke(Command(resume="here"), thread_id="t") == {"log": ["a", "ask:here", "b"]}
    assert await graph.ainvoke(Command(resume="there"), thread_id="copy") == {"log": ["a", "ask:there", "b"]}


# Answers and other Commands at an older checkpoint


async def trail(graph: CompiledGraph[Any]) -> list[tuple[str, Any]]:
    """The checkpoints of the thread. A refused call must not add any."""
    history = [each async for each in graph.aget_state_history(thread_id="t")]
    return [(each.config["configurable"]["checkpoint_id"], each.values) for each in history]


async def test_an_older_checkpoint_is_replayed_and_answered_in_one_call(
    saver: Checkpointer, durability: Durability
) -> None:
    nodes = Nodes()
    graph = talk(saver, nodes)
    await graph.ainvoke({"log": []}, thread_id="t", durability=durability)
    await graph.ainvoke(Command(resume="old"), thread_id="t", durability=durability)
    place = await before(graph, "ask")

    result = await graph.ainvoke(Command(resume="new"), place.config, durability=durability)

    assert result == {"log": ["a", "ask:new", "b"]}
    assert nodes.calls == {"a": 1, "ask": 4, "b": 2}


async def test_superseded_interrupts_are_answered_by_their_ids_on_a_fork(
    saver: Checkpointer, durability: Durability
) -> None:
    nodes = Nodes()
    graph = fan_out(("a", nodes.asking("a", "a?")), ("b", nodes.asking("b", "b?"))).compile(saver)
    found = interrupt_ids(await graph.ainvoke({"log": ["one"]}, thread_id="t", durability=durability))
    left = await graph.aget_state(thread_id="t")
    await graph.ainvoke({"log": ["two"]}, thread_id="t", durability=durability)

    answers = Command(resume={found["b?"]: "B", found["a?"]: "A"})
    result = await graph.ainvoke(answers, left.config, durability=durability)

    assert result == {"log": ["one", "a:A", "b:B"]}


async def test_a_refused_answer_to_an_older_checkpoint_creates_no_fork(saver: Checkpointer) -> None:
    nodes = Nodes()
    graph = talk(saver, nodes)
    found = interrupt_ids(await graph.ainvoke({}, thread_id="t"))
    place = await graph.aget_state(thread_id="t")
    await graph.ainvoke(Command(resume="old"), thread_id="t")
    stored = await trail(graph)

    with pytest.raises(UnknownInterruptError, match="0" * 32):
        await graph.ainvoke(Command(resume={"0" * 32: "new"}), place.config)
    with pytest.raises(InterruptAnsweredError, match="old"):
        await graph.ainvoke(Command(resume={found["what?"]: "new"}), place.config)

    assert await trail(graph) == stored
    assert nodes.calls == {"a": 1, "ask": 2, "b": 1}


async def test_a_refused_command_at_an_older_checkpoint_creates_no_fork(saver: Checkpointer) -> None:
    """Reference P21."""
    graph = talk(saver, Nodes())
    await graph.ainvoke({}, thread_id="t")
    await graph.ainvoke(Command(resume="old"), thread_id="t")
    place = await before(graph, "ask")
    stored = await trail(graph)

    with pytest.raises(UnknownNameError, check=of_kind("route"), match="'nowhere'"):
        await graph.ainvoke(Command(goto="nowhere"), place.config)
    with pytest.raises(StateKeyError, check=of_kind("unknown"), match="'lgo'"):
        await graph.ainvoke(Command(resume="new", update={"lgo": []}), place.config)
    with pytest.raises(InvalidUpdateError, match="is empty"):
        await graph.ainvoke(Command(), place.config)

    assert await trail(graph) == stored


async def test_an_update_at_an_older_checkpoint_creates_a_fork(saver: Checkpointer) -> None:
    nodes = Nodes()
    graph = talk(saver, nodes)
    await graph.ainvoke({}, thread_id="t")
    await graph.ainvoke(Command(resume="old"), thread_id="t")
    place = await before(graph, "ask")

    result = await graph.ainvoke(Command(update={"log": ["edited"]}), place.config)

    assert (result["log"], questions_of(result)) == (["a", "edited"], ["what?"])
    assert await graph.ainvoke(Command(resume="new"), thread_id="t") == {"log": ["a", "edited", "ask:new", "b"]}


async def test_a_goto_at_an_older_checkpoint_runs_its_target_in_parallel_with_the_pending_node(
    saver: Checkpointer,
) -> None:
    nodes = Nodes()
    graph = chain(*((name, nodes.noting(name)) for name in "abc")).compile(saver)
    await graph.ainvoke({}, thread_id="t")

    result = await graph.ainvoke(Command(goto="c"), (await before(graph, "b")).config)

    assert result == {"log": ["a", "b", "c", "c"]}
