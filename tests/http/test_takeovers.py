"""Streams of runs whose worker dies: readers that stay, that reconnect, and that come later get the same frames."""

import asyncio
import json
from contextlib import suppress

import pytest

from durable_graph import Checkpointer
from durable_graph.checkpointing.run_store import KeepsRuns
from durable_graph.runs import App
from durable_graph.testing import CrashingSaver, CrashPoint, SimulatedCrashError
from durable_graph_http import AgentService, Frame
from tests.http.graphs import STREAMED, input_of
from tests.http.reading import ALL_MODES, Stream, replayed, run_path_of, send

pytestmark = pytest.mark.every_store

BODY = {"assistant_id": "g", "if_not_exists": "create", "stream_mode": ALL_MODES, "stream_subgraphs": True}


async def executed(
    saver: Checkpointer, shape: str, run_id: str, point: CrashPoint | None, *, lease: float = 60
) -> CrashingSaver:
    """A worker executes the run, and crashes at a point."""
    crashing = CrashingSaver(saver, point)
    observer = await App({"g": STREAMED[shape]()}, saver).find(run_id)
    with suppress(SimulatedCrashError):
        async with App({"g": STREAMED[shape]()}, crashing).worker(lease=lease, grace=0.1), asyncio.timeout(30):
            while not crashing.crashed and not (await observer.status()).has_ended:  # noqa: ASYNC110  # no event
                await asyncio.sleep(0.002)
    return crashing


@pytest.mark.parametrize("shape", ["chat", "news", "nested_chat"])
async def test_a_takeover_changes_no_frame_for_those_who_reconnect(saver: Checkpointer, shape: str) -> None:
    assert isinstance(saver, KeepsRuns)
    whole = await streamed(saver, shape, "whole", None)
    calls = [number for number, name in enumerate(whole.names, 1) if name in ("append", "commit", "save_writes")]
    points = [CrashPoint(call, "after") for call in calls[:: max(len(calls) // 5, 1)]]
    crashed = [(await streamed(saver, shape, f"{point.call}", point)).crashed for point in points]
    # Events are stored together as they come, so another run may make fewer calls and reach no late point.
    assert sum(crashed) >= 3


async def streamed(saver: Checkpointer, shape: str, thread: str, point: CrashPoint | None) -> CrashingSaver:
    """Stream a run whose worker crashes, and compare what its readers get."""
    service = AgentService(App({"g": STREAMED[shape]()}, saver), worker=False)
    async with service:
        path = f"/threads/{thread}/runs/stream"
        live = Stream(await send(service, "POST", path, {**BODY, "input": input_of(shape)}))
        path = run_path_of(live.reply)
        reading = asyncio.create_task(live.rest())
        crashed = await executed(saver, shape, path.rpartition("/")[2], point)
        before = await frames_so_far(service, path)
        if crashed.crashed:
            saver.runs.lease_skew += 3_600_000_000  # type: ignore[attr-defined]
            await executed(saver, shape, path.rpartition("/")[2], None, lease=0.2)
        frames = await reading
        assert frames[: len(before)] == before
        assert [int(frame.id) for frame in frames] == sorted({int(frame.id) for frame in frames})
        assert await replayed(service, path) == frames
        for number in range(0, len(frames), max(len(frames) // 7, 1)):
            assert await replayed(service, path, frames[number].id) == frames[number + 1 :]
        check_retracted(frames)
        return crashed


async def frames_so_far(service: AgentService, path: str) -> list[Frame]:
    """The frames of a run that may not have ended."""
    query = {"stream_mode": ALL_MODES, "stream_subgraphs": "true"}
    stream = Stream(await send(service, "GET", f"{path}/stream", query=query, last_event_id="-1"))
    found: list[Frame] = []
    with suppress(TimeoutError, StopAsyncIteration):
        while True:
            async with asyncio.timeout(0.3):
                found.append(await anext(stream.frames))
    await stream.frames.aclose()
    return found


def check_retracted(frames: list[Frame]) -> None:
    """What is not void is what the run came to in the end: each node's custom data, in its order."""
    valid: list[tuple[str, int]] = []
    for frame in frames:
        if frame.event != "events":
            continue
        event = json.loads(frame.data)
        if event["type"] == "events_retracted":
            valid = [each for each in valid if each[0] != event["task_id"]]
        elif event["type"] == "custom":
            valid.append((event["task_id"], event["data"]["progress"]))
    by_task: dict[str, list[int]] = {}
    for task, number in valid:
        by_task.setdefault(task, []).append(number)
    assert all(numbers == [0, 1, 2] for numbers in by_task.values())
