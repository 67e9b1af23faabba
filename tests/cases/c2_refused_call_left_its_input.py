"""A call is refused with a conflict and the advice to repeat it, but its input was stored: repeating pays twice."""

import asyncio
import operator
import re
from typing import Annotated, TypedDict

from durable_graph import CheckpointConflictError
from tests.cases._case import one_node, outcome, run, shown


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]


async def node(s):
    await asyncio.sleep(0.4)
    return {}


async def case(store):
    async with store.saver() as first, store.saver() as second:
        one, other = (one_node(State, node).compile(saver) for saver in (first, second))
        call = asyncio.create_task(outcome(one.ainvoke({"log": ["pay 10"]}, thread_id="t")))
        await asyncio.sleep(0.15)
        await other.ainvoke({"log": ["hello"]}, thread_id="t")
        error = await call
        stayed = (await one.aget_state(thread_id="t")).values["log"]
    says_so = re.search(r"input[^.;]*(stayed|stays|kept|accepted|recorded|stored)", str(error))
    is_right = isinstance(error, CheckpointConflictError) and error.input_checkpoint_id is not None
    is_right = is_right and "pay 10" in stayed and says_so is not None
    return (
        "CheckpointConflictError, which says that the input stayed",
        f"{shown(error, 400)}; stored: {stayed}",
        is_right,
    )


run(case, kinds=("sqlite", "postgres"))
