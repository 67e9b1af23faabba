"""An update of an unfinished thread keeps the results of finished tasks, and records the tasks that it supersedes."""

from typing import Annotated, Any, TypedDict

import pytest

from durable_graph import (
    END,
    START,
    Checkpointer,
    Command,
    Durability,
    DurableGraphError,
    InvalidUpdateError,
    NothingToResumeError,
    RemoveMessage,
    Send,
    StateGraph,
    StateUpdate,
    UnknownNameError,
    add_messages,
)
from tests.errors.kinds import of_kind
from tests.graphs import THREAD, Nodes, State, history, questions_of


def half_done(calls: Nodes, saver: Checkpointer) -> Any:
    """A graph whose first superstep runs `good` and `bad`, which fails. `joined` is a join of `good` and `after`."""

    async def bad(state: State) -> State:
        calls.note("bad")
        raise ConnectionError

    builder = StateGraph(State)
    builder.add_node("good", calls.noting("good"))
    builder.add_node("bad", bad)
    builder.add_node("after", calls.noting("after"))
    builder.add_node("joined", calls.noting("joined"))
    for name in ("good", "bad"):
        builder.add_edge(START, name)
    builder.add_edge("bad", "after")
    builder.add_edge(["good", "after"], "joined")
    return builder.compile(saver)


@pytest.fixture
async def calls() -> Nodes:
    return Nodes()


async def test_the_result_of_a_finished_sibling_is_in_the_updated_state(
    saver: Checkpointer, calls: Nodes, durability: Durability
) -> None:
    graph = half_done(calls, saver)
    with pytest.raises(ConnectionError):
        await graph.ainvoke({"log": []}, THREAD, durability=durability)

    await graph.aupdate_state(THREAD, {"log": ["x"]}, as_node="bad")

    assert (await graph.aget_state(THREAD)).values == {"log": ["good", "x"]}


async def test_an_unfinished_task_is_superseded_and_recorded(saver: Checkpointer, calls: Nodes) -> None:
    graph = half_done(calls, saver)
    with pytest.raises(ConnectionError):
        await graph.ainvoke({"log": []}, THREAD)
    (failed,) = (each for each in (await graph.aget_state(THREAD)).tasks if each.error)

    await graph.aupdate_state(THREAD, {"log": ["x"]}, as_node="bad")

    updated = await graph.aget_state(THREAD)
    assert updated.next == ("after",)
    assert [(each.id, each.name, each.outcome) for each in updated.superseded] == [(failed.id, "bad", "failed")]


async def test_a_half_filled_join_is_kept(saver: Checkpointer, calls: Nodes) -> None:
    graph = half_done(calls, saver)
    with pytest.raises(ConnectionError):
        await graph.ainvoke({"log": []}, THREAD)
    calls.taken()

    await graph.aupdate_state(THREAD, {"log": ["x"]}, as_node="bad")

    assert await graph.ainvoke(None, THREAD) == {"log": ["good", "x", "after", "joined"]}
    assert calls.taken() == ["after", "joined"]


async def test_an_update_as_the_second_source_of_a_join_fires_it(saver: Checkpointer, calls: Nodes) -> None:
    graph = half_done(calls, saver)
    with pytest.raises(ConnectionError):
        await graph.ainvoke({"log": []}, THREAD)

    await graph.aupdate_state(THREAD, {"log": ["x"]}, as_node="after")

    assert (await graph.aget_state(THREAD)).next == ("joined",)


async def test_unfinished_sends_are_superseded_and_recorded(saver: Checkpointer, calls: Nodes) -> None:
    async def each(argument: Any) -> State:
        if argument == 1:
            raise ConnectionError
        return {"log": [f"{argument}"]}

    async def fan(state: State) -> list[Send]:
        return [Send("each", place) for place in range(3)]

    builder = calls.chain("a")
    builder.add_node("each", each)
    builder.add_conditional_edges("a", fan, ["each"])
    graph = builder.compile(saver)
    with pytest.raises(ConnectionError):
        await graph.ainvoke({"log": []}, THREAD)

    await graph.aupdate_state(THREAD, {"log": ["x"]}, as_node="each")

    updated = await graph.aget_state(THREAD)
    assert updated.values == {"log": ["a", "0", "2", "x"]}
    assert (updated.next, [each.name for each in updated.superseded]) == ((), ["each"])


