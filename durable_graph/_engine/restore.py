"""Decoding verified rows to values: `restore(commit(x)) == x`."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from durable_graph._engine.header import (
    BEYOND,
    RECORD_COST,
    DecodedHeader,
    check_parts,
    decode_header,
    decode_plan,
    decode_result,
)
from durable_graph._engine.state import State, initial_state
from durable_graph._engine.task import Finished, Outcome, Task, Unreadable
from durable_graph._engine.values import PageValues, Values, check_stored_size, former_mark
from durable_graph.channels import MISSING
from durable_graph.checkpointing.chains import Stored, chain_to, chains_of, channel_rows
from durable_graph.checkpointing.digests import EMPTY_STATE
from durable_graph.checkpointing.pieces import Pace, Pieces
from durable_graph.errors import DecodeError, GraphChangedError
from durable_graph.graph import DEFERRED, END, START, Topology
from durable_graph.graph.schema import INTERNAL_PREFIX
from durable_graph.records import CheckpointRow, HistoryPage, StoredCheckpoint, TaskRecord, ValueKind, ValueRow


class Restored(msgspec.Struct, frozen=True):
    """A checkpoint as values. `recorded` has the recorded outcomes of its tasks, by their key.

    `unknown` are channels with a stored value that this graph does not have, or does not store.
    """

    state: State
    stored: Stored
    header: DecodedHeader
    recorded: dict[tuple[int, int], Outcome]
    row: CheckpointRow
    unknown: tuple[str, ...] = ()


def restore(topology: Topology, found: StoredCheckpoint, max_value_bytes: int) -> Pieces[Restored | None]:
    """The decoded checkpoint that `load` found, or None if the thread has no checkpoint.

    Raises:
        GraphChangedError: a stored value does not fit the channel's type or rule any more.
        DecodeError: a header, a record or a row that this version cannot read.
        ValueTooLargeError: a stored value above the limit, which is not decoded.
    """
    if found.checkpoint is None:
        return None
    for row in found.values:
        # The limit also holds for channels that the graph does not have: a saver need not read rows above it.
        if row.kind == ValueKind.FULL:
            check_stored_size(f"channel {row.channel!r}", len(row.value), max_value_bytes)
    values = Values(topology, max_value_bytes)
    header = decode_header(found.checkpoint.header)
    chains = chains_of(found.values)
    return (yield from _restored(values, found.thread.origin, found.checkpoint, header, chains, found.records))


class Page:
    """The checkpoints of a verified page, as values. Rows that several of them share are decoded once."""

    def __init__(self, topology: Topology, page: HistoryPage, max_value_bytes: int) -> None:
        self._page = page
        self._rows, self._last_rows = rows_in(page)
        self._records = sorted(page.records, key=_born)
        oldest = page.checkpoints[-1].no if page.checkpoints else 0
        self.values: PageValues = PageValues(topology, max_value_bytes, oldest)

    def restore(self, checkpoint: CheckpointRow, header: DecodedHeader) -> Pieces[Restored]:
        """A checkpoint of the page, whose rows must not be damaged. Raises as `restore` does."""
        last_rows = self._last_rows[checkpoint.no]
        chains = {channel: chain_to(self._rows, channel, no) for channel, no in last_rows.items()}
        first = bisect_left(self._records, checkpoint.born, key=_born)
        records = self._records[first : bisect_right(self._records, checkpoint.no, key=_born)]
        origin = self._page.thread.origin
        return (yield from _restored(self.values, origin, checkpoint, header, chains, records))


def _born(record: TaskRecord) -> int:
    return record.born


Rows = Mapping[tuple[str, int], ValueRow]
"""Rows by channel and number."""


def rows_in(page: HistoryPage) -> tuple[Rows, dict[int, dict[str, int]]]:
    """Every row of a page, and for each of its checkpoints the number of each channel's last row."""
    rows = {(row.channel, row.no): row for base in page.bases.values() for row in base}
    rows.update(((row.channel, row.no), row) for row in page.values)
    written: dict[int, dict[str, int]] = {}
    for row in page.values:
        written.setdefault(row.no, {})[row.channel] = row.no
    last_rows: dict[int, dict[str, int]] = {}
    for no, base in page.bases.items():
        last: dict[str, int] = {}
        for row in base:
            last[row.channel] = max(row.no, last.get(row.channel, 0))
        last_rows[no] = last
    # A parent is older than its children, so the loop has passed it.
    for checkpoint in reversed(page.checkpoints):
        last_rows[checkpoint.no] = {**last_rows.get(checkpoint.parent, {}), **written.get(checkpoint.no, {})}
    return rows, last_rows


