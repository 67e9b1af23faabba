"""Calling user code: in the loop or in a worker thread, and within its timeouts."""

import asyncio
import contextvars
import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

import anyio
import anyio.to_thread
import msgspec

from durable_graph._engine.task import Limits, Task
from durable_graph._runtime.request import log
from durable_graph._runtime.request.cancellation import finish
from durable_graph._runtime.task.run_context import TaskContext
from durable_graph.errors import NodeTimeoutError
from durable_graph.graph import Node
from durable_graph.graph.policies import TimeoutPolicy


class Returned(msgspec.Struct, frozen=True):
    """A function's result. `cancelled` is a cancellation that arrived while a worker thread still ran the function."""

    result: Any
    cancelled: asyncio.CancelledError | None = None


async def invoke(
    context: TaskContext, call: Callable[[], Any], is_async: bool, policy: TimeoutPolicy | None
) -> Returned:
    """The result of `call`, awaited. Raises `NodeTimeoutError` if it takes longer than its policy allows."""
    if is_async:
        if policy is None:
            return Returned(await call())
        return Returned(await _timed(context, call, policy))
    result, cancelled = await _in_thread(call, context.run.request.grace)
    if inspect.isawaitable(result):
        # A plain function that returns a coroutine, such as a lambda around an async function.
        if cancelled is not None:
            if inspect.iscoroutine(result):
                result.close()
            raise cancelled
        result = await result
    return Returned(result, cancelled)


async def _timed(context: TaskContext, call: Callable[[], Awaitable[Any]], policy: TimeoutPolicy) -> Any:
    loop = asyncio.get_running_loop()
    started = loop.time()
    run = asyncio.timeout(policy.run_timeout)
    idle = asyncio.timeout(policy.idle_timeout)
    context.loop, context.idle, context.idle_seconds = loop, idle, policy.idle_timeout
    context.only_heartbeats = policy.refresh_on == "heartbeat"
    try:
        async with run, idle:
            result = await call()
    except TimeoutError as error:
        if not (run.expired() or idle.expired()):
            raise
        raise _timeout_error(context, policy, loop.time() - started, is_idle=idle.expired()) from error
    finally:
        context.idle = None
    if run.expired() or idle.expired():
        # It caught its cancellation and returned all the same: too late is too late.
        raise _timeout_error(context, policy, loop.time() - started, is_idle=idle.expired())
    return result


def _timeout_error(context: TaskContext, policy: TimeoutPolicy, elapsed: float, *, is_idle: bool) -> NodeTimeoutError:
    limit = policy.idle_timeout if is_idle else policy.run_timeout
    return NodeTimeoutError(context.node, elapsed, kind="idle" if is_idle else "run", limit=limit or 0.0)


async def _in_thread(call: Callable[[], Any], grace: float) -> tuple[Any, asyncio.CancelledError | None]:
    """The result of a plain function in a worker thread, which cannot be stopped: a cancellation waits for it.

    A result within the grace period counts, and is returned with the cancellation that is to be raised afterwards.
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


def given_to(context: TaskContext, task: Task, node: Node) -> Any:
    """The input of the node."""
    if task.argument is not None:
        return task.argument.value
    given = node.input.read(context.state.values, context.run.place(context.state))
    if node.subgraph is None or node.subgraph.topology.input.is_single:
        return given
    return _shared(given, node.subgraph.topology.input.keys)


def _shared(given: Any, keys: Iterable[str]) -> Any:
    """The input of a node that is a graph: those of its own keys that the outer state has."""
    if isinstance(given, Mapping):
        return {key: given[key] for key in keys if key in given}
    return {key: getattr(given, key) for key in keys if hasattr(given, key)}


def timeout_of(limits: Limits) -> TimeoutPolicy:
    """The limits that a `Send` gave its task, which take the place of the node's."""
    return TimeoutPolicy(
        run_timeout=limits.run,
        idle_timeout=limits.idle,
        refresh_on="heartbeat" if limits.only_heartbeats else "auto",
    )
