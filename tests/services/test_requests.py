"""How the adapters read requests and send replies, on real servers."""

import asyncio
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from tests.services.engine.clients import Seen, ask_later, connected, noted, read
from tests.services.engine.program import OTHER_PREFIX, VALUE
from tests.services.engine.servers import Server, notes


@pytest.mark.parametrize("name", ["a/../b", "/", "quotes\"and'more", "50%", "%2F", "ünï→𝄞", "line\nbreak", "?#&= +;"])
def test_a_name_in_a_path_is_decoded_once(server: Server, name: str) -> None:
    reply = httpx.get(f"{server.url}/test/echo/{quote(name, safe='')}")

    assert reply.json()["name"] == name


def test_a_path_that_is_no_text_is_refused(server: Server) -> None:
    assert httpx.get(f"{server.url}/test/echo/%FF").status_code == 400


def test_query_headers_and_body_arrive(server: Server) -> None:
    body = b"x" * 90_000

    reply = httpx.post(f"{server.url}/test/echo/n?a=0&b=%C3%A9+%2B", content=body, headers={"X-Header": "h"})

    found = reply.json()
    assert (found["query"], found["header"], found["bytes"]) == ({"a": "0", "b": "é +"}, "h", 90_000)


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_each_method_arrives(server: Server, method: str) -> None:
    assert httpx.request(method, f"{server.url}/test/echo/n").status_code == 200


def test_a_method_that_a_path_does_not_have_is_refused(server: Server) -> None:
    reply = httpx.put(f"{server.url}/ok")

    assert (reply.status_code, reply.headers["allow"]) == (405, "GET")


def test_a_process_has_several_routers(server: Server) -> None:
    replies = [httpx.get(f"{server.root}{prefix}/stats").json() for prefix in ("/agent", OTHER_PREFIX)]

    # One of the two has a worker.
    assert [reply["workers"] for reply in replies] == [1, 1]


def test_a_fault_is_logged_and_not_shown(server: Server) -> None:
    reply = httpx.get(f"{server.url}/test/fail")

    assert (reply.status_code, reply.headers["content-type"]) == (500, "application/problem+json")
    assert VALUE not in reply.text
    assert "GET of test.fail failed: RuntimeError" in server.log
    assert VALUE not in server.log


async def test_a_body_that_is_too_long_is_refused_before_its_end(server: Server) -> None:
    async with connected(server.port) as (reader, writer):
        writer.write(
            b"POST /agent/test/echo/n HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000000\r\n\r\n" + b"x" * 100_001
        )
        reply = await reader.readuntil(b"\r\n\r\n")

    assert reply.startswith(b"HTTP/1.1 413 ")


async def test_an_endless_body_is_refused(server: Server) -> None:
    async with connected(server.port) as (reader, writer):
        writer.write(b"POST /agent/test/echo/n HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
        writer.write((b"2710\r\n" + b"x" * 10_000 + b"\r\n") * 11)
        reply = await reader.readuntil(b"\r\n\r\n")

    assert reply.startswith(b"HTTP/1.1 413 ")
    assert b"\r\nconnection: close\r\n" in reply.lower()


async def test_a_body_that_arrives_byte_by_byte_is_refused(server: Server) -> None:
    async with connected(server.port) as (reader, writer):
        writer.write(b"POST /agent/test/echo/n HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n")

        async def drip() -> None:
            while True:
                writer.write(b"x")
                await asyncio.sleep(0.1)

        dripping = asyncio.create_task(drip())
        try:
            reply = await reader.readuntil(b"\r\n\r\n")
        finally:
            dripping.cancel()

    assert reply.startswith(b"HTTP/1.1 408 ")
    assert b"\r\nconnection: close\r\n" in reply.lower()


async def test_a_client_may_leave_amid_its_body(server: Server, client: httpx.AsyncClient) -> None:
    for _ in range(10):
        async with connected(server.port) as (_, writer):
            writer.write(b"POST /agent/test/echo/n HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\nxx")
            await writer.drain()

    # The fixture checks the log.
    assert (await client.get(f"{server.url}/ok")).status_code == 200


async def test_the_frames_of_a_stream_arrive(server: Server, client: httpx.AsyncClient) -> None:
    seen: list[Seen] = []

    end = await read(client, f"{server.url}/test/numbers/frames?count=3", seen)

    assert [(each.id, each.event, each.data["number"]) for each in seen] == [(str(n), "number", n) for n in range(3)]
    assert end.is_proper
    await noted(server.form.folder, "closed frames")
    assert "left frames" not in notes(server.form.folder)


def test_no_proxy_buffers_or_stores_a_stream(server: Server) -> None:
    with httpx.stream("GET", f"{server.url}/test/numbers/headers", headers={"Accept-Encoding": "gzip"}) as response:
        headers = response.headers

    assert headers["content-type"].partition(";")[0] == "text/event-stream"
    assert headers["x-accel-buffering"] == "no"
    assert headers["cache-control"] == "no-cache"
    assert headers["location"] == "/there"
    assert "content-encoding" not in headers


async def test_a_quiet_stream_is_kept_alive(server: Server, client: httpx.AsyncClient) -> None:
    async with client.stream("GET", f"{server.url}/test/numbers/quiet?seconds=3600") as response:
        pings = 0
        async for line in response.aiter_lines():
            pings += line.startswith(":")
            if pings == 2:
                break


@pytest.mark.parametrize(
    ("path", "name"),
    [("numbers/idle?seconds=3600", "idle"), ("numbers/busy?seconds=0", "busy"), ("later/waiting", "waiting")],
)
async def test_a_generator_is_closed_when_its_client_leaves(server: Server, path: str, name: str) -> None:
    async with httpx.AsyncClient() as client, client.stream("GET", f"{server.url}/test/{path}") as response:
        await anext(response.aiter_raw())

    await noted(server.form.folder, f"left {name}")
    await noted(server.form.folder, f"closed {name}")
    assert notes(server.form.folder).count(f"left {name}") == 1


async def test_a_generator_is_closed_when_its_stalled_client_leaves(server: Server) -> None:
    async with connected(server.port) as (_, writer):
        writer.write(b"GET /agent/test/numbers/stalled?seconds=0&size=100000 HTTP/1.1\r\nHost: h\r\n\r\n")
        await noted(server.form.folder, "opened stalled")

    await noted(server.form.folder, "closed stalled")
    await noted(server.form.folder, "left stalled")


async def test_a_body_that_takes_a_while_arrives(server: Server, client: httpx.AsyncClient) -> None:
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(ask_later(client, f"{server.url}/test/later/complete"))
        await noted(server.form.folder, "opened complete")
        (Path(server.form.folder) / "released").touch()

    assert waiting.result().is_proper
    assert "left complete" not in notes(server.form.folder)
