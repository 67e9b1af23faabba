"""Runs the tool calls of one input concurrently."""

import asyncio
import concurrent.futures
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from langchain_core.messages import ToolCall
from langchain_core.runnables import RunnableConfig

from durable_graph import GraphInterrupt
from durable_graph.extending import is_inside_of_run, recorded_call
from durable_graph_langchain.tool_call import Toolbox, ToolCallRequest, is_plain
from durable_graph_langchain.tool_errors import ErrorHandling
from durable_graph_langchain.tool_outputs import Output, Shape, checked

WrapToolCall: TypeAlias = Callable[[ToolCallRequest, Callable[[ToolCallRequest], Any]], Any]
AsyncWrapToolCall: TypeAlias = Callable[[ToolCallRequest, Callable[[ToolCallRequest], Awaitable[Any]]], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Calls:
    """The input of a `ToolNode`: the calls, the state that tools see, and the shape of the node's result."""

    calls: Sequence[ToolCall]
    state: Any
    shape: Shape


@dataclass(frozen=True, slots=True)
class Execution:
    """How a `ToolNode` runs calls. `name` is the name in the records of the calls."""

    name: str
    messages_key: str
    box: Toolbox
    errors: ErrorHandling
    wrap: WrapToolCall | None
    awrap: AsyncWrapToolCall | None

    async def outputs(self, given: Calls, config: RunnableConfig) -> list[Output]:
        """The results of the tools, in the order of the calls.

        Each call is recorded before this returns. An error of a call is raised once all calls have ended: a cancelled
        call would be repeated when the run is resumed.
        """
        if not given.calls:
            return []
        run = _Run(self, given, config)
        running = [run.begin(call) for call in given.calls]
        try:
            await asyncio.wait(running)
        except asyncio.CancelledError:
            run.cancel_inner()
            for each in running:
                each.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            raise
        _raise_first(given.calls, running)
        return [output for each in running for output in each.result()]

    def is_plain(self, call: ToolCall) -> bool:
        """Whether the call runs in a worker thread: a plain tool, or any tool in a plain wrapper."""
        if self.awrap is not None:
            return False
        tool = self.box.tools.get(call["name"])
        return self.wrap is not None or (tool is not None and is_plain(tool))


class _Run:
    """The calls of one input.

    The library refuses two equal calls of different functions, because a race could exchange them. So all calls share
    two functions, one for the event loop and one for worker threads, and a model may call a tool twice with the same
    arguments and id.
    """

    def __init__(self, execution: Execution, given: Calls, config: RunnableConfig) -> None:
        self._execution = execution
        self._given = given
        self._config = config
        self._loop = asyncio.get_running_loop()
        self._inner: list[concurrent.futures.Future[Any]] = []
        self._is_cancelled = False

        async def arun(call: ToolCall) -> list[Output]:
            return await self._arun(call)

        def run(call: ToolCall) -> list[Output]:
            return self._run(call)

        self._functions = arun, run

    def begin(self, call: ToolCall) -> "asyncio.Task[list[Output]]":
        """Start a call. Outside a run it is not recorded."""
        arun, run = self._functions
        is_plain = self._execution.is_plain(call)
        if is_inside_of_run():
            return recorded_call(self._execution.name, run if is_plain else arun, call)
        return asyncio.ensure_future(asyncio.to_thread(run, call)) if is_plain else asyncio.ensure_future(arun(call))

    def cancel_inner(self) -> None:
        """Cancel the async tools that plain wrappers wait for in their threads."""
        self._is_cancelled = True
        for each in self._inner:
            each.cancel()

    async def _arun(self, call: ToolCall) -> list[Output]:
        box, wrap = self._execution.box, self._execution.awrap
        request = box.request(call, self._given.state, self._config)
        try:
            output = await (box.aexecute(request) if wrap is None else wrap(request, box.aexecute))
        except Exception as error:
            output = self._handled(error, call)
        return self._checked(output, call)

    def _run(self, call: ToolCall) -> list[Output]:
        wrap = self._execution.wrap
        request = self._execution.box.request(call, self._given.state, self._config)
        try:
            output = self._execute(request) if wrap is None else wrap(request, self._execute)
        except Exception as error:
            output = self._handled(error, call)
        return self._checked(output, call)

    def _execute(self, request: ToolCallRequest) -> Any:
        """Execute a call in a worker thread. An async tool runs in the event loop while the thread waits."""
        box = self._execution.box
        if request.tool is None or is_plain(request.tool):
            return box.execute(request)
        running = asyncio.run_coroutine_threadsafe(box.aexecute(request), self._loop)
        self._inner.append(running)
        if self._is_cancelled:
            # The calls were cancelled before the thread could add the future.
            running.cancel()
        return running.result()

    def _handled(self, error: Exception, call: ToolCall) -> Any:
        # The error handling has already let a tool's error pass, and lets it pass again. A wrapper's error is new.
        return self._execution.errors.message(error, call)

    def _checked(self, output: Any, call: ToolCall) -> list[Output]:
        return checked(output, call, self._execution.messages_key, self._given.shape)


def _raise_first(calls: Sequence[ToolCall], running: Sequence["asyncio.Task[Any]"]) -> None:
    """Raise the first error, else the first question, else another exit, such as a Command of a subgraph."""
    raised = [
        (error, call) for call, each in zip(calls, running, strict=True) if (error := _raised_by(each)) is not None
    ]
    for kind in (Exception, GraphInterrupt, BaseException):
        for error, call in raised:
            if isinstance(error, kind):
                if kind is Exception:
                    error.add_note(f"in tool {call['name']!r}, called as {call['id']!r}")
                raise error


def _raised_by(task: "asyncio.Task[Any]") -> BaseException | None:
    return asyncio.CancelledError() if task.cancelled() else task.exception()
