"""Where processes that are killed keep their threads: in a file of their folder, or on a server, apart."""

from hashlib import blake2b
from pathlib import Path

from durable_graph_postgres import PostgresSaver
from durable_graph_sqlite import SqliteSaver

DATABASE = "runs.db"


def store_of(folder: Path, dsn: str) -> SqliteSaver | PostgresSaver:
    """What a process opens. Without a DSN it is a file."""
    if not dsn:
        return SqliteSaver(folder / DATABASE)
    return PostgresSaver(dsn, schema=f"of {blake2b(bytes(folder), digest_size=16).hexdigest()}", pool_size=2)
