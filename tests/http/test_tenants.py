"""Tenants over HTTP: no reply to one tenant has anything of another one, and no request changes anything of it.

The test goes over all routes of the service. A new route needs a request in `REQUESTS`, or the test fails.
"""

import json
from collections.abc import Mapping
from functools import partial
from typing import Any

import pytest

from durable_graph import Checkpointer
from durable_graph_http import AgentService, Frames, Operation, Problem, Reply, Request, Tenant
from durable_graph_http.routes import Route
from durable_graph_http.service import ROUTES
from tests.http.client import Client, detail_of, once, text_of
from tests.http.programs import SECRET, Gates, app_of

ANN = "acme-7f3"
"""The name of the tenant whose threads no other tenant sees."""

RUN = {"assistant_id": "chain", "input": {}, "if_not_exists": "create"}

CRON = {"assistant_id": "chain", "schedule": "0 2 * * *", "input": {}}

REQUESTS: Mapping[str, tuple[Any, ...]] = {
    "POST /threads": ({"thread_id": "{thread}"}, {"thread_id": "{thread}", "if_exists": "do_nothing"}),
    "PATCH /threads/{thread_id}": ({"metadata": {"user": "bob"}},),
    "POST /threads/search": ({}, {"ids": ["{thread}"]}, {"metadata": {"user": ANN}}, {"limit": 1000}),
    "POST /threads/count": ({}, {"ids": ["{thread}"]}, {"metadata": {"user": ANN}}),
    "POST /threads/prune": ({"thread_ids": ["{thread}"]}, {"thread_ids": ["{thread}"], "strategy": "keep_latest"}),
    "POST /threads/{thread_id}/state/checkpoint": ({"checkpoint": {"checkpoint_id": "{checkpoint}"}},),
    "POST /threads/{thread_id}/state": ({"values": {"log": ["bob"]}, "as_node": "one"},),
    "POST /threads/{thread_id}/history": ({}, {"before": "{checkpoint}"}),
    "POST /threads/{thread_id}/runs": (
        RUN,
        {**RUN, "checkpoint_id": "{checkpoint}"},
        {"assistant_id": "chain", "command": {"resume": 1}},
    ),
    "POST /threads/{thread_id}/runs/wait": (RUN, {"assistant_id": "chain", "command": {"resume": 1}}),
    "POST /threads/{thread_id}/runs/stream": (RUN, {"assistant_id": "chain", "command": {"resume": 1}}),
    "POST /runs": ({**RUN, "input": {"note": "bob"}},),
    "POST /runs/wait": ({**RUN, "input": {"note": "bob"}},),
    "POST /runs/stream": ({**RUN, "input": {"note": "bob"}},),
    "POST /runs/batch": ([{**RUN, "thread_id": "{thread}"}],),
    "POST /runs/cancel": ({"thread_id": "{thread}", "run_ids": ["{run}"]}, {"status": "all"}),
    "POST /threads/{thread_id}/answers": ({"value": "bob"},),
    "POST /threads/{thread_id}/signals": ({"topic": "topic", "value": "bob"},),
    "POST /threads/{thread_id}/updates": ({"values": {"log": ["bob"]}},),
    "POST /threads/{thread_id}/commands": (
        {"id": 1, "method": "run.start", "params": {"assistant_id": "chain", "input": {}}},
        {"id": 2, "method": "input.respond", "params": {"interrupt_id": "{interrupt}", "response": "bob"}},
        {"id": 3, "method": "state.get", "params": {}},
    ),
    "POST /threads/{thread_id}/stream/events": ({"channels": ["values", "lifecycle"]},),
    "POST /runs/crons": ({**CRON, "input": {"note": "bob"}},),
    "POST /threads/{thread_id}/runs/crons": (CRON, {**CRON, "multitask_strategy": "reject"}),
    "PATCH /runs/crons/{cron_id}": ({"enabled": False}, {"input": {"note": "bob"}}),
    "POST /runs/crons/search": ({}, {"thread_id": "{thread}"}, {"metadata": {"user": ANN}}, {"limit": 1000}),
    "POST /runs/crons/count": ({}, {"thread_id": "{thread}"}),
    "POST /assistants/search": ({},),
    "POST /assistants/count": ({},),
}
"""The bodies to send to each route that takes one. Names in braces are those of the other tenant."""


def authorize(operation: Operation) -> Tenant:
    return Tenant(operation.caller)


