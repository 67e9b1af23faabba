"""One call of a `@task` function while it is at work."""

import asyncio
from collections.abc import Generator
from typing import Any


class Call(asyncio.Task[Any]):
    """A call at work. It knows whether anybody asked what it came to.

    `is_told` says that its error reached the code that made it, whose business it has been since. `gather` asks for
    errors that come too late for it as well, and drops them: asking alone tells nobody.
    """

    is_asked_for = False
    is_told = False

    def __await__(self) -> Generator[Any, None, Any]:
        self.is_asked_for = True
        try:
            return (yield from super().__await__())
        except Exception:
            self.is_told = True
            raise

    def result(self) -> Any:
        """What it returned."""
        self.is_asked_for = True
        return super().result()

    def exception(self) -> BaseException | None:
        """What it raised."""
        self.is_asked_for = True
        return super().exception()

    def failure(self) -> BaseException | None:
        """What it raised, for who looks after it and does not ask for its result."""
        return None if self.cancelled() else super().exception()
