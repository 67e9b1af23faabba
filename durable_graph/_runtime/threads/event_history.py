"""The events of a stored thread: those that its checkpoints imply, and those that are stored as rows.

An event's position at a checkpoint follows from the checkpoint alone: the results of the tasks that it concludes, in
the order of their plan; the checkpoint; the starts of the tasks that it plans. If a result has a row of its own,
because it was published before its superstep was committed, its position at the checkpoint has no event.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from durable_graph._engine.apply import with_recorded
from durable_graph._engine.delays import with_delays
from durable_graph._engine.header import Header, decode_result
from durable_graph._engine.restore import Page, Restored
from durable_graph._engine.results import Made, headers_in, made_in
from durable_graph._engine.state import State, state_keys, state_of
from durable_graph._engine.task import (
    Argument,
    Done,
    Finished,
    Identity,
    Outcome,
    PendingInterrupt,
    Task,
    interrupts_of,
    open_interrupts,
    task_id,
)
from durable_graph._runtime.events.model import (
    CustomEvent,
    Event,
    EventsRetracted,
    LoggedEvent,
    MessageEvent,
    RunInterrupted,
    TaskFinished,
    TaskStarted,
)
from durable_graph._runtime.events.of_tasks import (
    Committed,
    EventPlace,
    about,
    checkpoint_event,
    outcome_event,
    result_keys,
    update_of,
)
from durable_graph._runtime.events.stored import StoredOutcome, StoredWait, decoded_outcome, decoded_time, decoded_wait
from durable_graph._runtime.request.namespaces import names_in, topology_at
from durable_graph._runtime.task.attempt import attempt_number
from durable_graph._runtime.task.claims import RecordedCall, decoded_call
from durable_graph._runtime.task.publish_calls import RETURNED
from durable_graph.checkpointing import Checkpointer
from durable_graph.checkpointing.event_log import FIRST_ROW, EventPage, LoggedRow, MadeCheckpoint, event_id
from durable_graph.checkpointing.integrity import damage_found, refuse_damage_since, verify_record
from durable_graph.checkpointing.pieces import in_pieces
from durable_graph.errors import DecodeError, DurableGraphError, StreamOverflowError
from durable_graph.graph import START, Topology
from durable_graph.graph.managed import Place
from durable_graph.records import HistoryPage, Rank, TaskRecord
from durable_graph.run_records import EventKind, EventRow

CHECKPOINT = FIRST_ROW // 2
"""The position of a checkpoint's own event. The results that it concludes are before it, the starts after it."""

Key = tuple[str, int, int]


class _Known(msgspec.Struct, frozen=True):
    """A checkpoint of a namespace, decoded, with where its events are."""

    place: EventPlace
    restored: Restored

    @property
    def state(self) -> State:
        return self.restored.state


