"""Inputs of a call, and results of a node or a router, that cannot be used."""

from collections.abc import Collection, Iterable
from typing import Any

from durable_graph.errors.elsewhere import OPTIONS
from durable_graph.errors.shown import shown
from durable_graph.errors.tree import DurableGraphError, bounded, kind_of, listed, names, quoted


class InvalidUpdateError(DurableGraphError):
    """A value that is no update of the state, in an input or in the result of a node."""


class UnknownStateKeyError(InvalidUpdateError, KeyError):
    """A key that the state, or the schema of a graph's input, does not have.

    `alias_of` is the field of which the key is an alias, if it is one: keys are the names of fields. If `is_droppable`,
    a graph with `extra_keys="ignore"` would drop the key.
    """

    def __init__(
        self,
        key: object,
        *,
        where: str,
        known: Iterable[str],
        whose: str = "the state",
        alias_of: str | None = None,
        is_droppable: bool = False,
    ) -> None:
        self.key = key
        self.where = where
        self.known: tuple[str, ...] = tuple(sorted(known))
        self.alias_of = alias_of
        text = f"{where} has the key {quoted(key)}, which {whose} does not have; its keys: {names(self.known)}"
        if is_droppable:
            text += '; StateGraph(..., extra_keys="ignore") drops such keys'
        if alias_of is not None:
            text = f"{where} has the key {quoted(key)}, an alias; keys are the names of fields: use {quoted(alias_of)}"
        super().__init__(text)


class MissingStateKeyError(DurableGraphError, KeyError):
    """A node's input cannot be built: its class requires a key that has no value yet."""

    def __init__(self, key: str, *, schema: str, known: Iterable[str]) -> None:
        self.key = key
        self.schema = schema
        self.known: tuple[str, ...] = tuple(sorted(known))
        super().__init__(
            f"{schema} requires {key!r}, which has no value yet (keys with a value: {names(self.known)}); "
            f"pass it in the input or give it a default"
        )


class ConcurrentUpdateError(InvalidUpdateError):
    """Two writes in one superstep to a channel that has no reducer to merge them."""

    def __init__(self, channel: str, *, nodes: Iterable[str]) -> None:
        self.channel = channel
        self.nodes: tuple[str, ...] = tuple(nodes)
        super().__init__(
            f"channel {channel!r} takes one write per superstep and got {len(self.nodes)}, "
            f"from: {listed(self.nodes)}; declare it as Annotated[<type>, <reducer>] to merge them"
        )


class ConcurrentOverwriteError(ConcurrentUpdateError):
    """An `Overwrite` and another write to the same channel in one superstep, which contradict each other.

    `nodes` are the authors of all these writes, `overwriting` the authors of the `Overwrite`s among them.
    """

    def __init__(self, channel: str, *, nodes: Iterable[str], overwriting: Iterable[str]) -> None:
        self.channel = channel
        self.nodes: tuple[str, ...] = tuple(nodes)
        self.overwriting: tuple[str, ...] = tuple(overwriting)
        # The base's text has a remedy for plain writes, which does not apply here.
        InvalidUpdateError.__init__(
            self,
            f"channel {channel!r} takes an Overwrite only as the single write of a superstep and got {len(self.nodes)} "
            f"writes, from: {listed(self.nodes)}; the Overwrites are from: {listed(self.overwriting)}; "
            "run these nodes one after the other, or write the key once",
        )


class ManagedKeyError(InvalidUpdateError, KeyError):
    """A write to a key that is computed for each task, such as one declared as `RemainingSteps`."""

    def __init__(self, key: str, *, where: str) -> None:
        self.key = key
        self.where = where
        super().__init__(f"{where} writes {key!r}, which is computed for each task and cannot be written; leave it out")


class UnmergeableUpdateError(InvalidUpdateError, ValueError):
    """A write that its channel's rule cannot accept, such as a message without an id on which no id can be set."""

    def __init__(self, channel: str, *, where: str, why: str) -> None:
        self.channel = channel
        self.where = where
        self.why = why
        super().__init__(f"{where} cannot be written to channel {channel!r}: {why}")


class InvalidStateValueError(InvalidUpdateError, ValueError):
    """An update that the state's pydantic model refuses. Nothing of it was recorded.

    `problems` are pairs of a place in the state and pydantic's message; `key` is the key of the first place.
    """

    def __init__(self, schema: str, problems: Iterable[tuple[str, str]], *, where: str) -> None:
        self.schema = schema
        self.where = where
        self.problems: tuple[tuple[str, str], ...] = tuple(problems)
        self.key: str = self.problems[0][0].split(".")[0]
        listed = "; ".join(f"{place}: {said}" if place else said for place, said in self.problems)
        super().__init__(f"{where} makes the state an invalid {schema}: {listed}")


class InvalidNodeResultError(InvalidUpdateError, TypeError):
    """A node returned a value that is neither a dict of updates, nor an instance of the state's class, nor None."""

    def __init__(self, node: str, result: object, *, expected: str) -> None:
        self.node = node
        self.result_type: type = type(result)
        super().__init__(f"node {node!r} returned {kind_of(result)}; a node returns {expected}")


