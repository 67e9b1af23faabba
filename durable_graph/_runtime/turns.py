"""The calls that a graph with memory has had, as its namespace shows them: each of them is a turn."""

from durable_graph._engine.header import decode_header
from durable_graph._runtime.journal import Journal
from durable_graph.records import StoredCheckpoint

_PAGE = 50


async def end_of_turn(journal: Journal, ns: str, caller: str) -> StoredCheckpoint | None:
    """The newest checkpoint of a namespace that a certain call made there, checked."""
    before: int | None = None
    while True:
        page = await journal.history(ns, before, _PAGE)
        for row in () if page is None else page.checkpoints:
            if decode_header(row.header).caller == caller:
                return await journal.load(ns, row.no)
        if page is None or not page.older:
            return None
        before = page.older


async def recent_writers(journal: Journal, ns: str) -> frozenset[str]:
    """The nodes that wrote the newest checkpoints of a namespace."""
    page = await journal.history(ns, None, _PAGE)
    rows = () if page is None else page.checkpoints
    return frozenset(node for row in rows for node in decode_header(row.header).writers)
