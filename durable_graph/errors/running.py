"""Errors of a running graph, names that do not exist, and threads that do not fit a changed graph."""

from collections.abc import Iterable
from typing import Any, Final, Literal, Self

from durable_graph.errors.shown import shown
from durable_graph.errors.tree import DurableGraphError, bounded, names, quoted

_MOST_SHOWN: Final = 180
"""The maximum number of characters of a reason in a message."""


class NodeCancelledError(DurableGraphError):
    """A node raised `CancelledError` although nobody had cancelled the run."""

    def __init__(self, node: str) -> None:
        self.node = node
        super().__init__(
            f"node {node!r} raised CancelledError by itself; "
            f"if a task that it awaits was cancelled, catch the error in the node"
        )


class NodeExitedError(DurableGraphError):
    """A node or a task raised `SystemExit` in a run that a worker executes. The run fails; the worker continues.

    `code` is that of the `SystemExit`, which is `__cause__`.
    """

    def __init__(self, node: str, code: object) -> None:
        self.node = node
        self.code = code
        super().__init__(
            f"{node!r} raised SystemExit({bounded(repr(code), 40)}), which would end the worker's process and its "
            f"other runs: return or raise an error instead of calling sys.exit()"
        )


class ReducerError(DurableGraphError):
    """A reducer raised an exception. Nothing was committed, and the nodes' results are kept.

    The error is also an instance of the class of the reducer's exception, with its attributes: `except ValueError`
    catches both. `__cause__` is the exception itself. If its class cannot be extended, such as pydantic's, the error is
    only a `ReducerError`.
    """

    def __init__(self, channel: str, *, nodes: Iterable[str], why: str) -> None:
        self.channel = channel
        self.nodes: tuple[str, ...] = tuple(nodes)
        self.why = why
        super().__init__(
            f"the reducer of channel {channel!r} failed on the writes of {names(self.nodes)}: {bounded(why, 160)}; "
            f"the nodes' results are kept: correct the reducer and resume"
        )

    @staticmethod
    def of(error: Exception, channel: str, *, nodes: Iterable[str]) -> "ReducerError":
        """The error to raise for a reducer's exception."""
        plain = ReducerError(channel, nodes=nodes, why=shown(error))
        if isinstance(error, StopIteration | StopAsyncIteration | DurableGraphError):
            # The first two have another meaning when a coroutine raises them; the library's errors have their own
            # facts.
            return plain
        return _as_raised(type(error), plain.args, {**getattr(error, "__dict__", {}), **plain.__dict__})


class _AsRaised(ReducerError):  # noqa: N818  # the class made of it is named ReducerError
    """A `ReducerError` that is of another class as well. The combined class is made when it is needed."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _as_raised, (type(self).__bases__[1], self.args, dict(self.__dict__))


def _as_raised(raised: type[Exception], args: tuple[Any, ...], facts: dict[str, Any]) -> ReducerError:
    try:
        kind: Any = type("ReducerError", (_AsRaised, raised), {"__module__": __name__})
        made: ReducerError = kind._from_parts(args, facts)
    except TypeError:
        # The class cannot be extended, or its instances cannot be made without its own arguments.
        return ReducerError._from_parts(args, facts)
    return made


class UnknownNameError(DurableGraphError, LookupError):
    """A name of something that does not exist.

    `kind` says what was named: "node"; "route", the node that a router or a Command chose; "send", the node of a
    `Send`; "namespace", the checkpoint namespace of a nested graph; "task", a task that the thread has to run;
    "checkpoint", a checkpoint of the thread. `name` is the name and `where` the place that has it. `known` are the
    names that exist, empty for checkpoints: `aget_state_history` lists those. `thread_id` is the thread of a task or a
    checkpoint, otherwise None.
    """

    def __init__(
        self,
        text: str,
        *,
        kind: Literal["node", "route", "send", "namespace", "task", "checkpoint", "graph"],
        name: object,
        where: str,
        known: Iterable[str] = (),
        thread_id: str | None = None,
    ) -> None:
        self.kind: Literal["node", "route", "send", "namespace", "task", "checkpoint", "graph"] = kind
        self.name = name
        self.where = where
        self.known: tuple[str, ...] = tuple(known)
        self.thread_id = thread_id
        super().__init__(text)

    @classmethod
    def of_node(
        cls,
        name: object,
        *,
        where: str,
        known: Iterable[str],
        whose: str = "the graph",
        kind: Literal["node", "route", "send"] = "node",
    ) -> Self:
        """A name that is no node of the graph, or not among the nodes that `whose` has."""
        nodes = tuple(sorted(known))
        text = f"{where} {quoted(name)}; {whose} has: {names(nodes)}"
        return cls(text, kind=kind, name=name, where=where, known=nodes)

    @classmethod
    def of_namespace(cls, ns: str, *, known: Iterable[str]) -> Self:
        """A checkpoint namespace to which no graph belongs. `known` are the nodes with a nested graph."""
        nodes = tuple(known)
        text = f"no nested graph has the namespace {ns!r}; nodes with a nested graph: {names(nodes)}"
        return cls(text, kind="namespace", name=ns, where="the graph", known=nodes)

    @classmethod
    def of_task(cls, thread_id: str, task_id: object, *, node: str | None, known: Iterable[str]) -> Self:
        """A task id of no task in the thread's plan, or of no task of the given node."""
        ids = tuple(known)
        whose = "" if node is None else f" of node {node!r}"
        text = f"thread {thread_id!r} has no task {quoted(task_id)}{whose} to run; its tasks: {names(ids)}"
        where = "the thread" if node is None else f"node {node!r}"
        return cls(text, kind="task", name=task_id, where=where, known=ids, thread_id=thread_id)

    @classmethod
    def of_graph(cls, name: object, known: Iterable[str]) -> Self:
        """A graph that an `App` does not have."""
        text = f"the app has no graph {quoted(name)}; it has: {names(known)}"
        return cls(text, kind="graph", name=name, where="the app", known=tuple(known))

    @classmethod
    def of_checkpoint(cls, thread_id: str, checkpoint_id: object) -> Self:
        """A checkpoint id that the thread does not have."""
        text = (
            f"thread {thread_id!r} has no checkpoint {quoted(checkpoint_id)}; aget_state_history lists the ones it has"
        )
        return cls(text, kind="checkpoint", name=checkpoint_id, where="the thread", thread_id=thread_id)


