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

from tests.crash.child import TEN_BY_TWO, Job, live


class Ended(msgspec.Struct, frozen=True):
    """How a process ended. `signal` is None where it ended by itself. It ran for `seconds` after it was ready."""

    exit_code: int
    signal: int | None
    seconds: float


def run(job: Job) -> Ended:
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


def _be_the_child(job: Job, tells: int) -> None:
    code = 1
    try:
        asyncio.run(live(job, ready=lambda: os.write(tells, b"!")))
        code = 0
    except BaseException:  # a child must never go on as a second server
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def serve() -> None:
    """Jobs until stdin ends."""
    TEN_BY_TWO.topology  # noqa: B018  # described before the first fork, so that no child has to
    for line in sys.stdin.buffer:
        sys.stdout.buffer.write(msgspec.json.encode(run(msgspec.json.decode(line, type=Job))) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    serve()
