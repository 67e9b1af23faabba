"""The example of a service: its page, and an order from start to end, on a real server of each framework."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.examples.servers import Server

PAGE = Path(__file__).parents[2] / "examples" / "service" / "page"
ORDER = {"customer": "Ada", "item": "kettle", "quantity": 2, "price": 30.0}

Seen = list[tuple[int, dict[str, Any]]]


@pytest.fixture(scope="module", params=["with_fastapi", "with_aiohttp"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("service")
    with Server(folder, f"examples.service.{request.param}", environment={"EXAMPLE_PACE": "0.1"}) as started:
        yield started
    assert "Traceback" not in started.log


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{server.url}/api", timeout=60) as opened:
        yield opened


def start(client: httpx.Client, **options: Any) -> tuple[str, str]:
    """Start an order as the page does. Returns the paths of its thread and of its run."""
    thread = str(uuid4())
    metadata = {"page": "order desk", "title": "2 × kettle"}
    created = {"thread_id": thread, "if_exists": "do_nothing", "metadata": metadata, "graph_id": "order"}
    client.post("/threads", json=created).raise_for_status()
    body = {"assistant_id": "order", "input": ORDER | options}
    runs = [client.post(f"/threads/{thread}/runs", json=body, headers={"Idempotency-Key": thread}) for _ in range(2)]
    # The repetition has started nothing.
    assert len({run.raise_for_status().json()["run_id"] for run in runs}) == 1
    return f"/threads/{thread}", f"/threads/{thread}/runs/{runs[0].json()['run_id']}"


def read(client: httpx.Client, run: str, seen: Seen, until: str | None = None, count: int = 1) -> Seen:
    """Follow the run after what was seen, to its end or to the last one of `count` events of the type `until`."""
    headers = {"Last-Event-ID": str(seen[-1][0] if seen else -1)}
    with client.stream("GET", f"{run}/events", headers=headers) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        fields: dict[str, str] = {}
        for line in response.iter_lines():
            name, _, value = line.partition(": ")
            if line:
                fields[name] = value
                continue
            if "data" in fields:
                seen.append((int(fields["id"]), json.loads(fields["data"])))
                if sum(event["type"] == until for _, event in seen) == count:
                    break
            fields = {}
    return seen


def decide(client: httpx.Client, thread: str, seen: Seen, *, approved: bool, by: str = "Grace") -> httpx.Response:
    question = seen[-1][1]["interrupts"][0]
    value = {"approved": approved, "by": by, "comment": ""}
    return client.post(f"{thread}/answers", json={"interrupt_id": question["id"], "value": value})


def test_page_is_complete_and_needs_no_other_host(server: Server) -> None:
    index = httpx.get(server.url)
    assert index.headers["content-type"].startswith("text/html")
    for file in PAGE.iterdir():
        served = httpx.get(f"{server.url}/{file.name}")
        assert served.status_code == 200
        assert served.content == file.read_bytes()
        assert re.findall(r"(?:src|href|from|import|url)\W{1,3}https?:", served.text) == []
    assert (
        httpx.get(f"{server.url}/main.js")
        .headers["content-type"]
        .startswith(("text/javascript", "application/javascript"))
    )
    assert httpx.get(f"{server.url}/server").json()["pid"] > 0
    assert httpx.get(f"{server.url}/nothing.js").status_code == 404


def test_order_goes_on_after_the_server_was_killed(server: Server, client: httpx.Client) -> None:
    thread, run = start(client)
    seen = read(client, run, [], until="custom", count=5)
    server.kill()
    server.start()
    read(client, run, seen, until="run_interrupted")
    assert decide(client, thread, seen, approved=True).is_success
    read(client, run, seen)

    state = client.get(f"{thread}/state").json()
    assert state["next"] == []
    assert state["values"]["approved"] is True
    assert state["values"]["letter"].endswith("Yours, Grace")
    assert client.get(run).json()["status"] == "success"
    ids = [id_ for id_, _ in seen]
    assert ids == sorted(set(ids))
    # A reader that has missed everything gets the same events.
    assert read(client, run, []) == seen
    # What was recorded before the kill was not done again.
    finished = [event["node"] for _, event in seen if event["type"] == "task_finished"]
    assert len(finished) == len(set(finished)) == 9


def test_second_decision_is_told_the_first(server: Server, client: httpx.Client) -> None:
    thread, run = start(client)
    seen = read(client, run, [], until="run_interrupted")
    asked = list(seen)
    assert decide(client, thread, asked, approved=False, by="Grace").is_success
    second = decide(client, thread, asked, approved=True, by="Ada")
    assert second.status_code == 409
    assert "Grace" in second.text
    read(client, run, seen)
    values = client.get(f"{thread}/state").json()["values"]
    assert (values["approved"], values["decided_by"]) == (False, "Grace")
    assert "release" in [event.get("node") for _, event in seen]


def test_answer_that_is_no_decision_is_asked_again(server: Server, client: httpx.Client) -> None:
    thread, run = start(client)
    seen = read(client, run, [], until="run_interrupted")
    client.post(f"{thread}/answers", json={"value": "yes"}).raise_for_status()
    read(client, run, seen, until="run_interrupted", count=2)
    assert "problem" in seen[-1][1]["interrupts"][0]["value"]
    assert decide(client, thread, seen, approved=True).is_success
    read(client, run, seen)
    assert client.get(run).json()["status"] == "success"


def test_failed_payment_is_retried_and_keeps_the_results(server: Server, client: httpx.Client) -> None:
    thread, run = start(client, payment_fails=True)
    seen = read(client, run, [])
    assert client.get(run).json()["status"] == "error"
    assert client.get(thread).json()["status"] == "error"
    assert [event["error"] for _, event in seen if event["type"] == "task_failed"] == [
        "PaymentError('the payment service does not answer')"
    ]
    client.post(f"{run}/retry").raise_for_status()
    read(client, run, seen, until="run_interrupted")
    finished = [event["node"] for _, event in seen if event["type"] == "task_finished"]
    assert finished.count("check_order") == 1
    assert "authorize_payment" in finished


def test_cancelled_order_stops(server: Server, client: httpx.Client) -> None:
    thread, run = start(client)
    seen = read(client, run, [], until="custom", count=3)
    client.post(f"{run}/cancel").raise_for_status()
    read(client, run, seen)
    # The page tells it from an order that waits by the status of the thread.
    assert client.get(run).json()["status"] == "interrupted"
    assert client.get(thread).json()["status"] == "idle"


def test_orders_are_listed_by_their_metadata(server: Server, client: httpx.Client) -> None:
    thread, run = start(client)
    read(client, run, [], until="run_interrupted")
    body = {"metadata": {"page": "order desk"}, "limit": 30, "sort_by": "created_at", "sort_order": "desc"}
    newest = client.post("/threads/search", json=body).json()[0]
    assert f"/threads/{newest['thread_id']}" == thread
    assert newest["metadata"]["title"] == "2 × kettle"
    assert newest["status"] == "interrupted"
    assert client.post("/threads/search", json={"metadata": {"page": "no page"}}).json() == []


def test_graph_of_the_page_has_every_node(server: Server, client: httpx.Client) -> None:
    graph = client.get("/assistants/order/graph").json()
    nodes = {node["id"] for node in graph["nodes"]}
    assert {"__start__", "check_order", "approval", "write_letter", "__end__"} <= nodes
    assert {edge["target"] for edge in graph["edges"] if edge.get("conditional")} == {"dispatch", "release"}
