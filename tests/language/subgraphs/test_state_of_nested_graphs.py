"""The state of a nested graph is read through the tasks of its parent, has a history, and can be updated."""

from typing import Annotated, Any, TypedDict

import pytest

from durable_graph import (
    END,
    START,
    Checkpointer,
    Command,
    Durability,
    StateGraph,
    StateSnapshot,
    UnknownNameError,
)
from tests.errors.kinds import of_kind
from tests.graphs import THREAD, Nodes, State, checkpoint_before, history, interrupts_of, nested_state, questions_of


def stopping(calls: Nodes, saver: Checkpointer) -> Any:
    """A graph that stops inside its nested graph, between `x` and `y`."""
    inner = calls.chain("x", "y").compile(interrupt_before=["y"])
    return calls.chain("a", ("inner", inner), "b").compile(saver)


async def test_a_task_has_the_config_of_its_nested_state(saver: Checkpointer, durability: Durability) -> None:
    graph = stopping(Nodes(), saver)
    await graph.ainvoke({"log": []}, THREAD, durability=durability)

    state = await graph.aget_state(THREAD)

    (task,) = state.tasks
    assert (state.values, state.next, task.name) == ({"log": ["a"]}, ("inner",), "inner")
    assert task.state["configurable"]["thread_id"] == "t"
    assert task.state["configurable"]["checkpoint_ns"].startswith("inner:")
    nested = await graph.aget_state(task.state)
    assert (nested.values, nested.next) == ({"log": ["a", "x"]}, ("y",))


async def test_a_task_has_its_nested_state_with_subgraphs(saver: Checkpointer, durability: Durability) -> None:
    graph = stopping(Nodes(), saver)
    await graph.ainvoke({"log": []}, THREAD, durability=durability)
    plain = await graph.aget_state(THREAD)

    state = await graph.aget_state(THREAD, subgraphs=True)

    (task,) = state.tasks
    assert isinstance(task.state, StateSnapshot)
    assert task.state == await graph.aget_state(plain.tasks[0].state)
    assert (state.values, state.next, state.config) == (plain.values, plain.next, plain.config)


async def test_a_state_two_levels_deep_is_read_through_the_tasks_of_each_level(saver: Checkpointer) -> None:
    calls = Nodes()
    innermost = calls.chain("x", "y").compile(interrupt_before=["y"])
    middle = calls.chain("m", ("innermost", innermost)).compile()
    graph = calls.chain("a", ("middle", middle), "b").compile(saver)
    await graph.ainvoke({"log": []}, THREAD)

    outer = await graph.aget_state(THREAD)
    in_middle = await graph.aget_state(outer.tasks[0].state)
    inside = await graph.aget_state(in_middle.tasks[0].state)
    whole = await graph.aget_state(THREAD, subgraphs=True)

    assert (outer.next, in_middle.next, inside.next) == (("middle",), ("innermost",), ("y",))
    assert [part.split(":")[0] for part in inside.config["configurable"]["checkpoint_ns"].split("|")] == [
        "middle",
        "innermost",
    ]
    assert isinstance(whole.tasks[0].state, StateSnapshot)
    assert whole.tasks[0].state.tasks[0].state == inside
    assert await graph.ainvoke(None, THREAD)
    assert calls.taken() == ["a", "m", "x", "y", "b"]


async def test_a_finished_thread_has_no_nested_state(saver: Checkpointer) -> None:
    graph = stopping(Nodes(), saver)
    await graph.ainvoke({"log": []}, THREAD)
    await graph.ainvoke(None, THREAD)

    assert await graph.aget_state(THREAD, subgraphs=True) == await graph.aget_state(THREAD)
    assert (await graph.aget_state(THREAD)).tasks == ()


async def test_a_task_of_an_older_checkpoint_has_the_config_of_its_nested_history(saver: Checkpointer) -> None:
    graph = stopping(Nodes(), saver)
    await graph.ainvoke({"log": []}, THREAD)
    await graph.ainvoke(None, THREAD)
    at_inner = next(each for each in await history(graph) if each.next == ("inner",))

    nested = await history(graph, at_inner.tasks[0].state)

    assert [each.next for each in nested] == [(), ("y",), ("x",)]
    assert [each.values["log"] for each in nested] == [["a", "x", "y"], ["a", "x"], ["a"]]


async def test_a_task_of_an_older_checkpoint_has_its_last_nested_state_with_subgraphs(saver: Checkpointer) -> None:
    calls = Nodes()
    graph = calls.chain(("inner", calls.chain("ask?", "deep?").compile()), "last").compile(saver)
    await graph.ainvoke({}, THREAD)
    for answer in ("1", "2"):
        await graph.ainvoke(Command(resume=answer), THREAD)

    older = await graph.aget_state(await checkpoint_before(graph, "inner"), subgraphs=True)

    (task,) = older.tasks
    assert isinstance(task.state, StateSnapshot)
    assert task.state.next == ()
    assert task.state.values == {"log": ["ask=1", "deep=2"]}


