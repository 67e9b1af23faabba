"""One call, as data: every argument read once at the edge, checked, and never looked up again."""

from collections.abc import Mapping
from typing import Any, Literal, get_args

import msgspec

from durable_graph._engine.header import Metadata

Durability = Literal["sync", "async", "exit"]
IfUnfinished = Literal["supersede", "resume", "reject"]
IfBusy = Literal["reject", "wait"]

DURABILITIES: tuple[str, ...] = get_args(Durability)
DEFAULT_RECURSION_LIMIT = 10_000
GRACE = 5.0


class Run(msgspec.Struct, frozen=True):
    """What a call asks for.

    `checkpoint` is the number of the checkpoint to start from, None for the thread's head. `config` is what nodes get
    that ask for it, the call's own dict with the thread filled in. `grace` is in seconds. `backlog` is how many calls
    of the store `durability="async"` may be ahead of it.
    """

    input: Any
    thread_id: str | None
    checkpoint: int | None
    durability: Durability
    recursion_limit: int
    max_concurrency: int | None
    if_unfinished: IfUnfinished
    if_busy: IfBusy
    metadata: Metadata
    config: Mapping[str, Any]
    grace: float = GRACE
    backlog: int = 8
