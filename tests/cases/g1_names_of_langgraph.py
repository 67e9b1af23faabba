"""Missing names of LangGraph: the migration page names their replacements, and the error does not."""

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
        # `AttributeError` for a missing name; a call that is accepted under LangGraph's name is no error.
        is_named = isinstance(end, AttributeError) and hint in str(end)
        if isinstance(end, Exception) and not is_named:
            found[name] = shown(end, 90)
    return "each works, or its error names the replacement", found, not found


run(case, kinds=("memory",))
