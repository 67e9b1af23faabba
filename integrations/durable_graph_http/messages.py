"""Requests and replies without a framework."""

from collections.abc import AsyncGenerator, Mapping
from typing import Any

import msgspec

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

    The sender closes the generator, or cancels the task that waits for a frame, once the client has left. That is what
    tells the service that a client left, and it cancels the run if the client asked for that. Before a server stops, it
    calls `AgentService.drain`: then the generators end by themselves, and closing one cancels no run. So the sender
    begins to iterate as soon as it has the reply, and never closes a generator for another reason.
    """

    frames: AsyncGenerator[Frame, None]


class Later(msgspec.Struct, frozen=True):
    """A JSON body that takes a while: blanks that keep the connection alive, then one JSON document. The generator is
    closed as that of `Frames`.

    It ends without a document when the service stops: then the sender cuts the connection, so that no client takes
    the blanks for a complete body.
    """

    parts: AsyncGenerator[bytes, None]


class Reply(msgspec.Struct, frozen=True):
    """The reply to a request."""

    status: int
    headers: Mapping[str, str] = NO_HEADERS
    body: bytes | Frames | Later = b""
