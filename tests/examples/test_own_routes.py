"""The example of streaming in one's own routes: a real server of each framework, with real clients."""

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.examples.servers import Server

Events = list[tuple[int | None, dict[str, Any]]]


@pytest.fixture(scope="module", params=["fastapi", "aiohttp"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("service"), "examples.own_routes", request.param) as started:
        yield started
    assert "Traceback" not in started.log


def start(server: Server) -> str:
    started = httpx.post(f"{server.url}/trips", json={"city": "Lisbon"})
    assert started.status_code == 202
    run_id: str = started.json()["run_id"]
    return run_id


def read(url: str, until: str | None = None, last_event_id: int | None = None) -> Events:
    """The events of a stream to its end, or to the first one of the type `until`."""
    headers = {} if last_event_id is None else {"Last-Event-ID": str(last_event_id)}
    found: Events = []
    id_ = None
    with httpx.stream("GET", url, headers=headers, timeout=60) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        for line in response.iter_lines():
            if line.startswith("id: "):
                id_ = int(line.removeprefix("id: "))
            if line.startswith("data: "):
                found.append((id_, json.loads(line.removeprefix("data: "))))
                if found[-1][1]["type"] == until:
                    break
    return found


def socket_of(server: Server, path: str) -> ClientConnection:
    return connect(f"{server.url.replace('http', 'ws')}{path}")


def test_run_is_followed_killed_continued_and_answered_over_a_socket(server: Server) -> None:
    run_id = start(server)
    events = f"{server.url}/runs/{run_id}/events"
    before = read(events, until="task_finished")
    server.kill()
    server.start()
    after = read(events, until="run_interrupted", last_event_id=before[-1][0])

    with socket_of(server, f"/runs/{run_id}/socket?after={after[-1][0]}") as socket:
        socket.send("no JSON")
        assert json.loads(socket.recv())["type"] == "error"
        socket.send('{"answer": true}')
        rest = [json.loads(message) for message in socket]

    assert rest[-1]["event"]["values"]["booked"] is True
    ids = [id_ for id_, _ in before + after] + [each["id"] for each in rest]
    assert len(ids) == len(set(ids))
    # A replay from the start has exactly these events.
    replayed = read(events)
    assert [id_ for id_, _ in replayed] == ids
    finished = [event["node"] for _, event in replayed if event["type"] == "task_finished"]
    assert sorted(finished) == ["book", "flights", "hotels"]


def test_two_sockets_follow_one_run_and_a_late_answer_is_refused(server: Server) -> None:
    run_id = start(server)
    last = read(f"{server.url}/runs/{run_id}/events", until="run_interrupted")[-1][0]
    path = f"/runs/{run_id}/socket?after={last}"
    with socket_of(server, path) as first, socket_of(server, path) as second:
        first.send('{"answer": false}')
        seen_by_first, seen_by_second = list(first), list(second)
    assert seen_by_first == seen_by_second
    assert json.loads(seen_by_first[-1])["event"]["values"]["booked"] is False


def test_graph_runs_inside_the_request(server: Server) -> None:
    events = [event for _, event in read(f"{server.url}/offers?city=Oslo")]
    types = [event["type"] for event in events]
    assert types.count("custom") == 2
    assert types.count("task_finished") == 2
    assert sorted(events[-1]["values"]["found"]) == ["a flight to Oslo", "a hotel in Oslo"]


@pytest.mark.parametrize("run_id", ["8a7b3e1c-0000-8000-8000-000000000001", "nonsense", "%C3%A9%20%22"])
def test_unknown_run_is_not_found(server: Server, run_id: str) -> None:
    assert httpx.get(f"{server.url}/runs/{run_id}/events").status_code == 404
    with pytest.raises(InvalidStatus) as raised, socket_of(server, f"/runs/{run_id}/socket"):
        pass
    assert raised.value.response.status_code in (403, 404)


def test_bad_input_is_refused(server: Server) -> None:
    run_id = start(server)
    assert httpx.post(f"{server.url}/trips", content=b"{").status_code == 422
    assert httpx.post(f"{server.url}/trips", json={"town": "Oslo"}).status_code == 422
    assert httpx.get(f"{server.url}/offers").status_code == 422
    for wrong in ("seven", "-1", "1.5", "²", "9" * 5000):
        headers = [(b"Last-Event-ID", wrong.encode())]
        assert httpx.get(f"{server.url}/runs/{run_id}/events", headers=headers).status_code == 422
    ((_, beyond),) = read(f"{server.url}/runs/{run_id}/events", last_event_id=2**52)
    assert beyond["type"] == "error"


def test_messages_that_are_no_text_are_refused(server: Server) -> None:
    run_id = start(server)
    last = read(f"{server.url}/runs/{run_id}/events", until="run_interrupted")[-1][0]
    path = f"/runs/{run_id}/socket?after={last}"
    with socket_of(server, path) as socket:
        socket.send(b"\x00\xff")
        assert json.loads(socket.recv())["type"] == "error"
    with socket_of(server, path) as socket:
        with suppress(ConnectionClosedError):
            socket.send("x" * 17_000_000)
        with pytest.raises(ConnectionClosedError):
            socket.recv()


def test_server_stops_while_streams_are_open(server: Server) -> None:
    run_id = start(server)
    with httpx.stream("GET", f"{server.url}/runs/{run_id}/events") as events:
        assert events.status_code == 200
        with socket_of(server, f"/runs/{run_id}/socket") as socket:
            assert json.loads(socket.recv())["event"]["type"] == "checkpoint_committed"
            # uvicorn ends with the signal that it got.
            assert server.terminate() in (0, -15)
    server.start()
    assert read(f"{server.url}/runs/{run_id}/events", until="run_interrupted")
