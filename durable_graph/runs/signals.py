"""What the parts of one `App` tell each other inside this process. Other processes look at the store."""

import asyncio
from dataclasses import dataclass, field
from functools import partial


@dataclass(slots=True, eq=False)
class Changes:
    """The workers to nudge when a run becomes ready, and the callers that wait for a change of a run."""

    workers: set[asyncio.Event] = field(default_factory=set)
    waiting: "dict[tuple[str, int], list[asyncio.Future[None]]]" = field(default_factory=dict)

    def is_ready(self) -> None:
        """A run is ready to be claimed."""
        for worker in self.workers:
            worker.set()

    def change_of(self, thread: str, seq: int) -> "asyncio.Future[None]":
        """A future that is set at the next change of the run by this process. Cancelling it forgets it."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting.setdefault((thread, seq), []).append(future)
        future.add_done_callback(partial(self._forget, (thread, seq)))
        return future

    def _forget(self, run: tuple[str, int], future: "asyncio.Future[None]") -> None:
        futures = self.waiting.get(run)
        if futures is not None and future in futures:
            futures.remove(future)
            if not futures:
                del self.waiting[run]

    def has_changed(self, thread: str, seq: int) -> None:
        """The run has ended, or is suspended."""
        for future in self.waiting.pop((thread, seq), ()):
            if not future.done():
                future.set_result(None)
