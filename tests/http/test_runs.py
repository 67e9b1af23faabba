"""Runs over HTTP: created, awaited, joined, listed, cancelled, retried and deleted."""

import asyncio
import json
from contextlib import suppress
from typing import Any

import pytest

from durable_graph import Checkpointer
from durable_graph.runs import App
from durable_graph_http import AgentService, Frames, Later
from durable_graph_http import waiting as waiting_module
from durable_graph_http.starting import assistant_id_of
from tests.http.client import Client, once, text_of
from tests.http.programs import Gates, State, sequence


@pytest.fixture
def client(service: AgentService) -> Client:
    return Client(service)


async def test_a_run_in_the_background_is_read_and_joined(client: Client) -> None:
    await client.thread("t /1")
    reply = await client.send("POST", "/threads/t%20%2F1/runs", {"assistant_id": "chain", "input": {}})
    run = json.loads(await text_of(reply))
    assert reply.headers["Content-Location"] == f"/threads/t%20%2F1/runs/{run['run_id']}"
    assert (run["thread_id"], run["assistant_id"]) == ("t /1", assistant_id_of("chain"))
    assert run["status"] in ("pending", "running", "success")
    joined = await client.send("GET", f"/threads/t%20%2F1/runs/{run['run_id']}/join")
    assert joined.headers["Location"] == f"/threads/t%20%2F1/runs/{run['run_id']}/join"
    assert json.loads(await text_of(joined)) == {"log": ["one", "two", "three"]}
    done = await client.get(f"/threads/t%20%2F1/runs/{run['run_id']}")
    assert done["status"] == "success"
    assert done["updated_at"] >= done["created_at"]


async def test_a_run_is_awaited(client: Client) -> None:
    body = {"assistant_id": assistant_id_of("chain"), "input": {}, "if_not_exists": "create"}
    reply = await client.send("POST", "/threads/t/runs/wait", body)
    path = reply.headers["Content-Location"]
    assert reply.headers["Location"] == f"{path}/join"
    assert json.loads(await text_of(reply)) == {"log": ["one", "two", "three"]}
    assert (await client.get(path))["status"] == "success"


async def test_an_error_of_the_graph_is_part_of_the_result(client: Client) -> None:
    failed = await client.ran("t", "fail", {}, if_not_exists="create")
    assert failed == {"__error__": {"error": "ValueError", "message": "it cannot be done"}}
    (run,) = await client.get("/threads/t/runs")
    assert run["status"] == "error"
    assert await client.get(f"/threads/t/runs/{run['run_id']}/join") == failed


async def test_open_questions_are_part_of_the_result(client: Client) -> None:
    asked = await client.ran("t", "ask", {}, if_not_exists="create")
    assert asked["log"] == ["first"]
    (question,) = asked["__interrupt__"]
    assert question["value"] == {"question": "ok?"}
    (run,) = await client.get("/threads/t/runs")
    assert run["status"] == "interrupted"
    reply = await client.send("POST", "/threads/t/runs/wait", {"assistant_id": "ask", "command": {"resume": "yes"}})
    # The same run continues.
    assert reply.headers["Content-Location"] == f"/threads/t/runs/{run['run_id']}"
    assert json.loads(await text_of(reply)) == {"log": ["first", "yes", "last"]}


async def test_questions_are_answered_by_their_ids(client: Client) -> None:
    asked = await client.ran("t", "ask_twice", {}, if_not_exists="create")
    (first,) = asked["__interrupt__"]
    second = await client.ran("t", "ask_twice", command={"resume": {first["id"]: 1}})
    answers = await client.ran("t", "ask_twice", command={"resume": {second["__interrupt__"][0]["id"]: 2}})
    assert answers == {"log": [1, 2]}


