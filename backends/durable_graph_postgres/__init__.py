"""The PostgreSQL backend of durable_graph."""

from durable_graph_postgres.saver import PostgresSaver

__all__ = ["PostgresSaver"]
