"""One request as its handler sees it: decoded, and allowed."""

import unicodedata
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from durable_graph_http.access import Operation, access_of
from durable_graph_http.messages import NO_HEADERS, Reply, Request
from durable_graph_http.problems import Problem, without_prefix
from durable_graph_http.values import encoded

if TYPE_CHECKING:
    from durable_graph_http.service import AgentService

_LONGEST_ID = 255
"""The limit for the ids of threads, in bytes."""


class Call(msgspec.Struct, frozen=True):
    """A request to one operation.

    `parameters` are those of the path, `query` those of the query string by name, converted to their types, `body` is
    the decoded body. `prefix` begins the stored ids of the threads that the caller may name.
    """

    service: "AgentService"
    request: Request
    parameters: dict[str, str]
    query: dict[str, Any]
    body: Any
    prefix: str

    @property
    def thread_id(self) -> str:
        """The thread of the path, as it is stored."""
        return self.stored(self.parameters["thread_id"])

    def stored(self, thread_id: str, name: str = "A thread's id") -> str:
        """The id under which the client's thread is stored. `name` is what the client calls the id.

        Raises `Problem` for text that cannot be an id.
        """
        most = _LONGEST_ID - len(self.prefix.encode())
        if not _is_id(thread_id, most):
            raise Problem(422, f"{name} is text of 1 to {most} bytes, without control characters")
        return self.prefix + thread_id

    async def allowed(self, operation: str, thread_id: str) -> str:
        """The id under which a thread is stored that the body names, once `authorize` has allowed the operation on it.

        Raises `Problem` for a thread that the caller may not name, and for text that cannot be an id.
        """
        prefix = await access_of(self.service.authorize, Operation(operation, thread_id, self.request.caller))
        return msgspec.structs.replace(self, prefix=prefix).stored(thread_id)

    def shown(self, stored: str) -> str:
        """The client's id of a stored thread. Raises `Problem` with 404 if the thread is not the caller's."""
        if not stored.startswith(self.prefix):
            raise Problem(404, "There is no such thread")
        return stored[len(self.prefix) :]

    def plain(self, text: str) -> str:
        """A text of the library that may quote stored ids of threads, with the client's ids."""
        return without_prefix(self.prefix, text)

    @property
    def key(self) -> str | None:
        """The key of a request that is to be applied once: the header `Idempotency-Key`."""
        return self.request.headers.get("idempotency-key")


def _is_id(text: str, most: int) -> bool:
    """Whether the text can be the id of a thread, in at most so many bytes."""
    # The length first: the letters of megabytes would keep the event loop busy for a second.
    if not 1 <= len(text) <= most or any(unicodedata.category(letter) in ("Cc", "Cs") for letter in text):
        return False
    return len(text.encode()) <= most


def json_reply(body: object, status: int = 200, headers: Mapping[str, str] = NO_HEADERS) -> Reply:
    """A reply with a JSON body."""
    return Reply(status, {"Content-Type": "application/json", **headers}, encoded(body))


def empty_reply(status: int = 204, headers: Mapping[str, str] = NO_HEADERS) -> Reply:
    """A reply without a body."""
    return Reply(status, headers)
