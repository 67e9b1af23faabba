"""Attempts under observation: another library's callbacks get events of nodes and tasks, and models inherit them."""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from durable_graph._engine.task import Done
from durable_graph._runtime.events.sink import StreamWriter
from durable_graph._runtime.request.callbacks import CodeObserver, EmitMessage, GraphObserver, ObservedCode, Origin
from durable_graph._runtime.request.control_flow import GraphInterrupt
from durable_graph._runtime.task.context import config_of, message_event, runtime_of
from durable_graph._runtime.task.invoke import given_to
from durable_graph._runtime.task.run_context import TaskContext, TaskOutput
from durable_graph.errors import DurableGraphError
from durable_graph.graph import START


async def observed_attempt(
    graph: GraphObserver, context: TaskContext, perform: Callable[[], Awaitable[TaskOutput]]
) -> TaskOutput:
    """One attempt at a task of the graph, observed."""
    async with graph.code(_code(context, partial(_input_of, context), is_call=False)) as observer:
        context.observer = observer
        attempted = await perform()
        if attempted.error is not None:
            observer.failed(attempted.error)
        elif not isinstance(attempted.outcome, Done):
            observer.failed(GraphInterrupt(()))
        else:
            await _emit_returned(context, observer)
        return attempted


async def observed_call(
    graph: GraphObserver, context: TaskContext, given: object, perform: Callable[[], Awaitable[object]]
) -> object:
    """One attempt at a call of a task, observed."""
    async with graph.code(_code(context, lambda: given, is_call=True)) as observer:
        context.observer = observer
        result = observer.returned(await perform())
        await _emit_returned(context, observer)
        return result


def _code(context: TaskContext, given: Callable[[], object], *, is_call: bool) -> ObservedCode:
    context.observer = None
    return ObservedCode(
        name=context.node,
        step=context.step,
        task_id=context.task_id,
        number=context.number,
        given=given,
        config=config_of(context),
        runtime=runtime_of(context),
        emit=_emitter(context),
        is_call=is_call,
    )


def _input_of(context: TaskContext) -> object:
    task = context.task
    if task.node == START:
        return None
    try:
        return given_to(context, task, context.run.topology.nodes[task.node])
    except (DurableGraphError, ValueError, TypeError):
        # The attempt raises the error that making the input raised.
        return None


def _emitter(context: TaskContext) -> EmitMessage | None:
    sink = context.run.shared.sink
    if not (sink.is_active and sink.takes_messages):
        return None

    def emit(message: object, metadata: Mapping[str, object], origin: Origin) -> None:
        StreamWriter(sink, lambda data: message_event(context, data, metadata, origin), context.streamed)(message)

    return emit


async def _emit_returned(context: TaskContext, observer: CodeObserver) -> None:
    for message, metadata in observer.messages():
        await context.run.shared.sink.emit(message_event(context, message, metadata, "returned"))
