"""An answer reaches its own interrupt, in any order of the interrupts and after any deployment."""

import asyncio
from typing import Any

import pytest

from durable_graph import (
    START,
    Checkpointer,
    Command,
    Durability,
    InvalidOptionError,
    NodeError,
    ReplayMismatchError,
    Send,
    StateGraph,
    UnknownInterruptError,
    entrypoint,
    interrupt,
    task,
)
from tests.errors.kinds import of_kind
from tests.graphs import State, chain, interrupt_ids, questions_of


class Asking:
    """A graph of one node, whose body the test replaces for each attempt."""

    def __init__(self, saver: Checkpointer) -> None:
        self.body: Any = None

        async def node(state: State) -> State:
            return {"log": [f"{each}" for each in await self.body()]}

        self.graph: Any = chain(("node", node)).compile(saver)

    async def run(self, body: Any, given: Any = None, **options: Any) -> Any:
        self.body = body
        return await self.graph.ainvoke(given, thread_id="t", **options)


@pytest.fixture
async def asking(saver: Checkpointer) -> Asking:
    return Asking(saver)


async def in_order(*values: Any) -> list[Any]:
    return [interrupt(value) for value in values]


async def at_once(*values: Any) -> list[Any]:
    """Tools that interrupt in separate asyncio tasks, started in this order."""

    async def tool(value: Any) -> str:
        return f"{value}={interrupt(value)}"

    return list(await asyncio.gather(*(tool(value) for value in values)))


# Order


async def test_tools_that_interrupt_in_another_order_get_their_own_answers(
    asking: Asking, durability: Durability
) -> None:
    found = interrupt_ids(await asking.run(lambda: at_once("a?", "b?", "c?"), {}, durability=durability))
    answers = {found[question]: question.upper() for question in found}

    result = await asking.run(lambda: at_once("c?", "a?", "b?"), Command(resume=answers), durability=durability)

    assert result["log"] == ["c?=C?", "a?=A?", "b?=B?"]


async def test_answers_in_separate_calls_reach_their_interrupts_in_any_order(
    asking: Asking,
) -> None:
    found = interrupt_ids(await asking.run(lambda: at_once("a?", "b?"), {}))

    partly = await asking.run(lambda: at_once("b?", "a?"), Command(resume={found["a?"]: 1}))
    assert interrupt_ids(partly) == {"b?": found["b?"]}
    assert (await asking.run(lambda: at_once("a?", "b?"), Command(resume=2)))["log"] == ["a?=1", "b?=2"]


async def test_an_inserted_interrupt_does_not_get_the_answer_of_another(asking: Asking, durability: Durability) -> None:
    await asking.run(lambda: in_order("approve the payment?"), {}, durability=durability)

    after = lambda: in_order("is this person over 18?", "approve the payment?")  # noqa: E731  # one body for two calls
    result = await asking.run(after, Command(resume="approved"), durability=durability)

    assert questions_of(result) == ["is this person over 18?"]
    result = await asking.run(after, Command(resume="no"), durability=durability)
    assert result["log"] == ["no", "approved"]


async def test_equal_interrupts_are_answered_in_their_order(asking: Asking) -> None:
    body = lambda: in_order("sure?", "sure?")  # noqa: E731  # one body for three calls
    first = await asking.run(body, {})
    second = await asking.run(body, Command(resume=1))

    assert questions_of(first)[0] == questions_of(second)[0] == "sure?"
    assert interrupt_ids(first) != interrupt_ids(second)
    assert (await asking.run(body, Command(resume=2)))["log"] == ["1", "2"]


async def test_an_interrupt_value_with_its_keys_in_another_order_is_the_same_interrupt(asking: Asking) -> None:
    await asking.run(lambda: in_order({"run": "ls", "where": {"b", "a"}}), {})

    result = await asking.run(lambda: in_order({"where": {"a", "b"}, "run": "ls"}), Command(resume="yes"))

    assert result["log"] == ["yes"]


