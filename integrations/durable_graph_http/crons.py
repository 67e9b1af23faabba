"""Crons: the schedules of the app, as LangGraph's clients make and change them."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import uuid4

import msgspec
from msgspec import UNSET, UnsetType

from durable_graph.errors import UnknownScheduleError
from durable_graph.runs import ScheduleHandle, ScheduleStatus
from durable_graph_http.bodies import Body, ConfigBody, MultitaskStrategy, RunBody
from durable_graph_http.call import Call, empty_reply, json_reply
from durable_graph_http.messages import Reply
from durable_graph_http.problems import Problem
from durable_graph_http.routes import Route
from durable_graph_http.runs import Limit, Offset, paging
from durable_graph_http.shapes import Json, selected
from durable_graph_http.starting import assistant_id_of, check_body, graph_of, run_config
from durable_graph_http.stateless import check_background

FIELDS = (
    "cron_id",
    "assistant_id",
    "thread_id",
    "on_run_completed",
    "end_time",
    "schedule",
    "timezone",
    "created_at",
    "updated_at",
    "payload",
    "user_id",
    "next_run_date",
    "metadata",
    "enabled",
)

Overlap = Literal["skip", "queue", "cancel", "parallel"]
_OVERLAP: Mapping[str, Overlap] = {"enqueue": "queue", "reject": "skip", "interrupt": "cancel"}
_OWN = "__cron__"
"""The key of a schedule's metadata that has what the client has sent of its runs."""
_PAGE = 500


class RunOfCron(Body, frozen=True, kw_only=True, omit_defaults=True):
    """The members of a cron that are those of its runs, and that a change replaces one by one."""

    input: Any = None
    config: ConfigBody | None = None
    context: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None
    interrupt_before: Literal["*"] | list[str] | None = None
    interrupt_after: Literal["*"] | list[str] | None = None
    durability: Literal["sync", "async", "exit"] | None = None
    stream_mode: str | list[str] | None = None
    stream_subgraphs: bool | None = None
    webhook: str | None = None
    # Ignored.
    checkpoint_during: Any = None
    stream_resumable: Any = None


class CronBody(RunOfCron, frozen=True, kw_only=True, omit_defaults=True):
    """A cron to make. `schedule` has five fields; without a `timezone` it is in UTC. The thread of each run is kept."""

    assistant_id: str
    schedule: str
    timezone: str | None = None
    end_time: datetime | None = None
    enabled: bool | None = None
    multitask_strategy: MultitaskStrategy | None = None
    on_run_completed: Literal["delete", "keep"] | None = None


class ChangeBody(RunOfCron, frozen=True, kw_only=True, omit_defaults=True):
    """What to change of a cron. Only an `end_time` may be null: then the cron has no end."""

    schedule: str | None = None
    timezone: str | None = None
    end_time: datetime | UnsetType | None = UNSET
    enabled: bool | None = None
    on_run_completed: Literal["delete", "keep"] | None = None


class FilterBody(Body, frozen=True, kw_only=True):
    """The crons to find."""

    assistant_id: str | None = None
    thread_id: str | None = None
    enabled: bool | None = None
    metadata: dict[str, Any] | None = None


class SearchBody(FilterBody, frozen=True, kw_only=True):
    """The crons to find, and the page of them."""

    limit: Limit = 10
    offset: Offset = 0
    sort_by: (
        Literal["cron_id", "assistant_id", "thread_id", "created_at", "updated_at", "next_run_date", "end_time"] | None
    ) = None
    sort_order: Literal["asc", "desc"] | None = None
    select: list[str] | None = None


def _cron_object(call: Call, status: ScheduleStatus) -> Json:
    own = status.metadata.get(_OWN, {})
    return {
        "cron_id": status.id,
        "assistant_id": assistant_id_of(status.graph),
        "thread_id": None if status.thread_id is None else call.shown(status.thread_id),
        "on_run_completed": own.get("on_run_completed"),
        "end_time": status.until,
        "schedule": status.cron,
        "timezone": status.zone,
        "created_at": status.created_at,
        "updated_at": status.updated_at,
        "payload": own.get("payload", {}),
        "user_id": None,
        "next_run_date": status.next,
        "metadata": {key: value for key, value in status.metadata.items() if key != _OWN},
        "enabled": not status.is_paused,
    }


