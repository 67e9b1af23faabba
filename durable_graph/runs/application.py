"""`App`: the graphs of a program by name, and the store in which their runs outlive every process."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Any, Literal, Unpack
from weakref import WeakSet

import msgspec

from durable_graph._runtime.entry.options import (
    Config,
    ThreadId,
    read_thread_place,
)
from durable_graph.app.compiled import CompiledGraph
from durable_graph.checkpointing import Checkpointer, open_checkpointer
from durable_graph.checkpointing.columns import key_of
from durable_graph.checkpointing.rules import check_limit
from durable_graph.checkpointing.run_ids import parts_of, run_id
from durable_graph.checkpointing.run_store import KeepsRuns, RunStore
from durable_graph.errors import (
    InvalidOptionError,
    KeyReusedError,
    MissingPowerError,
    ThreadBusyError,
    WrongGraphError,
)
from durable_graph.graph.durations import Duration
from durable_graph.graph.options import is_graph_name
from durable_graph.queue_records import Rate
from durable_graph.run_records import IfBusy, NewRun, QueueStats, RunRow, RunState
from durable_graph.runs import graph_calls, operations
from durable_graph.runs.arguments import read_contexts, read_timeout
from durable_graph.runs.changes import Changes
from durable_graph.runs.claimed_request import StartOptions, sought_metadata
from durable_graph.runs.handle import STATES, RunHandle, RunStatus, StateName, status_of
from durable_graph.runs.messages import Graph, Messages
from durable_graph.runs.new_run import Priority, new_run
from durable_graph.runs.queues import Queues
from durable_graph.runs.schedules import Schedules
from durable_graph.runs.slots import Slots
from durable_graph.runs.threads import AppThreads
from durable_graph.runs.upkeep import KEEP_RESULTS, KeepThreads, Upkeep, read_retention
from durable_graph.runs.worker import DEFAULT_MAX_CRASHES, DEFAULT_TTL, Worker
from durable_graph.runs.worker_of_calls import WorkerOfCalls

_NAMES = "names that are text of 1 to 255 bytes, without NUL and without a lone surrogate"


class AppStats(msgspec.Struct, frozen=True):
    """The runs of a store by queue, and the number of workers whose lease has not ended."""

    queues: list[QueueStats]
    workers: int


class App(Messages, Schedules):
    """Graphs by name, and a store that keeps their runs: `App({"order": order_graph}, store="sqlite:///runs.db")`.

    A run that `start` has accepted is executed by a worker of any process, and taken over by another one if that
    process ends. Every method may be called in any process that has the same store. The store is a URL or a saver; it
    opens on first use. `async with app` and `aclose` close it, unless it was given as a saver. `async with app` may be
    entered again, and several times at once: then the last block closes the store. A URL is read at start-up, outside
    of the event loop: see `open_checkpointer`.
    """

    def __init__(
        self,
        graphs: Mapping[str, Graph],
        store: str | Checkpointer,
        *,
        context: Mapping[str, Callable[[], Any]] | None = None,
        keep_results: timedelta | None = KEEP_RESULTS,
        keep_threads: KeepThreads | None = None,
        keep_checkpoints: int | None = None,
    ) -> None:
        """`context` has, for each graph with a `context_schema`, a function that makes its context on the worker, once
        for each execution: a context is not stored.

        Workers of the app delete a run `keep_results` after its end (None: with its thread), and finished threads
        after `keep_threads`: a time for the threads that are done, or times by status. By default they keep threads.
        With `keep_checkpoints=n`, they remove older checkpoints while a run executes, so its thread has at most about
        `2 * n` checkpoints: a graph whose loop never ends has a bounded history.
        Set the same times in every process.

        Raises `InvalidOptionError` for a graph with another name or another saver, and `MissingPowerError`.
        """
        self._owns_saver = isinstance(store, str)
        self._entered = 0
        saver = open_checkpointer(store) if isinstance(store, str) else store
        if not isinstance(saver, KeepsRuns):
            raise MissingPowerError(type(saver).__name__, "runs")
        self._saver: Checkpointer = saver
        self._runs: RunStore = saver.runs
        self._slots = Slots(self._runs)
        self._workers: WeakSet[Worker] = WeakSet()
        self._worker_of_calls: dict[asyncio.AbstractEventLoop, WorkerOfCalls] = {}
        if not isinstance(graphs, Mapping) or not graphs:
            raise InvalidOptionError("graphs", graphs, allowed="a dict of compiled graphs by name")
        self._graphs = {name: self._bound(name, graph) for name, graph in graphs.items()}
        self._retention = read_retention(keep_results, keep_threads, keep_checkpoints)
        self._queues = Queues(self._graphs, saver)
        self._changes = Changes(saver, self._queues)
        self._contexts = read_contexts(context)
        for name in self._contexts:
            self.graph(name)

    def _bound(self, name: str, graph: Graph) -> Graph:
        if not is_graph_name(name):
            # As `compile` refuses it.
            raise InvalidOptionError("graphs", name, allowed=_NAMES)
        if not isinstance(graph, CompiledGraph):
            raise InvalidOptionError(f"graphs[{name!r}]", graph, allowed="a compiled graph")
        own = graph.topology.graph_name
        if own not in (None, name):
            raise InvalidOptionError(
                f"graphs[{name!r}]", own, allowed=f"a graph with the name {name!r}, or without a name"
            )
        if graph.checkpointer not in (None, self._saver):
            what = type(graph.checkpointer).__name__
            raise InvalidOptionError(f"graphs[{name!r}]", what, allowed="a graph without a checkpointer of its own")
        return graph_calls.bound(graph, self._saver, name)

    # Runs

    async def start(
        self,
        graph: str,
        input: Any,  # noqa: A002  # LangGraph's name
        config: Config | None = None,
        *,
        key: str | None = None,
        thread_id: ThreadId | None = None,
        delay: Duration | None = None,
        deadline: Duration | None = None,
        priority: Priority = "normal",
        if_busy: IfBusy = "wait",
        events: Literal["all", "followed"] = "followed",
        queue: str | None = None,
        limit_key: str | None = None,
        **options: Unpack[StartOptions],
    ) -> RunHandle:
        """Accept a run: recorded when this returns, and executed by a worker of any process.

        `input`, `config` and the options are as for `ainvoke`, and stored with the run; None runs the pending tasks of
        the thread, such as those of a fork, and a `Command` has no answers. A `checkpoint_id` is refused, because a run
        begins at the newest checkpoint. With a `key` the run is started once: a repetition with the same
        input returns the same run (`handle.is_new` is False), in any process; without a `thread_id` its thread is
        `run-<key>`. Without both, the thread has a random id. `delay` is the time until it
        is due, `deadline` the time from then on within which it has to end; both are seconds or a `timedelta`.
        `priority` is "first", "high", "normal", "low" or "last". `if_busy`: while an earlier run of the thread has not
        ended, the new run waits for its end ("wait"), is refused ("reject"), or cancels it. Then the new run begins as
        soon as no worker executes the earlier one any more: from the state that its finished tasks left ("interrupt"),
        or from the checkpoint before it ("rollback"). `events`: `RunHandle.events` has the custom events and messages
        of the run from its first follower on ("followed"), or from its start ("all").

        `queue` is a queue with limits, which `App.queue` of this or another process declares. If no worker serves the
        queue, the run stays ready, and `stats` shows the queue. `limit_key` is a text, such as the id of a tenant: the
        queue's `per_key` limits the runs with the same limit key, and limit keys take turns. Without `queue` the run is
        in the queue of its graph, which has no limits.

        Raises `UnknownNameError` for an unknown graph, `KeyReusedError`, `ThreadBusyError`, `WrongGraphError`, and the
        errors of an invalid input or option; then nothing was accepted.
        """
        run = self._new_run(
            graph,
            input,
            config,
            key=key,
            thread_id=thread_id,
            delay=delay,
            deadline=deadline,
            priority=priority,
            if_busy=if_busy,
            events=events,
            queue=queue,
            limit_key=limit_key,
            **options,
        )
        return await self._accepted(run, None)

    def _new_run(self, graph: str, given: Any, config: Config | None, **options: Any) -> NewRun:
        queue, limit_key = options.pop("queue", None), options.pop("limit_key", None)
        run = new_run(self.graph(graph), self._saver, given, config, has_context=graph in self._contexts, **options)
        return self._queues.placed(run, queue, limit_key)

    async def _accepted(self, run: NewRun, worker: Worker | None) -> RunHandle:
        """The accepted run, which this worker executes, or any worker without one. Raises if the run is refused."""
        accepted = await (self._runs if worker is None else worker).accept(run)
        if accepted.stored_graph is not None:
            raise WrongGraphError(run.thread, stored=accepted.stored_graph, called=run.graph)
        if accepted.lost_before:
            allowed = "'interrupt' or 'wait': the checkpoint before the thread's unfinished run was pruned"
            raise InvalidOptionError("if_busy", run.if_busy, allowed=allowed)
        if accepted.busy_seq:
            raise ThreadBusyError.of_run(run.thread, run_id(key_of(run.thread), accepted.busy_seq))
        if not accepted.is_new and run.key is not None and accepted.input_digest != run.input_digest:
            raise KeyReusedError.of_run(run.thread, run.key, stored=accepted.input_digest, given=run.input_digest)
        if accepted.state is not RunState.RUNNING:
            self._changes.is_ready(run.queue)
        if run.if_busy in ("interrupt", "rollback"):
            before = await self._runs.find_unfinished(run.thread)
            if before is not None and before.seq != accepted.seq:
                # The worker that executes the run before this one is asked to cancel it.
                self._changes.is_cancelled(before)
            for child in await operations.cancel_orphans(self._runs, 50):
                self._changes.is_cancelled(child)
        return RunHandle(self, run.thread, accepted.seq, is_new=accepted.is_new)

    async def run(
        self,
        graph: str,
        input: Any,  # noqa: A002  # LangGraph's name
        config: Config | None = None,
        *,
        timeout: float | None = None,  # noqa: ASYNC109  # a time limit is what callers ask for
        **options: Any,
    ) -> Any:
        """`start`, and the run's output: `ainvoke` for services. If this process ends, another worker continues it.

        A worker of this `App` in this process with a free slot claims the run as it is accepted, in one statement.
        Without a worker, one executes runs for as long as this call, or another one beside it, waits.
        """
        limit, run = read_timeout(timeout), self._new_run(graph, input, config, **options)
        calls = WorkerOfCalls.here(self._worker_of_calls, self.worker)
        if calls.is_used or not self._changes.has_worker:
            async with calls:
                return await self._run_here(run, limit)
        return await self._run_here(run, limit)

    async def _run_here(self, run: NewRun, timeout: float | None) -> Any:  # noqa: ASYNC109  # as above
        worker = next((each for each in self._workers if each.can_accept(run)), None)
        handle = await self._accepted(run, worker)
        return await handle.result(timeout)

    async def find(self, run_id: str) -> RunHandle:
        """The run with this id, started by any process. Raises `UnknownRunError`."""
        row = await operations.find_run(self._runs, run_id)
        return RunHandle(self, row.thread, row.seq, is_new=False)

    async def runs(
        self,
        *,
        graph: str | None = None,
        state: StateName | None = None,
        thread_id: ThreadId | None = None,
        metadata: Mapping[str, str | int | bool | None] | None = None,
        limit: int = 100,
        after: RunStatus | None = None,
    ) -> list[RunStatus]:
        """Runs in the order of their threads' ids; `after` is the last one of the page before.

        `metadata`: only runs whose metadata (`config["metadata"]` of the start) has all these values. The store reads
        the rows of runs one after the other until it has found `limit`, in the worst case all rows: pass the
        `thread_id` too if you know it.

        Raises `UnknownNameError` for an unknown graph, and `InvalidOptionError` for an unknown state or for a value
        that is not a text, whole number, bool or None.
        """
        check_limit(limit)
        if graph is not None:
            self.graph(graph)
        if state is not None and (not isinstance(state, str) or state not in STATES):
            raise InvalidOptionError("state", state, allowed=", ".join(map(repr, STATES)))
        if after is not None and not isinstance(after, RunStatus):
            raise InvalidOptionError("after", after, allowed="the last RunStatus of the page before")
        thread = None if thread_id is None else read_thread_place(None, thread_id, None).thread_id
        found = await self._runs.list_runs(
            graph=graph,
            state=None if state is None else STATES[state],
            thread=thread,
            metadata=sought_metadata(metadata),
            limit=limit,
            after=None if after is None else (after.thread_id, parts_of(after.run_id)[1]),
        )
        return [status_of(row) for row in found]

    async def unfinished(self, thread_id: ThreadId) -> RunStatus | None:
        """The first run of the thread that has not ended, None if there is none."""
        row = await self._runs.find_unfinished(read_thread_place(None, thread_id, None).thread_id)
        return None if row is None else status_of(row)

    async def cancel(self, run_id: str, reason: str = "cancelled by a caller") -> RunStatus:
        """Cancel a run: recorded when this returns. See `RunHandle.cancel`. Raises `UnknownRunError`."""
        row = await operations.cancel_run(self._runs, await operations.find_run(self._runs, run_id), reason)
        self._changes.is_cancelled(row)
        for child in await operations.cancel_children(self._runs, row):
            self._changes.is_cancelled(child)
        return status_of(row)

    async def retry(self, run_id: str) -> RunHandle:
        """Make a failed, cancelled or quarantined run ready again: it continues where it stopped.

        Raises `UnknownRunError`, and `RunFailedError` for a run that cannot be retried, because new input followed it
        in its thread. A run that has not ended stays as it is.
        """
        row = await operations.retry_run(self._runs, await operations.find_run(self._runs, run_id))
        self._changes.is_ready(row.queue)
        return RunHandle(self, row.thread, row.seq, is_new=False)

    async def delete_run(self, run_id: str) -> RunStatus:
        """Delete a run that has ended, with its key and its events, before `keep_results` is over. Its thread stays. A
        run that has not ended stays as it is, and so does a quarantined one. Returns the status before.

        Raises `UnknownRunError`.
        """
        row = await operations.delete_run(self._runs, await operations.find_run(self._runs, run_id))
        return status_of(row)

    @property
    def threads(self) -> AppThreads:
        """The threads of the store, their status and their metadata. Raises `MissingPowerError`."""
        return AppThreads(self._saver, self._runs)

    @property
    def graphs(self) -> Mapping[str, Graph]:
        """All graphs by name, bound to the store."""
        return MappingProxyType(self._graphs)

    @property
    def checkpointer(self) -> Checkpointer:
        """The saver of the graphs and of their runs."""
        return self._saver

    def queue(
        self, name: str, *, concurrency: int | None = None, per_key: int | None = None, rate: Rate | None = None
    ) -> None:
        """Declare a queue with limits over all processes:
        `app.queue("llm", concurrency=20, per_key=2, rate=Rate(300, per=60))`. Call it in every process whose workers
        serve the queue, before they begin. The queue has the runs of any graph that are started with `queue="llm"`.

        At most `concurrency` runs of the queue are executed at the same time, and at most `per_key` runs with the same
        `limit_key`. A run that waits does not count. `rate` limits the claims of runs by workers: the first claim of a
        run counts, and every claim after a wait. Workers record the limits when they begin. The limits of the newest
        declaration hold in all processes, and `stats` shows them.

        Raises `InvalidOptionError` for a name that is invalid or that of a graph, for a limit that is not a positive
        whole number, and for a second declaration with other limits. Raises `MissingPowerError`.
        """
        self._queues.declare(name, concurrency, per_key, rate)

    def worker(
        self,
        *,
        concurrency: int = 100,
        lease: float = DEFAULT_TTL,
        grace: float = 10.0,
        max_crashes: int = DEFAULT_MAX_CRASHES,
    ) -> Worker:
        """A worker for the graphs of this app. See `Worker`."""
        worker = Worker(
            self._graphs,
            self._contexts,
            self._saver,
            self._runs,
            self._changes,
            concurrency=concurrency,
            lease=lease,
            grace=grace,
            max_crashes=max_crashes,
            upkeep=Upkeep(self._saver, self._runs, self._retention),
            slots=self._slots,
            queues=self._queues,
        )
        self._workers.add(worker)
        return worker

    async def stats(self) -> AppStats:
        """The number of runs of each queue, its limits, and the number of workers. The runs of a queue without workers
        stay ready until a worker serves it."""
        queues = await self._queues.stats(await self._runs.queue_stats())
        return AppStats(queues, await self._runs.count_workers())

    async def aclose(self) -> None:
        """Close the store, if this app opened it. Calling it again does nothing."""
        if self._owns_saver:
            await self._saver.aclose()

    async def __aenter__(self) -> "App":
        if self._owns_saver and not self._entered:
            await self._saver.__aenter__()
        self._entered += 1
        return self

    async def __aexit__(self, *_: object) -> None:
        self._entered -= 1
        # Several services of a process may have entered the same app.
        if not self._entered:
            await self.aclose()

    # For handles and tests

    @property
    def names(self) -> list[str]:
        """The names of the graphs."""
        return list(self._graphs)

    @property
    def store(self) -> RunStore:
        """The store of the runs."""
        return self._runs

    async def output_of(self, row: RunRow) -> Any:
        """The output of a run that is done."""
        return await graph_calls.output_at(self.graph(row.graph), self._saver, row.thread, row.checkpoint)

    @property
    def changes(self) -> Changes:
        """The notices of this app: they wake its workers, and the callers that wait for a change."""
        return self._changes
