"""The history of threads whose runs never end: workers keep only the newest checkpoints."""

import logging
from collections.abc import Callable, Coroutine
from typing import Any

from durable_graph.checkpointing import Checkpointer
from durable_graph.errors import DurableGraphError

_logger = logging.getLogger("durable_graph")


class BoundedHistory:
    """Removes the older checkpoints of the threads whose runs a worker executes.

    `keep` is the number of the newest checkpoints that stay (None: those of running graphs all stay). `begin` starts a
    background task of the worker.
    """

    def __init__(
        self, saver: Checkpointer, keep: int | None, begin: Callable[[Coroutine[Any, Any, None]], None]
    ) -> None:
        self._saver, self._keep, self._begin = saver, keep, begin

    def of(self, thread: str, version: int) -> "ThreadHistory | None":
        """The history of a thread that has this version. None if nothing is removed while the run executes."""
        return None if self._keep is None else ThreadHistory(self, thread, version, self._keep)

    def prune(self, thread: str, keep: int | None = None) -> None:
        """Remove the older checkpoints of the thread, in the background."""
        self._begin(self._prune(thread, keep or self._keep or 1))

    async def _prune(self, thread: str, keep: int) -> None:
        try:
            await self._saver.prune(thread, keep_last=keep)
        except DurableGraphError as error:
            # The next call removes them.
            _logger.warning("the older checkpoints of thread %r are not removed: %s", thread, error)


class ThreadHistory:
    """The checkpoints of one thread, as its run adds to them: see `History`."""

    __slots__ = ("_history", "_keep", "_last", "_thread")

    def __init__(self, history: BoundedHistory, thread: str, version: int, keep: int) -> None:
        self._history, self._thread, self._last, self._keep = history, thread, version, keep

    def grows(self, no: int) -> None:
        """The checkpoint `no` is about to be stored. Once in `keep` checkpoints, the older ones are removed.

        The numbers of checkpoints continue over executions of the run, and so does the count.
        """
        if no // self._keep != self._last // self._keep:
            self._history.prune(self._thread)
        self._last = no
