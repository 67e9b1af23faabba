"""A worker as a process of its own, which SIGTERM and SIGINT drain."""

import asyncio
import logging
import signal
from types import FrameType

from durable_graph.runs import App

_SIGNALS = (signal.SIGTERM, signal.SIGINT)

_logger = logging.getLogger("durable_graph")


async def serve(app: App, *, concurrency: int, lease: float, grace: float, max_crashes: int) -> None:
    """Execute runs until a signal arrives; then drain the worker. A second signal ends the process at once."""
    loop, signalled = asyncio.get_running_loop(), asyncio.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        # Not `add_signal_handler`: its callbacks wait for the event loop, which a node may block.
        for each in _SIGNALS:
            signal.signal(each, signal.SIG_DFL)
        loop.call_soon_threadsafe(signalled.set)

    for each in _SIGNALS:
        signal.signal(each, stop)
    async with (
        app,
        app.worker(concurrency=concurrency, lease=lease, grace=grace, max_crashes=max_crashes) as worker,
    ):
        _logger.info("worker %d executes runs of: %s", worker.id, ", ".join(app.graphs))
        await signalled.wait()
        _logger.info("worker %d drains %d runs; a second signal ends it at once", worker.id, worker.running)
    _logger.info("the worker has stopped")
