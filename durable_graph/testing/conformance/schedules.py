"""The clauses that every store of schedules has to satisfy, for a backend's own tests.

    class TestSchedulesOfMySaver(ScheduleStoreConformance):
        async def open(self) -> Checkpointer:
            return MySaver(...)

        async def open_another(self, saver: Checkpointer) -> Checkpointer:
            return MySaver(...)

The saver has to keep runs as well: a schedule starts them.
"""

from durable_graph.testing.conformance.schedule_firing import FiringClauses
from durable_graph.testing.conformance.schedule_overlaps import OverlapClauses
from durable_graph.testing.conformance.schedule_rows import ScheduleRowClauses


class ScheduleStoreConformance(ScheduleRowClauses, FiringClauses, OverlapClauses):
    """All clauses. A subclass implements `open` and `open_another`."""
