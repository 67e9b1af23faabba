"""Snapshots of `aget_state`: values, next nodes, and the result or error of each task."""

import operator
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, TypedDict

import pytest

from durable_graph import (
    START,
    Checkpointer,
    Command,
    Durability,
    Overwrite,
    Send,
    SnapshotTask,
    StateGraph,
    StateSnapshot,
    Topic,
    interrupt,
)
from tests.graphs import THREAD, Nodes, State, checkpoint_before, history, interrupts_of, questions_of


class Sum(TypedDict):
    total: Annotated[int, operator.add]


class Flaky:
    """A node that adds two, and a parallel node that fails as long as `is_failing` is set."""

    def __init__(self) -> None:
        self.is_failing = True
        self.calls = Nodes()

    def on(self, saver: Checkpointer) -> Any:
        builder = StateGraph(Sum)
        builder.add_node("one", self._one)
        builder.add_node("two", self._two)
        builder.add_edge(START, "one")
        builder.add_edge(START, "two")
        return builder.compile(saver)

    async def _one(self, state: Sum) -> Sum:
        self.calls.note("one")
        return {"total": 2}

    async def _two(self, state: Sum) -> Sum:
        self.calls.note("two")
        if self.is_failing:
            raise ConnectionError("no line")
        return {"total": 3}


async def test_a_snapshot_of_a_failed_run_shows_the_results_and_errors_of_its_tasks(
    saver: Checkpointer, durability: Durability
) -> None:
    graph = Flaky().on(saver)
    with pytest.raises(ConnectionError):
        await graph.ainvoke({"total": 1}, THREAD, durability=durability)

    state = await graph.aget_state(THREAD)

    assert (state.values, state.next) == ({"total": 3}, ("two",))
    one, two = state.tasks
    assert (one.name, one.result, one.error) == ("one", {"total": 2}, None)
    assert (two.name, two.result) == ("two", None)
    assert "ConnectionError" in two.error
    assert "no line" in two.error


async def test_a_snapshot_by_checkpoint_id_shows_the_values_before_its_tasks(saver: Checkpointer) -> None:
    graph = Flaky().on(saver)
    with pytest.raises(ConnectionError):
        await graph.ainvoke({"total": 1}, THREAD)
    head = await graph.aget_state(THREAD)

    by_id = await graph.aget_state(head.config)

    assert (by_id.values, by_id.next) == ({"total": 1}, ("one", "two"))
    assert by_id.tasks == head.tasks


async def test_a_resume_runs_only_the_failed_node_until_it_succeeds(
    saver: Checkpointer, durability: Durability
) -> None:
    flaky = Flaky()
    graph = flaky.on(saver)
    for _ in range(2):
        with pytest.raises(ConnectionError):
            await graph.ainvoke({"total": 1} if _ == 0 else None, THREAD, durability=durability)
    assert sorted(flaky.calls.taken()) == ["one", "two", "two"]
    assert len(await history(graph)) == 1
    flaky.is_failing = False

    assert await graph.ainvoke(None, THREAD, durability=durability) == {"total": 6}
    assert flaky.calls.taken() == ["two"]
    assert [each.values for each in await history(graph)] == [{"total": 6}, {"total": 1}]


async def test_finished_checkpoints_show_the_results_of_their_tasks(saver: Checkpointer) -> None:
    graph = Nodes().chain("a", "b").compile(saver)
    await graph.ainvoke({"log": []}, THREAD)

    shown = await history(graph)

    assert [[(task.name, task.result) for task in each.tasks] for each in shown] == [
        [],
        [("b", {"log": ["b"]})],
        [("a", {"log": ["a"]})],
    ]


