"""Calls of `@task` functions inside a node: each result is durable before its caller sees it, and never made again.

A call is found again by its name and its arguments (claims.py), whatever order calls are made in.
"""

import asyncio
import inspect
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec

from durable_graph._engine.digesting import bound_parts, digest_of
from durable_graph._engine.matching import Mark
from durable_graph._engine.rows import check_size
from durable_graph._engine.task import Argument, Task
from durable_graph._engine.values import check_stored_size
from durable_graph._runtime.commit.store import Unstored
from durable_graph._runtime.request.cancellation import finish
from durable_graph._runtime.request.control_flow import Draining, GraphInterrupt
from durable_graph._runtime.task.claims import Begun, Claims, KeptCall, RecordedCall, decoded_call, encoded_call
from durable_graph._runtime.task.context import injected
from durable_graph._runtime.task.crossing import in_loop
from durable_graph._runtime.task.ending import join_children, must_join, resolve_exit
from durable_graph._runtime.task.invoke import Begin, arguments_of, begin_with, exit_of
from durable_graph._runtime.task.lengths import copy_of
from durable_graph._runtime.task.observing import observed_call
from durable_graph._runtime.task.publish_calls import publish_call_failed, publish_call_finished, publish_call_started
from durable_graph._runtime.task.result_cache import get_cached, key_of, put_cached
from durable_graph._runtime.task.retry import retry_after
from durable_graph._runtime.task.run_context import GraphRun, TaskContext, current
from durable_graph.codec import TypeCodec
from durable_graph.errors import DecodeError, UnstorableValueError
from durable_graph.errors.shown import add_note, shown
from durable_graph.graph import Topology
from durable_graph.graph.policies import CachePolicy, RetryPolicy, TimeoutPolicy


class TaskFuture(asyncio.Task[Any]):
    """A pending call. It notes whether its result was asked for.

    `is_reported` says that its error reached the calling code, which has been responsible for it since. `gather` also
    asks for errors that arrive too late, and drops them: so asking alone does not count as a report.
    """

    is_asked_for = False
    is_reported = False

    def __await__(self) -> Generator[Any, None, Any]:
        self.is_asked_for = True
        try:
            return (yield from super().__await__())
        except Exception:
            self.is_reported = True
            raise

    def result(self) -> Any:
        """The result. Raises asyncio's `InvalidStateError` while the call runs."""
        self.is_asked_for = True
        if not self.done():
            message = f"{self.get_name()} has not finished: await the call, which gives its result"
            raise asyncio.InvalidStateError(message)
        return super().result()

    def exception(self) -> BaseException | None:
        """The error."""
        self.is_asked_for = True
        return super().exception()

    def failure(self) -> BaseException | None:
        """The error, for the journal: to read it is no request for the result."""
        return None if self.cancelled() else super().exception()


class TaskDefinition(msgspec.Struct, frozen=True):
    """A function that may be called as a task. `result` is the codec of what it is annotated to return, if any.

    `signature` is None for a function that does not tell it; `injected` are the parameters that it is provided with
    unless the caller gives them. `has_events`: calls of it are events of the run, as those of nodes are. `remote` is
    how the function is called on its executor, if it has one.
    """

    name: str
    action: Callable[..., Any]
    is_async: bool
    retry: tuple[RetryPolicy, ...] = ()
    timeout: TimeoutPolicy | None = None
    cache: CachePolicy | None = None
    result: TypeCodec | None = None
    signature: inspect.Signature | None = None
    injected: Mapping[str, str] = msgspec.field(default_factory=dict)
    has_events: bool = True
    remote: Begin | None = None


