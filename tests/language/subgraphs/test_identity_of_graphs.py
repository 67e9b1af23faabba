"""A nested run is recognised by its graph and input, in any order of calls, and a memory by its name."""

import asyncio
import operator
from typing import Annotated, Any, TypedDict

import pytest

from durable_graph import (
    START,
    Checkpointer,
    Command,
    Durability,
    InvalidCallError,
    InvalidOptionError,
    ReplayMismatchError,
    RetryPolicy,
    StateGraph,
    SubgraphBusyError,
    get_runtime,
    interrupt,
    task,
)
from tests.errors.kinds import of_kind
from tests.graphs import THREAD, Nodes, State, questions_of


class FailingError(Exception):
    """The error that ends an attempt."""


class Caller:
    """A graph of one node, whose body the test replaces for each attempt."""

    def __init__(self, saver: Checkpointer) -> None:
        self.body: Any = None

        async def call(state: State) -> State:
            found = await self.body()
            return {"log": found if isinstance(found, list) else []}

        self.graph: Any = StateGraph(State).add_node("call", call).add_edge(START, "call").compile(saver)

    async def first(self, body: Any, **options: Any) -> Any:
        self.body = body
        return await self.graph.ainvoke({"log": []}, THREAD, **options)

    async def failing(self, body: Any, **options: Any) -> None:
        """An attempt that makes its calls and fails."""

        async def fails() -> None:
            await body()
            raise FailingError

        with pytest.raises(FailingError):
            await self.first(fails, **options)

    async def again(self, body: Any, given: Any = None) -> Any:
        self.body = body
        return (await self.graph.ainvoke(given, THREAD))["log"]


@pytest.fixture
async def caller(saver: Checkpointer) -> Caller:
    return Caller(saver)


async def results(graph: Any, *names: str, **options: Any) -> list[str]:
    """The results of sequential runs of the graph, one for each name."""
    return [(await graph.ainvoke({"log": [name]}, **options))["log"][-1] for name in names]


async def race(graph: Any, *names: str) -> list[str]:
    """The results of concurrent runs of the graph, one for each name."""
    found = await asyncio.gather(*(graph.ainvoke({"log": [name]}) for name in names))
    return ["".join(each["log"]) for each in found]


def shouting(calls: Nodes, **compiled: Any) -> Any:
    async def shout(state: State) -> State:
        calls.note(state["log"][-1])
        return {"log": [state["log"][-1].upper()]}

    return calls.chain(("shout", shout)).compile(**compiled)


# Inputs


@pytest.mark.parametrize("calling", [results, race])
async def test_each_input_gets_its_own_result_in_any_order(
    caller: Caller, durability: Durability, calling: Any
) -> None:
    calls = Nodes()
    graph = shouting(calls)
    await caller.failing(lambda: calling(graph, "amy", "bob", "eve"), durability=durability)
    calls.taken()

    found = await caller.again(lambda: calling(graph, "eve", "amy", "bob"))

    assert [each[-3:] for each in found] == ["EVE", "AMY", "BOB"]
    assert calls.taken() == []


async def test_an_unfinished_nested_run_continues_and_a_concurrent_new_one_starts(caller: Caller) -> None:
    calls = Nodes()
    is_failing = True

    async def flaky(state: State) -> State:
        calls.note(f"flaky {state['log'][0]}")
        if is_failing:
            raise FailingError
        return {"log": [state["log"][0].upper()]}

    graph = calls.chain("x", ("flaky", flaky)).compile()
    with pytest.raises(FailingError):
        await caller.first(lambda: race(graph, "amy"))
    is_failing = False
    calls.taken()

    assert await caller.again(lambda: race(graph, "bob", "amy")) == ["bobxBOB", "amyxAMY"]
    assert sorted(calls.taken()) == ["flaky amy", "flaky bob", "x"]


async def test_another_input_in_a_sequential_call_is_refused_before_it_runs(
    caller: Caller, durability: Durability
) -> None:
    calls = Nodes()
    graph = shouting(calls)
    await caller.failing(lambda: results(graph, "first"), durability=durability)
    calls.taken()

    with pytest.raises(ReplayMismatchError, match="with another input"):
        await caller.again(lambda: results(graph, "second"))
    assert calls.taken() == []


async def test_another_input_for_an_unfinished_nested_run_is_refused(caller: Caller) -> None:
    calls = Nodes()
    graph = calls.chain("x", "ask?").compile()
    await caller.first(lambda: results(graph, "first"))

    with pytest.raises(ReplayMismatchError):
        await caller.again(lambda: results(graph, "second"), Command(resume="yes"))
    assert await caller.again(lambda: results(graph, "first")) == ["ask=yes"]


