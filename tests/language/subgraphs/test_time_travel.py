"""Time travel with nested graphs, to checkpoints of the outer graph and to checkpoints of a nested graph."""

from typing import Any

import pytest

from durable_graph import Checkpointer, Command, Durability, StateSnapshot
from tests.graphs import (
    THREAD,
    Nodes,
    State,
    checkpoint_before,
    checkpoint_id_of,
    history,
    nested_state,
    newest_before,
    outline,
    questions_of,
)


def pipeline(calls: Nodes, saver: Checkpointer, inner: Any) -> Any:
    return calls.chain("pre", ("inner", inner), "post").compile(saver)


async def test_a_replay_from_before_a_nested_graph_runs_all_of_it(saver: Checkpointer, durability: Durability) -> None:
    calls = Nodes()
    graph = pipeline(calls, saver, calls.chain("x", "y").compile())
    result = await graph.ainvoke({"log": []}, THREAD)
    calls.taken()

    assert await graph.ainvoke(None, await checkpoint_before(graph, "inner"), durability=durability) == result
    assert calls.taken() == ["x", "y", "post"]


async def test_a_fork_from_before_a_nested_graph_runs_it_on_the_edited_state(saver: Checkpointer) -> None:
    calls = Nodes()
    graph = pipeline(calls, saver, calls.chain("x").compile())
    await graph.ainvoke({"log": []}, THREAD)
    calls.taken()

    fork = await graph.aupdate_state(await checkpoint_before(graph, "inner"), {"log": ["edited"]})

    assert (await graph.ainvoke(None, fork))["log"] == ["pre", "edited", "pre", "edited", "x", "post"]
    assert calls.taken() == ["x", "post"]


async def test_the_old_branch_keeps_its_nested_checkpoints(saver: Checkpointer) -> None:
    calls = Nodes()
    graph = pipeline(calls, saver, calls.chain("x", "y").compile())
    await graph.ainvoke({"log": []}, THREAD)
    before = await history(graph)
    at_inner = newest_before(before, "inner")
    nested_before = await history(graph, at_inner.tasks[0].state)

    await graph.ainvoke(None, at_inner.config)

    after = await history(graph)
    assert after[3:] == before
    assert await history(graph, at_inner.tasks[0].state) == nested_before
    assert after[2].tasks[0].state != at_inner.tasks[0].state
    assert len(await history(graph, after[2].tasks[0].state)) == len(nested_before)


@pytest.mark.parametrize("memory", [None, True])
async def test_a_replay_from_before_a_nested_interrupt_interrupts_again(
    saver: Checkpointer, memory: bool | None
) -> None:
    calls = Nodes()
    graph = pipeline(calls, saver, calls.chain("x", "ask?", "y").compile(checkpointer=memory))
    await graph.ainvoke({"log": []}, THREAD)
    await graph.ainvoke(Command(resume="old"), THREAD)
    calls.taken()

    replay = await graph.ainvoke(None, await checkpoint_before(graph, "inner"))

    assert questions_of(replay) == ["ask?"]
    result = await graph.ainvoke(Command(resume="new"), THREAD)
    assert result["log"] == ["pre", "pre", "x", "ask=new", "y", "post"]
    assert calls.taken() == ["x", "ask", "ask", "y", "post"]


async def test_a_fork_from_before_a_nested_interrupt_runs_to_its_end_with_a_new_answer(saver: Checkpointer) -> None:
    calls = Nodes()
    graph = pipeline(calls, saver, calls.chain("x", "ask?", "y").compile())
    await graph.ainvoke({"log": []}, THREAD)
    await graph.ainvoke(Command(resume="old"), THREAD)

    fork = await graph.aupdate_state(await checkpoint_before(graph, "inner"), {"log": ["edited"]})
    assert questions_of(await graph.ainvoke(None, fork)) == ["ask?"]
    result = await graph.ainvoke(Command(resume="new"), fork)

    assert result["log"][-4:] == ["x", "ask=new", "y", "post"]


def asking_twice(calls: Nodes, saver: Checkpointer) -> Any:
    """A graph whose only node is a graph with memory that interrupts twice."""
    inner = calls.chain("x", "one?", "two?").compile(checkpointer=True)
    return calls.chain(("inner", inner)).compile(saver)


async def both_answered(graph: Any) -> tuple[Any, Any]:
    """The configs of the nested checkpoints at the first and the second interrupt, after a run to the end."""
    await graph.ainvoke({"log": []}, THREAD)
    first = (await nested_state(graph)).config
    await graph.ainvoke(Command(resume="1"), THREAD)
    second = (await nested_state(graph)).config
    result = await graph.ainvoke(Command(resume="2"), THREAD)
    assert result == {"log": ["x", "one=1", "two=2"]}
    return first, second


