"""Stores of runs with one bug each in accepting and claiming a run in one call."""

import asyncio

import msgspec

from durable_graph.checkpointing import rules
from durable_graph.checkpointing.fresh_threads import fresh_thread
from durable_graph.checkpointing.memory_rows import ThreadRows
from durable_graph.run_records import Accepted, Claim, NewRun, RunState
from tests.checkpointing.planted_runs import PlantedRuns

replace = msgspec.structs.replace


class AcceptsOnly(PlantedRuns):
    async def accept_and_claim(self, run: NewRun, worker: int) -> tuple[Accepted, Claim | None]:
        return await self.accept(run), None


class LeavesTheRunReady(PlantedRuns):
    async def accept_and_claim(self, run: NewRun, worker: int) -> tuple[Accepted, Claim | None]:
        accepted, claim = await super().accept_and_claim(run, worker)
        if claim is not None:
            self.change(run.thread, claim.seq, state=RunState.READY)
        return accepted, claim


class ForgetsTheWorker(PlantedRuns):
    async def accept_and_claim(self, run: NewRun, worker: int) -> tuple[Accepted, Claim | None]:
        accepted, claim = await super().accept_and_claim(run, worker)
        if claim is not None:
            self.change(run.thread, claim.seq, worker=0)
        return accepted, claim


class ForgetsTheVersion(PlantedRuns):
    async def accept_and_claim(self, run: NewRun, worker: int) -> tuple[Accepted, Claim | None]:
        accepted, claim = await super().accept_and_claim(run, worker)
        if claim is not None:
            self.change(run.thread, claim.seq, claimed_version=0)
        return accepted, claim


class FencesNobody(PlantedRuns):
    async def accept_and_claim(self, run: NewRun, worker: int) -> tuple[Accepted, Claim | None]:
        before = self.thread(run.thread)
        epoch = None if before is None else before.row.epoch
        accepted, claim = await super().accept_and_claim(run, worker)
        after = self.thread(run.thread)
        if after is not None and epoch is not None and claim is not None:
            after.row = replace(after.row, epoch=epoch)
            claim = replace(claim, epoch=epoch)
        return accepted, claim


class TellsTheRowOfItsOwn(PlantedRuns):
    """Claims have the row that a new thread would have."""

    async def accept_and_claim(self, run: NewRun, worker: int) -> tuple[Accepted, Claim | None]:
        accepted, claim = await super().accept_and_claim(run, worker)
        if claim is None:
            return accepted, None
        row = rules.accepted_thread(run, None, claim.now)
        return accepted, replace(claim, fresh=fresh_thread(ThreadRows(row).signed))


class FencesByRefusedRuns(PlantedRuns):
    async def accept_and_claim(self, run: NewRun, worker: int) -> tuple[Accepted, Claim | None]:
        accepted, claim = await super().accept_and_claim(run, worker)
        stored = self.thread(run.thread)
        if stored is not None and claim is None:
            stored.row = replace(stored.row, epoch=run.epoch)
        return accepted, claim


class ClaimsForTheDead(PlantedRuns):
    def _is_alive(self, worker: int) -> bool:
        return True


class ClaimsBeforeTheTime(PlantedRuns):
    async def accept_and_claim(self, run: NewRun, worker: int) -> tuple[Accepted, Claim | None]:
        return await super().accept_and_claim(replace(run, delay=0), worker)


class ClaimsAgain(PlantedRuns):
    async def accept_and_claim(self, run: NewRun, worker: int) -> tuple[Accepted, Claim | None]:
        stored = self.thread(run.thread)
        for known in [] if stored is None else stored.runs.by_seq.values():
            if known.token == run.token:
                self.change(run.thread, known.row.seq, state=RunState.READY, worker=0)
        return await super().accept_and_claim(run, worker)


class ClaimsTheBlocked(PlantedRuns):
    async def accept_and_claim(self, run: NewRun, worker: int) -> tuple[Accepted, Claim | None]:
        before = self.thread(run.thread)
        is_busy = before is not None and before.runs.first() is not None
        await asyncio.sleep(0)
        accepted, claim = await super().accept_and_claim(run, worker)
        if accepted.state is RunState.BLOCKED and not is_busy:
            self.change(run.thread, accepted.seq, state=RunState.READY)
            accepted = replace(accepted, state=RunState.READY)
        return accepted, claim
