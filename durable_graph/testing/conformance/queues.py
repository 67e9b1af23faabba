"""The clauses that every store of queues with limits has to satisfy, for a backend's own tests.

    class TestQueuesOfMySaver(QueueStoreConformance):
        async def open(self) -> Checkpointer:
            return MySaver(...)

        async def open_another(self, saver: Checkpointer) -> Checkpointer:
            return MySaver(...)

The saver has to keep runs as well.
"""

from durable_graph.testing.conformance.queue_limits import ConcurrencyClauses, DeclarationClauses, RateClauses
from durable_graph.testing.conformance.queue_turns import ClaimClauses, TurnClauses


class QueueStoreConformance(ConcurrencyClauses, RateClauses, DeclarationClauses, TurnClauses, ClaimClauses):
    """All clauses. A subclass implements `open` and `open_another`."""
