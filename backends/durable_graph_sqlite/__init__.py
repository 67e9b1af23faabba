"""The SQLite backend of durable_graph."""

from durable_graph_sqlite.caching import SqliteCache
from durable_graph_sqlite.saver import SqliteSaver

__all__ = ["SqliteCache", "SqliteSaver"]
