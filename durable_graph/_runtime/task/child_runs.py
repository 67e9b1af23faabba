"""`start_child`: a node starts a run of another graph, and waits for its end without a slot, a process or memory."""

from collections.abc import Callable, Mapping
from functools import partial
from hashlib import blake2b
from typing import Any, Literal, Protocol, get_args, runtime_checkable

import msgspec

from durable_graph._runtime.request.identifiers import read_key
from durable_graph._runtime.task.interrupt import ask_for_message, claim_message
from durable_graph._runtime.task.run_context import TaskContext, context_of
from durable_graph._runtime.task.task_calls import TaskDefinition
from durable_graph.checkpointing.columns import key_of
from durable_graph.checkpointing.run_ids import parts_of, run_id
from durable_graph.checkpointing.run_parents import child_topic
from durable_graph.codec import TypeCodec
from durable_graph.errors import (
    ChildFailedError,
    InvalidOptionError,
    MissingCheckpointerError,
    OutsideOfWorkerError,
)
from durable_graph.graph import UNSET
from durable_graph.graph.durations import Duration, microseconds

OnParent = Literal["cancel", "abandon"]
"""What happens to a child whose parent is cancelled: it is cancelled too, or continues."""

_TIMED_OUT = "timed out"
"""The answer to a call of `result` that has timed out. The message about the end of a child is empty."""


@runtime_checkable
class RunChildren(Protocol):
    """What starts and reads the children of the runs that a worker executes."""

    def codec_of(self, graph: str) -> TypeCodec:
        """The codec of any value of the graph's types. Raises `UnknownNameError`."""
        ...

    async def start(
        self, parent: tuple[str, int], graph: str, given: object, key: str, options: Mapping[str, object]
    ) -> tuple[str, int]:
        """Accept the run, once for each key. Returns its thread and number. `parent` are those of its parent."""
        ...

    async def outcome(self, id_: str) -> tuple[str, object] | None:
        """The outcome of a run that has ended: "done" and its output, or its kind of failure and the reason. None for a
        run that has not ended.

        Raises `UnknownRunError`.
        """
        ...

    async def status(self, id_: str) -> Any:
        """The status of the run. Raises `UnknownRunError`."""
        ...


class ChildRun(msgspec.Struct, frozen=True):
    """A child run, which a node has started with `start_child`. It may be kept in the state, and awaited in a later
    node."""

    graph: str
    thread_id: str
    run_id: str

    async def result(self, timeout: Duration | None = None) -> Any:  # noqa: ASYNC109  # of days
        """Wait for the end of the child, and return its output as `ainvoke` does. Call it in an async node, a task or a
        nested graph.

        Until the child has ended, the parent is suspended, as by `receive`: it uses no slot. Its node runs again from
        the start when the parent continues. The outcome of the child is recorded: later attempts at the node get the
        same outcome. With a `timeout`, in seconds or as a `timedelta`, the call raises `TimeoutError` after that time.

        Raises `ChildFailedError` for a child that failed, was cancelled or reached its deadline, `UnknownRunError` for
        a child that was deleted, `UnstorableValueError` for an output that cannot be stored, `OutsideOfWorkerError` and
        `InvalidOptionError`. A quarantined child has not ended: it may be retried.
        """
        context, children = _place("ChildRun.result()")
        wait = None if timeout is None else microseconds("timeout", timeout)
        parts_of(self.run_id)
        codec = children.codec_of(self.graph)
        # The timeout may differ from attempt to attempt, so it is no argument of the recorded call.
        outcome = partial(_outcome, wait=wait)
        kind, value = await _recorded(context, "child_result", outcome, self.run_id, result=codec)
        if kind != "done":
            raise ChildFailedError(self.run_id, self.thread_id, kind, value)
        return value

    async def status(self) -> Any:
        """The current status of the child, a `durable_graph.runs.RunStatus`. It is not recorded: another attempt at the
        node may get another status.

        Raises `UnknownRunError` and `OutsideOfWorkerError`.
        """
        _, children = _place("ChildRun.status()")
        return await children.status(self.run_id)


