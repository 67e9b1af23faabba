"""The rules that every saver shares, as functions of rows."""

import msgspec
import pytest

from durable_graph.checkpointing import rules
from durable_graph.checkpointing.digests import EMPTY_STATE, add, subtract
from durable_graph.records import Committed, CommitUnit, Conflict, Rank, ThreadRow, WritesMoved
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
        ({"incarnation": 1}, Conflict(3)),
        ({"origin": b"another"}, Conflict(3)),
        ({"status": "deleted"}, Conflict(3)),
        ({"wseq": 1}, WritesMoved(1)),
        ({"gen": 1}, None),
        ({"version": 4, "commit_id": b"another run's"}, Conflict(4)),
        ({"version": 4}, Committed(4)),
    ],
)
def test_a_unit_is_judged_by_the_thread_as_it_is(changes: dict[str, object], answer: object) -> None:
    thread, unit = _thread_and_unit()
    assert rules.decide(unit, replace(thread, **changes)) == answer


def test_a_unit_is_known_by_its_checkpoint_once_the_thread_is_beyond_it() -> None:
    thread, unit = _thread_and_unit()
    beyond = replace(thread, version=7)
    assert rules.needs_read_back(unit, beyond)
    assert rules.decide(unit, beyond, unit.commit_id) == Committed(4)
    assert rules.decide(unit, beyond, b"another run's") == Conflict(7)
    assert rules.decide(unit, beyond, None) == Conflict(7)
    assert not rules.needs_read_back(unit, replace(thread, version=4))
    # One run's commits have one id: its last one says nothing of the one before.
    assert not rules.needs_read_back(unit, thread)


def test_a_fork_needs_the_generation_that_it_saw() -> None:
    thread, unit = _thread_and_unit()
    fork = replace(unit, fork_of=2)
    assert rules.decide(fork, thread) is None
    assert rules.decide(fork, replace(thread, gen=1)) == Conflict(3)


def test_the_status_keeps_its_time_while_it_stays() -> None:
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


def test_the_lineage_of_forks_of_forks() -> None:
    parents = {1: 0, 6: 3, 9: 7, 12: 4}
    assert rules.lineage(parents, 5) == [(1, 5)]
    assert rules.lineage(parents, 8) == [(6, 8), (1, 3)]
    assert rules.lineage(parents, 11) == [(9, 11), (6, 7), (1, 3)]
    assert rules.lineage(parents, 20) == [(12, 20), (1, 4)]
    assert rules.lineage(parents, 0) == []
    assert rules.lineage({5: 0}, 3) == []


def test_a_line_that_leads_back_up_is_not_followed_for_ever() -> None:
    assert rules.lineage({1: 0, 5: 7}, 6) == [(5, 6), (1, 4)]


@pytest.mark.parametrize("rank", Rank)
def test_a_record_never_loses_to_itself(rank: Rank) -> None:
    writer = Writer.of("thread")
    first, second = (writer.record(born=1, rank=rank, value=value) for value in (b"first", b"second"))
    assert rules.standing(first, second) is first
    assert rules.standing(None, second) is second


def test_sums_of_digests_do_not_depend_on_order() -> None:
    first, second, third = (bytes([number]) * 16 for number in (1, 200, 255))
    assert add(EMPTY_STATE, first, second, third) == add(EMPTY_STATE, third, first, second)
    assert subtract(add(EMPTY_STATE, first, third), third) == add(EMPTY_STATE, first)
    assert subtract(add(EMPTY_STATE, third), third) == EMPTY_STATE
