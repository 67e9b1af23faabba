"""The owner of a saver: one process, and one event loop at a time."""

import asyncio
import os
import threading

from durable_graph.errors import CheckpointerMisuseError


class Binding:
    """Refuses calls that would share a saver's connection with another process or another live event loop.

    The saver belongs to the process and to the event loop that use it first. If that loop is closed, the next loop that
    uses the saver becomes its owner. With `any_loop` the saver has no owning loop.
    """

    __slots__ = ("_any_loop", "_lock", "_loop", "_pid", "_saver", "closed")

    def __init__(self, saver: str, *, any_loop: bool = False) -> None:
        self._saver = saver
        self._any_loop = any_loop
        self._lock = threading.Lock()
        self._pid: int | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.closed: bool = False

    def check(self) -> None:
        """Bind to this process and the running loop, unless the saver belongs to them already.

        Raises:
            CheckpointerMisuseError: the saver was closed, a parent process used it first, or it belongs to another
                event loop, which is not closed.
        """
        if (
            self._pid == os.getpid()
            and (self._any_loop or self._loop is asyncio.get_running_loop())
            and not self.closed
        ):
            # As usual. Each commit comes here, so the checks below are not called.
            return
        self.check_place()
        if self.closed:
            raise CheckpointerMisuseError(self._saver, kind="closed")

    def check_place(self) -> None:
        """As `check`, for a call that may also come after closing."""
        # Check the process first: a child has no running loop, even if a loop was running at the fork, and
        # `get_running_loop` would raise another error.
        if self._pid is None:
            self._pid = os.getpid()
        if self.is_of_another_process():
            raise CheckpointerMisuseError(self._saver, kind="forked")
        if self._any_loop:
            return
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._take_over(loop)

    def is_of_another_process(self) -> bool:
        """Whether a parent process used the saver first. Only the parent may close the connections that it opened."""
        return self._pid is not None and self._pid != os.getpid()

    def _take_over(self, loop: asyncio.AbstractEventLoop) -> None:
        # Two threads with a loop each may call at the same time: one of them becomes the owner.
        with self._lock:
            if self._loop is not None and self._loop is not loop and not self._loop.is_closed():
                raise CheckpointerMisuseError(self._saver, kind="loop")
            self._loop = loop
