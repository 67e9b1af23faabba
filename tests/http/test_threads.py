"""Threads over HTTP: created, read, changed, found, copied, pruned and deleted."""

import pytest

from durable_graph_http import AgentService
from durable_graph_http.starting import assistant_id_of
from tests.http.client import Client, detail_of


@pytest.fixture
def client(service: AgentService) -> Client:
    return Client(service)


async def test_a_thread_is_created_with_metadata_before_anything_runs(client: Client) -> None:
    made = await client.post("/threads", {"thread_id": "t", "metadata": {"user": "ann", "deep": [1, {"a": None}]}})
    assert made == await client.get("/threads/t")
    assert made["thread_id"] == "t"
    assert made["metadata"] == {"user": "ann", "deep": [1, {"a": None}]}
    assert (made["status"], made["values"], made["interrupts"]) == ("idle", None, {})
    assert made["created_at"].endswith("Z")


async def test_a_thread_without_an_id_gets_a_random_one(client: Client) -> None:
    one, other = await client.thread(), await client.thread()
    assert one != other
    assert len(one) == 36


async def test_an_existing_id_is_refused_unless_the_client_asks_for_the_thread(client: Client) -> None:
    await client.thread("t", metadata={"user": "ann"})
    reply = await client.send("POST", "/threads", {"thread_id": "t", "metadata": {"user": "bob"}})
    assert reply.status == 409
    assert "'t'" in detail_of(reply)
    again = await client.post("/threads", {"thread_id": "t", "metadata": {"user": "bob"}, "if_exists": "do_nothing"})
    assert again["metadata"] == {"user": "ann"}


async def test_a_thread_that_ran_shows_its_graph_and_its_state(client: Client) -> None:
    await client.thread("t", metadata={"user": "ann"})
    assert await client.ran("t", "chain", {"note": "x"}) == {"log": ["one", "two", "three"], "note": "x"}
    found = await client.get("/threads/t")
    assert found["values"] == {"log": ["one", "two", "three"], "note": "x"}
    assert found["metadata"] == {
        "user": "ann",
        "graph_id": "chain",
        "assistant_id": assistant_id_of("chain"),
    }
    await client.ran("q", "ask", {}, if_not_exists="create")
    asked = await client.get("/threads/q")
    assert asked["status"] == "interrupted"
    ((interrupt,),) = asked["interrupts"].values()
    assert interrupt["value"] == {"question": "ok?"}
    await client.ran("f", "fail", {}, if_not_exists="create")
    assert (await client.get("/threads/f"))["status"] == "error"


async def test_metadata_is_changed_key_by_key(client: Client) -> None:
    await client.thread("t", metadata={"user": "ann", "age": 1})
    changed = await client.call("PATCH", "/threads/t", {"metadata": {"age": 2}})
    assert changed["metadata"] == {"user": "ann", "age": 2}
    minimal = await client.send("PATCH", "/threads/t", {"metadata": {"age": 3}}, headers={"prefer": "return=minimal"})
    assert (minimal.status, minimal.body) == (204, b"")
    assert (await client.get("/threads/t"))["metadata"]["age"] == 3


async def test_a_thread_is_deleted_unless_a_run_of_it_is_unfinished(client: Client) -> None:
    await client.ran("t", "ask", {}, if_not_exists="create")
    busy = await client.send("DELETE", "/threads/t")
    assert busy.status == 409
    await client.ran("t", "ask", command={"resume": "yes"})
    assert await client.call("DELETE", "/threads/t", status=204) is None
    for method, path in (("GET", "/threads/t"), ("DELETE", "/threads/t"), ("GET", "/threads/t/state")):
        assert (await client.send(method, path)).status == 404


