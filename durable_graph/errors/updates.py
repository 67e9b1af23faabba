"""Values that are no updates of a state: in an input, in an update from outside, in the result of a node."""

from collections.abc import Iterable
from typing import Literal, Self

from durable_graph.errors.tree import DurableGraphError, kind_of, listed, names, quoted


class InvalidUpdateError(DurableGraphError, ValueError):
    """A value that is no update of the state, in an input, in an update from outside or in the result of a node; or a
    `Command` that has no meaning in its place.
    """


class StateKeyError(InvalidUpdateError, KeyError):
    """A key that cannot be used.

    `kind` is "unknown" for a key that the state, or the schema of a graph's input, does not have; "alias" for the alias
    of a field, `alias_of`, because keys are the names of fields; "managed" for a write to a key that is computed for
    each task, such as one declared as `RemainingSteps`; "missing" if a node's input cannot be built because its class
    requires a key that has no value yet. `where` is the place of the key: an input, a result, or the class of the
    missing key. `known` are the keys that the place has, or those with a value.
    """

    def __init__(
        self,
        text: str,
        *,
        kind: Literal["unknown", "alias", "managed", "missing"],
        key: object,
        where: str,
        known: Iterable[str] = (),
        alias_of: str | None = None,
    ) -> None:
        self.kind: Literal["unknown", "alias", "managed", "missing"] = kind
        self.key = key
        self.where = where
        self.known: tuple[str, ...] = tuple(sorted(known))
        self.alias_of = alias_of
        super().__init__(text)

    @classmethod
    def of_unknown(
        cls,
        key: object,
        *,
        where: str,
        known: Iterable[str],
        whose: str = "the state",
        alias_of: str | None = None,
        is_droppable: bool = False,
    ) -> Self:
        """An unknown key, or an alias. A graph with `extra_keys="ignore"` drops a key that `is_droppable`."""
        keys = tuple(known)
        if alias_of is not None:
            text = f"{where} has the key {quoted(key)}, an alias; keys are the names of fields: use {quoted(alias_of)}"
            return cls(text, kind="alias", key=key, where=where, known=keys, alias_of=alias_of)
        text = f"{where} has the key {quoted(key)}, which {whose} does not have; its keys: {names(keys)}"
        if is_droppable:
            text += '; StateGraph(..., extra_keys="ignore") drops such keys'
        return cls(text, kind="unknown", key=key, where=where, known=keys)

    @classmethod
    def of_managed(cls, key: str, *, where: str) -> Self:
        """A write to a key that is computed for each task."""
        text = f"{where} writes {key!r}, which is computed for each task and cannot be written; leave it out"
        return cls(text, kind="managed", key=key, where=where)

    @classmethod
    def of_missing(cls, key: str, *, schema: str, known: Iterable[str]) -> Self:
        """A key that a node's class requires, and that has no value."""
        keys = tuple(known)
        text = (
            f"{schema} requires {key!r}, which has no value yet (keys with a value: {names(keys)}); "
            f"pass it in the input or give it a default"
        )
        return cls(text, kind="missing", key=key, where=schema, known=keys)


class ConcurrentUpdateError(InvalidUpdateError):
    """Two writes to one channel in one superstep that cannot be merged.

    `kind` is "update" if the channel has no reducer, and "overwrite" if one of the writes is an `Overwrite`. `nodes`
    are the authors of all these writes, `overwriting` the authors of the `Overwrite`s among them.
    """

    def __init__(self, channel: str, *, nodes: Iterable[str], overwriting: Iterable[str] = ()) -> None:
        self.channel = channel
        self.nodes: tuple[str, ...] = tuple(nodes)
        self.overwriting: tuple[str, ...] = tuple(overwriting)
        self.kind: Literal["update", "overwrite"] = "overwrite" if self.overwriting else "update"
        if self.overwriting:
            text = (
                f"channel {channel!r} takes an Overwrite only as the single write of a superstep and got "
                f"{len(self.nodes)} writes, from: {listed(self.nodes)}; the Overwrites are from: "
                f"{listed(self.overwriting)}; run these nodes one after the other, or write the key once"
            )
        else:
            text = (
                f"channel {channel!r} takes one write per superstep and got {len(self.nodes)}, "
                f"from: {listed(self.nodes)}; declare it as Annotated[<type>, <reducer>] to merge them"
            )
        super().__init__(text)


