"""A graph that was checked: what the engine plans with and the runtime calls. Nothing here changes once made."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from durable_graph.channels import Channel, Joined, NewId, Reduced
from durable_graph.codec import StoredType, TypeCodec, Upcast
from durable_graph.graph.policies import CachePolicy, RetryPolicy, TimeoutPolicy
from durable_graph.graph.schema import Schema
from durable_graph.graph.subgraph import Subgraph


@dataclass(frozen=True, slots=True)
class Router:
    """A conditional edge. `choices` maps what `path` returns to node names; None takes the result as the name itself.

    `input` is what it is called with, and with nothing else.
    """

    name: str
    path: Callable[..., Any]
    choices: Mapping[Any, str] | None
    input: Schema
    injected: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Handler:
    """What runs in a node's place once it has failed for good. `retry` and `timeout` are the defaults of all nodes:
    those of the node itself are about the node."""

    action: Callable[..., Any]
    is_async: bool
    injected: Mapping[str, str]
    retry: tuple[RetryPolicy, ...] = ()
    timeout: TimeoutPolicy | None = None
    destinations: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Node:
    """A node as the runtime calls it.

    `injected` names the parameters to pass beside the state ("runtime", "config"). `edges` are the static successors
    without END; joins are kept by the topology. `destinations` are where its Commands go, as far as it says, and
    `destination_labels` what some of these ways are called in a drawing.
    """

    name: str
    action: Callable[..., Any]
    is_async: bool
    injected: Mapping[str, str]
    input: Schema
    edges: tuple[str, ...]
    routers: tuple[Router, ...]
    defer: bool = False
    metadata: Mapping[str, Any] = field(default_factory=dict)
    retry: tuple[RetryPolicy, ...] = ()
    timeout: TimeoutPolicy | None = None
    cache: CachePolicy | None = None
    error_handler: Handler | None = None
    destinations: tuple[str, ...] = ()
    destination_labels: Mapping[str, str] = field(default_factory=dict)
    subgraph: Subgraph | None = None


UNNAMED: Final = "graph"
"""The name of a graph that was given none."""


@dataclass(frozen=True, slots=True)
class Join:
    """`target` runs once every one of `sources` has finished since it last ran. `channel` keeps who has."""

    channel: str
    rule: Joined
    target: str


@dataclass(frozen=True, slots=True)
class ChannelCodec:
    """How a channel's value and a write to it become bytes."""

    value: TypeCodec
    update: TypeCodec


@dataclass(frozen=True, slots=True)
class ChannelPlan:
    """A channel as supersteps use it: each question to its rule is asked once, when the graph is compiled.

    `prepare` and `is_checked` are None where the rule takes every write as it is. `codec` is None where nothing of the
    channel is stored. `is_reduced`: a function of the user's makes its values, which may be of another type than
    declared. `direct` are the types whose values are written as they are: nothing of them has to be converted.
    """

    rule: Channel
    replaces: bool
    takes_one_write: bool
    is_stored: bool
    is_transient: bool
    stores_updates: bool
    is_reduced: bool
    prepare: Callable[[Any, NewId], Any] | None
    is_checked: Callable[[Any], bool] | None
    codec: ChannelCodec | None
    direct: frozenset[type]


def channel_plan(rule: Channel, codec: ChannelCodec | None) -> ChannelPlan:
    """The plan of a channel with this rule."""
    return ChannelPlan(
        rule=rule,
        replaces=rule.replaces,
        takes_one_write=rule.takes_one_write,
        is_stored=rule.is_stored,
        is_transient=rule.is_transient,
        stores_updates=rule.stores_updates,
        is_reduced=isinstance(rule, Reduced),
        prepare=None if type(rule).prepare is Channel.prepare else rule.prepare,
        is_checked=None if type(rule).is_checked is Channel.is_checked else rule.is_checked,
        codec=codec,
        direct=frozenset() if codec is None else codec.update.direct,
    )


@dataclass(frozen=True, slots=True)
class OpenTypes:
    """What values may be of where the declared type leaves it open: classes under tags that the user gave them, types
    that the graph names somewhere, and classes with a `StoredType`; and the upcasts of classes among them."""

    tagged: tuple[tuple[str, type], ...] = ()
    named: tuple[Any, ...] = ()
    stored: tuple[StoredType[Any], ...] = ()
    upcasts: tuple[tuple[type, Upcast], ...] = ()


@dataclass(frozen=True, slots=True)
class Topology:
    """`entry` and `entry_routers` lead out of START. `channels` holds the state's own, `joins` the internal ones.

    `codecs` has an entry for every channel of both that is stored; `argument` is the codec of what a Send carries.
    `transient` are the channels that a superstep clears unless it writes to them, `untracked` those never stored.
    `types` are those that a graph around this one has to be able to store as well. `graph_name` is the name that its
    threads belong to, None for a graph without one; `formerly` are names that it once had; `nodes_digest` is a digest
    of its nodes' names. `defaults` make the values that channels with a reducer begin with, where those are not empty.
    With `ignores_extra_keys`, writes to keys that the state does not have are dropped. `plans` are the plans of
    `channels`.
    """

    name: str
    state: Schema
    nodes: Mapping[str, Node]
    entry: tuple[str, ...]
    entry_routers: tuple[Router, ...]
    channels: Mapping[str, Channel]
    joins: tuple[Join, ...]
    joins_of_source: Mapping[str, tuple[Join, ...]]
    joins_of_target: Mapping[str, tuple[Join, ...]]
    codecs: Mapping[str, ChannelCodec]
    argument: TypeCodec
    input: Schema
    output: Schema
    context: Any = None
    transient: tuple[str, ...] = ()
    untracked: frozenset[str] = frozenset()
    types: OpenTypes = OpenTypes()
    deferred: frozenset[str] = frozenset()
    graph_name: str | None = None
    formerly: tuple[str, ...] = ()
    nodes_digest: bytes = b""
    defaults: Mapping[str, Callable[[], Any]] = field(default_factory=dict)
    ignores_extra_keys: bool = False
    plans: Mapping[str, ChannelPlan] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        plans = {name: channel_plan(rule, self.codecs.get(name)) for name, rule in self.channels.items()}
        object.__setattr__(self, "plans", plans)

    def start_of(self, channel: str) -> Any:
        """The value of a channel before any write, or MISSING: the default that its key declares, or an empty one."""
        make = self.defaults.get(channel)
        return self.channels[channel].initial() if make is None else make()

    def field_called(self, alias: object) -> str | None:
        """The key of the state, or of an input or output, whose class calls it by this alias; None if there is none."""
        schemas = (self.state, self.input, self.output, *(node.input for node in self.nodes.values()))
        return next((name for schema in schemas if (name := schema.field_called(alias)) is not None), None)
