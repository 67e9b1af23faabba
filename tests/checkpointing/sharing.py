"""A second MemorySaver on the data of another, as two processes share a file or a server."""

from durable_graph import Checkpointer, MemorySaver


class SharingSaver(MemorySaver):
    """Has the threads, runs and workers of the saver `of`, and is closed by itself."""

    def __init__(self, of: Checkpointer) -> None:
        assert isinstance(of, MemorySaver)
        super().__init__()
        # A saver in memory offers its rows to nobody but a test.
        self._threads, self._lock = of._threads, of._lock
        self.runs = type(of.runs)(self._threads, self._lock, self._binding, of.runs._workers)
