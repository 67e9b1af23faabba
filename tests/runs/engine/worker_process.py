"""What a process of a test does: it executes runs until SIGTERM, or until it is killed."""

import asyncio
import multiprocessing
import os
import signal
import threading
import traceback
import warnings
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import msgspec

from durable_graph.errors import DurableGraphError
from durable_graph.runs import App, worker
from tests.crash.engine.stores import store_of
from tests.runs.engine.graphs import graphs_of

NEVER = 3600.0
"""In seconds: the pause between two polls of a process that notices have to wake."""


class Place(msgspec.Struct, frozen=True):
    """Where the runs are stored: in a file in the folder, or on the server of the DSN. The ledger is in the folder."""

    folder: Path
    dsn: str = ""

    @property
    def failures(self) -> Path:
        """The file with the errors that processes did not handle."""
        return self.folder / "failures"


class WorkerJob(msgspec.Struct, frozen=True):
    """A process with a worker. The fields are as for `App.worker`."""

    place: Place
    lease: float = 2.0
    concurrency: int = 100
    grace: float = 10.0
    max_crashes: int = 5


@asynccontextmanager
async def app_at(place: Place) -> AsyncIterator[App]:
    """An app of this process."""
    async with store_of(place.folder, place.dsn) as saver:
        yield App(graphs_of(place.folder), saver)


def work(job: WorkerJob) -> None:
    """Execute runs until SIGTERM, then drain."""
    live(job.place, _work(job))


def work_when_woken(job: WorkerJob) -> None:
    """As `work`, but the worker claims runs only when a notice wakes it."""
    with patch.multiple(worker, _FIRST_LOOK=NEVER, _LONGEST_LOOK=NEVER):
        work(job)


async def _work(job: WorkerJob) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with (
        app_at(job.place) as app,
        app.worker(concurrency=job.concurrency, lease=job.lease, grace=job.grace, max_crashes=job.max_crashes),
    ):
        await stop.wait()


def invoke(place: Place, graph: str, thread: str) -> None:
    """Call the graph as a program without workers does, and write the name of its error to the file `outcome`."""
    live(place, _invoke(place, graph, thread))


async def _invoke(place: Place, graph: str, thread: str) -> None:
    outcome = ""
    async with app_at(place) as app:
        try:
            await app.graph(graph).ainvoke({}, thread_id=thread)
        except DurableGraphError as error:
            outcome = type(error).__name__
    note_outcome(place, "outcome", outcome)


def note_outcome(place: Place, name: str, text: str) -> None:
    """Write what became of a process to a file of this name."""
    (place.folder / name).write_text(text)


def _end_with_tests() -> None:
    """End this process when the tests have ended without killing it."""
    tests = multiprocessing.parent_process()
    if tests is not None:
        tests.join()
        os._exit(1)


def live(place: Place, main: Coroutine[Any, Any, None]) -> None:
    """Run the coroutine as a process of its own does. An error that is not handled is appended to `failures`."""
    threading.Thread(target=_end_with_tests, daemon=True).start()
    warnings.simplefilter("error")

    def note(text: str) -> None:
        with place.failures.open("a") as file:
            file.write(text)

    def unhandled(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        lines = [] if error is None else traceback.format_exception(error)
        note("\n".join([context["message"], *lines]))

    async def handled() -> None:
        asyncio.get_running_loop().set_exception_handler(unhandled)
        await main

    try:
        asyncio.run(handled())
    except BaseException:
        note(traceback.format_exc())
        raise
