"""`Overwrite`: a write that the reducer does not see."""

import operator
from typing import Annotated, Any, TypedDict

import pytest

from durable_graph import (
    Checkpointer,
    Command,
    ConcurrentOverwriteError,
    InvalidUpdateError,
    Overwrite,
    UnmergeableUpdateError,
)
from durable_graph._runtime.run import Durability
from tests.language.state.conftest import Reopen
from tests.language.state.graphs import OnceError, Seen, fails_once, in_a_row, side_by_side


def longest(value: str, write: str) -> str:
    return max(value, write, key=len)


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]
    tags: Annotated[dict[str, int], operator.or_]
    best: Annotated[str, longest]
    topic: str


async def test_an_overwrite_takes_the_place_of_what_was_there(saver: Checkpointer, durability: Durability) -> None:
    graph = in_a_row(State, Seen(), ("a", {"log": ["a"]}), ("b", {"log": Overwrite(["b"])}), ("c", {"log": ["c"]}))

    result = await graph.compile(saver).ainvoke({"log": ["in"]}, thread_id="t", durability=durability)

    assert result == {"log": ["b", "c"], "tags": {}, "best": ""}


async def test_other_writes_of_the_superstep_are_merged_on_top_whichever_node_they_are_of(
    saver: Checkpointer, durability: Durability
) -> None:
    graph = side_by_side(
        State,
        Seen(),
        ("a", {"log": ["a"], "best": "first"}),
        ("b", {"log": Overwrite(["b"]), "best": Overwrite("b")}),
        ("c", {"log": ["c"], "best": "c"}),
        then=("end", {}),
    ).compile(saver)

    result = await graph.ainvoke({"log": ["in"], "best": "the longest"}, thread_id="t", durability=durability)

    assert (result["log"], result["best"]) == (["b", "a", "c"], "first")


async def test_two_overwrites_of_one_channel_are_an_error_and_the_thread_stays_usable(saver: Checkpointer) -> None:
    def overwrites(state: State) -> dict[str, Any]:
        return {"log": Overwrite(["x"]) if state["topic"] == "all" else ["x"]}

    graph = side_by_side(State, Seen(), ("a", overwrites), ("b", overwrites), then=("end", {})).compile(saver)

    with pytest.raises(ConcurrentOverwriteError, match="'log' takes one Overwrite") as raised:
        await graph.ainvoke({"topic": "all"}, thread_id="t")

    assert (raised.value.channel, raised.value.nodes) == ("log", ("a", "b"))
    assert isinstance(raised.value, InvalidUpdateError)
    result = await graph.ainvoke({"topic": "none"}, thread_id="t")
    assert result["log"] == ["x", "x"]


async def test_a_node_may_overwrite_and_add_to_it(saver: Checkpointer) -> None:
    def both(state: State) -> list[dict[str, Any]]:
        return [{"log": ["added"]}, {"log": Overwrite(["new"])}]

    result = await in_a_row(State, Seen(), ("a", both)).compile(saver).ainvoke({"log": ["old"]}, thread_id="t")

    assert result["log"] == ["new", "added"]


async def test_without_a_reducer_it_is_a_plain_write(saver: Checkpointer) -> None:
    graph = side_by_side(State, Seen(), ("a", {"topic": Overwrite("a")}), ("b", {}), then=("c", {})).compile(saver)

    assert (await graph.ainvoke({"topic": "in"}, thread_id="t"))["topic"] == "a"


async def test_an_input_may_overwrite(saver: Checkpointer) -> None:
    graph = in_a_row(State, Seen(), ("a", {"log": ["a"]})).compile(saver)
    await graph.ainvoke({"log": ["in"]}, thread_id="t")

    result = await graph.ainvoke({"log": Overwrite(["anew"])}, thread_id="t")

    assert result["log"] == ["anew", "a"]


async def test_a_command_and_an_edit_may_overwrite(saver: Checkpointer) -> None:
    commanding = in_a_row(State, Seen(), ("a", Command(update={"tags": Overwrite({"new": 2})}))).compile(saver)

    result = await commanding.ainvoke({"tags": {"old": 1}}, thread_id="t")
    await commanding.aupdate_state({"configurable": {"thread_id": "t"}}, {"tags": Overwrite({})}, as_node="a")

    assert result["tags"] == {"new": 2}
    assert (await commanding.aget_state(thread_id="t")).values["tags"] == {}


async def test_a_recorded_overwrite_counts_as_one_in_another_process(
    saver: Checkpointer, reopen: Reopen, durability: Durability
) -> None:
    nodes = ("a", {"log": ["a"]}), ("b", {"log": Overwrite(["b"])}), ("c", fails_once({"log": ["c"]}))
    seen = Seen()
    graph = side_by_side(State, seen, *nodes, then=("end", {}))
    with pytest.raises(OnceError):
        await graph.compile(saver).ainvoke({"log": ["in"]}, thread_id="t", durability=durability)

    result = await graph.compile(await reopen()).ainvoke(None, thread_id="t")

    assert result["log"] == ["b", "a", "c"]
    assert [name for name, _ in seen.calls] == ["a", "b", "c", "c", "end"]


async def test_what_follows_an_overwrite_is_read_back(
    saver: Checkpointer, reopen: Reopen, durability: Durability
) -> None:
    graph = in_a_row(State, Seen(), ("a", {"log": Overwrite(["a"])}), ("b", {"log": ["b"]}), ("c", {"log": ["c"]}))
    await graph.compile(saver).ainvoke({"log": ["in"]}, thread_id="t", durability=durability)

    again = graph.compile(await reopen())

    assert (await again.aget_state(thread_id="t")).values["log"] == ["a", "b", "c"]


async def test_a_write_beside_an_overwrite_is_logged(saver: Checkpointer, caplog: pytest.LogCaptureFixture) -> None:
    nodes = (("a", {"log": ["a"], "topic": "a"}), ("b", {"log": Overwrite(["b"])}), ("c", {"log": ["c"]}))
    graph = side_by_side(State, Seen(), *nodes, then=("end", {"log": ["end"]})).compile(saver)

    await graph.ainvoke({"log": ["in"]}, thread_id="t")

    (record,) = [record for record in caplog.records if "overwrites" in record.message]
    assert record.message == (
        "superstep 1 overwrites 'log', and the writes of ['a', 'c'] in the same superstep are merged on top"
    )
    assert (record.__dict__["thread_id"], record.__dict__["channel"]) == ("t", "log")


async def test_a_lone_overwrite_is_not_logged(saver: Checkpointer, caplog: pytest.LogCaptureFixture) -> None:
    graph = side_by_side(State, Seen(), ("a", {"log": Overwrite([])}), ("b", {}), then=("end", {})).compile(saver)

    await graph.ainvoke({"log": ["in"]}, thread_id="t")

    assert "overwrites" not in caplog.text


async def test_the_form_of_json_is_refused_where_there_is_a_reducer(saver: Checkpointer) -> None:
    """LangGraph: whoever sends an input may clear what the thread holds."""
    graph = in_a_row(State, Seen(), ("a", {})).compile(saver)
    await graph.ainvoke({"log": ["in"]}, thread_id="t")

    for key in ("log", "tags", "best"):
        with pytest.raises(UnmergeableUpdateError, match=r"write Overwrite\(\.\.\.\)"):
            await graph.ainvoke({key: {"__overwrite__": []}}, thread_id="t")

    assert (await graph.aget_state(thread_id="t")).values["log"] == ["in"]
