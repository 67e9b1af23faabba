"""The queues of an app, and the claims of its workers from the queues that they serve."""

import asyncio
import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import msgspec

from durable_graph.checkpointing import Checkpointer, queue_rules
from durable_graph.checkpointing.queue_store import KeepsQueues, QueueStore
from durable_graph.checkpointing.run_store import RunStore
from durable_graph.errors import DamagedRowError, InvalidOptionError, MissingPowerError
from durable_graph.errors.shown import logged
from durable_graph.graph.options import is_graph_name
from durable_graph.queue_records import QueueLimits, Rate, check_limit_of_runs
from durable_graph.run_records import Claim, NewRun, QueueStats, RunState, Settlement
from durable_graph.runs.sweeps import spread

_PAUSE_OF_UNKNOWN_GRAPH = 10.0
"""Seconds until a run is due again that a worker without its graph has claimed and released."""

_PAUSE_OF_DAMAGED_QUEUE = 10.0
"""Seconds until the next look at a queue whose row is damaged."""

_SHORT_PAUSE = 5_000
"""Microseconds until the next look at a queue from which another worker is claiming."""

_logger = logging.getLogger("durable_graph")


class Queues(Collection[str]):
    """The queues that an app serves: one with the name of each graph, without limits, and those that were declared."""

    def __init__(self, graphs: Mapping[str, object], saver: Checkpointer) -> None:
        self._graphs = graphs
        self._saver = saver
        self._declared: dict[str, QueueLimits] = {}

    def __contains__(self, name: object) -> bool:
        return name in self._graphs or name in self._declared

    def __iter__(self) -> Iterator[str]:
        return iter((*self._graphs, *self._declared))

    def __len__(self) -> int:
        return len(self._graphs) + len(self._declared)

    @property
    def declared(self) -> list[QueueLimits]:
        """The limits of the declared queues."""
        return list(self._declared.values())

    def declare(self, name: str, concurrency: int | None, per_key: int | None, rate: Rate | None) -> None:
        """Declare a queue. Raises as `App.queue` does."""
        _check_name("name", name)
        if name in self._graphs:
            allowed = f"another name: runs without a queue= are in the queue of their graph {name!r}, without limits"
            raise InvalidOptionError("name", name, allowed=allowed)
        for option, limit in (("concurrency", concurrency), ("per_key", per_key)):
            if limit is not None:
                check_limit_of_runs(option, limit)
        if rate is not None and not isinstance(rate, Rate):
            raise InvalidOptionError("rate", rate, allowed="a Rate, such as Rate(300, per=60)")
        limits = QueueLimits(name, concurrency, per_key, rate)
        if self._declared.get(name, limits) != limits:
            raise InvalidOptionError("name", name, allowed="one declaration of a queue, or the same again")
        self.store()
        self._declared[name] = limits

    def store(self) -> QueueStore:
        """The store of queues. Raises `MissingPowerError`."""
        if not isinstance(self._saver, KeepsQueues):
            raise MissingPowerError(type(self._saver).__name__, "queues")
        return self._saver.queues

    def place(self, graph: str, queue: object, limit_key: object) -> tuple[str, int]:
        """The queue and the stored key of a run with these options of `App.start`. Raises as it does."""
        if queue is None or queue == graph:
            if limit_key is not None:
                raise InvalidOptionError("limit_key", limit_key, allowed="a text with queue=, the queue that limits it")
            return graph, 0
        name = _check_name("queue", queue)
        if name in self._graphs:
            raise InvalidOptionError("queue", name, allowed=f"{graph!r} or a name that is not that of another graph")
        if limit_key is not None and (not isinstance(limit_key, str) or not is_graph_name(limit_key)):
            raise InvalidOptionError("limit_key", limit_key, allowed=_TEXT)
        self.store()
        return name, queue_rules.stored_key(limit_key)

    def placed(self, run: NewRun, queue: object, limit_key: object) -> NewRun:
        """The run in the queue of these options of `App.start`. Raises as it does."""
        name, key = self.place(run.graph, queue, limit_key)
        return msgspec.structs.replace(run, queue=name, limit_key=key) if key else run

    async def stats(self, counted: Iterable[QueueStats]) -> list[QueueStats]:
        """The numbers of runs by queue, with the limits and the numbers of workers."""
        return await with_limits(self._saver, counted)


