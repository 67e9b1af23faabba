"""The floor and the skeleton do the same work as durable_graph, so that their figures can be compared."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from benchmarks.contenders import Kind, Place
from benchmarks.engines.floor import Floor
from benchmarks.engines.log import Durability, restored
from benchmarks.engines.program import Program, State, Task
from benchmarks.engines.skeleton import ConflictingWritesError, Skeleton, UnknownChannelError
from benchmarks.engines.stores import SqliteStore
from benchmarks.flush import Disk
from benchmarks.libraries import OURS_LIBRARY
from benchmarks.shapes import Shape, chain, chat, fan_out, wide
from tests.runs.engine.processes import until

SHAPES = {"chain": chain(5), "chat": chat(30), "fan-out": fan_out(7), "wide": wide(4, 9)}
ENGINES = (Floor, Skeleton)
DURABILITIES: tuple[Durability, ...] = ("sync", "async", "exit")


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", SHAPES)
async def test_an_engine_ends_with_the_same_state_as_the_library(name: str, engine: type[Floor | Skeleton]) -> None:
    shape: Shape = SHAPES[name]
    graph = shape.build(OURS_LIBRARY).compile()
    expected: Any = await graph.ainvoke(dict(shape.given), recursion_limit=shape.units + 1)

    assert await engine(shape.program).run("t", shape.given) == expected
    assert shape.has_ended_well(expected)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("durability", DURABILITIES)
@pytest.mark.parametrize("kind", ["memory", "sqlite", "postgres"])
async def test_the_rows_of_an_engine_restore_its_state(
    kind: Kind, durability: Durability, engine: type[Floor | Skeleton], disk: Disk
) -> None:
    # Enough rows that a snapshot follows the updates.
    shape = chat(400)
    async with Place(kind, disk).store(durability) as store:
        assert store is not None
        state = await engine(shape.program, store, durability).run("t", shape.given)
        rows = await store.load("t")

    assert restored(rows, shape.program.appended) == state
    assert len(rows) == (1 if durability == "exit" else 1 + 400 + 2)


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_each_task_of_a_fan_out_is_recorded(kind: Kind, disk: Disk) -> None:
    shape = fan_out(7)
    async with Place(kind, disk).store() as store:
        assert store is not None
        await Skeleton(shape.program, store).run("t", shape.given)

        async def are_stored() -> bool:
            # The run does not wait for the records of its tasks, which several connections write.
            return len(await store.load("t")) == 1 + 7 + 1

        await until(are_stored, "the input, the records and the result")


async def test_a_thread_owned_by_another_process_is_refused(tmp_path: Path) -> None:
    shape = chain(2)
    store = SqliteStore(tmp_path / "engine.db")
    with closing(sqlite3.connect(tmp_path / "engine.db")) as connection:
        connection.execute("INSERT INTO owners VALUES ('t', 'another process')")
        connection.commit()

    with pytest.raises(PermissionError):
        await Floor(shape.program, store).run("t", shape.given)

    await Floor(shape.program, store).run("another thread", shape.given)
    assert await store.load("t") == []
    await store.aclose()


@pytest.mark.parametrize(
    ("writes", "error"), [({"nothing": 1}, UnknownChannelError), ({"count": 1}, ConflictingWritesError)]
)
async def test_the_skeleton_checks_the_writes_of_nodes(writes: State, error: type[Exception]) -> None:
    async def node(state: State) -> State:
        return writes

    def plan(before: Any, state: State) -> list[Task]:
        return [] if before else [Task("node"), Task("node")]

    with pytest.RaisesGroup(error, error) if error is UnknownChannelError else pytest.raises(error):
        await Skeleton(Program({"node": node}, plan, frozenset({"count"}))).run("t", {"count": 0})
