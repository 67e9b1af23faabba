"""The calls that a graph with memory has had, as its namespace shows them: each of them is a turn."""

from durable_graph._engine.header import decode_header
from durable_graph._runtime.journal import Journal
from durable_graph._runtime.pieces import in_pieces
from durable_graph.checkpointing.integrity import damage_found, refuse_damage_since
from durable_graph.records import StoredCheckpoint

_PAGE = 50


async def end_of_turn(journal: Journal, ns: str, caller: str) -> StoredCheckpoint | None:
    """The newest checkpoint of a namespace that a certain call made there, checked as all that are newer."""
    before: int | None = None
    while True:
        page = await journal.history(ns, before, _PAGE)
        if page is None:
            return None
        with journal.reading():
            found = await in_pieces(damage_found(page))
            for row in page.checkpoints:
                refuse_damage_since(row.no, found)
                if decode_header(row.header).caller == caller:
                    return await journal.load(ns, row.no)
            refuse_damage_since(0, found)
        if not page.older:
            return None
        before = page.older


async def recent_writers(journal: Journal, ns: str) -> frozenset[str]:
    """The nodes that wrote the newest checkpoints of a namespace, as far as they can be read."""
    page = await journal.history(ns, None, _PAGE)
    if page is None:
        return frozenset()
    found = await in_pieces(damage_found(page))
    sound = (row for row in page.checkpoints if row.no not in found)
    return frozenset(node for row in sound for node in decode_header(row.header).writers)
