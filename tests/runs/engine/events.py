"""Graphs whose events are followed, and followers."""

import asyncio
import itertools
import operator
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal, TypedDict

from durable_graph import (
    START,
    Command,
    CompiledGraph,
    Event,
    LoggedEvent,
    RetryPolicy,
    Runtime,
    Send,
    StateGraph,
    TaskFinished,
    entrypoint,
    interrupt,
    task,
)
from durable_graph.runs import App, RunHandle

Graph = CompiledGraph[Any, Any, Any, Any]


class State(TypedDict, total=False):
    count: int
    found: Annotated[list[int], operator.add]
    answer: str


def graph_of(nodes: Mapping[str, Any], *edges: tuple[str, str], **compiled: Any) -> Graph:
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    for name, node in nodes.items():
        builder.add_node(name, node)
    for before, after in edges:
        builder.add_edge(before, after)
    return builder.compile(**compiled)


async def add(state: State) -> State:
    return {"count": state.get("count", 0) + 1}


async def find_one(state: State) -> State:
    return {"found": [1]}


async def find_two(state: State) -> State:
    await asyncio.sleep(0)
    return {"found": [2]}


async def tell(state: State, runtime: Runtime[Any]) -> State:
    for number in range(3):
        runtime.stream_writer({"progress": number})
    return {"count": state.get("count", 0) + 1}


async def ask(state: State) -> State:
    return {"answer": interrupt("ok?")}


async def ask_after_news(state: State, runtime: Runtime[Any]) -> State:
    runtime.stream_writer("before the question")
    return {"answer": interrupt("ok?")}


async def find_sent(state: State) -> State:
    return {"found": [state["count"]]}


def chain() -> Graph:
    return graph_of({"a": add, "b": add, "c": add}, (START, "a"), ("a", "b"), ("b", "c"))


def fan_out() -> Graph:
    nodes = {"a": add, "one": find_one, "two": find_two, "z": add}
    return graph_of(nodes, (START, "a"), ("a", "one"), ("a", "two"), ("one", "z"), ("two", "z"))


def news() -> Graph:
    return graph_of({"a": tell, "b": tell}, (START, "a"), ("a", "b"))


def question() -> Graph:
    return graph_of({"a": add, "q": ask_after_news, "z": add}, (START, "a"), ("a", "q"), ("q", "z"))


def question_beside_work() -> Graph:
    return graph_of({"a": add, "q": ask, "one": find_one, "z": add}, (START, "a"), ("a", "q"), ("a", "one"), ("q", "z"))


def nested() -> Graph:
    return graph_of({"a": add, "inner": fan_out(), "z": tell}, (START, "a"), ("a", "inner"), ("inner", "z"))


def nested_question() -> Graph:
    return graph_of({"a": add, "inner": question(), "z": add}, (START, "a"), ("a", "inner"), ("inner", "z"))


def nested_beside_work() -> Graph:
    nodes = {"a": add, "inner": news(), "one": find_one}
    return graph_of(nodes, (START, "a"), ("a", "inner"), ("a", "one"))


def sends() -> Graph:
    async def choose(state: State) -> Command[Literal["sent"]]:
        return Command(goto=[Send("sent", {"count": number}) for number in range(5)])

    return graph_of({"choose": choose, "sent": find_sent}, (START, "choose"))


def retries() -> Graph:
    tries = itertools.count()

    async def fail_once(state: State, runtime: Runtime[Any]) -> State:
        runtime.stream_writer("a try")
        if next(tries) == 0:
            raise ConnectionError("not now")
        return {"count": 1}

    builder: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    builder.add_node("fails", fail_once, retry_policy=RetryPolicy(initial_interval=0.001, jitter=False))
    builder.add_node("z", add)
    builder.add_edge(START, "fails")
    builder.add_edge("fails", "z")
    return builder.compile()


def breakpoints() -> Graph:
    return graph_of({"a": add, "b": add}, (START, "a"), ("a", "b"), interrupt_before=["b"])


def workflow() -> Graph:
    @task
    async def double(number: int) -> int:
        return 2 * number

    @entrypoint(name="g")
    async def doubles(given: State) -> list[int]:
        return list(await asyncio.gather(*(double(number) for number in range(3))))

    return doubles


SHAPES = {
    made.__name__: made
    for made in (
        chain,
        fan_out,
        news,
        question,
        question_beside_work,
        nested,
        nested_question,
        nested_beside_work,
        sends,
        retries,
        breakpoints,
        workflow,
    )
}


async def finished(app: App, handle: RunHandle) -> None:
    """The run at its end: its questions are answered, and it is resumed after its breakpoints."""
    async with asyncio.timeout(30):
        while not (status := await handle.status()).has_ended:
            if status.state == "waiting":
                await app.answer(handle.thread_id, "yes")
            await asyncio.sleep(0.005)


async def replayed(handle: RunHandle, after: int | None = None) -> list[LoggedEvent]:
    """The events of a run that has ended, or that have been stored so far."""
    async with asyncio.timeout(30):
        return [event async for event in handle.events(after=after)]


async def waiting(handle: RunHandle) -> None:
    async with asyncio.timeout(20):
        while (await handle.status()).state != "waiting":  # noqa: ASYNC110  # the store has no event
            await asyncio.sleep(0.005)


@asynccontextmanager
async def followed(handle: RunHandle) -> AsyncIterator[list[LoggedEvent]]:
    """The events of a run that is about to begin; all of them once the block has ended."""
    seen: list[LoggedEvent] = []

    async def follow() -> None:
        seen.extend([event async for event in handle.events()])

    async with asyncio.timeout(40), asyncio.TaskGroup() as group:
        group.create_task(follow())
        yield seen


class Gate:
    """A node that waits until the test opens the gate."""

    def __init__(self) -> None:
        self._open = asyncio.Event()

    def open(self) -> None:
        self._open.set()

    async def __call__(self, state: State) -> State:
        await self._open.wait()
        return {"found": [0]}


def gated_fan(gate: Gate) -> Graph:
    nodes = {"one": find_one, "two": find_two, "gated": gate.__call__}
    return graph_of(nodes, *((START, name) for name in nodes))


class Reader:
    """Reads the events of a run one by one."""

    def __init__(self, handle: RunHandle, after: int | None = None) -> None:
        self._events = handle.events(after=after)
        self.seen: list[LoggedEvent] = []

    async def until(self, holds: Callable[[Event], bool]) -> Event:
        """The next event for which this holds."""
        async with asyncio.timeout(20):
            async for logged in self._events:
                self.seen.append(logged)
                if holds(logged.event):
                    return logged.event
        message = "the run has ended without such an event"
        raise AssertionError(message)

    async def rest(self) -> list[LoggedEvent]:
        """All events of the run, once it has ended."""
        async with asyncio.timeout(20):
            self.seen.extend([logged async for logged in self._events])
        return self.seen


def result_of(node: str) -> Callable[[Event], bool]:
    return lambda event: isinstance(event, TaskFinished) and event.node == node


def results_in(events: list[LoggedEvent]) -> list[str]:
    return [each.event.node for each in events if isinstance(each.event, TaskFinished)]


def of_kind(kind: type[Event], events: list[LoggedEvent]) -> list[Any]:
    return [each.event for each in events if isinstance(each.event, kind)]
