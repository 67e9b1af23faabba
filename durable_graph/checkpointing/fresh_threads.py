"""Threads without a checkpoint, whose first run a worker has claimed: the claim has all of the thread's row."""

from durable_graph.checkpointing.columns import signed
from durable_graph.checkpointing.digests import origin_of
from durable_graph.records import StoredCheckpoint, StoredThread, Sums, ThreadRow
from durable_graph.run_records import Claim, FreshThread

_VERSION = Claim.__struct_fields__.index("version")


def fresh_thread(stored: StoredThread) -> FreshThread:
    """The parts of the row that its runs do not have."""
    row = stored.row
    return FreshThread(row.incarnation, row.created_at, stored.sums.requests, stored.digest)


def claim_from(columns: tuple[object, ...]) -> Claim:
    """The claim in the columns that a database returned: the fields of a claim, then those of a fresh thread."""
    *fields, incarnation, created_at, requests_digest, digest = columns
    if fields[_VERSION]:
        return Claim(*fields)  # type: ignore[arg-type]  # their types are those of the columns
    fresh = FreshThread(incarnation, created_at, requests_digest, digest)  # type: ignore[arg-type]  # as above
    return Claim(*fields, fresh=fresh)  # type: ignore[arg-type, misc]  # as above


def loaded_by(claim: Claim) -> StoredCheckpoint | None:
    """The thread of the claim as `Checkpointer.load` would return it. None if it has to be loaded.

    The row is computed as the acceptance of the thread's first run made it, and its digest is compared with the stored
    one: a row that was changed since then, or that is damaged, is loaded.
    """
    fresh = claim.fresh
    if fresh is None:
        return None
    row = ThreadRow(
        thread=claim.thread,
        incarnation=fresh.incarnation,
        origin=origin_of(claim.thread, fresh.incarnation),
        version=0,
        head=0,
        epoch=claim.epoch,
        wseq=0,
        gen=0,
        floor=0,
        status="running",
        status_since=fresh.created_at,
        commit_id=b"",
        graph=claim.graph,
        created_at=fresh.created_at,
        updated_at=fresh.created_at,
    )
    stored = signed(row, Sums(requests=fresh.requests_digest), 0)
    if stored.digest != fresh.digest:
        return None
    return StoredCheckpoint(row, None, base=stored, unfinished_run=claim.seq)
