"""Retries while the server is unavailable: it restarts, fails over, or has no connection left."""

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


class Retry:
    """The number of seconds for which a call is retried while the server is unavailable. Errors name `store` and
    `schema`."""

    def __init__(self, store: str, seconds: float, schema: str) -> None:
        self.store: str = store
        self.schema: str = schema
        self.seconds: float = seconds
        # If the server hangs, or the network drops packets, no answer and no error ever arrives: after this time
        # without an answer, the connection is closed. A server under load needs the minimum, even with few retries.
        self.answer: float = max(seconds, _SHORTEST_WAIT_FOR_AN_ANSWER)

    async def until_there(self, attempt: Callable[[], Awaitable[T]], thread: str | None = None) -> T:
        """Repeat the attempt until the server is available, and return its result. The attempt must be repeatable.

        Raises `StoreUnavailableError` when the time is up. Raises errors that no retry solves at once, such as
        `StoreConfigurationError`. `thread` is the thread whose rows the attempt uses.
        """
        deadline = time.monotonic() + self.seconds
        pause = _FIRST_PAUSE
        while True:
            try:
                return await attempt()
            except FAILURES as error:
                remaining = deadline - time.monotonic()
                if not is_passing(error) or remaining <= 0:
                    raise translated(self.store, error, thread, schema=self.schema) from error
            # The jitter keeps processes that lost the same server from retrying at the same time.
            jittered = pause * random.uniform(0.5, 1)  # noqa: S311 - spreads the waiting, keeps no secret
            await asyncio.sleep(min(jittered, remaining))
            pause = min(2 * pause, _LONGEST_PAUSE)
