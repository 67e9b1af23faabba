"""Applying outcomes to a state: a function of values that does not depend on their order."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from durable_graph import END
from durable_graph._engine.apply import apply, number
from durable_graph._engine.state import Absent, Full, State, Updates, initial_state
from durable_graph._engine.task import Done, Route, Task
from durable_graph.errors import ConcurrentUpdateError, ReducerError
from durable_graph.graph import Topology
from tests.engine.graphs import diamond, done, graph, nodes_of, send, write

START_EDGE = ("__start__", "a")


def at(topology: Topology, *nodes: str, no: int = 1, **values: Any) -> State:
    """A state in which `nodes` are planned."""
    return State(no, 0, {**initial_state(topology).values, **values}, number(nodes, [], no))


def apply_all(topology: Topology, state: State, **updates: dict[str, Any]) -> State:
    outcomes = [done(topology, task, updates.get(task.node)) for task in state.plan]
    return apply(topology, state, outcomes, state.no + 1)[0]


@given(st.permutations(range(5)), st.lists(st.integers(0, 9), min_size=5, max_size=5))
def test_finishing_order_does_not_matter(order: list[int], values: list[int]) -> None:
    topology = graph(*(("__start__", name) for name in "abcde"), nodes="abcde")
    state = at(topology, *"abcde")
    outcomes = [
        done(topology, task, {"log": [f"{task.node}{value}"], "seen": {"last": value}, "best": value})
        for task, value in zip(state.plan, values, strict=True)
    ]

    in_order = apply(topology, state, outcomes, 2)
    as_finished = apply(topology, state, [outcomes[place] for place in order], 2)

    assert as_finished == in_order
    assert in_order[0].values["log"] == [f"{name}{value}" for name, value in zip("abcde", values, strict=True)]
    assert in_order[0].values["seen"] == {"last": values[-1]}


def test_apply_changes_neither_the_state_nor_its_values() -> None:
    topology = diamond()
    log = ["before"]
    state = at(topology, "a", log=log)

    after, _ = apply(topology, state, [done(topology, state.plan[0], {"log": ["after"]})], 2)

    assert (log, after.values["log"]) == (["before"], ["before", "after"])


def test_two_writes_to_a_channel_without_reducer_are_an_error_that_names_both_nodes() -> None:
    topology = diamond()
    state = at(topology, "a", "b")
    outcomes = [done(topology, task, {"topic": task.node}) for task in state.plan]

    with pytest.raises(ConcurrentUpdateError, match=r"'topic'.*Annotated") as raised:
        apply(topology, state, outcomes, 2)
    assert (raised.value.channel, raised.value.nodes) == ("topic", ("a", "b"))


def test_the_error_of_a_reducer_names_its_channel_and_the_nodes_that_wrote() -> None:
    topology = diamond()
    state = at(topology, "a")
    outcome = Done(state.plan[0], 1, (write(topology, "best", 1), write(topology, "best", "not a number")), ())

    with pytest.raises(ReducerError, match=r"'best'.*correct the reducer and resume") as raised:
        apply(topology, state, [outcome], 2)
    assert (raised.value.channel, raised.value.nodes) == ("best", ("a", "a"))


def test_a_superstep_stores_the_writes_for_an_operator_and_the_value_for_a_reducer() -> None:
    topology = diamond()
    state = at(topology, "a")

    _, changes = apply(topology, state, [done(topology, state.plan[0], {"log": ["x"], "best": 1, "topic": "tea"})], 2)

    codecs = topology.codecs
    assert changes["log"] == Updates((codecs["log"].update.encode(["x"]),))
    assert changes["topic"] == Full(codecs["topic"].value.encode("tea"))
    assert changes["best"] == Full(None)
    assert set(changes) - {"log", "topic", "best"} == {"#join:a+b:c"}


# What runs next


def test_a_node_is_planned_once_however_many_edges_lead_to_it() -> None:
    topology = graph(START_EDGE, ("a", "c"), ("b", "c"), nodes="abc")

    assert nodes_of(apply_all(topology, at(topology, "a", "b")).plan) == ["c"]


def test_a_plan_has_nodes_in_order_of_name_and_then_sends_in_order_of_emission() -> None:
    topology = graph(START_EDGE, ("a", "d"), ("a", "c"), nodes="abcd")
    state = at(topology, "a", "b")
    outcomes = [
        done(topology, state.plan[0], routes=(send(topology, "b", 1), Route("b"))),
        done(topology, state.plan[1], routes=(send(topology, "a", 2), send(topology, "a", 3))),
    ]

    plan = apply(topology, state, outcomes, 2)[0].plan

    assert nodes_of(plan) == ["b", "c", "d", "b", "a", "a"]
    assert [task.argument.value for task in plan if task.argument] == [1, 2, 3]
    assert [task.key for task in plan] == [(2, place) for place in range(6)]


def test_a_graph_that_reaches_end_has_an_empty_plan() -> None:
    topology = graph(START_EDGE, ("a", END), nodes="a")

    assert apply_all(topology, at(topology, "a")).plan == ()


# Joins


def test_a_join_waits_for_all_its_sources() -> None:
    topology = graph(START_EDGE, (["a", "b"], "c"), nodes="abc")

    half = apply_all(topology, at(topology, "a"))
    assert (half.plan, half.values["#join:a+b:c"]) == ((), ("a",))

    full = apply_all(topology, State(2, 1, half.values, number("b", [], 2)))
    assert nodes_of(full.plan) == ["c"]


def test_a_join_is_cleared_when_its_node_ran() -> None:
    topology = graph(START_EDGE, (["a", "b"], "c"), nodes="abc")
    full = apply_all(topology, at(topology, "a", "b"))
    assert nodes_of(full.plan) == ["c"]

    outcomes = [done(topology, task) for task in full.plan]
    after, changes = apply(topology, full, outcomes, 3)

    assert (after.plan, "#join:a+b:c" in after.values) == ((), False)
    assert changes == {"#join:a+b:c": Absent()}


def test_an_arrival_in_the_superstep_of_the_joined_node_counts_for_its_next_run() -> None:
    topology = graph(START_EDGE, (["a", "b"], "c"), nodes="abc")
    full = apply_all(topology, at(topology, "a", "b"))

    with_a = State(full.no, full.step, full.values, number("ac", [], full.no))
    after = apply_all(topology, with_a)

    assert (after.plan, after.values["#join:a+b:c"]) == ((), ("a",))


def test_arrivals_of_all_sources_in_the_superstep_of_the_joined_node_start_it_again() -> None:
    topology = graph(START_EDGE, (["a", "b"], "c"), nodes="abc")
    full = apply_all(topology, at(topology, "a", "b"))

    again = apply_all(topology, State(full.no, full.step, full.values, number("abc", [], full.no)))

    assert nodes_of(again.plan) == ["c"]


def test_a_task_made_by_a_send_arrives_at_joins_as_its_node() -> None:
    topology = graph(START_EDGE, (["a", "b"], "c"), nodes="abc")
    argument = send(topology, "a", 1).argument
    state = State(1, 0, {}, (Task("a", 1, 0, argument), Task("b", 1, 1)))

    assert nodes_of(apply_all(topology, state).plan) == ["c"]
