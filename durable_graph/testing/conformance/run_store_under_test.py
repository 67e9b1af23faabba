"""The common part of the clauses of a store of runs: the hooks that a backend implements, and functions with
assertions. Times are in microseconds."""

import os
from typing import Any

import msgspec

from durable_graph.checkpointing import Checkpointer
from durable_graph.checkpointing.digests import origin_of
from durable_graph.checkpointing.rules import drawn_incarnation
from durable_graph.checkpointing.run_store import KeepsRuns, RunStore
from durable_graph.records import Committed, CommitUnit, Saved, Status, Summary, ThreadRow, WritesBatch
from durable_graph.run_records import Claim, NewRun, NewWorker, RunRow, RunState, RunUpdate, Settlement, Swept
from durable_graph.testing.conformance.saver_under_test import SaverUnderTest
from durable_graph.testing.rows import Step, Writer

SECOND = 1_000_000
HOUR = 3600 * SECOND
QUEUE = "queue"


class RunStoreUnderTest(SaverUnderTest):
    """The hooks. A backend has to implement `open`, `open_another` and `block`."""

    async def open_another(self, saver: Checkpointer) -> Checkpointer:
        """Another saver on the store of `saver`, as another process has it."""
        raise NotImplementedError

    async def block(self, saver: Checkpointer, thread: str, seq: int) -> None:
        """Make the run BLOCKED by a change of its row alone, as no call of the store does."""
        raise NotImplementedError

    def move_clock(self, saver: Checkpointer, by: int) -> None:
        """Move the clocks of the saver's runs, by `by` microseconds."""
        runs = runs_of(saver)
        runs.skew += by
        runs.lease_skew += by

    async def crash(self, saver: Checkpointer, worker: int = 1, most: int = 100) -> tuple[Claim, Swept]:
        """A worker claims a run, and its lease ends without a heartbeat. Returns the claim and the result of the sweep,
        which quarantines a run with `most` crashes."""
        claim = await claim_one(saver, worker)
        return claim, await self.lose(saver, most)

    async def lose(self, saver: Checkpointer, most: int = 100) -> Swept:
        """The leases of all workers end. Returns the result of the sweep."""
        self.move_clock(saver, 2 * HOUR)
        return await runs_of(saver).sweep(most)


def runs_of(saver: Checkpointer) -> RunStore:
    """The saver's store of runs."""
    assert isinstance(saver, KeepsRuns), f"{saver} keeps no runs"
    return saver.runs


def new_run(thread: str, **fields: Any) -> NewRun:
    """A run to accept. Its token, epoch and incarnation are random."""
    incarnation = drawn_incarnation()
    run = NewRun(
        thread=thread,
        graph="graph",
        queue=QUEUE,
        input=b"input",
        input_digest=b"digest of input",
        options=b"options",
        incarnation=incarnation,
        origin=origin_of(thread, incarnation),
        epoch=drawn_incarnation(),
        token=os.urandom(16),
    )
    return msgspec.structs.replace(run, **fields)


async def accept(saver: Checkpointer, thread: str = "thread", **fields: Any) -> int:
    """Accept a run, assert that it is new, and return its number."""
    accepted = await runs_of(saver).accept(new_run(thread, **fields))
    assert accepted.is_new, accepted
    return accepted.seq


async def claims(saver: Checkpointer, worker: int = 1, *queues: str, most: int = 10) -> list[Claim]:
    """The claims of a worker with a lease of one hour."""
    await runs_of(saver).register(NewWorker(worker, HOUR, f"worker {worker}"))
    return await runs_of(saver).claim(worker, queues or (QUEUE,), most)


async def claimed(saver: Checkpointer, worker: int = 1, *queues: str, most: int = 10) -> list[str]:
    """The threads of the claims of a worker."""
    return [claim.thread for claim in await claims(saver, worker, *queues, most=most)]


async def claim_one(saver: Checkpointer, worker: int = 1) -> Claim:
    """The claim of the only run that is due."""
    found = await claims(saver, worker)
    assert len(found) == 1, found
    return found[0]


async def run_at(saver: Checkpointer, seq: int, thread: str = "thread") -> RunRow:
    """The run, which exists."""
    found = await runs_of(saver).find_run(thread, seq)
    assert found is not None, f"thread {thread!r} has no run {seq}"
    return found


async def state_at(saver: Checkpointer, seq: int, thread: str = "thread") -> RunState:
    """The state of the run, which exists."""
    return (await run_at(saver, seq, thread)).state


async def thread_row(saver: Checkpointer, thread: str = "thread") -> ThreadRow:
    """The row of the thread, which exists."""
    found = await saver.load(thread)
    assert found is not None, f"thread {thread!r} is not there"
    return found.thread


async def writer_of(saver: Checkpointer, thread: str = "thread") -> Writer:
    """A writer that has read the thread, such as the holder of its run, or the sender of an answer."""
    found = await saver.load(thread)
    assert found is not None, f"thread {thread!r} is not there"
    return Writer.at(found, os.urandom(16))


def unit_with(writer: Writer, run: RunUpdate, *, status: Status = "running", node: str = "") -> CommitUnit:
    """A commit that changes a run. `node` is pending afterwards."""
    summary = Summary("graph", next=(node,) if node else ())
    return msgspec.structs.replace(writer.unit(Step({"count": b"1"}), status=status), run=run, summary=summary)


async def commit_with(
    saver: Checkpointer, writer: Writer, run: RunUpdate, *, status: Status = "running", node: str = ""
) -> CommitUnit:
    """Commit a change of a run, and assert that the commit succeeds."""
    unit = unit_with(writer, run, status=status, node=node)
    answer = await saver.commit(unit)
    assert isinstance(answer, Committed), answer
    writer.applied(unit, answer.base)
    return unit


async def save_with(saver: Checkpointer, writer: Writer, run: RunUpdate, status: Status) -> None:
    """Save a change of a run without records, and assert that this succeeds."""
    batch = msgspec.structs.replace(writer.batch(status=status), run=run)
    saved = await saver.save_writes(batch)
    assert isinstance(saved, Saved), saved


async def send(saver: Checkpointer, thread: str = "thread") -> WritesBatch:
    """Save a batch that wakes the thread's run, as an answer does, and assert that this succeeds."""
    batch = msgspec.structs.replace((await writer_of(saver, thread)).batch(), wakes_run=True)
    saved = await saver.save_writes(batch)
    assert isinstance(saved, Saved), saved
    return batch


async def wait(saver: Checkpointer, *, time_limit: int = 0, **fields: Any) -> tuple[int, Claim]:
    """Accept a run, claim it, and make it wait. Returns its number and the claim. `fields` are those of the update."""
    seq = await accept(saver, time_limit=time_limit)
    claim = await claim_one(saver)
    update = msgspec.structs.replace(RunUpdate(seq, RunState.WAITING, first_checkpoint=1, checkpoint=1), **fields)
    await commit_with(saver, await writer_of(saver), update, status="interrupted")
    return seq, claim


def end_of(claim: Claim, worker: int, state: RunState, **fields: Any) -> Settlement:
    """The settlement of a claimed run."""
    settlement = Settlement(claim.thread, claim.seq, worker, claim.attempt, state)
    return msgspec.structs.replace(settlement, **fields)