async def test_a_run_at_a_breakpoint_is_continued_without_an_input(client: Client) -> None:
    stopped = await client.ran("t", "chain", {}, if_not_exists="create", interrupt_before=["two"])
    assert stopped == {"log": ["one"]}
    (run,) = await client.get("/threads/t/runs")
    assert run["status"] == "interrupted"
    assert await client.ran("t", "chain") == {"log": ["one", "two", "three"]}
    assert [each["run_id"] for each in await client.get("/threads/t/runs")] == [run["run_id"]]


async def test_a_run_begins_at_an_older_checkpoint(client: Client) -> None:
    await client.ran("t", "chain", {}, if_not_exists="create")
    at = (await client.post("/threads/t/history", {}))[2]["checkpoint"]
    assert await client.ran("t", "chain", checkpoint=at) == {"log": ["one", "two", "three"]}
    places: tuple[dict[str, Any], ...] = (
        {"checkpoint_id": at["checkpoint_id"]},
        {"config": {"configurable": {"checkpoint_id": at["checkpoint_id"], "thread_id": "t"}}},
    )
    for place in places:
        assert await client.ran("t", "chain", {"log": ["new"]}, **place) == {
            "log": ["one", "new", "one", "two", "three"]
        }
    moved = await client.ran("t", "chain", command={"update": {"log": ["mine"]}}, checkpoint=at)
    assert moved == {"log": ["one", "mine", "two", "three"]}
    assert (await client.get(f"/threads/t/state/{at['checkpoint_id']}"))["values"] == {"log": ["one"]}


async def test_a_run_from_a_checkpoint_takes_the_place_of_a_question(client: Client) -> None:
    await client.ran("t", "ask", {}, if_not_exists="create")
    at = (await client.post("/threads/t/history", {}))[1]["checkpoint"]
    asked = await client.ran("t", "ask", checkpoint=at)
    assert asked["log"] == ["first"]
    assert len(asked["__interrupt__"]) == 1
    newest, older = await client.get("/threads/t/runs")
    assert (newest["status"], older["cancel_reason"] is None) == ("interrupted", False)
    assert await client.ran("t", "ask", command={"resume": 1}) == {"log": ["first", 1, "last"]}


async def test_new_input_takes_the_place_of_a_question(client: Client) -> None:
    for strategy in ("reject", "enqueue", "interrupt"):
        thread = await client.thread()
        await client.ran(thread, "ask", {})
        again = await client.ran(thread, "ask", {"log": ["new"]}, multitask_strategy=strategy)
        assert again["log"] == ["first", "new", "first"]
    thread = await client.thread()
    await client.ran(thread, "ask", {})
    rolled_back = await client.ran(thread, "ask", {"log": ["new"]}, multitask_strategy="rollback")
    assert rolled_back["log"] == ["new", "first"]


async def test_a_command_updates_and_moves_a_thread(client: Client) -> None:
    await client.ran("t", "chain", {}, if_not_exists="create")
    moved = await client.ran("t", "chain", command={"update": {"log": ["mine"]}, "goto": "three"})
    assert moved["log"] == ["one", "two", "three", "mine", "three"]
    sent = await client.ran("t", "chain", command={"goto": [{"node": "three", "input": {}}], "update": [["note", 1]]})
    assert (sent["log"][5:], sent["note"]) == (["three"], 1)
    await client.ran("q", "ask", {}, if_not_exists="create")
    waiting = await client.ran("q", "ask", command={"update": {"log": ["mine"]}})
    assert len(waiting["__interrupt__"]) == 1
    assert waiting["log"] == ["first", "mine"]


async def test_a_busy_thread_follows_the_strategy(client: Client, gates: Gates) -> None:
    await client.thread("t")
    first = await client.started("t", "gated", {})
    await gates.reached.wait()
    refused = await client.send(
        "POST", "/threads/t/runs", {"assistant_id": "gated", "input": {}, "multitask_strategy": "reject"}
    )
    assert refused.status == 409
    assert (await client.send("POST", "/threads/t/runs", {"assistant_id": "chain", "input": {}})).status == 409
    queued = await client.started("t", "gated", {})
    assert (await client.get(f"/threads/t/runs/{queued}"))["status"] == "pending"
    third = await client.started("t", "gated", {}, multitask_strategy="interrupt")
    await client.status_once("t", first, "interrupted")
    await client.status_once("t", queued, "interrupted")
    gates.open.set()
    assert await client.get(f"/threads/t/runs/{third}/join") == {"log": ["gated"]}


