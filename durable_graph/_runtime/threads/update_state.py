"""Updates of a thread's state from outside of a run: each is a checkpoint, committed by compare-and-swap as all are."""

import itertools
from collections.abc import Sequence

import msgspec

from durable_graph._engine.admit import Admitted, admit, replan
from durable_graph._engine.apply import with_recorded
from durable_graph._engine.build_commit import NextCheckpoint
from durable_graph._engine.editing import clear, edit, inferred_node
from durable_graph._engine.restore import Restored, restore
from durable_graph._engine.state import State, initial_state
from durable_graph._engine.task import Done, Interrupted, Outcome, Task, following, is_waiting, task_id
from durable_graph._runtime.commit.request_keys import Acceptance, earlier_request
from durable_graph._runtime.commit.requests import NO_EVENTS
from durable_graph._runtime.commit.store import Stored
from durable_graph._runtime.commit.thread import check_not_owned, open_thread
from durable_graph._runtime.commit.writer import SYNC, Writer, open_writer
from durable_graph._runtime.events.sink import NullSink
from durable_graph._runtime.request.control_flow import ParentCommand
from durable_graph._runtime.request.namespaces import Place, nested_graphs, topology_at
from durable_graph._runtime.request.run import Request
from durable_graph._runtime.task.attempt import AttemptState, route_as
from durable_graph._runtime.task.run_context import GraphRun, RunContext
from durable_graph._runtime.task.writes import input_writes
from durable_graph._runtime.threads.fork import Level, callers_of, is_at_head, levels_to
from durable_graph.checkpointing import Checkpointer
from durable_graph.checkpointing.integrity import verified
from durable_graph.checkpointing.pieces import in_pieces
from durable_graph.errors import (
    CheckpointConflictError,
    InvalidUpdateError,
    UnknownNameError,
)
from durable_graph.graph import END, START, Topology
from durable_graph.graph.entrypoints import is_workflow, returned
from durable_graph.records import checkpoint_id

INPUT = "__input__"
COPY = "__copy__"
_ALONE = (INPUT, COPY, START, END)
_INPUT_TWICE = (
    "as_node='__input__' and as_node='__start__' write the same input: "
    "leave one out; for more input use '__input__' again"
)
Recorded = dict[tuple[int, int], Outcome]


class StateUpdate(msgspec.Struct, frozen=True):
    """One update of a thread's state, as the node `as_node` would have written it.

    `as_node` may also be `START` or "__input__" (as new input), `END` (nothing is left to run) or "__copy__" (the same
    state and plan on a new branch). `task_id` names the task whose result the update is.
    """

    values: object = None
    as_node: str | None = None
    task_id: str | None = None


async def edit_state(
    topology: Topology,
    saver: Checkpointer,
    place: Place,
    supersteps: Sequence[Sequence[StateUpdate]],
    request: Request,
    expected: int | None,
    keyed: Acceptance | None = None,
) -> Place:
    """Commit updates, each sequence of them as one superstep, in one commit. Returns the last checkpoint's place.

    If the thread has accepted the request `keyed` before, nothing is committed, and the place is that of the earlier
    commit.

    Raises `CheckpointConflictError` if the newest checkpoint is not `expected`, or if another writer was first.
    """
    _check_one_input(supersteps)
    if keyed is None:
        return await _edit(topology, saver, place, supersteps, request, expected, None)
    earlier = await earlier_edit(saver, place, keyed)
    if earlier is None:
        try:
            return await _edit(topology, saver, place, supersteps, request, expected, keyed)
        except CheckpointConflictError:
            # Another process may have sent the same request first.
            earlier = await earlier_edit(saver, place, keyed)
            if earlier is None:
                raise
    return earlier


async def earlier_edit(saver: Checkpointer, place: Place, keyed: Acceptance) -> Place | None:
    """Where the thread has committed this request before, None if it has not. Raises `KeyReusedError`."""
    earlier = await earlier_request(saver, place.thread_id, keyed)
    return None if earlier is None else _at(place, earlier.checkpoint)