async def test_a_pending_interrupt_is_superseded_and_recorded(saver: Checkpointer, calls: Nodes) -> None:
    graph = calls.chain("a", "ask?", "b").compile(saver)
    await graph.ainvoke({"log": []}, THREAD)

    await graph.aupdate_state(THREAD, {"log": ["answered by hand"]}, as_node="ask")

    updated = await graph.aget_state(THREAD)
    assert [(each.name, each.outcome) for each in updated.superseded] == [("ask", "interrupted")]
    assert (updated.next, updated.interrupts) == (("b",), ())
    assert await graph.ainvoke(None, THREAD) == {"log": ["a", "answered by hand", "b"]}


async def test_an_update_of_an_older_checkpoint_excludes_the_results_of_tasks_that_finished_at_it(
    saver: Checkpointer, calls: Nodes
) -> None:
    graph = half_done(calls, saver)
    with pytest.raises(ConnectionError):
        await graph.ainvoke({"log": ["first"]}, THREAD)
    first = (await graph.aget_state(THREAD)).config
    with pytest.raises(ConnectionError):
        await graph.ainvoke({"log": ["second"]}, THREAD)

    fork = await graph.aupdate_state(first, {"log": ["x"]}, as_node="bad")

    assert (await graph.aget_state(fork)).values == {"log": ["first", "x"]}


async def test_an_update_as_the_end_supersedes_unfinished_tasks_and_keeps_results(
    saver: Checkpointer, calls: Nodes, durability: Durability
) -> None:
    async def start(state: State) -> list[str | Send]:
        return ["ask", Send("send", {})]

    builder = StateGraph(State)
    builder.add_node("ask", calls.asking("ask"))
    builder.add_node("send", calls.noting("send"))
    builder.set_conditional_entry_point(start, ["ask", "send"])
    graph = builder.compile(saver)
    result = await graph.ainvoke({"log": ["in"]}, THREAD, durability=durability)
    assert (questions_of(result), result["log"]) == (["ask?"], ["in", "send"])
    asked = await graph.aget_state(THREAD)
    assert (asked.next, len(asked.tasks)) == (("ask",), 2)

    await graph.aupdate_state(THREAD, None, as_node=END)

    finished = await graph.aget_state(THREAD)
    assert (finished.values, finished.next, finished.tasks) == ({"log": ["in", "send"]}, (), ())
    assert finished.interrupts == ()
    assert (finished.metadata or {})["source"] == "update"
    assert finished.parent_config == asked.config
    assert [each.name for each in finished.superseded] == ["ask"]
    with pytest.raises(NothingToResumeError):
        await graph.ainvoke(None, THREAD)


async def test_an_answer_to_an_interrupt_that_an_update_superseded_is_refused(
    saver: Checkpointer, calls: Nodes
) -> None:
    graph = calls.chain("ask?").compile(saver)
    await graph.ainvoke({"log": []}, THREAD)
    await graph.aupdate_state(THREAD, None, as_node=END)
    head = await graph.aget_state(THREAD)

    with pytest.raises(DurableGraphError):
        await graph.ainvoke(Command(resume="late"), THREAD)
    assert await graph.aget_state(THREAD) == head


