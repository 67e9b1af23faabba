"""`abulk_update_state`: updates write a thread, superstep by superstep, as if it had been run."""

import operator
from typing import Annotated, Any, TypedDict

import pytest

from durable_graph import (
    END,
    START,
    CheckpointConflictError,
    Checkpointer,
    Command,
    InvalidOptionError,
    InvalidUpdateError,
    MissingCheckpointerError,
    Send,
    StateGraph,
    StateUpdate,
    UnknownNameError,
)
from tests.errors.kinds import of_kind
from tests.graphs import THREAD, Nodes, history, nested_state, newest_before, outline


class State(TypedDict, total=False):
    foo: str
    baz: str


def two(saver: Checkpointer | None) -> Any:
    async def node_a(state: State) -> State:
        return {"foo": "run"}

    async def node_b(state: State) -> State:
        return {"baz": "run"}

    builder = StateGraph(State).add_sequence([("a", node_a), ("b", node_b)]).add_edge(START, "a")
    return builder.compile(saver)


async def test_a_superstep_of_several_updates_is_one_checkpoint(saver: Checkpointer) -> None:
    graph = two(saver)

    await graph.abulk_update_state(THREAD, [[StateUpdate({"foo": "first"}, "a")]])
    config = await graph.abulk_update_state(
        THREAD, [[StateUpdate({"foo": "second"}, "a"), StateUpdate({"baz": "new"}, "b")]]
    )

    shown = await history(graph)
    assert [each.values for each in shown] == [{"foo": "second", "baz": "new"}, {"foo": "first"}]
    assert shown[0].config == config
    assert {(each.metadata or {})["source"] for each in shown} == {"update"}


async def test_each_of_several_supersteps_is_one_checkpoint(saver: Checkpointer) -> None:
    graph = two(saver)

    await graph.abulk_update_state(
        THREAD,
        [
            [StateUpdate({"foo": "first"}, "a")],
            [StateUpdate({"foo": "second"}, "a"), StateUpdate({"baz": "new"}, "b")],
        ],
    )

    shown = await history(graph)
    assert [each.values for each in shown] == [{"foo": "second", "baz": "new"}, {"foo": "first"}]
    assert shown[0].parent_config == shown[1].config


async def test_the_edges_of_all_nodes_of_a_superstep_are_followed(saver: Checkpointer) -> None:
    calls = Nodes()
    builder = calls.chain("a", "b", "c")
    builder.add_node("d", calls.noting("d"))
    builder.add_edge(["a", "b"], "d")
    graph = builder.compile(saver)

    await graph.abulk_update_state(THREAD, [[StateUpdate({"log": ["x"]}, "a"), StateUpdate({"log": ["y"]}, "b")]])

    assert (await graph.aget_state(THREAD)).next == ("b", "c", "d")


async def test_a_run_and_the_equivalent_updates_have_the_same_history(saver: Checkpointer) -> None:
    graph = two(saver)
    for _ in range(2):
        await graph.ainvoke({"foo": "in"}, thread_id="run")

    turn = [
        [StateUpdate({"foo": "in"}, "__input__")],
        [StateUpdate({"foo": "run"}, "a")],
        [StateUpdate({"baz": "run"}, "b")],
    ]
    await graph.abulk_update_state({"configurable": {"thread_id": "hand"}}, [*turn, *turn])

    async def seen(thread: str) -> list[Any]:
        shown = await history(graph, {"configurable": {"thread_id": thread}})
        return [
            (each.values, each.next, (each.metadata or {})["step"], [(task.name, task.result) for task in each.tasks])
            for each in shown
        ]

    assert await seen("hand") == await seen("run")


async def test_a_run_with_sends_and_the_equivalent_updates_have_the_same_history(saver: Checkpointer) -> None:
    class Mapped(TypedDict, total=False):
        foo: str
        done: Annotated[list[int], operator.add]

    def sends() -> list[Send]:
        return [Send("each", {"index": place}) for place in range(3)]

    async def spread(state: Mapped) -> Command[Any]:
        return Command(goto=sends(), update={"foo": "spread"})

    async def each(argument: Any) -> Mapped:
        return {"done": [argument["index"]]}

    builder = StateGraph(Mapped)
    builder.add_node("spread", spread, destinations=("each",))
    builder.add_node("each", each)
    builder.add_edge(START, "spread")
    graph = builder.compile(saver)
    assert await graph.ainvoke({"foo": "in"}, thread_id="run") == {"foo": "spread", "done": [0, 1, 2]}

    await graph.abulk_update_state(
        {"configurable": {"thread_id": "hand"}},
        [
            [StateUpdate({"foo": "in"}, "__input__")],
            [StateUpdate(Command(goto=sends(), update={"foo": "spread"}), "spread")],
            [StateUpdate({"done": [place]}, "each") for place in range(3)],
        ],
    )

    async def seen(thread: str) -> list[Any]:
        shown = await history(graph, {"configurable": {"thread_id": thread}})
        return [(each.values, each.next, [task.name for task in each.tasks]) for each in shown]

    assert await seen("hand") == await seen("run")