async def test_interrupts_with_the_values_true_and_1_are_different(asking: Asking) -> None:
    await asking.run(lambda: in_order(1), {})

    assert questions_of(await asking.run(lambda: in_order(*[True]), Command(resume="yes"))) == [True]


# Interrupts that change


async def test_an_interrupt_that_changes_at_each_attempt_is_detected(asking: Asking, durability: Durability) -> None:
    attempts: list[int] = []

    async def body() -> list[Any]:
        attempts.append(1)
        return [interrupt(f"approve, at {len(attempts)}?")]

    result = await asking.run(body, {}, durability=durability)
    assert questions_of(result) == ["approve, at 1?"]
    assert questions_of(await asking.run(body, Command(resume="yes"), durability=durability)) == ["approve, at 2?"]

    for given in (Command(resume="yes!"), None, None):
        with pytest.raises(
            ReplayMismatchError, check=of_kind("question"), match=r"at 2.*at \d.*key='\.\.\.'"
        ) as raised:
            await asking.run(body, given, durability=durability)
        assert "approve, at 2?" in raised.value.recorded
        assert f"approve, at {len(attempts)}?" in raised.value.called
    assert len(f"{raised.value}") <= 400

    # A deployment that follows the remedy of the error.
    named = lambda: _with_key(f"approve, at {len(attempts)}?")  # noqa: E731  # one body for two calls
    assert questions_of(await asking.run(named)) == [f"approve, at {len(attempts)}?"]
    attempts.append(1)
    assert (await asking.run(named, Command(resume="at last")))["log"] == ["at last"]


async def _with_key(value: Any) -> list[Any]:
    return [interrupt(value, key="approval")]


async def test_concurrent_interrupts_that_change_at_each_attempt_are_detected(asking: Asking) -> None:
    attempts: list[int] = []

    async def body() -> list[Any]:
        attempts.append(1)
        return await at_once(f"a, at {len(attempts)}?", f"b, at {len(attempts)}?")

    first = await asking.run(body, {})
    second = await asking.run(body, Command(resume=dict.fromkeys(interrupt_ids(first).values(), "yes")))
    assert questions_of(second) == ["a, at 2?", "b, at 2?"]

    with pytest.raises(ReplayMismatchError, check=of_kind("question")):
        await asking.run(body, Command(resume=dict.fromkeys(interrupt_ids(second).values(), "yes")))


async def test_a_mismatch_that_the_node_catches_still_fails_the_run(asking: Asking) -> None:
    attempts: list[int] = []

    async def body() -> list[Any]:
        attempts.append(1)
        try:
            return [interrupt(len(attempts))]
        except ReplayMismatchError:
            return ["never mind"]

    await asking.run(body, {})
    await asking.run(body, Command(resume=1))

    with pytest.raises(ReplayMismatchError, check=of_kind("question")):
        await asking.run(body, Command(resume=2))


async def test_a_loop_of_interrupts_that_depend_on_earlier_answers_is_no_mismatch(asking: Asking) -> None:
    async def body() -> list[Any]:
        question = "a number?"
        while not (answer := interrupt(question)).isdigit():
            question = f"{answer} is no number, another one?"
        return [answer]

    result = await asking.run(body, {})
    for number in range(20):
        result = await asking.run(body, Command(resume="x" * (number + 1)))
    assert questions_of(result) == [f"{'x' * 20} is no number, another one?"]
    assert (await asking.run(body, Command(resume="7")))["log"] == ["7"]


async def test_a_loop_of_equal_interrupts_is_no_mismatch(asking: Asking) -> None:
    async def body() -> list[Any]:
        while (answer := interrupt("yes or no?")) not in ("yes", "no"):
            pass
        return [answer]

    await asking.run(body, {})
    for _ in range(10):
        assert questions_of(await asking.run(body, Command(resume="perhaps"))) == ["yes or no?"]
    assert (await asking.run(body, Command(resume="no")))["log"] == ["no"]