async def test_an_older_checkpoint_shows_a_memory_as_it_was_then(saver: Checkpointer) -> None:
    inner = Nodes().chain("in").compile(checkpointer=True, name="inner")
    graph = Nodes().chain(("inner", inner), "last").compile(saver)
    for _ in range(2):
        await graph.ainvoke({}, THREAD)

    newer, first = [each for each in await history(graph) if each.next == ("inner",)]

    assert [await _inside(graph, each) for each in (first, newer)] == [None, ["in"]]


async def _inside(graph: Any, snapshot: StateSnapshot) -> Any:
    (task,) = (await graph.aget_state(snapshot.config, subgraphs=True)).tasks
    return task.state and task.state.values["log"]


async def test_a_nested_graph_has_a_history(saver: Checkpointer) -> None:
    graph = stopping(Nodes(), saver)
    await graph.ainvoke({"log": []}, THREAD)
    (task,) = (await graph.aget_state(THREAD)).tasks

    nested = await history(graph, task.state)

    assert [((each.metadata or {})["source"], each.next) for each in nested] == [("loop", ("y",)), ("input", ("x",))]
    assert nested[0].parent_config == nested[1].config
    assert {each.config["configurable"]["checkpoint_ns"] for each in nested} == {
        task.state["configurable"]["checkpoint_ns"]
    }
    assert [await graph.aget_state(each.config) for each in nested] == nested


async def test_the_history_of_the_outer_graph_has_no_nested_checkpoints(saver: Checkpointer) -> None:
    graph = stopping(Nodes(), saver)
    await graph.ainvoke({"log": []}, THREAD)

    assert [each.next for each in await history(graph)] == [("inner",), ("a",)]


async def test_a_run_continues_with_an_updated_nested_state(saver: Checkpointer, durability: Durability) -> None:
    calls = Nodes()
    graph = stopping(calls, saver)
    await graph.ainvoke({"log": []}, THREAD, durability=durability)
    (task,) = (await graph.aget_state(THREAD)).tasks
    calls.taken()

    await graph.aupdate_state(task.state, {"log": ["edited"]})

    assert (await nested_state(graph)).values == {"log": ["a", "x", "edited"]}
    result = await graph.ainvoke(None, THREAD, durability=durability)
    assert result == {"log": ["a", "a", "x", "edited", "y", "b"]}
    assert calls.taken() == ["y", "b"]


async def test_an_update_as_a_nested_node_skips_the_node(saver: Checkpointer) -> None:
    calls = Nodes()
    graph = stopping(calls, saver)
    await graph.ainvoke({"log": []}, THREAD)
    (task,) = (await graph.aget_state(THREAD)).tasks
    calls.taken()

    await graph.aupdate_state(task.state, {"log": ["by hand"]}, as_node="y")

    assert (await nested_state(graph)).next == ()
    assert await graph.ainvoke(None, THREAD) == {"log": ["a", "a", "x", "by hand", "b"]}
    assert calls.taken() == ["b"]


async def test_an_update_as_the_node_of_a_nested_graph_skips_the_whole_nested_graph(saver: Checkpointer) -> None:
    calls = Nodes()
    graph = stopping(calls, saver)
    await graph.ainvoke({"log": []}, THREAD)
    calls.taken()

    await graph.aupdate_state(THREAD, {"log": ["by hand"]}, as_node="inner")

    assert await graph.ainvoke(None, THREAD) == {"log": ["a", "by hand", "b"]}
    assert calls.taken() == ["b"]


async def test_a_run_continues_with_a_state_updated_two_levels_deep(saver: Checkpointer) -> None:
    calls = Nodes()
    innermost = calls.chain("x", "y").compile(interrupt_before=["y"])
    graph = calls.chain(("middle", calls.chain(("innermost", innermost)).compile())).compile(saver)
    await graph.ainvoke({"log": []}, THREAD)
    inside = (await nested_state(graph)).tasks[0].state
    assert isinstance(inside, StateSnapshot)

    await graph.aupdate_state(inside.config, {"log": ["edited"]})

    assert await graph.ainvoke(None, THREAD) == {"log": ["x", "edited", "y"]}


async def test_an_open_interrupt_is_shown_in_the_nested_and_in_the_outer_state(saver: Checkpointer) -> None:
    graph = Nodes().chain("a", ("inner", Nodes().chain("x", "ask?").compile())).compile(saver)
    result = await graph.ainvoke({"log": []}, THREAD)

    state = await graph.aget_state(THREAD, subgraphs=True)

    assert state.interrupts == tuple(interrupts_of(result))
    assert state.tasks[0].interrupts == state.interrupts
    assert isinstance(state.tasks[0].state, StateSnapshot)
    assert state.tasks[0].state.interrupts == state.interrupts


