"""The history of a thread, and forks from its older checkpoints."""

import operator
from typing import Annotated, Any, TypedDict

import pytest

from durable_graph import (
    END,
    START,
    Checkpointer,
    MissingCheckpointerError,
    NothingToResumeError,
    Runtime,
    StateGraph,
    UnknownNameError,
)
from tests.errors.kinds import of_kind

pytestmark = pytest.mark.every_store


class State(TypedDict, total=False):
    topic: str
    log: Annotated[list[str], operator.add]


IDS: list[str] = []


async def _node(state: State, runtime: Runtime) -> State:
    IDS.append(runtime.execution_info.task_id)
    return {"log": [runtime.execution_info.node]}


def chain() -> StateGraph[State]:
    IDS.clear()
    builder = StateGraph(State)
    for name in "abc":
        builder.add_node(name, _node)
    builder.add_edge(START, "a")
    builder.add_edge("a", "b")
    builder.add_edge("b", "c")
    return builder


async def history(graph: Any, **options: Any) -> list[Any]:
    return [snapshot async for snapshot in graph.aget_state_history(thread_id="t", **options)]


async def test_history_shows_every_superstep_newest_first(saver: Checkpointer) -> None:
    graph = chain().compile(saver)
    await graph.ainvoke({"topic": "tea"}, {"configurable": {"thread_id": "t"}, "metadata": {"user": "ann"}})

    shown = await history(graph)

    assert [(each.metadata["source"], each.metadata["step"], each.next) for each in shown] == [
        ("loop", 3, ()),
        ("loop", 2, ("c",)),
        ("loop", 1, ("b",)),
        ("input", 0, ("a",)),
    ]
    assert [each.values.get("log") for each in shown] == [["a", "b", "c"], ["a", "b"], ["a"], []]
    assert {each.metadata["user"] for each in shown} == {"ann"}
    assert [each.parent_config for each in shown] == [*(each.config for each in shown[1:]), None]
    ids = [each.config["configurable"]["checkpoint_id"] for each in shown]
    assert sorted(ids, reverse=True) == ids


async def test_history_is_read_in_pages_of_any_size(saver: Checkpointer, monkeypatch: pytest.MonkeyPatch) -> None:
    from durable_graph._runtime.threads import snapshot

    graph = chain().compile(saver)
    for turn in range(30):
        await graph.ainvoke({"log": [f"{turn}"]}, thread_id="t")
    whole = await history(graph)
    assert len(whole) == 120

    monkeypatch.setattr(snapshot, "PAGE", 7)
    assert await history(graph) == whole
    assert await history(graph, limit=10) == whole[:10]
    assert await history(graph, limit=0) == []
    assert await history(graph, before=whole[4].config) == whole[5:]
    assert await history(graph, before=whole[4].config["configurable"]["checkpoint_id"], limit=20) == whole[5:25]


async def test_an_older_checkpoint_can_be_read_at_any_time(saver: Checkpointer) -> None:
    graph = chain().compile(saver)
    await graph.ainvoke({"topic": "tea"}, thread_id="t")
    shown = await history(graph)

    for each in shown[1:]:
        assert await graph.aget_state(each.config) == each


async def test_resuming_from_an_older_checkpoint_forks(saver: Checkpointer, durability: Any) -> None:
    graph = chain().compile(saver)
    await graph.ainvoke({"topic": "tea"}, thread_id="t", durability="sync")
    before = await history(graph)
    first_ids = list(IDS)
    after_a = before[2]

    result = await graph.ainvoke(None, after_a.config, durability=durability)

    assert result == {"topic": "tea", "log": ["a", "b", "c"]}
    # The tasks of the fork have other ids than those of the branch that it forks: their effects are wanted again.
    assert not set(IDS[3:]) & set(first_ids)
    assert len(IDS) == 5
    after = await history(graph)
    assert after[-4:] == before
    fork = next(each for each in after if each.metadata["source"] == "fork")
    assert fork.parent_config == after_a.config
    assert fork.values == after_a.values
    assert (await graph.aget_state(thread_id="t")).config == after[0].config


async def test_input_at_an_older_checkpoint_starts_a_branch(saver: Checkpointer) -> None:
    graph = chain().compile(saver)
    await graph.ainvoke({"topic": "tea"}, thread_id="t")
    before = await history(graph)

    result = await graph.ainvoke({"topic": "coffee"}, before[2].config)

    assert result == {"topic": "coffee", "log": ["a", "a", "b", "c"]}
    assert [each.values["topic"] for each in await history(graph)] == ["coffee"] * 4 + ["tea"] * 4
    assert (await history(graph))[3].superseded == ()


async def test_forks_of_forks_keep_their_own_values(saver: Checkpointer) -> None:
    graph = chain().compile(saver)
    await graph.ainvoke({"topic": "0"}, thread_id="t")
    for turn in range(1, 8):
        shown = await history(graph)
        await graph.ainvoke({"topic": f"{turn}"}, shown[turn % 4 + 1].config)

    shown = await history(graph)

    assert len(shown) == 4 * 8
    by_id = {each.config["configurable"]["checkpoint_id"]: each for each in shown}
    for each in shown:
        assert await graph.aget_state(each.config) == each
        if each.parent_config is not None and each.metadata["source"] == "loop":
            parent = by_id[each.parent_config["configurable"]["checkpoint_id"]]
            assert each.values["log"] == [*parent.values["log"], *each.metadata["writers"]]


