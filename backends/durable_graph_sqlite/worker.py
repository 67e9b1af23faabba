"""A thread that runs functions one after the other, for callers in any event loop."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, TypeVar

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

    async def call(self, function: Callable[[], T]) -> T:
        """What the function returns, or raises."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()

        def run() -> bool:
            outcome: Callable[[], None]
            try:
                result = function()
            except BaseException as error:
                outcome = _unless_done(answer, answer.set_exception, error)
            else:
                outcome = _unless_done(answer, answer.set_result, result)
            # Nobody is left to hear the answer in a loop that was closed.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(outcome)
            return True

        self._functions.put(run)
        return await answer

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


def _unless_done(answer: "asyncio.Future[Any]", settle: Callable[[Any], None], outcome: Any) -> Callable[[], None]:
    def settled() -> None:
        if not answer.done():
            settle(outcome)

    return settled
