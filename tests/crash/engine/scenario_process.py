"""A process that serves a client of the scenario of everything, and that may be killed."""

import os
from collections.abc import Callable
from pathlib import Path

import msgspec

from durable_graph import Durability
from tests.crash.engine.client import Client
from tests.crash.engine.killed_process import Kill, KillingSaver
from tests.crash.engine.process_log import LogLine
from tests.crash.engine.reporting import Report, reports_to
from tests.crash.engine.stores import store_of
from tests.crash.scenarios.everything import EVERYTHING
from tests.crash.scenarios.scenario import Progress


class ScenarioJob(msgspec.Struct, frozen=True, tag=True):
    """One process. `life` names its ledger. The fork server kills the process after `kill_after` seconds."""

    folder: str
    life: str
    mode: Durability
    kill: Kill | None = None
    kill_after: float | None = None
    is_impatient: bool = False
    dsn: str = ""

    @property
    def ledger(self) -> Path:
        """The reports of its code and its events for the client, as lines of JSON."""
        return Path(self.folder) / self.life

    @property
    def progress(self) -> Path:
        """The progress of the client over all its processes."""
        return Path(self.folder) / "progress"


async def live(job: ScenarioJob, ready: Callable[[], object]) -> None:
    """Run the job. `ready` is called when everything is open, right before the client starts."""
    # Data that a process has written survives its death, so it need not be flushed to disk.
    ledger = os.open(job.ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    progress = read_progress(job.progress)

    def write(line: LogLine) -> None:
        if line != LogLine():
            os.write(ledger, msgspec.json.encode(line) + b"\n")

    def listen(report: Report) -> None:
        write(LogLine(report))

    def remember() -> None:
        new = job.progress.with_suffix(".new")
        new.write_bytes(msgspec.json.encode(progress))
        new.replace(job.progress)

    async with store_of(Path(job.folder), job.dsn) as store:
        saver = KillingSaver(store, job.kill)
        await saver.watch_statements()
        graph = EVERYTHING.build(saver)
        client = Client(EVERYTHING, progress, graph, job.mode, write, remember, job.is_impatient)
        ready()
        with reports_to(listen):
            await client.resume()


def read_progress(path: Path) -> Progress:
    """The last progress that the client has saved."""
    return msgspec.json.decode(path.read_bytes(), type=Progress) if path.exists() else Progress()
