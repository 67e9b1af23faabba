"""The rules that every saver shares, as functions of rows."""

import itertools

import msgspec
import pytest

from durable_graph.checkpointing import rules
from durable_graph.checkpointing.digests import EMPTY_STATE, add, subtract
from durable_graph.records import Committed, CommitUnit, Conflict, Rank, Saved, TaskRecord, ThreadRow, WritesMoved
from durable_graph.testing.rows import Step, Writer

replace = msgspec.structs.replace


def _thread_and_unit() -> tuple[ThreadRow, CommitUnit]:
    writer = Writer.of("thread")
    for _ in range(3):
        writer.applied(writer.unit(Step({"count": b"x"})))
    return writer.thread, writer.unit(Step({"count": b"y"}))


def test_a_unit_applies_to_the_thread_that_it_was_made_for() -> None:
    thread, unit = _thread_and_unit()
    assert rules.decide(unit, thread) is None


@pytest.mark.parametrize(
    ("changes", "answer"),
    [
        ({"version": 9}, Conflict(9)),
        ({"version": 2}, Conflict(2)),
        ({"epoch": 1}, Conflict(3)),
        ({"incarnation": 2}, Conflict(3)),
        ({"origin": b"another"}, Conflict(3)),
        ({"status": "deleted"}, Conflict(3)),
        ({"wseq": 1}, WritesMoved(1)),
        ({"gen": 1}, None),
        ({"version": 4, "commit_id": b"another run's"}, Conflict(4)),
        ({"version": 4}, Committed(4)),
    ],
)
def test_the_result_of_a_commit_depends_on_the_stored_thread(changes: dict[str, object], answer: object) -> None:
    thread, unit = _thread_and_unit()
    assert rules.decide(unit, replace(thread, **changes)) == answer


def test_a_repeated_unit_is_recognised_by_its_checkpoint_after_later_commits() -> None:
    thread, unit = _thread_and_unit()
    beyond = replace(thread, version=7)
    assert rules.needs_read_back(unit, beyond)
    assert rules.decide(unit, beyond, unit.commit_id) == Committed(4)
    assert rules.decide(unit, beyond, b"another run's") == Conflict(7)
    assert rules.decide(unit, beyond, None) == Conflict(7)
    assert not rules.needs_read_back(unit, replace(thread, version=4))
    # All commits of a run have one id: the last commit says nothing about the one before.
    assert not rules.needs_read_back(unit, thread)


def test_a_fork_of_another_generation_or_of_a_checkpoint_below_the_floor_is_a_conflict() -> None:
    thread, unit = _thread_and_unit()
    fork = replace(unit, fork_of=2)
    assert rules.decide(fork, thread) is None
    assert rules.decide(fork, replace(thread, gen=1)) == Conflict(3)
    assert rules.decide(fork, replace(thread, floor=2)) is None
    assert rules.decide(fork, replace(thread, floor=3)) == Conflict(3)


def test_the_time_of_a_status_changes_only_with_the_status() -> None:
    thread, unit = _thread_and_unit()
    later = replace(unit, at=50)
    assert rules.thread_after_commit(later, thread).status_since == thread.status_since
    assert rules.thread_after_commit(replace(later, status="done"), thread).status_since == 50


def test_the_head_is_the_newest_root_checkpoint() -> None:
    writer = Writer.of("thread")
    writer.applied(writer.unit(Step()))
    child = writer.unit(Step(ns="child"))
    assert rules.thread_after_commit(child, writer.thread).head == 1
    both = writer.unit(Step(), Step(ns="child"))
    assert rules.thread_after_commit(both, writer.thread).head == 2


def test_the_lineage_of_a_fork_of_a_fork_includes_every_branch_below() -> None:
    parents = {1: 0, 6: 3, 9: 7, 12: 4}
    assert rules.lineage(parents, 5) == [(1, 5)]
    assert rules.lineage(parents, 8) == [(6, 8), (1, 3)]
    assert rules.lineage(parents, 11) == [(9, 11), (6, 7), (1, 3)]
    assert rules.lineage(parents, 20) == [(12, 20), (1, 4)]
    assert rules.lineage(parents, 0) == []
    assert rules.lineage({5: 0}, 3) == []


def test_a_branch_that_forks_from_a_later_checkpoint_is_not_followed_forever() -> None:
    assert rules.lineage({1: 0, 5: 7}, 6) == [(5, 6), (1, 4)]


@pytest.mark.parametrize("rank", Rank)
def test_a_record_is_not_replaced_by_one_of_equal_rank_and_revision(rank: Rank) -> None:
    writer = Writer.of("thread")
    first, second = (writer.record(born=1, rank=rank, value=value) for value in (b"first", b"second"))
    assert rules.standing(first, second) is first
    assert rules.standing(None, second) is second