async def test_another_input_in_a_concurrent_call_runs_and_the_unclaimed_run_is_detected(caller: Caller) -> None:
    calls = Nodes()
    graph = calls.chain("x").compile()

    async def asks(*names: str) -> Any:
        return [*await race(graph, *names), interrupt("go on?")]

    await caller.first(lambda: asks("amy", "bob"))
    calls.taken()

    with pytest.raises(ReplayMismatchError, match="without calling it again") as raised:
        await caller.again(lambda: asks("bob", "eve"), Command(resume="yes"))
    assert calls.taken() == ["x"]
    assert await caller.graph.adiscard_calls("t", raised.value.task_id) == 1
    assert await caller.again(lambda: asks("bob", "eve")) == ["bobx", "evex", "yes"]
    assert calls.taken() == []


async def test_a_nested_run_that_caused_a_mismatch_can_be_discarded(caller: Caller) -> None:
    calls = Nodes()
    graph = shouting(calls)
    await caller.first(lambda: _then_interrupt(graph, "first", "same"))
    calls.taken()
    with pytest.raises(ReplayMismatchError) as raised:
        await caller.again(lambda: _then_interrupt(graph, "second", "same"), Command(resume="yes"))

    assert await caller.graph.adiscard_calls("t", raised.value.task_id) == 1

    assert await caller.again(lambda: _then_interrupt(graph, "second", "same")) == ["SECOND", "SAME", "yes"]
    assert calls.taken() == ["second"]


async def _then_interrupt(graph: Any, *names: str) -> list[Any]:
    return [*await results(graph, *names), interrupt("go on?")]


async def test_a_mismatch_deep_inside_is_reported_with_the_task_of_the_outermost_graph(saver: Checkpointer) -> None:
    whats = ["first"]

    @task
    async def pay(what: str) -> str:
        return f"paid {what}"

    async def inner(state: State) -> State:
        paid: str = await pay(whats[-1])
        return {"log": [paid, interrupt("go on?")]}

    calls = Nodes()
    middle = calls.chain(("inner", inner)).compile()
    graph: Any = calls.chain("a", ("middle", middle)).compile(saver)
    await graph.ainvoke({"log": []}, THREAD)
    whats.append("second")
    with pytest.raises(ReplayMismatchError) as raised:
        await graph.ainvoke(Command(resume="yes"), THREAD)

    (planned,) = (await graph.aget_state(THREAD)).tasks
    assert (planned.name, planned.id) == ("middle", raised.value.task_id)
    assert await graph.adiscard_calls("t", planned.id) == 1
    assert (await graph.ainvoke(None, THREAD))["log"][-2:] == ["paid second", "yes"]


async def test_a_nested_run_whose_error_was_caught_continues_before_the_recorded_run_after_it(caller: Caller) -> None:
    calls = Nodes()

    async def fail(state: State) -> State:
        calls.note("fail")
        raise FailingError

    broken, other = calls.chain(("fail", fail)).compile(), shouting(calls)

    async def body() -> list[str]:
        try:
            return await results(broken, "it")
        except FailingError:
            return await results(other, "it")

    await caller.failing(body)
    calls.taken()

    assert await caller.again(body) == ["IT"]
    assert calls.taken() == ["fail"]


async def test_the_state_of_a_task_is_read_with_the_graph_that_started_first(saver: Checkpointer) -> None:
    """Even if the code of the node names another graph first."""
    another, early = Nodes().chain("x").compile(name="another"), _numbers()
    has_asked = asyncio.Event()

    async def call(state: State) -> State:
        async def second() -> None:
            await has_asked.wait()
            await another.ainvoke({"log": []})

        try:
            await asyncio.gather(second(), _asking(early, has_asked))
        finally:
            has_asked.set()
        return {}

    graph: Any = Nodes().chain(("call", call)).compile(saver)
    async with asyncio.timeout(20):
        assert questions_of(await graph.ainvoke({"log": []}, THREAD)) == ["how many?"]

    (planned,) = (await graph.aget_state(THREAD, subgraphs=True)).tasks
    assert (planned.state.values, planned.state.next) == ({"number": 7}, ("ask",))
    assert (await graph.aget_state(planned.state.config)).values == {"number": 7}


class Number(TypedDict, total=False):
    number: int


def _numbers() -> Any:
    async def ask(state: Number) -> Number:
        return {"number": interrupt("how many?")}

    return StateGraph(Number).add_node("ask", ask).add_edge(START, "ask").compile(name="early")


async def _asking(graph: Any, has_asked: asyncio.Event) -> None:
    try:
        await graph.ainvoke({"number": 7})
    finally:
        has_asked.set()


