"""The graphs that a piece of user code runs in tasks of its own: they end with it, or would write behind its back."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from durable_graph._runtime.cancellation import finish


class _Run(msgspec.Struct, eq=False):
    """`within` is the task that makes it. `is_read`: somebody reads its events, and may have stopped doing so."""

    within: "asyncio.Task[object] | None"
    over: "asyncio.Future[None]"
    is_read: bool


class AtWork:
    """Nested runs that were begun and are not over."""

    def __init__(self) -> None:
        self._runs: list[_Run] = []

    @contextmanager
    def begin(self, *, is_read: bool) -> Iterator[None]:
        """Inside of it a run is at work."""
        run = _Run(asyncio.current_task(), asyncio.get_running_loop().create_future(), is_read)
        self._runs.append(run)
        try:
            yield
        finally:
            self._runs.remove(run)
            run.over.set_result(None)

    async def wait(self) -> None:
        """Until all are over. Those whose events somebody reads are cancelled: who left off reading holds them up."""
        while left := self._here():
            for run in left:
                if run.is_read:
                    _cancel(run)
            await asyncio.wait([run.over for run in left])

    async def end(self, grace: float) -> None:
        """Cancel all of them, and wait until they are over: if cancelled meanwhile, for so many seconds more."""
        if self._here():
            await finish(self._ended(), grace)

    async def _ended(self) -> None:
        while left := self._here():
            for run in left:
                _cancel(run)
            await asyncio.wait([run.over for run in left])

    def _here(self) -> list[_Run]:
        # A plain function in its thread may have run one in a loop of its own, which nothing can stop from here.
        here = asyncio.get_running_loop()
        return [run for run in self._runs if run.over.get_loop() is here]


def _cancel(run: _Run) -> None:
    if run.within is not None:
        run.within.cancel()