async def create(call: Call) -> Reply:
    """Make a cron whose runs have a new thread each, which is kept. Workers start a run at each of its times, once over
    all processes. A repetition with the same `Idempotency-Key` makes no second one."""
    return await _created(call, None)


async def create_for_thread(call: Call) -> Reply:
    """Make a cron whose runs continue one thread. While a run has not ended, the next one waits for it ("enqueue"), is
    left out ("reject"), or cancels it ("interrupt")."""
    await call.service.app.threads.get(call.thread_id)
    return await _created(call, call.thread_id)


async def _created(call: Call, thread_id: str | None) -> Reply:
    body: CronBody = call.body
    graph = graph_of(call, body.assistant_id)
    payload = _payload(body)
    run = _run_of(call, body.assistant_id, payload, body.on_run_completed)
    if body.multitask_strategy == "rollback":
        raise Problem(422, "A cron rolls no run back: multitask_strategy is enqueue, reject or interrupt")
    usual: Overlap = "parallel" if thread_id is None else "queue"
    handle = await call.service.app.schedule(
        call.stored(f"cron-{call.key or uuid4()}", "The Idempotency-Key with 'cron-' before it"),
        graph,
        run.input,
        run_config(run),
        cron=body.schedule,
        zone=body.timezone or "UTC",
        overlap=usual if body.multitask_strategy is None else _OVERLAP[body.multitask_strategy],
        until=_aware(body.end_time),
        thread_id=thread_id,
        metadata=_metadata(body.metadata, payload, body.on_run_completed),
        paused=body.enabled is False,
        events="all",
        durability=body.durability,
        interrupt_before=body.interrupt_before,
        interrupt_after=body.interrupt_after,
    )
    return json_reply(_cron_object(call, await handle.status()))


async def update(call: Call) -> Reply:
    """Change a cron, for its later runs. What the request leaves out stays. With another `schedule` or `timezone` its
    times begin anew from now."""
    body: ChangeBody = call.body
    handle, status = await _cron_of(call, "crons.update")
    own = status.metadata.get(_OWN, {})
    given = _payload(body)
    payload = {**own.get("payload", {}), **given}
    completed = body.on_run_completed or own.get("on_run_completed")
    run = _run_of(call, status.graph, payload, completed)
    changes: dict[str, Any] = {
        "metadata": _metadata(payload.get("metadata") if "metadata" in given else _shown(status), payload, completed)
    }
    if body.schedule is not None:
        changes["cron"] = body.schedule
    if body.timezone is not None:
        changes["zone"] = body.timezone
    if body.end_time is not UNSET:
        changes["until"] = _aware(body.end_time)
    if "input" in given:
        changes["input"] = run.input
    if given.keys() & {"config", "metadata", "interrupt_before", "interrupt_after", "durability"}:
        changes |= {"config": run_config(run), "events": "all", "durability": run.durability}
        changes |= {"interrupt_before": run.interrupt_before, "interrupt_after": run.interrupt_after}
    status = await handle.change(**changes)
    if body.enabled is not None:
        status = await (handle.resume() if body.enabled else handle.pause())
    return json_reply(_cron_object(call, status))


async def delete(call: Call) -> Reply:
    """Delete a cron. Its runs and their threads stay."""
    handle, _ = await _cron_of(call, "crons.delete")
    await handle.delete()
    return empty_reply()


async def search(call: Call) -> Reply:
    """Find crons; without `sort_by`, the newest one first."""
    body: SearchBody = call.body
    found = await _found(call, body)
    by = body.sort_by or "created_at"
    is_descending = body.sort_order == "desc" or (body.sort_order is None and body.sort_by is None)
    # Those without the value are the last ones.
    valued = sorted((each for each in found if each[by] is not None), key=lambda each: each[by], reverse=is_descending)
    page = [*valued, *(each for each in found if each[by] is None)][body.offset : body.offset + body.limit]
    shown = [selected(each, body.select, FIELDS) for each in page]
    return json_reply(shown, headers=paging(body.offset, body.limit, len(found)))


async def count(call: Call) -> Reply:
    """The number of crons that a search would find."""
    return json_reply(len(await _found(call, call.body)))


