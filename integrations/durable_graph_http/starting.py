"""The body of a run becomes a run: started, continued by an answer, or begun at an older checkpoint."""

from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import quote
from uuid import UUID, uuid4, uuid5

import msgspec
from msgspec import UNSET

from durable_graph import Command, Send
from durable_graph.errors import ThreadBusyError
from durable_graph.runs import RunHandle, RunStatus
from durable_graph_http.bodies import CheckpointBody, CommandBody, RunBody, SendBody
from durable_graph_http.call import Call
from durable_graph_http.problems import Problem

_NAMESPACE = UUID("6ba7b821-9dad-11d1-80b4-00c04fd430c8")

IfBusy = Literal["wait", "reject", "interrupt", "rollback"]
_IF_BUSY: Mapping[str, IfBusy] = {
    "reject": "reject",
    "interrupt": "interrupt",
    "rollback": "rollback",
    "enqueue": "wait",
}


class Started(msgspec.Struct, frozen=True):
    """The run of a request.

    `is_new` is False if an unfinished run continues: it was answered or resumed, or the request is a repetition with
    the same key. `is_stateless`: the request names no thread. `is_temporary`: the thread is to be deleted when the
    reply is complete.
    """

    handle: RunHandle
    graph: str
    is_new: bool
    is_stateless: bool = False
    is_temporary: bool = False


def assistant_id_of(graph: str) -> str:
    """The id of the assistant of a graph: the same in every process."""
    return str(uuid5(_NAMESPACE, graph))


def graph_of(call: Call, assistant_id: str) -> str:
    """The name of the graph of an assistant, which its id or its name names. Raises `Problem` with 404."""
    name = found_graph(call, assistant_id)
    if name is None:
        raise Problem(404, f"There is no assistant {assistant_id!r:.200}; POST /assistants/search lists the assistants")
    return name


def found_graph(call: Call, assistant_id: str) -> str | None:
    """The name of the graph of an assistant, None for an unknown one."""
    graphs = call.service.app.graphs
    if assistant_id in graphs:
        return assistant_id
    return next((name for name in graphs if assistant_id_of(name) == assistant_id.lower()), None)


def check_has_graph(call: Call, run: RunStatus) -> None:
    """Raises `Problem` with 409 for a run of a graph that the service does not have: other processes execute it."""
    if run.graph not in call.service.app.graphs:
        raise Problem(409, f"The run belongs to the graph {run.graph!r:.100}, which this service does not have")


async def start_run(call: Call, body: RunBody, thread_id: str | None) -> Started:
    """The run of this body, recorded when this returns. `thread_id` is the stored id of its thread; None for a run
    without a thread, which gets a new one.

    Raises `Problem`, and the errors of `App.start` and `App.answer`.
    """
    graph = graph_of(call, body.assistant_id)
    check_body(call, body)
    command = body.command
    if thread_id is None:
        return await _start_stateless(call, body, graph)
    if body.if_not_exists != "create":
        await _check_exists(call, thread_id)
    if command is not None and command.resume is not UNSET:
        return await _answered(call, body, command.resume, thread_id)
    checkpoint = _checkpoint_of(call, body)
    has_input = command is not None or body.input is not None
    unfinished = await call.service.app.unfinished(thread_id)
    if checkpoint is None and unfinished is not None:
        if command is not None and body.multitask_strategy in (None, "enqueue"):
            return await _updated(call, command, unfinished)
        if not has_input:
            return await _continued(call, body, unfinished)
    if not has_input:
        await _check_has_tasks(call, graph, thread_id, checkpoint)
    if checkpoint is not None:
        await _fork(call, body, graph, thread_id, checkpoint)
    if not has_input:
        # A cancelled thread resumes no tasks.
        await call.service.app.graph(graph).areopen(thread_id)
    return await _start(call, body, graph, thread_id, unfinished)


def started_path(call: Call, started: Started) -> str:
    """The path of the run below the service's prefix, percent-encoded."""
    if started.is_stateless:
        return f"/runs/{started.handle.run_id}"
    return thread_run_path(call, started.handle)


