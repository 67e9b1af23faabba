"""The state of a thread over HTTP: now, at a checkpoint, its history, and updates of it."""

import asyncio
from typing import Any

import pytest

from durable_graph_http import AgentService
from tests.http.client import Client
from tests.http.programs import Gates


@pytest.fixture
def client(service: AgentService) -> Client:
    return Client(service)


async def test_a_thread_without_runs_has_an_empty_state(client: Client) -> None:
    await client.thread("t")
    state = await client.get("/threads/t/state")
    assert (state["values"], state["next"], state["tasks"], state["interrupts"]) == ({}, [], [], [])
    assert state["checkpoint"] == {
        "thread_id": "t",
        "checkpoint_ns": "",
        "checkpoint_id": None,
        "checkpoint_map": None,
    }
    assert await client.post("/threads/t/history", {}) == []
    assert (await client.send("GET", "/threads/t/state/0000000000000001")).status == 404


async def test_the_state_is_read_now_and_at_a_checkpoint(client: Client) -> None:
    await client.ran("t", "chain", {}, if_not_exists="create")
    now = await client.get("/threads/t/state")
    assert (now["values"], now["next"]) == ({"log": ["one", "two", "three"]}, [])
    parent = now["parent_checkpoint"]
    assert parent["checkpoint_id"] == now["parent_checkpoint_id"]
    before = await client.get(f"/threads/t/state/{parent['checkpoint_id']}")
    assert (before["values"], before["next"]) == ({"log": ["one", "two"]}, ["three"])
    assert before == await client.post("/threads/t/state/checkpoint", {"checkpoint": parent, "subgraphs": False})
    (task,) = before["tasks"]
    assert (task["name"], task["error"], task["interrupts"], task["result"]) == ("three", None, [], {"log": ["three"]})


async def test_the_parts_of_a_state_are_selected(client: Client) -> None:
    await client.ran("t", "chain", {"note": "x"}, if_not_exists="create")
    assert await client.get("/threads/t/state", query={"select": "next,values.note"}) == {
        "next": [],
        "values": {"note": "x"},
    }
    assert (await client.send("GET", "/threads/t/state", query={"select": "nothing"})).status == 422


async def test_questions_are_shown_with_their_tasks(client: Client) -> None:
    await client.ran("t", "ask", {}, if_not_exists="create")
    state = await client.get("/threads/t/state")
    (task,) = state["tasks"]
    assert state["next"] == ["ask"]
    assert task["interrupts"] == state["interrupts"]
    assert state["interrupts"][0]["value"] == {"question": "ok?"}


async def test_the_state_of_a_nested_graph_is_part_of_its_task(client: Client) -> None:
    await client.ran("t", "outer", {}, if_not_exists="create")
    plain = (await client.get("/threads/t/state"))["tasks"][0]
    assert plain["state"] is None
    nested = plain["checkpoint"]
    assert nested["checkpoint_ns"]
    full = (await client.get("/threads/t/state", query={"subgraphs": "true"}))["tasks"][0]["state"]
    assert (full["values"], full["next"]) == ({"log": ["first"]}, ["ask"])
    assert full == await client.post("/threads/t/state/checkpoint", {"checkpoint": nested})
    inner = await client.post("/threads/t/history", {"checkpoint": nested})
    assert [each["next"] for each in inner] == [["ask"], ["first"]]


async def test_the_history_has_three_forms_of_before(client: Client) -> None:
    await client.ran("t", "chain", {}, if_not_exists="create", metadata={"user": "ann"})
    every = await client.post("/threads/t/history", {})
    assert [each["next"] for each in every] == [[], ["three"], ["two"], ["one"]]
    at = every[1]["checkpoint"]
    for before in (at["checkpoint_id"], at, {"configurable": {"checkpoint_id": at["checkpoint_id"]}}):
        assert await client.post("/threads/t/history", {"before": before}) == every[2:]
    assert await client.post("/threads/t/history", {"limit": 1}) == every[:1]
    assert await client.post("/threads/t/history", {"metadata": {"user": "ann"}, "select": ["next"]}) == [
        {"next": each["next"]} for each in every
    ]
    assert await client.post("/threads/t/history", {"metadata": {"user": "bob"}}) == []


@pytest.mark.parametrize("before", [{}, {"configurable": {}}, {"configurable": 3}, {"checkpoint_id": None}])
async def test_a_before_without_a_checkpoint_is_refused(client: Client, before: Any) -> None:
    await client.ran("t", "chain", {}, if_not_exists="create")
    assert (await client.send("POST", "/threads/t/history", {"before": before})).status == 422
    assert (await client.send("POST", "/threads/t/history", {"before": "nonsense"})).status == 404


async def test_an_update_makes_a_checkpoint_from_which_a_run_continues(client: Client) -> None:
    await client.ran("t", "chain", {}, if_not_exists="create")
    made = await client.post("/threads/t/state", {"values": {"log": ["mine"]}, "as_node": "one"})
    assert made["checkpoint"]["checkpoint_id"] == made["checkpoint_id"] == made["configurable"]["checkpoint_id"]
    state = await client.get("/threads/t/state")
    assert (state["checkpoint"], state["next"]) == (made["checkpoint"], ["two"])
    assert (await client.ran("t", "chain"))["log"] == ["one", "two", "three", "mine", "two", "three"]