async def test_a_replay_from_a_nested_checkpoint_continues_inside_the_nested_graph(saver: Checkpointer) -> None:
    calls = Nodes()
    graph = asking_twice(calls, saver)
    first, _ = await both_answered(graph)
    before = await history(graph)
    calls.taken()

    assert questions_of(await graph.ainvoke(None, first)) == ["one?"]
    assert calls.taken() == ["one"]
    assert outline(await history(graph))[:2] == [("fork", ("inner",), []), ("loop", (), ["x", "one=1", "two=2"])]

    assert questions_of(await graph.ainvoke(Command(resume="3"), THREAD)) == ["two?"]
    assert await graph.ainvoke(Command(resume="4"), THREAD) == {"log": ["x", "one=3", "two=4"]}
    assert (await history(graph))[2:] == before


async def test_a_replay_from_the_second_nested_interrupt_keeps_the_first_answer(saver: Checkpointer) -> None:
    calls = Nodes()
    graph = asking_twice(calls, saver)
    _, second = await both_answered(graph)
    calls.taken()

    assert questions_of(await graph.ainvoke(None, second)) == ["two?"]
    assert calls.taken() == ["two"]
    assert await graph.ainvoke(Command(resume="5"), THREAD) == {"log": ["x", "one=1", "two=5"]}
    assert outline(await history(graph)) == [
        ("loop", (), ["x", "one=1", "two=5"]),
        ("fork", ("inner",), []),
        ("loop", (), ["x", "one=1", "two=2"]),
        ("input", ("inner",), []),
    ]


async def test_a_run_continues_from_an_updated_nested_checkpoint(saver: Checkpointer) -> None:
    calls = Nodes()
    graph = asking_twice(calls, saver)
    first, _ = await both_answered(graph)
    calls.taken()

    fork = await graph.aupdate_state(first, {"log": ["edited"]})

    assert questions_of(await graph.ainvoke(None, fork)) == ["one?"]
    assert calls.taken() == ["one"]
    assert questions_of(await graph.ainvoke(Command(resume="3"), THREAD)) == ["two?"]
    assert await graph.ainvoke(Command(resume="4"), THREAD) == {"log": ["x", "edited", "one=3", "two=4"]}


async def test_a_run_continues_from_an_update_at_an_open_nested_interrupt_to_the_outer_end(saver: Checkpointer) -> None:
    calls = Nodes()
    graph = pipeline(calls, saver, calls.chain("x", "ask?", "y").compile(checkpointer=True))
    await graph.ainvoke({"log": []}, THREAD)

    fork = await graph.aupdate_state((await nested_state(graph)).config, {"log": ["edited"]})

    assert questions_of(await graph.ainvoke(None, fork)) == ["ask?"]
    calls.taken()
    result = await graph.ainvoke(Command(resume="new"), fork)
    assert result["log"] == ["pre", "pre", "x", "edited", "ask=new", "y", "post"]
    assert calls.taken() == ["ask", "y", "post"]


async def deep(calls: Nodes, saver: Checkpointer) -> Any:
    inner = calls.chain("x", "one?", "two?").compile(checkpointer=True)
    middle = calls.chain(("inner", inner)).compile(checkpointer=True)
    return calls.chain(("middle", middle)).compile(saver)


async def innermost(graph: Any) -> StateSnapshot:
    middle = await nested_state(graph)
    state = middle.tasks[0].state
    assert isinstance(state, StateSnapshot)
    return state


@pytest.mark.parametrize("edited", [False, True])
@pytest.mark.parametrize(("at", "question"), [(1, "one"), (2, "two")])
async def test_a_replay_from_a_checkpoint_two_levels_deep_interrupts_there_again(
    saver: Checkpointer, edited: bool, at: int, question: str
) -> None:
    calls = Nodes()
    graph = await deep(calls, saver)
    await graph.ainvoke({"log": []}, THREAD)
    places = {1: (await innermost(graph)).config}
    await graph.ainvoke(Command(resume="1"), THREAD)
    places[2] = (await innermost(graph)).config
    await graph.ainvoke(Command(resume="2"), THREAD)
    calls.taken()

    place = places[at]
    if edited:
        place = await graph.aupdate_state(place, {"log": ["edited"]})

    assert questions_of(await graph.ainvoke(None, place)) == [f"{question}?"]
    assert calls.taken() == [question]


async def test_a_replay_from_a_checkpoint_of_the_middle_graph_interrupts_there_again(saver: Checkpointer) -> None:
    calls = Nodes()
    inner = calls.chain("x", "ask?").compile(checkpointer=True)
    middle = calls.chain("pre?", ("inner", inner)).compile(checkpointer=True)
    graph = calls.chain(("middle", middle)).compile(saver)
    assert questions_of(await graph.ainvoke({"log": []}, THREAD)) == ["pre?"]
    at_pre = (await nested_state(graph)).config
    assert questions_of(await graph.ainvoke(Command(resume="p"), THREAD)) == ["ask?"]
    at_ask = (await nested_state(graph)).config
    await graph.ainvoke(Command(resume="a"), THREAD)
    calls.taken()

    assert questions_of(await graph.ainvoke(None, at_pre)) == ["pre?"]
    assert calls.taken() == ["pre"]
    assert questions_of(await graph.ainvoke(None, at_ask)) == ["ask?"]
    assert "pre" not in calls.taken()