# Error handlers and routers


class Phases:
    """A failing node with a handler, or a node with a router. The handler or router runs the body of the test."""

    def __init__(self, saver: Checkpointer, kind: str) -> None:
        self.body: Any = None
        builder = StateGraph(State)

        async def node(state: State) -> State:
            if kind == "handler":
                message = "broken"
                raise ConnectionError(message)
            return {}

        async def handler(state: State) -> State:
            return {"log": await self.body()}

        async def router(state: State) -> str:
            await self.body()
            return "__end__"

        if kind == "handler":
            builder.add_node("node", node, error_handler=handler)
        else:
            builder.add_node("node", node).add_conditional_edges("node", router, ["__end__"])
        self.graph: Any = builder.add_edge(START, "node").compile(saver)


@pytest.fixture(params=["handler", "router"])
async def phases(saver: Checkpointer, request: pytest.FixtureRequest) -> Phases:
    return Phases(saver, request.param)


async def test_handlers_and_routers_find_their_nested_runs_in_any_order(phases: Phases) -> None:
    calls = Nodes()
    graph = shouting(calls)
    names = iter([("amy", "bob"), ("bob", "amy")])

    async def body() -> list[str]:
        return [*await race(graph, *next(names)), f"{interrupt('go on?')}"]

    phases.body = body
    await phases.graph.ainvoke({"log": []}, THREAD)
    assert sorted(calls.taken()) == ["amy", "bob"]

    await phases.graph.ainvoke(Command(resume="yes"), THREAD)
    assert calls.taken() == []


async def test_handlers_and_routers_may_leave_a_nested_run_unclaimed_only_after_a_failure(
    phases: Phases,
) -> None:
    calls = Nodes()
    graph = shouting(calls)

    async def asks() -> list[str]:
        return [*await results(graph, "amy"), f"{interrupt('go on?')}"]

    async def calls_nothing() -> list[str]:
        return []

    async def fails() -> list[str]:
        await results(graph, "amy")
        raise FailingError

    phases.body = asks
    await phases.graph.ainvoke({"log": []}, THREAD)
    phases.body = calls_nothing
    for given in (Command(resume="yes"), None):
        with pytest.raises(ReplayMismatchError):
            await phases.graph.ainvoke(given, THREAD)

    phases.body = fails
    with pytest.raises(FailingError):
        await phases.graph.ainvoke(None, THREAD)
    phases.body = calls_nothing
    await phases.graph.ainvoke(None, THREAD)
    assert (await phases.graph.aget_state(THREAD)).next == ()


async def test_a_node_that_ends_by_a_nested_parent_command_has_to_repeat_its_recorded_calls(
    saver: Checkpointer,
) -> None:
    names = [["amy"]]
    is_over = [False]

    async def up(state: State) -> Any:
        if not is_over[-1]:
            return {"log": [interrupt("go on?")]}
        return Command(graph=Command.PARENT, update={"log": ["up"]})

    ending, graph = Nodes().chain(("up", up)).compile(name="ending"), shouting(Nodes(), name="shouting")

    async def call(state: State) -> State:
        await asyncio.gather(*(graph.ainvoke({"log": [name]}) for name in names[-1]))
        await ending.ainvoke({"log": []})
        return {}

    outer: Any = Nodes().chain(("call", call)).compile(saver)
    await outer.ainvoke({"log": []}, THREAD)
    names.append([])
    is_over.append(True)

    with pytest.raises(ReplayMismatchError):
        await outer.ainvoke(Command(resume="yes"), THREAD)


# Other differences between calls


class Who(TypedDict):
    name: str


async def test_calls_that_differ_only_in_their_context_get_their_own_results(caller: Caller) -> None:
    async def who(state: State) -> State:
        return {"log": [get_runtime(Who).context["name"]]}

    graph = StateGraph(State, context_schema=Who).add_node("who", who).add_edge(START, "who").compile()

    async def in_order(*names: str) -> list[str]:
        found = await asyncio.gather(*(graph.ainvoke({"log": []}, context={"name": name}) for name in names))
        return [each["log"][0] for each in found]

    await caller.failing(lambda: in_order("amy", "bob"))

    assert await caller.again(lambda: in_order("bob", "amy")) == ["bob", "amy"]


