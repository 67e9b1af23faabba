"""A worker: it claims runs that are due, executes them beside each other, and takes over those of dead workers."""

import asyncio
import logging
import os
import random
import socket
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from types import TracebackType
from typing import Any, Self

import msgspec

from durable_graph._runtime.request.owned_run import OwnedRun
from durable_graph.app.compiled import CompiledGraph
from durable_graph.checkpointing import Checkpointer
from durable_graph.checkpointing.rules import drawn_incarnation
from durable_graph.checkpointing.run_changes import pause_after
from durable_graph.checkpointing.run_store import RunStore
from durable_graph.errors import (
    CheckpointConflictError,
    DurableGraphError,
    GraphChangedError,
    GraphDrained,
    InvalidOptionError,
    StoreUnavailableError,
    ThreadBusyError,
    ThreadCancelledError,
)
from durable_graph.errors.shown import shown
from durable_graph.graph.state_kinds import context_of
from durable_graph.run_records import (
    NEVER,
    Claim,
    Heartbeat,
    NewWorker,
    RequestOfRun,
    RunState,
    Settlement,
)
from durable_graph.runs.claimed_request import StoredInput, request_of
from durable_graph.runs.handle import DEADLINE_PASSED
from durable_graph.runs.lease import Lease, LeasedControl
from durable_graph.runs.signals import Changes

DEFAULT_TTL = 10.0
DEFAULT_MAX_CRASHES = 5
_LARGEST_CLAIM = 64
_FIRST_LOOK, _LONGEST_LOOK = 0.05, 2.0
"""Seconds between two looks for runs that another process accepted."""
_LONGEST_ERROR = 1000

_logger = logging.getLogger("durable_graph")


