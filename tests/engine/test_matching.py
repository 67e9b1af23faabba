"""Matching of calls to records: by name and arguments, in any order of calls."""

import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from durable_graph._engine.matching import NOTE, Mark, Point, matching_place, new_place, places_in_the_way


def a_call(name: str, argument: str = "", *, nth: int = 0, at: int | None = None) -> Mark:
    """A call of a task. With `at`, a call in sequence, made when its caller had that many results."""
    digest = argument.encode().ljust(16, b"-")
    return Mark("task", name, digest, (), nth, at is not None, Point(at or 0))


def a_graph(*nodes: str, name: str = "graph") -> Mark:
    return Mark("graph", name, bytes(16), nodes)


def test_a_call_matches_the_record_of_its_name_and_arguments() -> None:
    unclaimed = {1: a_call("pay", "1"), 2: a_call("pay", "2"), 3: a_call("ship", "1")}

    assert matching_place(a_call("pay", "2"), unclaimed) == 2
    assert matching_place(a_call("ship", "1"), unclaimed) == 3
    assert matching_place(a_call("ship", "2"), unclaimed) is None


def test_a_graph_does_not_match_a_task_of_the_same_name() -> None:
    assert matching_place(Mark("graph", "pay", bytes(16)), {1: Mark("task", "pay", bytes(16))}) is None


def test_equal_calls_match_their_records_in_order() -> None:
    assert matching_place(a_call("pay"), {7: a_call("pay", nth=1), 9: a_call("pay", nth=0)}) == 9


def test_an_unnamed_graph_matches_a_record_with_a_node_in_common() -> None:
    unclaimed = {1: a_graph("a", "b"), 2: a_graph("c")}

    assert matching_place(a_graph("b", "x"), unclaimed) == 1
    assert matching_place(a_graph("c"), unclaimed) == 2
    assert matching_place(a_graph("x"), unclaimed) is None


def test_an_unnamed_graph_prefers_the_record_with_exactly_its_nodes() -> None:
    assert matching_place(a_graph("a", "c"), {1: a_graph("a", "b"), 2: a_graph("a", "c")}) == 2


def test_a_call_in_sequence_conflicts_with_another_call_recorded_at_the_same_point() -> None:
    unclaimed = {1: a_call("pay", "1", at=2)}

    assert places_in_the_way(a_call("pay", "2", at=2), unclaimed) == (1,)
    assert places_in_the_way(a_call("ship", at=2), unclaimed) == (1,)


@pytest.mark.parametrize(
    ("call", "recorded"),
    [
        (a_call("pay", "2", at=1), a_call("pay", "1", at=2)),
        (a_call("pay", "2"), a_call("pay", "1", at=0)),
        (a_call("pay", "2", at=0), a_call("pay", "1")),
        (
            msgspec.structs.replace(a_call("pay", "2", at=0), point=Point(0, 1)),
            a_call("pay", "1", at=0),
        ),
    ],
    ids=["at another point", "in a race now", "recorded in a race", "after a failure"],
)
def test_calls_at_another_point_in_a_race_or_after_a_failure_do_not_conflict(call: Mark, recorded: Mark) -> None:
    assert places_in_the_way(call, {1: recorded}) == ()


CALLS = st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("123")), max_size=12)


@given(CALLS, st.randoms(use_true_random=False))
def test_each_call_matches_its_own_record_in_any_order_of_calls(
    calls: list[tuple[str, str]], chance: random.Random
) -> None:
    recorded: dict[int, Mark] = {}
    for name, argument in calls:
        place, mark = new_place(a_call(name, argument), recorded)
        recorded[place] = mark
    assert len(recorded) == len(calls)
    assert NOTE not in recorded

    chance.shuffle(calls)
    unclaimed = dict(recorded)
    for name, argument in calls:
        place_ = matching_place(a_call(name, argument), unclaimed)
        assert place_ is not None
        assert unclaimed.pop(place_).is_like(a_call(name, argument))


@given(CALLS, st.data())
def test_calls_without_a_record_get_places_of_their_own(calls: list[tuple[str, str]], data: st.DataObject) -> None:
    recorded: dict[int, Mark] = {}
    for name, argument in calls:
        place, mark = new_place(a_call(name, argument), recorded)
        recorded[place] = mark
    kept = {place: mark for place, mark in recorded.items() if data.draw(st.booleans())}

    unclaimed, taken = dict(kept), set(kept)
    for name, argument in data.draw(st.permutations(calls)):
        found = matching_place(a_call(name, argument), unclaimed)
        if found is not None:
            unclaimed.pop(found)
            continue
        place, _ = new_place(a_call(name, argument), taken)
        assert place not in taken
        taken.add(place)

    assert unclaimed == {}


def test_equal_calls_have_equal_places_and_different_calls_have_different_places() -> None:
    here, there = new_place(a_call("pay", "1"), {}), new_place(a_call("pay", "1"), {})

    assert here == there
    assert new_place(a_call("pay", "2"), {})[0] != here[0]


def test_a_place_has_at_most_18_digits_and_never_changes_between_versions() -> None:
    """Task ids, which external services may store as idempotency keys, are derived from the place."""
    places = [new_place(a_call("pay", f"{number}"), {})[0] for number in range(1000)]

    assert all(0 <= place < 10**18 for place in places)
    assert new_place(a_call("pay", "1"), {})[0] == PLACE


PLACE = 248975977696820030
