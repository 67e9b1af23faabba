"""LangGraph's client for Python on real servers: threads, states, runs, assistants. Streams have another module."""

import ast
import asyncio
import inspect
from collections.abc import Awaitable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import APIStatusError, ConflictError, NotFoundError, UnprocessableEntityError

from tests.services.engine.servers import Server
from tests.services.engine.talking import HELLO, QUESTION, TRIP, contents, said

GROUPS = ("assistants", "threads", "runs", "crons", "store")


# Threads


async def test_threads_are_created_read_and_deleted(sdk: LangGraphClient) -> None:
    made = await sdk.threads.create(thread_id="a / 'b' \u00e9", metadata={"user": "Ada"}, graph_id="chat")
    found = await sdk.threads.get(made["thread_id"])

    assert made["thread_id"] == "a / 'b' \u00e9"
    assert (found["status"], found["values"], found["interrupts"]) == ("idle", None, {})
    assert found["metadata"] == {"user": "Ada", "graph_id": "chat"}
    with pytest.raises(ConflictError, match="exists already"):
        await sdk.threads.create(thread_id=made["thread_id"])
    again = await sdk.threads.create(thread_id=made["thread_id"], if_exists="do_nothing", metadata={"user": "Bob"})
    assert again == found

    await sdk.threads.delete(made["thread_id"])
    with pytest.raises(NotFoundError, match="no thread"):
        await sdk.threads.get(made["thread_id"])


async def test_a_thread_is_created_with_supersteps(sdk: LangGraphClient) -> None:
    supersteps: Any = [
        {"updates": [{"values": HELLO, "as_node": "__input__"}]},
        {"updates": [{"values": {"messages": [{"role": "ai", "content": "known"}]}, "as_node": "say"}]},
    ]
    made = await sdk.threads.create(graph_id="chat", supersteps=supersteps)

    assert contents(made["values"]) == ["hello", "known"]
    assert [each["next"] for each in await sdk.threads.get_history(made["thread_id"])] == [[], ["say"]]


async def test_metadata_of_threads_is_updated(sdk: LangGraphClient) -> None:
    made = await sdk.threads.create(metadata={"user": "Ada", "place": "Rome"})

    updated = await sdk.threads.update(made["thread_id"], metadata={"place": "Oslo"})
    assert updated["metadata"] == {"user": "Ada", "place": "Oslo"}
    await sdk.threads.update(made["thread_id"], metadata={"place": "Lima"}, return_minimal=True)
    assert (await sdk.threads.get(made["thread_id"]))["metadata"] == {"user": "Ada", "place": "Lima"}


async def test_threads_are_found(sdk: LangGraphClient) -> None:
    idle, asking = [(await sdk.threads.create(metadata={"search": name}))["thread_id"] for name in ("one", "two")]
    await sdk.runs.wait(asking, "team", input=TRIP)

    async def found(**conditions: Any) -> list[str]:
        return [each["thread_id"] for each in await sdk.threads.search(**conditions)]

    assert await found(metadata={"search": "one"}) == [idle]
    assert await found(ids=[idle, asking], sort_by="created_at", sort_order="asc") == [idle, asking]
    assert await found(ids=[idle, asking], sort_by="updated_at", sort_order="desc", limit=1) == [asking]
    assert await found(ids=[idle, asking], sort_by="created_at", sort_order="asc", limit=1, offset=1) == [asking]
    assert await found(ids=[idle, asking], status="interrupted") == [asking]
    assert await found(ids=[idle, asking], metadata={"graph_id": "team"}) == [asking]
    picked = await sdk.threads.search(ids=[asking], select=["thread_id", "interrupts"])
    assert picked[0].keys() == {"thread_id", "interrupts"}
    (interrupts,) = picked[0]["interrupts"].values()
    assert [each["value"] for each in interrupts] == [QUESTION]

    assert await sdk.threads.count(metadata={"search": "two"}) == 1
    assert await sdk.threads.count(metadata={"search": "two"}, status="idle") == 0


