"""The event loop's side of long reads."""

import asyncio

from durable_graph.checkpointing.pieces import Pieces, T


async def in_pieces(pieces: Pieces[T]) -> T:
    """The result of the work. The event loop runs its other callbacks at each pause; short work has none."""
    while True:
        try:
            next(pieces)
        except StopIteration as end:
            result: T = end.value
            return result
        await asyncio.sleep(0)
