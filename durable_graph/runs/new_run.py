"""The arguments of `App.start`, checked, as the row of a new run."""

import os
from typing import Any, Literal, Unpack, get_args
from uuid import uuid4

from durable_graph._runtime.entry.options import Config, ThreadId, call_config, check_config, read_thread_place
from durable_graph._runtime.request.identifiers import read_key
from durable_graph.app.compiled import CompiledGraph
from durable_graph.checkpointing import Checkpointer
from durable_graph.checkpointing.digests import origin_of
from durable_graph.checkpointing.event_log import KeepsEvents
from durable_graph.checkpointing.rules import drawn_incarnation
from durable_graph.errors import InvalidOptionError, MissingPowerError
from durable_graph.graph import Command
from durable_graph.graph.durations import Duration, microseconds
from durable_graph.run_records import IfBusy, NewRun
from durable_graph.runs.claimed_request import (
    StartOptions,
    check_start,
    digest_of_input,
    encoded_input,
    encoded_options,
)

Priority = Literal["first", "high", "normal", "low", "last"]
PRIORITIES: dict[Priority, int] = {"first": 0, "high": 1, "normal": 2, "low": 3, "last": 4}

Graph = CompiledGraph[Any, Any, Any, Any]


def new_run(
    graph: Graph,
    saver: Checkpointer,
    given: Any,
    config: Config | None = None,
    *,
    has_context: bool,
    key: str | None = None,
    thread_id: ThreadId | None = None,
    delay: Duration | None = None,
    deadline: Duration | None = None,
    priority: Priority = "normal",
    if_busy: IfBusy = "wait",
    events: Literal["all", "followed"] = "followed",
    **options: Unpack[StartOptions],
) -> NewRun:
    """The run to accept. `has_context` says that the app makes contexts for the graph. Raises as `App.start` does."""
    topology, most = graph.topology, saver.max_value_bytes
    name = topology.graph_name or ""
    if topology.context is not None and not has_context:
        allowed = f"a function that makes the context of {name!r}, in App(..., context={{{name!r}: ...}})"
        raise InvalidOptionError("context", None, allowed=allowed)
    check_config(config)
    merged = call_config(graph.setup.config, config, options)
    if given is None and thread_id is None and not ((merged or {}).get("configurable") or {}).get("thread_id"):
        allowed = "the input of a new run; None runs the pending tasks of a thread: pass its thread_id"
        raise InvalidOptionError("input", None, allowed=allowed)
    thread = _thread(merged, thread_id, None if key is None else read_key(key))
    metadata = check_start(graph, given, merged, options, thread)
    _check_choices(priority, if_busy, events, saver)
    incarnation = drawn_incarnation()
    return NewRun(
        thread=thread,
        graph=name,
        queue=name,
        input=encoded_input(topology, given, most),
        input_digest=b"" if key is None else digest_of_input(topology, given, key),
        options=encoded_options(
            topology, merged, options, most, keeps_events=events == "all", is_command=isinstance(given, Command)
        ),
        incarnation=incarnation,
        origin=origin_of(thread, incarnation),
        epoch=drawn_incarnation(),
        token=os.urandom(16),
        formerly=topology.formerly,
        key=key,
        priority=PRIORITIES[priority],
        delay=microseconds("delay", delay),
        time_limit=microseconds("deadline", deadline, least=0.001),
        if_busy=if_busy,
        metadata=metadata,
    )


def _check_choices(priority: object, if_busy: object, events: object, saver: Checkpointer) -> None:
    if not isinstance(priority, str) or priority not in PRIORITIES:
        raise InvalidOptionError("priority", priority, allowed=", ".join(map(repr, PRIORITIES)))
    if if_busy not in get_args(IfBusy):
        raise InvalidOptionError("if_busy", if_busy, allowed=", ".join(map(repr, get_args(IfBusy))))
    if events not in ("all", "followed"):
        raise InvalidOptionError("events", events, allowed="'all' or 'followed'")
    if events == "all" and not isinstance(saver, KeepsEvents):
        raise MissingPowerError(type(saver).__name__, "events")


def _thread(config: Config | None, thread_id: ThreadId | None, key: str | None) -> str:
    given = ((config or {}).get("configurable") or {}).get("thread_id") if thread_id is None else thread_id
    if given is None:
        return f"run-{key}" if key is not None else str(uuid4())
    return read_thread_place(config, thread_id, None).thread_id
