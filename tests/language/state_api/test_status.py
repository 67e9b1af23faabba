"""`snapshot.status`: the status of a thread, and how a service that starts resumes the thread."""

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from durable_graph import Checkpointer, Command, CompiledGraph, Durability
from durable_graph.testing import CrashingSaver, CrashPoint, SimulatedCrashError
from tests.graphs import Nodes, State, chain
from tests.repository.tree import ROOT

pytestmark = pytest.mark.every_store

CONFIG: dict[str, Any] = {"configurable": {"thread_id": "t"}}


async def status_of(graph: CompiledGraph[Any]) -> str | None:
    return (await graph.aget_state(CONFIG)).status


async def test_a_thread_without_checkpoints_has_no_status(saver: Checkpointer) -> None:
    graph = chain(("a", Nodes().noting("a"))).compile(saver)

    assert await status_of(graph) is None
    await graph.ainvoke({}, CONFIG)
    await graph.adelete_thread("t")
    assert await status_of(graph) is None


async def test_each_end_of_a_run_has_its_own_status(saver: Checkpointer, durability: Durability) -> None:
    gate, entered, fails = asyncio.Event(), asyncio.Event(), True
    nodes = Nodes()

    async def node(state: State) -> State:
        entered.set()
        await gate.wait()
        if fails:
            message = "not yet"
            raise ValueError(message)
        return {"log": ["node"]}

    builder = chain(("node", node), ("ask", nodes.asking("ask", "sure?")), ("last", nodes.noting("last")))
    graph = builder.compile(saver, interrupt_before=["last"])
    running = asyncio.create_task(graph.ainvoke({}, CONFIG, durability=durability))
    await entered.wait()
    assert await status_of(graph) == "running"
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await status_of(graph) == "running"
    gate.set()
    with pytest.raises(ValueError, match="not yet"):
        await graph.ainvoke(None, CONFIG, durability=durability)
    assert await status_of(graph) == "failed"
    fails = False
    await graph.ainvoke(None, CONFIG, durability=durability)
    assert await status_of(graph) == "interrupted"
    await graph.ainvoke(Command(resume="yes"), CONFIG, durability=durability)
    assert await status_of(graph) == "interrupted"
    await graph.ainvoke(None, CONFIG, durability=durability)
    assert await status_of(graph) == "done"


async def test_a_snapshot_of_a_thread_has_a_status_and_that_of_a_checkpoint_or_nested_graph_has_none(
    saver: Checkpointer,
) -> None:
    inner = chain(("ask", Nodes().asking("ask", "sure?"))).compile()
    graph = chain(("inner", inner)).compile(saver)
    await graph.ainvoke({}, CONFIG)

    newest = await graph.aget_state(CONFIG, subgraphs=True)

    assert newest.status == "interrupted"
    assert newest.tasks[0].state.status is None
    assert [each.status async for each in graph.aget_state_history(CONFIG)] == [None]
    assert (await graph.aget_state(newest.config)).status is None


def start_up() -> str:
    """The lines of the README that a service runs when it starts."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (lines,) = [block for block in readme.split("```python\n") if block.startswith("status = ")]
    return lines.split("```")[0]


@pytest.mark.parametrize(
    ("left", "log"),
    [
        ("new", ["tea", "a"]),
        ("killed", ["in", "a"]),
        ("failed", ["in", "a"]),
        ("waiting", ["in"]),
        ("done", ["in", "a"]),
    ],
)
async def test_the_start_up_code_of_the_readme_resumes_a_thread_that_can_be_resumed(
    saver: Checkpointer, left: str, log: list[str]
) -> None:
    # The first two calls load the thread and commit the input.
    process = CrashingSaver(saver, CrashPoint(3, "before") if left == "killed" else None)

    def graph_of(node: Any, on: Checkpointer = saver) -> Any:
        return chain(("a", node)).compile(on)

    async def fails(state: State) -> State:
        raise ValueError

    noting, asking = Nodes().noting("a"), Nodes().asking("a", "sure?")
    earlier = {"killed": noting, "failed": fails, "waiting": asking, "done": noting}.get(left)
    if earlier is not None:
        with suppress(SimulatedCrashError, ValueError):
            await graph_of(earlier, process).ainvoke({"log": ["in"]}, thread_id="t-1")
    source = "async def start(graph):\n" + "".join(f"    {line}\n" for line in start_up().splitlines())
    names: dict[str, Any] = {}
    exec(compile(source.replace('{"topic": "tea"}', '{"log": ["tea"]}'), "README.md", "exec"), names)  # noqa: S102  # our own

    await names["start"](graph_of(asking if left == "waiting" else noting))

    assert (await graph_of(noting).aget_state(thread_id="t-1")).values == {"log": log}
