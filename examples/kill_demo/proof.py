"""Did any recorded task run again? Judged from what lies on disk: `python -m examples.kill_demo.proof OUTPUT`.

The ledger says what ran. What the store had recorded was read between the two processes, and is compared with it.
"""

import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

from durable_graph import START, CompiledGraph
from examples.kill_demo.graph import Analysis
from examples.kill_demo.ledger import Entry, read_ledger
from examples.kill_demo.run import Run

UNINTERRUPTED = "uninterrupted"
AT_THE_KILL = "at-the-kill.json"


@dataclass(frozen=True)
class AtTheKill:
    """What was durable when the first process was dead and the second not born. Tasks go by their ids.

    `committed` are those of supersteps that were over, `recorded` those of the open superstep with a result in the
    store, `unrecorded` the others. `entries` is how many lines the ledger had.
    """

    thread: str
    committed: list[str]
    recorded: list[str]
    unrecorded: list[str]
    entries: int

    @property
    def is_inside_superstep(self) -> bool:
        """Some tasks of the superstep had a result, and some had none."""
        return bool(self.recorded and self.unrecorded)


class Check(NamedTuple):
    """One claim, whether it holds, and what that was read from."""

    claim: str
    holds: bool
    seen: str


async def read_at_the_kill(graph: CompiledGraph[Analysis], run: Run) -> AtTheKill:
    """Read the store and the ledger of a run whose process is dead."""
    now = await graph.aget_state(thread_id=run.thread)
    here = now.config["configurable"].get("checkpoint_id")
    earlier = graph.aget_state_history(thread_id=run.thread, before=here)
    return AtTheKill(
        thread=run.thread,
        committed=[task.id async for each in earlier for task in each.tasks if task.name != START],
        recorded=[task.id for task in now.tasks if task.result is not None],
        unrecorded=[task.id for task in now.tasks if task.result is None],
        entries=len(read_ledger(run.ledger)),
    )


def judge(
    kill: AtTheKill, ledger: Sequence[Entry], report: bytes | None, uninterrupted: bytes | None
) -> tuple[Check, ...]:
    """Every claim of the demo, checked. A report that was not written is None."""
    before, after = ledger[: kill.entries], ledger[kill.entries :]
    kept = {*kill.committed, *kill.recorded}
    starts = Counter(entry.task_id for entry in ledger if entry.event == "start")
    done_before = {entry.task_id for entry in before if entry.event == "done"}
    done_after = {entry.task_id for entry in after if entry.event == "done"}
    begun_after = {entry.task_id for entry in after if entry.event == "start"}
    again = [task for task in kept if starts[task] != 1 or task in begun_after]
    finished = done_after.intersection(kill.unrecorded)
    return (
        Check(
            "the kill fell inside a superstep",
            kill.is_inside_superstep,
            f"{len(kill.recorded)} of its {len(kill.recorded) + len(kill.unrecorded)} tasks were recorded",
        ),
        Check(
            "what was recorded had really run",
            kept <= done_before,
            f"{len(kept & done_before)} of {len(kept)} recorded tasks have ended in the ledger before the kill",
        ),
        Check("no recorded task ran again", not again, f"{len(again)} of {len(kept)} recorded tasks ran again"),
        Check(
            "nothing was left out",
            finished == set(kill.unrecorded),
            f"{len(finished)} of {len(kill.unrecorded)} unrecorded tasks have ended in the second process",
        ),
        Check(
            "the report is that of an uninterrupted run, byte for byte",
            report is not None and report == uninterrupted,
            f"{_size(report)} and {_size(uninterrupted)}",
        ),
    )


def judge_output(output: Path) -> tuple[Check, ...]:
    """The same, from the files that a demo left."""
    kill = AtTheKill(**json.loads((output / AT_THE_KILL).read_text()))
    killed, whole = (Run(output, thread, Path()) for thread in (kill.thread, UNINTERRUPTED))
    return judge(kill, read_ledger(killed.ledger), _content(killed.report), _content(whole.report))


def keep(kill: AtTheKill, output: Path) -> None:
    """Leave the evidence for `judge_output`."""
    (output / AT_THE_KILL).write_text(json.dumps(asdict(kill), indent=1))


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def _size(report: bytes | None) -> str:
    return "no report" if report is None else f"{len(report)} bytes"


def main(output: Path) -> int:
    """The exit status: 0 if every claim holds."""
    checks = judge_output(output)
    for check in checks:
        print(f"{'holds' if check.holds else 'FAILS':<6} {check.claim}: {check.seen}")
    return 0 if all(check.holds for check in checks) else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
