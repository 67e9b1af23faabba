"""The methods of an `App` for schedules: the calendars by which workers start runs."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Literal, Protocol, Unpack
from weakref import WeakSet

from durable_graph._runtime.entry.options import Config, ThreadId
from durable_graph.checkpointing import Checkpointer
from durable_graph.checkpointing.rules import check_limit, drawn_incarnation
from durable_graph.checkpointing.schedule_store import Overlap, ScheduleRow, ScheduleStore
from durable_graph.errors import (
    InvalidOptionError,
    ScheduleExistsError,
    UnknownOptionError,
)
from durable_graph.graph.durations import Duration
from durable_graph.run_records import NewRun
from durable_graph.runs.occurrences import calendar_of
from durable_graph.runs.schedule_changes import change_row, find_named_row, new_row, redeclared, schedules_of
from durable_graph.runs.schedule_handle import ScheduleHandle, SchedulesOfApp, ScheduleStatus, schedule_status_of
from durable_graph.runs.schedule_options import (
    SCHEDULED_OPTIONS,
    CatchUp,
    Declaration,
    ScheduledOptions,
    check_overlap,
    read_columns,
    read_metadata,
    read_name,
    started,
)
from durable_graph.runs.worker import Worker


class Schedules(SchedulesOfApp, Protocol):
    """The methods of an `App` for schedules."""

    _saver: Checkpointer
    _contexts: dict[str, Callable[[], Any]]
    _workers: WeakSet[Worker]

    def _new_run(self, graph: str, given: Any, config: Config | None, **options: Any) -> NewRun: ...

    async def schedule(
        self,
        name: str,
        graph: str,
        input: Any = None,  # noqa: A002  # LangGraph's name
        config: Config | None = None,
        *,
        cron: str,
        zone: str = "UTC",
        overlap: Overlap = "skip",
        catch_up: CatchUp = "last",
        jitter: Duration = 0,
        until: datetime | None = None,
        thread_id: ThreadId | None = None,
        metadata: Mapping[str, Any] | None = None,
        paused: bool = False,
        if_different: Literal["raise", "change"] = "raise",
        **options: Unpack[ScheduledOptions],
    ) -> ScheduleHandle:
        """Start runs of a graph by a calendar. The schedule is recorded when this returns.

        An occurrence is one time of the calendar. A worker that has the graph fires it: it starts the run of the
        occurrence. Each occurrence is fired once over all workers, also if workers are killed.

        Every process may call this when it starts: a repeated call with the same content changes nothing. If the store
        has a schedule of this name with different content, the call raises `ScheduleExistsError`, or, with
        `if_different="change"`, changes that schedule as `ScheduleHandle.change` does.

        `cron` has five fields: minute, hour, day of the month, month, day of the week; a sixth one before them is the
        second. `zone` is a time zone, such as "Europe/Berlin". With a fixed minute and hour, an occurrence in an hour
        that the zone skips is fired at the end of that hour, and an occurrence in an hour that the zone repeats is
        fired once. With a star in the minute or the hour, and with six fields, the occurrences follow the clock.

        `overlap` decides while an earlier run of the schedule has not ended: an occurrence is skipped ("skip"); one
        occurrence ("queue_one") or every occurrence ("queue") waits for the end of the run; the occurrence cancels the
        run ("cancel"); or it starts a run beside it ("parallel"). `catch_up` decides for occurrences that no worker has
        fired in time: the last one is fired ("last"), the last one if it is at most a minute old (None), or all that
        are at most as old as a `timedelta`. `jitter` is the longest delay of an occurrence, in seconds or as a
        `timedelta`: all processes derive the same delay. `until` is the time after which there is no occurrence. A
        schedule that is made `paused` fires nothing until `ScheduleHandle.resume`.

        Each run has a thread of its own, `<name>-<occurrence>`, or all runs have the thread `thread_id`: each continues
        with the state that the previous run left. `input`, `config` and the options are as for `App.start`; an input of
        None is an empty dict. The metadata of a run have the keys "schedule" (the name) and "occurrence" (the time in
        UTC as text), also in the `config` of its nodes. `metadata` is that of the schedule, a dict of JSON values.

        Raises `InvalidOptionError` for an invalid option, `UnknownNameError` for an unknown graph,
        `MissingPowerError` for a store without schedules, and the errors of an invalid input.
        """
        store = schedules_of(self._saver)
        read_name(name)
        if if_different not in ("raise", "change"):
            raise InvalidOptionError("if_different", if_different, allowed="'raise' or 'change'")
        if not isinstance(paused, bool):
            raise InvalidOptionError("paused", paused, allowed="True or False")
        columns = read_columns(
            {
                "cron": cron,
                "zone": zone,
                "overlap": overlap,
                "catch_up": catch_up,
                "jitter": jitter,
                "until": until,
                "thread_id": thread_id,
            }
        )
        bound, given = self.graph(graph), {} if input is None else input
        check_overlap(columns["overlap"], columns["thread"])
        calendar = await calendar_of(cron, zone)
        run = self.scheduled_run(graph, given, config, columns["thread"] or name, options)
        declared = Declaration({"graph": graph, **columns}, started(bound, given, run), read_metadata(metadata))
        found = await store.find(name)
        if found.row is None:
            row = new_row(drawn_incarnation(), name, declared.stored(), calendar, found.now, is_paused=paused)
            stored = await store.create(row)
            if stored.id == row.id:
                self.schedule_changed()
                return ScheduleHandle(self, name, row.id, is_new=True)
        else:
            stored = found.row
        await self._declare_again(store, stored, declared, change=if_different == "change")
        return ScheduleHandle(self, name, stored.id)

    async def _declare_again(
        self, store: ScheduleStore, row: ScheduleRow, declared: Declaration, *, change: bool
    ) -> None:
        """The store has a schedule of this name: check that it is the same one, or change it."""
        columns = declared.stored()
        if row.digest == columns["digest"]:
            return
        if not change:
            raise ScheduleExistsError(row.name, differences=declared.differences(row))
        await change_row(store, row.id, row.name, lambda row, now: redeclared(row, columns, now))
        self.schedule_changed()

    async def find_schedule(self, schedule: str) -> ScheduleHandle:
        """The schedule with this name or this id, made by any process. Raises `UnknownScheduleError`."""
        row, _ = await find_named_row(schedules_of(self._saver), schedule)
        return ScheduleHandle(self, row.name, row.id)

    async def schedules(self, *, limit: int = 100, after: ScheduleStatus | None = None) -> list[ScheduleStatus]:
        """The schedules of the store in the order of their names; `after` is the last one of the page before."""
        check_limit(limit)
        if after is not None and not isinstance(after, ScheduleStatus):
            raise InvalidOptionError("after", after, allowed="the last ScheduleStatus of the page before")
        store = schedules_of(self._saver)
        page = await store.list_schedules(limit=limit, after="" if after is None else after.name)
        return [schedule_status_of(row, page.now) for row in page.rows]

    # For handles

    def schedule_store(self) -> ScheduleStore:
        """The store of the schedules. Raises `MissingPowerError`."""
        return schedules_of(self._saver)

    def scheduled_run(
        self, graph: str, given: Any, config: Config | None, thread: str, options: ScheduledOptions
    ) -> NewRun:
        """A run of a schedule, whose input and options are checked as those of `App.start`."""
        UnknownOptionError.check("app.schedule", options, known=SCHEDULED_OPTIONS)
        return self._new_run(graph, given, config, thread_id=thread, **options)

    def schedule_changed(self) -> None:
        """Workers of this app in this event loop look for due schedules now."""
        for worker in list(self._workers):
            worker.schedules.nudge()

    @property
    def max_value_bytes(self) -> int:
        """The limit for the bytes of a value."""
        return self._saver.max_value_bytes
