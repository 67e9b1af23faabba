"""Runs over HTTP that name no thread, and batches."""

import json
from typing import Any

import pytest

from durable_graph_http import AgentService
from tests.http.client import Client, text_of
from tests.http.programs import Gates


@pytest.fixture
def client(service: AgentService) -> Client:
    return Client(service)


async def test_the_thread_of_an_awaited_run_is_deleted(client: Client) -> None:
    reply = await client.send("POST", "/runs/wait", {"assistant_id": "chain", "input": {}})
    assert reply.headers["Content-Location"].startswith("/runs/")
    assert reply.headers["Location"].startswith("/threads/")
    assert json.loads(await text_of(reply)) == {"log": ["one", "two", "three"]}
    assert await client.post("/threads/search", {}) == []


async def test_the_thread_of_an_awaited_run_is_kept(client: Client) -> None:
    body = {"assistant_id": "ask", "input": {}, "on_completion": "keep"}
    asked = await client.post("/runs/wait", body)
    (thread,) = await client.post("/threads/search", {})
    assert thread["status"] == "interrupted"
    await client.post(f"/threads/{thread['thread_id']}/answers", {"value": "yes"})
    assert asked["log"] == ["first"]


async def test_a_run_without_a_thread_that_asks_is_cancelled_with_its_thread(client: Client) -> None:
    asked = await client.post("/runs/wait", {"assistant_id": "ask", "input": {}})
    assert len(asked["__interrupt__"]) == 1
    assert await client.post("/threads/search", {}) == []


async def test_a_run_in_the_background_names_its_thread(client: Client) -> None:
    run = await client.post("/runs", {"assistant_id": "chain", "input": {}})
    path = f"/threads/{run['thread_id']}/runs/{run['run_id']}"
    assert await client.get(f"{path}/join") == {"log": ["one", "two", "three"]}


async def test_a_repeated_run_without_a_thread_is_started_once(client: Client) -> None:
    body, headers = {"assistant_id": "chain", "input": {}}, {"idempotency-key": "k"}
    runs = [await client.post("/runs", body, headers=headers) for _ in range(2)]
    assert runs[0]["run_id"] == runs[1]["run_id"]


async def test_a_batch_starts_runs_in_their_order(client: Client, gates: Gates) -> None:
    await client.thread("t")
    bodies = [
        {"assistant_id": "chain", "input": {}},
        {"assistant_id": "chain", "input": {"note": 1}, "thread_id": "t"},
        {"assistant_id": "chain", "input": {"note": 2}, "thread_id": "t"},
    ]
    runs = await client.post("/runs/batch", bodies)
    assert [run["thread_id"] for run in runs][1:] == ["t", "t"]
    assert (await client.get(f"/threads/t/runs/{runs[2]['run_id']}/join"))["note"] == 2
    assert [run["run_id"] for run in await client.get("/threads/t/runs")] == [runs[2]["run_id"], runs[1]["run_id"]]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/runs", {"assistant_id": "chain", "input": {}, "on_completion": "delete"}, 501),
        ("/runs", {"assistant_id": "chain"}, 422),
        ("/runs/wait", {"assistant_id": "chain"}, 422),
        ("/runs/wait", {"assistant_id": "chain", "command": {"resume": 1}}, 422),
        ("/runs/wait", {"assistant_id": "chain", "input": {}, "checkpoint_id": "0000000000000001"}, 422),
        ("/runs/wait", {"assistant_id": "chain", "input": {}, "webhook": "http://example.com"}, 501),
        ("/runs/batch", [{"assistant_id": "chain", "input": {}, "on_completion": "delete"}], 501),
        ("/runs/batch", [{"assistant_id": "chain", "input": {}}] * 101, 422),
        ("/runs/batch", {}, 422),
    ],
)
async def test_what_a_run_without_a_thread_refuses(client: Client, path: str, body: Any, status: int) -> None:
    assert (await client.send("POST", path, body)).status == status
    assert await client.post("/threads/search", {}) == []
