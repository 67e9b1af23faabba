"""`aupdate_state` writes like a node, with its reducers, edges and routers, and makes a checkpoint of its own."""

import operator
from typing import Annotated, Any, Literal, TypedDict

import pytest

from durable_graph import (
    END,
    START,
    AmbiguousUpdateError,
    Checkpointer,
    Command,
    InvalidUpdateError,
    MissingCheckpointerError,
    Send,
    StateGraph,
    StateKeyError,
    StateSnapshot,
    UnknownNameError,
)
from tests.errors.kinds import of_kind
from tests.graphs import THREAD, Nodes, State, chain, checkpoint_before, checkpoint_id_of, history


async def test_an_update_is_a_checkpoint_after_the_newest(saver: Checkpointer) -> None:
    graph = Nodes().chain("a", "b").compile(saver)
    await graph.ainvoke({"log": []}, THREAD)
    head = await graph.aget_state(THREAD)

    config = await graph.aupdate_state(THREAD, {"log": ["x"]})

    updated = await graph.aget_state(THREAD)
    assert config == updated.config
    assert updated.values == {"log": ["a", "b", "x"]}
    assert updated.metadata is not None
    assert head.metadata is not None
    assert (updated.metadata["source"], updated.metadata["step"]) == ("update", head.metadata["step"] + 1)
    assert updated.parent_config == head.config


@pytest.mark.parametrize(("as_node", "source"), [(START, "update"), ("__input__", "input")])
async def test_an_update_as_the_input_starts_the_graph_again(saver: Checkpointer, as_node: str, source: str) -> None:
    graph = Nodes().chain("a", "b").compile(saver)
    await graph.ainvoke({"log": []}, THREAD)

    await graph.aupdate_state(THREAD, {"log": ["x"]}, as_node=as_node)
    begun = await graph.aget_state(THREAD)
    await graph.aupdate_state(THREAD, {"log": ["y"]})

    assert begun.metadata is not None
    assert (begun.next, begun.metadata["source"]) == (("a",), source)
    assert await graph.ainvoke(None, THREAD) == {"log": ["a", "b", "x", "y", "a", "b"]}


async def test_an_input_that_is_repeated_as_start_is_refused(saver: Checkpointer) -> None:
    """LangGraph's histories have each input as `__input__` and as `__start__`; a list would be merged twice."""
    graph = Nodes().chain("a").compile(saver)
    await graph.aupdate_state(THREAD, {"log": ["x"]}, as_node="__input__")
    before = await graph.aget_state(THREAD)

    for config in (THREAD, before.config):
        with pytest.raises(InvalidUpdateError, match="leave one out; for more input use '__input__' again"):
            await graph.aupdate_state(config, {"log": ["x"]}, as_node=START)

    assert await graph.aget_state(THREAD) == before
    await graph.aupdate_state(THREAD, {"log": ["y"]}, as_node="__input__")
    assert await graph.ainvoke(None, THREAD) == {"log": ["x", "y", "a"]}
    # An update as START is accepted once a node has written after the input.
    await graph.aupdate_state(THREAD, {"log": ["z"]}, as_node=START)
    assert await graph.ainvoke(None, THREAD) == {"log": ["x", "y", "a", "z", "a"]}


async def test_an_update_as_start_may_follow_the_input_of_an_interrupted_run(saver: Checkpointer) -> None:
    graph = Nodes().chain("ask?").compile(saver)
    await graph.ainvoke({"log": ["x"]}, THREAD)

    await graph.aupdate_state(THREAD, {"log": ["y"]}, as_node=START)

    assert (await graph.aget_state(THREAD)).values == {"log": ["x", "y"]}


async def test_an_update_is_merged_by_reducers_and_replaces_plain_keys(saver: Checkpointer) -> None:
    class State(TypedDict, total=False):
        log: Annotated[list[str], operator.add]
        topic: str

    async def node(state: State) -> State:
        return {"log": ["ran"], "topic": "tea"}

    graph = StateGraph(State).add_node("node", node).add_edge(START, "node").compile(saver)
    await graph.ainvoke({}, THREAD)

    await graph.aupdate_state(THREAD, {"log": ["edited"], "topic": "coffee"})

    assert (await graph.aget_state(THREAD)).values == {"log": ["ran", "edited"], "topic": "coffee"}