class InvalidInputError(InvalidUpdateError, TypeError):
    """The input of a run has the wrong shape."""

    def __init__(self, value: object, *, expected: str) -> None:
        self.input_type: type = type(value)
        super().__init__(f"the input is {kind_of(value)}; it has to be {expected}")


class NodeCancelledError(DurableGraphError):
    """A node raised `CancelledError` although nobody had cancelled the run."""

    def __init__(self, node: str) -> None:
        self.node = node
        super().__init__(
            f"node {node!r} raised CancelledError by itself; "
            f"if a task that it awaits was cancelled, catch the error in the node"
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


class UnknownNodeError(DurableGraphError, LookupError):
    """A name for which the graph has no node."""

    def __init__(self, name: object, *, where: str, known: Iterable[str], whose: str = "the graph") -> None:
        self.name = name
        self.where = where
        self.known: tuple[str, ...] = tuple(sorted(known))
        super().__init__(f"{where} {quoted(name)}; {whose} has: {names(self.known)}")


class UnknownRouteError(UnknownNodeError):
    """A router returned a name that is no node."""


class UnknownSendTargetError(UnknownNodeError):
    """A `Send` to a name that is no node."""


class StalePlanError(UnknownNodeError):
    """The stored plan of a thread needs a node or an error handler that this graph no longer has.

    The thread is untouched.
    """

    def __init__(self, name: object, *, where: str, known: Iterable[str], lost: str = "the node") -> None:
        super().__init__(name, where=where, known=known)
        way_out = f"add {lost} to the graph again, update the thread with as_node=... of a node it has (aupdate_state)"
        text = (
            f"{where} {quoted(name)}; the graph has: {names(self.known)}; {way_out}, or fork from an older checkpoint"
        )
        self.args: tuple[str, ...] = (bounded(text),)


class StaleResultError(DurableGraphError):
    """This graph cannot read the recorded result of a task, because a key or a class has changed.

    The thread is untouched.
    """

    def __init__(self, thread_id: str, node: str, *, why: str) -> None:
        self.thread_id = thread_id
        self.node = node
        self.why = why
        super().__init__(
            f"thread {thread_id!r} has a result of node {node!r} that this graph cannot read: {why}; "
            f"declare it as it was, supersede the result by an update with as_node=... (aupdate_state) or "
            f"new input, or fork from an older checkpoint"
        )


class InvalidRouteError(DurableGraphError, TypeError):
    """A router returned a value that is neither a node's name, nor END, nor a Send, nor a list of them."""

    def __init__(self, router: str, node: str, result: object) -> None:
        self.router = router
        self.node = node
        self.result_type: type = type(result)
        super().__init__(
            f"router {router!r} of node {node!r} returned {kind_of(result)}; "
            f"a router returns a node's name, END, a Send, or a list of these"
        )


class MissingThreadIdError(DurableGraphError, ValueError):
    """A graph with a checkpointer was called without a thread id."""

    def __init__(self) -> None:
        super().__init__(
            "this graph has a checkpointer, so the call has to name a thread: pass thread_id='...' "
            "or config={'configurable': {'thread_id': '...'}}"
        )


class MissingCheckpointerError(DurableGraphError, ValueError):
    """A call that needs stored state, on a graph without a checkpointer."""

    def __init__(self, what: str) -> None:
        self.what = what
        super().__init__(f"{what} needs a checkpointer: compile(checkpointer=SqliteSaver('runs.db'))")


class UnknownConfigKeyError(DurableGraphError, ValueError):
    """A key of the config dict that the library does not know. It is refused rather than ignored."""

    def __init__(self, key: object, *, known: Iterable[str], remedy: str = "") -> None:
        self.key = key
        self.known: tuple[str, ...] = tuple(sorted(known))
        super().__init__(
            f"the config has no key {quoted(key)}{'; ' + remedy if remedy else ''}; known keys: {names(self.known)}"
        )


class InvalidOptionError(DurableGraphError, ValueError):
    """An option with an invalid value."""

    def __init__(self, option: str, value: object, *, allowed: str) -> None:
        self.option = option
        self.value = value
        self.allowed = allowed
        super().__init__(f"{option}={quoted(value)} is not possible; it takes {allowed}")


class UnknownOptionError(DurableGraphError, TypeError):
    """A keyword argument that a call does not have."""

    def __init__(self, call: str, option: str, *, known: Iterable[str]) -> None:
        self.call = call
        self.option = option
        self.known: tuple[str, ...] = tuple(sorted(known))
        remedy = OPTIONS.get(option)
        way_out = "leave it out" if remedy is None else f"{option}= is LangGraph's: {remedy}"
        super().__init__(
            f"{call} got an unexpected keyword argument {option!r}; it takes: {names(self.known)}; {way_out}"
        )

    @classmethod
    def check(cls, call: str, given: Iterable[str], *, known: Collection[str]) -> None:
        """Raise the error for the first unknown argument."""
        for option in given:
            if option not in known:
                raise cls(call, option, known=known)


class ContradictingOptionError(DurableGraphError, ValueError):
    """The config dict and a keyword argument have different values."""

    def __init__(self, option: str, *, keyword: object, config: object) -> None:
        self.option = option
        self.keyword = keyword
        self.config = config
        super().__init__(f"{option} is {quoted(keyword)} as keyword and {quoted(config)} in the config; give it once")
