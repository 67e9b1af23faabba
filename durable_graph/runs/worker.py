"""A worker: it claims runs that are due, executes them beside each other, and takes over those of dead workers."""

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from types import TracebackType
from typing import Any, Self

from durable_graph.app.compiled import CompiledGraph
from durable_graph.checkpointing import Checkpointer
from durable_graph.checkpointing.rules import drawn_incarnation
from durable_graph.checkpointing.run_store import RunStore
from durable_graph.checkpointing.waiting import is_set_within
from durable_graph.errors import (
    DurableGraphError,
)
from durable_graph.errors.shown import logged
from durable_graph.run_records import (
    Accepted,
    Claim,
    Heartbeat,
    NewRun,
    NewWorker,
    RequestOfRun,
    RunState,
    Settlement,
)
from durable_graph.runs import graph_calls
from durable_graph.runs.accepting import Accepting
from durable_graph.runs.arguments import check_number
from durable_graph.runs.bounded_history import BoundedHistory
from durable_graph.runs.changes import Changes
from durable_graph.runs.children import Children
from durable_graph.runs.claimed_request import ClaimedCalls
from durable_graph.runs.execution import Execution
from durable_graph.runs.grouped_reads import GroupedReads
from durable_graph.runs.lease import Lease
from durable_graph.runs.outcomes import outcome
from durable_graph.runs.queues import Queues, ServedQueues
from durable_graph.runs.run_logs import RunLogs
from durable_graph.runs.schedule_clock import ScheduleClock
from durable_graph.runs.slots import Slots
from durable_graph.runs.stopping import finished, late_tasks
from durable_graph.runs.suspects import Suspects
from durable_graph.runs.sweeps import Sweeps, spread
from durable_graph.runs.upkeep import Upkeep

DEFAULT_TTL = 10.0
DEFAULT_MAX_CRASHES = 5
_LARGEST_CLAIM = 64
_FIRST_LOOK, _LONGEST_LOOK = 0.05, 2.0
"""Seconds between two looks for runs that another process accepted."""
_LONGEST_PAUSE = 10.0
"""Seconds between two attempts to record the end of a run."""

_logger = logging.getLogger("durable_graph")


