"""Requests and replies without a framework."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any

import msgspec

Left = Callable[[], Awaitable[None]]
"""What to do when a client leaves."""

NO_HEADERS: Mapping[str, str] = {}


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A request as a framework received it.

    `path` is the path below the service's own prefix, still percent-encoded. `query` has the decoded pairs in their
    order, and `headers` the headers by their names in lower case. `body` is the whole body. `caller` is the
    framework's own request, for `authorize`.
    """

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    headers: Mapping[str, str] = NO_HEADERS
    body: bytes = b""
    caller: Any = None


class Frame(msgspec.Struct, frozen=True):
    """A frame of a stream of server-sent events. `data` is JSON in one line; `id` is a whole number as text."""

    event: str
    data: str
    id: str


class Frames(msgspec.Struct, frozen=True):
    """The body of a stream of server-sent events.

    The sender closes the generator, also when the client has left. Then it calls `left`, but not if the service or its
    server ends the stream: before a server stops, it calls `AgentService.drain`, and the generators end by themselves.
    """

    frames: AsyncGenerator[Frame, None]
    left: Left | None = None


class Later(msgspec.Struct, frozen=True):
    """A JSON body that takes a while: blanks that keep the connection alive, then one JSON document. Whoever sends it
    closes the generator.

    The generator ends without a document when the service stops: then the connection is cut, so that no client takes
    the blanks for a complete body. `left` is as for `Frames`.
    """

    parts: AsyncGenerator[bytes, None]
    left: Left | None = None


class Reply(msgspec.Struct, frozen=True):
    """The reply to a request."""

    status: int
    headers: Mapping[str, str] = NO_HEADERS
    body: bytes | Frames | Later = b""
