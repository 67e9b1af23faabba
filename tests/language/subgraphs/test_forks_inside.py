"""A resume from a checkpoint of a nested graph creates a fork, wherever that graph was called."""

from typing import Any

import pytest

from durable_graph import (
    START,
    Checkpointer,
    Command,
    Durability,
    InvalidOptionError,
    NothingToResumeError,
    StateGraph,
    task,
)
from tests.graphs import THREAD, Nodes, State, history, nested_state, outline, questions_of


def inside(config: Any) -> bool:
    return bool(config["configurable"]["checkpoint_ns"])


async def both_answered(graph: Any) -> Any:
    """The nested config at the first interrupt, after a run to the end with the answers "1" and "2"."""
    assert questions_of(await graph.ainvoke({"log": []}, THREAD)) == ["one?"]
    first = (await nested_state(graph)).config
    assert inside(first)
    await graph.ainvoke(Command(resume="1"), THREAD)
    await graph.ainvoke(Command(resume="2"), THREAD)
    return first


async def test_a_fork_inside_a_graph_without_memory_leaves_the_old_branch_unchanged(
    saver: Checkpointer, durability: Durability
) -> None:
    calls = Nodes()
    graph = calls.chain("pre", ("inner", calls.chain("x", "one?", "two?").compile()), "post").compile(saver)
    first = await both_answered(graph)
    before = await history(graph)
    ended = (await graph.aget_state(THREAD)).values
    calls.taken()

    assert questions_of(await graph.ainvoke(None, first, durability=durability)) == ["one?"]
    assert calls.taken() == ["one"]
    await graph.ainvoke(Command(resume="3"), THREAD, durability=durability)
    result = await graph.ainvoke(Command(resume="4"), THREAD, durability=durability)

    assert result == {"log": ["pre", "pre", "x", "one=3", "two=4", "post"]}
    assert calls.taken() == ["one", "two", "two", "post"]
    assert (await history(graph))[-len(before) :] == before
    assert (await graph.aget_state(before[0].config)).values == ended


async def test_an_update_of_a_nested_checkpoint_is_resumed_inside_the_nested_graph(saver: Checkpointer) -> None:
    calls = Nodes()
    graph = calls.chain(("inner", calls.chain("x", "one?", "two?").compile())).compile(saver)
    first = await both_answered(graph)
    calls.taken()

    edited = await graph.aupdate_state(first, {"log": ["edited"]})

    assert (await graph.aget_state(edited)).values == {"log": ["x", "edited"]}
    assert (await nested_state(graph)).config == edited
    assert questions_of(await graph.ainvoke(None, edited)) == ["one?"]
    await graph.ainvoke(Command(resume="3"), edited)
    assert await graph.ainvoke(Command(resume="4"), THREAD) == {"log": ["x", "edited", "one=3", "two=4"]}
    assert calls.taken() == ["one", "one", "two", "two"]


@pytest.mark.parametrize("memory", [None, True])
@pytest.mark.parametrize("edited", [False, True])
async def test_a_fork_of_a_nested_checkpoint_runs_the_parallel_node_again(
    saver: Checkpointer, memory: bool | None, edited: bool
) -> None:
    calls = Nodes()
    builder = StateGraph(State)
    builder.add_node("inner", calls.chain("x", "one?", "two?").compile(checkpointer=memory))
    builder.add_node("beside", calls.noting("beside"))
    graph = builder.add_edge(START, "inner").add_edge(START, "beside").compile(saver)
    await graph.ainvoke({"log": []}, THREAD)
    (inner,) = (each for each in (await graph.aget_state(THREAD, subgraphs=True)).tasks if each.name == "inner")
    assert inner.state is not None
    place = inner.state.config
    await graph.ainvoke(Command(resume="1"), THREAD)
    assert await graph.ainvoke(Command(resume="2"), THREAD) == {"log": ["beside", "x", "one=1", "two=2"]}
    calls.taken()

    if edited:
        place = await graph.aupdate_state(place, {"log": ["edited"]})
    assert questions_of(await graph.ainvoke(None, place)) == ["one?"]

    assert sorted(calls.taken()) == ["beside", "one"]
    await graph.ainvoke(Command(resume="3"), THREAD)
    result = await graph.ainvoke(Command(resume="4"), THREAD)
    assert result == {"log": ["beside", "x", *(["edited"] if edited else []), "one=3", "two=4"]}


async def last_nested(graph: Any, given: Any) -> Any:
    """The newest checkpoint of the nested graph that the stream of a run reports last."""
    streamed = [ns async for ns, _ in graph.astream(given, THREAD, subgraphs=True) if ns]
    ns = "|".join(streamed[-1])
    return (await graph.aget_state({"configurable": {"thread_id": "t", "checkpoint_ns": ns}})).config