def _restored(
    values: Values,
    origin: bytes,
    checkpoint: CheckpointRow,
    header: DecodedHeader,
    chains: Mapping[str, tuple[ValueRow, ...]],
    records: Iterable[TaskRecord],
) -> Pieces[Restored]:
    topology = values.topology
    plan = yield from decode_plan(topology, header.plan, checkpoint.no, values.max_value_bytes)
    merged = yield from _values(values, chains)
    state = State(no=checkpoint.no, step=header.step, values=merged, plan=plan)
    channels = {
        channel: channel_rows(chain, is_foreign=former_mark(topology.channels.get(channel), chain) is not None)
        for channel, chain in chains.items()
    }
    stored = Stored(origin, checkpoint.ns, channels, checkpoint.state_digest)
    unknown = tuple(sorted(channel for channel in _left_out(topology, chains)))
    outcomes = yield from recorded_outcomes(topology, plan, records, values.max_value_bytes)
    return Restored(state, stored, header, outcomes, checkpoint, unknown)


def _left_out(topology: Topology, chains: Mapping[str, tuple[ValueRow, ...]]) -> Iterator[str]:
    for channel, chain in chains.items():
        is_internal = channel.startswith(INTERNAL_PREFIX)
        if channel not in topology.codecs and not is_internal and chain[-1].kind != ValueKind.ABSENT:
            yield channel


def nothing_stored(origin: bytes, ns: str) -> Stored:
    """The stored rows of a namespace before its first commit: none."""
    return Stored(origin, ns, {}, EMPTY_STATE)


def recorded_outcomes(
    topology: Topology, plan: tuple[Task, ...], records: Iterable[TaskRecord], max_value_bytes: int
) -> Pieces[dict[tuple[int, int], Outcome]]:
    """The recorded outcomes of the tasks of `plan`. Raises `ValueTooLargeError`."""
    pace = Pace()
    tasks = {task.key: task for task in plan}
    outcomes: dict[tuple[int, int], Outcome] = {}
    for record in records:
        task = tasks.get((record.born, record.ord))
        if task is None:
            continue
        outcomes[task.key] = _outcome(topology, task, record, max_value_bytes)
        if pace.is_due(RECORD_COST + len(record.value)):
            yield
    return outcomes


def _outcome(topology: Topology, task: Task, record: TaskRecord, max_value_bytes: int) -> Outcome:
    if not 0 <= record.revision < BEYOND:
        # A record with a higher revision, which could replace it, would not fit into 64 bits.
        raise DecodeError(f"the record of task {record.ord} of checkpoint {record.born}", "its revision is not valid")
    try:
        if len(record.value) > max_value_bytes:
            check_parts(record.value, max_value_bytes)
        return decode_result(topology, task, record.rank, record.revision, record.value)
    except DecodeError as error:
        # The thread stays readable, and new input can supersede the result.
        return Unreadable(task, str(error), record.revision)


def check_plan(
    topology: Topology, thread: str, state: State, recorded: Mapping[tuple[int, int], Outcome] = MappingProxyType({})
) -> None:
    """Check that the graph can resume from this state and these outcomes.

    Raises:
        GraphChangedError: a planned task, a route of a finished task or a waiting deferred node names a node that the
            graph does not have, or a task's record cannot be read.
    """
    why = f"thread {thread!r} is to run next a node that this graph does not have:"
    finished = (outcome for outcome in recorded.values() if isinstance(outcome, Finished))
    routed = (route.node for outcome in finished for route in outcome.routes)
    for node in (*(task.node for task in state.plan), *routed, *state.values.get(DEFERRED, ())):
        if node not in (START, END) and node not in topology.nodes:
            raise GraphChangedError.of_plan(node, why=why, known=topology.nodes, thread_id=thread)
    check_results(thread, recorded.values())


def check_results(thread: str, outcomes: Iterable[Outcome]) -> None:
    """Raises `GraphChangedError` for the first unreadable outcome."""
    for outcome in outcomes:
        if isinstance(outcome, Unreadable):
            raise GraphChangedError.of_result(thread, outcome.task.node, why=outcome.why)


def _values(values: Values, chains: Mapping[str, tuple[ValueRow, ...]]) -> Pieces[dict[str, Any]]:
    # A channel added to the graph later starts as in a new thread. The rows of a removed channel stay in the store, and
    # are not decoded.
    merged = dict(initial_state(values.topology).values)
    for channel, chain in chains.items():
        if channel not in values.topology.codecs:
            continue
        value = yield from values.of(channel, chain)
        if value is MISSING:
            merged.pop(channel, None)
        else:
            merged[channel] = value
    return merged
