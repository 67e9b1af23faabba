"""Two concurrent answers to one interrupt, many times: the rejected caller always gets the accepted answer."""

import asyncio
import random
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from durable_graph import CompiledGraph
from tests.crash.conftest import IS_LONG, Echo
from tests.crash.engine.answering_process import AnswerResult, Job, State, asking, give
from tests.crash.engine.stores import store_of
from tests.graphs import interrupt_ids
from tests.postgres.server import started

PAIRS = 1_000 if IS_LONG else 25
LATEST = 0.02
"""In seconds. The second answer comes up to this long after the first: before, while and after the first is recorded,
and after its run has ended."""

Give = Callable[[Job], Awaitable[AnswerResult]]


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def dsn(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "sqlite":
        yield ""
    else:
        with started() as server:
            yield server.url


@asynccontextmanager
async def two_savers(folder: Path, dsn: str) -> AsyncIterator[tuple[Give, Give]]:
    async with store_of(folder, dsn) as one, store_of(folder, dsn) as other:
        first, second = asking().compile(one), asking().compile(other)
        yield (lambda job: give(first, job)), (lambda job: give(second, job))


@asynccontextmanager
async def one_process(folder: Path, dsn: str) -> AsyncIterator[tuple[Give, Give]]:
    async with store_of(folder, dsn) as saver:
        graph = asking().compile(saver)
        yield (lambda job: give(graph, job)), (lambda job: give(graph, job))


@asynccontextmanager
async def two_processes(folder: Path, dsn: str) -> AsyncIterator[tuple[Give, Give]]:
    async with _process(folder, dsn) as one, _process(folder, dsn) as other:
        yield one, other


@asynccontextmanager
async def _process(folder: Path, dsn: str) -> AsyncIterator[Give]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.crash.engine.answering_process",
        str(folder),
        dsn,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    writes, reads = process.stdin, process.stdout

    async def give_there(job: Job) -> AnswerResult:
        writes.write(msgspec.json.encode(job) + b"\n")
        await writes.drain()
        return msgspec.json.decode(await reads.readline(), type=AnswerResult)

    try:
        yield give_there
    finally:
        writes.close()
        assert await process.wait() == 0


async def pair(graph: CompiledGraph[State], ways: tuple[Give, Give], number: int, *, is_by_id: bool) -> str:
    """The outcome of one pair: "correct", or a description of the violation."""
    thread = f"{number}"
    question = interrupt_ids(await graph.ainvoke({}, thread_id=thread))["which colour?"]
    drawn = random.Random(number)
    jobs = [
        Job(thread, answer, delay, question if is_by_id else None)
        for answer, delay in (("red", 0.0), ("blue", drawn.random() * LATEST))
    ]
    found = await asyncio.gather(*(way(job) for way, job in zip(ways, jobs, strict=True)))
    won = [job.answer for job, result in zip(jobs, found, strict=True) if result.won]
    if len(won) != 1:
        return f"{len(won)} won: {found}"
    if sorted(found, key=lambda result: result.won) != [AnswerResult(stands=won[0]), AnswerResult(won=True)]:
        return str(found)
    state = (await graph.aget_state(thread_id=thread)).values
    return "correct" if state == {"log": [won[0], "after"]} else f"{won} won, and the state is {state}"


@pytest.mark.parametrize("is_by_id", [True, False], ids=["by_id", "without"])
@pytest.mark.parametrize("through", [one_process, two_savers, two_processes])
async def test_the_caller_of_a_rejected_concurrent_answer_gets_the_accepted_answer(
    through: Callable[[Path, str], AbstractAsyncContextManager[tuple[Give, Give]]],
    is_by_id: bool,
    dsn: str,
    tmp_path: Path,
    echo: Echo,
) -> None:
    found: Counter[str] = Counter()

    async with store_of(tmp_path, dsn) as saver, through(tmp_path, dsn) as ways:
        graph = asking().compile(saver)
        for number in range(PAIRS):
            found[await pair(graph, ways, number, is_by_id=is_by_id)] += 1

    echo(f"{found['correct']} rejected callers of {PAIRS} pairs got the accepted answer")
    assert found == {"correct": PAIRS}
