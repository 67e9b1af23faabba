"""LangGraph's names that are not there: what replaces them is in the migration page, not in the error."""

from typing import TypedDict

import durable_graph
from durable_graph import StateGraph
from tests.cases._case import one_node, outcome, run, shown


class State(TypedDict, total=False):
    k: str


async def case(store):
    graph = one_node(State, lambda s: {}).compile()
    wanted = {
        "graph.invoke": (lambda: graph.invoke, "ainvoke"),
        "graph.get_state": (lambda: graph.get_state, "aget_state"),
        "graph.astream_events": (lambda: graph.astream_events, "stream("),
        "StateGraph(config_schema=)": (lambda: StateGraph(State, config_schema=State), "context_schema"),
        "StateGraph(input=)": (lambda: StateGraph(State, input=State), "input_schema"),
        "InMemorySaver": (lambda: durable_graph.InMemorySaver, "MemorySaver"),
    }
    found = {}
    for name, (use, hint) in wanted.items():

        async def used(use=use):
            return use()

        end = await outcome(used())
        # `AttributeError` for a name that is not there; what is taken under LangGraph's name is no error.
        is_told = isinstance(end, AttributeError) and hint in str(end)
        if isinstance(end, Exception) and not is_told:
            found[name] = shown(end, 90)
    return "each works, or its error names what replaces it", found, not found


run(case, kinds=("memory",))