async def test_threads_are_found_by_metadata_status_ids_and_graph(client: Client) -> None:
    for name, user in (("a", "ann"), ("b", "bob"), ("c", "ann")):
        await client.thread(name, metadata={"user": user})
    await client.ran("c", "ask", {})
    await client.ran("a", "chain", {})

    async def found(**body: object) -> list[str]:
        ids = [each["thread_id"] for each in await client.post("/threads/search", body)]
        counted = {key: value for key, value in body.items() if key in ("metadata", "status", "ids")}
        assert await client.post("/threads/count", counted) >= len(ids)
        return ids

    assert await found() == ["a", "c", "b"]
    assert await found(sort_by="thread_id", sort_order="asc") == ["a", "b", "c"]
    assert sorted(await found(metadata={"user": "ann"})) == ["a", "c"]
    assert await found(status="interrupted") == ["c"]
    assert await found(ids=["b", "x"]) == ["b"]
    for key in ("graph_id", "assistant_id"):
        assert await found(metadata={key: "chain"}) == ["a"]
        assert await found(metadata={key: assistant_id_of("ask"), "user": "ann"}) == ["c"]
    assert await client.post("/threads/count", {"metadata": {"user": "bob"}}) == 1


async def test_pages_of_threads_have_headers(client: Client) -> None:
    for number in range(5):
        await client.thread(f"t{number}")
    first = await client.send("POST", "/threads/search", {"limit": 2, "sort_by": "thread_id", "sort_order": "asc"})
    assert (first.headers["X-Pagination-Total"], first.headers["X-Pagination-Next"]) == ("5", "2")
    last = await client.send("POST", "/threads/search", {"limit": 2, "offset": 4})
    assert last.headers["X-Pagination-Total"] == "5"
    assert "X-Pagination-Next" not in last.headers


async def test_fields_of_threads_are_selected(client: Client) -> None:
    await client.ran("t", "chain", {"note": "x"}, if_not_exists="create")
    (found,) = await client.post("/threads/search", {"select": ["thread_id", "values.note"]})
    assert found == {"thread_id": "t", "values": {"note": "x"}}
    assert (await client.send("POST", "/threads/search", {"select": ["nothing"]})).status == 422


async def test_a_copy_has_the_state_and_the_metadata(client: Client) -> None:
    await client.thread("t", metadata={"user": "ann"})
    await client.ran("t", "chain", {})
    copied = await client.post("/threads/t/copy")
    assert copied["thread_id"] != "t"
    assert copied["metadata"]["user"] == "ann"
    state = await client.get(f"/threads/{copied['thread_id']}/state")
    assert state["values"] == {"log": ["one", "two", "three"]}
    assert state["checkpoint"]["thread_id"] == copied["thread_id"]


async def test_threads_are_pruned_or_deleted(client: Client) -> None:
    for name in ("a", "b"):
        await client.ran(name, "chain", {}, if_not_exists="create")
    kept = await client.post("/threads/prune", {"thread_ids": ["a", "x"], "strategy": "keep_latest"})
    assert kept == {"pruned_count": 1}
    assert (await client.get("/threads/a/state"))["values"] == {"log": ["one", "two", "three"]}
    assert len(await client.post("/threads/a/history", {})) == 1
    assert await client.post("/threads/prune", {"thread_ids": ["a", "b"]}) == {"pruned_count": 2}
    assert await client.post("/threads/search", {}) == []


async def test_a_thread_begins_with_supersteps(client: Client) -> None:
    steps = [
        {"updates": [{"values": {"log": ["mine"]}, "as_node": "__input__", "command": None}]},
        {"updates": [{"values": {"log": ["first"]}, "as_node": "one"}]},
    ]
    made = await client.post("/threads", {"thread_id": "t", "graph_id": "chain", "supersteps": steps})
    assert made["values"] == {"log": ["mine", "first"]}
    assert await client.ran("t", "chain") == {"log": ["mine", "first", "two", "three"]}
    bad = [{"updates": [{"values": {"log": ["mine"]}, "as_node": "nowhere"}]}]
    refused = await client.send("POST", "/threads", {"thread_id": "u", "graph_id": "chain", "supersteps": bad})
    assert refused.status == 422
    assert (await client.send("GET", "/threads/u")).status == 404


async def test_what_threads_do_not_have_is_named(client: Client) -> None:
    await client.thread("t")
    for method, path, body in (
        ("POST", "/threads", {"ttl": {"ttl": 5}}),
        ("PATCH", "/threads/t", {"ttl": 5}),
        ("POST", "/threads/search", {"values": {"note": 1}}),
        ("POST", "/threads/search", {"extract": {"a": "values.note"}}),
        ("POST", "/threads/count", {"values": {"note": 1}}),
    ):
        assert (await client.send(method, path, body)).status == 501
