"""Starts processes fast: a server that has imported everything forks a child for each job.

`python -m tests.crash.engine.fork_server` reads jobs as lines of JSON from stdin and writes the outcome of each process
to stdout. A child is an ordinary process, and is killed by SIGKILL.
"""

import asyncio
import os
import select
import signal
import sys
import time
import traceback

import msgspec
import pytest

from durable_graph import MemorySaver
from tests.crash.engine import killed_process, scenario_process
from tests.crash.engine.killed_process import TEN_BY_TWO, Job
from tests.crash.engine.repeatable_ids import make_ids_repeatable
from tests.crash.engine.scenario_process import ScenarioJob
from tests.crash.scenarios.everything import EVERYTHING

AnyJob = Job | ScenarioJob

_jobs: msgspec.json.Decoder[AnyJob] = msgspec.json.Decoder(AnyJob)


class Ended(msgspec.Struct, frozen=True):
    """The end of a process. `signal` is None if it ended by itself. It ran for `seconds` after it was ready."""

    exit_code: int
    signal: int | None
    seconds: float


def run(job: AnyJob) -> Ended:
    """Run the job in a new process."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _run_child(job, writer)
    os.close(writer)
    # The child writes a byte when it is ready. Any death of it closes its end of the pipe.
    is_ready = os.read(reader, 1) != b""
    begun = time.monotonic()
    if is_ready:
        has_ended, _, _ = select.select([reader], [], [], job.kill_after)
        if not has_ended:
            os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    os.close(reader)
    code = os.waitstatus_to_exitcode(status)
    return Ended(max(code, 0), -code if code < 0 else None, time.monotonic() - begun)


def _run_child(job: AnyJob, writer: int) -> None:
    code = 1
    try:
        asyncio.run(_live(job, writer))
        code = 0
    except BaseException:  # a child must never resume as a second server
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


async def _live(job: AnyJob, writer: int) -> None:
    def ready() -> None:
        os.write(writer, b"!")

    match job:
        case Job():
            await killed_process.live(job, ready)
        case ScenarioJob():
            await scenario_process.live(job, ready)


def serve() -> None:
    """Run jobs until stdin ends."""
    make_ids_repeatable(pytest.MonkeyPatch())
    # Build the graphs before the first fork, so that no child has to.
    TEN_BY_TWO.topology  # noqa: B018
    EVERYTHING.build(MemorySaver())
    for line in sys.stdin.buffer:
        sys.stdout.buffer.write(msgspec.json.encode(run(_jobs.decode(line))) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    serve()
