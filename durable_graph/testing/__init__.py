"""Shipped to users: what tests a saver, and what tests a graph on one."""

from durable_graph.testing.conformance import CheckpointerConformance, StoredRow
from durable_graph.testing.crash import CrashingSaver, CrashPoint, SimulatedCrashError, crash_points

__all__ = [
    "CheckpointerConformance",
    "CrashPoint",
    "CrashingSaver",
    "SimulatedCrashError",
    "StoredRow",
    "crash_points",
]
