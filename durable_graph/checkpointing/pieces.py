"""Long work in pieces, without an event loop: a generator pauses after each piece, and its driver lets others run."""

import asyncio
from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")

Pieces = Generator[None, None, T]
"""Work that yields at each pause and returns its result."""

PIECE_BYTES = 1 << 20
"""How many stored bytes are checked or decoded between two pauses. Only a larger value is decoded in one go."""


class Pace:
    """Counts work, and says when a pause is due: after PIECE_BYTES."""

    __slots__ = ("_done",)

    def __init__(self) -> None:
        self._done = 0

    def is_due(self, size: int) -> bool:
        """Whether to pause after `size` more bytes."""
        self._done += size
        if self._done < PIECE_BYTES:
            return False
        self._done = 0
        return True


def at_once(pieces: Pieces[T]) -> T:
    """The result, without a pause: for callers that no event loop waits for."""
    while True:
        try:
            next(pieces)
        except StopIteration as end:
            result: T = end.value
            return result


async def in_pieces(pieces: Pieces[T]) -> T:
    """The result of the work. The event loop runs its other callbacks at each pause; short work has none."""
    while True:
        try:
            next(pieces)
        except StopIteration as end:
            result: T = end.value
            return result
        await asyncio.sleep(0)
