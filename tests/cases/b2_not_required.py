"""NotRequired is ignored if annotations are postponed: Python's __required_keys__ does not see it then."""

from __future__ import annotations

from typing import Any, NotRequired, TypedDict

from tests.cases._case import one_node, outcome, run, shown


class Call(TypedDict):
    name: str
    args: NotRequired[dict[str, Any]]


class State(TypedDict, total=False):
    call: Call


async def case(store):
    async with store.saver() as saver:
        graph = one_node(State, lambda s: {"call": {"name": "x"}}).compile(saver)
        end = await outcome(graph.ainvoke({}, thread_id="t"))
    return {"call": {"name": "x"}}, shown(end, 400), end == {"call": {"name": "x"}}


run(case)
