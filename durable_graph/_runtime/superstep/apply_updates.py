"""Updates of a running graph: between two supersteps, the run applies those that are in the inbox."""

from collections.abc import Sequence

from durable_graph._engine.admit import carry
from durable_graph._engine.build_commit import NextCheckpoint, with_reduced_values
from durable_graph._engine.delays import without_delays
from durable_graph._engine.state import State
from durable_graph._engine.updates import decode_update, due_from
from durable_graph._runtime.commit.store import Stored
from durable_graph._runtime.request.output import Recorded
from durable_graph._runtime.request.owned_run import OwnedRun
from durable_graph._runtime.superstep.publish import committed_events
from durable_graph._runtime.task.run_context import GraphRun, Progress
from durable_graph._runtime.task.writes import update_writes
from durable_graph.channels import Overwrite
from durable_graph.checkpointing.run_store import KeepsRuns
from durable_graph.errors import GraphChangedError, UpdateRefusedError
from durable_graph.errors.shown import shown
from durable_graph.run_records import UPDATES, Message, RunState


async def apply_updates(run: GraphRun, owned: OwnedRun, state: State, recorded: Recorded) -> tuple[State, Recorded]:
    """The state and its outcomes once all updates are applied that are in the inbox, each as a checkpoint.

    A commit takes the updates that it applies, so each is applied once. Raises `GraphChangedError` for an update that
    this graph cannot read, and `UpdateRefusedError` for one that does not fit the state, which raises the errors of a
    Command as input: `InvalidUpdateError`, `ReducerError` and others. That update and all later ones stay in the inbox.
    """
    owned.has_updates = False
    store = run.store
    if not isinstance(store, Stored) or store.writer.sender.run is None:
        # An earlier input of the thread is finished first.
        return state, recorded
    saver = store.thread.saver
    assert isinstance(saver, KeepsRuns)  # noqa: S101  # it claimed the run
    # The run's pending commits precede the updates.
    await store.settle()
    recorded = without_delays(recorded)
    while owned.state is RunState.RUNNING and (messages := await saver.runs.inbox(store.thread.id, (UPDATES,))):
        state, recorded = await _applied(run, store, state, recorded, messages)
    return state, recorded


async def _applied(
    run: GraphRun, store: Stored, state: State, recorded: Recorded, messages: Sequence[Message]
) -> tuple[State, Recorded]:
    """Apply updates in one commit. Those before the first that cannot be applied are applied before its error is
    raised."""
    while True:
        steps, error = _steps(run, store, state, messages)
        if error is not None and not steps:
            raise error
        run.take_lengths(steps[-1].state)
        taken = tuple(message.seq for message in messages[: len(steps)])
        if await store.writer.commit_now(*((store.own, step) for step in steps), taken=taken):
            break
        recorded = {**recorded, **await store.writer.adopt(store.own, state.plan)}
    after = steps[-1].state
    run.last_step += len(steps)
    run.at = Progress(after, dict(recorded))
    for step in steps:
        for event in committed_events(run, step):
            await run.shared.sink.emit(event)
    if error is not None:
        raise error
    return after, recorded


def _steps(
    run: GraphRun, store: Stored, state: State, messages: Sequence[Message]
) -> tuple[list[NextCheckpoint], Exception | None]:
    """The checkpoints of the updates, up to the first that cannot be applied, and its error."""
    steps: list[NextCheckpoint] = []
    for message in messages:
        try:
            steps.append(_step(run, store, steps[-1].state if steps else state, message))
        except GraphChangedError as error:
            # A worker with another version of the graph may apply it.
            return steps, error
        except Exception as error:
            return steps, _refused(store, message, error)
    return steps, None


def _refused(store: Stored, message: Message, error: Exception) -> UpdateRefusedError:
    refused = UpdateRefusedError(store.thread.id, message.key, why=shown(error))
    refused.__cause__ = error
    return refused


def _step(run: GraphRun, store: Stored, state: State, message: Message) -> NextCheckpoint:
    topology, thread = run.topology, store.thread.id
    update = decode_update(topology, message.value, thread=thread, key=message.key)
    for route in update.routes:
        if route.node not in topology.nodes:
            why = (
                f"thread {thread!r} got the update {message.key!r}, which goes to a node that this graph does not have:"
            )
            raise GraphChangedError.of_plan(route.node, why=why, known=topology.nodes, thread_id=thread)
    pairs = [(write.channel, Overwrite(write.value) if write.is_overwrite else write.value) for write in update.writes]
    where = f"the update {message.key!r} of thread {thread!r}"
    writes = update_writes(topology, pairs, state.values, where, store.max_value_bytes) if pairs else ()
    carried = carry(topology, state, writes, due_from(update.routes, run.shared.now()), store.reserve(state))
    step = NextCheckpoint(carried.state, carried.changes, parent=state.no, source="update")
    # Encoded now, so that the error of a value that cannot be stored is that of its update.
    return with_reduced_values(topology, step, store.thread.max_value_bytes)