async def test_the_fork_of_a_nested_checkpoint_has_its_outer_checkpoint_as_parent(saver: Checkpointer) -> None:
    graph = asking_twice(Nodes(), saver)
    first, _ = await both_answered(graph)
    under = (await history(graph))[-1]

    await graph.ainvoke(None, first)

    fork = (await history(graph))[0]
    assert ((fork.metadata or {})["source"], fork.next) == ("fork", ("inner",))
    assert fork.parent_config is not None
    assert fork.parent_config["configurable"]["checkpoint_id"] == checkpoint_id_of(under)


def remembering(seen: list[list[str]], saver: Checkpointer, memory: bool | None) -> Any:
    async def step(state: State) -> State:
        seen.append(list(state["log"]))
        return {"log": ["s"]}

    calls = Nodes()
    inner = calls.chain(("step", step)).compile(checkpointer=memory)

    async def call(state: State) -> State:
        await inner.ainvoke({"log": []})
        return {}

    return calls.chain("pre", ("call", call)).compile(saver)


async def test_a_replay_finds_the_memory_as_it_was_at_its_checkpoint(
    saver: Checkpointer, durability: Durability
) -> None:
    seen: list[list[str]] = []
    graph = remembering(seen, saver, memory=True)
    for _ in range(2):
        await graph.ainvoke({"log": []}, THREAD)
    assert seen == [[], ["s"]]
    shown = await history(graph)

    await graph.ainvoke(None, newest_before(shown, "call").config, durability=durability)
    assert seen.pop() == ["s"]

    await graph.ainvoke(None, [each for each in shown if each.next == ("call",)][-1].config, durability=durability)
    assert seen.pop() == []


async def test_a_run_after_a_replay_continues_with_the_memory_of_the_replay(saver: Checkpointer) -> None:
    seen: list[list[str]] = []
    graph = remembering(seen, saver, memory=True)
    for _ in range(2):
        await graph.ainvoke({"log": []}, THREAD)
    await graph.ainvoke(None, newest_before(await history(graph), "pre").config)
    seen.clear()

    await graph.ainvoke({"log": []}, THREAD)

    assert seen == [["s", "s"]]


async def test_a_fork_by_an_update_finds_the_memory_as_it_was_at_its_checkpoint(saver: Checkpointer) -> None:
    seen: list[list[str]] = []
    graph = remembering(seen, saver, memory=True)
    for _ in range(2):
        await graph.ainvoke({"log": []}, THREAD)
    seen.clear()

    await graph.ainvoke(None, await graph.aupdate_state(await checkpoint_before(graph, "call"), {"log": ["x"]}))

    assert seen == [["s"]]


async def test_a_replay_starts_over_without_memory(saver: Checkpointer) -> None:
    seen: list[list[str]] = []
    graph = remembering(seen, saver, memory=None)
    for _ in range(2):
        await graph.ainvoke({"log": []}, THREAD)

    await graph.ainvoke(None, await checkpoint_before(graph, "call"))

    assert seen == [[], [], []]


@pytest.mark.parametrize("edited", [False, True])
async def test_a_replay_finds_memories_two_levels_deep_as_they_were_at_its_checkpoint(
    saver: Checkpointer, edited: bool
) -> None:
    seen: list[tuple[str, int]] = []

    def looks(name: str) -> Any:
        async def look(state: State) -> State:
            seen.append((name, len(state["log"])))
            return {"log": [name]}

        return look

    calls = Nodes()
    inner = calls.chain(("inner", looks("inner"))).compile(checkpointer=True)

    async def call_inner(state: State) -> State:
        await inner.ainvoke({"log": []})
        return {}

    middle = calls.chain(("middle", looks("middle")), ("call_inner", call_inner)).compile(checkpointer=True)

    async def call_middle(state: State) -> State:
        await middle.ainvoke({"log": []})
        return {}

    graph = calls.chain("pre", ("call_middle", call_middle)).compile(saver)
    for _ in range(2):
        await graph.ainvoke({"log": []}, THREAD)
    assert seen == [("middle", 0), ("inner", 0), ("middle", 1), ("inner", 1)]
    place = newest_before(await history(graph), "pre").config
    if edited:
        place = await graph.aupdate_state(place, {"log": ["edited"]})
    seen.clear()

    await graph.ainvoke(None, place)
    await graph.ainvoke({"log": []}, THREAD)

    assert seen == [("middle", 1), ("inner", 1), ("middle", 2), ("inner", 2)]
