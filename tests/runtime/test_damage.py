"""Reading a damaged row raises an error that names it. Other checkpoints and threads stay usable."""

import operator
import sqlite3
from pathlib import Path
from typing import Annotated, Any, TypedDict

import msgspec
import pytest

from durable_graph import (
    END,
    START,
    Command,
    CorruptCheckpointError,
    GraphChangedError,
    StateGraph,
    StoreConfigurationError,
    StoreUnavailableError,
    interrupt,
)
from durable_graph_sqlite import SqliteSaver
from tests.errors.kinds import of_kind


class State(TypedDict, total=False):
    topic: str
    log: Annotated[list[str], operator.add]


def chain(schema: Any = State) -> StateGraph[Any]:
    builder = StateGraph(schema)
    for name in "abcde":
        builder.add_node(name, _noting(name))
    for source, target in zip([START, *"abcde"], [*"abcde", END], strict=True):
        builder.add_edge(source, target)
    return builder


def _noting(name: str) -> Any:
    async def node(state: Any) -> dict[str, Any]:
        return {"topic": name, "log": [name]}

    return node


def change(path: Path, statement: str) -> None:
    db = sqlite3.connect(path)
    assert db.execute(statement).rowcount == 1
    db.commit()
    db.close()


async def a_run(path: Path) -> list[Any]:
    async with SqliteSaver(path) as saver:
        graph = chain().compile(saver)
        await graph.ainvoke({"topic": "tea"}, thread_id="t")
        await graph.ainvoke({"topic": "tea"}, thread_id="other")
        return [snapshot async for snapshot in graph.aget_state_history(thread_id="t")]


FLIP = (
    "UPDATE channel_rows SET value = zeroblob(length(value)) WHERE channel = 'topic' AND number = 3 AND thread_key = "
)
ANOTHER_PARENT = "UPDATE checkpoints SET parent = 5 WHERE number = 7 AND thread_key = "
ANOTHER_CALLER = """UPDATE checkpoints SET header = CAST(substr(header, 1, instr(header, CAST('talk:' AS BLOB)) + 4)
  || '9' || substr(header, instr(header, CAST('talk:' AS BLOB)) + 6) AS BLOB)
  WHERE namespace = 'talk|:m' AND number = 3"""
THREAD = "(SELECT thread_key FROM threads WHERE thread_id = 't')"


def without_results(snapshot: Any) -> Any:
    """The snapshot as it is shown if the checkpoint that its tasks led to cannot be read."""
    tasks = tuple(msgspec.structs.replace(task, result=None) for task in snapshot.tasks)
    return msgspec.structs.replace(snapshot, tasks=tasks)


async def test_the_history_on_both_sides_of_a_damaged_checkpoint_can_be_read(tmp_path: Path) -> None:
    """LangGraph: one damaged old row makes the whole history unreadable."""
    path = tmp_path / "runs.db"
    whole = await a_run(path)
    change(path, FLIP + THREAD)

    async with SqliteSaver(path) as saver:
        graph = chain().compile(saver)
        read: list[Any] = []
        with pytest.raises(CorruptCheckpointError, match="topic") as raised:  # noqa: PT012  # the loop is what raises
            async for snapshot in graph.aget_state_history(thread_id="t"):
                read.append(snapshot)
        behind = [
            snapshot async for snapshot in graph.aget_state_history(thread_id="t", before=raised.value.checkpoint_id)
        ]
        head = await graph.aget_state(thread_id="t")

    # Only checkpoint 3 has that row as its value: later checkpoints wrote the channel again.
    assert (read, behind) == (whole[:3], [without_results(whole[4]), *whole[5:]])
    assert msgspec.structs.replace(head, status=None) == whole[0]
    assert raised.value.thread_id == "t"


