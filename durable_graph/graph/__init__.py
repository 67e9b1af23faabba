"""Describing a graph, and the topology that a description is checked into."""

from durable_graph.graph.builder import GraphBuilder
from durable_graph.graph.schema import Schema
from durable_graph.graph.topology import END, START, ChannelCodec, Join, Node, Router, Send, Topology

__all__ = ["END", "START", "ChannelCodec", "GraphBuilder", "Join", "Node", "Router", "Schema", "Send", "Topology"]
