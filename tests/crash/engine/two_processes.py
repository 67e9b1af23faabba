"""Two processes on one thread: right before a store call of one process, the other process acts."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from contextvars import Context
from typing import Any, TypeVar

import msgspec

from durable_graph import (
    CheckpointConflictError,
    Checkpointer,
    Command,
    Durability,
    InterruptAnsweredError,
    MemorySaver,
    NothingToResumeError,
    StateGraph,
    UnknownInterruptError,
    UnknownThreadError,
)
from durable_graph.testing import CrashingSaver, CrashPoint, SimulatedCrashError
from durable_graph.testing.crash import Moment
from tests.crash.scenarios.order_free_graphs import GraphCase
from tests.graphs import THREAD, State

T = TypeVar("T")

Act = Callable[[Any, Checkpointer, Durability], Awaitable[None]]

_EXPECTED = (
    CheckpointConflictError,
    InterruptAnsweredError,
    NothingToResumeError,
    SimulatedCrashError,
    UnknownInterruptError,
    UnknownThreadError,
)
"""The errors that a process may get because it is not the only one."""

_COPY: dict[str, Any] = {"configurable": {"thread_id": "copy"}}


class Interleaving(msgspec.Struct, frozen=True):
    """Before the call `before` of the first process, a second process acts, and dies at `point`, if one is given."""

    before: int
    point: CrashPoint | None


class _InterposedSaver(CrashingSaver):
    """Runs another process before one of its calls, without the knowledge of the caller."""

    def __init__(self, inner: Checkpointer, before: int, other: Callable[[], Coroutine[Any, Any, None]]) -> None:
        super().__init__(inner)
        self._before = before
        self._other = other
        self._has_come = False

    async def _call(self, name: str, make: Callable[[], Awaitable[T]]) -> T:
        if self.calls + 1 == self._before and not self._has_come:
            self._has_come = True
            # A new context: code in another process knows nothing of the run that makes this call.
            await asyncio.get_running_loop().create_task(self._other(), context=Context())
        return await super()._call(name, make)


# Acts of a process on the thread


async def begin(graph: Any, mode: Durability) -> Any:
    """Start the thread and run it to its end. Returns the result, or None if another process gave the last answer."""
    result = await graph.ainvoke({"log": []}, THREAD, durability=mode)
    return await _through(graph, THREAD, mode, None if "__interrupt__" in result else result)


async def resume(graph: Any, saver: Checkpointer, mode: Durability) -> None:
    """Run the thread to its end from its current state."""
    await _end(graph, THREAD, mode)


async def edit(graph: Any, saver: Checkpointer, mode: Durability) -> None:
    """Write the result of the node "side"."""
    await graph.aupdate_state(THREAD, {"log": ["edit"]}, as_node="side")


async def supersede(graph: Any, saver: Checkpointer, mode: Durability) -> None:
    """Run the thread with another input."""
    await graph.ainvoke({"log": ["input"]}, THREAD, durability=mode)


async def copy(graph: Any, saver: Checkpointer, mode: Durability) -> None:
    """Copy the thread."""
    await graph.acopy_thread("t", "copy")


async def delete(graph: Any, saver: Checkpointer, mode: Durability) -> None:
    """Delete the thread."""
    await graph.adelete_thread("t")


async def prune(graph: Any, saver: Checkpointer, mode: Durability) -> None:
    """Remove all checkpoints but the last."""
    await saver.prune("t", keep_last=1)


async def _through(graph: Any, config: Any, mode: Durability, result: Any) -> Any:
    while asked := (await graph.aget_state(config)).interrupts:
        answers = {question.id: "yes" for question in asked}
        result = await graph.ainvoke(Command(resume=answers), config, durability=mode)
    return result


async def _end(graph: Any, config: Any, mode: Durability = "sync") -> list[str]:
    """Run all remaining work, answer all interrupts, and return the words of the thread."""
    while (snapshot := await graph.aget_state(config)).next:
        if not snapshot.interrupts:
            await graph.ainvoke(None, config, durability=mode)
        await _through(graph, config, mode, None)
    words: list[str] = snapshot.values.get("log", [])
    return words


# Outcomes


async def interleavings(case: GraphCase, mode: Durability, moments: Sequence[Moment]) -> list[Interleaving]:
    """Every call of the first process, with every crash point of the second process, and none."""
    counting = CrashingSaver(MemorySaver())
    await begin(case.build().compile(counting), mode)
    numbers = range(1, counting.calls + 1)
    points = [CrashPoint(call, moment) for call in numbers for moment in moments]
    return [Interleaving(before, point) for before in numbers for point in (None, *points)]


async def interleave(case: GraphCase, mode: Durability, interleaving: Interleaving, act: Act) -> list[str]:
    """The violations that the second process caused."""
    builder, store = case.build(), MemorySaver()
    is_done = False

    async def other() -> None:
        nonlocal is_done
        with suppress(*_EXPECTED):
            saver = CrashingSaver(store, interleaving.point)
            await act(builder.compile(saver), saver, mode)
            is_done = True

    result: Any = None
    with suppress(*_EXPECTED):
        result = await begin(builder.compile(_InterposedSaver(store, interleaving.before, other)), mode)
    broken = await _broken(builder, store, case, act, is_done=is_done)
    # The first process may leave answers to the second, of whose death it cannot know. Then its result is not final.
    has_ended = result is not None and "__answered__" not in result
    if has_ended and not set(_own(case, act)) <= set(result["log"]):
        broken.append(f"the first process returned {result}")
    return broken


def _own(case: GraphCase, act: Act) -> list[str]:
    """The words that remain whatever the second process does."""
    return [word for word in case.words if act is not edit or word != "side"]


async def _broken(
    builder: StateGraph[State], store: Checkpointer, case: GraphCase, act: Act, *, is_done: bool
) -> list[str]:
    graph = builder.compile(store)
    final = await _end(graph, THREAD)
    broken = []
    if act in (edit, supersede):
        many = final.count("edit" if act is edit else "input")
        if many > 1 or (is_done and not many):
            broken.append(f"the write of the second process exists {many} times: {final}")
    elif sorted(final) != sorted(case.words) and (final or act is not delete):
        broken.append(f"the thread ended with {final}")
    if act is copy and is_done and sorted(copied := await _end(graph, _COPY)) != sorted(case.words):
        broken.append(f"the copy ended with {copied}")
    return broken
