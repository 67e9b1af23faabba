"""Storage of threads: the protocol, a saver in memory, and opening a saver from a URL."""

from durable_graph.checkpointing.handles import CommitHandle
from durable_graph.checkpointing.integrity import damaged, verify, verify_page, verify_records, verify_request
from durable_graph.checkpointing.memory import InMemorySaver, MemorySaver
from durable_graph.checkpointing.opening import open_checkpointer
from durable_graph.checkpointing.protocol import Checkpointer
from durable_graph.checkpointing.retention import DeletedThreads, delete_expired_threads
from durable_graph.checkpointing.transfer import (
    Exported,
    ExportedThread,
    Imported,
    Transferable,
    export_threads,
    import_threads,
)

__all__ = [
    "Checkpointer",
    "CommitHandle",
    "DeletedThreads",
    "Exported",
    "ExportedThread",
    "Imported",
    "InMemorySaver",
    "MemorySaver",
    "Transferable",
    "damaged",
    "delete_expired_threads",
    "export_threads",
    "import_threads",
    "open_checkpointer",
    "verify",
    "verify_page",
    "verify_records",
    "verify_request",
]
