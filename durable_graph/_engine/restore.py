"""From verified rows back to values. `restore(commit(x)) == x`."""

from collections.abc import Container, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from durable_graph._engine.header import Header, decode_header, decode_plan, decode_result
from durable_graph._engine.rows import Stored, chain_to, chains_of, channel_rows, mark_of, read_delta, updates_in
from durable_graph._engine.state import State, initial_state
from durable_graph._engine.task import Finished, Outcome, Task, Unreadable
from durable_graph.channels import MISSING
from durable_graph.checkpointing.digests import EMPTY_STATE
from durable_graph.errors import ChannelChangedError, DecodeError, StalePlanError, StaleResultError
from durable_graph.graph import DEFERRED, END, START, Topology
from durable_graph.graph.schema import INTERNAL_PREFIX
from durable_graph.records import CheckpointRow, HistoryPage, StoredCheckpoint, TaskRecord, ValueKind, ValueRow


class Restored(msgspec.Struct, frozen=True):
    """A checkpoint as values. `recorded` has the outcomes that its tasks already came to, by their key.

    `unknown` are the state's channels that have a value stored, and that this graph does not have, or does not store.
    """

    state: State
    stored: Stored
    header: Header
    recorded: dict[tuple[int, int], Outcome]
    row: CheckpointRow
    unknown: tuple[str, ...] = ()


def restore(topology: Topology, found: StoredCheckpoint) -> Restored | None:
    """What `load` found, or None where the thread has no checkpoint.

    Raises:
        ChannelChangedError: a stored value does not fit the channel's type or rule any more.
        DecodeError: a header or a record that this version cannot read.
    """
    if found.checkpoint is None:
        return None
    chains = chains_of(found.values)
    return _restored(topology, found.thread.origin, found.checkpoint, chains, found.records, {})


def restore_page(topology: Topology, page: HistoryPage, skipped: Container[int] = ()) -> Iterator[Restored]:
    """The checkpoints of a page, in its order, without the `skipped` ones, whose rows may be damaged.

    A value that several of them have is decoded once.
    """
    rows, last_rows = rows_in(page)
    decoded: dict[tuple[str, int], Any] = {}
    for checkpoint in page.checkpoints:
        if checkpoint.no in skipped:
            continue
        chains = {channel: chain_to(rows, channel, no) for channel, no in last_rows[checkpoint.no].items()}
        records = [record for record in page.records if checkpoint.born <= record.born <= checkpoint.no]
        yield _restored(topology, page.thread.origin, checkpoint, chains, records, decoded)


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
    # A parent is older than what was made from it, so it has been seen.
    for checkpoint in reversed(page.checkpoints):
        last_rows[checkpoint.no] = {**last_rows.get(checkpoint.parent, {}), **written.get(checkpoint.no, {})}
    return rows, last_rows


def _restored(
    topology: Topology,
    origin: bytes,
    checkpoint: CheckpointRow,
    chains: Mapping[str, tuple[ValueRow, ...]],
    records: Iterable[TaskRecord],
    decoded: dict[tuple[str, int], Any],
) -> Restored:
    header = decode_header(checkpoint.header)
    plan = decode_plan(topology, header.plan, checkpoint.no)
    values = _values(topology, chains, decoded)
    state = State(no=checkpoint.no, step=header.step, values=values, plan=plan)
    channels = {channel: channel_rows(chain) for channel, chain in chains.items()}
    stored = Stored(origin, checkpoint.ns, channels, checkpoint.state_digest)
    unknown = tuple(sorted(channel for channel in _left_out(topology, chains)))
    return Restored(state, stored, header, recorded_outcomes(topology, plan, records), checkpoint, unknown)


def _left_out(topology: Topology, chains: Mapping[str, tuple[ValueRow, ...]]) -> Iterator[str]:
    for channel, chain in chains.items():
        is_internal = channel.startswith(INTERNAL_PREFIX)
        if channel not in topology.codecs and not is_internal and chain[-1].kind != ValueKind.ABSENT:
            yield channel


