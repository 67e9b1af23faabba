"""Wakes a waiting thread: at the call of another thread and, on Linux, after a write to a file (inotify)."""

import ctypes
import math
import os
import select
import struct
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Protocol

_IN_MODIFY, _IN_IGNORED = 0x2, 0x8000
_EVENT = struct.Struct("iIII")
"""The head of an event: the watch, its mask, a cookie, and the size of the name that follows."""
_MANY = 64 * 1024


class Waker(Protocol):
    """Any thread calls `wake`. The other methods are for the thread that waits."""

    @property
    def sees_writes(self) -> bool:
        """Whether `wait` ends after a write to the watched file."""
        ...

    def wake(self) -> None:
        """End the present `wait`, or the next one."""
        ...

    def watch(self, path: Path) -> None:
        """Watch a file. It may be missing, and the system may not be able to: then `sees_writes` stays False."""
        ...

    def forget_writes(self) -> None:
        """Do not end the next `wait` for a write of before now."""
        ...

    def wait(self, seconds: float, *, for_writes: bool = False) -> bool:
        """Wait so many seconds, or until the thread is woken or the watched file is written: then True."""
        ...

    def close(self) -> None:
        """Close its descriptors. Later calls of `wake` do nothing."""
        ...


def new_waker() -> Waker:
    """The best one that the system has."""
    if sys.platform == "linux":
        # Without a free descriptor, or with more users of inotify than the system allows, the file is polled.
        with suppress(OSError):
            return InotifyWaker()
    return EventWaker()


class EventWaker:
    """Sees no writes."""

    sees_writes = False

    def __init__(self) -> None:
        self._event = threading.Event()

    def wake(self) -> None:
        """See `Waker.wake`."""
        self._event.set()

    def watch(self, path: Path) -> None:
        """See `Waker.watch`."""

    def forget_writes(self) -> None:
        """See `Waker.forget_writes`."""

    def wait(self, seconds: float, *, for_writes: bool = False) -> bool:
        """See `Waker.wait`."""
        is_woken = self._event.wait(seconds)
        self._event.clear()
        return is_woken

    def close(self) -> None:
        """See `Waker.close`."""


class InotifyWaker:
    """Sees the writes of all processes of the machine. A write to a mapped page is none: SQLite maps no log."""

    def __init__(self) -> None:
        """Raises `OSError`."""
        self.sees_writes: bool = False
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._lock = threading.Lock()
        self._is_woken = self._is_closed = False
        self._writes: int = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._writes < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1 failed")
        try:
            self._calls = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        except OSError:
            os.close(self._writes)
            raise
        self._either, self._call = select.poll(), select.poll()
        self._either.register(self._writes, select.POLLIN)
        for poll in (self._either, self._call):
            poll.register(self._calls, select.POLLIN)

    def wake(self) -> None:
        """See `Waker.wake`."""
        if self._is_woken:
            return
        with self._lock:
            # A closed descriptor may be another file's by now.
            if not self._is_closed:
                self._is_woken = True
                os.eventfd_write(self._calls, 1)

    def watch(self, path: Path) -> None:
        """See `Waker.watch`."""
        watched = self._libc.inotify_add_watch(self._writes, os.fsencode(path), _IN_MODIFY)
        self.sees_writes = watched >= 0

    def forget_writes(self) -> None:
        """See `Waker.forget_writes`."""
        found = b""
        with suppress(BlockingIOError):
            found = os.read(self._writes, _MANY)
        at = 0
        while at < len(found):
            _, mask, _, size = _EVENT.unpack_from(found, at)
            if mask & _IN_IGNORED:
                # The file was removed.
                self.sees_writes = False
            at += _EVENT.size + size

    def wait(self, seconds: float, *, for_writes: bool = False) -> bool:
        """See `Waker.wait`."""
        found = (self._either if for_writes else self._call).poll(math.ceil(seconds * 1000))
        if self._is_woken:
            with self._lock:
                os.eventfd_read(self._calls)
                self._is_woken = False
        return bool(found)

    def close(self) -> None:
        """See `Waker.close`."""
        with self._lock:
            self._is_closed = True
            os.close(self._calls)
            os.close(self._writes)