class TaskJournal:
    """The calls that a task makes, over all attempts at it in this process."""

    def __init__(self, run: GraphRun, ns: str, born: int) -> None:
        self.claims = Claims(run, ns, born)
        self._run = run
        self._ns = ns
        self._born = born
        self._count = 0
        self._running: list[TaskFuture] = []
        self._is_stopped = False
        self._nested: dict[int, TaskJournal] = {}

    @property
    def ns(self) -> str:
        """The namespace in which they are recorded."""
        return self._ns

    def begin(self) -> None:
        """Another attempt starts: no call has been made."""
        self.claims.begin()
        self._count = 0
        self._running = []
        self._is_stopped = False

    def start(
        self, context: TaskContext, definition: TaskDefinition, args: tuple[object, ...], kwargs: dict[str, object]
    ) -> TaskFuture:
        """The call, begun. Raises `InvalidCallError` where nothing tells it from one that is under way."""
        given = _given(definition, args, kwargs)
        encode = self._run.topology.argument.encode
        content = digest_of(encode, list(given.args), dict(given.kwargs), bound_parts(definition.action))
        mark = Mark("task", definition.name, content.digest)
        begun = self.claims.call(context, mark, content, definition.action, asyncio.current_task())
        self._count += 1
        name = f"task {definition.name!r}, call {self._count} of {context.node!r}"
        count = self._count
        # The writer and the saver are in the run's loop, whatever loop the code that calls has made.
        running = TaskFuture(
            in_loop(context.home, lambda: self._perform(context, begun, count, definition, given)), name=name
        )
        running.add_done_callback(partial(self._over, begun))
        self._running.append(running)
        if context.is_too_late():
            running.cancel()
        return running

    def _over(self, begun: Begun, running: "asyncio.Future[object]") -> None:
        has_failed = running.cancelled() or (isinstance(running, TaskFuture) and running.failure() is not None)
        self.claims.over(begun, has_failed=has_failed)

    def stop(self) -> None:
        """Have `join` cancel the pending calls, and those that they still begin."""
        self._is_stopped = True

    @property
    def pending(self) -> bool:
        """Whether calls are pending."""
        return any(not task.done() for task in self._running)

    async def join(self) -> None:
        """Wait until all calls have finished."""
        while left := [task for task in self._running if not task.done()]:
            if self._is_stopped:
                for task in left:
                    task.cancel()
            await asyncio.wait(left)

    def raise_unawaited_failure(self) -> None:
        """Raise the first unawaited task failure."""
        for task in self._running:
            if (error := task.failure()) is not None and not task.is_asked_for:
                raise error

    def mark_unwinding(self) -> None:
        """Mark awaited task failures as reported: the node is being unwound."""
        for task in self._running:
            if task.done() and task.is_asked_for:
                task.is_reported = True

    def failure_to_report(self, error: BaseException) -> BaseException:
        """The error to report for code that `error` ended: an unreported task failure replaces an interrupt."""
        for task in self._running:
            failure = task.failure()
            if isinstance(failure, Exception) and failure is not error and not task.is_reported:
                if isinstance(error, GraphInterrupt | Draining):
                    return failure
                add_note(error, f"{task.get_name()}, failed as well: {shown(failure)}")
        return error

    async def _perform(
        self, context: TaskContext, begun: Begun, number: int, definition: TaskDefinition, given: "_Given"
    ) -> object:
        recorded = await self.claims.claim(context, begun)
        if recorded is not None:
            return self._replayed(definition, recorded)
        inner = self._context(context, begun.place, definition)
        try:
            if definition.has_events:
                await publish_call_started(inner, (given.args, given.kwargs))
            result = await self._cached(inner, definition, given)
            # The result of a call that was cancelled after it had finished is kept: otherwise the call would run again.
            record = self._record(begun, definition, result)
            standing = await finish(record, self._run.request.grace)
        except GraphInterrupt as asked:
            context.stopped_by.append(asked.interrupts)
            raise
        except Exception as error:
            add_note(error, f"in task {definition.name!r}, call {number} of {context.node!r}")
            if definition.has_events:
                await publish_call_failed(inner, error)
            raise
        if inner.cancelled_late is not None:
            raise inner.cancelled_late
        value = result if standing is None else self._replayed(definition, standing)
        if definition.has_events:
            await publish_call_finished(inner, value)
        return value

    def _context(self, context: TaskContext, place: int, definition: TaskDefinition) -> TaskContext:
        return TaskContext(
            run=context.run,
            state=context.state,
            task=Task(definition.name, self._born, place, Argument(None, None)),
            within=self._ns,
            number=1,
            answers=context.answers,
            first_started=context.first_started,
            metadata=context.metadata,
            depth=context.depth + 1,
            is_fresh=context.is_fresh and place not in self._nested,
            new_task_journal=partial(self._inside, place),
            around=context,
        )

    def _inside(self, place: int, inner: TaskContext) -> "TaskJournal":
        """The calls that the call at `place` makes itself, over all attempts at it."""
        if place not in self._nested:
            self._nested[place] = TaskJournal(self._run, inner.ns, self._born)
        self._nested[place].begin()
        return self._nested[place]

    async def _cached(self, inner: TaskContext, definition: TaskDefinition, given: "_Given") -> object:
        cache, policy = self._run.cache, definition.cache
        if cache is None or policy is None:
            return await self._run_call(inner, definition, given)
        topology = self._run.topology
        called: object = {"args": list(given.args), "kwargs": given.kwargs}
        if policy.key_func is not None:
            called = policy.key_func(*given.args, **given.kwargs)
        key = key_of(topology, definition.name, definition.action, CachePolicy(ttl=policy.ttl), called)
        found = await get_cached(cache, key)
        if found is not None:
            return _value_of(topology, definition, decoded_call(found))
        result = await self._run_call(inner, definition, given)
        data, is_declared = _encoded(topology, definition, result)
        kept = encoded_call(RecordedCall(definition.name, b"", data, is_declared))
        await put_cached(cache, key, kept, policy.ttl)
        return result

    async def _run_call(self, inner: TaskContext, definition: TaskDefinition, given: "_Given") -> object:
        token = current.set(inner)
        try:
            async with self._gate(inner.depth):
                while True:
                    try:
                        return await self._attempt(inner, definition, given)
                    except Exception as error:
                        self._run.raise_store_failure()
                        if inner.mismatch is not None:
                            raise
                        wait = retry_after(definition.retry, error, inner.number)
                        if wait is None:
                            raise
                        if self._run.is_stopped():
                            raise asyncio.CancelledError from error
                    await asyncio.sleep(wait)
                    inner.number += 1
        finally:
            inner.is_over = True
            current.reset(token)

    async def _attempt(self, inner: TaskContext, definition: TaskDefinition, given: "_Given") -> object:
        once, observer = partial(_once, inner, definition, given), self._run.request.observer
        return await (once() if observer is None else observed_call(observer, inner, (given.args, given.kwargs), once))

    def _gate(self, depth: int) -> asyncio.Semaphore:
        # One for each depth: a caller waits for what it called, and must not keep it from beginning.
        gates = self._run.gates
        if depth not in gates:
            gates[depth] = asyncio.Semaphore(self._run.request.max_concurrency or 1_000_000)
        return gates[depth]

    # Records

    async def _record(self, begun: Begun, definition: TaskDefinition, value: object) -> RecordedCall | None:
        """Record a result. Gives the one that stands if another process recorded its own first."""
        run, store = self._run, self._run.store
        if isinstance(store, Unstored):
            # Nothing is stored, so nothing has to be storable: it is kept for the next attempt as it is.
            if not begun.is_indistinct:
                self.claims.keep(begun.place, KeptCall(begun.seen, copy_of(value)))
            return None
        data, is_declared = _encoded(run.topology, definition, value)
        check_size(_result_of(definition), data, store.thread.max_value_bytes)
        await store.writer.flush()
        while True:
            record = self.claims.record(store.thread, begun.place, begun.recorded(data, is_declared=is_declared))
            (standing,) = await store.writer.save_records((record,))
            stood = decoded_call(standing.value)
            self.claims.keep(begun.place, stood)
            if standing == record:
                return None
            if stood.mark.is_like(begun.mark):
                return stood
            # Two different calls of one place, as good as impossible: the first has it.
            self.claims.move(begun)

    def _replayed(self, definition: TaskDefinition, recorded: RecordedCall | KeptCall) -> object:
        if isinstance(recorded, KeptCall):
            return copy_of(recorded.value)
        thread = self._run.store.thread
        if thread is not None:
            check_stored_size(_result_of(definition), len(recorded.value), thread.max_value_bytes)
        return _value_of(self._run.topology, definition, recorded)


