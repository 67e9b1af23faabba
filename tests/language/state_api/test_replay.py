"""A replay continues from an older checkpoint on a new branch: the nodes after the checkpoint run again."""

import operator
from itertools import count
from typing import Annotated, Any, Literal, TypedDict

import pytest

from durable_graph import (
    END,
    START,
    Checkpointer,
    Command,
    Durability,
    NothingToResumeError,
    Runtime,
    Send,
    StateGraph,
    UnknownNameError,
)
from tests.errors.kinds import of_kind
from tests.graphs import THREAD, Nodes, State, checkpoint_before, checkpoint_id_of, history, newest_before, outline


async def test_only_the_nodes_after_the_checkpoint_run_again(saver: Checkpointer, durability: Durability) -> None:
    calls = Nodes()
    graph = calls.chain("a", "b").compile(saver)
    await graph.ainvoke({"log": []}, THREAD)
    calls.taken()

    result = await graph.ainvoke(None, await checkpoint_before(graph, "b"), durability=durability)

    assert result == {"log": ["a", "b"]}
    assert calls.taken() == ["b"]


async def test_a_finished_checkpoint_has_nothing_to_replay(saver: Checkpointer) -> None:
    calls = Nodes()
    graph = calls.chain("a").compile(saver)
    await graph.ainvoke({"log": []}, THREAD)
    calls.taken()

    with pytest.raises(NothingToResumeError, match="finished"):
        await graph.ainvoke(None, (await graph.aget_state(THREAD)).config)
    assert calls.taken() == []
    assert (await graph.aget_state(THREAD)).values == {"log": ["a"]}


def counting(saver: Checkpointer) -> Any:
    """A graph whose second node logs the number of its call."""
    turns = count(1)
    calls = Nodes()

    async def b(state: State) -> State:
        return {"log": [f"b{next(turns)}"]}

    return calls.chain("a", ("b", b), "c").compile(saver)


async def test_a_replay_is_a_new_branch_and_keeps_the_old_branch(saver: Checkpointer) -> None:
    graph = counting(saver)
    await graph.ainvoke({"log": []}, THREAD)
    before = await history(graph)
    left_at = newest_before(before, "b")

    await graph.ainvoke(None, left_at.config)

    after = await history(graph)
    assert after[3:] == before
    assert outline(after) == [
        ("loop", (), ["a", "b2", "c"]),
        ("loop", ("c",), ["a", "b2"]),
        ("fork", ("b",), ["a"]),
        ("loop", (), ["a", "b1", "c"]),
        ("loop", ("c",), ["a", "b1"]),
        ("loop", ("b",), ["a"]),
        ("input", ("a",), []),
    ]
    assert after[2].parent_config == left_at.config
    assert after[1].parent_config == after[2].config
    assert (await graph.aget_state(THREAD)).config == after[0].config


async def test_a_replay_of_a_replay_keeps_all_branches_readable(saver: Checkpointer) -> None:
    graph = counting(saver)
    await graph.ainvoke({"log": []}, THREAD)
    await graph.ainvoke(None, await checkpoint_before(graph, "b"))

    await graph.ainvoke(None, await checkpoint_before(graph, "b"))

    finished = [each.values["log"] for each in await history(graph) if each.next == ()]
    assert finished == [["a", "b3", "c"], ["a", "b2", "c"], ["a", "b1", "c"]]


async def test_the_tasks_of_a_replay_have_new_ids(saver: Checkpointer) -> None:
    seen: list[str] = []

    async def note(state: State, runtime: Runtime[Any]) -> State:
        seen.append(runtime.execution_info.task_id)
        return {}

    graph = Nodes().chain(("note", note)).compile(saver)
    await graph.ainvoke({"log": []}, THREAD)

    for _ in range(2):
        await graph.ainvoke(None, (await history(graph))[-1].config)

    assert len(set(seen)) == 3


async def test_a_replay_of_one_superstep_runs_all_of_its_tasks(saver: Checkpointer) -> None:
    calls = Nodes()
    builder = calls.chain("a")
    for name in ("b", "c"):
        builder.add_node(name, calls.noting(name))
        builder.add_edge("a", name)
    graph = builder.compile(saver)
    await graph.ainvoke({"log": []}, THREAD)
    calls.taken()
    parallel = next(each for each in await history(graph) if each.next == ("b", "c"))

    assert await graph.ainvoke(None, parallel.config) == {"log": ["a", "b", "c"]}
    assert sorted(calls.taken()) == ["b", "c"]


async def test_replayed_sends_have_their_original_arguments(saver: Checkpointer) -> None:
    got: list[Any] = []

    async def each(argument: Any) -> State:
        got.append(argument)
        return {"log": [f"{argument}"]}

    async def fan(state: State) -> list[Send]:
        return [Send("each", place) for place in range(3)]

    calls = Nodes()
    builder = calls.chain("a")
    builder.add_node("each", each)
    builder.add_conditional_edges("a", fan, ["each"])
    graph = builder.compile(saver)
    await graph.ainvoke({"log": []}, THREAD)
    got.clear()
    fanned = next(each for each in await history(graph) if each.next == ("each",) * 3)

    assert await graph.ainvoke(None, fanned.config) == {"log": ["a", "0", "1", "2"]}
    assert sorted(got) == [0, 1, 2]


