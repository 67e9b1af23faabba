"""One attempt at one task: call the node, read what it returned, let its routers choose."""

import asyncio
import contextvars
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import anyio
import anyio.to_thread

from durable_graph._engine.state import State
from durable_graph._engine.task import Done, Failed, Identity, Outcome, RoutingOpen, Task, Write, task_id
from durable_graph._runtime import log
from durable_graph._runtime.cancellation import finish
from durable_graph._runtime.context import ExecutionInfo, Runtime
from durable_graph._runtime.routing import choose, routers_of
from durable_graph._runtime.run import Run
from durable_graph._runtime.writing import node_writes
from durable_graph.errors import NodeCancelledError
from durable_graph.graph import START, Node, Topology
from durable_graph.records import checkpoint_id


@dataclass(frozen=True, slots=True)
class Setting:
    """What every attempt of a superstep shares. `max_value_bytes` is None where nothing is stored, nor encoded."""

    topology: Topology
    identity: Identity | None
    run: Run
    max_value_bytes: int | None


@dataclass(frozen=True, slots=True)
class Attempted:
    """What an attempt came to. `error` is to be raised once the outcome is recorded.

    It is a cancellation where a plain function finished in its thread after its superstep was cancelled.
    """

    outcome: Outcome
    error: BaseException | None = None


def attempt_number(previous: Outcome | None) -> int:
    """Which attempt comes now. Routers that choose again belong to the attempt that their node succeeded in."""
    if previous is None:
        return 1
    return previous.attempt + 1 if isinstance(previous, Failed) else previous.attempt


async def attempt(setting: Setting, state: State, task: Task, previous: Outcome | None) -> Attempted:
    """Run the task, or only its routers if its node is done already. Only a cancellation is raised."""
    number = attempt_number(previous)
    if isinstance(previous, RoutingOpen):
        return await _choose(setting, state, task, number, previous.writes)
    if task.node == START:
        return await _choose(setting, state, task, number, ())
    node = setting.topology.nodes[task.node]
    try:
        result, cancelled = await _call(setting, state, task, node, number)
        writes = node_writes(setting.topology, node, result, setting.max_value_bytes)
    except asyncio.CancelledError as error:
        if _is_being_cancelled():
            raise
        failure = own_cancellation(task, error)
        return Attempted(Failed(task, number, shown(failure)), failure)
    except Exception as error:
        return Attempted(Failed(task, number, shown(error)), error)
    if cancelled is not None:
        return Attempted(_unrouted(node, task, number, writes), cancelled)
    return await _choose(setting, state, task, number, writes)


def _unrouted(node: Node, task: Task, number: int, writes: tuple[Write, ...]) -> Outcome:
    if node.routers:
        return RoutingOpen(task, number, writes, "cancelled before its routers ran")
    return Done(task, number, writes, ())


# Calling the node


async def _call(
    setting: Setting, state: State, task: Task, node: Node, number: int
) -> tuple[Any, asyncio.CancelledError | None]:
    given = node.input.read(state.values) if task.argument is None else task.argument.value
    extra = _injected(setting, state, task, number, node.injected)
    if node.is_async:
        return await node.action(given, **extra), None
    result, cancelled = await _in_thread(partial(node.action, given, **extra), setting.run.grace)
    if inspect.isawaitable(result):
        # A plain function that hands back a coroutine, such as a lambda around an async one.
        if cancelled is not None:
            if inspect.iscoroutine(result):
                result.close()
            raise cancelled
        result = await result
    return result, cancelled


def _injected(setting: Setting, state: State, task: Task, number: int, wanted: tuple[str, ...]) -> dict[str, Any]:
    if not wanted:
        return {}
    info = ExecutionInfo(
        thread_id=setting.run.thread_id,
        checkpoint_id=checkpoint_id(state.no) if setting.identity and state.no else None,
        checkpoint_ns="",
        task_id=task_id(setting.identity or Identity("", 0), task),
        node=task.node,
        step=state.step + 1,
        node_attempt=number,
    )
    available = {"runtime": Runtime(info), "config": setting.run.config}
    return {name: available[name] for name in wanted}


async def _in_thread(call: Callable[[], Any], grace: float) -> tuple[Any, asyncio.CancelledError | None]:
    """What a plain function returns from a worker thread, which nothing can stop: a cancellation waits for it.

    What it came to within the grace period counts, and comes with the cancellation that is to be raised afterwards.
    One that still waits for a free thread is not begun any more.
    """
    context = contextvars.copy_context()
    threads = anyio.to_thread.current_default_thread_limiter()
    mine = object()
    # Waited for here, where a cancellation ends the waiting: handed to anyio's own call, it would begin all the same.
    await threads.acquire_on_behalf_of(mine)
    running = asyncio.ensure_future(anyio.to_thread.run_sync(context.run, call, limiter=anyio.CapacityLimiter(1)))
    running.add_done_callback(lambda _: threads.release_on_behalf_of(mine))
    try:
        return await finish(_settled(running), grace), None
    except asyncio.CancelledError as cancelled:
        if running.done() and not running.cancelled():
            return running.result(), cancelled
        log.grace_is_over("a plain function in its thread", grace)
        raise


async def _settled(running: "asyncio.Future[Any]") -> Any:
    return await running


# Routing


async def _choose(setting: Setting, state: State, task: Task, number: int, writes: tuple[Write, ...]) -> Attempted:
    if not routers_of(setting.topology, task):
        return Attempted(Done(task, number, writes, ()))
    try:
        routes = await choose(setting.topology, state, task, writes, setting.max_value_bytes)
    except asyncio.CancelledError as error:
        if _is_being_cancelled():
            return Attempted(RoutingOpen(task, number, writes, "cancelled while its routers ran"), error)
        failure = own_cancellation(task, error)
        return Attempted(RoutingOpen(task, number, writes, shown(failure)), failure)
    except Exception as error:
        return Attempted(RoutingOpen(task, number, writes, shown(error)), error)
    return Attempted(Done(task, number, writes, routes))


def own_cancellation(task: Task, error: asyncio.CancelledError) -> NodeCancelledError:
    """To let out a cancellation that nobody asked for would look like one of the whole run."""
    failure = NodeCancelledError(task.node)
    failure.__cause__ = error
    return failure


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def shown(error: BaseException) -> str:
    """An error as text, for a record."""
    return f"{type(error).__name__}: {error}"