async def test_threads_are_copied_and_pruned(sdk: LangGraphClient) -> None:
    thread = (await sdk.threads.create(metadata={"user": "Ada"}))["thread_id"]
    await sdk.runs.wait(thread, "chat", input=HELLO)

    # The client returns the copy, although its signature says otherwise.
    copied: Any = await sdk.threads.copy(thread)  # type: ignore[func-returns-value]
    assert copied["metadata"]["user"] == "Ada"
    state = await sdk.threads.get_state(copied["thread_id"])
    assert contents(state["values"]) == ["hello", "You said hello to me"]
    assert copied["thread_id"] != thread

    assert len(await sdk.threads.get_history(thread)) == 2
    assert await sdk.threads.prune([thread], strategy="keep_latest") == {"pruned_count": 1}
    assert len(await sdk.threads.get_history(thread)) == 1
    assert await sdk.threads.prune([thread, copied["thread_id"], "unknown"]) == {"pruned_count": 2}
    with pytest.raises(NotFoundError):
        await sdk.threads.get(thread)


# States


async def test_state_and_history(sdk: LangGraphClient) -> None:
    thread = (await sdk.threads.create())["thread_id"]
    empty = await sdk.threads.get_state(thread)
    assert (empty["values"], empty["next"], await sdk.threads.get_history(thread)) == ({}, [], [])

    await sdk.runs.wait(thread, "team", input=TRIP)
    now = await sdk.threads.get_state(thread)
    history = await sdk.threads.get_history(thread)

    assert now["next"] == ["approve"]
    assert [each["value"] for each in now["interrupts"]] == [QUESTION]
    assert [task["name"] for task in now["tasks"]] == ["approve"]
    assert [task["interrupts"] for task in now["tasks"]] == [now["interrupts"]]
    assert history[0] == now
    assert [each["next"] for each in history] == [["approve"], ["write"], ["find", "find"], ["plan"]]
    parents = [each["parent_checkpoint"] for each in history]
    assert parents == [*(each["checkpoint"] for each in history[1:]), None]


async def test_states_at_checkpoints(sdk: LangGraphClient) -> None:
    thread = (await sdk.threads.create())["thread_id"]
    await sdk.runs.wait(thread, "team", input=TRIP)
    history = await sdk.threads.get_history(thread)
    writing = history[1]
    place = writing["checkpoint"]
    assert place["checkpoint_id"] is not None

    assert await sdk.threads.get_state(thread, checkpoint_id=place["checkpoint_id"]) == writing
    assert await sdk.threads.get_state(thread, checkpoint=place) == writing
    chosen: Any = await sdk.threads.get_state(thread, select=["next", "values.found"])
    assert chosen == {"next": ["approve"], "values": {"found": QUESTION["found"]}}
    nested = await sdk.threads.get_state(thread, checkpoint=place, subgraphs=True)
    (task,) = nested["tasks"]
    assert task["state"] is not None
    assert contents(task["state"]["values"]) == ["hello", "You said hello to me"]
    assert task["state"]["checkpoint"]["checkpoint_ns"].startswith("write:")
    inner = await sdk.threads.get_history(thread, checkpoint=task["state"]["checkpoint"])
    assert [each["next"] for each in inner] == [[], ["say"]]


async def test_history_in_pages(sdk: LangGraphClient) -> None:
    thread = (await sdk.threads.create())["thread_id"]
    await sdk.runs.wait(thread, "team", input=TRIP, metadata={"origin": "test"})
    history = await sdk.threads.get_history(thread)
    place = history[1]["checkpoint"]
    id_ = place["checkpoint_id"]
    assert id_ is not None

    assert await sdk.threads.get_history(thread, limit=2) == history[:2]
    # The client's type has the first two forms, and LangGraph's server the third one.
    config: Any = {"configurable": {"checkpoint_id": id_}}
    for before in (id_, place, config):
        assert await sdk.threads.get_history(thread, before=before) == history[2:]
    steps: Any = await sdk.threads.get_history(thread, metadata={"source": "input"}, select=["next"])
    assert steps == [{"next": ["plan"]}]


async def test_state_is_updated_and_forked(sdk: LangGraphClient) -> None:
    thread = (await sdk.threads.create())["thread_id"]
    await sdk.runs.wait(thread, "chat", input=HELLO)
    first = (await sdk.threads.get_history(thread))[-1]

    written = await sdk.threads.update_state(thread, {"messages": [{"role": "ai", "content": "more"}]}, as_node="say")
    now = await sdk.threads.get_state(thread)
    assert now["checkpoint"]["checkpoint_id"] == written["checkpoint"]["checkpoint_id"]
    assert contents(now["values"]) == ["hello", "You said hello to me", "more"]

    other = {"messages": [{"role": "user", "content": "again"}]}
    await sdk.threads.update_state(thread, other, checkpoint=first["checkpoint"], as_node="__start__")
    forked = await sdk.threads.get_state(thread)
    assert forked["next"] == ["say"]
    assert forked["parent_checkpoint"] == first["checkpoint"]
    result: Any = await sdk.runs.wait(thread, "chat")
    assert contents(result) == ["hello", "again", "You said again to me"]