async def test_a_thread_has_to_exist_unless_the_client_says_otherwise(client: Client) -> None:
    for path in ("/threads/t/runs", "/threads/t/runs/wait"):
        assert (await client.send("POST", path, {"assistant_id": "chain", "input": {}})).status == 404
    assert (await client.send("GET", "/threads/t")).status == 404


async def test_a_run_is_delayed(client: Client) -> None:
    await client.thread("t")
    run = await client.started("t", "chain", {}, after_seconds=3600)
    assert (await client.get(f"/threads/t/runs/{run}"))["status"] == "pending"
    assert (await client.get("/threads/t"))["status"] == "busy"


async def test_a_run_has_metadata_and_options(client: Client) -> None:
    await client.thread("t")
    config = {"tags": ["a"], "recursion_limit": 2, "metadata": {"from": "config"}, "configurable": {"mine": 1}}
    await client.ran("t", "chain", {}, config=config, metadata={"user": "ann"}, durability="exit")
    (run,) = await client.get("/threads/t/runs")
    assert run["metadata"] == {"from": "config", "user": "ann"}
    assert run["status"] == "error"
    assert "recursion_limit" in run["error"]


async def test_a_repeated_request_with_a_key_starts_one_run(client: Client) -> None:
    await client.thread("t")
    body, headers = {"assistant_id": "chain", "input": {"note": 1}}, {"idempotency-key": "k"}
    runs = [await client.post("/threads/t/runs", body, headers=headers) for _ in range(3)]
    assert len({run["run_id"] for run in runs}) == 1
    other = await client.send("POST", "/threads/t/runs", {**body, "input": {"note": 2}}, headers=headers)
    assert other.status == 409
    at_once = [client.post("/threads/t/runs/wait", body, headers={"idempotency-key": "j"}) for _ in range(2)]
    await asyncio.gather(*at_once)
    assert len(await client.get("/threads/t/runs")) == 2
    at = (await client.post("/threads/t/history", {"limit": 3}))[2]["checkpoint"]
    forked = {"assistant_id": "chain", "input": {}, "checkpoint": at}
    for _ in range(2):
        await client.post("/threads/t/runs/wait", forked, headers={"idempotency-key": "f"})
    assert len(await client.get("/threads/t/runs")) == 3
    history = await client.post("/threads/t/history", {"limit": 100})
    assert [each["metadata"]["source"] for each in history].count("fork") == 1


async def test_runs_are_listed_newest_first(client: Client) -> None:
    await client.thread("t")
    runs = [await client.started("t", "chain", {}) for _ in range(5)]
    await client.get(f"/threads/t/runs/{runs[-1]}/join")
    assert [each["run_id"] for each in await client.get("/threads/t/runs")] == runs[::-1]
    page = await client.send("GET", "/threads/t/runs", query={"limit": 2, "offset": 1, "status": "success"})
    assert [each["run_id"] for each in json.loads(await text_of(page))] == runs[2:4][::-1]
    assert (page.headers["X-Pagination-Total"], page.headers["X-Pagination-Next"]) == ("5", "3")
    assert await client.get("/threads/t/runs", query={"status": "error"}) == []
    chosen = await client.get("/threads/t/runs", query={"limit": 1, "select": "run_id,status"})
    assert chosen == [{"run_id": runs[-1], "status": "success"}]