class EventHistory:
    """Reads the events of a thread, in the order of their ids. `early` are the results that have rows of their own, by
    the key of their record, until the checkpoint that concludes them has been read."""

    def __init__(self, topology: Topology, saver: Checkpointer, thread_id: str, early: Iterable[Key] = ()) -> None:
        self._topology = topology
        self._saver = saver
        self._thread_id = thread_id
        self._early: set[Key] = set(early)
        # The newest checkpoint of each namespace that was read.
        self._at: dict[str, _Known] = {}

    async def read(self, page: EventPage, after: int) -> list[LoggedEvent]:
        """The events of a page with ids after this one. Raises `CorruptCheckpointError`, `DecodeError`,
        `UnknownNameError` for a nested graph that no longer exists, and `GraphChangedError`."""
        loaded = {ns: await self._load(ns, made) for ns, made in _by_namespace(page.checkpoints).items()}
        found: list[LoggedEvent] = []
        todo: list[tuple[int, MadeCheckpoint | LoggedRow]] = [
            *((event_id(made.no, 0), made) for made in page.checkpoints),
            *((event_id(row.row.version, row.row.position), row) for row in page.rows),
        ]
        for id_, each in sorted(todo, key=lambda pair: pair[0]):
            if isinstance(each, MadeCheckpoint):
                found += await self._checkpoint(each, loaded[each.ns])
            else:
                found += [LoggedEvent(id_, event) for event in await self._row(page, each)]
        return [event for event in found if event.id > after]

    # What checkpoints imply

    async def _load(self, ns: str, wanted: Sequence[MadeCheckpoint]) -> "_Loaded | None":
        newest = max(made.no for made in wanted)
        # One more than wanted, because the parent of the oldest is usually the checkpoint before it.
        page = await self._saver.history(self._thread_id, ns, before=newest + 1, limit=len(wanted) + 1)
        if page is None or not page.checkpoints:
            return None
        errors = await in_pieces(damage_found(page))
        refuse_damage_since(min(made.no for made in wanted), errors)
        headers = await in_pieces(headers_in(page, errors))
        place = self._place(page, headers)
        opened = Page(place.topology, page, self._saver.max_value_bytes)
        made = await in_pieces(made_in(opened.values, page, headers, lambda _: True))
        restored = {
            row.no: await in_pieces(opened.restore(row, headers[row.no]))
            for row in page.checkpoints
            if row.no in headers
        }
        return _Loaded(place, restored, made, page)

    def _place(self, page: HistoryPage, headers: Mapping[int, Header]) -> EventPlace:
        ns, newest = page.ns, headers.get(max(headers, default=0))
        topology = topology_at(self._topology, ns, newest.graph if newest is not None and newest.graph else None)
        identity = Identity(self._thread_id, page.thread.incarnation, ns)
        return EventPlace(topology, self._thread_id, _parts(ns), identity, tuple(names_in(ns)))

    async def _checkpoint(self, made: MadeCheckpoint, loaded: "_Loaded | None") -> list[LoggedEvent]:
        restored = None if loaded is None else loaded.restored.get(made.no)
        if loaded is None or restored is None:
            # The checkpoint was pruned meanwhile.
            return []
        known = _Known(loaded.place, restored)
        parent = loaded.restored.get(made.parent)
        before = _Known(loaded.place, parent) if parent is not None else await self._known(made.ns, made.parent)
        self._at[made.ns] = known
        at = restored.row.at / 1_000_000
        numbered = [*self._results(made, restored, before, loaded.made), *_made(made, known, loaded), *_starts(known)]
        return [
            LoggedEvent(event_id(made.no, where), msgspec.structs.replace(event, at=at)) for where, event in numbered
        ]

    def _results(
        self, made: MadeCheckpoint, restored: Restored, before: _Known | None, written: dict[int, Made]
    ) -> list[tuple[int, Event]]:
        if restored.header.source != "loop" or before is None:
            return []
        found: list[tuple[int, Event]] = []
        tasks = [task for task in before.state.plan if task.node != START]
        _check_room(tasks)
        for position, task in enumerate(tasks):
            key = (made.ns, task.born, task.ord)
            if key in self._early:
                self._early.discard(key)
                continue
            event = _result(before, task, written.get(made.parent) if len(tasks) == 1 else None)
            if event is not None:
                found.append((position, event))
        return found

    async def _known(self, ns: str, no: int) -> _Known | None:
        """A checkpoint of a namespace, None if it does not exist or was removed."""
        at = self._at.get(ns)
        if at is not None and at.restored.row.no == no:
            return at
        if not no:
            return None
        loaded = await self._load(ns, [MadeCheckpoint(no, ns, 0)])
        restored = None if loaded is None else loaded.restored.get(no)
        return None if loaded is None or restored is None else _Known(loaded.place, restored)

    async def _known_at(self, ns: str, version: int) -> _Known | None:
        """The newest checkpoint of a namespace at a version of the thread."""
        at = self._at.get(ns)
        if at is None:
            loaded = await self._load(ns, [MadeCheckpoint(version, ns, 0)])
            newest = 0 if loaded is None else max((no for no in loaded.restored if no <= version), default=0)
            if loaded is None or not newest:
                return None
            at = self._at[ns] = _Known(loaded.place, loaded.restored[newest])
        return at

    # Rows

    async def _row(self, page: EventPage, logged: LoggedRow) -> list[Event]:
        row = logged.row
        match row.kind:
            case EventKind.RESULT:
                self._early.add((row.ns, row.born, row.ord))
                return [] if logged.record is None else await self._result_row(page, row, logged.record)
            case EventKind.OUTCOME:
                stored = decoded_outcome(row.value)
                return await self._outcome_row(row, stored)
            case EventKind.CUSTOM | EventKind.MESSAGE:
                return [self._emitted(row)]
            case EventKind.RETRACTED:
                return [self._retracted(row)]
            case EventKind.WAITING:
                return await self._waiting(page, row, decoded_wait(row.value))

    async def _result_row(self, page: EventPage, row: EventRow, record: TaskRecord) -> list[Event]:
        known = await self._known_at(row.ns, row.version)
        task = None if known is None else _task_of(known, row)
        at = decoded_time(row.value)
        verify_record(self._thread_id, page.origin, record)
        if known is None or task is None:
            return await self._call(row, record, at)
        outcome = decode_result(known.place.topology, task, record.rank, record.revision, record.value)
        return [msgspec.structs.replace(outcome_event(known.place, known.state, outcome), at=at)]

    async def _call(self, row: EventRow, record: TaskRecord, at: float) -> list[Event]:
        """The event of a `@task` call, or nothing for the record of another call."""
        call = _call_in(record)
        if call is None or call.kind != "task":
            return []
        ns, known = row.ns, None
        while ns and known is None:
            # The calls of a node are recorded in a namespace below that of its graph.
            ns = ns.rpartition("|")[0]
            known = await self._known_at(ns, row.version)
        if known is None:
            return []
        identity = msgspec.structs.replace(known.place.identity, ns=row.ns)
        task = Task(call.name, row.born, row.ord, Argument(None, None))
        value = _value_of(known.place.topology, call)
        return [
            TaskFinished(
                thread_id=self._thread_id,
                ns=known.place.ns,
                step=known.state.step + 1,
                at=at,
                task_id=task_id(identity, task),
                node=call.name,
                attempt=1,
                update=value,
                result=((RETURNED, value),),
            )
        ]

    async def _outcome_row(self, row: EventRow, stored: StoredOutcome) -> list[Event]:
        known = await self._known_at(row.ns, row.version)
        task = None if known is None else _task_of(known, row)
        if known is None or task is None:
            return []
        outcome = decode_result(known.place.topology, task, Rank(stored.rank), stored.revision, stored.record)
        return [msgspec.structs.replace(outcome_event(known.place, known.state, outcome), at=stored.at)]

    async def _waiting(self, page: EventPage, row: EventRow, wait: StoredWait) -> list[Event]:
        known = await self._known_at("", row.version)
        if known is None:
            return []
        tasks = {task.key: task for task in known.state.plan}
        topology = known.place.topology
        waiting: dict[tuple[int, int], Outcome] = {}
        for each in wait.asking:
            task = tasks.get((each.born, each.ord))
            if task is not None:
                waiting[task.key] = decode_result(topology, task, Rank(each.rank), each.revision, each.record)
        # The plan has the times of tasks that were not due yet; they have no records.
        now, nothing = round(wait.at * 1_000_000), topology.argument.encode(None)
        waiting = with_delays(known.state.plan, waiting, now, origin=page.origin, ns="", nothing=nothing)
        asks: list[PendingInterrupt] = []
        for outcome in waiting.values():
            asks += open_interrupts(outcome) or interrupts_of(outcome)
        done = {key: outcome for key, outcome in (await self._done(known, wait)).items() if key in tasks}
        written = {write.channel for outcome in done.values() for write in outcome.writes}
        values = with_recorded(topology, known.state, done)
        return [
            RunInterrupted(
                thread_id=self._thread_id,
                step=known.state.step,
                at=wait.at,
                interrupts=tuple(ask.interrupt for ask in asks),
                values=state_of(topology, values),
                next=tuple(task.node for task in known.state.plan),
                changed_keys=tuple(key for key in state_keys(topology) if key in written),
            )
        ]

    async def _done(self, known: _Known, wait: StoredWait) -> dict[tuple[int, int], Done]:
        """The results that were recorded when the run stopped. They are final."""
        wanted = set(wait.done)
        if not wanted:
            return {}
        found = await self._saver.load(self._thread_id, "", known.restored.row.no)
        tasks = {task.key: task for task in known.state.plan}
        done: dict[tuple[int, int], Done] = {}
        for record in () if found is None else found.records:
            key = (record.born, record.ord)
            if key in wanted and key in tasks:
                outcome = decode_result(known.place.topology, tasks[key], record.rank, record.revision, record.value)
                if isinstance(outcome, Done):
                    done[key] = outcome
        return done

    def _emitted(self, row: EventRow) -> Event:
        ns, step, at, node, data, *rest = self._topology.argument.decode(row.value)
        told: dict[str, Any] = {
            "thread_id": self._thread_id,
            "ns": tuple(ns),
            "step": step,
            "at": at,
            "task_id": row.task,
            "node": node,
        }
        if row.kind is EventKind.CUSTOM:
            return CustomEvent(**told, data=data)
        metadata, origin = rest
        return MessageEvent(**told, message=data, metadata=metadata, origin=origin)

    def _retracted(self, row: EventRow) -> Event:
        ns, step, at, node = self._topology.argument.decode(row.value)
        return EventsRetracted(thread_id=self._thread_id, ns=tuple(ns), step=step, at=at, task_id=row.task, node=node)