async def test_an_update_as_the_end_drops_a_nested_interrupt(saver: Checkpointer) -> None:
    graph = Nodes().chain("a", ("inner", Nodes().chain("ask?").compile()), "b").compile(saver)
    await graph.ainvoke({"log": []}, THREAD)

    await graph.aupdate_state(THREAD, None, as_node=END)

    state = await graph.aget_state(THREAD)
    assert (state.values, state.next, state.tasks, state.interrupts) == ({"log": ["a"]}, (), (), ())


class Notes(TypedDict, total=False):
    log: Annotated[list[str], lambda old, new: [*old, *new]]
    notes: str


def noting(label: str) -> StateGraph[Notes]:
    async def work(state: Notes) -> Notes:
        return {"log": [f"{label} done"], "notes": label}

    return StateGraph(Notes).add_node("work", work).add_edge(START, "work")


async def test_a_nested_graph_that_no_variable_names_runs_but_its_state_cannot_be_read(saver: Checkpointer) -> None:
    # The graph is in a dict, so the library finds neither the graph nor the types of its state.
    agents = {"researcher": Nodes().chain("research", "ask?").compile()}

    async def tools(state: State) -> State:
        return {"log": (await agents["researcher"].ainvoke({"log": ["apples"]}))["log"]}

    graph = Nodes().chain(("tools", tools)).compile(saver)
    await graph.ainvoke({"log": []}, THREAD)
    (waiting,) = (await graph.aget_state(THREAD)).tasks

    assert waiting.state is None
    with pytest.raises(UnknownNameError, check=of_kind("namespace"), match=r"'tools:1\.0'"):
        await graph.aget_state({"configurable": {"thread_id": "t", "checkpoint_ns": "tools:1.0"}})
    assert await graph.ainvoke(Command(resume="yes"), THREAD) == {"log": ["apples", "research", "ask=yes"]}


async def test_an_unknown_namespace_is_an_error_that_names_it(saver: Checkpointer) -> None:
    graph = Nodes().chain("a", ("inner", Nodes().chain("x").compile())).compile(saver)
    await graph.ainvoke({"log": []}, THREAD)
    nowhere = {"configurable": {"thread_id": "t", "checkpoint_ns": "a:1.0|b:2.0"}}

    for call in (graph.aget_state(nowhere), graph.aupdate_state(nowhere, {"log": ["edit"]})):
        with pytest.raises(UnknownNameError, check=of_kind("namespace"), match=r"'a:1\.0\|b:2\.0'.*inner"):
            await call


async def test_a_nested_graph_that_has_not_started_has_an_empty_state_and_cannot_be_updated(
    saver: Checkpointer,
) -> None:
    graph = Nodes().chain("a", ("inner", Nodes().chain("x").compile())).compile(saver)
    await graph.ainvoke({"log": []}, THREAD, interrupt_before=["inner"])
    (waiting,) = (await graph.aget_state(THREAD)).tasks

    assert (await graph.aget_state(waiting.state)).values == {}
    with pytest.raises(UnknownNameError, check=of_kind("namespace")):
        await graph.aupdate_state(waiting.state, {"log": ["edit"]})


async def test_namespaces_with_a_common_prefix_are_distinguished(saver: Checkpointer) -> None:
    research = StateGraph(Notes).add_node("review", noting("research").compile()).add_edge(START, "review").compile()
    builder = StateGraph(Notes)
    builder.add_node("research", research)
    builder.add_node("research_review", noting("reviewed").compile())
    builder.add_edge(START, "research").add_edge("research", "research_review")
    graph = builder.compile(saver)
    await graph.ainvoke({"log": ["go"]}, THREAD)

    shown = await history(graph)
    of_review = next(each for each in shown if each.next == ("research_review",)).tasks[0].state
    of_research = next(each for each in shown if each.next == ("research",)).tasks[0].state

    assert (await graph.aget_state(of_research)).values["notes"] == "research"
    assert (await graph.aget_state(of_review)).values["notes"] == "reviewed"


async def test_a_nested_interrupt_is_answered_by_its_id_through_the_thread(saver: Checkpointer) -> None:
    graph = Nodes().chain(("inner", Nodes().chain("ask?").compile())).compile(saver)
    result = await graph.ainvoke({"log": []}, THREAD)

    assert questions_of(result) == ["ask?"]
    assert await graph.ainvoke(Command(resume={interrupts_of(result)[0].id: "yes"}), THREAD) == {"log": ["ask=yes"]}