async def test_an_update_without_as_node_is_attributed_to_the_last_writer(saver: Checkpointer) -> None:
    calls = Nodes()
    graph = calls.chain("a", "b", "c").compile(saver)
    await graph.ainvoke({"log": []}, THREAD)
    calls.taken()

    fork = await graph.aupdate_state(await checkpoint_before(graph, "b"), {"log": ["x"]})

    assert (await graph.aget_state(fork)).next == ("b",)
    assert await graph.ainvoke(None, fork) == {"log": ["a", "x", "b", "c"]}
    assert calls.taken() == ["b", "c"]


async def test_an_update_of_an_input_checkpoint_is_attributed_to_the_start(saver: Checkpointer) -> None:
    calls = Nodes()
    graph = calls.chain("a", "b").compile(saver)
    await graph.ainvoke({"log": []}, THREAD)
    calls.taken()

    fork = await graph.aupdate_state((await history(graph))[-1].config, {"log": ["x"]})

    assert await graph.ainvoke(None, fork) == {"log": ["x", "a", "b"]}


async def test_the_edges_of_as_node_are_followed(saver: Checkpointer) -> None:
    calls = Nodes()
    graph = calls.chain("a", "b", "c").compile(saver)
    await graph.ainvoke({"log": []}, THREAD)
    calls.taken()

    await graph.aupdate_state(THREAD, {"log": ["x"]}, as_node="a")

    assert (await graph.aget_state(THREAD)).next == ("b",)
    assert await graph.ainvoke(None, THREAD) == {"log": ["a", "b", "c", "x", "b", "c"]}
    assert calls.taken() == ["b", "c"]


async def test_an_update_as_the_last_node_leaves_no_next_node(saver: Checkpointer) -> None:
    graph = Nodes().chain("a", "b").compile(saver)
    await graph.ainvoke({"log": []}, THREAD)

    await graph.aupdate_state(await checkpoint_before(graph, "b"), {"log": ["x"]}, as_node="b")

    updated = await graph.aget_state(THREAD)
    assert (updated.values, updated.next, updated.tasks) == ({"log": ["a", "x"]}, (), ())


def routed(calls: Nodes, saver: Checkpointer) -> Any:
    """A graph whose first node routes by the last entry of the log."""

    async def choose(state: State) -> Literal["left", "right", "__end__"]:
        calls.note("router")
        if state["log"][-1] == "stop":
            return "__end__"
        return "left" if state["log"][-1] == "l" else "right"

    builder = StateGraph(State)
    for name in ("first", "left", "right"):
        builder.add_node(name, calls.noting(name))
    builder.add_edge(START, "first")
    builder.add_conditional_edges("first", choose)
    return builder.compile(saver)


@pytest.mark.parametrize(("mark", "chosen"), [("l", ("left",)), ("r", ("right",)), ("stop", ())])
async def test_the_routers_of_as_node_choose_from_the_updated_state(
    saver: Checkpointer, mark: str, chosen: tuple[str, ...]
) -> None:
    calls = Nodes()
    graph = routed(calls, saver)
    await graph.ainvoke({"log": []}, THREAD)
    calls.taken()

    await graph.aupdate_state(THREAD, {"log": [mark]}, as_node="first")

    assert calls.taken() == ["router"]
    assert (await graph.aget_state(THREAD)).next == chosen


async def test_the_update_and_the_goto_of_a_command_as_values_are_applied(saver: Checkpointer) -> None:
    calls = Nodes()
    graph = calls.chain("a", "b", "c").compile(saver)
    await graph.ainvoke({"log": []}, THREAD)
    calls.taken()

    await graph.aupdate_state(THREAD, Command(update={"log": ["x"]}, goto="b"), as_node="c")

    assert (await graph.aget_state(THREAD)).next == ("b",)
    assert await graph.ainvoke(None, THREAD) == {"log": ["a", "b", "c", "x", "b", "c"]}


async def test_a_command_as_values_may_contain_sends(saver: Checkpointer) -> None:
    got: list[Any] = []

    async def each(argument: Any) -> State:
        got.append(argument)
        return {"log": [f"{argument}"]}

    builder = Nodes().chain("a")
    builder.add_node("each", each)
    with pytest.warns(match="each"):
        graph = builder.compile(saver)
    await graph.ainvoke({"log": []}, THREAD)

    await graph.aupdate_state(THREAD, Command(goto=[Send("each", 1), Send("each", 2)]), as_node="a")

    assert (await graph.aget_state(THREAD)).next == ("each", "each")
    assert await graph.ainvoke(None, THREAD) == {"log": ["a", "1", "2"]}
    assert sorted(got) == [1, 2]


