"""What the nodes of all processes did, one line each, in a file that outlives the processes."""

import os
import time
from pathlib import Path
from typing import Any

import msgspec

from durable_graph import Runtime


class Start(msgspec.Struct, frozen=True):
    """A process began a node. `attempt` is the node's, `at` the monotonic time, which all processes share."""

    thread: str
    node: str
    pid: int
    task_id: str
    attempt: int
    at: float


class Ledger:
    """The file, which any number of processes append to. A line is one `write`, so lines do not mix."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "ledger"
        self._file: int | None = None

    def note(self, runtime: Runtime[Any]) -> None:
        """Append that this process begins the node."""
        if self._file is None:
            self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        info = runtime.execution_info
        line = Start(info.thread_id or "", info.node, os.getpid(), info.task_id, info.node_attempt, at=time.monotonic())
        os.write(self._file, msgspec.json.encode(line) + b"\n")

    def starts(self, *, pid: int | None = None, since: float = 0.0) -> list[Start]:
        """The lines so far, in their order: those of one process, and those since a time."""
        if not self._path.exists():
            return []
        # The kill of a process may have cut its last line.
        lines = self._path.read_bytes().split(b"\n")[:-1]
        found = [msgspec.json.decode(line, type=Start) for line in lines]
        return [each for each in found if pid in (None, each.pid) and each.at >= since]
