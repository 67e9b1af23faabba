"""Workflows as functions: `@entrypoint` makes a function durable, `@task` records its calls."""

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Concatenate, Generic, Literal, Never, ParamSpec, Protocol, TypeVar, Unpack, overload

import msgspec

from durable_graph._runtime.entry.options import Config, RunOptions, check_savers
from durable_graph._runtime.entry.subgraph import Nested
from durable_graph._runtime.events.modes import StreamMode
from durable_graph._runtime.events.sink import EventSink
from durable_graph._runtime.request.output import Ended, GraphOutput
from durable_graph._runtime.request.run import Request
from durable_graph._runtime.task.invoke import Begin, begin_on
from durable_graph._runtime.task.result_cache import namespace_of_node
from durable_graph._runtime.task.run_context import current
from durable_graph._runtime.task.task_calls import TaskDefinition
from durable_graph.app import CompiledGraph
from durable_graph.app.installed_types import stored_type_of
from durable_graph.caching import Cache
from durable_graph.channels import EphemeralValue, LastValue
from durable_graph.checkpointing import Checkpointer
from durable_graph.codec import Codec, Listed, TypeCodec, Upcast
from durable_graph.errors import (
    ExecutorImportError,
    GraphValidationError,
    InvalidCallError,
    OutsideOfRunError,
)
from durable_graph.errors.tree import quoted
from durable_graph.graph import ChannelCodec, Command, Node, Schema, Topology
from durable_graph.graph.assembly import nodes_digest
from durable_graph.graph.codecs import Storing
from durable_graph.graph.deprecated import renamed
from durable_graph.graph.entrypoints import CONTINUED, INPUT, SAVED, VALUE, ContinueAsNew, Saving, returning
from durable_graph.graph.executors import ExecutorOption, executor_of, name_in_module, why_not_plain
from durable_graph.graph.messaging import library_of, listed_with
from durable_graph.graph.options import caching_of, names_formerly, retries_of, timeout_of
from durable_graph.graph.policies import CachePolicy, RetryPolicy, TimeoutPolicy
from durable_graph.graph.signatures import annotation_of, injectable_in, is_method, name_of, signature_of
from durable_graph.graph.validation import problems_of_name

P = ParamSpec("P")
ReturnT = TypeVar("ReturnT")
ResultT = TypeVar("ResultT", covariant=True)
GivenT = TypeVar("GivenT")
ValueT = TypeVar("ValueT")
SaveT = TypeVar("SaveT")
Version = Literal["v1", "v2"]
Timeout = float | timedelta | TimeoutPolicy
Retry = RetryPolicy | Sequence[RetryPolicy]
_COMMON_OPTIONS = ("cache_policy", "name", "retry_policy", "timeout")
_TASK_OPTIONS = ("executor", *_COMMON_OPTIONS)
_ENTRYPOINT_OPTIONS = (
    *(*_COMMON_OPTIONS, "cache", "checkpointer", "context_schema", "formerly", "store", "types", "upcasts"),
)


class Awaiting(Protocol[ResultT]):
    """The awaitable that a call of a task returns. The call is already running."""

    def __await__(self) -> Generator[Any, None, ResultT]: ...

    def done(self) -> bool:
        """Whether the call has ended."""
        ...

    def cancel(self) -> bool:
        """Cancel the call. Nothing is recorded, unless it still finishes with a result, as a call in a thread does."""
        ...


class TaskFunction(Generic[P, ReturnT]):
    """A function whose calls are recorded: each result is durable before its caller sees it.

    Call it in an entrypoint, in a node of a graph or in another task, and await the call; calls that are not awaited
    one by one run concurrently. When the caller runs again, a call with a recorded result is not repeated: it is
    recognised by its name and its arguments, and equal calls by their order.

    Raises `OutsideOfRunError` outside of a run, and `InvalidCallError` for concurrent calls that differ only in
    arguments that cannot be read. Awaiting a call raises `ReplayMismatchError` if a caller that runs again makes
    another call in place of a recorded one, `UnstorableValueError` for a result that cannot be stored, and the
    function's errors.
    """

    def __init__(self, definition: TaskDefinition, function: Callable[P, Any]) -> None:
        self._definition = definition
        functools.update_wrapper(self, function)

    @property
    def name(self) -> str:
        """The name under which calls are recorded."""
        return self._definition.name

    async def aclear_cache(self, cache: Cache) -> None:
        """Delete the results of this task from the cache."""
        await cache.aclear([namespace_of_node(self.name, self._definition.action)])

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Awaiting[ReturnT]:
        scope = current.get()
        if scope is None or scope.is_over:
            raise OutsideOfRunError(f"the task {self.name!r}")
        if not _is_in_loop():
            raise InvalidCallError.of_plain_caller(self.name, scope.node)
        call: Awaiting[ReturnT] = scope.calls.start(scope, self._definition, args, kwargs)
        return call


