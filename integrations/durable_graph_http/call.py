"""One request as its handler sees it: decoded, and allowed."""

import unicodedata
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

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

    def stored(self, thread_id: str) -> str:
        """The id under which the client's thread is stored. Raises `Problem` for text that cannot be an id."""
        most = _LONGEST_ID - len(self.prefix.encode())
        is_text = not any("\ud800" <= letter <= "\udfff" for letter in thread_id)
        has_controls = any(unicodedata.category(letter) == "Cc" for letter in thread_id)
        if not is_text or has_controls or not 1 <= len(thread_id.encode()) <= most:
            raise Problem(422, f"A thread's id is text of 1 to {most} bytes, without control characters")
        return self.prefix + thread_id

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


def json_reply(body: object, status: int = 200, headers: Mapping[str, str] = NO_HEADERS) -> Reply:
    """A reply with a JSON body."""
    return Reply(status, {"Content-Type": "application/json", **headers}, encoded(body))


def empty_reply(status: int = 204, headers: Mapping[str, str] = NO_HEADERS) -> Reply:
    """A reply without a body."""
    return Reply(status, headers)
