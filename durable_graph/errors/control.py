"""Errors of interrupts, commands, nested runs and repeated calls."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal, Self

from durable_graph.errors.shown import start_of
from durable_graph.errors.tree import DurableGraphError, names

_LONG_PLACE = 80
"""The maximum number of characters of a task's place in a message."""


class OutsideOfWorkerError(DurableGraphError, RuntimeError):
    """The call needs a run that a worker executes. `call` is its name."""

    def __init__(self, call: str) -> None:
        self.call = call
        super().__init__(
            f"{call} needs a run that a worker executes, and this is a plain call of a graph; "
            f"start the run with App.start or App.run"
        )


class OutsideOfRunError(DurableGraphError, RuntimeError):
    """A function that only works inside a node, router or task was called elsewhere, or after its node had ended."""

    def __init__(self, what: str) -> None:
        self.what = what
        super().__init__(f"{what} works only while a node, a router or a task of a graph is running; call it there")


class UnknownInterruptError(DurableGraphError, LookupError):
    """An answer to a question that the thread does not ask. Nothing was recorded.

    `is_superseded`: new input or an update superseded the question before it was answered.
    `is_pruned`: older checkpoints were pruned, with their questions and answers.
    """

    def __init__(
        self,
        thread_id: str,
        id: str,  # noqa: A002  # the name of the attribute
        *,
        open_ids: Iterable[str],
        is_superseded: bool = False,
        is_pruned: bool = False,
    ) -> None:
        self.thread_id = thread_id
        self.id = id
        self.open_ids: tuple[str, ...] = tuple(open_ids)
        self.is_superseded = is_superseded
        self.is_pruned = is_pruned
        why = ""
        if is_superseded:
            why = ": new input or an update superseded it before it was answered"
        elif is_pruned:
            why = " (the questions of pruned checkpoints are not known)"
        super().__init__(
            f"thread {thread_id!r} has no open interrupt {id!r}{why}; open interrupts: {names(self.open_ids)}"
        )


class InterruptAnsweredError(DurableGraphError):
    """Another answer to the question was recorded first. Nothing of this call was recorded.

    `id` is the question and `answer` its recorded answer. `answers` has the recorded answers by id, if the call
    answered several questions, or if it named none and several were answered.
    """

    def __init__(
        self,
        thread_id: str,
        id: str,  # noqa: A002  # the name of the attribute
        answer: Any,
        *,
        answers: Mapping[str, Any] | None = None,
    ) -> None:
        self.thread_id = thread_id
        self.id = id
        self.answer = answer
        self.answers: dict[str, Any] = {id: answer} if answers is None else dict(answers)
        super().__init__(
            f"interrupt {id!r} of thread {thread_id!r} was answered already, with {start_of(answer)}; "
            f"that answer stands, and nothing of this call was recorded; read the thread's state with aget_state"
        )


class AmbiguousResumeError(DurableGraphError, ValueError):
    """A `Command(resume=...)` that does not name the question that it answers. Nothing was recorded."""

    def __init__(self, thread_id: str, why: str, *, open_ids: Iterable[str]) -> None:
        self.thread_id = thread_id
        self.open_ids: tuple[str, ...] = tuple(open_ids)
        super().__init__(
            f"thread {thread_id!r}: {why}; name the interrupt: Command(resume={{id: answer}}), "
            f"open interrupts: {names(self.open_ids)}"
        )


class SubgraphBusyError(DurableGraphError):
    """Two concurrent calls of a graph with memory per thread, for the same memory. The second call was not made."""

    def __init__(self, graph: str, ns: str) -> None:
        self.graph = graph
        self.ns = ns
        super().__init__(
            f"graph {graph!r} is already running in {ns!r}, and it keeps memory per thread (checkpointer=True); "
            f"make the calls in sequence, or from nodes of "
            f"different names, or for different memories: ainvoke(..., memory='...')"
        )


class UnfinishedChildError(DurableGraphError, RuntimeError):
    """A node ran a graph in a separate thread, and that run stopped before its end. The child thread keeps its state.

    `thread_id` is the child's thread, `interrupts` are its open questions, `pending` its nodes that are left to run.
    Without questions the run stopped at a breakpoint, or another run of the thread is active.
    """

    def __init__(
        self, thread_id: str | None, node: str, *, interrupts: Iterable[Any], pending: Iterable[str], can_wait: bool
    ) -> None:
        self.thread_id = thread_id
        self.node = node
        self.interrupts: tuple[Any, ...] = tuple(interrupts)
        self.pending: tuple[str, ...] = tuple(pending)
        count = len(self.interrupts)
        why = (
            f"with {count} question{'s' if count > 1 else ''} open"
            if count
            else "at a breakpoint or because it is already running"
        )
        waits = "call it without thread_id, so that this run stops with it, or " if can_wait else ""
        super().__init__(
            f"node {node!r} ran a graph in thread {thread_id!r}, which stopped {why}, so there is no result yet; "
            f"{waits}pass version='v2' and read is_stopped and interrupts of its GraphOutput"
        )


