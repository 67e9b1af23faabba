"""Runs that outlive their process: an `App` accepts them, and workers execute them."""

from durable_graph.queue_records import QueueLimits, Rate
from durable_graph.runs.application import App
from durable_graph.runs.following import EventBatch
from durable_graph.runs.handle import RunHandle, RunStatus
from durable_graph.runs.questions import OpenQuestion
from durable_graph.runs.schedule_handle import ScheduleHandle, ScheduleStatus
from durable_graph.runs.threads import AppThreads, ThreadSummary
from durable_graph.runs.worker import Worker

__all__ = [
    "App",
    "AppThreads",
    "EventBatch",
    "OpenQuestion",
    "QueueLimits",
    "Rate",
    "RunHandle",
    "RunStatus",
    "ScheduleHandle",
    "ScheduleStatus",
    "ThreadSummary",
    "Worker",
]
