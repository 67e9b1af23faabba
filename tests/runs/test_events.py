"""The events of a run: live and later, results before their superstep has ended, events of nodes, crashes."""

import asyncio
from contextlib import suppress
from typing import Any, Literal

import pytest

from durable_graph import (
    START,
    Checkpointer,
    Command,
    CustomEvent,
    Durability,
    EventsRetracted,
    LoggedEvent,
    MessageEvent,
    Runtime,
    Send,
    StateGraph,
    StreamOverflowError,
    TaskFailed,
    TaskFinished,
    entrypoint,
    push_message,
    task,
)
from durable_graph._runtime.events import run_log
from durable_graph.checkpointing.event_log import FIRST_ROW, KeepsEvents
from durable_graph.checkpointing.run_store import KeepsRuns
from durable_graph.errors import RunFailedError, StoreUnavailableError
from durable_graph.runs import App, RunHandle
from durable_graph.testing import CrashingSaver, CrashPoint, SimulatedCrashError
from durable_graph.testing.crash import MOMENTS
from tests.runs.engine.events import (
    SHAPES,
    Gate,
    Graph,
    Reader,
    State,
    ask_after_news,
    find_sent,
    finished,
    followed,
    gated_fan,
    graph_of,
    news,
    of_kind,
    replayed,
    result_of,
    results_in,
    retries,
    tell,
)

pytestmark = pytest.mark.every_store


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape != "breakpoints"])
async def test_live_and_later_followers_get_the_same_events(
    saver: Checkpointer, durability: Durability, shape: str
) -> None:
    app = App({"g": SHAPES[shape]()}, saver)
    handle = await app.start("g", {"count": 0}, events="all", durability=durability)
    async with followed(handle) as live, app.worker():
        await finished(app, handle)
    ids = [event.id for event in live]
    assert ids == sorted(set(ids))
    assert ids[-1] < 1 << 53
    results = [each.event.task_id for each in live if isinstance(each.event, TaskFinished)]
    assert len(results) == len(set(results))
    assert await replayed(handle) == live
    other = await App({"g": SHAPES[shape]()}, saver).find(handle.run_id)
    for number, id_ in enumerate(ids):
        assert await replayed(other, after=id_) == live[number + 1 :]


async def test_long_runs_are_read_page_by_page(saver: Checkpointer) -> None:
    async def choose(state: State) -> Command[Literal["tell", "sent"]]:
        if state["count"] < 80:
            return Command(goto="tell")
        return Command(goto=[Send("sent", {"count": number}) for number in range(80)])

    builder: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    for name, node in (("tell", tell), ("choose", choose), ("sent", find_sent)):
        builder.add_node(name, node)
    builder.add_edge(START, "choose")
    builder.add_edge("tell", "choose")
    app = App({"g": builder.compile()}, saver)
    handle = await app.start("g", {"count": 0}, events="all", recursion_limit=1000)
    async with followed(handle) as live, app.worker():
        await finished(app, handle)
    assert results_in(live) == [*["choose", "tell"] * 80, "choose", *["sent"] * 80]
    assert [each.data["progress"] for each in of_kind(CustomEvent, live)] == [0, 1, 2] * 80
    assert await replayed(handle) == live
    for number in range(0, len(live), 97):
        assert await replayed(handle, after=live[number].id) == live[number + 1 :]


# Results before their superstep has ended


async def test_a_result_is_followed_while_a_sibling_is_in_progress(saver: Checkpointer) -> None:
    gate = Gate()
    app = App({"g": gated_fan(gate)}, saver)
    handle = await app.start("g", {}, events="all")
    reader = Reader(handle)
    async with app.worker():
        assert await reader.until(result_of("one"))
        await reader.until(result_of("two"))
        assert (await handle.status()).state == "running"
        gate.open()
        events = await reader.rest()
    assert sorted(results_in(events)) == ["gated", "one", "two"]
    assert await replayed(handle) == events


