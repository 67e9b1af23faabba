"""A second MemorySaver on the data of another, as two processes share a file or a server."""

from msgspec.structs import replace

from durable_graph import Checkpointer, MemorySaver
from durable_graph.checkpointing.columns import key_of
from durable_graph.run_records import RunState


class SharingSaver(MemorySaver):
    """Has the threads, runs and workers of the saver `of`, and is closed by itself."""

    def __init__(self, of: Checkpointer) -> None:
        assert isinstance(of, MemorySaver)
        super().__init__()
        # A saver in memory offers its rows to nobody but a test.
        self._threads, self._lock = of._threads, of._lock
        self.notifier = of.notifier
        self.runs = type(of.runs)(self._threads, self._lock, self._binding, of.runs._workers)
        self.queues = type(of.queues)(self._threads, self._lock, self._binding, self.runs, of.queues._queues)
        self.events = type(of.events)(self._threads, self._lock, self._binding)
        self.schedules = type(of.schedules)(self.runs, self._lock, self._binding, of.schedules._rows)
        self.directory = type(of.directory)(self._threads, self._lock, self._binding)


def block(saver: Checkpointer, thread: str, seq: int) -> None:
    """Make the run BLOCKED by a change of its row alone."""
    assert isinstance(saver, MemorySaver)
    runs = saver._threads[key_of(thread)].runs
    runs.put(replace(runs.by_seq[seq], row=replace(runs.by_seq[seq].row, state=RunState.BLOCKED)))
