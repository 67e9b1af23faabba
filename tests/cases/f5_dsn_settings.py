"""A DSN as hosted databases print it: a parameter of libpq is passed to the server, and its refusal is told as an outage."""

from typing import TypedDict

from durable_graph import DurableGraphError, StoreUnavailableError
from tests.cases._case import POSTGRES, one_node, outcome, run, shown


class State(TypedDict, total=False):
    n: int


async def case(store):
    from durable_graph_postgres import PostgresSaver

    ends = {}
    for setting in ("connect_timeout=5", "channel_binding=prefer"):
        dsn = POSTGRES + ("&" if "?" in POSTGRES else "?") + setting

        async def opened(dsn=dsn):
            async with PostgresSaver(dsn, schema=store.schema, patience=2) as saver:
                return await one_node(State, lambda s: {"n": 1}).compile(saver).ainvoke({}, thread_id="t")

        ends[setting] = await outcome(opened())
    is_right = all(
        end == {"n": 1}
        or (
            isinstance(end, DurableGraphError)
            and not isinstance(end, StoreUnavailableError)
            and setting.partition("=")[0] in str(end)
        )
        for setting, end in ends.items()
    )
    return "taken, or an error that says which parameter to remove", {n: shown(e) for n, e in ends.items()}, is_right


run(case, kinds=("postgres",))