# Runs


async def test_a_run_asks_is_answered_and_ends(sdk: LangGraphClient) -> None:
    thread = (await sdk.threads.create())["thread_id"]
    created: list[Any] = []
    asked: Any = await sdk.runs.wait(thread, "team", input=TRIP, on_run_created=created.append)
    (run,) = await sdk.runs.list(thread)

    assert [each["value"] for each in asked["__interrupt__"]] == [QUESTION]
    assert created == [{"run_id": run["run_id"], "thread_id": thread}]
    assert run["status"] == "interrupted"
    assert (await sdk.threads.get(thread))["status"] == "interrupted"

    result: Any = await sdk.runs.wait(thread, "team", command={"resume": "yes"}, on_run_created=created.append)
    assert contents(result)[-1] == "Booked: yes"
    assert "__interrupt__" not in result
    # One run has asked and continues.
    assert created[1] == created[0]
    assert [each["status"] for each in await sdk.runs.list(thread)] == ["success"]
    with pytest.raises(httpx.HTTPStatusError, match="409"):
        await sdk.runs.wait(thread, "team", command={"resume": "no"})


async def test_answers_by_the_ids_of_questions(sdk: LangGraphClient) -> None:
    thread = (await sdk.threads.create())["thread_id"]
    asked: Any = await sdk.runs.wait(thread, "team", input=TRIP)
    id_ = asked["__interrupt__"][0]["id"]
    result: Any = await sdk.runs.wait(thread, "team", command={"resume": {id_: "surely"}}, strict_resume=True)
    assert contents(result)[-1] == "Booked: surely"


async def test_a_run_in_the_background(sdk: LangGraphClient) -> None:
    thread = (await sdk.threads.create())["thread_id"]
    run = await sdk.runs.create(thread, "chat", input=HELLO, metadata={"origin": "test"}, durability="sync")

    assert (run["thread_id"], run["metadata"]) == (thread, {"origin": "test"})
    assert run["assistant_id"] == (await sdk.assistants.get("chat"))["assistant_id"]
    assert contents(await sdk.runs.join(thread, run["run_id"])) == ["hello", "You said hello to me"]
    assert (await sdk.runs.get(thread, run["run_id"]))["status"] == "success"

    await sdk.runs.delete(thread, run["run_id"])
    with pytest.raises(NotFoundError):
        await sdk.runs.get(thread, run["run_id"])


async def test_runs_are_listed(sdk: LangGraphClient) -> None:
    thread = (await sdk.threads.create())["thread_id"]
    first, second = [(await sdk.runs.create(thread, "chat", input=said(text)))["run_id"] for text in "ab"]
    await sdk.runs.join(thread, second)

    async def listed(**options: Any) -> list[str]:
        return [run["run_id"] for run in await sdk.runs.list(thread, **options)]

    assert await listed() == [second, first]
    assert await listed(limit=1) == [second]
    assert await listed(limit=1, offset=1) == [first]
    assert await listed(status="success") == [second, first]
    assert await listed(status="error") == []
    chosen: Any = await sdk.runs.list(thread, select=["status"])
    assert chosen == [{"status": "success"}] * 2


async def test_a_run_fails(sdk: LangGraphClient) -> None:
    thread = (await sdk.threads.create())["thread_id"]
    with pytest.raises(Exception, match=r"^ValueError: no luck$"):
        await sdk.runs.wait(thread, "fails", input=HELLO)

    result: Any = await sdk.runs.wait(thread, "fails", input=HELLO, raise_error=False)
    assert result == {"__error__": {"error": "ValueError", "message": "no luck"}}
    assert {run["status"] for run in await sdk.runs.list(thread)} == {"error"}
    assert (await sdk.threads.get(thread))["status"] == "error"


async def test_runs_are_cancelled(sdk: LangGraphClient) -> None:
    for wait in (True, False):
        thread = (await sdk.threads.create())["thread_id"]
        run = (await sdk.runs.create(thread, "chat", input={**HELLO, "gate": "never"}))["run_id"]
        await sdk.runs.cancel(thread, run, wait=wait)
        if not wait:
            await sdk.runs.join(thread, run)
        assert (await sdk.runs.get(thread, run))["status"] == "interrupted"
        assert (await sdk.threads.get(thread))["status"] == "idle"


