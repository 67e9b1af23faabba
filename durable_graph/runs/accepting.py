"""The runs that a worker accepts and claims in one call of the store: `App.run` in a process with a worker."""

import asyncio
from collections.abc import Callable

from durable_graph.checkpointing.run_store import RunStore
from durable_graph.run_records import Accepted, Claim, NewRun, RunState


class Accepting:
    """The acceptances of one worker that are under way. Each has one of its slots."""

    def __init__(self, runs: RunStore) -> None:
        self._runs = runs
        self._calls: set[asyncio.Task[Accepted]] = set()

    def __len__(self) -> int:
        return len(self._calls)

    async def wait(self) -> None:
        """Wait until none is under way."""
        while self._calls:
            await asyncio.wait(self._calls)

    async def accept(
        self, run: NewRun, worker: int, begin: Callable[[Claim], None], lose: Callable[[], None]
    ) -> Accepted:
        """Accept a run, claim it for the worker if that is possible now, and call `begin` with the claim.

        `lose` is called if the worker may hold a run whose claim had no reply. Cancelling the caller has no effect on
        the run.
        """

        async def call() -> Accepted:
            try:
                accepted, claim = await self._runs.accept_and_claim(run, worker)
            except BaseException:
                lose()
                raise
            if claim is not None:
                begin(claim)
            elif accepted.state is RunState.RUNNING:
                # An earlier attempt of this call had claimed it, and had no reply.
                lose()
            return accepted

        task = asyncio.get_running_loop().create_task(call())
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)
        return await asyncio.shield(task)
