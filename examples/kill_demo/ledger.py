"""A book that the nodes keep of themselves, outside of the store: what really ran, line by line, on disk."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple


class Entry(NamedTuple):
    """One line: `event` is "start" or "done"."""

    event: str
    task_id: str


class Ledger:
    """Appends a line when a node begins and one when it has ended. A line that was written survives any kill."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextmanager
    def task(self, task_id: str) -> Iterator[None]:
        """Around a node's work. A node that raises, or is killed, leaves no "done"."""
        self._append(Entry("start", task_id))
        yield
        self._append(Entry("done", task_id))

    def _append(self, entry: Entry) -> None:
        # O_APPEND and one write: lines of concurrent nodes do not mix. fsync: the line is on disk before work goes on.
        file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(file, f"{entry.event} {entry.task_id}\n".encode())
            os.fsync(file)
        finally:
            os.close(file)


def read_ledger(path: Path) -> tuple[Entry, ...]:
    """The lines so far, oldest first. A ledger that nobody has written to is empty."""
    if not path.exists():
        return ()
    return tuple(Entry(*line.split(" ")) for line in path.read_text().splitlines())
