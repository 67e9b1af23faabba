"""The SQLite backend of durable_graph."""

from durable_graph_sqlite.saver import SqliteSaver

__all__ = ["SqliteSaver"]