async def test_a_run_is_cancelled_with_and_without_waiting(client: Client, gates: Gates) -> None:
    await client.thread("t")
    run = await client.started("t", "gated", {})
    await gates.reached.wait()
    reply = await client.send("POST", f"/threads/t/runs/{run}/cancel", query={"wait": "0", "action": "interrupt"})
    assert (reply.status, reply.body) == (202, b"")
    found = await client.status_once("t", run, "interrupted")
    assert found["cancel_reason"]
    assert (await client.get("/threads/t"))["status"] == "idle"
    gates.reached.clear()
    other = await client.started("t", "gated", {})
    await gates.reached.wait()
    assert await client.post(f"/threads/t/runs/{other}/cancel", query={"wait": "1"}) == {}
    assert (await client.get(f"/threads/t/runs/{other}"))["status"] == "interrupted"
    joined = await client.get(f"/threads/t/runs/{other}/join")
    assert joined["__error__"]["error"] == "RunCancelled"


async def test_a_cancelled_run_is_rolled_back(client: Client) -> None:
    await client.ran("t", "ask", {}, if_not_exists="create")
    await client.ran("t", "ask", command={"resume": "yes"})
    await client.ran("t", "ask", {"log": ["new"]})
    (run, _) = await client.get("/threads/t/runs")
    assert await client.post(f"/threads/t/runs/{run['run_id']}/cancel", query={"wait": "1", "action": "rollback"}) == {}
    state = await client.get("/threads/t/state")
    assert (state["values"], state["next"]) == ({"log": ["first", "yes", "last"]}, [])
    assert (await client.get("/threads/t"))["status"] == "idle"


async def test_the_first_run_of_a_thread_is_not_rolled_back(client: Client) -> None:
    await client.ran("t", "ask", {}, if_not_exists="create")
    (run,) = await client.get("/threads/t/runs")
    for path, body in (
        (f"/threads/t/runs/{run['run_id']}/cancel", None),
        ("/runs/cancel", {"thread_id": "t", "run_ids": [run["run_id"]]}),
    ):
        assert (await client.send("POST", path, body, query={"action": "rollback"})).status == 409
    assert (await client.get(f"/threads/t/runs/{run['run_id']}"))["status"] == "interrupted"
    assert await client.ran("t", "ask", command={"resume": "yes"}) == {"log": ["first", "yes", "last"]}


@pytest.mark.parametrize("is_many", [True, False])
async def test_a_run_is_rolled_back_without_waiting(client: Client, is_many: bool) -> None:
    await client.ran("t", "chain", {}, if_not_exists="create")
    run = await client.started("t", "chain", {"log": ["new"]}, interrupt_after=["one"])
    await client.status_once("t", run, "interrupted")
    many = {"thread_id": "t", "run_ids": [run]}
    path, body, status = ("/runs/cancel", many, 204) if is_many else (f"/threads/t/runs/{run}/cancel", None, 202)
    await client.post(path, body, query={"action": "rollback"}, status=status)

    async def is_back() -> bool:
        state = await client.get("/threads/t/state")
        return bool(state["values"]["log"] == ["one", "two", "three"] and not state["next"])

    await once(is_back)
    assert (await client.get("/threads/t"))["status"] == "idle"


async def test_a_run_that_has_not_begun_is_rolled_back(client: Client) -> None:
    await client.thread("t")
    run = await client.started("t", "chain", {}, after_seconds=3600)
    assert await client.post(f"/threads/t/runs/{run}/cancel", query={"wait": "1", "action": "rollback"}) == {}
    assert (await client.get("/threads/t"))["values"] is None