@dataclass(frozen=True, slots=True)
class _Given:
    """The arguments of a call, and the parameters that are injected because the caller left them out."""

    args: tuple[object, ...]
    kwargs: dict[str, object]
    wanted: Mapping[str, str]


def _given(definition: TaskDefinition, args: tuple[object, ...], kwargs: dict[str, object]) -> _Given:
    """The arguments, the same however the call is written. Raises `TypeError` for those that the function has not."""
    if definition.signature is None:
        return _Given(args, kwargs, {})
    bound = definition.signature.bind_partial(*args, **kwargs)
    wanted = {name: kind for name, kind in definition.injected.items() if name not in bound.arguments}
    return _Given(bound.args, bound.kwargs, wanted)


def _result_of(definition: TaskDefinition) -> str:
    return f"the result of task {definition.name!r}"


def _value_of(topology: Topology, definition: TaskDefinition, recorded: RecordedCall) -> object:
    if definition.result is None or not recorded.is_declared:
        return topology.argument.decode(recorded.value)
    try:
        return definition.result.decode(recorded.value)
    except DecodeError:
        # The graph may know more than the annotation: an upcast of the class, or its former tag.
        return topology.argument.decode(recorded.value)


async def _once(inner: TaskContext, definition: TaskDefinition, given: _Given) -> object:
    inner.forget_calls()
    action = definition.action if definition.remote is None else arguments_of
    call = partial(action, *given.args, **given.kwargs, **injected(inner, given.wanted))
    try:
        begin = begin_with(definition.timeout, is_async=definition.is_async, remote=definition.remote)
        result = await begin(inner, call)
        if must_join(inner):
            await join_children(inner)
    except BaseException as error:
        found = await resolve_exit(inner, error)
        if isinstance(found, SystemExit) and inner.run.request.owned is not None:
            found = exit_of(definition.name, found)
        if found is error:
            raise
        raise found from found.__cause__
    # A replay returns the converted result, so the first call has to return it as well.
    return result if definition.result is None else definition.result.convert(result)


def _encoded(topology: Topology, definition: TaskDefinition, value: object) -> tuple[bytes, bool]:
    if definition.result is not None:
        try:
            return definition.result.encode(value), True
        except UnstorableValueError:
            # The annotation promised something else; what was returned may be storable all the same.
            pass
    try:
        return topology.argument.encode(value), False
    except UnstorableValueError as error:
        what = f"the result of task {definition.name!r}"
        raise UnstorableValueError(
            channel=what, path=error.path, type_name=error.type_name, why=error.why, remedy=error.remedy
        ) from None
