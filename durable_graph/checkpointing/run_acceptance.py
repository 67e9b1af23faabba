"""A run that is accepted and claimed in one transaction, free of I/O."""

from collections.abc import Mapping
from typing import Any

import msgspec

from durable_graph.checkpointing.columns import key_of
from durable_graph.checkpointing.fresh_threads import claim_from
from durable_graph.checkpointing.queries import Query
from durable_graph.checkpointing.run_transactions import Clock, accept
from durable_graph.checkpointing.transactions import Transaction, WriteResult
from durable_graph.run_records import Accepted, Claim, NewRun, RunState


def accept_and_claim(
    run: NewRun, worker: int, epoch: int, lease: Mapping[str, Any], clock: Clock
) -> Transaction[tuple[Accepted, Claim | None]]:
    """Record a run, and claim it if the worker could claim it now. See `RunStore.accept_and_claim`.

    `epoch` is random, `lease` has the parameters of the time of leases, and `clock` the time.
    """
    accepted = (yield from accept(run, clock)).result
    is_due = accepted.is_new and accepted.state is RunState.READY and not run.delay
    # A queue with limits has claims of its own.
    is_due = is_due and not run.limit_key
    # A run that was accepted by an earlier attempt of this call is ready, too: it may have been claimed since.
    if not is_due or not (yield Query("is_worker_alive", {**lease, "worker": worker})):
        return WriteResult((accepted, None))
    key = key_of(run.thread)
    ((version, writes, *fresh),) = yield Query("fence_thread", {"thread_key": key, "epoch": epoch})
    sought = {"thread_key": key, "seq": accepted.seq, "worker": worker, "version": version, "writes": writes}
    (columns,) = yield Query("claim_run", sought)
    claim = claim_from((*columns[:-2], epoch, version, clock.now, *columns[-2:], *fresh))
    return WriteResult((msgspec.structs.replace(accepted, state=RunState.RUNNING), claim))