async def _found(call: Call, body: FilterBody) -> list[Json]:
    thread = None if body.thread_id is None else await call.allowed("crons.search", body.thread_id)
    assistant = None if body.assistant_id is None else assistant_id_of(graph_of(call, body.assistant_id))
    wanted = body.metadata or {}
    found = [_cron_object(call, each) async for each in _statuses(call) if thread in (None, each.thread_id)]
    return [
        each
        for each in found
        if assistant in (None, each["assistant_id"])
        and body.enabled in (None, each["enabled"])
        and all(key in each["metadata"] and each["metadata"][key] == value for key, value in wanted.items())
    ]


async def _statuses(call: Call) -> Any:
    """The schedules that the caller may see."""
    after: ScheduleStatus | None = None
    while page := await call.service.app.schedules(limit=_PAGE, after=after):
        for status in page:
            if _is_visible(call, status):
                yield status
        after = page[-1]


def _is_visible(call: Call, status: ScheduleStatus) -> bool:
    return status.name.startswith(call.prefix) and (status.thread_id or call.prefix).startswith(call.prefix)


async def _cron_of(call: Call, operation: str) -> tuple[ScheduleHandle, ScheduleStatus]:
    """The cron of the path, once `authorize` has allowed the operation on its thread. Raises `UnknownScheduleError`,
    also for a cron of another tenant."""
    cron_id = call.parameters["cron_id"]
    handle = await call.service.app.find_schedule(cron_id)
    status = await handle.status()
    if not _is_visible(call, status):
        raise UnknownScheduleError(cron_id)
    if status.thread_id is not None:
        await call.allowed(operation, call.shown(status.thread_id))
    return handle, status


def _payload(body: RunOfCron) -> Json:
    """The members of a cron's runs that the request has."""
    given: Json = msgspec.to_builtins(body)
    payload = {name: given[name] for name in RunOfCron.__struct_fields__ if given.get(name) is not None}
    if "config" in payload:
        payload["config"] = {name: value for name, value in payload["config"].items() if value is not None}
    return payload


def _run_of(call: Call, assistant_id: str, payload: Json, on_run_completed: Any) -> RunBody:
    """The body of a run of the cron, checked as that of a run in the background."""
    run = msgspec.convert({"assistant_id": assistant_id, **payload, "on_completion": on_run_completed}, RunBody)
    check_body(call, run)
    check_background(run)
    return run


def _metadata(metadata: Json | None, payload: Json, on_run_completed: str | None) -> Json:
    own = {"payload": payload, **({} if on_run_completed is None else {"on_run_completed": on_run_completed})}
    return {**(metadata or {}), _OWN: own}


def _shown(status: ScheduleStatus) -> Json:
    return {key: value for key, value in status.metadata.items() if key != _OWN}


def _aware(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment


_ONE = "/runs/crons/{cron_id}"
_CREATES = (404, 409, 422, 501)

ROUTES: tuple[Route, ...] = (
    Route(
        method="POST",
        path="/runs/crons",
        operation="crons.create",
        handler=create,
        summary="Make a cron",
        body=CronBody,
        answer=Json,
        statuses=_CREATES,
    ),
    Route(
        method="POST",
        path="/threads/{thread_id}/runs/crons",
        operation="crons.create",
        handler=create_for_thread,
        summary="Make a cron of a thread",
        body=CronBody,
        answer=Json,
        statuses=_CREATES,
    ),
    Route(
        method="PATCH",
        path=_ONE,
        operation="crons.update",
        handler=update,
        summary="Change a cron",
        body=ChangeBody,
        answer=Json,
        statuses=_CREATES,
    ),
    Route(
        method="DELETE",
        path=_ONE,
        operation="crons.delete",
        handler=delete,
        summary="Delete a cron",
        status=204,
        statuses=(404, 501),
    ),
    Route(
        method="POST",
        path="/runs/crons/search",
        operation="crons.search",
        handler=search,
        summary="Find crons",
        body=SearchBody,
        answer=list[Json],
        statuses=(404, 422, 501),
    ),
    Route(
        method="POST",
        path="/runs/crons/count",
        operation="crons.search",
        handler=count,
        summary="Count crons",
        body=FilterBody,
        answer=int,
        statuses=(404, 422, 501),
    ),
)
