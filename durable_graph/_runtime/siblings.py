"""What the tasks of a superstep that run side by side know of each other."""

import asyncio
from dataclasses import dataclass, field

from durable_graph._engine.task import Outcome
from durable_graph._runtime.unwinding import Draining


@dataclass(slots=True)
class Siblings:
    """The tasks of a superstep while they run. `left` have not come to anything yet.

    What stops them is not an error that leaves one of them: for that, Python 3.11 cancels the task that the group is
    in, which is the caller's, and does not take it back.
    """

    left: int
    gate: asyncio.Semaphore | None
    running: list[asyncio.Task[None]] = field(default_factory=list)
    raised: list[BaseException] = field(default_factory=list)
    finished: list[Outcome] = field(default_factory=list)
    drained: Draining | None = None
    is_recording: bool = False
    is_stopped: bool = False

    def stop(self) -> None:
        """Cancel those that still run, once all have begun: what fails at once is told of every one of them."""
        if not self.is_stopped:
            self.is_stopped = True
            asyncio.get_running_loop().call_soon(self._cancel)

    def _cancel(self) -> None:
        for task in self.running:
            task.cancel()
