"""A worker that measures its process: memory, descriptors, threads, asyncio tasks and Python objects."""

import asyncio
import gc
import os
import signal
import threading
import time
from pathlib import Path

import msgspec

from tests.runs.engine.worker_process import WorkerJob, app_at, live

PAGE = os.sysconf("SC_PAGE_SIZE")


class Sample(msgspec.Struct, frozen=True):
    """The measures of a process at the monotonic time `at`. `memory` is resident, in bytes."""

    at: float
    memory: int
    descriptors: int
    threads: int
    tasks: int
    objects: int

    @classmethod
    def taken(cls) -> "Sample":
        """A sample of this process, after a garbage collection."""
        gc.collect()
        memory = int(Path("/proc/self/statm").read_text("ascii").split()[1]) * PAGE
        descriptors = sum(1 for _ in Path("/proc/self/fd").iterdir())
        tasks = len(asyncio.all_tasks())
        return cls(time.monotonic(), memory, descriptors, threading.active_count(), tasks, len(gc.get_objects()))


def samples_of(path: Path) -> list[Sample]:
    """The samples that a process has written so far."""
    lines = path.read_bytes().splitlines() if path.exists() else []
    return [msgspec.json.decode(line, type=Sample) for line in lines]


def work_observed(job: WorkerJob, path: Path, every: float) -> None:
    """Execute runs until SIGTERM, then drain. Append a sample to the file every few seconds."""
    live(job.place, _work(job, path, every))


async def _work(job: WorkerJob, path: Path, every: float) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with app_at(job.place) as app, app.worker(concurrency=job.concurrency, lease=job.lease):
        with path.open("ab", buffering=0) as file:
            while not stop.is_set():
                file.write(msgspec.json.encode(Sample.taken()) + b"\n")
                try:
                    async with asyncio.timeout(every):
                        await stop.wait()
                except TimeoutError:
                    continue
