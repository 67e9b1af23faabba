"""A run with a key on a thread that exists: whether the thread refuses it, and the thread's row that accepts it."""

from typing import NamedTuple

from durable_graph.checkpointing.columns import THREAD_WIDTH, Columns, signed, thread_from
from durable_graph.checkpointing.digests import add, request_digest
from durable_graph.checkpointing.rules import accepted_thread
from durable_graph.checkpointing.run_rules import is_of_another_graph, next_seq
from durable_graph.records import RequestRow, StoredThread, Sums
from durable_graph.run_records import Accepted, NewRun, RunState


class Base(NamedTuple):
    """The thread's row, and the number of its last run: a statement accepts the run if both are as they were read."""

    thread: StoredThread
    last_seq: int


def answer_of(run: NewRun, columns: Columns) -> Accepted | Base | None:
    """The answer to the run if the thread has one, or else the base for it; None for a deleted thread. See
    `run_transactions.accept`. Raises `CorruptCheckpointError` for a damaged row."""
    stored = thread_from(run.thread, columns[:THREAD_WIDTH])
    last_seq, own_seq, own_state, seq, digest, state = columns[THREAD_WIDTH:]
    if stored.row.status == "deleted":
        return None
    if own_seq is not None:
        # An earlier attempt of this call was applied, and its reply was lost.
        return Accepted(own_seq, is_new=True, state=RunState(own_state), input_digest=run.input_digest)
    if is_of_another_graph(run, stored.row.graph):
        return Accepted(0, is_new=False, state=RunState.READY, stored_graph=stored.row.graph)
    if seq is not None:
        known = RunState.DONE if state is None else RunState(state)
        return Accepted(seq, is_new=False, state=known, input_digest=digest)
    return Base(stored, last_seq)


def thread_after(run: NewRun, base: Base | None, at: int) -> tuple[StoredThread, RequestRow | None]:
    """The row of the run's thread with its request: of a thread that is new, or of this one."""
    if run.key is None:
        return signed(accepted_thread(run, None, at), Sums(), 0), None
    row, sums = (accepted_thread(run, None, at), Sums()) if base is None else (base.thread.row, base.thread.sums)
    # The digest of a request covers the run's number, so that it is assigned here.
    seq = at if base is None else next_seq(base.last_seq, at)
    unsigned = RequestRow(run.key, run.input_digest, seq, 0, at, b"")
    request = RequestRow(run.key, run.input_digest, seq, 0, at, request_digest(row.origin, unsigned))
    return signed(row, Sums(sums.writes, sums.branches, add(sums.requests, request.digest)), 0), request
