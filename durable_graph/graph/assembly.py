"""Making the topology of a valid description."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from durable_graph.channels import Channel, Joined
from durable_graph.graph.codecs import Codecs
from durable_graph.graph.control import DEFERRED, END, START
from durable_graph.graph.defaults import Defaults
from durable_graph.graph.description import DescribedHandler, DescribedNode, Description, said_first
from durable_graph.graph.executors import without_idle
from durable_graph.graph.inputs import Inputs
from durable_graph.graph.options import ExtraKeys
from durable_graph.graph.policies import TimeoutPolicy
from durable_graph.graph.schema import INTERNAL_PREFIX, Schema
from durable_graph.graph.topology import UNNAMED, Handler, Join, Node, Router, Topology


@dataclass(frozen=True, slots=True)
class Schemas:
    """The schemas and the context class of a graph."""

    state: Schema
    input: Schema
    output: Schema
    context: Any
    extra_keys: ExtraKeys = "refuse"


def joins_of(description: Description) -> tuple[Join, ...]:
    """The joins without duplicates: a join with its sources in another order is the same join."""
    joins: dict[str, Join] = {}
    for described in description.joins:
        # A join to END would run nothing: the run ends because the sources have no other edge.
        if described.target != END:
            channel = _join_channel(described.sources, described.target)
            joins[channel] = Join(channel, Joined(frozenset(described.sources)), described.target)
    return tuple(joins.values())


def internal_channels(description: Description) -> dict[str, Channel]:
    """The rules of the channels that no node reads or writes."""
    joins: dict[str, Channel] = {join.channel: join.rule for join in joins_of(description)}
    # The waiting deferred nodes are stored like the finished sources of a join. A graph without deferred nodes has the
    # channel as well: a deferred node that waits in a thread may be changed or removed.
    return {**joins, DEFERRED: Joined(frozenset())}


def assemble(
    name: str | None,
    formerly: tuple[str, ...],
    description: Description,
    schemas: Schemas,
    inputs: Inputs,
    channels: Mapping[str, Channel],
    codecs: Codecs,
    defaults: Defaults,
) -> Topology:
    """The topology of a valid description."""
    joins = joins_of(description)
    nodes = {node.name: _node(node, description, inputs) for node in description.nodes}
    return Topology(
        name=name or UNNAMED,
        state=schemas.state,
        nodes=nodes,
        entry=_successors(description, START),
        entry_routers=_routers(description, START, inputs),
        channels=dict(channels),
        joins=joins,
        joins_of_source=_grouped((source, join) for join in joins for source in join.rule.sources),
        joins_of_target=_grouped((join.target, join) for join in joins),
        codecs=codecs.of_channel,
        argument=codecs.argument,
        types=codecs.types,
        input=schemas.input,
        output=schemas.output,
        context=schemas.context,
        transient=tuple(name for name, rule in channels.items() if rule.is_transient),
        untracked=frozenset(name for name, rule in channels.items() if not rule.is_stored),
        deferred=frozenset(node.name for node in description.nodes if node.options.defer),
        graph_name=name,
        formerly=formerly,
        nodes_digest=nodes_digest(nodes),
        defaults=defaults,
        ignores_extra_keys=schemas.extra_keys == "ignore",
    )


def nodes_digest(nodes: Iterable[str]) -> bytes:
    """A digest of a graph's node names, which distinguishes graphs without a name."""
    hashed = blake2b(digest_size=16, person=b"dg-graph-nodes")
    for name in sorted(nodes):
        data = name.encode("utf-8", "surrogatepass")
        hashed.update(len(data).to_bytes(4, "big") + data)
    return hashed.digest()


def _node(node: DescribedNode, description: Description, inputs: Inputs) -> Node:
    own, usual = node.options, description.defaults
    handler = said_first(node.handler, description.default_handler)
    return Node(
        name=node.name,
        action=node.action,
        is_async=node.signature.is_async,
        injected=node.signature.injected,
        input=inputs.of_node[node.name],
        edges=_successors(description, node.name),
        routers=_routers(description, node.name, inputs),
        defer=own.defer,
        metadata=own.metadata,
        retry=said_first(own.retry, usual.retry) or (),
        timeout=said_first(own.timeout, _usual_timeout(node, usual.timeout)),
        cache=said_first(own.cache, usual.cache),
        error_handler=None if handler is None else _handler(handler, description),
        destinations=own.destinations,
        destination_labels=own.destination_labels,
        subgraph=node.subgraph,
        executor=own.executor,
    )


def _usual_timeout(node: DescribedNode, usual: TimeoutPolicy | None) -> TimeoutPolicy | None:
    if node.options.executor is not None:
        return without_idle(usual)
    return usual if node.signature.is_async else None


def _handler(handler: DescribedHandler, description: Description) -> Handler:
    signature, usual = handler.signature, description.defaults
    return Handler(
        action=handler.action,
        is_async=signature.is_async,
        injected=signature.injected,
        retry=usual.retry or (),
        timeout=usual.timeout if signature.is_async else None,
        destinations=handler.destinations,
    )


def _successors(description: Description, start: str) -> tuple[str, ...]:
    ends = (edge.end for edge in description.edges if edge.start == start and edge.end != END)
    return tuple(dict.fromkeys(ends))


def _routers(description: Description, source: str, inputs: Inputs) -> tuple[Router, ...]:
    return tuple(
        Router(
            router.name, router.path, router.choices, inputs.of_router[source, router.name], router.signature.injected
        )
        for router in description.routers
        if router.source == source
    )


def _grouped(pairs: Iterable[tuple[str, Join]]) -> dict[str, tuple[Join, ...]]:
    grouped: dict[str, tuple[Join, ...]] = {}
    for key, join in pairs:
        grouped[key] = (*grouped.get(key, ()), join)
    return grouped


def _join_channel(sources: Iterable[str], target: str) -> str:
    # A node's name may contain "+", and never contains ":".
    quoted = sorted(source.replace("%", "%25").replace("+", "%2B") for source in sources)
    return f"{INTERNAL_PREFIX}join:{'+'.join(quoted)}:{target}"
