"""Starting the child, watching what it has recorded, and killing it."""

import asyncio
import os
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

from durable_graph import CompiledGraph
from examples.kill_demo.graph import Analysis
from examples.kill_demo.run import Run

LOOK_EVERY_SECONDS = 0.005
ENOUGH_RECORDED = 0.4


class Progress(NamedTuple):
    """How many of the superstep's tasks the store has recorded, of how many."""

    recorded: int
    planned: int

    @property
    def is_midway(self) -> bool:
        """Enough is recorded, and not everything."""
        return 0 < self.recorded < self.planned and self.recorded >= ENOUGH_RECORDED * self.planned


class ChildFailedError(Exception):
    """A process of the demo ended by itself with an error. Its own words are in the message."""


@asynccontextmanager
async def child(run: Run) -> AsyncIterator[Process]:
    """A process that runs the thread to its end, or goes on with it. It does not outlive the block."""
    command = [sys.executable, "-m", "examples.kill_demo.child", str(run.output), run.thread, str(run.folder)]
    # It imports what this process can import, wherever that was started.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path or "." for path in sys.path)}
    with run.log.open("ab") as log:
        process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=log, stderr=log)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def watch(
    process: Process,
    graph: CompiledGraph[Analysis],
    run: Run,
    *,
    until: Callable[[Progress], bool],
    show: Callable[[Progress], None],
) -> bool:
    """Look into the store until it shows what is waited for, or the process has ended. Whether it was seen.

    Raises `ChildFailedError`.
    """
    planned = 0
    while process.returncode is None:
        progress = await _look(graph, run)
        show(progress)
        if until(progress):
            return True
        planned = max(planned, progress.planned)
        await asyncio.sleep(LOOK_EVERY_SECONDS)
    if process.returncode != 0:
        raise ChildFailedError(f"process {process.pid} ended with {process.returncode}:\n{run.log.read_text()}")
    show(Progress(planned, planned))
    return False


async def _look(graph: CompiledGraph[Analysis], run: Run) -> Progress:
    tasks = (await graph.aget_state(thread_id=run.thread)).tasks
    analyses = [task for task in tasks if task.name == "analyse"]
    return Progress(sum(task.result is not None for task in analyses), len(analyses))