@overload
def task(
    function: Callable[P, Coroutine[Any, Any, ReturnT]],
    /,
    *,
    name: str | None = None,
    retry_policy: Retry | None = None,
    cache_policy: CachePolicy | None = None,
    timeout: Timeout | None = None,
    executor: ExecutorOption | None = None,
) -> TaskFunction[P, ReturnT]: ...
@overload
def task(
    function: Callable[P, ReturnT],
    /,
    *,
    name: str | None = None,
    retry_policy: Retry | None = None,
    cache_policy: CachePolicy | None = None,
    timeout: Timeout | None = None,
    executor: ExecutorOption | None = None,
) -> TaskFunction[P, ReturnT]: ...
@overload
def task(
    *,
    name: str | None = None,
    retry_policy: Retry | None = None,
    cache_policy: CachePolicy | None = None,
    timeout: Timeout | None = None,
    executor: ExecutorOption | None = None,
) -> "TaskDecorator": ...
def task(
    function: Callable[..., Any] | None = None,
    *,
    name: str | None = None,
    retry_policy: Retry | None = None,
    cache_policy: CachePolicy | None = None,
    timeout: Timeout | None = None,
    executor: ExecutorOption | None = None,
    **unknown: Any,
) -> Any:
    """Make a function, async or plain, a task: see `TaskFunction`.

    `retry_policy` says when a failed call is retried, `timeout` limits a call (seconds, a timedelta or a
    `TimeoutPolicy`; async functions, and functions with an executor), `cache_policy` lets results come from the cache
    of the graph that runs the call. `name` is the name under which calls are recorded, by default the function's.
    `executor` runs the function: a `concurrent.futures.Executor`, or a factory, a function without parameters that
    returns one. The function is a plain one that the processes of the executor can import.

    Raises `GraphValidationError` for a function that cannot be a task, `ExecutorImportError` for one that its executor
    cannot import, `InvalidOptionError` and `UnknownOptionError`.
    """
    (retry_policy,) = renamed("task()", unknown, {"retry_policy": retry_policy}, _TASK_OPTIONS).values()
    decorator = TaskDecorator(name, retry_policy, cache_policy, timeout, executor)
    return decorator if function is None else decorator(function)


class TaskDecorator:
    """`@task(...)` with options."""

    def __init__(
        self,
        name: str | None,
        retry_policy: Retry | None,
        cache_policy: CachePolicy | None,
        timeout: Timeout | None,
        executor: ExecutorOption | None = None,
    ) -> None:
        self._name = name
        self._retry = retries_of(retry_policy) or ()
        self._cache = caching_of(cache_policy)
        self._timeout = timeout_of(timeout)
        self._executor = executor_of(executor, "executor")

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, ReturnT]], /) -> TaskFunction[P, ReturnT]: ...
    @overload
    def __call__(self, function: Callable[P, ReturnT], /) -> TaskFunction[P, ReturnT]: ...
    def __call__(self, function: Callable[..., Any], /) -> Any:
        if not callable(function):
            raise GraphValidationError(f"a task is a function, not {quoted(function)}")
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise GraphValidationError(f"the task {quoted(function)} is a generator; it has to return its result")
        if is_method(function):
            raise GraphValidationError(
                f"the task {quoted(function)} is a method; make it a function or a @staticmethod"
            )
        is_async = inspect.iscoroutinefunction(_behind(function))
        name = self._name or getattr(_behind(function), "__name__", None)
        if not name or not isinstance(name, str) or name in ("<lambda>", "__call__"):
            raise GraphValidationError(f"the task {quoted(function)} has no name; give it one: @task(name='...')")
        for why in problems_of_name(name):
            raise GraphValidationError(f"{name!r} cannot be a task's name: {why}")
        injected = injectable_in(function)
        remote = None if self._executor is None else self._on_executor(name, function, self._executor, injected)
        if self._timeout is not None and not is_async and remote is None:
            raise GraphValidationError(f"the task {name!r} is a plain function, which no timeout can stop")
        definition = TaskDefinition(
            name,
            function,
            is_async,
            self._retry,
            self._timeout,
            self._cache,
            _codec_of_result(function),
            _signature_of(function),
            injected,
            remote=remote,
        )
        return TaskFunction(definition, function)

    def _on_executor(
        self, name: str, function: Callable[..., Any], executor: ExecutorOption, injected: Mapping[str, str]
    ) -> Begin:
        where = f"task {name!r}"
        if (why := why_not_plain(function)) is not None:
            raise ExecutorImportError(name_in_module(function), where=where, why=why)
        if injected:
            named = ", ".join(map(repr, injected))
            why = f"{where} runs on an executor, where it gets its arguments alone: remove the parameter {named}"
            raise GraphValidationError(why)
        if self._timeout is not None and self._timeout.idle_timeout is not None:
            why = f"{where} runs on an executor, which sends no heartbeats: give it a run_timeout alone"
            raise GraphValidationError(why)
        return begin_on(executor, function)