class InvalidStateValueError(InvalidUpdateError):
    """A value that the state refuses. Nothing of the update was recorded.

    `kind` is "model" if the state's pydantic model refuses it, and "rule" if the rule of its channel does, such as for
    a message without an id on which no id can be set. `problems` are pairs of a place in the state and the reason, and
    `key` is the key of the first place. `schema` is the name of the model, None for a rule.
    """

    def __init__(
        self,
        text: str,
        *,
        kind: Literal["model", "rule"],
        problems: Iterable[tuple[str, str]],
        where: str,
        schema: str | None = None,
    ) -> None:
        self.kind: Literal["model", "rule"] = kind
        self.schema = schema
        self.where = where
        self.problems: tuple[tuple[str, str], ...] = tuple(problems)
        self.key: str = self.problems[0][0].split(".")[0]
        super().__init__(text)

    @classmethod
    def of_model(cls, schema: str, problems: Iterable[tuple[str, str]], *, where: str) -> Self:
        """An update that the state's pydantic model refuses."""
        every = tuple(problems)
        reasons = "; ".join(f"{place}: {said}" if place else said for place, said in every)
        text = f"{where} makes the state an invalid {schema}: {reasons}"
        return cls(text, kind="model", problems=every, where=where, schema=schema)

    @classmethod
    def of_rule(cls, channel: str, *, where: str, why: str) -> Self:
        """A write that its channel's rule cannot accept."""
        text = f"{where} cannot be written to channel {channel!r}: {why}"
        return cls(text, kind="rule", problems=[(channel, why)], where=where)


class InvalidNodeResultError(InvalidUpdateError, TypeError):
    """A node or one of its routers returned a value that it cannot return.

    `kind` is "update" if the node's value is neither a dict of updates, nor an instance of the state's class, nor None;
    "route" if the value of its router `router` is neither a node's name, nor END, nor a Send, nor a list of them;
    "parent" if it returned a `Command(graph=Command.PARENT)` in a graph that no other graph runs.
    """

    def __init__(
        self,
        text: str,
        *,
        kind: Literal["update", "route", "parent"],
        node: str,
        result_type: type,
        router: str | None = None,
    ) -> None:
        self.kind: Literal["update", "route", "parent"] = kind
        self.node = node
        self.router = router
        self.result_type = result_type
        super().__init__(text)

    @classmethod
    def of_update(cls, node: str, result: object, *, expected: str) -> Self:
        """A result that is no update."""
        text = f"node {node!r} returned {kind_of(result)}; a node returns {expected}"
        return cls(text, kind="update", node=node, result_type=type(result))

    @classmethod
    def of_route(cls, router: str, node: str, result: object) -> Self:
        """The result of a router that is no route."""
        text = (
            f"router {router!r} of node {node!r} returned {kind_of(result)}; "
            f"a router returns a node's name, END, a Send, or a list of these"
        )
        return cls(text, kind="route", node=node, result_type=type(result), router=router)

    @classmethod
    def of_parent(cls, node: str, result: object) -> Self:
        """A Command for the parent graph, in the outermost graph."""
        text = (
            f"node {node!r} returned a Command for the parent graph, and this graph has none; "
            f"run this graph as a node of another graph, or leave out graph=Command.PARENT"
        )
        return cls(text, kind="parent", node=node, result_type=type(result))


class InvalidInputError(InvalidUpdateError, TypeError):
    """The input of a run has the wrong shape."""

    def __init__(self, value: object, *, expected: str) -> None:
        self.input_type: type = type(value)
        super().__init__(f"the input is {kind_of(value)}; it has to be {expected}")


class AmbiguousUpdateError(InvalidUpdateError):
    """An update of a thread's state without as_node, where more than one node is possible. Nothing was changed."""

    def __init__(self, candidates: Iterable[str]) -> None:
        self.candidates: tuple[str, ...] = tuple(candidates)
        super().__init__(
            f"the update is ambiguous without as_node; pass as_node with one of these nodes: {names(self.candidates)}"
        )
