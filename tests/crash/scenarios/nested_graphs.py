"""The scenarios of nested graphs: as a node, called in a node, with memory, and in parallel."""

import asyncio
from collections.abc import Mapping
from typing import Any

from durable_graph import START, StateGraph
from tests.crash.engine.reporting import working
from tests.crash.scenarios.nodes import State, asking, chain, described_once, inside, node, remembering
from tests.crash.scenarios.scenario import Answer, Give, Scenario


def calling(*graphs: Any, at_once: bool = False) -> Any:
    """A node that calls these graphs, in sequence or concurrently, and writes their logs."""

    async def run(state: State) -> State:
        async with working(state.get("turn")) as label:
            given = {"turn": state["turn"]} if "turn" in state else {}
            if at_once:
                results: list[Mapping[str, Any]] = await asyncio.gather(*(graph.ainvoke(given) for graph in graphs))
            else:
                results = [await graph.ainvoke(given) for graph in graphs]
            return {"log": [label, *(line for result in results for line in result["log"])]}

    return run


# In sequence


def nested() -> StateGraph[State]:
    """A graph as a node, with a nested graph that interrupts; two graphs called in one node, the second interrupts."""
    innermost = inside(("i", node()), ("j", asking("innermost?"))).compile(name="innermost")
    as_node = inside(("x", node()), ("y", asking("inner?")), ("z", innermost))
    as_node.add_node("w", node()).add_edge("x", "w")
    first = inside(("p", node()), ("q", node())).compile(name="first")
    second = inside(("r", node()), ("s", asking("called?"))).compile(name="second")
    return chain(("outer", as_node.compile(name="as_node")), ("caller", calling(first, second)), ("end", node()))


NESTED = Scenario(
    "nested",
    described_once(nested),
    (Give({"log": ["in"]}), Answer({"inner?": 1}), Answer({"innermost?": 2}), Answer({"called?": 3})),
    width=2,
)


# With memory


def memory() -> StateGraph[State]:
    """A graph that keeps its state in this thread, as a node and called in a node."""
    as_node = remembering(inside(("m", node()), ("n", asking("remembered?"))), "as_node")
    called = remembering(inside(("k", node()), ("l", node())), "called")
    return chain(("memory", as_node), ("caller", calling(called)))


MEMORY = Scenario(
    "memory",
    described_once(memory),
    tuple(
        call for turn in (1, 2) for call in (Give({"log": ["in"], "turn": turn}), Answer({f"remembered? {turn}": turn}))
    ),
)


# In parallel


def parallel() -> StateGraph[State]:
    """Concurrent graphs: two as nodes, one of which interrupts, and two called by one node, one of which interrupts."""
    left = inside(("a", node(3)), ("b", asking("left?")))
    left.add_node("beside", node(2)).add_edge("a", "beside")
    right = inside(("c", node()), ("d", node(2)), ("e", node())).compile(name="right")
    up, down = inside(("f", node()), ("g", asking("up?"))), inside(("h", node(2)), ("i", node(1)))
    both = calling(up.compile(name="up"), down.compile(name="down"), at_once=True)
    builder = StateGraph(State)
    for name, graph in (("left", left.compile(name="left")), ("right", right), ("both", both)):
        builder.add_node(name, graph).add_edge(START, name)
    return builder.add_node("all", node()).add_edge(["left", "right", "both"], "all")


PARALLEL = Scenario(
    "parallel",
    described_once(parallel),
    (Give({"log": ["in"]}), Answer({"left?": "l"}), Answer({"up?": "u"})),
    width=5,
    has_races=True,
)