async def test_a_thread_that_was_written_by_updates_can_be_resumed(saver: Checkpointer) -> None:
    calls = Nodes()
    graph = calls.chain("a", "b", "c").compile(saver)
    await graph.abulk_update_state(
        THREAD, [[StateUpdate({"log": ["in"]}, "__input__")], [StateUpdate({"log": ["by hand"]}, "a")]]
    )

    assert await graph.ainvoke(None, THREAD) == {"log": ["in", "by hand", "b", "c"]}
    assert calls.taken() == ["b", "c"]


async def test_an_earlier_checkpoint_of_a_thread_that_was_written_by_updates_can_be_replayed(
    saver: Checkpointer,
) -> None:
    calls = Nodes()
    graph = calls.chain("a", "b").compile(saver)
    await graph.abulk_update_state(
        THREAD, [[StateUpdate({"log": ["in"]}, "__input__")], [StateUpdate({"log": ["by hand"]}, "a")]]
    )

    assert await graph.ainvoke(None, (await history(graph))[-1].config) == {"log": ["in", "a", "b"]}


async def test_updates_are_shown_as_the_results_of_their_tasks(saver: Checkpointer) -> None:
    graph = two(saver)

    await graph.abulk_update_state(
        THREAD,
        [
            [StateUpdate({"foo": "in"}, "__input__")],
            [StateUpdate({"foo": "by hand"}, "a")],
            [StateUpdate({"baz": "by hand"}, "b")],
        ],
    )

    assert [[(task.name, task.result) for task in each.tasks] for each in await history(graph)] == [
        [],
        [("b", {"baz": "by hand"})],
        [("a", {"foo": "by hand"})],
    ]


async def test_each_of_several_updates_of_a_superstep_needs_as_node(saver: Checkpointer) -> None:
    graph = two(saver)
    await graph.ainvoke({"foo": "in"}, THREAD)
    before = await history(graph)

    with pytest.raises(InvalidUpdateError, match="as_node"):
        await graph.abulk_update_state(THREAD, [[StateUpdate({"foo": "x"}), StateUpdate({"baz": "y"})]])
    assert await history(graph) == before


async def test_a_single_update_of_a_superstep_may_omit_as_node(saver: Checkpointer) -> None:
    graph = two(saver)
    await graph.ainvoke({"foo": "in"}, THREAD)

    await graph.abulk_update_state(THREAD, [[StateUpdate({"baz": "x"})]])

    assert (await graph.aget_state(THREAD)).values == {"foo": "run", "baz": "x"}


@pytest.mark.parametrize(
    "supersteps", [[], [[]], [[], []], [StateUpdate({"foo": "x"}, "a")], [[{"foo": "x"}]], [[({"foo": "x"}, "a")]], "a"]
)
async def test_invalid_supersteps_are_refused(saver: Checkpointer, supersteps: Any) -> None:
    graph = two(saver)

    with pytest.raises(InvalidOptionError, match="none of them empty"):
        await graph.abulk_update_state(THREAD, supersteps)
    assert await history(graph) == []


@pytest.mark.parametrize("special", [END, "__copy__", "__input__", START])
async def test_a_special_name_together_with_another_update_in_one_superstep_is_refused(
    saver: Checkpointer, special: str
) -> None:
    graph = two(saver)
    await graph.ainvoke({"foo": "in"}, THREAD)
    before = await history(graph)

    with pytest.raises(InvalidUpdateError):
        await graph.abulk_update_state(THREAD, [[StateUpdate(None, special), StateUpdate({"foo": "x"}, "a")]])
    assert await history(graph) == before


async def test_an_error_in_a_later_superstep_leaves_the_thread_unchanged(saver: Checkpointer) -> None:
    graph = two(saver)
    await graph.ainvoke({"foo": "in"}, THREAD)
    before = await history(graph)

    with pytest.raises(UnknownNameError, check=of_kind("node"), match="'c'"):
        await graph.abulk_update_state(THREAD, [[StateUpdate({"foo": "x"}, "a")], [StateUpdate({"foo": "y"}, "c")]])
    assert await history(graph) == before


async def test_two_updates_of_one_plain_key_in_one_superstep_are_refused(saver: Checkpointer) -> None:
    graph = two(saver)

    with pytest.raises(InvalidUpdateError, match="'foo' takes one write per superstep"):
        await graph.abulk_update_state(THREAD, [[StateUpdate({"foo": "x"}, "a"), StateUpdate({"foo": "y"}, "b")]])


async def test_a_bulk_update_needs_a_checkpointer() -> None:
    with pytest.raises(MissingCheckpointerError, match="abulk_update_state"):
        await two(None).abulk_update_state(THREAD, [[StateUpdate({"foo": "x"}, "a")]])