@pytest.mark.parametrize("as_node", [START, "__input__"])
async def test_an_update_as_the_start_is_like_new_input(saver: Checkpointer, calls: Nodes, as_node: str) -> None:
    graph = calls.chain("a", "b").compile(saver)
    await graph.ainvoke({"log": []}, THREAD)
    calls.taken()

    await graph.aupdate_state(THREAD, {"log": ["x"]}, as_node=as_node)

    assert (await graph.aget_state(THREAD)).next == ("a",)
    assert calls.taken() == []
    assert await graph.ainvoke(None, THREAD) == {"log": ["a", "b", "x", "a", "b"]}


async def test_an_update_as_the_input_is_recorded_with_the_source_input(saver: Checkpointer, calls: Nodes) -> None:
    graph = calls.chain("a").compile(saver)

    await graph.aupdate_state(THREAD, {"log": ["x"]}, as_node="__input__")

    assert [((each.metadata or {})["source"], each.next) for each in await history(graph)] == [("input", ("a",))]


async def test_an_update_as_the_input_supersedes_a_pending_task(saver: Checkpointer, calls: Nodes) -> None:
    graph = calls.chain("a", "ask?").compile(saver)
    await graph.ainvoke({"log": []}, THREAD)

    await graph.aupdate_state(THREAD, {"log": ["x"]}, as_node="__input__")

    updated = await graph.aget_state(THREAD)
    assert (updated.next, [each.name for each in updated.superseded]) == (("a",), ["ask"])


async def test_an_update_without_values_keeps_the_next_nodes(saver: Checkpointer, calls: Nodes) -> None:
    graph = calls.chain("a", "ask?", "b").compile(saver)
    await graph.ainvoke({"log": []}, THREAD)

    await graph.aupdate_state(THREAD, None)

    updated = await graph.aget_state(THREAD)
    assert (updated.values, updated.next) == ({"log": ["a"]}, ("ask",))


async def test_an_update_whose_router_raises_changes_nothing(saver: Checkpointer, calls: Nodes) -> None:
    """Reference P11."""
    is_failing = False

    async def choose(state: State) -> str:
        if is_failing:
            raise ConnectionError
        return END

    builder = calls.chain("a")
    builder.add_conditional_edges("a", choose, [END])
    graph = builder.compile(saver)
    await graph.ainvoke({"log": []}, THREAD)
    head = await graph.aget_state(THREAD)
    is_failing = True

    with pytest.raises(ConnectionError):
        await graph.aupdate_state(THREAD, {"log": ["x"]}, as_node="a")
    assert await graph.aget_state(THREAD) == head


async def _two_failed_sends(saver: Checkpointer) -> Any:
    """A graph with a thread that has two failed tasks of one node."""

    async def each(argument: Any) -> State:
        raise ConnectionError

    async def fan(state: State) -> list[Send]:
        return [Send("each", place) for place in range(2)]

    builder = Nodes().chain("a")
    builder.add_node("each", each)
    builder.add_conditional_edges("a", fan, ["each"])
    graph = builder.compile(saver)
    with pytest.raises(ConnectionError):
        await graph.ainvoke({"log": []}, THREAD)
    return graph


async def test_an_update_may_name_its_task_by_id(saver: Checkpointer) -> None:
    graph = await _two_failed_sends(saver)
    tasks = (await graph.aget_state(THREAD)).tasks

    await graph.aupdate_state(THREAD, {"log": ["x"]}, as_node="each", task_id=tasks[1].id)

    assert (await graph.aget_state(THREAD)).values == {"log": ["a", "x"]}


async def test_an_unknown_task_id_is_an_error_that_names_the_known_ids_of_the_node(saver: Checkpointer) -> None:
    graph = await _two_failed_sends(saver)
    head = await graph.aget_state(THREAD)
    ids = [task.id for task in head.tasks]

    with pytest.raises(UnknownNameError, check=of_kind("task"), match="'nothing' of node 'each'") as raised:
        await graph.aupdate_state(THREAD, {"log": ["x"]}, as_node="each", task_id="nothing")
    assert (raised.value.name, raised.value.where, raised.value.known) == ("nothing", "node 'each'", tuple(ids))
    with pytest.raises(UnknownNameError, check=of_kind("task"), match=r"of node 'a' to run; its tasks: \(none\)"):
        await graph.aupdate_state(THREAD, {"log": ["x"]}, as_node="a", task_id=ids[0])
    assert await graph.aget_state(THREAD) == head


