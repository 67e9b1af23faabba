"""Whether what a saver handed out is what was stored: checked before anything of it is decoded."""

from collections.abc import Iterable, Mapping

from durable_graph.checkpointing.digests import (
    checkpoint_digest,
    record_digest,
    state_digest,
    value_digest,
    writes_digest,
)
from durable_graph.errors import CorruptCheckpointError
from durable_graph.records import (
    CheckpointRow,
    HistoryPage,
    StoredCheckpoint,
    TaskRecord,
    ThreadRow,
    ValueRow,
    checkpoint_id,
)

Place = tuple[str, int]
"""A value row's channel and number."""

_UNREADABLE = "its bytes do not match its digest"


def verify(stored: StoredCheckpoint) -> None:
    """Check every row of a loaded checkpoint, and that none is missing. Raises `CorruptCheckpointError`, naming it."""
    thread, checkpoint = stored.thread, stored.checkpoint
    if checkpoint is None:
        return
    rows = _checked_values(thread, checkpoint.ns, stored.values)
    _check_checkpoint(thread, checkpoint, rows, _last_rows(stored.values), set())
    _check_records(thread, stored.records)
    if stored.writes_digest not in (None, writes_digest(stored.records)):
        raise _corrupt(thread, checkpoint.no, "the set of its task records", "one is missing or one too many")


def verify_page(page: HistoryPage) -> None:
    """Check every row of a page, and that none is missing: nor a checkpoint that another one was made from.

    Raises `CorruptCheckpointError`, naming the row.
    """
    thread = page.thread
    ns = page.checkpoints[0].ns if page.checkpoints else ""
    rows = _checked_values(thread, ns, page.values)
    last_rows: dict[int, dict[str, int]] = {0: {}}
    for no, base in page.bases.items():
        rows.update(_checked_values(thread, ns, base))
        last_rows[no] = _last_rows(base)
    written: dict[int, dict[str, int]] = {}
    for row in page.values:
        written.setdefault(row.no, {})[row.channel] = row.no
    whole: set[Place] = set()
    # A parent is older than what was made from it, so it has been seen.
    for checkpoint in reversed(page.checkpoints):
        if checkpoint.parent not in last_rows:
            what = f"the row of checkpoint {checkpoint_id(checkpoint.parent)!r}"
            raise _corrupt(thread, checkpoint.no, what, "it is missing, and this checkpoint was made from it")
        last = {**last_rows[checkpoint.parent], **written.pop(checkpoint.no, {})}
        _check_checkpoint(thread, checkpoint, rows, last, whole)
        last_rows[checkpoint.no] = last
    for no in written:
        raise _corrupt(thread, no, "its row", "it is missing, and values of it are there")
    _check_records(thread, page.records)


def _check_checkpoint(
    thread: ThreadRow,
    checkpoint: CheckpointRow,
    rows: Mapping[Place, ValueRow],
    last: Mapping[str, int],
    whole: set[Place],
) -> None:
    """The checkpoint's own row, and those that its state is made of. `whole` has those whose chains are known to be."""
    if checkpoint_digest(thread.origin, checkpoint) != checkpoint.digest:
        raise _corrupt(thread, checkpoint.no, "its row", _UNREADABLE)
    for channel, newest in last.items():
        no, bound = newest, checkpoint.no + 1
        while no and (channel, no) not in whole:
            row = rows.get((channel, no))
            # Downwards only: a chain that leads back up would be walked for ever.
            if row is None or no >= bound:
                what = f"the value that checkpoint {checkpoint_id(no)!r} stored for channel {channel!r}"
                raise _corrupt(thread, checkpoint.no, what, "it is missing or in a wrong place")
            whole.add((channel, no))
            no, bound = row.prev, no
    if state_digest(rows[place] for place in last.items()) != checkpoint.state_digest:
        raise _corrupt(thread, checkpoint.no, "the set of its values", "one is missing, or is another checkpoint's")


def _checked_values(thread: ThreadRow, ns: str, values: Iterable[ValueRow]) -> dict[Place, ValueRow]:
    rows: dict[Place, ValueRow] = {}
    for row in values:
        if value_digest(thread.origin, ns, row) != row.digest:
            raise _corrupt(thread, row.no, f"the value of channel {row.channel!r}", _UNREADABLE)
        rows[row.channel, row.no] = row
    return rows


def _last_rows(rows: Iterable[ValueRow]) -> dict[str, int]:
    last: dict[str, int] = {}
    for row in rows:
        last[row.channel] = max(row.no, last.get(row.channel, 0))
    return last


def _check_records(thread: ThreadRow, records: Iterable[TaskRecord]) -> None:
    for record in records:
        if record_digest(thread.origin, record) != record.digest:
            raise _corrupt(thread, record.born, f"the record of its task {record.ord}", _UNREADABLE)


def _corrupt(thread: ThreadRow, no: int, row: str, why: str) -> CorruptCheckpointError:
    return CorruptCheckpointError(thread.thread, row=row, why=why, checkpoint_id=checkpoint_id(no))
