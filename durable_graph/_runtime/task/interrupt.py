"""`interrupt`: a question that the run waits for an answer to, over restarts if need be."""

from typing import Any

from durable_graph._engine.digesting import digest_of
from durable_graph._engine.questions import interrupt_id, question_of
from durable_graph._runtime.request.control_flow import GraphInterrupt
from durable_graph._runtime.task.lengths import copy_of
from durable_graph._runtime.task.run_context import context_of
from durable_graph.errors import InvalidOptionError, MissingCheckpointerError, ReplayMismatchError
from durable_graph.errors.shown import start_of
from durable_graph.graph import Interrupt

_MAX_KEY_BYTES = 255


def interrupt(value: Any, *, key: str | None = None) -> Any:
    """The answer to `value`, once there is one; until then the node ends here and the run waits.

    Call it in a node, a router, a task or a nested graph. `ainvoke` then returns with the open questions under
    `__interrupt__`, and `Command(resume=answer)` goes on: the node runs again from its start, and this call returns the
    answer. A question is recognised by its value, and equal ones by their order: an answer never reaches another
    question, whatever order they are asked in. One whose value changes from attempt to attempt needs a name, `key`.

    What unwinds the node is no `Exception`, and where the node catches it all the same and returns, the question is
    asked nevertheless.

    Raises:
        ReplayMismatchError: a question without a name reads differently each time it is asked.
        OutsideOfRunError: no node, router or task is running.
        MissingCheckpointerError: nothing could keep the question.
        InvalidOptionError: the key is no text of 1 to 255 bytes.
    """
    context = context_of("interrupt()")
    thread = context.run.store.thread
    if thread is None:
        what = "interrupt()"
        raise MissingCheckpointerError(what)
    _check_key(key)
    content = digest_of(context.run.topology.argument.encode, value)
    question = question_of(key, content.digest)
    nth = context.asked.get(question, 0)
    context.asked[question] = nth + 1
    id_ = interrupt_id(thread.row.origin, context.ns, context.phase, question, nth)
    if id_ in context.answers:
        # A copy, for a node that changes it and is tried again.
        return copy_of(context.answers.claim(id_))
    outdated = None if key is not None else context.answers.outdated(id_)
    if outdated is not None:
        error = ReplayMismatchError.of_question(thread.id, answered=outdated.question, asked=start_of(value))
        context.refuse(error)
        raise error
    asked = GraphInterrupt([Interrupt(value, id_, key)])
    context.stopped_by.append(asked)
    raise asked


def _check_key(key: str | None) -> None:
    if key is None:
        return
    try:
        size = len(key.encode()) if isinstance(key, str) else 0
    except UnicodeEncodeError:
        size = 0
    if not 0 < size <= _MAX_KEY_BYTES:
        option = "key"
        raise InvalidOptionError(option, key, allowed=f"1 to {_MAX_KEY_BYTES} bytes of text")
