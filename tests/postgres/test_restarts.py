"""A server that restarts or crashes during many runs: the runs wait, and finish without help."""

import asyncio
from collections.abc import Iterator
from typing import Literal

import pytest

from durable_graph import START, Durability, Runtime, StateGraph, StoreUnavailableError, TaskFinished
from durable_graph.records import Committed
from durable_graph.testing.conformance.saver_under_test import some_thread
from durable_graph.testing.rows import Step
from durable_graph_postgres import PostgresSaver
from tests.crash.conftest import IS_LONG
from tests.crash.scenarios.graph_shapes import State, node, notify_witness, watched_by
from tests.postgres.crowd import Updating, crowd, outcomes_of
from tests.postgres.fleet import Fleet, Writers
from tests.postgres.server import Server, started

TIMES = 10 if IS_LONG else 2
RUNS = 50
PATIENCE = 0.3


@pytest.fixture
def server() -> Iterator[Server]:
    with started() as running:
        yield running


@pytest.mark.parametrize("how", ["fast", "immediate"])
async def test_runs_survive_restarts_of_the_server(server: Server, how: Literal["fast", "immediate"]) -> None:
    async with PostgresSaver(server.url) as saver, PostgresSaver(server.url, pool_size=1) as other:
        fleet, writers = Fleet(saver, at_once=RUNS), Writers(["shared", "shared too"])

        async with fleet.sailing(), asyncio.TaskGroup() as group:
            for writing in (saver, other):
                group.create_task(writers.write(writing, str(id(writing))))
            for _ in range(TIMES):
                await fleet.until(runs=RUNS)
                await asyncio.to_thread(server.restart, how)
            # The same saver continues to work.
            await fleet.until(runs=RUNS)
            writers.is_over = True

        assert fleet.broken == []
        assert await writers.wrong(other) == []
        assert all(len(entries) > TIMES for entries in writers.acknowledged.values())
        assert writers.cut == set()
    print(f"{how}: {TIMES} restarts, {fleet.runs} runs, {len(writers.refused)} conflicts")


async def test_updates_of_several_processes_survive_restarts_of_the_server(server: Server) -> None:
    threads = [f"shared {number}" for number in range(5)]
    jobs = [Updating(server.url, "durable_graph", f"process {number}", threads, 10 * TIMES) for number in range(4)]
    async with PostgresSaver(server.url) as saver:
        updating = asyncio.create_task(asyncio.to_thread(crowd, jobs))
        while not await saver.list_threads():
            pass
        for number in range(TIMES):
            await asyncio.to_thread(server.restart, "immediate" if number % 2 else "fast")
        outcomes = outcomes_of(await updating)

        assert {len(names) for names in outcomes.acknowledged.values()} == {len(jobs) * 10 * TIMES}
        assert await outcomes.wrong(saver) == []


def held_up(until: asyncio.Event) -> StateGraph[State]:
    """a; then b, which waits, in parallel with c, which does not; then d and e."""

    async def wait(state: State, runtime: Runtime) -> State:
        notify_witness("start", runtime.execution_info)
        await until.wait()
        return {"log": ["b"]}

    builder = StateGraph(State)
    builder.add_node("a", node("a")).add_edge(START, "a")
    builder.add_node("b", wait).add_edge("a", "b")
    builder.add_node("c", node("c", lone=False)).add_edge("a", "c")
    builder.add_node("d", node("d")).add_edge(["b", "c"], "d")
    return builder.add_node("e", node("e")).add_edge("d", "e")


@pytest.mark.parametrize(("mode", "ahead"), [("sync", []), ("async", ["d", "e"])])
async def test_a_run_fails_on_an_unavailable_server_and_its_thread_resumes_from_its_records(
    server: Server, mode: Durability, ahead: list[str]
) -> None:
    is_down, started = asyncio.Event(), list[str]()
    saver = PostgresSaver(server.url, patience=PATIENCE)
    graph = held_up(is_down).compile(saver)
    loop = asyncio.get_running_loop()

    stopped: list[float] = []

    async def run_until_it_is_down() -> None:
        async with graph.stream({"log": ["in"]}, thread_id="t", durability=mode) as events:
            async for event in events:
                if isinstance(event, TaskFinished) and event.node == "c" and not event.provisional:
                    await asyncio.to_thread(server.stop)
                    stopped.append(loop.time())
                    is_down.set()

    with watched_by(lambda moment, info: started.append(info.node) if moment == "start" else None):
        with pytest.raises(StoreUnavailableError):
            await run_until_it_is_down()
        assert loop.time() - stopped[0] >= PATIENCE
        assert sorted(started) == ["a", "b", "c", *ahead]
        for call in (saver.load("t"), saver.list_threads(), saver.delete_thread("t"), graph.aget_state(thread_id="t")):
            with pytest.raises(StoreUnavailableError, match=str(server.port)):
                await call

        await asyncio.to_thread(server.start)
        started.clear()
        # The result of b could not be recorded.
        result = await graph.ainvoke(None, thread_id="t", durability=mode)
        assert result["log"] == ["in", "a", "b", "c", "d", "e"]
        assert started == ["b", "d", "e"]
    await saver.aclose()


async def test_a_saver_may_be_opened_before_its_server(server: Server) -> None:
    await asyncio.to_thread(server.stop)
    async with asyncio.TaskGroup() as group:
        saver = PostgresSaver(server.url)
        loading = group.create_task(saver.load("t"))
        await asyncio.to_thread(server.start)
    assert loading.result() is None
    await saver.aclose()


async def test_closing_waits_for_calls_in_progress(server: Server) -> None:
    saver = PostgresSaver(server.url)
    writer = await some_thread(saver, "t")
    await asyncio.to_thread(server.stop)
    async with asyncio.TaskGroup() as group:
        committing = asyncio.ensure_future(saver.commit(writer.unit(Step({"count": b"4"}))))
        await asyncio.sleep(0)
        closing = group.create_task(saver.aclose())
        await asyncio.to_thread(server.start)
        await closing
        assert committing.done()
    assert isinstance(committing.result(), Committed)
