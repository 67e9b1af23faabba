"""A task's id is derived from the identity of the task, and from nothing else."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from durable_graph._engine.task import Argument, Identity, Task, task_id

WHOSE = Identity("t-1", 0)
TASK = Task("plan", born=3, ord=0)


def test_equal_tasks_have_equal_ids() -> None:
    assert task_id(WHOSE, TASK) == task_id(Identity("t-1", 0), Task("plan", born=3, ord=0))


def test_a_task_id_never_changes_between_versions() -> None:
    """An external service may store it as an idempotency key: another value would let an effect happen twice."""
    assert task_id(WHOSE, TASK) == "4e15dd8a0e19b5cc38d54ce5e5e57948"


@pytest.mark.parametrize(
    "other",
    [
        (Identity("t-2", 0), TASK),
        (Identity("t-1", 1), TASK),
        (Identity("t-1", 0, "sub"), TASK),
        (WHOSE, Task("draft", born=3, ord=0)),
        (WHOSE, Task("plan", born=4, ord=0)),
        (WHOSE, Task("plan", born=3, ord=0, argument=Argument(1, b"\x01"))),
    ],
    ids=["thread", "incarnation", "namespace", "node", "born", "send"],
)
def test_each_part_of_the_identity_of_a_task_changes_its_id(other: tuple[Identity, Task]) -> None:
    assert task_id(*other) != task_id(WHOSE, TASK)


def test_sends_to_one_node_have_different_ids_by_their_position_in_the_plan() -> None:
    sends = [Task("work", born=1, ord=place, argument=Argument(None, b"\xc0")) for place in range(100)]

    assert len({task_id(WHOSE, send) for send in sends}) == 100


def test_the_position_in_the_plan_does_not_change_the_task_id_of_a_node() -> None:
    assert task_id(WHOSE, msgspec.structs.replace(TASK, ord=7)) == task_id(WHOSE, TASK)


@given(st.lists(st.tuples(st.text(max_size=4), st.text(max_size=4)), min_size=2, max_size=6, unique=True))
def test_different_pairs_of_thread_and_node_have_different_task_ids(pairs: list[tuple[str, str]]) -> None:
    ids = {task_id(Identity(thread, 0), Task(node, 1, 0)) for thread, node in pairs}

    assert len(ids) == len(pairs)
