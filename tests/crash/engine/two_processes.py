"""Two processes on one thread: right before a call that one makes of the store, the other does something of its own."""

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

_TOLD = (
    CheckpointConflictError,
    InterruptAnsweredError,
    NothingToResumeError,
    SimulatedCrashError,
    UnknownInterruptError,
    UnknownThreadError,
)
"""What a process may be told that is not the only one."""

_COPY: dict[str, Any] = {"configurable": {"thread_id": "copy"}}


class Interleaving(msgspec.Struct, frozen=True):
    """Before its call `before` the first process is met by a second, which dies at `point`, if there is one."""

    before: int
    point: CrashPoint | None


class _InterposedSaver(CrashingSaver):
    """Something else happens before one of its calls, unbeknown to whoever makes it."""

    def __init__(self, inner: Checkpointer, before: int, other: Callable[[], Coroutine[Any, Any, None]]) -> None:
        super().__init__(inner)
        self._before = before
        self._other = other
        self._has_come = False

    async def _call(self, name: str, make: Callable[[], Awaitable[T]]) -> T:
        if self.calls + 1 == self._before and not self._has_come:
            self._has_come = True
            # In another process the code knows nothing of the run that makes this call.
            await asyncio.get_running_loop().create_task(self._other(), context=Context())
        return await super()._call(name, make)


# What a process does with the thread


async def begin(graph: Any, mode: Durability) -> Any:
    """Start it, and see it through. The result, or None where somebody else gave the last answer."""
    result = await graph.ainvoke({"log": []}, THREAD, durability=mode)
    return await _through(graph, THREAD, mode, None if "__interrupt__" in result else result)


async def resume(graph: Any, saver: Checkpointer, mode: Durability) -> None:
    """See it through from where it is."""
    await _end(graph, THREAD, mode)


async def edit(graph: Any, saver: Checkpointer, mode: Durability) -> None:
    """Say what "side" came to."""
    await graph.aupdate_state(THREAD, {"log": ["edit"]}, as_node="side")


async def supersede(graph: Any, saver: Checkpointer, mode: Durability) -> None:
    """Come with another input."""
    await graph.ainvoke({"log": ["input"]}, THREAD, durability=mode)


async def copy(graph: Any, saver: Checkpointer, mode: Durability) -> None:
    """Make a second thread of it."""
    await graph.acopy_thread("t", "copy")


async def delete(graph: Any, saver: Checkpointer, mode: Durability) -> None:
    """Remove it."""
    await graph.adelete_thread("t")


async def prune(graph: Any, saver: Checkpointer, mode: Durability) -> None:
    """Remove all of its checkpoints but the last."""
    await saver.prune("t", keep_last=1)


async def _through(graph: Any, config: Any, mode: Durability, result: Any) -> Any:
    while asked := (await graph.aget_state(config)).interrupts:
        answers = {question.id: "yes" for question in asked}
        result = await graph.ainvoke(Command(resume=answers), config, durability=mode)
    return result


async def _end(graph: Any, config: Any, mode: Durability = "sync") -> list[str]:
    """The words that are there once all that was left has run, and all that was asked is answered."""
    while (snapshot := await graph.aget_state(config)).next:
        if not snapshot.interrupts:
            await graph.ainvoke(None, config, durability=mode)
        await _through(graph, config, mode, None)
    words: list[str] = snapshot.values.get("log", [])
    return words


# What becomes of it


async def interleavings(case: GraphCase, mode: Durability, moments: Sequence[Moment]) -> list[Interleaving]:
    """Every call that the first process makes, with every way in which the second lives or dies."""
    counting = CrashingSaver(MemorySaver())
    await begin(case.build().compile(counting), mode)
    numbers = range(1, counting.calls + 1)
    points = [CrashPoint(call, moment) for call in numbers for moment in moments]
    return [Interleaving(before, point) for before in numbers for point in (None, *points)]


async def interleave(case: GraphCase, mode: Durability, interleaving: Interleaving, act: Act) -> list[str]:
    """What the second process broke."""
    builder, store = case.build(), MemorySaver()
    is_done = False

    async def other() -> None:
        nonlocal is_done
        with suppress(*_TOLD):
            saver = CrashingSaver(store, interleaving.point)
            await act(builder.compile(saver), saver, mode)
            is_done = True

    result: Any = None
    with suppress(*_TOLD):
        result = await begin(builder.compile(_InterposedSaver(store, interleaving.before, other)), mode)
    broken = await _broken(builder, store, case, act, is_done=is_done)
    # Answers may have been left to the second process, whose death the first cannot know of. Then the result is no end.
    has_ended = result is not None and "__answered__" not in result
    if has_ended and not set(_own(case, act)) <= set(result["log"]):
        broken.append(f"the first process was told of {result}")
    return broken


def _own(case: GraphCase, act: Act) -> list[str]:
    """The words that stay whatever the second process does."""
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
            broken.append(f"what the second process wrote is there {many} times: {final}")
    elif sorted(final) != sorted(case.words) and (final or act is not delete):
        broken.append(f"the thread ended with {final}")
    if act is copy and is_done and sorted(copied := await _end(graph, _COPY)) != sorted(case.words):
        broken.append(f"the copy ended with {copied}")
    return broken
