"""Killing the processes that serve a client, in sequence, until the client has reached the end of its scenario."""

import asyncio
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from durable_graph import Durability
from tests.crash.engine.killed_process import Kill
from tests.crash.engine.killing import ForkServer, looked_at
from tests.crash.engine.process_log import LogLine
from tests.crash.engine.scenario_process import ScenarioJob, read_progress
from tests.crash.engine.scenario_survival import Life, Survival
from tests.crash.engine.stored_namespaces import NOTHING, StoredNamespaces, look
from tests.crash.scenarios.everything import EVERYTHING

_lines = msgspec.json.Decoder(LogLine)


@dataclass(frozen=True, slots=True)
class Served:
    """A scenario that several processes served in sequence. `seconds` is the time of the last process."""

    survival: Survival
    kills: int
    seconds: float


@dataclass(frozen=True, slots=True)
class KillPlan:
    """The death of a process: at a point, after some seconds, or none."""

    kill: Kill | None = None
    after: float | None = None


NO_KILL = KillPlan()


def serve(
    server: ForkServer,
    folder: Path,
    mode: Durability,
    kill_plan: Callable[[int], KillPlan],
    *,
    is_impatient: bool = False,
) -> Served:
    """Serve the client until its end. `kill_plan` plans the death of the process of a number, from 0."""
    folder.mkdir()
    lives: list[Life] = []
    found: list[StoredNamespaces] = [NOTHING]
    while True:
        dies = kill_plan(len(lives))
        job = ScenarioJob(str(folder), f"life {len(lives)}", mode, dies.kill, dies.after, is_impatient, server.dsn)
        ended = server.run(job)
        assert ended.signal in (None, signal.SIGKILL)
        lives.append(_life(job.ledger, has_crashed=ended.signal is not None))
        # A nested graph's first checkpoint may be reported before any code in the graph reports.
        namespaces = {report.position.ns for life in lives for report in life.report}
        namespaces |= {ns for life in lives for ns, _ in life.reported_checkpoints}
        found.append(asyncio.run(_look(folder, server.dsn, namespaces)))
        if ended.signal is None:
            kills = len(lives) - 1
            return Served(Survival(lives, found, read_progress(job.progress)), kills, ended.seconds)


async def _look(folder: Path, dsn: str, namespaces: set[str]) -> StoredNamespaces:
    async with looked_at(folder, dsn) as saver:
        return await look(EVERYTHING.build(saver), namespaces)


def _life(ledger: Path, *, has_crashed: bool) -> Life:
    life = Life(has_crashed=has_crashed)
    # The last line may have been cut off by the kill.
    for line in ledger.read_bytes().split(b"\n")[:-1] if ledger.exists() else ():
        life.note(_lines.decode(line))
    return life
