"""A validated graph, immutable: the engine plans with it, and the runtime calls its functions."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from durable_graph.channels import Channel, Joined, NewId, Reduced
from durable_graph.codec import StoredType, TypeCodec, Upcast
from durable_graph.graph.executors import ExecutorOption
from durable_graph.graph.policies import CachePolicy, RetryPolicy, TimeoutPolicy
from durable_graph.graph.schema import Schema
from durable_graph.graph.subgraph import Subgraph


@dataclass(frozen=True, slots=True)
class Router:
    """A conditional edge. `choices` maps results of `path` to node names; with None a result is the name itself.

    `input` is the schema of its argument.
    """

    name: str
    path: Callable[..., Any]
    choices: Mapping[Any, str] | None
    input: Schema
    injected: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Handler:
    """An error handler, which runs after the last failed attempt at a node. `retry` and `timeout` are the defaults for
    all nodes: the node's own do not apply to it."""

    action: Callable[..., Any]
    is_async: bool
    injected: Mapping[str, str]
    retry: tuple[RetryPolicy, ...] = ()
    timeout: TimeoutPolicy | None = None
    destinations: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Node:
    """A node as the runtime calls it.

    `injected` has the parameters to pass in addition to the state ("runtime", "config"). `edges` are the static
    successors without END; joins are in the topology. `destinations` are the declared destinations of its Commands, and
    `destination_labels` their labels in a drawing. `executor` runs the function elsewhere.
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
    executor: ExecutorOption | None = None

    @property
    def can_time_out(self) -> bool:
        """Whether an attempt can be given up: a plain function in a thread of this process cannot."""
        return self.is_async or self.executor is not None


UNNAMED: Final = "graph"
"""The name of a graph without a name of its own."""


@dataclass(frozen=True, slots=True)
class Join:
    """`target` runs once all sources of `rule` have finished since it last ran. `channel` has the finished sources."""

    channel: str
    rule: Joined
    target: str


@dataclass(frozen=True, slots=True)
class ChannelCodec:
    """The codecs of a channel's value and of a write to it."""

    value: TypeCodec
    update: TypeCodec


@dataclass(frozen=True, slots=True)
class ChannelPlan:
    """A channel as supersteps use it. The properties of its rule are computed once, when the graph is compiled.

    `prepare` and `is_checked` are None if the rule accepts every write unchanged. `codec` is None if the channel is not
    stored. `is_reduced`: a user's function makes its values, which may be of another type than declared. `direct` are
    the types whose values are written without conversion.
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
    """The possible types of values that are declared as `Any`: classes with tags of the user, types that the graph's
    code names, and classes with a `StoredType`; and the upcasts of classes."""

    tagged: tuple[tuple[str, type], ...] = ()
    named: tuple[Any, ...] = ()
    stored: tuple[StoredType[Any], ...] = ()
    upcasts: tuple[tuple[type, Upcast], ...] = ()


@dataclass(frozen=True, slots=True)
class Topology:
    """`entry` and `entry_routers` lead out of START. `channels` has the state's channels, `joins` the internal ones.

    `codecs` has an entry for every stored channel of both; `argument` is the codec of a Send's argument. `transient`
    are the channels that a superstep clears unless it writes to them, `untracked` the channels that are never stored.
    `types` are the types that an outer graph has to be able to store as well. `graph_name` is the name that its threads
    belong to, None for a graph without a name; `formerly` are its earlier names; `nodes_digest` is a digest of its
    nodes' names. `defaults` make the initial values of channels with a reducer, where those are not empty. With
    `ignores_extra_keys`, writes to keys that the state does not have are dropped. `plans` are the plans of `channels`.
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
        """A channel's value before any write: the default that its key declares, an empty value, or MISSING."""
        make = self.defaults.get(channel)
        return self.channels[channel].initial() if make is None else make()

    def field_called(self, alias: object) -> str | None:
        """The key of the state, an input or the output that has this alias in its class; None if there is none."""
        schemas = (self.state, self.input, self.output, *(node.input for node in self.nodes.values()))
        return next((name for schema in schemas if (name := schema.field_called(alias)) is not None), None)
