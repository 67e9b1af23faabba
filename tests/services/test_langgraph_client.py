"""A session of LangGraph's Python client with a real server of each framework."""

from collections.abc import AsyncIterator

import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import ConflictError, NotFoundError

from tests.services.engine.servers import Server


@pytest.fixture
async def sdk(server: Server) -> AsyncIterator[LangGraphClient]:
    """LangGraph's client."""
    async with get_client(url=server.url) as opened:
        yield opened


async def test_a_session(sdk: LangGraphClient, server: Server) -> None:
    thread = await sdk.threads.create(metadata={"user": "ann", "framework": server.framework})
    thread_id = thread["thread_id"]

    parts = [
        part
        async for part in sdk.runs.stream(
            thread_id, "ticks", input={"ticks": 2}, stream_mode=["custom", "updates", "values"]
        )
    ]

    assert [part.event for part in parts if part.event != "custom"] == [
        "metadata",
        "values",
        *["updates", "values"] * 3,
    ]
    assert [part.data["tick"] for part in parts if part.event == "custom"] == [0, 1] * 3
    state = await sdk.threads.get_state(thread_id)
    assert isinstance(state["values"], dict)
    assert state["values"]["log"] == ["first", "second", "third"]
    found = await sdk.threads.search(metadata={"user": "ann", "framework": server.framework})
    assert [each["thread_id"] for each in found] == [thread_id]


async def test_a_question_is_answered(sdk: LangGraphClient) -> None:
    thread_id = (await sdk.threads.create())["thread_id"]

    asked = await sdk.runs.wait(thread_id, "ask", input={})
    answered = await sdk.runs.wait(thread_id, "ask", command={"resume": "yes"})

    assert isinstance(asked, dict)
    assert isinstance(answered, dict)
    assert asked["__interrupt__"][0]["value"] == "go on?"
    assert answered["log"] == ["yes"]


async def test_a_thread_with_an_odd_name(sdk: LangGraphClient) -> None:
    name = 'ann\'s/Plan %2F "ü"'

    await sdk.runs.wait(name, "ticks", input={"ticks": 0}, if_not_exists="create")

    assert (await sdk.threads.get(name))["thread_id"] == name
    run = (await sdk.runs.list(name))[0]
    joined = [part async for part in sdk.runs.join_stream(name, run["run_id"], last_event_id="-1")]
    assert joined


async def test_refusals_are_raised(sdk: LangGraphClient) -> None:
    await sdk.threads.create(thread_id="twice")

    with pytest.raises(ConflictError):
        await sdk.threads.create(thread_id="twice")
    with pytest.raises(NotFoundError):
        await sdk.threads.get("nobody")