async def test_a_command_for_the_parent_graph_is_refused(saver: Checkpointer) -> None:
    """The update raises an ordinary error: it does not unwind the calling node."""
    graph = two(saver)
    await graph.ainvoke({}, THREAD)
    head = await graph.aget_state(THREAD)

    with pytest.raises(InvalidUpdateError, match="as_node='a' with a Command for the parent graph"):
        await graph.aupdate_state(THREAD, Command(graph=Command.PARENT, update={"foo": "x"}), as_node="a")

    assert await graph.aget_state(THREAD) == head


# Inside a nested graph

UPDATES = [[StateUpdate({"log": ["1"]}, "ask")], [StateUpdate({"log": ["2"]}, "y")]]


def nesting(calls: Nodes, saver: Checkpointer, memory: bool | None) -> Any:
    inner = calls.chain("x", "ask?", "y", "z").compile(checkpointer=memory)
    return calls.chain(("inner", inner), "after").compile(saver)


@pytest.mark.parametrize("memory", [None, True])
async def test_updates_write_the_supersteps_of_a_nested_graph(saver: Checkpointer, memory: bool | None) -> None:
    calls = Nodes()
    graph = nesting(calls, saver, memory)
    await graph.ainvoke({"log": []}, THREAD)
    calls.taken()

    config = await graph.abulk_update_state((await nested_state(graph)).config, UPDATES)

    written = await nested_state(graph)
    assert (written.config, written.values, written.next) == (config, {"log": ["x", "1", "2"]}, ("z",))
    assert await graph.ainvoke(None, THREAD) == {"log": ["x", "1", "2", "z", "after"]}
    assert calls.taken() == ["z", "after"]


@pytest.mark.parametrize("memory", [None, True])
async def test_updates_of_an_older_nested_checkpoint_start_a_new_branch(
    saver: Checkpointer, memory: bool | None
) -> None:
    calls = Nodes()
    graph = nesting(calls, saver, memory)
    await graph.ainvoke({"log": []}, THREAD)
    asked = (await nested_state(graph)).config
    await graph.ainvoke(Command(resume="yes"), THREAD)
    before = await history(graph, asked)
    calls.taken()

    config = await graph.abulk_update_state(asked, UPDATES)

    written = await graph.aget_state(config)
    assert (written.values, written.next) == ({"log": ["x", "1", "2"]}, ("z",))
    assert await graph.ainvoke(None, config) == {"log": ["x", "1", "2", "z", "after"]}
    assert calls.taken() == ["z", "after"]
    assert outline(await history(graph, asked))[-len(before) :] == outline(before)


async def test_an_error_in_a_nested_superstep_leaves_both_graphs_unchanged(saver: Checkpointer) -> None:
    graph = nesting(Nodes(), saver, None)
    await graph.ainvoke({"log": []}, THREAD)
    asked = (await nested_state(graph)).config
    await graph.ainvoke(Command(resume="yes"), THREAD)
    before = await history(graph), await history(graph, asked)

    with pytest.raises(UnknownNameError, check=of_kind("node"), match="'nowhere'"):
        await graph.abulk_update_state(asked, [*UPDATES, [StateUpdate({"log": ["3"]}, "nowhere")]])

    assert (await history(graph), await history(graph, asked)) == before


async def test_expected_checkpoint_id_of_a_nested_update_is_the_newest_checkpoint_of_the_nested_graph(
    saver: Checkpointer,
) -> None:
    graph = nesting(Nodes(), saver, None)
    await graph.ainvoke({"log": []}, THREAD)
    seen = newest_before(await history(graph, (await nested_state(graph)).config), "ask").config
    place = {"configurable": {key: seen["configurable"][key] for key in ("thread_id", "checkpoint_ns")}}
    expected = seen["configurable"]["checkpoint_id"]

    await graph.abulk_update_state(place, UPDATES, expected_checkpoint_id=expected)
    with pytest.raises(CheckpointConflictError):
        await graph.abulk_update_state(place, UPDATES, expected_checkpoint_id=expected)

    assert (await nested_state(graph)).values == {"log": ["x", "1", "2"]}


@pytest.mark.parametrize("names", [("__input__", START), (START, "__input__")])
async def test_an_input_that_is_given_under_both_of_its_names_is_refused(
    names: tuple[str, str], saver: Checkpointer
) -> None:
    """Histories of LangGraph, and copies of them, have each input as `__input__` and as `__start__`."""
    graph = two(saver)

    with pytest.raises(InvalidUpdateError, match="leave one out"):
        await graph.abulk_update_state(THREAD, [[StateUpdate({"foo": "in"}, name)] for name in names])

    assert (await graph.aget_state(THREAD)).values == {}
    one, again = StateUpdate({"foo": "in"}, names[0]), StateUpdate({"foo": "more"}, names[0])
    await graph.abulk_update_state(THREAD, [[one], [again]])
    assert (await graph.aget_state(THREAD)).values == {"foo": "more"}
