"""`interrupt` and `sleep`: a question that the run waits for an answer to, or a time, over restarts if need be."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from durable_graph._engine.digesting import digest_of
from durable_graph._engine.questions import interrupt_id, question_of
from durable_graph._runtime.request.control_flow import GraphInterrupt
from durable_graph._runtime.request.identifiers import read_topic
from durable_graph._runtime.task.lengths import copy_of
from durable_graph._runtime.task.run_context import TaskContext, context_of
from durable_graph.errors import InvalidOptionError, MissingCheckpointerError, ReplayMismatchError
from durable_graph.errors.shown import start_of
from durable_graph.graph import UNSET, Interrupt
from durable_graph.graph.durations import Duration, microseconds

_MAX_KEY_BYTES = 255
_SLEEP = "sleep"
"""The question of every sleep of a piece of code: their order distinguishes them."""


def interrupt(value: Any, *, key: str | None = None, timeout: Duration | None = None, default: Any = None) -> Any:
    """The answer to `value`, once there is one; until then the node ends here and the run waits.

    Call it in a node, a router, a task or a nested graph. `ainvoke` then returns with the open questions under
    `__interrupt__`, and `Command(resume=answer)` goes on: the node runs again from its start, and this call returns the
    answer. A question is recognised by its value, and equal ones by their order: an answer never reaches another
    question, whatever order they are asked in. One whose value changes from attempt to attempt needs a name, `key`.

    With a `timeout`, in seconds or as a `timedelta`, `default` becomes the answer once that time has passed since the
    question was first asked: a worker continues the run then, and so does `ainvoke(None)`. Whoever answers later gets
    `InterruptAnsweredError` with the default.

    What unwinds the node is no `Exception`, and where the node catches it all the same and returns, the question is
    asked nevertheless.

    Raises:
        ReplayMismatchError: a question without a name reads differently each time it is asked.
        OutsideOfRunError: no node, router or task is running.
        MissingCheckpointerError: nothing could keep the question.
        InvalidOptionError: the key is no text of 1 to 255 bytes, or the timeout is no duration.
    """
    context = context_of("interrupt()")
    if key is not None:
        _check_text("key", key)
    wait = None if timeout is None else microseconds("timeout", timeout)
    question = question_of(key, digest_of(context.run.topology.argument.encode, value).digest)
    return _answer_to(context, "interrupt()", question, Interrupt(value, "", key, default=default), wait)


async def sleep(duration: Duration) -> None:
    """Wait for a time, in seconds or as a `timedelta`, without a process, memory or a connection.

    Call it in an async node, task or nested graph: `await sleep(timedelta(days=3))`. The run is suspended, as by
    `interrupt`, and a worker continues it once the time has passed: the node runs again from its start, and this
    call returns. Without a worker, `ainvoke` returns with the sleep under `__interrupt__`, and `ainvoke(None)`
    continues it after its time. Results of `@task` calls before it are kept, and the time counts from the first call.

    Raises `OutsideOfRunError`, `MissingCheckpointerError`, and `InvalidOptionError` for an impossible duration.
    """
    context = context_of("sleep()")
    wait = microseconds("duration", duration)
    _answer_to(context, "sleep()", _SLEEP, Interrupt(None, "", None), wait)


async def receive(topic: str, *, timeout: Duration | None = None, default: Any = None) -> Any:  # noqa: ASYNC109  # of days
    """The next message of this topic that `app.signal` sent to the thread, once there is one.

    Call it in an async node, task or nested graph; a node may receive several messages, each in the order of arrival.
    A message that arrives before anybody waits for it stays in the thread's inbox. It is taken in the same transaction
    that records it for the node, so it reaches one call once, over crashes and restarts. Until it arrives, the run is
    suspended, as by `interrupt`: the node runs again from its start when it continues. With a `timeout`, in seconds or
    as a `timedelta`, the call returns `default` once that time has passed.

    Raises `OutsideOfRunError`, `MissingCheckpointerError`, and `InvalidOptionError` for a topic that is no text of 1 to
    255 bytes, or an impossible timeout.
    """
    context = context_of("receive()")
    read_topic(topic)
    wait = None if timeout is None else microseconds("timeout", timeout)
    return _answer_to(
        context, "receive()", f"receive:{topic}", Interrupt(None, "", None, default=default, topic=topic), wait
    )


def claim_message(context: TaskContext, topic: str) -> object:
    """The answer to the next `ask_for_message` of this code, UNSET as long as there is none."""
    question = f"receive:{topic}"
    nth, thread = context.asked.get(question, 0), context.run.store.thread
    id_ = "" if thread is None else interrupt_id(thread.row.origin, context.ns, context.phase, question, nth)
    if id_ not in context.answers:
        return UNSET
    context.asked[question] = nth + 1
    return copy_of(context.answers.claim(id_))


def ask_for_message(context: TaskContext, what: str, topic: str, wait: int | None, default: object) -> None:
    """Suspend the run until a message of this topic arrives, or the time `wait` is over: then the answer is
    `default`."""
    asked = Interrupt(None, "", None, default=default, topic=topic)
    _answer_to(context, what, f"receive:{topic}", asked, wait)


def _answer_to(context: TaskContext, what: str, question: str, asked: Interrupt, wait: int | None) -> Any:
    """The answer to a question, which is `asked` without its id and its time; `wait` is in microseconds."""
    thread = context.run.store.thread
    if thread is None:
        raise MissingCheckpointerError(what)
    nth = context.asked.get(question, 0)
    context.asked[question] = nth + 1
    id_ = interrupt_id(thread.row.origin, context.ns, context.phase, question, nth)
    if id_ in context.answers:
        # A copy, for a node that changes it and is tried again.
        return copy_of(context.answers.claim(id_))
    outdated = None if asked.key is not None else context.answers.outdated(id_)
    if outdated is not None:
        error = ReplayMismatchError.of_question(thread.id, answered=outdated.question, asked=start_of(asked.value))
        context.refuse(error)
        raise error
    due = None if wait is None else _due(context, id_, wait)
    default = asked.default if wait is not None else UNSET
    interrupts = (msgspec.structs.replace(asked, id=id_, due=due, default=default),)
    context.stopped_by.append(interrupts)
    raise GraphInterrupt(interrupts)


def _due(context: TaskContext, id_: str, wait: int) -> datetime:
    """The end of a time that began when the question was first asked."""
    earlier = context.answers.asked.get(id_)
    if earlier is not None and earlier.due is not None:
        return earlier.due
    return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=context.run.shared.now() + wait)


def _check_text(option: str, given: str) -> None:
    try:
        size = len(given.encode()) if isinstance(given, str) else 0
    except UnicodeEncodeError:
        size = 0
    if not 0 < size <= _MAX_KEY_BYTES:
        raise InvalidOptionError(option, given, allowed=f"1 to {_MAX_KEY_BYTES} bytes of text")
