"""Processes that begin at the same moment: one that has imported everything forks them.

`python -m tests.postgres.crowd` reads a list of jobs as JSON from stdin, and writes to stdout what their processes say.
"""

import asyncio
import os
import subprocess
import sys
import traceback
from collections.abc import Sequence

import msgspec

from durable_graph import (
    CheckpointCommitted,
    CheckpointConflictError,
    CheckpointerMisuseError,
    CompiledGraph,
    NothingToResumeError,
)
from durable_graph.testing.rows import Step, Writer
from durable_graph_postgres import PostgresSaver
from tests.crash.engine.cancelled_runs import BRANCHING
from tests.crash.scenarios.graph_shapes import State, watched_by
from tests.postgres.fleet import Writers


class Updating(msgspec.Struct, frozen=True, tag=True):
    """Writes to all the threads at once, so many times to each."""

    url: str
    schema: str
    name: str
    threads: list[str]
    times: int


class Resuming(msgspec.Struct, frozen=True, tag=True):
    """Runs a thread to its end, and goes on each time that another process was faster."""

    url: str
    schema: str
    thread: str


class Forking(msgspec.Struct, frozen=True, tag=True):
    """Uses a saver in a child that was forked while it was open."""

    url: str
    schema: str


class Leaving(msgspec.Struct, frozen=True, tag=True):
    """Begins writes and reads, and ends its event loop so many turns later, without closing anything.

    `opens`: before, so that they do not wait for that.
    """

    url: str
    schema: str
    turns: int
    opens: bool


Job = Updating | Resuming | Forking | Leaving


class Report(msgspec.Struct):
    """What a process was told. `committed` are the checkpoints that it was told are its own."""

    acknowledged: dict[str, list[str]] = {}
    refused: set[str] = set()
    committed: list[str] = []
    conflicts: int = 0
    refusals: int = 0
    left: int = 0


class CrowdFailedError(Exception):
    """One of the processes ended with an error, or left a call that it never made."""


def crowd(jobs: Sequence[Job]) -> list[Report]:
    """What the processes say that do these jobs, begun together. Raises `CrowdFailedError`."""
    ran = subprocess.run(
        [sys.executable, "-m", "tests.postgres.crowd"],
        input=msgspec.json.encode(jobs),
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path or "." for path in sys.path)},
    )
    # What the driver says of a connection that it was about to make is its own affair.
    if ran.returncode or b"never awaited" in ran.stderr:
        raise CrowdFailedError(ran.stderr.decode())
    return msgspec.json.decode(ran.stdout, type=list[Report])


def told_by(reports: Sequence[Report]) -> Writers:
    """What all of those were told that wrote to the same threads."""
    told = Writers(sorted({thread for report in reports for thread in report.acknowledged}))
    for report in reports:
        told.refused |= report.refused
        for thread, names in report.acknowledged.items():
            told.acknowledged.setdefault(thread, []).extend(names)
    return told


def _serve() -> int:
    jobs = msgspec.json.decode(sys.stdin.buffer.read(), type=list[Job])
    waits, begins = os.pipe()
    children = [_forked(job, waits, begins) for job in jobs]
    # Closing it is what they wait for.
    os.close(begins)
    reports = []
    for _, hears in children:
        with os.fdopen(hears, "rb") as said:
            reports.append(said.read())
    codes = [os.waitpid(child, 0)[1] for child, _ in children]
    sys.stdout.buffer.write(b"[" + b",".join(reports) + b"]")
    return 1 if any(codes) else 0


def _forked(job: Job, waits: int, begins: int) -> tuple[int, int]:
    """A process, and where it is heard."""
    hears, tells = os.pipe()
    child = os.fork()
    if child:
        os.close(tells)
        return child, hears
    code = 1
    try:
        os.close(begins)
        os.read(waits, 1)
        report = asyncio.run(_done(job))
        with os.fdopen(tells, "wb") as told:
            told.write(msgspec.json.encode(report))
        code = 0
    except BaseException:  # a child must never go on as its parent
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


async def _done(job: Job) -> Report:
    if isinstance(job, Leaving):
        return await _leave(job, PostgresSaver(job.url, schema=job.schema))
    async with PostgresSaver(job.url, schema=job.schema, pool_size=2) as saver:
        match job:
            case Updating():
                return await _update(job, saver)
            case Resuming():
                return await _resume(job, saver)
            case Forking():
                return await _fork(saver)


async def _update(job: Updating, saver: PostgresSaver) -> Report:
    writers = [Writers([thread]) for thread in job.threads]
    async with asyncio.TaskGroup() as group:
        for each in writers:
            group.create_task(each.write(saver, f"{job.name} {each.threads[0]}", job.times))
    report = Report()
    for each in writers:
        report.acknowledged.update(each.acknowledged)
        report.refused |= each.refused
    return report


async def _resume(job: Resuming, saver: PostgresSaver) -> Report:
    graph, report = BRANCHING.on(saver), Report()
    with watched_by(lambda moment, info: None):
        while (await graph.aget_state(thread_id=job.thread)).next:
            try:
                await _go_on(graph, job.thread, report)
            except CheckpointConflictError:
                report.conflicts += 1
            except NothingToResumeError:
                # It came to its end after this one looked.
                break
    return report


async def _go_on(graph: CompiledGraph[State], thread: str, report: Report) -> None:
    async with graph.stream(None, thread_id=thread) as events:
        async for event in events:
            if isinstance(event, CheckpointCommitted) and not event.provisional and event.checkpoint_id:
                report.committed.append(event.checkpoint_id)


async def _fork(saver: PostgresSaver) -> Report:
    await saver.load("t")
    child = os.fork()
    if child == 0:
        refusals = 0
        for call in (lambda: saver.load("t"), lambda: saver.delete_thread("t"), saver.aclose):
            try:
                await call()
            except CheckpointerMisuseError as error:
                refusals += error.kind == "forked"
        os._exit(refusals)
    _, status = await asyncio.to_thread(os.waitpid, child, 0)
    await saver.load("t")
    return Report(refusals=os.waitstatus_to_exitcode(status))


async def _leave(job: Leaving, saver: PostgresSaver) -> Report:
    if job.opens:
        await saver.load("t")
    writers = [Writer.of(f"{place} of {job.turns}", run) for place in range(4) for run in (b"a" * 16, b"b" * 16)]
    units = [writer.unit(Step({"run": writer.run, "count": b"1"})) for writer in writers]
    calls: list[asyncio.Future[object]] = [asyncio.ensure_future(saver.commit(unit)) for unit in units]
    calls.append(asyncio.create_task(saver.history("t", limit=1)))
    for _ in range(job.turns):
        await asyncio.sleep(0)
    return Report(left=sum(not call.done() for call in calls))


if __name__ == "__main__":
    sys.exit(_serve())