async def test_a_deployment_may_change_an_open_interrupt(asking: Asking) -> None:
    """The answer is for the old interrupt, so the changed one is raised."""
    await asking.run(lambda: in_order("delete?", "sure?"), {})

    after = lambda: in_order("delete everything?", "sure?")  # noqa: E731  # one body for three calls
    assert questions_of(await asking.run(after, Command(resume="yes"))) == ["delete everything?"]
    assert questions_of(await asking.run(after, Command(resume="no"))) == ["sure?"]
    assert (await asking.run(after, Command(resume="yes")))["log"] == ["no", "yes"]


async def test_an_interrupt_inserted_before_several_answered_interrupts_is_raised(asking: Asking) -> None:
    found = interrupt_ids(await asking.run(lambda: at_once("a?", "b?", "c?"), {}))

    async def after() -> list[Any]:
        return [*await in_order("first?"), *await at_once("c?", "b?", "a?")]

    everything = Command(resume={id_: question for question, id_ in found.items()})
    assert questions_of(await asking.run(after, everything)) == ["first?"]
    assert (await asking.run(after, Command(resume="yes")))["log"] == ["yes", "c?=c?", "b?=b?", "a?=a?"]


# Keys


async def test_an_interrupt_with_a_key_is_recognised_by_its_key(asking: Asking) -> None:
    result = await asking.run(lambda: _with_key("approve 1?"), {})
    (question,) = result["__interrupt__"]

    assert (question.key, question.value) == ("approval", "approve 1?")
    assert (await asking.run(lambda: _with_key("approve 2?"), Command(resume="yes")))["log"] == ["yes"]


async def test_interrupts_with_the_same_key_are_answered_in_their_order(asking: Asking) -> None:
    async def body() -> list[Any]:
        return [interrupt(number, key="one") for number in range(2)]

    await asking.run(body, {})
    assert questions_of(await asking.run(body, Command(resume="a"))) == [1]
    assert (await asking.run(body, Command(resume="b")))["log"] == ["a", "b"]


@pytest.mark.parametrize("key", ["", "x" * 256, 7, "\ud800"])
async def test_an_invalid_interrupt_key_is_refused(asking: Asking, key: Any) -> None:
    async def body() -> list[Any]:
        return [interrupt("sure?", key=key)]

    with pytest.raises(InvalidOptionError, match="key"):
        await asking.run(body, {})


# Kinds of code that interrupt


async def test_interrupts_of_tasks_nested_graphs_and_routers_get_their_own_answers(saver: Checkpointer) -> None:
    attempts: list[int] = []

    @task
    async def ask(what: str) -> str:
        return f"{what}={interrupt('sure?')}"

    async def inner(state: State) -> State:
        return {"log": [f"{state['log'][0]}={interrupt('sure?')}"]}

    graph_of_its_own = chain(("inner", inner)).compile()

    async def call(what: str) -> str:
        found: str = (await graph_of_its_own.ainvoke({"log": [what]}))["log"][-1]
        return found

    async def node(state: State) -> State:
        attempts.append(1)
        calls = [ask("a"), ask("b"), call("c"), call("d")]
        found = await asyncio.gather(*(calls if len(attempts) == 1 else reversed(calls)), return_exceptions=True)
        return {"log": sorted(each for each in found if isinstance(each, str))}

    async def route(state: State) -> str:
        return f"{interrupt('where to?')}"

    builder = chain(("node", node))
    builder.add_conditional_edges("node", route, ["end"]).add_node("end", lambda state: {})
    graph: Any = builder.compile(saver)

    result = await graph.ainvoke({}, thread_id="t")
    waiting = result["__interrupt__"]
    assert [each.value for each in waiting] == ["sure?"] * 4
    answers = {each.id: name for each, name in zip(waiting, "abcd", strict=True)}

    result = await graph.ainvoke(Command(resume=answers), thread_id="t")
    assert questions_of(result) == ["where to?"]
    result = await graph.ainvoke(Command(resume="end"), thread_id="t")
    assert sorted(result["log"]) == ["a=a", "b=b", "c=c", "d=d"]


