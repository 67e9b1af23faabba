"""What a sweep decides about the run of a worker whose lease has ended, as a function of values."""

import msgspec

from durable_graph.checkpointing.run_changes import pause_after
from durable_graph.run_records import RunState


class Freed(msgspec.Struct, frozen=True, gc=False):
    """A run after its worker's lease has ended."""

    state: RunState
    crashes: int
    due: int
    ended_at: int = 0
    error: str | None = None


def freed(*, crashes: int, has_moved: bool, nodes: str, most: int, now: int) -> Freed:
    """The run whose worker is gone. `crashes` is its number of crashes before, `has_moved` whether its thread has a
    checkpoint or a recorded result more than at the claim, and `nodes` the names of the thread's pending nodes as a
    JSON array.

    With `most` crashes in a row it is quarantined.
    """
    count = 1 if has_moved else crashes + 1
    if count < most:
        return Freed(RunState.READY, count, now + pause_after(count))
    names = ", ".join(map(repr, msgspec.json.decode(nodes))) or "its first superstep"
    times = "once" if count == 1 else f"{count} times in a row"
    error = f"its process ended {times} in {names}, without progress; correct it, then retry the run"
    return Freed(RunState.QUARANTINED, count, now, ended_at=now, error=error)
