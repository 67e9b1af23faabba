"""How a run ends that waits for answers: recorded as interrupted, unless an answer came first."""

from collections.abc import Mapping, Sequence

from durable_graph._engine.header import rank_of
from durable_graph._engine.restore import check_results
from durable_graph._engine.state import State
from durable_graph._engine.task import Outcome
from durable_graph._runtime.commit.policy import PublicationOf
from durable_graph._runtime.task.run_context import GraphRun
from durable_graph.checkpointing.rules import finality

Recorded = Mapping[tuple[int, int], Outcome]


async def stop(
    run: GraphRun, state: State, so_far: Recorded, rest: Sequence[Outcome], publication_of: PublicationOf
) -> Recorded | None:
    """Record that the outermost graph's run is interrupted, with `rest`: those of its outcomes that are not recorded.

    None once that is recorded. If another writer recorded something since this run last looked, nothing is recorded,
    and the result has the outcomes that replace those in `so_far`. They may hold an answer: its writer saw a running
    run, and left the answer to it.

    Raises `CheckpointConflictError` and `GraphChangedError`.
    """
    journal, ledger = run.shared.journal, run.ledger
    assert journal is not None  # noqa: S101  # without one nothing can be asked
    assert ledger is not None  # noqa: S101  # it comes with the journal
    if not rest and journal.thread.status == "interrupted":
        return None
    if await run.shared.durability.stop(ledger, rest, publication_of):
        return None
    found = await journal.adopt(ledger, state.plan)
    check_results(journal.thread.thread, found.values())
    unrecorded = {outcome.task.key for outcome in rest}
    return {
        key: theirs
        for key, theirs in found.items()
        if (own := so_far.get(key)) is None or _takes_its_place(theirs, own, is_recorded=key not in unrecorded)
    }


def _takes_its_place(theirs: Outcome, own: Outcome, *, is_recorded: bool) -> bool:
    """Whether a recorded outcome is another than `own`, and stands before it."""
    recorded, offered = (finality(rank_of(each), each.revision) for each in (theirs, own))
    return recorded > offered or (recorded == offered and not is_recorded)