@pytest.mark.parametrize(
    ("as_node", "values"),
    [
        (START, {"log": ["x"]}),
        ("__input__", {"log": ["x"]}),
        (END, None),
        ("__copy__", None),
        ("__copy__", [StateUpdate({"log": ["x"]}, "each")]),
        (None, None),
    ],
)
async def test_a_task_id_without_a_node_is_refused(saver: Checkpointer, as_node: str | None, values: Any) -> None:
    """The id has no meaning for these names, and would be ignored."""
    graph = await _two_failed_sends(saver)
    head = await graph.aget_state(THREAD)

    with pytest.raises(InvalidUpdateError, match="leave task_id out"):
        await graph.aupdate_state(THREAD, values, as_node=as_node, task_id=head.tasks[0].id)
    assert await graph.aget_state(THREAD) == head


async def test_a_task_id_in_an_update_of_a_copy_is_refused(saver: Checkpointer) -> None:
    graph = await _two_failed_sends(saver)
    head = await graph.aget_state(THREAD)
    results = [StateUpdate({"log": ["x"]}, "each", head.tasks[0].id)]

    with pytest.raises(InvalidUpdateError, match="leave task_id out"):
        await graph.aupdate_state(THREAD, results, as_node="__copy__")
    assert await graph.aget_state(THREAD) == head


async def test_two_updates_of_one_task_are_refused(saver: Checkpointer) -> None:
    graph = await _two_failed_sends(saver)
    first, second = (task.id for task in (await graph.aget_state(THREAD)).tasks)

    def results(*ids: str) -> list[list[StateUpdate]]:
        return [[StateUpdate({"log": [f"{place}"]}, "each", id_) for place, id_ in enumerate(ids)]]

    with pytest.raises(InvalidUpdateError, match=first):
        await graph.abulk_update_state(THREAD, results(first, first))
    await graph.abulk_update_state(THREAD, results(first, second))

    assert (await graph.aget_state(THREAD)).values == {"log": ["a", "0", "1"]}


class Talk(TypedDict, total=False):
    messages: Annotated[list[dict[str, str]], add_messages]


@pytest.mark.parametrize(("as_node", "following"), [("bad", ("after",)), (START, ("bad", "good"))])
async def test_an_update_may_remove_a_message_of_a_finished_sibling(
    saver: Checkpointer, as_node: str, following: tuple[str, ...]
) -> None:
    """The snapshot shows the message, so an update can remove it; and the routers read the updated messages."""
    seen: list[Any] = []

    async def good(state: Talk) -> Talk:
        return {"messages": [{"id": "m", "content": "too much"}]}

    async def bad(state: Talk) -> Talk:
        raise ConnectionError

    async def route(state: Talk) -> str:
        seen.append(state["messages"])
        return "after"

    builder = StateGraph(Talk).add_node("good", good).add_node("bad", bad).add_node("after", good)
    builder.add_edge(START, "good").add_edge(START, "bad").add_conditional_edges("bad", route, ["after"])
    graph = builder.compile(saver)
    with pytest.raises(ConnectionError):
        await graph.ainvoke({"messages": [{"id": "first", "content": "hello"}]}, THREAD)
    assert [each["id"] for each in (await graph.aget_state(THREAD)).values["messages"]] == ["first", "m"]

    await graph.aupdate_state(THREAD, {"messages": [RemoveMessage("m")]}, as_node=as_node)

    left = [{"id": "first", "content": "hello"}]
    state = await graph.aget_state(THREAD)
    assert (state.values, state.next) == ({"messages": left}, following)
    assert seen == ([left] if as_node == "bad" else [])