async def test_the_first_follower_gets_the_results_that_are_recorded_already(saver: Checkpointer) -> None:
    gate = Gate()
    app = App({"g": gated_fan(gate)}, saver)
    handle = await app.start("g", {})
    async with app.worker():
        await recorded(app, handle, 2)
        reader = Reader(handle)
        for _ in range(2):
            await reader.until(lambda event: isinstance(event, TaskFinished))
        assert sorted(results_in(reader.seen)) == ["one", "two"]
        gate.open()
        events = await reader.rest()
    assert sorted(results_in(events)) == ["gated", "one", "two"]
    assert await replayed(handle) == events


async def recorded(app: App, handle: RunHandle, results: int) -> None:
    """Wait until this many results of the present superstep are recorded."""
    async with asyncio.timeout(20):
        while True:
            snapshot = await app.graph("g").aget_state({"configurable": {"thread_id": handle.thread_id}})
            if sum(each.result is not None for each in snapshot.tasks) == results:
                return
            await asyncio.sleep(0.005)


async def test_a_result_inside_a_nested_graph_is_followed_while_its_sibling_is_in_progress(
    saver: Checkpointer,
) -> None:
    gate = Gate()
    app = App({"g": graph_of({"inner": gated_fan(gate)}, (START, "inner"))}, saver)
    handle = await app.start("g", {}, events="all")
    reader = Reader(handle)
    async with app.worker():
        event = await reader.until(result_of("one"))
        assert event.ns[0].startswith("inner:")
        gate.open()
        events = await reader.rest()
    assert sorted(results_in(events)) == ["gated", "inner", "one", "two"]


async def test_the_result_of_a_task_call_is_followed_while_others_are_in_progress(saver: Checkpointer) -> None:
    opened = asyncio.Event()

    @task
    async def double(number: int) -> int:
        if number:
            await opened.wait()
        return 2 * number + 1

    @entrypoint(name="g")
    async def doubles(given: State) -> list[int]:
        return list(await asyncio.gather(*(double(number) for number in range(2))))

    app = App({"g": doubles}, saver)
    handle = await app.start("g", {}, events="all")
    reader = Reader(handle)
    async with app.worker():
        event = await reader.until(result_of("double"))
        assert isinstance(event, TaskFinished)
        assert event.update == 1
        opened.set()
        events = await reader.rest()
    assert results_in(events) == ["double", "double", "g"]


# Events of nodes


async def test_custom_events_arrive_while_their_node_is_in_progress(saver: Checkpointer) -> None:
    opened = asyncio.Event()

    async def work(state: State, runtime: Runtime[Any]) -> State:
        runtime.stream_writer({"done": 1})
        await opened.wait()
        runtime.stream_writer({"done": 2})
        return {"count": 1}

    app = App({"g": graph_of({"work": work}, (START, "work"))}, saver)
    handle = await app.start("g", {}, events="all")
    reader = Reader(handle)
    async with app.worker():
        await reader.until(lambda event: isinstance(event, CustomEvent))
        assert (await handle.status()).state == "running"
        opened.set()
        events = await reader.rest()
    assert [each.data for each in of_kind(CustomEvent, events)] == [{"done": 1}, {"done": 2}]
    kinds = [type(each.event) for each in events]
    assert kinds.index(TaskFinished) > kinds.index(CustomEvent)


async def test_custom_events_before_the_first_follower_are_not_kept_unless_all_are(saver: Checkpointer) -> None:
    app = App({"g": news()}, saver)
    handle, other = await app.start("g", {}), await app.start("g", {}, events="all")
    async with app.worker():
        await handle.result(20)
        await other.result(20)
    assert of_kind(CustomEvent, await replayed(handle)) == []
    assert [each.data["progress"] for each in of_kind(CustomEvent, await replayed(other))] == [0, 1, 2, 0, 1, 2]


async def test_a_plain_function_in_its_thread_emits_events_in_their_order(saver: Checkpointer) -> None:
    def work(state: State, runtime: Runtime[Any]) -> State:
        for number in range(100):
            runtime.stream_writer(number)
        return {"count": 1}

    app = App({"g": graph_of({"work": work}, (START, "work"))}, saver)
    handle = await app.start("g", {}, events="all")
    async with app.worker():
        await handle.result(20)
    assert [each.data for each in of_kind(CustomEvent, await replayed(handle))] == list(range(100))