async def start_child(
    graph: str,
    input: object,  # noqa: A002  # LangGraph's name
    *,
    key: str | None = None,
    on_parent: OnParent = "cancel",
    thread_id: str | None = None,
    priority: Literal["first", "high", "normal", "low", "last"] = "normal",
    deadline: Duration | None = None,
    queue: str | None = None,
    limit_key: str | None = None,
) -> ChildRun:
    """Start a run of another graph of the same `App`: recorded when this returns, and executed by any worker.

    Call it in an async node, a task or a nested graph of a run that a worker executes: this run is the parent. The
    child has a thread of its own. A node that runs again finds the same child. Without a `key`, the graph and the input
    identify the child, and equal calls are matched in their order. With a `key`, the key identifies the child within
    the calling task: another input is then an error. `on_parent` says whether the child is cancelled when the parent is
    cancelled ("cancel"), or continues ("abandon"). If the parent fails or is done, the child continues. All other
    options are as for `App.start`.

    Raises `OutsideOfWorkerError`, `UnknownNameError` for a graph that the app does not have, `ReplayMismatchError` and
    `KeyReusedError` if the node makes another call than before, and the errors of `App.start` for an input and options.
    """
    context, children = _place("start_child()")
    children.codec_of(graph)
    if on_parent not in get_args(OnParent):
        raise InvalidOptionError("on_parent", on_parent, allowed=", ".join(map(repr, get_args(OnParent))))
    options = {"on_parent": on_parent, "thread_id": thread_id, "priority": priority, "deadline": deadline}
    options |= {"queue": queue, "limit_key": limit_key}
    name = None if key is None else read_key(key)
    thread, seq = await _recorded(context, "start_child", _started, graph, input, name, options)
    return ChildRun(graph, thread, run_id(key_of(thread), seq))


async def _started(graph: str, given: object, key: str | None, options: Mapping[str, object]) -> tuple[str, int]:
    """The thread and the number of the child, recorded as the result of a call."""
    context, children = _place("start_child()")
    thread, owned = context.run.store.thread, context.run.shared.owned
    if thread is None or owned is None:
        what = "start_child()"
        raise MissingCheckpointerError(what)
    # The id of the call is derived from its task and its arguments. Another attempt has the same one.
    name = context.task_id
    if key is not None:
        caller = (context.around or context).task_id
        name = blake2b(f"{caller}:{key}".encode(), digest_size=16).hexdigest()
    return await children.start((thread.id, owned.seq), graph, given, f"child-{name}", options)


async def _outcome(id_: str, *, wait: int | None) -> tuple[str, object]:
    """Suspends the run until the child has ended."""
    context, children = _place("ChildRun.result()")
    topic = child_topic(*parts_of(id_))
    while True:
        answer = claim_message(context, topic)
        if answer == _TIMED_OUT:
            message = f"the child run {id_!r} has not ended within the timeout"
            raise TimeoutError(message)
        found = await children.outcome(id_)
        if found is not None:
            return found
        # The child ended, and was retried after that: wait for its next end.
        if answer is UNSET:
            ask_for_message(context, "ChildRun.result()", topic, wait, _TIMED_OUT)


async def _recorded(
    context: TaskContext, name: str, function: Callable[..., object], *args: object, result: TypeCodec | None = None
) -> Any:
    """The result of a call of the function, recorded like a call of a task."""
    definition = TaskDefinition(name, function, is_async=True, result=result, has_events=False)
    return await context.calls.start(context, definition, args, {})


def _place(what: str) -> tuple[TaskContext, RunChildren]:
    """The running code, and what starts its children. Raises `OutsideOfRunError` and `OutsideOfWorkerError`."""
    context = context_of(what)
    owned = context.run.shared.owned
    if owned is None or not isinstance(owned.children, RunChildren):
        raise OutsideOfWorkerError(what)
    return context, owned.children
