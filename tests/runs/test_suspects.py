"""Which of the runs that crashed without progress run at the same time, as a function of their crashes."""

import random
from collections.abc import Iterable

import pytest

from durable_graph.checkpointing.run_sweep import freed
from durable_graph.run_records import RunState
from durable_graph.runs.suspects import Suspects

POISON = 0


def quarantined_of(crashes: dict[int, int], max_crashes: int, poison: Iterable[int] = (POISON,)) -> set[int]:
    """The runs that are quarantined by workers that execute these runs until all poison runs are.

    Each node takes so long that a run progresses only if the process survives: it does if no poison run is in it.
    `crashes` has the runs by number, with their crashes so far.
    """
    suspects, chance = Suspects(max_crashes), random.Random(7)
    ready, found, dangerous = dict(crashes), set[int](), set(poison)
    while dangerous - found:
        order = chance.sample(sorted(ready), len(ready))
        free = [each for each in order if not suspects.includes(ready[each])]
        risky = [each for each in order if suspects.includes(ready[each])]
        process = free + [risky[each] for each in suspects.admitted([ready[each] for each in risky], [])]
        assert process
        is_killed = not dangerous.isdisjoint(process)
        for each in process:
            crashed = freed(crashes=ready.pop(each), has_moved=not is_killed, nodes="[]", most=max_crashes, now=0)
            if is_killed and crashed.state is RunState.QUARANTINED:
                found.add(each)
            elif is_killed:
                ready[each] = crashed.crashes
    return found


@pytest.mark.parametrize("max_crashes", [2, 3, 4, 5, 8, 20])
def test_only_the_poison_run_of_a_hundred_is_quarantined(max_crashes: int) -> None:
    assert quarantined_of(dict.fromkeys(range(100), 0), max_crashes) == {POISON}


@pytest.mark.parametrize("max_crashes", [3, 5])
def test_no_other_run_is_quarantined_with_several_poison_runs(max_crashes: int) -> None:
    poison = range(5)
    assert quarantined_of(dict.fromkeys(range(100), 0), max_crashes, poison) == set(poison)


def test_runs_whose_processes_were_killed_for_another_reason_resume_together() -> None:
    suspects = Suspects(5)
    assert suspects.admitted([2] * 40, []) == list(range(16))
    assert suspects.admitted([3] * 40, []) == list(range(4))


def test_a_run_with_one_crash_left_runs_without_other_suspects() -> None:
    for max_crashes in (2, 3, 5, 9):
        suspects = Suspects(max_crashes)
        last = max_crashes - 1
        assert suspects.admitted([last, last], []) == [0]
        assert suspects.admitted([last], [last]) == []
        assert suspects.admitted([last], []) == [0]


def test_a_suspect_with_more_crashes_comes_first_and_limits_the_others() -> None:
    suspects = Suspects(5)
    assert suspects.admitted([2, 4, 2], []) == [1]
    assert suspects.admitted([2, 3, 2, 2, 2], []) == [0, 1, 2, 3]
    # Such a run does not begin beside suspects that are executed already.
    assert suspects.admitted([4], [2]) == []
    assert suspects.admitted([2], [4]) == []


def test_with_a_single_crash_allowed_no_run_is_a_suspect() -> None:
    assert not Suspects(1).includes(0)


def test_postponed_suspects_come_due_in_groups() -> None:
    suspects = Suspects(5)
    assert suspects.delays([2] * 33) == pytest.approx([0.1] * 16 + [0.2] * 16 + [0.3])
    # One that runs alone takes a turn of its own.
    assert suspects.delays([2, 4, 2]) == pytest.approx([0.2, 0.1, 0.2])
    assert suspects.delays([]) == []


def test_delays_grow_while_the_suspects_that_run_make_no_progress() -> None:
    suspects = Suspects(3)
    delays = []
    for _ in range(6):
        assert suspects.admitted([2], [2]) == []
        delays += suspects.delays([2])
    assert delays == pytest.approx([0.2, 0.4, 0.8, 1.0, 1.0, 1.0])
    assert suspects.admitted([2], []) == [0]
    assert suspects.delays([2]) == pytest.approx([0.1])
