"""Killing a process that runs a thread, resuming in another process, and counting the cost."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import msgspec

from durable_graph import Checkpointer, Durability
from tests.crash.engine.fork_server import AnyJob, Ended
from tests.crash.engine.killed_process import TEN_BY_TWO, Job, Kill
from tests.crash.engine.stored_thread import NOTHING, Stored, read
from tests.crash.engine.stores import DATABASE, store_of
from tests.crash.engine.survival import Life, Survival


class ProcessFailedError(Exception):
    """A process ended by itself with an error, which its stderr shows."""


class ForkServer:
    """Runs each job in its own process. `dsn` is that of the server with their threads, if these are not in files."""

    def __init__(self, process: "subprocess.Popen[bytes]", dsn: str) -> None:
        self.dsn: str = dsn
        self._process = process

    def run(self, job: AnyJob) -> Ended:
        """Run the job and wait for its end. Raises `ProcessFailedError`."""
        to, back = self._process.stdin, self._process.stdout
        assert to is not None
        assert back is not None
        to.write(msgspec.json.encode(job) + b"\n")
        to.flush()
        ended = msgspec.json.decode(back.readline(), type=Ended)
        if ended.exit_code:
            raise ProcessFailedError(job)
        return ended


@contextmanager
def fork_server(dsn: str = "") -> Iterator[ForkServer]:
    """A fork server that ends with the body."""
    command = [sys.executable, "-W", "error", "-m", "tests.crash.engine.fork_server"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path or "." for path in sys.path)}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as process:
        yield ForkServer(process, dsn)


@dataclass(frozen=True, slots=True)
class Killed:
    """A thread whose process was killed, and which another process resumed."""

    survival: Survival
    was_killed: bool
    seconds: float

    @property
    def at_the_kill(self) -> Stored:
        return self.survival.found[1]

    @property
    def was_inside_a_superstep(self) -> bool:
        """Whether some tasks of the plan had started, and not all were recorded."""
        head = self.at_the_kill.head_tasks
        return bool(head & set(self.survival.lives[0].started)) and bool(head - self.at_the_kill.recorded)


def undisturbed(server: ForkServer, folder: Path, mode: Durability) -> Killed:
    """A run without a kill."""
    folder.mkdir()
    ended = server.run(Job(str(folder), "first", mode, resumes=False, dsn=server.dsn))
    assert ended.signal is None
    survival = Survival([_life(folder / "first")], [NOTHING, look(folder, server.dsn)])
    return Killed(survival, was_killed=False, seconds=ended.seconds)


def kill_and_resume(
    server: ForkServer,
    folder: Path,
    mode: Durability,
    *,
    kill: Kill | None = None,
    kill_after: float | None = None,
    torn: bool = False,
) -> Killed:
    """Kill a process at a point or after some seconds, read the store, and resume in another process."""
    folder.mkdir()
    job = Job(str(folder), "first", mode, resumes=False, kill=kill, kill_after=kill_after, torn=torn, dsn=server.dsn)
    ended = server.run(job)
    assert ended.signal in (None, signal.SIGKILL)
    lives = [_life(folder / "first")]
    found = [NOTHING, look(folder, server.dsn)]
    if not found[-1].is_finished:
        after = server.run(Job(str(folder), "second", mode, resumes=found[-1].exists, dsn=server.dsn))
        assert after.signal is None
        lives.append(_life(folder / "second"))
        found.append(look(folder, server.dsn))
    return Killed(Survival(lives, found), was_killed=ended.signal is not None, seconds=ended.seconds)


def look(folder: Path, dsn: str) -> Stored:
    """The content of the store."""
    return asyncio.run(_read(folder, dsn))


@asynccontextmanager
async def looked_at(folder: Path, dsn: str) -> AsyncIterator[Checkpointer]:
    """The store, for reading. A file is copied, because opening a file that a dead process left repairs it."""
    with nullcontext(folder) if dsn else _copied(folder) as kept_in:
        async with store_of(kept_in, dsn) as store:
            yield store


@contextmanager
def _copied(folder: Path) -> Iterator[Path]:
    copy = folder / "copy"
    copy.mkdir()
    for part in folder.glob(f"{DATABASE}*"):
        shutil.copyfile(part, copy / part.name)
    try:
        yield copy
    finally:
        shutil.rmtree(copy)


async def _read(folder: Path, dsn: str) -> Stored:
    async with looked_at(folder, dsn) as saver:
        return await read(TEN_BY_TWO.on(saver))


def _life(ledger: Path) -> Life:
    life = Life(point=None)
    if not ledger.exists():
        return life
    # The last line may have been cut off by the kill.
    for line in ledger.read_text().split("\n")[:-1]:
        what, which = line.split()
        match what:
            case "start":
                life.started.append(which)
            case "end":
                life.ended.append(which)
            case "task":
                life.reported_tasks.add(which)
            case "checkpoint":
                life.reported_checkpoints.add(which)
    return life