class GraphChangedError(DurableGraphError, LookupError):
    """What a thread has stored does not fit this graph, which has changed since. The thread is untouched.

    `kind` is "node" if the stored plan needs the node `name`, which the graph no longer has; "handler" if the plan
    needs the node's error handler, which it no longer has; "result" if a key or a class has changed, so that the
    recorded result of the node cannot be read; "update" if an update of the running graph cannot be read; "channel" if
    the stored value of the channel `name` does not fit its declaration. `why` says what does not fit. `known` are the
    nodes that the graph has, for the first two, and `thread_id` is the thread, None for a channel.
    """

    def __init__(
        self,
        text: str,
        *,
        kind: Literal["node", "handler", "result", "update", "channel"],
        name: str,
        why: str,
        known: Iterable[str] = (),
        thread_id: str | None = None,
    ) -> None:
        self.kind: Literal["node", "handler", "result", "update", "channel"] = kind
        self.name = name
        self.why = why
        self.known: tuple[str, ...] = tuple(sorted(known))
        self.thread_id = thread_id
        super().__init__(text)

    @classmethod
    def of_plan(
        cls,
        name: str,
        *,
        why: str,
        known: Iterable[str],
        thread_id: str | None,
        kind: Literal["node", "handler"] = "node",
    ) -> Self:
        """The stored plan needs a node, or a node's error handler, that the graph does not have."""
        nodes = tuple(known)
        lost = "the node" if kind == "node" else "the error handler"
        text = (
            f"{why} {quoted(name)}; the graph has: {names(nodes)}; add {lost} to the graph again, "
            f"update the thread with as_node=... of a node it has (aupdate_state), or fork from an older checkpoint"
        )
        return cls(text, kind=kind, name=name, why=why, known=nodes, thread_id=thread_id)

    @classmethod
    def of_result(cls, thread_id: str, node: str, *, why: str) -> Self:
        """The recorded result of a task cannot be read."""
        text = (
            f"thread {thread_id!r} has a result of node {node!r} that this graph cannot read: {why}; "
            f"declare it as it was, supersede the result by an update with as_node=... (aupdate_state) or "
            f"new input, or fork from an older checkpoint"
        )
        return cls(text, kind="result", name=node, why=why, thread_id=thread_id)

    @classmethod
    def of_update(cls, thread_id: str, key: str, *, why: str) -> Self:
        """An update of the running graph cannot be read."""
        reason = bounded(why, _MOST_SHOWN)
        text = (
            f"thread {quoted(thread_id, 40)} has the update {quoted(key, 40)}, which this graph cannot read: {reason}; "
            f"declare the key as it was when the update was sent, or drop the update: app.discard_update"
        )
        return cls(text, kind="update", name=thread_id, why=why, thread_id=thread_id)

    @classmethod
    def of_channel(cls, channel: str, *, why: str) -> Self:
        """The stored value of a channel does not fit its declaration."""
        # Both may contain the user's text, of any length.
        name, reason = quoted(channel, 40), bounded(why, _MOST_SHOWN)
        text = (
            f"the stored value of channel {name} does not fit its declaration: {reason}; "
            f"declare it as it was, give upcasts={{{name}: <function>}}, or give the new channel another name"
        )
        return cls(text, kind="channel", name=channel, why=why)
