"""Bad input over HTTP: each has a clear status, nothing is lost, and no error and no log has a value of a state."""

import json
import logging
from typing import Annotated, Any, TypedDict
from urllib.parse import quote

import pytest

from durable_graph import START, Checkpointer, StateGraph
from durable_graph.runs import App, RunHandle
from durable_graph_http import AgentService, Request
from durable_graph_http import call as call_module
from durable_graph_http.routes import Route
from durable_graph_http.run_streams import Source
from durable_graph_http.service import ROUTES
from tests.http.client import Client, detail_of, text_of
from tests.http.programs import SECRET, app_of

HUGE = 10**400

WITH_BODY = [route for route in ROUTES if route.body is not None]


@pytest.fixture
def client(service: AgentService) -> Client:
    return Client(service)


def path_of(route: Route) -> str:
    known = {"{assistant_id}": "chain", "{namespace}": "inner", "{checkpoint_id}": "0000000000000001"}
    return "/".join(known.get(part, part.strip("{}")) for part in route.path.split("/"))


@pytest.mark.parametrize(
    "data",
    [
        b"{",
        b"nonsense",
        b'{"input": NaN}',
        b'{"input": Infinity}',
        b'{"input": "\\ud800"}',
        b'{"input": "\xff"}',
        b"\x00",
        b"[" * 100_000,
        b'{"input": ' + b'{"a": ' * 5000 + b"1" + b"}" * 5001,
    ],
)
async def test_a_body_that_is_not_json_is_refused_by_every_route(store: Checkpointer, data: bytes) -> None:
    client = Client(AgentService(app_of(store), worker=False))
    for route in WITH_BODY:
        reply = await client.send(route.method, path_of(route), data=data)
        assert reply.status == 400, route.path
        assert detail_of(reply)


@pytest.mark.parametrize("body", [None, 7, "text", [], [1], [[]], {"unknown_member": 1}, {"thread_id": 1}])
async def test_a_body_of_another_form_is_refused_by_every_route(store: Checkpointer, body: Any) -> None:
    client = Client(AgentService(app_of(store), worker=False))
    for route in WITH_BODY:
        if body == [] and route.path == "/runs/batch":
            continue
        reply = await client.send(route.method, path_of(route), data=json.dumps(body).encode())
        assert reply.status == 422, route.path
        assert detail_of(reply)


@pytest.mark.parametrize(
    "query",
    [
        {"limit": "x"},
        {"limit": "0"},
        {"limit": "1001"},
        {"limit": "1.5"},
        {"limit": str(HUGE)},
        {"offset": "-1"},
        {"offset": str(2**63)},
        {"status": "done"},
        {"unknown": "1"},
    ],
)
async def test_a_wrong_query_is_refused(client: Client, query: dict[str, str]) -> None:
    await client.thread("t")
    reply = await client.send("GET", "/threads/t/runs", query=query)
    assert reply.status == 422
    assert detail_of(reply)


async def test_a_repeated_parameter_is_refused_unless_it_is_a_list(client: Client) -> None:
    await client.ran("t", "chain", {}, if_not_exists="create")
    twice = Request(method="GET", path="/threads/t/runs", query=(("limit", "1"), ("limit", "2")))
    assert (await client.service.reply(twice)).status == 422
    listed = Request(method="GET", path="/threads/t/runs", query=(("select", "run_id"), ("select", "status")))
    (run,) = json.loads(await text_of(await client.service.reply(listed)))
    assert set(run) == {"run_id", "status"}


@pytest.mark.parametrize(
    "thread_id", ["a/b", "it's", '"quoted"', "ünïcödé ✓", "a b", "%2F", "..", ".", "a?b#c", "x" * 255]
)
async def test_any_text_is_the_id_of_a_thread(client: Client, thread_id: str) -> None:
    await client.thread(thread_id)
    path = f"/threads/{quote(thread_id, safe='')}"
    reply = await client.send("POST", f"{path}/runs/wait", {"assistant_id": "chain", "input": {}})
    run = reply.headers["Content-Location"]
    assert json.loads(await text_of(reply)) == {"log": ["one", "two", "three"]}
    assert (await client.get(run))["thread_id"] == thread_id
    assert (await client.get(path))["thread_id"] == thread_id
    assert (await client.get(f"{path}/state"))["checkpoint"]["thread_id"] == thread_id
    await client.call("DELETE", path, status=204)


