"""The namespaces and records that a prune keeps, as functions of rows."""

from collections.abc import Mapping
from types import MappingProxyType

import pytest

from durable_graph.checkpointing.pruning import Kept, caller_of, kept, planned_at
from durable_graph.records import CheckpointRow
from durable_graph.testing.rows import Step, Writer


@pytest.mark.parametrize(
    ("ns", "outermost", "caller"),
    [
        ("", None, None),
        ("node", None, None),
        ("node|inner", None, None),
        ("node:7.0", 7, 7),
        ("node:7.12|1", 7, None),
        ("node:7.0|inner:9.3", 7, 9),
        ("node|inner:9.3", 9, 9),
        # A call of a task may have any name.
        ("node:7.0|a:b.c|d:7.1", 7, 7),
        ("node:7.0|first\nsecond:7.1", 7, 7),
        ("node:7", None, None),
        ("node:7.x", None, None),
        ("node:-7.0", None, None),
        ("node:٧.0", None, None),
        (f"node:{'9' * 5000}.0", None, None),
    ],
)
def test_a_namespace_shows_which_checkpoint_planned_its_task(
    ns: str, outermost: int | None, caller: int | None
) -> None:
    assert (planned_at(ns), caller_of(ns)) == (outermost, caller)


class _Thread:
    """A thread with one commit per step. `forks` maps the number of a commit to the checkpoint that it forks."""

    def __init__(self, *steps: Step, forks: Mapping[int, int] = MappingProxyType({})) -> None:
        writer = Writer.of("thread")
        self.rows: list[CheckpointRow] = []
        for number, step in enumerate(steps, 1):
            unit = writer.unit(step, fork_of=forks.get(number))
            writer.applied(unit)
            self.rows += [new.row for new in unit.checkpoints]
        self.row = writer.thread
        self.lines = {1: 0, **forks}

    def kept(self, keep_last: int) -> Kept:
        found = kept(self.rows, self.lines, self.row, keep_last)
        assert found is not None
        return found


def test_a_namespace_is_pruned_with_the_last_checkpoint_that_planned_its_task() -> None:
    thread = _Thread(
        Step(),
        Step(ns="node:1.0"),
        Step(),
        Step(ns="node:3.0"),
        Step(),
        Step(ns="node:5.0"),
    )
    assert thread.kept(1).checkpoints == {("", 5), ("node:5.0", 6)}
    assert thread.kept(2).checkpoints == {("", 3), ("", 5), ("node:3.0", 4), ("node:5.0", 6)}
    assert len(thread.kept(3).checkpoints) == 6


def test_a_task_that_is_planned_again_keeps_its_namespaces() -> None:
    thread = _Thread(Step(), Step(ns="node:1.0"), Step(born=1), Step(born=1))
    assert thread.kept(1).checkpoints == {("", 4), ("node:1.0", 2)}


def test_memory_is_kept_as_of_the_oldest_kept_checkpoint() -> None:
    steps = [Step(ns="node" if number % 2 else "") for number in range(8)]
    thread = _Thread(*steps)
    assert thread.kept(2).checkpoints == {("", 5), ("", 7), ("node", 4), ("node", 6), ("node", 8)}


def test_a_namespace_inside_memory_is_pruned_with_the_task_that_called_it() -> None:
    thread = _Thread(
        Step(),
        Step(ns="node"),
        Step(ns="node|inner:2.0"),
        Step(),
        Step(ns="node"),
        Step(ns="node|inner:5.0"),
    )
    places = {("", 4), ("node", 2), ("node", 5), ("node|inner:5.0", 6)}
    assert thread.kept(1).checkpoints == places


def test_namespaces_and_records_of_other_branches_are_pruned() -> None:
    thread = _Thread(Step(), Step(), Step(ns="node:2.0"), Step(), Step(), forks={4: 1})
    keeps = thread.kept(9)
    assert keeps.checkpoints == {("", 1), ("", 4), ("", 5)}
    assert not keeps.needs_record("node:2.0|call:2.1", 2)
    assert not keeps.needs_record("", 2)


def test_records_are_kept_while_a_kept_checkpoint_may_need_them() -> None:
    thread = _Thread(Step(), Step(), Step(ns="node:2.0"), Step(ns="node:2.0"), Step(born=2))
    keeps = thread.kept(1)
    assert keeps.checkpoints == {("", 5), ("node:2.0", 4)}
    needed = [(ns, born) for ns in ("", "node:2.0", "calls") for born in range(1, 6) if keeps.needs_record(ns, born)]
    root, calls = [("", born) for born in (2, 3, 4, 5)], [("calls", born) for born in (2, 3, 4, 5)]
    # A call is recorded under the number of its caller, before anything that a graph plans in the same namespace.
    assert needed == [*root, ("node:2.0", 2), ("node:2.0", 4), ("node:2.0", 5), *calls]


def test_a_thread_without_a_root_checkpoint_is_not_pruned() -> None:
    thread = _Thread(Step(ns="child"))
    assert kept(thread.rows, thread.lines, thread.row, 1) is None
