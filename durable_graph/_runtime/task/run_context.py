"""A running graph: the data that its supersteps share, and the position of user code in it."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from durable_graph._engine.state import State
from durable_graph._engine.task import Done, Handling, Identity, Outcome, RoutingOpen, Task, namespace_of, task_id
from durable_graph._runtime.commit.requests import Namespace
from durable_graph._runtime.commit.store import Store
from durable_graph._runtime.events.sink import EventSink
from durable_graph._runtime.request.callbacks import CodeObserver
from durable_graph._runtime.request.owned_run import OwnedRun
from durable_graph._runtime.request.run import Request
from durable_graph._runtime.task.answers import Answers
from durable_graph._runtime.task.children import ChildRuns
from durable_graph._runtime.task.lengths import Lengths, PrivateLengths
from durable_graph.caching import Cache
from durable_graph.errors import MissingCheckpointerError, OutsideOfRunError, ReplayMismatchError, StateMutatedError
from durable_graph.graph import Interrupt, Place, Topology
from durable_graph.graph.durations import Duration, microseconds

Key = tuple[int, int]


class Progress(msgspec.Struct):
    """The progress of a run: its state, and the outcomes so far of the superstep that follows."""

    state: State
    recorded: dict[Key, Outcome] = msgspec.field(default_factory=dict)


@dataclass(slots=True)
class ParkedRun:
    """Where a nested run stopped, for when its caller runs again in this process."""

    own: Namespace
    at: Progress
    graph: str
    caller: str


@dataclass(slots=True)
class RunContext:
    """The data that a run and the runs nested in it share.

    `resting` has the nested runs that came to an end, by namespace, until their caller is done; `active` the namespaces
    in which one is at work. `turns` are the states that finished calls of graphs with memory left, by caller, and
    `graphs` the records of calls of graphs, by the namespace of their caller and their place: of both the store may not
    know yet. `owned` is the run that a worker executes.
    """

    sink: EventSink
    owned: OwnedRun | None = None
    resting: dict[str, ParkedRun] = field(default_factory=dict)
    active: set[str] = field(default_factory=set)
    turns: dict[str, State] = field(default_factory=dict)
    graphs: dict[str, dict[int, Any]] = field(default_factory=dict)

    def now(self) -> int:
        """The time in microseconds since 1970: the store's, if a worker executes the run."""
        return round(time.time() * 1_000_000) if self.owned is None else self.owned.now()


class StopRequest(msgspec.Struct):
    """Whether a superstep is to end early: because its run is cancelled, or because one of its tasks has failed.

    The run is cancelled if `runner`, its asyncio task, has more cancellation requests than before the superstep. The
    superstep writes this value, and the attempts at its tasks read it.
    """

    runner: "asyncio.Task[object] | None"
    before: int
    has_failed_task: bool = False

    def is_cancelled(self) -> bool:
        """Whether the run was cancelled since the superstep began."""
        return self.runner is not None and self.runner.cancelling() > self.before

    def is_requested(self) -> bool:
        """Whether the superstep is to end early."""
        return self.has_failed_task or self.is_cancelled()


class TaskOutput(msgspec.Struct, frozen=True):
    """The output of one attempt at a task: its outcome. `error` is to be raised once the outcome is recorded.

    It is a cancellation where a plain function finished in its thread after its superstep was cancelled. Of an attempt
    that contradicts what is recorded nothing is kept: it leaves the task as it was.
    """

    outcome: Outcome
    error: BaseException | None = None

    @property
    def is_kept(self) -> bool:
        """Whether the outcome is to be recorded."""
        return not isinstance(self.error, ReplayMismatchError)


class NodePlan(msgspec.Struct, frozen=True):
    """The stages of a node's tasks: to `run` the node, or what is left of it once it is done (`route`) or has failed
    for good (`handle`)."""

    run: "Stage"
    route: "Stage"
    handle: "Stage"
    needs_own_task: bool
    """Whether even a lone task of the node runs in an asyncio task of its own."""

    def stage_after(self, previous: Outcome) -> "Stage":
        """The stage of the attempt that follows this outcome."""
        if isinstance(previous, RoutingOpen):
            return self.route
        return self.handle if isinstance(previous, Handling) else self.run


