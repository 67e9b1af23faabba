"""The description of a graph, and the validated topology that is made of it."""

from durable_graph.graph.builder import GraphBuilder
from durable_graph.graph.control import DEFERRED, END, START, UNSET, Command, Interrupt, Send
from durable_graph.graph.managed import Place
from durable_graph.graph.schema import Schema
from durable_graph.graph.topology import ChannelCodec, Join, Node, Router, Topology

__all__ = [
    "DEFERRED",
    "END",
    "START",
    "UNSET",
    "ChannelCodec",
    "Command",
    "GraphBuilder",
    "Interrupt",
    "Join",
    "Node",
    "Place",
    "Router",
    "Schema",
    "Send",
    "Topology",
]