@pytest.mark.parametrize(
    ("recorded", "offered", "is_replaced"),
    [
        ((Rank.FAILED, 1), (Rank.INTERRUPTED, 2), True),
        ((Rank.INTERRUPTED, 2), (Rank.FAILED, 1), False),
        ((Rank.INTERRUPTED, 2), (Rank.FAILED, 3), True),
        ((Rank.INTERRUPTED, 2), (Rank.FAILED, 2), False),
        ((Rank.FAILED, 9), (Rank.HANDLING, 1), True),
        ((Rank.HANDLING, 1), (Rank.FAILED, 9), False),
        ((Rank.HANDLING, 1), (Rank.HANDLING, 2), True),
        ((Rank.HANDLING, 9), (Rank.ROUTING_OPEN, 1), True),
        ((Rank.ROUTING_OPEN, 1), (Rank.HANDLING, 9), False),
        ((Rank.ROUTING_OPEN, 1), (Rank.ROUTING_OPEN, 2), True),
        ((Rank.ROUTING_OPEN, 2), (Rank.ROUTING_OPEN, 1), False),
        ((Rank.ROUTING_OPEN, 9), (Rank.DONE, 1), True),
        ((Rank.DONE, 1), (Rank.DONE, 9), False),
        ((Rank.DONE, 1), (Rank.ROUTING_OPEN, 9), False),
    ],
)
def test_the_more_final_record_stands_and_then_the_one_with_the_higher_revision(
    recorded: tuple[Rank, int], offered: tuple[Rank, int], is_replaced: bool
) -> None:
    writer = Writer.of("thread")
    first, second = (writer.record(born=1, rank=rank, revision=revision) for rank, revision in (recorded, offered))
    assert rules.standing(first, second) is (second if is_replaced else first)


def test_the_standing_record_does_not_depend_on_the_order_of_arrival() -> None:
    writer = Writer.of("thread")
    # One record of each rank and revision: two of the same would be a tie, and a task has only one done record.
    places = [(rank, revision) for rank in Rank for revision in (1, 2) if rank not in (Rank.DONE, Rank.INTERRUPTED)]
    records = [writer.record(born=1, rank=rank, revision=revision) for rank, revision in places]
    for some in itertools.combinations([*records, writer.record(born=1)], 4):
        assert len({_folded(order) for order in itertools.permutations(some)}) == 1


def _folded(order: tuple[TaskRecord, ...]) -> TaskRecord:
    stands: TaskRecord | None = None
    for record in order:
        stands = rules.standing(stands, record)
    assert stands is not None
    return stands


@pytest.mark.parametrize(
    ("changes", "answer"),
    [
        ({}, None),
        ({"wseq": 3}, WritesMoved(3)),
        ({"version": 4, "wseq": 2}, Conflict(4)),
        ({"epoch": 1}, Conflict(3)),
        ({"status": "deleted"}, Conflict(3)),
    ],
)
def test_a_batch_with_if_unmoved_is_accepted_only_on_an_unchanged_thread(
    changes: dict[str, object], answer: object
) -> None:
    writer = Writer.of("thread")
    for _ in range(3):
        writer.applied(writer.unit(Step({"count": b"x"})))
    writer.thread = replace(writer.thread, wseq=2)
    batch = writer.batch(writer.record(), if_unmoved=True)
    thread = replace(writer.thread, **changes)
    assert rules.accepts(batch, thread) == (answer is None)
    if answer is not None:
        assert rules.answer_to_late_save(batch, thread, [None]) == answer
    # If another writer saved the same records meanwhile, the batch counts as saved.
    repeated = rules.answer_to_late_save(batch, thread, batch.records)
    assert repeated == Saved(thread.wseq, bumped=False, standing=batch.records)


def test_a_batch_without_if_unmoved_is_accepted_after_other_writes() -> None:
    writer = Writer.of("thread")
    writer.applied(writer.unit(Step()))
    assert rules.accepts(writer.batch(writer.record()), replace(writer.thread, wseq=99))


def test_a_fork_without_a_root_checkpoint_moves_the_head_back() -> None:
    writer = Writer.of("thread")
    for ns in ("", "child", "", "child"):
        writer.applied(writer.unit(Step(ns=ns)))
    nested, both = writer.unit(Step(ns="child"), fork_of=2), writer.unit(Step(ns="child"), Step(), fork_of=2)
    assert rules.needs_forked_head(nested)
    assert rules.thread_after_commit(nested, writer.thread, 1).head == 1
    assert not rules.needs_forked_head(both)
    assert rules.thread_after_commit(both, writer.thread).head == 6
    assert not rules.needs_forked_head(writer.unit(Step(ns="child")))


def test_the_head_covers_the_records_of_its_tasks_and_of_their_calls() -> None:
    writer = Writer.of("thread")
    covered = {
        (ns, born)
        for ns in ("", "calls")
        for born in range(1, 8)
        if rules.is_of_head(writer.record(born=born, ns=ns), born=3, head=5)
    }
    assert covered == {("", 3), ("", 4), ("", 5), *(("calls", born) for born in range(3, 8))}


def test_sums_of_digests_do_not_depend_on_order() -> None:
    first, second, third = (bytes([number]) * 16 for number in (1, 200, 255))
    assert add(EMPTY_STATE, first, second, third) == add(EMPTY_STATE, third, first, second)
    assert subtract(add(EMPTY_STATE, first, third), third) == add(EMPTY_STATE, first)
    assert subtract(add(EMPTY_STATE, third), third) == EMPTY_STATE
