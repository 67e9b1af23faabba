"""Two concurrent interrupts of one node are answered by id; when the node runs again, they come in the other order."""

import asyncio
import operator
from typing import Annotated, TypedDict

from durable_graph import Command, interrupt
from tests.cases._case import one_node, outcome, run, shown


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]


async def case(store):
    attempts = 0

    async def node(s):
        nonlocal attempts
        attempts += 1

        async def tool(name, delay):
            if delay:
                await asyncio.sleep(delay)
            return f"{name}: {interrupt({'run': name})}"

        slow = 0.05 if attempts > 1 else 0
        return {"log": list(await asyncio.gather(tool("delete_db", slow), tool("read_docs", 0)))}

    async with store.saver() as saver:
        graph = one_node(State, node).compile(saver)
        asked = (await graph.ainvoke({"log": []}, thread_id="t"))["__interrupt__"]
        answers = {each.id: "NO" if each.value["run"] == "delete_db" else "yes" for each in asked}
        end = await outcome(graph.ainvoke(Command(resume=answers), thread_id="t"))
    right = ["delete_db: NO", "read_docs: yes"]
    return right, shown(end), isinstance(end, dict) and end.get("log") == right


run(case)
