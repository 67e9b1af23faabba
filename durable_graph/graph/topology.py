"""A graph that was checked: what the engine plans with and the runtime calls. Nothing here changes once made."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from durable_graph.channels import Channel, Joined
from durable_graph.codec import TypeCodec
from durable_graph.graph.schema import Schema


@dataclass(frozen=True, slots=True)
class Router:
    """A conditional edge. `choices` maps what `path` returns to node names; None takes the result as the name itself.

    `input` is what it is called with, and with nothing else.
    """

    name: str
    path: Callable[..., Any]
    choices: Mapping[Any, str] | None
    input: Schema


@dataclass(frozen=True, slots=True)
class Node:
    """A node as the runtime calls it.

    `injected` names the parameters to pass beside the state ("runtime", "config"). `edges` are the static successors
    without END; joins are kept by the topology.
    """

    name: str
    action: Callable[..., Any]
    is_async: bool
    injected: tuple[str, ...]
    input: Schema
    edges: tuple[str, ...]
    routers: tuple[Router, ...]


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
class Topology:
    """`entry` and `entry_routers` lead out of START. `channels` holds the state's own, `joins` the internal ones.

    `codecs` has an entry for every channel of both; `argument` is the codec of what a Send carries.
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
