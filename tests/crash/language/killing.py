"""Killing the processes that serve a client, one after the other, until it has come to the end of its story."""

import asyncio
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from durable_graph import Durability
from tests.crash.child import Kill
from tests.crash.killing import ForkServer, looked_at
from tests.crash.language.everything import EVERYTHING
from tests.crash.language.kept import NOTHING, Kept, look
from tests.crash.language.killed_child import StoryJob, read_progress
from tests.crash.language.lines import Line
from tests.crash.language.lives import Life, Survival

_lines = msgspec.json.Decoder(Line)


@dataclass(frozen=True, slots=True)
class Served:
    """A story that was served by one process after another. `seconds` are those of the last."""

    survival: Survival
    kills: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Fate:
    """How a process is to die: at a point, after some seconds, or not."""

    kill: Kill | None = None
    after: float | None = None


ITS_OWN = Fate()


def serve(
    server: ForkServer, folder: Path, mode: Durability, fate: Callable[[int], Fate], *, is_impatient: bool = False
) -> Served:
    """Serve the client until it is through. `fate` says how the process of a number, from 0, is to die."""
    folder.mkdir()
    lives: list[Life] = []
    found: list[Kept] = [NOTHING]
    while True:
        dies = fate(len(lives))
        job = StoryJob(str(folder), f"life {len(lives)}", mode, dies.kill, dies.after, is_impatient, server.dsn)
        ended = server.run(job)
        assert ended.signal in (None, signal.SIGKILL)
        lives.append(_life(job.ledger, has_crashed=ended.signal is not None))
        # A graph may be told to have begun before any code in it says so.
        namespaces = {said.spot.ns for life in lives for said in life.said}
        namespaces |= {ns for life in lives for ns, _ in life.told_checkpoints}
        found.append(asyncio.run(_look(folder, server.dsn, namespaces)))
        if ended.signal is None:
            kills = len(lives) - 1
            return Served(Survival(lives, found, read_progress(job.progress)), kills, ended.seconds)


async def _look(folder: Path, dsn: str, namespaces: set[str]) -> Kept:
    async with looked_at(folder, dsn) as saver:
        return await look(EVERYTHING.build(saver), namespaces)


def _life(ledger: Path, *, has_crashed: bool) -> Life:
    life = Life(has_crashed=has_crashed)
    # The last line may have been cut off by the kill.
    for line in ledger.read_bytes().split(b"\n")[:-1] if ledger.exists() else ():
        life.note(_lines.decode(line))
    return life
