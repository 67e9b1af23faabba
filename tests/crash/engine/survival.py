"""One thread, run to its end by processes that die, and everything that was observed on the way."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from durable_graph import CheckpointCommitted, CompiledGraph, Durability, ExecutionInfo, TaskFinished
from durable_graph.testing import CrashingSaver, CrashPoint, SimulatedCrashError
from tests.crash.engine.stored_thread import Stored, read
from tests.crash.engine.stores import CrashStore
from tests.crash.scenarios.graph_shapes import THREAD, Shape, State, Witness, watched_by


@dataclass(slots=True)
class Life:
    """One process: the task ids of the nodes that it started and ended, and the durable events that it emitted.

    `late` are the nodes that it started after the store had failed.
    """

    point: CrashPoint | None
    calls: tuple[str, ...] = ()
    crashed: bool = False
    started: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)
    reported_tasks: set[str] = field(default_factory=set)
    reported_checkpoints: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Survival:
    """`found[i]` is the content of the store before life `i`; the last entry is its final content."""

    lives: Sequence[Life]
    found: Sequence[Stored]


async def survive(shape: Shape, store: CrashStore, points: Sequence[CrashPoint], mode: Durability) -> Survival:
    """Run the thread in processes in sequence: one for each crash point, and a last one that does not crash."""
    lives: list[Life] = []
    found: list[Stored] = []
    for point in (*points, None):
        saver = CrashingSaver(store.process(), point)
        life = Life(point)
        found.append(await read(shape.on(saver.inner)))
        with watched_by(witness_of(life, saver)):
            await _live(life, shape, shape.on(saver), found[-1], mode)
        life.crashed, life.calls = saver.crashed, tuple(saver.names)
        lives.append(life)
        if not saver.crashed and point is not None:
            break
    found.append(await read(shape.on(store.process())))
    return Survival(lives, found)


def witness_of(life: Life, saver: CrashingSaver) -> Witness:
    """Records the starts and ends of nodes in this life."""

    def witness(moment: Literal["start", "end"], info: ExecutionInfo) -> None:
        (life.started if moment == "start" else life.ended).append(info.task_id)
        if moment == "start" and saver.crashed:
            life.late.append(info.task_id)

    return witness


async def _live(life: Life, shape: Shape, graph: CompiledGraph[State], found: Stored, mode: Durability) -> None:
    """Act as a user: repeat the input if it was not accepted, and resume with None if work is left."""
    if found.is_finished:
        return
    given = None if found.exists else shape.given
    try:
        async with graph.stream(given, thread_id=THREAD, durability=mode) as events:
            async for event in events:
                match event:
                    case TaskFinished(provisional=False):
                        life.reported_tasks.add(event.task_id)
                    case CheckpointCommitted(provisional=False, checkpoint_id=str(committed)):
                        life.reported_checkpoints.add(committed)
                    case _:
                        pass
    except SimulatedCrashError:
        pass
