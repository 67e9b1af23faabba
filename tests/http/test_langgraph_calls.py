"""LangGraph's own client (`langgraph_sdk`, not LangGraph) talks to the service in this process: every call that is no
stream, on each store."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import (
    ConflictError,
    InternalServerError,
    NotFoundError,
    UnprocessableEntityError,
)

from durable_graph_http import AgentService
from durable_graph_http.starting import assistant_id_of
from tests.http.client import once
from tests.http.programs import Gates, app_of
from tests.http.server import application
from tests.savers import saver_of


# Its types say what a client may send. The tests send what they do not know, and compare replies with dicts.
@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def client(request: pytest.FixtureRequest, tmp_path: Path, gates: Gates) -> AsyncIterator[Any]:
    dsn = request.getfixturevalue("postgres") if request.param == "postgres" else ""
    async with saver_of(request.param, tmp_path, dsn) as store, AgentService(app_of(store, gates)) as service:
        transport = httpx.ASGITransport(application(service))
        async with LangGraphClient(httpx.AsyncClient(transport=transport, base_url="http://service")) as made:
            yield made
        gates.open.set()


async def test_assistants(client: Any) -> None:
    every = await client.assistants.search(limit=100)
    assert isinstance(every, list)
    ids = {each["graph_id"]: each["assistant_id"] for each in every}
    assert ids["chain"] == assistant_id_of("chain")
    page = await client.assistants.search(limit=2, offset=1, sort_by="name", sort_order="asc", response_format="object")
    assert ([each["name"] for each in page["assistants"]], page["next"]) == (["ask_twice", "chain"], "3")
    assert await client.assistants.count(graph_id="chain") == 1
    assert (await client.assistants.get("chain"))["assistant_id"] == ids["chain"]
    for name in ("outer", ids["outer"]):
        drawn = await client.assistants.get_graph(name)
        assert {each["id"] for each in drawn["nodes"]} == {"__start__", "inner", "after", "__end__"}
        assert len((await client.assistants.get_graph(name, xray=True))["nodes"]) > len(drawn["nodes"])
        assert len((await client.assistants.get_graph(name, xray=1))["nodes"]) > len(drawn["nodes"])
        assert (await client.assistants.get_schemas(name))["graph_id"] == "outer"
        assert set(await client.assistants.get_subgraphs(name)) == {"inner"}
        assert set(await client.assistants.get_subgraphs(name, "inner", recurse=True)) == {"inner"}
    with pytest.raises(NotFoundError, match="nothing"):
        await client.assistants.get("nothing")


async def test_threads(client: Any) -> None:
    made = await client.threads.create(thread_id="a/b", metadata={"user": "ann"}, graph_id="chain")
    assert (made["thread_id"], made["metadata"]["user"], made["metadata"]["graph_id"]) == ("a/b", "ann", "chain")
    assert await client.threads.get("a/b") == made
    again = await client.threads.create(thread_id="a/b", if_exists="do_nothing")
    assert again == made
    with pytest.raises(ConflictError):
        await client.threads.create(thread_id="a/b")
    changed = await client.threads.update("a/b", metadata={"user": "bob"})
    assert changed is not None
    assert changed["metadata"]["user"] == "bob"
    assert await client.threads.update("a/b", metadata={"age": 1}, return_minimal=True) is None
    found = await client.threads.search(metadata={"age": 1}, sort_by="created_at", sort_order="desc")
    assert [each["thread_id"] for each in found] == ["a/b"]
    chosen = await client.threads.search(ids=["a/b"], select=["thread_id", "status"])
    assert chosen == [{"thread_id": "a/b", "status": "idle"}]
    assert await client.threads.count(metadata={"age": 1}, status="idle") == 1
    await client.threads.copy("a/b")
    assert await client.threads.count() == 2
    assert await client.threads.prune(["a/b"], strategy="keep_latest") == {"pruned_count": 1}
    await client.threads.delete("a/b")
    with pytest.raises(NotFoundError, match="a/b"):
        await client.threads.get("a/b")


async def test_a_thread_from_supersteps(client: Any) -> None:
    steps = [{"updates": [{"values": {"log": ["mine"]}, "as_node": "two"}]}]
    made = await client.threads.create(graph_id="chain", supersteps=steps)
    assert made["values"] == {"log": ["mine"]}
    assert await client.runs.wait(made["thread_id"], "chain") == {"log": ["mine", "three"]}


async def test_state_and_history(client: Any) -> None:
    await client.threads.create(thread_id="t")
    assert await client.runs.wait("t", "chain", input={}) == {"log": ["one", "two", "three"]}
    state = await client.threads.get_state("t")
    assert (state["values"], state["next"]) == ({"log": ["one", "two", "three"]}, [])
    every = await client.threads.get_history("t", limit=100)
    assert [each["next"] for each in every] == [[], ["three"], ["two"], ["one"]]
    at = every[2]["checkpoint"]
    id_ = at["checkpoint_id"]
    assert id_ is not None
    befores: list[Any] = [at, id_, {"configurable": {"checkpoint_id": id_}}]
    for before in befores:
        assert await client.threads.get_history("t", before=before) == every[3:]
    assert await client.threads.get_state("t", at) == await client.threads.get_state("t", checkpoint_id=id_) == every[2]
    assert await client.threads.get_state("t", select=["next"]) == {"next": []}
    made = await client.threads.update_state("t", {"log": ["mine"]}, as_node="two", checkpoint=at)
    forked = await client.threads.get_state("t", made["checkpoint"])
    assert forked["values"] == {"log": ["one", "mine"]}
    assert await client.runs.wait("t", "chain") == {"log": ["one", "mine", "three"]}
    assert await client.runs.wait("t", "chain", checkpoint_id=id_) == {"log": ["one", "two", "three"]}


async def test_the_state_of_a_nested_graph(client: Any) -> None:
    await client.runs.wait("t", "outer", input={}, if_not_exists="create")
    state = await client.threads.get_state("t", subgraphs=True)
    (task,) = state["tasks"]
    nested = task["state"]
    assert nested is not None
    assert nested["next"] == ["ask"]
    assert await client.threads.get_state("t", nested["checkpoint"]) == nested


async def test_interrupts(client: Any) -> None:
    await client.threads.create(thread_id="t")
    asked: Any = await client.runs.wait("t", "ask", input={})
    (question,) = asked["__interrupt__"]
    assert (await client.threads.get("t"))["status"] == "interrupted"
    assert [each["thread_id"] for each in await client.threads.search(status="interrupted")] == ["t"]
    created: list[Any] = []
    answered = await client.runs.wait("t", "ask", command={"resume": "yes"}, on_run_created=created.append)
    assert answered == {"log": ["first", "yes", "last"]}
    (run,) = await client.runs.list("t")
    assert created == [{"run_id": run["run_id"], "thread_id": "t"}]
    with pytest.raises(httpx.HTTPStatusError) as late:
        await client.runs.wait("t", "ask", command={"resume": {question["id"]: "no"}})
    assert late.value.response.status_code == 409


async def test_runs(client: Any, gates: Gates) -> None:
    await client.threads.create(thread_id="t")
    created: list[Any] = []
    run = await client.runs.create(
        "t",
        "gated",
        input={},
        metadata={"user": "ann"},
        config={"tags": ["a"], "recursion_limit": 5},
        multitask_strategy="enqueue",
        on_run_created=created.append,
    )
    assert created == [{"run_id": run["run_id"], "thread_id": "t"}]
    assert (run["thread_id"], run["assistant_id"]) == ("t", assistant_id_of("gated"))
    await gates.reached.wait()
    assert (await client.runs.get("t", run["run_id"]))["status"] == "running"
    assert (await client.threads.get("t"))["status"] == "busy"
    with pytest.raises(ConflictError):
        await client.runs.create("t", "gated", input={}, multitask_strategy="reject")
    with pytest.raises(ConflictError):
        await client.threads.update_state("t", {"log": ["mine"]})
    later = await client.runs.create("t", "gated", input={}, after_seconds=3600)
    assert [each["run_id"] for each in await client.runs.list("t", limit=1)] == [later["run_id"]]
    assert [each["status"] for each in await client.runs.list("t", status="pending")] == ["pending"]
    await client.runs.cancel("t", later["run_id"])
    gates.open.set()
    assert await client.runs.join("t", run["run_id"]) == {"log": ["gated"]}
    done = await client.runs.get("t", run["run_id"])
    assert (done["status"], done["metadata"]) == ("success", {"user": "ann"})
    await client.runs.delete("t", run["run_id"])
    with pytest.raises(NotFoundError):
        await client.runs.get("t", run["run_id"])


async def test_cancelling(client: Any, gates: Gates) -> None:
    await client.threads.create(thread_id="t")
    run = await client.runs.create("t", "gated", input={})
    await gates.reached.wait()
    assert await client.runs.cancel("t", run["run_id"], wait=True) == {}
    assert (await client.runs.get("t", run["run_id"]))["status"] == "interrupted"
    await client.runs.wait("u", "chain", input={}, if_not_exists="create")
    new = await client.runs.create("u", "chain", input={"log": ["new"]}, interrupt_before=["two"])
    await once(lambda: _is_interrupted(client, "u", new["run_id"]))
    assert await client.runs.cancel("u", new["run_id"], wait=True, action="rollback") == {}
    assert (await client.threads.get_state("u"))["values"] == {"log": ["one", "two", "three"]}
    many = [await client.runs.create("u", "chain", input={}, after_seconds=3600) for _ in range(2)]
    await client.runs.cancel_many(thread_id="u", run_ids=[many[0]["run_id"]])
    await client.runs.cancel_many(status="pending")
    statuses = [(await client.runs.get("u", each["run_id"]))["status"] for each in many]
    assert statuses == ["interrupted", "interrupted"]


async def _is_interrupted(client: Any, thread: str, run: str) -> bool:
    return bool((await client.runs.get(thread, run))["status"] == "interrupted")


async def test_errors_of_a_graph(client: Any) -> None:
    with pytest.raises(Exception, match="ValueError: it cannot be done"):
        await client.runs.wait(None, "fail", input={})
    failed: Any = await client.runs.wait("t", "fail", input={}, raise_error=False, if_not_exists="create")
    assert failed["__error__"]["error"] == "ValueError"
    assert (await client.threads.get("t"))["status"] == "error"


async def test_runs_without_a_thread(client: Any) -> None:
    assert await client.runs.wait(None, "chain", input={"note": 1}) == {"log": ["one", "two", "three"], "note": 1}
    run = await client.runs.create(None, "chain", input={})
    assert await client.runs.join(run["thread_id"], run["run_id"]) == {"log": ["one", "two", "three"]}
    batch: list[Any] = [{"assistant_id": "chain", "input": {"note": number}} for number in range(3)]
    runs = await client.runs.create_batch(batch)
    results = await asyncio.gather(*(client.runs.join(each["thread_id"], each["run_id"]) for each in runs))
    assert [each["note"] for each in results] == [0, 1, 2]


async def test_what_is_absent_raises_the_client_s_error(client: Any) -> None:
    await client.threads.create(thread_id="t")
    for call in (
        client.store.put_item(["a"], "k", {}),
        client.store.get_item(["a"], "k"),
        client.store.search_items(["a"]),
        client.store.list_namespaces([]),
        client.store.delete_item(["a"], "k"),
        client.assistants.create("chain"),
        client.assistants.update("chain"),
        client.assistants.delete("chain"),
        client.assistants.get_versions("chain"),
        client.assistants.set_latest("chain", 1),
        client.threads.create(ttl=5),
        client.runs.create("t", "chain", input={}, webhook="http://example.com"),
    ):
        with pytest.raises(InternalServerError) as refused:
            await call
        assert refused.value.status_code == 501
        assert ": " in refused.value.message


async def test_wrong_calls_raise_the_client_s_error(client: Any) -> None:
    await client.threads.create(thread_id="t")
    with pytest.raises(UnprocessableEntityError, match="nothing"):
        await client.runs.create("t", "chain", input={"nothing": 1})
    with pytest.raises(NotFoundError):
        await client.runs.create("u", "chain", input={})
    with pytest.raises(NotFoundError):
        await client.runs.get("t", "00000000-0000-8000-8000-000000000000")
