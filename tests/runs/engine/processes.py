"""Starts, stops, continues and kills the processes of a test. They are forked by a server that has imported all."""

import asyncio
import multiprocessing
import os
import signal
import sqlite3
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from multiprocessing.context import ForkServerProcess
from multiprocessing.synchronize import Barrier
from unittest.mock import patch

from durable_graph.runs import App, RunStatus
from tests.crash.engine.stores import DATABASE
from tests.runs.engine.worker_process import Place, WorkerJob, work

PATIENCE = 60.0
"""Seconds until a test gives up waiting."""

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["tests.runs.engine.worker_process"])


class Process:
    """A process that this test started."""

    def __init__(self, process: ForkServerProcess, place: Place) -> None:
        self._process = process
        self.place: Place = place
        assert process.pid is not None
        self.pid: int = process.pid

    @property
    def has_ended(self) -> bool:
        return self._process.exitcode is not None

    def send(self, number: signal.Signals) -> float:
        """Send a signal. Returns the time."""
        at = time.monotonic()
        os.kill(self.pid, number)
        return at

    async def ended(self) -> int:
        """Wait for its end. Returns its exit code, which is negative for a signal."""
        await until(lambda: self.has_ended, "the end of a process")
        assert self._process.exitcode is not None
        return self._process.exitcode

    def end(self) -> None:
        """Kill it, if it still lives."""
        if not self.has_ended:
            self._process.kill()
        self._process.join(PATIENCE)
        self._process.close()


class Processes:
    """The processes of one test. The context kills those that are left, and checks that none has failed by itself."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._processes: list[Process] = []

    def worker(
        self, *, lease: float = 2.0, concurrency: int = 100, grace: float = 10.0, max_crashes: int = 5
    ) -> Process:
        """Start a process with a worker."""
        job = WorkerJob(self.place, lease, concurrency, grace, max_crashes)
        return self.start(work, job)

    def start(self, target: Callable[..., None], *arguments: object) -> Process:
        """Start a process that calls the function of a module."""
        process = _context.Process(target=target, args=arguments, daemon=True)
        # The server, which the first process starts, imports what this process can import.
        with patch.dict(os.environ, {"PYTHONPATH": os.pathsep.join(path or "." for path in sys.path)}):
            process.start()
        self._processes.append(Process(process, self.place))
        return self._processes[-1]

    def forget(self, process: Process) -> None:
        """Give up the handle of a process that has ended."""
        process.end()
        self._processes.remove(process)

    def barrier(self, parties: int) -> Barrier:
        """A barrier for as many processes, as an argument of theirs."""
        return _context.Barrier(parties)

    def __enter__(self) -> "Processes":
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.end()
        failures = self.place.failures
        assert not failures.exists(), failures.read_text()


async def until(holds: Callable[[], bool | Awaitable[bool]], what: str) -> None:
    """Wait until the condition holds. Raises `TimeoutError`, which names it."""
    deadline = time.monotonic() + PATIENCE
    while True:
        found = holds()
        if found if isinstance(found, bool) else await found:
            return
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        await asyncio.sleep(0.01)


async def running_by(app: App, pid: int) -> list[RunStatus]:
    """The runs that the process executes now, as the store says."""
    found = await all_runs(app)
    return [each for each in found if each.state == "running" and (each.worker or "").endswith(f":{pid}")]


async def all_runs(app: App) -> list[RunStatus]:
    """Every run of the store."""
    found: list[RunStatus] = []
    while page := await app.runs(limit=500, after=found[-1] if found else None):
        found.extend(page)
    return found


async def stop(process: Process) -> float:
    """Stop the process by SIGSTOP, at a moment at which it holds no lock of the store. Returns the time."""
    while True:
        at = process.send(signal.SIGSTOP)
        if _is_free(process.place):
            return at
        process.send(signal.SIGCONT)
        await asyncio.sleep(0.01)


async def stop_inside_a_write(process: Process) -> None:
    """Stop the process by SIGSTOP, at a moment at which it holds the lock of the file."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        process.send(signal.SIGSTOP)
        if not _is_free(process.place):
            return
        process.send(signal.SIGCONT)
        await asyncio.sleep(0.001)
    raise TimeoutError("a write of the process")


def _is_free(place: Place) -> bool:
    """Whether the file can be written to. A server has no lock that the others would wait for."""
    if place.dsn:
        return True
    with closing(sqlite3.connect(place.folder / DATABASE, timeout=1)) as db:
        try:
            db.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        db.execute("ROLLBACK")
        return True
