"""Threads, states, runs and assistants as LangGraph's clients read them: dicts to encode as JSON."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from durable_graph import Interrupt, StateSnapshot
from durable_graph.runs import RunStatus, ThreadSummary
from durable_graph_http.call import Call
from durable_graph_http.problems import Problem
from durable_graph_http.starting import assistant_id_of

Json = dict[str, Any]

RUN_FIELDS = (
    "run_id",
    "thread_id",
    "assistant_id",
    "created_at",
    "updated_at",
    "status",
    "metadata",
    "multitask_strategy",
    "kwargs",
    "cancel_reason",
)
THREAD_FIELDS = (
    "thread_id",
    "created_at",
    "updated_at",
    "state_updated_at",
    "metadata",
    "config",
    "context",
    "status",
    "values",
    "interrupts",
    "error",
)
STATE_FIELDS = (
    "values",
    "next",
    "tasks",
    "metadata",
    "created_at",
    "checkpoint",
    "parent_checkpoint",
    "interrupts",
    "checkpoint_id",
    "parent_checkpoint_id",
)


def selected(found: Json, fields: Sequence[str] | None, known: Sequence[str], *, has_values: bool = False) -> Json:
    """The chosen fields of an object, all without a choice. With `has_values`, `values.<key>` chooses a key of the
    state. Raises `Problem` for an unknown field."""
    if not fields:
        return found
    keys: set[str] = set()
    for field in fields:
        if has_values and field.startswith("values."):
            keys.add(field.removeprefix("values."))
        elif field not in known:
            raise Problem(422, f"select takes {', '.join(known)}, and not {field!r:.100}")
    chosen = {field: found[field] for field in known if field in fields and field in found}
    values = found.get("values")
    if keys and "values" not in chosen and isinstance(values, Mapping):
        chosen["values"] = {key: value for key, value in values.items() if key in keys}
    return chosen


def run_object(call: Call, status: RunStatus) -> Json:
    """A run. The strategy for busy threads has been applied when the run was accepted, and is not stored."""
    accepted = status.accepted_at
    return {
        "run_id": status.run_id,
        "thread_id": call.shown(status.thread_id),
        "assistant_id": assistant_id_of(status.graph),
        "created_at": accepted,
        "updated_at": status.ended_at or accepted,
        "status": run_status(status),
        "metadata": status.metadata,
        "multitask_strategy": None,
        "kwargs": {},
        "cancel_reason": call.plain(status.error) if status.state == "cancelled" and status.error else None,
        "attempt": status.attempt,
        "error": None if status.error is None else call.plain(status.error),
    }


def run_status(status: RunStatus) -> str:
    """The status of a run by LangGraph's names. A run that waits for a time or a message is running."""
    match status.state:
        case "ready" | "blocked":
            return "pending"
        case "running":
            return "running"
        case "waiting":
            return "interrupted" if status.is_interrupted else "running"
        case "done":
            return "success"
        case "cancelled":
            return "interrupted"
        case _:
            has_passed = status.failure is not None and status.failure.kind == "deadline"
            return "timeout" if has_passed else "error"


def thread_object(call: Call, summary: ThreadSummary, snapshot: StateSnapshot | None) -> Json:
    """A thread, with the state that its graph reads."""
    graph = summary.graph
    of_graph = {} if graph is None else {"graph_id": graph, "assistant_id": assistant_id_of(graph)}
    return {
        "thread_id": call.shown(summary.thread_id),
        "created_at": summary.created_at,
        "updated_at": summary.updated_at,
        "state_updated_at": summary.updated_at,
        "metadata": {**of_graph, **summary.metadata},
        "status": summary.status,
        "config": {},
        "values": None if snapshot is None else snapshot.values or None,
        "interrupts": {} if snapshot is None else _interrupts_by_task(snapshot),
        "error": None if summary.error is None else call.plain(summary.error),
    }


def _interrupts_by_task(snapshot: StateSnapshot) -> dict[str, list[Json]]:
    found = {task.id: interrupt_objects(task.interrupts) for task in snapshot.tasks}
    return {id_: interrupts for id_, interrupts in found.items() if interrupts}


def interrupt_objects(interrupts: Iterable[Interrupt]) -> list[Json]:
    """The questions among the interrupts: a sleep or a message has no answer."""
    return [{"value": each.value, "id": each.id} for each in interrupts if each.is_question]


def state_object(call: Call, snapshot: StateSnapshot) -> Json:
    """A thread's state at a checkpoint."""
    checkpoint = checkpoint_object(call, snapshot.config)
    parent = None if snapshot.parent_config is None else checkpoint_object(call, snapshot.parent_config)
    return {
        "values": snapshot.values,
        "next": snapshot.next,
        "tasks": [_task_object(call, task) for task in snapshot.tasks],
        "metadata": snapshot.metadata or {},
        "created_at": snapshot.created_at,
        "checkpoint": checkpoint,
        "parent_checkpoint": parent,
        "interrupts": interrupt_objects(snapshot.interrupts),
        "checkpoint_id": checkpoint["checkpoint_id"],
        "parent_checkpoint_id": None if parent is None else parent["checkpoint_id"],
    }


def _task_object(call: Call, task: Any) -> Json:
    nested = task.state
    is_read = isinstance(nested, StateSnapshot)
    config = nested.config if is_read else nested
    return {
        "id": task.id,
        "name": task.name,
        "path": task.path,
        "error": None if task.error is None else call.plain(task.error),
        "interrupts": interrupt_objects(task.interrupts),
        "checkpoint": None if config is None else checkpoint_object(call, config),
        "state": state_object(call, nested) if is_read else None,
        "result": task.result,
    }


def checkpoint_object(call: Call, config: Mapping[str, Any]) -> Json:
    """The place of a checkpoint."""
    place = config["configurable"]
    return {
        "thread_id": call.shown(place["thread_id"]),
        "checkpoint_ns": place.get("checkpoint_ns", ""),
        "checkpoint_id": place.get("checkpoint_id"),
        "checkpoint_map": None,
    }


def assistant_object(call: Call, graph: str) -> Json:
    """The assistant of a graph."""
    since: datetime = call.service.since
    return {
        "assistant_id": assistant_id_of(graph),
        "graph_id": graph,
        "name": graph,
        "description": None,
        "config": {},
        "context": {},
        "metadata": {"created_by": "system"},
        "version": 1,
        "created_at": since,
        "updated_at": since,
    }
