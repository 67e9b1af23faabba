"""The OpenAPI description of the service, made of its routes and of the types of their bodies and answers."""

import inspect
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

import msgspec

from durable_graph_http.problems import PROBLEM_JSON
from durable_graph_http.routes import Route

Json = dict[str, Any]

_REF = "#/components/schemas/{name}"
_ALWAYS = (400, 403, 405, 408, 413, 422, 503)
_KEYED = frozenset(
    {"threads.create_run", "runs.create", "threads.signal", "threads.send_update", "threads.write", "crons.create"}
)


class ProblemDetails(msgspec.Struct, frozen=True):
    """An error (RFC 9457). `detail` names the thing and the remedy."""

    type: str
    title: str
    status: int
    detail: str


@lru_cache(maxsize=4)
def described(routes: tuple[Route, ...]) -> Json:
    """The OpenAPI 3.1 document of these routes."""
    types = list(_types(routes))
    schemas, components = msgspec.json.schema_components(types, ref_template=_REF)
    by_type = dict(zip(map(id, types), schemas, strict=True))
    paths: dict[str, Json] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, by_type)
    return {
        "openapi": "3.1.0",
        "info": {"title": "durable_graph", "version": version("durable-graph")},
        "paths": paths,
        "components": {"schemas": components},
    }


def _types(routes: Iterable[Route]) -> Iterable[Any]:
    yield ProblemDetails
    for route in routes:
        for kind in (route.body, route.answer, *(kind for _, kind in route.query)):
            if kind is not None:
                yield kind


def _operation(route: Route, schemas: Mapping[int, Json]) -> Json:
    text = inspect.getdoc(route.handler) or ""
    described: Json = {
        "operationId": f"{route.method.lower()}{route.path.replace('/', '_').replace('{', '').replace('}', '')}",
        "summary": route.summary,
        "description": " ".join(text.split()),
        "tags": [route.operation.split(".")[0]],
        "parameters": [*_path(route), *_query(route, schemas), *_headers(route)],
        "responses": _responses(route, schemas),
    }
    if route.body is not None:
        body = {"content": {"application/json": {"schema": schemas[id(route.body)]}}}
        described["requestBody"] = {"required": True, **body}
    return described


def _path(route: Route) -> list[Json]:
    text = {"type": "string", "minLength": 1}
    return [{"name": name, "in": "path", "required": True, "schema": text} for name in route.parameters]


def _query(route: Route, schemas: Mapping[int, Json]) -> list[Json]:
    return [{"name": name, "in": "query", "schema": schemas[id(kind)]} for name, kind in route.query]


def _headers(route: Route) -> list[Json]:
    # A batch has no key: each of its runs would need one.
    if route.operation not in _KEYED or route.is_absent or route.path == "/runs/batch":
        return []
    text = "The request is applied once: a repetition with the same key has the same effect."
    return [{"name": "Idempotency-Key", "in": "header", "description": text, "schema": {"type": "string"}}]


def _responses(route: Route, schemas: Mapping[int, Json]) -> Json:
    problem = {"content": {PROBLEM_JSON: {"schema": schemas[id(ProblemDetails)]}}}
    found: Json = {}
    if not route.is_absent:
        found[str(route.status)] = {"description": HTTPStatus(route.status).phrase, **_content(route, schemas)}
        for other in route.others:
            found[str(other)] = {"description": HTTPStatus(other).phrase}
    # A thread that the caller may not name is one that does not exist.
    unknown = (404,) if "thread_id" in route.parameters else ()
    errors: Sequence[int] = sorted({*_ALWAYS, *route.statuses, *unknown, *((501,) if route.is_absent else ())})
    for status in errors:
        found[str(status)] = {"description": HTTPStatus(status).phrase, **problem}
    return found


def _content(route: Route, schemas: Mapping[int, Json]) -> Json:
    if route.is_stream:
        return {"content": {"text/event-stream": {"schema": {"type": "string"}}}}
    if route.answer is None:
        return {}
    return {"content": {"application/json": {"schema": schemas[id(route.answer)]}}}