@pytest.mark.parametrize("thread_id", ["", "x" * 256, "ü" * 128, "a\0b", "a\nb", "\x7f", "\ud800"])
async def test_text_that_cannot_be_an_id_is_refused(client: Client, thread_id: str) -> None:
    path = f"/threads/{quote(thread_id, safe='', errors='surrogatepass')}"
    for end in ("/state", "/runs"):
        assert (await client.send("GET", path + end)).status == (400 if thread_id == "\ud800" else 422)
    body = json.dumps({"thread_id": thread_id}).encode()
    assert (await client.send("POST", "/threads", data=body)).status == (400 if thread_id == "\ud800" else 422)


@pytest.mark.parametrize("path", ["/threads/%ff", "/threads/%ff/state", "/threads/t/runs/%c3%28", "/assistants/%80"])
async def test_a_path_that_is_not_utf_8_is_refused(client: Client, path: str) -> None:
    assert (await client.send("GET", path)).status == 400


@pytest.mark.parametrize(
    "run_id", ["x", "00000000-0000-8000-8000-000000000000", "../..", "%00", "0" * 1000, str(HUGE), "null"]
)
async def test_ids_that_no_run_has_are_unknown(client: Client, run_id: str) -> None:
    await client.thread("t")
    for method, end in (("GET", ""), ("GET", "/join"), ("POST", "/cancel"), ("DELETE", ""), ("POST", "/retry")):
        reply = await client.send(method, f"/threads/t/runs/{quote(run_id, safe='%')}{end}")
        assert reply.status == 404


@pytest.mark.parametrize(
    "value",
    [
        HUGE,
        -HUGE,
        2**63,
        2**64,
        2**70,
        1.7976931348623157e308,
        5e-324,
        "\u0000",
        "\u2028",
        "👩‍👩‍👧",
        "",
        {"": {"": None}},
        {"$type": 1, "__interrupt__": []},
        [[[[[]]]]],
        "x" * 1_000_000,
    ],
    ids=lambda value: repr(value)[:20],
)
async def test_odd_values_come_back_as_they_were_or_are_refused(client: Client, value: Any) -> None:
    await client.thread("t")
    reply = await client.send("POST", "/threads/t/runs/wait", {"assistant_id": "chain", "input": {"note": value}})
    text = await text_of(reply)
    assert reply.status in (200, 400, 422), text
    if reply.status == 200:
        assert json.loads(text)["note"] == value
        assert (await client.get("/threads/t/state"))["values"]["note"] == value
    metadata = await client.send("PATCH", "/threads/t", {"metadata": {"note": value}})
    assert metadata.status in (200, 422)
    answered = await client.send("POST", "/threads/t/signals", {"topic": "topic", "value": value})
    assert answered.status in (409, 422)


@pytest.mark.parametrize("depth", [50, 150, 400, 900])
async def test_deep_values_come_back_or_are_refused(client: Client, depth: int) -> None:
    await client.thread("t")
    data = b'{"assistant_id": "chain", "input": {"note": ' + b"[" * depth + b"1" + b"]" * depth + b"}}"
    reply = await client.send("POST", "/threads/t/runs/wait", data=data)
    assert reply.status in (200, 400, 422)
    text = await text_of(reply)
    if reply.status == 200:
        assert text.count("[") == text.count("]") >= depth


