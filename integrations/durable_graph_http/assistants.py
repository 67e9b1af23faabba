"""Assistants: one for each graph of the app, which its name or its id names."""

from typing import Any, Literal

from durable_graph_http.bodies import Body
from durable_graph_http.call import Call, json_reply
from durable_graph_http.finding import Graph
from durable_graph_http.messages import Reply
from durable_graph_http.routes import Route
from durable_graph_http.runs import Limit, Offset, paging
from durable_graph_http.shapes import Json, assistant_object, selected
from durable_graph_http.starting import graph_of

FIELDS = (
    "assistant_id",
    "graph_id",
    "name",
    "description",
    "config",
    "context",
    "metadata",
    "version",
    "created_at",
    "updated_at",
)


class FilterBody(Body, frozen=True, kw_only=True):
    """The assistants to find. `name` is a part of the name, in any case."""

    metadata: dict[str, Any] | None = None
    graph_id: str | None = None
    name: str | None = None


class SearchBody(FilterBody, frozen=True, kw_only=True):
    """The assistants to find, and the page of them."""

    limit: Limit = 10
    offset: Offset = 0
    sort_by: Literal["assistant_id", "graph_id", "name", "created_at", "updated_at"] | None = None
    sort_order: Literal["asc", "desc"] | None = None
    select: list[str] | None = None


def _graph(call: Call) -> tuple[str, Graph]:
    name = graph_of(call, call.parameters["assistant_id"])
    return name, call.service.app.graph(name)


def _found(call: Call, body: FilterBody) -> list[Json]:
    every = (assistant_object(call, name) for name in sorted(call.service.app.graphs))
    wanted = body.metadata or {}
    return [
        each
        for each in every
        if body.graph_id in (None, each["graph_id"])
        and (body.name or "").lower() in each["name"].lower()
        and all(key in each["metadata"] and each["metadata"][key] == value for key, value in wanted.items())
    ]


async def search(call: Call) -> Reply:
    """Find assistants."""
    body: SearchBody = call.body
    found = _found(call, body)
    found.sort(key=lambda each: str(each[body.sort_by or "name"]), reverse=body.sort_order == "desc")
    page = found[body.offset : body.offset + body.limit]
    shown = [selected(each, body.select, FIELDS) for each in page]
    return json_reply(shown, headers=paging(body.offset, body.limit, len(found)))


async def count(call: Call) -> Reply:
    """The number of assistants that a search would find."""
    return json_reply(len(_found(call, call.body)))


async def get(call: Call) -> Reply:
    """An assistant."""
    return json_reply(assistant_object(call, _graph(call)[0]))


async def graph(call: Call) -> Reply:
    """The nodes and edges of an assistant's graph. `xray` shows nested graphs, to that depth if it is a number."""
    drawing = _graph(call)[1].get_graph(xray=call.query.get("xray", False)).to_json()
    return json_reply({"nodes": drawing["nodes"], "edges": drawing["edges"]})


async def schemas(call: Call) -> Reply:
    """The JSON schemas of an assistant's graph."""
    name, found = _graph(call)
    return json_reply(_schemas(name, found))


def _schemas(name: str, found: Any) -> Json:
    return {
        "graph_id": name,
        "input_schema": found.get_input_jsonschema(),
        "output_schema": found.get_output_jsonschema(),
        "state_schema": found.get_output_jsonschema(),
        "config_schema": None,
        "context_schema": found.get_context_jsonschema(),
    }


async def subgraphs(call: Call) -> Reply:
    """The schemas of the graphs inside an assistant's graph by namespace."""
    _, found = _graph(call)
    namespace, recurse = call.parameters.get("namespace"), call.query.get("recurse", False)
    inner = {name: each async for name, each in found.aget_subgraphs(namespace=namespace, recurse=recurse)}
    return json_reply({name: _schemas(name, each) for name, each in inner.items()})


_ONE = "/assistants/{assistant_id}"

ROUTES: tuple[Route, ...] = (
    Route(
        method="POST",
        path="/assistants/search",
        operation="assistants.search",
        handler=search,
        summary="Find assistants",
        body=SearchBody,
        answer=list[Json],
        statuses=(422,),
    ),
    Route(
        method="POST",
        path="/assistants/count",
        operation="assistants.search",
        handler=count,
        summary="Count assistants",
        body=FilterBody,
        answer=int,
        statuses=(422,),
    ),
    Route(
        method="GET",
        path=_ONE,
        operation="assistants.read",
        handler=get,
        summary="Read an assistant",
        answer=Json,
        statuses=(404, 422),
    ),
    Route(
        method="GET",
        path=f"{_ONE}/graph",
        operation="assistants.read",
        handler=graph,
        summary="Read the graph of an assistant",
        answer=Json,
        query=(("xray", bool | int),),
        statuses=(404, 422),
    ),
    Route(
        method="GET",
        path=f"{_ONE}/schemas",
        operation="assistants.read",
        handler=schemas,
        summary="Read the schemas of an assistant",
        answer=Json,
        statuses=(404, 422),
    ),
    Route(
        method="GET",
        path=f"{_ONE}/subgraphs",
        operation="assistants.read",
        handler=subgraphs,
        summary="Read the schemas of the nested graphs of an assistant",
        answer=Json,
        query=(("recurse", bool),),
        statuses=(404, 422),
    ),
    Route(
        method="GET",
        path=f"{_ONE}/subgraphs/{{namespace}}",
        operation="assistants.read",
        handler=subgraphs,
        summary="Read the schemas of a nested graph of an assistant",
        answer=Json,
        query=(("recurse", bool),),
        statuses=(404, 422),
    ),
)