def thread_run_path(call: Call, handle: RunHandle) -> str:
    """The path of the run below its thread, percent-encoded."""
    return f"/threads/{quote(call.shown(handle.thread_id), safe='')}/runs/{handle.run_id}"


def check_body(call: Call, body: RunBody) -> None:
    """Refuse what has no meaning here, and members that contradict each other. Raises `Problem`."""
    if body.webhook is not None:
        raise Problem(501, "The service calls no webhooks: leave out webhook, and follow the run's stream")
    if body.context:
        raise Problem(422, "The context of a run is made by the service for each graph: leave out context")
    command = body.command
    if command is None:
        return
    if body.input is not None:
        raise Problem(422, "A run takes input or command: leave one of them out")
    has_change = command.goto is not None or command.update is not None
    if command.resume is UNSET and not has_change:
        raise Problem(422, "The command is empty: give it resume, update or goto")
    if command.resume is not UNSET and has_change:
        raise Problem(422, "A command with resume has neither update nor goto: POST /threads/{thread_id}/updates first")
    if has_change and call.key is not None:
        raise Problem(422, "A command with update or goto has no Idempotency-Key: POST /threads/{thread_id}/updates")


async def _check_exists(call: Call, thread_id: str) -> None:
    """Raises `UnknownThreadError`."""
    await call.service.app.threads.get(thread_id)


def _checkpoint_of(call: Call, body: RunBody) -> str | None:
    """The checkpoint at which the run begins, None for the newest one. Raises `Problem` for contradicting members."""
    configurable = (body.config.configurable if body.config else None) or {}
    named = body.checkpoint or CheckpointBody()
    namespace = named.checkpoint_ns or configurable.get("checkpoint_ns")
    if namespace:
        raise Problem(422, "A run begins at a checkpoint of the outermost graph: leave out checkpoint_ns")
    thread = call.parameters.get("thread_id")
    for other in (named.thread_id, configurable.get("thread_id")):
        if other is not None and other != thread:
            raise Problem(422, "The checkpoint is of another thread than the path")
    given = [each for each in (named.checkpoint_id, body.checkpoint_id, configurable.get("checkpoint_id")) if each]
    if not all(isinstance(each, str) and each == given[0] for each in given):
        raise Problem(422, "The request names several checkpoints: give it one")
    return given[0] if given else None


async def _answered(call: Call, body: RunBody, answer: object, thread_id: str) -> Started:
    if _checkpoint_of(call, body) is not None:
        raise Problem(422, "An answer is for the newest checkpoint: leave out checkpoint")
    app = call.service.app
    # Without a run, `answer` raises the error that says why.
    before = await app.unfinished(thread_id)
    await app.answer(thread_id, answer)
    unfinished = before or await app.unfinished(thread_id)
    if unfinished is None:
        raise Problem(409, "The thread has no unfinished run to answer")
    return await _continuing(call, unfinished)


async def _updated(call: Call, command: CommandBody, unfinished: RunStatus) -> Started:
    """The unfinished run of the thread, with the update and the nodes of a command, whose requests have no key."""
    given = _command(command)
    await call.service.app.update(unfinished.thread_id, given.update, goto=given.goto)
    return await _continuing(call, unfinished)


async def _continued(call: Call, body: RunBody, unfinished: RunStatus) -> Started:
    """The unfinished run of the thread, for a request without an input. At a breakpoint it is resumed."""
    if body.multitask_strategy in ("reject", "interrupt", "rollback") and not unfinished.is_interrupted:
        raise Problem(409, f"The run {unfinished.run_id} of the thread has not ended, and the request has no input")
    if unfinished.is_at_breakpoint:
        await call.service.app.resume(unfinished.thread_id)
    return await _continuing(call, unfinished)


async def _continuing(call: Call, unfinished: RunStatus) -> Started:
    check_has_graph(call, unfinished)
    return Started(await call.service.app.find(unfinished.run_id), unfinished.graph, is_new=False)


async def _check_has_tasks(call: Call, graph: str, thread_id: str, checkpoint: str | None) -> None:
    snapshot = await call.service.app.graph(graph).aget_state(thread_id=thread_id, checkpoint_id=checkpoint)
    if not snapshot.next:
        raise Problem(409, "The request has no input, and the thread has no tasks to run: pass input or command")


