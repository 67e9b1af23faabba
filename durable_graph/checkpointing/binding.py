"""Whose a saver is: one process's and one event loop's, those of its first use."""

import asyncio
import os

from durable_graph.errors import CheckpointerClosedError, CheckpointerForkedError, CheckpointerLoopError


class Binding:
    """Refuses the uses of a saver that would share its connection with another process or loop."""

    __slots__ = ("_loop", "_pid", "_saver", "closed")

    def __init__(self, saver: str) -> None:
        self._saver = saver
        self._pid: int | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.closed: bool = False

    def check(self) -> None:
        """Bind to the running loop and this process, or find that it is theirs.

        Raises:
            CheckpointerClosedError: the saver was closed.
            CheckpointerForkedError: it was first used by a parent process.
            CheckpointerLoopError: it was first used in another event loop.
        """
        self.check_place()
        if self.closed:
            raise CheckpointerClosedError(self._saver)

    def check_place(self) -> None:
        """As `check`, for a call that may also come after closing."""
        # The process first: asyncio knows no running loop in a child, even where one was running at the fork.
        if self._pid is None:
            self._pid, self._loop = os.getpid(), asyncio.get_running_loop()
        if self._pid != os.getpid():
            raise CheckpointerForkedError(self._saver)
        if self._loop is not asyncio.get_running_loop():
            raise CheckpointerLoopError(self._saver)