async def test_several_runs_are_cancelled(client: Client) -> None:
    await client.thread("t")
    runs = [await client.started("t", "chain", {}, after_seconds=3600) for _ in range(3)]
    other = await client.thread()
    kept = await client.started(other, "chain", {}, after_seconds=3600)
    await client.call("POST", "/runs/cancel", {"thread_id": "t", "run_ids": runs[:2]}, status=204)
    statuses = [(await client.get(f"/threads/t/runs/{run}"))["status"] for run in runs]
    assert statuses == ["interrupted", "interrupted", "pending"]
    wrong = await client.send("POST", "/runs/cancel", {"thread_id": other, "run_ids": [kept, runs[2]]})
    assert wrong.status == 404
    assert (await client.get(f"/threads/{other}/runs/{kept}"))["status"] == "pending"
    await client.call("POST", "/runs/cancel", {"status": "running"}, status=204)
    assert (await client.get(f"/threads/{other}/runs/{kept}"))["status"] == "pending"
    await client.call("POST", "/runs/cancel", {"status": "all"}, status=204)
    assert (await client.get(f"/threads/{other}/runs/{kept}"))["status"] == "interrupted"
    for body in ({}, {"thread_id": "t"}, {"run_ids": runs}, {"thread_id": "t", "run_ids": runs, "status": "all"}):
        assert (await client.send("POST", "/runs/cancel", body)).status == 422


async def test_a_run_that_has_ended_is_deleted(client: Client) -> None:
    await client.ran("t", "ask", {}, if_not_exists="create")
    (run,) = await client.get("/threads/t/runs")
    path = f"/threads/t/runs/{run['run_id']}"
    assert (await client.send("DELETE", path)).status == 409
    await client.ran("t", "ask", command={"resume": "yes"})
    await client.call("DELETE", path, status=204)
    for method, end in (("GET", ""), ("DELETE", ""), ("GET", "/join"), ("POST", "/cancel"), ("POST", "/retry")):
        assert (await client.send(method, path + end)).status == 404
    assert (await client.get("/threads/t/state"))["values"] == {"log": ["first", "yes", "last"]}


async def test_a_failed_run_is_retried(client: Client) -> None:
    await client.ran("t", "fail", {}, if_not_exists="create")
    (run,) = await client.get("/threads/t/runs")
    retried = await client.post(f"/threads/t/runs/{run['run_id']}/retry")
    assert retried["run_id"] == run["run_id"]
    assert "__error__" in await client.get(f"/threads/t/runs/{run['run_id']}/join")
    assert (await client.get(f"/threads/t/runs/{run['run_id']}"))["attempt"] == 2
    await client.ran("t", "fail", {"log": ["later"]})
    assert (await client.send("POST", f"/threads/t/runs/{run['run_id']}/retry")).status == 409


async def test_a_failed_thread_continues_without_an_input(client: Client) -> None:
    await client.ran("t", "fail", {}, if_not_exists="create")
    assert "__error__" in await client.ran("t", "fail")
    assert len(await client.get("/threads/t/runs")) == 2


async def test_a_run_without_an_input_needs_tasks(client: Client) -> None:
    await client.ran("t", "chain", {}, if_not_exists="create")
    end = (await client.get("/threads/t/state"))["checkpoint"]
    for body in ({}, {"checkpoint": end}):
        reply = await client.send("POST", "/threads/t/runs", {"assistant_id": "chain", **body})
        assert reply.status == 409
    assert len(await client.get("/threads/t/runs")) == 1
    assert len(await client.post("/threads/t/history", {})) == 4


async def test_a_run_of_another_thread_is_unknown(client: Client) -> None:
    await client.ran("t", "chain", {}, if_not_exists="create")
    await client.thread("u")
    (run,) = await client.get("/threads/t/runs")
    for method, end in (("GET", ""), ("DELETE", ""), ("GET", "/join"), ("POST", "/cancel"), ("POST", "/retry")):
        assert (await client.send(method, f"/threads/u/runs/{run['run_id']}{end}")).status == 404


async def test_blanks_keep_a_connection_alive(client: Client, gates: Gates, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting_module, "BLANK_EVERY", 0.01)
    await client.thread("t")
    reply = await client.send("POST", "/threads/t/runs/wait", {"assistant_id": "gated", "input": {}})
    assert isinstance(reply.body, Later)
    parts = [await anext(reply.body.parts) for _ in range(3)]
    assert not b"".join(parts).strip()
    gates.open.set()
    assert json.loads(await text_of(reply)) == {"log": ["gated"]}