async def test_no_error_and_no_log_has_a_value_of_the_state(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    await client.ran("t", "ask", {"note": SECRET}, if_not_exists="create")
    requests: tuple[tuple[str, Any], ...] = (
        ("/threads/t/state", {"values": {"nothing": SECRET}, "as_node": "first"}),
        ("/threads/t/state", {"values": {"log": SECRET}, "as_node": "first"}),
        ("/threads/t/updates", {"values": {"nothing": SECRET}}),
        ("/threads/t/updates", {"values": SECRET}),
        ("/threads/t/runs", {"assistant_id": "ask", "input": {"nothing": SECRET}}),
        ("/threads/t/runs", {"assistant_id": "ask", "input": SECRET}),
        ("/threads/t/runs", {"assistant_id": "ask", "input": {"log": SECRET}}),
        ("/threads/t/runs", {"assistant_id": "ask", "command": {"update": SECRET}}),
        ("/threads/t/answers", {"value": {"0" * 32: SECRET}}),
        ("/threads/t/signals", {"topic": "", "value": SECRET}),
        ("/threads", {"thread_id": "u", "metadata": SECRET}),
    )
    for path, body in requests:
        reply = await client.send("POST", path, body)
        assert 400 <= reply.status < 500, (path, body, await text_of(reply))
        assert SECRET not in detail_of(reply)
    assert SECRET not in caplog.text


async def test_a_very_long_id_is_refused_before_its_letters_are_read(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(call_module, "unicodedata", None)
    for path, body in (("/threads", {"thread_id": "x" * 300}), ("/threads/search", {"ids": ["x" * 300]})):
        assert (await client.send("POST", path, body)).status == 422


async def test_a_query_that_is_nested_too_deep_is_refused(client: Client) -> None:
    await client.ran("t", "chain", {}, if_not_exists="create")
    (run,) = await client.get("/threads/t/runs")
    path = f"/threads/t/runs/{run['run_id']}/stream"
    assert (await client.send("GET", path, query={"stream_mode": "[" * 5000})).status == 422


async def test_the_refusal_of_a_command_is_short(client: Client) -> None:
    refused = await client.post("/threads/t/commands", {"id": 1, "method": "run.start", "params": {"x" * 9999: 1}})
    assert refused["error"] == "invalid_argument"
    assert len(refused["message"]) < 400


@pytest.mark.parametrize("key", ["k" * 252, "a\0b", "\udcff"])
async def test_a_key_that_cannot_be_one_is_refused_by_its_name(client: Client, key: str) -> None:
    body = {"assistant_id": "chain", "input": {}}
    reply = await client.send("POST", "/runs", body, headers={"idempotency-key": key})
    assert reply.status == 422
    assert "Idempotency-Key" in detail_of(reply)


async def test_metadata_that_name_an_unknown_graph_hide_no_thread(client: Client) -> None:
    await client.thread("t", metadata={"graph_id": "nothing"})
    assert (await client.get("/threads/t"))["metadata"] == {"graph_id": "nothing"}
    assert (await client.get("/threads/t/state"))["values"] == {}
    assert await client.post("/threads/t/history", {}) == []
    refused = await client.send("POST", "/threads/t/state", {"values": {}, "as_node": "one"})
    assert refused.status == 409


async def test_values_that_a_reducer_refuses_are_refused_without_them(store: Checkpointer) -> None:
    def longest(before: str, given: str) -> str:
        raise ValueError(given)

    class Texts(TypedDict, total=False):
        text: Annotated[str, longest]

    async def write(state: Texts) -> Texts:
        return {}

    graph = StateGraph(Texts).add_node("write", write).add_edge(START, "write").compile()
    async with AgentService(App({"g": graph}, store), worker=False) as service:
        client = Client(service)
        await client.thread("t", graph_id="g")
        refused = await client.send("POST", "/threads/t/state", {"values": {"text": SECRET}, "as_node": "write"})
        assert refused.status == 422
        assert "'text'" in detail_of(refused)
        assert SECRET not in detail_of(refused)


async def test_a_fault_in_the_middle_of_a_reply_shows_nothing(
    client: Client, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    await client.ran("t", "chain", {}, if_not_exists="create")
    (run,) = await client.get("/threads/t/runs")

    def fail(*given: Any, **named: Any) -> Any:
        raise ValueError(SECRET)

    monkeypatch.setattr(RunHandle, "stopped", fail)
    monkeypatch.setattr(Source, "frames", fail)
    for end, form in (("join", "parts"), ("stream", "frames")):
        reply = await client.send("GET", f"/threads/t/runs/{run['run_id']}/{end}", headers={"last-event-id": "-1"})
        with pytest.raises(RuntimeError, match="the log of durable_graph_http has the reason") as raised:
            async for _ in getattr(reply.body, form):
                pass
        assert raised.value.__suppress_context__
    assert caplog.text.count("failed: ValueError") == 2
    assert SECRET not in caplog.text


async def test_a_fault_of_the_service_shows_nothing(
    client: Client, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*given: Any, **named: Any) -> Any:
        raise ValueError(SECRET)

    monkeypatch.setattr(type(client.service.app), "runs", fail)
    await client.thread("t")
    reply = await client.send("GET", "/threads/t/runs")
    assert reply.status == 500
    assert SECRET not in detail_of(reply)
    assert SECRET not in caplog.text
    assert "ValueError" in caplog.text
    assert "threads.read_run" in caplog.text
