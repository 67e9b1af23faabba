"""The clauses that every directory of threads has to satisfy, for a backend's own tests.

    class TestDirectoryOfMySaver(ThreadDirectoryConformance):
        async def open(self) -> Checkpointer:
            return MySaver(...)

        async def open_another(self, saver: Checkpointer) -> Checkpointer:
            return MySaver(...)

The saver has to keep runs as well: the status of a thread is that of its runs.
"""

from durable_graph.testing.conformance.directory_search import SearchClauses
from durable_graph.testing.conformance.directory_status import StatusClauses
from durable_graph.testing.conformance.directory_threads import CreationClauses, DeletionClauses, MetadataClauses


class ThreadDirectoryConformance(CreationClauses, MetadataClauses, DeletionClauses, SearchClauses, StatusClauses):
    """All clauses. A subclass implements `open` and `open_another`."""