async def test_resuming_at_the_checkpoint_of_the_head_makes_no_fork(saver: Checkpointer) -> None:
    failing = True
    builder = StateGraph(State)

    async def flaky(state: State) -> State:
        if failing:
            raise ConnectionError
        return {"log": ["flaky"]}

    builder.add_node("a", _node)
    builder.add_node("flaky", flaky)
    builder.add_edge(START, "a")
    builder.add_edge(START, "flaky")
    graph = builder.compile(saver)
    with pytest.raises(ConnectionError):
        await graph.ainvoke({}, thread_id="t")
    failing = False
    IDS.clear()

    head = await graph.aget_state(thread_id="t")
    result = await graph.ainvoke(None, head.config)

    assert result["log"] == ["a", "flaky"]
    assert IDS == []
    assert [each.metadata["source"] for each in await history(graph)] == ["loop", "input"]


async def test_resuming_a_finished_checkpoint_is_refused(saver: Checkpointer) -> None:
    graph = chain().compile(saver)
    await graph.ainvoke({}, thread_id="t")
    await graph.ainvoke({}, thread_id="t")
    ended = (await history(graph))[4]
    assert ended.next == ()

    with pytest.raises(NothingToResumeError, match="nothing was left to run at that checkpoint"):
        await graph.ainvoke(None, ended.config)


@pytest.mark.parametrize("unknown", ["0000000000000099", "latest", "", "-000000000000001", "१" * 16])
async def test_an_unknown_checkpoint_id_is_an_error(saver: Checkpointer, unknown: str) -> None:
    graph = chain().compile(saver)
    await graph.ainvoke({}, thread_id="t")

    for call in (
        graph.aget_state,
        lambda **place: graph.ainvoke(None, **place),
        lambda **place: graph.ainvoke({}, **place),
    ):
        with pytest.raises(UnknownNameError, check=of_kind("checkpoint"), match="'t' has no checkpoint") as raised:
            await call(thread_id="t", checkpoint_id=unknown)
        assert raised.value.thread_id == "t"
    assert len(await history(graph)) == 4


async def test_a_thread_that_was_never_used_has_an_empty_state_and_no_history(saver: Checkpointer) -> None:
    graph = chain().compile(saver)

    snapshot = await graph.aget_state(thread_id="t")

    assert (snapshot.values, snapshot.next, snapshot.metadata) == ({}, (), None)
    assert await history(graph) == []


async def test_a_deleted_thread_starts_again_with_other_ids(saver: Checkpointer) -> None:
    graph = chain().compile(saver)
    await graph.ainvoke({"topic": "tea"}, thread_id="t")
    old_ids = set(IDS)
    old = await graph.aget_state(thread_id="t")
    await saver.delete_thread("t")

    assert (await graph.aget_state(thread_id="t")).values == {}
    assert await history(graph) == []
    with pytest.raises(UnknownNameError, check=of_kind("checkpoint")):
        await graph.aget_state(old.config)
    with pytest.raises(NothingToResumeError):
        await graph.ainvoke(None, thread_id="t")
    assert await graph.ainvoke({"topic": "new"}, thread_id="t") == {"topic": "new", "log": ["a", "b", "c"]}
    assert not old_ids & set(IDS[3:])
    assert len(await history(graph)) == 4


async def test_a_copied_thread_is_independent_of_its_source(saver: Checkpointer) -> None:
    graph = chain().compile(saver)
    await graph.ainvoke({"topic": "tea"}, thread_id="t")
    await saver.copy_thread("t", "copy")

    await graph.ainvoke({"topic": "coffee"}, thread_id="copy")

    assert (await graph.aget_state(thread_id="t")).values == {"topic": "tea", "log": ["a", "b", "c"]}
    assert (await graph.aget_state(thread_id="copy")).values == {"topic": "coffee", "log": ["a", "b", "c"] * 2}
    assert len(set(IDS)) == 6


async def test_a_pruned_thread_keeps_its_newest_checkpoints_and_continues(saver: Checkpointer) -> None:
    graph = chain().compile(saver)
    for turn in range(20):
        await graph.ainvoke({"log": [f"{turn}"]}, thread_id="t")
    before = await history(graph)

    removed = await saver.prune("t", keep_last=3)

    assert removed == 77
    assert await history(graph) == before[:3]
    result = await graph.ainvoke({"log": ["20"]}, thread_id="t")
    assert result["log"] == [*before[0].values["log"], "20", "a", "b", "c"]
    with pytest.raises(UnknownNameError, check=of_kind("checkpoint")):
        await graph.aget_state(before[10].config)


async def test_history_of_a_graph_without_checkpointer_is_refused() -> None:
    graph = chain().compile()

    with pytest.raises(MissingCheckpointerError, match="aget_state needs a checkpointer"):
        await graph.aget_state(thread_id="t")
    with pytest.raises(MissingCheckpointerError, match="aget_state_history needs a checkpointer"):
        await history(graph)


async def test_an_added_channel_starts_empty_and_the_value_of_a_removed_channel_is_kept(saver: Checkpointer) -> None:
    class Wider(TypedDict, total=False):
        log: Annotated[list[str], operator.add]
        notes: Annotated[list[str], operator.add]

    def one_node(schema: Any) -> Any:
        async def node(state: Any) -> dict[str, Any]:
            return {"log": ["x"]}

        builder = StateGraph(schema)
        builder.add_node("x", node)
        builder.add_edge(START, "x")
        builder.add_edge("x", END)
        return builder.compile(saver)

    await one_node(State).ainvoke({"topic": "tea"}, thread_id="t")

    assert await one_node(Wider).ainvoke({"notes": ["n"]}, thread_id="t") == {"log": ["x", "x"], "notes": ["n"]}
    assert (await one_node(State).aget_state(thread_id="t")).values == {"topic": "tea", "log": ["x", "x"]}