async def test_a_thread_may_begin_with_an_update(saver: Checkpointer) -> None:
    calls = Nodes()
    graph = calls.chain("a", "b").compile(saver)

    await graph.aupdate_state(THREAD, {"log": ["x"]}, as_node="a")

    assert (await graph.aget_state(THREAD)).next == ("b",)
    assert await graph.ainvoke(None, THREAD) == {"log": ["x", "b"]}
    assert calls.taken() == ["b"]


async def test_an_update_of_a_new_thread_is_attributed_to_the_start(saver: Checkpointer) -> None:
    calls = Nodes()
    graph = calls.chain("a", "b").compile(saver)

    await graph.aupdate_state(THREAD, {"log": ["x"]})

    assert (await graph.aget_state(THREAD)).next == ("a",)
    assert await graph.ainvoke(None, THREAD) == {"log": ["x", "a", "b"]}


async def test_an_update_without_as_node_after_two_last_writers_is_ambiguous(saver: Checkpointer) -> None:
    builder = Nodes().chain("a")
    for name in ("b", "c"):
        builder.add_node(name, Nodes().noting(name))
        builder.add_edge("a", name)
    graph = builder.compile(saver)
    await graph.ainvoke({"log": []}, THREAD)
    head = await graph.aget_state(THREAD)

    with pytest.raises(AmbiguousUpdateError, match="pass as_node with one of these nodes: b, c") as raised:
        await graph.aupdate_state(THREAD, {"log": ["x"]})
    assert raised.value.candidates == ("b", "c")
    assert await graph.aget_state(THREAD) == head

    await graph.aupdate_state(THREAD, {"log": ["x"]}, as_node="b")
    assert (await graph.aget_state(THREAD)).values == {"log": ["a", "b", "c", "x"]}


async def test_an_update_after_an_update_is_attributed_to_the_same_node(saver: Checkpointer) -> None:
    graph = Nodes().chain("a", "b", "c").compile(saver)
    await graph.ainvoke({"log": []}, THREAD)
    await graph.aupdate_state(THREAD, {"log": ["x"]}, as_node="a")

    await graph.aupdate_state(THREAD, {"log": ["y"]})

    updated = await graph.aget_state(THREAD)
    assert (updated.values["log"][-2:], updated.next) == (["x", "y"], ("b",))


async def test_an_update_as_an_unknown_node_is_refused_with_the_known_nodes(saver: Checkpointer) -> None:
    graph = Nodes().chain("a", "b").compile(saver)
    await graph.ainvoke({"log": []}, THREAD)
    before = await history(graph)

    with pytest.raises(UnknownNameError, check=of_kind("node"), match=r"'c'.*a, b"):
        await graph.aupdate_state(THREAD, {"log": ["x"]}, as_node="c")
    assert await history(graph) == before


async def test_an_update_of_an_unknown_key_is_refused(saver: Checkpointer) -> None:
    """Reference P21."""
    graph = Nodes().chain("a").compile(saver)
    await graph.ainvoke({"log": []}, THREAD)
    before = await history(graph)

    with pytest.raises(StateKeyError, check=of_kind("unknown"), match="valeu"):
        await graph.aupdate_state(THREAD, {"valeu": ["x"]})
    assert await history(graph) == before


async def test_an_update_of_an_unknown_checkpoint_is_refused(saver: Checkpointer) -> None:
    graph = Nodes().chain("a").compile(saver)
    await graph.ainvoke({"log": []}, THREAD)

    with pytest.raises(UnknownNameError, check=of_kind("checkpoint")):
        await graph.aupdate_state(
            {"configurable": {"thread_id": "t", "checkpoint_id": "0000000000000099"}}, {"log": ["x"]}
        )


async def test_an_update_needs_a_checkpointer() -> None:
    graph = Nodes().chain("a").compile()

    with pytest.raises(MissingCheckpointerError, match="aupdate_state needs a checkpointer"):
        await graph.aupdate_state(THREAD, {"log": ["x"]})


async def test_several_forks_of_one_checkpoint_are_independent(saver: Checkpointer) -> None:
    graph = Nodes().chain("a", "b").compile(saver)
    await graph.ainvoke({"log": []}, THREAD)
    before_b = await checkpoint_before(graph, "b")

    one = await graph.ainvoke(None, await graph.aupdate_state(before_b, {"log": ["one"]}))
    two = await graph.ainvoke(None, await graph.aupdate_state(before_b, {"log": ["two"]}))

    assert (one, two) == ({"log": ["a", "one", "b"]}, {"log": ["a", "two", "b"]})