class Loop(TypedDict):
    count: Annotated[int, operator.add]


@pytest.mark.parametrize("back", [1, 2, 4])
async def test_a_replay_inside_a_loop_runs_the_remaining_iterations(saver: Checkpointer, back: int) -> None:
    runs: list[int] = []

    async def add(state: Loop) -> Loop:
        runs.append(state["count"])
        return {"count": 1}

    async def again(state: Loop) -> Literal["add", "__end__"]:
        return "add" if state["count"] < 6 else "__end__"

    builder = StateGraph(Loop)
    builder.add_node("add", add)
    builder.add_edge(START, "add")
    builder.add_conditional_edges("add", again)
    graph = builder.compile(saver)
    await graph.ainvoke({"count": 1}, THREAD)
    shown = await history(graph)
    assert [each.values["count"] for each in shown] == [6, 5, 4, 3, 2, 1]
    runs.clear()

    assert await graph.ainvoke(None, shown[back].config) == {"count": 6}
    assert len(runs) == back


async def test_a_replay_whose_nodes_return_other_results_does_not_change_the_old_branch(
    saver: Checkpointer,
) -> None:
    class Switching(TypedDict, total=False):
        total: Annotated[int, operator.add]
        is_on: bool

    positions = count(1)

    async def switch(state: Switching) -> Switching:
        is_on = next(positions) % 2 == 1
        return {"total": 2 if is_on else 1, "is_on": is_on}

    async def onward(state: Switching) -> Literal["one", "two", "__end__"]:
        if state["total"] > 3:
            return "__end__"
        return "two" if state["is_on"] else "one"

    builder = StateGraph(Switching)
    for name in ("one", "two"):
        builder.add_node(name, switch)
        builder.add_conditional_edges(name, onward)
    builder.add_edge(START, "one")
    graph = builder.compile(saver)
    assert (await graph.ainvoke({"total": 1}, THREAD))["total"] == 4
    before = await history(graph)

    assert await graph.ainvoke(None, before[1].config) == {"total": 5, "is_on": True}

    after = await history(graph)
    assert [(each.metadata or {})["source"] for each in after[:2]] == ["loop", "fork"]
    assert after[2:] == before


async def test_a_failed_replay_is_resumed_on_its_own_branch(saver: Checkpointer) -> None:
    calls = Nodes()
    is_failing = False

    async def b(state: State) -> State:
        calls.note("b")
        if is_failing:
            raise ConnectionError
        return {"log": ["b"]}

    graph = calls.chain("a", ("b", b)).compile(saver)
    await graph.ainvoke({"log": []}, THREAD)
    is_failing = True
    with pytest.raises(ConnectionError):
        await graph.ainvoke(None, await checkpoint_before(graph, "b"))
    is_failing = False
    calls.taken()

    assert await graph.ainvoke(None, THREAD) == {"log": ["a", "b"]}
    assert calls.taken() == ["b"]
    assert [(each.metadata or {})["source"] for each in await history(graph)] == [
        "loop",
        "fork",
        "loop",
        "loop",
        "input",
    ]


async def test_new_input_after_a_replay_continues_from_the_replay(saver: Checkpointer) -> None:
    graph = counting(saver)
    await graph.ainvoke({"log": []}, THREAD)
    await graph.ainvoke(None, await checkpoint_before(graph, "b"))

    result = await graph.ainvoke({"log": ["new"]}, THREAD)

    assert result == {"log": ["a", "b2", "c", "new", "a", "b3", "c"]}


async def test_a_command_at_an_older_checkpoint_starts_a_branch_with_its_update_and_goto(saver: Checkpointer) -> None:
    calls = Nodes()
    graph = calls.chain("a", "b", "c").compile(saver)
    await graph.ainvoke({"log": []}, THREAD)
    calls.taken()

    result = await graph.ainvoke(Command(update={"log": ["x"]}, goto="c"), await checkpoint_before(graph, "b"))

    assert result["log"][:2] == ["a", "x"]
    assert "c" in calls.taken()


async def test_a_checkpoint_of_another_thread_is_unknown(saver: Checkpointer) -> None:
    graph = Nodes().chain("a", "b", "c", "d").compile(saver)
    await graph.ainvoke({"log": []}, THREAD)
    late = checkpoint_id_of((await history(graph))[0])
    await graph.ainvoke({"log": []}, thread_id="other")
    await saver.prune("other", keep_last=1)

    with pytest.raises(UnknownNameError, check=of_kind("checkpoint")):
        await graph.ainvoke(None, thread_id="third", checkpoint_id=late)


async def test_a_replay_from_the_first_checkpoint_runs_to_the_end(saver: Checkpointer) -> None:
    calls = Nodes()
    builder = calls.chain("a")
    builder.add_edge("a", END)
    graph = builder.compile(saver)
    await graph.ainvoke({"log": ["in"]}, THREAD)

    assert await graph.ainvoke(None, (await history(graph))[-1].config) == {"log": ["in", "a"]}