@dataclass(slots=True, eq=False)
class GraphRun:
    """One graph being run, in one namespace. `parent` is the code that called it, where it is nested.

    `path` are the names of the nodes that it is nested in. `caller` tells the calls of a namespace that outlives them
    apart. A nested run that another attempt of its caller had begun goes on at the checkpoint `resumed_at`.
    """

    topology: Topology
    request: Request
    shared: RunContext
    store: Store
    nodes: Mapping[str, NodePlan]
    ns: str = ""
    path: tuple[str, ...] = ()
    parent: "TaskContext | None" = None
    caller: str = ""
    cache: Cache | None = None
    at: Progress | None = None
    last_step: int = 0
    resumed_at: int = 0
    gates: dict[int, asyncio.Semaphore] = field(default_factory=dict)
    stop: StopRequest | None = None
    lengths: Lengths | None = None
    event_ns: tuple[str, ...] = field(init=False, default=())
    """The namespace as events have it."""

    def __post_init__(self) -> None:
        self.event_ns = tuple(self.ns.split("|")) if self.ns else ()

    def take_lengths(self, state: State) -> None:
        """From here on, what the state holds is not to be changed in place."""
        if self.lengths is None or self.lengths.state is not state:
            self.lengths = Lengths(self.topology, state)

    def changed_in_place(self) -> list[str]:
        """The keys of the state that were."""
        return [] if self.lengths is None else self.lengths.changed()

    def report_mutation(self, error: StateMutatedError) -> None:
        """The attempts that this run is nested in fail with the error, whatever their code makes of it: what they are
        given again in this process is not what is stored."""
        context = self.parent
        while context is not None:
            context.mutation = error
            context = context.around or context.run.parent

    def raise_store_failure(self) -> None:
        """Raise the store's failure, if there was one: the code that it came through has not failed."""
        if self.store.thread is not None:
            self.store.thread.raise_failure()

    def is_stopped(self) -> bool:
        """Whether what runs now is to end, whatever it makes of its cancellation: nothing is tried again any more."""
        if self.stop is not None and self.stop.is_requested():
            return True
        return self.parent is not None and self.parent.run.is_stopped()

    def due_after(self, option: str, duration: Duration) -> int:
        """The time after this duration, in microseconds since 1970.

        Raises `InvalidOptionError`, which names the option, and `MissingCheckpointerError` without a checkpointer,
        because the run could not be suspended until then.
        """
        wait = microseconds(option, duration, least=0.001)
        if self.store.thread is None:
            raise MissingCheckpointerError(option)
        return self.shared.now() + wait

    @property
    def is_outermost(self) -> bool:
        """Whether it is the run of a thread, and not one nested in it."""
        return self.parent is None and self.store.is_stored and not self.ns

    def place(self, state: State) -> Place:
        """Which superstep of how many is being run, for the values that say so."""
        return Place(step=state.step + 1, remaining=self.last_step - state.step)

    def forget_nested(self, done: Iterable[Done]) -> None:
        """Forget the runs inside these tasks, which are recorded."""
        kept: tuple[dict[str, Any], ...] = (self.shared.resting, self.shared.turns, self.shared.graphs)
        own = {namespace_of(self.ns, outcome.task) for outcome in done}
        depth = len(self.event_ns) + 1
        for by_ns in kept:
            for ns in [ns for ns in by_ns if "|".join(ns.split("|", depth)[:depth]) in own]:
                del by_ns[ns]

    def answered(self) -> "Answers":
        """The answers that were given to the task that this run is nested in, by interrupt id."""
        return self.parent.answers if self.parent is not None else Answers()