async def test_the_context_of_the_whole_run_may_change_on_resume(saver: Checkpointer) -> None:
    calls = Nodes()
    inner = calls.chain("x").compile()

    async def call(state: State) -> State:
        found = await inner.ainvoke({"log": []}, context=get_runtime(Who).context)
        return {"log": [*found["log"], interrupt("go on?")]}

    graph: Any = StateGraph(State, context_schema=Who).add_node("call", call).add_edge(START, "call").compile(saver)
    await graph.ainvoke({"log": []}, THREAD, context={"name": "amy"})

    assert await graph.ainvoke(Command(resume="yes"), THREAD, context={"name": "bob"}) == {"log": ["x", "yes"]}
    assert calls.taken() == ["x"]


async def test_concurrent_runs_of_two_similar_graphs_are_refused_unless_the_graphs_have_names(caller: Caller) -> None:
    def leaving(mark: str, **compiled: Any) -> Any:
        async def node(state: State) -> State:
            return {"log": [mark]}

        return Nodes().chain(("node", node)).compile(**compiled)

    async def in_order(*graphs: Any) -> list[str]:
        found = await asyncio.gather(*(graph.ainvoke({"log": []}) for graph in graphs))
        return [each["log"][0] for each in found]

    one, two = leaving("1"), leaving("2")
    with pytest.raises(InvalidCallError, check=of_kind("overlapping"), match="compile\\(name="):
        await caller.first(lambda: in_order(one, two))

    first, second = leaving("1", name="first"), leaving("2", name="second")
    await caller.failing(lambda: in_order(first, second))
    assert await caller.again(lambda: in_order(second, first)) == ["2", "1"]


async def test_a_graph_with_checkpointer_false_gets_the_answers_to_its_own_interrupts(caller: Caller) -> None:
    async def ask(state: State) -> State:
        return {"log": [f"{state['log'][0]}={interrupt('sure?')}"]}

    graph = Nodes().chain(("ask", ask)).compile(checkpointer=False)

    async def in_order(*names: str) -> list[str]:
        found = await asyncio.gather(*(graph.ainvoke({"log": [name]}) for name in names), return_exceptions=True)
        return [each["log"][1] for each in found if isinstance(each, dict)]

    asked = (await caller.first(lambda: in_order("amy")))["__interrupt__"]
    other = (await caller.first(lambda: in_order("bob", "amy")))["__interrupt__"]

    assert len(other) == 2
    caller.body = lambda: in_order("amy", "bob")
    found = await caller.graph.ainvoke(Command(resume={other[0].id: "yes", other[1].id: "no"}), THREAD)
    assert found["log"] == ["amy=no", "bob=yes"]
    assert asked[0].id not in {each.id for each in other}


async def test_a_graph_as_a_node_continues_although_the_outer_state_was_updated(saver: Checkpointer) -> None:
    calls = Nodes()
    graph: Any = calls.chain(("inner", calls.chain("x", "ask?").compile())).compile(saver)
    await graph.ainvoke({"log": []}, THREAD)

    result = await graph.ainvoke(Command(resume="yes", update={"log": ["meanwhile"]}), THREAD)

    assert result == {"log": ["meanwhile", "x", "ask=yes"]}


# Memory


class Person(TypedDict, total=False):
    who: str
    notes: Annotated[list[str], operator.add]


def remembering(calls: Nodes | None = None) -> Any:
    async def note(state: Person) -> Person:
        if calls is not None:
            calls.note(state["who"])
        return {"notes": [f"about {state['who']}"]}

    return StateGraph(Person).add_node("note", note).add_edge(START, "note").compile(checkpointer=True)


async def test_each_call_reads_the_memory_that_it_names(caller: Caller) -> None:
    agent = remembering()

    async def tell(*names: str) -> list[str]:
        return [f"{name} {(await agent.ainvoke({'who': name}, memory=name))['notes']}" for name in names]

    assert (await caller.first(lambda: tell("alice", "bob")))["log"] == [
        "alice ['about alice']",
        "bob ['about bob']",
    ]
    assert (await caller.first(lambda: tell("bob", "alice")))["log"][2:] == [
        "bob ['about bob', 'about bob']",
        "alice ['about alice', 'about alice']",
    ]


@pytest.mark.parametrize("name", ["tenant:alice|x%", "ä", "1.0", "12", "x" * 255])
async def test_a_memory_may_have_any_name_and_survives_a_prune_of_its_thread(
    caller: Caller, saver: Checkpointer, name: str
) -> None:
    agent = remembering()

    async def tell() -> list[str]:
        found: list[str] = (await agent.ainvoke({"who": "it"}, memory=name))["notes"]
        return [f"{len(found)}"]

    await caller.first(tell)
    await saver.prune("t")
    assert (await caller.first(tell))["log"] == ["1", "2"]
    await saver.prune("t")
    assert (await caller.first(tell))["log"] == ["1", "2", "3"]


