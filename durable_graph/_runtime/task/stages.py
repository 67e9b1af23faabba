"""The stages of an attempt at a task. Each is made when the graph is compiled, for nodes that need it: see `plan.py`.

A stage is a coroutine function of the attempt's context and the task's previous outcome. It gives the attempt's output.
Only a cancellation is raised, and what unwinds more than the task.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Protocol

from durable_graph._engine.task import Done, Handling, Outcome, PendingInterrupt, Route, RoutingOpen, next_revision
from durable_graph._runtime.request.cancellation import cancellations
from durable_graph._runtime.request.control_flow import GraphInterrupt, ParentCommand
from durable_graph._runtime.task.context import injected
from durable_graph._runtime.task.ending import join_children, must_join
from durable_graph._runtime.task.invoke import NodeFunction, given_to, reader_of
from durable_graph._runtime.task.mutation import WholeValues
from durable_graph._runtime.task.observing import observed_attempt
from durable_graph._runtime.task.outcomes import (
    answers_given,
    done,
    encoded_interrupts,
    ended_by,
    failed,
    own_cancellation,
    stopped,
)
from durable_graph._runtime.task.read_result import Result, read_result
from durable_graph._runtime.task.result_cache import lookup, put
from durable_graph._runtime.task.route import choose
from durable_graph._runtime.task.run_context import Stage, TaskContext, TaskOutput
from durable_graph.errors import GraphChangedError, InvalidNodeResultError, StateMutatedError
from durable_graph.errors.shown import read_back, shown
from durable_graph.graph import Command, Node, Router, Topology
from durable_graph.graph.policies import NodeError


class CodeStage(Protocol):
    """A stage that calls user code; `told` has the values of parameters that only this call knows."""

    async def __call__(
        self, context: TaskContext, previous: Outcome | None, told: Mapping[str, Any] | None = None
    ) -> TaskOutput: ...


def code(
    topology: Topology,
    node: Node,
    function: NodeFunction,
    *,
    is_handler: bool = False,
    max_value_bytes: int | None = None,
) -> CodeStage:
    """Call the node's function, or its error handler, and read what it returned."""
    read, begin, action, injections = reader_of(node), function.begin, function.action, function.injected

    async def run_code(
        context: TaskContext, previous: Outcome | None, told: Mapping[str, Any] | None = None
    ) -> TaskOutput:
        run, task, runner = context.run, context.task, context.runner
        being_cancelled = 0 if runner is None else runner.cancelling()
        try:
            given = read(context) if task.argument is None else task.argument.value
            call = partial(action, given, **(injected(context, injections, told) if injections else {}))
            within = begin if task.limits is None or is_handler else function.begin_within(task.limits)
            result = await within(context, call)
            if must_join(context):
                await join_children(context)
        except BaseException as error:
            found = await ended_by(context, error, being_cancelled)
            if not isinstance(found, ParentCommand):
                return stopped(context, previous, found)
            # A graph that the node ran hands this to it: it counts as what the node returned.
            handed = found.command
            result = Command(update=handed.update, goto=handed.goto, after=handed.after)
            context.private = context.cancelled_late = None
        try:
            limit = run.store.max_value_bytes or max_value_bytes
            values, keys = context.state.values, context.keys_of_nested
            own = read_result(topology, node, result, values, limit, run.due_after, keys)
        except ParentCommand as left:
            if run.parent is not None:
                raise
            return failed(context, previous, InvalidNodeResultError.of_parent(task.node, left.command))
        except Exception as error:
            return failed(context, previous, error)
        return TaskOutput(done(context, previous, own, is_handled=is_handler), context.cancelled_late)

    return run_code


