"""Due times of delayed tasks: how plans keep them, which of several counts, and how they are stored."""

import msgspec
import pytest

from durable_graph._engine.admit import carry, replan
from durable_graph._engine.apply import apply
from durable_graph._engine.delays import delay_of, may_be_delayed, with_delays, without_delays
from durable_graph._engine.header import (
    Header,
    decode_header,
    decode_plan,
    decode_result,
    encode_header,
    encode_plan,
    encode_result,
)
from durable_graph._engine.state import State
from durable_graph._engine.task import Argument, Done, Interrupted, Outcome, Route, Task, interrupts_of
from durable_graph.checkpointing.pieces import at_once
from durable_graph.errors import DecodeError
from durable_graph.graph import START
from tests.engine.graphs import done, graph, send

TOPOLOGY = graph((START, "a"), ("a", "d"), nodes="abcd")
ORIGIN, NOTHING = b"origin", b"\x01\xc0"


def after(*routes: Route, planned: tuple[Task, ...] = ()) -> list[tuple[str, int]]:
    """The nodes of the plan after task "a" chose these routes, or after a Command did beside `planned`, with their
    times."""
    if planned:
        plan = carry(TOPOLOGY, State(1, 0, {}, planned), (), routes, 2).state.plan
    else:
        task = Task("a", 1, 0)
        plan = apply(TOPOLOGY, State(1, 0, {}, (task,)), [done(TOPOLOGY, task, routes=routes)], 2)[0].plan
    return [(task.node, task.due) for task in plan]


def later(route: Route, due: int) -> Route:
    return msgspec.structs.replace(route, due=due)


def test_a_node_is_planned_for_its_time_among_the_others_in_order_of_name() -> None:
    assert after(Route("c", due=5), Route("b")) == [("b", 0), ("c", 5), ("d", 0)]


def test_the_earliest_of_several_due_times_of_a_node_counts() -> None:
    assert after(Route("b", due=7), Route("b", due=5)) == [("b", 5), ("d", 0)]
    assert after(Route("b", due=7), Route("b")) == [("b", 0), ("d", 0)]
    # The edge to "d" leads there at once.
    assert after(Route("d", due=7)) == [("d", 0)]


def test_each_send_has_its_own_time() -> None:
    sends = [later(send(TOPOLOGY, "b", 1), 7), later(send(TOPOLOGY, "b", 2), 5), send(TOPOLOGY, "b", 3)]
    assert after(*sends) == [("d", 0), ("b", 7), ("b", 5), ("b", 0)]


def test_a_planned_node_takes_an_earlier_time_and_keeps_an_earlier_one() -> None:
    waiting = Task("b", 1, 3, due=7)
    assert after(Route("b", due=5), planned=(waiting,)) == [("b", 5)]
    assert after(Route("b", due=9), planned=(waiting,)) == [("b", 7)]
    assert after(Route("b"), planned=(waiting,)) == [("b", 0)]
    assert after(Route("c"), planned=(waiting,)) == [("b", 7), ("c", 0)]
    assert after(Route("b"), planned=(Task("b", 1, 3, Argument(1, b"1"), due=7),)) == [("b", 7), ("b", 0)]


def test_a_planned_node_keeps_its_id_when_its_time_changes() -> None:
    state = carry(TOPOLOGY, State(1, 0, {}, (Task("b", 1, 3, due=7),)), (), [Route("b")], 2).state
    assert [task.key for task in state.plan] == [(1, 3)]


def test_a_fork_keeps_the_times() -> None:
    assert [task.due for task in replan(State(1, 0, {}, (Task("b", 1, 0, due=7), Task("c", 1, 1))), 5).plan] == [7, 0]


PLAN = (Task("b", 2, 0), Task("c", 1, 4, Argument(1, TOPOLOGY.argument.encode(1))))


def test_the_bytes_of_a_plan_without_due_times_are_unchanged() -> None:
    header = Header(1, "loop", encode_plan(PLAN, 2), ("a",))
    plan = [["b", 0, 0, None, None], ["c", 1, 4, b"\x01\x01", None]]
    assert encode_header(header) == msgspec.msgpack.encode([1, "loop", plan, ["a"], [], {}, "", ""])