async def test_a_cancelled_run_is_rolled_back(sdk: LangGraphClient) -> None:
    thread = (await sdk.threads.create())["thread_id"]
    await sdk.runs.wait(thread, "chat", input=HELLO)
    run = (await sdk.runs.create(thread, "chat", input={**said("more"), "gate": "never"}))["run_id"]
    await sdk.runs.cancel(thread, run, wait=True, action="rollback")

    state = await sdk.threads.get_state(thread)
    assert contents(state["values"]) == ["hello", "You said hello to me"]
    assert state["next"] == []


async def test_several_runs_are_cancelled(sdk: LangGraphClient) -> None:
    thread = (await sdk.threads.create())["thread_id"]
    runs = [(await sdk.runs.create(thread, "chat", input={**HELLO, "gate": "never"}))["run_id"] for _ in range(2)]
    await sdk.runs.cancel_many(thread_id=thread, run_ids=runs)
    for run in runs:
        await sdk.runs.join(thread, run)
    assert {each["status"] for each in await sdk.runs.list(thread)} == {"interrupted"}

    delayed = (await sdk.runs.create(thread, "chat", input=HELLO, after_seconds=3600))["run_id"]
    assert (await sdk.runs.get(thread, delayed))["status"] == "pending"
    await sdk.runs.cancel_many(status="pending")
    assert (await sdk.runs.get(thread, delayed))["status"] == "interrupted"


async def test_a_busy_thread(sdk: LangGraphClient) -> None:
    thread = (await sdk.threads.create())["thread_id"]
    first = (await sdk.runs.create(thread, "chat", input={**said("a"), "gate": "never"}))["run_id"]

    with pytest.raises(ConflictError, match=first):
        await sdk.runs.create(thread, "chat", input=said("b"), multitask_strategy="reject")
    with pytest.raises(ConflictError, match="busy"):
        await sdk.threads.update_state(thread, said("b"))
    queued = (await sdk.runs.create(thread, "chat", input=said("b"), multitask_strategy="enqueue"))["run_id"]
    assert (await sdk.runs.get(thread, queued))["status"] == "pending"
    instead: Any = await sdk.runs.wait(thread, "chat", input={**said("c"), "gate": ""}, multitask_strategy="interrupt")
    assert contents(instead)[-1] == "You said c to me"
    assert (await sdk.runs.get(thread, first))["status"] == "interrupted"


async def test_a_new_run_rolls_the_last_one_back(sdk: LangGraphClient) -> None:
    thread = (await sdk.threads.create())["thread_id"]
    await sdk.runs.wait(thread, "chat", input=HELLO)
    await sdk.runs.create(thread, "chat", input={**said("a"), "gate": "never"})
    result: Any = await sdk.runs.wait(thread, "chat", input=said("b"), multitask_strategy="rollback")
    assert contents(result) == ["hello", "You said hello to me", "b", "You said b to me"]


async def test_a_run_from_a_checkpoint(sdk: LangGraphClient) -> None:
    thread = (await sdk.threads.create())["thread_id"]
    await sdk.runs.wait(thread, "chat", input=said("a"))
    after_a = (await sdk.threads.get_state(thread))["checkpoint"]
    await sdk.runs.wait(thread, "chat", input=said("b"))

    result: Any = await sdk.runs.wait(thread, "chat", input=said("c"), checkpoint=after_a)
    assert contents(result) == ["a", "You said a to me", "c", "You said c to me"]
    again: Any = await sdk.runs.wait(thread, "chat", input=said("d"), checkpoint_id=after_a["checkpoint_id"])
    assert contents(again) == ["a", "You said a to me", "d", "You said d to me"]


async def test_breakpoints_and_commands(sdk: LangGraphClient) -> None:
    thread = (await sdk.threads.create())["thread_id"]
    stopped: Any = await sdk.runs.wait(thread, "team", input=TRIP, interrupt_before=["write"])
    assert contents(stopped) == ["hello"]
    assert (await sdk.threads.get_state(thread))["next"] == ["write"]
    asked: Any = await sdk.runs.wait(thread, "team")
    assert contents(asked) == ["hello", "You said hello to me"]

    other = (await sdk.threads.create())["thread_id"]
    update = {"topic": "Oslo", "found": ["by foot"], "messages": []}
    jumped: Any = await sdk.runs.wait(other, "team", command={"update": update, "goto": "approve"})
    assert [each["value"]["found"] for each in jumped["__interrupt__"]] == [["by foot"]]