async def _edit(
    topology: Topology,
    saver: Checkpointer,
    place: Place,
    supersteps: Sequence[Sequence[StateUpdate]],
    request: Request,
    expected: int | None,
    keyed: Acceptance | None,
) -> Place:
    supersteps = [each for updates in supersteps for each in _spread(updates)]
    opened = await open_thread(saver, topology, place.thread_id, None)
    await check_not_owned(saver, opened)
    writer = open_writer(saver, opened.thread, SYNC, grace=request.grace, metadata=request.metadata, base=opened.base)
    # An edit leaves a cancelled thread cancelled.
    writer.thread.is_cancelled, writer.sender.accepts = opened.thread.status == "cancelled", keyed
    own, restored = topology, opened.restored
    if place.ns:
        own = topology_at(topology, place.ns)
        restored = await _restored(saver, own, place.thread_id, place.ns, None)
        if restored is None:
            raise UnknownNameError.of_namespace(place.ns, known=nested_graphs(topology))
    newest = restored.state.no if restored is not None else 0
    if expected is not None and expected != newest:
        raise CheckpointConflictError(
            place.thread_id, expected=expected, found=newest, checkpoint_id=checkpoint_id(newest)
        )
    if place.no is not None and place.no != newest:
        if place.ns:
            return await _edit_inside(topology, writer, place, request, supersteps)
        restored = await _restored(saver, own, place.thread_id, place.ns, place.no)
        if restored is None:
            raise UnknownNameError.of_checkpoint(place.thread_id, checkpoint_id(place.no))
        start = _Start(restored.state, {}, restored.header.source, restored.header.writers, "", place.no)
    elif restored is None:
        start = _Start(initial_state(own), {}, None, (), "")
    else:
        header = restored.header
        start = _Start(restored.state, restored.recorded, header.source, header.writers, header.caller)
    store = Stored.of(writer, writer.namespace(own, place.ns, restored))
    if place.ns and await is_at_head(saver, _at(place, newest), opened.thread.head):
        await _wake_callers(writer, saver, topology, _at(place, newest))
    no = await _Editor(own, request, store).commit(start, supersteps)
    return _at(place, no)


async def _edit_inside(
    topology: Topology, writer: Writer, place: Place, request: Request, supersteps: Sequence[Sequence[StateUpdate]]
) -> Place:
    """An edit of a nested graph's older checkpoint, on a new branch from it."""
    levels = await levels_to(topology, writer, place)
    inner = levels[-1]
    start = _Start(inner.step.state, {}, inner.step.source, inner.step.writers, inner.step.caller)
    no = await _Editor(inner.topology, request, Stored.of(writer, inner.own), levels).commit(start, supersteps)
    return Place(place.thread_id, inner.ns, no)


def _spread(updates: Sequence[StateUpdate]) -> Sequence[Sequence[StateUpdate]]:
    """The supersteps of an update: two for a copy with updates of its tasks, else one. Raises `InvalidUpdateError`."""
    if len(updates) > 1 and (special := [each.as_node for each in updates if each.as_node in _ALONE]):
        raise InvalidUpdateError(f"an update with as_node={special[0]!r} has to be the only update of its superstep")
    only = updates[0]
    if only.as_node != COPY or only.values is None:
        return [updates]
    if not isinstance(only.values, list | tuple) or not all(isinstance(each, StateUpdate) for each in only.values):
        raise InvalidUpdateError("as_node='__copy__' takes no values, or a list of StateUpdates for the copied tasks")
    if any(each.task_id is not None for each in only.values):
        raise InvalidUpdateError("the tasks of a copy are new and have no task_id yet: leave task_id out")
    copy = msgspec.structs.replace(only, values=None)
    return [[copy], only.values] if only.values else [[copy]]


def _check_one_input(supersteps: Sequence[Sequence[StateUpdate]]) -> None:
    """Refuse an input that is given twice. LangGraph's histories have each as `__input__` and as `__start__`, which
    have the same meaning here."""
    names = [updates[0].as_node for updates in supersteps]
    for one, other in itertools.pairwise(names):
        if {one, other} == {INPUT, START}:
            raise InvalidUpdateError(_INPUT_TWICE)


