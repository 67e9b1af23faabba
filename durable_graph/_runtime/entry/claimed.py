"""Executing a run that a worker has claimed, and recording an answer for one."""

import msgspec

from durable_graph._engine.due import timed_out
from durable_graph._runtime.commit.busy import only_run
from durable_graph._runtime.commit.thread import Opened
from durable_graph._runtime.entry.command import record_answers
from durable_graph._runtime.entry.start import StoredCall, check_not_cancelled, execute
from durable_graph._runtime.events.sink import EventSink, NullSink
from durable_graph._runtime.request import log
from durable_graph._runtime.request.output import Ended
from durable_graph._runtime.request.run import Request
from durable_graph._runtime.task.plan import StepPlan
from durable_graph.caching import Cache
from durable_graph.checkpointing import Checkpointer
from durable_graph.errors import CheckpointConflictError, InterruptAnsweredError, NothingToResumeError
from durable_graph.graph import Command
from durable_graph.records import checkpoint_id


async def execute_claimed(
    plan: StepPlan, saver: Checkpointer, request: Request, sink: EventSink, cache: Cache | None, epoch: int
) -> Ended:
    """Execute the run `request.owned` of the request's thread, which a claim gave this epoch.

    Raises as `run_in_turn` does, and `CheckpointConflictError` if another claim has followed.
    """
    thread_id = request.thread_id or ""
    call = StoredCall(plan, saver, request, thread_id, sink, cache)
    async with only_run(saver, thread_id, "reject"):
        opened = await call.opened()
        if opened.thread.epoch != epoch:
            at = opened.thread
            raise CheckpointConflictError(
                thread_id, expected=at.version, found=at.version, checkpoint_id=checkpoint_id(at.head)
            )
        opened = await _with_defaults(call, opened)
        run, store = call.on(opened)
        return await execute(run, store, opened)


async def _with_defaults(call: StoredCall, opened: Opened) -> Opened:
    """The thread, once the default answers are recorded of the interrupts whose time is over.

    They are recorded as every answer is, so that of a person and the clock only one answers.
    """
    while opened.restored is not None:
        answers = timed_out(opened.restored.recorded, call.now())
        if not answers:
            break
        run, store = call.on(opened)
        restored = opened.restored
        try:
            await record_answers(run, store, restored.state, restored.recorded, Command(resume=answers))
        except InterruptAnsweredError:
            log.answered_in_time(call.thread_id)
        opened = await call.opened()
    return opened


async def answer_claimed(plan: StepPlan, saver: Checkpointer, request: Request) -> tuple[str, ...]:
    """Record the answers of the request's `Command` for the thread's unfinished run, and wake it. Returns the ids of
    their interrupts.

    A worker executes the run, or will; this call executes nothing. Raises as a `Command` does.
    """
    thread_id = request.thread_id or ""
    call = StoredCall(plan, saver, msgspec.structs.replace(request, owned=None), thread_id, NullSink(), None)
    opened = await call.opened()
    restored, given = opened.restored, request.input
    if restored is None or not isinstance(given, Command):
        raise NothingToResumeError(thread_id, "it has no checkpoint")
    check_not_cancelled(request, opened.thread)
    run, store = call.on(opened)
    store.writer.sender.wakes_run = True
    return await record_answers(run, store, restored.state, restored.recorded, given)
