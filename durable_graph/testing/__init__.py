"""Shipped to users: what tests a saver, and what tests a graph on one."""

from durable_graph.testing.conformance import CheckpointerConformance, StoredRow

__all__ = ["CheckpointerConformance", "StoredRow"]
