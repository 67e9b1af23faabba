"""The error for a call that another writer stopped, with the parts of the call that are stored."""

from collections.abc import Iterable

import msgspec

from durable_graph._engine.build_commit import NextCheckpoint
from durable_graph._engine.task import Finished, Outcome
from durable_graph.errors import CheckpointConflictError
from durable_graph.records import ThreadRow, checkpoint_id


class StoredSoFar(msgspec.Struct, frozen=True):
    """The parts of a call that are stored so far in the outermost graph's namespace.

    `input` is the checkpoint that its input made and `newest` the last one that it committed (0: none), `recorded` the
    nodes whose results it recorded on top of that one, `answered` the ids of the questions that it answered.
    """

    input: int = 0
    newest: int = 0
    recorded: tuple[str, ...] = ()
    answered: tuple[str, ...] = ()

    def with_step(self, step: NextCheckpoint) -> "StoredSoFar":
        """Once the step is committed."""
        no = step.state.no
        return StoredSoFar(no if step.source == "input" else self.input, no, (), self.answered)

    def with_results(self, outcomes: Iterable[Outcome]) -> "StoredSoFar":
        """Once these outcomes are recorded."""
        nodes = tuple(outcome.task.node for outcome in outcomes if isinstance(outcome, Finished))
        return msgspec.structs.replace(self, recorded=self.recorded + nodes) if nodes else self

    def with_answers(self, ids: Iterable[str]) -> "StoredSoFar":
        """Once the answers to these questions are recorded."""
        return msgspec.structs.replace(self, answered=(*self.answered, *ids))


def conflict(known: ThreadRow, found: ThreadRow | None, stayed: StoredSoFar) -> CheckpointConflictError:
    """The error for a call that knew the thread's row as `known`. `found` is the row as it is now."""
    version = 0 if found is None else found.version
    is_same = found is not None and found.status != "deleted" and found.incarnation == known.incarnation
    if not is_same:
        # Deleting a thread deletes what the call had stored in it.
        stayed = StoredSoFar()
    return CheckpointConflictError(
        known.thread,
        expected=known.version,
        found=version,
        checkpoint_id=checkpoint_id(version),
        input_checkpoint_id=checkpoint_id(stayed.input) if stayed.input else None,
        newest_checkpoint_id=checkpoint_id(stayed.newest) if stayed.newest else None,
        recorded=stayed.recorded,
        answered=stayed.answered,
        is_deleted=not is_same and known.head > 0,
    )
