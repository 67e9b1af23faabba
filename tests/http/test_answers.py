"""Answers, messages and updates for the unfinished run of a thread, over HTTP."""

import asyncio
import json
from functools import partial
from typing import Any

import pytest

from durable_graph import Checkpointer, start_child
from durable_graph.runs import App
from durable_graph_http import AgentService
from tests.http.client import Client, detail_of
from tests.http.programs import Gates, State, ask, sequence
from tests.runs.engine.processes import until


@pytest.fixture
def client(service: AgentService) -> Client:
    return Client(service)


async def asked(client: Client, graph: str = "ask") -> str:
    """The id of the question of a new run of the thread "t"."""
    found = await client.ran("t", graph, {}, if_not_exists="create")
    id_: str = found["__interrupt__"][0]["id"]
    return id_


async def joined(client: Client) -> Any:
    (run,) = await client.get("/threads/t/runs")
    return await client.get(f"/threads/t/runs/{run['run_id']}/join")


@pytest.mark.parametrize("names_it", [True, False])
async def test_a_question_is_answered(client: Client, names_it: bool) -> None:
    question = await asked(client)
    body = {"value": {"any": ["JSON", None]}, **({"interrupt_id": question} if names_it else {})}
    assert await client.post("/threads/t/answers", body) == {"answered": [question]}
    assert await joined(client) == {"log": ["first", {"any": ["JSON", None]}, "last"]}


async def test_of_two_answers_at_once_one_stands(client: Client) -> None:
    question = await asked(client)
    bodies = [{"value": number, "interrupt_id": question} for number in range(2)]
    replies = await asyncio.gather(*(client.send("POST", "/threads/t/answers", body) for body in bodies))
    assert sorted(reply.status for reply in replies) == [200, 409]
    (standing,) = (number for number, reply in enumerate(replies) if reply.status == 200)
    refused = replies[1 - standing]
    assert detail_of(refused)
    assert isinstance(refused.body, bytes)
    assert json.loads(refused.body)["answers"] == {question: standing}
    assert await joined(client) == {"log": ["first", standing, "last"]}


@pytest.mark.parametrize("path", ["answers", "runs/wait", "runs"])
async def test_a_late_answer_is_told_the_standing_one(client: Client, path: str) -> None:
    question = await asked(client)
    await client.post("/threads/t/answers", {"value": "yes"})
    await joined(client)
    body: dict[str, Any] = {"value": "no", "interrupt_id": question}
    if path != "answers":
        body = {"assistant_id": "ask", "command": {"resume": {question: "no"}}}
    reply = await client.send("POST", f"/threads/t/{path}", body)
    assert reply.status == 409
    assert isinstance(reply.body, bytes)
    assert json.loads(reply.body)["answer"] == "yes"


async def test_answers_without_a_question_are_refused(client: Client) -> None:
    question = await asked(client)
    statuses = {
        "/threads/t/answers": ({"value": 1, "interrupt_id": "0" * 32}, 404),
        "/threads/u/answers": ({"value": 1}, 404),
    }
    for path, (body, status) in statuses.items():
        assert (await client.send("POST", path, body)).status == status
    wrong: tuple[Any, ...] = (
        {},
        {"interrupt_id": question},
        {"value": 1, "interrupt_id": "x"},
        {"value": 1, "other": 2},
        [],
    )
    for bad in wrong:
        assert (await client.send("POST", "/threads/t/answers", bad)).status == 422
    (run,) = await client.get("/threads/t/runs")
    await client.post(f"/threads/t/runs/{run['run_id']}/cancel", query={"wait": "1"})
    assert (await client.send("POST", "/threads/t/answers", {"value": 1})).status == 409


async def test_a_message_is_received_once(client: Client) -> None:
    await client.thread("t")
    run = await client.started("t", "hear", {})
    await client.status_once("t", run, "running")
    body = {"topic": "topic", "value": {"a": 1}}
    assert (await client.send("POST", "/threads/t/signals", {**body, "topic": ""})).status == 422
    sent = [await client.post("/threads/t/signals", {**body, "topic": "other", "key": "k"}) for _ in range(2)]
    assert sent == [{"is_new": True}, {"is_new": False}]
    assert await client.post("/threads/t/signals", body, headers={"idempotency-key": "k"}) == {"is_new": True}
    assert await joined(client) == {"log": [{"a": 1}]}
    assert (await client.send("POST", "/threads/t/signals", body)).status == 409
    assert (await client.send("POST", "/threads/u/signals", body)).status == 404
    two_keys = await client.send("POST", "/threads/t/signals", {**body, "key": "a"}, headers={"idempotency-key": "b"})
    assert two_keys.status == 422


async def test_a_running_graph_is_updated_once(client: Client, gates: Gates) -> None:
    await client.thread("t")
    await client.started("t", "gated", {})
    await gates.reached.wait()
    body = {"values": {"log": ["mine"]}, "key": "k"}
    assert [await client.post("/threads/t/updates", body) for _ in range(2)] == [{"is_new": True}, {"is_new": False}]
    assert (await client.send("POST", "/threads/t/updates", {"values": {"nothing": 1}})).status == 422
    assert (await client.send("POST", "/threads/t/updates", {"goto": "nowhere"})).status == 422
    assert (await client.send("POST", "/threads/t/updates", {})).status == 422
    again = {"goto": [{"node": "wait", "input": {}}]}
    assert await client.post("/threads/t/updates", again) == {"is_new": True}
    gates.open.set()
    assert await joined(client) == {"log": ["gated", "mine", "gated"]}
    assert (await client.send("POST", "/threads/t/updates", {"values": {"log": []}})).status == 409
    assert (await client.send("POST", "/threads/u/updates", body)).status == 404


async def asks(app: App) -> bool:
    return bool(await app.questions("t"))


async def test_an_answer_to_a_parent_reaches_the_question_of_its_child(store: Checkpointer) -> None:
    async def order(state: State) -> State:
        output: State = await (await start_child("ask", {})).result()
        return output

    app = App({"order": sequence(order=order), "ask": sequence(ask=ask)}, store)
    async with AgentService(app) as service:
        client = Client(service)
        await app.start("order", {}, thread_id="t")
        await until(partial(asks, app), "the question")
        (question,) = await app.questions("t")
        body = {"value": "yes", "interrupt_id": question.interrupt.id}
        assert await client.post("/threads/t/answers", body) == {"answered": [question.interrupt.id]}
        assert await joined(client) == {"log": ["yes"]}
