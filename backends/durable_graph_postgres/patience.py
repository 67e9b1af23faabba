"""Waiting out a server that is away: it restarts, fails over, or has no connection left."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from durable_graph_postgres.failures import FAILURES, is_passing, translated

T = TypeVar("T")

_FIRST_PAUSE = 0.02
_LONGEST_PAUSE = 1.0
_SHORTEST_WAIT_FOR_AN_ANSWER = 2.0


class Patience:
    """For how many seconds a call is tried again while the server is away. Errors name `store` and `schema`."""

    def __init__(self, store: str, seconds: float, schema: str) -> None:
        self.store: str = store
        self.schema: str = schema
        self.seconds: float = seconds
        # A server that hangs, or a network that drops what it is given, is never heard of again: a connection on which
        # nothing is heard for so long is given up. A server under load may need a moment all the same.
        self.answer: float = max(seconds, _SHORTEST_WAIT_FOR_AN_ANSWER)

    async def until_there(self, attempt: Callable[[], Awaitable[T]], thread: str | None = None) -> T:
        """What the attempt returns once the server is there. It has to be one that may be made again.

        Raises `StoreUnavailableError` when the time is up, and at once, such as `StoreConfigurationError`, what waiting
        does not mend. `thread` is the one
        whose rows the attempt is about.
        """
        deadline = time.monotonic() + self.seconds
        pause = _FIRST_PAUSE
        while True:
            try:
                return await attempt()
            except FAILURES as error:
                left = deadline - time.monotonic()
                if not is_passing(error) or left <= 0:
                    raise translated(self.store, error, thread, schema=self.schema) from error
            # Jittered, so that processes that all lost their server do not all come back at once.
            jittered = pause * random.uniform(0.5, 1)  # noqa: S311 - spreads the waiting, keeps no secret
            await asyncio.sleep(min(jittered, left))
            pause = min(2 * pause, _LONGEST_PAUSE)