def test_the_bytes_of_a_record_without_due_times_are_unchanged() -> None:
    _, data = encode_result(Done(Task("a", 1, 0), 1, (), (Route("b"),)))
    routes = [["b", None, None]]
    assert data == msgspec.msgpack.encode(["a", [], routes, None, 1, False, [], [], 0, None, []])


def test_a_plan_with_times_is_read_as_it_was_stored() -> None:
    plan = (*PLAN, Task("d", 2, 1, due=1_700_000_000_000_000), Task("b", 2, 2, PLAN[1].argument, due=1))
    header = decode_header(encode_header(Header(1, "loop", encode_plan(plan, 2), ("a",))))
    assert at_once(decode_plan(TOPOLOGY, header.plan, 2, 1000)) == plan


def test_a_record_with_times_is_read_as_it_was_stored() -> None:
    outcome = Done(Task("a", 1, 0), 1, (), (Route("b"), Route("c", due=3), later(send(TOPOLOGY, "d", 1), 4)))
    rank, data = encode_result(outcome)
    assert decode_result(TOPOLOGY, outcome.task, rank, 1, data) == outcome


@pytest.mark.parametrize("due", [-1, 1 << 62])
def test_a_time_outside_of_the_calendar_is_damage(due: int) -> None:
    entry = ["b", 0, 0, None, None, due]
    header = decode_header(msgspec.msgpack.encode([1, "loop", [entry], ["a"]]))
    with pytest.raises(DecodeError, match="is no time"):
        at_once(decode_plan(TOPOLOGY, header.plan, 2, 1000))
    rank, _ = encode_result(Done(Task("a", 1, 0), 1, (), ()))
    with pytest.raises(DecodeError, match="is no time"):
        decode_result(TOPOLOGY, PLAN[0], rank, 1, msgspec.msgpack.encode(["a", [], [["b", None, None, due]]]))


def loaded(recorded: dict[tuple[int, int], Outcome], now: int) -> dict[tuple[int, int], Outcome]:
    return with_delays(WAITING, recorded, now, origin=ORIGIN, ns="", nothing=NOTHING)


WAITING = (Task("b", 1, 0, due=7), Task("c", 1, 1))


def test_a_task_waits_until_its_time_and_not_longer() -> None:
    early = loaded({}, 6)
    assert list(early) == [(1, 0)]
    assert [ask.interrupt for ask in interrupts_of(early[1, 0])] == [delay_of(ORIGIN, "", WAITING[0])]
    assert loaded({}, 7) == {}
    assert without_delays(early) == {}


def test_a_task_that_has_begun_does_not_wait() -> None:
    finished = Done(WAITING[0], 1, (), ())
    assert loaded({(1, 0): finished}, 6) == {(1, 0): finished}


def test_a_task_that_a_breakpoint_stopped_waits_and_its_record_stays() -> None:
    stop = Interrupted(WAITING[0], 1, revision=3)
    early = loaded({(1, 0): stop}, 6)
    assert early[1, 0].revision == 3
    assert may_be_delayed(WAITING[0], early[1, 0])
    assert without_delays(early) == {(1, 0): stop}


def test_a_task_whose_delay_is_answered_does_not_wait() -> None:
    early = loaded({}, 6)[1, 0]
    answered = msgspec.structs.replace(early, answers=(object(),), revision=1)
    assert not may_be_delayed(WAITING[0], answered)
    assert without_delays({(1, 0): answered}) == {(1, 0): answered}


def test_delays_of_different_tasks_have_different_ids() -> None:
    tasks = [Task("b", 1, 0, due=7), Task("b", 2, 0, due=7), Task("b", 1, 1, due=7), Task("c", 1, 0, due=7)]
    ids = {delay_of(ORIGIN, ns, task).id for task in tasks for ns in ("", "inner:1.0")}
    assert len(ids) == 8
    moved = msgspec.structs.replace(tasks[0], due=5)
    assert delay_of(ORIGIN, "", moved).id == delay_of(ORIGIN, "", tasks[0]).id
