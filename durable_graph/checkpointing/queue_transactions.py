"""The writes of queues that all databases have in common, free of I/O, as generators of statements."""

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import msgspec

from durable_graph.checkpointing import queue_rules
from durable_graph.checkpointing.columns import Columns
from durable_graph.checkpointing.queries import Query
from durable_graph.checkpointing.queue_rules import Candidate, Queue
from durable_graph.checkpointing.queue_store import QueueClaims, QueueInfo
from durable_graph.checkpointing.transactions import Part
from durable_graph.errors import DamagedRowError, InvalidOptionError
from durable_graph.queue_records import QueueLimits, Rate, check_limit_of_runs
from durable_graph.run_records import Claim

Pairs = Sequence[Columns]
"""Priorities and keys."""

Finding = Callable[[Pairs, int, int], Part[list[Columns]]]
"""The due runs of each of these pairs at a time, and at most so many of each: the columns of `Candidate`, and those of
a pair in the order of their due times."""

Taking = Callable[[Sequence[Candidate], int], Part[list[Claim]]]
"""Claims these runs at a time, as far as no other transaction changes them."""


def claim(
    queue: str,
    worker: int,
    graphs: Sequence[str],
    most: int,
    *,
    find: Finding,
    take: Taking,
    clock: Callable[[], int] | None,
    as_list: Callable[[list[Any]], Any],
    given: Mapping[str, Any] = MappingProxyType({}),
) -> Part[QueueClaims]:
    """Claim runs of one queue. See `QueueStore.claim`. With no `clock` the database reads its own.

    The row of the queue is locked from the first statement on, and the later ones see all earlier claims: so limits
    hold at each moment. If another worker has it locked, nothing is claimed. `as_list` makes a parameter of a list.
    `given` are further parameters of all statements.
    """
    found = yield Query("lock_queue", {**given, "queue": queue, "worker": worker})
    if not found:
        is_known = yield Query("find_queue", {"queue": queue})
        return QueueClaims(wait=0 if is_known else None)
    row = queue_from(found[0])
    limits = row.limits
    is_counted = limits.concurrency is not None or limits.per_key is not None
    counted = yield Query("count_running", {**given, "queue": queue, "is_counted": is_counted})
    running = {key: count for key, count in counted if key}
    # The time is read once the lock is held, so that times of claims never decrease.
    now = next(count for key, count in counted if not key) if clock is None else clock()
    free = queue_rules.free_slots(row, running, now, most)
    taken: list[Candidate] = []
    claims: list[Claim] = []
    if free:
        full = as_list(queue_rules.full_keys(limits, running))
        sought = {"queue": queue, "now": now, "graphs": as_list(list(graphs)), "full": full}
        pairs = yield Query("find_due_keys", {**sought, "last": row.last_key, "most": free})
        rows = yield from find(pairs, now, queue_rules.depth(free, len(pairs)))
        taken = queue_rules.chosen(row, running, (Candidate(*columns) for columns in rows), free)
        made = yield from take(taken, now)
        claims = [msgspec.structs.replace(each, queue=queue) for each in made]
    after = queue_rules.after_claim(row, taken, now, len(claims))
    if after != row:
        starts = queue_rules.encoded_starts(after.starts)
        yield Query("put_queue", {"queue": queue, "last_key": after.last_key, "starts": starts})
    if len(claims) < len(taken):
        # A commit of their threads was under way.
        return QueueClaims(claims, 0)
    is_decided, wait = queue_rules.wait_after(after, running, now, most, len(claims))
    if not is_decided:
        ((due,),) = yield Query("find_next_due_of_queue", {"queue": queue, "now": now})
        wait = queue_rules.wait_until(due, now)
    return QueueClaims(claims, wait)


def claims_of(claims: Iterable[Claim], queue: str) -> QueueClaims:
    """The result of an earlier attempt to claim from a queue."""
    return QueueClaims([msgspec.structs.replace(each, queue=queue) for each in claims], 0)


def columns_of(limits: QueueLimits) -> dict[str, Any]:
    """The columns of limits: 0 is no limit."""
    rate = limits.rate
    return {
        "queue": limits.queue,
        "concurrency": limits.concurrency or 0,
        "per_key": limits.per_key or 0,
        "rate_number": 0 if rate is None else rate.number,
        "rate_window": 0 if rate is None else rate.window,
    }


def limits_from(columns: Columns) -> QueueLimits:
    """The limits in these columns. Raises `DamagedRowError`."""
    queue, concurrency, per_key, number, window = columns
    try:
        for option, limit in (("concurrency", concurrency), ("per_key", per_key)):
            check_limit_of_runs(option, limit or 1)
        rate = Rate(number, window / 1_000_000) if number else None
    except InvalidOptionError as error:
        raise DamagedRowError("queue", queue, why=f"{error.value!r:.40} is no limit") from error
    return QueueLimits(queue, concurrency or None, per_key or None, rate)


def queue_from(columns: Columns) -> Queue:
    """The row of a queue. Raises `DamagedRowError`."""
    # A database may append columns of its own.
    *limits, last_key, starts = columns[:7]
    try:
        log = queue_rules.decoded_starts(starts)
    except struct.error as error:
        raise DamagedRowError("queue", limits[0], why="its log of starts cannot be read") from error
    return Queue(limits_from(tuple(limits)), last_key, log)


def infos_from(queues: Iterable[Columns], workers: Iterable[Columns]) -> list[QueueInfo]:
    """The queues that were declared, and those of living workers: a row for each, with the JSON of its queues and its
    name. Raises `DamagedRowError`."""
    declared = {limits[0]: (limits_from(tuple(limits)), at) for *limits, at in queues}
    return queue_rules.infos(declared, [_served(*columns[:2]) for columns in workers])


def _served(queues: str, worker: str) -> list[str]:
    try:
        return msgspec.json.decode(queues, type=list[str])
    except msgspec.MsgspecError as error:
        raise DamagedRowError("worker", worker, why="its queues cannot be read") from error