def _behind(function: Callable[..., Any]) -> Any:
    """The function that a partial or an object calls."""
    while isinstance(function, functools.partial):
        function = function.func
    is_plain = inspect.isroutine(function) or inspect.isclass(function)
    return function if is_plain else getattr(function, "__call__", function)  # noqa: B004  # inspected, not called


def _signature_of(function: Callable[..., Any]) -> inspect.Signature | None:
    try:
        return inspect.signature(function)
    except (ValueError, TypeError):
        # Some builtins have no signature.
        return None


def _is_in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _codec_of_result(function: Callable[..., Any]) -> TypeCodec | None:
    """The codec of the function's return annotation; None if there is none, or if it is `Any` or cannot be stored."""
    try:
        hint = inspect.signature(function, eval_str=True).return_annotation
    except (ValueError, TypeError, NameError):
        return None
    if hint in (inspect.Signature.empty, Any):
        return None
    try:
        return Codec(()).of(hint, where="the result of a task")
    except GraphValidationError:
        # The outer graph may still be able to store the values, with its own types.
        return None


# Entrypoints


class Workflow(CompiledGraph[ValueT, Any, GivenT, ValueT], Generic[GivenT, ValueT]):
    """The graph that `@entrypoint` makes of a function. It takes the function's input, and returns its result.

    A run that stopped for answers returns `{"__interrupt__": [...]}` instead; with `version="v2"` the questions are
    separate.
    """

    # Other graphs return an output with fields as a dict; an entrypoint returns the function's result unchanged.
    @overload  # type: ignore[override]
    async def ainvoke(
        self,
        input: GivenT | Command[Any] | None,  # LangGraph's name
        config: Config | None = None,
        **options: Unpack[RunOptions],
    ) -> ValueT: ...
    @overload
    async def ainvoke(
        self,
        input: GivenT | Command[Any] | None,  # LangGraph's name
        config: Config | None = None,
        *,
        version: Literal["v2"],
        **options: Unpack[RunOptions],
    ) -> GraphOutput[ValueT]: ...
    @overload
    async def ainvoke(
        self,
        input: GivenT | Command[Any] | None,  # LangGraph's name
        config: Config | None = None,
        *,
        stream_mode: StreamMode | Sequence[StreamMode] | None = "values",
        subgraphs: bool = False,
        version: Version = "v1",
        **options: Unpack[RunOptions],
    ) -> Any: ...
    async def ainvoke(self, input: Any, config: Config | None = None, **options: Any) -> Any:  # noqa: A002  # LangGraph's name
        """As `CompiledGraph.ainvoke`."""
        return await super().ainvoke(input, config, **options)

    def _run(self, place: Nested | Request, sink: EventSink) -> Awaitable[Ended]:
        return self._run_on(place, sink)

    async def _run_on(self, place: Nested | Request, sink: EventSink) -> Ended:
        """Run the workflow, and again with the next input as long as it continues as new."""
        ended = await super()._run(place, sink)
        while CONTINUED in ended.values and ended.was_applied and not ended.is_stopped:
            if isinstance(place, Nested):
                raise InvalidCallError.of_continuation(self._topology.name)
            # The key belongs to the first input.
            given = ended.values[CONTINUED]
            place = msgspec.structs.replace(place, input=given, key=None, checkpoint=None, if_finished="run")
            ended = await super()._run(place, sink)
        return ended


