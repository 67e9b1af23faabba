"""The limits of a queue, and the turns of its keys, as functions of values.

The row of a queue has a log of the starts (claims) within the window of its rate. The log is exact for rates of up to
`_EXACT` runs. Above that it has one entry for each hundredth of the window, with the time of its last start: an entry
leaves the window too late and never too early, so no window has more starts than the rate allows.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from struct import Struct

import msgspec

from durable_graph.checkpointing.queue_store import QueueInfo
from durable_graph.queue_records import QueueLimits, Rate
from durable_graph.run_records import QueueStats

NO_KEY = 1
"""The stored key of a run without a `limit_key` in a queue with limits. Runs in other queues have 0."""

_EXACT = 100
_ENTRIES = 100
_EXTRA_PARTS, _LONGEST_EXTRA_WAIT = 500, 20_000
"""After the rate allows one more run, a worker waits for a further 500th of the window, at most for these microseconds,
so that it claims several runs at once."""
_ENTRY = Struct("<qi")

Starts = tuple[tuple[int, int], ...]
"""The log of a rate: times and numbers of starts, oldest first."""


def stored_key(limit_key: str | None) -> int:
    """The key of a run in a queue with limits: 62 bits of a digest, or `NO_KEY`."""
    if limit_key is None:
        return NO_KEY
    digest = blake2b(limit_key.encode("utf-8"), digest_size=8).digest()
    return max(int.from_bytes(digest, "big") >> 2, NO_KEY + 1)


class Queue(msgspec.Struct, frozen=True):
    """The row of a queue. `last_key` is the key that a claim served last."""

    limits: QueueLimits
    last_key: int = 0
    starts: Starts = ()


class Candidate(msgspec.Struct, frozen=True):
    """A run that may be claimed: its priority, its key, its thread's key and its number."""

    priority: int
    key: int
    thread_key: int
    seq: int


# The log of a rate --------------------------------------------------------------------------------


def encoded_starts(starts: Starts) -> bytes:
    """The log as bytes."""
    return b"".join(_ENTRY.pack(at, number) for at, number in starts)


def decoded_starts(data: bytes) -> Starts:
    """The log in these bytes. Raises `struct.error`."""
    return tuple(_ENTRY.iter_unpack(data))


def starts_within(starts: Starts, rate: Rate | None, now: int) -> Starts:
    """The starts that count now. If the clock was set back, those of the future count as made now."""
    if rate is None:
        return ()
    return tuple((min(at, now), number) for at, number in starts if at > now or now - at <= rate.window)