class Worker:
    """Executes the due runs of some graphs: `async with app.worker(concurrency=100): ...`

    It holds a lease of `lease` seconds in the store, which a thread renews. When it ends without leaving the block (the
    process is killed, or the machine), another worker takes its runs over once the lease is over. A run whose workers
    end `max_crashes` times in a row without progress is quarantined. Leaving the block lets the supersteps in flight
    finish, for up to `grace` seconds; then what is left is cancelled, and all runs are released for other workers.
    """

    def __init__(
        self,
        graphs: Mapping[str, CompiledGraph[Any, Any, Any, Any]],
        contexts: Mapping[str, Callable[[], Any]],
        saver: Checkpointer,
        runs: RunStore,
        changes: Changes,
        *,
        concurrency: int = 100,
        lease: float = DEFAULT_TTL,
        grace: float = 10.0,
        max_crashes: int = DEFAULT_MAX_CRASHES,
        upkeep: Upkeep,
        slots: Slots,
        queues: Queues,
    ) -> None:
        """Raises `InvalidOptionError` for numbers that make no sense."""
        check_number("concurrency", concurrency, 1, 100_000, whole=True)
        check_number("lease", lease, 0.1, 86_400)
        check_number("grace", grace, 0, 86_400)
        check_number("max_crashes", max_crashes, 1, 1_000, whole=True)
        self._graphs = dict(graphs)
        self._calls = {name: ClaimedCalls(graph, contexts.get(name)) for name, graph in self._graphs.items()}
        self._saver, self._runs, self._changes = saver, runs, changes
        self._logs = RunLogs(self._graphs, saver, changes)
        self._reads = GroupedReads(saver, runs)
        self._children = Children(self._graphs, contexts, saver, runs, changes, queues)
        self._history = BoundedHistory(saver, upkeep.retention.checkpoints, self._begin)
        self._concurrency, self._ttl, self._grace, self._max_crashes = concurrency, float(lease), grace, max_crashes
        self._suspects = Suspects(max_crashes)
        self._slots = slots
        self._queues = ServedQueues(queues, runs, self._graphs)
        # The number of looks for due runs that have ended.
        self.looks: int = 0
        # By their keys.
        self._executions: dict[tuple[str, int, int], Execution] = {}
        self.schedules: ScheduleClock = ScheduleClock(self._graphs, saver, runs, changes)
        self._nudge = asyncio.Event()
        self._upkeep = upkeep
        self._is_draining = False
        self._stopping: asyncio.Task[None] | None = None
        self._has_no_time = asyncio.Event()
        self._lease: Lease | None = None
        # Whether a claim may have had no reply, so that the store may count more runs as this worker's than it has.
        self._may_hold_more = False
        self._loops: set[asyncio.Task[None]] = set()
        self._accepting = Accepting(runs)
        self._is_giving_back = False
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def id(self) -> int:
        """The random number under which the store knows this worker; 0 outside of the block."""
        return 0 if self._lease is None else self._lease.worker

    @property
    def running(self) -> int:
        """The number of runs that the worker executes now."""
        return len(self._executions)

    async def __aenter__(self) -> Self:
        if self._lease is not None or self._stopping is not None:
            message = "a worker runs once at a time: leave its block first, or make another with app.worker()"
            raise RuntimeError(message)
        self._is_draining, self._loop = False, asyncio.get_running_loop()
        self._has_no_time.clear()
        await self._queues.declare()
        await self._register()
        self._slots.open(self, self._concurrency)
        self._changes.begin(self)
        self._begin(self._claim_all())
        sweeps = Sweeps(self._runs, self._changes, self._queues.names)
        self._begin(sweeps.free_runs(self._ttl, self._max_crashes))
        self._begin(sweeps.apply_deadlines(self._ttl))
        self._begin(self.schedules.repeat())
        self._begin(self._upkeep.repeat(partial(self._changes.is_ready, *self._queues.names)))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.drain()

    def nudge(self) -> None:
        """Look for due runs now."""
        self._nudge.set()

    def find_requests(self) -> None:
        """Send a heartbeat now, to read the requests for runs of this worker."""
        if self._lease is not None:
            self._lease.beat()

    def can_accept(self, run: NewRun) -> bool:
        """Whether the worker can execute the run as soon as this event loop has accepted it."""
        lease = self._lease
        is_at_work = lease is not None and not lease.has_ended and self._loop is asyncio.get_running_loop()
        is_open = is_at_work and not self._is_draining and not self._is_giving_back
        return is_open and self._free > 0 and run.graph in self._graphs and not (run.delay or run.limit_key)

    async def accept(self, run: NewRun) -> Accepted:
        """Accept a run, claim it in the same call of the store, and execute it. If it cannot be claimed now, it is
        claimed as every run is. See `can_accept`."""
        lease = self._lease
        if lease is None:
            return await self._runs.accept(run)

        def begin(claim: Claim) -> None:
            # A worker that has stopped, or has another lease, releases all runs of this one.
            if lease is self._lease and not self._is_draining:
                self._start([self._execution(claim, lease)])

        return await self._accepting.accept(run, lease.worker, begin, self._may_have_lost_a_reply)

    def _may_have_lost_a_reply(self) -> None:
        self._may_hold_more = True
        self._nudge.set()

    @property
    def _free(self) -> int:
        """The number of runs that the worker can begin now."""
        return self._concurrency - len(self._executions) - len(self._accepting)

    async def drain(self) -> None:
        """Claim nothing more, let the supersteps in flight finish, and release all other runs. Cancelling the caller
        ends the grace: what is left is cancelled, and released before this raises."""
        if self._lease is not None and self._stopping is None:
            self._is_draining = True
            self._slots.close(self)
            self._changes.end(self)
            self._stopping = asyncio.get_running_loop().create_task(self._stop())
        if self._stopping is not None:
            # A lease that stayed would be renewed as long as the process lives: nobody would execute its runs.
            await finished(self._stopping, self._has_no_time.set)

    async def _stop(self) -> None:
        await self._accepting.wait()
        loops = list(self._loops)
        for each in loops:
            each.cancel()
        for execution in self._executions.values():
            execution.control.request_drain("the worker stops")
        await asyncio.gather(*loops, return_exceptions=True)
        tasks = [each.task for each in self._executions.values() if each.task is not None]
        if tasks:
            late = await late_tasks(tasks, self._grace, self._has_no_time)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)
        lease, self._lease = self._lease, None
        if lease is not None:
            await lease.close()
            await self._unregister(lease.worker)
        self._stopping = None
        # Other workers take the released runs.
        self._changes.is_ready(*self._queues.names)

    # Its lease

    async def _register(self) -> None:
        name = f"{socket.gethostname()}:{os.getpid()}"
        ttl, sent = round(self._ttl * 1_000_000), time.monotonic()
        row = NewWorker(drawn_incarnation(), ttl, name, self._queues.names)
        try:
            # A call that is cancelled may have its effect later, after that of `_unregister`.
            await finished(asyncio.ensure_future(self._runs.register(row)), hurry=lambda: None)
        except BaseException:
            await self._unregister(row.id)
            raise
        self._lease = Lease(self._runs, row.id, self._ttl, sent, self._on_beat)

    async def _unregister(self, worker: int) -> None:
        try:
            await self._runs.unregister(worker)
        except DurableGraphError as error:
            # Its lease ends by itself, and another worker takes the runs over then.
            _logger.warning("a worker could not release its runs: %s", error)

    def _on_beat(self, beat: Heartbeat | None) -> None:
        if beat is None:
            self._begin(self._start_again())
            return
        for thread, seq, request in beat.requests:
            if request == RequestOfRun.APPLY_UPDATES:
                self.expect_updates(thread)
            for execution in list(self._executions.values()):
                claim = execution.claim
                is_meant = (claim.thread, claim.seq) == (thread, seq) and not execution.is_stopping
                if is_meant and request == RequestOfRun.CANCEL:
                    execution.is_stopping = True
                    self._begin(self._cancel(execution))

        for thread, seq in beat.followed:
            self._is_followed(thread, seq)

    def _is_followed(self, thread: str, seq: int) -> None:
        for execution in self._executions.values():
            claim, log = execution.claim, execution.log
            if (claim.thread, claim.seq) == (thread, seq) and log is not None and not log.is_active:
                self._begin(self._logs.join(log, claim))

    def expect_updates(self, thread: str) -> None:
        """An update was sent to the run of the thread. It looks for updates, if this worker executes it."""
        for execution in self._executions.values():
            if execution.claim.thread == thread:
                execution.owned.has_updates = True

    async def _start_again(self) -> None:
        """The lease has ended while the process lived: others may have claimed its runs, so it gives them all up."""
        _logger.warning("a worker has lost its lease: the process did not reach the store for %g seconds", self._ttl)
        lost = [each.task for each in self._executions.values() if each.task is not None]
        for task in lost:
            task.cancel()
        if lost:
            await asyncio.wait(lost)
        if self._lease is not None:
            # The store may not have noticed the end.
            await self._unregister(self._lease.worker)
        while not self._is_draining:
            try:
                await self._register()
            except DurableGraphError as error:
                _logger.warning("a worker cannot register: %s", error)
                await asyncio.sleep(_LONGEST_LOOK)
            else:
                self._nudge.set()
                return

    async def _cancel(self, execution: Execution) -> None:
        claim = execution.claim
        try:
            has_begun = await graph_calls.cancel(self._graphs[claim.graph], self._saver, claim)
        except BaseException:
            # The next heartbeat has the request again.
            execution.is_stopping = False
            raise
        # An earlier run of the thread may have left it cancelled.
        has_begun = has_begun and not execution.owned.has_input
        if not has_begun and execution.task is not None and not execution.is_cancelled:
            # The thread has nothing of this run yet: its input is committed with its first superstep.
            execution.is_cancelled = True
            execution.task.cancel()

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._loops.add(task)
        task.add_done_callback(self._has_ended)

    def _has_ended(self, task: "asyncio.Task[None]") -> None:
        self._loops.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _logger.error("a part of a worker has failed: %s", logged(error), exc_info=error)

    # Claims

    async def _claim_all(self) -> None:
        pause = _FIRST_LOOK
        while True:
            self._nudge.clear()
            try:
                claimed = await self._claim()
                self.looks += 1
                pause = _FIRST_LOOK if claimed else min(pause * 1.5, _LONGEST_LOOK)
                wait = 0 if claimed == _LARGEST_CLAIM else await self._pause(pause, claimed)
            except DurableGraphError as error:
                _logger.warning("a worker cannot claim runs: %s", error)
                wait = _LONGEST_LOOK
            if wait:
                await is_set_within(self._nudge, wait)

    async def _claim(self) -> int:
        lease = self._lease
        if self._may_hold_more and lease is not None and not lease.has_ended:
            await self._give_back(lease)
        free = min(self._free, _LARGEST_CLAIM)
        if free <= 0 or lease is None or lease.has_ended:
            return 0
        try:
            claims = await self._queues.claim(lease.worker, free)
            executions = await self._admitted([self._execution(claim, lease) for claim in claims])
            # `App.run` may have taken slots while the claim was under way.
            room = max(self._free, 0)
            self._start(executions[:room])
            if len(executions) > room:
                released = [each.settlement(RunState.READY) for each in executions[room:]]
                await asyncio.gather(*map(self._runs.settle, released))
        except BaseException:
            self._may_hold_more = True
            raise
        return len(claims)

    def _execution(self, claim: Claim, lease: Lease) -> Execution:
        execution = Execution(claim, lease, self._reads, self._logs.of(claim), self._children)
        execution.owned.history = self._history.of(claim.thread, claim.version)
        return execution

    def _start(self, executions: list[Execution]) -> None:
        loop = asyncio.get_running_loop()
        for execution in executions:
            self._executions[execution.key] = execution
            execution.task = loop.create_task(self._execute(execution))
            execution.task.add_done_callback(partial(self._is_over, execution))

    async def _admitted(self, claimed: list[Execution]) -> list[Execution]:
        """The runs to execute now. The other suspects are released before the first one begins: otherwise a crash of
        this process would count for them."""
        suspects = [each for each in claimed if self._suspects.includes(each.claim.crashes)]
        if not suspects:
            return claimed
        executed = [
            each.claim.crashes
            for each in self._executions.values()
            if self._suspects.includes(each.claim.crashes) and not each.owned.has_progressed
        ]
        admitted = set(self._suspects.admitted([each.claim.crashes for each in suspects], executed))
        postponed = [each for position, each in enumerate(suspects) if position not in admitted]
        delays = self._suspects.delays([each.claim.crashes for each in postponed])
        given_back = [
            each.settlement(RunState.READY, delay=spread(delay)) for each, delay in zip(postponed, delays, strict=True)
        ]
        await asyncio.gather(*map(self._runs.settle, given_back))
        return [each for each in claimed if each not in postponed]

    async def _give_back(self, lease: Lease) -> None:
        """Release the runs that the worker holds and does not execute: their claim had no reply."""
        self._is_giving_back = True
        try:
            # Their claims are no executions yet.
            await self._accepting.wait()
            self._may_hold_more = False
            await self._release_what_is_not_executed(lease)
        except BaseException:
            self._may_hold_more = True
            raise
        finally:
            self._is_giving_back = False

    async def _release_what_is_not_executed(self, lease: Lease) -> None:
        after: tuple[str, int] | None = None
        while page := await self._runs.list_runs(state=RunState.RUNNING, after=after):
            for row in page:
                after = row.thread, row.seq
                if row.worker == lease.worker and (*after, row.attempt) not in self._executions:
                    released = Settlement(*after, row.worker, row.attempt, RunState.READY, inbox=row.inbox)
                    await self._runs.settle(released)

    async def _pause(self, longest: float, claimed: int) -> float:
        if self._lease is None or self._lease.has_ended or len(self._executions) >= self._concurrency:
            return _LONGEST_LOOK
        due = await self._queues.next_due()
        if due == 0 and not claimed:
            # Another worker is claiming these runs, or the lease has ended by the store's clock.
            return longest / 10
        return longest if due is None else min(longest, max(due / 1_000_000, 0.001))

    def _is_over(self, execution: Execution, _: "asyncio.Task[None]") -> None:
        self._executions.pop(execution.key, None)
        if execution.log is not None:
            execution.log.leave()
        self._changes.has_changed(execution.claim.thread, execution.claim.seq)
        if self._queues.frees_slot(execution.claim.queue):
            # Another worker may have waited for a slot of this queue.
            self._changes.is_ready(execution.claim.queue)
        if execution.owned.continues:
            self._history.prune(execution.claim.thread)
        if execution.owned.has_parent:
            # Its parent may be of any graph.
            self._changes.is_ready(*self._queues.names)
        if execution.cancels_children or execution.owned.state is RunState.CANCELLED:
            self._begin(self._children.cancel(execution.claim.thread, execution.claim.seq))
        self._nudge.set()

    # Executions

    async def _execute(self, execution: Execution) -> None:
        """Execute a claimed run to its end or its next suspension, and have that recorded."""
        claim, is_interrupted = execution.claim, False
        try:
            with self._slots.hold(claim.thread, claim.seq):
                settled = await outcome(
                    execution, self._graphs[claim.graph], self._saver, self._calls[claim.graph], self._logs
                )
        except asyncio.CancelledError:
            is_interrupted = not execution.is_cancelled
            # The run is cancelled, or the worker ends or has lost its lease. What had finished is recorded.
            settled = execution.cancelled() if execution.is_cancelled else execution.settlement(RunState.READY)
        pause = _FIRST_LOOK
        # Without the lease, others may execute the run.
        while execution.owned.state is RunState.RUNNING and not execution.lease.has_ended:
            try:
                await self._runs.settle(settled)
            except DurableGraphError as error:
                _logger.warning("the end of a run of thread %r is not recorded: %s", execution.claim.thread, error)
                if is_interrupted:
                    # The worker gives up its lease, or has lost it: then other workers may hold the run.
                    return
                # No other worker would end the run, because this worker keeps its lease.
                pause = min(pause * 2, _LONGEST_PAUSE)
                await asyncio.sleep(pause)
            else:
                return
