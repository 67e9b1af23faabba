"""One request as its handler sees it: decoded, and allowed."""

from typing import TYPE_CHECKING, Any

import msgspec

from durable_graph_http.messages import Reply, Request
from durable_graph_http.problems import Problem
from durable_graph_http.values import encoded

if TYPE_CHECKING:
    from durable_graph_http.service import AgentService


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
        stored = self.prefix + thread_id
        if not thread_id or "\0" in thread_id or len(stored.encode("utf-8", "surrogatepass")) > 255:
            raise Problem(422, "A thread's id is text of 1 to 255 bytes, without NUL")
        return stored

    def shown(self, stored: str) -> str:
        """The client's id of a stored thread. Raises `Problem` with 404 if the thread is not the caller's."""
        if not stored.startswith(self.prefix):
            raise Problem(404, "There is no such thread")
        return stored[len(self.prefix) :]


def json_reply(body: object, status: int = 200, **headers: str) -> Reply:
    """A reply with a JSON body."""
    return Reply(status, {"Content-Type": "application/json", **headers}, encoded(body))


def empty_reply(status: int = 204, **headers: str) -> Reply:
    """A reply without a body."""
    return Reply(status, headers)
