"""Checking that rows from a saver are as they were stored, before any of them is decoded."""

from collections.abc import Iterable, Mapping

from durable_graph.checkpointing.digests import (
    EMPTY_STATE,
    add,
    checkpoint_digest,
    record_digest,
    request_digest,
    state_digest,
    value_digest,
    value_digested,
    writes_digest,
)
from durable_graph.checkpointing.pieces import PIECE_BYTES, Pace, Pieces, at_once
from durable_graph.errors import CorruptCheckpointError
from durable_graph.records import (
    CheckpointRow,
    HistoryPage,
    RequestRow,
    StoredCheckpoint,
    StoredRecords,
    StoredRequests,
    TaskRecord,
    ThreadRow,
    ValueRow,
    checkpoint_id,
)

Place = tuple[str, int]
"""A value row's channel and number."""

_UNREADABLE = "its bytes do not match its digest"

_STEP_COST = 128
"""The fixed cost of checking one row, as a number of bytes."""


def verify(stored: StoredCheckpoint) -> None:
    """Check every row of a loaded checkpoint, and that no row is missing. Raises `CorruptCheckpointError`, which names
    the row."""
    at_once(verified(stored))


def verified(stored: StoredCheckpoint) -> Pieces[None]:
    """`verify`, in pieces."""
    thread, checkpoint = stored.thread, stored.checkpoint
    if checkpoint is None:
        return
    pace = Pace()
    rows = _Rows(thread, checkpoint.ns)
    yield from rows.add(stored.values, pace)
    # A damaged row is an error even if no chain of the state includes it.
    rows.refuse_unreadable()
    rows.check(checkpoint, _last_rows(stored.values))
    for record in stored.records:
        _check_record(thread, record)
        if pace.is_due(_STEP_COST + len(record.value)):
            yield
    if stored.writes_digest not in (None, writes_digest((*stored.records, *stored.nested))):
        what = "the set of its task records, with those of nested tasks and calls"
        raise _corrupt(thread, checkpoint.no, what, "one is missing or one is too many")


def verify_page(page: HistoryPage) -> None:
    """Check every row of a page, and that no row is missing, including the parents of its checkpoints.

    Raises `CorruptCheckpointError`, which names the row.
    """
    found = damaged(page)
    if found:
        raise found[max(found)]


def damaged(page: HistoryPage) -> dict[int, CorruptCheckpointError]:
    """The damage in a page, by the number of the checkpoint. All other checkpoints of the page are as stored."""
    return at_once(damage_found(page))


def damage_found(page: HistoryPage) -> Pieces[dict[int, CorruptCheckpointError]]:
    """`damaged`, in pieces."""
    pace = Pace()
    rows = _Rows(page.thread, page.checkpoints[0].ns if page.checkpoints else "")
    yield from rows.add(page.values, pace)
    last_rows: dict[int, dict[str, int]] = {0: {}}
    for no, base in page.bases.items():
        yield from rows.add(base, pace)
        last_rows[no] = _last_rows(base)
    written: dict[int, dict[str, int]] = {}
    for row in page.values:
        written.setdefault(row.no, {})[row.channel] = row.no
    found: dict[int, CorruptCheckpointError] = {}
    # A parent is older than its children, so the loop has passed it.
    for checkpoint in reversed(page.checkpoints):
        before = last_rows.get(checkpoint.parent)
        last = {**(before or {}), **written.pop(checkpoint.no, {})}
        last_rows[checkpoint.no] = last
        try:
            if before is None:
                what = f"the row of checkpoint {checkpoint_id(checkpoint.parent)!r}"
                raise _corrupt(page.thread, checkpoint.no, what, "it is missing, and this checkpoint was made from it")
            rows.check(checkpoint, last)
        except CorruptCheckpointError as error:
            found[checkpoint.no] = error
        if pace.is_due(_STEP_COST * len(last) + len(checkpoint.header)):
            yield
    for no in written:
        found[no] = _corrupt(page.thread, no, "its row", "it is missing, and its values exist")
    _check_head(page, found)
    found.update((yield from _damaged_records(page, pace)))
    return found


def refuse_damage_since(no: int, found: Mapping[int, CorruptCheckpointError]) -> None:
    """Raise the newest damage of a page, unless it is older than checkpoint `no`."""
    newest = max(found, default=0)
    if newest >= no and found:
        raise found[newest]


def _check_head(page: HistoryPage, found: dict[int, CorruptCheckpointError]) -> None:
    """Add an error to `found` if the thread's head, or one of its task records, is missing from the head's page."""
    head, numbers = page.thread.head, [row.no for row in page.checkpoints]
    is_due = page.ns == "" and head and page.before != 0 and (page.before is None or page.before > head)
    if is_due and head not in numbers and (not page.older or numbers[-1] < head):
        found[head] = _corrupt(page.thread, head, "its row", "it is missing, and it is the thread's newest one")
    if page.writes_digest not in (None, writes_digest(page.head_records)):
        what = "the set of its task records, with those of nested tasks and calls"
        found.setdefault(head, _corrupt(page.thread, head, what, "one is missing or one is too many"))