class Execution:
    """A claimed run while this worker executes it."""

    __slots__ = ("claim", "control", "deadline", "owned", "task")

    def __init__(self, claim: Claim, control: LeasedControl) -> None:
        self.claim = claim
        self.control = control
        self.owned = OwnedRun(claim.seq, claim.first_checkpoint == 0, claim.inbox, claim.inbox, claimed_at=claim.now)
        self.task: asyncio.Task[None] | None = None
        self.deadline: float | None = None
        if claim.deadline != NEVER:
            self.deadline = (claim.deadline - claim.now) / 1_000_000


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
    ) -> None:
        """Raises `InvalidOptionError` for numbers that make no sense."""
        _check("concurrency", concurrency, 1, 100_000, whole=True)
        _check("lease", lease, 0.1, 86_400)
        _check("grace", grace, 0, 86_400)
        _check("max_crashes", max_crashes, 1, 1_000, whole=True)
        self._graphs, self._contexts = dict(graphs), contexts
        self._saver, self._runs, self._changes = saver, runs, changes
        self._concurrency, self._ttl, self._grace, self._max_crashes = concurrency, float(lease), grace, max_crashes
        # By thread, run and claim: a run may be claimed again before the task of the claim before has ended.
        self._executions: dict[tuple[str, int, int], Execution] = {}
        self._nudge = asyncio.Event()
        self._is_draining = False
        self._lease: Lease | None = None
        self._loops: set[asyncio.Task[None]] = set()

    @property
    def id(self) -> int:
        """The random number under which the store knows this worker; 0 outside of the block."""
        return 0 if self._lease is None else self._lease.worker

    @property
    def running(self) -> int:
        """The number of runs that the worker executes now."""
        return len(self._executions)

    async def __aenter__(self) -> Self:
        if self._lease is not None:
            message = "a worker runs once at a time: leave its block first, or make another with app.worker()"
            raise RuntimeError(message)
        self._is_draining = False
        await self._register()
        self._changes.workers.add(self._nudge)
        self._begin(self._claim_all())
        self._begin(self._sweep_all())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.drain()

    def nudge(self) -> None:
        """Look for due runs now."""
        self._nudge.set()

    async def drain(self) -> None:
        """Claim nothing more, let the supersteps in flight finish, and release all other runs."""
        lease = self._lease
        if lease is None:
            return
        self._is_draining = True
        self._changes.workers.discard(self._nudge)
        loops = list(self._loops)
        for each in loops:
            each.cancel()
        await asyncio.gather(*loops, return_exceptions=True)
        for execution in self._executions.values():
            execution.control.request_drain("the worker stops")
        tasks = [each.task for each in self._executions.values() if each.task is not None]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=self._grace)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)
        await lease.close()
        self._lease = None
        try:
            await self._runs.unregister(lease.worker)
        except StoreUnavailableError as error:
            # Its lease ends by itself, and another worker takes the runs over then.
            _logger.warning("a worker could not release its runs: %s", error)

    # Its lease

    async def _register(self) -> None:
        worker = drawn_incarnation()
        name = f"{socket.gethostname()}:{os.getpid()}"
        await self._runs.register(NewWorker(worker, round(self._ttl * 1_000_000), name))
        self._lease = Lease(self._runs, worker, self._ttl, self._on_beat)

    def _on_beat(self, beat: Heartbeat | None) -> None:
        if beat is None:
            self._begin(self._start_again())
            return
        for thread, seq, request in beat.requests:
            for execution in list(self._executions.values()):
                claim = execution.claim
                if (claim.thread, claim.seq) == (thread, seq) and request == RequestOfRun.CANCEL:
                    self._begin(self._cancel(execution))

    async def _start_again(self) -> None:
        """The lease has ended while the process lived: others may have claimed its runs, so it gives them all up."""
        _logger.warning("a worker has lost its lease: the process did not reach the store for %g seconds", self._ttl)
        lost = [each.task for each in self._executions.values() if each.task is not None]
        for task in lost:
            task.cancel()
        if lost:
            await asyncio.wait(lost)
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
        await self._graphs[claim.graph].acancel(claim.thread)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._loops.add(task)
        task.add_done_callback(self._has_ended)

    def _has_ended(self, task: "asyncio.Task[None]") -> None:
        self._loops.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _logger.error("a part of a worker has failed: %s", shown(error), exc_info=error)

    # Claims

    async def _claim_all(self) -> None:
        pause = _FIRST_LOOK
        while True:
            self._nudge.clear()
            try:
                claimed = await self._claim()
                pause = _FIRST_LOOK if claimed else min(pause * 1.5, _LONGEST_LOOK)
                wait = 0 if claimed == _LARGEST_CLAIM else await self._pause(pause)
            except DurableGraphError as error:
                _logger.warning("a worker cannot claim runs: %s", error)
                wait = _LONGEST_LOOK
            if wait:
                await _set_within(self._nudge, wait)

    async def _claim(self) -> int:
        free = min(self._concurrency - len(self._executions), _LARGEST_CLAIM)
        lease = self._lease
        if free <= 0 or lease is None or lease.has_ended:
            return 0
        claims = await self._runs.claim(lease.worker, list(self._graphs), free)
        for claim in claims:
            execution = Execution(claim, LeasedControl(lease))
            key = claim.thread, claim.seq, claim.attempt
            self._executions[key] = execution
            execution.task = asyncio.get_running_loop().create_task(self._execute(execution, lease))
            execution.task.add_done_callback(partial(self._is_over, key))
        return len(claims)

    async def _pause(self, longest: float) -> float:
        if len(self._executions) >= self._concurrency:
            return _LONGEST_LOOK
        due = await self._runs.next_due(list(self._graphs))
        return longest if due is None else min(longest, max(due / 1_000_000, 0.001))

    def _is_over(self, key: tuple[str, int, int], _: "asyncio.Task[None]") -> None:
        thread, seq, _attempt = key
        self._executions.pop(key, None)
        self._changes.has_changed(thread, seq)
        self._nudge.set()

    async def _sweep_all(self) -> None:
        while True:
            await asyncio.sleep(self._ttl / 4 * random.uniform(0.5, 1.5))  # noqa: S311  # spreads the load
            try:
                swept = await self._runs.sweep(self._max_crashes)
            except DurableGraphError as error:
                _logger.warning("a worker cannot look for runs of dead workers: %s", error)
            else:
                if swept.ready or swept.quarantined:
                    self._nudge.set()

    # Executions

    async def _execute(self, execution: Execution, lease: Lease) -> None:
        """Execute a claimed run to its end or its next suspension, and have that recorded."""
        try:
            settled = await self._outcome(execution)
        except asyncio.CancelledError:
            # The worker ends, or has lost its lease. A cancelled execution has recorded what had finished.
            if lease.has_ended:
                return
            settled = self._settlement(execution, RunState.READY)
        if settled is not None and execution.owned.state is RunState.RUNNING and not lease.has_ended:
            try:
                await self._runs.settle(settled)
            except DurableGraphError as error:
                # The run stays with this worker until its lease ends, or until the sweep of another one.
                _logger.warning("the end of a run of thread %r is not recorded: %s", execution.claim.thread, error)

    async def _outcome(self, execution: Execution) -> Settlement | None:
        """What is left to record once the run has been executed; None if its commits have recorded it."""
        claim, graph = execution.claim, self._graphs[execution.claim.graph]
        if execution.deadline is not None and execution.deadline <= 0:
            return self._settlement(execution, RunState.FAILED, error=DEADLINE_PASSED)
        if claim.request == RequestOfRun.CANCEL:
            if claim.first_checkpoint:
                await graph.acancel(claim.thread)
            return self._settlement(execution, RunState.CANCELLED, error="cancelled by a caller")
        deadline = asyncio.timeout(execution.deadline)
        try:
            stored = StoredInput.of(graph, claim)
            request = request_of(graph, stored, claim, execution.owned, execution.control)
            request = msgspec.structs.replace(request, context=self._context_of(claim.graph))
            async with deadline:
                ended = await graph.execute_claimed(request, claim.epoch)
        except GraphDrained:
            return self._settlement(execution, RunState.READY)
        except ThreadCancelledError:
            return self._settlement(execution, RunState.CANCELLED, error="cancelled by a caller")
        except (CheckpointConflictError, ThreadBusyError):
            # Another worker has claimed the run. If none has, somebody changed the thread, or is about to: begin again
            # from there.
            return self._settlement(execution, RunState.READY, delay=pause_after(2))
        except StoreUnavailableError:
            return self._settlement(execution, RunState.READY, delay=pause_after(3))
        except GraphChangedError as error:
            _logger.warning("a run of thread %r waits for a worker that knows its nodes: %s", claim.thread, error)
            return self._settlement(execution, RunState.READY, delay=pause_after(claim.attempt + 3))
        except Exception as error:
            return self._settlement(execution, RunState.FAILED, error=_text_of(error, deadline))
        state = RunState.WAITING if ended.is_stopped else RunState.DONE
        return self._settlement(execution, state, due=execution.owned.due)

    def _context_of(self, graph: str) -> Any:
        make = self._contexts.get(graph)
        return None if make is None else context_of(self._graphs[graph].topology.context, make())

    def _settlement(
        self, execution: Execution, state: RunState, *, error: str | None = None, delay: int = 0, due: int = NEVER
    ) -> Settlement:
        claim, inbox = execution.claim, execution.owned.inbox
        return Settlement(claim.thread, claim.seq, self.id, claim.attempt, state, due, inbox, error, delay)


def _text_of(error: Exception, deadline: asyncio.Timeout) -> str:
    if isinstance(error, TimeoutError) and deadline.expired():
        return DEADLINE_PASSED
    return shown(error).replace("\0", "\\x00")[:_LONGEST_ERROR]


async def _set_within(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return


def _check(option: str, given: float, least: float, most: float, *, whole: bool = False) -> None:
    kinds = int if whole else int | float
    if not isinstance(given, kinds) or isinstance(given, bool) or not least <= given <= most:
        what = "a whole number" if whole else "a number"
        raise InvalidOptionError(option, given, allowed=f"{what} from {least:g} to {most:g}")