async def test_an_error_handler_that_interrupts_with_the_error_gets_its_answer_in_a_rebuilt_graph(
    saver: Checkpointer,
) -> None:
    async def fail(state: State) -> State:
        message = "no money"
        raise ValueError(message)

    async def handle(state: State, error: NodeError) -> State:
        return {"log": [interrupt(f"{error.error!r}: {error.error}")]}

    def built() -> Any:
        return StateGraph(State).add_node("fail", fail, error_handler=handle).add_edge(START, "fail").compile(saver)

    assert questions_of(await built().ainvoke({}, thread_id="t")) == ["ValueError('no money'): no money"]
    assert (await built().ainvoke(Command(resume="wait"), thread_id="t"))["log"] == ["wait"]


async def test_equal_interrupts_of_sends_are_distinguished_by_their_task(saver: Checkpointer) -> None:
    async def work(job: Any) -> State:
        return {"log": [f"{job}:{interrupt('sure?')}"]}

    builder = StateGraph(State).add_node("work", work)
    builder.add_conditional_edges(START, lambda _: [Send("work", job) for job in ("x", "y")], ["work"])
    graph: Any = builder.compile(saver)
    result = await graph.ainvoke({}, thread_id="t")
    tasks = (await graph.aget_state(thread_id="t")).tasks
    x, y = (each.interrupts[0].id for each in tasks)

    assert x != y
    assert (await graph.ainvoke(Command(resume={y: 2, x: 1}), thread_id="t"))["log"] == ["x:1", "y:2"]
    assert {each.id for each in result["__interrupt__"]} == {x, y}


# Forks


async def test_answers_on_a_fork_reach_their_interrupts_in_any_order(
    asking: Asking,
) -> None:
    result = await asking.run(lambda: at_once("a?", "b?", "c?"), {})
    before = (await asking.graph.aget_state(thread_id="t")).config
    found = interrupt_ids(result)
    await asking.run(lambda: at_once("a?", "b?", "c?"), {})

    asking.body = lambda: at_once("c?", "b?", "a?")
    answers = {found[question]: question.upper() for question in found}
    result = await asking.graph.ainvoke(Command(resume=answers), before)

    assert result["log"] == ["c?=C?", "b?=B?", "a?=A?"]


async def test_an_interrupt_with_a_key_is_recognised_by_its_key_on_a_fork(asking: Asking) -> None:
    found = (await asking.run(lambda: _with_key("at 1?"), {}))["__interrupt__"]
    before = (await asking.graph.aget_state(thread_id="t")).config
    await asking.run(lambda: _with_key("at 2?"), {})

    asking.body = lambda: _with_key("at 3?")
    assert (await asking.graph.ainvoke(Command(resume={found[0].id: "yes"}), before))["log"] == ["yes"]


async def test_an_answer_on_a_fork_without_its_interrupt_is_refused(asking: Asking) -> None:
    found = interrupt_ids(await asking.run(lambda: in_order("a?"), {}))
    before = (await asking.graph.aget_state(thread_id="t")).config
    await asking.run(lambda: in_order("a?"), {})

    asking.body = lambda: in_order("b?")
    with pytest.raises(UnknownInterruptError):
        await asking.graph.ainvoke(Command(resume={found["a?"]: "yes"}), before)


async def test_tasks_of_an_entrypoint_that_interrupt_in_another_order_get_their_own_answers(
    saver: Checkpointer,
) -> None:
    orders = iter([("a", "b"), ("b", "a")])

    @task
    async def ask(what: str) -> str:
        return f"{what}={interrupt({'what': what})}"

    @entrypoint(checkpointer=saver)
    async def flow(_: int) -> list[str]:
        return list(await asyncio.gather(*(ask(what) for what in next(orders))))

    result: Any = await flow.ainvoke(1, thread_id="t")
    answers = {each.id: each.value["what"].upper() for each in result["__interrupt__"]}

    assert await flow.ainvoke(Command(resume=answers), thread_id="t") == ["b=B", "a=A"]
