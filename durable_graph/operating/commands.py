"""The commands of `python -m durable_graph`. The only module that knows cyclopts."""

import asyncio
import logging
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
from cyclopts import App as Commands
from cyclopts import CycloptsError, Parameter

from durable_graph.checkpointing import Checkpointer, export_threads
from durable_graph.checkpointing.rules import check_limit
from durable_graph.errors import DurableGraphError
from durable_graph.operating.apps import load_app
from durable_graph.operating.checking import check_threads
from durable_graph.operating.printing import age, as_json, fields, printable, table, until
from durable_graph.operating.queues import listed_queues
from durable_graph.operating.schedules import (
    DamagedSchedule,
    delete_schedule,
    listed_schedules,
    pause_schedule,
    resume_schedule,
    trigger_schedule,
)
from durable_graph.operating.serving import serve
from durable_graph.operating.stores import opened, place_of, runs_of
from durable_graph.operating.targets import listed_runs, run_to_cancel, run_to_retry
from durable_graph.operating.threads import ShownThread, listed_threads, shown
from durable_graph.records import ListedStatus
from durable_graph.run_records import QueueStats
from durable_graph.runs import updates
from durable_graph.runs.changes import Changes
from durable_graph.runs.handle import STATES, RunStatus, StateName, status_of
from durable_graph.runs.operations import cancel_children, cancel_run, retry_run
from durable_graph.runs.queues import with_limits
from durable_graph.runs.schedule_handle import ScheduleStatus
from durable_graph.runs.upkeep import Upkeep, days, read_retention
from durable_graph.runs.worker import DEFAULT_MAX_CRASHES, DEFAULT_TTL

T = TypeVar("T")

_LONGEST_QUESTION = 1000
_LATE = timedelta(minutes=1)
"""A schedule that no worker fires for longer is shown as overdue."""

commands: Commands = Commands(
    name="python -m durable_graph",
    help="Execute the runs of an App, and look after a store of threads and runs.",
    help_formatter="plain",
    version_flags=(),
)


Json = Annotated[bool, Parameter(negative="")]


@Parameter(name="*")
@dataclass(frozen=True)
class Place:
    """Which store, and how to print."""

    store: Annotated[str | None, Parameter(env_var="DURABLE_GRAPH_STORE")] = None
    """The URL of the store, such as sqlite:///runs.db or postgresql://user@host/name."""
    app: str | None = None
    """Use the store of an App instead: module:name."""
    json: Json = False
    """Print JSON."""

    def read(self, function: Callable[[Checkpointer], Awaitable[T]]) -> T:
        """What the function makes of the store."""
        place = place_of(self.store, self.app)

        async def main() -> T:
            async with opened(place) as saver:
                return await function(saver)

        return asyncio.run(main())

    def print(self, found: object, lines: Sequence[str]) -> None:
        """Print the data, or the lines for people."""
        text = as_json(found) if self.json else "\n".join(lines)
        if text:
            sys.stdout.write(f"{text}\n")


HERE = Place()


