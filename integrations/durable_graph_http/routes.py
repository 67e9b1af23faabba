"""The table of routes: which method and path are which operation. The router and the OpenAPI description read it."""

import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any
from urllib.parse import unquote

import msgspec

from durable_graph_http.call import Call
from durable_graph_http.messages import Reply
from durable_graph_http.problems import Problem

Handler = Callable[[Call], Awaitable[Reply]]


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """One operation of the service.

    `path` is a template such as `/threads/{thread_id}`. `operation` is the name that `authorize` sees. `body` is the
    type of the request's JSON body (None: it has none), `answer` that of a reply with `status` (None: no content, or a
    stream). `query` are the names of the query's parameters with their types. `statuses` are the errors that the
    operation can have, besides those that every operation has; `others` are further successes, without content.
    `is_absent`: the service does not have the operation, and the handler says why, whatever the query and the body are.
    """

    method: str
    path: str
    operation: str
    handler: Handler
    summary: str
    body: Any = None
    answer: Any = None
    status: int = 200
    others: tuple[int, ...] = ()
    is_stream: bool = False
    is_absent: bool = False
    query: tuple[tuple[str, Any], ...] = ()
    statuses: tuple[int, ...] = ()

    @property
    def parameters(self) -> list[str]:
        """The names of the path's parameters."""
        return re.findall(r"{(\w+)}", self.path)


class Router:
    """Finds the route of a request."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes: Sequence[Route] = tuple(routes)
        self._by_length: dict[int, list[tuple[list[str], Route]]] = {}
        for route in self.routes:
            parts = route.path.split("/")
            self._by_length.setdefault(len(parts), []).append((parts, route))

    def find(self, method: str, path: str) -> tuple[Route, dict[str, str]]:
        """The route, and the path's parameters, decoded once. A part that is spelled out wins over a parameter, among
        the routes with the method.

        Raises `Problem` with 404, and with 405 if the path has other methods.
        """
        given = path.split("/")
        found = [
            (len(route.parameters), route, parts)
            for parts, route in self._by_length.get(len(given), ())
            if all(part.startswith("{") or part == own for part, own in zip(parts, given, strict=True))
        ]
        if not found:
            raise Problem(404, "There is nothing at this path; GET /openapi.json lists the paths")
        candidates = [each for each in found if each[1].method == method]
        if not candidates:
            allowed = ", ".join(sorted({route.method for _, route, _ in found}))
            raise Problem(405, f"This path has the methods {allowed}", headers={"Allow": allowed})
        _, route, parts = min(candidates, key=lambda each: each[0])
        return route, _decoded(parts, given)


def _decoded(parts: Sequence[str], given: Sequence[str]) -> dict[str, str]:
    decoded = {}
    for part, own in zip(parts, given, strict=True):
        if part.startswith("{"):
            try:
                decoded[part[1:-1]] = unquote(own, errors="strict")
            except UnicodeDecodeError as error:
                raise Problem(400, "The path is not percent-encoded UTF-8") from error
    return decoded