async def test_an_update_of_an_older_checkpoint_forks_the_thread(client: Client) -> None:
    await client.ran("t", "chain", {}, if_not_exists="create")
    at = (await client.post("/threads/t/history", {}))[2]["checkpoint"]
    for place in ({"checkpoint": at}, {"checkpoint_id": at["checkpoint_id"]}):
        made = await client.post("/threads/t/state", {"values": {"log": ["mine"]}, "as_node": "two", **place})
        state = await client.get(f"/threads/t/state/{made['checkpoint_id']}")
        assert (state["values"], state["next"]) == ({"log": ["one", "mine"]}, ["three"])
        assert state["parent_checkpoint"] == at


async def test_an_update_with_a_key_is_made_once(client: Client) -> None:
    await client.ran("t", "chain", {}, if_not_exists="create")
    body = {"values": {"log": ["mine"]}, "as_node": "three"}
    once, again = [await client.post("/threads/t/state", body, headers={"idempotency-key": "k"}) for _ in range(2)]
    assert once == again
    assert (await client.get("/threads/t/state"))["values"]["log"] == ["one", "two", "three", "mine"]


async def test_a_thread_that_a_run_executes_is_not_updated(client: Client, gates: Gates) -> None:
    await client.thread("t")
    await client.started("t", "gated", {})
    await gates.reached.wait()
    assert (await client.send("POST", "/threads/t/state", {"values": {"log": []}})).status == 409
    gates.open.set()


async def test_an_update_without_a_node_leaves_a_question_open(client: Client) -> None:
    await client.ran("t", "ask", {}, if_not_exists="create")
    asked = (await client.get("/threads/t/state"))["interrupts"]
    made = await client.post("/threads/t/state", {"values": {"log": ["mine"]}})
    state = await client.get("/threads/t/state")
    assert state["interrupts"] == asked
    assert state["checkpoint"] == made["checkpoint"]
    assert (await client.ran("t", "ask", command={"resume": "yes"}))["log"] == ["first", "mine", "yes", "last"]


async def test_an_update_as_a_node_takes_the_place_of_a_question(client: Client) -> None:
    await client.ran("t", "ask", {}, if_not_exists="create")
    await client.post("/threads/t/state", {"values": {"log": ["mine"]}, "as_node": "ask"})
    assert (await client.get("/threads/t/state"))["next"] == ["last"]
    assert await client.ran("t", "ask") == {"log": ["first", "mine", "last"]}


async def test_a_state_needs_a_graph(client: Client) -> None:
    await client.thread("t")
    assert (await client.send("POST", "/threads/t/state", {"values": {"log": []}})).status == 409
    await client.thread("u", graph_id="chain")
    made = await client.post("/threads/u/state", {"values": {"log": ["mine"]}, "as_node": "two"})
    assert made["checkpoint"]["thread_id"] == "u"
    assert await client.ran("u", "chain") == {"log": ["mine", "three"]}


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/state", {"values": {"nothing": 1}, "as_node": "one"}, 422),
        ("/state", {"values": {"log": []}, "as_node": "nowhere"}, 422),
        ("/state", {"values": {"log": []}, "as_node": "one", "checkpoint_id": "0000000000009999"}, 404),
        ("/state", {"values": {"log": []}, "checkpoint": {"thread_id": "other"}}, 422),
        ("/state", {"checkpoint": {"checkpoint_id": "0000000000000001"}, "checkpoint_id": "0000000000000002"}, 422),
        ("/state/checkpoint", {"checkpoint": {"checkpoint_ns": "nowhere:1"}}, 404),
        ("/state/checkpoint", {}, 422),
        ("/history", {"limit": 0}, 422),
        ("/history", {"limit": 1001}, 422),
        ("/history", {"checkpoint": {"thread_id": "other"}}, 422),
    ],
)
async def test_what_a_state_refuses(client: Client, path: str, body: Any, status: int) -> None:
    await client.ran("t", "chain", {}, if_not_exists="create")
    before = await client.post("/threads/t/history", {})
    assert (await client.send("POST", f"/threads/t{path}", body)).status == status
    assert await client.post("/threads/t/history", {}) == before


async def test_two_updates_at_once_are_both_made_or_refused(client: Client) -> None:
    await client.ran("t", "chain", {}, if_not_exists="create")
    bodies = [{"values": {"log": [number]}, "as_node": "three"} for number in range(2)]
    replies = await asyncio.gather(*(client.send("POST", "/threads/t/state", body) for body in bodies))
    made = [number for number, reply in enumerate(replies) if reply.status == 200]
    assert {reply.status for reply in replies} <= {200, 409}
    log = (await client.get("/threads/t/state"))["values"]["log"]
    assert sorted(log[3:]) == made
