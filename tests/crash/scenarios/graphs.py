"""The scenarios of graphs: commands, interrupts, deferred nodes, failures, edits."""

from typing import Any, Literal, TypedDict

from durable_graph import START, Command, NodeError, RetryPolicy, Send, StateGraph, get_runtime, task
from tests.crash.engine.client import UnluckyError
from tests.crash.engine.reporting import ask, report, seen, working
from tests.crash.scenarios.nodes import State, asking, chain, described_once, inside, node
from tests.crash.scenarios.scenario import Answer, Edit, Give, Resume, Scenario

# Commands


class Item(TypedDict):
    number: int
    turn: int


def commands() -> StateGraph[State]:
    """A node with a goto and Sends in addition to its edge; a nested graph that chooses the next node of its parent."""

    async def plan(state: State) -> Command[Literal["left", "item"]]:
        async with working(state.get("turn")) as label:
            sends = [Send("item", {"number": number, "turn": state.get("turn")}) for number in range(2)]
            return Command(update={"log": [label]}, goto=["left", *sends])

    async def item(given: Item) -> State:
        async with working(f"{given['turn']} no. {given['number']}", turns=9 - given["number"]) as label:
            return {"log": [label], "seen": {label: given["number"]}}

    async def up(state: State) -> Command[Any]:
        async with working(state.get("turn")) as label:
            return Command(graph=Command.PARENT, update={"log": [label]}, goto="last")

    inner = inside(("first", node()), ("up", up)).compile(name="inner")
    builder = StateGraph(State)
    builder.add_node("plan", plan).add_node("item", item, input_schema=Item).add_edge(START, "plan").add_edge(
        "plan", "right"
    )
    builder.add_node("left", node(turns=6)).add_node("right", node())
    for name in ("left", "right", "item"):
        builder.add_edge(name, "merge")
    builder.add_node("merge", node()).add_node("inner", inner, destinations=("last",)).add_edge("merge", "inner")
    return builder.add_node("last", node())


COMMANDS = Scenario(
    "commands",
    described_once(commands),
    (
        Give({"log": ["in"], "turn": 1}),
        Give(Command(update={"log": ["on"], "turn": 2}, goto=["left", Send("item", {"number": 7, "turn": 2})])),
    ),
    width=4,
)


# Interrupts


def questions() -> StateGraph[State]:
    """Three parallel nodes, one of which interrupts twice and one once; a router that interrupts; a node aside."""

    async def onward(state: State) -> Literal["last"]:
        report("start")
        answer = ask("which way?")
        assert answer == "on"
        return "last"

    builder = StateGraph(State)
    builder.add_node("twice", asking("a?", "b?")).add_edge(START, "twice")
    builder.add_node("once", asking("c?", turns=3)).add_edge(START, "once")
    builder.add_node("quick", node(), destinations=("aside",)).add_edge(START, "quick")
    builder.add_node("last", node()).add_conditional_edges("once", onward).add_node("aside", node())
    return builder


QUESTIONS = Scenario(
    "questions",
    described_once(questions),
    (
        Give({"log": ["in"]}),
        Answer({"a?": 1}),
        Give(Command(update={"log": ["meanwhile"]}, goto="aside")),
        Answer({"c?": 3}),
        Answer({"b?": 2, "which way?": "on"}, also={"update": {"log": ["with it"]}}),
    ),
    width=3,
)


# Deferred nodes


def deferred() -> StateGraph[State]:
    """A deferred node that waits for all other nodes and an interrupt, and a deferred node after it."""
    builder = chain(("a", node()), ("b", asking("go on?")), ("c", node()))
    builder.add_node("side", node(turns=4)).add_edge(START, "side")
    builder.add_node("late", node(), defer=True).add_edge(START, "late").add_edge("side", "late")
    builder.add_node("later", node(), defer=True).add_edge("late", "later").add_edge("late", "next")
    builder.add_node("next", node())
    return builder.add_node("end", node()).add_edge(["c", "later"], "end")


