"""A worker that serves a queue with limits, and logs its claims and the beginning and the end of its nodes."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal, TypedDict

import msgspec

from durable_graph import START, Runtime, StateGraph
from durable_graph.checkpointing.queue_store import QueueClaims
from durable_graph.queue_records import QueueLimits
from durable_graph.runs import App
from tests.crash.engine.stores import store_of
from tests.runs.engine.worker_process import Place, WorkerJob, live

QUEUE = "limited"


class State(TypedDict, total=False):
    seconds: float


class Line(msgspec.Struct, frozen=True):
    """An event of a run: a worker has claimed it, or its node begins or ends. `at` is the monotonic time, which all
    processes share, and `now` the time of a claim by the store's clock, in microseconds."""

    kind: Literal["claim", "begin", "end"]
    thread: str
    pid: int
    at: float
    now: int = 0


class QueueLog:
    """The file, which any number of processes append to. A line is one `write`, so lines do not mix."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "queue_log"
        self._file: int | None = None

    def note(self, *lines: Line) -> None:
        """Append lines."""
        if self._file is None:
            self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(self._file, b"".join(msgspec.json.encode(line) + b"\n" for line in lines))

    def lines(self) -> list[Line]:
        """The complete lines so far, by time."""
        text, _, _ = (self._path.read_bytes() if self._path.exists() else b"").rpartition(b"\n")
        return sorted((msgspec.json.decode(line, type=Line) for line in text.splitlines()), key=lambda line: line.at)


@asynccontextmanager
async def queue_app_at(place: Place, limits: QueueLimits) -> AsyncIterator[App]:
    """An app of this process, with the queue and a graph whose node takes the seconds of its input."""
    log = QueueLog(place.folder)

    async def hold(state: State, runtime: Runtime) -> State:
        thread = runtime.execution_info.thread_id or ""
        log.note(Line("begin", thread, os.getpid(), time.monotonic()))
        await asyncio.sleep(state.get("seconds", 0))
        log.note(Line("end", thread, os.getpid(), time.monotonic()))
        return {}

    async with store_of(place.folder, place.dsn) as saver:
        _log_claims(saver, log)
        graph = StateGraph(State).add_node("hold", hold).add_edge(START, "hold").compile()
        app = App({"hold": graph}, saver)
        app.queue(QUEUE, concurrency=limits.concurrency, per_key=limits.per_key, rate=limits.rate)
        yield app


def _log_claims(saver: Any, log: QueueLog) -> None:
    claim = saver.queues.claim

    async def noted(*arguments: Any) -> QueueClaims:
        found: QueueClaims = await claim(*arguments)
        at = time.monotonic()
        log.note(*(Line("claim", each.thread, os.getpid(), at, each.now) for each in found.claims))
        return found

    saver.queues.claim = noted


def work_in_queue(job: WorkerJob, limits: QueueLimits) -> None:
    """Execute runs until SIGTERM, then drain."""
    live(job.place, _work(job, limits))


async def _work(job: WorkerJob, limits: QueueLimits) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with (
        queue_app_at(job.place, limits) as app,
        app.worker(concurrency=job.concurrency, lease=job.lease, grace=job.grace, max_crashes=job.max_crashes),
    ):
        await stop.wait()