class ReplayMismatchError(DurableGraphError):
    """Code that runs again does not repeat what an earlier attempt recorded. The attempt records nothing.

    `kind` is "call" if the code makes another call than the recorded one, whose result it does not get; "unclaimed" if
    it returned without repeating the recorded call; "memory" if a graph with memory per thread has the memory of
    another graph; "question" if a question has another value on each attempt, so that no answer reaches it (the answers
    are kept). `recorded` is the call or the answered question of the earlier attempt, `called` the call or the question
    of this attempt, "" if it made none. `task_id` is the task of the thread's plan.
    """

    def __init__(
        self,
        where: str,
        *,
        recorded: str,
        called: str,
        kind: Literal["call", "unclaimed", "memory", "question"] = "call",
        thread_id: str | None = None,
        task_id: str | None = None,
    ) -> None:
        self.kind: Literal["call", "unclaimed", "memory", "question"] = kind
        self.where = where
        self.recorded = recorded
        self.called = called
        self.thread_id = thread_id
        self.task_id = task_id
        super().__init__(f"{where}{self._what()}; {self._remedy()}")

    @classmethod
    def of_question(cls, thread_id: str, *, answered: str, asked: str) -> Self:
        """A question that has another value each time its code runs."""
        where = f"thread {thread_id!r}"
        return cls(where, recorded=answered, called=asked, kind="question", thread_id=thread_id)

    def _what(self) -> str:
        if self.kind == "question":
            return f" has an answer to {self.recorded}, and its code now asks {self.called}, for the second time"
        if self.kind == "unclaimed":
            return f": {self.recorded} is recorded, and the code returned without calling it again"
        return f": {self.recorded} is recorded at this point, and the code now calls {self.called}"

    def _remedy(self) -> str:
        if self.kind == "question":
            return "a question without a key is identified by its value, so give it a key: interrupt(value, key='...')"
        if self.kind == "memory":
            return (
                "this memory (checkpointer=True) belongs to another graph: give the graph its earlier name, "
                "compile(name=...), or the call a memory of another name, ainvoke(..., memory='...')"
            )
        remedy = "make the same calls again"
        if self.task_id is None:
            return remedy
        place = f"{self.thread_id!r}, {self.task_id!r}"
        if len(place) > _LONG_PLACE:
            place = "error.thread_id, error.task_id"
        return f"{remedy}, or drop the record: graph.adiscard_calls({place})"


class NodeTimeoutError(DurableGraphError):
    """An attempt at a node exceeded its timeout, and was cancelled. `kind` is "run" or "idle"; times are in seconds."""

    def __init__(self, node: str, elapsed: float, *, kind: Literal["run", "idle"], limit: float) -> None:
        self.node = node
        self.elapsed = elapsed
        self.kind: Literal["run", "idle"] = kind
        self.limit = limit
        what, remedy = "ran", "give it a longer timeout"
        if kind == "idle":
            what = "was idle"
            remedy = "let it call runtime.heartbeat() while it works, or give it a longer idle_timeout"
        super().__init__(f"node {node!r} {what} for more than {limit:g} seconds ({elapsed:.3g} in all); {remedy}")


class StepTimeoutError(DurableGraphError, TimeoutError):
    """A superstep exceeded its timeout. Its finished results are kept, and the thread can be resumed."""

    def __init__(self, step: int, limit: float, nodes: Iterable[str]) -> None:
        self.step = step
        self.limit = limit
        self.nodes: tuple[str, ...] = tuple(nodes)
        super().__init__(
            f"superstep {step} did not end within {limit:g} seconds; still running: {names(self.nodes)}; "
            f"finished results are kept: raise the graph's step_timeout and resume"
        )


