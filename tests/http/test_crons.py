"""Crons over HTTP: schedules of the app that clients make. The SDK's own calls have tests in `tests/services`."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from durable_graph import Checkpointer
from durable_graph.testing import RunningApp
from durable_graph_http import AgentService, Operation, Tenant
from tests.http.client import Client, detail_of, once
from tests.http.programs import app_of

CRON = {"assistant_id": "chain", "schedule": "30 2 * * *"}


@pytest.fixture
def client(service: AgentService) -> Client:
    return Client(service)


async def moved(client: Client, by: timedelta) -> None:
    """Move the clock, and wait until what is due has been done."""
    (worker,) = client.service.app._workers
    await RunningApp(client.service.app, worker).move(by)


async def made(client: Client, thread: str | None = None, **body: Any) -> Any:
    path = "/runs/crons" if thread is None else f"/threads/{thread}/runs/crons"
    return await client.post(path, {**CRON, **body})


async def test_a_cron_starts_a_run_on_a_new_thread_at_each_of_its_times(client: Client) -> None:
    cron = await made(client, schedule="0 * * * *", input={"note": 7}, metadata={"user": "Ada"}, config={"tags": ["x"]})
    for _ in range(2):
        await moved(client, timedelta(hours=1))
    threads = await client.post("/threads/search", {})
    assert [each["values"] for each in threads] == [{"log": ["one", "two", "three"], "note": 7}] * 2
    (run,) = await client.get(f"/threads/{threads[0]['thread_id']}/runs")
    assert run["status"] == "success"
    assert run["metadata"]["user"] == "Ada"
    (found,) = await client.post("/runs/crons/search", {})
    assert found["payload"] == {"input": {"note": 7}, "metadata": {"user": "Ada"}, "config": {"tags": ["x"]}}
    assert found["cron_id"] == cron["cron_id"]
    assert found["next_run_date"] > cron["next_run_date"]
    events = await client.get(f"/threads/{threads[0]['thread_id']}/runs/{run['run_id']}/join")
    assert events["note"] == 7


async def test_a_cron_of_a_thread_continues_the_thread(client: Client) -> None:
    thread = await client.thread("t")
    cron = await made(client, thread, schedule="0 * * * *", input={})
    assert cron["thread_id"] == "t"
    for _ in range(2):
        await moved(client, timedelta(hours=1))
    state = await client.get("/threads/t/state")
    assert state["values"]["log"] == ["one", "two", "three"] * 2
    assert (await client.send("POST", "/threads/nothing/runs/crons", CRON)).status == 404


async def test_an_occurrence_on_a_busy_thread_is_skipped_or_cancels_the_run(client: Client, gates: Any) -> None:
    for strategy, fired, skipped in (("reject", 1, 2), ("interrupt", 3, 0)):
        thread = await client.thread()
        cron = await made(
            client, thread, assistant_id="gated", schedule="0 * * * *", input={}, multitask_strategy=strategy
        )
        handle = await client.service.app.find_schedule(cron["cron_id"])
        for _ in range(3):
            client.service.app.store.skew += timedelta(hours=1) // timedelta(microseconds=1)
            (worker,) = client.service.app._workers
            worker.schedules.nudge()
            await once(lambda handle=handle: _is_on_time(handle))  # type: ignore[misc]
        status = await handle.status()
        assert (status.fired, status.skipped) == (fired, skipped)
        await client.call("DELETE", f"/runs/crons/{cron['cron_id']}", status=204)
    gates.open.set()


async def _is_on_time(handle: Any) -> bool:
    status = await handle.status()
    return bool(status.next is not None and not status.overdue)


async def test_a_change_keeps_the_members_that_the_request_does_not_have(client: Client) -> None:
    cron = await made(client, input={"note": 1}, metadata={"a": 1}, timezone="Europe/Berlin", interrupt_before=["two"])
    path = f"/runs/crons/{cron['cron_id']}"
    changed = await client.call("PATCH", path, {"schedule": "0 4 * * *", "end_time": "2040-01-01T00:00:00"})
    assert changed["payload"] == cron["payload"]
    assert (changed["timezone"], changed["metadata"]) == ("Europe/Berlin", {"a": 1})
    assert datetime.fromisoformat(changed["end_time"]) == datetime(2040, 1, 1, tzinfo=UTC)
    assert changed["next_run_date"] != cron["next_run_date"]
    changed = await client.call("PATCH", path, {"input": {"note": 2}, "end_time": None})
    assert changed["payload"] == {**cron["payload"], "input": {"note": 2}}
    assert changed["end_time"] is None
    run = await (await client.service.app.find_schedule(cron["cron_id"])).trigger()
    status = await once(lambda: _waiting(run))
    assert status.is_at_breakpoint
    changed = await client.call("PATCH", path, {"metadata": {"b": 2}, "interrupt_before": ["three"], "enabled": False})
    assert (changed["metadata"], changed["enabled"], changed["next_run_date"]) == ({"b": 2}, False, None)
    assert changed["payload"]["interrupt_before"] == ["three"]
    assert (await client.call("PATCH", path, {"enabled": True}))["next_run_date"] is not None


async def _waiting(run: Any) -> Any:
    status = await run.status()
    return status if status.state == "waiting" else None


async def test_a_repeated_request_makes_one_cron(client: Client) -> None:
    headers = {"idempotency-key": "monday"}
    first, second = [await client.post("/runs/crons", CRON, headers=headers) for _ in range(2)]
    assert first == second
    other = await client.send("POST", "/runs/crons", {**CRON, "schedule": "0 5 * * *"}, headers=headers)
    assert (other.status, "another key" in detail_of(other)) == (409, True)
    assert await client.post("/runs/crons/count", {}) == 1


async def test_crons_are_found_sorted_and_in_pages(client: Client) -> None:
    await client.thread("t")
    first = await made(client, metadata={"n": 1}, schedule="0 3 * * *")
    second = await made(client, "t", metadata={"n": 2}, schedule="0 2 * * *", enabled=False)
    third = await made(client, metadata={"n": 3}, assistant_id="ask", end_time="2040-01-01T00:00:00Z")
    ids = [each["cron_id"] for each in (first, second, third)]

    async def found(**body: Any) -> list[int]:
        crons = await client.post("/runs/crons/search", body)
        assert await client.post("/runs/crons/count", {k: v for k, v in body.items() if k in _FILTERS}) >= len(crons)
        return [ids.index(each["cron_id"]) + 1 for each in crons]

    assert await found() == [3, 2, 1]
    assert await found(sort_by="created_at") == [1, 2, 3]
    assert await found(sort_by="end_time", sort_order="desc", limit=1) == [3]
    assert (await found(sort_by="next_run_date"))[-1] == 2
    assert await found(limit=1, offset=1) == [2]
    assert await found(thread_id="t") == [2]
    assert await found(enabled=False) == [2]
    assert await found(assistant_id="ask") == [3]
    assert await found(metadata={"n": 1}) == [1]
    assert await client.post("/runs/crons/search", {"select": ["schedule"], "limit": 1}) == [{"schedule": "30 2 * * *"}]
    assert (await client.send("POST", "/runs/crons/search", {"select": ["nothing"]})).status == 422


_FILTERS = ("assistant_id", "thread_id", "enabled", "metadata")


async def test_schedules_of_the_program_are_crons_as_well(client: Client) -> None:
    handle = await client.service.app.schedule("nightly", "chain", {"note": 1}, cron="0 2 * * *", metadata={"a": 1})
    (cron,) = await client.post("/runs/crons/search", {})
    assert (cron["cron_id"], cron["payload"], cron["metadata"]) == (handle.id, {}, {"a": 1})
    changed = await client.call("PATCH", f"/runs/crons/{handle.id}", {"enabled": False})
    assert (changed["enabled"], changed["metadata"]) == (False, {"a": 1})
    assert await (await handle.trigger()).result(20) == {"log": ["one", "two", "three"], "note": 1}
    await client.call("DELETE", f"/runs/crons/{handle.id}", status=204)
    assert await client.service.app.schedules() == []


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        ({"schedule": "every day"}, 422, "five fields"),
        ({"timezone": "Europe/Berlln"}, 422, "IANA"),
        ({"assistant_id": "nothing"}, 404, "no assistant"),
        ({"input": {"nothing": 1}}, 422, "nothing"),
        ({"webhook": "https://example.org"}, 501, "webhook"),
        ({"context": {"a": 1}}, 422, "context"),
        ({"on_run_completed": "delete"}, 501, "kept"),
        ({"multitask_strategy": "rollback"}, 422, "enqueue, reject or interrupt"),
        ({"interrupt_before": ["nothing"]}, 422, "nothing"),
    ],
)
async def test_an_invalid_cron_is_refused(client: Client, body: Any, status: int, text: str) -> None:
    reply = await client.send("POST", "/runs/crons", {**CRON, **body})
    assert (reply.status, text in detail_of(reply)) == (status, True), detail_of(reply)
    assert await client.post("/runs/crons/count", {}) == 0


async def test_the_crons_of_a_tenant_are_its_own(store: Checkpointer) -> None:
    async with AgentService(app_of(store), authorize=lambda operation: Tenant(operation.caller)) as service:
        ann, bob = Client(service, "ann"), Client(service, "bob")
        cron = await made(ann, schedule="0 * * * *", input={"note": 1})
        await service.app.schedule("nightly", "chain", {}, cron="0 2 * * *")
        await moved(ann, timedelta(hours=1))
        assert [each["values"]["note"] for each in await ann.post("/threads/search", {})] == [1]
        assert await ann.post("/runs/crons/count", {}) == 1
        assert await bob.post("/threads/search", {}) == []
        assert await bob.post("/runs/crons/search", {}) == []
        unknown = "00000000-0000-8000-8000-000000000001"
        for method in ("PATCH", "DELETE"):
            body = {"enabled": False} if method == "PATCH" else None
            replies = [await bob.send(method, f"/runs/crons/{each}", body) for each in (cron["cron_id"], unknown)]
            assert [reply.status for reply in replies] == [404, 404]
            assert detail_of(replies[0]).replace(cron["cron_id"], unknown) == detail_of(replies[1])


async def test_the_application_decides_about_the_thread_of_a_cron(store: Checkpointer) -> None:
    seen: list[tuple[str, str | None]] = []

    def decide(operation: Operation) -> bool:
        seen.append((operation.name, operation.thread_id))
        return operation.caller == "operator" or operation.thread_id != "secret"

    async with AgentService(app_of(store), authorize=decide) as service:
        operator, other = Client(service, "operator"), Client(service, "other")
        await operator.thread("secret")
        cron = await made(operator, "secret")
        path = f"/runs/crons/{cron['cron_id']}"
        for method, sent, body in (
            ("POST", "/threads/secret/runs/crons", CRON),
            ("PATCH", path, {"enabled": False}),
            ("DELETE", path, None),
            ("POST", "/runs/crons/search", {"thread_id": "secret"}),
        ):
            assert (await other.send(method, sent, body)).status == 404
        assert (await operator.post("/runs/crons/search", {}))[0]["enabled"]
    assert ("crons.delete", "secret") in seen
