"""Attempts under observation: another library's callbacks get events of nodes and tasks, and models inherit them."""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

import msgspec

from durable_graph._engine.task import Done
from durable_graph._runtime.events.sink import StreamWriter
from durable_graph._runtime.request.callbacks import CodeObserver, GraphObserver, ObservedCode, Origin, TellMessage
from durable_graph._runtime.request.control_flow import GraphInterrupt
from durable_graph._runtime.task.attempted import Attempted
from durable_graph._runtime.task.context import config_of, message_event, runtime_of
from durable_graph._runtime.task.invoke import Called, given_to
from durable_graph._runtime.task.run_context import Scope
from durable_graph.errors import DurableGraphError
from durable_graph.graph import START


async def observed_attempt(
    graph: GraphObserver, scope: Scope, perform: Callable[[], Awaitable[Attempted]]
) -> Attempted:
    """One attempt at a task of the graph, observed."""
    async with graph.code(_code(scope, partial(_input_of, scope), is_call=False)) as observer:
        scope.observer = observer
        attempted = await perform()
        if attempted.error is not None:
            observer.failed(attempted.error)
        elif not isinstance(attempted.outcome, Done):
            observer.failed(GraphInterrupt(()))
        else:
            await _tell_returned(scope, observer)
        return attempted


async def observed_call(
    graph: GraphObserver, scope: Scope, given: Any, perform: Callable[[], Awaitable[Called]]
) -> Called:
    """One attempt at a call of a task, observed."""
    async with graph.code(_code(scope, lambda: given, is_call=True)) as observer:
        scope.observer = observer
        called = with_result(observer, await perform())
        await _tell_returned(scope, observer)
        return called


def with_result(observer: CodeObserver, called: Called) -> Called:
    """What a function returned, as the observer gives it back."""
    return msgspec.structs.replace(called, result=observer.returned(called.result))


def _code(scope: Scope, given: Callable[[], Any], *, is_call: bool) -> ObservedCode:
    scope.observer = None
    return ObservedCode(
        name=scope.node,
        step=scope.step,
        task_id=scope.task_id,
        number=scope.number,
        given=given,
        config=config_of(scope),
        runtime=runtime_of(scope),
        tell=_teller(scope),
        is_call=is_call,
    )


def _input_of(scope: Scope) -> Any:
    task = scope.task
    if task.node == START:
        return None
    try:
        return given_to(scope, task, scope.session.topology.nodes[task.node])
    except (DurableGraphError, ValueError, TypeError):
        # What keeps the input from being made is the attempt's to raise.
        return None


def _teller(scope: Scope) -> TellMessage | None:
    audience = scope.session.shared.audience
    if not (audience.is_heard and audience.hears_messages):
        return None

    def tell(message: Any, metadata: Mapping[str, Any], origin: Origin) -> None:
        StreamWriter(audience, lambda data: message_event(scope, data, metadata, origin), scope.streamed)(message)

    return tell


async def _tell_returned(scope: Scope, observer: CodeObserver) -> None:
    for message, metadata in observer.messages():
        await scope.session.shared.audience.tell(message_event(scope, message, metadata, "returned"))