def nothing_stored(origin: bytes, ns: str) -> Stored:
    """What the store holds of a namespace before its first commit."""
    return Stored(origin, ns, {}, EMPTY_STATE)


def recorded_outcomes(
    topology: Topology, plan: tuple[Task, ...], records: Iterable[TaskRecord]
) -> dict[tuple[int, int], Outcome]:
    """The outcomes that were recorded for the tasks of `plan`."""
    tasks = {task.key: task for task in plan}
    return {
        task.key: _outcome(topology, task, record)
        for record in records
        if (task := tasks.get((record.born, record.ord))) is not None
    }


def _outcome(topology: Topology, task: Task, record: TaskRecord) -> Outcome:
    try:
        return decode_result(topology, task, record.rank, record.revision, record.value)
    except DecodeError as error:
        # The thread can be read all the same, and the result be left behind.
        return Unreadable(task, str(error), record.revision)


def check_plan(
    topology: Topology, thread: str, state: State, recorded: Mapping[tuple[int, int], Outcome] = MappingProxyType({})
) -> None:
    """Whether the graph can go on from here, with what is recorded.

    Raises:
        StalePlanError: what is to run, or what finished tasks or waiting deferred nodes lead to, names a node that
            the graph does not have.
        StaleResultError: a task's record cannot be read.
    """
    where = f"thread {thread!r} was stopped before a node that this graph does not have:"
    finished = (outcome for outcome in recorded.values() if isinstance(outcome, Finished))
    led_to = (route.node for outcome in finished for route in outcome.routes)
    for node in (*(task.node for task in state.plan), *led_to, *state.values.get(DEFERRED, ())):
        if node not in (START, END) and node not in topology.nodes:
            raise StalePlanError(node, where=where, known=topology.nodes)
    check_results(thread, recorded.values())


def check_results(thread: str, outcomes: Iterable[Outcome]) -> None:
    """Raises `StaleResultError` for the first that cannot be read."""
    for outcome in outcomes:
        if isinstance(outcome, Unreadable):
            raise StaleResultError(thread, outcome.task.node, why=outcome.why)


def _values(
    topology: Topology, chains: Mapping[str, tuple[ValueRow, ...]], decoded: dict[tuple[str, int], Any]
) -> dict[str, Any]:
    # A channel that the graph gained since starts as in a new thread; one that it lost stays in the store, unread.
    values = dict(initial_state(topology).values)
    for channel, chain in chains.items():
        if channel not in topology.codecs:
            continue
        place = channel, chain[-1].no
        if place not in decoded:
            decoded[place] = _value(topology, channel, chain)
        value = decoded[place]
        if value is MISSING:
            values.pop(channel, None)
        else:
            values[channel] = value
    return values


def _value(topology: Topology, channel: str, chain: tuple[ValueRow, ...]) -> Any:
    codec = topology.codecs[channel]
    rule = topology.channels.get(channel)
    value = rule.initial() if rule is not None else MISSING
    updates: list[Any] = []
    try:
        for row in chain:
            match row.kind:
                case ValueKind.FULL:
                    value = codec.value.decode(row.value)
                case ValueKind.ABSENT:
                    value = MISSING
                case ValueKind.DELTA if rule is not None and rule.stores_updates and mark_of(row) != rule.mark:
                    raise ChannelChangedError(channel, why="it was stored as updates that another rule merges")
                case ValueKind.DELTA:
                    updates.extend(codec.update.decode(data) for data in updates_in(read_delta(row)[1]))
    except DecodeError as error:
        raise ChannelChangedError(channel, why=error.why) from error
    if not updates:
        return value
    if rule is None or not rule.stores_updates:
        raise ChannelChangedError(
            channel, why="it was stored as updates to merge, and its rule no longer merges them so"
        )
    return rule.merge(value, updates)