class entrypoint:  # noqa: N801  # LangGraph's name: it is used as a decorator
    """Make a function the start of a durable workflow: `@entrypoint(checkpointer=...)`.

    The function, async or plain, takes one input, and `runtime`, `config`, `store`, `writer` and `previous` if it has
    parameters of these names: `previous` is the result of the last call on the thread, or the value that it saved with
    `entrypoint.final`. A resumed function runs from its start, and finished calls of tasks are not repeated.

    `types` are classes of the workflow's values, in addition to those that the function's annotations name, and
    `upcasts` are functions by class, for instances that were stored with other fields. The other options are as for
    `StateGraph.compile` and `StateGraph.add_node`. Raises `GraphValidationError` for a function that cannot be an
    entrypoint, and `InvalidOptionError`.
    """

    class final(Saving[ValueT, SaveT]):  # noqa: N801  # LangGraph's name
        """`return entrypoint.final(value=..., save=...)` returns `value` and keeps `save` as the next `previous`."""

        __slots__ = ()

    def __init__(
        self,
        checkpointer: Checkpointer | bool | None = None,
        *,
        cache: Cache | None = None,
        store: Any = None,
        context_schema: Any = None,
        retry_policy: Retry | None = None,
        cache_policy: CachePolicy | None = None,
        timeout: Timeout | None = None,
        name: str | None = None,
        formerly: Iterable[str] = (),
        types: Iterable[Listed] = (),
        upcasts: Mapping[type, Upcast] | None = None,
        **unknown: Never,
    ) -> None:
        given = {"context_schema": context_schema, "retry_policy": retry_policy}
        context_schema, retry_policy = renamed("entrypoint()", unknown, given, _ENTRYPOINT_OPTIONS).values()
        check_savers(checkpointer, cache)
        self._checkpointer = checkpointer
        self._cache = cache
        self._store = store
        self._context = context_schema
        self._retry = retries_of(retry_policy) or ()
        self._cache_policy = caching_of(cache_policy)
        self._timeout = timeout_of(timeout)
        self._name = name
        self._formerly = formerly
        self._storing = Storing.of(
            listed_with(types, library_of("auto", {})), upcasts, stored_type_of, has_channels=False
        )

    @overload
    def __call__(
        self, function: Callable[Concatenate[GivenT, ...], Coroutine[Any, Any, Saving[ValueT, SaveT]]]
    ) -> "Workflow[GivenT, ValueT]": ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[GivenT, ...], Saving[ValueT, SaveT]]
    ) -> "Workflow[GivenT, ValueT]": ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[GivenT, ...], Coroutine[Any, Any, ValueT | ContinueAsNew]]
    ) -> "Workflow[GivenT, ValueT]": ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[GivenT, ...], ValueT | ContinueAsNew]
    ) -> "Workflow[GivenT, ValueT]": ...
    def __call__(self, function: Callable[..., Any]) -> Any:
        """The workflow. It runs, streams and reads its threads like any compiled graph."""
        signature = signature_of(function)
        name = self._name or name_of(function)
        if not isinstance(name, str):
            raise GraphValidationError(f"the entrypoint {quoted(function)} has no name; give it one: name='...'")
        for why in problems_of_name(name):
            raise GraphValidationError(f"{name!r} cannot be an entrypoint's name: {why}")
        if signature.problem:
            raise GraphValidationError(f"the entrypoint {name!r} {signature.problem}")
        if self._timeout is not None and not signature.is_async:
            raise GraphValidationError(f"the entrypoint {name!r} is a plain function, which no timeout can stop")
        hints = (signature.takes, annotation_of(function, "return"))
        codec = self._storing.codec(hints)
        anything = codec.of(Any, where=f"a value of the entrypoint {name!r}")
        given, output = Schema.single(Any, INPUT), Schema.single(Any, VALUE)
        channels = {channel: LastValue(Any) for channel in (INPUT, VALUE, SAVED)} | {CONTINUED: EphemeralValue(Any)}
        node = Node(
            name=name,
            action=returning(function, is_async=signature.is_async),
            is_async=signature.is_async,
            injected=signature.injected,
            input=given,
            edges=(),
            routers=(),
            retry=self._retry,
            timeout=self._timeout,
            cache=self._cache_policy,
        )
        topology = Topology(
            name=name,
            state=output,
            nodes={name: node},
            entry=(name,),
            entry_routers=(),
            channels=channels,
            joins=(),
            joins_of_source={},
            joins_of_target={},
            codecs={channel: ChannelCodec(anything, anything) for channel in channels},
            argument=anything,
            input=given,
            output=output,
            context=self._context,
            graph_name=name,
            formerly=names_formerly(name, self._formerly),
            nodes_digest=nodes_digest([name]),
            types=self._storing.open_types(hints),
            transient=(CONTINUED,),
        )
        return Workflow(topology, self._checkpointer, self._cache, Request(None, store=self._store))
