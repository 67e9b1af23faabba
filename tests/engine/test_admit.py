"""An input on a thread: the new state, the planned tasks and the superseded tasks."""

from durable_graph._engine.admit import admit, replan
from durable_graph._engine.apply import number
from durable_graph._engine.state import State, Updates, initial_state
from durable_graph._engine.task import Failed, RoutingOpen
from tests.engine.graphs import diamond, done, graph, nodes_of, send, write


def test_input_on_a_new_thread_starts_the_entry_nodes() -> None:
    topology = diamond()

    admitted = admit(topology, initial_state(topology), {}, [write(topology, "topic", "tea")], 1)

    assert nodes_of(admitted.state.plan) == ["a", "b"]
    assert admitted.state.values == {"topic": "tea", "log": [], "seen": {}, "total": 0, "best": 0}
    assert (admitted.state.step, admitted.superseded, admitted.writers) == (0, (), ())


def test_input_supersedes_unfinished_tasks_and_reports_them() -> None:
    topology = diamond()
    state = State(4, 3, {"log": ["old"]}, number("ab", [], 4))

    admitted = admit(topology, state, {(4, 1): Failed(state.plan[1], 2, "ValueError: no")}, [], 5)

    assert [(each.node, each.outcome, each.error) for each in admitted.superseded] == [
        ("a", "pending", None),
        ("b", "failed", "ValueError: no"),
    ]
    assert {task.born for task in admitted.state.plan} == {5}


def test_finished_results_are_applied_before_the_input() -> None:
    topology = diamond()
    state = State(4, 3, {"log": ["old"]}, number("ab", [], 4))
    recorded = {(4, 0): done(topology, state.plan[0], {"log": ["from a"], "topic": "a's"})}

    admitted = admit(
        topology, state, recorded, [write(topology, "log", ["input"]), write(topology, "topic", "input's")], 5
    )

    assert admitted.state.values["log"] == ["old", "from a", "input"]
    assert admitted.state.values["topic"] == "input's"
    assert admitted.writers == ("a",)
    codec = topology.codecs["log"].update
    assert admitted.changes["log"] == Updates((codec.encode(["from a"]), codec.encode(["input"])))


def test_a_node_with_open_routing_counts_as_finished() -> None:
    topology = diamond()
    state = State(4, 3, {"log": []}, number("a", [], 4))
    recorded = {(4, 0): RoutingOpen(state.plan[0], 1, (write(topology, "log", ["kept"]),), "KeyError: 'x'")}

    admitted = admit(topology, state, recorded, [], 5)

    assert (admitted.state.values["log"], admitted.superseded) == (["kept"], ())


def test_results_that_cannot_be_merged_are_superseded_and_do_not_block_the_input() -> None:
    topology = diamond()
    state = State(4, 3, {"log": ["old"]}, number("ab", [], 4))
    recorded = {task.key: done(topology, task, {"topic": task.node}) for task in state.plan}

    admitted = admit(topology, state, recorded, [write(topology, "topic", "new")], 5)

    assert [(each.node, each.outcome) for each in admitted.superseded] == [("a", "unmerged"), ("b", "unmerged")]
    assert all(each.error and "'topic'" in each.error for each in admitted.superseded)
    assert admitted.state.values["topic"] == "new"


def test_half_filled_joins_are_kept_and_full_ones_cleared() -> None:
    topology = graph(("__start__", "a"), (["a", "b"], "c"), (["b", "d"], "e"), nodes="abcde")
    values = {"#join:a+b:c": ("a", "b"), "#join:b+d:e": ("b",)}

    admitted = admit(topology, State(4, 3, values, number("c", [], 4)), {}, [], 5)

    assert "#join:a+b:c" not in admitted.state.values
    assert admitted.state.values["#join:b+d:e"] == ("b",)


def test_a_fork_plans_new_tasks_with_the_same_nodes_and_arguments() -> None:
    topology = diamond()
    route = send(topology, "a", {"x": 1})
    state = State(4, 3, {"log": []}, number("ab", [route], 4))

    fork = replan(state, 9)

    assert nodes_of(fork.plan) == nodes_of(state.plan)
    assert {task.born for task in fork.plan} == {9}
    assert fork.plan[2].argument == state.plan[2].argument
    assert fork.values is state.values
