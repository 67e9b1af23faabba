"""One run of the demo: a thread, and the files it leaves."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Run:
    """The analysis of `folder` under the thread id `thread`, with everything it writes in `output`."""

    output: Path
    thread: str
    folder: Path

    @property
    def store(self) -> Path:
        """The database. All runs of one demo share it."""
        return self.output / "runs.db"

    @property
    def ledger(self) -> Path:
        """What the nodes wrote down about themselves."""
        return self.output / f"{self.thread}.ledger.txt"

    @property
    def report(self) -> Path:
        """What the graph was run for."""
        return self.output / f"{self.thread}.report.txt"

    @property
    def log(self) -> Path:
        """What the run's processes said on stderr."""
        return self.output / f"{self.thread}.log"