async def test_a_stopping_service_leaves_the_result_to_another(client: Client, gates: Gates) -> None:
    await client.thread("t")
    reply = await client.send("POST", "/threads/t/runs/wait", {"assistant_id": "gated", "input": {}})
    reading = asyncio.create_task(text_of(reply))
    await gates.reached.wait()
    client.service.drain()
    assert not (await reading).strip()
    gates.open.set()


@pytest.mark.parametrize("cancels", [True, False])
async def test_a_client_that_leaves_cancels_the_run_if_it_asked_for_that(
    client: Client, gates: Gates, cancels: bool
) -> None:
    await client.thread("t")
    asked = {"on_disconnect": "cancel"} if cancels else {}
    reply = await client.send("POST", "/threads/t/runs/wait", {"assistant_id": "gated", "input": {}, **asked})
    await gates.reached.wait()
    assert isinstance(reply.body, Later)
    assert (reply.body.left is not None) == cancels
    if reply.body.left is not None:
        await reply.body.left()
    await reply.body.parts.aclose()
    if not cancels:
        gates.open.set()
    (run,) = await client.get("/threads/t/runs")
    await client.status_once("t", run["run_id"], "interrupted" if cancels else "success")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"assistant_id": "chain", "input": {}, "webhook": "http://example.com"}, 501),
        ({"assistant_id": "nothing", "input": {}}, 404),
        ({"input": {}}, 422),
        ({"assistant_id": "chain", "input": 7}, 422),
        ({"assistant_id": "chain", "input": {"nothing": 1}}, 422),
        ({"assistant_id": "chain", "input": {}, "context": {"user": 1}}, 422),
        ({"assistant_id": "chain", "input": {}, "unknown": 1}, 422),
        ({"assistant_id": "chain", "input": {}, "multitask_strategy": "later"}, 422),
        ({"assistant_id": "chain", "input": {}, "interrupt_before": ["nowhere"]}, 422),
        ({"assistant_id": "chain", "input": {}, "config": {"recursion_limit": 0}}, 422),
        ({"assistant_id": "chain", "input": {}, "config": {"unknown": 0}}, 422),
        ({"assistant_id": "chain", "input": {}, "config": {"configurable": {"__x": 0}}}, 422),
        ({"assistant_id": "chain", "input": {}, "config": {"configurable": {"thread_id": "other"}}}, 422),
        ({"assistant_id": "chain", "input": {}, "checkpoint": {"checkpoint_ns": "inner:1"}}, 422),
        ({"assistant_id": "chain", "input": {}, "checkpoint": {"checkpoint_id": "nothing"}}, 404),
        (
            {
                "assistant_id": "chain",
                "input": {},
                "checkpoint_id": "0000000000000001",
                "checkpoint": {"checkpoint_id": "0000000000000002"},
            },
            422,
        ),
        ({"assistant_id": "chain", "input": {}, "after_seconds": -1}, 422),
        ({"assistant_id": "chain", "input": {}, "after_seconds": 1e300}, 422),
        ({"assistant_id": "chain", "input": {}, "metadata": {"deep": {"a": 1}}}, 422),
        ({"assistant_id": "chain", "input": {}, "command": {"update": {}}}, 422),
        ({"assistant_id": "chain", "command": {}}, 422),
        ({"assistant_id": "chain", "command": {"resume": 1, "goto": "one"}}, 422),
        ({"assistant_id": "chain", "command": {"resume": 1}}, 404),
        ({"assistant_id": "chain", "command": {"goto": "nowhere"}}, 422),
        ({"assistant_id": "chain", "command": {"update": {"nothing": 1}}}, 422),
    ],
)
async def test_what_a_run_refuses(client: Client, body: Any, status: int) -> None:
    await client.thread("t")
    for end in ("", "/wait"):
        reply = await client.send("POST", f"/threads/t/runs{end}", body)
        assert reply.status == status, await text_of(reply)
    assert await client.get("/threads/t/runs") == []
    assert await client.post("/threads/t/history", {}) == []


