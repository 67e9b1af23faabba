"""The clauses that every saver has to satisfy, for a backend's own tests.

    class TestMySaver(CheckpointerConformance):
        async def open(self) -> Checkpointer:
            return MySaver(...)

Each clause is an `async def test_...`; run them with pytest and an asyncio plugin, or call them.
`RunStoreConformance` has the clauses of the store of a saver's runs, `EventLogConformance` those of their events,
`QueueStoreConformance` those of its queues with limits, `ThreadDirectoryConformance` those of the directory of its
threads, `ScheduleStoreConformance` those of its schedules, and `NotifierConformance` those of its notifier.
"""

from durable_graph.testing.conformance.answers import AnswerClauses
from durable_graph.testing.conformance.cancellation import CancellationClauses
from durable_graph.testing.conformance.commits import CommitClauses
from durable_graph.testing.conformance.damage import DamageClauses
from durable_graph.testing.conformance.directory import ThreadDirectoryConformance
from durable_graph.testing.conformance.events import EventLogConformance
from durable_graph.testing.conformance.namespace_upkeep import NamespaceUpkeepClauses
from durable_graph.testing.conformance.namespaces import NamespaceClauses
from durable_graph.testing.conformance.notifiers import NotifierConformance
from durable_graph.testing.conformance.queues import QueueStoreConformance
from durable_graph.testing.conformance.reads import ReadClauses
from durable_graph.testing.conformance.requests import RequestClauses
from durable_graph.testing.conformance.runs import RunStoreConformance
from durable_graph.testing.conformance.saver_under_test import SaverUnderTest, StoredRow
from durable_graph.testing.conformance.schedules import ScheduleStoreConformance
from durable_graph.testing.conformance.task_records import TaskRecordClauses
from durable_graph.testing.conformance.upkeep import UpkeepClauses


class CheckpointerConformance(
    CommitClauses,
    TaskRecordClauses,
    AnswerClauses,
    ReadClauses,
    RequestClauses,
    UpkeepClauses,
    NamespaceClauses,
    NamespaceUpkeepClauses,
    CancellationClauses,
    DamageClauses,
):
    """All clauses. A subclass implements `open`, and `damage`."""


__all__ = [
    "CheckpointerConformance",
    "EventLogConformance",
    "NotifierConformance",
    "QueueStoreConformance",
    "RunStoreConformance",
    "SaverUnderTest",
    "ScheduleStoreConformance",
    "StoredRow",
    "ThreadDirectoryConformance",
]