def _at(place: Place, no: int) -> Place:
    return Place(place.thread_id, place.ns, no)


async def _restored(saver: Checkpointer, topology: Topology, thread: str, ns: str, no: int | None) -> Restored | None:
    found = await saver.load(thread, ns, no)
    if found is None:
        return None
    await in_pieces(verified(found))
    return await in_pieces(restore(topology, found, saver.max_value_bytes))


async def _wake_callers(writer: Writer, saver: Checkpointer, topology: Topology, place: Place) -> None:
    """Make the tasks run again that wait for an interrupt of this namespace: the edit may have removed it."""
    for at, restored, task in await callers_of(saver, topology, place):
        outcome = restored.recorded.get(task.key)
        if isinstance(outcome, Interrupted) and is_waiting(outcome):
            woken = following(Interrupted(task, outcome.attempt, (), outcome.answers, outcome.revision + 1), outcome)
            own = writer.namespace(at, restored.stored.ns, restored)
            await writer.save(own, [woken], lambda _: NO_EVENTS)


class _Start(msgspec.Struct, frozen=True):
    """The checkpoint that an edit starts from. `fork_of` is set for an older checkpoint, without `recorded` outcomes:
    those belong to the old branch."""

    state: State
    recorded: Recorded
    source: str | None
    writers: Sequence[str]
    caller: str
    fork_of: int | None = None