async def test_a_fork_inside_the_second_of_two_calls_runs_the_first_call_again(saver: Checkpointer) -> None:
    calls = Nodes()
    inner = calls.chain("x", "one?").compile()

    async def call(state: State) -> State:
        first = await inner.ainvoke({"log": []})
        second = await inner.ainvoke({"log": ["again"]})
        return {"log": [*first["log"], *second["log"]]}

    graph = calls.chain(("call", call)).compile(saver)
    await graph.ainvoke({"log": []}, THREAD)
    at_second = await last_nested(graph, Command(resume="1"))
    assert await graph.ainvoke(Command(resume="2"), THREAD) == {"log": ["x", "one=1", "again", "x", "one=2"]}
    calls.taken()

    # The second call continues at its checkpoint; the first call, which is not on the path to it, starts over.
    assert questions_of(await graph.ainvoke(None, at_second)) == ["one?"]
    assert calls.taken() == ["x", "one"]
    assert questions_of(await graph.ainvoke(Command(resume="3"), THREAD)) == ["one?"]
    assert await graph.ainvoke(Command(resume="4"), THREAD) == {"log": ["x", "one=3", "again", "x", "one=4"]}
    assert calls.taken() == ["one", "one", "one"]


async def test_a_fork_inside_a_graph_that_a_task_calls_continues_there(saver: Checkpointer) -> None:
    calls = Nodes()
    inner = calls.chain("x", "one?", "two?").compile()

    @task
    async def work() -> list[str]:
        result: list[str] = (await inner.ainvoke({"log": []}))["log"]
        return result

    async def call(state: State) -> State:
        assert inner is not None
        return {"log": await work()}

    graph = calls.chain(("call", call)).compile(saver)
    place = await last_nested(graph, {"log": []})
    await graph.ainvoke(Command(resume="1"), THREAD)
    await graph.ainvoke(Command(resume="2"), THREAD)
    calls.taken()

    assert questions_of(await graph.ainvoke(None, place)) == ["one?"]
    assert calls.taken() == ["one"]


async def test_an_answer_with_a_nested_checkpoint_is_for_the_interrupt_of_the_fork(saver: Checkpointer) -> None:
    calls = Nodes()
    graph = calls.chain(("inner", calls.chain("x", "one?", "two?").compile(checkpointer=True))).compile(saver)
    first = await both_answered(graph)

    assert questions_of(await graph.ainvoke(Command(resume="3"), first)) == ["two?"]
    assert await graph.ainvoke(Command(resume="4"), THREAD) == {"log": ["x", "one=3", "two=4"]}


async def test_input_with_a_nested_checkpoint_is_refused(saver: Checkpointer) -> None:
    calls = Nodes()
    graph = calls.chain(("inner", calls.chain("x", "one?", "two?").compile())).compile(saver)
    first = await both_answered(graph)
    before = await history(graph)

    with pytest.raises(InvalidOptionError, match="checkpoint_ns"):
        await graph.ainvoke({"log": ["new"]}, first)
    assert await history(graph) == before


async def test_the_last_checkpoint_of_a_finished_nested_graph_cannot_be_resumed(saver: Checkpointer) -> None:
    calls = Nodes()
    graph = calls.chain(("inner", calls.chain("x").compile()), "y").compile(saver)
    await graph.ainvoke({"log": []}, THREAD)
    at_inner = next(each for each in await history(graph) if each.next == ("inner",))
    ended = (await history(graph, at_inner.tasks[0].state))[0]

    with pytest.raises(NothingToResumeError):
        await graph.ainvoke(None, ended.config)


async def test_a_resume_with_the_config_of_the_nested_head_continues_without_a_fork(saver: Checkpointer) -> None:
    calls = Nodes()
    graph = calls.chain(("inner", calls.chain("x", "one?").compile())).compile(saver)
    await graph.ainvoke({"log": []}, THREAD)
    place = (await nested_state(graph)).config

    assert await graph.ainvoke(Command(resume="1"), place) == {"log": ["x", "one=1"]}
    assert outline(await history(graph)) == [("loop", (), ["x", "one=1"]), ("input", ("inner",), [])]


async def test_a_memory_may_be_updated_between_two_invocations(saver: Checkpointer) -> None:
    calls = Nodes()
    inner = calls.chain("x").compile(checkpointer=True)
    seen: list[list[str]] = []

    async def call(state: State) -> State:
        seen.append((await inner.ainvoke({"log": ["in"]}))["log"])
        return {}

    graph = calls.chain(("call", call)).compile(saver)
    await graph.ainvoke({"log": []}, THREAD)

    await graph.aupdate_state({"configurable": {"thread_id": "t", "checkpoint_ns": "call"}}, {"log": ["edited"]})
    await graph.ainvoke({"log": []}, THREAD)

    assert seen == [["in", "x"], ["in", "x", "edited", "in", "x"]]