def with_private_lengths(node: Node, inner: CodeStage) -> CodeStage:
    """Fail the node if it changed a container of its instance of the state's class, and did not write the key."""

    async def run_compared(
        context: TaskContext, previous: Outcome | None, told: Mapping[str, Any] | None = None
    ) -> TaskOutput:
        output = await inner(context, previous, told)
        if context.private is not None and isinstance(output.outcome, Done):
            lost = context.private.lost(write.channel for write in output.outcome.writes)
            if lost:
                return failed(context, previous, StateMutatedError([node.name], lost))
        return output

    return run_compared


def checked(topology: Topology, node: Node, inner: CodeStage) -> CodeStage:
    """Fail the node if any value that it was given is not what it was: the graph is debugged."""

    async def run_checked(
        context: TaskContext, previous: Outcome | None, told: Mapping[str, Any] | None = None
    ) -> TaskOutput:
        argument = context.task.argument
        keys = node.input.fields if argument is None else ()
        whole = WholeValues(topology, context.state.values, keys, argument)
        try:
            output = await inner(context, previous, told)
        except ParentCommand:  # the node returned it
            if changed := whole.changed():
                return failed(context, previous, StateMutatedError([node.name], changed))
            raise
        if isinstance(output.outcome, Done) and (changed := whole.changed()):
            return failed(context, previous, StateMutatedError([node.name], changed))
        return output

    return run_checked


def cached(node: Node, inner: Stage) -> Stage:
    """Take the node's result from the cache, or put it there."""

    async def run_cached(context: TaskContext, previous: Outcome | None) -> TaskOutput:
        run, task, being_cancelled = context.run, context.task, cancellations()
        try:
            key, kept = await lookup(run, node, task, given_to(context, task, node))
        except BaseException as error:
            return stopped(context, previous, await ended_by(context, error, being_cancelled))
        if kept is not None:
            return TaskOutput(done(context, previous, kept, is_handled=False, is_cached=True))
        output = await inner(context, previous)
        if key is not None and isinstance(output.outcome, Done):
            # A cache would hand the result to runs in which nothing was changed.
            if changed := run.changed_in_place():
                return failed(context, previous, StateMutatedError([node.name], changed))
            await put(run, node, task, key, Result(output.outcome.writes, output.outcome.routes))
        return output

    return run_cached


def routed(
    topology: Topology, name: str, routers: tuple[Router, ...], inner: Stage | None, *, is_checked: bool
) -> Stage:
    """Let the routers choose, after `inner`: what runs next is part of the task's outcome.

    Once the node is done, only the routers run again; without an `inner` stage nothing runs before them.
    """
    choose_all = _choosing(topology, name, routers, is_checked=is_checked)
    first = _before_routers(routers, inner)

    async def run_routers(context: TaskContext, previous: Outcome | None) -> TaskOutput:
        node_done = await first(context, previous)
        if isinstance(node_done, TaskOutput):
            return node_done
        own, is_cached, tries = node_done
        # The interrupts and calls of routers are counted on their own.
        context.begin("router", is_after_failure=tries > 0)
        being_cancelled = cancellations()
        try:
            routes = await choose_all(context, own)
        except BaseException as error:
            return _not_routed(context, previous, own, tries, await ended_by(context, error, being_cancelled))
        own = Result(own.writes, (*own.routes, *routes))
        return TaskOutput(done(context, previous, own, is_handled=False, is_cached=is_cached))

    return run_routers


_NodeDone = tuple[Result, bool, int]
"""What the node made, whether a cache had it, and how often the routers have failed since."""


def _before_routers(
    routers: tuple[Router, ...], inner: Stage | None
) -> Callable[[TaskContext, Outcome | None], Awaitable[_NodeDone | TaskOutput]]:
    """The node's part of the outcome, or the output where the routers are not to run."""

    async def node_done(context: TaskContext, previous: Outcome | None) -> _NodeDone | TaskOutput:
        if isinstance(previous, RoutingOpen):
            own = Result(previous.writes, previous.routes)
            if not routers or previous.is_handled:
                return TaskOutput(done(context, previous, own, is_handled=previous.is_handled))
            return own, False, previous.tries
        if inner is None:
            own = Result((), ())
            return (own, False, 0) if routers else TaskOutput(done(context, previous, own, is_handled=False))
        output = await inner(context, previous)
        if not isinstance(output.outcome, Done):
            return output
        own = Result(output.outcome.writes, output.outcome.routes)
        if output.error is not None:
            why = "cancelled before its routers ran"
            return TaskOutput(_routing_open(context, previous, own, why), output.error)
        return own, output.outcome.is_cached, 0

    return node_done


