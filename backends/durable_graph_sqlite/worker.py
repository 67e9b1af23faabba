"""A thread that runs functions one after the other, for callers in any event loop."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import TypeVar

from durable_graph.checkpointing import CommitHandle

T = TypeVar("T")


class Worker:
    """Runs each function that it is given, in order, whatever becomes of its caller: a cancelled call still runs, and
    so does one whose event loop was closed meanwhile.
    """

    def __init__(self, name: str) -> None:
        self.is_ended: bool = False
        self._functions: SimpleQueue[Callable[[], bool]] = SimpleQueue()
        # A daemon: a program that forgot to close its saver must still be able to end.
        threading.Thread(target=_work, args=(self._functions,), name=name, daemon=True).start()

    def begin(self, function: Callable[[], T]) -> CommitHandle[T]:
        """Run the function. The handle ends, in the running event loop, with what it returns or raises."""
        loop = asyncio.get_running_loop()
        handle: CommitHandle[T] = CommitHandle()

        def run() -> bool:
            end: Callable[[], None]
            try:
                result = function()
            except BaseException as error:
                end = partial(handle.set_error, error)
            else:
                end = partial(handle.set_result, result)
            # Nobody is left to hear of it in a loop that was closed.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(end)
            return True

        self._functions.put(run)
        return handle

    def end(self, last: Callable[[], object]) -> None:
        """Run a last function, and let the thread end. To be called once."""
        self.is_ended = True

        def run() -> bool:
            last()
            return False

        self._functions.put(run)


def _work(functions: "SimpleQueue[Callable[[], bool]]") -> None:
    # A function that was run is let go of at once: it may hold large values.
    while functions.get()():
        pass
