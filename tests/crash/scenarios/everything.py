"""One graph that uses all of the language, and a client that makes every kind of call."""

import asyncio
from collections.abc import Mapping
from typing import Any, Literal

from durable_graph import START, Command, NodeError, RetryPolicy, Send, StateGraph, get_runtime, task
from tests.crash.engine.client import UnluckyError
from tests.crash.engine.reporting import ask, report, seen, working
from tests.crash.scenarios.nodes import State, Turn, asking, described_once, inside, node, remembering
from tests.crash.scenarios.scenario import Answer, Edit, Give, Resume, Scenario


@task
async def measure(what: str, turns: int = 1) -> str:
    async with working(what, turns):
        return f"measured {what}"


@task(retry_policy=RetryPolicy(initial_interval=0, jitter=False, retry_on=UnluckyError))
async def measure_all(what: str) -> list[str]:
    """Calls tasks concurrently, and fails the first time."""
    async with working(what):
        around = f"calls/measure_all/measure {what}"
        found = await asyncio.gather(*(seen(measure(f"{what}{store}"), f"{around}{store}") for store in range(3)))
        if get_runtime().execution_info.node_attempt < 2:
            raise UnluckyError(what)
        return list(found)


def everything() -> StateGraph[State]:
    """A plan, then many parallel nodes; a deferred node; a nested graph that chooses the next node of its parent."""
    builder = StateGraph(State)
    builder.add_node("plan", _plan).add_edge(START, "plan").add_edge("plan", "calls")
    builder.add_node("calls", _calls()).add_node("item", _item).add_node("inside", _nested())
    again = RetryPolicy(initial_interval=0, jitter=False, retry_on=UnluckyError)
    builder.add_node("broken", _broken, retry_policy=again, error_handler=_handler)
    builder.add_node("mended", node()).add_edge("plan", "broken")
    builder.add_node("summary", node(), defer=True).add_edge(START, "summary").add_edge("mended", "summary")
    builder.add_node("memory", remembering(inside(("m", node()), ("n", node())), "memory"))
    builder.add_edge("summary", "memory").add_edge("memory", "leave")
    builder.add_node("leave", inside(("o", node()), ("p", _up)).compile(name="leave"), destinations=("review",))
    builder.add_node("review", asking("good?"), destinations=("aside",)).add_node("end", node())
    return builder.add_edge("review", "end").add_node("aside", node())


async def _plan(state: State) -> Command[Literal["inside", "item"]]:
    async with working(state.get("turn")) as label:
        sends = [Send("item", {"number": number, "turn": state.get("turn")}) for number in range(2)]
        return Command(update={"log": [label]}, goto=["inside", *sends])


async def _item(given: Mapping[str, Any]) -> State:
    async with working(f"{given['turn']} no. {given['number']}", turns=6 - given["number"]) as label:
        return {"log": [label], "seen": {label: given["number"]}}


def _calls() -> Any:
    """A node that calls tasks and a graph, and interrupts."""
    inner = inside(("c", node(2)), ("d", asking("called?"))).compile(name="inner")

    async def calls(state: State) -> State:
        async with working(state.get("turn")):
            turn = state.get("turn", 0)
            one = await seen(measure(f"one {turn}"), f"calls/measure one {turn}")
            many = await seen(measure_all(f"all {turn} "), f"calls/measure_all all {turn} ")
            graph = await inner.ainvoke({"turn": turn})
            return {"log": [one, *many, *graph["log"], f"{ask(f'own? {turn}')}"]}

    return calls


def _nested() -> Any:
    """A graph with a nested graph that interrupts, in parallel with a node that does not."""
    deep = inside(("x", node(2)), ("y", asking("inner?", "really?")))
    builder = StateGraph(State, input_schema=Turn)
    builder.add_node("deep", deep.compile(name="deep")).add_edge(START, "deep")
    builder.add_node("beside", node()).add_edge(START, "beside")
    return builder.add_node("after", node()).add_edge(["deep", "beside"], "after").compile(name="inside")


async def _broken(state: State) -> State:
    async with working(state.get("turn")) as label:
        raise UnluckyError(label)


async def _handler(state: State, error: NodeError) -> Command[Literal["mended"]]:
    label = report("start", mark=state.get("turn"))
    of = f"mend {state.get('turn')}"
    found = await seen(measure(of), f"broken/handler/measure {of}")
    report("end", label)
    return Command(update={"log": [found]}, goto="mended")


async def _up(state: State) -> Command[Any]:
    async with working(state.get("turn")) as label:
        return Command(graph=Command.PARENT, update={"log": [label]}, goto="review")


def _of(turn: int) -> tuple[Answer, ...]:
    return (
        Answer({f"inner? {turn}": "i"}),
        Answer({f"called? {turn}": "c", f"really? {turn}": "r"}),
        Answer({f"own? {turn}": "o"}, also={"update": {"log": ["with it"]}}),
    )


EVERYTHING = Scenario(
    "everything",
    described_once(everything),
    (
        Give({"log": ["in"], "turn": 1}),
        *_of(1)[:1],
        Give(Command(update={"log": ["meanwhile"]}, goto="aside")),
        *_of(1)[1:],
        Edit({"log": ["by hand"]}, as_node="review"),
        Resume(),
        Give(Command(update={"turn": 2}, goto="plan")),
        *_of(2),
        Answer({"good? 2": "yes"}),
    ),
    width=9,
    has_races=True,
)