class Owned:
    """What the tenant has: a thread that waits for an answer, one that is done, one that waits for a message."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.names: dict[str, dict[str, str]] = {}

    async def make(self) -> None:
        for thread, graph in (("asks", "ask"), ("done", "chain"), ("hears", "hear")):
            await self.client.thread(thread, metadata={"user": ANN, "note": SECRET})
            run = await self.client.started(thread, graph, {"note": SECRET}, metadata={"secret": SECRET})
            await once(partial(self._is_still, run))
            state = await self.client.get(f"/threads/{thread}/state")
            body = {**CRON, "input": {"note": SECRET}, "metadata": {"user": ANN, "note": SECRET}}
            cron = await self.client.post(f"/threads/{thread}/runs/crons", body)
            self.names[thread] = {
                "cron": cron["cron_id"],
                "thread": thread,
                "run": run,
                "checkpoint": state["checkpoint"]["checkpoint_id"],
                "interrupt": state["interrupts"][0]["id"] if state["interrupts"] else "0" * 32,
            }

    async def _is_still(self, run: str) -> bool:
        """Whether the run has ended, or waits."""
        return (await (await self.client.service.app.find(run)).status()).state in ("waiting", "done")

    async def seen(self) -> Any:
        """All that the tenant can read."""
        threads = await self.client.post("/threads/search", {"sort_by": "thread_id"})
        runs = [await self.client.get(f"/threads/{name}/runs") for name in self.names]
        states = [await self.client.post(f"/threads/{name}/history", {"limit": 1000}) for name in self.names]
        crons = await self.client.post("/runs/crons/search", {"sort_by": "cron_id"})
        assert len(crons) == len(self.names)
        return threads, runs, states, crons


def filled(given: Any, names: Mapping[str, str]) -> Any:
    text = json.dumps(given)
    for name, value in names.items():
        text = text.replace(f"{{{name}}}", value)
    return json.loads(text)


def path_of(route: Route, names: Mapping[str, str]) -> str:
    known = {**names, "thread_id": names["thread"], "run_id": names["run"], "checkpoint_id": names["checkpoint"]}
    known |= {"assistant_id": "chain", "namespace": "inner", "cron_id": names.get("cron", "1")}
    return "/".join(known.get(part[1:-1], part) if part.startswith("{") else part for part in route.path.split("/"))


async def all_of(reply: Reply) -> str:
    """Everything that a reply has: of a stream that stays open, what it has at once."""
    text = json.dumps(dict(reply.headers))
    if not isinstance(reply.body, Frames):
        return text + await text_of(reply)
    frames = reply.body.frames
    try:
        async for frame in frames:
            text += f"{frame.event}{frame.data}{frame.id}"
            if len(text) > 10_000:
                break
    finally:
        await frames.aclose()
    return text


@pytest.fixture
async def service(store: Checkpointer, gates: Gates) -> Any:
    async with AgentService(app_of(store, gates), authorize=authorize) as running:
        yield running


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
async def test_no_route_gives_a_tenant_anything_of_another(service: AgentService, route: Route) -> None:
    owned = Owned(Client(service, ANN))
    await owned.make()
    before = await owned.seen()
    bob = Client(service, "bob")
    bodies = REQUESTS[f"{route.method} {route.path}"] if route.body is not None else (None,)
    runs = [names["run"] for names in owned.names.values()]
    # Ids and a stored id, which is no id of the tenant's.
    for names in (*owned.names.values(), {**owned.names["asks"], "thread": f"{ANN}%2Fasks"}):
        for body in bodies:
            sent = filled(body, {**names, "thread": names["thread"].replace("%2F", "/")})
            text = await _text_within(bob, route, path_of(route, names), sent)
            assert SECRET not in text
            assert ANN not in text.replace(f"{ANN}/asks", "").replace(f"{ANN}%2Fasks", "")
            assert not [run for run in runs if run in text.replace(names["run"], "")]
    assert await owned.seen() == before


async def _text_within(bob: Client, route: Route, path: str, body: Any) -> str:
    if route.is_stream:
        # A stream of a thread that has no runs stays open: the service ends it.
        bob.service.drain()
    try:
        reply = await bob.send(route.method, path, body)
        assert reply.status < 500 or reply.status == 501
        return await all_of(reply)
    finally:
        bob.service.stopping.clear()


async def test_two_tenants_have_a_thread_with_the_same_id(service: AgentService) -> None:
    ann, bob = Client(service, ANN), Client(service, "bob")
    for client, note in ((ann, 1), (bob, 2)):
        await client.ran("t", "chain", {"note": note}, if_not_exists="create")
    for client, note in ((ann, 1), (bob, 2)):
        (thread,) = await client.post("/threads/search", {})
        assert (thread["thread_id"], thread["values"]["note"]) == ("t", note)
        state = await client.get("/threads/t/state", query={"subgraphs": "true"})
        assert state["checkpoint"]["thread_id"] == "t"
        (run,) = await client.get("/threads/t/runs")
        assert run["thread_id"] == "t"


async def test_errors_name_the_threads_of_the_tenant_as_it_does(service: AgentService) -> None:
    ann = Client(service, ANN)
    await ann.ran("it's", "ask", {}, if_not_exists="create")
    for method, path, body in (
        ("POST", "/threads", {"thread_id": "it's"}),
        ("DELETE", "/threads/it's", None),
        ("GET", "/threads/nothing", None),
        ("GET", "/threads/it's/state/0000000000009999", None),
        ("POST", "/threads/it's/answers", {"value": 1, "interrupt_id": "0" * 32}),
        ("POST", "/threads/it's/runs", {"assistant_id": "chain", "input": {}}),
    ):
        reply = await ann.send(method, path, body)
        assert reply.status in (404, 409)
        assert f"{ANN}/" not in detail_of(reply)


async def test_runs_of_other_tenants_are_refused_as_runs_that_do_not_exist(service: AgentService) -> None:
    ann, bob = Client(service, ANN), Client(service, "bob")
    await ann.ran("t", "chain", {}, if_not_exists="create")
    await bob.thread("t")
    ((run,), unknown) = await ann.get("/threads/t/runs"), "00000000-0000-8000-8000-000000000001"
    for method, end in (("GET", ""), ("GET", "/stream"), ("GET", "/events"), ("GET", "/join"), ("POST", "/cancel")):
        replies = [await bob.send(method, f"/threads/t/runs/{id_}{end}") for id_ in (run["run_id"], unknown)]
        assert detail_of(replies[0]).replace(run["run_id"], unknown) == detail_of(replies[1])
    many = [
        await bob.send("POST", "/runs/cancel", {"thread_id": "t", "run_ids": [i]}) for i in (run["run_id"], unknown)
    ]
    assert detail_of(many[0]).replace(run["run_id"], unknown) == detail_of(many[1])


async def test_the_application_decides_about_each_thread_that_a_body_names(store: Checkpointer) -> None:
    async with AgentService(app_of(store), authorize=lambda operation: operation.thread_id != "secret") as service:
        caller = Client(service)
        await service.app.threads.create("secret", metadata={"note": SECRET})
        handle = await service.app.start("chain", {}, thread_id="secret", delay=3600)
        for path, body in (
            ("/threads", {"thread_id": "secret", "if_exists": "do_nothing"}),
            ("/threads/prune", {"thread_ids": ["mine", "secret"]}),
            ("/runs/batch", [{**RUN, "thread_id": "mine"}, {**RUN, "thread_id": "secret"}]),
            ("/runs/cancel", {"thread_id": "secret", "run_ids": [handle.run_id]}),
        ):
            reply = await caller.send("POST", path, body)
            assert (reply.status, SECRET in detail_of(reply)) == (404, False)
        assert not (await handle.status()).has_ended
        assert [each.thread_id for each in await service.app.threads.search()] == ["secret"]


async def test_the_application_refuses_with_a_status_of_its_own(store: Checkpointer) -> None:
    def refuse(operation: Operation) -> bool:
        raise Problem(401, "The token is missing", headers={"WWW-Authenticate": "Bearer"})

    async with AgentService(app_of(store), authorize=refuse) as service:
        reply = await Client(service).send("GET", "/threads/t")
        assert (reply.status, detail_of(reply)) == (401, "The token is missing")
        assert reply.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("name", ["", "a/b", "a\nb", "\udcff", "a" * 65, 7])
def test_a_tenant_has_a_name_that_can_begin_an_id(name: Any) -> None:
    with pytest.raises(ValueError, match="a tenant's name has"):
        Tenant(name)


async def test_a_prefix_of_a_tenants_name_is_another_tenant(service: AgentService) -> None:
    ann = Client(service, ANN)
    await ann.thread("t")
    for name in (ANN[:-1], f"{ANN}2", "a", ANN.upper()):
        other = Client(service, name)
        assert await other.post("/threads/search", {}) == []
        assert await other.post("/threads/count", {}) == 0
        assert (await other.send("GET", "/threads/t")).status == 404
        assert (await other.send("GET", "/threads/3%2Ft")).status == 404


async def test_the_statistics_of_all_tenants_are_not_a_tenants(service: AgentService) -> None:
    assert (await Client(service, ANN).send("GET", "/stats")).status == 403


async def test_the_application_decides_about_each_operation(store: Checkpointer) -> None:
    seen: list[tuple[str, str | None]] = []

    async def decide(operation: Operation) -> bool | Tenant:
        seen.append((operation.name, operation.thread_id))
        access: bool | Tenant = operation.caller
        return access

    async with AgentService(app_of(store), authorize=decide) as service:
        operator, ann, nobody = (Client(service, access) for access in (True, Tenant("ann"), False))
        await ann.thread("t")
        assert (await operator.get("/threads/ann%2Ft"))["thread_id"] == "ann/t"
        assert [each["thread_id"] for each in await operator.post("/threads/search", {})] == ["ann/t"]
        assert (await nobody.send("GET", "/threads/t")).status == 404
        assert (await nobody.send("POST", "/threads/search", {})).status == 403
        assert (await nobody.send("POST", "/runs", "no JSON of a run")).status == 403
        assert (await Client(service, "neither").send("POST", "/threads/search", {})).status == 500
    assert ("threads.create", None) in seen
    assert ("threads.read", "ann/t") in seen


async def test_each_route_asks_for_its_operation(store: Checkpointer) -> None:
    names: set[str] = set()

    def refuse(operation: Operation) -> bool:
        names.add(operation.name)
        return False

    service = AgentService(app_of(store), authorize=refuse, worker=False)
    for route in ROUTES:
        path = path_of(route, {"thread": "t", "run": "r", "checkpoint": "c"})
        reply = await service.reply(Request(method=route.method, path=path))
        assert reply.status == (404 if "{thread_id}" in route.path else 403)
    assert names == {route.operation for route in ROUTES}
