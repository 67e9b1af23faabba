"""The event logs of the runs that a worker executes."""

from collections.abc import Mapping
from typing import Any

from durable_graph._runtime.events.run_log import RunLog
from durable_graph._runtime.events.sink import EventSink, NullSink
from durable_graph._runtime.threads.open_events import open_results
from durable_graph.app.compiled import CompiledGraph
from durable_graph.checkpointing import Checkpointer
from durable_graph.checkpointing.event_log import ASKED, KeepsEvents
from durable_graph.run_records import Claim
from durable_graph.runs.changes import Changes

Graphs = Mapping[str, CompiledGraph[Any, Any, Any, Any]]


class RunLogs:
    """Makes the logs of claimed runs, and begins those of followed runs."""

    def __init__(self, graphs: Graphs, saver: Checkpointer, changes: Changes) -> None:
        self._graphs, self._saver, self._changes = graphs, saver, changes
        # Once: the check of a protocol looks for each of its members.
        self._keeper = saver if isinstance(saver, KeepsEvents) else None

    def of(self, claim: Claim) -> RunLog | None:
        """The log of a claimed run, which stores nothing yet. None if the saver keeps no events."""
        if self._keeper is None:
            return None
        return RunLog(
            self._keeper.events,
            claim.thread,
            claim.seq,
            claim.epoch,
            self._graphs[claim.graph].topology,
            self._saver.max_value_bytes,
            self._changes.has_events,
        )

    async def begun(self, log: RunLog | None, claim: Claim, *, keeps_events: bool) -> EventSink:
        """The sink of a run that is about to be executed. It stores the run's events if the run has a follower, or if
        all its events are stored."""
        if log is None:
            return NullSink()
        if claim.followed == ASKED:
            await self.join(log, claim)
        elif claim.followed or keeps_events:
            await log.begin()
        return log

    async def join(self, log: RunLog, claim: Claim) -> None:
        """Store the events of a run that is being executed, and the results that are recorded already."""
        if not await log.begin():
            return
        topology = self._graphs[claim.graph].topology
        version, records = await open_results(topology, self._saver, claim.thread)
        missing = await log.missing((record.ns, record.born, record.ord) for record in records)
        log.catch_up([each for each in records if (each.ns, each.born, each.ord) in missing], version)
