"""Assistants over HTTP, what the service does not have, and what operators ask."""

import json
from typing import Any

import pytest

from durable_graph_http import AgentService
from durable_graph_http.absent import ROUTES as ABSENT
from durable_graph_http.starting import assistant_id_of
from tests.http.client import Client, detail_of, text_of


@pytest.fixture
def client(service: AgentService) -> Client:
    return Client(service)


async def test_each_graph_has_an_assistant(client: Client) -> None:
    every = await client.post("/assistants/search", {})
    assert [each["graph_id"] for each in every] == sorted(client.service.app.graphs)
    one = every[0]
    assert one["assistant_id"] == assistant_id_of("ask")
    assert (one["name"], one["version"], one["config"], one["metadata"]) == ("ask", 1, {}, {"created_by": "system"})
    for name in ("ask", assistant_id_of("ask"), assistant_id_of("ask").upper()):
        assert await client.get(f"/assistants/{name}") == one
    assert (await client.send("GET", "/assistants/nothing")).status == 404
    assert await client.post("/assistants/count", {"name": "AS"}) == 2
    (found,) = await client.post("/assistants/search", {"graph_id": "chain", "select": ["name"]})
    assert found == {"name": "chain"}
    assert await client.post("/assistants/search", {"metadata": {"created_by": "ann"}}) == []
    page = await client.send("POST", "/assistants/search", {"limit": 2, "offset": 1, "sort_order": "desc"})
    assert [each["name"] for each in json.loads(await text_of(page))] == ["hear", "gated"]
    assert (page.headers["X-Pagination-Total"], page.headers["X-Pagination-Next"]) == ("7", "3")


@pytest.mark.parametrize("name", ["outer", assistant_id_of("outer")])
async def test_an_assistant_shows_its_graph_and_its_schemas(client: Client, name: str) -> None:
    drawn = await client.get(f"/assistants/{name}/graph")
    assert {node["id"] for node in drawn["nodes"]} == {"__start__", "inner", "after", "__end__"}
    assert {"source": "inner", "target": "after"}.items() <= drawn["edges"][1].items()
    for xray in ("true", "1"):
        deep = await client.get(f"/assistants/{name}/graph", query={"xray": xray})
        assert len(deep["nodes"]) > len(drawn["nodes"])
    schemas = await client.get(f"/assistants/{name}/schemas")
    assert schemas["graph_id"] == "outer"
    assert set(schemas["input_schema"]["properties"]) == {"log", "note"}
    inner = await client.get(f"/assistants/{name}/subgraphs", query={"recurse": "true"})
    assert inner == await client.get(f"/assistants/{name}/subgraphs/inner")
    assert set(inner) == {"inner"}
    assert await client.get(f"/assistants/{name}/subgraphs/nothing") == {}


@pytest.mark.parametrize("route", ABSENT, ids=lambda route: f"{route.method} {route.path}")
async def test_what_is_absent_says_so(client: Client, route: Any) -> None:
    path = route.path.replace("{", "").replace("}", "")
    reply = await client.send(route.method, path, {"anything": 1}, query={"any": "thing"})
    assert reply.status == 501
    assert ": " in detail_of(reply)


async def test_operators_read_health_and_statistics(client: Client) -> None:
    for path in ("/ok", "/live", "/ready"):
        assert await client.get(path) == {"ok": True}
    await client.thread("t")
    await client.started("t", "chain", {}, after_seconds=3600)
    stats = await client.get("/stats")
    assert stats["workers"] == 1
    assert {"queue": "chain", "ready": 1}.items() <= stats["queues"][0].items()
    assert (await client.get("/info"))["flags"]["crons"] is True
    client.service.drain()
    assert (await client.send("GET", "/ready")).status == 503
    assert await client.get("/live") == {"ok": True}


async def test_a_store_that_is_away_makes_the_service_unready(client: Client) -> None:
    await client.service.app.checkpointer.aclose()
    for method, path in (("GET", "/ready"), ("GET", "/threads/t")):
        reply = await client.send(method, path)
        if reply.status == 503:
            assert reply.headers["Retry-After"] == "1"


async def test_paths_and_methods_are_named(client: Client) -> None:
    assert (await client.send("GET", "/nothing")).status == 404
    reply = await client.send("DELETE", "/threads/t/state")
    assert (reply.status, reply.headers["Allow"]) == (405, "GET, POST")
    await client.thread("search")
    assert (await client.get("/threads/search"))["thread_id"] == "search"