async def test_a_node_that_never_waits_is_refused_more_events_than_may_be_pending(
    saver: Checkpointer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(saver, KeepsEvents)
    opened, append = asyncio.Event(), saver.events.append

    async def slow_append(*given: Any) -> bool:
        await opened.wait()
        return await append(*given)

    monkeypatch.setattr(run_log, "MOST_PENDING", 500)
    monkeypatch.setattr(saver.events, "append", slow_append)
    written: list[int] = []

    async def talk(state: State, runtime: Runtime[Any]) -> State:
        try:
            for number in range(5000):
                runtime.stream_writer(number)
                written.append(number)
        except StreamOverflowError:
            opened.set()
        return {"count": 1}

    app = App({"g": graph_of({"talk": talk}, (START, "talk"))}, saver)
    handle = await app.start("g", {}, events="all")
    async with app.worker():
        await handle.result(20)
    assert 500 <= len(written) < 5000
    assert [each.data for each in of_kind(CustomEvent, await replayed(handle))] == written


async def test_a_node_ends_whose_events_the_store_no_longer_takes(
    saver: Checkpointer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(saver, KeepsEvents)
    append, is_refused = saver.events.append, [True]

    async def refused_once(*given: Any) -> bool:
        if is_refused:
            is_refused.pop()
            raise StoreUnavailableError("the store", "it is away")
        return await append(*given)

    monkeypatch.setattr(run_log, "MOST_PENDING", 5)
    monkeypatch.setattr(saver.events, "append", refused_once)

    def talk(state: State, runtime: Runtime[Any]) -> State:
        for number in range(20):
            runtime.stream_writer(number)
        return {"count": 1}

    app = App({"g": graph_of({"talk": talk}, (START, "talk"))}, saver)
    handle = await app.start("g", {}, events="all")
    async with app.worker():
        assert await handle.result(20) == {"count": 1, "found": []}
    assert (await handle.status()).attempt == 2
    assert [each.data for each in of_kind(CustomEvent, await replayed(handle))] == list(range(20))


async def test_a_superstep_with_more_events_than_ids_fails(
    saver: Checkpointer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Three events in each of two supersteps are few enough.
    monkeypatch.setattr(run_log, "POSITIONS", FIRST_ROW + 5)
    app = App({"g": news()}, saver)
    handle = await app.start("g", {}, events="all")
    async with app.worker():
        await handle.result(20)

    async def talk(state: State, runtime: Runtime[Any]) -> State:
        for number in range(6):
            runtime.stream_writer(number)
        return {"count": 1}

    app = App({"g": graph_of({"talk": talk}, (START, "talk"))}, saver)
    handle = await app.start("g", {}, events="all")
    async with app.worker():
        with pytest.raises(RunFailedError, match="at most 5 events in the event log"):
            await handle.result(20)


async def test_data_that_cannot_be_stored_becomes_a_text_and_does_not_fail_the_node(saver: Checkpointer) -> None:
    async def work(state: State, runtime: Runtime[Any]) -> State:
        runtime.stream_writer(asyncio.Lock())
        return {"count": 1}

    app = App({"g": graph_of({"work": work}, (START, "work"))}, saver)
    handle = await app.start("g", {}, events="all")
    async with app.worker():
        assert await handle.result(20) == {"count": 1, "found": []}
    (event,) = of_kind(CustomEvent, await replayed(handle))
    assert event.data.startswith("<Lock, which is not stored: ")


async def test_pushed_messages_are_events_with_their_metadata(saver: Checkpointer) -> None:
    async def work(state: State) -> State:
        push_message({"role": "assistant", "content": "hello", "id": "m1"})
        return {"count": 1}

    builder: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    builder.add_node("work", work, metadata={"model": "small"})
    builder.add_edge(START, "work")
    app = App({"g": builder.compile()}, saver)
    handle = await app.start("g", {}, events="all")
    async with app.worker():
        await handle.result(20)
    (event,) = of_kind(MessageEvent, await replayed(handle))
    assert (event.message["content"], event.origin, event.node) == ("hello", "pushed", "work")
    assert event.metadata["model"] == "small"


async def test_a_second_attempt_voids_the_events_of_the_first(saver: Checkpointer) -> None:
    app = App({"g": retries()}, saver)
    handle = await app.start("g", {}, events="all")
    async with app.worker():
        await handle.result(20)
    events = await replayed(handle)
    told = [type(each.event) for each in events if isinstance(each.event, CustomEvent | EventsRetracted | TaskFailed)]
    assert told == [CustomEvent, TaskFailed, EventsRetracted, CustomEvent]
    failed, retracted = of_kind(TaskFailed, events)[0], of_kind(EventsRetracted, events)[0]
    assert (failed.will_retry, retracted.task_id) == (True, failed.task_id)


async def test_an_answered_task_runs_again_and_voids_its_events_but_no_others(saver: Checkpointer) -> None:
    nodes = {"q": ask_after_news, "news": tell}
    app = App({"g": graph_of(nodes, (START, "q"), (START, "news"))}, saver)
    handle = await app.start("g", {}, events="all")
    async with app.worker():
        await finished(app, handle)
    events = await replayed(handle)
    (retracted,) = of_kind(EventsRetracted, events)
    assert retracted.node == "q"
    assert [each.node for each in of_kind(CustomEvent, events)].count("news") == 3


# Crashes


def fan_of_news() -> Graph:
    nodes = {"a": tell_of_it, "one": tell_of_it, "two": tell_of_it, "q": ask_after_news}
    return graph_of(nodes, (START, "a"), ("a", "one"), ("a", "two"), ("one", "q"), ("two", "q"))


async def tell_of_it(state: State, runtime: Runtime[Any]) -> State:
    runtime.stream_writer("news")
    await asyncio.sleep(0)
    return {"found": [1]}


async def crashed_at(saver: Checkpointer, key: str, point: CrashPoint | None) -> CrashingSaver:
    """A process that starts and executes a run, and crashes at a point."""
    crashing = CrashingSaver(saver, point)
    app, observer = App({"g": fan_of_news()}, crashing), App({"g": fan_of_news()}, saver)
    with suppress(SimulatedCrashError):
        run_id = (await app.start("g", {}, key=key, events="all")).run_id
        handle = await observer.find(run_id)
        async with app.worker(lease=60, grace=0.1), asyncio.timeout(20):
            for state in ("waiting", "done"):
                # No call of the crashing saver, so that the crash points stay where they are.
                while not crashing.crashed and (await handle.status()).state != state:  # noqa: ASYNC110
                    await asyncio.sleep(0.002)
                if state == "waiting":
                    await app.answer(handle.thread_id, "yes")
    return crashing


async def test_a_crash_at_any_call_of_the_store_loses_no_event_and_gives_none_twice(saver: Checkpointer) -> None:
    assert isinstance(saver, KeepsRuns)
    whole = await crashed_at(saver, "whole", None)
    expected = valid_events(await replayed(await App({"g": fan_of_news()}, saver).start("g", {}, key="whole")))
    assert [name for name in whole.names if name in ("append", "open_events")]
    calls = [number for number, name in enumerate(whole.names, 1) if name in ("append", "commit", "save_writes")]
    for point in (CrashPoint(call, moment) for call in calls for moment in MOMENTS):
        key = f"{point}"
        await crashed_at(saver, key, point)
        saver.runs.lease_skew += 3_600_000_000
        app = App({"g": fan_of_news()}, saver)
        handle = await app.start("g", {}, key=key, events="all")
        async with app.worker(lease=0.2):
            await finished(app, handle)
        events = await replayed(handle)
        assert [event.id for event in events] == sorted({event.id for event in events})
        assert valid_events(events) == expected, point


def valid_events(events: list[LoggedEvent]) -> list[tuple[str, str]]:
    """The custom events that are not void and the results, by node."""
    valid: list[tuple[str, str]] = []
    for each in events:
        match each.event:
            case CustomEvent(node=node):
                valid.append((node, "news"))
            case TaskFinished(node=node):
                valid.append((node, "result"))
            case EventsRetracted(node=node):
                valid = [found for found in valid if found != (node, "news")]
            case _:
                pass
    return sorted(valid)