class _Loaded(msgspec.Struct, frozen=True):
    """Checkpoints of one namespace, decoded, with the writes of single nodes by the checkpoint that planned them."""

    place: EventPlace
    restored: dict[int, Restored]
    made: dict[int, Made]
    page: HistoryPage


def _by_namespace(made: Iterable[MadeCheckpoint]) -> dict[str, list[MadeCheckpoint]]:
    found: dict[str, list[MadeCheckpoint]] = {}
    for each in made:
        found.setdefault(each.ns, []).append(each)
    return found


def _parts(ns: str) -> tuple[str, ...]:
    return tuple(ns.split("|")) if ns else ()


def _check_room(tasks: Sequence[object]) -> None:
    if len(tasks) > CHECKPOINT:
        raise StreamOverflowError(CHECKPOINT, is_of_log=True)


def _task_of(known: _Known, row: EventRow) -> Task | None:
    return next((task for task in known.state.plan if task.key == (row.born, row.ord)), None)


def _result(before: _Known, task: Task, made: Made | None) -> Event | None:
    """The result of a task that its checkpoint concluded."""
    recorded: Outcome | None = before.restored.recorded.get(task.key)
    if isinstance(recorded, Finished):
        return outcome_event(before.place, before.state, recorded)
    if made is None or made.by_hand or (made.node, made.step) != (task.node, before.state.step + 1):
        return None
    # A lone task: the rows of the checkpoint that it made have its writes.
    told = about(before.place, before.state, task, attempt_number(recorded))
    topology, values = before.place.topology, made.values or {}
    written = [(name, values[channel]) for channel, name in result_keys(topology).items() if channel in values]
    return TaskFinished(**told, update=update_of(topology, written), result=tuple(written))


