"""A claimed run while a worker executes it."""

import asyncio

from durable_graph._runtime.events.run_log import RunLog
from durable_graph._runtime.request.owned_run import OwnedRun
from durable_graph.checkpointing.fresh_threads import loaded_by
from durable_graph.run_records import NEVER, Claim
from durable_graph.runs.grouped_reads import GroupedReads
from durable_graph.runs.lease import Lease, LeasedControl


class Execution:
    """A claimed run while this worker executes it under a lease. `is_cancelled`: a caller has cancelled the run."""

    __slots__ = ("claim", "control", "deadline", "is_cancelled", "lease", "log", "owned", "task")

    def __init__(self, claim: Claim, lease: Lease, reads: GroupedReads, log: RunLog | None) -> None:
        self.claim: Claim = claim
        self.lease: Lease = lease
        self.control: LeasedControl = LeasedControl(lease)
        self.owned: OwnedRun = OwnedRun(
            claim.seq,
            claim.first_checkpoint == 0,
            claim.inbox,
            claim.inbox,
            claimed_at=claim.now,
            lease=lease,
            found=loaded_by(claim),
            reads=reads,
            log=log,
        )
        self.owned.from_checkpoint = claim.from_checkpoint
        self.log: RunLog | None = log
        self.is_cancelled: bool = False
        self.task: asyncio.Task[None] | None = None
        self.deadline: float | None = None
        if claim.deadline != NEVER:
            self.deadline = (claim.deadline - claim.now) / 1_000_000
