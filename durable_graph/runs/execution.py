"""A claimed run while a worker executes it."""

import asyncio

from durable_graph._runtime.events.run_log import RunLog
from durable_graph._runtime.request.owned_run import OwnedRun
from durable_graph.checkpointing.fresh_threads import loaded_by
from durable_graph.checkpointing.run_rules import DEADLINE_PASSED
from durable_graph.errors.shown import shown
from durable_graph.run_records import NEVER, Claim, RequestOfRun, RunState, Settlement
from durable_graph.runs.grouped_reads import GroupedReads
from durable_graph.runs.lease import Lease, LeasedControl
from durable_graph.runs.operations import for_row


class Execution:
    """A claimed run while this worker executes it under a lease. `is_cancelled`: a caller has cancelled the run.
    `is_stopping`: the worker is carrying out a request to cancel it. `key` is the thread, the run and the claim: a run
    may be claimed again before the task of the claim before has ended. `cancels_children`: the children of the run are
    cancelled once it is."""

    __slots__ = (
        *("cancels_children", "claim", "control", "deadline", "is_cancelled", "is_stopping", "key", "lease", "log"),
        *("owned", "task"),
    )

    def __init__(self, claim: Claim, lease: Lease, reads: GroupedReads, log: RunLog | None, children: object) -> None:
        self.claim: Claim = claim
        self.key: tuple[str, int, int] = claim.thread, claim.seq, claim.attempt
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
        self.owned.has_parent = claim.parent_key != 0
        self.owned.children = children
        self.owned.has_updates = claim.request == RequestOfRun.APPLY_UPDATES
        self.log: RunLog | None = log
        self.is_cancelled: bool = False
        self.cancels_children: bool = False
        self.is_stopping: bool = False
        self.task: asyncio.Task[None] | None = None
        self.deadline: float | None = None
        if claim.deadline != NEVER:
            self.deadline = (claim.deadline - claim.now) / 1_000_000

    def settlement(self, state: RunState, *, error: str | None = None, delay: int = 0, due: int = NEVER) -> Settlement:
        """The end or suspension of the run that no commit carries."""
        claim, worker = self.claim, self.lease.worker
        return Settlement(claim.thread, claim.seq, worker, claim.attempt, state, due, self.owned.inbox, error, delay)

    def cancelled(self) -> Settlement:
        """The end of the run that a caller has cancelled."""
        self.cancels_children = True
        return self.settlement(RunState.CANCELLED, error="cancelled by a caller")


def text_of(error: Exception, deadline: asyncio.Timeout) -> str:
    """The text of the error that ended a run, as the run's row holds it."""
    if isinstance(error, TimeoutError) and deadline.expired():
        return DEADLINE_PASSED
    return for_row(shown(error))