async def with_limits(saver: Checkpointer, counted: Iterable[QueueStats]) -> list[QueueStats]:
    """The numbers of runs by queue, with the limits and the numbers of workers, if the saver has them."""
    if not isinstance(saver, KeepsQueues):
        return list(counted)
    return queue_rules.with_limits(counted, await saver.queues.describe())


class ServedQueues:
    """The queues of one worker, from which it claims runs."""

    def __init__(self, queues: Queues, runs: RunStore, graphs: Collection[str]) -> None:
        self._queues, self._runs, self._graphs = queues, runs, list(graphs)
        self._limited: list[str] = []
        self._damaged: dict[str, float] = {}
        self._wait: int | None = None
        self._is_first = False

    @property
    def names(self) -> tuple[str, ...]:
        """All queues that the worker serves."""
        return (*self._graphs, *self._limited)

    async def declare(self) -> None:
        """Record the limits of the declared queues, and serve these from now on."""
        declared = self._queues.declared
        if declared:
            await self._queues.store().declare(declared)
        self._limited = [each.queue for each in declared]

    async def claim(self, worker: int, most: int) -> list[Claim]:
        """Up to `most` due runs. Queues with and without limits are first in turn, so that neither takes all slots."""
        if not self._limited:
            return await self._known(await self._runs.claim(worker, self._graphs, most), worker)
        self._is_first = not self._is_first
        claims = await self._limited_claims(worker, most) if self._is_first else []
        if most > len(claims):
            claims += await self._known(await self._runs.claim(worker, self._graphs, most - len(claims)), worker)
        if not self._is_first:
            claims += await self._limited_claims(worker, most - len(claims))
        return claims

    async def _limited_claims(self, worker: int, most: int) -> list[Claim]:
        if most <= 0:
            self._wait = 0
            return []
        now = asyncio.get_running_loop().time()
        readable = [name for name in self._limited if self._damaged.get(name, 0) <= now]
        try:
            found = await self._queues.store().claim(worker, readable, self._graphs, most)
        except DamagedRowError as error:
            # Its runs wait until it is repaired, and those of the other queues go on.
            _logger.error("a worker claims no runs of a queue: %s", logged(error))  # noqa: TRY400
            self._damaged[error.name], self._wait = now + _PAUSE_OF_DAMAGED_QUEUE, 0
            return []
        is_busy = found.wait == 0 and not found.claims
        self._wait = _SHORT_PAUSE if is_busy else found.wait
        # Another queue is the first one at the next claim.
        self._limited = [*self._limited[1:], self._limited[0]]
        return found.claims

    def frees_slot(self, queue: str) -> bool:
        """Whether the end of a run of this queue may let another worker claim a run: not if it has only a rate.

        If a newer declaration than the app's has other limits, other workers find the free slot by polling.
        """
        return any(each.queue == queue and (each.concurrency or each.per_key) for each in self._queues.declared)

    async def next_due(self) -> int | None:
        """The microseconds until runs may be claimed, 0 if some may now. None if nothing waits for a time."""
        due = await self._runs.next_due(self._graphs)
        waits = [each for each in (due, self._wait if self._limited else None) if each is not None]
        return min(waits, default=None)

    async def _known(self, claims: Sequence[Claim], worker: int) -> list[Claim]:
        """The claims of runs whose graphs the worker has. It releases the others: a queue of another app may have the
        name of a graph of this app."""
        unknown = [each for each in claims if each.graph not in self._graphs]
        for each in unknown:
            _logger.warning("a worker without the graph %r gives a run of thread %r back", each.graph, each.thread)
            delay = spread(_PAUSE_OF_UNKNOWN_GRAPH)
            await self._runs.settle(
                Settlement(each.thread, each.seq, worker, each.attempt, RunState.READY, inbox=each.inbox, delay=delay)
            )
        return [each for each in claims if each not in unknown] if unknown else list(claims)


_TEXT = "text of 1 to 255 bytes, without NUL and without a lone surrogate"


def _check_name(option: str, name: object) -> str:
    if not isinstance(name, str) or not is_graph_name(name):
        raise InvalidOptionError(option, name, allowed=_TEXT)
    return name
