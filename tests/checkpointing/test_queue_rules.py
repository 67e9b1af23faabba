"""The rules of queues with limits, on drawn times, keys and limits."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from durable_graph.checkpointing import queue_rules
from durable_graph.checkpointing.queue_rules import NO_KEY, Candidate, Queue, stored_key
from durable_graph.checkpointing.queue_store import QueueInfo
from durable_graph.queue_records import QueueLimits, Rate
from durable_graph.run_records import QueueStats

START = 1_700_000_000_000_000
SECOND = 1_000_000

steps = st.lists(st.tuples(st.integers(0, 2 * SECOND), st.integers(0, 400)), max_size=60)
rates = st.builds(Rate, st.one_of(st.integers(1, 5), st.integers(90, 500)), st.sampled_from([0.001, 0.3, 1.0, 60.0]))


@given(rates, steps)
def test_no_window_has_more_starts_than_the_rate(rate: Rate, steps: list[tuple[int, int]]) -> None:
    queue, now, starts = Queue(QueueLimits("q", rate=rate)), START, list[int]()
    for pause, most in steps:
        now += pause
        free = queue_rules.free_slots(queue, {}, now, most)
        queue = queue_rules.after_claim(queue, [], now, free)
        starts += [now] * free
        assert sum(now - at <= rate.window for at in starts) <= rate.number
        assert len(queue.starts) <= 102
        stored = queue_rules.encoded_starts(queue.starts)
        assert queue_rules.decoded_starts(stored) == queue.starts


@given(rates, steps)
def test_a_claim_is_possible_after_the_wait(rate: Rate, steps: list[tuple[int, int]]) -> None:
    queue, now = Queue(QueueLimits("q", rate=rate)), START
    for pause, most in steps:
        now += pause
        free = queue_rules.free_slots(queue, {}, now, most)
        queue = queue_rules.after_claim(queue, [], now, free)
        is_decided, wait = queue_rules.wait_after(queue, {}, now, most + 1, free)
        assert is_decided == (queue_rules.free_slots(queue, {}, now, 1) == 0)
        if wait:
            assert queue_rules.free_slots(queue, {}, now, 1) == 0
            assert queue_rules.free_slots(queue, {}, now + wait, 1) == 1
            # Never much later than necessary.
            assert wait <= rate.window * 1.01 + 20_001


candidates = st.lists(
    st.builds(Candidate, st.integers(0, 4), st.integers(1, 6), st.just(0), st.integers(0, 10_000)),
    max_size=40,
    unique_by=lambda each: each.seq,
)


@given(candidates, st.integers(1, 20), st.one_of(st.none(), st.integers(1, 3)), st.integers(0, 7))
def test_chosen_runs_obey_the_limits_the_priorities_and_the_turns(
    found: list[Candidate], free: int, per_key: int | None, last: int
) -> None:
    running = {2: 1, 3: 2}
    queue = Queue(QueueLimits("q", per_key=per_key), last)
    taken = queue_rules.chosen(queue, running, found, free)
    assert len({each.seq for each in taken}) == len(taken) <= free
    begun = Counter(running)
    begun.update(each.key for each in taken)
    for key, count in begun.items():
        assert per_key is None or key == NO_KEY or count <= max(per_key, running.get(key, 0))
    assert [each.priority for each in taken] == sorted(each.priority for each in taken)
    for key in {each.key for each in found}:
        of_key = sorted((each for each in found if each.key == key), key=lambda each: each.priority)
        mine = [each for each in taken if each.key == key]
        assert mine == of_key[: len(mine)]
        if len(mine) < len(of_key) and len(taken) < free:
            assert per_key is not None
            assert begun[key] >= per_key
    # Within a priority no key is two turns ahead of one that had more to give.
    for priority in {each.priority for each in taken}:
        given_to = Counter(each.key for each in taken if each.priority == priority)
        waiting = Counter(each.key for each in found if each.priority == priority)
        for key, count in waiting.items():
            is_full = per_key is not None and key != NO_KEY and begun[key] >= per_key
            if count > given_to[key] and not is_full:
                assert max(given_to.values()) <= given_to[key] + 1


def test_turns_go_around() -> None:
    assert queue_rules.in_turn([1, 3, 5, 7], 3) == [5, 7, 1, 3]
    assert queue_rules.in_turn([1, 3], 0) == [1, 3]
    assert queue_rules.in_turn([1, 3], 9) == [1, 3]


def test_a_stored_key_is_never_that_of_no_key() -> None:
    keys = {stored_key(str(number)) for number in range(1000)}
    assert stored_key(None) == NO_KEY
    assert len(keys) == 1000
    assert all(NO_KEY < key < 1 << 63 for key in keys)


def test_statistics_have_declared_queues_and_those_with_runs() -> None:
    limits = QueueLimits("a", 1)
    known = [QueueInfo("a", limits, 5, 2), QueueInfo("graph", workers=1), QueueInfo("idle", workers=3)]
    found = queue_rules.with_limits([QueueStats("graph", ready=1), QueueStats("lost", ready=2)], known)
    assert found == [
        QueueStats("a", limits=limits, declared_at=5, workers=2),
        QueueStats("graph", ready=1, workers=1),
        QueueStats("lost", ready=2),
    ]
