"""The body of a run becomes a run: started, continued by an answer, or begun at an older checkpoint."""

from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import quote
from uuid import UUID, uuid4, uuid5

import msgspec
from msgspec import UNSET

from durable_graph import Command, Send
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
    graphs = call.service.app.graphs
    if assistant_id in graphs:
        return assistant_id
    for name in graphs:
        if assistant_id_of(name) == assistant_id.lower():
            return name
    raise Problem(404, f"There is no assistant {assistant_id!r:.200}; POST /assistants/search lists the assistants")


async def start_run(call: Call, body: RunBody, thread_id: str | None) -> Started:
    """The run of this body, recorded when this returns. `thread_id` is the stored id of its thread; None for a run
    without a thread, which gets a new one.

    Raises `Problem`, and the errors of `App.start` and `App.answer`.
    """
    graph = graph_of(call, body.assistant_id)
    _check(body)
    command = body.command
    if thread_id is None:
        return await _start_stateless(call, body, graph)
    if body.if_not_exists != "create":
        await _check_exists(call, thread_id)
    if command is not None and command.resume is not UNSET:
        return await _answered(call, body, command.resume, thread_id)
    checkpoint = _checkpoint_of(call, body)
    if body.input is None:
        unfinished = await _unfinished(call, thread_id)
        if unfinished is not None:
            return await _continued(call, body, unfinished)
    if checkpoint is not None:
        await _fork(call, graph, thread_id, checkpoint)
    return await _start(call, body, graph, thread_id)


def run_path(call: Call, started: Started) -> str:
    """The path of the run below the service's prefix, percent-encoded."""
    if started.is_stateless:
        return f"/runs/{started.handle.run_id}"
    return thread_run_path(call, started.handle)


def thread_run_path(call: Call, handle: RunHandle) -> str:
    """The path of the run below its thread, percent-encoded."""
    return f"/threads/{quote(call.shown(handle.thread_id), safe='')}/runs/{handle.run_id}"


def _check(body: RunBody) -> None:
    """Refuse what has no meaning here, and members that contradict each other."""
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


async def _check_exists(call: Call, thread_id: str) -> None:
    if not await call.service.app.runs(thread_id=thread_id, limit=1):
        raise Problem(404, f"There is no thread {call.shown(thread_id)!r:.300}")


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
    unfinished = await _unfinished(call, thread_id)
    await call.service.app.answer(thread_id, answer)
    if unfinished is None:
        # It was accepted since.
        unfinished = await _unfinished(call, thread_id)
    if unfinished is None:
        raise Problem(409, "The thread has no unfinished run to answer")
    return await _continuing(call, unfinished)


async def _continued(call: Call, body: RunBody, unfinished: RunStatus) -> Started:
    """The unfinished run of the thread, for a request without an input."""
    if body.multitask_strategy in ("reject", "interrupt", "rollback"):
        raise Problem(409, f"The run {unfinished.run_id} of the thread has not ended, and the request has no input")
    return await _continuing(call, unfinished)


async def _continuing(call: Call, unfinished: RunStatus) -> Started:
    return Started(await call.service.app.find(unfinished.run_id), unfinished.graph, is_new=False)


async def _unfinished(call: Call, thread_id: str) -> RunStatus | None:
    """The first run of the thread that has not ended."""
    last: RunStatus | None = None
    while page := await call.service.app.runs(thread_id=thread_id, after=last):
        for status in page:
            if not status.has_ended:
                return status
        last = page[-1]
    return None


async def _fork(call: Call, graph: str, thread_id: str, checkpoint: str) -> None:
    """Make a checkpoint the newest one of its thread, by a copy of it, unless it is that already."""
    own = call.service.app.graph(graph)
    newest = await own.aget_state(thread_id=thread_id)
    if newest.config["configurable"].get("checkpoint_id") != checkpoint:
        key = _key_of(call)
        # A repeated request copies the checkpoint once.
        of_fork = None if key is None else f"fork-{key}"
        await own.aupdate_state(thread_id=thread_id, checkpoint_id=checkpoint, as_node="__copy__", key=of_fork)


async def _start_stateless(call: Call, body: RunBody, graph: str) -> Started:
    if body.command is not None and body.command.resume is not UNSET:
        raise Problem(422, "A run without a thread has nothing to answer: name the thread in the path")
    if _checkpoint_of(call, body) is not None:
        raise Problem(422, "A run without a thread has no checkpoint: name the thread in the path")
    key = _key_of(call)
    thread_id = call.stored(str(uuid4()) if key is None else f"run-{key}")
    started = await _start(call, body, graph, thread_id)
    return msgspec.structs.replace(started, is_stateless=True, is_temporary=body.on_completion != "keep")


async def _start(call: Call, body: RunBody, graph: str, thread_id: str) -> Started:
    handle = await call.service.app.start(
        graph,
        body.input if body.command is None else _command(body.command),
        _config(body),
        key=_key_of(call),
        thread_id=thread_id,
        delay=body.after_seconds or None,
        if_busy=_IF_BUSY[body.multitask_strategy or "enqueue"],
        events="all",
        durability=body.durability,
        interrupt_before=body.interrupt_before,
        interrupt_after=body.interrupt_after,
    )
    return Started(handle, graph, is_new=handle.is_new)


def _config(body: RunBody) -> dict[str, Any]:
    given = body.config
    config: dict[str, Any] = {}
    if given is not None:
        config = {name: value for name, value in msgspec.structs.asdict(given).items() if value is not None}
    own = {name: value for name, value in config.pop("configurable", {}).items() if name not in _PLACE}
    metadata = {**config.pop("metadata", {}), **(body.metadata or {})}
    return {**config, **({"configurable": own} if own else {}), **({"metadata": metadata} if metadata else {})}


_PLACE = ("thread_id", "checkpoint_id", "checkpoint_ns", "checkpoint_map")


def _command(body: CommandBody) -> Command[Any]:
    goto = body.goto if isinstance(body.goto, list) else [] if body.goto is None else [body.goto]
    return Command(update=body.update, goto=[_send(each) for each in goto])


def _send(target: str | SendBody) -> str | Send:
    return target if isinstance(target, str) else Send(target.node, target.input)


def _key_of(call: Call) -> str | None:
    """The key of a request that is to be applied once."""
    return call.request.headers.get("idempotency-key")
