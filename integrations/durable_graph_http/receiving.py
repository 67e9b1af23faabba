"""What an adapter reads from a request: its body, up to limits, and its path below the prefix."""

import asyncio
from collections.abc import AsyncIterable

from durable_graph_http.problems import Problem

_CLOSE = {"Connection": "close"}
"""The connection holds the rest of a body that nobody reads."""


async def read_body(pieces: AsyncIterable[bytes], *, most: int, seconds: float) -> bytes:
    """The body that arrives in these pieces.

    Raises `Problem` with 413 for more than `most` bytes, without reading the rest, and with 408 for a body that is not
    complete within `seconds`.
    """
    body = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for piece in pieces:
                body += piece
                if len(body) > most:
                    raise Problem(413, f"The body is longer than {most} bytes", headers=_CLOSE)
    except TimeoutError as error:
        raise Problem(408, f"The body was not complete within {seconds:g} seconds", headers=_CLOSE) from error
    return bytes(body)


def path_below(raw_path: str, slashes: int) -> str:
    """What follows so many slashes in a percent-encoded path, as a path: "/agent/ok" is "/ok" below "/agent/"."""
    return f"/{raw_path.split('/', slashes)[-1]}"