@pytest.mark.parametrize("name", ["", "x" * 256, "a\nb", 7, "\ud800"])
async def test_an_invalid_memory_name_is_refused(caller: Caller, name: Any) -> None:
    agent = remembering()

    with pytest.raises(InvalidOptionError, match="memory"):
        await caller.first(lambda: agent.ainvoke({"who": "it"}, memory=name))


async def test_a_memory_name_is_refused_for_a_graph_without_memory(caller: Caller) -> None:
    graph = shouting(Nodes())

    with pytest.raises(InvalidOptionError, match="checkpointer=True"):
        await caller.first(lambda: results(graph, "it", memory="alice"))
    with pytest.raises(InvalidOptionError, match="checkpointer=True"):
        await caller.graph.ainvoke({"log": []}, THREAD, memory="alice")


async def test_a_second_call_of_a_node_without_a_memory_name_is_refused(caller: Caller) -> None:
    agent, other = remembering(), remembering()

    for second in (agent, other):
        with pytest.raises(InvalidCallError, check=of_kind("unnamed_memory"), match=r"memory='\.\.\.'"):
            await caller.first(lambda second=second: _each(agent, second))


async def _each(*agents: Any) -> None:
    for agent in agents:
        await agent.ainvoke({"who": "it"})


async def test_a_second_call_without_a_memory_name_is_refused_if_a_recorded_task_made_the_first(
    caller: Caller,
) -> None:
    agent = remembering()

    @task
    async def tell(who: str) -> list[str]:
        found: list[str] = (await agent.ainvoke({"who": who}))["notes"]
        return found

    async def both() -> Any:
        return [*await tell("alice"), *await tell("bob")]

    with pytest.raises(InvalidCallError, check=of_kind("unnamed_memory")):
        await caller.first(both)
    with pytest.raises(InvalidCallError, check=of_kind("unnamed_memory")):
        await caller.again(both)


async def test_concurrent_calls_with_one_memory_are_refused(caller: Caller) -> None:
    agent = remembering()

    with pytest.raises(SubgraphBusyError, match=r"memory='\.\.\.'"):
        await caller.first(
            lambda: asyncio.gather(*(agent.ainvoke({"who": f"{number}"}, memory="one") for number in range(2)))
        )


async def test_recorded_turns_of_one_memory_do_not_run_again(caller: Caller, durability: Durability) -> None:
    calls = Nodes()
    agent = remembering(calls)

    async def turns() -> list[Any]:
        found = [(await agent.ainvoke({"who": who}, memory="one"))["notes"] for who in ("a", "b", "c")]
        return [f"{len(each)}" for each in found]

    await caller.failing(turns, durability=durability)
    assert calls.taken() == ["a", "b", "c"]

    assert await caller.again(turns) == ["1", "2", "3"]
    assert calls.taken() == []
    assert (await caller.first(turns))["log"][3:] == ["4", "5", "6"]


async def test_an_interrupted_turn_continues_and_earlier_turns_do_not_run_again(caller: Caller) -> None:
    calls = Nodes()

    async def talk(state: Person) -> Person:
        calls.note(state["who"])
        return {"notes": [f"{state['who']}={interrupt(state['who'])}"]}

    agent = StateGraph(Person).add_node("talk", talk).add_edge(START, "talk").compile(checkpointer=True)

    async def turns() -> list[str]:
        return [(await agent.ainvoke({"who": who}, memory="one"))["notes"][-1] for who in ("a", "b")]

    assert questions_of(await caller.first(turns)) == ["a"]
    assert questions_of(await caller.graph.ainvoke(Command(resume="1"), THREAD)) == ["b"]
    assert await caller.again(turns, Command(resume="2")) == ["a=1", "b=2"]
    assert calls.taken() == ["a", "a", "b", "b"]


async def test_a_retried_node_finds_its_recorded_turns(saver: Checkpointer, durability: Durability) -> None:
    calls = Nodes()
    agent = remembering(calls)
    attempts: list[int] = []

    async def call(state: State) -> State:
        attempts.append(1)
        found = [(await agent.ainvoke({"who": who}, memory="one"))["notes"] for who in ("a", "b")]
        if len(attempts) < 3:
            raise FailingError
        return {"log": [f"{len(each)}" for each in found]}

    again = RetryPolicy(max_attempts=3, initial_interval=0, jitter=False, retry_on=FailingError)
    graph: Any = StateGraph(State).add_node("call", call, retry_policy=again).add_edge(START, "call").compile(saver)

    assert await graph.ainvoke({"log": []}, THREAD, durability=durability) == {"log": ["1", "2"]}
    assert calls.taken() == ["a", "b"]
