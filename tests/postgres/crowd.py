"""Processes that start at the same moment: a parent that has imported everything forks them.

`python -m tests.postgres.crowd` reads a list of jobs as JSON from stdin, and writes their reports to stdout.
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
    """Updates all threads concurrently, each of them `times` times."""

    url: str
    schema: str
    name: str
    threads: list[str]
    times: int


class Resuming(msgspec.Struct, frozen=True, tag=True):
    """Runs a thread to its end, and resumes after each conflict with a faster process."""

    url: str
    schema: str
    thread: str


class Forking(msgspec.Struct, frozen=True, tag=True):
    """Uses a saver in a child that was forked while it was open."""

    url: str
    schema: str


class Leaving(msgspec.Struct, frozen=True, tag=True):
    """Starts writes and reads, and ends its event loop `turns` turns later, without closing anything.

    `opens`: opens the saver before the calls, so that they do not wait for it.
    """

    url: str
    schema: str
    turns: int
    opens: bool


Job = Updating | Resuming | Forking | Leaving


class Report(msgspec.Struct):
    """The results that a process got. `committed` are the checkpoints that were reported as its own."""

    acknowledged: dict[str, list[str]] = {}
    refused: set[str] = set()
    committed: list[str] = []
    conflicts: int = 0
    refusals: int = 0
    left: int = 0


class CrowdFailedError(Exception):
    """One of the processes ended with an error, or never awaited a coroutine."""


def crowd(jobs: Sequence[Job]) -> list[Report]:
    """Run each job in a process, start all processes together, and return their reports. Raises `CrowdFailedError`."""
    ran = subprocess.run(
        [sys.executable, "-m", "tests.postgres.crowd"],
        input=msgspec.json.encode(jobs),
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path or "." for path in sys.path)},
    )
    # Other output is ignored: the driver complains about connections that it was about to open.
    if ran.returncode or b"never awaited" in ran.stderr:
        raise CrowdFailedError(ran.stderr.decode())
    return msgspec.json.decode(ran.stdout, type=list[Report])


def outcomes_of(reports: Sequence[Report]) -> Writers:
    """The combined outcomes of processes that wrote to the same threads."""
    combined = Writers(sorted({thread for report in reports for thread in report.acknowledged}))
    for report in reports:
        combined.refused |= report.refused
        for thread, names in report.acknowledged.items():
            combined.acknowledged.setdefault(thread, []).extend(names)
    return combined


def _serve() -> int:
    jobs = msgspec.json.decode(sys.stdin.buffer.read(), type=list[Job])
    waits, begins = os.pipe()
    children = [_forked(job, waits, begins) for job in jobs]
    # The children wait until this end is closed.
    os.close(begins)
    reports = []
    for _, reader in children:
        with os.fdopen(reader, "rb") as output:
            reports.append(output.read())
    codes = [os.waitpid(child, 0)[1] for child, _ in children]
    sys.stdout.buffer.write(b"[" + b",".join(reports) + b"]")
    return 1 if any(codes) else 0


def _forked(job: Job, waits: int, begins: int) -> tuple[int, int]:
    """Fork a process for the job. Returns its id and the pipe that its report comes from."""
    reader, writer = os.pipe()
    child = os.fork()
    if child:
        os.close(writer)
        return child, reader
    code = 1
    try:
        os.close(begins)
        os.read(waits, 1)
        report = asyncio.run(_done(job))
        with os.fdopen(writer, "wb") as output:
            output.write(msgspec.json.encode(report))
        code = 0
    except BaseException:  # a child must never continue as its parent
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
                await _continue(graph, job.thread, report)
            except CheckpointConflictError:
                report.conflicts += 1
            except NothingToResumeError:
                # Another process finished the thread after the state was read.
                break
    return report


async def _continue(graph: CompiledGraph[State], thread: str, report: Report) -> None:
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