async def test_runs_of_unknown_things(sdk: LangGraphClient) -> None:
    thread = (await sdk.threads.create())["thread_id"]
    with pytest.raises(NotFoundError, match="no assistant 'unknown'"):
        await sdk.runs.create(thread, "unknown", input=HELLO)
    with pytest.raises(NotFoundError, match="no thread"):
        await sdk.runs.create("unknown", "chat", input=HELLO)
    with pytest.raises(NotFoundError, match="no run"):
        await sdk.runs.get(thread, "00000000-0000-0000-0000-000000000000")
    with pytest.raises(UnprocessableEntityError, match="topic"):
        await sdk.runs.create(thread, "team", input={"topics": "Lisbon"})
    created = await sdk.runs.create("new", "chat", input=HELLO, if_not_exists="create")
    assert created["thread_id"] == "new"


async def test_runs_without_a_thread(sdk: LangGraphClient) -> None:
    result: Any = await sdk.runs.wait(None, "chat", input=HELLO)
    assert contents(result) == ["hello", "You said hello to me"]

    kept: list[Any] = []
    await sdk.runs.wait(None, "chat", input=HELLO, on_completion="keep", on_run_created=kept.append)
    assert kept[0].keys() >= {"run_id"}

    run = await sdk.runs.create(None, "chat", input=HELLO, on_completion="keep")
    assert contents(await sdk.runs.join(run["thread_id"], run["run_id"])) == ["hello", "You said hello to me"]
    payloads: list[Any] = [{"assistant_id": "chat", "input": said(text), "on_completion": "keep"} for text in "ab"]
    batch = await sdk.runs.create_batch(payloads)
    results = [await sdk.runs.join(each["thread_id"], each["run_id"]) for each in batch]
    assert [contents(each)[-1] for each in results] == ["You said a to me", "You said b to me"]


# Assistants


async def test_assistants_are_found(sdk: LangGraphClient) -> None:
    every = await sdk.assistants.search()
    assert [each["graph_id"] for each in every] == sorted(each["graph_id"] for each in every)
    assert {"ask", "chat", "fails", "team", "ticks"} <= {each["graph_id"] for each in every}
    (chat,) = await sdk.assistants.search(graph_id="chat")
    assert await sdk.assistants.get("chat") == await sdk.assistants.get(chat["assistant_id"]) == chat
    page = await sdk.assistants.search(limit=1, offset=1, sort_by="name", sort_order="asc", response_format="object")
    assert ([each["name"] for each in page["assistants"]], page["next"]) == ([every[1]["name"]], "2")
    assert await sdk.assistants.count(graph_id="chat") == 1
    assert await sdk.assistants.count(name="nobody") == 0


async def test_graphs_of_assistants(sdk: LangGraphClient) -> None:
    for assistant in ("team", (await sdk.assistants.get("team"))["assistant_id"]):
        graph = await sdk.assistants.get_graph(assistant)
        assert {str(node["id"]) for node in graph["nodes"]} >= {"plan", "find", "write", "approve"}
        assert ("find", "write") in {(edge["source"], edge["target"]) for edge in graph["edges"]}
        xray = await sdk.assistants.get_graph(assistant, xray=True)
        assert "write:say" in {str(node["id"]) for node in xray["nodes"]}
        schemas = await sdk.assistants.get_schemas(assistant)
        assert schemas["graph_id"] == "team"
        assert schemas["input_schema"] is not None
        assert schemas["input_schema"]["properties"].keys() >= {"messages", "topic", "found"}
    inner = await sdk.assistants.get_subgraphs("team")
    assert inner.keys() == {"write"}
    assert (await sdk.assistants.get_subgraphs("team", namespace="write", recurse=True)).keys() == {"write"}


# Crons


