"""Starts processes fast: one that has imported everything forks a child for each job.

`python -m tests.crash.fork_server` reads jobs as lines of JSON from stdin and writes to stdout what became of their
processes. A child is a process like any other, and is killed like one: by SIGKILL.
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
from tests.crash import child
from tests.crash.child import TEN_BY_TWO, Job
from tests.crash.language import killed_child
from tests.crash.language.everything import EVERYTHING
from tests.crash.language.killed_child import StoryJob
from tests.crash.repeatable import draw_the_same

AnyJob = Job | StoryJob

_jobs: msgspec.json.Decoder[AnyJob] = msgspec.json.Decoder(AnyJob)


class Ended(msgspec.Struct, frozen=True):
    """How a process ended. `signal` is None where it ended by itself. It ran for `seconds` after it was ready."""

    exit_code: int
    signal: int | None
    seconds: float


def run(job: AnyJob) -> Ended:
    """What became of a process that does the job."""
    hears, tells = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(hears)
        _be_the_child(job, tells)
    os.close(tells)
    # A byte when it is ready; its end of the pipe is closed by its death, whatever that is.
    is_ready = os.read(hears, 1) != b""
    begun = time.monotonic()
    if is_ready:
        has_ended, _, _ = select.select([hears], [], [], job.kill_after)
        if not has_ended:
            os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    os.close(hears)
    code = os.waitstatus_to_exitcode(status)
    return Ended(max(code, 0), -code if code < 0 else None, time.monotonic() - begun)


def _be_the_child(job: AnyJob, tells: int) -> None:
    code = 1
    try:
        asyncio.run(_live(job, tells))
        code = 0
    except BaseException:  # a child must never go on as a second server
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


async def _live(job: AnyJob, tells: int) -> None:
    def ready() -> None:
        os.write(tells, b"!")

    match job:
        case Job():
            await child.live(job, ready)
        case StoryJob():
            await killed_child.live(job, ready)


def serve() -> None:
    """Jobs until stdin ends."""
    draw_the_same(pytest.MonkeyPatch())
    # Described before the first fork, so that no child has to.
    TEN_BY_TWO.topology  # noqa: B018
    EVERYTHING.build(MemorySaver())
    for line in sys.stdin.buffer:
        sys.stdout.buffer.write(msgspec.json.encode(run(_jobs.decode(line))) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    serve()
