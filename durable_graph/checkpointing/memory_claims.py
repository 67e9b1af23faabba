"""Claims of runs in memory: the changes of the rows of a run and of its thread."""

import msgspec

from durable_graph.checkpointing import rules, run_rules
from durable_graph.checkpointing.fresh_threads import fresh_thread
from durable_graph.checkpointing.memory_rows import ThreadRows
from durable_graph.run_records import Claim, RunRow


def has_moved(stored: ThreadRows, run: RunRow) -> bool:
    """Whether the run has progressed since its last claim or crash."""
    version, writes = run.claimed_version, stored.runs.by_seq[run.seq].claimed_writes
    return run_rules.has_moved(stored.row, version, writes)


def place(stored: ThreadRows, run: RunRow) -> None:
    """Replace the row of the run; from here on its progress is counted."""
    stored.runs.change(msgspec.structs.replace(run, claimed_version=stored.row.version))
    placed = msgspec.structs.replace(stored.runs.by_seq[run.seq], claimed_writes=stored.row.wseq)
    stored.runs.by_seq[run.seq] = placed


def claimed(stored: ThreadRows, run: RunRow, worker: int, now: int) -> Claim:
    """Claim the run for the worker."""
    row = stored.row = msgspec.structs.replace(stored.row, epoch=rules.drawn_incarnation())
    taken = run_rules.claimed(run, worker, has_moved=has_moved(stored, run))
    place(stored, taken)
    given = stored.runs.by_seq[run.seq]
    return Claim(
        thread=run.thread,
        seq=run.seq,
        graph=run.graph,
        input=given.input,
        options=given.options,
        context=given.context,
        first_checkpoint=run.first_checkpoint,
        checkpoint=run.checkpoint,
        deadline=run.deadline,
        attempt=taken.attempt,
        crashes=taken.crashes,
        inbox=run.inbox,
        request=run.request,
        from_checkpoint=run.from_checkpoint,
        epoch=row.epoch,
        version=row.version,
        now=now,
        followed=stored.runs.followed.get(run.seq, 0),
        parent_key=run.parent_key,
        fresh=fresh_thread(stored.signed) if row.version == 0 else None,
    )
