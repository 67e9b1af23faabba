"""Requests in the forms in which only LangGraph's clients for JavaScript send them."""

import json
from typing import Any

import pytest

from durable_graph import START, MemorySaver
from durable_graph.runs import App
from durable_graph_http import AgentService
from tests.http.client import Client
from tests.http.graphs import STREAMED, input_of
from tests.http.reading import Stream, names, run_path_of, send
from tests.runs.engine.events import Gate, graph_of, tell

NEW = {"assistant_id": "chat", "if_not_exists": "create", "input": input_of("chat")}


async def test_a_run_is_joined_as_use_stream_does() -> None:
    async with AgentService(App({"chat": STREAMED["chat"]()}, MemorySaver())) as service:
        modes = ["messages-tuple", "values", "updates", "custom"]
        first = Stream(await send(service, "POST", "/threads/t/runs/stream", {**NEW, "stream_mode": modes}))
        seen = await first.rest()
        # It asks for no mode, and names the checkpoint that it shows.
        query = {"cancel_on_disconnect": "0", "checkpoint_id": "0000000000000001"}
        path = f"{run_path_of(first.reply)}/stream"
        joined = await Stream(await send(service, "GET", path, query=query, last_event_id="-1")).rest()

    assert joined == seen
    assert set(names(joined)) == {"metadata", "messages", "values", "updates"}


async def test_a_batch_repeats_the_assistant() -> None:
    async with AgentService(App({"chat": STREAMED["chat"]()}, MemorySaver())) as service:
        body = [{"assistantId": "chat", "assistant_id": "chat", "input": input_of("chat")}]
        (run,) = await Client(service).post("/runs/batch", body)
        assert run["status"] in {"pending", "running", "success"}


@pytest.mark.parametrize("spellings", [("multitaskStrategy",), ("multitaskStrategy", "multitask_strategy")])
async def test_a_command_spells_the_strategy_in_two_ways(spellings: tuple[str, ...]) -> None:
    gate = Gate()
    graph = graph_of({"gate": gate.__call__, "z": tell}, (START, "gate"), ("gate", "z"))
    async with AgentService(App({"g": graph}, MemorySaver())) as service:

        async def start(**params: Any) -> dict[str, Any]:
            body = {"id": 1, "method": "run.start", "params": {"assistant_id": "g", "input": {"count": 0}, **params}}
            reply = await send(service, "POST", "/threads/t/commands", body)
            assert isinstance(reply.body, bytes)
            found: dict[str, Any] = json.loads(reply.body)
            return found

        assert (await start())["type"] == "success"
        refused = await start(**dict.fromkeys(spellings, "reject"))
        assert refused["type"] == "error"
        assert "busy" in refused["message"]
        gate.open()
