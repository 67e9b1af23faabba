"""A DSN of a hosted database: a parameter of libpq is passed to the server, and its refusal is reported as an outage."""

from typing import TypedDict

from durable_graph import InvalidOptionError
from tests.cases._case import POSTGRES, one_node, outcome, run, shown


class State(TypedDict, total=False):
    n: int


async def case(store):
    from durable_graph_postgres import PostgresSaver

    ends = {}
    for setting in ("connect_timeout=5", "channel_binding=prefer", "channel_binding=require"):
        dsn = POSTGRES + ("&" if "?" in POSTGRES else "?") + setting

        async def opened(dsn=dsn):
            async with PostgresSaver(dsn, schema=store.schema, patience=2) as saver:
                return await one_node(State, lambda s: {"n": 1}).compile(saver).ainvoke({}, thread_id="t")

        ends[setting] = await outcome(opened())
    refused = ends.pop("channel_binding=require")
    is_right = all(end == {"n": 1} for end in ends.values())
    is_right = is_right and isinstance(refused, InvalidOptionError) and "channel_binding" in str(refused)
    actual = f"{[shown(end) for end in ends.values()]}; {shown(refused)}"
    return "parameters without a requirement are accepted, the other is refused by name", actual, is_right


run(case, kinds=("postgres",))