async def test_results_are_shown_by_checkpoint_id_and_in_pages_of_the_history(saver: Checkpointer) -> None:
    graph = Nodes().chain("a", "b").compile(saver)
    for turn in range(40):
        await graph.ainvoke({"log": [f"{turn}"]}, THREAD)
    whole = await history(graph)

    assert [each.tasks[0].result for each in whole if each.tasks] == [{"log": ["b"]}, {"log": ["a"]}] * 40
    for place in (0, 1, 2, 60, 118):
        assert await graph.aget_state(whole[place].config) == whole[place]
        assert await history(graph, before=whole[place].config, limit=3) == whole[place + 1 : place + 4]


def longest(current: str, written: str) -> str:
    return max(current, written, key=len)


class Reduced(TypedDict, total=False):
    total: Annotated[int, operator.add]
    word: Annotated[str, longest]
    items: Annotated[list[int], Topic]
    log: Annotated[list[str], operator.add]


async def test_the_result_of_a_task_is_shown_as_it_was_returned_and_not_as_it_was_reduced(
    saver: Checkpointer, durability: Durability
) -> None:
    async def one(state: Reduced) -> Reduced:
        return {"total": 1, "word": "a", "items": [7], "log": ["one"]}

    async def two(state: Reduced) -> dict[str, Any]:
        return {"total": 2, "log": Overwrite(["two"])}

    builder = StateGraph(Reduced).add_node("one", one).add_node("two", two)
    graph = builder.add_edge(START, "one").add_edge("one", "two").compile(saver)
    await graph.ainvoke({"total": 10, "word": "longer", "log": ["in"]}, THREAD, durability=durability)

    shown = await history(graph)

    results = [task.result for each in shown for task in each.tasks]
    assert shown[0].values == {"total": 13, "word": "longer", "log": ["two"]}
    if durability != "exit":
        assert results == [
            {"total": 2, "log": ["two"]},
            {"total": 1, "word": "a", "items": [7], "log": ["one"]},
        ]
        for each in shown:
            assert await graph.aget_state(each.config) == each


async def test_each_branch_shows_the_results_of_its_own_tasks(saver: Checkpointer) -> None:
    turns = iter(range(9))

    async def counts(state: State) -> State:
        return {"log": [f"{next(turns)}"]}

    graph = Nodes().chain("a", ("counts", counts)).compile(saver)
    await graph.ainvoke({"log": []}, THREAD)
    await graph.ainvoke(None, await checkpoint_before(graph, "counts"))

    shown = await history(graph)

    assert [each.tasks[0].result for each in shown if each.next == ("counts",)] == [{"log": ["1"]}, {"log": ["0"]}]


async def test_a_task_that_failed_and_then_succeeded_is_shown_with_its_result_and_no_error(saver: Checkpointer) -> None:
    is_failing = True

    async def flaky(state: State) -> State:
        if is_failing:
            raise ConnectionError
        return {"log": ["flaky"]}

    graph = Nodes().chain(("flaky", flaky)).compile(saver)
    with pytest.raises(ConnectionError):
        await graph.ainvoke({"log": []}, THREAD)
    is_failing = False
    await graph.ainvoke(None, THREAD)

    (task,) = (await history(graph))[-1].tasks

    assert (task.error, task.result) == (None, {"log": ["flaky"]})


async def test_an_interrupt_is_shown_with_its_task(saver: Checkpointer, durability: Durability) -> None:
    graph = Nodes().chain("a", "ask?").compile(saver)
    result = await graph.ainvoke({"log": []}, THREAD, durability=durability)

    state = await graph.aget_state(THREAD)

    assert questions_of(result) == ["ask?"]
    assert state.next == ("ask",)
    assert state.tasks[0].interrupts == state.interrupts == tuple(interrupts_of(result))
    assert state.tasks[0].error is None


async def test_an_answered_interrupt_is_not_shown_any_more(saver: Checkpointer) -> None:
    async def two(state: State) -> State:
        first = interrupt("first?")
        return {"log": [f"{first}{interrupt('second?')}"]}

    graph = Nodes().chain(("two", two)).compile(saver)
    await graph.ainvoke({"log": []}, THREAD)
    await graph.ainvoke(Command(resume="1"), THREAD)

    state = await graph.aget_state(THREAD)

    assert [each.value for each in state.interrupts] == ["second?"]
    await graph.ainvoke(Command(resume="2"), THREAD)
    assert (await graph.aget_state(THREAD)).interrupts == ()


