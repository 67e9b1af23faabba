"""The run's side of calls on an executor: it sends them, waits for them, and reads their replies."""

import asyncio
import itertools
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any, Literal, TypeAlias
from weakref import WeakValueDictionary

from durable_graph._runtime.request import log
from durable_graph._runtime.request.cancellation import wait_within
from durable_graph._runtime.task.exceptions_as_data import rebuilt
from durable_graph._runtime.task.executed import (
    CrossingTypes,
    Reference,
    Reply,
    Target,
    crossing_codec,
    crossing_types,
    read_reply,
    run_call,
)
from durable_graph._runtime.task.run_context import TaskContext
from durable_graph.codec import TypeCodec
from durable_graph.errors import (
    ExecutorFailedError,
    ExecutorImportError,
    ExecutorRaisedError,
    InvalidOptionError,
    NodeExitedError,
    OutsideOfRunError,
    UnstorableValueError,
)
from durable_graph.errors.shown import add_note, shown
from durable_graph.graph import Topology
from durable_graph.graph.executors import ExecutorOption, name_in_module, why_not_found, why_not_plain

Function: TypeAlias = Callable[..., object]


class RemoteTraceback(Exception):  # noqa: N818  # no error of its own: the cause of one
    """The traceback of an executor's process, as the cause of the exception that was raised there."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


class ExecutorSource:
    """Gives the executor of a node, and another one once it is broken, if the option is a factory.

    All nodes and tasks with the same option share it. Its thread calls the factory and submits calls, in their order:
    both may block, because a pool starts its processes there, and a client connects.
    """

    def __init__(self, option: ExecutorOption) -> None:
        self._option = option
        self.has_factory = not isinstance(option, Executor)
        self.reset()

    def reset(self) -> None:
        """Forget the executor and the thread: the process is a fork, which has neither."""
        self._made: Executor | None = None
        self._submitting = ThreadPoolExecutor(1, thread_name_prefix="durable_graph-submit")

    def submit(self, where: str, function: Function, make: "Callable[[], _Sent]") -> "Future[Future[bytes]]":
        """The pending submission of a call, whose result is the pending call. `make` encodes the arguments.

        The submission raises the errors of `make`, `ExecutorFailedError`, and `InvalidOptionError` for a factory that
        returns something else.
        """
        return self._submitting.submit(self._submit, where, function, make)

    def _submit(self, where: str, function: Function, make: "Callable[[], _Sent]") -> "Future[bytes]":
        sent = make()
        executor = self._executor(where)
        try:
            return executor.submit(run_call, _sendable(function, executor), *sent)
        except Exception as error:
            # The executor is shut down, broken since the last call, or lost its cluster: each library has own errors.
            if not self.has_factory:
                raise self._failure(where, "refused", error) from error
        self._made = None
        executor = self._executor(where)
        try:
            return executor.submit(run_call, _sendable(function, executor), *sent)
        except Exception as error:
            raise self._failure(where, "refused", error) from error

    def _executor(self, where: str) -> Executor:
        if isinstance(self._option, Executor):
            return self._option
        if self._made is None:
            try:
                made: object = self._option()
            except Exception as error:
                raise self._failure(where, "factory", error) from error
            if not isinstance(made, Executor):
                option = f"the result of the executor's factory of {where}"
                raise InvalidOptionError(option, made, allowed="a concurrent.futures.Executor")
            self._made = made
        return self._made

    def lost(self, where: str, error: BaseException) -> ExecutorFailedError:
        """The failure of a call that the executor did not finish."""
        return self._failure(where, "lost", error)

    def _failure(
        self, where: str, kind: Literal["lost", "refused", "factory"], error: BaseException
    ) -> ExecutorFailedError:
        return ExecutorFailedError(where, kind=kind, why=shown(error), has_factory=self.has_factory)


_Sent = tuple[CrossingTypes, bytes, str]
"""The arguments of `run_call` after the function."""

_sources: "WeakValueDictionary[Any, ExecutorSource]" = WeakValueDictionary()
_sources_lock = threading.Lock()


def _reset_sources() -> None:
    global _sources_lock  # noqa: PLW0603 - another thread of the parent may have held it
    _sources_lock = threading.Lock()
    for source in list(_sources.values()):
        source.reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_sources)


def source_of(option: ExecutorOption) -> ExecutorSource:
    """The source of an executor or a factory: one for each in this process, as long as a graph or a task has it."""
    try:
        hash(option)
    except TypeError:
        return ExecutorSource(option)
    with _sources_lock:
        source = _sources.get(option)
        if source is None:
            source = _sources[option] = ExecutorSource(option)
        return source


def _sendable(function: Function, executor: Executor) -> Target:
    """The function as the executor sends it.

    A function of the program itself goes as it is, because an executor with a pickle of its own, such as dask's, sends
    its code. A process pool finds it by its name, as all others.
    """
    if function.__module__ == "__main__" and not _is_process_pool(executor):
        return function
    return Reference.of(function)


def _is_process_pool(executor: Executor) -> bool:
    # Not imported: a program with such a pool has imported it.
    module = sys.modules.get("concurrent.futures.process")
    return module is not None and isinstance(executor, module.ProcessPoolExecutor)


_call_numbers = itertools.count()


class RemoteFunction:
    """A function that runs on an executor, for a node or a task."""

    def __init__(self, function: Function, option: ExecutorOption) -> None:
        self._function = function
        self._source = source_of(option)
        self._crossing: tuple[Topology, TypeCodec, CrossingTypes] | None = None
        self._is_found = False

    async def begin(
        self, context: TaskContext, call: Callable[[], tuple[tuple[object, ...], dict[str, object]]]
    ) -> object:
        """The result of the function. A cancellation that arrived while it ran is left in the context.

        Raises the function's error; `ExecutorFailedError` if the executor lost the call; `ExecutorRaisedError` for an
        error that cannot be rebuilt; `ExecutorImportError`; `UnstorableValueError` for arguments and results that the
        codec cannot encode.
        """
        where = f"{'node' if context.around is None else 'task'} {context.node!r}"
        self._check(where)
        codec, types = self._codecs(context.run.topology)
        args, kwargs = call()

        def make() -> _Sent:
            try:
                data = codec.encode([list(args), kwargs])
            except UnstorableValueError as error:
                raise _unstorable(f"the input of {where}", error) from None
            return types, data, f"{os.getpid()}-{next(_call_numbers)}"

        pending = _PendingCall(self._source, where, self._function, make)
        data, cancelled = await pending.wait(context.run.request.grace)
        try:
            result = self._result(context, where, codec, read_reply(data))
        except Exception as error:
            if cancelled is not None:
                # A failure after the cancellation, for example by a timeout, is not raised.
                raise cancelled from error
            raise
        context.cancelled_late = cancelled
        return result

    def _check(self, where: str) -> None:
        # `@task` cannot check this: while it decorates a function, the module does not have the name yet.
        if self._is_found:
            return
        why = why_not_plain(self._function) or why_not_found(self._function)
        if why is not None:
            raise ExecutorImportError(name_in_module(self._function), where=where, why=why)
        self._is_found = True

    def _codecs(self, topology: Topology) -> tuple[TypeCodec, CrossingTypes]:
        """The codec of what crosses, and the classes for the other side, which makes the same codec."""
        if self._crossing is None or self._crossing[0] is not topology:
            listed = topology.argument.listed()
            self._crossing = topology, crossing_codec(listed), crossing_types(listed)
        return self._crossing[1:]

    def _result(self, context: TaskContext, where: str, codec: TypeCodec, reply: Reply) -> object:
        match reply.kind:
            case "returned":
                return codec.decode(reply.value)
            case "unstorable":
                path, type_name, why, remedy = reply.facts
                what = f"the result of {where}"
                raise UnstorableValueError(channel=what, path=path, type_name=type_name, why=why, remedy=remedy)
            case "missing":
                raise ExecutorImportError(name_in_module(self._function), where=where, why=reply.message)
            case "exited":
                raise NodeExitedError(context.node, reply.code)
        raise _raised_there(where, codec, reply)


def _unstorable(what: str, error: UnstorableValueError) -> UnstorableValueError:
    return UnstorableValueError(
        channel=what, path=error.path, type_name=error.type_name, why=error.why, remedy=error.remedy
    )


def _raised_there(where: str, codec: TypeCodec, reply: Reply) -> Exception:
    try:
        error = None if reply.exception is None else rebuilt(reply.exception, codec)
    except Exception:  # methods of the exception's class may raise anything: the reply has its texts
        error = None
    if error is None:
        error = ExecutorRaisedError(where, type_name=reply.type_name, message=reply.message, traceback=reply.traceback)
    elif isinstance(error, OutsideOfRunError):
        add_note(error, f"{where} runs on an executor, which has no access to the run")
    error.__cause__ = RemoteTraceback(reply.traceback)
    return error


class _PendingCall:
    """A call on its way: first it waits for its submission, then for its result."""

    def __init__(self, source: ExecutorSource, where: str, function: Function, make: Callable[[], _Sent]) -> None:
        self._source = source
        self._where = where
        self._is_left = False
        self._submission = source.submit(where, function, make)
        self._call: Future[bytes] | None = None

    async def wait(self, grace: float) -> tuple[bytes, asyncio.CancelledError | None]:
        """The reply. A call that has begun cannot be stopped: a cancellation waits for it within the grace period.

        A reply in that time counts, and is returned with the cancellation that is to be raised afterwards. A call that
        has not begun is not begun any more, and a later reply is dropped.
        """
        running = asyncio.ensure_future(self._finished())
        try:
            await asyncio.wait({running})
        except asyncio.CancelledError as cancelled:
            self._is_left = True
            (self._submission if self._call is None else self._call).cancel()
            await wait_within(running, grace)
            if not running.done():
                log.grace_is_over("a function on its executor", grace)
                running.cancel()
                raise
            if running.cancelled():
                raise
            if (error := running.exception()) is not None:
                # The same exception object: anyio recognises its own cancellations by their message.
                raise cancelled from error
            return running.result(), cancelled
        return running.result(), None

    async def _finished(self) -> bytes:
        call = self._call = await asyncio.wrap_future(self._submission)
        if self._is_left:
            call.cancel()
        try:
            return await asyncio.wrap_future(call)
        except asyncio.CancelledError as error:
            if self._is_left:
                raise
            # The executor cancelled it, as one that is shut down does.
            raise self._source.lost(self._where, error) from error
        except BaseException as error:
            # An error of the executor, or of an interrupted process: the reply has that of the function.
            raise self._source.lost(self._where, error) from error