Phase = Literal["node", "handler", "router"]
_APART: Mapping[str, str] = {"handler": "0", "router": "00"}
"""No node's name: the numbers of later calls, which are none either, begin at 1."""


class TaskContext(msgspec.Struct, eq=False, weakref=True):
    """One attempt at a task, or at a call inside one, as the code in it sees it.

    `task` is what it is an attempt at, in namespace `within`; `ns` is the one of what it calls. `asked` counts its
    questions by what tells them apart, for those that are equal. `is_fresh`: nothing of an earlier attempt can be in
    the store. `around` is the code that made the call, where it is one. `mismatch` is what the code was refused a call
    or a question with: it ends with that, whatever it makes of it. `memories` are the callers of the memories that a
    node's code has used, by namespace.
    """

    run: GraphRun
    state: State
    task: Task
    within: str
    number: int
    answers: "Answers"
    first_started: float
    new_task_journal: "Callable[[TaskContext], Any]"
    metadata: Mapping[str, Any] = msgspec.field(default_factory=dict)
    phase: Phase = "node"
    depth: int = 0
    is_fresh: bool = True
    asked: dict[str, int] = msgspec.field(default_factory=dict)
    mismatch: Exception | None = None
    is_after_failure: bool = False
    memories: dict[str, str] = msgspec.field(default_factory=dict)
    is_over: bool = False
    idle: asyncio.Timeout | None = None
    idle_seconds: float | None = None
    loop: asyncio.AbstractEventLoop | None = None
    only_heartbeats: bool = False
    around: "TaskContext | None" = None
    stopped_by: list[tuple[Interrupt, ...]] = msgspec.field(default_factory=list)
    """The interrupts that its code raised, of each exception. If the code catches it and returns, they would be lost
    otherwise. The exception itself is not kept: its traceback refers to this context."""
    keys_of_nested: frozenset[str] = frozenset()
    """The keys of the graphs that it ran, which their results may have and the state around them may not."""
    mutation: StateMutatedError | None = None
    """A graph that it called failed with this. Its code may have caught it, and fails with it all the same."""
    private: PrivateLengths | None = None
    """The containers of the instance of the state's class that the node was given."""
    node_error: BaseException | None = None
    """The error of the node, where its error handler runs."""
    cancelled_late: asyncio.CancelledError | None = None
    """A cancellation that arrived while a worker thread ran the code, and was not raised in it."""
    runner: "asyncio.Task[object] | None" = msgspec.field(default_factory=asyncio.current_task)
    """The asyncio task that its code runs in."""
    observer: CodeObserver | None = None
    begun_tasks: Any = None
    child_runs: ChildRuns | None = None
    _task_id: str | None = None

    # Objects that most nodes never use are made on first use.

    @property
    def node(self) -> str:
        """The node's name, or that of the function called."""
        return self.task.node

    @property
    def task_id(self) -> str:
        """The id of what it is an attempt at."""
        if self._task_id is None:
            run = self.run.store.identity
            self._task_id = task_id(Identity(run.thread, run.incarnation, self.within), self.task)
        return self._task_id

    @property
    def ns(self) -> str:
        """The namespace of what it calls. That of an error handler and of routers is not that of the node itself."""
        own, apart = self.task_ns, _APART.get(self.phase)
        return own if apart is None else f"{own}|{apart}:{self.task.born}.{self.task.ord}"

    @property
    def task_ns(self) -> str:
        """The namespace of the task: its node's calls are in it, those of its error handler and routers below it."""
        return namespace_of(self.within, self.task)

    @property
    def is_stored(self) -> bool:
        """Whether its superstep began with a checkpoint that is stored, or will be."""
        return self.run.store.is_stored and self.state.no > 0

    def begin(self, phase: Phase, *, is_after_failure: bool) -> None:
        """Another piece of the task's code begins: its questions and calls are its own."""
        self.phase = phase
        self.is_after_failure = is_after_failure
        self.forget_calls()

    @property
    def home(self) -> asyncio.AbstractEventLoop:
        """The event loop of the run. A plain function in its thread may run another one."""
        return asyncio.get_running_loop() if self.runner is None else self.runner.get_loop()

    @property
    def calls(self) -> Any:
        """The calls that it makes."""
        if self.begun_tasks is None:
            self.begun_tasks = self.new_task_journal(self)
        return self.begun_tasks

    def forget_calls(self) -> None:
        """Another attempt begins: none of its calls and questions have been made yet."""
        self.begun_tasks = self.child_runs = None
        self.asked.clear()
        self.mismatch = None
        self.stopped_by.clear()

    def outer(self) -> "TaskContext | None":
        """The code that this is called by: in the same graph, or in the one around it."""
        return self.around or self.run.parent

    def outermost(self) -> "TaskContext":
        """The code of the task of the thread's own plan that this is a part of."""
        context = self
        while (outer := context.outer()) is not None:
            context = outer
        return context

    def of_node(self) -> "TaskContext":
        """The code of the node that this is a part of: the tasks that it calls are."""
        return self if self.around is None else self.around.of_node()

    def follows_failure(self) -> bool:
        """Whether an earlier attempt at this code failed, and that was recorded."""
        if self.around is None:
            return self.is_after_failure
        return self.number > 1 or self.around.follows_failure()

    def refuse(self, error: Exception) -> None:
        """The code made a call, or asked a question, that contradicts what is recorded: so does all that it is part
        of."""
        self.mismatch = error
        outer = self.outer()
        if outer is not None:
            outer.refuse(error)

    def is_too_late(self) -> bool:
        """Whether an asyncio task of the code's own is to begin nothing more, because the run was stopped.

        One before it may have been cancelled before it began, and this would be taken for what that was to call.
        """
        return self.run.is_stopped() and asyncio.current_task() is not self.runner

    @property
    def children(self) -> ChildRuns:
        """The nested runs that it begins, until they are over."""
        if self.child_runs is None:
            self.child_runs = ChildRuns()
        return self.child_runs

    def raise_mutation(self) -> None:
        """Raise what a graph that it called failed with, where nodes changed its state in place."""
        if self.mutation is not None:
            raise self.mutation

    @property
    def step(self) -> int:
        """The superstep that this is part of."""
        return self.state.step + 1

    def streamed(self) -> None:
        """The code wrote to the stream, which may count as a heartbeat."""
        self._sign(is_heartbeat=False)

    def beat(self) -> None:
        """The code gave a sign of life: its idle timeout starts over, and those of all that it runs in."""
        self._sign(is_heartbeat=True)

    def _sign(self, *, is_heartbeat: bool) -> None:
        context: TaskContext | None = self
        while context is not None:
            idle, seconds = context.idle, context.idle_seconds
            if idle is not None and seconds is not None and (is_heartbeat or not context.only_heartbeats):
                _start_over(context.loop, idle, seconds)
            context = context.around or context.run.parent


def _start_over(loop: asyncio.AbstractEventLoop | None, idle: asyncio.Timeout, seconds: float) -> None:
    try:
        here = asyncio.get_running_loop()
    except RuntimeError:
        here = None
    if loop is not None and here is not loop:
        # The code runs in a thread, its own or one that it began.
        loop.call_soon_threadsafe(_start_over, loop, idle, seconds)
    elif here is not None and not idle.expired():
        idle.reschedule(here.time() + seconds)


Stage = Callable[[TaskContext, Outcome | None], Awaitable[TaskOutput]]
"""A stage of an attempt: from its context, and the task's previous outcome, to the attempt's output."""

current: ContextVar[TaskContext | None] = ContextVar("durable_graph_context", default=None)
"""The innermost attempt that the running code is part of."""


def context_of(what: str) -> TaskContext:
    """The current attempt. Raises `OutsideOfRunError` where there is none."""
    context = current.get()
    if context is None or context.is_over:
        raise OutsideOfRunError(what)
    return context