def run(tokens: Sequence[str]) -> int:
    """Run a command. Returns the exit code: 0, 1 for an error of the library, 2 for a mistake in the command line."""
    try:
        code = commands(list(tokens), exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        sys.stderr.write(f"{printable(str(error))}\n")
        return 2
    except DurableGraphError as error:
        sys.stderr.write(f"{printable(str(error))}\n")
        return 1
    return code if isinstance(code, int) else 0


@commands.command
def worker(
    app: str,
    /,
    *,
    concurrency: int = 100,
    lease: float = DEFAULT_TTL,
    grace: float = 10.0,
    max_crashes: int = DEFAULT_MAX_CRASHES,
) -> None:
    """Execute the runs of an App, until SIGTERM or SIGINT.

    The first signal drains the worker: supersteps in flight finish, all other runs are released for other workers, and
    the exit code is 0. A second signal ends the process at once.

    Args:
        app: The App, as module:name.
        concurrency: The largest number of runs that it executes at the same time.
        lease: Seconds. If the process dies, another worker takes its runs over after this time.
        grace: Seconds that supersteps in flight have to finish.
        max_crashes: A run is quarantined after so many deaths of workers in a row without progress.
    """
    loaded = load_app(app)
    # It does nothing if the program has configured logging itself.
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    asyncio.run(serve(loaded, concurrency=concurrency, lease=lease, grace=grace, max_crashes=max_crashes))


@commands.command
def runs(
    *,
    graph: str | None = None,
    state: StateName | None = None,
    thread: str | None = None,
    limit: int = 100,
    place: Place = HERE,
) -> None:
    """List runs, by thread.

    Args:
        graph: Only the runs of this graph.
        state: Only the runs in this state.
        thread: Only the runs of this thread.
        limit: The largest number of runs.
    """

    async def read(saver: Checkpointer) -> list[RunStatus]:
        wanted = None if state is None else STATES[state]
        listed = listed_runs(runs_of(saver), graph=graph, state=wanted, thread=thread)
        return [status_of(row) for row in await _first(listed, limit)]

    found = place.read(read)
    place.print(found, _runs(found))


@commands.command
def queues(*, place: Place = HERE) -> None:
    """List queues with their runs, their limits and the number of workers that serve them."""

    async def read(saver: Checkpointer) -> list[QueueStats]:
        return await with_limits(saver, await runs_of(saver).queue_stats())

    found = place.read(read)
    place.print(found, listed_queues(found, _now()))


@commands.command
def threads(*, status: ListedStatus | None = None, limit: int = 100, place: Place = HERE) -> None:
    """List threads with their metadata, by id; those of one status by the time since which they have it.

    Args:
        status: Only the threads with this status.
        limit: The largest number of threads.
    """
    found = place.read(lambda saver: _first(listed_threads(saver, status), limit))
    now = _now()
    rows = [
        (
            *(each.thread_id, each.status, each.graph, each.next, age(each.since, now)),
            *(_compact(each.metadata) if each.metadata else "", each.error or each.damage),
        )
        for each in found
    ]
    place.print(found, table(("THREAD", "STATUS", "GRAPH", "NEXT", "AGE", "METADATA", "ERROR"), rows))


@commands.command
def show(target: str, /, *, limit: int = 20, place: Place = HERE) -> None:
    """Show a thread or a run: its state, its newest checkpoints, its open questions, and the keys of its
    updates that no run has applied.

    Args:
        target: The id of a thread or a run.
        limit: The largest number of checkpoints.
    """
    found = place.read(lambda saver: shown(saver, target, limit))
    place.print(found, _shown(found))


@commands.command
def cancel(target: str, /, *, reason: str = "cancelled by an operator", place: Place = HERE) -> None:
    """Cancel a run, and its thread with it. A worker that executes it is asked to stop it.

    Args:
        target: The id of a run, or of a thread with an unfinished run.
        reason: It is stored with the run.
    """

    async def change(saver: Checkpointer) -> RunStatus:
        store = runs_of(saver)
        row = await cancel_run(store, await run_to_cancel(saver, store, target), reason)
        await cancel_children(store, row)
        Changes(saver, ()).is_cancelled(row)
        return status_of(row)

    status = place.read(change)
    said = status.state if status.has_ended else "will be cancelled by its worker"
    place.print(status, [f"{status.run_id} {said}"])


@commands.command
def retry(target: str, /, *, place: Place = HERE) -> None:
    """Make a failed, cancelled or quarantined run ready again: it continues where it stopped.

    Args:
        target: The id of a run, or of a thread, whose last run is meant.
    """

    async def change(saver: Checkpointer) -> RunStatus:
        store = runs_of(saver)
        row = await retry_run(store, await run_to_retry(saver, store, target))
        Changes(saver, ()).is_ready(row.queue)
        return status_of(row)

    status = place.read(change)
    place.print(status, [f"{status.run_id} {status.state}"])


@commands.command
def discard_update(thread: str, key: str, /, *, place: Place = HERE) -> int:
    """Drop an update that no run has applied, such as one that fails each run of its thread.

    `show` lists the updates of a thread. The exit code is 1 if the thread has no such update.

    Args:
        thread: The id of the thread.
        key: The key of the update. The error of the run that failed names it.
    """
    is_discarded = place.read(lambda saver: updates.discard_update(runs_of(saver), thread, key))
    said = f"update {key} discarded" if is_discarded else f"thread {thread} has no update {key} that is not applied"
    place.print({"discarded": is_discarded}, [said])
    return 0 if is_discarded else 1


@commands.command
def answer(thread: str, value: str, /, *, app: str, interrupt: str | None = None, json: Json = False) -> None:
    """Answer a question of a thread's unfinished run. A worker continues the run.

    Args:
        thread: The id of the thread.
        value: The answer as JSON. A text that is no JSON is taken as it is.
        app: The App, as module:name: the code of the graph checks the answer.
        interrupt: The id of the question, if there are several, or if another one may follow.
        json: Print JSON.
    """
    loaded = load_app(app)

    async def main() -> tuple[str, ...]:
        async with loaded:
            return await loaded.answer(thread, _json_or_text(value), interrupt_id=interrupt)

    answered = asyncio.run(main())
    Place(json=json).print({"answered": answered}, [f"answered {each}" for each in answered])


@commands.command
def export(path: Path, /, *, thread: list[str] | None = None, place: Place = HERE) -> None:
    """Write threads to a new file, for import_threads, with their runs and the messages that were sent to them.

    Args:
        path: The file. It must not exist.
        thread: The id of a thread; several --thread name several. Without it all threads are exported.
    """
    exported = place.read(lambda saver: export_threads(saver, path, thread_ids=thread))
    place.print(exported, [f"{exported.threads} threads exported"])


@commands.command
def clean(*, keep_results: float = 7, keep_threads: float | None = None, place: Place = HERE) -> None:
    """Delete old runs and old threads, and repair lost wake-ups, as every worker does.

    A thread with an unfinished run stays.

    Args:
        keep_results: Days. Runs that ended earlier are deleted, with their keys.
        keep_threads: Days. Threads that have been done for longer are deleted. Without it none are.
    """
    threads = None if keep_threads is None else days("keep_threads", keep_threads)
    retention = read_retention(days("keep_results", keep_results), threads)
    cleaned = place.read(lambda saver: Upkeep(saver, runs_of(saver), retention).once())
    lines = [f"{cleaned.runs} runs and {cleaned.threads} threads deleted"]
    if cleaned.repaired:
        lines.append(f"{cleaned.repaired} runs made ready whose wake-up was lost")
    place.print(cleaned, lines)


@commands.command
def check(*thread: str, place: Place = HERE) -> int:
    """Check that no row of the store's threads is damaged or missing. The exit code is 1 if one is.

    Args:
        thread: The ids of threads. Without them all threads are checked.
    """
    checked = place.read(lambda saver: check_threads(saver, thread))
    rows = [(each.thread_id, each.checkpoint_id, each.row, each.why) for each in checked.damage]
    damaged = len({each.thread_id for each in checked.damage})
    summary = f"{checked.threads} threads checked, {damaged} damaged"
    place.print(checked, [*table(("THREAD", "CHECKPOINT", "ROW", "DAMAGE"), rows), summary])
    return 1 if checked.damage else 0


schedules: Commands = Commands(name="schedules", help="List, pause, resume, trigger and delete schedules.")
commands.command(schedules)


@schedules.default
def list_schedules(*, limit: int = 100, place: Place = HERE) -> None:
    """List schedules, by name.

    Args:
        limit: The largest number of schedules.
    """
    found = place.read(lambda saver: listed_schedules(saver, limit))
    place.print(found, _schedules(found))


@schedules.command
def pause(schedule: str, /, *, place: Place = HERE) -> None:
    """Pause a schedule: it fires nothing until it is resumed. Runs that it has started go on.

    Args:
        schedule: Its name or its id.
    """
    _print_schedule(place, place.read(lambda saver: pause_schedule(saver, schedule)), "paused")


@schedules.command
def resume(schedule: str, /, *, place: Place = HERE) -> None:
    """Resume a paused schedule, from its next occurrence on.

    Args:
        schedule: Its name or its id.
    """
    _print_schedule(place, place.read(lambda saver: resume_schedule(saver, schedule)), "resumed")


@schedules.command
def trigger(schedule: str, /, *, place: Place = HERE) -> None:
    """Let a worker start a run of a schedule now, as soon as no earlier run of it is unfinished.

    Args:
        schedule: Its name or its id.
    """
    _print_schedule(place, place.read(lambda saver: trigger_schedule(saver, schedule)), "triggered")


@schedules.command
def delete(schedule: str, /, *, place: Place = HERE) -> None:
    """Delete a schedule. Its runs and their threads stay.

    Args:
        schedule: Its name or its id.
    """
    _print_schedule(place, place.read(lambda saver: delete_schedule(saver, schedule)), "deleted")


def _print_schedule(place: Place, found: ScheduleStatus | DamagedSchedule, done: str) -> None:
    place.print(found, [f"schedule {printable(found.name)} is {done}"])


def _schedules(found: Sequence[ScheduleStatus]) -> list[str]:
    now = _now()
    head = ("SCHEDULE", "GRAPH", "CRON", "ZONE", "STATE", "NEXT", "LAST", "FIRED", "SKIPPED", "ERROR")
    rows = [
        (
            *(each.name, each.graph, each.cron, each.zone, _state_of(each), until(each.next, now)),
            *(age(each.last, now), each.fired, each.skipped, each.error),
        )
        for each in found
    ]
    return table(head, rows)


def _state_of(found: ScheduleStatus) -> str:
    if found.is_paused:
        return "paused"
    if found.overdue > _LATE:
        return "overdue"
    return "waiting" if found.waiting is not None else "active" if found.next is not None else "ended"


def _runs(found: Sequence[RunStatus]) -> list[str]:
    now = _now()
    head = ("RUN", "THREAD", "GRAPH", "STATE", "AGE", "DUE", "ATTEMPT", "CRASHES", "WORKER", "ERROR")
    rows = [
        (
            *(each.run_id, each.thread_id, each.graph, each.state, age(each.accepted_at, now)),
            *(until(each.due, now) if each.state in ("ready", "waiting") else "", each.attempt, each.crashes),
            *(each.worker, each.error),
        )
        for each in found
    ]
    return table(head, rows)


def _shown(found: ShownThread) -> list[str]:
    now = _now()
    lines = fields(
        [
            ("thread", found.thread_id),
            ("status", found.status),
            ("graph", found.graph),
            ("next", found.next),
            ("created", found.created_at),
            ("updated", found.updated_at),
            ("error", found.error),
            ("metadata", _compact(found.metadata) if found.metadata else None),
            ("call metadata", _compact(found.call_metadata) if found.call_metadata else None),
        ]
    )
    checkpoints = table(
        ("CHECKPOINT", "STEP", "SOURCE", "WRITERS", "NEXT", "MADE"),
        [
            (each.checkpoint_id, each.step, each.source, each.writers, each.next, each.made_at)
            for each in found.checkpoints
        ],
    )
    questions = table(
        ("INTERRUPT", "NODE", "KEY", "TOPIC", "DUE", "QUESTION"),
        [
            (each.id, each.node, each.key, each.topic, until(each.due, now), _compact(each.value))
            for each in found.interrupts
        ],
        longest=_LONGEST_QUESTION,
    )
    pending = table(("UPDATE",), [(each,) for each in found.updates])
    for part in (_runs(found.runs), checkpoints, questions, pending):
        lines += ["", *part] if part else []
    return lines


def _compact(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _json_or_text(value: str) -> Any:
    try:
        return msgspec.json.decode(value)
    except msgspec.DecodeError:
        return value


async def _first(found: AsyncGenerator[T, None], limit: int) -> list[T]:
    check_limit(limit)
    kept: list[T] = []
    async with aclosing(found):
        async for each in found:
            kept.append(each)
            if len(kept) == limit:
                break
    return kept


def _now() -> datetime:
    return datetime.now(UTC)
