"""A thread that runs functions one by one, for callers in any event loop."""

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
    """Runs functions in the order of their calls. A function also runs if its caller is cancelled, or if the caller's
    event loop is closed.
    """

    def __init__(self, name: str) -> None:
        self.is_ended: bool = False
        self._functions: SimpleQueue[Callable[[], None]] = SimpleQueue()
        # A daemon thread does not keep a program from ending that forgot to close its saver.
        threading.Thread(target=_work, args=(self._functions,), name=name, daemon=True).start()

    def begin(self, function: Callable[[], T]) -> CommitHandle[T]:
        """Run the function. The handle ends, in the running event loop, with what it returns or raises."""
        loop = asyncio.get_running_loop()
        handle: CommitHandle[T] = CommitHandle()

        def run() -> None:
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

        self.put(run)
        return handle

    def put(self, function: Callable[[], None]) -> None:
        """Run a function that reports its end itself. It may not raise."""
        self._functions.put(function)

    def end(self, last: Callable[[], object]) -> None:
        """Run a last function, then end the thread. To be called once."""
        self.is_ended = True

        def run() -> None:
            last()
            raise _Ended

        self._functions.put(run)


class _Ended(Exception):  # noqa: N818  # it is no error
    """The last function has run."""


def _work(functions: "SimpleQueue[Callable[[], None]]") -> None:
    # No variable keeps a finished function alive, because it may refer to large values.
    with suppress(_Ended):
        while True:
            functions.get()()