class _Editor:
    """Builds the checkpoints of one edit, each from the one before. `levels` precede them in the same commit."""

    def __init__(self, topology: Topology, request: Request, store: Stored, levels: Sequence[Level] = ()) -> None:
        self._run = GraphRun(topology, request, RunContext(NullSink()), store, {}, ns=store.own.ns)
        self._store = store
        self._levels = levels

    async def commit(self, start: _Start, supersteps: Sequence[Sequence[StateUpdate]]) -> int:
        writer, own = self._store.writer, self._store.own
        recorded = start.recorded
        while True:
            steps: list[NextCheckpoint] = []
            state, known, source, writers = start.state, recorded, start.source, start.writers
            for updates in supersteps:
                step = await self._step(state, known, source, writers, updates, is_fork=start.fork_of is not None)
                # The checkpoint stays a part of the call that its namespace belongs to.
                step = msgspec.structs.replace(step, fork_of=start.fork_of if not steps else None, caller=start.caller)
                steps.append(step)
                state, known, source, writers = step.state, {}, step.source, step.writers
            entries = [
                *((level.own, level.step) for level in self._levels),
                *((own, step) for step in steps),
            ]
            if await writer.commit_now(*entries):
                return state.no
            at_head = start.fork_of is None and not self._levels
            first = self._levels[0].own if self._levels else own
            recorded = await writer.adopt(first, start.state.plan if at_head else ())

    async def _step(
        self,
        state: State,
        recorded: Recorded,
        source: str | None,
        writers: Sequence[str],
        updates: Sequence[StateUpdate],
        *,
        is_fork: bool,
    ) -> NextCheckpoint:
        run, topology = self._run, self._run.topology
        if len(updates) == 1:
            only = updates[0]
            named = only.as_node
            if named is None and only.values is not None:
                named = self._inferred(source, writers)
            if named is None or named in _ALONE:
                _check_names_no_task(only, named)
            if named is None:
                no = run.store.reserve(state)
                # The tasks that an older checkpoint planned belong to its branch: a fork plans them again.
                kept = replan(state, no) if is_fork else State(no, state.step + 1, state.values, state.plan)
                return NextCheckpoint(kept, {}, state.no, "update", tuple(writers), is_stopped=bool(state.plan))
            if named == COPY:
                copied = replan(state, run.store.reserve(state))
                return NextCheckpoint(copied, {}, state.no, "fork", tuple(writers), is_stopped=bool(state.plan))
            if named == END:
                if only.values is not None:
                    raise InvalidUpdateError("as_node=END removes the tasks left to run, and takes no values")
                return _step_of(clear(topology, state, recorded, run.store.reserve(state)), state, "update")
            if named in (START, INPUT):
                if only.as_node == START and INPUT in writers:
                    raise InvalidUpdateError(_INPUT_TWICE)
                values = with_recorded(topology, state, recorded)
                writes = input_writes(topology, only.values, values, run.store.max_value_bytes)
                admitted = admit(topology, state, recorded, writes, run.store.reserve(state))
                admitted = msgspec.structs.replace(admitted, writers=(*admitted.writers, named))
                return _step_of(admitted, state, "update" if named == START else "input")
            updates = [msgspec.structs.replace(only, as_node=named)]
        _check_names_each_task_once(updates)
        no = run.store.reserve(state)
        # Routers see the state that the caller saw: with the writes of finished tasks, which precede the update.
        seen = msgspec.structs.replace(state, values=with_recorded(topology, state, recorded))
        done = [await self._done(seen, no, ord_, update) for ord_, update in enumerate(updates)]
        return _step_of(edit(topology, state, recorded, done, no), state, "update")

    async def _done(self, state: State, no: int, ord_: int, update: StateUpdate) -> Done:
        """The outcome that the node would have had, including its routers' choices."""
        run, topology = self._run, self._run.topology
        if update.as_node is None:
            raise InvalidUpdateError(
                "several updates of one superstep have to name their nodes: pass as_node with each"
            )
        if not isinstance(update.as_node, str) or update.as_node not in topology.nodes:
            where = "as_node is"
            raise UnknownNameError.of_node(update.as_node, where=where, known=topology.nodes)
        if update.task_id is not None:
            self._check_task(state, update.task_id, update.as_node)
        task = Task(update.as_node, no, ord_)
        values = returned(update.values) if is_workflow(topology) else update.values
        try:
            attempted = await route_as(run, state, task, values, AttemptState())
        except ParentCommand:
            why = f"as_node={task.node!r} with a Command for the parent graph cannot be an update: no parent is running"
            raise InvalidUpdateError(f"{why} now; update it itself, as the node that runs this one") from None
        if attempted.error is not None:
            raise attempted.error
        if not isinstance(attempted.outcome, Done):
            raise InvalidUpdateError(f"a router of {task.node!r} asks a question, which an update cannot wait for")
        return attempted.outcome

    def _inferred(self, source: str | None, writers: Sequence[str]) -> str:
        topology = self._run.topology
        # An entrypoint has one node, and an update replaces the value that it returned.
        return topology.name if is_workflow(topology) else inferred_node(topology, source, writers)

    def _check_task(self, state: State, id_: str, node: str) -> None:
        whose = self._store.identity
        ids = [task_id(whose, task) for task in state.plan if task.node == node]
        if id_ not in ids:
            raise UnknownNameError.of_task(whose.thread, id_, node=node, known=ids)


def _check_names_no_task(update: StateUpdate, as_node: str | None) -> None:
    if update.task_id is not None:
        whose = "an update without values belongs to no node" if as_node is None else f"{as_node!r} is no node"
        raise InvalidUpdateError(f"task_id names a task of a node, and {whose}: leave task_id out")


def _check_names_each_task_once(updates: Sequence[StateUpdate]) -> None:
    ids = [update.task_id for update in updates if update.task_id is not None]
    if twice := [id_ for id_ in ids if ids.count(id_) > 1]:
        raise InvalidUpdateError(
            f"two updates of one superstep name the task {twice[0]!r}, which can have one result only"
        )


def _step_of(admitted: Admitted, state: State, source: str) -> NextCheckpoint:
    return NextCheckpoint(
        admitted.state,
        admitted.changes,
        parent=state.no,
        source=source,
        writers=admitted.writers,
        superseded=admitted.superseded,
        # No run executes the plan until the thread is resumed.
        is_stopped=bool(admitted.state.plan),
    )
