"""Interrupts, commands and nested runs: what cannot be answered, followed or repeated as asked."""

from collections.abc import Iterable, Mapping
from typing import Any

from durable_graph.errors.tree import DurableGraphError, names

_SHOWN = 80
"""So many characters of an answer are shown."""


class OutsideOfRunError(DurableGraphError, RuntimeError):
    """A function that only works inside a node, router or task was called elsewhere, or after its node had ended."""

    def __init__(self, what: str) -> None:
        self.what = what
        super().__init__(f"{what} works only while a node, a router or a task of a graph is running")


class UnknownInterruptError(DurableGraphError, LookupError):
    """An answer to a question that nobody asks. Nothing was recorded.

    `is_superseded`: the question was asked, and new input or an update took its place before an answer came.
    `is_pruned`: older checkpoints were pruned, and with them whatever they had asked and been answered.
    """

    def __init__(
        self,
        thread_id: str,
        id: str,  # noqa: A002  # what it is called
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
            why = ": new input or an update took its place before an answer came"
        elif is_pruned:
            why = " (what pruned checkpoints asked is not known any more)"
        super().__init__(f"thread {thread_id!r} waits for no interrupt {id!r}{why}; open are: {names(self.open_ids)}")


class InterruptAnsweredError(DurableGraphError):
    """Another answer to the question came first. Nothing of this call was recorded.

    `id` is the question and `answer` the answer that stands. `answers` has the standing answers by id, where the call
    answered several questions, or where it named none and several were answered.
    """

    def __init__(
        self,
        thread_id: str,
        id: str,  # noqa: A002  # what it is called
        answer: Any,
        *,
        answers: Mapping[str, Any] | None = None,
    ) -> None:
        self.thread_id = thread_id
        self.id = id
        self.answer = answer
        self.answers: dict[str, Any] = {id: answer} if answers is None else dict(answers)
        super().__init__(
            f"interrupt {id!r} of thread {thread_id!r} was answered already, with {_short(answer)}; "
            f"that answer stands, and nothing of this call was recorded; aget_state shows where the thread is now"
        )


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


class AmbiguousResumeError(DurableGraphError, ValueError):
    """A `Command(resume=...)` that does not say which question it answers. Nothing was recorded."""

    def __init__(self, thread_id: str, why: str, *, open_ids: Iterable[str]) -> None:
        self.thread_id = thread_id
        self.open_ids: tuple[str, ...] = tuple(open_ids)
        super().__init__(
            f"thread {thread_id!r}: {why}; name the interrupt: Command(resume={{id: answer}}), "
            f"open are: {names(self.open_ids)}"
        )


class InvalidCommandError(DurableGraphError, ValueError):
    """A `Command` that means nothing where it was given."""


class ParentCommandError(DurableGraphError, ValueError):
    """A `Command(graph=Command.PARENT)` in a graph that no other graph runs."""

    def __init__(self, node: str) -> None:
        self.node = node
        super().__init__(
            f"node {node!r} returned a Command for the parent graph, and this graph has none; "
            f"run it as a node of another graph, or leave out graph=Command.PARENT"
        )


class SubgraphBusyError(DurableGraphError):
    """Two calls at once of a graph with memory per thread, which can have only one."""

    def __init__(self, graph: str, ns: str) -> None:
        self.graph = graph
        self.ns = ns
        super().__init__(
            f"graph {graph!r} is at work in {ns!r} already; it keeps memory per thread (checkpointer=True): "
            f"call it one after the other, or from nodes of different names"
        )


class UnfinishedChildError(DurableGraphError, RuntimeError):
    """A node ran a graph in a thread of its own, and that run stopped before its end. The child thread keeps its state.

    `thread_id` is the child's thread, `interrupts` the questions that it waits for answers to, `pending` the nodes that
    it has left to run. Without questions it stopped at a breakpoint, or is at work elsewhere.
    """

    def __init__(
        self, thread_id: str | None, node: str, *, interrupts: Iterable[Any], pending: Iterable[str], can_wait: bool
    ) -> None:
        self.thread_id = thread_id
        self.node = node
        self.interrupts: tuple[Any, ...] = tuple(interrupts)
        self.pending: tuple[str, ...] = tuple(pending)
        count = len(self.interrupts)
        why = f"with {count} question{'s' if count > 1 else ''} open" if count else "at a breakpoint or beside its run"
        waits = "call it without thread_id, so that this run waits with it, or " if can_wait else ""
        super().__init__(
            f"node {node!r} ran a graph in thread {thread_id!r}, which stopped {why}, so its result is not there yet; "
            f"{waits}pass version='v2' and read is_stopped and interrupts of its GraphOutput"
        )


class ReplayMismatchError(DurableGraphError):
    """Code that is run again called something else than the first time. What was recorded is not handed to it."""

    def __init__(self, where: str, *, position: int, recorded: str, called: str, is_memory: bool = False) -> None:
        self.position = position
        self.recorded = recorded
        self.called = called
        remedy = (
            "a node that is run again has to make the same calls in the same order, or the thread has to be forked "
            "before it"
        )
        if is_memory:
            remedy = (
                "what it remembers here (checkpointer=True) is another graph's: give it the name that it had, with "
                "compile(name=...), or call it from a node of another name, where its memory begins anew"
            )
        super().__init__(f"{where}: call {position + 1} was recorded as {recorded} and is now {called}; {remedy}")


class NodeTimeoutError(DurableGraphError):
    """An attempt at a node took too long, and was cancelled. `kind` is "run" or "idle"; times are in seconds."""

    def __init__(self, node: str, elapsed: float, *, kind: str, limit: float) -> None:
        self.node = node
        self.elapsed = elapsed
        self.kind = kind
        self.limit = limit
        what, remedy = "ran", "give it a longer timeout"
        if kind == "idle":
            what = "gave no sign of life"
            remedy = "let it call runtime.heartbeat() while it works, or give it a longer idle_timeout"
        super().__init__(f"node {node!r} {what} for more than {limit:g} seconds ({elapsed:.3g} in all); {remedy}")


class StepTimeoutError(DurableGraphError, TimeoutError):
    """A superstep took too long. What had finished in it is kept, and the thread can be resumed."""

    def __init__(self, step: int, limit: float, nodes: Iterable[str]) -> None:
        self.step = step
        self.limit = limit
        self.nodes: tuple[str, ...] = tuple(nodes)
        super().__init__(
            f"superstep {step} was not over after {limit:g} seconds; still running: {names(self.nodes)}; "
            f"what had finished is kept: raise the graph's step_timeout and resume"
        )


class GraphDrained(DurableGraphError):  # noqa: N818  # LangGraph's name
    """The run stopped between two supersteps because it was asked to. Resume the thread with None."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"the run was drained ({reason}); resume its thread with None")


class StateMutatedError(DurableGraphError):
    """A node changed the state that it was given, in place. What it wrote is discarded."""

    def __init__(self, node: str, channels: Iterable[str]) -> None:
        self.node = node
        self.channels: tuple[str, ...] = tuple(channels)
        super().__init__(
            f"node {node!r} changed its input in place: {names(map(repr, self.channels))}; "
            f"no store ever sees that: return an update instead"
        )


class StreamOverflowError(DurableGraphError):
    """A node told its reader more than the reader could take in. The node fails; the thread can be resumed."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        super().__init__(
            f"{limit} events wait for a slow reader: await the writer, `await writer(data)`, so that the node waits "
            f'for it, or stream with on_slow_reader="gap", which drops events'
        )


class StreamMisuseError(DurableGraphError, RuntimeError):
    """A stream of events read where or when it cannot be."""


class PlainCallerError(DurableGraphError, RuntimeError):
    """A task was called by a plain function, which cannot await it."""

    def __init__(self, task: str, node: str) -> None:
        self.task = task
        self.node = node
        super().__init__(
            f"{node!r} is a plain function and called the task {task!r}, which has to be awaited; make {node!r} async"
        )