DEFERRED = Scenario("deferred", described_once(deferred), (Give({"log": ["in"]}), Answer({"go on?": "yes"})), width=2)


# Failures


@task(retry_policy=RetryPolicy(initial_interval=0, jitter=False, retry_on=UnluckyError))
async def mend(what: str) -> str:
    async with working():
        if get_runtime().execution_info.node_attempt < 3:
            raise UnluckyError(what)
        return f"mended {what}"


def failing(times: int, turns: int = 1) -> Any:
    """A node that fails `times` times."""

    async def run(state: State) -> State:
        async with working(state.get("turn"), turns) as label:
            if get_runtime().execution_info.node_attempt <= times:
                raise UnluckyError(label)
            return {"log": [label]}

    return run


async def handler(state: State, error: NodeError) -> Command[Literal["after"]]:
    """Repairs the failed node, and chooses the next node."""
    report("start")
    mended = await seen(mend(str(error.node)), f"{error.node}/handler/mend")
    report("end")
    return Command(update={"log": [mended]}, goto="after")


def failures() -> StateGraph[State]:
    """A node that is retried by its policy, a node that its handler replaces, and a node that the client retries."""
    again = RetryPolicy(initial_interval=0, jitter=False, max_attempts=3, retry_on=UnluckyError)
    builder = StateGraph(State)
    builder.add_node("flaky", failing(2), retry_policy=again).add_edge(START, "flaky")
    builder.add_node("beside", node(turns=12)).add_edge(START, "beside")
    builder.add_node("broken", failing(99), error_handler=handler, retry_policy=again).add_edge("flaky", "broken")
    builder.add_node("quick", node()).add_edge("flaky", "quick").add_node("after", node())
    builder.add_node("unlucky", failing(2, turns=20)).add_edge("after", "unlucky")
    return builder.add_node("kept", node()).add_edge("after", "kept")


FAILURES = Scenario("failures", described_once(failures), (Give({"log": ["in"]}),), width=3)


# Edits


def edited() -> StateGraph[State]:
    """A node that interrupts and whose result the client writes instead; a nested graph with such a node."""
    inner = inside(("a", node()), ("b", asking("inner?")), ("c", asking("really?")))
    return chain(
        ("draft", node()), ("review", asking("good?")), ("inside", inner.compile(name="inner")), ("publish", node())
    )


EDITS = Scenario(
    "edits",
    described_once(edited),
    (
        Give({"log": ["in"]}),
        Edit({"log": ["by hand"]}, as_node="review"),
        Resume(),
        Edit({"log": ["by hand as well"]}, as_node="b", inside="inside"),
        Resume(),
        Answer({"really?": "yes"}),
    ),
)


# Policies around stored calls


def guarded() -> StateGraph[State]:
    """Nodes that never fail, with retry policies and error handlers, around tasks and around a graph."""
    again = RetryPolicy(initial_interval=0, jitter=False, max_attempts=9, retry_on=lambda error: True)
    inner = inside(("a", node()), ("b", node())).compile(name="inner")

    @task(retry_policy=again)
    async def outer(what: str) -> str:
        async with working():
            mended: str = await seen(mend(what), f"{what}/outer/mend")
            return mended

    async def calls(state: State) -> State:
        async with working() as label:
            return {"log": [label, await seen(outer(label), f"{label}/outer")]}

    async def alarm(state: State, error: NodeError) -> State:
        report("start")
        return {"log": [f"{error.node} failed: {error.error}"]}

    builder = chain(("once", calls), ("inner", inner), ("end", node()))
    builder.add_node("again", calls, retry_policy=again).add_edge(START, "again")
    builder.add_node("handled", calls, error_handler=alarm).add_edge(START, "handled")
    builder.add_node("around", inner, error_handler=alarm, retry_policy=again)
    return builder.add_edge("again", "around")


GUARDED = Scenario("guarded", described_once(guarded), (Give({"log": ["in"]}),), width=4, has_races=True)