async def _fork(call: Call, body: RunBody, graph: str, thread_id: str, checkpoint: str) -> None:
    """Make a checkpoint the newest one of its thread, by a copy of it.

    A repeated request copies it once. A run that waits for an answer is cancelled, and so is any other unfinished run
    if the request has the strategy "interrupt" or "rollback".
    """
    app, own = call.service.app, call.service.app.graph(graph)
    key = None if call.key is None else f"fork-{call.key}"
    newest = await own.aget_state(thread_id=thread_id)
    unfinished = await app.unfinished(thread_id)
    if key is None and unfinished is None and newest.config["configurable"].get("checkpoint_id") == checkpoint:
        return
    while True:
        try:
            await own.aupdate_state(thread_id=thread_id, checkpoint_id=checkpoint, as_node="__copy__", key=key)
        except ThreadBusyError:
            unfinished = await app.unfinished(thread_id)
            is_replaced = body.multitask_strategy in ("interrupt", "rollback")
            if unfinished is None or not (unfinished.is_interrupted or is_replaced):
                raise
            handle = await app.find(unfinished.run_id)
            await handle.cancel("a run from an older checkpoint takes its place", wait=True)
        else:
            return


async def _start_stateless(call: Call, body: RunBody, graph: str) -> Started:
    if body.command is None and body.input is None:
        raise Problem(422, "A run without a thread has no tasks of its own: pass input or command")
    if body.command is not None and body.command.resume is not UNSET:
        raise Problem(422, "A run without a thread has nothing to answer: name the thread in the path")
    if _checkpoint_of(call, body) is not None:
        raise Problem(422, "A run without a thread has no checkpoint: name the thread in the path")
    if call.key is None:
        thread_id = call.stored(str(uuid4()))
    else:
        thread_id = call.stored(f"run-{call.key}", "The Idempotency-Key with 'run-' before it")
    started = await _start(call, body, graph, thread_id, None)
    return msgspec.structs.replace(started, is_stateless=True, is_temporary=body.on_completion != "keep")


async def _start(call: Call, body: RunBody, graph: str, thread_id: str, unfinished: RunStatus | None) -> Started:
    if_busy = _IF_BUSY[body.multitask_strategy or "enqueue"]
    if unfinished is not None and unfinished.is_interrupted and if_busy != "rollback":
        # For LangGraph's clients, a thread that waits for an answer is not busy: new input takes the question's place.
        if_busy = "interrupt"
    handle = await call.service.app.start(
        graph,
        body.input if body.command is None else _command(body.command),
        run_config(body),
        key=call.key,
        thread_id=thread_id,
        delay=body.after_seconds or None,
        if_busy=if_busy,
        events="all",
        durability=body.durability,
        interrupt_before=body.interrupt_before,
        interrupt_after=body.interrupt_after,
    )
    return Started(handle, graph, is_new=handle.is_new)


def run_config(body: RunBody) -> dict[str, Any]:
    """The config of the run, with the metadata of the body."""
    given = body.config
    config: dict[str, Any] = {}
    if given is not None:
        config = {name: value for name, value in msgspec.structs.asdict(given).items() if value is not None}
    own = {name: value for name, value in config.pop("configurable", {}).items() if name not in _PLACE}
    metadata = {**config.pop("metadata", {}), **(body.metadata or {})}
    return {**config, **({"configurable": own} if own else {}), **({"metadata": metadata} if metadata else {})}


_PLACE = ("thread_id", "checkpoint_id", "checkpoint_ns", "checkpoint_map")


def _command(body: CommandBody) -> Command[Any]:
    return Command(update=body.update, goto=targets_of(body.goto))


def targets_of(goto: str | SendBody | list[str | SendBody] | None) -> list[str | Send]:
    """The nodes to run next."""
    targets = goto if isinstance(goto, list) else [] if goto is None else [goto]
    return [each if isinstance(each, str) else Send(each.node, each.input) for each in targets]