async def test_a_fork_by_an_update_does_not_change_the_old_branch(saver: Checkpointer) -> None:
    graph = Nodes().chain("a", "b", "c").compile(saver)
    await graph.ainvoke({"log": []}, THREAD)
    before = await history(graph)
    at = next(each for each in before if each.next == ("b",))

    fork = await graph.aupdate_state(at.config, {"log": ["x"]})
    await graph.ainvoke(None, fork)

    after = await history(graph)
    assert after[3:] == before
    assert [each.values["log"] for each in after[:3]] == [["a", "x", "b", "c"], ["a", "x", "b"], ["a", "x"]]
    assert [each.next for each in after[:3]] == [(), ("c",), ("b",)]
    assert (after[2].parent_config, after[2].config) == (at.config, fork)


async def test_an_update_of_an_older_checkpoint_excludes_later_results(saver: Checkpointer) -> None:
    class Sum(TypedDict):
        total: Annotated[int, operator.add]

    async def ten(state: Sum) -> Sum:
        return {"total": 10}

    async def hundred(state: Sum) -> Sum:
        return {"total": 100}

    builder = StateGraph(Sum).add_sequence([("ten", ten), ("hundred", hundred)]).add_edge(START, "ten")
    graph = builder.compile(saver)
    await graph.ainvoke({"total": 1}, THREAD)

    fork = await graph.aupdate_state(await checkpoint_before(graph, "ten"), {"total": 20}, as_node="ten")

    assert await graph.ainvoke(None, fork) == {"total": 121}


async def test_a_checkpoint_of_an_update_has_the_metadata_and_the_writer_of_the_update(saver: Checkpointer) -> None:
    graph = Nodes().chain("a").compile(saver)
    await graph.ainvoke({"log": []}, THREAD)

    await graph.aupdate_state({**THREAD, "metadata": {"editor": "ann"}}, {"log": ["x"]})

    newest = (await history(graph, limit=1))[0]
    assert newest.metadata is not None
    assert (newest.metadata["editor"], newest.metadata["writers"]) == ("ann", ["a"])


async def test_the_update_of_a_command_as_values_may_be_a_list_of_pairs(saver: Checkpointer) -> None:
    graph = Nodes().chain("a").compile(saver)
    await graph.ainvoke({"log": []}, THREAD)

    await graph.aupdate_state(THREAD, Command(update=[("log", ["x"]), ("log", ["y"])]))

    assert (await graph.aget_state(THREAD)).values == {"log": ["a", "x", "y"]}


async def test_each_update_has_a_new_checkpoint_id_that_sorts_after_the_previous_id(saver: Checkpointer) -> None:
    graph = Nodes().chain("a").compile(saver)
    await graph.ainvoke({"log": []}, THREAD)
    for _ in range(3):
        await graph.aupdate_state(THREAD, {"log": ["x"]})

    ids = [checkpoint_id_of(each) for each in await history(graph)]

    assert ids == sorted(set(ids), reverse=True)


async def test_an_update_as_the_end_with_values_is_refused(saver: Checkpointer) -> None:
    graph = Nodes().chain("a").compile(saver)
    await graph.ainvoke({"log": []}, THREAD)

    with pytest.raises(InvalidUpdateError, match="END"):
        await graph.aupdate_state(THREAD, {"log": ["x"]}, as_node=END)


async def test_an_update_after_an_input_and_before_any_result_is_attributed_to_the_input(saver: Checkpointer) -> None:
    """As in LangGraph, also for a graph of one node and for a nested graph: no node has written anything yet."""
    one = chain(("asks", Nodes().asking("asks", "?"))).compile(saver)
    await one.ainvoke({"log": ["in"]}, thread_id="one")

    await one.aupdate_state(None, {"log": ["more"]}, thread_id="one")

    snapshot = await one.aget_state(thread_id="one")
    assert (snapshot.values, snapshot.next) == ({"log": ["in", "more"]}, ("asks",))

    inner = chain(("asks", Nodes().asking("asks", "?")), ("after", Nodes().noting("after"))).compile()
    outer = chain(("inner", inner)).compile(saver)
    await outer.ainvoke({"log": ["in"]}, thread_id="outer")
    (task,) = (await outer.aget_state(thread_id="outer", subgraphs=True)).tasks
    assert isinstance(task.state, StateSnapshot)
    await outer.ainvoke(Command(resume="yes"), thread_id="outer")

    edited = await outer.aupdate_state(task.state.config, {"log": ["more"]})

    snapshot = await outer.aget_state(edited)
    assert (snapshot.values, snapshot.next) == ({"log": ["in", "more"]}, ("asks",))
