"""A call as data: every argument is read and checked once."""

from collections.abc import Mapping
from typing import Any, Literal, get_args

import msgspec

from durable_graph._engine.header import Metadata
from durable_graph._runtime.request.callbacks import GraphObserver
from durable_graph._runtime.request.owned_run import OwnedRun

Durability = Literal["sync", "async", "exit"]
IfUnfinished = Literal["supersede", "resume", "reject"]
IfFinished = Literal["run", "reject", "return"]
IfBusy = Literal["reject", "wait"]

DURABILITIES: tuple[str, ...] = get_args(Durability)
DEFAULT_RECURSION_LIMIT = 10_000
GRACE = 5.0


class RunControl:
    """Asks a run to stop in good order, from any task of the same event loop."""

    __slots__ = ("_reason",)

    def __init__(self) -> None:
        self._reason: str | None = None

    def request_drain(self, reason: str = "shutdown") -> None:
        """Stop the run before its next superstep. It then raises `GraphDrained`, and can be resumed with None."""
        self._reason = reason

    @property
    def drain_requested(self) -> bool:
        """Whether the run was asked to stop."""
        return self._reason is not None

    @property
    def drain_reason(self) -> str | None:
        """The reason that was given."""
        return self._reason


class Request(msgspec.Struct, frozen=True):
    """The arguments of a call.

    `checkpoint` is the number of the checkpoint to start from, None for the thread's head; `checkpoint_ns` is the
    namespace of its nested graph. `config` is the call's config with the thread filled in, for nodes that have a
    parameter for it. Nodes get `context` as `runtime.context` and `store` as `runtime.store`. The breakpoints are names
    of nodes, or None for every node. `key` names the request, which the thread accepts once. `is_checked`: a node that
    changes its input in place fails. `grace` and `step_timeout` are in seconds. `backlog` is the number of calls of the
    checkpointer that `durability="async"` may be ahead. `name` and `callbacks` are from the call's own config;
    `observer` observes the run if callbacks are in use. `owned` is the run that a worker executes by this call.
    """

    input: Any
    thread_id: str | None = None
    checkpoint: int | None = None
    checkpoint_ns: str = ""
    durability: Durability = "sync"
    recursion_limit: int = DEFAULT_RECURSION_LIMIT
    max_concurrency: int | None = None
    if_unfinished: IfUnfinished = "supersede"
    if_finished: IfFinished = "run"
    if_busy: IfBusy = "reject"
    key: str | None = None
    metadata: Metadata = msgspec.field(default_factory=dict)
    config: Mapping[str, Any] = msgspec.field(default_factory=dict)
    context: object = None
    store: object = None
    run_id: str | None = None
    name: str | None = None
    callbacks: object = None
    observer: GraphObserver | None = None
    tags: tuple[str, ...] = ()
    control: RunControl | None = None
    stop_before: frozenset[str] | None = frozenset()
    stop_after: frozenset[str] | None = frozenset()
    is_checked: bool = False
    step_timeout: float | None = None
    grace: float = GRACE
    backlog: int = 8
    owned: OwnedRun | None = None

    def metadata_of(self, own: Mapping[str, Any]) -> Mapping[str, object]:
        """The metadata in a task's events: the call's metadata, the task's `own`, and the tags of both, if any."""
        metadata = {**(self.config.get("metadata") or {}), **own}
        tags = list(dict.fromkeys((*self.tags, *own.get("tags", ()))))
        return {**metadata, "tags": tags} if tags else metadata

    def stops_before(self, node: str) -> bool:
        """Whether there is a breakpoint before the node."""
        return self.stop_before is None or node in self.stop_before

    def stops_after(self, node: str) -> bool:
        """Whether there is a breakpoint after the node."""
        return self.stop_after is None or node in self.stop_after
