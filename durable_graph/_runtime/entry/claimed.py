"""Executing a run that a worker has claimed, and recording an answer for one."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import msgspec

from durable_graph._engine.due import awaited, timed_out, topics_of
from durable_graph._engine.restore import Restored
from durable_graph._engine.task import PendingInterrupt
from durable_graph._runtime.commit.busy import only_run
from durable_graph._runtime.commit.thread import Opened
from durable_graph._runtime.entry.command import by_id, record_answers
from durable_graph._runtime.entry.start import StoredCall, check_not_cancelled, execute
from durable_graph._runtime.events.sink import EventSink, NullSink
from durable_graph._runtime.request import log
from durable_graph._runtime.request.output import Ended
from durable_graph._runtime.request.owned_run import OwnedRun, RunReads
from durable_graph._runtime.request.run import Request
from durable_graph._runtime.task.plan import StepPlan
from durable_graph.caching import Cache
from durable_graph.checkpointing import Checkpointer
from durable_graph.errors import (
    CheckpointConflictError,
    InterruptAnsweredError,
    NothingToResumeError,
    UnknownNameError,
)
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
    # A run may be claimed again just before the execution that suspended it has left its thread.
    async with only_run(saver, thread_id, "wait", is_of_run=True):
        begins = None if request.owned is None else request.owned.begins_from
        opened = await _opened(call, epoch, begins or None)
        if begins is None:
            opened = await _with_messages(call, epoch, await _with_defaults(call, epoch, opened))
        elif begins == 0:
            opened = msgspec.structs.replace(opened, restored=None, calls_in=frozenset())
        elif opened.restored is None:
            raise UnknownNameError.of_checkpoint(thread_id, checkpoint_id(begins))
        run, store = call.on(opened)
        return await execute(run, store, opened)


async def _opened(call: StoredCall, epoch: int, no: int | None = None) -> Opened:
    """The thread, or this checkpoint of it, while the claim with this epoch holds it: see `execute_claimed`."""
    opened = await call.opened(no)
    if opened.thread.epoch != epoch:
        at = opened.thread
        raise CheckpointConflictError(
            call.thread_id, expected=at.version, found=at.version, checkpoint_id=checkpoint_id(at.head)
        )
    return opened


async def _with_defaults(call: StoredCall, epoch: int, opened: Opened) -> Opened:
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
        opened = await _opened(call, epoch)
    return opened


async def _with_messages(call: StoredCall, epoch: int, opened: Opened) -> Opened:
    """The thread, once the messages are recorded and taken that its tasks wait for: one save for all of them."""
    owned = call.request.owned
    if owned is None or owned.reads is None:
        return opened
    while opened.restored is not None and (asks := awaited(opened.restored.recorded.values())):
        messages, taken = await _messages_for(call, owned, owned.reads, opened.restored, asks)
        if not messages:
            break
        run, store = call.on(opened)
        store.writer.sender.taken = taken
        restored = opened.restored
        try:
            await record_answers(run, store, restored.state, restored.recorded, Command(resume=messages))
        except InterruptAnsweredError:
            # A caller answered one of these calls by its id: the message stays for the next call.
            opened = await _opened(call, epoch)
        else:
            return await _opened(call, epoch)
    return opened


async def _messages_for(
    call: StoredCall, owned: OwnedRun, reads: RunReads, restored: Restored, asks: Sequence[PendingInterrupt]
) -> tuple[dict[str, Any], tuple[int, ...]]:
    """The messages for these calls of `receive`, by the ids of their interrupts, and the numbers of the messages."""
    owned.read_topics = topics_of(restored.recorded.values())
    waiting = await reads.inbox(call.thread_id, owned.read_topics)
    answers: dict[str, Any] = {}
    taken = []
    for ask in asks:
        message = next((each for each in waiting if each.topic == ask.interrupt.topic), None)
        if message is not None:
            waiting.remove(message)
            taken.append(message.seq)
            # The message about the end of a child run has no value.
            answers[ask.interrupt.id] = call.topology.argument.decode(message.value) if message.value else None
    owned.read_topics -= {message.topic for message in waiting}
    return answers, tuple(taken)


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


async def refuse_answered(plan: StepPlan, saver: Checkpointer, request: Request) -> None:
    """Raise the error for the answers of the request's `Command` if the thread cannot have them any more:
    `InterruptAnsweredError`, `UnknownInterruptError`, `AmbiguousResumeError`, `ThreadCancelledError`.

    Nothing is raised for a thread that never had a question.
    """
    thread_id = request.thread_id or ""
    call = StoredCall(plan, saver, msgspec.structs.replace(request, owned=None), thread_id, NullSink(), None)
    opened = await call.opened()
    restored, given = opened.restored, request.input
    if restored is None or not isinstance(given, Command):
        return
    check_not_cancelled(request, opened.thread)
    run, store = call.on(opened)
    with suppress(NothingToResumeError):
        await by_id(run, store.thread, restored.state, restored.recorded, given.resume)
