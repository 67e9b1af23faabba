"""Test tools for users: for testing a saver, and a graph with a saver."""

from durable_graph.testing.conformance import (
    CheckpointerConformance,
    EventLogConformance,
    NotifierConformance,
    QueueStoreConformance,
    RunStoreConformance,
    ScheduleStoreConformance,
    StoredRow,
    ThreadDirectoryConformance,
)
from durable_graph.testing.crash import CrashingSaver, CrashPoint, SimulatedCrashError, crash_points
from durable_graph.testing.moves import expire_leases, move_clock, move_points
from durable_graph.testing.running import RunningApp, run_app

__all__ = [
    "CheckpointerConformance",
    "CrashPoint",
    "CrashingSaver",
    "EventLogConformance",
    "NotifierConformance",
    "QueueStoreConformance",
    "RunStoreConformance",
    "RunningApp",
    "ScheduleStoreConformance",
    "SimulatedCrashError",
    "StoredRow",
    "ThreadDirectoryConformance",
    "crash_points",
    "expire_leases",
    "move_clock",
    "move_points",
    "run_app",
]