def _choosing(
    topology: Topology, name: str, routers: tuple[Router, ...], *, is_checked: bool
) -> Callable[[TaskContext, Result], Awaitable[tuple[Route, ...]]]:
    fields = tuple(key for router in routers for key in router.input.fields)

    async def choose_all(context: TaskContext, own: Result) -> tuple[Route, ...]:
        run, values = context.run, context.state.values
        extra = {router.name: injected(context, router.injected) for router in routers if router.injected}
        whole = WholeValues(topology, values, fields) if is_checked else None
        place, limit = run.place(context.state), run.store.max_value_bytes
        routes = await choose(
            topology, context.state, context.task, routers, own.writes, extra, limit, place, run.due_after
        )
        if must_join(context):
            await join_children(context)
        if whole is not None and (changed := whole.changed()):
            raise StateMutatedError([name], changed)
        return routes

    return choose_all


def _not_routed(
    context: TaskContext, previous: Outcome | None, own: Result, tries: int, error: BaseException
) -> TaskOutput:
    """The output where the routers came to no choice. Raises what is not the task's own affair."""
    match error:
        case GraphInterrupt():
            try:
                asks = encoded_interrupts(context, error.interrupts)
            except Exception as unstorable:
                return TaskOutput(_routing_open(context, previous, own, shown(unstorable), tries), unstorable)
            return TaskOutput(_routing_open(context, previous, own, None, tries, asks))
        case asyncio.CancelledError() if cancellations():
            return TaskOutput(_routing_open(context, previous, own, "cancelled while its routers ran", tries), error)
        case asyncio.CancelledError():
            failure = own_cancellation(context.task, error)
            return TaskOutput(_routing_open(context, previous, own, shown(failure), tries), failure)
        case Exception():
            return TaskOutput(_routing_open(context, previous, own, shown(error), tries + 1), error)
    raise error


def _routing_open(
    context: TaskContext,
    previous: Outcome | None,
    own: Result,
    why: str | None,
    tries: int = 0,
    asks: tuple[PendingInterrupt, ...] = (),
) -> RoutingOpen:
    return RoutingOpen(
        context.task,
        context.number,
        own.writes,
        why,
        own.routes,
        asks,
        answers_given(context),
        revision=next_revision(previous),
        tries=tries,
    )


def handled(node: Node, handler_code: CodeStage | None) -> Stage:
    """Run the node's error handler: the node has failed, and will not run again."""

    async def run_handler(context: TaskContext, previous: Outcome | None) -> TaskOutput:
        if handler_code is None or not isinstance(previous, Handling):
            error = GraphChangedError.of_plan(
                node.name,
                why="an error handler has to run, and this graph has none for node",
                known=context.run.topology.nodes,
                thread_id=context.run.request.thread_id,
                kind="handler",
            )
            return failed(context, previous, error)
        context.begin("handler", is_after_failure=previous.tries > 0)
        raised = context.node_error if context.node_error is not None else read_back(previous.error)
        return await handler_code(context, previous, {"error": NodeError(node.name, raised)})

    return run_handler


def observed(inner: Stage) -> Stage:
    """Report the attempt to the callbacks of another library."""

    async def run_observed(context: TaskContext, previous: Outcome | None) -> TaskOutput:
        observer = context.run.request.observer
        if observer is None:
            return await inner(context, previous)
        return await observed_attempt(observer, context, partial(inner, context, previous))

    return run_observed
