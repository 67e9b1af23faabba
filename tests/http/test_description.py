"""The OpenAPI description, and requests that are made of it: `DURABLE_GRAPH_FUZZ=long` (`make fuzz-http`) makes many
more. Each has a documented status and a body of the documented form, and none fails."""

import asyncio
import os
import threading
import zlib
from collections.abc import Coroutine, Iterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from durable_graph import MemorySaver
from durable_graph.runs import App
from durable_graph_http import AgentService, Later, Reply, Request
from durable_graph_http.description import described
from durable_graph_http.service import ROUTES
from tests.http.client import Client
from tests.http.programs import ask, fail, node, sequence

IS_LONG = os.environ.get("DURABLE_GRAPH_FUZZ") == "long"

GRAPHS = ("chain", "ask", "fail")
LONGEST_WAIT = 0.3
"""In seconds: a run may wait for days, and its reply with it."""

schema = schemathesis.openapi.from_dict(described(ROUTES))


def test_the_description_names_every_route_once() -> None:
    document = described(ROUTES)
    assert document["openapi"] == "3.1.0"
    operations = [(method.upper(), path) for path, found in document["paths"].items() for method in found]
    assert sorted(operations) == sorted((route.method, route.path) for route in ROUTES)
    ids = [each["operationId"] for found in document["paths"].values() for each in found.values()]
    assert len(set(ids)) == len(ids)
    assert all(each["description"].endswith(".") for found in document["paths"].values() for each in found.values())


def test_what_is_absent_has_only_the_status_501_in_the_description() -> None:
    created = described(ROUTES)["paths"]["/store/items"]["put"]
    assert "501" in created["responses"]
    assert not [status for status in created["responses"] if status.startswith("2")]


def test_the_description_has_the_statuses_of_refused_threads_and_of_slow_bodies() -> None:
    for path, operations in described(ROUTES)["paths"].items():
        for operation in operations.values():
            assert "408" in operation["responses"]
            assert "404" in operation["responses"] or "{thread_id}" not in path


def test_only_requests_that_take_a_key_have_it_in_the_description() -> None:
    paths = described(ROUTES)["paths"]
    keyed = {path for path in paths if "Idempotency-Key" in str(paths[path].get("post"))}
    assert "/runs/wait" in keyed
    assert "/runs/batch" not in keyed


class Loop:
    """An event loop in a thread of its own, for the whole service: the tests of requests are plain functions."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class Fuzzed:
    """A service with some threads and runs, whose ids requests are given."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        graphs = {
            "chain": sequence(one=node("one"), two=node("two")),
            "ask": sequence(ask=ask),
            "fail": sequence(fail=fail),
        }
        self.service = AgentService(App(graphs, MemorySaver()))

    async def open(self) -> None:
        await self.service.__aenter__()
        client = Client(self.service)
        self.known: dict[str, list[str]] = {"thread_id": [], "run_id": [], "checkpoint_id": [], "assistant_id": []}
        for graph in GRAPHS:
            thread = await client.thread(graph, metadata={"graph": graph})
            await client.ran(thread, graph, {})
            (run,) = await client.get(f"/threads/{thread}/runs")
            state = await client.get(f"/threads/{thread}/state")
            found = {"thread_id": thread, "run_id": run["run_id"], "assistant_id": graph}
            for name, value in {**found, "checkpoint_id": state["checkpoint_id"]}.items():
                self.known[name].append(value)

    async def close(self) -> None:
        await self.service.__aexit__(None, None, None)

    async def answer(self, request: httpx.Request) -> httpx.Response:
        """The response of the service."""
        reply = await self.service.reply(
            Request(
                method=request.method,
                path=request.url.raw_path.decode().partition("?")[0],
                query=tuple(request.url.params.multi_items()),
                headers={name.lower(): value for name, value in request.headers.items()},
                body=request.read(),
            )
        )
        body = await _body_of(reply)
        # As an adapter sends it.
        kind = {} if isinstance(reply.body, bytes | Later) else {"Content-Type": "text/event-stream"}
        headers = {**reply.headers, **kind}
        response = httpx.Response(reply.status, headers=headers, content=body, request=request)
        # What checks a response reads it.
        response.elapsed = timedelta(0)
        return response


async def _body_of(reply: Reply) -> bytes:
    if isinstance(reply.body, bytes):
        return reply.body
    if not isinstance(reply.body, Later):
        await reply.body.frames.aclose()
        return b""
    parts = reply.body.parts
    try:
        async with asyncio.timeout(LONGEST_WAIT):
            return b"".join([part async for part in parts])
    except TimeoutError:
        return b"null"
    finally:
        await parts.aclose()


@pytest.fixture(scope="module")
def fuzzed() -> Iterator[Fuzzed]:
    loop = Loop()
    fuzzed = Fuzzed(loop)
    loop.run(fuzzed.open())
    yield fuzzed
    loop.run(fuzzed.close())
    loop.close()


def _with_known(case: Any, known: dict[str, list[str]]) -> None:
    """Give most requests ids of things that exist, which chance does not find."""
    seed = zlib.crc32(repr((case.path_parameters, case.query, case.body)).encode("utf-8", "surrogatepass"))
    parts = [case.path_parameters]
    parts += [each for each in (case.body if isinstance(case.body, list) else [case.body]) if isinstance(each, dict)]
    for number, (part, (name, values)) in enumerate((part, named) for part in parts for named in known.items()):
        is_text = part is not None and isinstance(part.get(name), str)
        if is_text and (seed >> number) % 4:
            part[name] = values[(seed >> number) % len(values)]


# The service draws random numbers in its own thread while a request is made, which Hypothesis takes for its strategies.
@pytest.mark.filterwarnings("ignore:Do not use the `random` module:hypothesis.errors.HypothesisDeprecationWarning")
@schema.parametrize()
@settings(
    max_examples=int(os.environ.get("DURABLE_GRAPH_FUZZ_EXAMPLES", "400")) if IS_LONG else 12,
    deadline=None,
    derandomize=not IS_LONG,
    suppress_health_check=list(HealthCheck),
)
def test_requests_of_the_description_have_documented_replies(case: Any, fuzzed: Fuzzed) -> None:
    _with_known(case, fuzzed.known)
    sent = case.as_transport_kwargs(base_url="http://service")
    request = httpx.Request(
        sent["method"],
        sent["url"],
        headers={name: str(value) for name, value in sent["headers"].items()},
        params=sent.get("params"),
        content=sent.get("data") if isinstance(sent.get("data"), bytes) else None,
        **({"json": sent["json"]} if "json" in sent else {}),
    )
    response = fuzzed.loop.run(fuzzed.answer(request))
    assert response.status_code not in (500, 502, 504)
    if response.status_code >= 400:
        assert response.headers["Content-Type"] == "application/problem+json"
        assert 0 < len(response.json()["detail"]) <= 500
        assert "Traceback" not in response.text
    case.validate_response(
        response, checks=[status_code_conformance, content_type_conformance, response_schema_conformance]
    )