async def test_tasks_of_sends_have_different_ids_and_paths(saver: Checkpointer) -> None:
    async def each(argument: Any) -> State:
        raise ConnectionError

    async def fan(state: State) -> list[Send]:
        return [Send("each", place) for place in range(3)]

    builder = Nodes().chain("a")
    builder.add_node("each", each)
    builder.add_conditional_edges("a", fan, ["each"])
    graph = builder.compile(saver)
    with pytest.raises(ConnectionError):
        await graph.ainvoke({"log": []}, THREAD)

    tasks = (await graph.aget_state(THREAD)).tasks

    assert [task.name for task in tasks] == ["each"] * 3
    assert len({task.id for task in tasks}) == 3
    assert len({task.path for task in tasks}) == 3


async def test_the_path_of_a_task_has_its_kind_and_the_position_of_its_send(saver: Checkpointer) -> None:
    async def fan(state: State) -> list[str | Send]:
        return [Send("sent", {"log": []}), "planned", Send("sent", {"log": []})]

    builder = Nodes().chain("a")
    builder.add_node("planned", Nodes().asking("planned")).add_node("sent", Nodes().asking("sent"))
    builder.add_conditional_edges("a", fan, ["planned", "sent"])
    graph = builder.compile(saver)
    await graph.ainvoke({"log": []}, THREAD)

    tasks = (await graph.aget_state(THREAD)).tasks

    assert all(isinstance(each, SnapshotTask) for each in tasks)
    assert [each.path for each in tasks] == [("pull", "planned"), ("push", "1"), ("push", "2")]


async def test_a_thread_that_was_never_used_is_empty(saver: Checkpointer) -> None:
    graph = Nodes().chain("a").compile(saver)

    state = await graph.aget_state(THREAD)

    assert (state.values, state.next, state.tasks, state.interrupts) == ({}, (), (), ())
    assert (state.metadata, state.created_at, state.parent_config) == (None, None, None)


async def test_a_snapshot_has_its_time_its_parent_and_its_metadata(saver: Checkpointer) -> None:
    graph = Nodes().chain("a").compile(saver)
    began = datetime.now(UTC)
    await graph.ainvoke({"log": []}, {**THREAD, "metadata": {"user": "ann"}})

    newest, first = await history(graph)

    assert newest.created_at is not None
    assert began - timedelta(seconds=1) <= datetime.fromisoformat(newest.created_at) <= datetime.now(UTC)
    assert newest.parent_config == first.config
    assert first.parent_config is None
    assert newest.config["configurable"]["thread_id"] == "t"
    assert newest.config["configurable"]["checkpoint_ns"] == ""
    assert newest.metadata is not None
    assert newest.metadata["user"] == "ann"


async def test_a_node_may_read_its_own_thread(saver: Checkpointer) -> None:
    seen: list[StateSnapshot] = []
    graph: Any = None

    async def look(state: State) -> State:
        seen.append(await graph.aget_state(THREAD))
        return {"log": ["looked"]}

    graph = Nodes().chain("a", ("look", look)).compile(saver)
    await graph.ainvoke({"log": []}, THREAD)

    assert (seen[0].values, seen[0].next) == ({"log": ["a"]}, ("look",))


async def test_a_key_that_has_no_value_is_absent(saver: Checkpointer) -> None:
    class State(TypedDict, total=False):
        topic: str
        log: Annotated[list[str], operator.add]

    async def node(state: State) -> State:
        return {}

    graph = StateGraph(State).add_node("node", node).add_edge(START, "node").compile(saver)
    await graph.ainvoke({}, THREAD)

    assert (await graph.aget_state(THREAD)).values == {"log": []}