def _made(made: MadeCheckpoint, known: _Known, loaded: _Loaded) -> list[tuple[int, Event]]:
    header, topology = known.restored.header, known.place.topology
    changed = {row.channel for row in loaded.page.values if row.no == made.no}
    metadata = {**header.metadata, "source": header.source, "step": header.step, "writers": list(header.writers)}
    committed = Committed(
        parent=made.parent,
        source=header.source,
        changed_keys=tuple(key for key in state_keys(topology) if key in changed),
        writers=header.writers,
        metadata=metadata,
    )
    return [(CHECKPOINT, checkpoint_event(known.place, known.state, committed))]


def _starts(known: _Known) -> list[tuple[int, Event]]:
    tasks = [task for task in known.state.plan if task.node != START and task.node in known.place.topology.nodes]
    _check_room(tasks)
    return [(CHECKPOINT + 1 + number, _started(known, task)) for number, task in enumerate(tasks)]


def _started(known: _Known, task: Task) -> TaskStarted:
    node = known.place.topology.nodes[task.node]
    metadata = {**known.restored.header.metadata, **node.metadata}
    return TaskStarted(**about(known.place, known.state, task, 1), input=_input_of(known, task), metadata=metadata)


def _input_of(known: _Known, task: Task) -> object:
    if task.argument is not None:
        return task.argument.value
    state = known.state
    try:
        return known.place.topology.nodes[task.node].input.read(state.values, Place(state.step + 1, 0))
    except (DurableGraphError, ValueError, TypeError):
        # The attempt raises the error that making the input raised.
        return None


def _call_in(record: TaskRecord) -> RecordedCall | None:
    try:
        return decoded_call(record.value)
    except DecodeError:
        return None


def _value_of(topology: Topology, call: RecordedCall) -> object:
    """The result of a call. An instance of a class that only the function's annotation names becomes plain data."""
    try:
        return topology.argument.decode(call.value)
    except DecodeError:
        return topology.argument.decode_plain(call.value)