async def test_crons_are_made_changed_found_and_deleted(sdk: LangGraphClient) -> None:
    thread = await sdk.threads.create()
    end = datetime(2040, 1, 1, tzinfo=UTC)
    made: Any = await sdk.crons.create(
        "chat", schedule="30 2 * * *", input=HELLO, metadata={"user": "Ada"}, timezone="Europe/Berlin", end_time=end
    )
    of_thread: Any = await sdk.crons.create_for_thread(
        thread["thread_id"], "chat", schedule="0 * * * *", input=HELLO, enabled=False, multitask_strategy="reject"
    )
    assert (made["schedule"], made["timezone"], made["enabled"], made["thread_id"]) == (
        "30 2 * * *",
        "Europe/Berlin",
        True,
        None,
    )
    assert (made["payload"]["input"], made["metadata"]) == (HELLO, {"user": "Ada"})
    assert datetime.fromisoformat(made["end_time"]) == end
    assert datetime.fromisoformat(made["next_run_date"]) > datetime.now(UTC)
    assert (of_thread["thread_id"], of_thread["enabled"], of_thread["next_run_date"]) == (
        thread["thread_id"],
        False,
        None,
    )
    assert await sdk.crons.count() == 2
    assert await sdk.crons.count(assistant_id="team") == 0
    assert [each["cron_id"] for each in await sdk.crons.search(sort_by="created_at", sort_order="asc")] == [
        made["cron_id"],
        of_thread["cron_id"],
    ]
    assert await sdk.crons.search(thread_id=thread["thread_id"]) == [of_thread]
    assert await sdk.crons.search(metadata={"user": "Ada"}, select=["cron_id"]) == [{"cron_id": made["cron_id"]}]
    assert await sdk.crons.search(enabled=True, assistant_id="chat") == [made]

    changed: Any = await sdk.crons.update(made["cron_id"], schedule="0 3 * * *", end_time=None, enabled=False)
    assert (changed["schedule"], changed["end_time"], changed["enabled"]) == ("0 3 * * *", None, False)
    assert changed["payload"] == made["payload"]
    for cron in (made, of_thread):
        await sdk.crons.delete(cron["cron_id"])
    assert await sdk.crons.search() == []
    with pytest.raises(NotFoundError, match="no cron"):
        await sdk.crons.delete(made["cron_id"])
    with pytest.raises(UnprocessableEntityError, match="cron"):
        await sdk.crons.create("chat", schedule="every day", input=HELLO)
    with pytest.raises(NotFoundError, match="no thread"):
        await sdk.crons.create_for_thread("nothing", "chat", schedule="0 * * * *")


async def test_a_cron_starts_runs(sdk: LangGraphClient) -> None:
    cron: Any = await sdk.crons.create("chat", schedule="* * * * * *", input=HELLO)
    async with asyncio.timeout(30):
        while not (found := await _finished(sdk)):  # noqa: ASYNC110  # the API has no event
            await asyncio.sleep(0.05)
    await sdk.crons.delete(cron["cron_id"])
    assert contents(found[0]["values"])[0] == "hello"


async def _finished(sdk: LangGraphClient) -> list[Any]:
    """The threads of crons with a state."""
    found = await sdk.threads.search(status="idle", limit=1000)
    return [each for each in found if each["thread_id"].startswith("cron-") and each["values"]]


# What the service does not have


async def test_what_is_not_there_replies_501(sdk: LangGraphClient) -> None:
    calls: dict[str, list[Awaitable[Any]]] = {
        "assistants": [
            sdk.assistants.create("chat"),
            sdk.assistants.update("chat", name="other"),
            sdk.assistants.delete("chat"),
            sdk.assistants.get_versions("chat"),
            sdk.assistants.set_latest("chat", 1),
        ],
        "store": [
            sdk.store.put_item(["a"], "b", {"c": 1}),
            sdk.store.get_item(["a"], "b"),
            sdk.store.delete_item(["a"], "b"),
            sdk.store.search_items(["a"]),
            sdk.store.list_namespaces(),
        ],
        "webhook": [sdk.runs.create(None, "chat", input=HELLO, webhook="https://example.org")],
        "ttl": [sdk.threads.create(ttl=5)],
        "by their values": [sdk.threads.search(values={"topic": "Lisbon"})],
        "extracts": [sdk.threads.search(extract={"a": "values.topic"})],
    }
    for reason, refused in calls.items():
        for call in refused:
            with pytest.raises(APIStatusError, match=reason) as raised:
                await call
            assert raised.value.status_code == 501


def test_every_method_of_the_client_is_called() -> None:
    client = get_client(url="http://localhost")
    methods = {
        f"{group}.{name}"
        for group in GROUPS
        for name, _ in inspect.getmembers(type(getattr(client, group)), inspect.isfunction)
        if not name.startswith("_")
    }
    called: set[str] = set()
    for path in Path(__file__).parent.glob("test_langgraph_sdk*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(func=ast.Attribute(attr=method, value=ast.Attribute(attr=group, value=ast.Name("sdk")))):
                    called.add(f"{group}.{method}")
    assert methods - called == set()


async def test_the_service_names_its_version(either: Server, client: httpx.AsyncClient) -> None:
    info = (await client.get(f"{either.url}/info")).json()
    assert info.keys() >= {"version"}