async def test_a_damaged_checkpoint_is_refused_and_the_others_stay_usable(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    whole = await a_run(path)
    change(path, FLIP + THREAD)

    async with SqliteSaver(path) as saver:
        graph = chain().compile(saver)
        for damaged_call in (graph.aget_state(whole[3].config), graph.ainvoke(None, whole[3].config)):
            with pytest.raises(CorruptCheckpointError, match=r"'t'.*channel 'topic'"):
                await damaged_call
        assert await graph.aget_state(whole[4].config) == without_results(whole[4])
        assert (await graph.ainvoke(None, whole[4].config))["log"] == [*"abcde"]
        assert (await graph.aget_state(thread_id="other")).values["log"] == [*"abcde"]


async def test_a_damaged_head_is_superseded_by_a_fork_from_an_older_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    whole = await a_run(path)
    change(path, FLIP.replace("number = 3", "number = 6") + THREAD)

    async with SqliteSaver(path) as saver:
        graph = chain().compile(saver)
        with pytest.raises(CorruptCheckpointError):
            await graph.ainvoke({"topic": "x"}, thread_id="t")
        assert (await graph.ainvoke(None, whole[1].config))["log"] == [*"abcde"]
        assert (await graph.aget_state(thread_id="t")).values["topic"] == "e"


async def test_a_value_that_no_longer_fits_its_declared_type_raises_graph_changed(tmp_path: Path) -> None:
    class Numbered(TypedDict, total=False):
        topic: int
        log: Annotated[list[str], operator.add]

    path = tmp_path / "runs.db"
    await a_run(path)

    async with SqliteSaver(path) as saver:
        with pytest.raises(GraphChangedError, check=of_kind("channel"), match=r"'topic'.*declare it as it was"):
            await chain(Numbered).compile(saver).aget_state(thread_id="t")


async def test_a_removed_reducer_is_detected(tmp_path: Path) -> None:
    class Plain(TypedDict, total=False):
        topic: str
        log: list[str]

    path = tmp_path / "runs.db"
    await a_run(path)

    async with SqliteSaver(path) as saver:
        with pytest.raises(GraphChangedError, check=of_kind("channel"), match=r"'log'.*does not merge updates"):
            await chain(Plain).compile(saver).aget_state(thread_id="t")


@pytest.mark.parametrize("replaced", [False, True], ids=["removed", "replaced"])
async def test_no_commit_is_acknowledged_after_the_file_was_removed_or_replaced(tmp_path: Path, replaced: bool) -> None:
    """SQLite continues to write to a removed file, and the data is lost when the file is closed."""
    path = tmp_path / "runs.db"
    ran: list[str] = []

    def removing_the_file(name: str) -> Any:
        def node(state: Any) -> dict[str, Any]:
            ran.append(name)
            if name == "b":
                path.unlink()
                if replaced:
                    path.touch()
            return {"log": [name]}

        return node

    builder = StateGraph(State)
    for name in "abc":
        builder.add_node(name, removing_the_file(name))
    for source, target in zip([START, *"abc"], [*"abc", END], strict=True):
        builder.add_edge(source, target)

    async with SqliteSaver(path) as saver:
        graph = builder.compile(saver)
        with pytest.raises(StoreUnavailableError, match="removed or replaced while it was open"):
            await graph.ainvoke({}, thread_id="t")
        with pytest.raises(StoreUnavailableError, match="removed or replaced"):
            await graph.aget_state(thread_id="t")

    assert ran == ["a", "b"]


async def test_the_error_for_a_path_that_cannot_be_a_file_says_why(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailableError, match=r"there is no directory .*create it first"):
        await SqliteSaver(tmp_path / "missing" / "runs.db").load("t")
    with pytest.raises(StoreConfigurationError, check=of_kind("foreign_file"), match="it is a directory"):
        await SqliteSaver(tmp_path).load("t")


async def test_a_repeated_request_is_an_error_if_a_later_checkpoint_has_a_damaged_parent(tmp_path: Path) -> None:
    """A checkpoint with another parent would lead to another result."""
    path = tmp_path / "runs.db"
    async with SqliteSaver(path) as saver:
        graph = chain().compile(saver)
        await graph.ainvoke({"topic": "tea"}, thread_id="t", key="k")
        await graph.ainvoke({"topic": "coffee"}, thread_id="t")
        repeated = await graph.ainvoke({"topic": "tea"}, thread_id="t", key="k")
        assert repeated == {"topic": "e", "log": [*"abcde"]}

        change(path, ANOTHER_PARENT + THREAD)
        with pytest.raises(CorruptCheckpointError, match="0007"):
            await graph.ainvoke({"topic": "tea"}, thread_id="t", key="k")


async def test_damaged_memory_of_a_nested_graph_is_an_error_and_its_finished_runs_do_not_run_again(
    tmp_path: Path,
) -> None:
    path = tmp_path / "runs.db"
    ran: list[str] = []

    async def turn(state: State) -> State:
        ran.append(state["topic"])
        return {"log": [state["topic"]]}

    child = StateGraph(State).add_node("turn", turn).add_edge(START, "turn").compile(checkpointer=True)

    async def talk(state: State) -> State:
        for topic in ("tea", "milk"):
            await child.ainvoke({"topic": topic}, memory="m")
        interrupt("go on?")
        return {}

    builder = StateGraph(State).add_node("talk", talk).add_edge(START, "talk")
    async with SqliteSaver(path) as saver:
        await builder.compile(saver).ainvoke({}, thread_id="t")
    assert ran == ["tea", "milk"]
    change(path, ANOTHER_CALLER)

    async with SqliteSaver(path) as saver:
        with pytest.raises(CorruptCheckpointError):
            await builder.compile(saver).ainvoke(Command(resume="yes"), thread_id="t")
    assert ran == ["tea", "milk"]


async def test_a_repeated_request_on_a_branch_that_was_forked_and_damaged_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    async with SqliteSaver(path) as saver:
        graph = chain().compile(saver)
        await graph.ainvoke({"topic": "tea"}, thread_id="t", key="k")
        whole = [snapshot.config async for snapshot in graph.aget_state_history(thread_id="t")]
        await graph.ainvoke(None, whole[3])

        change(path, FLIP.replace("number = 3", "number = 4") + THREAD)
        with pytest.raises(CorruptCheckpointError, match="topic"):
            await graph.ainvoke({"topic": "tea"}, thread_id="t", key="k")


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE requests SET key = 'j'",
        "UPDATE requests SET key = CAST(x'ff' AS TEXT)",
        "UPDATE requests SET input_digest = x'00'",
        "UPDATE requests SET checkpoint = 2",
    ],
)
async def test_a_repeated_request_whose_row_is_damaged_is_an_error(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "runs.db"
    async with SqliteSaver(path) as saver:
        graph = chain().compile(saver)
        await graph.ainvoke({"topic": "tea"}, thread_id="t", key="k")
        change(path, damage)

        with pytest.raises(CorruptCheckpointError):
            await graph.ainvoke({"topic": "tea"}, thread_id="t", key="k")