def with_starts(starts: Starts, rate: Rate | None, now: int, number: int) -> Starts:
    """The log after so many more starts."""
    if rate is None or not number:
        return starts
    granule = 1 if rate.number <= _EXACT else max(rate.window // _ENTRIES, 1)
    if starts and starts[-1][0] // granule == now // granule:
        return (*starts[:-1], (now, starts[-1][1] + number))
    return (*starts, (now, number))


def wait_for_rate(starts: Starts, rate: Rate, now: int) -> int:
    """The microseconds until the rate allows a start, if it allows none now. A little longer than until the first one,
    because each look has its cost."""
    excess = sum(number for _, number in starts) - rate.number
    extra = min(rate.window // _EXTRA_PARTS, _LONGEST_EXTRA_WAIT)
    for at, number in starts:
        excess -= number
        if excess < 0:
            return max(at + rate.window + 1 - now, 1) + extra
    return extra


# A claim ------------------------------------------------------------------------------------------


def free_slots(queue: Queue, running: Mapping[int, int], now: int, most: int) -> int:
    """How many runs the limits of the whole queue allow to begin, of `most`."""
    limits, free = queue.limits, most
    if limits.concurrency is not None:
        free = min(free, limits.concurrency - sum(running.values()))
    if limits.rate is not None:
        free = min(free, limits.rate.number - _begun(queue.starts, limits.rate, now))
    return max(free, 0)


def _begun(starts: Starts, rate: Rate, now: int) -> int:
    return sum(number for _, number in starts_within(starts, rate, now))


def full_keys(limits: QueueLimits, running: Mapping[int, int]) -> list[int]:
    """The keys of which no more runs may begin. Runs without a key have no limit of their own."""
    if limits.per_key is None:
        return []
    return [key for key, count in running.items() if key != NO_KEY and count >= limits.per_key]


def depth(free: int, keys: int) -> int:
    """How many runs of each of so many keys to look at, to find `free` of them in turns. Twice as many as each has in
    turn, because some keys have fewer."""
    return free if keys <= 1 else min(free, 2 * -(-free // keys))


def chosen(queue: Queue, running: Mapping[int, int], found: Iterable[Candidate], free: int) -> list[Candidate]:
    """Up to `free` of the candidates, in the order in which they begin: by priority, and in turns of the keys after the
    one that was served last. `found` has the runs of each key by their due time."""
    taken, begun = list[Candidate](), dict(running)
    by_priority: dict[int, dict[int, list[Candidate]]] = {}
    for each in found:
        by_priority.setdefault(each.priority, {}).setdefault(each.key, []).append(each)
    last = queue.last_key
    for _, of_keys in sorted(by_priority.items()):
        waiting = {key: of_keys[key] for key in in_turn(of_keys, last)}
        while waiting and len(taken) < free:
            for key in list(waiting):
                if len(taken) == free or _is_full(queue.limits, key, begun):
                    waiting.pop(key)
                    continue
                taken.append(waiting[key].pop(0))
                last, begun[key] = key, begun.get(key, 0) + 1
                if not waiting[key]:
                    waiting.pop(key)
    return taken


def in_turn(keys: Iterable[int], last: int) -> list[int]:
    """The keys in the order of their turns, after the key `last`."""
    return sorted(keys, key=lambda key: (key <= last, key))


def _is_full(limits: QueueLimits, key: int, begun: Mapping[int, int]) -> bool:
    return limits.per_key is not None and key != NO_KEY and begun.get(key, 0) >= limits.per_key


def after_claim(queue: Queue, taken: Sequence[Candidate], now: int, claimed: int) -> Queue:
    """The row of the queue after `claimed` of the `taken` runs were claimed."""
    rate = queue.limits.rate
    starts = with_starts(starts_within(queue.starts, rate, now), rate, now, claimed)
    return msgspec.structs.replace(queue, last_key=taken[-1].key if taken else queue.last_key, starts=starts)


def wait_after(queue: Queue, running: Mapping[int, int], now: int, most: int, claimed: int) -> tuple[bool, int | None]:
    """`QueueClaims.wait` after a claim that took all that the limits allowed, or that was due, of at most `most` runs.
    `queue` is its row afterwards, and `running` has the numbers of running runs before.

    False first: no limit decides, but the due time of the next run.
    """
    limits = queue.limits
    if claimed == most:
        return True, 0
    if limits.concurrency is not None and sum(running.values()) + claimed >= limits.concurrency:
        return True, None
    if limits.rate is not None and _begun(queue.starts, limits.rate, now) >= limits.rate.number:
        return True, wait_for_rate(starts_within(queue.starts, limits.rate, now), limits.rate, now)
    return False, None


def wait_until(due: int | None, now: int) -> int | None:
    """`QueueClaims.wait` if the next run is due at this time."""
    return None if due is None else max(due - now, 1)


# A listing ----------------------------------------------------------------------------------------


def infos(declared: Mapping[str, tuple[QueueLimits, int]], served: Iterable[Iterable[str]]) -> list[QueueInfo]:
    """The queues by name: those that were declared, with the times of the declarations, and those that the living
    workers serve."""
    counts = Counter(name for names in served for name in names)
    found = {name: QueueInfo(name, limits, at, counts[name]) for name, (limits, at) in declared.items()}
    others = {name: QueueInfo(name, workers=count) for name, count in counts.items() if name not in declared}
    return [info for _, info in sorted({**found, **others}.items())]


def with_limits(stats: Iterable[QueueStats], known: Iterable[QueueInfo]) -> list[QueueStats]:
    """The numbers of runs by queue, with the limits and the numbers of workers: the queues with runs, and those that
    were declared."""
    found = {each.queue: each for each in stats}
    for info in known:
        if info.limits is not None or info.queue in found:
            counted = found.get(info.queue, QueueStats(info.queue))
            found[info.queue] = msgspec.structs.replace(
                counted, limits=info.limits, declared_at=info.declared_at, workers=info.workers
            )
    return [found[queue] for queue in sorted(found)]