class GraphDrained(DurableGraphError):  # noqa: N818  # LangGraph's name
    """The run stopped between two supersteps because it was asked to. Resume the thread with None."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"the run was drained ({reason}); resume its thread with None")


class StateMutatedError(DurableGraphError):
    """Code changed the state or the argument of nodes in place. The store would not have the change.

    `channels` are the changed keys. `nodes` are the nodes that ran: the change was made by one of them, its routers, a
    graph or task that it calls, or code that keeps a reference. Results that were not recorded before the change was
    found are discarded. The thread can be resumed from its stored state; this process has dropped the changed state.
    """

    def __init__(self, nodes: Iterable[str], channels: Iterable[str]) -> None:
        self.nodes: tuple[str, ...] = tuple(nodes)
        self.channels: tuple[str, ...] = tuple(dict.fromkeys(channels))
        super().__init__(
            f"{_first(self.channels)} changed in place while {'node' if len(self.nodes) == 1 else 'one of the nodes'} "
            f"{_first(self.nodes)} ran. The store keeps only what a node returns, so its result was not recorded. "
            f"Make a new value, such as [*old, item], return it as the update, and resume the thread"
        )


_SHOWN = 3
_LONGEST = 40


def _first(given: tuple[str, ...]) -> str:
    """The first few names, each of a limited length, to keep messages short."""
    shown = [repr(name if len(name) <= _LONGEST else name[: _LONGEST - 3] + "...") for name in given[:_SHOWN]]
    return ", ".join(shown) + (f" and {len(given) - _SHOWN} more" if len(given) > _SHOWN else "")


class StreamOverflowError(DurableGraphError):
    """A node wrote more events than its reader could buffer, or more than a superstep can have in an event log
    (`is_of_log`). The node fails; the thread can be resumed."""

    def __init__(self, limit: int, *, is_of_log: bool = False) -> None:
        self.limit = limit
        self.is_of_log = is_of_log
        super().__init__(
            f"a superstep has at most {limit} events in the event log: emit fewer, or add supersteps"
            if is_of_log
            else f"{limit} events wait for a slow reader; await the writer, `await writer(data)`, so that the node "
            f'waits for it, or stream with on_slow_reader="gap", which drops events'
        )


class InvalidCallError(DurableGraphError, RuntimeError):
    """A call in the wrong place or at the wrong time. It was not made.

    `kind` is "overlapping" if nothing but the order of two concurrent calls distinguishes them, so that after a crash
    one could get the other's result (`unreadable` are the classes of arguments whose content cannot be read);
    "unnamed_memory" if a node calls graphs with memory per thread twice without naming the memory; "plain_caller" if a
    plain function, which cannot await, called a task; "stream" if a stream was read in the wrong place or at the wrong
    time; "continuation" if a workflow that a node called returned `ContinueAsNew`. `where` is the caller and `called`
    what it called.
    """

    def __init__(
        self,
        text: str,
        *,
        kind: Literal["overlapping", "unnamed_memory", "plain_caller", "stream", "continuation"],
        where: str,
        called: str,
        unreadable: Iterable[str] = (),
    ) -> None:
        self.kind: Literal["overlapping", "unnamed_memory", "plain_caller", "stream", "continuation"] = kind
        self.where = where
        self.called = called
        self.unreadable: tuple[str, ...] = tuple(unreadable)
        super().__init__(text)

    @classmethod
    def of_overlapping(cls, where: str, *, called: str, unreadable: Iterable[str]) -> Self:
        """Two concurrent calls that differ only in their order."""
        classes = tuple(unreadable)
        why = "have the same name"
        if classes:
            why = f"differ only in {names(classes)[:_LONG_PLACE]}, whose content cannot be read"
        text = (
            f"{where} makes two concurrent calls of {called}, and the calls {why}; pass an argument that differs "
            f"(an id, a dataclass), give the functions names (@task(name=), compile(name=)), or await one call first"
        )
        return cls(text, kind="overlapping", where=where, called=called, unreadable=classes)

    @classmethod
    def of_continuation(cls, workflow: str) -> Self:
        """A workflow inside a node that continues as new."""
        text = (
            f"the entrypoint {workflow!r} returned ContinueAsNew, and a node called it: only the outermost workflow of "
            f"a run continues as new; start it with start_child, or call it in a loop"
        )
        return cls(text, kind="continuation", where="a node", called=workflow)

    @classmethod
    def of_unnamed_memory(cls, graph: str, node: str) -> Self:
        """The second call of graphs with memory per thread, without the name of the memory."""
        text = (
            f"node {node!r} calls the graph {graph!r}, which keeps memory per thread (checkpointer=True), for the "
            f"second time without the name of the memory; name the memory in each call: ainvoke(..., memory='...')"
        )
        return cls(text, kind="unnamed_memory", where=f"node {node!r}", called=graph)

    @classmethod
    def of_plain_caller(cls, task: str, node: str) -> Self:
        """A task that a plain function called."""
        text = (
            f"{node!r} is a plain function and called the task {task!r}, which has to be awaited; make {node!r} async"
        )
        return cls(text, kind="plain_caller", where=f"node {node!r}", called=task)

    @classmethod
    def of_stream(cls, text: str) -> Self:
        """A stream that was read in the wrong place or at the wrong time."""
        return cls(text, kind="stream", where="the reader of a stream", called="graph.stream()")