def _damaged_records(page: HistoryPage, pace: Pace) -> Pieces[dict[int, CorruptCheckpointError]]:
    found: dict[int, CorruptCheckpointError] = {}
    for record in page.records:
        try:
            _check_record(page.thread, record)
        except CorruptCheckpointError as error:
            found[record.born] = error
        if pace.is_due(_STEP_COST + len(record.value)):
            yield
    return found


def verify_records(found: StoredRecords) -> tuple[TaskRecord, ...]:
    """The records, after checking that each is as it was stored. Raises `CorruptCheckpointError`.

    A missing record is not detected here, but in `verify` after a load of the root's head.
    """
    return at_once(verified_records(found))


def verified_records(found: StoredRecords) -> Pieces[tuple[TaskRecord, ...]]:
    """`verify_records`, in pieces."""
    pace = Pace()
    for record in found.records:
        _check_record(found.thread, record)
        if pace.is_due(_STEP_COST + len(record.value)):
            yield
    return found.records


def verify_record(thread: str, origin: bytes, record: TaskRecord) -> None:
    """Check that a record is as it was stored. `origin` is the thread's. Raises `CorruptCheckpointError`."""
    if record_digest(origin, record) != record.digest:
        where = f" in namespace {record.ns!r}" if record.ns else ""
        row = f"the record of its task {record.ord}{where}"
        raise CorruptCheckpointError(thread, row=row, why=_UNREADABLE, checkpoint_id=checkpoint_id(record.born))


def verify_request(found: StoredRequests) -> RequestRow | None:
    """The request, after checking that it is as it was stored; None after checking that no request is missing. Raises
    `CorruptCheckpointError`."""
    request = found.request
    if request is not None:
        if request_digest(found.origin, request) != request.digest:
            raise CorruptCheckpointError(found.thread, row=f"the request {request.key!r}", why=_UNREADABLE)
    elif add(EMPTY_STATE, *found.digests) != found.requests_digest:
        raise CorruptCheckpointError(found.thread, row="the set of its requests", why="one is missing or damaged")
    return request


class _Rows:
    """The value rows that were read, and the rows whose chains have been found complete."""

    def __init__(self, thread: ThreadRow, ns: str) -> None:
        self._thread = thread
        self._ns = ns
        self._rows: dict[Place, ValueRow] = {}
        self._unreadable: dict[Place, CorruptCheckpointError] = {}
        self._whole: set[Place] = set()

    def add(self, values: Iterable[ValueRow], pace: Pace) -> Pieces[None]:
        for row in values:
            place = row.channel, row.no
            self._rows[place] = row
            if (yield from self._digest(row)) != row.digest:
                what = f"the value of channel {row.channel!r}"
                self._unreadable[place] = _corrupt(self._thread, row.no, what, _UNREADABLE)
            if pace.is_due(_STEP_COST + len(row.value)):
                yield

    def _digest(self, row: ValueRow) -> Pieces[bytes]:
        if len(row.value) <= PIECE_BYTES:
            return value_digest(self._thread.origin, self._ns, row)
        return (yield from value_digested(self._thread.origin, self._ns, row))

    def refuse_unreadable(self) -> None:
        for error in self._unreadable.values():
            raise error

    def check(self, checkpoint: CheckpointRow, last: Mapping[str, int]) -> None:
        """Check the checkpoint's own row, and the rows of its state."""
        if checkpoint_digest(self._thread.origin, checkpoint) != checkpoint.digest:
            raise _corrupt(self._thread, checkpoint.no, "its row", _UNREADABLE)
        for channel, newest in last.items():
            self._check_chain(checkpoint, channel, newest)
        if state_digest(self._rows[place] for place in last.items()) != checkpoint.state_digest:
            why = "one is missing, or is another checkpoint's"
            raise _corrupt(self._thread, checkpoint.no, "the set of its values", why)

    def _check_chain(self, checkpoint: CheckpointRow, channel: str, newest: int) -> None:
        no, bound = newest, checkpoint.no + 1
        walked: list[Place] = []
        while no and (channel, no) not in self._whole:
            place = channel, no
            row = self._rows.get(place)
            # The numbers of a chain must decrease: otherwise a damaged chain could be walked for ever.
            if row is None or no >= bound:
                what = f"the value that checkpoint {checkpoint_id(no)!r} stored for channel {channel!r}"
                raise _corrupt(self._thread, checkpoint.no, what, "it is missing or in a wrong place")
            if place in self._unreadable:
                what = f"the value that checkpoint {checkpoint_id(no)!r} stored for channel {channel!r}"
                raise _corrupt(self._thread, checkpoint.no, what, _UNREADABLE)
            walked.append(place)
            no, bound = row.prev, no
        self._whole.update(walked)


def _last_rows(rows: Iterable[ValueRow]) -> dict[str, int]:
    last: dict[str, int] = {}
    for row in rows:
        last[row.channel] = max(row.no, last.get(row.channel, 0))
    return last


def _check_record(thread: ThreadRow, record: TaskRecord) -> None:
    verify_record(thread.thread, thread.origin, record)


def _corrupt(thread: ThreadRow, no: int, row: str, why: str) -> CorruptCheckpointError:
    return CorruptCheckpointError(thread.thread, row=row, why=why, checkpoint_id=checkpoint_id(no))
