"""Long work in pieces, without an event loop: a generator pauses after each piece, so that other tasks can run."""

import asyncio
from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")

Pieces = Generator[None, None, T]
"""Work that yields at each pause and returns its result."""

PIECE_BYTES = 1 << 20
"""The stored bytes that are checked or decoded between two pauses. A larger value is decoded without a pause."""


class Pace:
    """Counts bytes of work. A pause is due after PIECE_BYTES."""

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
    """The result of the work, without pauses: for callers outside of an event loop."""
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
