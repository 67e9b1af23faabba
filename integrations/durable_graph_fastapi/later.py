"""A response whose JSON document takes a while."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from durable_graph_http import Left


class LaterResponse(Response):
    """Sends the parts as they come, until the client leaves: then `left` is called.

    Starlette's `StreamingResponse` would end the body properly if the document is missing, because the service stops.
    """

    def __init__(
        self, parts: AsyncGenerator[bytes, None], status: int, headers: Mapping[str, str], *, left: Left
    ) -> None:
        self._parts, self._left = parts, left
        super().__init__(None, status, {**headers, "Cache-Control": "no-cache", "X-Accel-Buffering": "no"})
        # The length is not known.
        del self.headers["content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response."""
        sending = asyncio.create_task(self._send(send))
        leaving = asyncio.create_task(_disconnected(receive))
        try:
            await asyncio.wait((sending, leaving), return_when=asyncio.FIRST_COMPLETED)
            if not sending.done():
                await self._left()
        finally:
            for task in (sending, leaving):
                task.cancel()
            ended, _ = await asyncio.gather(sending, leaving, return_exceptions=True)
        if isinstance(ended, Exception):
            raise ended

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        is_complete = False
        async with aclosing(self._parts) as parts:
            async for part in parts:
                await send({"type": "http.response.body", "body": part, "more_body": True})
                is_complete = is_complete or bool(part.strip())
        # A response that is not ended makes the server cut the connection. The client then asks at `Location`.
        if is_complete:
            await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
