"""The graphs that a piece of user code runs in tasks of its own: they end with it, or would write behind its back."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec


class _Run(msgspec.Struct, eq=False):
    """`within` is the task that makes it. `is_read`: somebody reads its events, and may have stopped doing so."""

    within: "asyncio.Task[object] | None"
    over: "asyncio.Future[None]"
    is_read: bool


class ChildRuns:
    """Nested runs that were begun and are not over."""

    def __init__(self) -> None:
        self._runs: list[_Run] = []
        self._is_stopped = False
        self._is_closed = False

    @contextmanager
    def begin(self, *, is_read: bool) -> Iterator[None]:
        """A child run is pending while this is open. Raises `CancelledError` after `close`."""
        if self._is_closed:
            raise asyncio.CancelledError
        run = _Run(asyncio.current_task(), asyncio.get_running_loop().create_future(), is_read)
        self._runs.append(run)
        try:
            yield
        finally:
            self._runs.remove(run)
            run.over.set_result(None)

    def stop(self) -> None:
        """Have `join` cancel the pending child runs, and those that still begin."""
        self._is_stopped = True

    def close(self) -> None:
        """None may begin any more. A stream's run begins a little later than the stream: its node may have ended."""
        self._is_closed = True

    @property
    def pending(self) -> bool:
        """Whether child runs are pending."""
        return bool(self._runs)

    async def join(self) -> None:
        """Wait until all child runs have finished. A child run with a reader is cancelled: the reader may have left."""
        while left := list(self._runs):
            for run in left:
                if run.within is not None and (self._is_stopped or run.is_read):
                    run.within.cancel()
            await asyncio.wait([run.over for run in left])
