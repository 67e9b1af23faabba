"""Calling user code: in the loop or in a worker thread, and within its timeouts."""

import asyncio
import contextvars
import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import Any, TypeVar

import anyio
import anyio.to_thread
import msgspec

from durable_graph._engine.task import Limits, Task
from durable_graph._runtime.request import log
from durable_graph._runtime.request.cancellation import finish
from durable_graph._runtime.task.lengths import PrivateLengths
from durable_graph._runtime.task.run_context import TaskContext
from durable_graph.channels import selected
from durable_graph.errors import NodeExitedError, NodeTimeoutError
from durable_graph.graph import Node
from durable_graph.graph.executors import ExecutorOption
from durable_graph.graph.policies import TimeoutPolicy
from durable_graph.graph.topology import Handler

T = TypeVar("T")

Begin = Callable[[TaskContext, Callable[[], Any]], Awaitable[Any]]
"""Calls a function, and gives an awaitable of its result."""


def begin_with(policy: TimeoutPolicy | None, *, is_async: bool, remote: Begin | None = None) -> Begin:
    """How a function of this kind is called. Plain functions have no timeouts, unless they run on an executor: they
    cannot be stopped."""
    if remote is not None:
        return remote if policy is None else _timed(remote, policy)
    if not is_async:
        return _begin_in_thread
    return _begin_async if policy is None else _timed(_begin_async, policy)


def begin_on(executor: ExecutorOption, function: Callable[..., Any]) -> Begin:
    """How a function is called that runs on an executor: it begins with the result of `arguments_of`."""
    # Imported here, because most programs have no executor.
    from durable_graph._runtime.task.executors import RemoteFunction

    return RemoteFunction(function, executor).begin


def arguments_of(*args: object, **kwargs: object) -> tuple[tuple[object, ...], dict[str, object]]:
    """The arguments of a call, in the place of the function that gets them on its executor."""
    return args, kwargs


class NodeFunction(msgspec.Struct, frozen=True):
    """A node's function or its error handler, and how it is called. `injected` are its parameters besides the input.

    Of a function that runs on an executor, `action` only collects the arguments, which `begin` sends.
    """

    action: Callable[..., Any]
    injected: Mapping[str, str]
    is_async: bool
    timeout: TimeoutPolicy | None
    is_observed: bool
    begin: Begin
    remote: Begin | None = None

    @classmethod
    def of(cls, code: Node | Handler, *, is_observed: bool) -> "NodeFunction":
        """The function of a node or of an error handler."""
        action, remote = code.action, None
        if isinstance(code, Node) and code.executor is not None:
            action, remote = arguments_of, begin_on(code.executor, code.action)
        begin = begin_with(code.timeout, is_async=code.is_async, remote=remote)
        if is_observed:
            begin = _reported(begin)
        return cls(action, code.injected, code.is_async, code.timeout, is_observed, begin, remote)

    def begin_within(self, limits: Limits) -> Begin:
        """How it is called within the limits that a `Send` gave its task, which take the place of the node's."""
        policy = TimeoutPolicy(
            run_timeout=limits.run,
            idle_timeout=limits.idle,
            refresh_on="heartbeat" if limits.only_heartbeats else "auto",
        )
        begin = begin_with(policy, is_async=self.is_async, remote=self.remote)
        return _reported(begin) if self.is_observed else begin


def _reported(begin: Begin) -> Begin:
    """Hand the result to the callbacks of another library."""

    async def run(context: TaskContext, call: Callable[[], Any]) -> Any:
        result = await begin(context, call)
        return result if context.observer is None else context.observer.returned(result)

    return run


def _begin_async(context: TaskContext, call: Callable[[], Any]) -> Awaitable[Any]:
    # A plain function: each suspension of a node resumes all coroutines above it.
    result: Awaitable[Any] = call()
    return result


async def _begin_in_thread(context: TaskContext, call: Callable[[], Any]) -> Any:
    """The result of a plain function. A cancellation that arrived while it ran is left in the context."""
    if context.run.request.owned is not None:
        # A `SystemExit` would end the event loop through the asyncio task that waits for the thread.
        call = partial(_called_by_worker, context.node, call)
    result, cancelled = await _in_thread(call, context.run.request.grace)
    if inspect.isawaitable(result):
        # A plain function that returns a coroutine, such as a lambda around an async function.
        if cancelled is not None:
            if inspect.iscoroutine(result):
                result.close()
            raise cancelled
        return await result
    context.cancelled_late = cancelled
    return result


def _called_by_worker(name: str, call: Callable[[], T]) -> T:
    try:
        return call()
    except SystemExit as error:
        raise exit_of(name, error) from error


def exit_of(name: str, error: SystemExit) -> NodeExitedError:
    """The failure of code that would end its worker's process. Otherwise the run would be released and end the next."""
    failure = NodeExitedError(name, error.code)
    failure.__cause__ = error
    return failure


def _timed(begin: Begin, policy: TimeoutPolicy) -> Begin:
    async def run(context: TaskContext, call: Callable[[], Any]) -> Any:
        """Raises `NodeTimeoutError` if it takes longer than the policy allows."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        whole = asyncio.timeout(policy.run_timeout)
        idle = asyncio.timeout(policy.idle_timeout)
        context.loop, context.idle, context.idle_seconds = loop, idle, policy.idle_timeout
        context.only_heartbeats = policy.refresh_on == "heartbeat"
        try:
            async with whole, idle:
                result = await begin(context, call)
        except TimeoutError as error:
            if not (whole.expired() or idle.expired()):
                raise
            raise _timeout_error(context, policy, loop.time() - started, is_idle=idle.expired()) from error
        finally:
            context.idle = None
        if whole.expired() or idle.expired():
            # It caught its cancellation and returned all the same: too late is too late.
            context.cancelled_late = None
            raise _timeout_error(context, policy, loop.time() - started, is_idle=idle.expired())
        return result

    return run


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


def reader_of(node: Node) -> Callable[[TaskContext], Any]:
    """The function that makes the node's input of the state."""
    schema, fields = node.input, node.input.fields

    def read(context: TaskContext) -> Any:
        return schema.read(context.state.values, context.run.place(context.state))

    def read_instance(context: TaskContext) -> Any:
        given = read(context)
        if not isinstance(given, dict):
            # The state is common to all tasks; an instance of its class has containers of its own.
            context.private = PrivateLengths(node, given, context.state.values)
        return given

    if node.subgraph is not None and not node.subgraph.topology.input.is_single:
        keys = node.subgraph.topology.input.keys
        return lambda context: _shared(read(context), keys)
    if schema.is_plain:
        return lambda context: selected(context.state.values, fields)
    return read if schema.is_single else read_instance


def given_to(context: TaskContext, task: Task, node: Node) -> Any:
    """The input of the node."""
    return reader_of(node)(context) if task.argument is None else task.argument.value


def _shared(given: Any, keys: Iterable[str]) -> Any:
    """The input of a node that is a graph: those of its own keys that the outer state has."""
    if isinstance(given, Mapping):
        return {key: given[key] for key in keys if key in given}
    return {key: getattr(given, key) for key in keys if hasattr(given, key)}