async def test_a_part_of_a_run_is_cancelled_by_its_name(client: Client) -> None:
    await client.thread("t")
    run = await client.started("t", "chain", {}, after_seconds=3600)
    await client.post(f"/threads/t/runs/{run}~5242880/cancel", status=202)
    assert (await client.get(f"/threads/t/runs/{run}"))["status"] == "interrupted"


@pytest.mark.parametrize("strategy", ["enqueue", "interrupt"])
async def test_a_repeated_request_with_a_checkpoint_has_the_run_that_is_executed(
    client: Client, gates: Gates, strategy: str
) -> None:
    update = {"values": {"log": ["a"]}, "as_node": "__start__"}
    await client.thread("t", graph_id="gated", supersteps=[{"updates": [update]}])
    at = (await client.get("/threads/t/state"))["checkpoint"]["checkpoint_id"]
    body = {"assistant_id": "gated", "input": {"note": 1}, "checkpoint_id": at, "multitask_strategy": strategy}
    first = await client.post("/threads/t/runs", body, headers={"idempotency-key": "k"})
    await gates.reached.wait()
    again = await client.post("/threads/t/runs", body, headers={"idempotency-key": "k"})
    assert again["run_id"] == first["run_id"]
    gates.open.set()
    await client.status_once("t", first["run_id"], "success")


async def test_a_service_stops_although_a_run_that_is_to_be_rolled_back_does_not(
    store: Checkpointer, gates: Gates, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(waiting_module, "_LAST_SECONDS", 0.01)

    async def hold_on(state: State) -> State:
        while not gates.open.is_set():
            gates.reached.set()
            with suppress(asyncio.CancelledError):
                await gates.open.wait()
        return {}

    app = App({"stubborn": sequence(hold_on=hold_on)}, store)
    try:
        async with app.worker():
            async with asyncio.timeout(20), AgentService(app, worker=False) as front:
                client = Client(front)
                update = {"values": {"log": ["a"]}, "as_node": "hold_on"}
                await client.thread("t", graph_id="stubborn", supersteps=[{"updates": [update]}])
                run = await client.started("t", "stubborn", {})
                await gates.reached.wait()
                await client.post(f"/threads/t/runs/{run}/cancel", query={"action": "rollback"}, status=202)
            assert f"{run} was not rolled back" in caplog.text
            gates.open.set()
    finally:
        gates.open.set()


@pytest.mark.parametrize("end", ["wait", "stream"])
async def test_the_thread_of_a_client_that_leaves_and_cancels_its_run_is_deleted(
    client: Client, gates: Gates, end: str
) -> None:
    body = {"assistant_id": "gated", "input": {}, "on_disconnect": "cancel"}
    reply = await client.send("POST", f"/runs/{end}", body)
    await gates.reached.wait()
    assert isinstance(reply.body, Later | Frames)
    assert reply.body.left is not None
    await reply.body.left()

    async def is_deleted() -> bool:
        return await client.service.app.threads.count() == 0

    await once(is_deleted)


async def test_a_run_that_is_deleted_has_a_result_no_more(client: Client) -> None:
    await client.thread("t")
    run = await client.started("t", "chain", {}, after_seconds=3600)
    joined = await client.send("GET", f"/threads/t/runs/{run}/join")
    await client.post(f"/threads/t/runs/{run}/cancel", status=202)
    await client.call("DELETE", "/threads/t", status=204)
    # Without a document, so that the client asks at `Location`.
    assert not (await text_of(joined)).strip()
    assert (await client.send("GET", joined.headers["Location"])).status == 404
